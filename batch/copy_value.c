/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rule is: what fits without loss is accepted. 5, 5.0 and 5e0 are all the bigint 5, and so is
 * "5", since 64-bit ids travel as strings where JavaScript is; 5.5, "5 " and "05" are not. The text
 * forms are JSON's for numbers, RFC 3339's for times, and Postgres's own for a uuid.
 */
#include "batch/copy_value.h"
#include "batch/big_endian.h"
#include "batch/decimal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

enum {
    DOUBLE_TEXT_MAX = 1100, /* longer than any double written in full */
    UUID_BYTES = 16,
};

static bool read_number(enum json_kind kind, struct span text, struct decimal *out)
{
    return (kind == JSON_NUMBER || kind == JSON_STRING) && decimal_read(text, out);
}

static size_t put_bigint(enum json_kind kind, struct span text, uint8_t *out)
{
    struct decimal decimal;
    int64_t value;
    if (!read_number(kind, text, &decimal) ||
        !decimal_integer(&decimal, INT64_MIN, INT64_MAX, &value))
        return 0;
    put_be64(out, (uint64_t)value);
    return sizeof value;
}

static size_t put_integer(enum json_kind kind, struct span text, uint8_t *out)
{
    struct decimal decimal;
    int64_t value;
    if (!read_number(kind, text, &decimal) ||
        !decimal_integer(&decimal, INT32_MIN, INT32_MAX, &value))
        return 0;
    put_be32(out, (uint32_t)value);
    return sizeof(int32_t);
}

static size_t put_numeric(enum json_kind kind, struct span text, uint8_t *out)
{
    struct decimal decimal;
    return read_number(kind, text, &decimal) ? decimal_numeric(&decimal, out) : 0;
}

/* As float8in judges: neither an overflow nor
 * a number that would vanish; a denormal is a number. */
static size_t put_double(enum json_kind kind, struct span text, uint8_t *out)
{
    struct decimal decimal;
    char copy[DOUBLE_TEXT_MAX + 1];
    if (text.length > DOUBLE_TEXT_MAX || !read_number(kind, text, &decimal))
        return 0;
    memcpy(copy, text.at, text.length);
    copy[text.length] = 0;
    errno = 0;
    double value = strtod(copy, NULL); /* the process stays in the C locale */
    if (isinf(value) || (value == 0 && errno == ERANGE))
        return 0;
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_be64(out, bits);
    return sizeof bits;
}

static size_t put_boolean(enum json_kind kind, struct span text, uint8_t *out)
{
    bool yes = kind == JSON_TRUE || (kind == JSON_STRING && span_is(text, "true"));
    bool no = kind == JSON_FALSE || (kind == JSON_STRING && span_is(text, "false"));
    *out = yes;
    return yes || no ? 1 : 0;
}

static size_t put_time(enum json_kind kind, struct span text, uint8_t *out)
{
    int64_t us;
    bool good = kind == JSON_STRING   ? event_time_parse(text, &us)
                : kind == JSON_NUMBER ? event_time_from_number(text, &us)
                                      : false;
    if (!good)
        return 0;
    put_be64(out, (uint64_t)(us - COPY_EPOCH_US));
    return sizeof us;
}

static int hex_value(uint8_t byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* Sixteen pairs of hex digits, a hyphen allowed behind
 * every second pair, braces around it all (uuid_in). */
static size_t put_uuid(enum json_kind kind, struct span text, uint8_t *out)
{
    if (kind != JSON_STRING)
        return 0;
    const uint8_t *at = text.at, *end = at + text.length;
    if (text.length > 2 && *at == '{') {
        if (*--end != '}')
            return 0;
        at++;
    }
    for (unsigned i = 0; i < UUID_BYTES; i++) {
        if (i % 2 == 0 && i > 0 && at < end && *at == '-')
            at++;
        if (end - at < 2 || hex_value(at[0]) < 0 || hex_value(at[1]) < 0)
            return 0;
        out[i] = (uint8_t)(hex_value(at[0]) << 4 | hex_value(at[1]));
        at += 2;
    }
    return at == end ? UUID_BYTES : 0;
}

size_t copy_value(enum column_type type, enum json_kind kind, struct span text, uint8_t *out)
{
    static size_t (*const put[])(enum json_kind, struct span, uint8_t *) = {
        [COLUMN_BIGINT] = put_bigint,   [COLUMN_INTEGER] = put_integer,
        [COLUMN_DOUBLE] = put_double,   [COLUMN_NUMERIC] = put_numeric,
        [COLUMN_BOOLEAN] = put_boolean, [COLUMN_TIMESTAMPTZ] = put_time,
        [COLUMN_UUID] = put_uuid,
    };
    must(type < COUNT_OF(put) && put[type] != NULL);
    return put[type](kind, text, out);
}

const char *copy_value_allowed(enum column_type type)
{
    static const char *const allowed[] = {
        [COLUMN_TEXT] = "any value",
        [COLUMN_BIGINT] = "an integer from -9223372036854775808 to 9223372036854775807",
        [COLUMN_INTEGER] = "an integer from -2147483648 to 2147483647",
        [COLUMN_DOUBLE] = "a number within 1.8e308",
        [COLUMN_NUMERIC] = "a number below 1e131072 with at most 16383 decimals",
        [COLUMN_BOOLEAN] = "true or false",
        [COLUMN_TIMESTAMPTZ] = "an RFC 3339 time or epoch milliseconds",
        [COLUMN_UUID] = "a UUID of 32 hex digits",
        [COLUMN_JSONB] = "JSON whose numbers are below 1e131072 with at most 16383 decimals",
        [COLUMN_JSON] = "any value",
    };
    return allowed[type];
}
