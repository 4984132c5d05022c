/* SPDX-License-Identifier: Apache-2.0 */
#include "core/command.h"
#include "core/nearest.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

static const struct command_option options[] = {
    {'c', "config", "FILE", "Configuration to read."},
    {'v', "verbose", NULL, "Say more."},
    {'q', NULL, NULL, "Say less."},
    {1, "only-a-name", "N", "Has no letter."},
};

struct expected {
    int option;
    const char *value; /* or the sentence of COMMAND_WRONG */
};

static void check(const char *const *arguments, const struct expected *expected)
{
    struct command_line line = {.arguments = (char *const *)(uintptr_t)arguments,
                                .options = options,
                                .options_count = COUNT_OF(options)};
    for (;; expected++) {
        int option = command_next(&line);
        assert_int_equal(option, expected->option);
        if (option == COMMAND_END)
            return;
        const char *value = option == COMMAND_WRONG ? line.wrong : line.value;
        if (expected->value == NULL)
            assert_null(value);
        else
            assert_string_equal(value, expected->value);
    }
}

#define CHECK(arguments, ...)                                                                      \
    check((const char *const[]){REMOVE_PARENTHESES arguments, NULL},                               \
          (const struct expected[]){__VA_ARGS__, {COMMAND_END, NULL}})
#define REMOVE_PARENTHESES(...) __VA_ARGS__

static void test_forms(void **state)
{
    (void)state;
    check((const char *const[]){NULL}, (const struct expected[]){{COMMAND_END, NULL}});
    CHECK(("-c", "x"), {'c', "x"});
    CHECK(("-cx"), {'c', "x"});
    CHECK(("--config=x"), {'c', "x"});
    CHECK(("--config="), {'c', ""});
    CHECK(("--config", "x"), {'c', "x"});
    CHECK(("--only-a-name", "-5"), {1, "-5"});
    CHECK(("-vqcx", "y"), {'v', NULL}, {'q', NULL}, {'c', "x"}, {COMMAND_OPERAND, "y"});
    CHECK(("-", "a", "--", "-v", "--"), {COMMAND_OPERAND, "-"}, {COMMAND_OPERAND, "a"},
          {COMMAND_OPERAND, "-v"}, {COMMAND_OPERAND, "--"});
}

static void test_wrong(void **state)
{
    (void)state;
    CHECK(("--confg=secret"), {COMMAND_WRONG, "no option --confg: did you mean --config?"});
    CHECK(("--zebra"), {COMMAND_WRONG, "no option --zebra: see --help"});
    CHECK(("-x"), {COMMAND_WRONG, "no option -x: see --help"});
    CHECK(("-\x01"), {COMMAND_WRONG, "no option -\x01: see --help"});
    CHECK(("-c"), {COMMAND_WRONG, "option -c needs a value: -c FILE"});
    CHECK(("--config"), {COMMAND_WRONG, "option --config needs a value: --config FILE"});
    CHECK(("--verbose=1"), {COMMAND_WRONG, "option --verbose takes no value"});
}

static void test_number(void **state)
{
    (void)state;
    int64_t number = 7;
    static const char *const bad[] = {
        "", "-", "+1", " 1", "1 ", "1x", "0x1", "99999999999999999999", "101", "-11"};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_false(command_number(bad[i], -10, 100, &number));
    assert_int_equal(number, 7);
    assert_true(command_number("-10", -10, 100, &number) && number == -10);
    assert_true(command_number("100", -10, 100, &number) && number == 100);
}

static void test_help(void **state)
{
    (void)state;
    char *text;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    assert_non_null(out);
    command_print_options(out, options, COUNT_OF(options));
    fclose(out);
    assert_string_equal(text, "  -c, --config FILE    Configuration to read.\n"
                              "  -v, --verbose        Say more.\n"
                              "  -q                   Say less.\n"
                              "      --only-a-name N  Has no letter.\n");
    free(text);
}

static const char *nearest_of(const char *word)
{
    static const char *const known[] = {"linger_ms", "max_rows", "max_bytes", "tcp", "http"};
    struct nearest nearest = {.word = word};
    for (size_t i = 0; i < COUNT_OF(known); i++)
        nearest_offer(&nearest, known[i]);
    return nearest.best;
}

static void test_nearest(void **state)
{
    (void)state;
    assert_string_equal(nearest_of("lingerms"), "linger_ms");
    assert_string_equal(nearest_of("MAX_ROWS"), "max_rows");
    assert_string_equal(nearest_of("max_rwos"), "max_rows");
    assert_string_equal(nearest_of("max_row"), "max_rows");
    assert_string_equal(nearest_of("htpt"), "http");
    assert_null(nearest_of("zebra"));
    assert_null(nearest_of(""));
    char longest[200] = {0};
    memset(longest, 'x', sizeof longest - 1);
    assert_null(nearest_of(longest));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms), cmocka_unit_test(test_wrong),   cmocka_unit_test(test_number),
        cmocka_unit_test(test_help),  cmocka_unit_test(test_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
