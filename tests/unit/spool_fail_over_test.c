/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Postgres fails over to a standby that had not got the last transactions: what was stored goes
 * back, and the spool keeps what is needed again.
 */
#include "tests/unit/spool_kit.c"

enum { ROWS = 600, RETAIN_MS = 10000 };

/* Some segments full of rows, all durable. */
static void init_full(struct kit *kit)
{
    kit_init(kit);
    kit->options.retain_us = RETAIN_MS * 1000;
    kit_open(kit);
    while (spool_next(kit->spool) < ROWS) {
        if (!kit_append(kit) || spool_next(kit->spool) % 5 == 0)
            kit_settle(kit);
        kit_take(kit);
    }
    kit_settle(kit);
}

static uint64_t segments_after(struct kit *kit, uint64_t ms)
{
    kit_tick(kit, ms * KIT_MS);
    for (unsigned i = 0; i < 20; i++) {
        kit_run(kit);
        kit_tick(kit, 2 * KIT_MS);
    }
    return counted(&kit->counters, COUNT_SPOOL_SEGMENTS);
}

/* Nothing that it needs again goes, however long ago it was
 * stored, and the time begins anew when it is stored again. */
static void stored_goes_back(void **state)
{
    (void)state;
    struct kit kit;
    init_full(&kit);
    kit.stored = ROWS;
    uint64_t segments = segments_after(&kit, 2);
    unsigned pressure = spool_pressure(kit.spool);
    kit.stored = ROWS / 2;
    uint64_t left = segments_after(&kit, RETAIN_MS + 1000);
    assert_true(left < segments && left > 1);
    kit_check_disk(&kit, ROWS / 2, ROWS);
    assert_int_equal(counted(&kit.counters, COUNT_SPOOL_PENDING_EVENTS), ROWS / 2);
    assert_true(spool_pressure(kit.spool) >= pressure);
    kit.stored = ROWS;
    assert_int_equal(segments_after(&kit, 2), left);
    assert_int_equal(segments_after(&kit, RETAIN_MS - 1000), left);
    kit_check_disk(&kit, ROWS / 2, ROWS);
    assert_true(segments_after(&kit, 2000) < left);
    assert_int_equal(counted(&kit.counters, COUNT_SPOOL_PENDING_EVENTS), 0);
    kit_close(&kit);
    kit_fini(&kit);
}

/* It goes back in the very turn in which the time of its segments has come. */
static void stored_goes_back_at_the_last_moment(void **state)
{
    (void)state;
    struct kit kit;
    init_full(&kit);
    kit.stored = ROWS;
    uint64_t segments = segments_after(&kit, 2);
    kit_tick(&kit, (uint64_t)(RETAIN_MS - 100) * KIT_MS);
    kit.stored = 0;
    kit_tick(&kit, 0);
    assert_int_equal(segments_after(&kit, 1000), segments);
    kit_check_disk(&kit, 0, ROWS);
    kit_close(&kit);
    kit_fini(&kit);
}

/* Postgres is gone before retain_us has passed, and comes back when it has long passed: as a standby
 * that lacks what was stored last. */
static void away_for_longer_than_segments_are_kept(void **state)
{
    (void)state;
    struct kit kit;
    init_full(&kit);
    kit.stored = ROWS;
    uint64_t segments = segments_after(&kit, 2);
    kit.gone_ns = kit.now_ns;
    assert_int_equal(segments_after(&kit, 3 * RETAIN_MS), segments);
    kit.gone_ns = 0;
    kit.stored = 0;
    assert_int_equal(segments_after(&kit, 1000), segments);
    kit_check_disk(&kit, 0, ROWS);
    kit.stored = ROWS;
    assert_int_equal(segments_after(&kit, 2), segments);
    assert_true(segments_after(&kit, RETAIN_MS + 1000) < segments);
    kit_close(&kit);
    kit_fini(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stored_goes_back),
        cmocka_unit_test(stored_goes_back_at_the_last_moment),
        cmocka_unit_test(away_for_longer_than_segments_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
