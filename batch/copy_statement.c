/* SPDX-License-Identifier: Apache-2.0 */
#include "batch/copy_statement.h"

static bool take(struct span *rest, const char *text)
{
    size_t length = strlen(text);
    if (rest->length < length || memcmp(rest->at, text, length) != 0)
        return false;
    *rest = span_from(*rest, length);
    return true;
}

/* "name", a quote in it doubled. */
static bool take_name(struct span *rest, char name[STREAM_NAME_MAX + 1])
{
    size_t length = 0;
    if (!take(rest, "\""))
        return false;
    while (rest->length > 0) {
        uint8_t byte = rest->at[0];
        if (byte == '"' && !take(rest, "\"\"")) {
            *rest = span_from(*rest, 1);
            name[length] = 0;
            return length > 0;
        }
        if (byte != '"')
            *rest = span_from(*rest, 1);
        if (byte == 0 || length == STREAM_NAME_MAX)
            return false;
        name[length++] = (char)byte;
    }
    return false;
}

static bool take_type(struct span *rest, enum column_type *type)
{
    for (*type = COLUMN_TEXT; *type <= COLUMN_JSON; ++*type) {
        struct span tried = *rest;
        if (take(&tried, column_type_sql(*type)) && take(&tried, "*/")) {
            *rest = tried;
            return true;
        }
    }
    return false;
}

/* The name, and its type behind it if the first column had one. */
static bool take_column(struct span *rest, struct copy_statement *out)
{
    unsigned i = out->columns;
    if (i == STREAM_COLUMNS_MAX || !take_name(rest, out->column[i]))
        return false;
    bool typed = take(rest, "/*");
    if (i > 0 && typed != out->typed)
        return false;
    out->typed = typed;
    out->columns++;
    return !typed || take_type(rest, &out->type[i]);
}

bool copy_statement_read(struct span sql, struct copy_statement *out)
{
    char table[STREAM_NAME_MAX + 1];
    out->columns = 0;
    if (!take(&sql, "COPY "))
        return false;
    const uint8_t *begin = sql.at;
    if (!take_name(&sql, table) || (take(&sql, ".") && !take_name(&sql, table)))
        return false;
    out->table = span_of(begin, (size_t)(sql.at - begin));
    if (!take(&sql, " ("))
        return false;
    do {
        if (!take_column(&sql, out))
            return false;
    } while (take(&sql, ","));
    return take(&sql, ") FROM STDIN (FORMAT binary)") && sql.length == 0;
}
