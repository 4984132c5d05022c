/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What form the body has is said by its Content-Type, or else by its first value: "[" begins an
 * array; a value with more behind its line is the first of one a line; anything else is one event.
 * A broken line costs that line; behind a broken element of an array nobody can say where the next
 * one begins, so the array ends there.
 *
 * Indices and refusals stay in order: a value that cannot
 * be parsed first sends the group before it to the intake.
 */
#include "proto/http_ingest.h"

#include "proto/cart.h"

#include <stdio.h>

enum form {
    FORM_UNKNOWN,
    FORM_LINES,
    FORM_ONE,         /* the one event has been read: nothing may follow */
    FORM_ARRAY_FIRST, /* behind "[": a value or "]" */
    FORM_ARRAY_VALUE, /* behind ",": a value */
    FORM_ARRAY_NEXT,  /* behind a value: "," or "]" */
    FORM_ARRAY_END,   /* behind "]": nothing may follow */
    FORM_STOPPED,     /* the rest is not read: broken, or no room */
};

struct ingest {
    bool started;
    bool overloaded;
    bool any; /* was there anything but white space? */
    enum form form;
    uint64_t next;   /* the index of the next value */
    uint64_t first;  /* the index of the group's first */
    unsigned events; /* in the group */
    struct source source;
    struct batch_shown shown;
    struct receipt receipt;
};

/* What every step below works with. */
struct job {
    struct http_ingest *door;
    struct turn *turn;
    struct http_request *request;
    struct ingest *ingest;
    bool last; /* the body ends with this run */
};

size_t http_ingest_state_bytes(void)
{
    return sizeof(struct ingest);
}

void http_ingest_forget(void *context, struct http_request *request)
{
    struct ingest *ingest = request->state;
    (void)context;
    receipt_fini(&ingest->receipt);
}

/* ── To the intake ──────────────────────────────────────────────────────────────────────────── */

static void refuse(struct job *job, struct span id, const struct refusal *refusal)
{
    intake_count_refused(job->turn, job->ingest->source.received, refusal->code);
    receipt_refuse(&job->ingest->receipt, job->ingest->next, id, refusal);
}

/* No room for event `index` and those behind it: said once, for all. */
static void stop_overloaded(struct job *job, uint64_t index, struct span id)
{
    struct refusal refusal = {.code = EVENT_OVERLOADED};
    snprintf(refusal.message, sizeof refusal.message,
             "no room at the moment for this event, nor for those behind it: send them again");
    job->ingest->next = index;
    refuse(job, id, &refusal);
    job->ingest->overloaded = true;
    job->ingest->form = FORM_STOPPED;
}

static void flush(struct job *job)
{
    struct ingest *ingest = job->ingest;
    struct http_ingest *door = job->door;
    unsigned events = ingest->events;
    if (events == 0)
        return;
    ingest->events = 0;
    unsigned judged = door->intake->accept(door->intake, job->turn, &ingest->source, door->events,
                                           door->streams, events, door->verdicts);
    for (unsigned i = 0; i < judged; i++)
        receipt_add(&ingest->receipt, ingest->first + i, door->events[i].id, &door->verdicts[i]);
    job->request->rate.events -=
        events - judged; /* they were in this second's: see within_rate() */
    if (judged < events)
        stop_overloaded(job, ingest->first + judged, door->events[judged].id);
}

static void refuse_in_order(struct job *job, struct span id, const struct refusal *refusal)
{
    flush(job);
    if (job->ingest->form == FORM_STOPPED)
        return;
    refuse(job, id, refusal);
    job->ingest->next++;
}

static void refuse_syntax(struct job *job, const char *message)
{
    struct refusal refusal = {.code = EVENT_INVALID_JSON};
    snprintf(refusal.message, sizeof refusal.message, "%s", message);
    refuse_in_order(job, (struct span){NULL, 0}, &refusal);
}

static void stop_syntax(struct job *job, const char *message)
{
    refuse_syntax(job, message);
    job->ingest->form = FORM_STOPPED;
}

/* limits.events_per_second: a full second's allowance at each new second. */
static bool within_rate(struct job *job, struct refusal *refusal)
{
    struct http_rate *rate = &job->request->rate;
    uint64_t most = job->door->events_per_second, second = job->turn->now_ns / 1000000000;
    if (most == 0)
        return true;
    if (rate->second != second)
        *rate = (struct http_rate){.second = second};
    if (rate->events++ < most)
        return true;
    refusal->code = EVENT_RATE_LIMITED;
    snprintf(refusal->message, sizeof refusal->message,
             "event: more than %llu events in a second from this connection",
             (unsigned long long)most);
    return false;
}

