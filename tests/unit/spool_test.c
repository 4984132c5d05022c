/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/spool_kit.c"

static void test_append_commit_durable(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    kit_open(&kit);
    assert_int_equal(kit.recovery.next, 0);
    assert_int_equal(kit.recovery.boot, 1);
    assert_true(kit.recovery.epoch != 0);
    for (unsigned i = 0; i < 10; i++)
        assert_true(kit_append(&kit));
    assert_int_equal(spool_durable(kit.spool), 0);
    assert_false(spool_idle(kit.spool));
    kit_commit(&kit);
    assert_int_equal(spool_durable(kit.spool), 0);
    kit_run(&kit);
    assert_int_equal(spool_durable(kit.spool), 10);
    assert_true(spool_idle(kit.spool));
    assert_int_equal(kit_take(&kit), 10);
    kit_check_disk(&kit, 0, 10);
    kit_close(&kit);
    kit_open(&kit);
    assert_int_equal(kit.recovery.next, 10);
    assert_int_equal(kit.recovery.boot, 2);
    assert_int_equal(kit.recovery.rows, 10);
    assert_int_equal(kit.mark, 10);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(kit.told[i], i % 5 == 0 ? 0 : 1);
    kit_check_disk(&kit, 0, 10);
    kit_close(&kit);
    kit_fini(&kit);
}

static void test_durable_only_in_order(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    kit_open(&kit);
    for (unsigned i = 0; i < 4; i++) {
        assert_true(kit_append(&kit));
        kit_commit(&kit);
    }
    assert_int_equal(kit.ring.requests, 4);
    assert_true(kit_append(&kit));
    kit_commit(&kit);
    assert_int_equal(kit.ring.requests, 4); /* no place in flight: the block stays open */
    kit_do(&kit, 3, 0);
    kit_do(&kit, 1, 0);
    assert_int_equal(spool_durable(kit.spool), 0);
    kit_do(&kit, 0, 0);
    assert_int_equal(spool_durable(kit.spool), 2);
    kit_do(&kit, 0, 0);
    assert_int_equal(spool_durable(kit.spool), 4);
    kit_settle(&kit);
    assert_int_equal(spool_durable(kit.spool), 5);
    kit_check_disk(&kit, 0, 5);
    kit_close(&kit);
    kit_fini(&kit);
}

/* Many segments, rows that just fill a block, a reader that follows. */
static void test_segments_follow_one_another(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    kit_open(&kit);
    uint64_t taken = 0;
    for (unsigned i = 0; i < 1500; i++) {
        if (!kit_append(&kit)) {
            kit_settle(&kit);
            taken += kit_take(&kit);
            assert_true(kit_append(&kit));
        }
        if (i % 7 == 0)
            kit_settle(&kit);
    }
    kit_settle(&kit);
    taken += kit_take(&kit);
    assert_int_equal(spool_durable(kit.spool), 1500);
    assert_int_equal(taken, 1500);
    assert_true(counted(&kit.counters, COUNT_SPOOL_SEGMENTS) > 10);
    kit_check_disk(&kit, 0, 1500);
    kit_close(&kit);
    kit_open(&kit);
    assert_int_equal(kit.recovery.rows, 1500);
    assert_int_equal(kit.recovery.torn_bytes, 0);
    kit_check_disk(&kit, 0, 1500);
    kit_close(&kit);
    kit_fini(&kit);
}

static void test_failed_commit_goes_to_a_new_segment(void **state)
{
    (void)state;
    static const int errors[] = {-EIO, -ECANCELED, -ENOSPC};
    for (unsigned e = 0; e < COUNT_OF(errors); e++)
        for (unsigned which = 0; which < 4; which++) {
            struct kit kit;
            kit_init(&kit);
            kit_open(&kit);
            kit_tick(&kit, KIT_MS);
            kit_run(&kit); /* the spare is ready */
            for (unsigned i = 0; i < 4; i++) {
                assert_true(kit_append(&kit));
                kit_commit(&kit);
            }
            kit_do(&kit, which, errors[e]);
            assert_true(kit_append(&kit));
            kit_commit(&kit);
            assert_int_equal(kit.ring.requests, 3); /* nothing goes out before all are back */
            kit_do(&kit, 2, 0);
            kit_do(&kit, 1, 0);
            kit_do(&kit, 0, 0);
            /* Those before it came back later: their pages may be the ones that were dropped. */
            assert_int_equal(spool_durable(kit.spool), 0);
            kit_settle(&kit);
            assert_int_equal(spool_durable(kit.spool), 5);
            assert_false(spool_failed(kit.spool));
            assert_int_equal(counted(&kit.counters, COUNT_COMMIT_FAILURES), 1);
            kit_check_disk(&kit, 0, 5);
            kit_crash(&kit);
            kit_open(&kit);
            assert_int_equal(kit.recovery.next, 5);
            assert_int_equal(kit.recovery.rows, 5);
            kit_check_disk(&kit, 0, 5);
            kit_close(&kit);
            kit_fini(&kit);
        }
}

