/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A command that needs an answer about access is made into a struct command, whether the answer comes
 * at once or in a later turn, so that both go the same way: ask ─► granted or denied ─► freed. It dies
 * with its socket.
 */
#include "ws/commands_internal.h"

#include "proto/event.h"
#include "proto/jwt.h"

#include <stdio.h>
#include <stdlib.h>

/* Few of a socket ask at a time, or one client could keep the directory from all others. */
enum { ARGUMENT_BYTES = 2048, WAITING_BYTES_MAX = 524288, ASKING_MAX = 16 };

/* ── Answers ────────────────────────────────────────────────────────────────────────────────── */

void commands_answer(struct socketio_socket *socket, struct turn *turn, const char *event,
                     struct span argument, const uint64_t *ack)
{
    socketio_emit(socket, turn, span_of_string(event), argument, NULL, 0);
    if (ack != NULL)
        socketio_answer(socket, turn, *ack, argument, NULL, 0);
}

static bool put_error(struct buf *out, const struct turn *turn, const char *code,
                      const char *message)
{
    char time[EVENT_TIME_BYTES];
    event_time_print(turn->wall_us, time);
    return buf_print(out, "{\"type\":\"error\",\"message\":") &&
           buf_put_json(out, span_of_string(message)) &&
           buf_print(out, ",\"code\":\"%s\",\"timestamp\":\"%.*s\"}", code, EVENT_TIME_BYTES, time);
}

void commands_refuse(struct socketio_socket *socket, struct turn *turn, const char *code,
                     const char *message, const uint64_t *ack)
{
    struct buf out = {.max = ARGUMENT_BYTES};
    bool fits = put_error(&out, turn, code, message);
    if (fits)
        commands_answer(socket, turn, "error", buf_span(&out), ack);
    else
        engineio_end(socketio_session(socket), turn, ENGINEIO_FORCED_CLOSE);
    buf_fini(&out);
}

/* [003]'s errors have these two members. */
static void refuse_project(struct socketio_socket *socket, struct turn *turn, const char *code,
                           const char *message, const uint64_t *ack)
{
    char out[256];
    snprintf(out, sizeof out, "{\"message\":\"%s\",\"code\":\"%s\"}", message, code);
    commands_answer(socket, turn, "error", span_of_string(out), ack);
}

/* {"roomId":"…"} */
static void answer_id(struct socketio_socket *socket, struct turn *turn, const char *event,
                      const char *member, const char *id, const uint64_t *ack)
{
    struct buf out = {.max = ARGUMENT_BYTES};
    bool fits = buf_print(&out, "{\"%s\":", member) && buf_put_json(&out, span_of_string(id)) &&
                buf_put(&out, "}", 1);
    if (fits)
        commands_answer(socket, turn, event, buf_span(&out), ack);
    else
        engineio_end(socketio_session(socket), turn, ENGINEIO_FORCED_CLOSE);
    buf_fini(&out);
}

/* ── Arguments ──────────────────────────────────────────────────────────────────────────────── */

static bool is_integer(struct span text)
{
    size_t at = text.length > 1 && *text.at == '-';
    for (; at < text.length; at++)
        if (text.at[at] < '0' || text.at[at] > '9')
            return false;
    return true;
}

/* No NUL in it: it is to be a C string. */
static bool decode(const struct json_value *value, char *out, size_t room)
{
    struct span inside = span_of(value->text.at + 1, value->text.length - 2);
    if (inside.length == 0 || (value->flaws & (JSON_HAS_NUL | JSON_HAS_LONE_SURROGATE)) != 0 ||
        (inside.length >= room && !value->escaped) || inside.length >= 6 * room)
        return false;
    uint8_t decoded[6 * (ROOM_NAME_MAX + 1)];
    must(sizeof decoded >= 6 * room);
    size_t length = json_unescape(inside, decoded);
    if (length >= room)
        return false;
    memcpy(out, decoded, length);
    out[length] = '\0';
    return true;
}

