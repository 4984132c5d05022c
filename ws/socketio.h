/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Socket.IO on top of Engine.IO sessions: protocol 5, and 4 for clients of Engine.IO 3. One door a
 * shard, on its thread. https://github.com/socketio/socket.io-protocol
 *
 *   session (ws/engineio.h) ──► packets (ws/socketio_packet.h) ──► a socket in each namespace
 *                                                                   │ events ──► ws/commands.h
 *                                                                   │ rooms  ──► ws/hub.h
 *   session ◄── acknowledgements, `error`, `connected` ◄────────────┘
 *           ◄── what the hub delivers, encoded once a namespace: socketio_encoders()
 *
 * A socket is let in by its token: `auth.token` of its CONNECT, else the handshake's Authorization or
 * query. It then is in the rooms user:ID, tenant:ID and *, and gets `connected`. All sockets of one
 * session are one user's. When the token expires the socket is told (`error`, TOKEN_EXPIRED) and
 * disconnected, unless a fresh one of the same user came before (`refresh_token`).
 *
 * Connection state recovery: a session that breaks is remembered with its rooms; who comes back with
 * its `pid` and the offset of the last event that it saw is sent what it missed
 * (ws/socketio_recovery.h). Only for protocol 5, and not on the namespaces of the test doors.
 *
 * The door of the sessions is made by the roof: engineio_open() with socketio_ops, the door as context
 * and socketio_session_bytes().
 */
#ifndef WS_SOCKETIO_H
#define WS_SOCKETIO_H

#include "proto/admission.h"
#include "proto/intake.h"
#include "ws/access.h"
#include "ws/allowance.h"
#include "ws/engineio.h"
#include "ws/routes.h"

struct socketio;

enum {
    SOCKETIO_NAMESPACES_MAX = 8, /* with "/" */
    SOCKETIO_NAMESPACE_TEXT = 64,
    /* Numbers of the hub's encodings that it takes, from options.encoding on. */
    SOCKETIO_ENCODINGS = 2 * SOCKETIO_NAMESPACES_MAX,
};

struct socketio_options {
    struct hub *hub;
    struct access *access;
    struct routes *routes;
    struct intake *intake;
    struct sockets *sockets; /* where messages are counted; NULL: nowhere */
    const struct admission *admission;
    struct allowance *allowance;     /* the node's */
    const struct progress *progress; /* of all shards */
    unsigned shard, shards, encoding;
    const char *namespaces; /* "/ws,/admin", besides "/" */
    bool echo;              /* debug.echo: "/" and "/custom" are the test suites' */
    uint64_t connect_ns, idle_ns, leeway_ns;
    uint64_t recovery_ns; /* 0: no recovery */
    unsigned recovery_connections;
    size_t payload_bytes; /* a packet with its attachments: four times that … */
    size_t gathered_bytes; /* … and all that are not whole yet together: limits.connection_memory */
    unsigned connections_per_user, connections_per_address;     /* 0: no limit */
    struct bucket_rate user_messages, address_messages, events; /* amount 0: no limit */
};

/* NULL: no memory, or the namespaces are not a list of names that begin with a slash: `why` (256). */
NODISCARD struct socketio *socketio_open(const struct socketio_options *options, char *why);
/* All sessions have ended. */
/* Another leeway (auth.leeway_s), for tokens that are seen from now on. */
void socketio_change(struct socketio *door, uint64_t leeway_ns);
void socketio_close(struct socketio *door);

extern const struct engineio_ops socketio_ops;
size_t socketio_session_bytes(void);

/* Each turn: acknowledgements whose events are on disk by now; timers (ns until it wants the next,
 * -1: none). */
void socketio_release(struct socketio *door, struct turn *turn);
int64_t socketio_tick(struct socketio *door, struct turn *turn);

#endif
