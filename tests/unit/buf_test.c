/* SPDX-License-Identifier: Apache-2.0 */
#include "core/buf.h"
#include "tests/unit/unit.h"

static void test_grows_to_its_bound(void **state)
{
    (void)state;
    struct buf buf = {.max = 1000};
    for (unsigned i = 0; i < 1000; i++)
        assert_true(buf_put(&buf, &(uint8_t){(uint8_t)i}, 1));
    assert_false(buf_put(&buf, "x", 1));
    assert_null(buf_room(&buf, SIZE_MAX));
    assert_true(buf_put(&buf, NULL, 0));
    assert_int_equal(buf.length, 1000);
    assert_int_equal(buf.capacity, 1000);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(buf.at[i], (uint8_t)i);

    buf_drop(&buf, 999);
    assert_int_equal(buf.length, 1);
    assert_int_equal(buf.at[0], (uint8_t)999);
    buf_fini(&buf);
    assert_null(buf.at);
    assert_true(buf_put(&buf, "again", 5));
    buf_fini(&buf);
}

static void test_room(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 64);
    assert_non_null(buf_room(&buf, 0));
    uint8_t *room = buf_room(&buf, 64);
    assert_non_null(room);
    memset(room, 'r', 64);
    buf_grew(&buf, 10);
    assert_true(span_is(buf_span(&buf), "rrrrrrrrrr"));
    assert_null(buf_room(&buf, 55));
    buf_fini(&buf);
}

static void test_print(void **state)
{
    (void)state;
    struct buf buf = {.max = 16};
    assert_true(buf_print(&buf, "%s=%d", "seven", 7));
    assert_true(span_is(buf_span(&buf), "seven=7"));
    assert_false(buf_print(&buf, "%s", "too long for it"));
    assert_true(span_is(buf_span(&buf), "seven=7"));
    buf_fini(&buf);
}

/* Behind any length, so also where it ends with the room that there is, or one byte before or behind. */
static void test_print_anywhere(void **state)
{
    (void)state;
    for (size_t before = 0; before < 600; before++) {
        struct buf buf = {.max = 1024};
        uint8_t *room = buf_room(&buf, before);
        assert_non_null(room);
        memset(room, 'x', before);
        buf_grew(&buf, before);
        assert_true(buf_print(&buf, "%s=%d", "seven", 7));
        assert_int_equal(buf.length, before + 7);
        assert_memory_equal(buf.at + before, "seven=7", 7);
        assert_true(before == 0 || buf.at[before - 1] == 'x');
        buf_fini(&buf);
    }
}

static void test_numbers(void **state)
{
    (void)state;
    struct buf buf = {.max = 256};
    assert_true(buf_put_number(&buf, 0) && buf_put(&buf, " ", 1) && buf_put_number(&buf, 9) &&
                buf_put(&buf, " ", 1) && buf_put_number(&buf, 10) && buf_put(&buf, " ", 1) &&
                buf_put_number(&buf, UINT64_MAX));
    assert_true(span_is(buf_span(&buf), "0 9 10 18446744073709551615"));
    buf_fini(&buf);
}

static void check_json(struct span text, const char *expected)
{
    uint8_t *edge = unit_edge_copy(text.at, text.length);
    struct buf buf = {.max = 4096};
    assert_true(buf_put_json(&buf, span_of(edge, text.length)));
    if (!span_is(buf_span(&buf), expected))
        fail_msg("got %.*s, expected %s", SPAN_ARGS(buf_span(&buf)), expected);

    /* Whatever the bound: all of it or nothing. */
    struct buf small = {.max = 0};
    for (size_t max = 0; max < buf.length; max++) {
        small.max = max;
        assert_false(buf_put_json(&small, span_of(edge, text.length)));
        assert_int_equal(small.length, 0);
    }
    buf_fini(&small);
    buf_fini(&buf);
    unit_edge_free(edge, text.length);
}

#define BAD "\xEF\xBF\xBD"

static void test_json(void **state)
{
    (void)state;
    check_json(SPAN(""), "\"\"");
    check_json(SPAN("plain"), "\"plain\"");
    check_json(SPAN("a\"b\\c"), "\"a\\\"b\\\\c\"");
    check_json(SPAN("\n\r\t\x01\x1f\0"), "\"\\n\\r\\t\\u0001\\u001f\\u0000\"");
    check_json(SPAN("\x7f"), "\"\x7f\"");
    check_json(SPAN("grün € 𝄞"), "\"grün € 𝄞\"");
    /* RFC 3629: overlong, surrogate, above U+10FFFF, cut short, a continuation alone */
    check_json(SPAN("\xC0\xAF"), "\"" BAD BAD "\"");
    check_json(SPAN("\xE0\x80\xAF"), "\"" BAD BAD BAD "\"");
    check_json(SPAN("\xED\xA0\x80"), "\"" BAD BAD BAD "\"");
    check_json(SPAN("\xF4\x90\x80\x80"), "\"" BAD BAD BAD BAD "\"");
    check_json(SPAN("\xF0\x9D\x84"), "\"" BAD BAD BAD "\"");
    check_json(SPAN("\xE2\x82"), "\"" BAD BAD "\"");
    check_json(SPAN("\x80x\xFF"), "\"" BAD "x" BAD "\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grows_to_its_bound),
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_print),
        cmocka_unit_test(test_print_anywhere),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
