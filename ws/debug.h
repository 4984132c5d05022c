/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The test doors, open only with `[debug] echo = yes`: /echo sends every message back as it came
 * (what conformance suites such as Autobahn want), /sink counts messages and answers the text COUNT
 * with their number, itself not counted.
 */
#ifndef WS_DEBUG_H
#define WS_DEBUG_H

#include "ws/websocket.h"

enum debug_door { DEBUG_ECHO, DEBUG_SINK };

/* Changes the connection into a WebSocket that does that.
 * `options` outlive it. False: no memory; nothing was changed. */
NODISCARD bool debug_start(enum debug_door door, struct turn *turn, struct conn *conn,
                           const struct handshake *handshake,
                           const struct websocket_options *options);

#endif