/* `event`, which is the next place of the group, has been parsed with this result. */
static void add(struct job *job, struct event *event, enum event_code code, struct refusal *refusal)
{
    struct ingest *ingest = job->ingest;
    if (LIKELY(code == EVENT_ACCEPTED))
        code = cart_unwrap(event, &job->door->intake->rules, refusal);
    if (LIKELY(code == EVENT_ACCEPTED) && UNLIKELY(!within_rate(job, refusal)))
        code = refusal->code;
    if (UNLIKELY(code != EVENT_ACCEPTED)) {
        struct span id = event->id;
        refuse_in_order(job, id, refusal);
        return;
    }
    if (ingest->events == 0)
        ingest->first = ingest->next;
    job->door->streams[ingest->events] = cart_stream(job->door->intake->streams, event);
    ingest->events++;
    ingest->next++;
    if (ingest->events == INTAKE_MAX)
        flush(job);
}

static struct event *place(struct job *job)
{
    struct event *event = &job->door->events[job->ingest->events];
    event->id = (struct span){NULL, 0};
    return event;
}

static void add_text(struct job *job, struct span text)
{
    struct refusal refusal;
    struct event *event = place(job);
    add(job, event, event_parse(text, &job->door->intake->rules, event, &refusal), &refusal);
}

static void add_value(struct job *job, const struct json_value *value)
{
    struct refusal refusal;
    struct event *event = place(job);
    add(job, event, event_from_value(value, &job->door->intake->rules, event, &refusal), &refusal);
}

/* ── Cutting ────────────────────────────────────────────────────────────────────────────────── */

static bool is_space(uint8_t byte)
{
    return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t';
}

static size_t skip_space(struct span text)
{
    size_t at = 0;
    while (at < text.length && is_space(text.at[at]))
        at++;
    return at;
}

static struct span trim(struct span text)
{
    text = span_from(text, skip_space(text));
    while (text.length > 0 && is_space(text.at[text.length - 1]))
        text.length--;
    return text;
}

/* Each step below returns how many bytes it used; 0:
 * more are needed. Never 0 at the end of the body. */

/* consume() has skipped the white space before it, so there is something in the line. */
static size_t step_line(struct job *job, struct span rest)
{
    const uint8_t *newline = memchr(rest.at, '\n', rest.length);
    if (newline == NULL && !job->last)
        return 0;
    size_t length = newline == NULL ? rest.length : (size_t)(newline - rest.at);
    add_text(job, (struct span){rest.at, length});
    return newline == NULL ? length : length + 1;
}

/* Has the value at the start of `rest` come to its end?
 * Its bytes, 0 if that cannot be told yet, or a json_error. */
static ptrdiff_t whole_value(const struct job *job, struct span rest, struct json_value *value)
{
    size_t fault = 0;
    ptrdiff_t used = json_value(rest, value, &fault);
    bool open = used == JSON_TRUNCATED || (used > 0 && (size_t)used == rest.length);
    return open && !job->last ? 0 : used;
}

static size_t step_element(struct job *job, struct span rest)
{
    struct json_value value;
    if (rest.at[0] == ']' && job->ingest->form == FORM_ARRAY_FIRST) {
        job->ingest->form = FORM_ARRAY_END;
        return 1;
    }
    ptrdiff_t used = whole_value(job, rest, &value);
    if (used == 0)
        return 0;
    if (used < 0) {
        stop_syntax(job, used == JSON_TOO_DEEP
                             ? "event: nested too deeply; the rest of the array is not read"
                             : "event: not valid JSON; the rest of the array is not read");
        return rest.length;
    }
    job->ingest->form = FORM_ARRAY_NEXT;
    add_value(job, &value);
    return (size_t)used;
}

static size_t step_between(struct job *job, struct span rest)
{
    if (rest.at[0] == ',') {
        job->ingest->form = FORM_ARRAY_VALUE;
        return 1;
    }
    if (rest.at[0] == ']') {
        job->ingest->form = FORM_ARRAY_END;
        return 1;
    }
    stop_syntax(job, "array: a comma or ] is missing; the rest is not read");
    return rest.length;
}

