/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of `columns` is read word by word: a word ends at white space, a comma or a bar; the
 * last two are words of their own; double quotes make one word of anything, as in SQL. A column
 * then is a name, a type of one or more words, and the two clauses in either order:
 *
 *   order_id  bigint  from data.orderId | userId  required  ,
 *   ──name──  ─type─  ─────────from─────────────  ────────
 *
 * What goes wrong is a mistake in a configuration file,
 * so every message names the column and what is allowed.
 */
#include "proto/stream_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { WORD_MAX = 256 };

struct scanner {
    const char *rest;
    char word[WORD_MAX + 1]; /* empty and not quoted: the end of the text */
    bool quoted;
    char *why;
};

struct member_word {
    enum column_source source;
    const char *camel, *snake;
};

static const struct member_word member_words[] = {
    {FROM_ID, "id", "id"},
    {FROM_TYPE, "type", "type"},
    {FROM_TENANT_ID, "tenantId", "tenant_id"},
    {FROM_USER_ID, "userId", "user_id"},
    {FROM_PROJECT_ID, "projectId", "project_id"},
    {FROM_SESSION_ID, "sessionId", "session_id"},
    {FROM_ROOM_ID, "roomId", "room_id"},
    {FROM_TIMESTAMP, "timestamp", "timestamp"},
    {FROM_RECEIVED_AT, "receivedAt", "received_at"},
    {FROM_DATA, "data", "data"},
};
static const char members_allowed[] = "id, type, tenantId, userId, projectId, sessionId, roomId, "
                                      "timestamp, receivedAt, data, data.name";
static const char types_allowed[] = "text, bigint, integer, double precision, numeric, boolean, "
                                    "timestamptz, uuid, jsonb, json";
static const char identity_words[] = "bigint generated always as identity";

PRINTF_LIKE(2, 3) static bool fail(char *why, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, STREAM_WHY_BYTES, format, arguments);
    va_end(arguments);
    return false;
}

