/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The COPY statement is taken apart at its brackets: COPY table (columns) FROM STDIN …; what stands
 * between them, comments and all, is a list of columns wherever SQL wants one.
 */
#include "batch/unique.h"
#include "batch/copy_statement.h"
#include "batch/sql.h"
#include "core/clock.h"

#include <stdio.h>

#define KEEP_NS (3600 * 1000000000ull)

enum { SQL_MAX = 64 * 1024 };

static bool put(struct buf *sql, const char *text)
{
    return buf_put(sql, text, strlen(text));
}

static bool put_span(struct buf *sql, struct span text)
{
    return buf_put(sql, text.at, text.length);
}

/* ── The index ──────────────────────────────────────────────────────────────────────────────── */

/* Both matter for batches of megabytes; the second can't be set once a staging table was used. */
static const char session[] = "discard temp; set work_mem = '64MB'; do $ringmain$ begin perform "
                              "set_config('temp_buffers', '64MB', false); "
                              "exception when others then null; end $ringmain$";

/* A usable unique index whose key is the id and, at most, what the table is partitioned by. */
static bool put_question(struct buf *sql, const struct stream *stream)
{
    char table[STREAM_TABLE_BYTES];
    must(stream_table_sql(stream, table, sizeof table));
    return put(sql, "select string_agg(quote_ident(a.attname), ',' order by k.n) from pg_index i"
                    " cross join unnest(i.indkey::int2[]) with ordinality k (attnum, n)"
                    " join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum"
                    " left join pg_partitioned_table p on p.partrelid = i.indrelid"
                    " where i.indrelid = to_regclass(") &&
           sql_put_text(sql, span_of_string(table)) &&
           put(sql, ") and i.indisunique and i.indimmediate and i.indisvalid and i.indpred is null"
                    " and i.indexprs is null and k.n <= i.indnkeyatts group by i.indexrelid"
                    " having bool_or(a.attname = ") &&
           sql_put_text(sql, span_of_string(stream->unique_id->name)) &&
           put(sql, ") and bool_and(a.attname = ") &&
           sql_put_text(sql, span_of_string(stream->unique_id->name)) &&
           put(sql, " or coalesce(a.attnum = any (p.partattrs::int2[]), false))"
                    " order by count(*), 1 limit 1") &&
           buf_put(sql, "", 1);
}

static void take_key(void *context, unsigned columns, const struct span *cell)
{
    char *key = context;
    must(columns == 1);
    snprintf(key, UNIQUE_KEY_BYTES, "%.*s", SPAN_ARGS(cell[0]));
}

/* The time of receipt, if the key holds it; NULL: it does not. */
static const struct column *received_at(const struct stream *stream, const char *key)
{
    for (unsigned i = 0; i < stream->columns; i++) {
        const struct column *column = &stream->column[i];
        if (column->from[0].source == FROM_RECEIVED_AT && strstr(key, column->name) != NULL)
            return column;
    }
    return NULL;
}

static void judge(const struct stream *stream, const char *key, char *why)
{
    char table[STREAM_TABLE_BYTES];
    must(stream_table_sql(stream, table, sizeof table));
    const struct column *received = received_at(stream, key);
    if (key[0] == '\0')
        snprintf(why, UNIQUE_WHY_BYTES,
                 "stream %s: dedup.scope = global needs a unique index on the table's id (and what "
                 "the table is partitioned by, if it is): create unique index on %.150s (\"%s\")",
                 stream->name, table, stream->unique_id->name);
    else if (received != NULL)
        snprintf(why, UNIQUE_WHY_BYTES,
                 "stream %s: dedup.scope = global can't go by the unique index (%.80s): %s is "
                 "another one whenever an event is sent again; partition by the event's own time",
                 stream->name, key, received->name);
}

static enum answer settle_one(struct unique *unique, struct postgres *postgres,
                              const struct patience *patience, const struct stream *stream,
                              char *why)
{
    struct buf sql = {.max = SQL_MAX};
    char *key = unique->key[stream->index];
    must(put_question(&sql, stream));
    enum answer answer = postgres_query(postgres, patience, (const char *)sql.at, take_key, key);
    buf_fini(&sql);
    if (answer == ANSWER_OK)
        judge(stream, key, why);
    return answer == ANSWER_OK && why[0] != '\0' ? ANSWER_REFUSED : answer;
}