/* What came back before the failure was on the disk by then. */
static void test_success_before_a_failure_is_believed(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    kit_open(&kit);
    kit_tick(&kit, KIT_MS);
    kit_run(&kit); /* the spare is ready */
    for (unsigned i = 0; i < 4; i++) {
        assert_true(kit_append(&kit));
        kit_commit(&kit);
    }
    kit_do(&kit, 1, 0);
    kit_do(&kit, 0, 0);
    kit_do(&kit, 0, -EIO);
    kit_do(&kit, 0, 0);
    assert_int_equal(spool_durable(kit.spool), 2);
    kit_settle(&kit);
    assert_int_equal(spool_durable(kit.spool), 4);
    kit_check_disk(&kit, 0, 4);
    kit_close(&kit);
    kit_fini(&kit);
}

static void test_second_failure_is_the_end(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    kit_open(&kit);
    assert_true(kit_append(&kit));
    kit_settle(&kit);
    assert_true(kit_append(&kit));
    kit_commit(&kit);
    kit_do(&kit, 0, -EIO);
    assert_false(spool_failed(kit.spool));
    assert_non_null(spool_room(kit.spool, 100));
    int index;
    while ((index = fake_ring_find(&kit.ring, RING_WRITE_SYNC)) < 0) {
        kit_tick(&kit, 2 * KIT_MS);
        kit_do(&kit, 0, 0);
    }
    kit_do(&kit, (unsigned)index, -EIO);
    kit_run(&kit);
    assert_true(spool_failed(kit.spool));
    assert_null(spool_room(kit.spool, 100));
    assert_int_equal(spool_pressure(kit.spool), 2);
    assert_int_equal(spool_durable(kit.spool), 1);
    kit_crash(&kit);
    kit_open(&kit);
    assert_true(kit.recovery.next >= 1);
    kit_check_disk(&kit, 0, 1);
    kit_close(&kit);
    kit_fini(&kit);
}

/* The writer keeps blocks for as long as it likes, and returns them as it likes. */
static void test_blocks_on_loan(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    kit_open(&kit);
    struct block *held[64];
    unsigned count = 0, whole = 0;
    for (unsigned i = 0; i < 30; i++) {
        for (unsigned j = 0; j < 120; j++)
            if (!kit_append(&kit))
                kit_settle(&kit);
        kit_settle(&kit);
        struct block *block;
        while (count < 64 && (block = spool_take(kit.spool)) != NULL) {
            whole += block->owner != NULL;
            held[count++] = block;
        }
        assert_true(whole <= kit.spool->memory.buffers - kit.options.in_flight_max - 4);
    }
    uint64_t durable = spool_durable(kit.spool);
    assert_true(durable == spool_next(kit.spool)); /* lending has not stopped the shard */
    assert_in_range(count, 8, 40);
    for (unsigned i = 0; i < count; i++) {
        struct block *block = held[(i * 7 + 3) % count];
        if (block == NULL)
            continue;
        struct block_view view;
        assert_int_equal(block_read(block->bytes, true, &view), BLOCK_OK);
        kit_check_block(&kit, &view);
        spool_give_back(kit.spool, block);
        held[(i * 7 + 3) % count] = NULL;
    }
    for (unsigned i = 0; i < count; i++)
        if (held[i] != NULL)
            spool_give_back(kit.spool, held[i]);
    kit_take(&kit);
    assert_int_equal(kit.spool->memory.copied, 0);
    unsigned open = kit.spool->draft.buffer != NULL;
    assert_int_equal(kit.spool->memory.free + open, kit.spool->memory.buffers);
    kit_check_disk(&kit, 0, durable);
    kit_close(&kit);
    kit_fini(&kit);
}

static bool one_mark(void *context, size_t *cursor, struct span *name, uint64_t *mark)
{
    if (*cursor > 0)
        return false;
    *cursor = 1;
    *name = SPAN("sleeper");
    *mark = *(uint64_t *)context;
    return true;
}

static void note_sleeper(void *context, struct span producer, uint64_t mark)
{
    if (span_is(producer, "sleeper"))
        ((struct kit *)context)->stored = mark;
}

