/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What commands.c (rooms, projects, tokens) and commands_message.c share; nobody else includes it.
 */
#ifndef WS_COMMANDS_INTERNAL_H
#define WS_COMMANDS_INTERNAL_H

#include "ws/commands.h"
#include "ws/socketio_internal.h"

/* An event that a client has sent. */
struct call {
    struct socketio_socket *socket;
    struct turn *turn;
    const struct socketio_packet *packet;
    const uint64_t *ack;        /* NULL: nobody waits for one */
    struct json_value argument; /* the first; text {NULL,0}: there is none */
};

struct command_kind;

/* One that waits for an answer about access; or is about to ask. */
struct command {
    struct list link; /* the socket's */
    const struct command_kind *kind;
    struct socketio_socket *socket;
    struct access_request request;
    bool asked; /* else it waits until fewer of its socket are */
    bool has_ack;
    uint64_t ack;
    struct buf text; /* of a message: its argument */
    size_t room_length;
    char room[ROOM_NAME_MAX + 1];
};

struct command_kind {
    void (*granted)(struct command *command, struct turn *turn);
    void (*denied)(struct command *command, struct turn *turn, enum access_answer answer);
};

/* Keeps the text (may be absent). NULL: too much is waiting, or no memory; the client has been told. The
 * caller fills in the room. */
NODISCARD struct command *command_start(const struct call *call, const struct command_kind *kind,
                                        struct span text);
/* Asks about command->room; the command ends with its answer, perhaps at once. */
void command_ask(struct command *command, struct turn *turn);
const uint64_t *command_ack(const struct command *command);

/* The event and the acknowledgement, with the same argument. */
void commands_answer(struct socketio_socket *socket, struct turn *turn, const char *event,
                     struct span argument, const uint64_t *ack);

/* A member that is an id: a text of 1 to `room` - 1 bytes, or an integer, whose digits are it. False: it
 * is not; *present says whether there is anything at all (null and "" are nothing). */
NODISCARD bool commands_read_id(struct span object, const char *path, char *out, size_t room,
                                bool *present);

void commands_message(const struct call *call);

#endif
