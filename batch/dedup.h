/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ids seen within dedup.window_s, over all shards of this node: one table that every shard reads and writes.
 *
 * Slots of 16 bytes: a 64-bit tag, and the original's shard, sequence and second. A key has two candidate
 * buckets of eight slots inside one group; its tag is independent of the choice of group and buckets. A group is
 * changed under its own lock word, held for some nanoseconds (the one exception to "no locks on the hot path":
 * two shards may be offered the same id at the same moment, and exactly one may take it).
 * When both buckets are full the oldest id in them is forgotten, and counted.
 *
 * Any shard's thread. Never fails after dedup_open().
 */
#ifndef BATCH_DEDUP_H
#define BATCH_DEDUP_H

#include "batch/block.h"
#include "core/conn.h"

struct dedup;

/* ids: how many it shall remember at least; the memory is touched only as it fills. NULL: no memory. */
NODISCARD struct dedup *dedup_open(uint64_t ids, uint32_t window_s);
void dedup_close(struct dedup *dedup);

/* The key of an id under a secret that lives as long as the spool directory (it is stored there, so that keys on disk
 * stay comparable over restarts). Never {0,0}. */
struct dedup_key dedup_key(const uint8_t secret[16], struct span id);

void dedup_prefetch(const struct dedup *dedup, struct dedup_key key);

/* True: taken, nobody had it (or only before the window). False: *original says whose it is. now_s: any clock in
 * seconds that goes on over restarts (the wall clock). */
NODISCARD bool dedup_take(struct dedup *dedup, struct dedup_key key, struct ticket ticket,
                          uint32_t now_s, struct ticket *original, bool *evicted);
/* Undoes a take of this very ticket, for an event that was not accepted after all. */
void dedup_forget(struct dedup *dedup, struct dedup_key key, struct ticket ticket);

uint64_t dedup_ids(const struct dedup *dedup);   /* a moment's truth */
size_t dedup_bytes(const struct dedup *dedup);   /* memory mapped */

#endif
