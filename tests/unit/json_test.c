/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every text is read whole and cut at every byte, each time ending at an unmapped page. The cases
 * follow the grammar of RFC 8259 rule by rule, and cover what JSONTestSuite tries.
 */
#include "proto/json.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

/* A page-sized run of bytes before an unmapped page: a text is put so that it ends there. */
enum { EDGE_BYTES = 1 << 18 };
static uint8_t *edge;

static int map_edge(void **state)
{
    (void)state;
    edge = unit_edge(EDGE_BYTES);
    return 0;
}

static int unmap_edge(void **state)
{
    (void)state;
    unit_edge_free(edge, EDGE_BYTES);
    return 0;
}

static struct span at_edge(const void *bytes, size_t length)
{
    assert_true(length <= EDGE_BYTES);
    uint8_t *at = edge + EDGE_BYTES - length;
    if (length > 0)
        memmove(at, bytes, length);
    return span_of(at, length);
}

static int judge(struct span text)
{
    struct json_value value;
    size_t fault = SIZE_MAX;
    int error = json_document(at_edge(text.at, text.length), &value, &fault);
    if (error != JSON_OK)
        assert_true(fault <= text.length);
    return error;
}

/* Every proper beginning of a string, array or object is told apart as cut short. */
static void check_cuts(struct span text)
{
    size_t begin = 0;
    while (strchr(" \t\r\n", text.at[begin]) != NULL)
        begin++;
    bool bracketed = strchr("[{\"", text.at[begin]) != NULL;
    size_t value_end = text.length;
    while (strchr(" \t\r\n", text.at[value_end - 1]) != NULL)
        value_end--;
    for (size_t cut = 0; bracketed && cut < value_end; cut++) {
        if (judge(span_of(text.at, cut)) != JSON_TRUNCATED)
            fail_msg("%zu bytes of %.*s", cut, SPAN_ARGS(text));
    }
}

/* Padding moves the text over every alignment to the 16 bytes that are read at a time. */
static void accepts_span(struct span text)
{
    uint8_t padded[4096 + 40];
    assert_true(text.length <= 4096);
    for (size_t pad = 0; pad < 34; pad++) {
        memset(padded, ' ', pad);
        memcpy(padded + pad, text.at, text.length);
        if (judge(span_of(padded, pad + text.length)) != JSON_OK)
            fail_msg("should be accepted: %.*s", SPAN_ARGS(text));
    }
    check_cuts(text);
}

static void refuses_span(struct span text)
{
    uint8_t padded[4096 + 40];
    assert_true(text.length <= 4096);
    for (size_t pad = 0; pad < 34; pad++) {
        memset(padded, ' ', pad);
        memcpy(padded + pad, text.at, text.length);
        if (judge(span_of(padded, pad + text.length)) == JSON_OK)
            fail_msg("should be refused: %.*s", SPAN_ARGS(text));
    }
}

/* Each of the texts between the bars. */
static void judge_all(const char *texts, void (*judge_span)(struct span text))
{
    for (;;) {
        size_t length = strcspn(texts, "|");
        judge_span(span_of(texts, length));
        if (texts[length] == '\0')
            break;
        texts += length + 1;
    }
}

static void accepts_all(const char *texts)
{
    judge_all(texts, accepts_span);
}

static void refuses_all(const char *texts)
{
    judge_all(texts, refuses_span);
}

