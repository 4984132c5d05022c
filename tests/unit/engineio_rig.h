/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A door of Engine.IO over a real hub and HTTP server, connections without sockets, and a user that
 * writes down what it is told and sends every message back.
 */
#ifndef TESTS_UNIT_ENGINEIO_RIG_H
#define TESTS_UNIT_ENGINEIO_RIG_H

#include "tests/unit/fake_conn.c"
#include "tests/unit/unit.h"
#include "tests/unit/ws_client.h"
#include "ws/engineio.h"

#include <stdio.h>
#include <stdlib.h>

#define MS 1000000ull

enum {
    CONNS = 8,
    INTERVAL_MS = 300,
    TIMEOUT_MS = 200,
    UPGRADE_MS = 1000,
    PAYLOAD = 2000,
    POLL = 600
};

struct user {
    unsigned messages;
};

static struct conn line[CONNS]; /* connections of clients */
static struct counters counters;
static struct turn turn = {.counters = &counters};
static struct hub_node *node;
static struct hub *hub;
static struct engineio *door;
static struct http_route routes[ENGINEIO_ROUTES];
static struct http_house house;
static struct buf told; /* what the user was told */
static struct engineio_session *latest;
static unsigned stalls; /* so many times the user cannot take a message */
static bool forbidden, silent;

unsigned shard_index(const struct shard *shard)
{
    (void)shard;
    return 0;
}

/* ── The user ───────────────────────────────────────────────────────────────────────────────── */

static bool user_admit(void *context, struct turn *now, const struct http_request *request)
{
    (void)context;
    (void)now;
    (void)request;
    return !forbidden;
}

static void user_opened(struct engineio_session *session, struct turn *now)
{
    (void)now;
    latest = session;
    assert_int_equal(((struct user *)engineio_user(session))->messages, 0);
    assert_ptr_equal(engineio_session_of(engineio_peer(session)), session);
    assert_true(buf_print(&told, "opened %u%s|", engineio_protocol(session),
                          engineio_is_websocket(session) ? " ws" : ""));
}

static bool user_message(struct engineio_session *session, struct turn *now, bool binary,
                         struct span data)
{
    if (stalls > 0) {
        stalls--;
        return false;
    }
    ((struct user *)engineio_user(session))->messages++;
    assert_true(buf_print(&told, "%c %.*s|", binary ? 'B' : 'T', SPAN_ARGS(data)));
    if (silent)
        return true;
    struct buf text = {.max = 10000};
    assert_true(buf_put(&text, "4", 1) && buf_put(&text, data.at, data.length));
    if (binary)
        engineio_send_with(session, now, (struct span){NULL, 0}, &data, 1);
    else
        engineio_send(session, now, buf_span(&text));
    buf_fini(&text);
    return true;
}

static void user_closed(struct engineio_session *session, struct turn *now,
                        enum engineio_reason reason)
{
    static const char *const names[] = {"transport close", "transport error", "ping timeout",
                                        "parse error",     "forced close",    "shutting down"};
    assert_false(engineio_send(session, now, SPAN("4late")));
    assert_true(buf_print(&told, "%s|", names[reason]));
    latest = latest == session ? NULL : latest;
}

static const struct engineio_ops user_ops = {
    .admit = user_admit, .opened = user_opened, .message = user_message, .closed = user_closed};

/* ── Turns ──────────────────────────────────────────────────────────────────────────────────── */

static inline void bury(struct conn *conn)
{
    if (conn->wire != NULL && (conn->finished || conn->aborted || conn->closing)) {
        struct wire *wire = conn->wire;
        conn->wire = NULL;
        wire->ops->fini(wire, &turn);
    }
}

/* The rest of a turn, and one more for what that made known. */
static inline void settle_all(void)
{
    for (unsigned pass = 0; pass < 2; pass++) {
        hub_flush(hub, &turn);
        (void)engineio_tick(door, &turn);
        for (unsigned i = 0; i < CONNS; i++)
            bury(&line[i]);
    }
}

