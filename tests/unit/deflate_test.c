/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"
#include "ws/deflate.h"

#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

static const struct deflate_terms keeps = {.agreed = true, .server_max_window_bits = 15};
static const struct deflate_terms forgets = {.agreed = true,
                                             .server_no_context_takeover = true,
                                             .client_no_context_takeover = true,
                                             .server_max_window_bits = 15};

/* Feeds a message cut in two at `cut`; the result is compared. */
static void yields_cut(struct inflater **inflater, const struct deflate_terms *terms,
                       const void *bytes, size_t length, size_t cut, const char *expected)
{
    struct buf out = {.max = 4096};
    uint8_t *at = unit_edge_copy(bytes, length);
    if (cut > 0)
        assert_int_equal(inflater_feed(inflater, terms, span_of(at, cut), false, &out), DEFLATE_OK);
    assert_int_equal(inflater_feed(inflater, terms, span_of(at + cut, length - cut), true, &out),
                     DEFLATE_OK);
    assert_int_equal(out.length, strlen(expected));
    if (out.length > 0)
        assert_memory_equal(out.at, expected, out.length);
    unit_edge_free(at, length);
    buf_fini(&out);
}

static void yields(const void *bytes, size_t length, const char *expected)
{
    for (size_t cut = 0; cut <= length; cut++) {
        struct inflater *inflater = NULL;
        yields_cut(&inflater, &forgets, bytes, length, cut, expected);
        assert_null(inflater); /* nothing is left behind */
        /* With takeover the same message is understood again and again. */
        for (unsigned i = 0; i < 3; i++)
            yields_cut(&inflater, &keeps, bytes, length, cut, expected);
        inflater_close(&inflater);
    }
}