static void test_structure(void **state)
{
    (void)state;
    accepts_all(
        "[]|{}|[[]   ]|[\"\"]|[ 4]| [1]|[2] |[1\n]|[null, 1, \"1\", {}]|[1,null,null,null,2]|"
        "{\"a\":[]}|{\"\":0}|{\n\"a\": \"b\"\n}|[true]|\r\n\t[] |{\"a\":\"b\",\"a\":\"c\"}|"
        "{\"a\":{\"b\":[{\"c\":[[],[{}]]}]},\"d\":{}}|true|false|null|42|-0.1|\"asd\"|\"\"|"
        "[false,true]|[\t1\r,\n2 ]|"
        "{\"x\":[{\"id\": \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}], \"id\": "
        "\"xxxxxxxxxxxxxx\"}");
    refuses_all(
        " |[|]|{|}|[1 true]|[\"\": 1]|[\"\"],|[,1]|[1,,2]|[\"x\",,]|[\"x\"]]|[\"\",]|[\"x\"|"
        "[x|[3[4]]|[1:2]|[,]|[   , \"\"]|[1,]|[1,,]|[\"a\",\n4\n,1,|[*]|[1,|[{}|{[: \"x\"}|"
        "{\"x\", null}|{\"x\"::\"b\"}|{\"a\":\"a\" 123}|{key: 'value'}|{\"a\" b}|{:\"b\"}|"
        "{\"a\" \"b\"}|{\"a\":|{\"a\"|{1:1}|{9999E9999:1}|{null:null,null:null}|"
        "{\"id\":0,,,,,}|{'a':0}|{\"id\":0,}|{\"a\":\"b\"}/**/|{\"a\":\"b\"}//|"
        "{\"a\":\"b\"}/|{\"a\":\"b\",,\"c\":\"d\"}|{a: \"b\"}|{\"a\":\"a|"
        "{ \"foo\" : \"bar\", \"a\" }|{\"a\":\"b\"}#|<.>|[<null>]|[1]x|[1]]|[\"asd]|1]|"
        "{\"x\": true,|[][]|2@|{}}|{\"\":|{\"a\":/*c*/\"b\"}|{\"a\": true} \"x\"|['|[,|[{|"
        "[\"a|{]|{,|{[|{\"a|{'a'|*|[\"\\{[\"\\{[\"\\{[\"\\{|{\"a\":\"b\"}#{}|[\\u000A\"\"]|"
        "[}|{\"a\":1]|[1}|[{\"a\":1]}|{\"a\":[1}]|[\f]|[\v1]|[1]\f|[\xC2\xA0]|[\xE2\x80\xA9]|"
        "\xEF\xBB\xBF{}|\xEF\xBB\xBF|\xFF\xFE[\x01|{}{}|1 2|\"a\"\"b\"|[undefined]|"
        "{\"a\":1;\"b\":2}|{{}}|{[]}|{\"a\":}|[:]|{\"a\":1:2}|{,\"a\":1}");
    refuses_span(SPAN(""));
    refuses_span(SPAN("[\0]"));
    refuses_span(SPAN("[]\0"));
    refuses_span(SPAN("\0[]"));
    refuses_span(SPAN("[1\0]"));
    refuses_span(SPAN("{\"a\":1\0}"));
}

static void test_literals(void **state)
{
    (void)state;
    refuses_all(
        "[fals]|[nul]|[tru]|True|[True]|TRUE|nulL|truth|[\"x\", truth]|falsey|nan|NaN|[NaN]|"
        "Infinity|[Inf]|[ false, nul|[ true, fals|t|n|truefalse|abc|[n]");
}

static void test_numbers(void **state)
{
    (void)state;
    accepts_all(
        "0|-0|-1|9|123|[-123]|0.0|1.5|-0.5|0e1|0e+1|0E-1|1E22|1E-2|1E+2|123e45|20e1|1e-2|"
        "1e007|[123e65]|0.1e00|-1.0e+28|123.456e78|10.010|"
        "1234567890123456789012345678901234567890|[123.456789]|[1,2.5,-3e4]|1 | 1\n|"
        "-0.000000000000000000000000000000000000000000000000000000000000000000000000000001");
    refuses_all("+1|++1|-|-01|01|00|-012|012|1.|-1.0.|-2.|.1|.-1|-.123|.2e-3|0.1.2|0.3e+|0.3e|0.e1|"
                "0E+|0E|0e+|0e|1.0e+|1.0e-|1.0e|1 000.0|1eE2|2.e+3|2.e-3|2.e3|9.e+|1+2|0x1|0x42|"
                "0e+-1|-1x|1ea|1.2a-3|- 1|-foo|-NaN|-Infinity|-00.0|00e0|-123.123foo|"
                "1.8011670033376514H-308|1_000|1e1.5|1e1e1|\xEF\xBC\x91|--1|[1e1\xE5]|[123\xE5]|"
                "[0\xE5]|[1e\xE5]|[-]|[1.]|[1e]|1a|0a");
    const struct {
        const char *text;
        int error;
    } ends[] = {{"-", JSON_TRUNCATED},   {"1.", JSON_TRUNCATED}, {"1e", JSON_TRUNCATED},
                {"1e+", JSON_TRUNCATED}, {"[1", JSON_TRUNCATED}, {"tru", JSON_TRUNCATED},
                {"1.x", JSON_INVALID},   {"[1x", JSON_INVALID},  {"", JSON_TRUNCATED}};
    for (size_t i = 0; i < COUNT_OF(ends); i++)
        assert_int_equal(judge(span_of_string(ends[i].text)), ends[i].error);
}

