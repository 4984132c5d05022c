/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recovery after crashes: what was thanked for is there, once, in order, and nothing else.
 */
#include "tests/unit/segment_kit.c"

/* ── Crashes ────────────────────────────────────────────────────────────────────────────────── */

/* One request of those that wait, any of them; now and then it fails. */
static void do_any(struct kit *kit, unsigned failures)
{
    unsigned index = (unsigned)(fake_random(&kit->ring.seed) % kit->ring.requests);
    enum ring_op op = kit->ring.request[index].op;
    bool may_fail = op == RING_WRITE_SYNC || op == RING_WRITE || op == RING_SYNC;
    int error = 0;
    if (may_fail && failures > 0 && fake_random(&kit->ring.seed) % failures == 0)
        error = fake_random(&kit->ring.seed) % 2 == 0 || op == RING_SYNC ? -EIO : -ECANCELED;
    kit_do(kit, index, error);
}

/* Traffic until `stop` requests have been carried out. */
static void traffic(struct kit *kit, uint64_t stop, unsigned failures)
{
    unsigned turns = 0;
    while (kit->ring.carried_out < stop && turns++ < 5000 && spool_next(kit->spool) < 6000) {
        for (uint64_t n = fake_random(&kit->ring.seed) % 30; n > 0 && kit_append(kit);)
            n--;
        kit_commit(kit);
        kit_tick(kit, 2 * KIT_MS);
        for (uint64_t n = fake_random(&kit->ring.seed) % 8; n > 0 && kit->ring.requests > 0; n--)
            if (kit->ring.carried_out < stop)
                do_any(kit, failures);
        kit_take(kit);
        if (fake_random(&kit->ring.seed) % 4 == 0)
            kit->stored = spool_durable(kit->spool);
    }
}

/* After a crash: what was durable is there, and nothing else than what was appended. */
static void check_recovered(struct kit *kit, uint64_t durable, uint64_t next)
{
    assert_string_equal(kit->recovery.loss, "");
    assert_true(kit->recovery.next >= durable);
    assert_true(kit->recovery.next <= next);
    assert_true(kit->recovery.oldest <= kit->stored);
    check_told(kit, kit->recovery.oldest, kit->recovery.next);
    if (kit->snapshots || kit->recovery.oldest < kit->recovery.next)
        assert_int_equal(kit->mark, kit->recovery.next);
    kit_check_disk(kit, kit->recovery.oldest, kit->recovery.next);
}

static void crash_and_recover(struct kit *kit)
{
    uint64_t durable = spool_durable(kit->spool), next = spool_next(kit->spool);
    kit_crash(kit);
    kit_open(kit);
    check_recovered(kit, durable, next);
}

static void test_crash_at_every_call(void **state)
{
    (void)state;
    for (unsigned stop = 0; stop < 120; stop += 3) {
        struct kit kit;
        kit_init(&kit);
        kit.ring.seed = stop * 7919;
        kit.snapshots = true;
        kit_open(&kit);
        traffic(&kit, stop, 0);
        crash_and_recover(&kit);
        kit_close(&kit);
        kit_fini(&kit);
    }
}

/* Boot after boot in one directory, each ended by a crash, with failing writes among them. */
static void test_crash_after_crash(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 5; seed++) {
        struct kit kit;
        kit_init(&kit);
        kit.ring.seed = seed * 104729;
        kit.snapshots = seed % 3 != 0;
        kit_open(&kit);
        for (unsigned boot = 0; boot < 12; boot++) {
            uint64_t more = fake_random(&kit.ring.seed) % 60;
            traffic(&kit, kit.ring.carried_out + more, boot % 3 == 2 ? 25 : 0);
            crash_and_recover(&kit);
        }
        kit_settle(&kit);
        kit_close(&kit);
        kit_open(&kit);
        assert_string_equal(kit.recovery.loss, "");
        kit_check_disk(&kit, kit.recovery.oldest, kit.recovery.next);
        kit_close(&kit);
        kit_fini(&kit);
    }
}

