/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routes: what becomes of an event beside its row (CONTRACTS.md 4, a table in the config): where it is
 * told, under which name, and whether it is stored at all.
 *
 * What a Socket.IO client sends as `message` is an event like any other, and is judged here before it
 * is taken: one that is stored goes to the intake, and is told once it is durable, as from any
 * other door (ws/live.h); one that is not is told at once.
 */
#ifndef WS_ROUTES_H
#define WS_ROUTES_H

#include "proto/event.h"
#include "proto/principal.h"
#include "ws/hub.h"

struct route_table; /* ws/route_table.h */
struct routes;      /* of one shard */

/* NULL: no memory. Both outlive it. */
NODISCARD struct routes *routes_open(struct hub *hub, const struct route_table *table);
void routes_close(struct routes *routes);
void routes_change(struct routes *routes, const struct route_table *table);

enum routes_verdict {
    ROUTES_STORED,  /* for the intake, with source.judged_room; nothing has been told yet */
    ROUTES_TOLD,    /* not stored by any route; it has been published */
    ROUTES_REFUSED, /* *refusal says why: FORBIDDEN (the scope is missing), INVALID_FIELD … */
};

/* Who sends: fields that the event leaves out are the principal's. Whoever is in the room is told, the
 * sender too ([002] does so). */
struct routes_sender {
    const struct principal *principal; /* NULL: nobody in particular */
    struct span judged_room;           /* as in struct source */
};

/* The room in which the event would be told, if it is one of those that must be judged first. Written at
 * `name`, ROOM_NAME_MAX bytes. False: none. Of several it is the first; the others stay closed. */
NODISCARD bool routes_room_to_judge(const struct routes *routes, const struct principal *principal,
                                    const struct event *event, char *name, size_t *length);

NODISCARD enum routes_verdict routes_offer(struct routes *routes, struct turn *turn,
                                           const struct routes_sender *sender,
                                           const struct event *event, struct refusal *refusal);

#endif
