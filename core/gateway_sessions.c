/* SPDX-License-Identifier: Apache-2.0 */
#include "core/gateway_sessions.h"

#include "ws/engineio_echo.h"

#include <stdio.h>

_Static_assert(ENCODING_SOCKETIO + SOCKETIO_ENCODINGS <= ENCODINGS_MAX, "each namespace has two");

static uint64_t ns_of_ms(int64_t ms)
{
    return (uint64_t)ms * 1000000;
}

/* One answer takes at most half of what a connection may have queued. */
static size_t poll_bytes(const struct config *config)
{
    int64_t half = config->limits_output_bytes / 2;
    return (size_t)(half < config->socketio_max_payload ? half : config->socketio_max_payload);
}

static struct engineio_options door_options(const struct gateway_live *live,
                                            const struct websocket_options *websocket)
{
    const struct config *config = live->node->config;
    struct engineio_options options = {
        .hub = live->hub,
        .shard = live->shard,
        .shards = live->node->shards,
        .ping_interval_ns = ns_of_ms(config->socketio_ping_interval_ms),
        .ping_timeout_ns = ns_of_ms(config->socketio_ping_timeout_ms),
        .upgrade_ns = ns_of_ms(config->socketio_upgrade_timeout_ms),
        .payload_bytes = (size_t)config->socketio_max_payload,
        .poll_bytes = poll_bytes(config),
        .sessions_max = (size_t)config->limits_connections,
        .eio3 = config->socketio_eio3,
        .polling = config->socketio_polling,
        .websocket = config->socketio_websocket,
        .origins = span_of_string(config->cors_origins),
        .websocket_options = *websocket,
    };
    options.websocket_options.message_bytes = options.payload_bytes;
    return options;
}

static struct socketio_options socketio_options(const struct gateway_sessions *sessions,
                                                const struct gateway_live *live)
{
    const struct node *node = live->node;
    const struct config *config = node->config;
    bool has_history = config->live_history_bytes > 0 && config->live_history_s > 0;
    return (struct socketio_options){
        .hub = live->hub,
        .access = sessions->access,
        .routes = live->routes,
        .allowance = node->allowance,
        .progress = node->progress,
        .shard = live->shard,
        .shards = node->shards,
        .encoding = ENCODING_SOCKETIO,
        .namespaces = config->socketio_namespaces,
        .echo = config->debug_echo,
        .connect_ns = ns_of_ms(config->socketio_connect_timeout_ms),
        .idle_ns = ns_of_ms(config->socketio_idle_s * 1000),
        .leeway_ns = ns_of_ms(config->auth_leeway_s * 1000),
        .recovery_ns = has_history ? ns_of_ms(config->socketio_recovery_s * 1000) : 0,
        .recovery_connections = (unsigned)config->socketio_recovery_connections,
        .payload_bytes = (size_t)config->socketio_max_payload,
        .gathered_bytes = (size_t)config->limits_connection_memory,
        .connections_per_user = (unsigned)config->socketio_connections_per_user,
        .connections_per_address = (unsigned)config->socketio_connections_per_address,
        .user_messages = bucket_rate((uint64_t)config->socketio_messages_per_minute, 60000, 60000),
        .address_messages =
            bucket_rate((uint64_t)config->socketio_address_messages_per_minute, 60000, 60000),
        .events = bucket_rate((uint64_t)config->socketio_events_per_second, 1000, 1000),
    };
}

static bool open_socketio(struct gateway_sessions *sessions, const struct gateway_live *live,
                          struct intake *intake, const struct admission *admission, char *why)
{
    struct socketio_options options = socketio_options(sessions, live);
    options.intake = intake;
    options.sockets = live->node->sockets;
    options.admission = admission;
    sessions->socketio = socketio_open(&options, why);
    return sessions->socketio != NULL;
}

bool gateway_sessions_open(struct gateway_sessions *sessions, const struct gateway_live *live,
                           struct intake *intake, const struct admission *admission,
                           struct directory *directory, const struct websocket_options *websocket,
                           char *why)
{
    struct engineio_options options = door_options(live, websocket);
    *sessions = (struct gateway_sessions){.node = live->node, .hub = live->hub};
    snprintf(why, 256, "no memory for shard %u", live->shard);
    sessions->access = access_open(directory);
    if (sessions->access == NULL || !open_socketio(sessions, live, intake, admission, why))
        return false;
    options.ops = &socketio_ops;
    options.context = sessions->socketio;
    options.user_bytes = socketio_session_bytes();
    sessions->door = engineio_open(&options);
    if (!live->node->config->debug_echo)
        return sessions->door != NULL;
    options.ops = &engineio_echo_ops;
    options.eio3 = true; /* the published suites ask for both */
    options.greet_after_ns = ECHO_PAUSE_NS;
    options.context = NULL;
    options.user_bytes = 0;
    sessions->echo = engineio_open(&options);
    return sessions->door != NULL && sessions->echo != NULL;
}

void gateway_sessions_adopt(struct gateway_sessions *sessions, const struct config *config,
                            const struct websocket_options *websocket)
{
    struct engineio *doors[] = {sessions->door, sessions->echo};
    for (unsigned i = 0; i < COUNT_OF(doors); i++)
        if (doors[i] != NULL)
            engineio_change(doors[i], span_of_string(config->cors_origins), websocket->idle_ns,
                            websocket->close_ns);
    socketio_change(sessions->socketio, ns_of_ms(config->auth_leeway_s * 1000));
}

void gateway_sessions_close(struct gateway_sessions *sessions)
{
    if (sessions->echo != NULL)
        engineio_close(sessions->echo);
    if (sessions->door != NULL)
        engineio_close(sessions->door);
    socketio_close(sessions->socketio);
    access_close(sessions->access);
}

unsigned gateway_sessions_routes(struct gateway_sessions *sessions,
                                 struct http_route out[GATEWAY_SESSIONS_ROUTES])
{
    engineio_routes(sessions->door, "/socket.io/", out);
    if (sessions->echo == NULL)
        return ENGINEIO_ROUTES;
    engineio_routes(sessions->echo, "/engine.io/", out + ENGINEIO_ROUTES);
    return 2 * ENGINEIO_ROUTES;
}

void gateway_sessions_release(struct gateway_sessions *sessions, struct turn *turn)
{
    socketio_release(sessions->socketio, turn);
}

static int64_t sooner(int64_t one, int64_t other)
{
    if (one < 0 || other < 0)
        return one < 0 ? other : one;
    return one < other ? one : other;
}

int64_t gateway_sessions_due(struct gateway_sessions *sessions, struct turn *turn)
{
    return socketio_tick(sessions->socketio, turn);
}

int64_t gateway_sessions_tick(struct gateway_sessions *sessions, struct turn *turn)
{
    int64_t next = engineio_tick(sessions->door, turn);
    if (sessions->echo != NULL)
        next = sooner(next, engineio_tick(sessions->echo, turn));
    return hub_is_dirty(sessions->hub) ? 0 : next;
}

void gateway_sessions_drain(struct gateway_sessions *sessions, struct turn *turn)
{
    engineio_drain(sessions->door, turn);
    if (sessions->echo != NULL)
        engineio_drain(sessions->echo, turn);
}
