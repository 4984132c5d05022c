/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doors of a gateway that need no sessions: /ws/live, /sse and the HTTP API of the hub. One a shard,
 * on its thread once it is open; behind the sessions, whose access it shares.
 */
#ifndef CORE_GATEWAY_PLAIN_H
#define CORE_GATEWAY_PLAIN_H

#include "core/gateway_sessions.h"
#include "core/settings.h"
#include "ws/api.h"
#include "ws/plain.h"

struct gateway_plain {
    struct plain plain;
    struct api api;
};

void gateway_plain_open(struct gateway_plain *doors, const struct gateway_live *live,
                        const struct gateway_sessions *sessions,
                        const struct websocket_options *websocket);
void gateway_plain_adopt(struct gateway_plain *doors, const struct settings *settings);
void gateway_plain_close(struct gateway_plain *doors);

enum { GATEWAY_PLAIN_ROUTES = 2 + API_ROUTES };
void gateway_plain_routes(struct gateway_plain *doors, struct http_route out[GATEWAY_PLAIN_ROUTES]);

#endif
