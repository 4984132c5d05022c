/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "batch/block.h"
#include "batch/little.h"
#include "batch/segment.h"
#include "core/crc32c.h"

#include <stdlib.h>

enum { ROOM = 1024 };

/* Seven rows of two streams, two keys, two marks. */
static uint32_t make_block(uint8_t *bytes)
{
    uint8_t *at = bytes + BLOCK_HEADER_BYTES;
    memset(at, 0xab, 70);
    at += 70;
    block_put_run(at, (struct block_run){.stream = 2, .rows = 4, .bytes = 30});
    block_put_run(at + BLOCK_RUN_BYTES, (struct block_run){.stream = 0, .rows = 3, .bytes = 40});
    at += 2 * (size_t)BLOCK_RUN_BYTES;
    block_put_key(at, 1, (struct dedup_key){11, 12});
    block_put_key(at + BLOCK_KEY_BYTES, 6, (struct dedup_key){61, 62});
    at += 2 * (size_t)BLOCK_KEY_BYTES;
    size_t marks = block_put_mark(at, SPAN("a"), 5);
    marks += block_put_mark(at + marks, SPAN("bcd"), UINT64_MAX);
    struct block_view view = {
        .first_sequence = 100,
        .wall_us = -7,
        .rows = 7,
        .runs = 2,
        .keys = 2,
        .shard = 63,
        .row_bytes = {NULL, 70},
        .run_bytes = {NULL, 2 * (size_t)BLOCK_RUN_BYTES},
        .key_bytes = {NULL, 2 * (size_t)BLOCK_KEY_BYTES},
        .mark_bytes = {NULL, marks},
    };
    uint32_t length = block_seal(bytes, &view);
    block_place(bytes, 8, 9, 100, 4096);
    return length;
}

static void test_there_and_back(void **state)
{
    (void)state;
    uint8_t bytes[ROOM];
    uint32_t length = make_block(bytes);
    assert_int_equal(length, BLOCK_HEADER_BYTES + 70 + 2 * BLOCK_RUN_BYTES + 2 * BLOCK_KEY_BYTES +
                                 1 + 1 + 8 + 1 + 3 + 8);
    uint8_t *edge = unit_edge_copy(bytes, length);
    struct block_view view;
    assert_int_equal(block_read(span_of(edge, length), true, &view), BLOCK_OK);
    assert_int_equal(view.length, length);
    assert_int_equal(view.first_sequence, 100);
    assert_int_equal(view.segment, 8);
    assert_int_equal(view.boot, 9);
    assert_int_equal(view.durable, 100);
    assert_int_equal(view.durable_bytes, 4096);
    assert_int_equal(view.lost_until, 0);
    assert_int_equal(view.wall_us, -7);
    assert_int_equal(view.shard, 63);
    assert_int_equal(view.rows, 7);
    assert_ptr_equal(view.row_bytes.at, edge + BLOCK_HEADER_BYTES);
    assert_int_equal(view.row_bytes.length, 70);
    struct block_run run = block_run_at(&view, 1);
    assert_int_equal(run.stream, 0);
    assert_int_equal(run.rows, 3);
    assert_int_equal(run.bytes, 40);
    uint32_t row;
    struct dedup_key key = block_key_at(&view, 1, &row);
    assert_int_equal(row, 6);
    assert_int_equal(key.high, 61);
    assert_int_equal(key.low, 62);
    size_t offset = 0;
    struct span name;
    uint64_t mark;
    assert_true(block_mark_next(&view, &offset, &name, &mark));
    assert_true(span_is(name, "a") && mark == 5);
    assert_true(block_mark_next(&view, &offset, &name, &mark));
    assert_true(span_is(name, "bcd") && mark == UINT64_MAX);
    assert_false(block_mark_next(&view, &offset, &name, &mark));
    unit_edge_free(edge, length);
}

static void test_cut_at_every_byte(void **state)
{
    (void)state;
    uint8_t bytes[ROOM];
    uint32_t length = make_block(bytes);
    for (uint32_t cut = 0; cut < length; cut++) {
        uint8_t *edge = unit_edge_copy(bytes, cut);
        struct block_view view = {.rows = 99};
        enum block_fault expected = cut < BLOCK_HEADER_BYTES ? BLOCK_TORN : BLOCK_CORRUPT;
        assert_int_equal(block_read(span_of(edge, cut), true, &view), expected);
        assert_int_equal(view.rows, 99); /* untouched */
        if (cut >= BLOCK_HEADER_BYTES)
            assert_int_equal(block_read(span_of(edge, cut), false, &view), BLOCK_OK);
        unit_edge_free(edge, cut);
    }
}

static void test_every_bit_flipped(void **state)
{
    (void)state;
    uint8_t bytes[ROOM];
    uint32_t length = make_block(bytes);
    for (uint32_t i = 0; i < length * 8; i++) {
        struct block_view view;
        bytes[i / 8] ^= (uint8_t)(1u << i % 8);
        enum block_fault expected = i / 8 < BLOCK_HEADER_BYTES ? BLOCK_TORN : BLOCK_CORRUPT;
        assert_int_equal(block_read(span_of(bytes, length), true, &view), expected);
        bytes[i / 8] ^= (uint8_t)(1u << i % 8);
    }
}

