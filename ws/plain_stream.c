/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /sse: Server-Sent Events, WHATWG HTML 9.2, as a wire of their own.
 *
 * The answer has no length: it ends with the connection (RFC 9112 6.3), which so is not kept alive.
 * A comment now and then keeps what stands between us from taking the silence for the end, and finds
 * out that the other end is gone. What the other end still sends is not read; its end of stream is
 * the end.
 */
#include "ws/plain_internal.h"

#include <inttypes.h>
#include <stdlib.h>

enum { AHEAD = 64 * 1024 };

struct event_stream {
    struct wire wire; /* first */
    struct peer peer;
    struct entrance entrance;
    uint64_t expires_ns; /* 0: never */
    bool over;           /* the last word has been said */
};

static struct event_stream *stream_of(struct wire *wire)
{
    return LIST_ENTRY(wire, struct event_stream, wire);
}

static void finish(struct event_stream *stream, struct turn *turn)
{
    stream->over = true;
    conn_finish(stream->wire.conn, turn);
}

static void abandon(struct event_stream *stream, struct turn *turn)
{
    stream->over = true;
    conn_abort(stream->wire.conn, turn);
}

static bool say_all(struct event_stream *stream, struct turn *turn, const struct encoded *encoded)
{
    for (unsigned i = 0; i < encoded->parts; i++) {
        struct span text = encoded_payload(encoded, i);
        if (!conn_send(stream->wire.conn, turn, text.at, text.length))
            return false;
    }
    return true;
}

/* The caller's reference becomes ours. One event is sent from where it lies; of several, told as one,
 * the frames' headers stand between them. */
static bool say(struct event_stream *stream, struct turn *turn, struct encoded *encoded)
{
    struct conn *conn = stream->wire.conn;
    bool one = encoded != NULL && encoded->parts == 1;
    if (one && conn_lend(conn, turn, encoded_payload(encoded, 0), &encoded->lent))
        return true;
    bool said = encoded != NULL && !one && say_all(stream, turn, encoded);
    encoded_put(encoded);
    if (!said)
        abandon(stream, turn);
    return said;
}

/* ── The peer ───────────────────────────────────────────────────────────────────────────────── */

static bool tell_gap(struct event_stream *stream, struct turn *turn)
{
    uint64_t missed = peer_missed(&stream->peer);
    return missed == 0 || say(stream, turn, plain_gap(ENCODING_EVENT_STREAM, (int64_t)missed));
}

static void drain(struct peer *peer, struct turn *turn)
{
    struct event_stream *stream = LIST_ENTRY(peer, struct event_stream, peer);
    struct conn *conn = stream->wire.conn;
    while (!stream->over && peer_waits(peer) && conn_queued(conn) < AHEAD) {
        if (tell_gap(stream, turn))
            (void)say(stream, turn, peer_take(peer));
    }
    if (stream->over)
        peer_clear(peer);
    else if (peer_waits(peer))
        conn_notify(conn);
}

static void overrun(struct peer *peer, struct turn *turn)
{
    abandon(LIST_ENTRY(peer, struct event_stream, peer), turn);
}

static void kick(struct peer *peer, struct turn *turn)
{
    finish(LIST_ENTRY(peer, struct event_stream, peer), turn);
}

static const struct peer_ops peer_ops = {
    .name = "sse", .drain = drain, .overrun = overrun, .kick = kick};

/* ── The wire ───────────────────────────────────────────────────────────────────────────────── */

static ptrdiff_t input(struct wire *wire, struct turn *turn, uint8_t *at, size_t length)
{
    (void)wire;
    (void)turn;
    (void)at;
    return (ptrdiff_t)length;
}

static void ended(struct wire *wire, struct turn *turn)
{
    finish(stream_of(wire), turn);
}

static void arm(struct event_stream *stream, struct turn *turn)
{
    uint64_t due = turn->now_ns + stream->entrance.plain->options.heartbeat_ns;
    if (stream->expires_ns > 0 && stream->expires_ns < due)
        due = stream->expires_ns;
    conn_deadline(stream->wire.conn, turn, due);
}

static void deadline(struct wire *wire, struct turn *turn)
{
    struct event_stream *stream = stream_of(wire);
    if (stream->expires_ns > 0 && turn->now_ns >= stream->expires_ns) {
        if (say(stream, turn,
                plain_error(ENCODING_EVENT_STREAM, (struct span){NULL, 0}, "UNAUTHORIZED",
                            "token: it has expired")))
            finish(stream, turn);
        return;
    }
    if (conn_queued(wire->conn) == 0 && !conn_send(wire->conn, turn, ":\n\n", 3))
        abandon(stream, turn);
    else
        arm(stream, turn);
}

static void writable(struct wire *wire, struct turn *turn)
{
    (void)turn;
    peer_wake(&stream_of(wire)->peer);
}

static void last_word(struct wire *wire, struct turn *turn)
{
    finish(stream_of(wire), turn);
}

