/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a connection:
 *
 *      ┌──────────────────────────── next request, perhaps pipelined ─────────────────────┐
 *      ▼                                                                                  │
 *   HEAD ── http_head reads the header where it lies; nothing is used until it is whole   │
 *      │                                                                                  │
 *   http_judge: a route, a principal, a framing ── take ─► another wire                   │
 *      ▼                                                                                  │
 *   BODY ── http_body takes framing and gzip off ─► deliver() ─► handle / feed ───────────┤
 *      │                                                                                  │
 *   PARKED ── until somebody answers: nothing behind it is read ──────────────────────────┤
 *                                                                                         ▼
 *   GONE ◄── Connection: close, a broken request, a timeout ───── http_answer, at once or held
 *
 * While a body is read, the header's bytes may be gone from the connection; then it is copied
 * (keep), and all of the request's pieces, being offsets, stay true. A request that fits into one
 * input costs no copy and no timer.
 */
#include "proto/http.h"

#include "proto/http_judge.h"
#include "proto/http_wire.h"

#include <stdlib.h>

/* Answers of one connection that wait for the disk, or for the peer: beyond this it is not read. */
enum { HOLDS_MAX = 128, QUEUED_MAX = 256 * 1024 };
enum { GUNZIP_BYTES = 48 * 1024 }; /* what zlib takes, about */
#define PAUSED_RETRY_NS 50000000u

static struct http *mine(struct wire *wire)
{
    return (struct http *)(void *)wire;
}

/* ── Time ───────────────────────────────────────────────────────────────────────────────────── */

static uint64_t due_ns(const struct http *http, uint64_t now_ns)
{
    if (http->paused)
        return now_ns + PAUSED_RETRY_NS;
    if (http->begun_ns == 0)
        return http->active_ns + http->house->idle_ns;
    return http->begun_ns +
           (http->phase == HTTP_BODY ? http->house->body_ns : http->house->header_ns);
}

/* A deadline that moved away is let come, and then set again:
 * no timer is touched for each request. */
static void arm(struct http *http, struct turn *turn)
{
    uint64_t due = due_ns(http, turn->now_ns);
    if (http->phase == HTTP_GONE || (http->armed_ns != 0 && http->armed_ns <= due))
        return;
    http->armed_ns = due;
    conn_deadline(http->wire.conn, turn, due);
}

static bool may_go_on(const struct http *http)
{
    return conn_holds(http->wire.conn) <= http->holds_allowed &&
           conn_queued(http->wire.conn) < QUEUED_MAX;
}

static void pause_reading(struct http *http, struct turn *turn, unsigned holds_allowed)
{
    http->paused = true;
    http->holds_allowed = holds_allowed;
    conn_pause(http->wire.conn, turn);
}

static void resume_if_possible(struct http *http, struct turn *turn)
{
    if (http->phase == HTTP_GONE || !http->paused || !may_go_on(http))
        return;
    http->paused = false;
    http->active_ns = turn->now_ns;
    conn_resume(http->wire.conn, turn);
}

static void http_deadline(struct wire *wire, struct turn *turn)
{
    struct http *http = mine(wire);
    http->armed_ns = 0;
    resume_if_possible(http, turn);
    bool waits = conn_holds(wire->conn) > 0;
    if (http->paused && !waits && turn->now_ns - http->active_ns >= http->house->idle_ns)
        http_finish(http, turn); /* the peer does not take its answers */
    if (http->phase == HTTP_GONE)
        return;
    if (http->phase == HTTP_PARKED)
        http->active_ns = turn->now_ns;
    if (turn->now_ns < due_ns(http, turn->now_ns)) {
        arm(http, turn);
    } else if (http->begun_ns != 0) {
        http_fail(http, turn, 408, "TIMEOUT", "the request did not come to its end in time");
    } else if (!waits) {
        http_finish(http, turn);
    } else {
        http->active_ns = turn->now_ns;
        arm(http, turn);
    }
}

/* ── One request ────────────────────────────────────────────────────────────────────────────── */

static void start_request(struct http *http)
{
    struct http_request *request = &http->request;
    http_head_start(http->head, request);
    http->begun_ns = 0;
    request->answered = request->broken = request->upgrade = request->parked = false;
    request->bodiless = request->http_1_0 = false;
    request->keep_alive = !http->draining;
    request->route = NULL;
    request->principal = NULL;
    request->state = NULL;
    request->body = NULL;
    request->body_length = 0;
}

