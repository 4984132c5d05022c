/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /ws/stats (CONTRACTS.md 4): a WebSocket that is sent the numbers of /stats every TICKER_MS, the
 * first at once. What the client sends is not looked at. One door a shard, on its thread.
 *
 * All of them are members of one room, and shard 0 publishes there: the text is made once for all,
 * and who is too slow for it gets the newest.
 */
#ifndef WS_TICKER_H
#define WS_TICKER_H

#include "metrics/stats.h"
#include "proto/http.h"
#include "ws/hub.h"
#include "ws/websocket.h"

enum { TICKER_MS = 500 };

struct ticker_options {
    unsigned shard;
    struct hub *hub;
    const struct stats *stats;
    struct span origins; /* cors.origins */
    uint64_t leeway_ns;  /* auth.leeway_s */
    struct websocket_options websocket;
};

struct ticker {
    struct ticker_options options;
    uint64_t due_ns;
};

/* At start: the encoder of ENCODING_TICKER. */
void ticker_init(struct ticker *ticker, const struct ticker_options *options);

/* `take` of the route, with the ticker as context. */
bool ticker_take(void *context, struct turn *turn, struct http_request *request);

/* Before hub_flush(). And in how many ns again; -1: no need. */
void ticker_release(struct ticker *ticker, struct turn *turn);
int64_t ticker_tick(const struct ticker *ticker, const struct turn *turn);

#endif