static size_t step_behind(struct job *job, struct span rest)
{
    stop_syntax(job, "body: something follows the end of the JSON text");
    return rest.length;
}

/* A first line that looks whole is one of many, even if it is broken. */
static bool looks_like_lines(struct span rest)
{
    const uint8_t *newline = memchr(rest.at, '\n', rest.length);
    if (newline == NULL)
        return false;
    struct span line = trim((struct span){rest.at, (size_t)(newline - rest.at)});
    struct span behind = trim(span_from(rest, line.length));
    return line.length > 1 && line.at[0] == '{' && line.at[line.length - 1] == '}' &&
           behind.length > 0;
}

static size_t step_first(struct job *job, struct span rest)
{
    struct ingest *ingest = job->ingest;
    struct json_value value;
    if (rest.at[0] == '[') {
        ingest->form = FORM_ARRAY_FIRST;
        return 1;
    }
    ptrdiff_t used = whole_value(job, rest, &value);
    if (used == 0)
        return 0;
    struct span behind = used < 0 ? rest : span_from(rest, (size_t)used);
    size_t space = used < 0 ? 0 : skip_space(behind);
    bool more = used > 0 && space < behind.length;
    if ((used < 0 && looks_like_lines(rest)) || (more && memchr(behind.at, '\n', space) != NULL)) {
        ingest->form = FORM_LINES;
        return step_line(job, rest);
    }
    if (used > 0 && !more && !job->last)
        return 0; /* another line may yet come */
    if (used > 0 && !more)
        add_value(job, &value);
    else
        add_text(job, trim(rest)); /* to be told what is wrong with it */
    if (ingest->form != FORM_STOPPED)
        ingest->form = more || used < 0 ? FORM_STOPPED : FORM_ONE;
    return rest.length;
}

static size_t step(struct job *job, struct span rest)
{
    switch (job->ingest->form) {
    case FORM_UNKNOWN:
        return step_first(job, rest);
    case FORM_LINES:
        return step_line(job, rest);
    case FORM_ARRAY_FIRST:
    case FORM_ARRAY_VALUE:
        return step_element(job, rest);
    case FORM_ARRAY_NEXT:
        return step_between(job, rest);
    case FORM_ONE:
    case FORM_ARRAY_END:
        return step_behind(job, rest);
    case FORM_STOPPED:
        return rest.length;
    }
    must(false);
    return 0;
}

static size_t consume(struct job *job, struct span run)
{
    size_t used = 0;
    for (;;) {
        used += skip_space(span_from(run, used));
        if (used == run.length)
            break;
        job->ingest->any = true;
        size_t bytes = step(job, span_from(run, used));
        if (bytes == 0)
            break;
        used += bytes;
    }
    flush(job);
    return used;
}

static void end(struct job *job)
{
    enum form form = job->ingest->form;
    if (!job->ingest->any)
        stop_syntax(job, "body: empty");
    else if (form == FORM_ARRAY_FIRST || form == FORM_ARRAY_VALUE || form == FORM_ARRAY_NEXT)
        stop_syntax(job, "array: it ends before its ]");
}

/* ── The answer ─────────────────────────────────────────────────────────────────────────────── */

static unsigned status_of(const struct receipt *receipt)
{
    unsigned codes = receipt->codes;
    if ((codes & 1u << EVENT_OVERLOADED) != 0)
        return 503;
    if ((codes & 1u << EVENT_RATE_LIMITED) != 0)
        return 429;
    if (codes == 0 || receipt->accepted + receipt->duplicates > 0)
        return 202;
    if (codes == 1u << EVENT_TOO_LARGE)
        return 413;
    if (codes == 1u << EVENT_FORBIDDEN)
        return 403;
    return codes == 1u << EVENT_UNAUTHORIZED ? 401 : 400;
}

