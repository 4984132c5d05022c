/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tests of the HTTP server stand on: a house with a handler of each kind, and dialogues. Each
 * is played whole, byte by byte, and cut in two at every byte: the answers must be the same.
 */
#ifndef TESTS_UNIT_HTTP_RIG_H
#define TESTS_UNIT_HTTP_RIG_H

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
static struct http_request *parked; /* whoever waits at /park */

unsigned shard_index(const struct shard *shard)
{
    (void)shard;
    return 0;
}

/* ── Routes ─────────────────────────────────────────────────────────────────────────────────── */

static inline void say(struct http_request *request, const char *text)
{
    struct http_response response = {
        .status = 200, .type = "text/plain", .body = span_of_string(text)};
    http_respond(request, &turn, &response, NULL);
}

static inline void handle_hello(void *context, struct turn *now, struct http_request *request)
{
    (void)context;
    (void)now;
    say(request, "hello");
}

/* What a handler can see of a request. */
static inline void handle_show(void *context, struct turn *now, struct http_request *request)
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

static inline void handle_echo(void *context, struct turn *now, struct http_request *request)
{
    struct http_response response = {
        .status = 200, .type = "text/plain", .body = span_of(request->body, request->body_length)};
    (void)context;
    http_respond(request, now, &response, NULL);
    for (size_t i = 0; i < request->body_length; i++)
        request->body[i] = '!'; /* ours to change */
}

/* A reply that waits for event 7 of this shard. */
static inline void handle_held(void *context, struct turn *now, struct http_request *request)
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
static inline size_t feed_lines(void *context, struct turn *now, struct http_request *request,
                                uint8_t *at, size_t length, bool last)
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

static inline size_t feed_refuse(void *context, struct turn *now, struct http_request *request,
                                 uint8_t *at, size_t length, bool last)
{
    (void)context;
    (void)at;
    (void)last;
    if (!request->answered)
        http_refuse_for_now(request, now, 503, 3, "OVERLOADED", "full");
    return length;
}

static inline void forget(void *context, struct http_request *request)
{
    (void)context;
    must(request->state != NULL);
    forgotten++;
}

/* The answer comes later. */
static inline void handle_park(void *context, struct turn *now, struct http_request *request)
{
    (void)context;
    (void)now;
    must(request->state != NULL && parked == NULL);
    parked = request;
    http_park(request);
}

static inline void forget_parked(void *context, struct http_request *request)
{
    (void)context;
    must(parked == NULL || parked == request);
    parked = NULL;
    forgotten++;
}

static inline void ended_parked(void *context, struct turn *now, struct http_request *request)
{
    (void)context;
    http_refuse(request, now, 499, (struct span){NULL, 0}, "GONE", "you ended it");
}

/* ?at=n names the shard. */
static inline unsigned shard_of(void *context, const struct http_request *request)
{
    char at[4];
    (void)context;
    return http_query(request, "at", at, sizeof at) ? (unsigned)atoi(at) : 0;
}

/* Another protocol: says what it hears, in capitals. */
static inline ptrdiff_t shout_input(struct wire *wire, struct turn *now, uint8_t *at, size_t length)
{
    for (size_t i = 0; i < length; i++)
        at[i] = (uint8_t)(at[i] & 0xdf);
    must(conn_send(wire->conn, now, at, length));
    return (ptrdiff_t)length;
}

static inline void shout_fini(struct wire *wire, struct turn *now)
{
    (void)now;
    free(wire);
}

static const struct wire_ops shout_ops = {
    .name = "shout", .input = shout_input, .fini = shout_fini};

static inline bool take_shout(void *context, struct turn *now, struct http_request *request)
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

static inline int verify(void *self, struct turn *now, struct span token, const char *peer,
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
    {.method = "GET",
     .path = "/park",
     .handle = handle_park,
     .forget = forget_parked,
     .state_bytes = 1},
    {.method = "POST",
     .path = "/park",
     .handle = handle_park,
     .ended = ended_parked,
     .forget = forget_parked,
     .state_bytes = 1,
     .body_bytes = 10},
    {.method = "POST", .path = "/at", .handle = handle_echo, .shard_of = shard_of},
    {.path = "/any", .handle = handle_show},
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

static inline void open_conn(void)
{
    turn.now_ns = 1000000;
    turn.wall_us = 784111777000000;
    fake_init(&conn);
    conn.wire = http_open(&conn, &turn, &house);
    assert_non_null(conn.wire);
}

static inline void close_conn(void)
{
    fake_fini(&conn, &turn);
}

static inline void hear(const void *bytes, size_t length)
{
    fake_receive(&conn, &turn, bytes, length);
}

static inline void hear_text(const char *text)
{
    hear(text, strlen(text));
}

/* All that was sent, without the Date lines; the caller frees. */
static inline char *said(void)
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
static inline char *answer(const void *bytes, size_t length, size_t first, size_t step)
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

static inline void expect_bytes(const void *bytes, size_t length, const char *wanted)
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

static inline void expect(const char *request, const char *wanted)
{
    expect_bytes(request, strlen(request), wanted);
}

#define TEXT(length, body)                                                                         \
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: " length "\r\n\r\n" body
#define HOST              "Host: x\r\n"
#define POST_ECHO(fields) "POST /echo HTTP/1.1\r\n" HOST fields "\r\n"
#define CHUNKED           "Transfer-Encoding: chunked\r\n"

static inline void expect_text(const char *request, const char *body)
{
    char wanted[1024];
    snprintf(wanted, sizeof wanted,
             "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n%s",
             strlen(body), body);
    expect(request, wanted);
}

/* Only the status of what is answered, and whether the connection is closed. */
static inline void expect_status(const char *request, unsigned status, bool closed)
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

#endif
