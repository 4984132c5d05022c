/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients that do anything in any order: the input is a list of steps on four connections. Nothing
 * must break, every session that begins must end once, and what a session was sent must come to its
 * client in order, whatever transport it takes.
 */
#define FAKE_HOLDS_MAX 16
#include "tests/unit/fake_conn.c"
#include "ws/engineio.h"

#include <stdio.h>
#include <stdlib.h>

#define MS 1000000ull

enum { CONNS = 4, SIDS = 4, PAYLOAD = 1000 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static struct conn line[CONNS];
static struct counters counters;
static struct turn turn = {.counters = &counters};
static struct hub *hub;
static struct engineio *door;
static struct http_house house;
static char sids[SIDS][32]; /* of sessions that may be over */
static unsigned begun, ended, stalls;
static struct engineio_session *last;

unsigned shard_index(const struct shard *shard)
{
    (void)shard;
    return 0;
}

static void opened(struct engineio_session *session, struct turn *now)
{
    (void)now;
    strcpy(sids[begun++ % SIDS], engineio_sid(session));
    last = session;
}

static bool message(struct engineio_session *session, struct turn *now, bool binary,
                    struct span data)
{
    if (stalls > 0) {
        stalls--;
        return false;
    }
    if (data.length > 0 && data.at[0] == '!')
        engineio_end(session, now, ENGINEIO_FORCED_CLOSE);
    if (binary)
        (void)engineio_send_with(session, now, SPAN("4text"), &data, 1);
    else
        (void)engineio_send(session, now, SPAN("4back"));
    return true;
}

static void closed(struct engineio_session *session, struct turn *now, enum engineio_reason reason)
{
    (void)reason;
    must(!engineio_send(session, now, SPAN("4late")));
    ended++;
    last = last == session ? NULL : last;
}

static const struct engineio_ops ops = {.opened = opened, .message = message, .closed = closed};

static void settle_all(void)
{
    hub_flush(hub, &turn);
    (void)engineio_tick(door, &turn);
    for (unsigned i = 0; i < CONNS; i++) {
        struct wire *wire = line[i].wire;
        if (wire == NULL || !(line[i].finished || line[i].aborted || line[i].closing))
            continue;
        line[i].wire = NULL;
        wire->ops->fini(wire, &turn);
    }
}

static void dial(struct conn *conn)
{
    fake_fini(conn, &turn);
    fake_init(conn);
    conn->wire = http_open(conn, &turn, &house);
    must(conn->wire != NULL);
}

/* ── Steps ──────────────────────────────────────────────────────────────────────────────────── */

static const char upgrade_fields[] =
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

static void request(struct conn *conn, uint8_t how, struct span body)
{
    char head[1024];
    const char *sid = (how & 1) != 0 ? sids[how >> 6] : "";
    bool websocket = (how & 2) != 0, post = !websocket && (how & 4) != 0;
    int length = snprintf(head, sizeof head,
                          "%s /engine.io/?EIO=%d&transport=%s%s%s%s HTTP/1.1\r\nHost: x\r\n%s%s",
                          post ? "POST" : "GET", (how & 8) != 0 ? 3 : 4,
                          websocket ? "websocket" : "polling", *sid != '\0' ? "&sid=" : "", sid,
                          (how & 16) != 0 ? "&b64=1" : "", websocket ? upgrade_fields : "",
                          (how & 32) != 0 ? "Content-Type: application/octet-stream\r\n" : "");
    if (conn->wire == NULL)
        dial(conn);
    fake_receive(conn, &turn, head, (size_t)length);
    length = post ? snprintf(head, sizeof head, "Content-Length: %zu\r\n\r\n", body.length)
                  : snprintf(head, sizeof head, "\r\n");
    if (conn->wire != NULL)
        fake_receive(conn, &turn, head, (size_t)length);
    if (conn->wire != NULL && post)
        fake_receive(conn, &turn, body.at, body.length);
}

static void frame(struct conn *conn, uint8_t how, struct span payload)
{
    uint8_t bytes[FRAME_HEADER_MAX + 256];
    struct frame head = {.length = payload.length,
                         .mask = 0x3d21fa37,
                         .opcode = (how & 1) != 0 ? FRAME_BINARY : FRAME_TEXT,
                         .final = true,
                         .masked = true};
    size_t header = frame_write(&head, bytes);
    memcpy(bytes + header, payload.at, payload.length);
    frame_unmask(bytes + header, payload.length, head.mask);
    if (conn->wire != NULL)
        fake_receive(conn, &turn, bytes, header + payload.length);
}

static void peer_ends(struct conn *conn, uint8_t how)
{
    if (conn->wire == NULL)
        return;
    if ((how & 1) != 0 || conn->wire->ops->ended == NULL)
        conn->aborted = true;
    else
        conn->wire->ops->ended(conn->wire, &turn);
}

static void step(const uint8_t *at, struct span text)
{
    struct conn *conn = &line[at[0] >> 6];
    switch (at[0] & 7) {
    case 0:
    case 1:
        request(conn, at[1], text);
        break;
    case 2:
    case 3:
        frame(conn, at[1], text);
        break;
    case 4:
        turn.now_ns += at[1] * MS;
        break;
    case 5:
        peer_ends(conn, at[1]);
        break;
    case 6:
        stalls = at[1] & 3;
        if (conn->wire != NULL && conn->throttled)
            fake_open(conn, &turn);
        break;
    case 7:
        if (last != NULL)
            engineio_end(last, &turn, ENGINEIO_FORCED_CLOSE);
        break;
    }
    for (unsigned i = 0; i < CONNS; i++)
        if (line[i].wire != NULL)
            fake_sent(&line[i], &turn);
    settle_all();
}

static void finish(void)
{
    engineio_drain(door, &turn);
    settle_all();
    must(engineio_sessions(door) == 0 && begun == ended);
    for (unsigned i = 0; i < CONNS; i++)
        fake_fini(&line[i], &turn);
    engineio_close(door);
    hub_close(hub);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct hub_node *node = hub_node_open(1);
    struct hub_options of_hub = {.node = node,
                                 .history_bytes = 4096,
                                 .queue_bytes = 4096,
                                 .queue_messages = 16,
                                 .rooms_max = 1,
                                 .backlog_bytes = 4096};
    static struct http_route routes[ENGINEIO_ROUTES];
    turn.now_ns = 1000 * MS;
    begun = ended = stalls = 0;
    last = NULL;
    must(node != NULL && (hub = hub_open(&of_hub)) != NULL);
    struct engineio_options options = {
        .hub = hub,
        .shards = 1,
        .ops = &ops,
        .ping_interval_ns = 300 * MS,
        .ping_timeout_ns = 200 * MS,
        .upgrade_ns = 400 * MS,
        .payload_bytes = PAYLOAD,
        .poll_bytes = PAYLOAD,
        .sessions_max = 6,
        .eio3 = true,
        .polling = true,
        .websocket = true,
        .websocket_options = {.message_bytes = PAYLOAD, .idle_ns = 60000 * MS, .close_ns = MS}};
    must((door = engineio_open(&options)) != NULL);
    engineio_routes(door, "/engine.io/", routes);
    house = (struct http_house){.routes = routes,
                                .routes_count = ENGINEIO_ROUTES,
                                .body_bytes = PAYLOAD,
                                .header_ns = 1000 * MS,
                                .body_ns = 1000 * MS,
                                .idle_ns = 60000 * MS};
    while (length >= 3) {
        size_t text = bytes[2] < length - 3 ? bytes[2] : length - 3;
        step(bytes, span_of(bytes + 3, text));
        bytes += 3 + text;
        length -= 3 + text;
    }
    finish();
    hub_node_close(node);
    return 0;
}
