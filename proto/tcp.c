/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a run of bytes becomes values: input() cuts it into lines (or frames), parses each where it
 * lies into the house's group, and gives the group to the intake when it is full, when a value is
 * refused (so that counts stay in order), or when the run is over. What the intake could not take
 * is not used, and comes again.
 *
 * The number of a value is tcp->values + its place;
 * a named producer's count is the same number, kept by the intake.
 */
#include "proto/tcp_wire.h"

#include "core/buf.h"
#include "core/log.h"
#include "proto/cart.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { LENGTH_BYTES = 4, LINE_MAX_EXTRA = 4096 };

static struct tcp *mine(struct wire *wire)
{
    return (struct tcp *)(void *)wire;
}

/* ── What we say ────────────────────────────────────────────────────────────────────────────── */

/* A line that may be dropped when the peer does not read: it did not ask for answers. */
static void say(struct tcp *tcp, struct turn *turn, const struct buf *line)
{
    if (conn_send(tcp->wire.conn, turn, line->at, line->length))
        return;
    if (tcp->ack != ACK_NONE)
        conn_abort(tcp->wire.conn, turn);
}

static void say_reject(struct tcp *tcp, struct turn *turn, const struct refusal *refusal)
{
    struct buf line = {.max = 4096};
    if (buf_print(&line, "{\"reject\":%llu,\"code\":\"%s\",\"message\":",
                  (unsigned long long)tcp->values, event_code_name(refusal->code)) &&
        buf_put_json(&line, span_of_string(refusal->message)) && buf_put(&line, "}\n", 2))
        say(tcp, turn, &line);
    buf_fini(&line);
}

ptrdiff_t tcp_say_error(struct tcp *tcp, struct turn *turn, enum event_code code,
                        const char *message)
{
    struct buf line = {.max = 4096};
    if (buf_print(&line, "{\"error\":{\"code\":\"%s\",\"message\":", event_code_name(code)) &&
        buf_put_json(&line, span_of_string(message)) && buf_put(&line, "}}\n", 3))
        say(tcp, turn, &line);
    buf_fini(&line);
    return WIRE_CLOSE;
}

static void say_ack(struct tcp *tcp, struct turn *turn)
{
    char line[96];
    int length =
        tcp->released_duplicates == 0
            ? snprintf(line, sizeof line, "{\"ack\":%llu}\n", (unsigned long long)tcp->released)
            : snprintf(line, sizeof line, "{\"ack\":%llu,\"duplicates\":%llu}\n",
                       (unsigned long long)tcp->released,
                       (unsigned long long)tcp->released_duplicates);
    tcp->acked = tcp->released;
    tcp->acked_ns = turn->now_ns;
    if (!conn_send(tcp->wire.conn, turn, line, (size_t)length))
        conn_abort(tcp->wire.conn, turn);
}

/* ── Time ───────────────────────────────────────────────────────────────────────────────────── */

static void set_deadline(struct tcp *tcp, struct turn *turn)
{
    uint64_t at = tcp->active_ns + tcp->house->idle_ns;
    if (tcp->released > tcp->acked)
        at = tcp->acked_ns + tcp->house->ack_interval_ns;
    else if (tcp->begun_ns > 0)
        at = tcp->begun_ns + tcp->house->hello_ns;
    if (tcp->expires_ns > 0 && tcp->expires_ns < at)
        at = tcp->expires_ns;
    conn_deadline(tcp->wire.conn, turn, at);
}

static void ack_when_due(struct tcp *tcp, struct turn *turn)
{
    if (tcp->released == tcp->acked)
        return;
    if (tcp->finishing || turn->now_ns - tcp->acked_ns >= tcp->house->ack_interval_ns)
        say_ack(tcp, turn);
    else
        set_deadline(tcp, turn);
}

