/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The websocket_ families (CONTRACTS.md 6): live connections, their rooms and their messages, by
 * tenant, type and room. One for all shards; each calls with its own number, from its own thread.
 *
 *   websocket_connections_total{tenant_id}             sockets_opened, sockets_closed
 *   websocket_connection_duration_seconds              sockets_closed
 *   websocket_room_connections{room_id}                sockets_joined, sockets_left
 *   websocket_messages_total{type,tenant_id}           sockets_message
 *
 * A family has at most metrics.max_series label values, the rest counts under `other`; an empty
 * tenant is shown as `unknown`. Rooms of a user or a tenant are not counted: the others say it.
 * A known label costs a look-up in the shard's own table; a new one a short lock.
 */
#ifndef METRICS_SOCKETS_H
#define METRICS_SOCKETS_H

#include "core/must.h"
#include "core/span.h"
#include <stdint.h>

struct sockets;
struct exposition;

/* NULL: no memory. `series`: metrics.max_series. */
NODISCARD struct sockets *sockets_open(unsigned shards, unsigned series);
void sockets_close(struct sockets *sockets);

/* Who is at the other end is known: the hub calls this when a peer enters its first room, and once
 * sockets_closed() with what this said when it goes. */
NODISCARD unsigned sockets_opened(struct sockets *sockets, unsigned shard, struct span tenant);
void sockets_closed(struct sockets *sockets, unsigned shard, unsigned opened, uint64_t open_for_ns);
/* Canonical names, as the hub has them. For each joined exactly one left. */
void sockets_joined(struct sockets *sockets, unsigned shard, struct span room);
void sockets_left(struct sockets *sockets, unsigned shard, struct span room);
/* A message from a client. `type`: of a Socket.IO `message`
 * its type, else the name that was emitted. */
void sockets_message(struct sockets *sockets, unsigned shard, struct span type, struct span tenant);

/* All four families behind what stands there: any thread. */
void sockets_expose(struct sockets *sockets, struct exposition *exposition);

#endif