/* {…} around what `front` holds already and the receipt. */
static void answer(struct job *job, unsigned status, const struct buf *front)
{
    const struct receipt *receipt = &job->ingest->receipt;
    char line[40] = "", stack[1024];
    struct http_response response = {.status = status};
    size_t most = receipt_print_bytes_max(receipt) + front->length + 2;
    struct buf body = {.max = most};
    bool lent = most <= sizeof stack;
    if (lent)
        body = (struct buf){.at = (uint8_t *)stack, .capacity = sizeof stack, .max = sizeof stack};
    if (status == 503 || status == 429)
        snprintf(line, sizeof line, "Retry-After: %u\r\n",
                 status == 429 ? 1 : job->door->intake->retry_after_s(job->door->intake));
    response.headers = span_of_string(line);
    if (buf_put(&body, "{", 1) && buf_put(&body, front->at, front->length) &&
        receipt_print(receipt, &body) && buf_put(&body, "}", 1)) {
        response.body = buf_span(&body);
        http_respond(job->request, job->turn, &response, receipt);
    } else {
        http_refuse_for_now(job->request, job->turn, 503, 1, "OVERLOADED",
                            "no memory for the answer");
    }
    if (!lent)
        buf_fini(&body);
}

/* ── The request ────────────────────────────────────────────────────────────────────────────── */

/* 0: *out is the level; else what is wrong. */
static const char *read_level(const struct http_request *request, const struct intake *intake,
                              enum ack_level *out)
{
    static const char *const names[] = {"none", "received", "spooled", "stored"};
    char name[16] = "spooled";
    unsigned level = 0;
    if (http_query_has(request, "ack") && !http_query(request, "ack", name, sizeof name))
        level = COUNT_OF(names);
    while (level < COUNT_OF(names) && strcmp(name, names[level]) != 0)
        level++;
    if (level == COUNT_OF(names))
        return "ack: must be none, received, spooled or stored";
    if (level == ACK_STORED && !intake->stores)
        return "ack: stored is not to be had: this node has no Postgres (postgres.conninfo)";
    *out = (enum ack_level)level;
    return NULL;
}

bool http_ingest_level(struct http_request *request, struct turn *turn, const struct intake *intake,
                       enum ack_level *out)
{
    const char *wrong = read_level(request, intake, out);
    if (wrong != NULL)
        http_refuse(request, turn, 400, (struct span){NULL, 0}, "INVALID_FIELD", wrong);
    return wrong == NULL;
}

static bool says_lines(const struct http_request *request)
{
    struct span type = http_header(request, "content-type");
    if (type.length == 0)
        return false;
    const uint8_t *semicolon = memchr(type.at, ';', type.length);
    if (semicolon != NULL)
        type.length = (size_t)(semicolon - type.at);
    type = trim(type);
    return http_same(type, SPAN("application/x-ndjson")) ||
           http_same(type, SPAN("application/ndjson")) ||
           http_same(type, SPAN("application/jsonl")) ||
           http_same(type, SPAN("application/x-jsonlines"));
}

/* False: it has been refused. */
static bool start(struct job *job)
{
    struct http_request *request = job->request;
    struct ingest *ingest = job->ingest;
    struct intake *intake = job->door->intake;
    enum ack_level level = ACK_SPOOLED;
    if (!http_ingest_level(request, job->turn, intake, &level))
        return false;
    if (!intake->open(intake)) {
        http_refuse_for_now(request, job->turn, 503, intake->retry_after_s(intake), "OVERLOADED",
                            "no room for events at the moment: nothing was taken");
        return false;
    }
    receipt_start(&ingest->receipt, shard_index(job->turn->shard), level);
    ingest->form = says_lines(request) ? FORM_LINES : FORM_UNKNOWN;
    ingest->source.received = COUNT_EVENTS_RECEIVED_HTTP;
    ingest->started = true;
    return true;
}

size_t http_ingest_feed(void *context, struct turn *turn, struct http_request *request, uint8_t *at,
                        size_t length, bool last)
{
    struct job job = {context, turn, request, request->state, last};
    if (!job.ingest->started && !start(&job))
        return length;
    job.ingest->source.principal = request->principal;
    job.ingest->source.batch = &job.ingest->shown;
    size_t used = consume(&job, span_of(at, length));
    if (!last && !job.ingest->overloaded)
        return used;
    if (last)
        end(&job);
    answer(&job, status_of(&job.ingest->receipt), &(struct buf){0});
    return length;
}

void http_ingest_cut(void *context, struct turn *turn, struct http_request *request,
                     unsigned status, const char *code, const char *message)
{
    struct job job = {context, turn, request, request->state, true};
    struct buf front = {.max = 1024};
    if (job.ingest->started && buf_print(&front, "\"code\":\"%s\",\"message\":", code) &&
        buf_put_json(&front, span_of_string(message)) && buf_put(&front, ",", 1))
        answer(&job, status, &front);
    buf_fini(&front);
}
