/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The door against an intake of the test's own, with as much room as the test gives it. Each
 * dialogue must come out the same however the bytes are cut and however often there is no room.
 *
 * Longer than a file should be: one rig, and the dialogues that it plays in all these ways.
 */
#include "tests/unit/fake_conn.c"
#include "tests/unit/unit.h"
#include "tests/unit/ws_client.h"
#include "ws/ingest.h"

#include <stdio.h>
#include <stdlib.h>

enum { OUR_SHARD = 1, TAKEN_MAX = 4096 };

/* ── An intake ──────────────────────────────────────────────────────────────────────────────── */

static struct {
    struct intake intake;
    unsigned room;    /* events that it takes before it is full */
    unsigned portion; /* room after each time that it was full; 0: as it is */
    unsigned calls, taken;
    char log[1 << 20]; /* what was taken: "type/id/stream " each */
    size_t log_length;
} fake;

static struct verdict judge(const struct event *event)
{
    struct verdict verdict = {.code = EVENT_ACCEPTED, .ticket = {fake.taken, OUR_SHARD}};
    if (span_is(event->id, "twin"))
        verdict = (struct verdict){.code = EVENT_DUPLICATE, .ticket = {7, OUR_SHARD}};
    else if (event->id.length > 4 && memcmp(event->id.at, "far", 3) == 0)
        verdict = (struct verdict){.code = EVENT_DUPLICATE,
                                   .ticket = {event->id.at[4], (uint32_t)(event->id.at[3] - '0')}};
    else if (span_is(event->id, "theirs"))
        verdict = (struct verdict){.code = EVENT_FORBIDDEN,
                                   .refusal = {EVENT_FORBIDDEN, "userId: not yours"}};
    return verdict;
}

static unsigned fake_accept(struct intake *intake, struct turn *turn, const struct source *source,
                            struct event *events, const struct stream *const *streams,
                            unsigned count, struct verdict *verdicts)
{
    (void)intake;
    (void)turn;
    assert_int_equal(source->received, COUNT_EVENTS_RECEIVED_WS);
    assert_true(count > 0 && count <= INTAKE_MAX);
    fake.calls++;
    unsigned i = 0;
    for (; i < count && fake.room > 0; i++, fake.room--) {
        const struct event *event = &events[i];
        fake.log_length +=
            (size_t)snprintf(fake.log + fake.log_length, sizeof fake.log - fake.log_length,
                             "%.*s/%.*s/%s ", SPAN_ARGS(event->type), SPAN_ARGS(event->id),
                             streams[i] == NULL ? "" : streams[i]->name);
        verdicts[i] = judge(event);
        fake.taken++;
    }
    return i;
}

static bool fake_is_open(const struct intake *intake)
{
    (void)intake;
    return fake.room > 0;
}

/* ── A connection ───────────────────────────────────────────────────────────────────────────── */

static struct conn conn;
static struct counters counters;
static struct turn turn = {.counters = &counters, .now_ns = 1000, .wall_us = 1431857103123456};
static struct ingest_door *door;
static const struct handshake plain = {.accept = "-"};

static int open_door(void **state)
{
    (void)state;
    char why[256];
    struct streams *streams = streams_open();
    assert_non_null(streams);
    assert_int_equal(streams_add_defaults(streams, why), 0);
    fake.intake = (struct intake){.accept = fake_accept, .open = fake_is_open, .streams = streams};
    fake.intake.rules.bytes_max = 2000;
    fake.intake.rules.bare_type = SPAN("bare");
    const struct ingest_options options = {
        .intake = &fake.intake,
        .shard = OUR_SHARD,
        .leeway_ns = 30000000000,
        .websocket = {.message_bytes = 1 << 20,
                      .idle_ns = 1 << 30,
                      .close_ns = 1 << 20,
                      .deflate_from = SIZE_MAX},
    };
    door = ingest_door_open(&options);
    return door == NULL;
}

static int close_door(void **state)
{
    (void)state;
    ingest_door_close(door);
    streams_close((struct streams *)(uintptr_t)fake.intake.streams);
    return 0;
}

