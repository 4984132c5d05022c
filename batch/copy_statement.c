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

bool copy_statement_read(struct span sql, struct copy_statement *out)
{
    char table[STREAM_NAME_MAX + 1];
    out->columns = 0;
    if (!take(&sql, "COPY ") || !take_name(&sql, table))
        return false;
    if (take(&sql, ".") && !take_name(&sql, table))
        return false;
    if (!take(&sql, " ("))
        return false;
    do {
        if (out->columns == STREAM_COLUMNS_MAX || !take_name(&sql, out->column[out->columns++]))
            return false;
    } while (take(&sql, ","));
    return take(&sql, ") FROM STDIN (FORMAT binary)") && sql.length == 0;
}
