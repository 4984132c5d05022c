/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is done with JSON: its values told apart, walked, decoded, found by path.
 */
#include "proto/json.h"
#include "tests/unit/unit.h"

static void test_value_and_fault(void **state)
{
    (void)state;
    struct json_value value;
    size_t fault = 0;
    struct span text = SPAN(" \t{\"a\":[1,2]} , rest");
    assert_int_equal(json_value(text, &value, &fault), 13);
    assert_true(span_is(value.text, "{\"a\":[1,2]}"));
    assert_int_equal(value.kind, JSON_OBJECT);
    assert_int_equal(json_document(text, &value, &fault), JSON_INVALID);
    assert_int_equal(fault, 14);
    assert_int_equal(json_value(SPAN("\"a\\n\"x"), &value, &fault), 5);
    assert_int_equal(value.kind, JSON_STRING);
    assert_true(value.escaped);
    const enum json_kind kinds[] = {JSON_NULL,   JSON_FALSE, JSON_TRUE,  JSON_NUMBER,
                                    JSON_STRING, JSON_ARRAY, JSON_OBJECT};
    static const char *const texts[] = {"null", "false", "true", "-1", "\"\"", "[]", "{}"};
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        assert_int_equal(json_document(span_of_string(texts[i]), &value, &fault), JSON_OK);
        assert_int_equal(value.kind, kinds[i]);
        assert_false(value.escaped);
    }
    assert_int_equal(json_document(SPAN("{\"a\":tru}"), &value, &fault), JSON_INVALID);
    assert_int_equal(fault, 8);
    assert_int_equal(json_document((struct span){NULL, 0}, &value, &fault), JSON_TRUNCATED);
}

static void test_walk(void **state)
{
    (void)state;
    struct json_walk walk = json_walk(SPAN("{ \"a\" : 1 , \"b\\n\":[2,\"x\"],\"\":{}}"));
    struct span name;
    struct json_value member;
    assert_true(json_next(&walk, &name, &member));
    assert_true(span_is(name, "a") && span_is(member.text, "1") && !walk.name_escaped);
    assert_true(json_next(&walk, &name, &member));
    assert_true(span_is(name, "b\\n") && member.kind == JSON_ARRAY && walk.name_escaped);
    struct json_walk inner = json_walk(member.text);
    assert_true(json_next(&walk, &name, &member));
    assert_true(name.at != NULL && name.length == 0 && member.kind == JSON_OBJECT);
    assert_false(json_next(&walk, &name, &member));
    assert_false(json_next(&walk, &name, &member));
    assert_true(json_next(&inner, &name, &member));
    assert_true(name.at == NULL && span_is(member.text, "2"));
    assert_true(json_next(&inner, &name, &member));
    assert_true(span_is(member.text, "\"x\""));
    assert_false(json_next(&inner, &name, &member));
    walk = json_walk(SPAN("{\"\\u0000\":\"plain\",\"plain\":\"\\n\\u0000\",\"c\":\"\"}"));
    assert_true(json_next(&walk, &name, &member));
    assert_true(walk.name_escaped && !member.escaped && member.flaws == 0);
    assert_true(json_next(&walk, &name, &member));
    assert_true(!walk.name_escaped && member.escaped && member.flaws == JSON_HAS_NUL);
    assert_true(json_next(&walk, &name, &member));
    assert_true(!walk.name_escaped && !member.escaped && member.flaws == 0);
    walk = json_walk(SPAN("[ ]"));
    assert_false(json_next(&walk, &name, &member));
}

static void check_unescape(const char *inside, const char *expected)
{
    uint8_t text[256];
    memcpy(text, inside, strlen(inside));
    size_t length = json_unescape(span_of(text, strlen(inside)), text);
    if (!span_is(span_of(text, length), expected))
        fail_msg("%s became %.*s", inside, (int)length, (const char *)text);
}

static void test_unescape(void **state)
{
    (void)state;
    check_unescape("", "");
    check_unescape("plain", "plain");
    check_unescape("\\\"\\\\\\/\\b\\f\\n\\r\\t", "\"\\/\b\f\n\r\t");
    check_unescape("a\\u0041\\u00e9\\u20AC\\uD83D\\uDE00z", "aAé€😀z");
    check_unescape("\\u000a\\u007F\\u0080\\u07ff\\u0800\\uffff",
                   "\n\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80"
                   "\xEF\xBF\xBF");
    check_unescape("\\uDBFF\\uDFFF\\uD800\\uDC00", "\xF4\x8F\xBF\xBF\xF0\x90\x80\x80");
    check_unescape("漢\\n字", "漢\n字");
    check_unescape("\\\\u0041", "\\u0041");
}

static void check_find(const char *object, const char *path, const char *expected)
{
    struct json_value found;
    bool there = json_find(span_of_string(object), path, &found);
    assert_int_equal(there, expected != NULL);
    if (there && !span_is(found.text, expected))
        fail_msg("%s in %s: %.*s", path, object, SPAN_ARGS(found.text));
}

static void test_find(void **state)
{
    (void)state;
    const char *order = "{\"order\":{\"id\":5,\"id\":7,\"tags\":[1]},\"a\":{},\"a\":{\"b\":null}}";
    check_find(order, "order.id", "7");
    check_find(order, "order.tags", "[1]");
    check_find(order, "a.b", "null");
    check_find(order, "a", "{\"b\":null}");
    check_find(order, "order.none", NULL);
    check_find(order, "order.id.x", NULL);
    check_find(order, "order.tags.0", NULL);
    check_find(order, "orde", NULL);
    check_find(order, "order.", NULL);
    check_find("{\"\":{\"\":3}}", ".", "3");
    check_find("{\"\\u0061\\n\\uD83D\\uDE00\":1}", "a\n😀", "1");
    check_find("{\"\\u0061b\":1}", "a", NULL);
    check_find("{\"\\u0061\":1}", "ab", NULL);
    check_find("{\"a\":1,\"\\u0061\":2}", "a", "2");
    check_find("{\"\\uD800\":1}", "x", NULL);
    check_find("[1]", "a", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_value_and_fault),
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_unescape),
        cmocka_unit_test(test_find),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
