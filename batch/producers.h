/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named TCP producers and how far each has come (CONTRACTS.md 3). A name belongs to one shard, by
 * its hash, so every call is on that shard's thread. The count is durable by the marks in the
 * spool's blocks: a mark stands in the same block as the row that it counts, so both survive a
 * crash or neither does.
 *
 * Full table: a name nobody has used for PRODUCER_FORGET_NS makes room; else a new name is turned
 * away (forgetting a count that is in use would make its producer send everything again).
 */
#ifndef BATCH_PRODUCERS_H
#define BATCH_PRODUCERS_H

#include "core/conn.h"
#include "core/list.h"
#include "core/must.h"
#include "core/span.h"

enum { PRODUCER_NAME_MAX = 128 };
#define PRODUCER_FORGET_NS (24ull * 3600 * 1000000000)

struct producer {
    struct list age;   /* in the table, least recently used first */
    struct list link;  /* in its bucket */
    struct conn *conn; /* who has it open, or NULL */
    uint64_t count;
    uint64_t used_ns;
    struct ticket last; /* its newest row */
    bool has_last;
    uint64_t block; /* of this boot, in which its count stands; 0: none */
    uint8_t name_length;
    char name[PRODUCER_NAME_MAX];
};

struct producers;

NODISCARD struct producers *producers_open(uint64_t names_max);
void producers_close(struct producers *producers);

/* Which of `shards` owns the name. Pure; the same on every thread. */
unsigned producers_shard(struct span name, unsigned shards);

/* Finds or makes; NULL: full, no memory, or the name is not 1..128 bytes long. */
NODISCARD struct producer *producers_get(struct producers *producers, struct span name,
                                         uint64_t now_ns);
/* Walks all, for the head of a new segment: *cursor starts at 0;
 * false at the end. The table must not change between the calls of one walk. */
bool producers_each(struct producers *producers, size_t *cursor, struct span *name,
                    uint64_t *count);

#endif
