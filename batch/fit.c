/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The numbers of Postgres's own types are the same in all its versions, so the comparison is one of
 * numbers; format_type() is called for the message only.
 */
#include "batch/fit.h"
#include "batch/sql.h"

#include <stdio.h>

enum { NUMBER_BYTES = 12 };

/* What takes the bytes of a column's type. An enum's are those of its
 * label's text, a domain's those of what it stands over: see `found`. */
static const char *takers(enum column_type type)
{
    switch (type) {
    case COLUMN_TEXT:
        return "{25,1042,1043}"; /* text, bpchar, varchar */
    case COLUMN_BIGINT:
        return "{20}";
    case COLUMN_INTEGER:
        return "{23}";
    case COLUMN_DOUBLE:
        return "{701}";
    case COLUMN_NUMERIC:
        return "{1700}";
    case COLUMN_BOOLEAN:
        return "{16}";
    case COLUMN_TIMESTAMPTZ:
        return "{1184}";
    case COLUMN_UUID:
        return "{2950}";
    case COLUMN_JSONB:
        return "{3802}";
    case COLUMN_JSON:
        return "{114}";
    }
    must(false); /* a column type */
    return "";
}

static const char found[] =
    " left join pg_attribute a on a.attrelid = to_regclass(w.place) and a.attname = w.name"
    " and not a.attisdropped left join pg_type t on t.oid = a.atttypid where ";
static const char fits[] =
    "case t.typtype when 'd' then t.typbasetype when 'e' then 25 else t.oid end = "
    "any (w.takers::oid[])";

static bool put(struct buf *sql, const char *text)
{
    return buf_put(sql, text, strlen(text));
}

void fit_init(struct fit *fit, size_t bytes_max)
{
    *fit = (struct fit){.want = {.max = bytes_max}};
}

void fit_fini(struct fit *fit)
{
    buf_fini(&fit->want);
}

/* Once a column in each transaction: nothing is formatted. */
static bool put_column(struct fit *fit, const char *number, const struct copy_statement *statement,
                       unsigned column)
{
    struct buf *want = &fit->want;
    enum column_type type = statement->type[column];
    return put(want, fit->columns++ > 0 ? ",(" : "(") && put(want, number) && put(want, ",") &&
           sql_put_text(want, statement->table) && put(want, ",") &&
           sql_put_text(want, span_of_string(statement->column[column])) && put(want, ",'") &&
           put(want, column_type_sql(type)) && put(want, "','") && put(want, takers(type)) &&
           put(want, "')");
}

bool fit_add(struct fit *fit, unsigned number, struct span copy_sql)
{
    struct copy_statement statement;
    char text[NUMBER_BYTES];
    if (!copy_statement_read(copy_sql, &statement) || !statement.typed)
        return true;
    bool put_all = true;
    (void)snprintf(text, sizeof text, "%u", number);
    for (unsigned i = 0; i < statement.columns && put_all; i++)
        put_all = put_column(fit, text, &statement, i);
    return put_all;
}

static bool put_from(const struct fit *fit, struct buf *sql)
{
    return put(sql, " from (values ") && buf_put(sql, fit->want.at, fit->want.length) &&
           put(sql, ") w (number, place, name, type, takers)") && put(sql, found);
}

bool fit_put_demand(const struct fit *fit, struct buf *sql)
{
    return buf_print(sql, "select 1 / (count(*) = %u)::int", fit->columns) && put_from(fit, sql) &&
           put(sql, fits) && put(sql, ";");
}

bool fit_put_question(const struct fit *fit, struct buf *sql)
{
    return put(sql, "select w.number, w.name, format_type(t.oid, null), w.type") &&
           put_from(fit, sql) && put(sql, "(") && put(sql, fits) && put(sql, ") is not true");
}
