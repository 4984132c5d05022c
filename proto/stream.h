/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams: where an event is stored (CONTRACTS.md 2). A stream is a table, its columns, where each column's
 * value comes from, and which event types enter it. Made once from the configuration, then read-only: any
 * thread. The three default streams are configuration like any other (streams_add_defaults()).
 */
#ifndef PROTO_STREAM_H
#define PROTO_STREAM_H

#include "core/must.h"
#include "core/span.h"
#include "proto/event.h"

enum { STREAMS_MAX = 64, STREAM_COLUMNS_MAX = 64, STREAM_TYPES_MAX = 64, STREAM_NAME_MAX = 63 };

enum column_type {
    COLUMN_TEXT,
    COLUMN_BIGINT,
    COLUMN_INTEGER,
    COLUMN_DOUBLE,
    COLUMN_NUMERIC,
    COLUMN_BOOLEAN,
    COLUMN_TIMESTAMPTZ,
    COLUMN_UUID,
    COLUMN_JSONB,
    COLUMN_JSON, /* for those who only keep it: takes NUL escapes and lone surrogates too */
};

/* Where a value comes from: a member of the envelope, one inside data, or the server. */
enum column_source {
    FROM_ID,
    FROM_TYPE,
    FROM_TENANT_ID,
    FROM_USER_ID,
    FROM_PROJECT_ID,
    FROM_SESSION_ID,
    FROM_ROOM_ID,
    FROM_TIMESTAMP,
    FROM_RECEIVED_AT,
    FROM_DATA,        /* all of it */
    FROM_DATA_MEMBER, /* by `path` */
};

struct column {
    char name[STREAM_NAME_MAX + 1];
    enum column_type type;
    bool required;
    struct {
        enum column_source source;
        char *path; /* behind "data."; NULL unless FROM_DATA_MEMBER */
    } from[2];      /* tried in order: `from data.user_id|userId` */
    unsigned froms;
};

struct stream {
    uint16_t index; /* in its struct streams; what blocks of this boot call it */
    char name[STREAM_NAME_MAX + 1];
    char *table; /* as written in the config, perhaps schema.table */
    struct column column[STREAM_COLUMNS_MAX];
    unsigned columns;
    bool only_types;      /* a type that is not listed is UNSUPPORTED_TYPE when the stream was named */
    struct span type[STREAM_TYPES_MAX];
    unsigned types;
};

struct streams;

NODISCARD struct streams *streams_open(void);
void streams_close(struct streams *streams);

/*
 * Adds a stream, or replaces the default one of that name. `columns` as in the config:
 *   order_id bigint from data.orderId required, total numeric from data.total, raw jsonb from data
 * `types`: comma-separated event types that enter it; empty: only by name. 0, or -EINVAL with a sentence in
 * `why` (256 bytes) that names the column and what is allowed.
 */
NODISCARD int streams_add(struct streams *streams, const char *name, const char *table,
                          const char *columns, const char *types, char *why);
NODISCARD int streams_add_defaults(struct streams *streams, char *why);

unsigned streams_count(const struct streams *streams);
const struct stream *streams_at(const struct streams *streams, unsigned index);
const struct stream *streams_find(const struct streams *streams, const char *name);
/* The stream that takes this event type; never NULL: `events` takes the rest. */
const struct stream *streams_route(const struct streams *streams, struct span type);
bool stream_takes(const struct stream *stream, struct span type);

/* SQL for the stream: "bigint", the CREATE TABLE statement, the column list for COPY (identifiers quoted).
 * Written into `out`; false if it does not fit. */
const char *column_type_sql(enum column_type type);
NODISCARD bool stream_create_sql(const struct stream *stream, char *out, size_t room);
NODISCARD bool stream_copy_sql(const struct stream *stream, char *out, size_t room);

#endif