static void deadline(struct wire *wire, struct turn *turn)
{
    struct tcp *tcp = mine(wire);
    bool expired = tcp->expires_ns > 0 && turn->now_ns >= tcp->expires_ns;
    tcp->finishing |= expired;
    ack_when_due(tcp, turn);
    uint64_t quiet_ns = turn->now_ns - tcp->active_ns;
    if (expired) {
        (void)tcp_say_error(tcp, turn, EVENT_UNAUTHORIZED, "token: it has expired");
        conn_finish(wire->conn, turn);
    } else if (tcp->begun_ns > 0 && turn->now_ns - tcp->begun_ns >= tcp->house->hello_ns) {
        (void)tcp_say_error(tcp, turn, EVENT_INVALID_JSON,
                            "the first line did not come to its end");
        conn_finish(wire->conn, turn);
    } else if (quiet_ns >= tcp->house->idle_ns) {
        conn_finish(wire->conn, turn);
    } else {
        set_deadline(tcp, turn);
    }
}

/* ── What the values wait for ───────────────────────────────────────────────────────────────── */

static void put_hold(struct tcp *tcp, struct turn *turn)
{
    if (!tcp->has_due)
        return;
    tcp->due.level = tcp->ack;
    if (tcp->producer != NULL)
        tcp->due.block = tcp->house->intake->producer_block(tcp->producer);
    tcp->due.tag = tcp->values;
    if (tcp->duplicates > 0) /* told with the acknowledgement that covers them */
        tcp->due.reply = span_of(&tcp->duplicates, sizeof tcp->duplicates);
    if (!conn_hold(tcp->wire.conn, turn, &tcp->due))
        conn_abort(tcp->wire.conn, turn);
    tcp->due = (struct hold){0};
    tcp->has_due = false;
}

/* A duplicate is acknowledged only when its original is; an original may be another shard's. */
static void wait_for(struct tcp *tcp, struct turn *turn, struct ticket ticket)
{
    struct hold *due = &tcp->due;
    if (ticket.shard == tcp->house->shard) {
        if (!due->has_through || ticket.sequence > due->through.sequence)
            due->through = ticket;
        due->has_through = true;
        return;
    }
    if (due->has_other && due->other.shard != ticket.shard)
        put_hold(tcp, turn);
    if (!due->has_other || ticket.sequence > due->other.sequence)
        due->other = ticket;
    due->has_other = true;
}

static void released(struct wire *wire, struct turn *turn, const struct hold *hold)
{
    struct tcp *tcp = mine(wire);
    if (hold->tag == TAG_WELCOME) {
        tcp->greeting = false;
        if (conn_send(wire->conn, turn, hold->reply.at, hold->reply.length))
            conn_resume(wire->conn, turn);
        else
            conn_abort(wire->conn, turn);
        return;
    }
    tcp->released = hold->tag;
    if (hold->reply.length == sizeof tcp->released_duplicates)
        memcpy(&tcp->released_duplicates, hold->reply.at, hold->reply.length);
    ack_when_due(tcp, turn);
}

/* ── Values ─────────────────────────────────────────────────────────────────────────────────── */

static void judged(struct tcp *tcp, struct turn *turn, const struct verdict *verdict)
{
    bool good = verdict->code == EVENT_ACCEPTED || verdict->code == EVENT_DUPLICATE;
    if (good && tcp->ack > ACK_RECEIVED)
        wait_for(tcp, turn, verdict->ticket);
    tcp->values++;
    tcp->duplicates += verdict->code == EVENT_DUPLICATE;
    if (!good)
        say_reject(tcp, turn, &verdict->refusal);
    tcp->has_due = tcp->ack != ACK_NONE;
}

/* What counts is paid for when it is judged: what there was no room for is parsed once more. */
static void charge(struct tcp *tcp, struct turn *turn, unsigned values)
{
    must(bucket_take(&tcp->allowance, &tcp->house->rate, values, turn->now_ns));
}

/* Gives the first `events` of the group to the intake. True: it took all. */
static bool flush(struct tcp *tcp, struct turn *turn, unsigned events, unsigned *taken)
{
    struct tcp_house *house = tcp->house;
    struct source source = {
        tcp->principal, tcp->producer, COUNT_EVENTS_RECEIVED_TCP, NULL, {NULL, 0}};
    const struct stream *streams[INTAKE_MAX];
    *taken = 0;
    if (events == 0)
        return true;
    for (unsigned i = 0; i < events; i++)
        streams[i] = cart_stream(house->intake->streams, &house->events[i]);
    *taken = house->intake->accept(house->intake, turn, &source, house->events, streams, events,
                                   house->verdicts);
    for (unsigned i = 0; i < *taken; i++)
        judged(tcp, turn, &house->verdicts[i]);
    charge(tcp, turn, *taken);
    if (*taken == events)
        return true;
    conn_throttle(tcp->wire.conn, turn);
    return false;
}

