/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Do the tables still fit the rows? Binary COPY says nothing of types: what was encoded for a
 * column of jsonb would go into one of text without a word. So each COPY statement carries its
 * columns' types (stream_copy_sql()), and each transaction asks, behind its COPYs, what the columns
 * are: whoever copies into a table holds a lock that no change of a type gets past, so what is seen
 * then is what the rows went into. Pure: makes and reads SQL.
 */
#ifndef BATCH_FIT_H
#define BATCH_FIT_H

#include "batch/copy_statement.h"
#include "core/buf.h"

/* The columns of some COPY statements, as SQL. */
struct fit {
    struct buf want;  /* rows of (number, table, column, types) */
    unsigned columns; /* 0: no statement says its types, and nothing is to be asked */
};

void fit_init(struct fit *fit, size_t bytes_max);
void fit_fini(struct fit *fit);
/* Adds a statement's columns under a number of the caller's. False: no memory. A
 * statement without types (made by an older version) adds nothing. */
NODISCARD bool fit_add(struct fit *fit, unsigned number, struct span copy_sql);

/* A statement that divides by zero (22012) unless all columns are what they should be. */
NODISCARD bool fit_put_demand(const struct fit *fit, struct buf *sql);
/* A query for those that are not: number, column, its type (null: there is none), wanted type. */
NODISCARD bool fit_put_question(const struct fit *fit, struct buf *sql);

#endif
