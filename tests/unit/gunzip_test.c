/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What zlib packs comes out again, whole and in pieces of every size;
 * what is broken, cut off or too large does not.
 */
#include "proto/gunzip.h"
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <zlib.h>

enum { ROOM = 1 << 20 };

static uint8_t packed[ROOM], text[ROOM];

static size_t pack(const void *bytes, size_t length, uint8_t *out, int window_bits)
{
    z_stream stream = {0};
    must(deflateInit2(&stream, 6, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    stream.next_in = (z_const Bytef *)(uintptr_t)bytes;
    stream.avail_in = (uInt)length;
    stream.next_out = out;
    stream.avail_out = ROOM / 2;
    must(deflate(&stream, Z_FINISH) == Z_STREAM_END);
    deflateEnd(&stream);
    return stream.total_out;
}

/* Feeds it in pieces, each at the edge of a page. 0 and a whole gzip: *out is filled. */
static int unpack(size_t length, size_t step, uint64_t bytes_max, struct buf *out, bool *whole)
{
    struct gunzip *gunzip = gunzip_open(bytes_max);
    int error = 0;
    assert_non_null(gunzip);
    for (size_t at = 0; at < length && error == 0; at += step) {
        size_t piece = length - at < step ? length - at : step;
        uint8_t *edge = unit_edge_copy(packed + at, piece);
        error = gunzip_feed(gunzip, span_of(edge, piece), out);
        unit_edge_free(edge, piece);
    }
    *whole = gunzip_whole(gunzip);
    gunzip_close(gunzip);
    return error;
}

static void expect(size_t length, size_t step, const void *wanted, size_t wanted_length)
{
    struct buf out = {.max = 4 * ROOM};
    bool whole;
    assert_int_equal(unpack(length, step, ROOM, &out, &whole), 0);
    assert_true(whole);
    assert_int_equal(out.length, wanted_length);
    if (wanted_length > 0)
        assert_memory_equal(out.at, wanted, wanted_length);
    buf_fini(&out);
}

static void expect_error(size_t length, size_t step, uint64_t bytes_max, int wanted)
{
    struct buf out = {.max = 4 * ROOM};
    bool whole;
    assert_int_equal(unpack(length, step, bytes_max, &out, &whole), wanted);
    assert_true(out.length <= bytes_max + 16384);
    buf_fini(&out);
}

static void test_whole_and_in_pieces(void **state)
{
    (void)state;
    for (size_t i = 0; i < 100000; i++)
        text[i] = (uint8_t)(i * i % 7 + i / 5000);
    size_t length = pack(text, 100000, packed, 31);
    static const size_t steps[] = {1, 2, 3, 7, 100, 16384, ROOM};
    for (size_t i = length < 2000 ? 0 : 3; i < COUNT_OF(steps); i++)
        expect(length, steps[i], text, 100000);
    length = pack("", 0, packed, 31);
    expect(length, 1, "", 0);
    length = pack("abc", 3, packed, 31);
    for (size_t step = 1; step <= length; step++)
        expect(length, step, "abc", 3);
}

static void test_members(void **state)
{
    (void)state;
    size_t first = pack("abc", 3, packed, 31);
    size_t second = pack("", 0, packed + first, 31);
    size_t third = pack("def", 3, packed + first + second, 31);
    for (size_t step = 1; step <= first + second + third; step++)
        expect(first + second + third, step, "abcdef", 6);
}

static void test_cut_off(void **state)
{
    size_t length = pack("abcabcabc", 9, packed, 31);
    (void)state;
    for (size_t cut = 0; cut < length; cut++) {
        struct buf out = {.max = ROOM};
        bool whole;
        assert_int_equal(unpack(cut, ROOM, ROOM, &out, &whole), 0);
        assert_false(whole);
        buf_fini(&out);
    }
}

static void test_broken(void **state)
{
    size_t length = pack("abc", 3, packed, 31);
    (void)state;
    packed[length] = 'x'; /* something behind the last member */
    packed[length + 1] = 'y';
    expect_error(length + 2, 1, ROOM, GUNZIP_INVALID);
    packed[length - 5] ^= 1; /* the checksum */
    expect_error(length, 1, ROOM, GUNZIP_INVALID);
    length = pack("abc", 3, packed, 15); /* zlib, not gzip */
    expect_error(length, ROOM, ROOM, GUNZIP_INVALID);
    expect_error(pack("abc", 3, packed, -15), ROOM, ROOM, GUNZIP_INVALID);
}

static void test_bomb(void **state)
{
    (void)state;
    memset(text, 0, sizeof text);
    size_t length = pack(text, sizeof text, packed, 31);
    assert_true(length < 2000);
    expect_error(length, 1, 65536, GUNZIP_TOO_LARGE);
    expect_error(length, ROOM, 65536, GUNZIP_TOO_LARGE);
    expect_error(length, ROOM, ROOM - 1, GUNZIP_TOO_LARGE);
    expect(length, ROOM, text, sizeof text);
    /* The other bound: the buffer's. */
    struct buf small = {.max = 30000};
    bool whole;
    assert_int_equal(unpack(length, ROOM, ROOM, &small, &whole), GUNZIP_TOO_LARGE);
    buf_fini(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_and_in_pieces),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_bomb),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