/* Time passes, a millisecond a turn. */
static inline void sleep_ms(unsigned ms)
{
    for (unsigned i = 0; i < ms; i++) {
        turn.now_ns += MS;
        settle_all();
    }
}

static inline void rig_open(const struct engineio_options *changes)
{
    struct hub_options options = {.history_bytes = 1 << 16,
                                  .history_ns = 1000 * MS,
                                  .queue_bytes = 1 << 20,
                                  .queue_messages = 64,
                                  .rooms_max = 4,
                                  .backlog_bytes = 1 << 16,
                                  .answer_users = 10};
    turn.now_ns = 1000 * MS;
    options.node = node = hub_node_open(1);
    assert_non_null(node);
    hub = hub_open(&options);
    assert_non_null(hub);
    struct engineio_options own = *changes;
    own.hub = hub;
    door = engineio_open(&own);
    assert_non_null(door);
    engineio_routes(door, "/engine.io/", routes);
    house = (struct http_house){.routes = routes,
                                .routes_count = COUNT_OF(routes),
                                .body_bytes = 100000,
                                .header_ns = 1000 * MS,
                                .body_ns = 1000 * MS,
                                .idle_ns = 60000 * MS,
                                .shard = own.shard};
    told = (struct buf){.max = 100000};
    stalls = 0;
    forbidden = silent = false;
}

static inline void rig_close(void)
{
    engineio_drain(door, &turn);
    settle_all();
    assert_int_equal(engineio_sessions(door), 0);
    for (unsigned i = 0; i < CONNS; i++)
        fake_fini(&line[i], &turn);
    engineio_close(door);
    hub_close(hub);
    hub_node_close(node);
    buf_fini(&told);
}

__attribute__((unused)) static const struct engineio_options defaults = {
    .shard = 1,
    .shards = 3,
    .ops = &user_ops,
    .user_bytes = sizeof(struct user),
    .ping_interval_ns = INTERVAL_MS * MS,
    .ping_timeout_ns = TIMEOUT_MS * MS,
    .upgrade_ns = UPGRADE_MS * MS,
    .payload_bytes = PAYLOAD,
    .poll_bytes = POLL,
    .sessions_max = 100,
    .eio3 = true,
    .polling = true,
    .websocket = true,
    .origins = {(const uint8_t *)"*", 1},
    .websocket_options = {.message_bytes = PAYLOAD, .idle_ns = 60000 * MS, .close_ns = 1000 * MS},
};

/* What the user was told since it was last asked. */
static inline void was_told(const char *wanted)
{
    assert_true(buf_put(&told, "", 1));
    assert_string_equal((char *)told.at, wanted);
    told.length = 0;
}

/* ── Clients ────────────────────────────────────────────────────────────────────────────────── */

static inline void dial(struct conn *conn)
{
    fake_fini(conn, &turn);
    fake_init(conn);
    conn->wire = http_open(conn, &turn, &house);
    assert_non_null(conn->wire);
}

static inline void hear(struct conn *conn, const char *text)
{
    fake_receive(conn, &turn, text, strlen(text));
    settle_all();
}

/* A request on a connection that is new, unless it is one. */
static inline void ask(struct conn *conn, const char *method, const char *query, const char *fields,
                       const char *body)
{
    char text[4096];
    if (conn->wire == NULL)
        dial(conn);
    snprintf(text, sizeof text,
             "%s /engine.io/?%s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %zu\r\n\r\n%s", method,
             query, fields, strlen(body), body);
    hear(conn, text);
}

static inline void get(struct conn *conn, const char *query)
{
    char text[512];
    if (conn->wire == NULL)
        dial(conn);
    snprintf(text, sizeof text, "GET /engine.io/?%s HTTP/1.1\r\nHost: x\r\n\r\n", query);
    hear(conn, text);
}

/* "200 body" of the one answer that was sent; "": none was. Forgets it. */
static inline const char *answer(struct conn *conn)
{
    static char text[8192];
    assert_true(conn->sent.length < sizeof text - 16);
    if (conn->sent.length == 0)
        return "";
    assert_true(buf_put(&conn->sent, "", 1));
    const char *sent = (const char *)conn->sent.at, *body = strstr(sent, "\r\n\r\n");
    assert_non_null(body);
    snprintf(text, sizeof text, "%.3s %s", sent + 9, body + 4);
    fake_forget(conn);
    return text;
}

