/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who comes in: token ─► principal ─► socket ─► rooms ─► CONNECT, `connected`; and who goes. Nothing here
 * waits for anybody, but for a client that comes back to another shard (socketio_recovery.c).
 *
 * The hub knows one user a session, so the sockets of a session are one user's: a CONNECT with
 * somebody else's token is refused while there are others.
 */
#include "ws/commands.h"
#include "ws/socketio_internal.h"
#include "ws/socketio_recovery.h"

#include "core/log.h"
#include "proto/jwt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { WHY_BYTES = JWT_WHY_MAX + 32, TEN_YEARS_S = 10 * 365 * 24 * 3600 };

/* ── Tokens ─────────────────────────────────────────────────────────────────────────────────── */

static struct span without_bearer(struct span token)
{
    static const struct span bearer = {(const uint8_t *)"Bearer ", 7};
    return token.length > bearer.length && memcmp(token.at, bearer.at, bearer.length) == 0
               ? span_from(token, bearer.length)
               : token;
}

/* `token` in "a=b&token=…". */
static struct span token_in_query(struct span query)
{
    while (query.length > 0) {
        const uint8_t *end = memchr(query.at, '&', query.length);
        size_t length = end == NULL ? query.length : (size_t)(end - query.at);
        if (length > 6 && memcmp(query.at, "token=", 6) == 0)
            return span_of(query.at + 6, length - 6);
        query = span_from(query, end == NULL ? query.length : length + 1);
    }
    return (struct span){NULL, 0};
}

/* Of the CONNECT itself; {NULL,0}: none. A JWT has nothing to escape. */
static struct span token_in_connect(const struct socketio_packet *packet)
{
    struct json_value token;
    if (packet->payload.at != NULL && json_find(packet->payload, "token", &token) &&
        token.kind == JSON_STRING && token.text.length > 2)
        return without_bearer(span_of(token.text.at + 1, token.text.length - 2));
    return token_in_query(packet->query);
}

/* A token that names no user cannot be told from another's: it lets nobody in.
 * 0: *out is filled; 1: there is no token and none is needed; else -EACCES and `why`. */
static int identify(struct socketio_client *client, struct turn *turn,
                    const struct socketio_packet *packet, struct principal *out, char *why)
{
    const struct admission *admission = client->door->options.admission;
    struct span token = token_in_connect(packet);
    char reason[JWT_WHY_MAX];
    if (token.at == NULL)
        token = engineio_token(client->session);
    if (token.at == NULL && !admission->required)
        return 1;
    snprintf(reason, sizeof reason, "no token");
    if (token.at != NULL &&
        admission->verify(admission->self, turn, token, engineio_address(client->session), out,
                          reason) == 0) {
        if (out->user_id[0] != '\0')
            return 0;
        snprintf(reason, sizeof reason, "the token names no user");
    }
    snprintf(why, WHY_BYTES, "Unauthorized: %s", reason);
    return -EACCES;
}

bool socketio_token_is_own(const struct socketio_socket *socket, struct turn *turn,
                           struct span token)
{
    const struct admission *admission = socket->client->door->options.admission;
    struct principal found;
    char reason[JWT_WHY_MAX];
    return socket->principal != NULL &&
           admission->verify(admission->self, turn, token,
                             engineio_address(socketio_session(socket)), &found, reason) == 0 &&
           strcmp(found.user_id, socket->principal->user_id) == 0;
}

/* ── Expiry ─────────────────────────────────────────────────────────────────────────────────── */

/* Tells, and disconnects the namespace; the session closes if nothing else comes of it. */
static void expired(struct alarm *alarm, struct turn *turn)
{
    struct socketio_socket *socket = LIST_ENTRY(alarm, struct socketio_socket, expiry);
    struct socketio_client *client = socket->client;
    struct span name = span_of_string(socket->namespace->name);
    count(turn->counters, COUNT_SOCKETIO_EXPIRED, 1);
    commands_refuse(socket, turn, "TOKEN_EXPIRED", "Token expired", NULL);
    socketio_send(client, turn, SOCKETIO_DISCONNECT, name, (struct span){NULL, 0});
    socketio_leave(socket, turn);
}

