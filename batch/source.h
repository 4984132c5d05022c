/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source: one shard's events (or those of an orphaned spool)
 * as the writer sees them. It owns the cursor, knows when a row comes by mail
 * and when from the disk, and returns every block. The writer's thread.
 *
 *   0 ──────────── stored ──────────── next ──────────── durable ────►  sequence
 *     in Postgres          in a batch         to come
 */
#ifndef BATCH_SOURCE_H
#define BATCH_SOURCE_H

#include "batch/batch.h"
#include "batch/writer.h"

struct source {
    struct writer_source feed;
    struct progress *progress; /* an orphan's too: duplicates of what it has wait for it */
    bool orphan;               /* does not grow */
    const char *directory;
    struct counters *counters;
    struct spool_reader *reader; /* opened when first needed */
    uint64_t stored, next;
    bool known;           /* the checkpoint has been read */
    bool behind;          /* the next rows are on the disk for certain */
    bool returned;        /* blocks were given back and the shard has not been woken */
    uint64_t noticed_ns;  /* since when there is more durable than was mailed; 0: there is not */
    struct block *parked; /* taken from the mail, to be used when the rows before it have come */
    uint16_t live[STREAMS_MAX]; /* targets of this boot's streams */
    unsigned lives;
    uint16_t number; /* in the writer */
};

/* What one filling may take. */
struct fill_rules {
    struct targets *targets;
    uint64_t now_ns;
    uint32_t rows_limit; /* the batch is cut there, even within a block; 0: whole blocks */
    uint64_t until;      /* only rows below this */
    bool bury_last;      /* … and the row before `until` is the dead one */
};

enum fill {
    FILL_SOME,    /* something was done; call again */
    FILL_NOTHING, /* nothing is there (yet: see source_wait_ns) */
    FILL_FULL,    /* the batch has no room for what comes next */
    FILL_FAILED,  /* the spool can't be read: `why` */
};

/* False: no memory. */
NODISCARD bool source_init(struct source *source, const struct writer_options *options,
                           unsigned index, struct targets *targets);
/* Mail and parked block must have been returned: source_drop(). */
void source_fini(struct source *source);

uint64_t source_durable(const struct source *source);

/* One step: a block, or part of one, into the batch. why: 512 bytes. */
NODISCARD enum fill source_fill(struct source *source, struct batch *batch,
                                const struct fill_rules *rules, char *why);
/* After FILL_NOTHING: in how many ns there will be something although nobody rings; -1: never. */
int64_t source_wait_ns(const struct source *source, uint64_t now_ns);

void source_give(struct source *source, struct block *block);
/* Gives back all that was mailed and not used; what was in it is read from the disk later. */
void source_drop(struct source *source);
/* Wakes the shard if something was given back. */
void source_wake(struct source *source);

/* Rows below `next` are stored: tells the shard. */
void source_stored(struct source *source, uint64_t next);
/* Postgres is there, and what it had it has still. */
void source_seen(struct source *source, uint64_t now_ns);
/* Begins anew at `next`, whatever was in batches. */
void source_rewind(struct source *source, uint64_t next);

#endif