bool commands_read_id(struct span object, const char *path, char *out, size_t room, bool *present)
{
    struct json_value value;
    *present =
        json_find(object, path, &value) && value.kind != JSON_NULL && !span_is(value.text, "\"\"");
    if (!*present)
        return false;
    if (value.kind == JSON_STRING)
        return decode(&value, out, room);
    if (value.kind != JSON_NUMBER || !is_integer(value.text) || value.text.length >= room)
        return false;
    memcpy(out, value.text.at, value.text.length);
    out[value.text.length] = '\0';
    return true;
}

static bool is_object(const struct call *call)
{
    return call->argument.text.at != NULL && call->argument.kind == JSON_OBJECT;
}

/* ── Waiting ────────────────────────────────────────────────────────────────────────────────── */

static void free_command(struct command *command)
{
    command->socket->waiting_bytes -= sizeof *command + command->text.length;
    buf_fini(&command->text);
    free(command);
}

static void finish(struct command *command)
{
    list_remove(&command->link);
    free_command(command);
}

static void decide(struct command *command, struct turn *turn, enum access_answer answer)
{
    if (answer == ACCESS_GRANTED)
        command->kind->granted(command, turn);
    else
        command->kind->denied(command, turn, answer);
    finish(command);
}

static void ask(struct command *command, struct turn *turn)
{
    struct socketio_socket *socket = command->socket;
    enum access_answer answer;
    command->asked = true;
    if (access_ask(socket->client->door->options.access, turn, socket->principal,
                   span_of(command->room, command->room_length), &command->request, &answer))
        decide(command, turn, answer);
    else
        socket->asking++;
}

static void ask_more(struct socketio_socket *socket, struct turn *turn)
{
    struct list *head = &socket->commands;
    for (struct list *at = head->next, *next; at != head && socket->asking < ASKING_MAX;
         at = next) {
        struct command *command = LIST_ENTRY(at, struct command, link);
        next = at->next;
        if (!command->asked)
            ask(command, turn);
    }
}

static void answered(struct access_request *request, struct turn *turn, enum access_answer answer)
{
    struct command *command = LIST_ENTRY(request, struct command, request);
    struct socketio_socket *socket = command->socket;
    struct span room = span_of(command->room, command->room_length);
    if (answer == ACCESS_GRANTED && access_forbids(request->principal, room))
        answer = ACCESS_DENIED; /* the token is another than when it was asked */
    socket->asking--;
    decide(command, turn, answer);
    ask_more(socket, turn);
}

/* NULL: no memory, or this socket has too much waiting. */
static struct command *make_command(struct socketio_socket *socket, struct span text)
{
    size_t bytes = sizeof(struct command) + text.length;
    if (socket->waiting_bytes + bytes > WAITING_BYTES_MAX)
        return NULL;
    struct command *command = calloc(1, sizeof *command);
    if (command == NULL)
        return NULL;
    buf_init(&command->text, text.length);
    if (!buf_put(&command->text, text.at, text.length)) {
        free(command);
        return NULL;
    }
    socket->waiting_bytes += bytes;
    return command;
}

struct command *command_start(const struct call *call, const struct command_kind *kind,
                              struct span text)
{
    struct command *command = make_command(call->socket, text);
    if (command == NULL) {
        commands_refuse(call->socket, call->turn, "OVERLOADED",
                        "Too much is waiting for an answer about access", call->ack);
        return NULL;
    }
    command->kind = kind;
    command->socket = call->socket;
    command->request.answered = answered;
    command->has_ack = call->ack != NULL;
    command->ack = call->ack != NULL ? *call->ack : 0;
    list_append(&call->socket->commands, &command->link);
    return command;
}

void command_ask(struct command *command, struct turn *turn)
{
    if (command->socket->asking < ASKING_MAX)
        ask(command, turn);
}

const uint64_t *command_ack(const struct command *command)
{
    return command->has_ack ? &command->ack : NULL;
}

void commands_rebind(struct socketio_socket *socket)
{
    for (struct list *at = socket->commands.next; at != &socket->commands; at = at->next)
        LIST_ENTRY(at, struct command, link)->request.principal = socket->principal;
}

void commands_drop(struct socketio_socket *socket)
{
    struct list *link;
    while ((link = list_take(&socket->commands)) != NULL) {
        struct command *command = LIST_ENTRY(link, struct command, link);
        access_forget(socket->client->door->options.access, &command->request);
        free_command(command);
    }
}

