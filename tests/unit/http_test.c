/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dialogues with an HTTP connection. Each is played whole, byte by byte, and cut in two at every
 * byte: the answers must be the same. What a broken request gets is a table.
 */
#include "proto/chunked.h"
#include "proto/http.h"
#include "tests/unit/fake_conn.c"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { BODY_MAX = 100000, HEADER_NS = 1000, BODY_NS = 5000, IDLE_NS = 100000 };

static struct conn conn;
static struct counters counters;
static struct turn turn = {.counters = &counters, .now_ns = 1000000};
static unsigned forgotten, fed;

unsigned shard_index(const struct shard *shard)
{
    (void)shard;
    return 0;
}

/* ── Routes ─────────────────────────────────────────────────────────────────────────────────── */

static void say(struct http_request *request, const char *text)
{
    struct http_response response = {
        .status = 200, .type = "text/plain", .body = span_of_string(text)};
    http_respond(request, &turn, &response, NULL);
}

static void handle_hello(void *context, struct turn *now, struct http_request *request)
{
    (void)context;
    (void)now;
    say(request, "hello");
}

/* What a handler can see of a request. */
static void handle_show(void *context, struct turn *now, struct http_request *request)
{
    char text[512], argument[32] = "-", q[16] = "-";
    struct span token = http_token(request), x = http_header(request, "X-Thing");
    (void)context;
    (void)now;
    if (!http_argument(request, argument, sizeof argument))
        strcpy(argument, "(bad)");
    if (http_query_has(request, "q") && !http_query(request, "q", q, sizeof q))
        strcpy(q, "(bad)");
    snprintf(text, sizeof text, "%.*s %.*s arg=%s q=%s token=%.*s x=%.*s user=%s",
             SPAN_ARGS(http_method(request)), SPAN_ARGS(http_path(request)), argument, q,
             SPAN_ARGS(token), SPAN_ARGS(x),
             request->principal == NULL ? "-" : request->principal->user_id);
    say(request, text);
}

static void handle_echo(void *context, struct turn *now, struct http_request *request)
{
    struct http_response response = {
        .status = 200, .type = "text/plain", .body = span_of(request->body, request->body_length)};
    (void)context;
    http_respond(request, now, &response, NULL);
    for (size_t i = 0; i < request->body_length; i++)
        request->body[i] = '!'; /* ours to change */
}

/* A reply that waits for event 7 of this shard. */
static void handle_held(void *context, struct turn *now, struct http_request *request)
{
    struct receipt receipt;
    struct verdict verdict = {.code = EVENT_ACCEPTED, .ticket = {7, 0}};
    struct http_response response = {.status = 202, .body = SPAN("{}")};
    (void)context;
    receipt_start(&receipt, 0, ACK_SPOOLED);
    receipt_add(&receipt, 0, (struct span){NULL, 0}, &verdict);
    http_respond(request, now, &response, &receipt);
    receipt_fini(&receipt);
}

struct tally {
    size_t lines, bytes;
};

/* Counts lines; needs them whole. */
static size_t feed_lines(void *context, struct turn *now, struct http_request *request, uint8_t *at,
                         size_t length, bool last)
{
    struct tally *tally = request->state;
    size_t used = 0;
    uint8_t *newline;
    char text[64];
    (void)context;
    (void)now;
    fed++;
    while ((newline = memchr(at + used, '\n', length - used)) != NULL) {
        tally->lines++;
        used = (size_t)(newline - at) + 1;
    }
    tally->bytes += used;
    if (!last)
        return used;
    snprintf(text, sizeof text, "%zu lines, %zu bytes, rest %zu", tally->lines, tally->bytes,
             length - used);
    say(request, text);
    return length;
}

static size_t feed_refuse(void *context, struct turn *now, struct http_request *request,
                          uint8_t *at, size_t length, bool last)
{
    (void)context;
    (void)at;
    (void)last;
    if (!request->answered)
        http_refuse_for_now(request, now, 503, 3, "OVERLOADED", "full");
    return length;
}

static void forget(void *context, struct http_request *request)
{
    (void)context;
    must(request->state != NULL);
    forgotten++;
}

/* Another protocol: says what it hears, in capitals. */
static ptrdiff_t shout_input(struct wire *wire, struct turn *now, uint8_t *at, size_t length)
{
    for (size_t i = 0; i < length; i++)
        at[i] = (uint8_t)(at[i] & 0xdf);
    must(conn_send(wire->conn, now, at, length));
    return (ptrdiff_t)length;
}

static void shout_fini(struct wire *wire, struct turn *now)
{
    (void)now;
    free(wire);
}

static const struct wire_ops shout_ops = {
    .name = "shout", .input = shout_input, .fini = shout_fini};