/* A producer that was marked once, long ago: its mark outlives the segment that it was in. */
static void test_marks_survive_freeing(void **state)
{
    (void)state;
    struct kit kit;
    uint64_t mark = 77;
    kit_init(&kit);
    kit_open(&kit);
    spool_set_marks(kit.spool, &mark, one_mark);
    assert_true(spool_mark(kit.spool, SPAN("sleeper"), mark));
    for (unsigned i = 0; i < 1000; i++) {
        while (!kit_append(&kit))
            kit_settle(&kit);
        kit_take(&kit);
        if (i % 5 == 0)
            kit_settle(&kit);
        kit.stored = spool_durable(kit.spool);
    }
    kit_settle(&kit);
    kit_take(&kit);
    kit.stored = spool_durable(kit.spool);
    for (unsigned i = 0; i < 50; i++) {
        kit_tick(&kit, 10 * KIT_MS);
        kit_run(&kit);
    }
    assert_true(counted(&kit.counters, COUNT_SPOOL_SEGMENTS) <= 2);
    kit_crash(&kit);
    kit.stored = 0;
    kit.recovery.mark = note_sleeper;
    kit_open(&kit);
    assert_int_equal(kit.stored, 77);
    assert_true(kit.recovery.oldest > 0);
    assert_int_equal(kit.recovery.next, 1000);
    kit.stored = 0;
    kit_close(&kit);
    kit_fini(&kit);
}

/* Rows until the first block of the next segment, with its header, is on its way. */
static void fill_first_segment(struct kit *kit)
{
    kit_tick(kit, 2 * KIT_MS);
    kit_run(kit); /* the spare is ready */
    while (kit->spool->current->number == 1) {
        if (kit->ring.requests > 0)
            kit_do(kit, 0, 0);
        kit_take(kit);
        assert_true(kit_append(kit));
        kit_commit(kit);
    }
    while (kit->ring.request[0].offset != 0)
        kit_do(kit, 0, 0);
    kit_take(kit);
    kit->stored = spool_durable(kit->spool);
    assert_int_equal(kit->stored, kit->spool->current->first_sequence);
}

static bool wants_to_unlink(struct kit *kit)
{
    for (unsigned i = 0; i < 3; i++)
        kit_tick(kit, 10 * KIT_MS);
    return fake_ring_find(&kit->ring, RING_UNLINK) >= 0;
}

/* All of the first segment is stored. It stays until the next one can stand in for it:
 * with its sequence, which takes a durable header, and with all marks. */
static void test_the_old_goes_after_the_new_has_come(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    kit.snapshots = true;
    kit_open(&kit);
    kit_commit(&kit);
    fill_first_segment(&kit);
    assert_false(wants_to_unlink(&kit));
    kit_do(&kit, 0, 0); /* the header */
    kit_do(&kit, 0, 0); /* the first block */
    assert_false(wants_to_unlink(&kit));
    kit_commit(&kit); /* the marks */
    assert_false(wants_to_unlink(&kit));
    kit_run(&kit);
    assert_true(wants_to_unlink(&kit));
    kit_close(&kit);
    kit_fini(&kit);

    kit_init(&kit); /* no producer has a name: the header alone */
    kit_open(&kit);
    kit_commit(&kit);
    fill_first_segment(&kit);
    kit_commit(&kit);
    assert_false(wants_to_unlink(&kit));
    kit_do(&kit, 0, 0);
    assert_true(wants_to_unlink(&kit));
    kit_close(&kit);
    kit_fini(&kit);
}

static void test_retained_until_time_or_space(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    kit.options.retain_us = 10 * 1000 * 1000;
    kit_open(&kit);
    for (unsigned i = 0; i < 600; i++) {
        while (!kit_append(&kit))
            kit_settle(&kit);
        kit_take(&kit);
        if (i % 5 == 0)
            kit_settle(&kit);
    }
    kit_settle(&kit);
    kit_tick(&kit, 2 * KIT_MS);
    uint64_t segments = counted(&kit.counters, COUNT_SPOOL_SEGMENTS);
    kit.stored = 600;
    kit_tick(&kit, 2 * KIT_MS);
    kit_run(&kit);
    kit_tick(&kit, 2 * KIT_MS);
    assert_int_equal(counted(&kit.counters, COUNT_SPOOL_SEGMENTS), segments);
    kit_check_disk(&kit, 0, 600);
    kit_tick(&kit, (uint64_t)11000 * KIT_MS);
    kit_run(&kit);
    kit_tick(&kit, 2 * KIT_MS);
    kit_run(&kit);
    kit_tick(&kit, 2 * KIT_MS);
    assert_true(counted(&kit.counters, COUNT_SPOOL_SEGMENTS) < 3);
    kit_close(&kit);
    kit_fini(&kit);
}

