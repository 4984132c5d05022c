/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A column fits when its binary input takes what the encoder writes
 * for the stream's type: the type itself, a domain over it, and for text
 * its relatives and enums, whose bytes are the same. A column that the stream
 * does not fill must be able to do without: a default, an identity, or nulls.
 *
 * Tables are made under an advisory lock, since two
 * writers that start together would both find them absent.
 */
#include "batch/schema.h"
#include "batch/sql.h"

#include <stdio.h>

/* All streams' tables in one message, and ringmain's own two. */
enum { SQL_MAX = (STREAMS_MAX + 1) * STREAM_SQL_BYTES };

/* Two processes' writers exclude each other while
 * they make tables; the number is "ringmain" in ASCII. */
#define LOCK_SQL "select pg_advisory_xact_lock(8244232876087568750);"

static const char own_tables[] =
    "do $ringmain$ begin "
    "if to_regclass('ringmain_checkpoint') is null then"
    " create table ringmain_checkpoint (node text, shard int, epoch bigint, next_seq bigint not "
    "null,"
    "  primary key (node, shard, epoch)) with (fillfactor = 10);"
    " comment on table ringmain_checkpoint is"
    "  'How far each spool of ringmain has been stored. Belongs to the rows: never change it by "
    "itself.';"
    "end if; "
    "if to_regclass('ringmain_dead_letters') is null then"
    " create table ringmain_dead_letters (node text, shard int, epoch bigint, seq bigint, stream "
    "text,"
    "  copy_sql text, raw bytea, reason text, sqlstate text, at timestamptz not null default "
    "now());"
    " comment on table ringmain_dead_letters is"
    "  'Rows that Postgres refused, as binary COPY tuples, with the reason: see ringmain "
    "dead-letters.';"
    "elsif not exists (select from pg_attribute where attname = 'copy_sql'"
    "  and attrelid = to_regclass('ringmain_dead_letters')) then"
    " alter table ringmain_dead_letters add column copy_sql text;" /* before 0.1.0 it had none */
    "end if; end $ringmain$;";

/* ── Making ─────────────────────────────────────────────────────────────────────────────────── */

static bool put_string(struct buf *sql, const char *text)
{
    return buf_put(sql, text, strlen(text));
}

static bool put_create(struct buf *sql, const struct stream *stream)
{
    uint8_t *room = buf_room(sql, STREAM_SQL_BYTES);
    if (room == NULL || !stream_create_sql(stream, (char *)room, STREAM_SQL_BYTES))
        return false;
    buf_grew(sql, strlen((char *)room));
    return buf_put(sql, ";", 1);
}

static enum answer make_tables(struct postgres *postgres, const struct patience *patience,
                               const struct streams *streams, struct buf *sql)
{
    bool fits = put_string(sql, LOCK_SQL) && put_string(sql, own_tables);
    for (unsigned i = 0; fits && i < streams_count(streams); i++)
        fits = put_create(sql, streams_at(streams, i));
    must(fits && buf_put(sql, "", 1)); /* SQL_MAX is enough for STREAMS_MAX streams */
    return postgres_query(postgres, patience, (const char *)sql->at, NULL, NULL);
}

/* ── Comparing ──────────────────────────────────────────────────────────────────────────────── */

/* The names that Postgres has for what a type's COPY bytes fit. */
static bool type_fits(enum column_type type, struct span found)
{
    if (type == COLUMN_TIMESTAMPTZ)
        return span_is(found, "timestamp with time zone");
    if (type == COLUMN_TEXT && (span_is(found, "character varying") || span_is(found, "bpchar") ||
                                span_is(found, "character")))
        return true;
    return span_is(found, column_type_sql(type));
}

struct comparison {
    const struct stream *stream;
    bool table_there;
    bool column_seen[STREAM_COLUMNS_MAX];
    char *why;
};

static bool fault_found(const struct comparison *comparison)
{
    return comparison->why[0] != 0;
}

static const struct column *mapped(struct comparison *comparison, struct span name)
{
    for (unsigned i = 0; i < comparison->stream->columns; i++)
        if (span_is(name, comparison->stream->column[i].name)) {
            comparison->column_seen[i] = true;
            return &comparison->stream->column[i];
        }
    return NULL;
}

