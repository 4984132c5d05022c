/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer on a Postgres that is well: everything arrives once and in order, however it came.
 */
#include "tests/unit/writer_rig.h"

static struct rig the_rig;

static void mailed_blocks_are_stored(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    rig_init(rig, 1);
    rig_start(rig);
    for (unsigned i = 0; i < 100; i++)
        rig_feed(rig, 0, 1 + i * 13 % 500);
    rig_wait_stored(rig);
    rig_check(rig, 0);
    assert_int_equal(rig_state(rig), POSTGRES_UP);
    rig_stop(rig, 2000);
    assert_int_equal(counted(rig->counters, COUNT_EVENTS_STORED), rig->shard[0].next);
    assert_int_equal(counted(rig->counters, COUNT_POSTGRES_CONNECTS), 1);
    assert_int_equal(counted(rig->counters, COUNT_BATCH_FAILURES), 0);
    assert_true(counted(rig->counters, COUNT_BATCHES) > 0);
    rig_fini(rig);
}

/* All of a block's memory is used again the moment that it
 * is given back: a writer that still sends from it is seen. */
static void large_blocks_are_lent_and_come_back(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    rig_init(rig, 2);
    rig->body_bytes = 200;
    rig_start(rig);
    for (unsigned i = 0; i < 100; i++)
        rig_feed_mixed(rig, i % 2, 1000, i % 3 == 0 ? 7 : 0, true);
    rig_wait_stored(rig);
    rig_check(rig, 0);
    assert_int_equal(
        rig_number("select count(*) from t where body <> repeat(chr(97 + (n % 26)::int), 200)"), 0);
    rig_stop(rig, 2000);
    rig_take_back(rig);
    assert_int_equal(rig->shard[0].lent + rig->shard[1].lent, 0);
    rig_fini(rig);
}

static void what_was_not_mailed_is_read_from_the_disk(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    rig_init(rig, 2);
    for (unsigned i = 0; i < 50; i++)
        rig_feed_mixed(rig, i % 2, 100 + i, 3, false);
    rig_start(rig);
    rig_wait_stored(rig);
    assert_int_equal(counted(rig->counters, COUNT_BLOCKS_REREAD), 50);
    for (unsigned i = 0; i < 20; i++) { /* and again, once it has caught up */
        rig_feed_mixed(rig, 0, 10, 0, false);
        usleep(1000);
    }
    rig_wait_stored(rig);
    rig_check(rig, 0);
    rig_stop(rig, 2000);
    rig_fini(rig);
}

static void gaps_in_the_mail_are_filled(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    rig_init(rig, 2);
    rig_start(rig);
    for (unsigned i = 0; i < 300; i++) {
        rig_feed_mixed(rig, i % 2, 1 + i * 7 % 200, i % 5, i % 3 != 0 && (i < 100 || i > 200));
        if (i % 50 == 0)
            usleep(3000);
    }
    rig_wait_stored(rig);
    rig_check(rig, 0);
    rig_stop(rig, 2000);
    rig_fini(rig);
}

/* Another run's batches ended somewhere else: the checkpoint stands in the middle of a block. */
static void a_checkpoint_may_stand_anywhere(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    for (unsigned from = 1; from < 60; from += 11) {
        rig_init(rig, 1);
        rig_sql("create table t (n bigint, body text)");
        rig_sql("create table ringmain_checkpoint (node text, shard int, epoch bigint, next_seq "
                "bigint, "
                "primary key (node, shard, epoch))");
        char sql[200];
        snprintf(sql, sizeof sql,
                 "insert into ringmain_checkpoint values (E'node''s \\\\ name', 0, 77, %u)", from);
        rig_sql(sql);
        for (unsigned i = 0; i < 4; i++)
            rig_feed_mixed(rig, 0, 20, 6, i > 1);
        rig_start(rig);
        rig_wait_stored(rig);
        assert_int_equal(
            rig_number("select count(*) from (select n from t union all select n from u) x"),
            80 - from);
        assert_int_equal(
            rig_number("select min(n) from (select n from t union all select n from u) x"), from);
        rig_stop(rig, 2000);
        rig_fini(rig);
    }
}

