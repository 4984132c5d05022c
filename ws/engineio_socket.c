/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The WebSocket of a session, and the upgrade to it.
 *
 *   client   GET …&sid= (Upgrade)   2probe             5
 *   server                    101          3probe, noop to the parked poll    all further messages
 *
 * Until the 5 comes messages leave by polls; then no poll is under way any more, since the client
 * waits for its last one, and the queue goes on by the WebSocket: none is lost, doubled or overtaken.
 * A further WebSocket for a session that has one, or a probe, is opened and closed.
 *
 * What is shared by many is sent as it was encoded, frames and all; only binary of EIO 3, which wants
 * a byte in front, and of a client that asked for base64, is framed anew.
 */
#include "ws/engineio_internal.h"
#include "ws/upgrade.h"

#include <stdlib.h>

/* What is queued beyond this stays in the peer, by reference. */
enum { AHEAD_BYTES = 64 * 1024 };

/* ── Out ────────────────────────────────────────────────────────────────────────────────────── */

static bool send_binary_to_3(struct websocket *ws, struct turn *turn, struct span data)
{
    uint8_t head[FRAME_HEADER_UNMASKED_MAX + 1];
    size_t length = frame_write_header(FRAME_BINARY, data.length + 1, head);
    head[length++] = PACKET_MESSAGE;
    return websocket_send_frames(ws, turn, span_of(head, length)) &&
           websocket_send_frames(ws, turn, data);
}

static bool send_binary_as_text(struct engineio_session *session, struct turn *turn,
                                struct span data)
{
    struct websocket *ws = &session->socket->ws;
    struct buf text = {.max = payload_bytes_max(data.length)};
    bool put = packet_put_base64(session->protocol, data, &text);
    if (!put)
        websocket_abort(ws, turn);
    bool sent = put && websocket_send(ws, turn, false, buf_span(&text));
    buf_fini(&text);
    return sent;
}

static bool send_binary(struct engineio_session *session, struct turn *turn, struct span data)
{
    if (session->base64)
        return send_binary_as_text(session, turn, data);
    return send_binary_to_3(&session->socket->ws, turn, data);
}

/* Part by part: its binary cannot go as it was encoded. */
static void send_parts(struct engineio_session *session, struct turn *turn, struct encoded *encoded)
{
    struct span frames = encoded_frames(encoded);
    bool sent = true;
    for (unsigned i = 0; sent && i < encoded->parts; i++) {
        const struct encoded_part *part = &encoded->part[i];
        struct span frame = span_of(frames.at + part->at, part->header + part->length);
        sent = part->binary ? send_binary(session, turn, encoded_payload(encoded, i))
                            : websocket_send_frames(&session->socket->ws, turn, frame);
    }
    encoded_put(encoded);
}

static void send_owed(struct engineio_session *session, struct turn *turn)
{
    struct websocket *ws = &session->socket->ws;
    unsigned owed = session->owed;
    session->owed = 0;
    if ((owed & OWE_PING) != 0)
        (void)websocket_send(ws, turn, false, SPAN("2"));
    if ((owed & OWE_PONG) != 0)
        (void)websocket_send(ws, turn, false, SPAN("3"));
}

void socket_flush(struct engineio_session *session, struct turn *turn)
{
    struct websocket *ws = &session->socket->ws;
    if (session->greet_ns != 0)
        return;
    if (session->owed != 0)
        send_owed(session, turn);
    while (peer_waits(&session->peer) && ws->state < WEBSOCKET_CLOSING &&
           conn_queued(ws->wire.conn) < AHEAD_BYTES) {
        struct encoded *encoded = peer_take(&session->peer);
        if (session->protocol == 3 || session->base64)
            send_parts(session, turn, encoded);
        else
            (void)websocket_send_encoded(ws, turn, encoded);
    }
    if (peer_waits(&session->peer))
        conn_notify(ws->wire.conn);
}

void engineio_socket_close(struct engineio_socket **place, struct turn *turn, uint16_t code)
{
    struct engineio_socket *socket = *place;
    *place = NULL;
    if (socket == NULL)
        return;
    socket->session = NULL;
    websocket_close(&socket->ws, turn, code, "");
}

/* ── In ─────────────────────────────────────────────────────────────────────────────────────── */

static bool is_probe(const struct packet *packet)
{
    return packet->type == PACKET_PING && span_is(packet->data, "probe");
}

/* The client has said 5: this is its transport now. */
static void adopt(struct engineio_session *session, struct turn *turn)
{
    session->socket = session->probe;
    session->base64 = session->socket->base64;
    session->probe = NULL;
    session->upgrade_ns = 0;
    session->probed = false;
    session->owed &= (uint8_t)~OWE_NOOP;
    poll_end(session, turn, "6");
    session_arm(session);
    session_flush(session, turn);
}

static void probe_packet(struct engineio_session *session, struct turn *turn,
                         const struct packet *packet)
{
    if (is_probe(packet)) {
        session->probed = true;
        (void)websocket_send(&session->probe->ws, turn, false, SPAN("3probe"));
        session_flush(session, turn);
    } else if (packet->type == PACKET_UPGRADE && session->post == NULL) {
        adopt(session, turn);
    } else {
        session->upgrade_ns = 0;
        session->probed = false;
        engineio_socket_close(&session->probe, turn, CLOSE_NORMAL);
    }
}

/* A message that the user cannot take is kept here, and the connection is not read meanwhile. */
static bool hold_back(struct engineio_session *session, struct turn *turn,
                      const struct packet *packet)
{
    struct conn *conn = session->socket->ws.wire.conn;
    if (session->stall == NULL && !session_stall(session, packet, NULL)) {
        session_close(session, turn, ENGINEIO_TRANSPORT_ERROR);
        return true;
    }
    conn_throttle(conn, turn);
    return false;
}