static void start(enum ack_level level, unsigned room)
{
    fake_init(&conn);
    fake.room = room;
    fake.calls = fake.taken = 0;
    fake.log_length = 0;
    fake.log[0] = '\0';
    memset(&counters, 0, sizeof counters);
    assert_true(ingest_start(door, &turn, &conn, &plain, NULL, level));
    fake_forget(&conn);
}

static void stop(void)
{
    fake_fini(&conn, &turn);
}

/* All that was sent, as lines of text. */
static const char *sent(void)
{
    static char text[1 << 20];
    struct span rest = buf_span(&conn.sent), payload;
    struct frame frame;
    size_t length = 0;
    while (server_frame(&rest, &frame, &payload)) {
        assert_int_equal(frame.opcode, FRAME_TEXT);
        length +=
            (size_t)snprintf(text + length, sizeof text - length, "%.*s\n", SPAN_ARGS(payload));
    }
    text[length] = '\0';
    return text;
}

static void say(const char *text)
{
    struct buf in = {.max = 1 << 20};
    client_text(&in, text);
    fake_receive(&conn, &turn, in.at, in.length);
    buf_fini(&in);
}

static void release_all(void)
{
    fake_release(&conn, &turn, conn.holds);
}

#define TIME          "\"timestamp\":\"2015-05-17T10:05:03.123456Z\"}\n"
#define ACK(id)       "{\"type\":\"ack\",\"eventId\":\"" id "\",\"status\":\"accepted\"," TIME
#define DUPLICATE(id) "{\"type\":\"ack\",\"eventId\":\"" id "\",\"status\":\"duplicate\"," TIME
#define CART(id)                                                                                   \
    "{\"type\":\"cart_event\",\"data\":{\"eventId\":\"" id                                         \
    "\",\"eventType\":\"item_added\",\"userId\":\"u\",\"metadata\":{}}}"

/* ── The dialogue of the source document ────────────────────────────────────────────────────── */

static void connected(void **state)
{
    (void)state;
    fake_init(&conn);
    assert_true(ingest_start(door, &turn, &conn, &plain, NULL, ACK_SPOOLED));
    const uint8_t *end = memmem(conn.sent.at, conn.sent.length, "\r\n\r\n", 4);
    assert_non_null(end);
    buf_drop(&conn.sent, (size_t)(end + 4 - conn.sent.at));
    assert_string_equal(sent(), "{\"type\":\"connected\",\"connectionId\":\"0001000200000003\","
                                "\"message\":\"Connected to the event stream\"," TIME);
    stop();
}

static void singles(void **state)
{
    (void)state;
    start(ACK_SPOOLED, 100);
    say(CART("a"));
    assert_int_equal(conn.sent.length, 0); /* not before it is durable */
    assert_int_equal(conn.holds, 1);
    assert_true(conn.hold[0].has_through && !conn.hold[0].has_other);
    assert_int_equal(conn.hold[0].through.sequence, 0);
    assert_int_equal(conn.hold[0].level, ACK_SPOOLED);
    say("{\"data\":{\"type\":\"chat\",\"id\":\"b\"},\"type\":\"event\"}");
    say("{\"type\":\"event\",\"data\":{\"type\":\"chat\"}}");
    say("{\"type\":\"event\",\"data\":{\"id\":\"twin\",\"type\":\"chat\"}}");
    say("{\"type\":\"event\",\"data\":{\"any\":\"thing\"}}");
    release_all();
    assert_string_equal(
        sent(), ACK("a") ACK("b") "{\"type\":\"ack\",\"status\":\"accepted\"," TIME DUPLICATE(
                    "twin") "{\"type\":\"ack\",\"status\":\"accepted\"," TIME);
    assert_string_equal(fake.log, "item_added/a/cart_events chat/b/ chat// chat/twin/ bare// ");
    stop();
}

