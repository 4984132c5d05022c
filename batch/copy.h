/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The encoder: an event as one tuple of Postgres's binary COPY format (PostgreSQL manual, COPY,
 * Binary Format). What is written here goes to the disk and to Postgres as it is. Pure; any thread.
 *
 *   int16 columns ┊ for each column: int32 length (-1: null) ┊ bytes       all big-endian
 *
 * Every value is checked against its column first, so that Postgres has nothing left to refuse.
 */
#ifndef BATCH_COPY_H
#define BATCH_COPY_H

#include "core/must.h"
#include "proto/event.h"
#include "proto/stream.h"

/* 'PGCOPY\n\377\r\n\0', flags 0, extension length 0; and the trailer int16 -1. */
enum { COPY_HEADER_BYTES = 19, COPY_TRAILER_BYTES = 2 };
extern const uint8_t copy_header[COPY_HEADER_BYTES];
extern const uint8_t copy_trailer[COPY_TRAILER_BYTES];

/* An upper bound of the row that copy_row() will make, cheap to compute. */
size_t copy_row_bytes_max(const struct stream *stream, const struct event *event);

/*
 * Writes the row at `out`, which has copy_row_bytes_max() bytes. Returns its length, or 0 when a
 * value does not fit its column: then *refusal says which member and why (EVENT_INVALID_FIELD or
 * EVENT_UNSTORABLE_TEXT). `id` stands in for an absent event->id (36 bytes, a UUIDv7 as text);
 * received_us for received_at and an absent timestamp.
 */
NODISCARD size_t copy_row(const struct stream *stream, const struct event *event, struct span id,
                          int64_t received_us, uint8_t *out, struct refusal *refusal);

/* The length of the row at `row`, or 0 if `room` bytes do not hold a whole, well-formed one. */
size_t copy_row_length(const uint8_t *row, size_t room);

#endif