static bool take_shout(void *context, struct turn *now, struct http_request *request)
{
    static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\n\r\n";
    char no[4];
    (void)context;
    if (http_query(request, "no", no, sizeof no)) {
        http_refuse(request, now, 400, (struct span){NULL, 0}, "NO", "no");
        return false;
    }
    struct wire *wire = malloc(sizeof *wire);
    must(wire != NULL && conn_send(request->conn, now, answer, sizeof answer - 1));
    *wire = (struct wire){&shout_ops, request->conn};
    conn_change_wire(request->conn, now, wire);
    return true;
}

static int verify(void *self, struct turn *now, struct span token, const char *peer,
                  struct principal *out, char *why)
{
    (void)self;
    (void)now;
    assert_string_equal(peer, "192.0.2.1:4711");
    if (span_is(token, "many"))
        return -EAGAIN;
    if (!span_is(token, "good") && !span_is(token, "admin")) {
        strcpy(why, "the token is \"bad\"");
        return -EACCES;
    }
    memset(out, 0, sizeof *out);
    strcpy(out->user_id, "ann");
    out->scopes = span_is(token, "admin") ? SCOPE_ADMIN : SCOPE_INGEST;
    return 0;
}

static const struct http_route routes[] = {
    {.method = "GET", .path = "/", .handle = handle_hello},
    {.method = "GET", .path = "/show", .handle = handle_show},
    {.method = "GET", .path = "/show/{name}", .handle = handle_show},
    {.method = "GET", .path = "/in/{name}/users", .handle = handle_show},
    {.method = "DELETE", .path = "/show/{name}", .handle = handle_show},
    {.method = "POST", .path = "/echo", .handle = handle_echo},
    {.method = "POST", .path = "/held", .handle = handle_held},
    {.method = "POST",
     .path = "/lines",
     .feed = feed_lines,
     .forget = forget,
     .state_bytes = sizeof(struct tally)},
    {.method = "POST", .path = "/refuse", .feed = feed_refuse},
    {.method = "GET", .path = "/shout", .upgrade = true, .take = take_shout},
    {.method = "GET", .path = "/both", .upgrade = true, .take = take_shout},
    {.method = "GET", .path = "/both", .handle = handle_hello},
    {.method = "GET", .path = "/secret", .token = true, .handle = handle_show},
    {.method = "GET",
     .path = "/admin",
     .token = true,
     .scopes = SCOPE_ADMIN,
     .handle = handle_show},
};

static struct admission admission = {.required = true, .verify = verify};

static struct http_house house = {
    .routes = routes,
    .routes_count = COUNT_OF(routes),
    .admission = &admission,
    .body_bytes = BODY_MAX,
    .header_ns = HEADER_NS,
    .body_ns = BODY_NS,
    .idle_ns = IDLE_NS,
};

/* ── Dialogues ──────────────────────────────────────────────────────────────────────────────── */

static void open_conn(void)
{
    turn.now_ns = 1000000;
    turn.wall_us = 784111777000000;
    fake_init(&conn);
    conn.wire = http_open(&conn, &turn, &house);
    assert_non_null(conn.wire);
}

static void close_conn(void)
{
    fake_fini(&conn, &turn);
}

static void hear(const void *bytes, size_t length)
{
    fake_receive(&conn, &turn, bytes, length);
}

static void hear_text(const char *text)
{
    hear(text, strlen(text));
}

/* All that was sent, without the Date lines; the caller frees. */
static char *said(void)
{
    static const char date[] = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    char *text = calloc(1, conn.sent.length + 1);
    assert_non_null(text);
    if (conn.sent.length > 0)
        memcpy(text, conn.sent.at, conn.sent.length);
    for (char *at; (at = strstr(text, date)) != NULL;)
        memmove(at, at + sizeof date - 1, strlen(at + sizeof date - 1) + 1);
    return text;
}

/* What a whole dialogue is answered with; '|' at the end: the connection was closed. */
static char *answer(const void *bytes, size_t length, size_t first, size_t step)
{
    open_conn();
    hear(bytes, first);
    for (size_t at = first; at < length; at += step)
        hear((const char *)bytes + at, step < length - at ? step : length - at);
    while (conn.holds > 0) {
        fake_release(&conn, &turn, 1);
        hear("", 0);
    }
    char *text = said();
    if (conn.finished) {
        text = realloc(text, strlen(text) + 2);
        strcat(text, "|");
    }
    assert_false(conn.aborted);
    close_conn();
    return text;
}