static void fini(struct wire *wire, struct turn *turn)
{
    struct event_stream *stream = stream_of(wire);
    peer_fini(&stream->peer, turn);
    entrance_fini(&stream->entrance);
    free(stream);
}

static const struct wire_ops wire_ops = {.name = "sse",
                                         .input = input,
                                         .ended = ended,
                                         .deadline = deadline,
                                         .drain = last_word,
                                         .writable = writable,
                                         .fini = fini};

/* ── The door ───────────────────────────────────────────────────────────────────────────────── */

static void entered(struct entrance *entrance, struct turn *turn, bool good)
{
    if (!good)
        finish(LIST_ENTRY(entrance, struct event_stream, entrance), turn);
}

static void refused(struct entrance *entrance, struct turn *turn, const char *room,
                    enum access_answer answer)
{
    struct event_stream *stream = LIST_ENTRY(entrance, struct event_stream, entrance);
    bool unknown = answer == ACCESS_UNKNOWN;
    if (say(stream, turn,
            plain_error(ENCODING_EVENT_STREAM, span_of_string(room),
                        unknown ? "OVERLOADED" : "FORBIDDEN",
                        unknown ? "room: who may enter it cannot be found out now"
                                : "room: access denied")))
        finish(stream, turn);
}

static bool put_header(const struct event_stream *stream, const struct http_request *request,
                       struct buf *out)
{
    const struct plain *plain = stream->entrance.plain;
    struct span origin = http_header(request, "origin");
    char id[PEER_ID_TEXT];
    peer_id_print(stream->peer.id, id);
    return buf_print(out, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                          "Cache-Control: no-cache, no-transform\r\nX-Accel-Buffering: no\r\n"
                          "Connection: close\r\n") &&
           buf_print(out, "X-Connection-Id: %s\r\n", id) &&
           (plain->settings.cors == NULL || origin.at == NULL ||
            cors_put(plain->settings.cors, origin, out)) &&
           buf_print(out, "\r\n");
}

/* When to come back, and an id to come back with, unless it has one whose successors are on their way:
 * a block without data is no event, but its id counts (WHATWG HTML 9.2.6). */
static bool put_first(const struct entrance *entrance, struct buf *out)
{
    const struct plain_options *options = &entrance->plain->options;
    char offset[HUB_OFFSET_TEXT];
    hub_offset_print(options->shard, hub_last_number(options->hub), offset);
    return buf_print(out, "retry: %u\n", options->retry_ms) &&
           (entrance->known || buf_print(out, "id: %s\n", offset)) && buf_print(out, "\n");
}

static bool start(struct event_stream *stream, struct turn *turn, struct http_request *request)
{
    struct buf answer = {.max = 4096 + HTTP_HEAD_MAX};
    bool sent = put_header(stream, request, &answer) && put_first(&stream->entrance, &answer) &&
                conn_send(request->conn, turn, answer.at, answer.length);
    buf_fini(&answer);
    if (!sent)
        return false;
    stream->wire = (struct wire){&wire_ops, request->conn};
    conn_change_wire(request->conn, turn, &stream->wire);
    arm(stream, turn);
    return true;
}

static struct event_stream *make(struct plain *plain, struct turn *turn,
                                 struct http_request *request)
{
    struct event_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL) {
        http_refuse_for_now(request, turn, 503, 1, "OVERLOADED", "no memory");
        return NULL;
    }
    struct entrance *entrance = &stream->entrance;
    if (!entrance_read(entrance, plain, turn, request)) {
        free(stream);
        return NULL;
    }
    entrance->peer = &stream->peer;
    entrance->encoding = ENCODING_EVENT_STREAM;
    entrance->entered = entered;
    entrance->refused = refused;
    if (entrance_ask(entrance, turn, request))
        return stream;
    entrance_fini(entrance);
    free(stream);
    return NULL;
}

bool plain_take_stream(void *context, struct turn *turn, struct http_request *request)
{
    struct plain *plain = context;
    struct event_stream *stream = make(plain, turn, request);
    if (stream == NULL)
        return false;
    if (request->bodiless) {
        struct http_response response = {.status = 200, .type = "text/event-stream"};
        http_respond(request, turn, &response, NULL);
        entrance_fini(&stream->entrance);
        free(stream);
        return false;
    }
    struct entrance *entrance = &stream->entrance;
    peer_init(&stream->peer, plain->options.hub, turn, &peer_ops, entrance_user(entrance),
              entrance_tenant(entrance));
    stream->expires_ns = principal_expires_ns(entrance->principal, turn->now_ns, turn->wall_us,
                                              plain->settings.leeway_ns);
    if (start(stream, turn, request)) {
        entrance_go(entrance, turn);
        return true;
    }
    fini(&stream->wire, turn);
    http_refuse_for_now(request, turn, 503, 1, "OVERLOADED", "no memory");
    return false;
}