/* ── Rooms ──────────────────────────────────────────────────────────────────────────────────── */

static enum hub_joined enter(const struct command *command, struct turn *turn)
{
    const struct socketio_socket *socket = command->socket;
    struct hub_terms terms = {.encoding = socket->encoding};
    return hub_join(socket->client->door->options.hub, turn, socketio_peer(socket->client),
                    span_of(command->room, command->room_length), &terms);
}

static void leave(struct socketio_socket *socket, struct turn *turn, const char *room)
{
    (void)hub_leave(socket->client->door->options.hub, turn, socketio_peer(socket->client),
                    span_of_string(room), socket->encoding);
}

static void room_granted(struct command *command, struct turn *turn)
{
    const uint64_t *ack = command_ack(command);
    switch (enter(command, turn)) {
    case HUB_JOINED:
    case HUB_MEMBER_ALREADY:
        answer_id(command->socket, turn, "joined_room", "roomId", command->room, ack);
        return;
    case HUB_TOO_MANY_ROOMS:
        commands_refuse(command->socket, turn, "JOIN_FAILED",
                        "This connection is in too many rooms", ack);
        return;
    case HUB_BAD_NAME:
    case HUB_NO_MEMORY:
        commands_refuse(command->socket, turn, "JOIN_FAILED", "Failed to join room", ack);
        return;
    }
}

static void room_denied(struct command *command, struct turn *turn, enum access_answer answer)
{
    if (answer == ACCESS_UNKNOWN)
        commands_refuse(command->socket, turn, "JOIN_FAILED",
                        "Access to the room cannot be checked now", command_ack(command));
    else
        commands_refuse(command->socket, turn, "UNAUTHORIZED", "Access denied to room",
                        command_ack(command));
}

static const struct command_kind join_room_kind = {room_granted, room_denied};

/* False: the client has been told what is wrong with it. */
static bool read_room(const struct call *call, char room[ROOM_NAME_MAX + 1])
{
    bool present;
    if (is_object(call) &&
        commands_read_id(call->argument.text, "roomId", room, ROOM_NAME_MAX + 1, &present))
        return true;
    commands_refuse(call->socket, call->turn, "INVALID_FIELD",
                    "roomId: must be a string of 1 to 160 bytes or an integer", call->ack);
    return false;
}

static void join_room(const struct call *call)
{
    char room[ROOM_NAME_MAX + 1];
    if (!read_room(call, room))
        return;
    struct command *command = command_start(call, &join_room_kind, (struct span){NULL, 0});
    if (command == NULL)
        return;
    command->room_length = strlen(room);
    memcpy(command->room, room, command->room_length + 1);
    command_ask(command, call->turn);
}

static void leave_room(const struct call *call)
{
    char room[ROOM_NAME_MAX + 1];
    if (!read_room(call, room))
        return;
    leave(call->socket, call->turn, room);
    answer_id(call->socket, call->turn, "left_room", "roomId", room, call->ack);
}

/* ── Projects ───────────────────────────────────────────────────────────────────────────────── */

static const char project_prefix[] = "project:";
enum { PROJECT_ID_MAX = ROOM_NAME_MAX - (int)sizeof project_prefix + 1 };

static void project_granted(struct command *command, struct turn *turn)
{
    const char *id = command->room + sizeof project_prefix - 1;
    enum hub_joined joined = enter(command, turn);
    if (joined == HUB_JOINED || joined == HUB_MEMBER_ALREADY)
        answer_id(command->socket, turn, "joined-project", "projectId", id, command_ack(command));
    else
        refuse_project(command->socket, turn, "JOIN_FAILED", "Failed to join project room",
                       command_ack(command));
}

static void project_denied(struct command *command, struct turn *turn, enum access_answer answer)
{
    static const struct {
        const char *code, *message;
    } words[] = {
        [ACCESS_DENIED] = {"UNAUTHORIZED", "You do not have access to this project"},
        [ACCESS_NOT_FOUND] = {"PROJECT_NOT_FOUND", "Project not found"},
        [ACCESS_INACTIVE] = {"PROJECT_INACTIVE", "Project is not active"},
        [ACCESS_UNKNOWN] = {"JOIN_FAILED", "Failed to join project room"},
    };
    refuse_project(command->socket, turn, words[answer].code, words[answer].message,
                   command_ack(command));
}