static bool socket_packet(struct engineio_session *session, struct turn *turn,
                          const struct packet *packet)
{
    enum session_verdict verdict = session_packet(session, turn, packet);
    if (verdict == VERDICT_STALLED)
        return hold_back(session, turn, packet);
    if (verdict != VERDICT_TAKEN)
        session_close(session, turn, session_reason_of(verdict));
    return true;
}

static struct engineio_socket *socket_of(struct websocket *ws)
{
    return (struct engineio_socket *)(void *)ws;
}

static bool socket_message(struct websocket *ws, struct turn *turn, const struct message *message)
{
    struct engineio_socket *socket = socket_of(ws);
    struct engineio_session *session = socket->session;
    struct packet packet;
    if (session == NULL)
        return true;
    uint8_t *bytes = (uint8_t *)(uintptr_t)message->text.at; /* which may be changed */
    bool good =
        packet_read(session->protocol, message->binary, bytes, message->text.length, &packet);
    if (session->probe == socket) {
        packet.type = good ? packet.type : PACKET_NOOP;
        probe_packet(session, turn, &packet);
    } else if (good) {
        return socket_packet(session, turn, &packet);
    } else {
        session_close(session, turn, ENGINEIO_PARSE_ERROR);
    }
    return true;
}

static bool socket_resume(struct websocket *ws, struct turn *turn)
{
    struct engineio_session *session = socket_of(ws)->session;
    if (session == NULL)
        return true;
    struct stall *stall = session->stall;
    struct packet packet = {PACKET_MESSAGE, stall->binary, buf_span(&stall->message)};
    session->stall = NULL;
    bool taken = socket_packet(session, turn, &packet);
    stall_free(stall);
    return taken;
}

static void socket_writable(struct websocket *ws, struct turn *turn)
{
    struct engineio_socket *socket = socket_of(ws);
    if (socket->session != NULL && socket->session->socket == socket)
        session_flush(socket->session, turn);
}

static void socket_closed(struct websocket *ws, struct turn *turn, uint16_t code)
{
    struct engineio_socket *socket = socket_of(ws);
    struct engineio_session *session = socket->session;
    (void)code;
    if (session != NULL && session->probe == socket) {
        session->probe = NULL;
        session->upgrade_ns = 0;
        session->probed = false;
    } else if (session != NULL) {
        bool dead = session->state == SESSION_DEAD || session->state == SESSION_ENDING;
        session->socket = NULL;
        session_close(session, turn, dead ? session->reason : ENGINEIO_TRANSPORT_CLOSE);
    }
    free(socket);
}

static const struct websocket_ops socket_ops = {
    .name = "socket.io",
    .message = socket_message,
    .resume = socket_resume,
    .writable = socket_writable,
    .closed = socket_closed,
};

/* ── The handshake ──────────────────────────────────────────────────────────────────────────── */

static void send_greeting(struct engineio_session *session, struct turn *turn)
{
    char text[GREETING_MAX];
    size_t length = engineio_greeting(session, true, text, sizeof text);
    (void)websocket_send(&session->socket->ws, turn, false, span_of(text, length));
}

void socket_greet(struct engineio_session *session, struct turn *turn)
{
    session->greet_ns = 0;
    send_greeting(session, turn);
    session_flush(session, turn);
}

static void begin(struct engineio_session *session, struct turn *turn)
{
    uint64_t after_ns = session->door->options.greet_after_ns;
    if (after_ns == 0) {
        send_greeting(session, turn);
    } else {
        session->greet_ns = turn->now_ns + after_ns;
        session_arm(session);
    }
    session->door->options.ops->opened(session, turn);
}

/* The WebSocket of a session that had one, has a probe, or is about to end: it is closed. */
static void attach(struct engineio_session *session, struct turn *turn,
                   struct engineio_socket *socket)
{
    bool may = session->socket == NULL && session->probe == NULL &&
               session->state != SESSION_DEAD && session->state != SESSION_LEAVING;
    if (!may) {
        engineio_socket_close(&socket, turn, CLOSE_NORMAL);
        return;
    }
    socket->session = session;
    session->probe = socket;
    session->upgrade_ns = turn->now_ns + session->door->options.upgrade_ns;
    session_arm(session);
}

static bool start(struct engineio *door, struct turn *turn, struct http_request *request,
                  const struct handshake *handshake, struct engineio_socket **out)
{
    struct engineio_socket *socket = calloc(1, sizeof *socket);
    *out = socket;
    if (socket == NULL)
        return false;
    socket->base64 = http_query_has(request, "b64");
    websocket_init(&socket->ws, &socket_ops, &door->options.websocket_options);
    if (websocket_start(&socket->ws, turn, request->conn, handshake))
        return true;
    free(socket);
    return false;
}

bool socket_take(struct engineio *door, struct turn *turn, struct http_request *request,
                 struct engineio_session *session, unsigned protocol)
{
    struct handshake_policy policy = {.origins = door->options.origins};
    struct handshake handshake;
    struct engineio_socket *socket;
    if (!upgrade_agree(request, turn, &policy, &handshake))
        return false;
    struct engineio_session *begun = NULL;
    if (session == NULL && (begun = session_open(door, turn, request, protocol)) == NULL)
        return upgrade_started(request, turn, false);
    if (!start(door, turn, request, &handshake, &socket)) {
        if (begun != NULL)
            session_discard(begun, turn);
        return upgrade_started(request, turn, false);
    }
    if (session != NULL) {
        attach(session, turn, socket);
        return true;
    }
    socket->session = begun;
    begun->socket = socket;
    begin(begun, turn);
    return true;
}
