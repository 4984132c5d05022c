/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches: any range of any block comes out as exactly those rows, sorted by their COPY statement.
 */
#include "tests/unit/unit.h"

#include "batch/batch.h"
#include "batch/copy.h"

#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 24, ROWS_MAX = 100 };
static const uint16_t target_of[3] = {4, 0, 2};

/* A row of one column whose text is `sequence` times the letter of its stream. */
static size_t put_row(uint8_t *at, uint64_t sequence, unsigned stream)
{
    memcpy(at, (uint8_t[]){0, 1, 0, 0, 0, (uint8_t)sequence}, 6);
    memset(at + 6, 'a' + (int)stream, sequence);
    return 6 + sequence;
}

static unsigned stream_of(uint64_t sequence)
{
    return (unsigned)(sequence % 7 % 3);
}

/* A block of ROWS rows from `first` on; neighbours of one stream make a run. */
static struct block_view make_block(uint8_t *bytes, uint64_t first)
{
    uint8_t runs[ROWS * BLOCK_RUN_BYTES];
    struct block_view view = {.first_sequence = first, .rows = ROWS};
    size_t at = BLOCK_HEADER_BYTES;
    for (uint64_t row = first; row < first + ROWS;) {
        struct block_run run = {.stream = (uint16_t)stream_of(row)};
        for (; row < first + ROWS && stream_of(row) == run.stream; row++, run.rows++) {
            size_t length = put_row(bytes + at, row, run.stream);
            at += length;
            run.bytes += (uint32_t)length;
        }
        block_put_run(runs + view.runs++ * BLOCK_RUN_BYTES, run);
    }
    view.row_bytes = span_of(bytes + BLOCK_HEADER_BYTES, at - BLOCK_HEADER_BYTES);
    memcpy(bytes + at, runs, view.runs * BLOCK_RUN_BYTES);
    view.run_bytes = span_of(bytes + at, view.runs * BLOCK_RUN_BYTES);
    (void)block_seal(bytes, &view);
    return view;
}

/* Every lot of the batch holds the rows of [from, to) of its stream in order, but for `dead`. */
static void check_rows(const struct batch *batch, uint64_t from, uint64_t to, uint64_t dead)
{
    uint32_t rows = 0;
    for (unsigned stream = 0; stream < 3; stream++) {
        uint64_t sequence = from, line = 0;
        uint16_t number = batch->lot_of_target[target_of[stream]];
        uint32_t index = number == UINT16_MAX ? PIECE_NONE : batch->lot[number].first;
        size_t at = 0;
        for (; sequence < to; sequence++) {
            uint8_t expected[300];
            if (stream_of(sequence) != stream || sequence == dead)
                continue;
            assert_true(index != PIECE_NONE);
            const struct piece *piece = &batch->piece[index];
            size_t length = put_row(expected, sequence, stream);
            assert_memory_equal(piece->at + at, expected, length);
            uint64_t found;
            uint16_t source;
            assert_true(batch_row_at(batch, number, ++line, &source, &found));
            assert_int_equal(found, sequence);
            assert_int_equal(source, 3);
            rows++;
            at += length;
            if (at == piece->bytes) {
                index = piece->next;
                at = 0;
            }
        }
        assert_int_equal(index, PIECE_NONE);
        if (number != UINT16_MAX)
            assert_int_equal(batch->lot[number].rows, line);
    }
    assert_int_equal(rows + (dead != UINT64_MAX), batch->rows);
}

static struct batch_part part_of(const struct block_view *view, uint64_t from, uint32_t rows)
{
    return (struct batch_part){
        .view = view, .target = target_of, .targets = 3, .from = from, .rows = rows, .source = 3};
}

static void every_range_of_a_block(void **state)
{
    (void)state;
    uint8_t bytes[8192];
    struct batch batch;
    assert_int_equal(batch_init(&batch, ROWS_MAX, 1 << 20), 0);
    struct block_view view = make_block(bytes, 40);
    for (uint64_t from = 40; from < 40 + ROWS; from++)
        for (uint64_t to = from + 1; to <= 40 + ROWS; to++)
            for (unsigned dead = 0; dead < 2; dead++) {
                struct batch_part part = part_of(&view, from, (uint32_t)(to - from));
                part.last_is_dead = dead;
                assert_int_equal(batch_add(&batch, &part), BATCH_COPIED);
                assert_int_equal(batch.dead.there, dead);
                if (dead) {
                    uint8_t expected[300];
                    size_t length = put_row(expected, to - 1, stream_of(to - 1));
                    assert_int_equal(batch.dead.sequence, to - 1);
                    assert_int_equal(batch.dead.target, target_of[stream_of(to - 1)]);
                    assert_int_equal(batch.dead.bytes.length, length);
                    assert_memory_equal(batch.dead.bytes.at, expected, length);
                }
                check_rows(&batch, from, to, dead ? to - 1 : UINT64_MAX);
                batch_reset(&batch);
            }
    batch_fini(&batch);
}

static void blocks_follow_one_another(void **state)
{
    (void)state;
    struct batch batch;
    assert_int_equal(batch_init(&batch, ROWS_MAX, 1 << 20), 0);
    for (uint64_t first = 0; first < 4 * ROWS; first += ROWS) {
        uint8_t bytes[8192];
        struct block_view view = make_block(bytes, first);
        struct batch_part part =
            part_of(&view, first == 0 ? 5 : first, first == 0 ? ROWS - 5 : ROWS);
        assert_int_equal(batch_add(&batch, &part), BATCH_COPIED);
        memset(bytes, 0xdd, sizeof bytes); /* it was copied */
    }
    check_rows(&batch, 5, 4 * ROWS, UINT64_MAX);
    assert_true(batch_has_room(&batch, 9, 0));
    assert_false(batch_has_room(&batch, 10, 0));
    assert_false(batch_has_room(&batch, 1, 1 << 20));
    batch_fini(&batch);
}