static const struct command_kind join_project_kind = {project_granted, project_denied};

/* False: the client has been told. */
static bool read_project(const struct call *call, char id[PROJECT_ID_MAX + 1], const char *failure,
                         const char *message)
{
    bool present = false;
    if (is_object(call) &&
        commands_read_id(call->argument.text, "projectId", id, PROJECT_ID_MAX + 1, &present))
        return true;
    if (present)
        refuse_project(call->socket, call->turn, failure, message, call->ack);
    else
        refuse_project(call->socket, call->turn, "MISSING_PROJECT_ID", "Project ID is required",
                       call->ack);
    return false;
}

/* No token, or a valid one of the same user. */
static bool token_fits(const struct call *call)
{
    struct json_value token;
    if (!json_find(call->argument.text, "token", &token) || token.kind == JSON_NULL)
        return true;
    return token.kind == JSON_STRING &&
           socketio_token_is_own(call->socket, call->turn,
                                 span_of(token.text.at + 1, token.text.length - 2));
}

static void join_project(const struct call *call)
{
    char id[PROJECT_ID_MAX + 1];
    if (!read_project(call, id, "JOIN_FAILED", "Failed to join project room"))
        return;
    if (!token_fits(call)) {
        refuse_project(call->socket, call->turn, "UNAUTHORIZED",
                       "The token is not valid for this connection", call->ack);
        return;
    }
    struct command *command = command_start(call, &join_project_kind, (struct span){NULL, 0});
    if (command == NULL)
        return;
    command->room_length =
        (size_t)snprintf(command->room, sizeof command->room, "%s%s", project_prefix, id);
    command_ask(command, call->turn);
}

static void leave_project(const struct call *call)
{
    char id[PROJECT_ID_MAX + 1], room[ROOM_NAME_MAX + 1];
    if (!read_project(call, id, "LEAVE_FAILED", "Failed to leave project room"))
        return;
    snprintf(room, sizeof room, "%s%s", project_prefix, id);
    leave(call->socket, call->turn, room);
    answer_id(call->socket, call->turn, "left-project", "projectId", id, call->ack);
}

/* ── Judged anew ────────────────────────────────────────────────────────────────────────────── */

static void put_out(struct socketio_socket *socket, struct turn *turn, const char *room)
{
    size_t prefix = sizeof project_prefix - 1;
    leave(socket, turn, room);
    if (strncmp(room, project_prefix, prefix) == 0)
        answer_id(socket, turn, "left-project", "projectId", room + prefix, NULL);
    else
        answer_id(socket, turn, "left_room", "roomId", room, NULL);
}

static void may_stay(struct command *command, struct turn *turn)
{
    (void)command, (void)turn;
}

/* While nobody knows, it stays: it was let in once. */
static void may_not_stay(struct command *command, struct turn *turn, enum access_answer answer)
{
    if (answer != ACCESS_UNKNOWN)
        put_out(command->socket, turn, command->room);
}

static const struct command_kind stay_kind = {may_stay, may_not_stay};

struct judging {
    struct socketio_socket *socket;
    struct list commands;
    bool fits;
};

/* The rooms must not change while they are walked: here they are only written down. */
static void note_room(void *context, struct span room)
{
    struct judging *judging = context;
    if (span_is(room, "*") || !judging->fits)
        return;
    struct command *command = make_command(judging->socket, (struct span){NULL, 0});
    judging->fits = command != NULL;
    if (command == NULL)
        return;
    command->kind = &stay_kind;
    command->socket = judging->socket;
    command->request.answered = answered;
    command->room_length = room.length;
    memcpy(command->room, room.at, room.length);
    list_append(&judging->commands, &command->link);
}