/* False: there is no room to write down that it counts; the value is to come again. */
static bool refuse(struct tcp *tcp, struct turn *turn, const struct refusal *refusal)
{
    struct intake *intake = tcp->house->intake;
    if (tcp->producer != NULL && !intake->producer_skip(intake, tcp->producer, 1)) {
        conn_throttle(tcp->wire.conn, turn);
        return false;
    }
    tcp->values++;
    if (refusal->code != EVENT_RATE_LIMITED && refusal->code != EVENT_TOO_LARGE)
        charge(tcp, turn, 1);
    tcp->has_due = tcp->ack != ACK_NONE;
    intake_count_refused(turn, COUNT_EVENTS_RECEIVED_TCP, refusal->code);
    say_reject(tcp, turn, refusal);
    return true;
}

/* May one more be sent, with `before` that are not paid for yet? */
static bool within_rate(struct tcp *tcp, struct turn *turn, unsigned before,
                        struct refusal *refusal)
{
    if (LIKELY(bucket_wait_ns(&tcp->allowance, &tcp->house->rate, before + 1, turn->now_ns) == 0))
        return true;
    refusal->code = EVENT_RATE_LIMITED;
    snprintf(refusal->message, sizeof refusal->message,
             "event: this connection sends more than limits.events_per_second");
    return false;
}

/* The value into the group's next place, behind `before` others. */
static enum event_code parse(struct tcp *tcp, struct turn *turn, struct span value, unsigned before,
                             struct refusal *refusal)
{
    const struct event_rules *rules = &tcp->house->intake->rules;
    struct event *out = &tcp->house->events[before];
    if (!within_rate(tcp, turn, before, refusal))
        return refusal->code;
    enum event_code code = event_parse(value, rules, out, refusal);
    if (code == EVENT_ACCEPTED)
        code = cart_unwrap(out, rules, refusal);
    return code;
}

/* ── Cutting the run ────────────────────────────────────────────────────────────────────────── */

enum cut { CUT_VALUE, CUT_NOTHING, CUT_MORE, CUT_TOO_LARGE };

static bool blank(struct span line)
{
    for (size_t i = 0; i < line.length; i++)
        if (line.at[i] != ' ' && line.at[i] != '\t' && line.at[i] != '\r')
            return false;
    return true;
}

static enum cut cut_line(struct tcp *tcp, struct span rest, struct span *value, size_t *used)
{
    const uint8_t *newline = memchr(rest.at, '\n', rest.length);
    if (newline == NULL) {
        *used = 0;
        if (rest.length <= tcp->house->intake->rules.bytes_max + LINE_MAX_EXTRA)
            return CUT_MORE;
        *used = rest.length;
        tcp->state = STATE_SKIPPING;
        return CUT_TOO_LARGE;
    }
    *value = span_of(rest.at, (size_t)(newline - rest.at));
    *used = value->length + 1;
    return blank(*value) ? CUT_NOTHING : CUT_VALUE;
}

static enum cut cut_frame(struct tcp *tcp, struct span rest, struct span *value, size_t *used)
{
    *used = 0;
    if (rest.length < LENGTH_BYTES)
        return CUT_MORE;
    uint32_t length = (uint32_t)rest.at[0] << 24 | (uint32_t)rest.at[1] << 16 |
                      (uint32_t)rest.at[2] << 8 | rest.at[3];
    if (length > tcp->house->intake->rules.bytes_max) {
        *used = LENGTH_BYTES;
        tcp->skip = length;
        tcp->state = STATE_SKIPPING;
        return CUT_TOO_LARGE;
    }
    if (rest.length - LENGTH_BYTES < length)
        return CUT_MORE;
    *value = span_of(rest.at + LENGTH_BYTES, length);
    *used = LENGTH_BYTES + (size_t)length;
    return CUT_VALUE;
}

