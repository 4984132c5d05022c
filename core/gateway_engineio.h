/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doors that speak Engine.IO: the echo of debug.echo. One a shard, on its thread once open.
 */
#ifndef CORE_GATEWAY_ENGINEIO_H
#define CORE_GATEWAY_ENGINEIO_H

#include "core/gateway.h"
#include "ws/engineio.h"

struct gateway_engineio {
    struct engineio *echo; /* debug.echo; else NULL */
};

enum { GATEWAY_ENGINEIO_ROUTES = ENGINEIO_ROUTES }; /* at most */

/* False: no memory; gateway_engineio_close() is still called. */
NODISCARD bool gateway_engineio_open(struct gateway_engineio *doors, const struct node *node,
                                     unsigned shard, struct hub *hub);
void gateway_engineio_close(struct gateway_engineio *doors);
/* How many routes there are. */
unsigned gateway_engineio_routes(struct gateway_engineio *doors,
                                 struct http_route out[GATEWAY_ENGINEIO_ROUTES]);

/* Behind hub_flush() of the same turn; ns to the next, -1: none. */
int64_t gateway_engineio_tick(struct gateway_engineio *doors, struct turn *turn);
void gateway_engineio_drain(struct gateway_engineio *doors, struct turn *turn);

#endif
