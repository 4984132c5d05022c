/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of routes: which events and messages are shown live, under which name, to whom
 * (CONTRACTS.md 4). Made from the configuration, where the contract's own routes stand in front as
 * defaults; a section of one's name replaces it. Read-only once made: any thread.
 *
 *   [route chat]
 *   types = send_message               ; comma-separated; empty: any
 *   streams = events                   ; only what goes into one of these; empty: any
 *   has = roomId, data.message         ; only what has all of these members (not null)
 *   to = {roomId} else tenant:{tenantId}
 *   emit = chat_message
 *   data = id, roomId, userId, userName, message, timestamp
 *   stored = yes | no                  ; no: shown at once, from sockets' messages alone, never kept
 *   first = 10                         ; only so many of one ingest batch
 *   batch = yes                        ; gathered: an array every live.batch_ms
 *   scope = publish:all                ; who sends needs this
 *   enabled = no                       ; to take a default away
 *
 * `to`: the first alternative whose members are all there. A text with {member} in it: user:{…},
 * tenant:{…}, project:{…}, any other name of a room, or * for everyone.
 *
 * `data`: `event` for all of it, `data` for its data as they stand, or the members of an object,
 *   name [from source[|source]]
 *   source   id type tenantId userId projectId sessionId roomId timestamp receivedAt userName (the
 *            token's e-mail address, else the userId), event, data, data.a.b, true, false, null, a
 *            number, "a text". Without `from`: the member of that name, else data.<name>.
 * All members are always there: null for what the event has not.
 *
 * Every route that matches is taken, in the order of the table.
 */
#ifndef WS_ROUTE_TABLE_H
#define WS_ROUTE_TABLE_H

#include "core/config.h"
#include "proto/stream.h"

enum { ROUTES_MAX = CONFIG_ROUTES_MAX + 16, ROUTE_WHY_BYTES = 512 };

struct route_table;

/* NULL: a section is wrong: `why` (ROUTE_WHY_BYTES) says file and line, which, and what is
 * allowed; or there is no memory. */
NODISCARD struct route_table *route_table_open(const struct config *config,
                                               const struct streams *streams, char *why);
void route_table_close(struct route_table *table);
unsigned route_table_count(const struct route_table *table);

#endif
