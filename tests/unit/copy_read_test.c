/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows read again: what the encoder wrote comes back, and whatever else lies there does no harm.
 */
#include "batch/copy.h"
#include "batch/copy_read.h"
#include "batch/decimal.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

static const char every_type[] =
    "t text from data.t, b bigint from data.b, i integer from data.i, d double precision from "
    "data.d, n numeric from data.n, o boolean from data.o, ts timestamptz from data.ts, u uuid "
    "from data.u, j jsonb from data.j, k json from data.k";

static const struct stream *add_stream(struct streams *streams, const char *columns)
{
    char why[STREAM_WHY_BYTES];
    if (streams_add(streams, "s", "a.\"t\"\"b\"", columns, "", why) != 0)
        fail_msg("%s", why);
    return streams_find(streams, "s");
}

static struct copy_statement statement_of(const struct stream *stream)
{
    static char sql[STREAM_SQL_BYTES];
    struct copy_statement statement;
    assert_true(stream_copy_sql(stream, sql, sizeof sql));
    assert_true(copy_statement_read(span_of_string(sql), &statement));
    assert_int_equal(statement.columns, stream->columns);
    return statement;
}

/* The event's row as copy_row() writes it, in a block that ends at an unmapped page. */
static size_t encode(const struct stream *stream, const char *json, uint8_t **row)
{
    struct event_rules rules = {.bytes_max = 200000, .keep_flaws = true};
    struct event event;
    struct refusal refusal;
    static uint8_t text[4096], made[16384];
    memcpy(text, json, strlen(json));
    assert_int_equal(event_parse(span_of(text, strlen(json)), &rules, &event, &refusal),
                     EVENT_ACCEPTED);
    assert_true(copy_row_bytes_max(stream, &event) <= sizeof made);
    size_t length = copy_row(stream, &event, SPAN("stand-in"), 0, made, &refusal);
    if (length == 0)
        fail_msg("%s: %s", json, refusal.message);
    *row = unit_edge_copy(made, length);
    return length;
}

static void check(const char *columns, const char *json, const char *wanted)
{
    struct streams *streams = streams_open();
    const struct stream *stream = add_stream(streams, columns);
    struct copy_statement statement = statement_of(stream);
    struct buf out = {.max = 65536};
    uint8_t *row;
    size_t length = encode(stream, json, &row);
    assert_true(copy_read_row(&statement, stream, span_of(row, length), &out));
    assert_true(buf_put(&out, "", 1));
    assert_string_equal((char *)out.at, wanted);
    for (size_t cut = 0; cut < length; cut++) {
        uint8_t *part = unit_edge_copy(row, cut);
        out.length = 3;
        assert_false(copy_read_row(&statement, stream, span_of(part, cut), &out));
        assert_int_equal(out.length, 3);
        unit_edge_free(part, cut);
    }
    unit_edge_free(row, length);
    buf_fini(&out);
    streams_close(streams);
}

static void every_type_comes_back(void **state)
{
    (void)state;
    check(every_type,
          "{\"type\":\"x\",\"data\":{\"t\":\"a\\\"\\u00e4\\n\",\"b\":-9223372036854775808,\"i\":"
          "2147483647,\"d\":0.1,\"n\":-120.0500,\"o\":true,\"ts\":\"2026-01-02T03:04:05.678901Z\","
          "\"u\":\"0190A1B2-c3d4-7e5f-8a9b-0c1d2e3f4a5b\",\"j\":{\"a\" : [1,\n2]},\"k\":[\n]}}",
          "{\"t\":\"a\\\"\xc3\xa4\\n\",\"b\":-9223372036854775808,\"i\":2147483647,\"d\":0.1,\"n\":"
          "-120.0500,\"o\":true,\"ts\":\"2026-01-02T03:04:05.678901Z\",\"u\":\"0190a1b2-c3d4-7e5f-"
          "8a9b-0c1d2e3f4a5b\",\"j\":{\"a\" : [1, 2]},\"k\":[ ]}");
    check(every_type, "{\"type\":\"x\",\"data\":{\"o\":false}}",
          "{\"t\":null,\"b\":null,\"i\":null,\"d\":null,\"n\":null,\"o\":false,\"ts\":null,\"u\":"
          "null,\"j\":null,\"k\":null}");
}

