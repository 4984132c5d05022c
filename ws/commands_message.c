/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `message` {type, data}: an event like any other (proto/event.h), whose routes decide whether it is
 * stored or only shown (ws/routes.h).
 *
 *   limits ─► parse ─► may the sender speak in the room? ─► routes ─┬─ shown: "sent"
 *                        (member, or asked)                         └─ intake ─► on disk: "accepted"
 *
 * Who may enter a room may speak in it. roomId, projectId and sessionId are looked for in the data where the
 * envelope has none; user and tenant are the token's.
 */
#include "ws/commands_internal.h"

#include "proto/cart.h"

#include <stdio.h>
#include <stdlib.h>

/* The event's spans look into the text, and into the ids that were found in its data. */
struct spoken {
    struct event event;
    char room_id[EVENT_TEXT_MAX + 1], project_id[EVENT_TEXT_MAX + 1],
        session_id[EVENT_TEXT_MAX + 1];
};

/* ── Limits ─────────────────────────────────────────────────────────────────────────────────── */

static bool take_from_user(const struct socketio_socket *socket, uint64_t now_ns)
{
    const struct socketio_options *options = &socket->client->door->options;
    const char *user = socketio_user(socket);
    uint64_t key = user[0] != '\0'
                       ? allowance_key(options->allowance, "user:", span_of_string(user))
                       : allowance_key(options->allowance, "socket:", span_of_string(socket->sid));
    return allowance_take(options->allowance, key, &options->user_messages, now_ns);
}

static bool take_from_address(const struct socketio_socket *socket, uint64_t now_ns)
{
    const struct socketio_options *options = &socket->client->door->options;
    uint8_t room[QUOTA_ADDRESS_BYTES];
    struct span address = quota_address(engineio_address(socketio_session(socket)), room);
    return allowance_take(options->allowance,
                          allowance_key(options->allowance, "address:", address),
                          &options->address_messages, now_ns);
}

static bool may_send(const struct socketio_socket *socket, uint64_t now_ns)
{
    const struct principal *principal = socket->principal;
    if (principal != NULL && (principal->scopes & (SCOPE_INGEST | SCOPE_INGEST_ANY)) != 0)
        return true;
    return take_from_address(socket, now_ns) && take_from_user(socket, now_ns);
}

/* ── The event ──────────────────────────────────────────────────────────────────────────────── */

static void lift(struct span text, const char *path, char *out, struct span *into)
{
    bool present;
    if (into->at == NULL && commands_read_id(text, path, out, EVENT_TEXT_MAX + 1, &present))
        *into = span_of_string(out);
}

static enum event_code parse(const struct intake *intake, struct span text, struct spoken *spoken,
                             struct refusal *refusal)
{
    struct event_rules rules = intake->rules;
    struct event *event = &spoken->event;
    rules.bare_type = (struct span){NULL, 0};
    enum event_code code = event_parse(text, &rules, event, refusal);
    if (code == EVENT_ACCEPTED)
        code = cart_unwrap(event, &rules, refusal);
    if (code != EVENT_ACCEPTED || event->data.text.at == NULL || event->data.kind != JSON_OBJECT)
        return code;
    lift(event->data.text, "roomId", spoken->room_id, &event->room_id);
    lift(event->data.text, "projectId", spoken->project_id, &event->project_id);
    lift(event->data.text, "sessionId", spoken->session_id, &event->session_id);
    return code;
}

/* ── Its fate ───────────────────────────────────────────────────────────────────────────────── */

static void refuse(struct socketio_socket *socket, struct turn *turn, const struct refusal *refusal,
                   const uint64_t *ack)
{
    commands_refuse(socket, turn, event_code_name(refusal->code), refusal->message, ack);
}

static void thank(struct socketio_socket *socket, struct turn *turn, const struct event *event,
                  const struct verdict *verdict, const uint64_t *ack)
{
    struct buf out = {.max = 2048};
    struct span id =
        event->id.at != NULL ? event->id : span_of(verdict->made_id, sizeof verdict->made_id);
    bool fits = buf_print(&out, "{\"status\":\"%s\",\"id\":", event_code_name(verdict->code)) &&
                buf_put_json(&out, id) && buf_put(&out, "}", 1);
    if (fits)
        socketio_answer_when_durable(socket, turn, *ack, &verdict->ticket, buf_span(&out));
    else
        engineio_end(socketio_session(socket), turn, ENGINEIO_FORCED_CLOSE);
    buf_fini(&out);
}

