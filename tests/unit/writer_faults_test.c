/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Postgres that goes away, hangs, fails over, or that another writer works with as well.
 */
#include "tests/unit/writer_rig.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct rig the_rig;

static void kill_backends(void)
{
    rig_sql("select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name "
            "= 'ringmain'");
}

static void finish(struct rig *rig)
{
    rig_wait_stored(rig);
    rig_check(rig, 0);
    rig_stop(rig, 2000);
    rig_take_back(rig);
    rig_fini(rig);
}

/* Its backend is killed again and again, wherever it happens to be. */
static void killed_backends_cost_nothing(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    rig_init(rig, 2);
    rig->body_bytes = 200;
    rig->options.linger_ms = 1;
    rig->options.batch_rows_max = 3000;
    rig_start(rig);
    for (unsigned i = 0; i < 400 || counted(rig->counters, COUNT_POSTGRES_CONNECTS) < 10; i++) {
        rig_feed_mixed(rig, i % 2, 1 + i * 37 % 1000, i % 4, i % 11 != 0);
        if (i % 20 != 19)
            continue;
        kill_backends();
        usleep(i * 23 % 8000);
    }
    rig_wait_stored(rig);
    assert_true(counted(rig->counters, COUNT_EVENTS_STORED) <=
                rig->shard[0].next + rig->shard[1].next);
    finish(rig);
}

/* The answer to a commit is lost: cut while the server is at it, at every moment of it. */
static void an_unknown_outcome_is_looked_up(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    rig_init(rig, 1);
    rig->options.linger_ms = 0;
    rig_start(rig);
    for (unsigned i = 0; i < 60; i++) {
        rig_feed(rig, 0, 2000);
        usleep(i * 250);
        kill_backends();
    }
    finish(rig);
}

static void a_server_stops_and_starts(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    static const char *const how[] = {"fast", "immediate"};
    for (unsigned i = 0; i < 2; i++) {
        rig_init(rig, 1);
        rig_start(rig);
        rig_feed(rig, 0, 100);
        rig_wait_stored(rig);
        rig_shell("stop", how[i], NULL, 0);
        for (unsigned k = 0; k < 20; k++)
            rig_feed(rig, 0, 1000);
        RIG_UNTIL(rig_state(rig) == POSTGRES_DOWN);
        RIG_UNTIL(rig->shard[0].lent == 0); /* at once, not when Postgres is back */
        char search_path[80];
        snprintf(search_path, sizeof search_path, "set search_path = %s",
                 strstr(rig->conninfo, "path=") + 5);
        search_path[strlen(search_path) - 1] = 0;
        rig_server_start();
        rig_sql(search_path);
        finish(rig);
    }
}

/* ── A server that hangs ────────────────────────────────────────────────────────────────────── */

static void signal_server(int signal_number)
{
    char pids[512];
    rig_shell("pid", "", pids, sizeof pids);
    pid_t postmaster = (pid_t)strtol(pids, NULL, 10);
    assert_true(postmaster > 1);
    char command[200];
    snprintf(command, sizeof command, "kill -%d %d $(pgrep -P %d)", signal_number, (int)postmaster,
             (int)postmaster);
    assert_int_equal(system(command), 0);
}

static void a_hung_server_holds_no_block_and_no_stop(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    rig_init(rig, 1);
    rig->body_bytes = 200;
    rig_start(rig);
    rig_feed(rig, 0, 100);
    rig_wait_stored(rig);
    signal_server(SIGSTOP);
    for (unsigned i = 0; i < 30; i++)
        rig_feed(rig, 0, 1000);
    usleep(50000);
    RIG_UNTIL(rig->shard[0].lent ==
              0); /* given back after a second of silence, in the middle of a COPY */
    rig_feed(rig, 0, 1000);
    RIG_UNTIL(rig->shard[0].lent == 0);
    uint64_t begin = clock_mono_ns();
    rig_stop(rig, 200);
    uint64_t took = clock_mono_ns() - begin;
    signal_server(SIGCONT);
    assert_true(took < 400000000);
    rig_take_back(rig);
    assert_int_equal(rig->shard[0].lent, 0);
    writer_close(rig->writer);
    rig_start(rig); /* and what the stop left is in the spool */
    finish(rig);
}

static void a_hung_server_goes_on(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    rig_init(rig, 1);
    rig->body_bytes = 200;
    rig_start(rig);
    rig_feed(rig, 0, 100);
    rig_wait_stored(rig);
    signal_server(SIGSTOP);
    for (unsigned i = 0; i < 30; i++)
        rig_feed(rig, 0, 1000);
    RIG_UNTIL(rig->shard[0].lent == 0);
    signal_server(SIGCONT);
    rig_wait_stored(rig);
    assert_int_equal(
        rig_number("select count(*) from t where body <> repeat(chr(97 + (n % 26)::int), 200)"), 0);
    assert_int_equal(counted(rig->counters, COUNT_POSTGRES_CONNECTS), 1);
    finish(rig);
}