static void watch_expiry(struct socketio_socket *socket, struct turn *turn)
{
    struct socketio *door = socket->client->door;
    alarm_stop(door, &socket->expiry);
    if (socket->principal == NULL || socket->principal->expires_s == 0)
        return;
    int64_t left_us = socket->principal->expires_s * 1000000 - turn->wall_us;
    if (left_us > (int64_t)TEN_YEARS_S * 1000000)
        return;
    uint64_t left_ns = left_us > 0 ? (uint64_t)left_us * 1000 : 0;
    alarm_set(door, &socket->expiry, turn->now_ns + left_ns + door->options.leeway_ns);
}

/* ── The session's user ─────────────────────────────────────────────────────────────────────── */

static struct socketio_socket *first_socket(const struct socketio_client *client)
{
    return list_empty(&client->sockets)
               ? NULL
               : LIST_ENTRY(client->sockets.next, struct socketio_socket, link);
}

/* The peer's texts are those of the first socket's principal. */
static void name_peer(struct socketio_client *client)
{
    const struct socketio_socket *socket = first_socket(client);
    bool named = socket != NULL && socket->principal != NULL;
    struct peer *peer = socketio_peer(client);
    peer->user_id = named ? socket->principal->user_id : "";
    peer->tenant_id = named ? socket->principal->tenant_id : "";
}

static bool is_same_user(const struct socketio_client *client, const struct principal *principal)
{
    const struct socketio_socket *socket = first_socket(client);
    if (socket == NULL)
        return true;
    if (socket->principal == NULL || principal == NULL)
        return socket->principal == NULL && principal == NULL;
    return strcmp(socket->principal->user_id, principal->user_id) == 0 &&
           strcmp(socket->principal->tenant_id, principal->tenant_id) == 0;
}

/* Counted once a session, with its first socket. */
static bool count_user(struct socketio_client *client, const struct principal *principal)
{
    const struct socketio_options *options = &client->door->options;
    if (!list_empty(&client->sockets) || principal == NULL || principal->user_id[0] == '\0')
        return true;
    uint64_t key = allowance_key(options->allowance, "user:", span_of_string(principal->user_id));
    return allowance_enter(options->allowance, key, options->connections_per_user,
                           &client->user_ticket);
}

static void uncount_user(struct socketio_client *client)
{
    if (!list_empty(&client->sockets))
        return;
    allowance_leave(client->door->options.allowance, client->user_ticket);
    client->user_ticket = ALLOWANCE_UNCOUNTED;
}

/* They send something as a token to see it come back. */
static bool is_for_suites(const struct socketio_client *client,
                          const struct socketio_namespace *namespace)
{
    return namespace->echo && !client->door->options.admission->required;
}

/* NULL, or in words why it may not. */
static const char *judge(struct socketio_client *client, struct turn *turn,
                         const struct socketio_namespace *namespace,
                         const struct socketio_packet *packet, struct principal *principal,
                         bool *anonymous, char *why)
{
    if (client->crowded)
        return "Too many connections from this address";
    int found =
        is_for_suites(client, namespace) ? 1 : identify(client, turn, packet, principal, why);
    *anonymous = found == 1;
    if (found < 0)
        return why;
    if (!is_same_user(client, *anonymous ? NULL : principal))
        return "Unauthorized: this connection is another user's";
    if (!count_user(client, *anonymous ? NULL : principal))
        return "Too many connections of this user";
    return NULL;
}

static void refuse(struct socketio_client *client, struct turn *turn,
                   const struct socketio_namespace *namespace, const char *why)
{
    struct buf payload = {.max = 4096};
    bool bare = engineio_protocol(client->session) == 3;
    count(turn->counters, COUNT_SOCKETIO_REFUSED, 1);
    log_warn("socketio", "%s may not connect to %s: %s", engineio_address(client->session),
             namespace->name, why);
    bool fits = (bare || buf_print(&payload, "{\"message\":")) &&
                buf_put_json(&payload, span_of_string(why)) && (bare || buf_put(&payload, "}", 1));
    if (fits)
        socketio_send(client, turn, SOCKETIO_CONNECT_ERROR, span_of_string(namespace->name),
                      buf_span(&payload));
    else
        engineio_end(client->session, turn, ENGINEIO_FORCED_CLOSE);
    buf_fini(&payload);
    if (client->crowded)
        engineio_end(client->session, turn, ENGINEIO_FORCED_CLOSE);
}

