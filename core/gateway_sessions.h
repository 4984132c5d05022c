/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doors of sessions that a gateway has: Socket.IO at /socket.io/, and the Engine.IO test door. One
 * a shard, on its thread once it is open; behind the hub (core/gateway_live.h) and the intake.
 */
#ifndef CORE_GATEWAY_SESSIONS_H
#define CORE_GATEWAY_SESSIONS_H

#include "core/gateway_live.h"
#include "ws/engineio.h"
#include "ws/socketio.h"

struct gateway_sessions {
    const struct node *node;
    struct hub *hub;
    struct access *access;
    struct socketio *socketio;
    struct engineio *door;
    struct engineio *echo; /* NULL: closed */
};

/* False: `why` (256); gateway_sessions_close() is still called. */
NODISCARD bool gateway_sessions_open(struct gateway_sessions *sessions,
                                     const struct gateway_live *live, struct intake *intake,
                                     const struct admission *admission, struct directory *directory,
                                     const struct websocket_options *websocket, char *why);
/* What SIGHUP may change. `config` is looked at until the next one takes its place. */
void gateway_sessions_adopt(struct gateway_sessions *sessions, const struct config *config,
                            const struct websocket_options *websocket);
void gateway_sessions_close(struct gateway_sessions *sessions);

enum { GATEWAY_SESSIONS_ROUTES = 2 * ENGINEIO_ROUTES };
/* Fills in the routes of the doors that are open; how many. */
unsigned gateway_sessions_routes(struct gateway_sessions *sessions,
                                 struct http_route out[GATEWAY_SESSIONS_ROUTES]);

/* In a turn: the house's calls of these names; what is due comes before the live half's tick, the
 * sessions' own tick behind it. */
void gateway_sessions_release(struct gateway_sessions *sessions, struct turn *turn);
int64_t gateway_sessions_due(struct gateway_sessions *sessions, struct turn *turn);
int64_t gateway_sessions_tick(struct gateway_sessions *sessions, struct turn *turn);
void gateway_sessions_drain(struct gateway_sessions *sessions, struct turn *turn);

#endif
