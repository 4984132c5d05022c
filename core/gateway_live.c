/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where in a turn the live half has its place:
 *
 *   mail     publications and questions of other shards come in
 *   release  what has become durable is published; then all who were sent something are drained
 *   tick     time passes in the history and in the doors; whoever that made speak is drained
 *   buried   who has gone is missed: that too goes out before the shard sleeps
 */
#include "core/gateway_live.h"

static bool open_live(struct gateway_live *live)
{
    const struct node *node = live->node;
    struct live_options options = {
        .shard = live->shard,
        .hub = live->hub,
        .routes = settings_of(node->settings)->routes,
        .dashboard = node->dashboard,
        .after = (enum live_after)node->config->live_after,
        .batch_ns = (uint64_t)node->config->live_batch_ms * 1000000,
        .pending_bytes = (size_t)node->config->live_pending_bytes,
        .progress = &node->progress[live->shard],
    };
    live->live = live_open(&options);
    live->routes = routes_open(live->hub, settings_of(node->settings)->routes);
    return live->live != NULL && live->routes != NULL;
}

static void open_ticker(struct gateway_live *live, const struct websocket_options *websocket)
{
    const struct config *config = live->node->config;
    struct ticker_options options = {
        .shard = live->shard,
        .hub = live->hub,
        .stats = live->node->stats,
        .origins = span_of_string(config->cors_origins),
        .leeway_ns = (uint64_t)config->auth_leeway_s * 1000000000,
        .websocket = *websocket,
    };
    ticker_init(&live->ticker, &options);
}

bool gateway_live_open(struct gateway_live *live, const struct node *node, unsigned shard,
                       const struct websocket_options *websocket)
{
    const struct config *config = node->config;
    *live = (struct gateway_live){.node = node, .shard = shard};
    struct hub_options options = {
        .node = node->hubs,
        .shard = shard,
        .history_bytes = (size_t)config->live_history_bytes,
        .history_ns = (uint64_t)config->live_history_s * 1000000000,
        .queue_bytes = (size_t)config->live_queue_bytes,
        .queue_messages = (unsigned)config->live_queue_messages,
        .rooms_max = (unsigned)config->live_rooms_per_connection,
        .rooms_kept = (unsigned)config->live_rooms_kept,
        .backlog_bytes = (size_t)config->live_backlog_bytes,
        .sockets = node->sockets,
        .answer_users = (unsigned)config->live_answer_users,
        .presence = config->live_presence,
    };
    live->hub = hub_open(&options);
    if (live->hub == NULL || !open_live(live))
        return false;
    relay_init(&live->relay, live->hub, websocket);
    open_ticker(live, websocket);
    return true;
}

bool gateway_live_route(struct gateway_live *live, unsigned index, struct http_route *out)
{
    const struct http_route routes[] = {
        {.method = "GET",
         .path = "/ws/stats",
         .upgrade = true,
         .token = !live->node->config->stats_public,
         .context = &live->ticker,
         .take = ticker_take},
        {.method = "GET",
         .path = "/pub",
         .upgrade = true,
         .context = &live->relay,
         .take = relay_take_pub},
        {.method = "GET",
         .path = "/sub",
         .upgrade = true,
         .context = &live->relay,
         .take = relay_take_sub},
    };
    enum { DEBUG_ROUTES = 2 };
    size_t count_ = COUNT_OF(routes) - (live->node->config->debug_echo ? 0 : DEBUG_ROUTES);
    if (index >= count_)
        return false;
    *out = routes[index];
    return true;
}

void gateway_live_adopt(struct gateway_live *live, const struct settings *settings,
                        const struct websocket_options *websocket)
{
    const struct config *config = &settings->config;
    struct ticker_options *ticker = &live->ticker.options;
    ticker->origins = span_of_string(config->cors_origins);
    ticker->leeway_ns = (uint64_t)config->auth_leeway_s * 1000000000;
    ticker->websocket.idle_ns = websocket->idle_ns;
    ticker->websocket.close_ns = websocket->close_ns;
    live_change(live->live, settings->routes);
    routes_change(live->routes, settings->routes);
}

void gateway_live_close(struct gateway_live *live)
{
    routes_close(live->routes);
    live_close(live->live);
    hub_close(live->hub);
}

void gateway_live_mail(struct gateway_live *live, struct turn *turn)
{
    hub_mail(live->hub, turn);
}

void gateway_live_release(struct gateway_live *live, struct turn *turn)
{
    live_release(live->live, turn);
    ticker_release(&live->ticker, turn);
    hub_flush(live->hub, turn);
}

void gateway_live_buried(struct gateway_live *live, struct turn *turn)
{
    hub_flush(live->hub, turn);
}

static int64_t sooner(int64_t one, int64_t other)
{
    if (one < 0 || other < 0)
        return one < 0 ? other : one;
    return one < other ? one : other;
}

int64_t gateway_live_tick(struct gateway_live *live, struct turn *turn)
{
    hub_flush(live->hub, turn);
    int64_t next = sooner(hub_tick(live->hub, turn), live_tick(live->live, turn));
    return sooner(next, ticker_tick(&live->ticker, turn));
}
