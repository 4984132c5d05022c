/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams: where an event is stored (CONTRACTS.md 2). A stream is a table, its columns, where each
 * column's value comes from, and which event types enter it. Made once from the configuration, then
 * read-only: any thread. The three default streams are configuration like any other
 * (streams_add_defaults()).
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
        char *path;       /* behind "data."; NULL unless FROM_DATA_MEMBER */
        uint8_t step;     /* the path's first step: an index into the stream's `step` … */
        const char *rest; /* … and what follows it, NULL: nothing */
    } from[2];            /* tried in order, null counts as absent: `from data.user_id|userId` */
    unsigned froms;
};

struct stream {
    uint16_t index; /* in its struct streams; what blocks of this boot call it */
    char name[STREAM_NAME_MAX + 1];
    char *table;                              /* as written in the config, perhaps schema.table */
    struct column column[STREAM_COLUMNS_MAX]; /* those that COPY fills */
    unsigned columns;
    const struct column *unique_id; /* dedup.scope = global: no two rows have the same; or NULL */
    char identity[STREAM_NAME_MAX + 1]; /* a column that Postgres numbers itself; empty: none */
    bool only_types; /* a type that is not listed is UNSUPPORTED_TYPE when the stream was named */
    struct span type[STREAM_TYPES_MAX];
    unsigned types;
    char *types_text;                         /* what `type` looks into */
    struct span step[2 * STREAM_COLUMNS_MAX]; /* first steps of all paths, each once */
    unsigned steps;
    /* The bound of a COPY row: row_bytes_fixed + data_overlap * event_data_bytes_max().
     * One byte of the data can go into as many columns as data_overlap says:
     * 2 for `raw jsonb from data, total numeric from data.total`. */
    size_t row_bytes_fixed;
    unsigned data_overlap;
};

struct streams;

NODISCARD struct streams *streams_open(void);
void streams_close(struct streams *streams);

/*
 * Adds a stream, or replaces the one of that name. `columns` as in the config:
 *   order_id bigint from data.orderId required, total numeric from data.total, raw jsonb from data
 * that is, for each column
 *   name type [from member[|member]] [required]
 *
 *   name      as Postgres shall see it; in double quotes if it has other characters than letters,
 *             digits and _
 *   type      one of enum column_type by its SQL name; or `bigint generated always as identity`,
 *             once, for a column that Postgres numbers itself (the primary key of a table that is
 *             made here)
 *   member    id type tenantId userId projectId sessionId roomId timestamp receivedAt data,
 *             or data.a.b for what is within the data. Without `from`: the member of the column's
 *             own name (tenant_id or tenantId), else data.<name>
 *   required  an event without the member is refused
 *
 * `types`: comma-separated event types that enter it; empty: it is entered only by name, with any
 * type. `events` takes all that no other stream takes and can't have any. A type of a default
 * stream may be taken over; else it has one stream. 0, or -EINVAL with a sentence in `why` (256
 * bytes) that names the column and what is allowed, or -ENOMEM.
 */
enum { STREAM_WHY_BYTES = 256 };
NODISCARD int streams_add(struct streams *streams, const char *name, const char *table,
                          const char *columns, const char *types, char *why);
/* events, messages and cart_events, but for those whose name is already there. */
NODISCARD int streams_add_defaults(struct streams *streams, char *why);

/* Every stream with a column from `id`: its unique_id. How many of them have none. */
unsigned streams_make_ids_unique(struct streams *streams);

unsigned streams_count(const struct streams *streams);
const struct stream *streams_at(const struct streams *streams, unsigned index);
const struct stream *streams_find(const struct streams *streams, const char *name);
/* The stream that takes this event type; never NULL: `events` takes the rest. */
const struct stream *streams_route(const struct streams *streams, struct span type);
bool stream_takes(const struct stream *stream, struct span type);

/* "bigint" … */
const char *column_type_sql(enum column_type type);
/*
 * SQL for the stream, identifiers quoted, written into `out` with its NUL; false if it does not fit
 * (STREAM_SQL_BYTES always do). stream_create_sql: one statement (a DO block) that makes the table
 * if the search path has none of that name, with a BRIN index on its time and a unique one on its
 * unique_id; a table that is there is
 * left alone. stream_copy_sql: COPY … FROM STDIN. stream_table_sql: the
 * table's name, for which STREAM_TABLE_BYTES do.
 */
enum { STREAM_SQL_BYTES = 32768, STREAM_TABLE_BYTES = 512 };
NODISCARD bool stream_create_sql(const struct stream *stream, char *out, size_t room);
NODISCARD bool stream_table_sql(const struct stream *stream, char *out, size_t room);
NODISCARD bool stream_copy_sql(const struct stream *stream, char *out, size_t room);

#endif