/* Blocks that nobody was thanked for: the second is torn, so the good third does not count. */
static void test_torn_end(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    kit_open(&kit);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(kit_append(&kit));
        kit_commit(&kit);
        if (i == 0)
            kit_run(&kit);
    }
    uint64_t number = kit.spool->current->number, at = blocks_at(&kit, number);
    for (unsigned i = 0; i < 2; i++) {
        const struct fake_request *request = &kit.ring.request[i];
        assert_true(pwrite(request->file, request->bytes, request->length, (off_t)request->offset) >
                    0);
    }
    kit.ring.requests = 0;
    kit_crash(&kit);
    flip(&kit, number, at + BLOCK_ALIGN + 140);
    kit_open(&kit);
    assert_int_equal(kit.recovery.next, 1);
    assert_int_equal(kit.recovery.rows, 1);
    assert_int_equal(kit.recovery.torn_bytes, 2 * BLOCK_ALIGN);
    check_told(&kit, 0, 1);
    /* The sequences are given out again, and the old rows never
     * come back, not even if the disk reads them well now. */
    flip(&kit, number, at + BLOCK_ALIGN + 140);
    for (unsigned i = 0; i < 3; i++)
        assert_true(kit_append(&kit));
    kit_settle(&kit);
    kit_check_disk(&kit, 0, 4);
    kit_close(&kit);
    kit_open(&kit);
    check_recovered(&kit, 4, 4);
    kit_close(&kit);
    kit_fini(&kit);
}

static void wipe_header(const struct kit *kit, uint64_t number)
{
    static const uint8_t zeros[2 * SEGMENT_ALIGN];
    char path[160];
    (void)snprintf(path, sizeof path, "%s/shard-03/%016llx.seg", kit->path,
                   (unsigned long long)number);
    int file = open(path, O_WRONLY);
    assert_true(file >= 0);
    assert_int_equal(pwrite(file, zeros, sizeof zeros, 0), sizeof zeros);
    close(file);
}

/*
 *   1  …, block, block: written, not proven      their rows, and those in 2, go to the tail segment,
 *   2  header, block: written, not proven        which begins before 2 does
 * Then 1 is removed, and 2, of which nothing counts, is the oldest that is left.
 */
static void superseded_segment_is_the_oldest(bool headless)
{
    struct kit kit;
    kit_init(&kit);
    kit_open(&kit);
    kit_tick(&kit, 2 * KIT_MS);
    kit_run(&kit);
    while (kit.spool->current->number == 1) {
        if (kit.ring.requests > 2)
            kit_do(&kit, 0, 0);
        kit_take(&kit);
        assert_true(kit_append(&kit));
        kit_commit(&kit);
    }
    for (unsigned i = 0; i < kit.ring.requests; i++) {
        const struct fake_request *request = &kit.ring.request[i];
        if (request->op == RING_WRITE_SYNC)
            assert_true(
                pwrite(request->file, request->bytes, request->length, (off_t)request->offset) > 0);
    }
    kit.ring.requests = 0;
    uint64_t durable = spool_durable(kit.spool), next = spool_next(kit.spool);
    kit_crash(&kit);
    kit_open(&kit);
    check_recovered(&kit, durable, next);
    assert_int_equal(kit.recovery.next, next);
    kit.stored = next;
    while (LIST_ENTRY(kit.spool->segments.next, struct segment, link)->number == 1) {
        kit_commit(&kit);
        kit_tick(&kit, 2 * KIT_MS);
        if (kit.ring.requests > 0)
            kit_do(&kit, 0, 0);
    }
    kit_do(&kit, (unsigned)fake_ring_find(&kit.ring, RING_UNLINK), 0);
    assert_true(exists(&kit, 2, "seg") && !exists(&kit, 1, "seg"));
    kit.ring.changes = 0;
    kit.ring.requests = 0;
    kit_crash(&kit);
    if (headless)
        wipe_header(&kit, 2);
    kit_open(&kit);
    assert_string_equal(kit.recovery.loss, "");
    assert_int_equal(kit.recovery.next, next);
    kit_check_disk(&kit, kit.recovery.oldest, next);
    kit_close(&kit);
    kit_fini(&kit);
}

static void test_superseded_segment_is_the_oldest(void **state)
{
    (void)state;
    superseded_segment_is_the_oldest(false);
}

/* The process was killed before 2's header was synced, and later the machine went: a block of it was
 * written, its header never was. */
static void test_superseded_segment_without_a_header(void **state)
{
    (void)state;
    superseded_segment_is_the_oldest(true);
}