/* A full disk: no segment beyond the limit,
 * the pressure rises, and nothing that was accepted is lost. */
static void test_pressure(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    kit.options.bytes_max = (uint64_t)KIT_SEGMENT_BYTES * 6;
    kit.options.retain_us = (int64_t)3600 * 1000 * 1000;
    kit_open(&kit);
    unsigned highest = 0;
    uint64_t at_level[3] = {0};
    for (;;) {
        unsigned level = spool_pressure(kit.spool);
        assert_true(level >= highest);
        if (level > highest)
            at_level[level] = spool_next(kit.spool);
        highest = level;
        if (!kit_append(&kit))
            break;
        kit_commit(&kit);
        kit_tick(&kit, 2 * KIT_MS);
        kit_run(&kit);
        kit_take(&kit);
    }
    assert_int_equal(highest, 2);
    assert_true(at_level[1] > 0 && at_level[1] < at_level[2]);
    assert_true(spool_disk_bytes(kit.spool) <= kit.options.bytes_max);
    uint64_t next = spool_next(kit.spool);
    kit.stored = spool_durable(kit.spool); /* Postgres is back: space before its time */
    for (unsigned i = 0; i < 20; i++) {
        kit_commit(&kit);
        kit_tick(&kit, 2 * KIT_MS);
        kit_run(&kit);
        kit_take(&kit);
        kit.stored = spool_durable(kit.spool);
    }
    assert_int_equal(spool_durable(kit.spool), next);
    assert_int_equal(spool_pressure(kit.spool), 0);
    assert_true(kit_append(&kit));
    kit_settle(&kit);
    kit_close(&kit);
    kit_fini(&kit);
}

/* A disk full of stored segments, each with marks that are to be repeated behind more in memory than
 * the last segment has room for. */
static void test_marks_do_not_hold_a_full_disk(void **state)
{
    (void)state;
    struct kit kit;
    uint64_t mark = 77;
    kit_init(&kit);
    kit.options.bytes_max = (uint64_t)KIT_SEGMENT_BYTES * 4;
    kit.options.retain_us = 0;
    kit_open(&kit);
    spool_set_marks(kit.spool, &mark, one_mark);
    assert_true(spool_mark(kit.spool, SPAN("sleeper"), mark));
    while (kit_append(&kit)) {
        kit_commit(&kit);
        kit_tick(&kit, 2 * KIT_MS);
        kit_run(&kit);
        kit_take(&kit);
    }
    uint64_t next = spool_next(kit.spool);
    assert_true(spool_durable(kit.spool) < next);
    for (unsigned i = 0; i < 50; i++) {
        kit.stored = spool_durable(kit.spool);
        kit_commit(&kit);
        kit_tick(&kit, 2 * KIT_MS);
        kit_run(&kit);
        kit_take(&kit);
    }
    assert_int_equal(spool_durable(kit.spool), next);
    assert_true(spool_disk_bytes(kit.spool) <= kit.options.bytes_max);
    assert_int_equal(spool_pressure(kit.spool), 0);
    kit_close(&kit);
    kit_fini(&kit);
}

static void test_no_spare_is_back_pressure(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    kit_open(&kit);
    while (kit_append(&kit)) {
        kit_commit(&kit);
        int index;
        while ((index = fake_ring_find(&kit.ring, RING_WRITE_SYNC)) >= 0)
            kit_do(&kit, (unsigned)index, 0);
        kit_take(&kit);
    }
    assert_int_equal(spool_pressure(kit.spool), 2);
    uint64_t next = spool_next(kit.spool);
    kit_tick(&kit, 2 * KIT_MS);
    kit_do(&kit, (unsigned)fake_ring_find(&kit.ring, RING_OPEN), 0);
    kit_do(&kit, (unsigned)fake_ring_find(&kit.ring, RING_WRITE), -ENOSPC);
    kit_run(&kit);
    assert_true(spool_durable(kit.spool) < next);
    kit_tick(&kit, (uint64_t)1100 * KIT_MS); /* and again after a while */
    kit_settle(&kit);
    assert_int_equal(spool_durable(kit.spool), next);
    kit_take(&kit);
    kit_check_disk(&kit, 0, next);
    kit_close(&kit);
    kit_fini(&kit);
}

/* The disk is full long before spool.bytes: what is stored goes before
 * its time, but no more of it than is needed for the next segment. */
