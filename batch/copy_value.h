/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One value in the binary form of its column's type:
 * everything but text and JSON, which copy.c writes itself. Pure.
 */
#ifndef BATCH_COPY_VALUE_H
#define BATCH_COPY_VALUE_H

#include "proto/stream.h"

/* Microseconds from 1970 to 2000-01-01, where Postgres's timestamps begin. */
#define COPY_EPOCH_US INT64_C(946684800000000)

/*
 * `text` is what stands between a string's quotes, decoded, or any other JSON value as written.
 * Writes the value without its length; returns how many bytes, 0: it does not fit the type.
 * Numeric: see decimal_numeric(); else at most 16 bytes.
 */
NODISCARD size_t copy_value(enum column_type type, enum json_kind kind, struct span text,
                            uint8_t *out);

/* What fits, for messages: "an integer from …". */
const char *copy_value_allowed(enum column_type type);

#endif