static void test_empty(void **state)
{
    (void)state;
    uint8_t zeros[BLOCK_HEADER_BYTES] = {0};
    struct block_view view;
    assert_int_equal(block_read(span_of(zeros, sizeof zeros), true, &view), BLOCK_EMPTY);
    zeros[BLOCK_HEADER_BYTES - 1] = 1;
    assert_int_equal(block_read(span_of(zeros, sizeof zeros), true, &view), BLOCK_TORN);
}

/* Signed and yet wrong: no length may lead outside, no part may contradict another. */
static void test_lies(void **state)
{
    (void)state;
    static const struct {
        unsigned at;
        uint32_t value;
    } lies[] = {
        {8, 127},         {8, BLOCK_BYTES_MAX + 1},
        {8, 200},         {12, 6},
        {12, 8},          {12, 0},
        {12, UINT32_MAX}, {56, 71},
        {56, UINT32_MAX}, {60, 3},
        {60, 0},          {64, 3},
        {64, UINT32_MAX}, {68, 23},
        {68, UINT32_MAX}, {80, 101},
        {96, 1},          {124, 1},
    };
    for (unsigned i = 0; i < COUNT_OF(lies); i++) {
        uint8_t bytes[ROOM];
        struct block_view view;
        uint32_t length = make_block(bytes);
        little_put32(bytes + lies[i].at, lies[i].value);
        block_place(bytes, 8, 9, 100, 4096);
        if (block_read(span_of(bytes, length), true, &view) == BLOCK_OK)
            fail_msg("%u at %u was believed", lies[i].value, lies[i].at);
    }
}

static void test_lies_in_the_payload(void **state)
{
    (void)state;
    uint32_t runs = BLOCK_HEADER_BYTES + 70, keys = runs + 2 * BLOCK_RUN_BYTES,
             marks = keys + 2 * BLOCK_KEY_BYTES;
    const struct {
        uint32_t at;
        uint8_t value;
    } lies[] = {
        {runs + 2, 1}, {runs + 4, 5}, {runs + 4, 0}, {runs + 8, 31}, {keys, 7},       {keys, 6},
        {keys + 4, 1}, {marks, 0},    {marks, 200},  {marks, 128},   {marks + 10, 4},
    };
    for (unsigned i = 0; i < COUNT_OF(lies); i++) {
        uint8_t bytes[ROOM];
        struct block_view view;
        uint32_t length = make_block(bytes);
        bytes[lies[i].at] = lies[i].value;
        little_put32(bytes + 72,
                     crc32c(0, bytes + BLOCK_HEADER_BYTES, length - BLOCK_HEADER_BYTES));
        block_place(bytes, 8, 9, 100, 4096);
        uint8_t *edge = unit_edge_copy(bytes, length);
        if (block_read(span_of(edge, length), true, &view) != BLOCK_CORRUPT)
            fail_msg("%u at %u was believed", lies[i].value, lies[i].at);
        unit_edge_free(edge, length);
    }
}

static void test_lost(void **state)
{
    (void)state;
    uint8_t bytes[BLOCK_HEADER_BYTES];
    struct block_view view = {.first_sequence = 10, .lost_until = 20};
    assert_int_equal(block_seal(bytes, &view), BLOCK_HEADER_BYTES);
    block_place(bytes, 1, 1, 0, 0);
    assert_int_equal(block_read(span_of(bytes, sizeof bytes), true, &view), BLOCK_OK);
    assert_int_equal(view.lost_until, 20);
    assert_int_equal(view.rows, 0);
    little_put64(bytes + 80, 10); /* from 10 to 9 */
    block_place(bytes, 1, 1, 0, 0);
    assert_int_equal(block_read(span_of(bytes, sizeof bytes), true, &view), BLOCK_TORN);
}

/* ── Segments' headers ──────────────────────────────────────────────────────────────────────── */

static uint32_t make_header(uint8_t *bytes, size_t room)
{
    struct segment_builder builder = {.bytes = bytes, .room = room};
    struct segment_stream first = {SPAN("events"), SPAN("public.events"), SPAN("COPY events …")};
    struct segment_stream second = {SPAN("x"), SPAN("y"), SPAN("")};
    struct segment_header place = {
        .number = 7, .first_sequence = 1000, .boot = 3, .durable = 990, .created_us = 123456789};
    if (!segment_begin(&builder, SPAN("node"), 0x1122334455667788, 5) ||
        !segment_add(&builder, &first) || !segment_add(&builder, &second))
        return 0;
    uint32_t length = segment_end(&builder);
    if (length > 0)
        segment_place(bytes, &place);
    return length;
}

