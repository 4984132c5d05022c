/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of routes: which events and messages are shown live, under which name, to whom
 * (CONTRACTS.md 4). Made from the configuration, where the contract's own routes stand in front as
 * defaults; a section with the name of one changes those of its keys that it gives. Read-only once
 * made: any thread.
 *
 *   [route order]
 *   types = order_placed, order_paid
 *   to = project:{projectId} else tenant:{tenantId}
 *   emit = order
 *   data = orderId, total, by from userId, at from timestamp
 *
 *   types    event types; empty: any
 *   streams  only what goes into one of these; empty: any
 *   has      only what has all of these members, not null: projectId, data.orderId
 *   to       where it is shown, see below; needed
 *   emit     the name under which it is shown; needed
 *   data     what is shown, see below; default: event
 *   stored   no: for messages that are not kept, see below; default: yes
 *   first    only so many of one ingest batch; 0, the default: all
 *   batch    yes: gathered, an array a room every live.batch_ms; default: no
 *   scope    who sends needs one of these: publish:all …; empty: none
 *   enabled  no takes a default away
 *
 * `to`: the first alternative whose member the event has. `user:{…}`, `tenant:{…}`, `project:{…}`,
 * `*` for everyone, or the name of any other room, with at most one {member} in it.
 *
 * `data`: `event` for all of the event, `data` for its data as they are, or an object's members,
 *     name [from source[|source]]
 *   source: id type tenantId userId projectId sessionId roomId timestamp receivedAt, userName (the
 *   token's e-mail address, else the userId), event, data, data.a.b, true, false, null, a number,
 *   "a text". Without `from`: the envelope's member of that name, else data.<name>; but userId, tenantId
 *   and projectId never from the data. Each member is always there: null for what the event has not.
 *
 * A route with `stored = no` is for messages of sockets (Socket.IO `message`): such a message is
 * shown at once by these routes alone, and not kept. All other routes see every accepted event, from
 * whichever door, once it is durable. Every route that matches is taken, in the table's order.
 */
#ifndef WS_ROUTE_TABLE_H
#define WS_ROUTE_TABLE_H

#include "core/config.h"
#include "proto/stream.h"

enum { ROUTE_TABLE_MAX = CONFIG_ROUTES_MAX + 16, ROUTE_WHY_BYTES = 512 };

struct route_table;
struct route;

/* NULL: a section is wrong: `why` (ROUTE_WHY_BYTES) says file and line, which key, and what is
 * allowed; or there is no memory. The streams outlive the table. */
NODISCARD struct route_table *route_table_open(const struct config *config,
                                               const struct streams *streams, char *why);
void route_table_close(struct route_table *table);

unsigned route_table_count(const struct route_table *table);
const struct route *route_table_at(const struct route_table *table, unsigned index);

#endif