/* Passes over what is left of a value that was too large: how many bytes. */
static size_t skip(struct tcp *tcp, struct span rest)
{
    size_t used = rest.length;
    if (tcp->format == FORMAT_LENGTH32) {
        if (used >= tcp->skip) {
            used = tcp->skip;
            tcp->state = STATE_VALUES;
        }
        tcp->skip -= (uint32_t)used;
        return used;
    }
    const uint8_t *newline = memchr(rest.at, '\n', rest.length);
    if (newline != NULL) {
        used = (size_t)(newline - rest.at) + 1;
        tcp->state = STATE_VALUES;
    }
    return used;
}

static void too_large(struct tcp *tcp, struct refusal *refusal)
{
    refusal->code = EVENT_TOO_LARGE;
    snprintf(refusal->message, sizeof refusal->message, "event: more than %zu bytes",
             tcp->house->intake->rules.bytes_max);
}

/*
 * Values from the front of `run`. Returns how many bytes were used; a run that the intake had no
 * room for is used only up to the last value that it took.
 */
static size_t take_values(struct tcp *tcp, struct turn *turn, struct span run)
{
    struct tcp_house *house = tcp->house;
    size_t used = 0;    /* cut off so far */
    size_t settled = 0; /* … and judged */
    unsigned events = 0, taken = 0;
    for (;;) {
        struct span value = {0}, rest = span_from(run, used);
        struct refusal refusal;
        size_t bytes = 0;
        if (rest.length == 0)
            break;
        if (UNLIKELY(tcp->state == STATE_SKIPPING)) {
            used += skip(tcp, rest);
            settled = used; /* what came before was flushed when the skipping began */
            continue;
        }
        enum cut cut = tcp->format == FORMAT_NDJSON ? cut_line(tcp, rest, &value, &bytes)
                                                    : cut_frame(tcp, rest, &value, &bytes);
        if (cut == CUT_MORE)
            break;
        used += bytes;
        if (cut == CUT_NOTHING)
            continue;
        bool good = cut == CUT_VALUE && parse(tcp, turn, value, events, &refusal) == EVENT_ACCEPTED;
        if (LIKELY(good)) {
            house->ends[events++] = used;
            if (events < INTAKE_MAX)
                continue;
        }
        if (cut == CUT_TOO_LARGE)
            too_large(tcp, &refusal);
        if (!flush(tcp, turn, events, &taken)) {
            if (cut == CUT_TOO_LARGE)
                tcp->state = STATE_VALUES; /* it is cut again */
            return taken > 0 ? house->ends[taken - 1] : settled;
        }
        events = 0;
        if (!good && !refuse(tcp, turn, &refusal)) {
            if (cut == CUT_TOO_LARGE)
                tcp->state = STATE_VALUES;
            return used - bytes;
        }
        settled = used;
    }
    if (!flush(tcp, turn, events, &taken))
        return taken > 0 ? house->ends[taken - 1] : settled;
    return used;
}

/* ── The first line ─────────────────────────────────────────────────────────────────────────── */

/* How many bytes the hello took, 0 if more is needed
 * or it is not one, negative to close or move. */
static ptrdiff_t first_line(struct tcp *tcp, struct turn *turn, struct span run)
{
    struct span line;
    size_t used;
    struct hello hello;
    char why[HELLO_WHY];
    enum cut cut = cut_line(tcp, run, &line, &used);
    if (cut == CUT_MORE)
        return 0;
    if (cut == CUT_NOTHING)
        return (ptrdiff_t)used; /* a blank line is not the first one */
    tcp->state = STATE_VALUES;
    if (cut == CUT_VALUE && hello_read(line, &hello, why)) {
        if (why[0] != '\0')
            return tcp_say_error(tcp, turn, EVENT_INVALID_FIELD, why);
        ptrdiff_t result = tcp_greet(tcp, turn, &hello);
        if (tcp->expires_ns > 0)
            set_deadline(tcp, turn);
        return result != 0 ? result : (ptrdiff_t)used;
    }
    return tcp_admit(tcp, turn, (struct span){0});
}