static bool give_state(struct http *http)
{
    size_t bytes = http->request.route->state_bytes;
    if (bytes > http->state_bytes) {
        free(http->state);
        http->state = malloc(bytes);
        http->state_bytes = http->state == NULL ? 0 : bytes;
    }
    if (bytes > http->state_bytes)
        return false;
    if (bytes > 0)
        memset(http->state, 0, bytes);
    http->request.state = http->state;
    return true;
}

/* The request is over, or its connection is. */
static void forget(struct http *http)
{
    const struct http_route *route = http->request.route;
    if (route != NULL && route->forget != NULL && http->request.state != NULL)
        route->forget(route->context, &http->request);
    http->request.route = NULL;
    http->request.state = NULL;
    http_body_fini(&http->body);
    free(http->head_copy);
    http->head_copy = NULL;
    (void)conn_count_memory(http->wire.conn, &http->counted, 0);
}

static void end_request(struct http *http, struct turn *turn)
{
    must(http->request.answered);
    bool close = !http->request.keep_alive;
    forget(http);
    if (http->phase == HTTP_GONE)
        return;
    http->phase = HTTP_HEAD;
    start_request(http);
    if (close)
        http_finish(http, turn);
}

static void feed(struct http *http, struct turn *turn)
{
    struct http_request *request = &http->request;
    const struct http_route *route = request->route;
    size_t length;
    uint8_t *at = http_body_pending(&http->body, &length);
    bool last = http->body.complete;
    size_t used = route->feed(route->context, turn, request, at, length, last);
    must(used <= length && (request->answered || !last));
    http_body_used(&http->body, request->answered ? length : used);
}

/* The body is there: the request is over, unless its answer is still to come. */
static void complete(struct http *http, struct turn *turn)
{
    must(http->request.answered || http->request.parked);
    if (http->request.answered) {
        end_request(http, turn);
        return;
    }
    http->phase = HTTP_PARKED;
    http->request.body = NULL;
    http->request.body_length = 0;
    http_body_fini(&http->body);
}

/* Gives the handler what it can use now. The end of the body is the end of the request. */
static void deliver(struct http *http, struct turn *turn)
{
    struct http_request *request = &http->request;
    const struct http_route *route = request->route;
    if (!request->answered && route->feed != NULL) {
        if (http_body_enough(&http->body))
            feed(http, turn);
    } else if (!request->answered && http->body.complete) {
        request->body = http_body_pending(&http->body, &request->body_length);
        route->handle(route->context, turn, request);
    }
    http->body.discard = request->answered;
    if (http->body.complete)
        complete(http, turn);
}

/* ── The header ─────────────────────────────────────────────────────────────────────────────── */

/* The connection becomes another wire's, as soon as all answers before have left. 0: not yet. */
static size_t take_over(struct http *http, struct turn *turn)
{
    struct http_request *request = &http->request;
    if (conn_holds(http->wire.conn) > 0) {
        forget(http);
        start_request(http);
        pause_reading(http, turn, 0);
        return 0;
    }
    conn_deadline(http->wire.conn, turn, 0);
    http->armed_ns = 0;
    if (!request->route->take(request->route->context, turn, request)) {
        must(request->answered);
        deliver(http, turn);
    } else {
        count(turn->counters, COUNT_HTTP_REQUESTS, 1);
        http->phase = HTTP_GONE;
    }
    return http->head_length;
}

static void judge(struct http *http, struct turn *turn)
{
    struct http_request *request = &http->request;
    struct http_framed framed = http_head_framed(http->head);
    struct http_judged judged = http_judge(http->house, turn, request, &framed, &http->principal);
    size_t most = http_body_most(http->house, request);
    http_body_start(&http->body, judged.framing, framed.length, most);
    if (request->answered)
        return;
    if (judged.gzip && !http->body.complete)
        http->body.gunzip = gunzip_open(most);
    if (!give_state(http) || (judged.gzip && !http->body.complete && http->body.gunzip == NULL))
        http_refuse_for_now(request, turn, 503, 1, "OVERLOADED", "no memory");
}

/* RFC 9110 10.1.1. False: the body will not come, or we cannot know whether it does. */
static bool body_will_come(struct http *http, struct turn *turn, bool body_follows)
{
    struct http_request *request = &http->request;
    if (http->body.complete || body_follows || request->http_1_0 ||
        http_header(request, "expect").at == NULL)
        return true;
    if (!request->answered)
        http_dispatch(http, turn, NULL, SPAN("HTTP/1.1 100 Continue\r\n\r\n"));
    return !request->answered;
}