static void store(struct socketio_socket *socket, struct turn *turn, struct event *event,
                  struct span judged_room, const uint64_t *ack)
{
    struct intake *intake = socket->client->door->options.intake;
    const struct source source = {
        .principal = socket->principal,
        .received = COUNT_EVENTS_RECEIVED_SOCKETIO,
        .judged_room = judged_room,
    };
    const struct stream *stream = cart_stream(intake->streams, event);
    static const struct refusal full = {EVENT_OVERLOADED, "the spool is full; try again later"};
    struct verdict verdict;
    if (intake->accept(intake, turn, &source, event, &stream, 1, &verdict) == 0)
        refuse(socket, turn, &full, ack);
    else if (verdict.code > EVENT_DUPLICATE)
        refuse(socket, turn, &verdict.refusal, ack);
    else if (ack != NULL)
        thank(socket, turn, event, &verdict, ack);
}

static bool read_spoken(struct socketio_socket *socket, struct turn *turn, struct span text,
                        const uint64_t *ack, struct spoken *spoken)
{
    struct refusal refusal;
    enum event_code code = parse(socket->client->door->options.intake, text, spoken, &refusal);
    if (code == EVENT_ACCEPTED)
        return true;
    intake_count_refused(turn, COUNT_EVENTS_RECEIVED_SOCKETIO, code);
    refuse(socket, turn, &refusal, ack);
    return false;
}

static void offer(struct socketio_socket *socket, struct turn *turn, struct event *event,
                  struct span judged_room, const uint64_t *ack)
{
    const struct socketio_options *options = &socket->client->door->options;
    const struct routes_sender sender = {socket->principal, judged_room};
    struct refusal refusal;
    switch (routes_offer(options->routes, turn, &sender, event, &refusal)) {
    case ROUTES_STORED:
        store(socket, turn, event, judged_room, ack);
        return;
    case ROUTES_REFUSED:
        refuse(socket, turn, &refusal, ack);
        return;
    case ROUTES_TOLD:
        if (ack != NULL)
            socketio_answer(socket, turn, *ack, SPAN("{\"status\":\"sent\"}"), NULL, 0);
        return;
    }
}

/* ── The room ───────────────────────────────────────────────────────────────────────────────── */

static void granted(struct command *command, struct turn *turn)
{
    struct spoken spoken;
    struct span room = span_of(command->room, command->room_length);
    if (read_spoken(command->socket, turn, buf_span(&command->text), command_ack(command), &spoken))
        offer(command->socket, turn, &spoken.event, room, command_ack(command));
}

static void denied(struct command *command, struct turn *turn, enum access_answer answer)
{
    if (answer == ACCESS_UNKNOWN)
        commands_refuse(command->socket, turn, "OVERLOADED",
                        "Access to the room cannot be checked now", command_ack(command));
    else
        commands_refuse(command->socket, turn, "UNAUTHORIZED", "Access denied to room",
                        command_ack(command));
}

static const struct command_kind message_kind = {granted, denied};

/* Where it would be told; else the room that it speaks of. {NULL,0}: of none. It is the event as it has
 * been understood that is asked, for its text may name a room more than once. */
static struct span room_of(const struct socketio_socket *socket, const struct event *event,
                           char name[ROOM_NAME_MAX])
{
    size_t length;
    if (routes_room_to_judge(socket->client->door->options.routes, socket->principal, event, name,
                             &length))
        return span_of(name, length);
    return event->room_id;
}

static bool may_speak_anyway(const struct socketio_socket *socket, struct span room)
{
    const struct principal *principal = socket->principal;
    if (room.at == NULL)
        return true;
    if (principal != NULL &&
        (principal->scopes & (SCOPE_ADMIN | SCOPE_PUBLISH | SCOPE_PUBLISH_ALL)) != 0)
        return true;
    return hub_is_member(socket->client->door->options.hub, socketio_peer(socket->client), room,
                         socket->encoding);
}

static void ask_for_room(const struct call *call, struct span room)
{
    struct command *command = command_start(call, &message_kind, call->argument.text);
    if (command == NULL)
        return;
    command->room_length = room.length;
    memcpy(command->room, room.at, room.length);
    command_ask(command, call->turn);
}

void commands_message(const struct call *call)
{
    struct socketio_socket *socket = call->socket;
    struct spoken spoken;
    char name[ROOM_NAME_MAX];
    if (!may_send(socket, call->turn->now_ns)) {
        count(call->turn->counters, COUNT_SOCKETIO_LIMITED, 1);
        commands_refuse(socket, call->turn, "RATE_LIMITED", "Rate limit exceeded", call->ack);
        return;
    }
    if (call->argument.text.at == NULL || call->argument.kind != JSON_OBJECT ||
        call->packet->attachments > 0) {
        commands_refuse(socket, call->turn, "INVALID_FIELD",
                        "message: must be an object {type, data} without binary data", call->ack);
        return;
    }
    if (!read_spoken(socket, call->turn, call->argument.text, call->ack, &spoken))
        return;
    struct span room = room_of(socket, &spoken.event, name);
    if (may_speak_anyway(socket, room))
        offer(socket, call->turn, &spoken.event, room, call->ack);
    else
        ask_for_room(call, room);
}