static void test_strings(void **state)
{
    (void)state;
    accepts_all(
        "[\"\\u0060\\u012a\\u12AB\"]|[\"\\uD801\\udc37\"]|[\"\\ud83d\\ude39\\ud83d\\udc8d\"]|"
        "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]|[\"\\\\u0000\"]|[\"\\\"\"]|[\"a/*b*/c/*d//e\"]|"
        "[\"\\\\a\"]|[\"\\u0012\"]|[\"\\uFFFF\"]|[\"\\uDBFF\\uDFFF\"]|[\"new\\u000Aline\"]|"
        "{\"foo\\u0000bar\": 42}|[\"\x7F\"]|[\"\\u0022\\u005C\"]|\"\\uD834\\uDd1e\"|"
        "\"0123456789abcde\\n0123456789abcde\\\"0123456789abcde\\u00e9x\"|"
        "\"12345678901234567890123456789012345678901234567890\"");
    refuses_all(
        "[\"\\x00\"]|[\"\\uD800\\\"]|[\"\\uD800\\u\"]|[\"\\uD800\\u1\"]|[\"\\uD800\\u1x\"]|"
        "[\"\\\\\\\"]|[\"\\\t\"]|[\"\\\"]|[\"\\u00A\"]|[\"\\uD834\\uDd\"]|"
        "[\"\\uD800\\uD800\\x\"]|[\"\\a\"]|[\"\\uqqqq\"]|[\\u0020\"asd\"]|[\\n]|\"|"
        "['single quote']|[\"\\|[\"new\nline\"]|[\"\t\"]|\\UA66D|\"\"x|[\"\\U0041\"]|"
        "[\"\\u 041\"]|[\"\\u-041\"]|[\"\\u00G0\"]|[\"\\0\"]|[\"\\'\"]|[\"\x1F\"]|[\"\x01\"]|"
        "[\"a\rb\"]|[\"\\\xF0\x9F\x8C\x80\"]|[\"\\\n\"]|[\"\\u00\xE5\"]");
    refuses_span(SPAN("[\"a\0a\"]"));
    refuses_span(SPAN("[\"\\\0\"]"));
}

/* Every control character and every plain byte,
 * at every place of a string longer than two reads. */
static void test_every_byte_at_every_place(void **state)
{
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        for (size_t place = 1; place < 41; place++) {
            uint8_t text[42];
            memset(text, 'x', sizeof text);
            text[0] = text[41] = '"';
            text[place] = (uint8_t)byte;
            bool fine = byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
            assert_int_equal(judge(span_of(text, sizeof text)) == JSON_OK, fine);
        }
    }
}

/* RFC 3629 by code points rather than by bytes: the model.
 * How long the character at `at` is, 0: it is none. */
static size_t character(const uint8_t *at, size_t length)
{
    static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned size = at[0] < 0x80 ? 1 : at[0] < 0xC0 ? 0 : at[0] < 0xE0 ? 2 : at[0] < 0xF0 ? 3 : 4;
    if (size == 0 || size > length || at[0] >= 0xF8)
        return 0;
    unsigned code = size == 1 ? at[0] : at[0] & (0x7Fu >> size);
    for (size_t i = 1; i < size; i++) {
        if ((at[i] & 0xC0) != 0x80)
            return 0;
        code = code << 6 | (at[i] & 0x3F);
    }
    bool fine = code >= least[size] && code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF);
    return fine ? size : 0;
}

static bool is_utf8(const uint8_t *at, size_t length)
{
    size_t used = 0;
    while (used < length) {
        size_t size = character(at + used, length - used);
        if (size == 0)
            return false;
        used += size;
    }
    return true;
}