/* What was written and never proven durable is written again before it counts. */
static void test_unproven_tail_is_moved(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    kit_open(&kit);
    for (unsigned i = 0; i < 8; i++) {
        assert_true(kit_append(&kit));
        kit_settle(&kit);
    }
    kit_crash(&kit);
    kit_open(&kit);
    check_recovered(&kit, 8, 8);
    const struct segment *first = LIST_ENTRY(kit.spool->segments.next, struct segment, link);
    const struct segment *second = LIST_ENTRY(first->link.next, struct segment, link);
    assert_int_equal(first->end, 7);
    assert_int_equal(second->first_sequence, 7);
    assert_int_equal(second->end, 8);
    assert_true(second != kit.spool->current);
    /* The old copy may rot now: it is not what counts. */
    uint64_t at = blocks_at(&kit, first->number) + 7 * BLOCK_ALIGN;
    flip(&kit, first->number, at + 200);
    kit_crash(&kit);
    kit_open(&kit);
    check_recovered(&kit, 8, 8);
    unsigned segments = (unsigned)kit.recovery.segments;
    kit_close(&kit);
    kit_open(&kit); /* and it is not moved again */
    assert_int_equal(kit.recovery.segments, segments);
    kit_close(&kit);
    kit_fini(&kit);
}

/* Another shard has not yet repeated the counts that stand in what earlier boots left. */
static void test_inherited_segments_wait(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    kit.snapshots = true;
    kit_open(&kit);
    traffic(&kit, 400, 300);
    kit_close(&kit);
    kit_open(&kit);
    spool_keep_inherited(kit.spool, true);
    uint64_t oldest = LIST_ENTRY(kit.spool->segments.next, struct segment, link)->number;
    traffic(&kit, 400, 300);
    kit.stored = spool_durable(kit.spool);
    traffic(&kit, kit.ring.carried_out + 100, 300);
    assert_true(exists(&kit, oldest, "seg"));
    spool_keep_inherited(kit.spool, false);
    kit.stored = spool_durable(kit.spool);
    traffic(&kit, kit.ring.carried_out + 100, 300);
    assert_false(exists(&kit, oldest, "seg"));
    kit_close(&kit);
    kit_fini(&kit);
}

/* ── The reader beside the living spool ─────────────────────────────────────────────────────── */

static void test_reader_follows(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    kit.ring.seed = 5;
    kit_open(&kit);
    struct spool_reader *reader;
    assert_int_equal(spool_reader_open(&reader, kit.path, 3, kit.why), 0);
    uint64_t sequence = 0;
    while (sequence < 3000) {
        traffic(&kit, kit.ring.carried_out + 3, 300);
        kit.stored = sequence; /* what has been read may go */
        while (sequence < spool_durable(kit.spool)) {
            struct block_view view;
            const struct spool_stream *streams;
            unsigned count;
            int result = spool_reader_get(reader, sequence, &view, &streams, &count, kit.why);
            if (result != 1)
                fail_msg("row %llu: %d %s", (unsigned long long)sequence, result, kit.why);
            assert_true(view.first_sequence <= sequence);
            kit_check_block(&kit, &view);
            sequence = view.first_sequence + view.rows;
            if (sequence % 3 == 0)
                break; /* lag behind */
        }
    }
    struct block_view view;
    const struct spool_stream *streams;
    unsigned count;
    assert_int_equal(spool_reader_get(reader, 0, &view, &streams, &count, kit.why), -ENOENT);
    uint64_t durable = spool_durable(kit.spool);
    kit_settle(&kit);
    assert_int_equal(spool_reader_get(reader, durable - 1, &view, &streams, &count, kit.why), 1);
    assert_int_equal(
        spool_reader_get(reader, spool_durable(kit.spool), &view, &streams, &count, kit.why), 0);
    assert_true(kit_append(&kit));
    kit_settle(&kit);
    assert_int_equal(
        spool_reader_get(reader, spool_durable(kit.spool) - 1, &view, &streams, &count, kit.why),
        1);
    spool_reader_close(reader);
    kit_close(&kit);
    kit_fini(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crash_at_every_call),
        cmocka_unit_test(test_crash_after_crash),
        cmocka_unit_test(test_torn_end),
        cmocka_unit_test(test_superseded_segment_is_the_oldest),
        cmocka_unit_test(test_superseded_segment_without_a_header),
        cmocka_unit_test(test_unproven_tail_is_moved),
        cmocka_unit_test(test_inherited_segments_wait),
        cmocka_unit_test(test_reader_follows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
