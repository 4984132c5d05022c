/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table ringmain_dead_letters from the operator's side: to look through it, and to give rows
 * another chance when what stood in their way has been mended. One thread, one connection of its
 * own; a running ringmain is not disturbed.
 *
 *   dead_letters_open → dead_letters_select → (dead_letters_next [→ dead_letters_retry]) …
 *
 * The letters are those that were there when they were selected, the oldest first.
 */
#ifndef BATCH_DEAD_LETTERS_H
#define BATCH_DEAD_LETTERS_H

#include "core/must.h"
#include "core/span.h"

struct dead_letters;

/* NULL: any; limit 0: all. */
struct dead_letter_filter {
    const char *stream, *sqlstate;
    int64_t limit;
};

/* A row of the table, as text; {NULL,0}: null. Valid until the next dead_letters_next(). */
struct dead_letter {
    struct span node, shard, epoch, sequence, stream, sqlstate, at, reason, copy_sql;
    struct span row;   /* bytes: a tuple of binary COPY */
    struct span place; /* in the table */
};

/* All: 0, or -errno with a sentence in `why` (512 bytes). */
NODISCARD int dead_letters_open(struct dead_letters **out, const char *conninfo, char *why);
void dead_letters_close(struct dead_letters *letters);
NODISCARD int dead_letters_select(struct dead_letters *letters,
                                  const struct dead_letter_filter *filter, char *why);
/* 1: *out is the next one; 0: that was all. */
NODISCARD int dead_letters_next(struct dead_letters *letters, struct dead_letter *out, char *why);

enum dead_letter_fate {
    DEAD_LETTER_STORED,  /* it stands in its table, and no longer among the dead */
    DEAD_LETTER_REFUSED, /* Postgres refuses it still: `why`; it is where it was */
    DEAD_LETTER_GONE,    /* somebody else has taken it away meanwhile */
    DEAD_LETTER_UNKNOWN, /* the connection was lost; one or the other, never both: `why` */
};
/*
 * Moves the letter's row into its table, in one transaction. `copy_sql`: the COPY statement that
 * fits it, such as copy_statement_read() accepts.
 */
NODISCARD enum dead_letter_fate dead_letters_retry(struct dead_letters *letters,
                                                   const struct dead_letter *letter,
                                                   struct span copy_sql, char *why);

#endif