/* One column of the table: name, type, "must be given a value", "can't be given one". */
static void compare_column(void *context, unsigned columns, const struct span *cell)
{
    struct comparison *comparison = context;
    const struct stream *stream = comparison->stream;
    must(columns == 4);
    comparison->table_there = true;
    if (cell[0].at == NULL || fault_found(comparison))
        return;
    const struct column *column = mapped(comparison, cell[0]);
    if (column == NULL && span_is(cell[2], "t"))
        snprintf(comparison->why, 256,
                 "stream %s: column %.*s of table %s is NOT NULL without a default, and the stream "
                 "does not fill it: "
                 "map it, or give it a default",
                 stream->name, SPAN_ARGS(cell[0]), stream->table);
    else if (column != NULL && span_is(cell[3], "t"))
        snprintf(comparison->why, 256,
                 "stream %s: column %.*s of table %s is generated and can't be filled: take it out "
                 "of the stream",
                 stream->name, SPAN_ARGS(cell[0]), stream->table);
    else if (column != NULL && !type_fits(column->type, cell[1]))
        snprintf(comparison->why, 256,
                 "stream %s: column %.*s of table %s is %.*s, the stream needs %s", stream->name,
                 SPAN_ARGS(cell[0]), stream->table, SPAN_ARGS(cell[1]),
                 column_type_sql(column->type));
}

static void compare_whole(const struct comparison *comparison)
{
    const struct stream *stream = comparison->stream;
    if (!comparison->table_there) {
        snprintf(comparison->why, 256, "stream %s: there is no table %s", stream->name,
                 stream->table);
        return;
    }
    for (unsigned i = 0; i < stream->columns && !fault_found(comparison); i++)
        if (!comparison->column_seen[i])
            snprintf(comparison->why, 256, "stream %s: table %s has no column %s (%s)",
                     stream->name, stream->table, stream->column[i].name,
                     column_type_sql(stream->column[i].type));
}

/* The table as the COPY statement names it, quotes and all:
 * between "COPY " and the next blank outside quotes. */
static struct span table_in_copy(const char *copy_sql)
{
    const char *at = copy_sql + strlen("COPY "), *end = at;
    for (bool quoted = false; *end != 0 && (quoted || *end != ' '); end++)
        if (*end == '"')
            quoted = !quoted;
    return span_of(at, (size_t)(end - at));
}

/* A table without any column answers with one row of nulls, an absent one with none. */
static const char columns_before[] =
    "select a.attname, format_type(case t.typtype when 'd' then t.typbasetype"
    " when 'e' then 'text'::regtype else t.oid end, null),"
    " a.attnotnull and not a.atthasdef and a.attidentity = '' and coalesce(t.typdefault, '') = '',"
    " a.attgenerated <> ''"
    " from pg_class c left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not "
    "a.attisdropped"
    " left join pg_type t on t.oid = a.atttypid where c.oid = to_regclass(";

static enum answer compare(struct postgres *postgres, const struct patience *patience,
                           const struct stream *stream, struct buf *sql, char *why)
{
    char copy_sql[STREAM_SQL_BYTES];
    must(stream_copy_sql(stream, copy_sql, sizeof copy_sql));
    sql->length = 0;
    must(put_string(sql, columns_before) && sql_put_text(sql, table_in_copy(copy_sql)) &&
         buf_put(sql, ")", sizeof ")"));
    struct comparison comparison = {.stream = stream, .why = why};
    enum answer answer =
        postgres_query(postgres, patience, (const char *)sql->at, compare_column, &comparison);
    if (answer == ANSWER_OK && !fault_found(&comparison))
        compare_whole(&comparison);
    return answer == ANSWER_OK && fault_found(&comparison) ? ANSWER_REFUSED : answer;
}

const char *schema_own_sql(void)
{
    return own_tables;
}

enum answer schema_settle(struct postgres *postgres, const struct patience *patience,
                          const struct streams *streams, bool create, char *why)
{
    struct buf sql = {.max = SQL_MAX};
    enum answer answer = ANSWER_OK;
    why[0] = 0;
    if (create)
        answer = make_tables(postgres, patience, streams, &sql);
    for (unsigned i = 0; answer == ANSWER_OK && i < streams_count(streams); i++)
        answer = compare(postgres, patience, streams_at(streams, i), &sql, why);
    buf_fini(&sql);
    return answer;
}