static void check_utf8(const uint8_t *bytes, size_t length)
{
    uint8_t text[8] = {'"'};
    memcpy(text + 1, bytes, length);
    text[length + 1] = '"';
    if ((judge(span_of(text, length + 2)) == JSON_OK) != is_utf8(bytes, length))
        fail_msg("%zu bytes: %02x %02x %02x %02x", length, bytes[0], bytes[1], bytes[2], bytes[3]);
}

/* Every pair of bytes; behind every lead byte the continuation bytes around each border. */
static void test_utf8(void **state)
{
    (void)state;
    static const uint8_t tails[] = {0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF};
    for (unsigned first = 0x80; first < 256; first++) {
        for (unsigned second = 0x80; second < 256; second++)
            check_utf8((const uint8_t[]){(uint8_t)first, (uint8_t)second, 0, 0}, 2);
        for (size_t i = 0; i < COUNT_OF(tails); i++) {
            for (size_t j = 0; j < COUNT_OF(tails); j++) {
                uint8_t bytes[4] = {(uint8_t)first, tails[i], tails[j], 0x80};
                check_utf8(bytes, 3);
                check_utf8(bytes, 4);
                bytes[3] = tails[(i + j) % COUNT_OF(tails)];
                check_utf8(bytes, 4);
            }
        }
    }
    accepts_span(SPAN("{\"Жёлтый\":\"€ 漢字 😀 ÿ\",\"é\":[\"ab𝄞cdefghijklmnopqrstuvwxyz\"]}"));
}

static unsigned flaws_of(struct span text)
{
    struct json_value value;
    size_t fault;
    assert_int_equal(json_document(at_edge(text.at, text.length), &value, &fault), JSON_OK);
    return value.flaws;
}