enum answer unique_settle(struct unique *unique, struct postgres *postgres,
                          const struct patience *patience, const struct streams *streams, char *why)
{
    bool wanted = false;
    *unique = (struct unique){.streams = streams};
    why[0] = '\0';
    for (unsigned i = 0; i < streams_count(streams); i++)
        wanted = wanted || streams_at(streams, i)->unique_id != NULL;
    enum answer answer =
        wanted ? postgres_query(postgres, patience, session, NULL, NULL) : ANSWER_OK;
    unique->stale_ns = wanted ? clock_mono_ns() + KEEP_NS : 0;
    for (unsigned i = 0; answer == ANSWER_OK && i < streams_count(streams); i++)
        if (streams_at(streams, i)->unique_id != NULL)
            answer = settle_one(unique, postgres, patience, streams_at(streams, i), why);
    return answer;
}

enum answer unique_refresh(struct unique *unique, struct postgres *postgres,
                           const struct patience *patience, uint64_t now_ns)
{
    if (unique->stale_ns == 0 || now_ns < unique->stale_ns)
        return ANSWER_OK;
    enum answer answer = postgres_query(postgres, patience, "discard temp", NULL, NULL);
    if (answer == ANSWER_OK)
        unique->stale_ns = now_ns + KEEP_NS;
    return answer;
}

/* ── The statements ─────────────────────────────────────────────────────────────────────────── */

struct parts {
    struct span table, columns, tail; /* COPY table (columns) FROM STDIN … */
};

/* Of a statement that copy_statement_read() has accepted. */
static struct parts take_apart(const char *copy_sql)
{
    static const char tail[] = ") FROM STDIN (FORMAT binary)";
    const char *at = copy_sql + strlen("COPY "), *open = at;
    for (bool quoted = false; quoted || *open != '('; open++)
        if (*open == '"')
            quoted = !quoted;
    const char *close = copy_sql + strlen(copy_sql) - (sizeof tail - 1);
    return (struct parts){.table = span_of(at, (size_t)(open - 1 - at)),
                          .columns = span_of(open + 1, (size_t)(close - open - 1)),
                          .tail = span_of_string(close + 1)};
}

/* Does the statement fill this column? */
static bool fills(const char *copy_sql, const char *name)
{
    struct copy_statement statement;
    bool found = false;
    if (!copy_statement_read(span_of_string(copy_sql), &statement))
        return false;
    for (unsigned i = 0; i < statement.columns; i++)
        found = found || strcmp(statement.column[i], name) == 0;
    return found;
}

static const struct stream *stream_of(const struct unique *unique,
                                      const struct spool_stream *target)
{
    const struct stream *stream =
        unique->streams == NULL ? NULL : streams_find(unique->streams, target->name);
    bool same = stream != NULL && strcmp(stream->table, target->table) == 0;
    return same && unique->key[stream->index][0] != '\0' ? stream : NULL;
}

bool unique_is(const struct unique *unique, const struct spool_stream *target)
{
    const struct stream *stream = stream_of(unique, target);
    return stream != NULL && fills(target->copy_sql, stream->unique_id->name);
}

bool unique_put(const struct unique *unique, const struct spool_stream *target, unsigned number,
                struct buf *sql)
{
    const struct stream *stream = stream_of(unique, target);
    must(stream != NULL);
    struct parts parts = take_apart(target->copy_sql);
    return buf_print(sql,
                     "create temporary table if not exists ringmain_staging_%u on commit delete "
                     "rows as select ",
                     number) &&
           put_span(sql, parts.columns) && put(sql, " from ") && put_span(sql, parts.table) &&
           buf_print(sql, " with no data;COPY pg_temp.ringmain_staging_%u (", number) &&
           put_span(sql, parts.columns) && put(sql, ")") && put_span(sql, parts.tail) &&
           put(sql, ";insert into ") && put_span(sql, parts.table) && put(sql, " (") &&
           put_span(sql, parts.columns) && put(sql, ") select ") && put_span(sql, parts.columns) &&
           buf_print(sql,
                     " from pg_temp.ringmain_staging_%u order by \"%s\" on conflict (%s) do "
                     "nothing;",
                     number, stream->unique_id->name, unique->key[stream->index]);
}