static void binary_and_escapes(void **state)
{
    (void)state;
    static const char text[] = "{\"t\\u0079pe\":\"ev\\u0065nt\",\"data\":{\"type\":\"c\\u0068at\","
                               "\"id\":\"q\\\"\\u00e9\"}}";
    struct buf in = {.max = 1 << 20};
    start(ACK_SPOOLED, 100);
    client_frame(&in, FIN | FRAME_BINARY, text, sizeof text - 1);
    fake_receive(&conn, &turn, in.at, in.length);
    release_all();
    assert_string_equal(sent(), ACK("q\\\"\xc3\xa9"));
    assert_string_equal(fake.log, "chat/q\"\xc3\xa9/ ");
    stop();
    buf_fini(&in);
}

/* A cart_event's further members belong to it, as at the other doors. */
static void cart_with_more(void **state)
{
    (void)state;
    start(ACK_SPOOLED, 100);
    say("{\"type\":\"cart_event\",\"id\":\"outer\",\"x\":1,\"data\":{\"eventType\":\"item_added\"}"
        "}");
    say("{\"type\":\"cart_event\",\"data\":{\"userId\":\"u\",\"eventId\":\"e\"}}");
    release_all();
    assert_string_equal(fake.log, "item_added/outer/cart_events ");
    assert_string_equal(sent(),
                        ACK("outer") "{\"type\":\"error\",\"code\":\"MISSING_TYPE\",\"message\":"
                                     "\"type: is required\",\"eventId\":\"e\"," TIME);
    stop();
}

static void refused(const char *message, const char *code, const char *id)
{
    char expected[128], named[64] = "";
    start(ACK_SPOOLED, 100);
    say(message);
    release_all();
    snprintf(expected, sizeof expected, "{\"type\":\"error\",\"code\":\"%s\",\"message\":\"", code);
    assert_memory_equal(sent(), expected, strlen(expected));
    if (*id != '\0')
        snprintf(named, sizeof named, ",\"eventId\":\"%s\",\"timestamp\"", id);
    assert_non_null(strstr(sent(), named));
    if (*id == '\0')
        assert_null(strstr(sent(), "eventId"));
    assert_int_equal(fake.taken, 0);
    assert_int_equal(counted(&counters, COUNT_EVENTS_RECEIVED_WS), 1);
    assert_false(conn.finished);
    say(CART("next")); /* and the connection stays */
    assert_int_equal(fake.taken, 1);
    stop();
}

static void refusals(void **state)
{
    (void)state;
    refused("", "INVALID_JSON", "");
    refused("hello", "INVALID_JSON", "");
    refused("[1]", "INVALID_JSON", "");
    refused("{\"type\":\"event\",\"data\":{}} x", "INVALID_JSON", "");
    refused("{\"type\":\"event\",\"data\":{}", "INVALID_JSON", "");
    refused("{\"type\":\"event\",}", "INVALID_JSON", "");
    refused("{\"type\":\"event\",\"data\":{\"type\":\"t\"} \n", "INVALID_JSON", "");
    refused("{\"type\":\"event\",\"data\":{\"type\":\"t\"}}}", "INVALID_JSON", "");
    refused("{\"type\" \"event\"}", "INVALID_JSON", "");
    refused("{}", "MISSING_TYPE", "");
    refused("{\"data\":{\"id\":\"x\"}}", "MISSING_TYPE", "x");
    refused("{\"type\":\"cart\",\"data\":{\"eventId\":\"x\"}}", "UNSUPPORTED_TYPE", "x");
    refused("{\"type\":7,\"data\":{\"id\":\"x\"}}", "UNSUPPORTED_TYPE", "x");
    refused("{\"type\":\"event\"}", "INVALID_FIELD", "");
    refused("{\"type\":\"event\",\"data\":3}", "INVALID_FIELD", "");
    refused("{\"type\":\"batch\",\"data\":{\"id\":\"x\"}}", "INVALID_FIELD", "x");
    refused("{\"type\":\"event\",\"data\":{\"type\":\"a b\",\"id\":\"x\"}}", "INVALID_FIELD", "x");
    refused("{\"type\":\"event\",\"data\":{\"type\":\"a\",\"id\":\"x\",\"data\":\"\\u0000\"}}",
            "UNSTORABLE_TEXT", "x");
}

