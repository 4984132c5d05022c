/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clients ask for over Socket.IO (CONTRACTS.md 4). On the shard's thread.
 *
 * | event | argument | answer |
 * | --- | --- | --- |
 * | `join_room`, `leave_room` | {roomId} | `joined_room`, `left_room` {roomId} |
 * | `join-project`, `leave-project` | {projectId, token?} | `joined-project`, `left-project` {projectId} |
 * | `message` | {type, data} | what its route shows (ws/routes.h); stored: the acknowledgement says |
 * |           |              | {status: "accepted" or "duplicate", id}; else {status: "sent"} |
 * | `refresh_token` | {token} | `token_refreshed` {expiresAt} |
 *
 * An acknowledgement callback gets what the answering event carries, errors included. Errors are the
 * event `error`: {type: "error", message, code, timestamp}; of projects {message, code}. Events of any
 * other name are nobody's: only who waits for an acknowledgement is told.
 */
#ifndef WS_COMMANDS_H
#define WS_COMMANDS_H

#include "ws/socketio_packet.h"

struct socketio_socket;
struct turn;

/* Attachments are nobody's business here; `message` is refused with them. */
void commands_event(struct socketio_socket *socket, struct turn *turn,
                    const struct socketio_packet *packet);
/* The socket has a new principal in place of the one that waiting commands look at. */
void commands_rebind(struct socketio_socket *socket);
/* … and stays only in those rooms that this one may enter; of the others it is told `left_room` or
 * `left-project`. */
void commands_judge_rooms(struct socketio_socket *socket, struct turn *turn);
/* The socket goes: those that wait for an answer are forgotten. */
void commands_drop(struct socketio_socket *socket);

/* The event `error` as above, to `*ack` as well if it is not NULL. */
void commands_refuse(struct socketio_socket *socket, struct turn *turn, const char *code,
                     const char *message, const uint64_t *ack);

#endif
