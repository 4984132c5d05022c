/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transaction: how far each source has been stored, and the rows that belong to it, in one
 * message to Postgres, so that both come true together or not at all. The writer's thread.
 */
#ifndef BATCH_STORE_H
#define BATCH_STORE_H

#include "batch/batch.h"
#include "batch/poison.h"
#include "batch/postgres.h"
#include "batch/unique.h"

/* A line of ringmain_checkpoint. */
struct checkpoint {
    unsigned source; /* the writer's */
    unsigned shard;
    uint64_t epoch;
    uint64_t from, to; /* the advance; in store_settle() `to` is where it stands … */
    unsigned lines; /* … and how many lines say so: one, or the table is not what it should be */
};

/* Reads the checkpoints with their rows locked, which waits for a transaction
 * of ours that may still be on its way; makes those that are not there, at 0. */
NODISCARD enum answer store_settle(struct postgres *postgres, const struct patience *patience,
                                   const char *node, struct checkpoint *checkpoint,
                                   unsigned checkpoints);

struct store_job {
    const char *node;
    const struct checkpoint *checkpoint; /* the sources that have rows in the batch */
    unsigned checkpoints;
    const struct checkpoint *dead_at; /* the dead row's */
    const struct batch *batch;
    const struct targets *targets;
    const struct unique *unique; /* what goes by way of an index */
    uint64_t *doubles;           /* adds those that the index had already */
    const struct poison *poison; /* why the dead row is dead */
    /* Called when all rows have been given away and their memory is not needed any more. */
    void (*sent)(void *context);
    void *context;
};

/* What the server was at when it refused. */
enum store_stage { STORE_CHECKPOINT, STORE_BURIAL, STORE_COPY, STORE_FIT };

/* OK: committed. REFUSED: nothing of it was, *stage and *lot (of STORE_COPY)
 * say at what; STORE_FIT: store_misfit() says why. LOST: nobody knows. */
NODISCARD enum answer store_batch(struct postgres *postgres, const struct patience *patience,
                                  const struct store_job *job, enum store_stage *stage,
                                  unsigned *lot);

/* Asks which of the batch's tables do not fit the rows: `why` (256 bytes),
 * "" if all do. A type that was changed makes every row look poisoned, or none. */
NODISCARD enum answer store_misfit(struct postgres *postgres, const struct patience *patience,
                                   const struct batch *batch, const struct targets *targets,
                                   char *why);

/* The compare-and-set's refusal: somebody else has moved the checkpoint. */
bool store_overtaken(enum store_stage stage, const struct postgres_error *error);

#endif