/* Ids with escapes lie outside the text: each answer names its own all the same. */
static void escaped_ids(void **state)
{
    (void)state;
    struct buf in = {.max = 1 << 20};
    client_text(&in, "{\"type\":\"event\",\"data\":{\"id\":\"o\\u006ee\",\"type\":\"a b\"}}");
    client_text(&in, "{\"type\":\"event\",\"data\":{\"id\":\"t\\u0077o\",\"type\":\"\"}}");
    client_text(&in,
                "{\"type\":\"cart_event\",\"id\":\"thr\\u0065e\",\"data\":{\"userId\":\"u\"}}");
    client_text(&in, "{\"type\":\"cart_event\",\"x\":1,\"data\":{\"eventId\":\"fo\\u0075r\"}}");
    client_text(&in, "{\"type\":\"cart_event\",\"id\":\"fiv\\u0065\",\"data\":{\"eventType\":"
                     "\"item_\\u0061dded\"}}");
    client_text(&in, "{\"type\":\"cart_event\",\"data\":{\"eventId\":\"s\\u0069x\",\"eventType\":"
                     "\"item_\\u0061dded\"}}");
    start(ACK_SPOOLED, 100);
    fake_receive(&conn, &turn, in.at, in.length);
    release_all();
    assert_string_equal(fake.log, "item_added/five/cart_events item_added/six/cart_events ");
    static const char *const ids[] = {"\"one\"",  "\"two\"",  "\"three\"",
                                      "\"four\"", "\"five\"", "\"six\""};
    const char *rest = sent();
    for (unsigned i = 0; i < COUNT_OF(ids); i++) {
        const char *line = rest;
        rest = strchr(rest, '\n') + 1;
        const char *id = strstr(line, ids[i]);
        assert_true(id != NULL && id < rest);
    }
    stop();
    buf_fini(&in);
}

static void too_large(void **state)
{
    (void)state;
    static char text[4000];
    int length =
        snprintf(text, sizeof text,
                 "{\"type\":\"event\",\"data\":{\"id\":\"big\",\"type\":\"t\",\"data\":\"");
    memset(text + length, 'x', 2500);
    snprintf(text + length + 2500, 8, "\"}}");
    refused(text, "TOO_LARGE", "big");
}

static void refused_by_the_intake(void **state)
{
    (void)state;
    start(ACK_SPOOLED, 100);
    say("{\"type\":\"event\",\"data\":{\"id\":\"theirs\",\"type\":\"chat\"}}");
    release_all();
    assert_string_equal(
        sent(), "{\"type\":\"error\",\"code\":\"FORBIDDEN\",\"message\":\"userId: not yours\","
                "\"eventId\":\"theirs\"," TIME);
    stop();
}

/* ── Groups, order, waits ───────────────────────────────────────────────────────────────────── */

static void one_run_is_one_group(void **state)
{
    (void)state;
    struct buf in = {.max = 1 << 20};
    start(ACK_STORED, 1000);
    for (unsigned i = 0; i < INTAKE_MAX + 3; i++)
        client_text(&in, i == 2 ? "broken" : CART("a"));
    fake_receive(&conn, &turn, in.at, in.length);
    assert_int_equal(fake.calls, 2);
    assert_int_equal(conn.holds, 2);
    assert_int_equal(conn.hold[1].through.sequence, INTAKE_MAX + 1);
    assert_int_equal(conn.hold[1].level, ACK_STORED);
    release_all();
    const char *error = strstr(sent(), "INVALID_JSON"); /* in its place */
    assert_non_null(error);
    assert_int_equal((size_t)(error - sent()),
                     2 * strlen(ACK("a")) + strlen("{\"type\":\"error\",\"code\":\""));
    assert_int_equal(counters.histogram[HISTOGRAM_ACK_NS].sum, 0);
    stop();
    buf_fini(&in);
}

