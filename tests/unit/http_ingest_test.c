/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /events and POST /messages against an intake that writes down what it is given. Each body is
 * sent whole, byte by byte, and cut in two at every byte, plain, chunked and by gzip; the events
 * and the answer must be the same.
 *
 * Longer than a file should be: one rig, and every form of body and refusal that it is for.
 */
#include "proto/http_ingest.h"
#include "proto/http_messages.h"
#include "tests/unit/fake_conn.c"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

enum { OURS = 1, BODY_MAX = 4 * 1024 * 1024, EVENT_MAX = 1000 };

static struct conn conn;
static struct counters counters;
static struct turn turn = {.counters = &counters, .now_ns = 1000000, .wall_us = 1};

unsigned shard_index(const struct shard *shard)
{
    (void)shard;
    return OURS;
}

/* ── An intake ──────────────────────────────────────────────────────────────────────────────── */

static struct buf seen;            /* type/id/stream/data of each event, a line each */
static unsigned room = UINT32_MAX; /* events that it will still take */
static bool is_open = true;
static uint64_t sequence;

static void judge_one(const struct event *event, const struct stream *stream,
                      struct verdict *verdict)
{
    uint8_t *data = malloc(event_data_bytes_max(event) + 1);
    size_t length = event_put_data(event, data);
    must(buf_print(&seen, "%.*s/%.*s/%s/%.*s\n", SPAN_ARGS(event->type), SPAN_ARGS(event->id),
                   stream == NULL ? "-" : stream->name, (int)length, data));
    free(data);
    *verdict = (struct verdict){.code = EVENT_ACCEPTED, .ticket = {sequence, OURS}};
    if (span_is(event->type, "forbidden")) {
        verdict->code = verdict->refusal.code = EVENT_FORBIDDEN;
        strcpy(verdict->refusal.message, "userId: not yours");
    } else if (span_is(event->type, "again")) {
        verdict->code = EVENT_DUPLICATE;
        verdict->ticket = (struct ticket){100 + sequence, (uint32_t)(event->id.at[0] - '0')};
    } else if (span_is(event->type, "message") &&
               memmem(event->text.at, event->text.length, "-1", 2)) {
        verdict->code = verdict->refusal.code = EVENT_INVALID_FIELD;
        strcpy(verdict->refusal.message, "channel_id: below \"zero\"");
    } else {
        sequence++;
    }
}

static unsigned accept_events(struct intake *intake, struct turn *now, const struct source *source,
                              struct event *events, const struct stream *const *streams,
                              unsigned count_, struct verdict *verdicts)
{
    (void)intake;
    (void)now;
    assert_int_equal(source->received, COUNT_EVENTS_RECEIVED_HTTP);
    assert_in_range(count_, 1, INTAKE_MAX);
    unsigned judged = count_ < room ? count_ : room;
    for (unsigned i = 0; i < judged; i++)
        judge_one(&events[i], streams[i], &verdicts[i]);
    room -= judged;
    return judged;
}

static bool intake_is_open(const struct intake *intake)
{
    (void)intake;
    return is_open;
}

static unsigned retry_after_s(const struct intake *intake)
{
    (void)intake;
    return 7;
}

static struct intake intake = {
    .accept = accept_events,
    .open = intake_is_open,
    .stores = true,
    .retry_after_s = retry_after_s,
    .rules = {.bytes_max = EVENT_MAX},
};
static struct http_ingest ingest = {.intake = &intake};
static struct http_messages messages = {.intake = &intake};
static struct http_route routes[] = {
    {.method = "POST",
     .path = "/events",
     .context = &ingest,
     .feed = http_ingest_feed,
     .cut = http_ingest_cut,
     .forget = http_ingest_forget},
    {.method = "POST", .path = "/messages", .context = &messages, .handle = http_messages_handle},
};
static const struct http_house house = {
    .routes = routes,
    .routes_count = COUNT_OF(routes),
    .body_bytes = BODY_MAX,
    .header_ns = 1000,
    .body_ns = 1000,
    .idle_ns = 1000,
};

