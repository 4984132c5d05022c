/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "batch/sql.h"

static void check_text(struct span text, const char *wanted)
{
    size_t length = strlen(wanted);
    for (size_t most = 0; most <= length; most++) { /* the buffer is full at every byte */
        struct buf sql = {.max = most};
        bool fits = sql_put_text(&sql, text);
        assert_int_equal(fits, most == length);
        assert_int_equal(sql.length, fits ? length : 0);
        if (fits)
            assert_memory_equal(sql.at, wanted, length);
        buf_fini(&sql);
    }
}

static void test_text(void **state)
{
    (void)state;
    check_text(span_of_string(""), " E''");
    check_text(span_of_string("plain"), " E'plain'");
    check_text(span_of_string("it's"), " E'it''s'");
    check_text(span_of_string("a\\b"), " E'a\\\\b'");
    check_text(span_of_string("'\\'"), " E'''\\\\'''");
    check_text(span_of_string("\xc3\xa9"), " E'\xc3\xa9'");
}

/* Postgres takes no NUL. */
static void test_nul(void **state)
{
    (void)state;
    struct buf sql = {.max = 100};
    assert_true(sql_put_text(&sql, span_of("a\0b", 3)));
    assert_int_equal(sql.length, 6);
    assert_memory_equal(sql.at, " E'ab'", 6);
    buf_fini(&sql);
}

static void test_bytes(void **state)
{
    (void)state;
    struct buf sql = {.max = 100};
    assert_true(sql_put_bytes(&sql, span_of("\x00\xff\x2a", 3)));
    assert_int_equal(sql.length, strlen(" E'\\\\x00ff2a'::bytea"));
    assert_memory_equal(sql.at, " E'\\\\x00ff2a'::bytea", sql.length);
    buf_fini(&sql);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_nul),
        cmocka_unit_test(test_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