static inline void answers(struct conn *conn, const char *wanted)
{
    assert_string_equal(answer(conn), wanted);
}

#define UNKNOWN_TRANSPORT "400 {\"code\":0,\"message\":\"Transport unknown\"}"
#define UNKNOWN_SID       "400 {\"code\":1,\"message\":\"Session ID unknown\"}"
#define BAD_METHOD        "400 {\"code\":2,\"message\":\"Bad handshake method\"}"
#define BAD_REQUEST       "400 {\"code\":3,\"message\":\"Bad request\"}"
#define FORBIDDEN         "403 {\"code\":4,\"message\":\"Forbidden\"}"
#define BAD_PROTOCOL      "400 {\"code\":5,\"message\":\"Unsupported protocol version\"}"

/* Begins a session by polling; `query` gets what its further requests say. */
static inline void shake(unsigned protocol, char query[128])
{
    char text[64];
    snprintf(text, sizeof text, "EIO=%u&transport=polling%s", protocol,
             protocol == 3 ? "&b64=1" : "");
    get(&line[0], text);
    const char *said = answer(&line[0]), *sid = strstr(said, "{\"sid\":\"");
    assert_non_null(sid);
    snprintf(query, 128, "EIO=%u&transport=polling&sid=%.28s", protocol, sid + 8);
}

/* The same for a WebSocket. */
static inline void websocket_query(const char *query, char out[128])
{
    const char *sid = strstr(query, "&sid=");
    snprintf(out, 128, "EIO=%c&transport=websocket%s", query[4], sid);
}

static inline void post(struct conn *conn, const char *query, const char *body)
{
    ask(conn, "POST", query, "Content-Type: text/plain;charset=UTF-8\r\n", body);
}

static inline void upgrade(struct conn *conn, const char *query)
{
    char text[512];
    dial(conn);
    snprintf(
        text, sizeof text,
        "GET /engine.io/?%s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
        query);
    hear(conn, text);
}

/* The 101 is taken off what was sent. */
static inline void upgraded(struct conn *conn)
{
    static const char start[] = "HTTP/1.1 101 ";
    assert_true(conn->sent.length > sizeof start);
    assert_memory_equal(conn->sent.at, start, sizeof start - 1);
    uint8_t *end = memmem(conn->sent.at, conn->sent.length, "\r\n\r\n", 4);
    assert_non_null(end);
    assert_null(memmem(conn->sent.at, (size_t)(end - conn->sent.at), "deflate", 7));
    buf_drop(&conn->sent, (size_t)(end + 4 - conn->sent.at));
}

static inline void say_bytes(struct conn *conn, unsigned kind, const void *bytes, size_t length)
{
    struct buf out = {.max = 100000};
    client_frame(&out, FIN | kind, bytes, length);
    fake_receive(conn, &turn, out.at, out.length);
    buf_fini(&out);
    settle_all();
}

static inline void say(struct conn *conn, const char *text)
{
    say_bytes(conn, FRAME_TEXT, text, strlen(text));
}

/* All frames that were sent: "T4hello|B…|C1000|". Forgets them. */
static inline const char *frames(struct conn *conn)
{
    static char text[8192];
    char *out = text;
    struct span sent = buf_span(&conn->sent), payload;
    struct frame frame;
    text[0] = '\0';
    while (server_frame(&sent, &frame, &payload)) {
        if (frame.opcode == FRAME_CLOSE)
            out += sprintf(out, "C%u|", payload.at[0] << 8 | payload.at[1]);
        else
            out += sprintf(out, "%c%.*s|", frame.opcode == FRAME_BINARY ? 'B' : 'T',
                           SPAN_ARGS(payload));
    }
    fake_forget(conn);
    return text;
}

static inline void hears(struct conn *conn, const char *wanted)
{
    assert_string_equal(frames(conn), wanted);
}

#endif
