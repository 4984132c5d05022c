/* SPDX-License-Identifier: Apache-2.0 */
#include "core/gateway_engineio.h"

#include "ws/engineio_echo.h"

static uint64_t ns_of(int64_t ms)
{
    return (uint64_t)ms * 1000000;
}

/* One answer takes at most half of what a connection may have queued. */
static size_t poll_bytes(const struct config *config)
{
    int64_t half = config->limits_output_bytes / 2;
    return (size_t)(half < config->socketio_max_payload ? half : config->socketio_max_payload);
}

/* What all these doors have in common. */
static struct engineio_options options_of(const struct node *node, unsigned shard, struct hub *hub)
{
    const struct config *config = node->config;
    return (struct engineio_options){
        .hub = hub,
        .shard = shard,
        .shards = node->shards,
        .ping_interval_ns = ns_of(config->socketio_ping_interval_ms),
        .ping_timeout_ns = ns_of(config->socketio_ping_timeout_ms),
        .upgrade_ns = ns_of(config->socketio_upgrade_timeout_ms),
        .payload_bytes = (size_t)config->socketio_max_payload,
        .poll_bytes = poll_bytes(config),
        .sessions_max = (size_t)config->limits_connections,
        .eio3 = config->socketio_eio3,
        .polling = config->socketio_polling,
        .websocket = config->socketio_websocket,
        .origins = span_of_string(config->cors_origins),
        .websocket_options = {.message_bytes = (size_t)config->socketio_max_payload,
                              .idle_ns = ns_of(config->limits_idle_ms),
                              .close_ns = ns_of(config->limits_header_ms)},
    };
}

bool gateway_engineio_open(struct gateway_engineio *doors, const struct node *node, unsigned shard,
                           struct hub *hub)
{
    struct engineio_options options = options_of(node, shard, hub);
    *doors = (struct gateway_engineio){0};
    if (!node->config->debug_echo)
        return true;
    options.ops = &engineio_echo_ops;
    options.eio3 = true; /* the published suites ask for both */
    doors->echo = engineio_open(&options);
    return doors->echo != NULL;
}

void gateway_engineio_close(struct gateway_engineio *doors)
{
    engineio_close(doors->echo);
}

unsigned gateway_engineio_routes(struct gateway_engineio *doors,
                                 struct http_route out[GATEWAY_ENGINEIO_ROUTES])
{
    if (doors->echo == NULL)
        return 0;
    engineio_routes(doors->echo, "/engine.io/", out);
    return ENGINEIO_ROUTES;
}

int64_t gateway_engineio_tick(struct gateway_engineio *doors, struct turn *turn)
{
    return doors->echo == NULL ? -1 : engineio_tick(doors->echo, turn);
}

void gateway_engineio_drain(struct gateway_engineio *doors, struct turn *turn)
{
    if (doors->echo != NULL)
        engineio_drain(doors->echo, turn);
}