static int set_up(void **state)
{
    char why[256];
    struct streams *streams = streams_open();
    (void)state;
    assert_int_equal(streams_add_defaults(streams, why), 0);
    intake.streams = streams;
    routes[0].state_bytes = http_ingest_state_bytes();
    seen.max = 1 << 24;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    streams_close((struct streams *)(uintptr_t)intake.streams);
    buf_fini(&seen);
    return 0;
}

/* ── A request ──────────────────────────────────────────────────────────────────────────────── */

struct request {
    const char *target, *fields;
    const void *body;
    size_t length;
    unsigned room;
};

static void send_head(const struct request *request, bool chunked)
{
    char head[512];
    int length = snprintf(head, sizeof head, "POST %s HTTP/1.1\r\nHost: x\r\n%s", request->target,
                          request->fields);
    length += chunked ? snprintf(head + length, sizeof head - (size_t)length,
                                 "Transfer-Encoding: chunked\r\n\r\n")
                      : snprintf(head + length, sizeof head - (size_t)length,
                                 "Content-Length: %zu\r\n\r\n", request->length);
    fake_receive(&conn, &turn, head, (size_t)length);
}

static void send_piece(const void *bytes, size_t length, bool chunked)
{
    char line[32];
    if (chunked && length > 0)
        fake_receive(&conn, &turn, line, (size_t)snprintf(line, sizeof line, "%zx\r\n", length));
    fake_receive(&conn, &turn, bytes, length);
    if (chunked && length > 0)
        fake_receive(&conn, &turn, "\r\n", 2);
}

static void begin(unsigned take)
{
    fake_init(&conn);
    room = take;
    sequence = 0;
    buf_drop(&seen, seen.length);
    conn.wire = http_open(&conn, &turn, &house);
    assert_non_null(conn.wire);
}

/* The answer's status line and body, and what the intake saw. */
static char *end(void)
{
    must(conn.holds <= 8);
    if (conn.holds > 0)
        fake_release(&conn, &turn, conn.holds);
    must(buf_put(&conn.sent, "", 1));
    const char *text = (const char *)conn.sent.at, *body = strstr(text, "\r\n\r\n");
    must(body != NULL);
    char *result = malloc(conn.sent.length + seen.length + 64);
    char *at = result + sprintf(result, "%.3s %s\n", text + 9, body + 4);
    memcpy(at, seen.at, seen.length);
    at[seen.length] = '\0';
    fake_fini(&conn, &turn);
    return result;
}

static char *play(const struct request *request, size_t first, size_t step, bool chunked)
{
    begin(request->room);
    send_head(request, chunked);
    send_piece(request->body, first, chunked);
    for (size_t at = first; at < request->length; at += step)
        send_piece((const char *)request->body + at,
                   step < request->length - at ? step : request->length - at, chunked);
    if (chunked)
        fake_receive(&conn, &turn, "0\r\n\r\n", 5);
    return end();
}

static void expect_play(const struct request *request, size_t first, size_t step, bool chunked,
                        const char *wanted)
{
    char *got = play(request, first, step, chunked);
    assert_string_equal(got, wanted);
    free(got);
}

static bool has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        print_error("%s: not in %s\n", part, text);
    return strstr(text, part) != NULL;
}