static void duplicates_of_other_shards(void **state)
{
    (void)state;
    start(ACK_SPOOLED, 100);
    say("{\"type\":\"batch\",\"data\":[{\"id\":\"far3C\",\"type\":\"t\"},{\"id\":\"far4B\","
        "\"type\":\"t\"},"
        "{\"id\":\"far3A\",\"type\":\"t\"},{\"id\":\"mine\",\"type\":\"t\"}]}");
    assert_int_equal(conn.holds, 2); /* an empty one for the one shard, the reply for the other */
    assert_int_equal(conn.hold[0].reply.length, 0);
    assert_int_equal(conn.hold[0].other.shard, 3);
    assert_int_equal(conn.hold[0].other.sequence, 'C');
    assert_int_equal(conn.hold[1].other.shard, 4);
    assert_int_equal(conn.hold[1].other.sequence, 'B');
    assert_true(conn.hold[1].has_through);
    assert_int_equal(conn.hold[1].through.sequence, 3);
    fake_release(&conn, &turn, 1);
    assert_int_equal(conn.sent.length, 0);
    release_all();
    assert_string_equal(sent(),
                        "{\"type\":\"ack\",\"accepted\":1,\"duplicates\":3,\"rejected\":[]," TIME);
    stop();
}

static void no_acks_wanted(void **state)
{
    (void)state;
    start(ACK_NONE, 100);
    say(CART("a"));
    say("{\"type\":\"batch\",\"data\":[{\"type\":\"t\"}]}");
    assert_int_equal(conn.holds, 0);
    say("broken");
    release_all();
    assert_non_null(strstr(sent(), "INVALID_JSON"));
    assert_int_equal(fake.taken, 2);
    stop();
}

static void batch(void **state)
{
    (void)state;
    start(ACK_SPOOLED, 100);
    say("{\"type\":\"batch\",\"data\":[]}");
    say("{\"type\":\"batch\",\"data\":[{\"type\":\"a\"},7,{\"id\":\"x\",\"type\":\"?\"}," CART(
        "c") ",{\"id\":\"twin\",\"type\":\"t\"}]}");
    release_all();
    assert_string_equal(fake.log, "a// item_added/c/cart_events t/twin/ ");
    const char *second = strchr(sent(), '\n') + 1;
    assert_memory_equal(sent(),
                        "{\"type\":\"ack\",\"accepted\":0,\"duplicates\":0,\"rejected\":[]," TIME,
                        (size_t)(second - sent()));
    static const char front[] = "{\"type\":\"ack\",\"accepted\":2,\"duplicates\":1,\"rejected\":[{"
                                "\"index\":1,\"code\":\"INVALID_FIELD\"";
    assert_memory_equal(second, front, sizeof front - 1);
    assert_non_null(strstr(second, "{\"index\":2,\"code\":\"INVALID_FIELD\""));
    assert_int_equal(counted(&counters, COUNT_EVENTS_REFUSED_INVALID_FIELD), 2);
    stop();
}

/* ── No room ────────────────────────────────────────────────────────────────────────────────── */

/* A conversation with everything in it:
 * escapes (decoded in place), refusals in between, batches. */
static struct buf conversation(void)
{
    struct buf in = {.max = 1 << 20};
    char text[16384];
    client_text(&in, CART("one"));
    client_text(&in, "{\"type\":\"event\",\"data\":{\"type\":\"c\\u0068at\",\"id\":"
                     "\"t\\\"w\\u00e9o\\\\\",\"data\":\"\\\"\"}}");
    client_text(&in, "{\"type\":\"nonsense\",\"data\":{\"id\":\"n\"}}");
    client_frame(&in, FRAME_TEXT, "{\"type\":\"event\",\"data\":{\"type\":\"cut\",\"i", 39);
    client_frame(&in, FIN | FRAME_CONTINUATION, "d\":\"th\\\"ree\"}}", 14);
    size_t length = (size_t)snprintf(text, sizeof text,
                                     "{\"type\":\"batch\",\"data\":[{\"bad\":1,\"type\":\"\"}");
    for (unsigned i = 0; i < 150; i++)
        length += (size_t)snprintf(text + length, sizeof text - length,
                                   i % 7 == 3 ? " , {\"id\":\"b\\\"%u\",\"type\":\"\\u0062atched\"}"
                                              : ",{\"id\":\"b%u\",\"type\":\"batched\"}",
                                   i);
    snprintf(text + length, sizeof text - length, ",5]}");
    client_text(&in, text);
    client_text(&in, CART("last"));
    return in;
}

