/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ids seen within dedup.window_s, over all shards of this node:
 * one table that every shard reads and writes.
 *
 * A key has two candidate buckets of seven slots inside one group of buckets; its 64-bit tag is
 * independent of the choice of group and buckets. A group is changed under its own lock word, held
 * for some nanoseconds (the one exception to "no locks on the hot path": two shards may be offered
 * the same id at the same moment, and exactly one may take it). When both buckets are full the
 * oldest id in them is forgotten, and counted.
 *
 * Another id is taken for a duplicate when its group, a bucket and its tag agree by chance: less
 * than 1 in 10^18 for each take of a full table of any size.
 *
 * Limits: shards below SHARDS_MAX; window_s <= DEDUP_WINDOW_MAX_S; a shard takes fewer than 2^40
 * ids within a window (12 million a second for a whole day), so that the 40 bits of a sequence that
 * a slot keeps tell it exactly.
 *
 * Any shard's thread, each with tickets of its own shard only. Never fails after dedup_open().
 */
#ifndef BATCH_DEDUP_H
#define BATCH_DEDUP_H

#include "batch/block.h"
#include "core/conn.h"

struct dedup;

enum { DEDUP_WINDOW_MAX_S = 86400 };

/* ids: how many it shall remember at least; all of the memory is taken now,
 * so that no take ever waits for a page to be cleared. NULL: no memory. */
NODISCARD struct dedup *dedup_open(uint64_t ids, uint32_t window_s);
void dedup_close(struct dedup *dedup);

/* The key of an id under a secret that lives as long as the spool directory (it
 * is stored there, so that keys on disk stay comparable over restarts). Never {0,0}. */
struct dedup_key dedup_key(const uint8_t secret[16], struct span id);

/* Asks the memory for what dedup_take() will need, some hundred ns ahead. */
void dedup_prefetch(const struct dedup *dedup, struct dedup_key key);

/*
 * True: taken, nobody had it (or only before the window). False: *original says whose it is. now_s:
 * any clock in seconds that goes on over restarts (the wall clock); shards may differ by seconds,
 * and it may be set back by hours: ids are then remembered that much longer. Set back by more than
 * nine hours: ids may be forgotten early.
 */
NODISCARD bool dedup_take(struct dedup *dedup, struct dedup_key key, struct ticket ticket,
                          uint32_t now_s, struct ticket *original, bool *evicted);

/* A moment's truth; expired ones count until they are met. */
uint64_t dedup_ids(const struct dedup *dedup);
size_t dedup_bytes(const struct dedup *dedup); /* memory mapped */

#endif
