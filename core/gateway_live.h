/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The live half of a gateway: the hub, and the doors for subscribers. One a shard, on its thread
 * once it is open.
 */
#ifndef CORE_GATEWAY_LIVE_H
#define CORE_GATEWAY_LIVE_H

#include "core/gateway.h"
#include "proto/http.h"
#include "ws/hub.h"
#include "ws/live.h"
#include "ws/relay.h"
#include "ws/routes.h"
#include "ws/ticker.h"

struct gateway_live {
    const struct node *node;
    unsigned shard;
    struct hub *hub;
    struct live *live;
    struct routes *routes;
    struct relay relay;
    struct ticker ticker;
};

/* False: no memory; gateway_live_close() is still called. */
NODISCARD bool gateway_live_open(struct gateway_live *live, const struct node *node, unsigned shard,
                                 const struct websocket_options *websocket);
/* The doors' routes, one a call; false: there are no more. */
NODISCARD bool gateway_live_route(struct gateway_live *live, unsigned index,
                                  struct http_route *out);
/* What SIGHUP may change. `config` is looked at until the next one takes its place. */
void gateway_live_adopt(struct gateway_live *live, const struct settings *settings,
                        const struct websocket_options *websocket);
void gateway_live_close(struct gateway_live *live);

/* In a turn: the house's calls of these names. */
void gateway_live_mail(struct gateway_live *live, struct turn *turn);
void gateway_live_release(struct gateway_live *live, struct turn *turn);
void gateway_live_buried(struct gateway_live *live, struct turn *turn);
int64_t gateway_live_tick(struct gateway_live *live, struct turn *turn);

#endif