static char log_expected[1 << 20], sent_expected[1 << 20];

static void compare(void)
{
    release_all();
    assert_false(conn.throttled || conn.finished || conn.aborted);
    assert_int_equal(conn.kept.length, 0);
    assert_string_equal(fake.log, log_expected);
    assert_string_equal(sent(), sent_expected);
}

/* However little room there is at a time: the same
 * events once, in the same order, and the same answers. */
static void room_for_few(void **state)
{
    (void)state;
    struct buf in = conversation();
    start(ACK_SPOOLED, 1000);
    fake_receive(&conn, &turn, in.at, in.length);
    release_all();
    assert_int_equal(fake.taken, 154);
    snprintf(log_expected, sizeof log_expected, "%s", fake.log);
    snprintf(sent_expected, sizeof sent_expected, "%s", sent());
    stop();
    for (unsigned room = 0; room < 160; room++) {
        for (unsigned portion = 1; portion < 80; portion += portion < 6 ? 1 : 36) {
            start(ACK_SPOOLED, room);
            fake_receive(&conn, &turn, in.at, in.length);
            while (conn.throttled) {
                fake_open(&conn, &turn); /* too early: nothing happens */
                fake.room = portion;
                fake_open(&conn, &turn);
            }
            compare();
            stop();
        }
    }
    buf_fini(&in);
}

static void room_for_few_byte_by_byte(void **state)
{
    (void)state;
    struct buf in = conversation();
    for (unsigned portion = 1; portion < 6; portion++) {
        start(ACK_SPOOLED, 1);
        for (size_t i = 0; i < in.length; i++) {
            fake_receive(&conn, &turn, in.at + i, 1);
            if (conn.throttled && i % 3 == 0) {
                fake.room = portion;
                fake_open(&conn, &turn);
            }
        }
        while (conn.throttled) {
            fake.room = portion;
            fake_open(&conn, &turn);
        }
        compare();
        stop();
    }
    buf_fini(&in);
}

/* The connection goes while things are in the hand: nothing leaks, nothing is answered. */
static void gone_while_full(void **state)
{
    (void)state;
    struct buf in = conversation();
    for (unsigned room = 0; room < 20; room++) {
        start(ACK_SPOOLED, room);
        fake_receive(&conn, &turn, in.at, in.length);
        assert_true(conn.throttled && conn.memory > 0);
        if (room % 2 == 0)
            conn.wire->ops->drain(conn.wire, &turn);
        stop();
    }
    buf_fini(&in);
}

/* What is in the hand counts against what all connections may keep together. */
static void memory_of_all(void **state)
{
    (void)state;
    char text[2000];
    snprintf(text, sizeof text,
             "{\"type\":\"batch\",\"data\":[{\"type\":\"a\",\"data\":\"%01000d\"}]}", 0);
    for (unsigned enough = 0; enough < 2; enough++) {
        start(ACK_SPOOLED, 0);
        conn.memory_max = enough == 0 ? 1000 : 10000;
        say(text);
        assert_int_equal(conn.aborted, enough == 0);
        say(CART("1"));
        fake.room = 100;
        fake_open(&conn, &turn);
        assert_int_equal(conn.memory, 0);
        assert_int_equal(fake.taken, enough == 0 ? 0 : 2);
        stop();
    }
}

static void cut_anywhere(void **state)
{
    (void)state;
    struct buf in = {.max = 1 << 20};
    client_text(&in, CART("one"));
    client_text(&in, "{\"type\":\"batch\",\"data\":[{\"id\":\"tw\\\"o\",\"type\":\"t\"},{}]}");
    client_text(&in, "broken");
    for (size_t cut = 0; cut <= in.length; cut++) {
        start(ACK_RECEIVED, 100);
        fake_receive(&conn, &turn, in.at, cut);
        fake_receive(&conn, &turn, in.at + cut, in.length - cut);
        release_all();
        assert_string_equal(fake.log, "item_added/one/cart_events t/tw\"o/ ");
        assert_non_null(
            strstr(sent(), "\"accepted\":1,\"duplicates\":0,\"rejected\":[{\"index\":1"));
        stop();
    }
    buf_fini(&in);
}

