/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The intake of one shard: parsed events in, rows in the spool's open block out (DESIGN.md, the
 * walk of an event, 4 and 5). Implements proto/intake.h. On the shard's thread.
 *
 *   event ─► which stream ─► may this principal say so ─► its row, written where it will stay
 *         ─► seen before? (dedup) ─► sequence, key, the producer's mark
 *
 * A row that turns out to be a duplicate or does not fit its columns was never appended: the next
 * one is written over it. Nothing is half accepted.
 */
#ifndef BATCH_INTAKE_H
#define BATCH_INTAKE_H

#include "batch/dedup.h"
#include "batch/producers.h"
#include "batch/spool.h"
#include "proto/intake.h"

struct intake_options {
    unsigned shard, shards;
    struct spool *spool;
    struct dedup *dedup;
    const uint8_t *dedup_secret; /* 16 bytes; must outlive the intake */
    const struct streams *streams;
    struct event_rules rules;
    struct producers *producers;
    bool stores;                   /* there is a writer */
    const struct witness *witness; /* must outlive the intake; NULL: nobody */
};

NODISCARD struct intake *intake_open(const struct intake_options *options);
void intake_close(struct intake *intake);

#endif
