/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cursor that outlives its transaction gives the letters,
 * a page at a time; each retry is a transaction of its own in between.
 *
 *   with gone as (delete … where ctid = … returning 1) select 1 / (count(*) = 1)::int from gone;
 *   COPY … FROM STDIN (FORMAT binary)
 *
 * in one message and so in one transaction, as in batch/store.c: whoever deletes the letter is the
 * one who stores the row, and of two that try at once the second finds nothing to delete and
 * divides by zero. The place in the table (ctid) finds the row without an index, and what it says
 * must still be the same, since a place can be used again.
 */
#include "batch/dead_letters.h"
#include "batch/copy.h"
#include "batch/fit.h"
#include "batch/postgres.h"
#include "batch/sql.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    PAGE = 64,
    SQL_MAX = 1024 * 1024,
    LETTER_BYTES_MAX = 16 * 1024 * 1024,
    LOOK_MS = 1000,
    WHY = 512,
};
#define FETCH_SQL "fetch 64 from letters"
_Static_assert(PAGE == 64, "see FETCH_SQL");

struct slot {
    struct buf bytes; /* what the letter's spans look into */
    struct dead_letter letter;
};

struct dead_letters {
    struct postgres *postgres;
    struct slot slot[PAGE];
    unsigned filled, taken;
    bool no_memory;
};

/* There is nothing else to do than to wait for the server; Ctrl-C ends the process. */
static int look(void *context, uint64_t waited_ns)
{
    (void)context;
    (void)waited_ns;
    return LOOK_MS;
}

static const struct patience patient = {.doorbell = -1, .look = look};

static int failed(const struct dead_letters *letters, enum answer answer, char *why)
{
    const struct postgres_error *error = postgres_error(letters->postgres);
    snprintf(why, WHY, "%s: %s%s%s%s", postgres_name(letters->postgres), error->message,
             error->sqlstate[0] != 0 ? " (SQLSTATE " : "", error->sqlstate,
             error->sqlstate[0] != 0 ? ")" : "");
    return answer == ANSWER_REFUSED ? -EINVAL : -ENOTCONN;
}

int dead_letters_open(struct dead_letters **out, const char *conninfo, char *why)
{
    struct dead_letters *letters = calloc(1, sizeof *letters);
    if (letters == NULL) {
        snprintf(why, WHY, "no memory");
        return -ENOMEM;
    }
    for (unsigned i = 0; i < PAGE; i++)
        buf_init(&letters->slot[i].bytes, LETTER_BYTES_MAX);
    letters->postgres = postgres_open(conninfo, why);
    if (letters->postgres == NULL) {
        dead_letters_close(letters);
        return -EINVAL;
    }
    enum answer answer = postgres_connect(letters->postgres, &patient);
    if (answer != ANSWER_OK) {
        int error = failed(letters, answer, why);
        dead_letters_close(letters);
        return error;
    }
    *out = letters;
    return 0;
}

void dead_letters_close(struct dead_letters *letters)
{
    for (unsigned i = 0; i < PAGE; i++)
        buf_fini(&letters->slot[i].bytes);
    postgres_close(letters->postgres);
    free(letters);
}

/* ── Looking through them ───────────────────────────────────────────────────────────────────── */

static bool put(struct buf *sql, const char *text)
{
    return buf_put(sql, text, strlen(text));
}

static bool put_condition(struct buf *sql, const char *column, const char *value)
{
    return value == NULL || (put(sql, " and ") && put(sql, column) && put(sql, " = ") &&
                             sql_put_text(sql, span_of_string(value)));
}

int dead_letters_select(struct dead_letters *letters, const struct dead_letter_filter *filter,
                        char *why)
{
    struct buf sql = {.max = SQL_MAX};
    must(put(&sql, "declare letters no scroll cursor with hold for select "
                   "node, shard, epoch, seq, stream, sqlstate, to_char(at at time zone 'UTC',"
                   " 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), reason, copy_sql, encode(raw, 'hex'),"
                   " ctid from ringmain_dead_letters where true"));
    bool fits = put_condition(&sql, "stream", filter->stream) &&
                put_condition(&sql, "sqlstate", filter->sqlstate) &&
                put(&sql, " order by at, node, epoch, shard, seq") &&
                (filter->limit <= 0 || buf_print(&sql, " limit %lld", (long long)filter->limit)) &&
                buf_put(&sql, "", 1);
    enum answer answer =
        fits ? postgres_query(letters->postgres, &patient, (const char *)sql.at, NULL, NULL)
             : ANSWER_REFUSED;
    buf_fini(&sql);
    letters->filled = letters->taken = 0;
    return answer == ANSWER_OK ? 0 : failed(letters, answer, why);
}