static void test_a_full_disk_takes_what_is_stored(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    kit.options.retain_us = (int64_t)3600 * 1000 * 1000;
    kit_open(&kit);
    int spare = -1; /* being opened */
    while (spare < 0 || counted(&kit.counters, COUNT_SPOOL_SEGMENTS) < 6) {
        kit_run(&kit);
        kit_take(&kit);
        assert_true(kit_append(&kit));
        kit_commit(&kit);
        kit_tick(&kit, 2 * KIT_MS);
        spare = fake_ring_find(&kit.ring, RING_OPEN);
    }
    kit_do(&kit, (unsigned)spare, 0);
    int written = fake_ring_find(&kit.ring, RING_WRITE);
    kit.stored = spool_durable(kit.spool);
    kit_tick(&kit, 2 * KIT_MS);
    uint64_t segments = counted(&kit.counters, COUNT_SPOOL_SEGMENTS);
    assert_int_equal(fake_ring_find(&kit.ring, RING_UNLINK), -1);
    kit_do(&kit, (unsigned)written, -ENOSPC);
    for (unsigned i = 0; i < 5; i++) {
        kit_tick(&kit, 2 * KIT_MS);
        kit_run(&kit);
    }
    assert_int_equal(counted(&kit.counters, COUNT_SPOOL_SEGMENTS), segments - 1);
    assert_int_not_equal(kit.spool->nursery.step, NURSERY_EMPTY);
    kit_close(&kit);
    kit_fini(&kit);
}

static void test_one_process(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    kit_open(&kit);
    struct spool_directory *second;
    assert_int_equal(spool_directory_open(&second, kit.path, "node", kit.why), -EWOULDBLOCK);
    assert_non_null(strstr(kit.why, "another process"));
    kit_close(&kit);
    assert_int_equal(spool_directory_open(&second, kit.path, "other", kit.why), -EINVAL);
    assert_non_null(strstr(kit.why, "`node`"));
    assert_int_equal(spool_directory_open(&second, kit.path, "node", kit.why), 0);
    assert_int_equal(spool_directory_shards(second), 1 << 3);
    spool_directory_close(second);
    kit_fini(&kit);
}

static void test_shared_directory(void **state)
{
    (void)state;
    struct kit kit;
    struct spool_directory *directory;
    struct spool *two[2];
    kit_init(&kit);
    assert_int_equal(spool_directory_open(&directory, kit.path, "node", kit.why), 0);
    kit.options.shared = directory;
    for (unsigned i = 0; i < 2; i++) {
        kit.options.shard = i;
        assert_int_equal(spool_open(&two[i], &kit.options, &kit.recovery, kit.why), 0);
        assert_int_equal(kit.recovery.epoch, spool_directory_epoch(directory));
    }
    spool_close(two[0]);
    spool_close(two[1]);
    spool_directory_close(directory);
    kit_fini(&kit);
}

/* An idle spool says on the disk how far it was durable: once. */
static void test_witness(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    kit_open(&kit);
    assert_true(kit_append(&kit));
    kit_settle(&kit);
    uint64_t written = counted(&kit.counters, COUNT_SPOOL_WRITTEN_BYTES);
    for (unsigned i = 0; i < 5; i++) {
        kit_tick(&kit, (uint64_t)1100 * KIT_MS);
        kit_run(&kit);
    }
    assert_int_equal(counted(&kit.counters, COUNT_SPOOL_WRITTEN_BYTES), written + BLOCK_ALIGN);
    assert_int_equal(spool_durable(kit.spool), 1);
    kit_crash(&kit);
    kit_fini(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append_commit_durable),
        cmocka_unit_test(test_durable_only_in_order),
        cmocka_unit_test(test_segments_follow_one_another),
        cmocka_unit_test(test_failed_commit_goes_to_a_new_segment),
        cmocka_unit_test(test_success_before_a_failure_is_believed),
        cmocka_unit_test(test_second_failure_is_the_end),
        cmocka_unit_test(test_blocks_on_loan),
        cmocka_unit_test(test_marks_survive_freeing),
        cmocka_unit_test(test_the_old_goes_after_the_new_has_come),
        cmocka_unit_test(test_retained_until_time_or_space),
        cmocka_unit_test(test_pressure),
        cmocka_unit_test(test_marks_do_not_hold_a_full_disk),
        cmocka_unit_test(test_no_spare_is_back_pressure),
        cmocka_unit_test(test_a_full_disk_takes_what_is_stored),
        cmocka_unit_test(test_one_process),
        cmocka_unit_test(test_shared_directory),
        cmocka_unit_test(test_witness),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