/* It goes, as it came, to the shard that it is meant for. */
static bool is_elsewhere(struct http *http)
{
    struct http_request *request = &http->request;
    const struct http_route *route = request->route;
    if (request->answered || route->shard_of == NULL)
        return false;
    unsigned shard = route->shard_of(route->context, request);
    http->moves = shard != http->house->shard;
    if (http->moves)
        conn_hand_over(http->wire.conn, shard);
    return http->moves;
}

/* The header is whole. Returns how many bytes of it are used:
 * all, or none if the request must wait or go elsewhere. */
static size_t begin(struct http *http, struct turn *turn, bool body_follows)
{
    struct http_request *request = &http->request;
    request->received_ns = turn->now_ns;
    http->begun_ns = 0;
    judge(http, turn);
    if (is_elsewhere(http)) {
        forget(http);
        start_request(http);
        return 0;
    }
    if (!request->answered && http_body_too_long(&http->body))
        http_cut(http, turn, 413, "TOO_LARGE", HTTP_BODY_TOO_LONG);
    if (!request->answered && request->route->take != NULL)
        return take_over(http, turn);
    if (!body_will_come(http, turn, body_follows)) {
        http_finish(http, turn);
        return http->head_length;
    }
    if (http->phase == HTTP_GONE)
        return http->head_length;
    http->phase = HTTP_BODY;
    http->body.discard = request->answered;
    if (http->body.complete)
        deliver(http, turn);
    return http->head_length;
}

static const char *code_of(int status)
{
    switch (status) {
    case 501:
        return "NOT_IMPLEMENTED";
    case 414:
    case 431:
        return "TOO_LARGE";
    default:
        return "BAD_REQUEST";
    }
}

static size_t take_head(struct http *http, struct turn *turn, const uint8_t *at, size_t length)
{
    const char *why = NULL;
    http->request.head = at;
    ptrdiff_t parsed = http_head_parse(http->head, at, length, &why);
    if (parsed == 0)
        return 0;
    if (parsed < 0) {
        http_fail(http, turn, (unsigned)-parsed, code_of((int)-parsed), why);
        return length;
    }
    http->head_length = (size_t)parsed;
    return begin(http, turn, (size_t)parsed < length);
}

/* ── The body ───────────────────────────────────────────────────────────────────────────────── */

static void fail_body(struct http *http, struct turn *turn, enum http_body_error error)
{
    switch (error) {
    case HTTP_BODY_BAD_CHUNK:
        http_fail(http, turn, 400, "BAD_REQUEST", "the chunked coding of the body is broken");
        return;
    case HTTP_BODY_BAD_GZIP:
        http_fail(http, turn, 400, "BAD_REQUEST", "the body is not whole and valid gzip");
        return;
    case HTTP_BODY_TOO_LARGE:
        http_fail(http, turn, 413, "TOO_LARGE", HTTP_BODY_TOO_LONG);
        return;
    case HTTP_BODY_NO_MEMORY:
        http_fail(http, turn, 503, "OVERLOADED", "no memory for the body");
        return;
    }
    must(false);
}

static size_t take_body(struct http *http, struct turn *turn, uint8_t *at, size_t length)
{
    ptrdiff_t used = http_body_take(&http->body, at, length);
    if (used < 0) {
        fail_body(http, turn, (enum http_body_error)used);
        return length;
    }
    deliver(http, turn);
    return (size_t)used;
}

/* ── What comes in ──────────────────────────────────────────────────────────────────────────── */

static bool keep_head(struct http *http)
{
    if (http->head_copy != NULL)
        return true;
    must(http->head_length > 0);
    http->head_copy = malloc(http->head_length);
    if (http->head_copy == NULL)
        return false;
    memcpy(http->head_copy, http->request.head, http->head_length);
    http->request.head = http->head_copy;
    return true;
}

/* False: more than there is for all connections. */
static bool count_memory(struct http *http)
{
    size_t bytes = http->head_length + http->body.kept.capacity +
                   (http->body.gunzip == NULL ? 0 : GUNZIP_BYTES);
    return conn_count_memory(http->wire.conn, &http->counted, bytes);
}