static void test_header_there_and_back(void **state)
{
    (void)state;
    uint8_t *bytes = malloc(2 * SEGMENT_ALIGN);
    uint32_t length = make_header(bytes, 2 * SEGMENT_ALIGN);
    assert_int_equal(length, SEGMENT_ALIGN);
    uint8_t *edge = unit_edge_copy(bytes, length);
    struct segment_header header;
    assert_int_equal(segment_read(span_of(edge, length), &header), SEGMENT_OK);
    assert_int_equal(header.number, 7);
    assert_int_equal(header.first_sequence, 1000);
    assert_int_equal(header.epoch, 0x1122334455667788);
    assert_int_equal(header.boot, 3);
    assert_int_equal(header.durable, 990);
    assert_int_equal(header.created_us, 123456789);
    assert_int_equal(header.shard, 5);
    assert_int_equal(header.streams, 2);
    assert_true(span_is(header.node, "node"));
    size_t offset = 0;
    struct segment_stream stream;
    assert_true(segment_stream_next(&header, &offset, &stream));
    assert_true(span_is(stream.name, "events") && span_is(stream.table, "public.events"));
    assert_true(segment_stream_next(&header, &offset, &stream));
    assert_true(span_is(stream.name, "x") && stream.copy_sql.length == 0);
    assert_false(segment_stream_next(&header, &offset, &stream));
    unit_edge_free(edge, length);
    free(bytes);
}

static void test_header_flipped_and_cut(void **state)
{
    (void)state;
    uint8_t bytes[SEGMENT_ALIGN];
    struct segment_header header;
    uint32_t length = make_header(bytes, sizeof bytes);
    for (uint32_t i = 0; i < length; i++) {
        bytes[i] ^= 0x20;
        assert_int_equal(segment_read(span_of(bytes, length), &header), SEGMENT_BAD);
        bytes[i] ^= 0x20;
        if (i % 61 == 0)
            assert_int_equal(segment_read(span_of(bytes, i), &header), SEGMENT_BAD);
    }
    memset(bytes, 0, sizeof bytes);
    assert_int_equal(segment_read(span_of(bytes, length), &header), SEGMENT_EMPTY);
}

static void test_header_lies(void **state)
{
    (void)state;
    static const struct {
        unsigned at;
        uint32_t value;
        enum segment_fault fault;
    } lies[] = {
        {12, 2, SEGMENT_NEWER}, {68, 3, SEGMENT_BAD},          {68, UINT32_MAX, SEGMENT_BAD},
        {72, 5, SEGMENT_BAD},   {72, UINT32_MAX, SEGMENT_BAD}, {76, UINT32_MAX, SEGMENT_BAD},
        {76, 10, SEGMENT_BAD},  {88, UINT32_MAX, SEGMENT_BAD}, {84, 0xffff, SEGMENT_BAD},
    };
    for (unsigned i = 0; i < COUNT_OF(lies); i++) {
        uint8_t *edge = unit_edge(SEGMENT_ALIGN);
        struct segment_header header;
        uint32_t length = make_header(edge, SEGMENT_ALIGN);
        little_put32(edge + lies[i].at, lies[i].value);
        little_put32(edge + 4, crc32c(0, edge + 8, length - 8));
        assert_int_equal(segment_read(span_of(edge, length), &header), lies[i].fault);
        unit_edge_free(edge, SEGMENT_ALIGN);
    }
}

static void test_header_room(void **state)
{
    (void)state;
    uint8_t bytes[SEGMENT_ALIGN];
    assert_int_equal(make_header(bytes, SEGMENT_ALIGN - 1), 0);
    struct segment_builder builder = {.bytes = bytes, .room = sizeof bytes};
    static const uint8_t sql[1500];
    struct segment_stream stream = {SPAN("n"), SPAN("t"), {sql, sizeof sql}};
    assert_true(segment_begin(&builder, SPAN("node"), 1, 0));
    assert_true(segment_add(&builder, &stream));
    assert_true(segment_add(&builder, &stream));
    assert_false(segment_add(&builder, &stream));
}

static void test_names(void **state)
{
    (void)state;
    char name[SEGMENT_NAME_BYTES];
    uint64_t number;
    segment_name(name, 0xabcdef);
    assert_string_equal(name, "0000000000abcdef.seg");
    assert_true(segment_number(name, ".seg", &number));
    assert_int_equal(number, 0xabcdef);
    assert_false(segment_number(name, ".damaged", &number));
    assert_false(segment_number("0000000000ABCDEF.seg", ".seg", &number));
    assert_false(segment_number("abcdef.seg", ".seg", &number));
    assert_false(segment_number("", ".seg", &number));
    assert_false(segment_number("0000000000abcdef.seg.damaged", ".seg", &number));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_cut_at_every_byte),
        cmocka_unit_test(test_every_bit_flipped),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_lies),
        cmocka_unit_test(test_lies_in_the_payload),
        cmocka_unit_test(test_lost),
        cmocka_unit_test(test_header_there_and_back),
        cmocka_unit_test(test_header_flipped_and_cut),
        cmocka_unit_test(test_header_lies),
        cmocka_unit_test(test_header_room),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
