/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of a stream's configuration, read into
 * a struct stream. Private to proto/stream*.c; pure.
 */
#ifndef PROTO_STREAM_TEXT_H
#define PROTO_STREAM_TEXT_H

#include "proto/stream.h"

/* "table", "schema.table", either part perhaps in double quotes. */
struct table_name {
    char schema[STREAM_NAME_MAX + 1]; /* empty: by the search path */
    char table[STREAM_NAME_MAX + 1];
};

/* What no identifier may hold: it ends the DO block that stream_create_sql() writes. */
#define STREAM_SQL_TAG "$ringmain$"

/* Each: true, or false with a sentence in `why` (STREAM_WHY_BYTES). */
NODISCARD bool stream_text_table(const char *text, struct table_name *out, char *why);
/* Fills all that comes from the columns. Paths are allocated, also on failure. */
NODISCARD bool stream_text_columns(struct stream *stream, const char *text, char *why);
/* Fills type, types, only_types from stream->types_text. */
NODISCARD bool stream_text_types(struct stream *stream, char *why);

/* Fills what follows from the columns: step, steps, row_bytes_fixed, data_overlap. */
void stream_plan(struct stream *stream);

#endif
