/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A test door, open only with `[debug] echo = yes`: every message on a /pub connection, text or
 * binary, goes as it stands to every /sub connection, whatever its shard. For measuring what a
 * delivery costs with nothing around it, and whether all arrive, once and in order.
 */
#ifndef WS_RELAY_H
#define WS_RELAY_H

#include "proto/http.h"
#include "ws/handshake.h"
#include "ws/hub.h"
#include "ws/websocket.h"

struct relay {
    struct hub *hub;
    struct websocket_options websocket;
};

/* At start: the encoder of ENCODING_RAW. */
void relay_init(struct relay *relay, struct hub *hub, const struct websocket_options *websocket);

/* `take` of /pub and /sub, with the relay as context. */
bool relay_take_pub(void *context, struct turn *turn, struct http_request *request);
bool relay_take_sub(void *context, struct turn *turn, struct http_request *request);

#endif
