/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream as SQL. Every identifier stands in double quotes,
 * so that a column may be called "order" and a name is taken letter by letter.
 *
 * The table is made in a DO block, only if the search path finds none: `create table if not exists`
 * alone would ask for the right to create even where there is nothing to do, and would make a
 * second table in front of one that lies further down the search path. An index is likewise made
 * only together with its table, never later behind an operator's back. Of two writers that start at
 * the same moment one loses the race, and is content.
 */
#include "proto/stream_text.h"

/* Text that is being written; `full` once something did not fit. */
struct text {
    char *at, *end; /* end: the place of the NUL at the latest */
    bool full;
};

static void put(struct text *text, const char *string)
{
    size_t length = strlen(string);
    if (length > (size_t)(text->end - text->at)) {
        text->full = true;
        return;
    }
    memcpy(text->at, string, length + 1);
    text->at += length;
}

static void put_byte(struct text *text, char byte)
{
    if (text->at == text->end) {
        text->full = true;
        return;
    }
    *text->at++ = byte;
    *text->at = 0;
}

/* An identifier; within a string literal an apostrophe is doubled as well. */
static void put_name(struct text *text, const char *name, bool in_literal)
{
    put_byte(text, '"');
    for (; *name != 0; name++) {
        if (*name == '"' || (in_literal && *name == '\''))
            put_byte(text, *name);
        put_byte(text, *name);
    }
    put_byte(text, '"');
}

static void put_table(struct text *text, const struct stream *stream, bool in_literal)
{
    struct table_name name;
    char why[STREAM_WHY_BYTES];
    must(stream_text_table(stream->table, &name, why)); /* streams_add() has read it */
    if (name.schema[0] != 0) {
        put_name(text, name.schema, in_literal);
        put_byte(text, '.');
    }
    put_name(text, name.table, in_literal);
}

static void put_definitions(struct text *text, const struct stream *stream)
{
    if (stream->identity[0] != 0) {
        put_name(text, stream->identity, false);
        put(text, " bigint generated always as identity primary key, ");
    }
    for (unsigned i = 0; i < stream->columns; i++) {
        const struct column *column = &stream->column[i];
        put(text, i > 0 ? ", " : "");
        put_name(text, column->name, false);
        put_byte(text, ' ');
        put(text, column_type_sql(column->type));
        put(text, column->required ? " not null" : "");
    }
}

/* The column that grows as the table does:
 * the time of receipt, else the event's own; NULL: none. */
static const struct column *time_column(const struct stream *stream)
{
    const struct column *found = NULL;
    for (unsigned i = 0; i < stream->columns; i++) {
        const struct column *column = &stream->column[i];
        if (column->type != COLUMN_TIMESTAMPTZ)
            continue;
        if (column->from[0].source == FROM_RECEIVED_AT)
            return column;
        if (column->from[0].source == FROM_TIMESTAMP && found == NULL)
            found = column;
    }
    return found;
}

bool stream_create_sql(const struct stream *stream, char *out, size_t room)
{
    must(room > 0);
    struct text text = {.at = out, .end = out + room - 1};
    put(&text, "do " STREAM_SQL_TAG " begin if to_regclass('");
    put_table(&text, stream, true);
    put(&text, "') is null then create table ");
    put_table(&text, stream, false);
    put(&text, " (");
    put_definitions(&text, stream);
    put(&text, ");");
    const struct column *time = time_column(stream);
    if (time != NULL) {
        put(&text, " create index on ");
        put_table(&text, stream, false);
        put(&text, " using brin (");
        put_name(&text, time->name, false);
        put(&text, ");");
    }
    if (stream->unique_id != NULL) {
        put(&text, " create unique index on ");
        put_table(&text, stream, false);
        put(&text, " (");
        put_name(&text, stream->unique_id->name, false);
        put(&text, ");");
    }
    put(&text, " end if; exception when duplicate_table or unique_violation then null; "
               "end " STREAM_SQL_TAG);
    return !text.full;
}

bool stream_table_sql(const struct stream *stream, char *out, size_t room)
{
    must(room > 0);
    struct text text = {.at = out, .end = out + room - 1};
    put_table(&text, stream, false);
    return !text.full;
}

bool stream_copy_sql(const struct stream *stream, char *out, size_t room)
{
    must(room > 0);
    struct text text = {.at = out, .end = out + room - 1};
    put(&text, "COPY ");
    put_table(&text, stream, false);
    for (unsigned i = 0; i < stream->columns; i++) {
        put(&text, i == 0 ? " (" : ",");
        put_name(&text, stream->column[i].name, false);
        put(&text, "/*");
        put(&text, column_type_sql(stream->column[i].type));
        put(&text, "*/");
    }
    put(&text, ") FROM STDIN (FORMAT binary)");
    return !text.full;
}

const char *column_type_sql(enum column_type type)
{
    static const char *const sql[] = {
        [COLUMN_TEXT] = "text",
        [COLUMN_BIGINT] = "bigint",
        [COLUMN_INTEGER] = "integer",
        [COLUMN_DOUBLE] = "double precision",
        [COLUMN_NUMERIC] = "numeric",
        [COLUMN_BOOLEAN] = "boolean",
        [COLUMN_TIMESTAMPTZ] = "timestamptz",
        [COLUMN_UUID] = "uuid",
        [COLUMN_JSONB] = "jsonb",
        [COLUMN_JSON] = "json",
    };
    must(type < COUNT_OF(sql));
    return sql[type];
}