/* ── Loans ──────────────────────────────────────────────────────────────────────────────────── */

static unsigned given;

static void take(void *context, uint16_t source, struct block *block)
{
    assert_int_equal(source, 3);
    assert_ptr_equal(context, &given);
    memset((void *)(uintptr_t)block->bytes.at, 0xdd, block->bytes.length);
    given++;
}

static void large_blocks_are_lent(void **state)
{
    (void)state;
    uint8_t *bytes = malloc(2 * BLOCK_BYTES_MAX);
    struct batch batch;
    struct block_view view[2];
    struct block block[2];
    for (unsigned own = 0; own < 2; own++) {
        given = 0;
        assert_int_equal(batch_init(&batch, ROWS_MAX, 1 << 20), 0);
        for (unsigned i = 0; i < 2; i++) {
            uint8_t *at = bytes + i * BLOCK_BYTES_MAX;
            view[i] = make_block(at, i * ROWS);
            block[i] = (struct block){.bytes = span_of(at, BLOCK_BYTES_MAX)};
            struct batch_part part = part_of(&view[i], i * ROWS, ROWS);
            part.loan = &block[i];
            assert_int_equal(batch_add(&batch, &part), BATCH_LENT);
        }
        check_rows(&batch, 0, 2 * ROWS, UINT64_MAX);
        if (own)
            batch_own(&batch, take, &given);
        else
            batch_return(&batch, take, &given);
        assert_int_equal(given, 2);
        if (own)
            check_rows(&batch, 0, 2 * ROWS, UINT64_MAX);
        batch_return(&batch, take, &given);
        assert_int_equal(given, 2); /* once */
        batch_fini(&batch);
    }
    free(bytes);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    uint8_t bytes[8192];
    struct batch batch;
    assert_int_equal(batch_init(&batch, ROWS_MAX, 1 << 20), 0);
    struct block_view view = make_block(bytes, 0);
    struct batch_part few_streams = part_of(&view, 0, ROWS);
    few_streams.targets = 2;
    assert_int_equal(batch_add(&batch, &few_streams), BATCH_MALFORMED);
    struct block_view shorter = view;
    shorter.row_bytes.length--;
    struct batch_part part = part_of(&shorter, 0, ROWS);
    assert_int_equal(batch_add(&batch, &part), BATCH_MALFORMED);
    /* Row 6 claims 200 columns; rows 6 and 7 are one run. */
    bytes[BLOCK_HEADER_BYTES + 6 * 6 + (0 + 1 + 2 + 3 + 4 + 5) + 1] = 200;
    part = part_of(&view, 7, 1);
    assert_int_equal(batch_add(&batch, &part), BATCH_MALFORMED);
    assert_int_equal(batch.rows + batch.pieces + batch.arena_bytes, 0);
    batch_fini(&batch);
}

/* Whatever came first: all who write two tables do so in the same order. */
static void lots_are_put_in_the_order_of_their_statements(void **state)
{
    (void)state;
    static uint8_t bytes[BLOCK_BYTES_MAX];
    struct spool_stream at[5];
    for (unsigned i = 0; i < COUNT_OF(at); i++)
        at[i].copy_sql =
            (char *)(uintptr_t)(const char *[]){"COPY b", "", "COPY a", "", "COPY c"}[i];
    struct targets targets = {at, COUNT_OF(at)};
    struct block_view view = make_block(bytes, 100);
    struct batch batch;
    assert_int_equal(batch_init(&batch, ROWS_MAX, 1 << 20), 0);
    struct batch_part part = {
        .view = &view, .target = target_of, .targets = 3, .from = 100, .rows = ROWS, .source = 3};
    assert_int_equal(batch_add(&batch, &part), BATCH_COPIED);
    batch_order(&batch, &targets);
    assert_int_equal(batch.lots, 3);
    for (unsigned i = 0; i < 3; i++) {
        uint64_t sequence;
        uint16_t source;
        assert_int_equal(batch.lot[i].target, ((uint16_t[]){2, 0, 4}[i]));
        assert_true(batch_row_at(&batch, i, 1, &source, &sequence));
        assert_int_equal(target_of[stream_of(sequence)], batch.lot[i].target);
    }
    batch_reset(&batch);
    assert_int_equal(batch_add(&batch, &part), BATCH_COPIED);
    check_rows(&batch, 100, 100 + ROWS, UINT64_MAX);
    batch_reset(&batch);
    batch_fini(&batch);
}

static void targets_are_kept_once(void **state)
{
    (void)state;
    struct targets targets = {0};
    assert_int_equal(targets_find(&targets, "a", "a", "COPY a"), 0);
    assert_int_equal(targets_find(&targets, "b", "b", "COPY b"), 1);
    assert_int_equal(targets_find(&targets, "a", "a", "COPY a"), 0);
    assert_int_equal(targets_find(&targets, "a", "a", "COPY a (x)"), 2);
    for (unsigned i = 3; i < TARGETS_MAX; i++) {
        char sql[20];
        snprintf(sql, sizeof sql, "COPY %u", i);
        assert_int_equal(targets_find(&targets, "x", "x", sql), i);
    }
    assert_int_equal(targets_find(&targets, "y", "y", "COPY y"), -1);
    targets_fini(&targets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_range_of_a_block),
        cmocka_unit_test(blocks_follow_one_another),
        cmocka_unit_test(large_blocks_are_lent),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(targets_are_kept_once),
        cmocka_unit_test(lots_are_put_in_the_order_of_their_statements),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
