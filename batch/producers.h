/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named TCP producers and how far each has come (CONTRACTS.md 3). A name belongs to one shard, by
 * its hash, so every call is on that shard's thread. The count is durable by the marks in the
 * spool's blocks: a mark stands in the same block as the row that it counts, so both survive a
 * crash or neither does.
 *
 * Full table: of the names that nobody has open the one that was let go of first makes room, if that
 * was PRODUCER_FORGET_NS ago; else a new name is turned away (forgetting a count that is in use would
 * make its producer send everything again). What the spool remembers is never turned away.
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
    struct list order; /* in the table, in the order in which they came */
    struct list idle;  /* while nobody has it open: those that were let go of first come first */
    struct list link;  /* in its bucket */
    struct conn *conn; /* who has it open, or NULL */
    uint64_t count;
    uint64_t used_ns;       /* asked for or let go of */
    struct ticket original; /* on another shard, of the newest of its duplicates that has one */
    bool has_original;
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
/* The name had come to `count`, as an earlier start wrote down. The table
 * may become fuller than full. False: no memory, or not a name. */
NODISCARD bool producers_recover(struct producers *producers, struct span name, uint64_t count,
                                 uint64_t now_ns);
/* From here on `conn` has it open, and it is not forgotten … */
void producers_open_for(struct producer *producer, struct conn *conn);
/* … until nobody has any more. */
void producers_let_go(struct producers *producers, struct producer *producer, uint64_t now_ns);
/* Walks all, for the head of a new segment: *cursor starts at 0; false at the end. One walk at a
 * time. Names may come, be used and be forgotten between its calls; those that come are walked too. */
bool producers_each(struct producers *producers, size_t *cursor, struct span *name,
                    uint64_t *count);

#endif