/* What a request that goes on needs of the bytes that now go away. */
static void after_input(struct http *http, struct turn *turn)
{
    bool body = http->phase == HTTP_BODY, goes_on = body || http->phase == HTTP_PARKED;
    if (goes_on &&
        (!keep_head(http) || (body && !http_body_keep(&http->body)) || !count_memory(http))) {
        count(turn->counters, COUNT_CONNECTIONS_OVERRUN, 1);
        http_fail(http, turn, 503, "OVERLOADED", "no memory");
    }
    bool head = http->phase == HTTP_HEAD && http_head_begun(http->head);
    if (http->begun_ns == 0 && (body || head))
        http->begun_ns = turn->now_ns;
    arm(http, turn);
}

static size_t take(struct http *http, struct turn *turn, uint8_t *at, size_t length)
{
    if (http->phase == HTTP_BODY)
        return take_body(http, turn, at, length);
    if (http->phase == HTTP_PARKED) {
        conn_pause(http->wire.conn, turn); /* what is behind it can wait in the kernel */
        return 0;
    }
    http->holds_allowed = HOLDS_MAX;
    if (may_go_on(http))
        return take_head(http, turn, at, length);
    pause_reading(http, turn, HOLDS_MAX / 2);
    return 0;
}

static ptrdiff_t http_input(struct wire *wire, struct turn *turn, uint8_t *at, size_t length)
{
    struct http *http = mine(wire);
    size_t used = 0, step = 1;
    if (http->phase == HTTP_GONE)
        return (ptrdiff_t)length;
    if (http->paused)
        return 0;
    http->active_ns = turn->now_ns;
    http->moves = false;
    while (used < length && step > 0 && http->phase != HTTP_GONE) {
        step = take(http, turn, at + used, length - used);
        used += step;
    }
    after_input(http, turn);
    if (http->moves && used == 0)
        return WIRE_HAND_OVER; /* else it is offered once more, at the front */
    return (ptrdiff_t)used;
}

void http_unpark(struct http *http, struct turn *turn)
{
    must(http->phase == HTTP_PARKED);
    http->active_ns = turn->now_ns;
    end_request(http, turn);
    if (http->phase == HTTP_GONE)
        return;
    if (http->ended)
        http_finish(http, turn);
    arm(http, turn);
    conn_resume(http->wire.conn, turn);
}

/* ── The rest of a wire's life ──────────────────────────────────────────────────────────────── */

static void http_released(struct wire *wire, struct turn *turn, const struct hold *hold)
{
    struct http *http = mine(wire);
    if (hold->tag != 0)
        observe(turn->counters, HISTOGRAM_ACK_NS, turn->now_ns - hold->tag);
    if (hold->reply.length > 0 &&
        !conn_send(wire->conn, turn, hold->reply.at, hold->reply.length)) {
        http->phase = HTTP_GONE;
        conn_abort(wire->conn, turn);
    }
    resume_if_possible(http, turn);
}

static void http_ended(struct wire *wire, struct turn *turn)
{
    struct http *http = mine(wire);
    const struct http_route *route = http->request.route;
    http->ended = true;
    if (http->phase == HTTP_PARKED && route->ended != NULL)
        route->ended(route->context, turn, &http->request);
    if (http->phase != HTTP_PARKED)
        http_finish(http, turn);
}

static void http_writable(struct wire *wire, struct turn *turn)
{
    resume_if_possible(mine(wire), turn);
}

static void http_drain(struct wire *wire, struct turn *turn)
{
    struct http *http = mine(wire);
    http->draining = true;
    http->request.keep_alive = false;
    if (http->phase == HTTP_HEAD && !http_head_begun(http->head) && !http->paused)
        http_finish(http, turn);
}

static void http_fini(struct wire *wire, struct turn *turn)
{
    struct http *http = mine(wire);
    (void)turn;
    forget(http);
    http_head_close(http->head);
    free(http->principal);
    free(http->state);
    free(http);
}

static const struct wire_ops http_ops = {
    .name = "http",
    .input = http_input,
    .ended = http_ended,
    .released = http_released,
    .deadline = http_deadline,
    .drain = http_drain,
    .writable = http_writable,
    .fini = http_fini,
};

struct wire *http_open(struct conn *conn, struct turn *turn, const struct http_house *house)
{
    struct http *http = calloc(1, sizeof *http);
    if (http == NULL)
        return NULL;
    http->head = http_head_open();
    if (http->head == NULL) {
        free(http);
        return NULL;
    }
    http->wire = (struct wire){&http_ops, conn};
    http->house = house;
    http->request.conn = conn;
    http->active_ns = turn->now_ns;
    start_request(http);
    arm(http, turn);
    return &http->wire;
}