static void a_batch_ends_at_its_bounds(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    rig_init(rig, 1);
    rig->options.batch_rows_max = 50;
    rig->options.linger_ms = 2000;
    rig_start(rig);
    RIG_UNTIL(rig_state(rig) == POSTGRES_UP);
    uint64_t begin = clock_mono_ns();
    for (unsigned i = 0; i < 20; i++)
        rig_feed(rig, 0, 10);
    rig_wait_stored(rig); /* four full batches, none of them lingers */
    assert_true(clock_mono_ns() - begin < RIG_SECOND);
    assert_int_equal(counted(rig->counters, COUNT_BATCHES), 4);
    rig_feed(rig, 0, 300); /* a block above the bound is a batch of its own */
    rig_wait_stored(rig);
    assert_int_equal(counted(rig->counters, COUNT_BATCHES), 5);
    rig_check(rig, 0);
    rig_feed(rig, 0, 3); /* a stop does not wait for the linger */
    rig_stop(rig, 1000);
    rig_check(rig, 0);
    assert_true(clock_mono_ns() - begin < 2ull * RIG_SECOND);
    rig_fini(rig);
}

static void few_rows_linger(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    rig_init(rig, 1);
    rig->options.linger_ms = 100;
    rig_start(rig);
    RIG_UNTIL(rig_state(rig) == POSTGRES_UP);
    uint64_t begin = clock_mono_ns();
    rig_feed(rig, 0, 1);
    usleep(20000);
    rig_feed(rig, 0, 1);
    rig_wait_stored(rig);
    assert_true(clock_mono_ns() - begin >= 100000000);
    assert_int_equal(counted(rig->counters, COUNT_BATCHES), 1);
    rig_stop(rig, 1000);
    rig_fini(rig);
}

static void an_orphan_is_stored_to_its_end(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    rig_init(rig, 2);
    for (unsigned i = 0; i < 10; i++)
        rig_feed_mixed(rig, 1, 50, 0, false);
    rig->source[1] = (struct writer_source){.shard = 1, .epoch = 78, .durable_at_start = 500};
    rig_start(rig);
    rig_feed(rig, 0, 100);
    RIG_UNTIL(counted(rig->counters, COUNT_EVENTS_STORED) == 600);
    rig_check(rig, 0);
    assert_int_equal(atomic_load(&rig->progress[1].stored), 500);
    rig_stop(rig, 1000);
    rig_fini(rig);
}

static void a_second_run_goes_on(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    rig_init(rig, 1);
    for (unsigned run = 0; run < 3; run++) {
        rig_start(rig);
        for (unsigned i = 0; i < 10; i++)
            rig_feed(rig, 0, 33);
        rig_stop(rig, 2000);
        rig_take_back(rig);
        writer_close(rig->writer);
        rig->writer = NULL;
        rig_check(rig, 0);
    }
    rig_fini(rig);
}

static void without_postgres_blocks_come_back(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    rig_init(rig, 1);
    rig->options.conninfo = "";
    rig_start(rig);
    for (unsigned i = 0; i < 20; i++)
        rig_feed(rig, 0, 100);
    RIG_UNTIL(rig->shard[0].lent == 0);
    assert_int_equal(rig_state(rig), POSTGRES_OFF);
    rig_stop(rig, 5000);
    rig_fini(rig);
}

static void a_bad_connection_string_is_said_without_its_password(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    rig_init(rig, 1);
    static const char *const bad[] = {"hast=/tmp password=geheim", "postgresql://u:geheim%zz@h/db",
                                      "geheim"};
    for (unsigned i = 0; i < 3; i++) {
        char why[256];
        rig->options.conninfo = bad[i];
        assert_true(writer_open(&rig->writer, &rig->options, why) < 0);
        assert_null(strstr(why, "geheim"));
        assert_non_null(strstr(why, "postgres.conninfo"));
    }
    rig->writer = NULL;
    rig_fini(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mailed_blocks_are_stored),
        cmocka_unit_test(large_blocks_are_lent_and_come_back),
        cmocka_unit_test(what_was_not_mailed_is_read_from_the_disk),
        cmocka_unit_test(gaps_in_the_mail_are_filled),
        cmocka_unit_test(a_checkpoint_may_stand_anywhere),
        cmocka_unit_test(a_batch_ends_at_its_bounds),
        cmocka_unit_test(few_rows_linger),
        cmocka_unit_test(an_orphan_is_stored_to_its_end),
        cmocka_unit_test(a_second_run_goes_on),
        cmocka_unit_test(without_postgres_blocks_come_back),
        cmocka_unit_test(a_bad_connection_string_is_said_without_its_password),
    };
    return cmocka_run_group_tests(tests, rig_group_setup, rig_group_teardown);
}