static bool is_space(char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static bool word_is(const struct scanner *scanner, const char *word)
{
    return !scanner->quoted && strcmp(scanner->word, word) == 0;
}

static bool at_end(const struct scanner *scanner)
{
    return word_is(scanner, "");
}

/* The inside of a quoted word; two quotes stand for one. */
static bool scan_quoted(struct scanner *scanner)
{
    size_t length = 0;
    const char *at = scanner->rest + 1;
    for (;; at++) {
        if (*at == '"' && *++at != '"')
            break;
        if (*at == 0)
            return fail(scanner->why, "a double quote is not closed");
        if (length == WORD_MAX)
            return fail(scanner->why, "a quoted name is longer than %d bytes", WORD_MAX);
        scanner->word[length++] = *at;
    }
    scanner->word[length] = 0;
    scanner->quoted = true;
    scanner->rest = at;
    return true;
}

/* Steps to the next word. */
static bool scan(struct scanner *scanner)
{
    while (is_space(*scanner->rest))
        scanner->rest++;
    if (*scanner->rest == '"')
        return scan_quoted(scanner);
    const char *from = scanner->rest, *at = from;
    if (*at == ',' || *at == '|')
        at++;
    else
        while (*at != 0 && *at != ',' && *at != '|' && *at != '"' && !is_space(*at))
            at++;
    size_t length = (size_t)(at - from);
    if (length > WORD_MAX)
        return fail(scanner->why, "'%.40s…' is longer than %d bytes", from, WORD_MAX);
    memcpy(scanner->word, from, length);
    scanner->word[length] = 0;
    scanner->quoted = false;
    scanner->rest = at;
    return true;
}

static bool name_byte(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || byte == '_';
}

/* Is it a name that Postgres takes in quotes without cutting it? */
static bool check_name(const char *name, bool quoted, const char *what, char *why)
{
    size_t length = strlen(name);
    if (length == 0 || length > STREAM_NAME_MAX)
        return fail(why, "%s name '%.40s' has %zu bytes; allowed: 1 to %d", what, name, length,
                    STREAM_NAME_MAX);
    for (const char *at = name; *at != 0; at++)
        if (quoted ? (unsigned char)*at < ' ' : !name_byte(*at))
            return fail(why,
                        "%s name '%s': allowed are letters, digits and _; others in double quotes",
                        what, name);
    if (strstr(name, STREAM_SQL_TAG) != NULL)
        return fail(why, "%s name '%s': it must not contain " STREAM_SQL_TAG, what, name);
    return true;
}

/* ── The table's name ───────────────────────────────────────────────────────────────────────── */

/* One part up to a dot outside of quotes, or the end. */
static bool table_part(const char **rest, char out[STREAM_NAME_MAX + 1], char *why)
{
    char part[WORD_MAX + 1];
    size_t length = 0;
    bool quoted = **rest == '"', inside = quoted;
    const char *at = *rest + (quoted ? 1 : 0);
    for (; *at != 0 && (inside || *at != '.'); at++) {
        if (quoted && *at == '"' && *++at != '"') {
            inside = false;
            break;
        }
        if (length == WORD_MAX)
            break;
        part[length++] = *at;
    }
    part[length] = 0;
    if (inside || (*at != 0 && *at != '.'))
        return fail(why, "table '%.100s': a name has no end", *rest);
    if (!check_name(part, quoted, "table", why))
        return false;
    memcpy(out, part, length + 1);
    *rest = at;
    return true;
}

bool stream_text_table(const char *text, struct table_name *out, char *why)
{
    const char *rest = text;
    out->schema[0] = 0;
    if (!table_part(&rest, out->table, why))
        return false;
    if (*rest == '.') {
        rest++;
        memcpy(out->schema, out->table, sizeof out->schema);
        if (!table_part(&rest, out->table, why))
            return false;
    }
    return *rest == 0 || fail(why, "table '%.100s': allowed: table or schema.table", text);
}

/* ── Columns ────────────────────────────────────────────────────────────────────────────────── */

/* "a.b.c" behind "data.": no empty step. */
static bool path_good(const char *path)
{
    if (*path == '.' || *path == 0)
        return false;
    for (; *path != 0; path++)
        if (*path == '.' && (path[1] == '.' || path[1] == 0))
            return false;
    return true;
}

static bool add_member(struct column *column, const char *word, char *why)
{
    if (column->froms == COUNT_OF(column->from))
        return fail(why, "column %s: at most two members after 'from'", column->name);
    for (size_t i = 0; i < COUNT_OF(member_words); i++) {
        if (strcmp(word, member_words[i].camel) == 0 || strcmp(word, member_words[i].snake) == 0) {
            column->from[column->froms++].source = member_words[i].source;
            return true;
        }
    }
    if (strncmp(word, "data.", 5) != 0 || !path_good(word + 5))
        return fail(why, "column %s: 'from %s' is no member; allowed: %s", column->name,
                    *word == 0 ? "?" : word, members_allowed);
    char *path = strdup(word + 5);
    if (path == NULL)
        return fail(why, "column %s: no memory", column->name);
    column->from[column->froms].source = FROM_DATA_MEMBER;
    column->from[column->froms++].path = path;
    return true;
}

static bool read_from(struct scanner *scanner, struct column *column)
{
    if (column->froms > 0)
        return fail(scanner->why, "column %s: 'from' stands twice", column->name);
    do {
        if (!scan(scanner) || !add_member(column, scanner->word, scanner->why) || !scan(scanner))
            return false;
    } while (word_is(scanner, "|"));
    return true;
}

/* No `from`: the member of the same name, or the one within data. */
static bool default_member(struct column *column, char *why)
{
    for (size_t i = 0; i < COUNT_OF(member_words); i++)
        if (strcmp(column->name, member_words[i].camel) == 0 ||
            strcmp(column->name, member_words[i].snake) == 0)
            return add_member(column, column->name, why);
    char word[STREAM_NAME_MAX + 8];
    snprintf(word, sizeof word, "data.%s", column->name);
    return add_member(column, word, why);
}

/* Some pairs can never fit; better said now than at every event. */
static bool check_sources(const struct column *column, char *why)
{
    for (unsigned i = 0; i < column->froms; i++) {
        enum column_source source = column->from[i].source;
        if ((source == FROM_TIMESTAMP || source == FROM_RECEIVED_AT) &&
            column->type != COLUMN_TIMESTAMPTZ && column->type != COLUMN_TEXT)
            return fail(why, "column %s: %s can't become %s; allowed: timestamptz, text",
                        column->name, source == FROM_TIMESTAMP ? "timestamp" : "receivedAt",
                        column_type_sql(column->type));
        if (source <= FROM_ROOM_ID && column->type == COLUMN_BOOLEAN)
            return fail(why, "column %s: only a member of data can become boolean", column->name);
    }
    return true;
}

static bool read_clauses(struct scanner *scanner, struct column *column)
{
    while (!at_end(scanner) && !word_is(scanner, ",")) {
        if (word_is(scanner, "from")) {
            if (!read_from(scanner, column))
                return false;
        } else if (word_is(scanner, "required")) {
            column->required = true;
            if (!scan(scanner))
                return false;
        } else {
            return fail(
                scanner->why,
                "column %s: '%.60s' is not understood; allowed after the type: from MEMBER, "
                "required",
                column->name, scanner->word);
        }
    }
    if (column->froms == 0 && !default_member(column, scanner->why))
        return false;
    return check_sources(column, scanner->why);
}

/* Do the words from here on read `words`? Then the scanner steps behind them. */
static bool take_words(struct scanner *scanner, const char *words)
{
    struct scanner ahead = *scanner;
    for (const char *at = words;;) {
        size_t length = strcspn(at, " ");
        if (ahead.quoted || strlen(ahead.word) != length || memcmp(ahead.word, at, length) != 0)
            return false;
        if (!scan(&ahead))
            return false;
        at += length;
        if (*at++ == 0)
            break;
    }
    *scanner = ahead;
    return true;
}

static bool read_type(struct scanner *scanner, struct column *column)
{
    for (enum column_type type = COLUMN_TEXT; type <= COLUMN_JSON; type++) {
        if (take_words(scanner, column_type_sql(type))) {
            column->type = type;
            return true;
        }
    }
    bool none = at_end(scanner) || word_is(scanner, ",");
    return fail(scanner->why, "column %s: type '%.40s' is unknown; allowed: %s", column->name,
                none ? "" : scanner->word, types_allowed);
}

static bool name_taken(const struct stream *stream, const char *name)
{
    for (unsigned i = 0; i < stream->columns; i++)
        if (strcmp(stream->column[i].name, name) == 0)
            return true;
    return strcmp(stream->identity, name) == 0;
}

static bool read_column(struct scanner *scanner, struct stream *stream)
{
    if (!check_name(scanner->word, scanner->quoted, "column", scanner->why))
        return false;
    if (name_taken(stream, scanner->word))
        return fail(scanner->why, "column %s stands twice", scanner->word);
    if (stream->columns == STREAM_COLUMNS_MAX)
        return fail(scanner->why, "column %s is one too many; allowed: %d", scanner->word,
                    STREAM_COLUMNS_MAX);
    struct column *column = &stream->column[stream->columns];
    memcpy(column->name, scanner->word, strlen(scanner->word) + 1);
    if (!scan(scanner))
        return false;
    if (take_words(scanner, identity_words)) {
        if (stream->identity[0] != 0)
            return fail(scanner->why, "column %s: a table has one identity column", column->name);
        memcpy(stream->identity, column->name, sizeof stream->identity);
        return true;
    }
    stream->columns++;
    return read_type(scanner, column) && read_clauses(scanner, column);
}

bool stream_text_columns(struct stream *stream, const char *text, char *why)
{
    struct scanner scanner = {.rest = text, .why = why};
    do {
        if (!scan(&scanner) || !read_column(&scanner, stream))
            return false;
        if (!at_end(&scanner) && !word_is(&scanner, ","))
            return fail(why, "column '%.60s': a comma is missing before it", scanner.word);
    } while (!at_end(&scanner));
    if (stream->columns == 0)
        return fail(why, "a stream has at least one column that is not an identity");
    return true;
}

/* ── Types of events ────────────────────────────────────────────────────────────────────────── */

bool stream_text_types(struct stream *stream, char *why)
{
    for (const char *at = stream->types_text;;) {
        while (is_space(*at))
            at++;
        size_t length = strcspn(at, ",");
        const char *next = at + length;
        while (length > 0 && is_space(at[length - 1]))
            length--;
        if (length == 0 && *next == 0)
            break;
        struct span type = span_of(at, length);
        if (!event_is_type(type))
            return fail(why, "event type '%.*s': allowed: 1 to %d of A-Z a-z 0-9 _ . : -",
                        length > 80 ? 80 : (int)length, at, EVENT_TYPE_MAX);
        if (stream->types == STREAM_TYPES_MAX)
            return fail(why, "event type '%.64s': a stream takes at most %d", at, STREAM_TYPES_MAX);
        stream->type[stream->types++] = type;
        at = next + (*next == ',');
    }
    stream->only_types = stream->types > 0;
    return true;
}
