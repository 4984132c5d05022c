/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arrays in the making: what a route with `batch = yes` shows is gathered, per room and name, and
 * published as one JSON array when live.batch_ms have passed since its first. One shard's thread.
 *
 * Bounded: an array of GATHER_ARRAY_BYTES goes at once, and so do all when their memory is used up.
 */
#ifndef WS_GATHER_H
#define WS_GATHER_H

#include "ws/hub.h"

enum { GATHER_ARRAY_BYTES = 256 << 10 };

struct gather;

/* NULL: no memory. `bytes_max`: of all arrays together. */
NODISCARD struct gather *gather_open(struct hub *hub, uint64_t interval_ns, size_t bytes_max);
void gather_close(struct gather *gather);

/* Everything is copied. False: no memory, dropped. */
bool gather_add(struct gather *gather, struct turn *turn, struct span emit, struct span room,
                struct span data);
/* Publishes the arrays whose time has come. */
void gather_flush(struct gather *gather, struct turn *turn);
/* When the next one's has; 0: there is none. */
uint64_t gather_due_ns(const struct gather *gather);

#endif
