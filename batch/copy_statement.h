/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A COPY statement as stream_copy_sql() writes it, read again. Pure.
 *
 *   COPY "schema"."table" ("one","two") FROM STDIN (FORMAT binary)
 *
 * with each column's type behind its name, as a comment of SQL without blanks; older ones say none.
 * A dead letter brings its own along, since the stream may have other columns by now. What has been
 * read here is this one statement and no other, so it may be sent as it is.
 */
#ifndef BATCH_COPY_STATEMENT_H
#define BATCH_COPY_STATEMENT_H

#include "core/must.h"
#include "core/span.h"
#include "proto/stream.h"

struct copy_statement {
    struct span table; /* in the statement, as it is written there */
    unsigned columns;
    char column[STREAM_COLUMNS_MAX][STREAM_NAME_MAX + 1]; /* without their quotes */
    enum column_type type[STREAM_COLUMNS_MAX];            /* if it says them: */
    bool typed;
};

/* False: it is not such a statement; *out is then of no use. */
NODISCARD bool copy_statement_read(struct span sql, struct copy_statement *out);

#endif
