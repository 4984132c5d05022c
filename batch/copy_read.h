/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A row of Postgres's binary COPY format, read again: what batch/copy.h writes, as JSON. For dead
 * letters, whose rows may be years old: nothing about them is taken for granted. Pure.
 */
#ifndef BATCH_COPY_READ_H
#define BATCH_COPY_READ_H

#include "batch/copy_statement.h"
#include "core/buf.h"

/* The values of a row, one a column, {NULL,0}: null. How many; 0: it is not one whole row. */
NODISCARD unsigned copy_read_fields(struct span row, struct span field[STREAM_COLUMNS_MAX]);

/* Puts a value as JSON. False: the bytes are none of this
 * type's, or `out` has no room; it is then as it was. */
NODISCARD bool copy_read_value(enum column_type type, struct span value, struct buf *out);

/*
 * Puts a row as a JSON object, a member a column. The names are the statement's, the types those of
 * the stream's columns of these names; a value of which no type is known, or that is not of it, is
 * a string of hexadecimal digits behind \x. stream may be NULL. False: the row has not as many
 * values as the statement has columns, or `out` has no room; it is then as it was.
 */
NODISCARD bool copy_read_row(const struct copy_statement *statement, const struct stream *stream,
                             struct span row, struct buf *out);
/* Puts bytes as a JSON string: "\\x0102". */
NODISCARD bool copy_read_hex(struct span bytes, struct buf *out);

#endif