static void numbers_come_back(void **state)
{
    (void)state;
    static const char *const numerics[] = {
        "0",      "1",         "-1",      "0.5",      "10000",
        "9999",   "99990000",  "0.00001", "123456.7", "1.000",
        "-0.001", "100000000", "0.000",   "1e-5",     "1234567890123456789012345",
        "0.10",   "1e4",       "1e3",     "12e7",     "-5e1",
        "0.9999", "0.0001000",
    };
    static const char *const written[] = {
        "0",      "1",         "-1",      "0.5",       "10000",
        "9999",   "99990000",  "0.00001", "123456.7",  "1.000",
        "-0.001", "100000000", "0.000",   "0.00001",   "1234567890123456789012345",
        "0.10",   "10000",     "1000",    "120000000", "-50",
        "0.9999", "0.0001000",
    };
    for (unsigned i = 0; i < COUNT_OF(numerics); i++) {
        char json[100], wanted[100];
        snprintf(json, sizeof json, "{\"type\":\"x\",\"data\":{\"n\":%s}}", numerics[i]);
        snprintf(wanted, sizeof wanted, "{\"n\":%s}", written[i]);
        check("n numeric from data.n", json, wanted);
    }
    static const char *const doubles[][2] = {
        {"0.1", "0.1"},
        {"1e300", "1e+300"},
        {"-0.0", "-0"},
        {"5e-324", "4.94065645841247e-324"},
        {"100000", "100000"},
        {"0.30000000000000004", "0.30000000000000004"},
        {"1.7976931348623157e308", "1.7976931348623157e+308"},
    };
    for (unsigned i = 0; i < COUNT_OF(doubles); i++) {
        char json[100], wanted[100];
        snprintf(json, sizeof json, "{\"type\":\"x\",\"data\":{\"d\":%s}}", doubles[i][0]);
        snprintf(wanted, sizeof wanted, "{\"d\":%s}", doubles[i][1]);
        check("d double precision from data.d", json, wanted);
    }
}

/* Bytes that are not of the column's type, or whose column nobody knows any more. */
static void the_rest_is_hexadecimal(void **state)
{
    (void)state;
    struct streams *streams = streams_open();
    const struct stream *stream = add_stream(streams, "b bigint from data.b, t text from data.t");
    struct copy_statement statement = statement_of(stream);
    static const uint8_t row[] = "\0\2\0\0\0\2\xab\xcd\0\0\0\3"
                                 "abc";
    struct buf out = {.max = 100};
    assert_true(copy_read_row(&statement, stream, span_of(row, sizeof row - 1), &out));
    assert_true(buf_put(&out, "", 1));
    assert_string_equal((char *)out.at, "{\"b\":\"\\\\xabcd\",\"t\":\"abc\"}");
    out.length = 0;
    assert_true(copy_read_row(&statement, NULL, span_of(row, sizeof row - 1), &out));
    assert_true(buf_put(&out, "", 1));
    assert_string_equal((char *)out.at, "{\"b\":\"\\\\xabcd\",\"t\":\"\\\\x616263\"}");
    out.length = 0;
    statement.columns = 1;
    assert_false(copy_read_row(&statement, stream, span_of(row, sizeof row - 1), &out));
    statement.columns = 2;
    size_t whole = strlen("{\"b\":\"\\\\xabcd\",\"t\":\"abc\"}");
    for (size_t max = 0; max <= whole; max++) {
        struct buf small = {.max = max};
        bool fits = copy_read_row(&statement, stream, span_of(row, sizeof row - 1), &small);
        assert_int_equal(fits, max == whole);
        buf_fini(&small);
    }
    buf_fini(&out);
    streams_close(streams);
}

static void refuse(enum column_type type, const void *bytes, size_t length)
{
    struct buf out = {.max = 1 << 20};
    uint8_t *value = unit_edge_copy(bytes, length);
    assert_false(copy_read_value(type, span_of(value, length), &out));
    assert_int_equal(out.length, 0);
    unit_edge_free(value, length);
    buf_fini(&out);
}

static void values_that_are_none(void **state)
{
    (void)state;
    static const char nan[] = "\x7f\xf8\0\0\0\0\0\0",
                      infinity[] = "\x7f\xff\xff\xff\xff\xff\xff\xff";
    for (size_t length = 0; length < 9; length++) {
        if (length != 8) {
            refuse(COLUMN_BIGINT, nan, length);
            refuse(COLUMN_DOUBLE, nan, length);
            refuse(COLUMN_TIMESTAMPTZ, nan, length);
            refuse(COLUMN_NUMERIC, "\0\0\0\0\0\0\0\0", length);
        }
        if (length != 4)
            refuse(COLUMN_INTEGER, nan, length);
        if (length != 1)
            refuse(COLUMN_BOOLEAN, "\0\0\0\0\0\0\0\0", length);
        refuse(COLUMN_UUID, nan, length);
    }
    refuse(COLUMN_BOOLEAN, "\2", 1);
    refuse(COLUMN_DOUBLE, nan, 8);
    refuse(COLUMN_TIMESTAMPTZ, infinity, 8);
    refuse(COLUMN_TIMESTAMPTZ, "\x80\0\0\0\0\0\0\0", 8);
    refuse(COLUMN_JSONB, "\1", 1);
    refuse(COLUMN_JSONB, "\2{}", 3);
    refuse(COLUMN_JSON, "", 0);
    refuse(COLUMN_NUMERIC, "\0\0\0\0\xc0\0\0\0", 8);        /* NaN */
    refuse(COLUMN_NUMERIC, "\0\1\0\0\0\0\0\0", 8);          /* a group is missing */
    refuse(COLUMN_NUMERIC, "\0\0\0\0\0\0\0\0\0\1", 10);     /* one too many */
    refuse(COLUMN_NUMERIC, "\0\1\0\0\0\0\0\0\x27\x10", 10); /* 10000 in a group of four digits */
}

