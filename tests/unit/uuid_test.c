/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/uuid.h"
#include "tests/unit/unit.h"

#include <stdio.h>

static void print_v7(int64_t wall_us, const uint8_t random[UUID_RANDOM_BYTES],
                     char out[UUID_TEXT_BYTES + 1])
{
    uint8_t uuid[UUID_BYTES];
    uuid_v7(wall_us, random, uuid);
    uuid_print(uuid, out);
    out[UUID_TEXT_BYTES] = '\0';
}

/* RFC 9562 A.6: 2022-02-22T19:22:22Z, 0x017F22E279B0 ms.
 * Its rand_a, 0xCC3, would be 797.6 microseconds. */
static void test_rfc_example(void **state)
{
    (void)state;
    const uint8_t random[] = {0x18, 0xC4, 0xDC, 0x0C, 0x0C, 0x07, 0x39, 0x8F};
    char text[UUID_TEXT_BYTES + 1];
    print_v7(INT64_C(0x017F22E279B0) * 1000, random, text);
    assert_string_equal(text, "017f22e2-79b0-7000-98c4-dc0c0c07398f");
    print_v7(INT64_C(0x017F22E279B0) * 1000 + 798, random, text);
    assert_string_equal(text, "017f22e2-79b0-7cc4-98c4-dc0c0c07398f");
}

static void test_version_and_variant(void **state)
{
    (void)state;
    char text[UUID_TEXT_BYTES + 1];
    const uint8_t ones[] = {255, 255, 255, 255, 255, 255, 255, 255}, zeros[8] = {0};
    print_v7(0, zeros, text);
    assert_string_equal(text, "00000000-0000-7000-8000-000000000000");
    print_v7(INT64_C(0xFFFFFFFFFFFF) * 1000 + 999, ones, text);
    assert_string_equal(text, "ffffffff-ffff-7ffb-bfff-ffffffffffff");
}

/* Made later sorts later, a microsecond being enough, whatever the chance. */
static void test_order(void **state)
{
    (void)state;
    uint8_t before[UUID_BYTES], after[UUID_BYTES];
    const uint8_t ones[] = {255, 255, 255, 255, 255, 255, 255, 255}, zeros[8] = {0};
    for (int64_t us = 1431857103998000; us < 1431857104002000; us++) {
        uuid_v7(us, ones, before);
        uuid_v7(us + 1, zeros, after);
        assert_true(memcmp(before, after, UUID_BYTES) < 0);
    }
}

static void test_print(void **state)
{
    (void)state;
    char out[UUID_TEXT_BYTES], expected[64];
    for (unsigned byte = 0; byte < 256; byte++) {
        uint8_t uuid[UUID_BYTES];
        for (unsigned i = 0; i < UUID_BYTES; i++)
            uuid[i] = (uint8_t)(byte + 17 * i);
        uuid_print(uuid, out);
        char *to = expected;
        for (unsigned i = 0; i < UUID_BYTES; i++)
            to += sprintf(to, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", uuid[i]);
        assert_memory_equal(out, expected, UUID_TEXT_BYTES);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc_example),
        cmocka_unit_test(test_version_and_variant),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_print),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