static size_t pack(const void *body, size_t length, uint8_t *out, size_t most)
{
    z_stream stream = {0};
    must(deflateInit2(&stream, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    stream.next_in = (z_const Bytef *)(uintptr_t)body;
    stream.avail_in = (uInt)length;
    stream.next_out = out;
    stream.avail_out = (uInt)most;
    must(deflate(&stream, Z_FINISH) == Z_STREAM_END);
    deflateEnd(&stream);
    return stream.total_out;
}

static void expect_gzip(const struct request *request, const char *wanted)
{
    uint8_t *packed = malloc(request->length + 100);
    char fields[256];
    snprintf(fields, sizeof fields, "Content-Encoding: gzip\r\n%s", request->fields);
    struct request small = *request;
    small.fields = fields;
    small.body = packed;
    small.length = pack(request->body, request->length, packed, request->length + 100);
    expect_play(&small, small.length, 1, false, wanted);
    expect_play(&small, 0, 7, true, wanted);
    free(packed);
}

static void expect_request(const struct request *request, const char *wanted)
{
    expect_play(request, request->length, 1, false, wanted);
    expect_play(request, 0, 1, false, wanted);
    expect_play(request, 0, 3, true, wanted);
    for (size_t cut = 1; cut < request->length && cut < 400; cut++)
        expect_play(request, cut, request->length, cut % 2 == 0, wanted);
    expect_gzip(request, wanted);
}

static void expect_at(const char *target, const char *fields, const char *body, const char *wanted)
{
    struct request request = {target, fields, body, strlen(body), UINT32_MAX};
    expect_request(&request, wanted);
}

static void expect(const char *body, const char *wanted)
{
    expect_at("/events", "", body, wanted);
}

#define TAKEN(n) "202 {\"accepted\":" #n ",\"duplicates\":0,\"rejected\":[]}\n"

/* ── Forms of a body ────────────────────────────────────────────────────────────────────────── */

static void test_one(void **state)
{
    (void)state;
    expect("{\"type\":\"a\",\"id\":\"i\",\"data\":{\"x\":1}}", TAKEN(1) "a/i/-/{\"x\":1}\n");
    expect(" \r\n{\n \"type\" : \"a\\u0062\",\n \"data\" : [ 1 ]\n}\n\n", TAKEN(1) "ab//-/[ 1 ]\n");
}

static void test_array(void **state)
{
    (void)state;
    expect("[]", TAKEN(0));
    expect(" [ ] \n", TAKEN(0));
    expect("[{\"type\":\"a\"},{\"type\":\"b\",\"id\":\"]\"} , {\"type\":\"c\"}\n]\n",
           TAKEN(3) "a//-/\nb/]/-/\nc//-/\n");
    expect_at("/events", "Content-Type: application/json; charset=utf-8\r\n", "[{\"type\":\"a\"}]",
              TAKEN(1) "a//-/\n");
}

static void test_lines(void **state)
{
    (void)state;
    expect("{\"type\":\"a\"}\n{\"type\":\"b\"}", TAKEN(2) "a//-/\nb//-/\n");
    expect("\n{\"type\":\"a\"}\r\n\r\n  {\"type\":\"b\"}\r\n\n", TAKEN(2) "a//-/\nb//-/\n");
    expect_at("/events", "Content-Type: application/x-ndjson\r\n", "{\"type\":\"a\"}\n",
              TAKEN(1) "a//-/\n");
    struct request broken = {"/events", "Content-Type: application/jsonl;x=y\r\n",
                             "{\"type\":\"a\"}\n[\n{\"type\":\"b\"}", 0, UINT32_MAX};
    broken.length = strlen(broken.body);
    for (size_t step = 1; step <= broken.length; step++) {
        char *text = play(&broken, 0, step, false);
        assert_true(has(text, "202 {\"accepted\":2,\"duplicates\":0,\"rejected\":[{\"index\":1,"
                              "\"code\":\"INVALID_JSON\""));
        assert_true(has(text, "}\na//-/\nb//-/\n"));
        free(text);
    }
}

static char *large(bool array, unsigned count_, size_t *length, char **wanted)
{
    char *body = malloc(count_ * 300 + 10), *at = body;
    char *log = malloc(count_ * 300 + 200), *to = log;
    to += sprintf(to, "202 {\"accepted\":%u,\"duplicates\":0,\"rejected\":[]}\n", count_);
    at += sprintf(at, "%s", array ? "[" : "");
    for (unsigned i = 0; i < count_; i++) {
        unsigned wide = i * 7 % 200;
        at += sprintf(at, "%s{\"type\":\"t\",\"id\":\"%u\",\"data\":{\"pad\":\"%*s\\u00e9é\"}}",
                      i == 0  ? ""
                      : array ? ", "
                              : "\n",
                      i, (int)wide, "");
        to += sprintf(to, "t/%u/-/{\"pad\":\"%*s\\u00e9é\"}\n", i, (int)wide, "");
    }
    at += sprintf(at, "%s", array ? "]" : "\n");
    *length = (size_t)(at - body);
    *wanted = log;
    return body;
}

/* Bodies that are used while they come. */
static void test_large(void **state)
{
    static const size_t steps[] = {1000, 4093, 16384, 50000};
    (void)state;
    for (int array = 0; array < 2; array++) {
        char *wanted;
        struct request request = {"/events", "", NULL, 0, UINT32_MAX};
        char *body = large(array == 1, 1000, &request.length, &wanted);
        request.body = body;
        expect_play(&request, request.length, 1, false, wanted);
        for (size_t i = 0; i < COUNT_OF(steps); i++)
            expect_play(&request, i, steps[i], i % 2 == 0, wanted);
        for (size_t cut = 16384; cut < 16384 + 300; cut++)
            expect_play(&request, cut, request.length, false, wanted);
        expect_gzip(&request, wanted);
        free(body);
        free(wanted);
    }
}

/* ── What is wrong with it ──────────────────────────────────────────────────────────────────── */

#define REFUSED(status, index, code, message)                                                      \
    status " {\"accepted\":0,\"duplicates\":0,\"rejected\":[{\"index\":" #index                    \
           ",\"code\":\"" code "\",\"message\":\"" message "\"}]}\n"

static void test_empty(void **state)
{
    (void)state;
    expect(" \n", REFUSED("400", 0, "INVALID_JSON", "body: empty"));
    expect("", REFUSED("400", 0, "INVALID_JSON", "body: empty"));
}

static void test_broken_array(void **state)
{
    (void)state;
    expect("[{\"type\":\"a\"}",
           "202 {\"accepted\":1,\"duplicates\":0,\"rejected\":[{\"index\":1,"
           "\"code\":\"INVALID_JSON\",\"message\":\"array: it ends before its ]\"}]}\n"
           "a//-/\n");
    expect(
        "[{\"type\":\"a\"},]",
        "202 {\"accepted\":1,\"duplicates\":0,\"rejected\":[{\"index\":1,\"code\":\"INVALID_JSON\","
        "\"message\":\"event: not valid JSON; the rest of the array is not read\"}]}\na//-/\n");
    expect(
        "[{\"type\":\"a\"} {\"type\":\"b\"}]",
        "202 {\"accepted\":1,\"duplicates\":0,\"rejected\":[{\"index\":1,\"code\":\"INVALID_JSON\","
        "\"message\":\"array: a comma or ] is missing; the rest is not read\"}]}\na//-/\n");
    expect(
        "[{\"type\":\"a\"}]x",
        "202 {\"accepted\":1,\"duplicates\":0,\"rejected\":[{\"index\":1,\"code\":\"INVALID_JSON\","
        "\"message\":\"body: something follows the end of the JSON text\"}]}\na//-/\n");
    expect("[", REFUSED("400", 0, "INVALID_JSON", "array: it ends before its ]"));
    expect("[,{\"type\":\"a\"}]",
           REFUSED("400", 0, "INVALID_JSON",
                   "event: not valid JSON; the rest of the array is not read"));
}

static char *play_text(const char *target, const char *body)
{
    struct request request = {target, "", body, strlen(body), UINT32_MAX};
    return play(&request, request.length, 1, false);
}

static void test_broken_one(void **state)
{
    static const char *const bodies[] = {"{\"type\":\"a\"",
                                         "{\"type\":\"a\"}x",
                                         "nonsense",
                                         "\"text\"",
                                         "{\"type\":\"a\"} {\"type\":\"b\"}",
                                         "{\n\"type\":\n}\n"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        char *text = play_text("/events", bodies[i]);
        assert_true(
            has(text, "400 {\"accepted\":0,\"duplicates\":0,\"rejected\":[{\"index\":0,\"code\":"));
        assert_null(strstr(text, "\"index\":1"));
        free(text);
    }
}

/* The good around the bad are kept, and indices count values. */
static void test_bad_among_good(void **state)
{
    (void)state;
    char *text =
        play_text("/events", "{\"type\":\"a\"}\n{\"type\":}\n\n{\"type\":\"!\",\"id\":\"x\"}\n"
                             "{\"type\":\"forbidden\",\"id\":\"y\"}\n{\"type\":\"b\"}\n");
    assert_true(has(text, "202 {\"accepted\":2,\"duplicates\":0,\"rejected\":[{\"index\":1,"));
    assert_true(has(text, "{\"index\":2,\"code\":\"INVALID_FIELD\""));
    assert_true(has(text, ",\"id\":\"x\"},{\"index\":3,\"code\":\"FORBIDDEN\","
                          "\"message\":\"userId: not yours\",\"id\":\"y\"}]}"));
    free(text);
    text = play_text("/events", "{\"type\":\"a\"\"}\n{\"type\":\"b\"}\n");
    assert_true(has(text, "202 {\"accepted\":1,")); /* the first line broken, still lines */
    free(text);
    text = play_text("/events", "[{\"type\":\"forbidden\"},{\"type\":\"forbidden\"}]");
    assert_true(has(text, "403 {\"accepted\":0,"));
    free(text);
    text = play_text("/events", "[{\"type\":\"forbidden\"},{\"data\":1}]");
    assert_true(has(text, "400 {\"accepted\":0,"));
    free(text);
}

static void test_too_large_event(void **state)
{
    char body[3 * EVENT_MAX];
    (void)state;
    snprintf(body, sizeof body, "{\"type\":\"a\",\"id\":\"big\",\"data\":\"%*s\"}", EVENT_MAX, "");
    char *text = play_text("/events", body);
    assert_true(has(text, "413 {\"accepted\":0,"));
    assert_true(has(text, "\"code\":\"TOO_LARGE\""));
    free(text);
    strcat(body, "\n{\"type\":\"b\"}\n");
    text = play_text("/events", body);
    assert_true(has(text, "202 {\"accepted\":1,"));
    free(text);
}

static void test_many_rejects(void **state)
{
    struct buf body = {.max = 1 << 20};
    (void)state;
    for (int i = 0; i < 5000; i++)
        must(buf_print(&body, "{\"type\":%d}\n", i));
    must(buf_put(&body, "", 1));
    char *text = play_text("/events", (const char *)body.at);
    assert_true(has(text, "],\"unlisted\":"));
    assert_true(has(text, "400 "));
    assert_in_range(strlen(text), 60000, 70000);
    free(text);
    buf_fini(&body);
}

/* ── Back-pressure ──────────────────────────────────────────────────────────────────────────── */

static void test_no_room(void **state)
{
    (void)state;
    is_open = false;
    expect("{\"type\":\"a\"}",
           "503 {\"code\":\"OVERLOADED\","
           "\"message\":\"no room for events at the moment: nothing was taken\"}\n");
    is_open = true;
    struct request request = {
        "/events", "", "[{\"type\":\"a\"},{\"type\":\"b\",\"id\":\"2\"},{\"type\":\"c\"}]", 0, 1};
    request.length = strlen(request.body);
    expect_request(
        &request,
        "503 {\"accepted\":1,\"duplicates\":0,\"rejected\":[{\"index\":1,\"code\":\"OVERLOADED\","
        "\"message\":\"no room at the moment for this event, nor for those behind it: send "
        "them again\",\"id\":\"2\"}]}\na//-/\n");
}

static void test_no_room_in_the_middle(void **state)
{
    char *wanted;
    struct request request = {"/events", "", NULL, 0, 150};
    (void)state;
    char *body = large(false, 1000, &request.length, &wanted);
    request.body = body;
    begin(request.room);
    send_head(&request, false);
    for (size_t at = 0; at < request.length; at += 1000)
        send_piece(body + at, request.length - at < 1000 ? request.length - at : 1000, false);
    fake_receive(&conn, &turn, "", 0);
    assert_int_equal(conn.holds, 1);
    assert_non_null(
        memmem(conn.hold[0].reply.at, conn.hold[0].reply.length, "Retry-After: 7\r\n", 16));
    char *text = end();
    assert_true(has(text, "503 {\"accepted\":150,"));
    assert_true(has(text, "{\"index\":150,\"code\":\"OVERLOADED\""));
    free(text);
    free(body);
    free(wanted);
}

/* A body that breaks off: what was taken of it is told. */
static void test_cut(void **state)
{
    char *wanted;
    struct request request = {"/events", "", NULL, 0, UINT32_MAX};
    (void)state;
    char *body = large(false, 400, &request.length, &wanted);
    for (int slow = 0; slow < 2; slow++) {
        begin(request.room);
        send_head(&request, true);
        send_piece(body, 40000, true);
        if (slow) {
            turn.now_ns += 2000;
            conn.wire->ops->deadline(conn.wire, &turn);
        } else {
            fake_receive(&conn, &turn, "what?", 5);
        }
        assert_true(conn.finished);
        assert_int_equal(conn.holds, 1);
        char *text = end();
        assert_true(has(text, slow ? "408 {\"code\":\"TIMEOUT\",\"message\":\""
                                   : "400 {\"code\":\"BAD_REQUEST\",\"message\":\""));
        assert_true(has(text, "\",\"accepted\":2"));
        free(text);
    }
    free(body);
    free(wanted);
}

static void test_rate(void **state)
{
    (void)state;
    ingest.events_per_second = 2;
    char *text = play_text("/events", "{\"type\":\"a\"}\n{\"type\":\"a\"}\n{\"type\":\"a\"}\n");
    assert_true(has(text, "429 {\"accepted\":2,"));
    assert_true(has(text, "\"index\":2,\"code\":\"RATE_LIMITED\""));
    free(text);
    ingest.events_per_second = 0;
}

/* ── Acknowledgements ───────────────────────────────────────────────────────────────────────── */

static void expect_level(const char *target, enum ack_level level, bool held)
{
    struct request request = {target, "", "{\"type\":\"a\"}", 12, UINT32_MAX};
    begin(request.room);
    send_head(&request, false);
    send_piece(request.body, request.length, false);
    assert_int_equal(conn.holds, held);
    if (held)
        assert_int_equal(conn.hold[0].level, level);
    free(end());
}

static void test_levels(void **state)
{
    (void)state;
    expect_level("/events", ACK_SPOOLED, true);
    expect_level("/events?ack=spooled", ACK_SPOOLED, true);
    expect_level("/events?ack=stored", ACK_STORED, true);
    expect_level("/events?ack=received", ACK_RECEIVED, false);
    expect_level("/events?ack=none", ACK_NONE, false);
    char *text = play_text("/events?ack=later", "{\"type\":\"a\"}");
    assert_true(has(text, "400 {\"code\":\"INVALID_FIELD\",\"message\":\"ack: "));
    free(text);
}

/* One hold for each other shard that has an original,
 * the last of them with the reply and our own. */
static void test_duplicates(void **state)
{
    struct request request = {
        "/events", "",
        "[{\"type\":\"a\"},{\"type\":\"again\",\"id\":\"3\"},{\"type\":\"a\"},{\"type\":\"again\","
        "\"id\":\"0\"},"
        "{\"type\":\"again\",\"id\":\"3\"},{\"type\":\"again\",\"id\":\"1\"}]",
        0, UINT32_MAX};
    (void)state;
    request.length = strlen(request.body);
    begin(request.room);
    send_head(&request, false);
    send_piece(request.body, request.length, false);
    assert_int_equal(conn.holds, 2);
    assert_true(conn.hold[0].has_other && !conn.hold[0].has_through);
    assert_int_equal(conn.hold[0].other.shard, 0);
    assert_int_equal(conn.hold[0].other.sequence, 102);
    assert_int_equal(conn.hold[0].reply.length, 0);
    assert_true(conn.hold[1].has_other && conn.hold[1].has_through);
    assert_int_equal(conn.hold[1].other.shard, 3);
    assert_int_equal(conn.hold[1].other.sequence, 102);
    assert_int_equal(conn.hold[1].through.shard, OURS);
    assert_int_equal(conn.hold[1].through.sequence, 102);
    char *text = end();
    assert_true(has(text, "202 {\"accepted\":2,\"duplicates\":4,\"rejected\":[]}"));
    free(text);
}

/* ── Cart events and messages ───────────────────────────────────────────────────────────────── */

static void test_cart(void **state)
{
    (void)state;
    expect("{\"type\":\"cart_event\",\"note\":1,\"data\":{\"eventId\":\"e\",\"eventType\":\"item_"
           "added\","
           "\"userId\":\"u\",\"metadata\":{\"sku\":2},\"more\":3}}",
           TAKEN(1) "item_added/e/cart_events/{\"sku\":2,\"_extra\":{\"more\":3,\"note\":1}}\n");
    char *text = play_text(
        "/events", "[{\"type\":\"cart_event\",\"id\":\"o\"},"
                   "{\"type\":\"cart_event\",\"id\":\"o\",\"data\":{\"x\":1}},"
                   "{\"type\":\"cart_event\",\"id\":\"o\",\"data\":{\"eventType\":\"t\"}}]");
    assert_true(has(text, "{\"index\":0,\"code\":\"INVALID_FIELD\",\"message\":\"data: "));
    assert_true(has(text, ",\"id\":\"o\"},{\"index\":1,\"code\":\"MISSING_TYPE\""));
    assert_true(has(text, "\nt/o/cart_events/"));
    free(text);
}

static void test_messages(void **state)
{
    (void)state;
    expect_at("/messages", "", "{\"user_id\":1,\"channel_id\":2,\"content\":\"hi\"}",
              "202 {\"status\":\"queued\"}\n"
              "message//messages/{\"user_id\":1,\"channel_id\":2,\"content\":\"hi\"}\n");
    char *text = play_text("/messages", "{\"user_id\":null,\"content\":5}");
    assert_string_equal(
        text,
        "422 {\"detail\":[{\"type\":\"int_type\",\"loc\":[\"body\",\"user_id\"],\"msg\":\"Input "
        "should "
        "be a valid "
        "integer\"},{\"type\":\"missing\",\"loc\":[\"body\",\"channel_id\"],\"msg\":\"Field "
        "required\"},{\"type\":\"string_type\",\"loc\":[\"body\",\"content\"],\"msg\":\"Input "
        "should be a "
        "valid string\"}],\"code\":\"INVALID_FIELD\",\"message\":\"user_id: Input should be a "
        "valid "
        "integer\"}\n");
    free(text);
    text = play_text("/messages", "{\"user_id\":1,");
    assert_true(has(text, "422 {\"detail\":[{\"type\":\"json_invalid\",\"loc\":[\"body\"]"));
    assert_true(has(text, "\"code\":\"INVALID_JSON\""));
    free(text);
    text = play_text("/messages", "[1]");
    assert_true(
        has(text, "422 {\"detail\":[{\"type\":\"model_attributes_type\",\"loc\":[\"body\"]"));
    free(text);
    text = play_text("/messages", "{\"user_id\":1,\"channel_id\":-1,\"content\":\"hi\"}");
    assert_true(has(text,
                    "422 {\"detail\":[{\"type\":\"value_error\",\"loc\":[\"body\",\"channel_id\"],"
                    "\"msg\":\"below \\\"zero\\\"\"}],\"code\":\"INVALID_FIELD\""));
    free(text);
    struct request request = {"/messages", "",
                              "{\"user_id\":1,\"channel_id\":2,\"content\":\"hi\"}", 43, 0};
    request.length = strlen(request.body);
    text = play(&request, request.length, 1, false);
    assert_true(has(text, "503 {\"code\":\"OVERLOADED\""));
    free(text);
}

/* Refused events count, once each. */
static void test_counts(void **state)
{
    (void)state;
    memset(&counters, 0, sizeof counters);
    free(play_text("/events", "{\"type\":\"a\"}\n{]}\n{\"type\":7}\n"));
    assert_int_equal(counted(&counters, COUNT_EVENTS_RECEIVED_HTTP),
                     2); /* the intake counts its own */
    assert_int_equal(counted(&counters, COUNT_EVENTS_REFUSED_INVALID_JSON), 1);
    assert_int_equal(counted(&counters, COUNT_EVENTS_REFUSED_INVALID_FIELD), 1);
    assert_int_equal(counted(&counters, COUNT_HTTP_REQUESTS), 1);
    free(play_text("/messages", "{}"));
    assert_int_equal(counted(&counters, COUNT_EVENTS_RECEIVED_HTTP), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one),
        cmocka_unit_test(test_array),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_broken_array),
        cmocka_unit_test(test_broken_one),
        cmocka_unit_test(test_bad_among_good),
        cmocka_unit_test(test_too_large_event),
        cmocka_unit_test(test_many_rejects),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_no_room_in_the_middle),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_duplicates),
        cmocka_unit_test(test_cart),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_counts),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
