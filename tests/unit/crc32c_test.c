/* SPDX-License-Identifier: Apache-2.0 */
#include "core/crc32c.h"
#include "tests/unit/unit.h"

#include <string.h>

/* RFC 3720 B.4, and the check value of the CRC catalogue. */
static void test_vectors(void **state)
{
    (void)state;
    uint8_t bytes[32] = {0};
    assert_int_equal(crc32c(0, bytes, 0), 0);
    assert_int_equal(crc32c(0, "123456789", 9), 0xE3069283u);
    assert_int_equal(crc32c(0, bytes, 32), 0x8A9136AAu);
    memset(bytes, 0xFF, sizeof bytes);
    assert_int_equal(crc32c(0, bytes, 32), 0x62A8AB43u);
    for (unsigned i = 0; i < 32; i++)
        bytes[i] = (uint8_t)i;
    assert_int_equal(crc32c(0, bytes, 32), 0x46DD794Eu);
    for (unsigned i = 0; i < 32; i++)
        bytes[i] = (uint8_t)(31 - i);
    assert_int_equal(crc32c(0, bytes, 32), 0x113FDB5Cu);
}

/* Too simple to be wrong: one bit at a time. */
static uint32_t by_bit(uint32_t crc, const uint8_t *at, size_t length)
{
    crc = ~crc;
    while (length-- > 0) {
        crc ^= *at++;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ ((crc & 1) != 0 ? 0x82F63B78u : 0);
    }
    return ~crc;
}

static void fill(uint8_t *bytes, size_t length)
{
    uint32_t x = 12345;
    for (size_t i = 0; i < length; i++) {
        x = x * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(x >> 24);
    }
}

static void test_model(void **state)
{
    (void)state;
    enum { MOST = 4000 };
    uint8_t *page = unit_edge(MOST);
    fill(page, MOST);
    /* Every length up to where the lanes have begun,
     * at every alignment, ending at an unmapped page. */
    for (size_t length = 0; length <= MOST; length += length < 900 ? 1 : 37) {
        const uint8_t *at = page + MOST - length;
        assert_int_equal(crc32c(7, at, length), by_bit(7, at, length));
        assert_int_equal(crc32c_by_table(7, at, length), by_bit(7, at, length));
    }
    unit_edge_free(page, MOST);
}

static void test_large_and_chained(void **state)
{
    (void)state;
    enum { LARGE = 300001 };
    uint8_t *page = unit_edge(LARGE);
    fill(page, LARGE);
    uint32_t whole = crc32c_by_table(0, page, LARGE);
    assert_int_equal(crc32c(0, page, LARGE), whole);
    for (size_t cut = 1; cut < LARGE; cut = cut * 3 + 1)
        assert_int_equal(crc32c(crc32c(0, page, cut), page + cut, LARGE - cut), whole);
    page[LARGE / 2] ^= 1;
    assert_int_not_equal(crc32c(0, page, LARGE), whole);
    unit_edge_free(page, LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_large_and_chained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