static void expect_bytes(const void *bytes, size_t length, const char *wanted)
{
    char *whole = answer(bytes, length, length, 1);
    assert_string_equal(whole, wanted);
    free(whole);
    char *single = answer(bytes, length, 0, 1);
    assert_string_equal(single, wanted);
    free(single);
    for (size_t cut = 1; cut < length; cut++) {
        char *two = answer(bytes, length, cut, length);
        assert_string_equal(two, wanted);
        free(two);
    }
}

static void expect(const char *request, const char *wanted)
{
    expect_bytes(request, strlen(request), wanted);
}

#define TEXT(length, body)                                                                         \
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: " length "\r\n\r\n" body
#define HOST "Host: x\r\n"

static void test_get(void **state)
{
    (void)state;
    expect("GET / HTTP/1.1\r\nHost: localhost:8080\r\n\r\n", TEXT("5", "hello"));
    expect("HEAD / HTTP/1.1\r\n" HOST "\r\n", TEXT("5", ""));
    expect("\r\nGET http://a.b:8080/?q HTTP/1.1\r\n" HOST "\r\n", TEXT("5", "hello"));
    expect("GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                                     "Content-Length: 5\r\nConnection: close\r\n\r\nhello|");
    expect("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
           "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
           "Content-Length: 5\r\nConnection: keep-alive\r\n\r\nhello");
    expect("GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
           "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
           "Content-Length: 5\r\nConnection: close\r\n\r\nhello|");
}

static void test_date(void **state)
{
    (void)state;
    open_conn();
    hear_text("GET / HTTP/1.1\r\n" HOST "\r\n");
    assert_non_null(
        memmem(conn.sent.at, conn.sent.length, "\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 39));
    close_conn();
}

static void expect_text(const char *request, const char *body)
{
    char wanted[1024];
    snprintf(wanted, sizeof wanted,
             "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n%s",
             strlen(body), body);
    expect(request, wanted);
}

/* Only the status of what is answered, and whether the connection is closed. */
static void expect_status(const char *request, unsigned status, bool closed)
{
    char wanted[16];
    size_t length = strlen(request);
    snprintf(wanted, sizeof wanted, "HTTP/1.1 %u ", status);
    for (size_t step = 1; step <= length; step += step < 4 ? 1 : length) {
        char *text = answer(request, length, 0, step);
        if (strncmp(text, wanted, strlen(wanted)) != 0 || (text[strlen(text) - 1] == '|') != closed)
            fail_msg("%s → %s", request, text);
        assert_null(strstr(text, "}HTTP/1.1"));
        free(text);
    }
}

static void test_request(void **state)
{
    (void)state;
    expect_text("GET /show?a=b&q=%41+%2f&q=2 HTTP/1.1\r\n" HOST "x-thing:  v w\r\n\r\n",
                "GET /show arg= q=A / token= x=v w user=-");
    expect_text("GET /show/a%20b?q HTTP/1.1\r\n" HOST "Authorization: bearer  abc\r\n\r\n",
                "GET /show/a%20b arg=a b q= token=abc x= user=-");
    expect_text("DELETE /show/z?q=%zz&token=t.t HTTP/1.1\r\n" HOST "\r\n",
                "DELETE /show/z arg=z q=(bad) token=t.t x= user=-");
    expect_text("GET /in/r1/users?q=%00 HTTP/1.1\r\n" HOST "\r\n",
                "GET /in/r1/users arg=r1 q=(bad) token= x= user=-");
    expect_text("GET /show?q=0123456789abcdef HTTP/1.1\r\n" HOST "\r\n",
                "GET /show arg= q=(bad) token= x= user=-");
    expect_text("GET /show?q=0123456789abcde HTTP/1.1\r\n" HOST "\r\n",
                "GET /show arg= q=0123456789abcde token= x= user=-");
}

static void test_no_page(void **state)
{
    (void)state;
    expect("GET /nowhere HTTP/1.1\r\n" HOST "\r\n",
           "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 54\r\n\r\n"
           "{\"code\":\"NOT_FOUND\",\"message\":\"there is nothing here\"}");
    expect_status("GET /show/ HTTP/1.1\r\n" HOST "\r\n", 404, false);
    expect_status("GET /show/a/b HTTP/1.1\r\n" HOST "\r\n", 404, false);
    expect_status("POST /nowhere HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc", 404, false);
    expect_status("GET /echo HTTP/1.1\r\n" HOST "\r\n", 405, false);
    expect_status("PATCH / HTTP/1.1\r\n" HOST "\r\n", 405, false);
    expect("OPTIONS /show/x HTTP/1.1\r\n" HOST "\r\n",
           "HTTP/1.1 204 No Content\r\nAllow: GET, HEAD, DELETE, OPTIONS\r\n\r\n");
    expect("OPTIONS * HTTP/1.1\r\n" HOST "\r\n",
           "HTTP/1.1 204 No Content\r\nAllow: OPTIONS\r\n\r\n");
    expect("PUT /echo HTTP/1.1\r\n" HOST "\r\n",
           "HTTP/1.1 405 Method Not Allowed\r\nContent-Type: application/json\r\n"
           "Content-Length: 74\r\nAllow: POST, OPTIONS\r\n\r\n"
           "{\"code\":\"METHOD_NOT_ALLOWED\",\"message\":\"this method is not for this path\"}");
}

/* RFC 9112, and what is known of request smuggling: whatever
 * could be read in two ways is refused, and the connection closed. */
static void test_broken(void **state)
{
    static const struct {
        const char *request;
        unsigned status;
    } cases[] = {
        {"\x16\x03\x01\x02\x01", 400},
        {"get / HTTP/1.1\r\n\r\n", 400},
        {"FETCH / HTTP/1.1\r\n\r\n", 501},
        {"GET / HTTP/2.0\r\n" HOST "\r\n", 505},
        {"GET / HTTP/1.2\r\n" HOST "\r\n", 505},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
        {"GET /\r\n\r\n", 400},
        {"SETUP / RTSP/1.0\r\n" HOST "\r\n", 400},
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST HOST "\r\n", 400},
        {"GET / HTTP/1.1\n" HOST "\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: x\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "A: b\rContent-Length: 3\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "A: b\r\n c: d\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "A:\r\n b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n A: b\r\n" HOST "\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "A b: c\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST ": c\r\n\r\n", 400},
        {"GET /\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n", 400},
        {"CONNECT x:80 HTTP/1.1\r\n" HOST "\r\n", 400},
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
         400},
        {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
         400},
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 3\r\n\r\n", 400},
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3, 3\r\n\r\n", 400},
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Length: +3\r\n\r\n", 400},
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 0x3\r\n\r\n", 400},
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Length: -3\r\n\r\n", 400},
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n", 400},
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Length : 3\r\n\r\n", 400},
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551616\r\n\r\n", 400},
        {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, chunked\r\n\r\n", 400},
        {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, gzip\r\n\r\n", 400},
        {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
        {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n", 501},
        {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n", 501},
        {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n", 501},
        {"POST /echo HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", 400},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        expect_status(cases[i].request, cases[i].status, true);
}

static void test_too_much(void **state)
{
    static char text[HTTP_HEAD_MAX + 4096];
    (void)state;
    int at = snprintf(text, sizeof text, "GET /");
    memset(text + at, 'a', HTTP_TARGET_MAX);
    strcpy(text + at + HTTP_TARGET_MAX, " HTTP/1.1\r\n" HOST "\r\n");
    expect_status(text, 414, true);
    at = snprintf(text, sizeof text, "GET / HTTP/1.1\r\n" HOST);
    for (int i = 0; i < HTTP_FIELDS_MAX; i++)
        at += snprintf(text + at, sizeof text - (size_t)at, "A%d: b\r\n", i);
    strcpy(text + at, "\r\n");
    expect_status(text, 431, true);
    at = snprintf(text, sizeof text, "GET / HTTP/1.1\r\n" HOST "A: ");
    memset(text + at, 'a', HTTP_HEAD_MAX);
    text[HTTP_HEAD_MAX + at] = '\0';
    expect_status(text, 431, true);
}

#define POST_ECHO(fields) "POST /echo HTTP/1.1\r\n" HOST fields "\r\n"
#define CHUNKED           "Transfer-Encoding: chunked\r\n"

static void test_body(void **state)
{
    (void)state;
    expect_text(POST_ECHO("Content-Length: 3\r\n") "abc", "abc");
    expect_text(POST_ECHO("Content-Length: 0\r\n"), "");
    expect_text(POST_ECHO(CHUNKED) "0\r\n\r\n", "");
    expect_text(POST_ECHO(CHUNKED) "3;a=b;c=\"d\"\r\nabc\r\n00A ;x\r\n0123456789\r\n1\r\nz\r\n"
                                   "0;end\r\nTrailer: yes\r\nAnother:\r\n\r\n",
                "abc0123456789z");
    expect_status("POST /echo HTTP/1.1\r\n" HOST "\r\n", 411, false);
    expect_status("GET / HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc", 200, false);
    expect(POST_ECHO("Content-Length: 3\r\n") "abc" POST_ECHO(CHUNKED) "1\r\nz\r\n0\r\n\r\n"
                                                                       "GET / HTTP/1.1\r\n" HOST
                                                                       "\r\n",
           TEXT("3", "abc") TEXT("1", "z") TEXT("5", "hello"));
}

static void test_broken_chunks(void **state)
{
    static const char *const bodies[] = {
        "3\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "-1\r\n\r\n0\r\n\r\n",
        "3 \r\nabc\r\n0\r\n\r\n",
        "3;x\nabc\r\n0\r\n\r\n",
        "3;a\rb\r\nabc\r\n0\r\n\r\n",
        "0\r\n\n",
        "0\r\nA: b\n\r\n",
        "\r\n",
        ";\r\n",
        "1000000000000000000\r\n",
        "3;a=b;\x01\r\nabc\r\n",
        "3\r\nabc0\r\n\r\n",
        "3\r\nabc\rx0\r\n\r\n",
        "3\rxabc\r\n0\r\n\r\n",
        "0\r\n\rx",
        "0\r\nA: b\rx\r\n\r\n",
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        char text[512];
        snprintf(text, sizeof text, POST_ECHO(CHUNKED) "%s", bodies[i]);
        expect_status(text, 400, true);
    }
}

static void test_large_body(void **state)
{
    char head[128];
    (void)state;
    snprintf(head, sizeof head, POST_ECHO("Content-Length: %d\r\n"), BODY_MAX + 1);
    expect_status(head, 413, false);
    snprintf(head, sizeof head, POST_ECHO("Expect: 100-continue\r\nContent-Length: %d\r\n"),
             BODY_MAX + 1);
    expect_status(head, 413, true);
    /* As much as is allowed is read past, and not more. */
    open_conn();
    hear_text(POST_ECHO(CHUNKED));
    for (int i = 0; i < BODY_MAX / 1000 && !conn.finished; i++) {
        char chunk[1010];
        memset(chunk, 'x', sizeof chunk);
        memcpy(chunk, "3e8\r\n", 5);
        memcpy(chunk + 1005, "\r\n", 2);
        hear(chunk, 1007);
    }
    assert_int_equal(conn.sent.length, 0);
    hear_text("1\r\nx\r\n");
    char *text = said();
    assert_memory_equal(text, "HTTP/1.1 413 ", 13);
    free(text);
    assert_true(conn.finished);
    close_conn();
}

static void test_extra_is_bounded(void **state)
{
    (void)state;
    for (int trailer = 0; trailer < 2; trailer++) {
        open_conn();
        hear_text(POST_ECHO(CHUNKED));
        hear_text(trailer ? "0\r\nA: " : "3;");
        for (int i = 0; i < CHUNKED_EXTRA_MAX + 1 && !conn.finished; i++)
            hear_text("x");
        assert_true(conn.finished);
        close_conn();
    }
}

static void test_feed(void **state)
{
    (void)state;
    forgotten = 0;
    open_conn();
    hear_text("POST /lines HTTP/1.1\r\n" HOST CHUNKED "\r\n");
    fed = 0;
    for (int i = 0; i < 90; i++) {
        char chunk[1010];
        memset(chunk, 'x', sizeof chunk);
        memcpy(chunk, "3e8\r\n", 5);
        chunk[504] = '\n';
        memcpy(chunk + 1005, "\r\n", 2);
        hear(chunk, 1007);
    }
    assert_in_range(fed, 4, 8); /* some 16 KiB at a time */
    hear_text("0\r\n\r\n");
    char *text = said();
    assert_non_null(strstr(text, "\r\n\r\n90 lines, 89500 bytes, rest 500"));
    free(text);
    assert_int_equal(forgotten, 1);
    /* A connection that goes in the middle of a body. */
    hear_text("POST /lines HTTP/1.1\r\n" HOST CHUNKED "\r\n3\r\nab");
    close_conn();
    assert_int_equal(forgotten, 2);
}

static void test_answered_early(void **state)
{
    (void)state;
    expect_status("POST /refuse HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc", 503, false);
    open_conn();
    hear_text("POST /refuse HTTP/1.1\r\n" HOST "Content-Length: 50000\r\n\r\n");
    for (int i = 0; i < 50000; i += 1000) {
        char bytes[1000];
        memset(bytes, 'x', sizeof bytes);
        hear(bytes, sizeof bytes);
    }
    hear_text("GET / HTTP/1.1\r\n" HOST "\r\n");
    char *text = said();
    assert_non_null(strstr(text, "HTTP/1.1 503 Service Unavailable"));
    assert_non_null(strstr(text, "Retry-After: 3\r\n"));
    assert_non_null(strstr(text, "\r\n\r\nhello"));
    assert_null(strstr(text, "400"));
    free(text);
    assert_false(conn.finished);
    close_conn();
}

static const uint8_t gzip_abc[] = {0x1f, 0x8b, 8, 0,    0,    0,    0,    0, 0, 3, 0x4b, 0x4c,
                                   0x4a, 6,    0, 0xc2, 0x41, 0x24, 0x35, 3, 0, 0, 0};

static void expect_gzip(size_t sent, const char *fields, const char *wanted)
{
    char text[512];
    int head = snprintf(text, sizeof text, POST_ECHO("Content-Length: %zu\r\n%s"), sent, fields);
    memcpy(text + head, gzip_abc, sizeof gzip_abc);
    char *all = answer(text, (size_t)head + sent, 0, 1);
    assert_non_null(strstr(all, wanted));
    free(all);
}

static void test_gzip(void **state)
{
    (void)state;
    expect_gzip(sizeof gzip_abc, "Content-Encoding: gzip\r\n", "\r\n\r\nabc");
    expect_gzip(sizeof gzip_abc, "Content-Encoding: X-GZip\r\n", "\r\n\r\nabc");
    expect_gzip(sizeof gzip_abc - 1, "Content-Encoding: gzip\r\n", "HTTP/1.1 400 ");
    expect_gzip(sizeof gzip_abc, "Content-Encoding: deflate\r\n", "HTTP/1.1 415 ");
    expect_gzip(sizeof gzip_abc, "Content-Encoding: deflate\r\n", "Accept-Encoding: gzip");
    expect_gzip(sizeof gzip_abc, "Content-Encoding: gzip, gzip\r\n", "HTTP/1.1 415 ");
    expect_gzip(3, "Content-Encoding: identity\r\n", "\r\n\r\n\x1f\x8b");
}

static void test_expect(void **state)
{
    static const char request[] = POST_ECHO("Expect: 100-continue\r\nContent-Length: 3\r\n");
    (void)state;
    open_conn();
    hear_text(request);
    char *text = said();
    assert_string_equal(text, "HTTP/1.1 100 Continue\r\n\r\n");
    free(text);
    hear_text("abc");
    text = said();
    assert_string_equal(text, "HTTP/1.1 100 Continue\r\n\r\n" TEXT("3", "abc"));
    free(text);
    close_conn();
    expect_status(POST_ECHO("Expect: 200-fine\r\nContent-Length: 3\r\n"), 417, true);
    expect_status("POST /none HTTP/1.1\r\n" HOST
                  "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n",
                  404, true);
}

/* Behind an answer that waits for the disk all others wait, and leave in order. */
static void test_order(void **state)
{
    (void)state;
    open_conn();
    hear_text("GET / HTTP/1.1\r\n" HOST "\r\n"
              "POST /held HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nx"
              "GET / HTTP/1.1\r\n" HOST "\r\nGET /none HTTP/1.1\r\n" HOST "\r\n");
    char *text = said();
    assert_string_equal(text, TEXT("5", "hello"));
    free(text);
    assert_int_equal(conn.holds, 3);
    assert_int_equal(conn.hold[0].level, ACK_SPOOLED);
    assert_true(conn.hold[0].has_through);
    assert_int_equal(conn.hold[0].through.sequence, 7);
    assert_int_equal(conn.hold[1].level, ACK_NONE);
    fake_forget(&conn);
    conn.sent.max = 1 << 20;
    fake_release(&conn, &turn, 3);
    text = said();
    assert_memory_equal(text, "HTTP/1.1 202 Accepted", 21);
    assert_true(strstr(text, "hello") < strstr(text, "404 Not Found"));
    free(text);
    hear_text("GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    assert_true(conn.finished);
    close_conn();
}

static void test_many_waiting(void **state)
{
    (void)state;
    open_conn();
    for (int i = 0; i < 300; i++)
        hear_text("POST /held HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nx");
    assert_true(conn.paused);
    assert_in_range(conn.holds, 100, 200);
    unsigned released = 0;
    while (conn.holds > 0) {
        released++;
        fake_release(&conn, &turn, 1);
        hear("", 0);
    }
    assert_int_equal(released, 300);
    assert_false(conn.paused);
    close_conn();
}

static void test_many_unread(void **state)
{
    (void)state;
    open_conn();
    while (!conn.paused)
        hear_text("GET / HTTP/1.1\r\n" HOST "\r\nGET / HTTP/1.1\r\n" HOST "\r\n");
    size_t before = conn.sent.length;
    assert_in_range(before, 200 * 1024, 300 * 1024);
    turn.now_ns += 60000000;
    conn.wire->ops->deadline(conn.wire, &turn);
    assert_true(conn.paused || conn.finished);
    close_conn();
    open_conn();
    while (!conn.paused)
        hear_text("GET / HTTP/1.1\r\n" HOST "\r\n");
    fake_forget(&conn);
    conn.sent.max = 1 << 20;
    conn.wire->ops->writable(conn.wire, &turn);
    assert_false(conn.paused);
    hear_text("GET / HTTP/1.1\r\n" HOST "\r\n");
    assert_true(conn.sent.length > 0);
    close_conn();
}

#define UPGRADE "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"

static void test_take(void **state)
{
    (void)state;
    expect("GET /shout HTTP/1.1\r\n" HOST UPGRADE "\r\nloud",
           "HTTP/1.1 101 Switching Protocols\r\n\r\nLOUD");
    expect("GET /both HTTP/1.1\r\n" HOST UPGRADE "\r\nloud",
           "HTTP/1.1 101 Switching Protocols\r\n\r\nLOUD");
    expect("GET /both HTTP/1.1\r\n" HOST "\r\n", TEXT("5", "hello"));
    expect_status("GET /shout HTTP/1.1\r\n" HOST "\r\n", 426, false);
    expect_status("GET /shout HTTP/1.1\r\n" HOST UPGRADE "Content-Length: 1\r\n\r\n", 400, true);
    expect("GET / HTTP/1.1\r\n" HOST UPGRADE "\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
           TEXT("5", "hello") TEXT("5", "hello"));
    expect_status("GET /shout?no=1 HTTP/1.1\r\n" HOST UPGRADE "\r\n", 400, false);
    /* Behind an answer that waits: nothing overtakes it. */
    expect("POST /held HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nx"
           "GET /shout HTTP/1.1\r\n" HOST UPGRADE "\r\nloud",
           "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
           "HTTP/1.1 101 Switching Protocols\r\n\r\nLOUD");
}

static void test_tokens(void **state)
{
    (void)state;
    expect_status("GET /secret HTTP/1.1\r\n" HOST "\r\n", 401, false);
    expect_status("GET /secret?token=bad HTTP/1.1\r\n" HOST "\r\n", 401, false);
    expect_status("GET /secret?token=many HTTP/1.1\r\n" HOST "\r\n", 429, false);
    expect_status("GET /secret HTTP/1.1\r\n" HOST "Authorization: Basic good\r\n\r\n", 401, false);
    expect_text("GET /secret HTTP/1.1\r\n" HOST "Authorization: Bearer good\r\n\r\n",
                "GET /secret arg= q=- token=good x= user=ann");
    expect_text("GET /secret?token=good HTTP/1.1\r\n" HOST "\r\n",
                "GET /secret arg= q=- token=good x= user=ann");
    expect_status("GET /admin?token=good HTTP/1.1\r\n" HOST "\r\n", 403, false);
    expect_status("GET /admin?token=admin HTTP/1.1\r\n" HOST "\r\n", 200, false);
    expect("GET /secret?token=x HTTP/1.1\r\n" HOST "\r\n",
           "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: 56\r\n"
           "WWW-Authenticate: Bearer\r\n\r\n"
           "{\"code\":\"UNAUTHORIZED\",\"message\":\"the token is \\\"bad\\\"\"}");
    admission.required = false;
    expect_status("GET /secret HTTP/1.1\r\n" HOST "\r\n", 200, false);
    expect_status("GET /secret?token=bad HTTP/1.1\r\n" HOST "\r\n", 401, false);
    admission.required = true;
}

static void test_cors(void **state)
{
    struct cors *cors = cors_open("http://localhost:3000");
    (void)state;
    house.cors = cors;
    expect("GET / HTTP/1.1\r\n" HOST "Origin: http://localhost:3000\r\n\r\n",
           "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n"
           "Access-Control-Allow-Origin: http://localhost:3000\r\n"
           "Access-Control-Allow-Credentials: true\r\n"
           "Access-Control-Expose-Headers: Retry-After\r\nVary: Origin\r\n\r\nhello");
    expect("GET / HTTP/1.1\r\n" HOST "Origin: http://evil\r\n\r\n",
           "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n"
           "Vary: Origin\r\n\r\nhello");
    expect("OPTIONS /echo HTTP/1.1\r\n" HOST "Origin: http://localhost:3000\r\n"
           "Access-Control-Request-Method: POST\r\n"
           "Access-Control-Request-Headers: content-type,authorization\r\n\r\n",
           "HTTP/1.1 204 No Content\r\nAllow: POST, OPTIONS\r\n"
           "Access-Control-Allow-Methods: POST, OPTIONS\r\n"
           "Access-Control-Allow-Headers: content-type,authorization\r\n"
           "Access-Control-Max-Age: 600\r\n"
           "Access-Control-Allow-Origin: http://localhost:3000\r\n"
           "Access-Control-Allow-Credentials: true\r\n"
           "Access-Control-Expose-Headers: Retry-After\r\nVary: Origin\r\n\r\n");
    expect("OPTIONS /echo HTTP/1.1\r\n" HOST "Origin: http://evil\r\n"
           "Access-Control-Request-Method: POST\r\n\r\n",
           "HTTP/1.1 204 No Content\r\nAllow: POST, OPTIONS\r\nVary: Origin\r\n\r\n");
    house.cors = NULL;
    cors_close(cors);
}

/* ── Time ───────────────────────────────────────────────────────────────────────────────────── */

/* Lets the time pass as the shard would:
 * the deadline fires when it is due, and may be set again. */
static void pass(uint64_t ns)
{
    uint64_t until = turn.now_ns + ns;
    while (!conn.finished && conn.deadline_ns != 0 && conn.deadline_ns <= until) {
        if (conn.deadline_ns > turn.now_ns)
            turn.now_ns = conn.deadline_ns;
        conn.deadline_ns = 0;
        conn.wire->ops->deadline(conn.wire, &turn);
    }
    turn.now_ns = until;
}

static void test_times(void **state)
{
    (void)state;
    open_conn();
    pass(IDLE_NS - 1);
    assert_false(conn.finished);
    pass(1);
    assert_true(conn.finished && conn.sent.length == 0);
    close_conn();

    open_conn(); /* a slow header */
    hear_text("GET / HT");
    pass(HEADER_NS - 1);
    hear_text("T");
    pass(1);
    assert_true(conn.finished && memcmp(conn.sent.at, "HTTP/1.1 408 ", 13) == 0);
    close_conn();

    open_conn(); /* a slow body */
    hear_text(POST_ECHO("Content-Length: 3\r\n") "a");
    pass(BODY_NS - 1);
    hear_text("b");
    assert_false(conn.finished);
    pass(1);
    assert_true(conn.finished && memcmp(conn.sent.at, "HTTP/1.1 408 ", 13) == 0);
    close_conn();
}

static void test_time_begins_anew(void **state)
{
    (void)state;
    open_conn();
    for (int i = 0; i < 20; i++) { /* always the beginning of the next one behind each */
        hear_text(i == 0 ? "GET / HT" : "TP/1.1\r\n" HOST "\r\nGET / HT");
        pass(HEADER_NS / 2);
        assert_false(conn.finished);
    }
    hear_text("TP/1.1\r\n" HOST "\r\n");
    pass(IDLE_NS - 1);
    assert_false(conn.finished);
    hear_text("GET / HTTP/1.1\r\n" HOST "\r\n");
    pass(IDLE_NS - 1);
    assert_false(conn.finished);
    hear_text("POST /held HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nx");
    pass(IDLE_NS * 3); /* it waits for us: not idle */
    assert_false(conn.finished);
    fake_release(&conn, &turn, 1);
    pass(IDLE_NS * 2);
    assert_true(conn.finished);
    close_conn();
}

static void test_drain(void **state)
{
    (void)state;
    open_conn();
    conn.wire->ops->drain(conn.wire, &turn);
    assert_true(conn.finished);
    close_conn();
    open_conn();
    hear_text("GET / HT");
    conn.wire->ops->drain(conn.wire, &turn);
    assert_false(conn.finished);
    hear_text("TP/1.1\r\n" HOST "\r\n");
    assert_true(conn.finished);
    char *text = said();
    assert_non_null(strstr(text, "Connection: close"));
    free(text);
    close_conn();
}

static void test_output_full(void **state)
{
    (void)state;
    open_conn();
    conn.sent.max = 10;
    hear_text("GET / HTTP/1.1\r\n" HOST "\r\n");
    assert_true(conn.aborted);
    close_conn();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),         cmocka_unit_test(test_date),
        cmocka_unit_test(test_request),     cmocka_unit_test(test_no_page),
        cmocka_unit_test(test_broken),      cmocka_unit_test(test_too_much),
        cmocka_unit_test(test_body),        cmocka_unit_test(test_broken_chunks),
        cmocka_unit_test(test_large_body),  cmocka_unit_test(test_extra_is_bounded),
        cmocka_unit_test(test_feed),        cmocka_unit_test(test_answered_early),
        cmocka_unit_test(test_gzip),        cmocka_unit_test(test_expect),
        cmocka_unit_test(test_order),       cmocka_unit_test(test_many_waiting),
        cmocka_unit_test(test_many_unread), cmocka_unit_test(test_take),
        cmocka_unit_test(test_tokens),      cmocka_unit_test(test_cors),
        cmocka_unit_test(test_times),       cmocka_unit_test(test_time_begins_anew),
        cmocka_unit_test(test_drain),       cmocka_unit_test(test_output_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