/* ── Sockets ────────────────────────────────────────────────────────────────────────────────── */

/* socket.io-client 2 makes its ids itself, so ours are what it makes. */
static void name_socket(struct socketio_socket *socket)
{
    const struct socketio_client *client = socket->client;
    const char *sid = engineio_sid(client->session);
    if (engineio_protocol(client->session) != 3)
        peer_id_print(socketio_peer(client)->id, socket->sid);
    else if (strcmp(socket->namespace->name, "/") == 0)
        snprintf(socket->sid, sizeof socket->sid, "%.40s", sid);
    else
        snprintf(socket->sid, sizeof socket->sid, "%.12s#%.30s", socket->namespace->name, sid);
}

static struct socketio_socket *make_socket(struct socketio_client *client,
                                           struct socketio_namespace *namespace,
                                           const struct principal *principal)
{
    struct socketio_socket *socket = calloc(1, sizeof *socket);
    if (socket != NULL && principal != NULL)
        socket->principal = principal_copy(principal);
    if (socket == NULL || (principal != NULL && socket->principal == NULL)) {
        free(socket);
        return NULL;
    }
    socket->client = client;
    socket->namespace = namespace;
    socket->expiry.rings = expired;
    socket->encoding = namespace->encoding;
    list_init(&socket->commands);
    list_init(&socket->acks);
    list_append(&client->sockets, &socket->link);
    name_peer(client);
    name_socket(socket);
    recovery_name(client->door->recovery, socket);
    return socket;
}

static void join(struct socketio_socket *socket, struct turn *turn, const char *prefix,
                 const char *id)
{
    char room[ROOM_NAME_MAX + 1];
    struct hub_terms terms = {.encoding = socket->encoding};
    int length = snprintf(room, sizeof room, "%s%s", prefix, id);
    enum hub_joined joined =
        hub_join(socket->client->door->options.hub, turn, socketio_peer(socket->client),
                 span_of(room, (size_t)length), &terms);
    if (joined != HUB_JOINED && joined != HUB_MEMBER_ALREADY)
        engineio_end(socketio_session(socket), turn, ENGINEIO_FORCED_CLOSE);
}

static void join_own_rooms(struct socketio_socket *socket, struct turn *turn)
{
    if (socketio_user(socket)[0] != '\0')
        join(socket, turn, "user:", socketio_user(socket));
    if (socket->principal != NULL && socket->principal->tenant_id[0] != '\0')
        join(socket, turn, "tenant:", socket->principal->tenant_id);
    join(socket, turn, "*", "");
}

void socketio_send_connect(struct socketio_socket *socket, struct turn *turn)
{
    char payload[256] = "";
    if (engineio_protocol(socketio_session(socket)) != 3)
        snprintf(payload, sizeof payload, "{\"sid\":\"%s\"%s%s%s}", socket->sid,
                 socket->pid[0] != '\0' ? ",\"pid\":\"" : "", socket->pid,
                 socket->pid[0] != '\0' ? "\"" : "");
    socketio_send(socket->client, turn, SOCKETIO_CONNECT, span_of_string(socket->namespace->name),
                  span_of_string(payload));
}

/* With an offset, so that a client that has seen no other event yet can come back too. */
void socketio_emit_connected(struct socketio_socket *socket, struct turn *turn)
{
    struct buf out = {.max = 4096};
    const struct socketio *door = socket->client->door;
    char offset[HUB_OFFSET_TEXT];
    hub_offset_print(door->options.shard, hub_last_number(door->options.hub), offset);
    bool fits = buf_print(&out, "{\"message\":\"Connected to WebSocket server\",\"userId\":") &&
                (socketio_user(socket)[0] != '\0'
                     ? buf_put_json(&out, span_of_string(socketio_user(socket)))
                     : buf_print(&out, "null")) &&
                buf_print(&out, ",\"connectionId\":\"%s\"}", socket->sid) &&
                (socket->pid[0] == '\0' || buf_print(&out, ",\"%s\"", offset));
    if (fits)
        socketio_emit(socket, turn, SPAN("connected"), buf_span(&out), NULL, 0);
    else
        engineio_end(socketio_session(socket), turn, ENGINEIO_FORCED_CLOSE);
    buf_fini(&out);
}