/* A port that accepts (the kernel does) and never says a word. */
static void a_silent_port_does_not_hold_a_stop(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    rig_init(rig, 1);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "/tmp/.s.PGSQL.%d",
             50000 + (int)getpid() % 10000);
    unlink(address.sun_path);
    int mute = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(mute, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(mute, 5), 0);
    char conninfo[100];
    snprintf(conninfo, sizeof conninfo,
             "host=/tmp port=%d dbname=x user=y password=geheim connect_timeout=1",
             50000 + (int)getpid() % 10000);
    rig->options.conninfo = conninfo;
    rig_start(rig);
    rig_feed(rig, 0, 100);
    RIG_UNTIL(rig->shard[0].lent == 0);
    RIG_UNTIL(rig_state(rig) == POSTGRES_DOWN); /* connect_timeout */
    char reason[256];
    writer_state(rig->writer, reason);
    assert_non_null(strstr(reason, "no answer"));
    assert_null(strstr(reason, "geheim"));
    uint64_t begin = clock_mono_ns();
    rig_stop(rig, 100);
    assert_true(clock_mono_ns() - begin < 300000000);
    close(mute);
    unlink(address.sun_path);
    rig_fini(rig);
}

/* A lock of somebody's: the batch waits, and goes on by itself. */
static void a_locked_table_is_waited_for(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    rig_init(rig, 1);
    rig_start(rig);
    rig_feed(rig, 0, 10);
    rig_wait_stored(rig);
    rig_sql("begin");
    rig_sql("lock table t in access exclusive mode");
    rig_feed(rig, 0, 1000);
    usleep(100000);
    assert_int_equal(atomic_load(&rig->progress[0].stored), 10);
    rig_sql("commit");
    finish(rig);
}

/* ── Others at the same checkpoint ──────────────────────────────────────────────────────────── */