void commands_judge_rooms(struct socketio_socket *socket, struct turn *turn)
{
    struct judging judging = {.socket = socket, .fits = true};
    struct list *link;
    list_init(&judging.commands);
    hub_rooms_of(socket->client->door->options.hub, socketio_peer(socket->client), socket->encoding,
                 note_room, &judging);
    while ((link = list_take(&judging.commands)) != NULL) {
        list_append(&socket->commands, link);
        command_ask(LIST_ENTRY(link, struct command, link), turn);
    }
    if (!judging.fits)
        engineio_end(socketio_session(socket), turn, ENGINEIO_FORCED_CLOSE);
}

/* ── Tokens ─────────────────────────────────────────────────────────────────────────────────── */

static void answer_refreshed(const struct call *call)
{
    char out[64], time[EVENT_TIME_BYTES];
    const struct principal *principal = call->socket->principal;
    int64_t expires_s = principal == NULL ? 0 : principal->expires_s;
    event_time_print(expires_s * 1000000, time);
    if (expires_s == 0)
        snprintf(out, sizeof out, "{\"expiresAt\":null}");
    else
        snprintf(out, sizeof out, "{\"expiresAt\":\"%.*s\"}", EVENT_TIME_BYTES, time);
    commands_answer(call->socket, call->turn, "token_refreshed", span_of_string(out), call->ack);
}

static void refresh_token(const struct call *call)
{
    struct json_value token;
    char why[JWT_WHY_MAX + 32];
    if (!is_object(call) || !json_find(call->argument.text, "token", &token) ||
        token.kind != JSON_STRING)
        commands_refuse(call->socket, call->turn, "INVALID_FIELD", "token: must be a string",
                        call->ack);
    else if (socketio_refresh(call->socket, call->turn,
                              span_of(token.text.at + 1, token.text.length - 2), why) != 0)
        commands_refuse(call->socket, call->turn, "UNAUTHORIZED", why, call->ack);
    else
        answer_refreshed(call);
}

/* ── Events ─────────────────────────────────────────────────────────────────────────────────── */

static const struct {
    const char *name;
    void (*run)(const struct call *call);
} commands[] = {
    {"message", commands_message},    {"join_room", join_room},
    {"leave_room", leave_room},       {"join-project", join_project},
    {"leave-project", leave_project}, {"refresh_token", refresh_token},
};

static bool is_too_fast(struct socketio_socket *socket, const struct turn *turn)
{
    const struct principal *principal = socket->principal;
    if (principal != NULL && (principal->scopes & (SCOPE_INGEST | SCOPE_INGEST_ANY)) != 0)
        return false;
    return !bucket_take(&socket->client->events, &socket->client->door->options.events, 1,
                        turn->now_ns);
}

/* By the type that a `message` carries, else by the event's name. */
static void count_message(const struct call *call)
{
    const struct socketio_options *options = &call->socket->client->door->options;
    const struct principal *principal = call->socket->principal;
    struct span type = call->packet->name;
    struct json_value said;
    if (options->sockets == NULL)
        return;
    if (socketio_is(call->packet, "message") && call->argument.kind == JSON_OBJECT &&
        call->argument.text.at != NULL && json_find(call->argument.text, "type", &said) &&
        said.kind == JSON_STRING && !said.escaped)
        type = span_of(said.text.at + 1, said.text.length - 2);
    sockets_message(options->sockets, options->shard, type,
                    span_of_string(principal == NULL ? "" : principal->tenant_id));
}

void commands_event(struct socketio_socket *socket, struct turn *turn,
                    const struct socketio_packet *packet)
{
    struct call call = {.socket = socket,
                        .turn = turn,
                        .packet = packet,
                        .ack = packet->has_id ? &packet->id : NULL};
    size_t fault;
    if (is_too_fast(socket, turn)) {
        count(turn->counters, COUNT_SOCKETIO_LIMITED, 1);
        commands_refuse(socket, turn, "RATE_LIMITED", "Rate limit exceeded", call.ack);
        return;
    }
    if (json_value(packet->arguments, &call.argument, &fault) <= 0)
        call.argument = (struct json_value){0};
    count_message(&call);
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        if (socketio_is(packet, commands[i].name)) {
            commands[i].run(&call);
            return;
        }
    if (call.ack != NULL)
        commands_refuse(socket, turn, "UNSUPPORTED_TYPE", "There is no such event", call.ack);
}
