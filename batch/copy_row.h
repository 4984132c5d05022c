/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What copy.c (the quick columns) and copy_other.c (all
 * others) share: a row in the making. Private to them.
 *
 * A put writes a column's length word and value at `at` and returns the place behind it.
 */
#ifndef BATCH_COPY_ROW_H
#define BATCH_COPY_ROW_H

#include "batch/big_endian.h"
#include "batch/copy_value.h"

enum { COPY_NULL = -1 }; /* in place of a length */

/* What the row is made of. */
struct row {
    const struct event *event;
    struct span id;
    int64_t received_us;
    struct refusal *refusal;
    /* By stream->step, text {NULL,0}: not there. NULL: json_find() has to look. */
    struct json_value *steps;
};

/* Any member into a column of any type; NULL: refused. */
uint8_t *copy_other(const struct row *row, const struct column *column, uint8_t *at);

static inline uint8_t *put_null(uint8_t *at)
{
    return put_be32(at, (uint32_t)COPY_NULL);
}

/* Two copies of a fixed size that may overlap make one of any size up to both together. */
static inline void copy_short(uint8_t *to, const uint8_t *from, size_t length)
{
    if (length >= 16) {
        for (size_t i = 0; i + 16 < length; i += 16)
            memcpy(to + i, from + i, 16);
        memcpy(to + length - 16, from + length - 16, 16);
    } else if (length >= 8) {
        memcpy(to, from, 8);
        memcpy(to + length - 8, from + length - 8, 8);
    } else if (length >= 4) {
        memcpy(to, from, 4);
        memcpy(to + length - 4, from + length - 4, 4);
    } else if (length > 0) {
        to[0] = from[0];
        to[length / 2] = from[length / 2];
        to[length - 1] = from[length - 1];
    }
}

/* A text of the envelope: at most EVENT_TEXT_MAX bytes,
 * decoded, storable (event_parse() has seen to it). */
static inline uint8_t *put_member(uint8_t *at, struct span text)
{
    must(text.length <= EVENT_TEXT_MAX);
    at = put_be32(at, (uint32_t)text.length);
    copy_short(at, text.at, text.length);
    return at + text.length;
}

static inline uint8_t *put_time(uint8_t *at, int64_t us)
{
    at = put_be32(at, sizeof us);
    return put_be64(at, (uint64_t)(us - COPY_EPOCH_US));
}

/* Behind the length word at `at` lie `length` bytes: fills it in. */
static inline uint8_t *put_length(uint8_t *at, size_t length)
{
    return put_be32(at, (uint32_t)length) + length;
}

static inline struct span member(const struct row *row, enum column_source source)
{
    static const size_t place[] = {
        [FROM_ID] = offsetof(struct event, id),
        [FROM_TYPE] = offsetof(struct event, type),
        [FROM_TENANT_ID] = offsetof(struct event, tenant_id),
        [FROM_USER_ID] = offsetof(struct event, user_id),
        [FROM_PROJECT_ID] = offsetof(struct event, project_id),
        [FROM_SESSION_ID] = offsetof(struct event, session_id),
        [FROM_ROOM_ID] = offsetof(struct event, room_id),
    };
    struct span text;
    memcpy(&text, (const uint8_t *)row->event + place[source], sizeof text);
    return source == FROM_ID && text.at == NULL ? row->id : text;
}

static inline int64_t time_of(const struct row *row, enum column_source source)
{
    bool own = source == FROM_TIMESTAMP && row->event->has_timestamp;
    return own ? row->event->timestamp_us : row->received_us;
}

#endif