static ptrdiff_t input(struct wire *wire, struct turn *turn, uint8_t *at, size_t length)
{
    struct tcp *tcp = mine(wire);
    size_t used = 0;
    tcp->active_ns = turn->now_ns;
    while (tcp->state == STATE_FIRST) {
        ptrdiff_t first = first_line(tcp, turn, span_of(at + used, length - used));
        if (first < 0)
            return first;
        used += (size_t)first;
        bool begun = tcp->state == STATE_FIRST && used < length;
        tcp->begun_ns = !begun ? 0 : tcp->begun_ns > 0 ? tcp->begun_ns : turn->now_ns;
        if (tcp->state == STATE_FIRST && first == 0) {
            set_deadline(tcp, turn);
            return (ptrdiff_t)used;
        }
    }
    if (!tcp->greeting)
        used += take_values(tcp, turn, span_of(at + used, length - used));
    put_hold(tcp, turn);
    return (ptrdiff_t)used;
}

/* May the only line, which has no newline, be a value? One that may not has been answered. */
static bool only_line(struct tcp *tcp, struct turn *turn, struct span rest)
{
    struct hello hello;
    char why[HELLO_WHY];
    if (hello_read(rest, &hello, why)) {
        (void)tcp_say_error(tcp, turn, EVENT_INVALID_JSON,
                            "hello: the line did not come to its end");
        return false;
    }
    return tcp_admit(tcp, turn, (struct span){0}) == 0;
}

/*
 * A last line without its newline is a value too: `printf '…' | nc` sends one.
 * But of a named producer that died while it wrote, the kernel sends the beginning
 * of a line: to count that as a value would make the producer, when it resumes,
 * go on behind an event that nobody has. It counts only if it is taken.
 */
static void last_line(struct tcp *tcp, struct turn *turn, struct span rest)
{
    struct refusal refusal = {.code = EVENT_OVERLOADED, .message = "event: no room at the moment"};
    unsigned taken;
    if (tcp->state == STATE_FIRST && !only_line(tcp, turn, rest))
        return;
    bool good = parse(tcp, turn, rest, 0, &refusal) == EVENT_ACCEPTED;
    if (good && !flush(tcp, turn, 1, &taken)) {
        refusal = (struct refusal){EVENT_OVERLOADED, "event: no room at the moment"};
        good = false;
    }
    if (!good && tcp->producer == NULL)
        (void)refuse(tcp, turn, &refusal); /* without a name it needs no room */
    put_hold(tcp, turn);
}

static void ended(struct wire *wire, struct turn *turn)
{
    struct tcp *tcp = mine(wire);
    struct span rest = conn_rest(wire->conn);
    tcp->finishing = true;
    if (tcp->format == FORMAT_NDJSON && tcp->state != STATE_SKIPPING && !blank(rest))
        last_line(tcp, turn, rest);
    ack_when_due(tcp, turn);
    conn_finish(wire->conn, turn);
}

static void drain(struct wire *wire, struct turn *turn)
{
    mine(wire)->finishing = true;
    ack_when_due(mine(wire), turn);
    conn_finish(wire->conn, turn);
}

static void fini(struct wire *wire, struct turn *turn)
{
    struct tcp *tcp = mine(wire);
    (void)turn;
    if (tcp->producer != NULL)
        tcp->house->intake->producer_close(tcp->house->intake, tcp->producer, wire->conn);
    free(tcp->principal);
    free(tcp);
}

static const struct wire_ops tcp_ops = {
    .name = "tcp",
    .input = input,
    .ended = ended,
    .released = released,
    .deadline = deadline,
    .drain = drain,
    .fini = fini,
};

struct wire *tcp_open(struct tcp_house *house, struct turn *turn, struct conn *conn)
{
    struct tcp *tcp = calloc(1, sizeof *tcp);
    if (tcp == NULL)
        return NULL;
    tcp->wire = (struct wire){&tcp_ops, conn};
    tcp->house = house;
    tcp->active_ns = turn->now_ns;
    set_deadline(tcp, turn);
    return &tcp->wire;
}