static void of_two_writers_one_wins_each_time(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    rig_init(rig, 1);
    rig->options.batch_rows_max = 200;
    rig->options.linger_ms = 0;
    rig_start(rig);
    static struct counters other_counters;
    struct sleeper other_sleeper = {.doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    struct progress other_progress[1] = {0};
    struct writer_source other_source = rig->source[0];
    other_source.blocks =
        mail_open(1, sizeof(struct block *)); /* never mailed to: it reads all from the disk */
    other_source.returns = mail_open(1, sizeof(struct block *));
    struct writer_options other_options = rig->options;
    other_options.counters = &other_counters;
    other_options.sleeper = &other_sleeper;
    other_options.progress = other_progress;
    other_options.source = &other_source;
    struct writer *zombie;
    char why[256];
    assert_int_equal(writer_open(&zombie, &other_options, why), 0);
    assert_int_equal(writer_start(zombie, why), 0);
    for (unsigned i = 0; i < 200; i++) {
        rig_feed_mixed(rig, 0, 100, i % 3, true);
        atomic_store(&other_progress[0].durable, rig->shard[0].next);
        sleeper_wake(&other_sleeper);
        usleep(500);
    }
    rig_wait_stored(rig);
    writer_stop(zombie, clock_mono_ns() + 1000000000);
    writer_join(zombie);
    printf("stored by one %lu, by the other %lu; overtaken %lu and %lu times\n",
           (unsigned long)counted(rig->counters, COUNT_EVENTS_STORED),
           (unsigned long)counted(&other_counters, COUNT_EVENTS_STORED),
           (unsigned long)counted(rig->counters, COUNT_BATCH_FAILURES),
           (unsigned long)counted(&other_counters, COUNT_BATCH_FAILURES));
    writer_close(zombie);
    mail_close(other_source.blocks);
    mail_close(other_source.returns);
    close(other_sleeper.doorbell);
    rig_check_once(rig, 0);
    rig_stop(rig, 2000);
    rig_fini(rig);
}

static void wait_held(struct rig *rig, const char *about)
{
    char reason[256];
    RIG_UNTIL(writer_state(rig->writer, reason) == POSTGRES_HELD);
    if (strstr(reason, about) == NULL)
        fail_msg("\"%s\" does not speak of \"%s\"", reason, about);
}

/* A standby took over that had not yet got the last
 * transactions: rows and checkpoint are both back. */
static void a_fail_over_is_replayed(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    rig_init(rig, 1);
    rig_start(rig);
    for (unsigned i = 0; i < 10; i++)
        rig_feed(rig, 0, 100);
    rig_wait_stored(rig);
    rig_sql("begin; delete from t where n >= 730; update ringmain_checkpoint set next_seq = 730; "
            "commit");
    kill_backends();
    RIG_UNTIL(rig_number("select count(*) from t") == 1000);
    rig_feed(rig, 0, 100);
    finish(rig);
}

static void a_fail_over_too_far_back_holds(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    rig_init(rig, 1);
    rig_start(rig);
    for (unsigned i = 0; i < 10; i++)
        rig_feed(rig, 0, 100);
    rig_wait_stored(rig);
    rig->shard[0].disk->oldest = 500;
    rig_sql("begin; delete from t where n >= 430; update ringmain_checkpoint set next_seq = 430; "
            "commit");
    kill_backends();
    wait_held(rig, "event 430 is no longer in the spool");
    /* What the operator does who accepts the loss. */
    rig_sql("update ringmain_checkpoint set next_seq = 500");
    RIG_UNTIL(rig_state(rig) == POSTGRES_UP);
    assert_int_equal(rig_number("select count(*) from t"), 930);
    rig_stop(rig, 1000);
    rig_fini(rig);
}

static void a_checkpoint_ahead_of_the_spool_holds(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    rig_init(rig, 1);
    rig_start(rig);
    rig_feed(rig, 0, 100);
    rig_wait_stored(rig);
    rig_sql("update ringmain_checkpoint set next_seq = 5000");
    rig_feed(rig, 0, 100);
    wait_held(rig, "stands at 5000");
    RIG_UNTIL(rig->shard[0].lent == 0);
    rig_sql("update ringmain_checkpoint set next_seq = 100");
    finish(rig);
}

/* A table that was made by hand: what nobody can rely on is said, and not fallen over. */
static void a_checkpoint_without_its_key_holds(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    rig_init(rig, 1);
    rig_start(rig);
    rig_feed(rig, 0, 100);
    rig_wait_stored(rig);
    rig_sql("alter table ringmain_checkpoint drop constraint ringmain_checkpoint_pkey");
    kill_backends();
    rig_feed(rig, 0, 100);
    wait_held(rig, "needs the primary key (node, shard, epoch)");
    rig_sql("begin; lock table ringmain_checkpoint; delete from ringmain_checkpoint where next_seq "
            "= 0; alter table ringmain_checkpoint add primary key (node, shard, epoch); commit");
    finish(rig);
}

static void a_damaged_spool_holds(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    rig_init(rig, 1);
    rig_feed_mixed(rig, 0, 100, 0, false);
    rig->shard[0].disk->broken = true;
    rig_start(rig);
    wait_held(rig, "segment 7 is damaged");
    rig->shard[0].disk->broken = false;
    finish(rig);
}

/* Where the operator accepted a loss the checkpoint passes over it; also when nothing follows. */
static void an_accepted_loss_is_passed_over(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    rig_init(rig, 1);
    for (unsigned i = 0; i < 4; i++)
        rig_feed_mixed(rig, 0, 100, 0, false);
    for (unsigned i = 1; i < 4; i += 2) {
        struct block_view *view = &rig->shard[0].disk->block[i].view;
        *view = (struct block_view){.first_sequence = view->first_sequence,
                                    .lost_until = view->first_sequence + 100};
    }
    rig_start(rig);
    rig_wait_stored(rig);
    assert_int_equal(rig_number("select count(*) from t"), 200);
    assert_int_equal(rig_number("select next_seq from ringmain_checkpoint"), 400);
    rig_stop(rig, 1000);
    rig_fini(rig);
}

static void a_read_only_server_is_left(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    rig_init(rig, 1);
    rig_start(rig);
    rig_feed(rig, 0, 100);
    rig_wait_stored(rig);
    rig_sql("alter system set default_transaction_read_only = on");
    rig_sql("select pg_reload_conf()");
    usleep(100000);
    rig_feed(rig, 0, 100);
    RIG_UNTIL(rig_state(rig) == POSTGRES_DOWN);
    rig_sql("set default_transaction_read_only = off");
    rig_sql("alter system reset default_transaction_read_only");
    rig_sql("select pg_reload_conf()");
    finish(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_backends_cost_nothing),
        cmocka_unit_test(an_unknown_outcome_is_looked_up),
        cmocka_unit_test(a_server_stops_and_starts),
        cmocka_unit_test(a_hung_server_holds_no_block_and_no_stop),
        cmocka_unit_test(a_hung_server_goes_on),
        cmocka_unit_test(a_silent_port_does_not_hold_a_stop),
        cmocka_unit_test(a_locked_table_is_waited_for),
        cmocka_unit_test(of_two_writers_one_wins_each_time),
        cmocka_unit_test(a_fail_over_is_replayed),
        cmocka_unit_test(a_fail_over_too_far_back_holds),
        cmocka_unit_test(a_checkpoint_ahead_of_the_spool_holds),
        cmocka_unit_test(a_checkpoint_without_its_key_holds),
        cmocka_unit_test(a_damaged_spool_holds),
        cmocka_unit_test(an_accepted_loss_is_passed_over),
        cmocka_unit_test(a_read_only_server_is_left),
    };
    return cmocka_run_group_tests(tests, rig_group_setup, rig_group_teardown);
}