static void numerics_of_any_header_stay_within_their_bounds(void **state)
{
    (void)state;
    for (unsigned weight = 0; weight < 0x10000; weight += 257)
        for (unsigned scale = 0; scale < 0x4000; scale += 511) {
            uint8_t bytes[] = {0, 1, (uint8_t)(weight >> 8), (uint8_t)weight,
                               0, 0, (uint8_t)(scale >> 8),  (uint8_t)scale,
                               0, 7};
            struct span numeric = span_of(bytes, sizeof bytes);
            size_t room = decimal_text_bytes_max(numeric);
            char *out = malloc(room);
            size_t length = decimal_text(numeric, out);
            assert_true(length > 0 && length <= room);
            struct decimal decimal;
            assert_true(decimal_read(span_of(out, length), &decimal));
            free(out);
        }
}

/* Whether it says its columns' types or is an older one. */
static void check_statement(struct span good, bool typed)
{
    struct copy_statement statement;
    assert_true(copy_statement_read(good, &statement));
    assert_int_equal(statement.typed, typed);
    assert_true(span_is(statement.table, "\"a b\".\"t\"\"\""));
    assert_int_equal(statement.columns, 3);
    assert_string_equal(statement.column[0], "n");
    assert_string_equal(statement.column[1], "o\",\"");
    assert_string_equal(statement.column[2], "SELECT");
    for (size_t cut = 0; cut < good.length; cut++) {
        uint8_t *part = unit_edge_copy((const char *)good.at, cut);
        assert_false(copy_statement_read(span_of(part, cut), &statement));
        unit_edge_free(part, cut);
    }
    if (!typed)
        return;
    assert_int_equal(statement.type[0], COLUMN_BIGINT);
    assert_int_equal(statement.type[1], COLUMN_JSON);
    assert_int_equal(statement.type[2], COLUMN_DOUBLE);
}

static void statements(void **state)
{
    (void)state;
    struct copy_statement statement;
    check_statement(SPAN("COPY \"a b\".\"t\"\"\" (\"n\",\"o\"\",\"\"\",\"SELECT\") "
                         "FROM STDIN (FORMAT binary)"),
                    false);
    check_statement(SPAN("COPY \"a b\".\"t\"\"\" (\"n\"/*bigint*/,\"o\"\",\"\"\"/*json*/,"
                         "\"SELECT\"/*double precision*/) FROM STDIN (FORMAT binary)"),
                    true);
    static const char *const bad[] = {
        "COPY t (n) FROM STDIN (FORMAT binary)",
        "COPY \"t\" (\"n\") FROM STDIN (FORMAT binary);",
        "COPY \"t\" (\"n\") FROM STDIN (FORMAT binary); drop table t",
        "COPY \"t\" (\"n\") FROM PROGRAM 'x' (FORMAT binary)",
        "COPY \"t\" (\"n\") TO STDOUT (FORMAT binary)",
        "COPY \"t\" (\"n\" ) FROM STDIN (FORMAT binary)",
        "COPY \"t\" (\"\") FROM STDIN (FORMAT binary)",
        "COPY \"t\" () FROM STDIN (FORMAT binary)",
        "COPY \"t\".\"u\".\"v\" (\"n\") FROM STDIN (FORMAT binary)",
        "COPY \"t\" (\"n\") FROM STDIN (FORMAT binary) ",
        "COPY \"t\" (\"n\"/*bigint*/,\"m\") FROM STDIN (FORMAT binary)",
        "COPY \"t\" (\"n\",\"m\"/*bigint*/) FROM STDIN (FORMAT binary)",
        "COPY \"t\" (\"n\"/*bigints*/) FROM STDIN (FORMAT binary)",
        "COPY \"t\" (\"n\"/**/) FROM STDIN (FORMAT binary)",
        "COPY \"t\" (\"n\"/*bigint/*) FROM STDIN (FORMAT binary)",
    };
    for (unsigned i = 0; i < COUNT_OF(bad); i++)
        assert_false(copy_statement_read(span_of_string(bad[i]), &statement));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_comes_back),
        cmocka_unit_test(numbers_come_back),
        cmocka_unit_test(the_rest_is_hexadecimal),
        cmocka_unit_test(values_that_are_none),
        cmocka_unit_test(numerics_of_any_header_stay_within_their_bounds),
        cmocka_unit_test(statements),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
