/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"
#include "ws/utf8.h"

#include <stdlib.h>

/* Too simple to be wrong: decode by RFC 3629's table,
 * one character at a time. 0: not a whole valid character. */
static size_t model_character(const uint8_t *at, size_t length)
{
    uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t bytes = at[0] < 0x80       ? 1
                   : at[0] >> 5 == 6  ? 2
                   : at[0] >> 4 == 14 ? 3
                   : at[0] >> 3 == 30 ? 4
                                      : 0;
    if (bytes == 0 || bytes > length)
        return 0;
    uint32_t code = bytes == 1 ? at[0] : at[0] & (0x7fu >> bytes);
    for (size_t i = 1; i < bytes; i++) {
        if (at[i] >> 6 != 2)
            return 0;
        code = code << 6 | (at[i] & 0x3f);
    }
    if (code < least[bytes] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return 0;
    return bytes;
}

static bool model_valid(const uint8_t *at, size_t length)
{
    while (length > 0) {
        size_t bytes = model_character(at, length);
        if (bytes == 0)
            return false;
        at += bytes;
        length -= bytes;
    }
    return true;
}

/* Could some continuation make it valid? Tries all short ones of 80..BF. */
static bool model_prefix(uint8_t *at, size_t length, unsigned more)
{
    if (model_valid(at, length))
        return true;
    if (more == 0)
        return false;
    for (unsigned next = 0x80; next <= 0xb0; next += 0x10) {
        at[length] = (uint8_t)next;
        if (model_prefix(at, length + 1, more - 1))
            return true;
    }
    return false;
}

/* All strings of up to two bytes and those of three
 * and four whose bytes are the interesting ones. */
static void every_boundary(void **state)
{
    (void)state;
    static const uint8_t edge[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
                                   0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee,
                                   0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff};
    enum { N = sizeof edge };
    for (unsigned code = 0; code < N * N * N * N; code++) {
        uint8_t text[8] = {edge[code % N], edge[code / N % N], edge[code / N / N % N],
                           edge[code / N / N / N]};
        struct utf8 utf8 = {0};
        for (size_t length = 1; length <= 4; length++) {
            uint8_t copy[8];
            memcpy(copy, text, length);
            bool alive = utf8_feed(&utf8, text + length - 1, 1);
            assert_int_equal(alive, model_prefix(copy, length, 3));
            assert_int_equal(alive && utf8_whole(utf8), model_valid(text, length));
            if (!alive)
                break;
        }
    }
}

static void cut_anywhere(const char *text, bool valid)
{
    size_t length = strlen(text);
    for (size_t pad = 0; pad < 20; pad++) {
        uint8_t *at = unit_edge(length + pad);
        memset(at, 'a', pad);
        memcpy(at + pad, text, length);
        assert_int_equal(utf8_valid(span_of(at, length + pad)), valid);
        for (size_t cut = 0; cut <= length + pad; cut++) {
            struct utf8 utf8 = {0};
            bool good = utf8_feed(&utf8, at, cut) &&
                        utf8_feed(&utf8, at + cut, length + pad - cut) && utf8_whole(utf8);
            assert_int_equal(good, valid);
        }
        unit_edge_free(at, length + pad);
    }
}

static void vectors(void **state)
{
    (void)state;
    cut_anywhere("", true);
    cut_anywhere("Hello-\xc2\xb5@\xc3\x9f\xc3\xb6\xc3\xa4\xc3\xbc\xc3\xa0\xc3\xa1-UTF-8!!", true);
    cut_anywhere("\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5", true);
    cut_anywhere("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\xee\x80\x80\xed\x9f\xbf\xef\xbf\xbf", true);
    cut_anywhere("\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80"
                 "edited",
                 false);
    cut_anywhere("\xf4\x90\x80\x80", false);
    cut_anywhere("\xc0\x80", false);
    cut_anywhere("plain text and then a lone \x80", false);
    cut_anywhere("cut off \xe2\x82", false);
    cut_anywhere("\xfe", false);
}

/* A wrong byte anywhere in a long run is found, and found again behind it. */
static void wrong_byte_anywhere(void **state)
{
    (void)state;
    uint8_t text[100];
    for (size_t i = 0; i < sizeof text; i++) {
        memset(text, 'x', sizeof text);
        text[i] = 0xff;
        struct utf8 utf8 = {0};
        assert_false(utf8_feed(&utf8, text, sizeof text));
        assert_false(utf8_feed(&utf8, (const uint8_t *)"good", 4));
    }
}

static void random_against_model(void **state)
{
    (void)state;
    srand(7);
    for (unsigned round = 0; round < 20000; round++) {
        uint8_t text[48];
        size_t length = 0;
        while (length < 40) {
            static const char *const piece[] = {"a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
                                                "0123456789abcdef"};
            const char *next = piece[(unsigned)rand() % COUNT_OF(piece)];
            size_t bytes = strlen(next) < 48 - length ? strlen(next) : 48 - length;
            memcpy(text + length, next, bytes);
            length += bytes;
        }
        if (rand() % 2 == 0)
            text[(unsigned)rand() % length] = (uint8_t)rand();
        assert_int_equal(utf8_valid(span_of(text, length)), model_valid(text, length));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_boundary),
        cmocka_unit_test(vectors),
        cmocka_unit_test(wrong_byte_anywhere),
        cmocka_unit_test(random_against_model),
    };
    return cmocka_run_group_tests_name("utf8", tests, NULL, NULL);
}
