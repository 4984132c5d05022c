/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers are written so that reading them again gives the same value: a double with as few digits
 * as do that, a numeric with all that it has. JSON keeps its bytes, but for line ends between its
 * tokens: what comes out goes into a file with an event a line.
 */
#include "batch/copy_read.h"
#include "batch/big_endian.h"
#include "batch/copy.h"
#include "batch/copy_value.h"
#include "batch/decimal.h"
#include "proto/event.h"
#include "proto/uuid.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

unsigned copy_read_fields(struct span row, struct span field[STREAM_COLUMNS_MAX])
{
    size_t length = copy_row_length(row.at, row.length);
    if (length == 0 || length != row.length)
        return 0;
    unsigned columns = get_be16(row.at);
    const uint8_t *at = row.at + sizeof(uint16_t);
    for (unsigned i = 0; i < columns; i++) {
        int32_t bytes = (int32_t)get_be32(at);
        at += sizeof bytes;
        field[i] = bytes < 0 ? (struct span){0} : span_of(at, (size_t)bytes);
        at += bytes < 0 ? 0 : bytes;
    }
    return columns;
}

/* ── Values ─────────────────────────────────────────────────────────────────────────────────── */

static bool put_integer(struct span value, size_t bytes, struct buf *out)
{
    if (value.length != bytes)
        return false;
    int64_t number =
        bytes == sizeof(int32_t) ? (int32_t)get_be32(value.at) : (int64_t)get_be64(value.at);
    return buf_print(out, "%" PRId64, number);
}

/* The fewest digits that give the same double again. */
static bool put_double(struct span value, struct buf *out)
{
    double number;
    char text[40];
    if (value.length != sizeof number)
        return false;
    uint64_t bits = get_be64(value.at);
    memcpy(&number, &bits, sizeof number);
    if (!isfinite(number))
        return false;
    int digits = 15;
    do
        snprintf(text, sizeof text, "%.*g", digits, number);
    while (strtod(text, NULL) != number && ++digits <= 17);
    return buf_put(out, text, strlen(text));
}

/* Postgres counts from the year 2000; a time that no producer can have sent is not printed. */
static bool put_time(struct span value, struct buf *out)
{
    static const int64_t least = -INT64_C(62135596800000000), most = INT64_C(253402300799999999);
    if (value.length != sizeof(int64_t))
        return false;
    int64_t us = (int64_t)get_be64(value.at);
    if (us < least - COPY_EPOCH_US || us > most - COPY_EPOCH_US)
        return false;
    char text[EVENT_TIME_BYTES];
    event_time_print(us + COPY_EPOCH_US, text);
    return buf_put_json(out, span_of(text, sizeof text));
}

static bool put_uuid(struct span value, struct buf *out)
{
    char text[UUID_TEXT_BYTES];
    if (value.length != UUID_BYTES)
        return false;
    uuid_print(value.at, text);
    return buf_put_json(out, span_of(text, sizeof text));
}

static bool put_boolean(struct span value, struct buf *out)
{
    if (value.length != 1 || value.at[0] > 1)
        return false;
    return value.at[0] == 1 ? buf_put(out, "true", 4) : buf_put(out, "false", 5);
}

/* A control character can only stand between JSON's tokens, where a blank does as well. */
static bool put_document(struct span json, struct buf *out)
{
    uint8_t *at = buf_room(out, json.length);
    if (at == NULL || json.length == 0)
        return false;
    for (size_t i = 0; i < json.length; i++)
        at[i] = json.at[i] < ' ' ? ' ' : json.at[i];
    buf_grew(out, json.length);
    return true;
}

static bool put_jsonb(struct span value, struct buf *out)
{
    enum { JSONB_VERSION = 1 };
    if (value.length < 2 || value.at[0] != JSONB_VERSION)
        return false;
    return put_document(span_from(value, 1), out);
}

static bool put_numeric(struct span value, struct buf *out)
{
    uint8_t *at = buf_room(out, decimal_text_bytes_max(value));
    size_t length = at == NULL ? 0 : decimal_text(value, (char *)at);
    buf_grew(out, length);
    return length > 0;
}

bool copy_read_value(enum column_type type, struct span value, struct buf *out)
{
    switch (type) {
    case COLUMN_TEXT:
        return buf_put_json(out, value);
    case COLUMN_BIGINT:
        return put_integer(value, sizeof(int64_t), out);
    case COLUMN_INTEGER:
        return put_integer(value, sizeof(int32_t), out);
    case COLUMN_DOUBLE:
        return put_double(value, out);
    case COLUMN_NUMERIC:
        return put_numeric(value, out);
    case COLUMN_BOOLEAN:
        return put_boolean(value, out);
    case COLUMN_TIMESTAMPTZ:
        return put_time(value, out);
    case COLUMN_UUID:
        return put_uuid(value, out);
    case COLUMN_JSONB:
        return put_jsonb(value, out);
    case COLUMN_JSON:
        return put_document(value, out);
    }
    return false;
}

/* ── Rows ───────────────────────────────────────────────────────────────────────────────────── */

bool copy_read_hex(struct span bytes, struct buf *out)
{
    static const char digit[] = "0123456789abcdef", opening[] = {'"', '\\', '\\', 'x'};
    uint8_t *at = buf_room(out, 2 * bytes.length + 5);
    if (at == NULL)
        return false;
    memcpy(at, opening, sizeof opening);
    at += sizeof opening;
    for (size_t i = 0; i < bytes.length; i++) {
        *at++ = (uint8_t)digit[bytes.at[i] >> 4];
        *at++ = (uint8_t)digit[bytes.at[i] & 15];
    }
    *at = '"';
    buf_grew(out, 2 * bytes.length + 5);
    return true;
}

static const struct column *column_named(const struct stream *stream, const char *name)
{
    for (unsigned i = 0; stream != NULL && i < stream->columns; i++)
        if (strcmp(stream->column[i].name, name) == 0)
            return &stream->column[i];
    return NULL;
}

static bool put_field(const struct column *column, struct span field, struct buf *out)
{
    if (field.at == NULL)
        return buf_put(out, "null", 4);
    return (column != NULL && copy_read_value(column->type, field, out)) ||
           copy_read_hex(field, out);
}

bool copy_read_row(const struct copy_statement *statement, const struct stream *stream,
                   struct span row, struct buf *out)
{
    struct span field[STREAM_COLUMNS_MAX];
    size_t before = out->length;
    unsigned columns = copy_read_fields(row, field);
    bool fits = columns > 0 && columns == statement->columns && buf_put(out, "{", 1);
    for (unsigned i = 0; fits && i < columns; i++) {
        const char *name = statement->column[i];
        fits = (i == 0 || buf_put(out, ",", 1)) && buf_put_json(out, span_of_string(name)) &&
               buf_put(out, ":", 1) && put_field(column_named(stream, name), field[i], out);
    }
    fits = fits && buf_put(out, "}", 1);
    if (!fits)
        out->length = before;
    return fits;
}