/* RFC 7692 7.2.3 */
static void examples(void **state)
{
    (void)state;
    yields("\xf2\x48\xcd\xc9\xc9\x07\x00", 7, "Hello");
    yields("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", 11, "Hello"); /* no compression */
    yields("\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 8, "Hello");              /* a final block */
    yields("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", 13, "Hello"); /* two blocks */
    yields("\x00", 1, ""); /* empty: 7.2.3.6 */
    yields("", 0, "");
    yields("\xf3\x48\xcd\xc9\xc9\x07\x00", 7, "Hello"); /* a final block and no 00: forgiven */
    yields("\x01\x00\x00\xff\xff\xf2\x48\xcd\xc9\xc9\x07\x00", 12, "Hello"); /* final first */
    struct inflater *inflater = NULL; /* 7.2.3.2: sharing the window */
    yields_cut(&inflater, &keeps, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7, 0, "Hello");
    yields_cut(&inflater, &keeps, "\xf2\x00\x11\x00\x00", 5, 0, "Hello");
    inflater_close(&inflater);
    /* The window outlives a final block too. */
    yields_cut(&inflater, &keeps, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 8, 3, "Hello");
    yields_cut(&inflater, &keeps, "\xf2\x00\x11\x00\x00", 5, 2, "Hello");
    inflater_close(&inflater);
}

static int fault_of(const void *bytes, size_t length, size_t max)
{
    struct inflater *inflater = NULL;
    struct buf out = {.max = max};
    int fault = inflater_feed(&inflater, &forgets, span_of(bytes, length), true, &out);
    inflater_close(&inflater);
    assert_true(out.length <= max);
    buf_fini(&out);
    return fault;
}

static void faults(void **state)
{
    (void)state;
    assert_int_equal(fault_of("\xff\xff\xff\xff", 4, 100), DEFLATE_CORRUPT);
    assert_int_equal(fault_of("\xf2\x48\xcd", 3, 100), DEFLATE_CORRUPT); /* broken off */
    assert_int_equal(fault_of("\xf2\x00\x11\x00\x00", 5, 100),
                     DEFLATE_CORRUPT); /* a window that was not kept */
    assert_int_equal(fault_of("\xf2\x48\xcd\xc9\xc9\x07\x00", 7, 5), DEFLATE_OK);
    assert_int_equal(fault_of("\xf2\x48\xcd\xc9\xc9\x07\x00", 7, 4), DEFLATE_TOO_BIG);
}

/* 16 MiB of zeros are 16 KiB on the wire: no more memory than the limit is touched. */
static void bomb(void **state)
{
    (void)state;
    size_t length = (size_t)16 << 20;
    uint8_t *zeros = calloc(1, length);
    struct buf packed = {.max = length}, out = {.max = 100000};
    struct deflater *deflater = NULL;
    struct inflater *inflater = NULL;
    assert_int_equal(deflater_message(&deflater, &forgets, span_of(zeros, length), &packed),
                     DEFLATE_OK);
    assert_null(deflater);
    assert_true(packed.length < length / 200);
    assert_int_equal(inflater_feed(&inflater, &forgets, buf_span(&packed), true, &out),
                     DEFLATE_TOO_BIG);
    assert_true(out.capacity <= 100000);
    inflater_close(&inflater);
    buf_fini(&out);
    buf_fini(&packed);
    free(zeros);
}

static void fill(uint8_t *text, size_t length, unsigned seed)
{
    for (size_t i = 0; i < length; i++) {
        seed = seed * 1103515245 + 12345;
        text[i] = (uint8_t)("{\"type\":\"item_added\"}"[(seed >> 16) % 21]);
    }
}

/* Every agreement, messages of many lengths, there and back, in pieces. */
static void there_and_back(void **state)
{
    (void)state;
    static const size_t length[] = {0, 1, 2, 100, 249, 250, 251, 300, 1000, 5000, 70000, 0, 33};
    static uint8_t text[70000];
    for (unsigned bits = 8; bits <= 15; bits++) {
        for (unsigned takeover = 0; takeover < 2; takeover++) {
            struct deflate_terms terms = {true, !takeover, !takeover, (uint8_t)bits};
            struct deflater *deflater = NULL;
            struct inflater *inflater = NULL;
            for (unsigned i = 0; i < COUNT_OF(length); i++) {
                struct buf packed = {.max = 80000}, out = {.max = 70000};
                fill(text, length[i], i + 1);
                assert_int_equal(
                    deflater_message(&deflater, &terms, span_of(text, length[i]), &packed),
                    DEFLATE_OK);
                size_t cut = packed.length / 3;
                assert_int_equal(
                    inflater_feed(&inflater, &terms, span_of(packed.at, cut), false, &out),
                    DEFLATE_OK);
                assert_int_equal(
                    inflater_feed(&inflater, &terms, span_from(buf_span(&packed), cut), true, &out),
                    DEFLATE_OK);
                assert_int_equal(out.length, length[i]);
                if (out.length > 0)
                    assert_memory_equal(out.at, text, out.length);
                buf_fini(&packed);
                buf_fini(&out);
                assert_int_equal(deflater == NULL && inflater == NULL,
                                 takeover == 0 || (i == 0 && !inflater));
            }
            deflater_close(&deflater);
            inflater_close(&inflater);
        }
    }
}

/* What a text that repeats itself every `period` bytes comes to for a peer that keeps 256 bytes: it
 * is fed byte by byte, so that no match can be found in what the same call has put out. */
static bool is_understood_with_256(unsigned bits, size_t period)
{
    const struct deflate_terms terms = {true, true, true, (uint8_t)bits};
    uint8_t text[3000], back[3000];
    fill(text, period, (unsigned)period);
    for (size_t i = period; i < sizeof text; i++)
        text[i] = text[i - period];
    struct buf packed = {.max = 4000};
    struct deflater *deflater = NULL;
    assert_int_equal(deflater_message(&deflater, &terms, span_of(text, sizeof text), &packed),
                     DEFLATE_OK);
    z_stream stream = {.next_out = back, .avail_out = sizeof back, .next_in = packed.at};
    assert_int_equal(inflateInit2(&stream, -8), Z_OK);
    int result = Z_OK;
    for (size_t i = 0; i < packed.length && result == Z_OK; i++) {
        stream.avail_in = 1;
        result = inflate(&stream, Z_SYNC_FLUSH);
    }
    bool all = stream.avail_out == 0 && memcmp(text, back, sizeof text) == 0;
    (void)inflateEnd(&stream);
    buf_fini(&packed);
    return all;
}

/* Whoever asks for 256 bytes is never sent a match that is further back. */
static void smallest_window(void **state)
{
    (void)state;
    for (size_t period = 200; period < 600; period++)
        assert_true(is_understood_with_256(8, period));
    assert_false(is_understood_with_256(10, 400));
}

static void no_room_for_output(void **state)
{
    (void)state;
    uint8_t text[2000];
    fill(text, sizeof text, 3);
    for (size_t max = 0; max < 40; max++) {
        struct deflater *deflater = NULL;
        struct buf out = {.max = max};
        assert_int_equal(deflater_message(&deflater, &forgets, span_of(text, sizeof text), &out),
                         DEFLATE_TOO_BIG);
        assert_int_equal(out.length, 0);
        assert_null(deflater);
        buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples),
        cmocka_unit_test(faults),
        cmocka_unit_test(bomb),
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(smallest_window),
        cmocka_unit_test(no_room_for_output),
    };
    return cmocka_run_group_tests_name("deflate", tests, NULL, NULL);
}
