/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Engine.IO, the server's end: protocol 4, and 3 where it is allowed (EIO=3). Sessions of one shard,
 * each with one transport at a time, polling or WebSocket, and the upgrade from one to the other.
 * https://github.com/socketio/engine.io-protocol
 *
 *   GET  ?EIO=4&transport=polling            the handshake: {"sid","upgrades","pingInterval",…}
 *   GET  ?…&sid=                             a poll: parked until there is something to send
 *   POST ?…&sid=                             a payload of packets
 *   GET  ?…&transport=websocket [&sid=]      a WebSocket, alone or as an upgrade
 *
 *   handshake ─► POLLING ── 2probe / 3probe / 5 ─► WEBSOCKET ─► CLOSED
 *        └────────────────── websocket at once ────────┘
 *
 * A session is a peer of the hub (ws/peer.h): what it is sent stands in its peer's queue, and leaves by
 * the poll that is parked, or by the WebSocket. The sid names the session's shard: a request that comes
 * to another shard is handed over with its connection (conn_hand_over), so no balancer in front of or
 * inside the box must be sticky.
 *
 * The user (ws/socketio.c, and the test door's echo) sees sessions and whole messages. Its own state
 * stands behind the session's (`user_bytes`). Everything on the shard's thread. Timers are the door's
 * own, to the millisecond: engineio_tick(). Limits: options; a session that is idle on a WebSocket
 * owns nothing but its struct and the socket's.
 */
#ifndef WS_ENGINEIO_H
#define WS_ENGINEIO_H

#include "proto/http.h"
#include "ws/hub.h"
#include "ws/websocket.h"

struct engineio; /* one door (path) on one shard */
struct engineio_session;

enum engineio_reason { /* as Socket.IO names them to users */
                       ENGINEIO_TRANSPORT_CLOSE,
                       ENGINEIO_TRANSPORT_ERROR,
                       ENGINEIO_PING_TIMEOUT,
                       ENGINEIO_PARSE_ERROR,
                       ENGINEIO_FORCED_CLOSE,
                       ENGINEIO_SERVER_SHUTTING_DOWN,
};

struct engineio_ops {
    /* May a session begin? False: 403, {"code":4,"message":"Forbidden"}. NULL: anybody may. */
    bool (*admit)(void *context, struct turn *turn, const struct http_request *request);
    /* A session begins; its user memory is zeroed. */
    void (*opened)(struct engineio_session *session, struct turn *turn);
    /* A message packet, without its type. May be changed in place; readable until it returns. False:
     * no more for now: the same message comes again soon, and nothing before it. */
    bool (*message)(struct engineio_session *session, struct turn *turn, bool binary,
                    struct span data);
    /* It is over; afterwards the session is gone. Called exactly once, and never from inside one of
     * the functions below or of the user's. */
    void (*closed)(struct engineio_session *session, struct turn *turn,
                   enum engineio_reason reason);
    /* An operator wants it gone: good-bye may be said, then the session ends. NULL: without a word. */
    void (*kicked)(struct engineio_session *session, struct turn *turn);
    /* Is this a name that the user gave to the session? NULL: it gives none. */
    bool (*named)(const struct engineio_session *session, struct span id);
};

struct engineio_options {
    struct hub *hub;
    unsigned shard, shards;
    const struct engineio_ops *ops;
    void *context;     /* engineio_context() */
    size_t user_bytes; /* of the user's state in each session */
    uint64_t ping_interval_ns, ping_timeout_ns;
    uint64_t upgrade_ns; /* how long a probe may take (10 s) */
    /* A WebSocket's open packet leaves so long behind its 101, and before all else; 0: with it. */
    uint64_t greet_after_ns;
    size_t payload_bytes; /* maxPayload: the longest POST, and the longest message */
    size_t poll_bytes;    /* what one poll is given, unless its first message alone is longer */
    size_t sessions_max;
    bool eio3, polling, websocket; /* what is allowed */
    struct span origins;           /* cors.origins, for WebSockets */
    struct websocket_options websocket_options;
};

/* NULL: no memory. */
NODISCARD struct engineio *engineio_open(const struct engineio_options *options);
/* No connection is left that has one of its sessions. */
void engineio_close(struct engineio *door);
/* Other origins and times (limits.idle_ms, limits.header_ms), for those that are connected too. */
void engineio_change(struct engineio *door, struct span origins, uint64_t idle_ns,
                     uint64_t close_ns);
/* Once a turn, behind hub_flush(). ns to the next; -1: none. */
int64_t engineio_tick(struct engineio *door, struct turn *turn);
/* SIGTERM, before connections are drained: every session ends. */
void engineio_drain(struct engineio *door, struct turn *turn);
size_t engineio_sessions(const struct engineio *door);

/* Routes of the door at `path` ("/socket.io/"), two: the WebSocket's and all else's. */
enum { ENGINEIO_ROUTES = 2 };
void engineio_routes(struct engineio *door, const char *path,
                     struct http_route out[ENGINEIO_ROUTES]);

/* ── One session ── */

struct peer *engineio_peer(struct engineio_session *session);
struct engineio_session *engineio_session_of(struct peer *peer);
void *engineio_user(struct engineio_session *session);
void *engineio_context(const struct engineio_session *session);
const char *engineio_sid(const struct engineio_session *session);
unsigned engineio_protocol(const struct engineio_session *session); /* 3 or 4 */
bool engineio_is_websocket(const struct engineio_session *session);
/* What the handshake's request said, kept as long as the session: the bearer token or query `token`
 * ({NULL,0}: none) and the address. engineio_wipe_token() once it has been read for good. */
struct span engineio_token(const struct engineio_session *session);
void engineio_wipe_token(struct engineio_session *session);
const char *engineio_address(const struct engineio_session *session); /* "address:port" */

/* A message to this session alone; in order with what the hub delivers. False: it is being closed.
 * As in all that is queued for a session (struct encoded), the text begins with its packet type,
 * '4'; attachments are bare, and the transport puts in front of them what its protocol wants.
 * {NULL,0}: no text, the attachments alone. */
bool engineio_send(struct engineio_session *session, struct turn *turn, struct span text);
bool engineio_send_with(struct engineio_session *session, struct turn *turn, struct span text,
                        const struct span *attachments, unsigned attachments_count);
/* Says good-bye by its transport, once what is queued has left; no message comes any more, and
 * ops->closed with this reason at the end of a turn. */
void engineio_end(struct engineio_session *session, struct turn *turn, enum engineio_reason reason);

#endif
