/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Live: from what the intake took to the hub, once it is durable. One a shard, on its thread.
 *
 *   doors ─► intake ─ accepted ─► live: which routes, is anybody there? ─► pending (name, room, data)
 *                                                                              │ durable
 *                                                                              ▼
 *                                        arrays per room, every live.batch_ms ◄─┴─► hub_publish
 *
 * It is the intake's witness: an event that nobody watches costs it a look at a table. What somebody
 * watches is made into its message at once, while its text is at hand, and waits in a run of memory
 * bounded by live.pending_bytes until its event is as safe as live.after says; what has no room there
 * is dropped and counted (ringmain_live_dropped_total): the event itself is stored all the same.
 *
 * In a turn: live_release() in house->release, once the spool has said how far it is and before
 * hub_flush(): whatever is due is published there. live_tick() says when the next will be.
 */
#ifndef WS_LIVE_H
#define WS_LIVE_H

#include "proto/intake.h"
#include "ws/hub.h"
#include "ws/route_table.h"

struct live;
struct dashboard;

enum live_after { LIVE_RECEIVED, LIVE_SPOOLED, LIVE_STORED }; /* live.after */

struct live_options {
    unsigned shard;
    struct hub *hub;
    const struct route_table *routes;
    struct dashboard *dashboard; /* NULL: none are kept */
    enum live_after after;
    uint64_t batch_ns;         /* live.batch_ms */
    size_t pending_bytes;      /* live.pending_bytes */
    struct progress *progress; /* of this shard */
};

/* NULL: no memory. */
NODISCARD struct live *live_open(const struct live_options *options);
void live_close(struct live *live);
/* From the next event on; of the former table nothing is kept. */
void live_change(struct live *live, const struct route_table *routes);

/* For intake_options.witness. */
const struct witness *live_witness(const struct live *live);

/* What has become durable since the last turn, and what is due, is published. */
void live_release(struct live *live, struct turn *turn);
int64_t live_tick(const struct live *live, const struct turn *turn); /* ns; -1: no need */

/* Events with a lower sequence are as safe as this level says: for acknowledgements that are not
 * held by a connection. */
uint64_t live_reached(const struct live *live, enum ack_level level);

#endif