/* ── Tokens, good-byes ──────────────────────────────────────────────────────────────────────── */

static void token_expires(void **state)
{
    (void)state;
    static struct principal principal;
    principal.expires_s = turn.wall_us / 1000000 + 10;
    fake_init(&conn);
    assert_true(ingest_start(door, &turn, &conn, &plain, &principal, ACK_SPOOLED));
    fake_forget(&conn);
    struct turn later = turn;
    for (unsigned i = 0; i < 100 && !conn.holds; i++) {
        assert_true(conn.deadline_ns <= turn.now_ns + 40000000000);
        later.now_ns = conn.deadline_ns;
        fake_receive(&conn, &later, "\x8a\x80....", 6); /* a pong: not silent */
        conn.wire->ops->deadline(conn.wire, &later);
    }
    assert_int_equal(later.now_ns, turn.now_ns + 40000000000); /* ten seconds and the leeway */
    fake_forget(&conn);
    fake_release(&conn, &later, 1);
    assert_non_null(strstr(sent(), "\"code\":\"UNAUTHORIZED\""));
    fake_forget(&conn);
    fake_release(&conn, &later, 1);
    assert_memory_equal(conn.sent.at + 2, "\x03\xf0", 2);
    stop();
}

/* The peer takes nothing any more, in the midst of a run:
 * what came before is judged, and the door is free for others. */
static void aborted_in_a_run(void **state)
{
    (void)state;
    struct buf in = {.max = 1 << 20};
    client_text(&in, CART("one"));
    client_frame(&in, FIN | FRAME_PING, "?", 1);
    client_text(&in, CART("never"));
    start(ACK_SPOOLED, 100);
    conn.sent.max = 1;
    fake_receive(&conn, &turn, in.at, in.length);
    assert_true(conn.aborted);
    assert_string_equal(fake.log, "item_added/one/cart_events ");
    stop();
    start(ACK_SPOOLED, 100);
    say(CART("two"));
    assert_string_equal(fake.log, "item_added/two/cart_events ");
    stop();
    buf_fini(&in);
}

static void answers_before_close(void **state)
{
    (void)state;
    struct buf in = {.max = 1 << 20};
    client_text(&in, CART("one"));
    client_frame(&in, FIN | FRAME_CLOSE, "\x03\xe8", 2);
    start(ACK_SPOOLED, 100);
    fake_receive(&conn, &turn, in.at, in.length);
    assert_true(conn.finished);
    assert_int_equal(conn.sent.length, 0);
    fake_release(&conn, &turn, 1);
    assert_string_equal(sent(), ACK("one"));
    fake_forget(&conn);
    release_all();
    assert_memory_equal(conn.sent.at, "\x88\x02\x03\xe8", 4);
    stop();
    buf_fini(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connected),
        cmocka_unit_test(singles),
        cmocka_unit_test(binary_and_escapes),
        cmocka_unit_test(cart_with_more),
        cmocka_unit_test(refusals),
        cmocka_unit_test(escaped_ids),
        cmocka_unit_test(too_large),
        cmocka_unit_test(refused_by_the_intake),
        cmocka_unit_test(one_run_is_one_group),
        cmocka_unit_test(duplicates_of_other_shards),
        cmocka_unit_test(no_acks_wanted),
        cmocka_unit_test(batch),
        cmocka_unit_test(room_for_few),
        cmocka_unit_test(room_for_few_byte_by_byte),
        cmocka_unit_test(gone_while_full),
        cmocka_unit_test(memory_of_all),
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(token_expires),
        cmocka_unit_test(aborted_in_a_run),
        cmocka_unit_test(answers_before_close),
    };
    return cmocka_run_group_tests_name("ws_ingest", tests, open_door, close_door);
}