static uint8_t hex_value(uint8_t digit)
{
    return (uint8_t)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

/* Hexadecimal digits to bytes, where they lie. */
static struct span unhex(struct span text)
{
    uint8_t *at = (uint8_t *)(uintptr_t)text.at;
    for (size_t i = 0; i + 1 < text.length; i += 2)
        at[i / 2] = (uint8_t)(hex_value(text.at[i]) << 4 | hex_value(text.at[i + 1]));
    return text.at == NULL ? text : span_of(at, text.length / 2);
}

static struct span keep(struct buf *bytes, struct span cell)
{
    if (cell.at == NULL)
        return cell;
    const uint8_t *at = bytes->at + bytes->length;
    must(buf_put(bytes, cell.at, cell.length)); /* there is room for all of them */
    return span_of(at, cell.length);
}

static void take_letter(void *context, unsigned columns, const struct span *cell)
{
    struct dead_letters *letters = context;
    must(letters->filled < PAGE);
    struct slot *slot = &letters->slot[letters->filled];
    struct dead_letter *letter = &slot->letter;
    struct span *const field[] = {
        &letter->node,     &letter->shard,    &letter->epoch, &letter->sequence,
        &letter->stream,   &letter->sqlstate, &letter->at,    &letter->reason,
        &letter->copy_sql, &letter->row,      &letter->place,
    };
    size_t total = 0;
    must(columns == COUNT_OF(field));
    for (unsigned i = 0; i < columns; i++)
        total += cell[i].length;
    slot->bytes.length = 0;
    if (buf_room(&slot->bytes, total) == NULL) {
        letters->no_memory = true;
        return;
    }
    for (unsigned i = 0; i < columns; i++)
        *field[i] = keep(&slot->bytes, cell[i]);
    letter->row = unhex(letter->row);
    letters->filled++;
}

static int next_page(struct dead_letters *letters, char *why)
{
    letters->filled = letters->taken = 0;
    letters->no_memory = false;
    enum answer answer =
        postgres_query(letters->postgres, &patient, FETCH_SQL, take_letter, letters);
    if (answer != ANSWER_OK)
        return failed(letters, answer, why);
    if (letters->no_memory) {
        snprintf(why, WHY, "no memory for a dead letter");
        return -ENOMEM;
    }
    return 0;
}

int dead_letters_next(struct dead_letters *letters, struct dead_letter *out, char *why)
{
    if (letters->taken == letters->filled) {
        int error = next_page(letters, why);
        if (error < 0 || letters->filled == 0)
            return error;
    }
    *out = letters->slot[letters->taken++].letter;
    return 1;
}

/* ── Another chance ─────────────────────────────────────────────────────────────────────────── */

static bool put_same(struct buf *sql, const char *column, const char *type, struct span value)
{
    return put(sql, column) && put(sql, " is not distinct from") &&
           (value.at == NULL ? put(sql, " null") : sql_put_text(sql, value)) && put(sql, type);
}

/* That the columns have still the types that the row was encoded for. */
static bool put_demand(struct buf *sql, struct span copy_sql)
{
    struct fit fit;
    fit_init(&fit, SQL_MAX);
    bool fits = fit_add(&fit, 0, copy_sql) && (fit.columns == 0 || fit_put_demand(&fit, sql));
    fit_fini(&fit);
    return fits;
}

static bool put_retry(struct buf *sql, const struct dead_letter *letter, struct span copy_sql)
{
    return put(sql, "with gone as (delete from ringmain_dead_letters where ctid =") &&
           sql_put_text(sql, letter->place) && put(sql, "::tid and ") &&
           put_same(sql, "node", "::text and ", letter->node) &&
           put_same(sql, "shard", "::int and ", letter->shard) &&
           put_same(sql, "epoch", "::bigint and ", letter->epoch) &&
           put_same(sql, "seq", "::bigint", letter->sequence) &&
           put(sql, " returning 1) select 1 / (count(*) = 1)::int from gone;") &&
           buf_put(sql, copy_sql.at, copy_sql.length) && put(sql, ";") &&
           put_demand(sql, copy_sql) && buf_put(sql, "", 1);
}

static enum answer put_row(struct postgres *postgres, struct span row)
{
    enum answer answer = postgres_put(postgres, &patient, span_of(copy_header, COPY_HEADER_BYTES));
    while (row.length > 0 && answer == ANSWER_OK) {
        size_t part = row.length < POSTGRES_PUT_MAX ? row.length : POSTGRES_PUT_MAX;
        answer = postgres_put(postgres, &patient, span_of(row.at, part));
        row = span_from(row, part);
    }
    if (answer == ANSWER_OK)
        answer = postgres_put(postgres, &patient, span_of(copy_trailer, COPY_TRAILER_BYTES));
    return answer == ANSWER_OK ? postgres_copy_end(postgres, &patient) : answer;
}

/* The message, up to the commit. *deleted: the letter was there. */
static enum answer run_retry(struct postgres *postgres, const char *sql, struct span row,
                             bool *deleted)
{
    enum answer answer = postgres_begin(postgres, &patient, sql);
    if (answer == ANSWER_OK)
        answer = postgres_statement(postgres, &patient);
    *deleted = answer == ANSWER_OK;
    if (answer == ANSWER_OK)
        answer = postgres_copy(postgres, &patient);
    if (answer == ANSWER_OK)
        answer = put_row(postgres, row);
    if (answer == ANSWER_LOST || answer == ANSWER_STOPPED)
        return answer;
    enum answer end = postgres_finish(postgres, &patient);
    return end == ANSWER_OK ? answer : end;
}

struct complaint {
    struct span table;
    bool made;
    char *why;
};

/* A column that does not fit: number, name, type that was found, type that is wanted. */
static void complain(void *context, unsigned columns, const struct span *cell)
{
    struct complaint *complaint = context;
    must(columns == 4);
    if (complaint->made)
        return;
    complaint->made = true;
    if (cell[2].at != NULL)
        snprintf(complaint->why, WHY,
                 "column %.*s of table %.*s is %.*s now, and the row was written for %.*s. Change "
                 "the column's type back and retry, or export the row and send its event again",
                 SPAN_ARGS(cell[1]), SPAN_ARGS(complaint->table), SPAN_ARGS(cell[2]),
                 SPAN_ARGS(cell[3]));
    else
        snprintf(complaint->why, WHY,
                 "table %.*s has no column %.*s (%.*s) now, and the row has one. Add it and retry, "
                 "or export the row and send its event again",
                 SPAN_ARGS(complaint->table), SPAN_ARGS(cell[1]), SPAN_ARGS(cell[3]));
}

/* Postgres has refused the row. If its table does not fit, that is what `why` has to say: what
 * Postgres says then is about bytes that it took for another type, or our own division by zero. */
static void explain(struct dead_letters *letters, struct span copy_sql, char *why)
{
    struct copy_statement statement;
    struct buf sql = {.max = SQL_MAX};
    struct fit fit;
    fit_init(&fit, SQL_MAX);
    if (copy_statement_read(copy_sql, &statement) && fit_add(&fit, 0, copy_sql) &&
        fit.columns > 0 && fit_put_question(&fit, &sql) && buf_put(&sql, "", 1)) {
        struct complaint complaint = {.table = statement.table, .why = why};
        /* Unanswered, Postgres's own words stay. */
        (void)!postgres_query(letters->postgres, &patient, (const char *)sql.at, complain,
                              &complaint);
    }
    fit_fini(&fit);
    buf_fini(&sql);
}

enum dead_letter_fate dead_letters_retry(struct dead_letters *letters,
                                         const struct dead_letter *letter, struct span copy_sql,
                                         char *why)
{
    struct buf sql = {.max = SQL_MAX};
    bool deleted;
    must(put_retry(&sql, letter, copy_sql));
    enum answer answer = run_retry(letters->postgres, (const char *)sql.at, letter->row, &deleted);
    buf_fini(&sql);
    if (answer == ANSWER_OK)
        return DEAD_LETTER_STORED;
    int error = failed(letters, answer, why);
    if (error == -ENOTCONN)
        return DEAD_LETTER_UNKNOWN;
    if (!deleted && strcmp(postgres_error(letters->postgres)->sqlstate, "22012") == 0)
        return DEAD_LETTER_GONE;
    explain(letters, copy_sql, why);
    return DEAD_LETTER_REFUSED;
}
