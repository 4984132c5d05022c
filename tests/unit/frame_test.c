/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"
#include "ws/frame.h"

/* Reads whole, from an unreadable edge, and cut at every byte: then more is wanted. */
static struct frame read_all(const void *bytes, size_t length, int header)
{
    struct frame frame, untouched;
    uint8_t *at = unit_edge_copy(bytes, length);
    assert_int_equal(frame_read(at, length, &frame), header);
    unit_edge_free(at, length);
    for (int cut = 0; cut < header; cut++) {
        at = unit_edge_copy(bytes, (size_t)cut);
        memset(&untouched, 0x5a, sizeof untouched);
        assert_int_equal(frame_read(at, (size_t)cut, &untouched), FRAME_MORE);
        assert_int_equal(((uint8_t *)&untouched)[0], 0x5a);
        unit_edge_free(at, (size_t)cut);
    }
    return frame;
}

/* RFC 6455 5.7 */
static void examples(void **state)
{
    (void)state;
    struct frame hello = read_all("\x81\x05Hello", 7, 2);
    assert_true(hello.final && !hello.masked && hello.reserved == 0);
    assert_int_equal(hello.opcode, FRAME_TEXT);
    assert_int_equal(hello.length, 5);

    uint8_t masked[] = {0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58};
    struct frame frame = read_all(masked, sizeof masked, 6);
    assert_true(frame.masked && frame.final);
    assert_true(frame_unmask(masked + 6, 5, frame.mask));
    assert_memory_equal(masked + 6, "Hello", 5);

    struct frame first = read_all("\x01\x03Hel", 5, 2), last = read_all("\x80\x02lo", 4, 2);
    assert_true(!first.final && first.opcode == FRAME_TEXT && first.length == 3);
    assert_true(last.final && last.opcode == FRAME_CONTINUATION && last.length == 2);

    assert_int_equal(read_all("\x89\x05Hello", 7, 2).opcode, FRAME_PING);
    assert_int_equal(read_all("\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11, 6).opcode,
                     FRAME_PONG);
    assert_int_equal(read_all("\x82\x7e\x01\x00", 4, 4).length, 256);
    assert_int_equal(read_all("\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10, 10).length, 65536);
}

static void reserved_bits(void **state)
{
    (void)state;
    assert_int_equal(read_all("\xc1\x00", 2, 2).reserved, FRAME_RSV1);
    assert_int_equal(read_all("\xa1\x00", 2, 2).reserved, FRAME_RSV2);
    assert_int_equal(read_all("\x9f\x00", 2, 2).reserved, FRAME_RSV3);
    assert_int_equal(read_all("\x9f\x00", 2, 2).opcode, 15);
}

static void lengths_in_the_shortest_form(void **state)
{
    (void)state;
    struct frame frame;
    const uint8_t short16[] = {0x82, 126, 0, 125},
                  short64[] = {0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff},
                  top[] = {0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0},
                  most[] = {0x82, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    assert_int_equal(frame_read(short16, sizeof short16, &frame), FRAME_BAD_LENGTH);
    assert_int_equal(frame_read(short64, sizeof short64, &frame), FRAME_BAD_LENGTH);
    assert_int_equal(frame_read(top, sizeof top, &frame), FRAME_BAD_LENGTH);
    assert_int_equal(frame_read(most, sizeof most, &frame), 10);
    assert_true(frame.length == INT64_MAX);
}

static void written_and_read_back(void **state)
{
    (void)state;
    static const uint64_t length[] = {0, 1, 125, 126, 127, 65535, 65536, INT64_MAX};
    static const int header[] = {2, 2, 2, 4, 4, 4, 10, 10};
    for (unsigned i = 0; i < COUNT_OF(length); i++) {
        for (unsigned bits = 0; bits < 4; bits++) {
            struct frame frame = {.length = length[i],
                                  .opcode = FRAME_BINARY,
                                  .reserved = bits & 1 ? FRAME_RSV1 : 0,
                                  .final = (bits & 1) != 0,
                                  .masked = (bits & 2) != 0,
                                  .mask = bits & 2 ? 0x3d21fa37 : 0};
            uint8_t out[FRAME_HEADER_MAX];
            size_t used = frame_write(&frame, out);
            assert_int_equal(used, (size_t)header[i] + (frame.masked ? 4 : 0));
            struct frame back = read_all(out, used, (int)used);
            assert_memory_equal(&back.length, &frame.length, sizeof back.length);
            assert_int_equal(back.mask, frame.mask);
            assert_int_equal(back.final, frame.final);
            assert_int_equal(back.reserved, frame.reserved);
        }
        uint8_t out[FRAME_HEADER_UNMASKED_MAX];
        assert_int_equal(frame_write_header(FRAME_TEXT, length[i], out), header[i]);
        assert_int_equal(out[0], 0x81);
    }
}

/* Every length and address against a byte loop;
 * in two pieces, cut anywhere; and the ASCII answer. */
static void unmask(void **state)
{
    (void)state;
    const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};
    uint32_t mask;
    memcpy(&mask, key, 4);
    for (size_t length = 0; length < 80; length++) {
        uint8_t *at = unit_edge(length);
        for (size_t cut = 0; cut <= length; cut++) {
            for (size_t i = 0; i < length; i++)
                at[i] = (uint8_t)((i * 7 + 11) & 0x7f) ^ key[i % 4];
            assert_true(frame_unmask(at, cut, mask));
            assert_true(frame_unmask(at + cut, length - cut, frame_mask_at(mask, cut)));
            for (size_t i = 0; i < length; i++)
                assert_int_equal(at[i], (i * 7 + 11) & 0x7f);
        }
        for (size_t i = 0; i < length; i++) {
            memcpy(
                at,
                "................................................................................",
                length);
            at[i] = 0x80;
            frame_unmask(at, length, mask);
            assert_false(frame_unmask(at, length, mask));
            assert_int_equal(at[i], 0x80);
        }
        unit_edge_free(at, length);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples),
        cmocka_unit_test(reserved_bits),
        cmocka_unit_test(lengths_in_the_shortest_form),
        cmocka_unit_test(written_and_read_back),
        cmocka_unit_test(unmask),
    };
    return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