static void test_flaws_of_strings(void **state)
{
    (void)state;
    const struct {
        const char *text;
        unsigned flaws;
    } cases[] = {
        {"[\"plain\"]", 0},
        {"[\"\\u0000\"]", JSON_HAS_NUL},
        {"{\"a\\u0000\":1}", JSON_HAS_NUL},
        {"[\"\\\\u0000\"]", 0},
        {"[\"\\u0001\"]", 0},
        {"[\"\\uD800\"]", JSON_HAS_LONE_SURROGATE},
        {"[\"\\uDFFF\"]", JSON_HAS_LONE_SURROGATE},
        {"[\"\\uD834\\uDD1E\"]", 0},
        {"[\"\\uDD1E\\uD834\"]", JSON_HAS_LONE_SURROGATE},
        {"[\"\\uD834x\"]", JSON_HAS_LONE_SURROGATE},
        {"[\"\\uD834\\n\"]", JSON_HAS_LONE_SURROGATE},
        {"[\"\\uD834\\u0041\"]", JSON_HAS_LONE_SURROGATE},
        {"[\"\\uD834\\uD834\"]", JSON_HAS_LONE_SURROGATE},
        {"[\"\\uD800\\uD834\\uDD1E\"]", JSON_HAS_LONE_SURROGATE},
        {"[\"\\uD800\\u0000\"]", JSON_HAS_LONE_SURROGATE | JSON_HAS_NUL},
        {"{\"\\udc00\":{\"b\":[\"\\u0000\",1e999999]}}",
         JSON_HAS_LONE_SURROGATE | JSON_HAS_NUL | JSON_HAS_HUGE_NUMBER},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(flaws_of(span_of_string(cases[i].text)), cases[i].flaws);
}

/* The borders as a Postgres 15 draws them: select '…'::jsonb, SQLSTATE 22003. */
static void test_huge_numbers(void **state)
{
    (void)state;
    static const char *const fine[] = {
        "1e131071",      "-9.9e131071",    "12e131070",       "0.1e131072", "0.001e131074",
        "0e999999999",   "0.0e1073741822", "1e-16383",        "0e-16383",   "1.5e-16382",
        "123.45e-16381", "0.00e-16381",    "1e0000000000001", "-0e131072",  "1e-0",
        "100e131069",    "1.000e+131071",  "0e1073741822",    NULL};
    static const char *const huge[] = {"1e131072",
                                       "-1E+131072",
                                       "10e131071",
                                       "0.1e131073",
                                       "0.001e131075",
                                       "1e-16384",
                                       "0e-16384",
                                       "1.5e-16383",
                                       "0.0e-16383",
                                       "0e1073741823",
                                       "0e-1073741823",
                                       "1e99999999999999999999999",
                                       "-1e-99999999999999999999999",
                                       "1e2147483648",
                                       "100e131070",
                                       "0e9223372036854775808",
                                       NULL};
    for (size_t i = 0; fine[i] != NULL; i++) {
        if (flaws_of(span_of_string(fine[i])) != 0)
            fail_msg("fits: %s", fine[i]);
    }
    for (size_t i = 0; huge[i] != NULL; i++) {
        if (flaws_of(span_of_string(huge[i])) != JSON_HAS_HUGE_NUMBER)
            fail_msg("does not fit: %s", huge[i]);
    }
}

/* `before`, then `count` digits, then `behind`. */
static unsigned flaws_of_long(const char *before, size_t count, const char *behind)
{
    size_t head = strlen(before), tail = strlen(behind);
    uint8_t *text = malloc(head + count + tail);
    assert_non_null(text);
    memcpy(text, before, head);
    memset(text + head, '1', count);
    memcpy(text + head + count, behind, tail);
    unsigned flaws = flaws_of(span_of(text, head + count + tail));
    free(text);
    return flaws;
}

static void test_long_numbers(void **state)
{
    (void)state;
    assert_int_equal(flaws_of_long("-", 131072, ""), 0);
    assert_int_equal(flaws_of_long("", 131073, ""), JSON_HAS_HUGE_NUMBER);
    assert_int_equal(flaws_of_long("0.", 16383, ""), 0);
    assert_int_equal(flaws_of_long("0.", 16384, ""), JSON_HAS_HUGE_NUMBER);
    assert_int_equal(flaws_of_long("0.", 16384, "e1"), 0);
    assert_int_equal(flaws_of_long("7", 131071, ".5"), 0);
    assert_int_equal(flaws_of_long("7", 131072, ".5"), JSON_HAS_HUGE_NUMBER);
    assert_int_equal(flaws_of_long("", 131072, "e1"), JSON_HAS_HUGE_NUMBER);
    assert_int_equal(flaws_of_long("", 131073, "e-1"), 0);
}

static int nested(unsigned depth, const char *open, const char *close)
{
    uint8_t text[JSON_DEPTH_MAX * 12];
    size_t length = 0;
    for (unsigned i = 0; i < depth; i++) {
        memcpy(text + length, open, strlen(open));
        length += strlen(open);
    }
    text[length++] = '1';
    for (unsigned i = 0; i < depth; i++) {
        memcpy(text + length, close, strlen(close));
        length += strlen(close);
    }
    return judge(span_of(text, length));
}

static void test_depth(void **state)
{
    (void)state;
    assert_int_equal(nested(64, "[", "]"), JSON_OK);
    assert_int_equal(nested(65, "[", "]"), JSON_TOO_DEEP);
    assert_int_equal(nested(64, "{\"a\":", "}"), JSON_OK);
    assert_int_equal(nested(65, "{\"a\":", "}"), JSON_TOO_DEEP);
    assert_int_equal(nested(32, "[{\"\":", "}]"), JSON_OK);
    assert_int_equal(nested(33, "[{\"\":", "}]"), JSON_TOO_DEEP);
    assert_int_equal(nested(64, "[[],", "]"), JSON_TOO_DEEP);
    assert_int_equal(nested(63, "[[],", "]"), JSON_OK);
    assert_int_equal(nested(60, "[", "}"), JSON_INVALID);
    uint8_t brackets[100000];
    memset(brackets, '[', sizeof brackets);
    assert_int_equal(judge(span_of(brackets, sizeof brackets)), JSON_TOO_DEEP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_structure),
        cmocka_unit_test(test_literals),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_every_byte_at_every_place),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_flaws_of_strings),
        cmocka_unit_test(test_huge_numbers),
        cmocka_unit_test(test_long_numbers),
        cmocka_unit_test(test_depth),
    };
    return cmocka_run_group_tests(tests, map_edge, unmap_edge);
}
