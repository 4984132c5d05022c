/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connection state recovery when a client comes back to another shard than the one that remembers it.
 * On the shard's thread; shards speak by the hubs' notes (ws/hub_notes.h).
 */
#ifndef WS_SOCKETIO_MOVES_H
#define WS_SOCKETIO_MOVES_H

#include "ws/socketio.h"

struct moves;
struct recovery;
struct socketio_socket;

/* NULL: no memory. */
NODISCARD struct moves *moves_open(struct socketio *door, struct recovery *recovery);
void moves_close(struct moves *moves);

/* True: the socket is told when the other shard has answered, or has not in time. */
NODISCARD bool moves_ask(struct moves *moves, struct turn *turn, struct socketio_socket *socket,
                         unsigned shard, const char *pid, uint64_t number);
void moves_forget(struct moves *moves, struct socketio_socket *socket);
void moves_tick(struct moves *moves, struct turn *turn);

#endif
