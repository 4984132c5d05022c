/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a refusal by Postgres means, and how the one row that it refuses is found. Pure.
 *
 * A poison row is one that the doors let in and Postgres does not: a constraint, a trigger, a
 * unique index of the operator's. It must neither stop the good rows around it nor be lost: it goes
 * to ringmain_dead_letters in the same transaction as the rows before it.
 */
#ifndef BATCH_POISON_H
#define BATCH_POISON_H

#include "batch/batch.h"
#include "batch/postgres.h"

enum verdict {
    VERDICT_ROW,     /* 21, 22, 23, 54, P0: this row will never fit */
    VERDICT_RETRY,   /* 40, 53, 55, 57: the same again, later */
    VERDICT_LOST,    /* 08, 25006: not with this connection */
    VERDICT_TOO_BIG, /* 57014: somebody's time limit; a smaller batch may pass */
    VERDICT_HOLD,    /* everything else: somebody has to mend something */
};
enum verdict poison_judge(const char sqlstate[6]);
/* The same of a batch that was refused: where COPY was at counts as well. */
enum verdict poison_judge_batch(const struct postgres_error *error);

/* The line in "COPY events, line 123, column data", from 1; 0: the context names none. */
uint64_t poison_line(const char *context);

/* The hunt for a row, kept from one attempt to the next. Zeroed: none. */
struct poison {
    bool known; /* `sequence` of `source` is refused: bury it */
    uint16_t source;
    uint64_t sequence;
    bool hunting;        /* by halving */
    uint32_t rows_limit; /* batches are held this small; 0: no limit */
    char sqlstate[6];
    char reason[256];
};

/* Takes a refusal of `batch` into account; lot: which COPY was refused, -1: none of them
 * in particular. False: no row can be blamed (the batch has none but the buried one). */
NODISCARD bool poison_suspect(struct poison *poison, const struct batch *batch, int lot,
                              const struct postgres_error *error);
/* A batch could not be stored as large as it was: half of it. */
void poison_halve(struct poison *poison, const struct batch *batch);
/* `batch` has been committed. */
void poison_passed(struct poison *poison, const struct batch *batch);

#endif
