/* SPDX-License-Identifier: Apache-2.0 */
#include "core/gateway_plain.h"

void gateway_plain_open(struct gateway_plain *doors, const struct gateway_live *live,
                        const struct gateway_sessions *sessions,
                        const struct websocket_options *websocket)
{
    const struct config *config = live->node->config;
    struct plain_options options = {
        .hub = live->hub,
        .access = sessions->access,
        .allowance = live->node->allowance,
        .shard = live->shard,
        .shards = live->node->shards,
        .heartbeat_ns = (uint64_t)config->live_heartbeat_ms * 1000000,
        .retry_ms = (unsigned)config->live_retry_ms,
        .websocket = websocket,
    };
    plain_init(&doors->plain, &options);
    doors->api.hub = live->hub;
}

void gateway_plain_adopt(struct gateway_plain *doors, const struct settings *settings)
{
    const struct config *config = &settings->config;
    struct plain_settings plain = {
        .cors = settings->cors,
        .origins = config->cors_origins,
        .leeway_ns = (uint64_t)config->auth_leeway_s * 1000000000,
        .connections_per_user = (unsigned)config->socketio_connections_per_user,
        .connections_per_address = (unsigned)config->socketio_connections_per_address,
    };
    plain_change(&doors->plain, &plain);
}

void gateway_plain_close(struct gateway_plain *doors)
{
    plain_fini(&doors->plain);
}

void gateway_plain_routes(struct gateway_plain *doors, struct http_route out[GATEWAY_PLAIN_ROUTES])
{
    out[0] = (struct http_route){.method = "GET",
                                 .path = "/ws/live",
                                 .upgrade = true,
                                 .token = true,
                                 .context = &doors->plain,
                                 .take = plain_take_socket,
                                 .shard_of = plain_shard_of};
    out[1] = (struct http_route){.method = "GET",
                                 .path = "/sse",
                                 .token = true,
                                 .context = &doors->plain,
                                 .take = plain_take_stream,
                                 .shard_of = plain_shard_of};
    api_routes(&doors->api, out + 2);
}
