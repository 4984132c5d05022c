/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spool of a shard that no longer runs: removed when it is stored, and its
 * sequences go on should the shard come back.
 */
#include "tests/unit/segment_kit.c"

enum { ROWS = 2000, RETAIN_NS = 1000 * 1000 /* the kit's */ };

/* ROWS rows in some segments, closed. */
static void leave_behind(struct kit *kit)
{
    kit_init(kit);
    kit->snapshots = true;
    kit_open(kit);
    while (spool_next(kit->spool) < ROWS) {
        kit_tick(kit, 2 * KIT_MS);
        assert_true(kit_append(kit));
        kit_settle(kit);
        kit_take(kit);
    }
    kit_close(kit);
}

static void adopt(struct kit *kit)
{
    if (spool_adopt(&kit->spool, &kit->options, &kit->recovery, kit->why) != 0)
        fail_msg("%s", kit->why);
}

static unsigned files(const struct kit *kit)
{
    unsigned count = 0;
    for (uint64_t number = 0; number < 100; number++)
        count += exists(kit, number, "seg");
    return count;
}

/* As often as it takes, or would. */
static void tick(struct kit *kit, uint64_t stored, bool seen)
{
    uint64_t seen_ns = kit->now_ns;
    for (unsigned i = 0; i < 100; i++) {
        kit->now_ns += RETAIN_NS;
        seen_ns = seen ? kit->now_ns : seen_ns;
        spool_orphan_tick(kit->spool, kit->now_ns, stored, seen_ns);
    }
}

static void test_goes_when_it_is_stored(void **state)
{
    (void)state;
    struct kit kit;
    leave_behind(&kit);
    adopt(&kit);
    assert_int_equal(kit.recovery.next, ROWS);
    assert_true(kit.recovery.segments > 2);
    unsigned had = files(&kit);
    assert_true(had > 3);
    tick(&kit, 0, true);
    assert_int_equal(files(&kit), had);
    tick(&kit, ROWS, false); /* Postgres may come back without them */
    assert_int_equal(files(&kit), had);
    tick(&kit, ROWS - 1, true); /* … and has: time begins anew */
    unsigned left = files(&kit);
    assert_true(left >= 2 && left < had);
    kit_check_disk(&kit, ROWS - 1, ROWS);
    tick(&kit, ROWS, true);
    assert_int_equal(files(&kit), 1);
    spool_close(kit.spool);
    kit_fini(&kit);
}

static void test_stays_until_its_time_has_come(void **state)
{
    (void)state;
    struct kit kit;
    leave_behind(&kit);
    adopt(&kit);
    unsigned had = files(&kit);
    spool_orphan_tick(kit.spool, kit.now_ns, ROWS, kit.now_ns);
    spool_orphan_tick(kit.spool, kit.now_ns + RETAIN_NS - 1, ROWS, kit.now_ns + RETAIN_NS - 1);
    assert_int_equal(files(&kit), had);
    spool_orphan_tick(kit.spool, kit.now_ns + RETAIN_NS, ROWS, kit.now_ns + RETAIN_NS);
    assert_int_equal(files(&kit), had - 1);
    spool_close(kit.spool);
    kit_fini(&kit);
}

/* Started again and again without the shard, and then with it. */
static void test_shard_comes_back(void **state)
{
    (void)state;
    struct kit kit;
    leave_behind(&kit);
    adopt(&kit);
    tick(&kit, ROWS, true);
    spool_close(kit.spool);
    for (unsigned i = 0; i < 3; i++) {
        adopt(&kit);
        assert_int_equal(kit.recovery.next, ROWS);
        assert_int_equal(kit.recovery.oldest, ROWS);
        assert_int_equal(files(&kit), 1);
        spool_close(kit.spool);
    }
    kit_open(&kit);
    assert_int_equal(spool_next(kit.spool), ROWS);
    assert_true(kit_append(&kit));
    kit_settle(&kit);
    kit_check_disk(&kit, ROWS, ROWS + 1);
    kit_close(&kit);
    kit_fini(&kit);
}

/* Half of it is stored, and the shard runs again. */
static void test_shard_comes_back_early(void **state)
{
    (void)state;
    struct kit kit;
    leave_behind(&kit);
    for (unsigned i = 0; i < 2; i++) {
        adopt(&kit);
        tick(&kit, ROWS / 2, true);
        spool_close(kit.spool);
        kit_open(&kit);
        assert_int_equal(spool_next(kit.spool), ROWS + i);
        assert_true(kit_append(&kit));
        kit_settle(&kit);
        kit_check_disk(&kit, ROWS / 2, ROWS + i + 1);
        kit_close(&kit);
    }
    kit_fini(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goes_when_it_is_stored),
        cmocka_unit_test(test_stays_until_its_time_has_come),
        cmocka_unit_test(test_shard_comes_back),
        cmocka_unit_test(test_shard_comes_back_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