void socketio_welcome(struct socketio_socket *socket, struct turn *turn)
{
    count(turn->counters, COUNT_SOCKETIO_CONNECTED, 1);
    join_own_rooms(socket, turn);
    socketio_send_connect(socket, turn);
    socketio_emit_connected(socket, turn);
}

void socketio_connect(struct socketio_client *client, struct turn *turn,
                      struct socketio_namespace *namespace, const struct socketio_packet *packet)
{
    struct principal principal;
    char why[WHY_BYTES];
    bool anonymous;
    const char *refusal = judge(client, turn, namespace, packet, &principal, &anonymous, why);
    if (refusal != NULL) {
        refuse(client, turn, namespace, refusal);
        return;
    }
    struct socketio_socket *socket = make_socket(client, namespace, anonymous ? NULL : &principal);
    if (socket == NULL) {
        uncount_user(client);
        refuse(client, turn, namespace, "no memory");
        return;
    }
    watch_expiry(socket, turn);
    socketio_watch(client, turn);
    if (namespace->echo)
        socketio_echo_welcome(socket, turn, packet->payload);
    else if (!recovery_resume(client->door->recovery, turn, socket, packet->payload))
        socketio_welcome(socket, turn);
}

/* ── A fresh token ──────────────────────────────────────────────────────────────────────────── */

static int adopt(struct socketio_socket *socket, struct turn *turn,
                 const struct principal *principal)
{
    struct principal *copy = principal_copy(principal);
    if (copy == NULL)
        return -ENOMEM;
    free(socket->principal);
    socket->principal = copy;
    commands_rebind(socket);
    name_peer(socket->client);
    watch_expiry(socket, turn);
    return 0;
}

int socketio_refresh(struct socketio_socket *socket, struct turn *turn, struct span token,
                     char *why)
{
    const struct admission *admission = socket->client->door->options.admission;
    struct socketio_client *client = socket->client;
    struct principal fresh;
    char reason[JWT_WHY_MAX];
    int error = admission->verify(admission->self, turn, token, engineio_address(client->session),
                                  &fresh, reason);
    if (error == 0 && !is_same_user(client, &fresh)) {
        snprintf(reason, sizeof reason, "the token is another user's");
        error = -EACCES;
    }
    for (struct list *at = client->sockets.next; error == 0 && at != &client->sockets;
         at = at->next) {
        error = adopt(LIST_ENTRY(at, struct socketio_socket, link), turn, &fresh);
        snprintf(reason, sizeof reason, "no memory");
    }
    for (struct list *at = client->sockets.next; error == 0 && at != &client->sockets;
         at = at->next)
        commands_judge_rooms(LIST_ENTRY(at, struct socketio_socket, link), turn);
    snprintf(why, WHY_BYTES, "Unauthorized: %s", reason);
    return error;
}

/* ── Going ──────────────────────────────────────────────────────────────────────────────────── */

void socketio_leave(struct socketio_socket *socket, struct turn *turn)
{
    struct socketio_client *client = socket->client;
    struct socketio *door = client->door;
    commands_drop(socket);
    socketio_acks_drop(socket);
    socketio_echo_drop(socket);
    recovery_forget(door->recovery, socket);
    alarm_stop(door, &socket->expiry);
    hub_leave_all(door->options.hub, turn, socketio_peer(client), socket->encoding);
    list_remove(&socket->link);
    client->left |= (uint16_t)(1u << (socket->namespace - door->namespace));
    name_peer(client);
    free(socket->principal);
    free(socket);
    uncount_user(client);
    if (list_empty(&client->sockets))
        socketio_watch(client, turn);
}
