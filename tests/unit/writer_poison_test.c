/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows that Postgres refuses: they go to the dead letters, all others are stored once and in order,
 * and a table that does not fit is never mistaken for bad rows.
 */
#include "tests/unit/writer_rig.h"

static struct rig the_rig;

static void make_tables(struct rig *rig, unsigned shards, const char *more)
{
    rig_init(rig, shards);
    rig_sql("create table t (n bigint, body text); create table u (n bigint, body text)");
    rig_sql(more);
}

static void feed_all(struct rig *rig, unsigned blocks, unsigned rows, unsigned turn, bool mailed)
{
    for (unsigned i = 0; i < blocks; i++)
        rig_feed_mixed(rig, i % rig->shards, rows, turn, mailed);
}

static void finish(struct rig *rig, long dead)
{
    rig_wait_stored(rig);
    rig_check(rig, dead);
    assert_int_equal(counted(rig->counters, COUNT_EVENTS_DEAD_LETTERED), dead);
    assert_int_equal(counted(rig->counters, COUNT_EVENTS_STORED) + (uint64_t)dead,
                     rig->shard[0].next + rig->shard[1].next);
    rig_stop(rig, 2000);
    rig_fini(rig);
}

/* The bad row at the first, a middle and the last place,
 * mailed or on the disk, in one stream or two. */
static void one_bad_row_anywhere(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    static const unsigned places[] = {0, 1, 99, 100, 333, 998, 999};
    for (unsigned i = 0; i < COUNT_OF(places); i++)
        for (unsigned mailed = 0; mailed < 2; mailed++) {
            char sql[200];
            snprintf(sql, sizeof sql,
                     "alter table t add check (n <> %u); alter table u add check (n <> %u)",
                     places[i], places[i]);
            make_tables(rig, 1, sql);
            if (!mailed)
                feed_all(rig, 10, 100, i % 2 * 3, false);
            rig_start(rig);
            if (mailed)
                feed_all(rig, 10, 100, i % 2 * 3, true);
            rig_wait_stored(rig);
            assert_int_equal(rig_number("select seq from ringmain_dead_letters"), places[i]);
            assert_string_equal(rig_sql("select sqlstate from ringmain_dead_letters"), "23514");
            assert_string_equal(rig_sql("select node from ringmain_dead_letters"),
                                rig->options.node);
            finish(rig, 1);
        }
}

/* What was buried can be dug out: the letter holds the tuple as COPY would have had it. */
static void a_dead_letter_holds_the_row(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    make_tables(rig, 1, "alter table u add check (n <> 5)");
    rig_start(rig);
    feed_all(rig, 1, 10, 1, true);
    rig_wait_stored(rig);
    uint8_t row[200];
    size_t length = rig_row(rig, row, 5);
    char hex[500] = "\\x";
    for (size_t i = 0; i < length; i++)
        snprintf(hex + 2 + 2 * i, 3, "%02x", row[i]);
    assert_string_equal(rig_sql("select raw from ringmain_dead_letters"), hex);
    assert_string_equal(rig_sql("select stream from ringmain_dead_letters"), "u");
    assert_string_equal(rig_sql("select copy_sql from ringmain_dead_letters"),
                        "COPY \"u\" (\"n\"/*bigint*/,\"body\"/*text*/) FROM STDIN (FORMAT binary)");
    assert_string_equal(rig_sql("select reason from ringmain_dead_letters"),
                        "new row for relation \"u\" violates check constraint \"u_n_check\"");
    finish(rig, 1);
}

static void a_swarm_of_bad_rows(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    make_tables(rig, 2,
                "alter table t add check (n % 100 <> 7); alter table u add check (n % 1000 < 995)");
    rig_start(rig);
    feed_all(rig, 20, 500, 50, true);
    rig_wait_stored(rig);
    finish(rig, rig_number("select count(*) from ringmain_dead_letters"));
}

static void every_row_is_bad(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    make_tables(rig, 1, "alter table t add check (n > 200)");
    rig_start(rig);
    uint64_t begin = clock_mono_ns();
    feed_all(rig, 3, 100, 0, true);
    rig_wait_stored(rig);
    uint64_t each = (clock_mono_ns() - begin) / 201;
    printf("a bad row costs %.2f ms\n", (double)each / 1e6);
    assert_true(each < 20 * 1000 * 1000);
    finish(rig, 201);
}

static void a_trigger_refuses(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    static const char *const when[] = {"before", "after"};
    for (unsigned i = 0; i < 2; i++) {
        make_tables(rig, 2,
                    "create function refuse() returns trigger language plpgsql as $$ begin "
                    "if new.n in (0, 1000000050, 77) then raise exception E'no, line 3\\n''%''', "
                    "new.n; end if; "
                    "return new; end $$");
        char sql[200];
        snprintf(sql, sizeof sql,
                 "create trigger refuse %s insert on t for each row execute function refuse()",
                 when[i]);
        rig_sql(sql);
        rig_start(rig);
        feed_all(rig, 4, 50, 0, true);
        rig_wait_stored(rig);
        assert_int_equal(
            rig_number("select count(*) from ringmain_dead_letters where sqlstate = 'P0001'"), 3);
        finish(rig, 3);
    }
}

static void a_unique_index_refuses(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    make_tables(rig, 1, "create unique index on t ((n / 10)) where n between 4000 and 4019");
    rig_start(rig);
    feed_all(rig, 10, 500, 0, true);
    rig_wait_stored(rig);
    assert_int_equal(rig_number("select count(*) from t where n in (4000, 4010)"), 2);
    finish(rig, 18);
}

/* Refused at commit, where no line is known: found by halving. */
static void a_deferred_constraint_refuses(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    make_tables(
        rig, 2,
        "create table allowed (n bigint primary key);"
        "insert into allowed select i from generate_series(0, 999) i where i not in (0, 613, 999);"
        "insert into allowed select 1000000000 + i from generate_series(0, 999) i where i <> 500;"
        "alter table t add foreign key (n) references allowed deferrable initially deferred");
    rig_start(rig);
    feed_all(rig, 20, 100, 0, true);
    rig_wait_stored(rig);
    assert_int_equal(rig_number("select sum(seq) from ringmain_dead_letters"), 613 + 999 + 500);
    finish(rig, 4);
}

/* The same error as the check of the columns' types has, at the same place. */
static void a_deferred_trigger_divides_by_zero(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    make_tables(rig, 1,
                "create function divide() returns trigger language plpgsql as $$ begin "
                "perform 1 / (new.n - 77); return null; end $$;"
                "create constraint trigger divide after insert on t deferrable initially deferred "
                "for each row execute function divide()");
    rig_start(rig);
    feed_all(rig, 4, 50, 0, true);
    rig_wait_stored(rig);
    assert_int_equal(rig_number("select seq from ringmain_dead_letters"), 77);
    finish(rig, 1);
}

/* ── Not the rows' fault ────────────────────────────────────────────────────────────────────── */

static void wait_held(struct rig *rig, const char *about)
{
    RIG_UNTIL(rig_state(rig) == POSTGRES_HELD);
    char reason[256];
    assert_int_equal(writer_state(rig->writer, reason), POSTGRES_HELD);
    if (strstr(reason, about) == NULL)
        fail_msg("\"%s\" does not speak of \"%s\"", reason, about);
    assert_int_equal(counted(rig->counters, COUNT_STREAMS_HELD), 1);
    RIG_UNTIL(rig->shard[0].lent == 0); /* nothing of the shard's is kept meanwhile */
}

/* Events before, while and after something is broken; none may be lost or buried. */
static void break_and_mend(const char *harm, const char *about, const char *mending)
{
    struct rig *rig = &the_rig;
    make_tables(rig, 1, "select 1");
    rig_start(rig);
    feed_all(rig, 5, 50, 0, true);
    rig_wait_stored(rig);
    rig_sql(harm);
    feed_all(rig, 5, 50, 0, true);
    wait_held(rig, about);
    feed_all(rig, 5, 50, 0, true);
    usleep(60000);
    assert_int_equal(rig_state(rig), POSTGRES_HELD);
    rig_sql(mending);
    rig_wait_stored(rig);
    assert_int_equal(rig_state(rig), POSTGRES_UP);
    assert_int_equal(counted(rig->counters, COUNT_STREAMS_HELD), 0);
    finish(rig, 0);
}

static void a_dropped_column(void **state)
{
    (void)state;
    break_and_mend("alter table t drop column body", "body", "alter table t add column body text");
}

static void a_dropped_table(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    make_tables(rig, 1, "select 1");
    rig->options.create_tables = true;
    rig_start(rig);
    feed_all(rig, 5, 50, 0, true);
    rig_wait_stored(rig);
    rig_sql("alter table t rename to elsewhere");
    feed_all(rig, 5, 50, 0, true);
    RIG_UNTIL(rig_all_stored(rig)); /* held for a moment, then made again */
    assert_int_equal(
        rig_number("select (select count(*) from t) + (select count(*) from elsewhere)"), 500);
    rig_stop(rig, 1000);
    rig_fini(rig);
}

/* All rows now look malformed (22P03): what is wrong is the column. */
static void a_column_of_another_type(void **state)
{
    (void)state;
    break_and_mend("alter table t alter n type int using n::int",
                   "column n of table t is integer, the stream needs bigint",
                   "alter table t alter n type bigint");
}

/* What is text would go into a column of bytea without a
 * word, as jsonb would into one of text: it is noticed all the same. */
static void a_type_that_takes_the_bytes(void **state)
{
    (void)state;
    break_and_mend("alter table t alter body type bytea using body::bytea",
                   "stream t: column body of table t is bytea, the stream needs text",
                   "alter table t alter body type text using convert_from(body, 'UTF8')");
}

/* As it is changed while a batch is on its way: the COPY waits for the
 * change, with a snapshot of before it where the server's default says so. */
static void a_type_that_is_changed_in_the_last_moment(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    make_tables(rig, 1, "select 1");
    rig_sql("alter database ringmain set default_transaction_isolation = 'repeatable read'");
    rig_start(rig);
    feed_all(rig, 1, 50, 0, true);
    rig_wait_stored(rig);
    rig_sql("begin isolation level read committed");
    rig_sql("alter table t alter body type bytea using body::bytea");
    feed_all(rig, 1, 50, 0, true);
    RIG_UNTIL(rig_number("select count(*) from pg_locks where not granted") > 0);
    rig_sql("commit");
    wait_held(rig, "column body of table t is bytea");
    assert_int_equal(rig_number("select count(*) from t"), 50);
    rig_sql("alter table t alter body type text using convert_from(body, 'UTF8')");
    rig_sql("alter database ringmain reset default_transaction_isolation");
    finish(rig, 0);
}

/* Rows that were encoded for a stream as it was: the table fits the stream, and not them. */
static void rows_of_an_older_stream_hold(void **state)
{
    (void)state;
    static char older[] =
        "COPY \"t\" (\"n\"/*bigint*/,\"body\"/*jsonb*/) FROM STDIN (FORMAT binary)";
    struct rig *rig = &the_rig;
    make_tables(rig, 1, "select 1");
    rig->shard[0].disk->stream[0].copy_sql = older;
    feed_all(rig, 2, 50, 0, false);
    rig_start(rig);
    wait_held(rig, "stream t: column body of table t is text, the stream needs jsonb");
    assert_int_equal(rig_number("select count(*) from t"), 0);
    assert_int_equal(rig_number("select count(*) from ringmain_dead_letters"), 0);
    rig_stop(rig, 30);
    rig_fini(rig);
}

static void a_new_column_that_must_be_filled(void **state)
{
    (void)state;
    break_and_mend("alter table t add column why text not null default 'x'; alter table t alter "
                   "why drop default",
                   "column why of table t is NOT NULL without a default",
                   "alter table t alter why set default ''");
}

static void a_revoked_right(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    make_tables(
        rig, 1,
        "drop role if exists clerk; create role clerk login;"
        "create table ringmain_checkpoint (node text, shard int, epoch bigint, next_seq bigint,"
        " primary key (node, shard, epoch));"
        "create table ringmain_dead_letters (node text, shard int, epoch bigint, seq bigint, "
        "stream text,"
        " copy_sql text, raw bytea, reason text, sqlstate text, at timestamptz default now())");
    rig_sql("do $$ begin execute format('grant usage on schema %I to clerk; grant all on all "
            "tables in schema %I to clerk',"
            " current_schema, current_schema); end $$");
    char *user = strstr(rig->conninfo, "user=ringmain");
    memcpy(user, "user=clerk   ", 13);
    rig_start(rig);
    feed_all(rig, 5, 50, 0, true);
    rig_wait_stored(rig);
    rig_sql("revoke insert on t from clerk");
    feed_all(rig, 5, 50, 0, true);
    wait_held(rig, "permission denied for table t");
    rig_sql("grant insert on t to clerk");
    finish(rig, 0);
    rig_sql("drop owned by clerk; drop role clerk");
}

static void start_held(const char *tables, bool create, const char *about)
{
    struct rig *rig = &the_rig;
    rig_init(rig, 1);
    rig_sql(tables);
    rig->options.create_tables = create;
    rig_start(rig);
    feed_all(rig, 2, 10, 0, true);
    wait_held(rig, about);
    assert_int_equal(
        rig_number("select count(*) from pg_class where relname = 't' and relnamespace = "
                   "current_schema::regnamespace and reltuples > 0"),
        0);
    rig_stop(rig, 30);
    rig_fini(rig);
}

static void tables_that_do_not_fit(void **state)
{
    (void)state;
    start_held("select 1", false, "there is no table t");
    start_held("create table t (n bigint)", true, "stream t: table t has no column body (text)");
    start_held("create table t (n text, body text)", true,
               "stream t: column n of table t is text, the stream needs bigint");
    start_held("create table t (n bigint, body text, x int not null)", true,
               "stream t: column x of table t is NOT NULL without a default");
    start_held("create table t (n bigint, body text generated always as ('x') stored)", true,
               "is generated");
    start_held("create view t as select 1::bigint as n, ''::text as body", true, "view");
}

static void tables_that_fit_in_other_ways(void **state)
{
    (void)state;
    struct rig *rig = &the_rig;
    rig_init(rig, 1);
    rig_sql("create domain number as bigint check (value >= 0);"
            "create table t (id bigint generated always as identity, n number not null, at "
            "timestamptz not null default now(),"
            " body varchar(100), x text) partition by range (n);"
            "create table t1 partition of t for values from (0) to (100);"
            "create table t2 partition of t for values from (100) to (10000);"
            "create table u (body char(20), n bigint)");
    rig_start(rig);
    feed_all(rig, 5, 50, 2, true);
    rig_wait_stored(rig);
    assert_int_equal(rig_number("select count(*) from t where at is not null and id is not null"),
                     130);
    assert_int_equal(rig_number("select count(*) from u"), 120);
    rig_stop(rig, 1000);
    rig_fini(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_bad_row_anywhere),
        cmocka_unit_test(a_dead_letter_holds_the_row),
        cmocka_unit_test(a_swarm_of_bad_rows),
        cmocka_unit_test(every_row_is_bad),
        cmocka_unit_test(a_trigger_refuses),
        cmocka_unit_test(a_unique_index_refuses),
        cmocka_unit_test(a_deferred_constraint_refuses),
        cmocka_unit_test(a_deferred_trigger_divides_by_zero),
        cmocka_unit_test(a_dropped_column),
        cmocka_unit_test(a_dropped_table),
        cmocka_unit_test(a_column_of_another_type),
        cmocka_unit_test(a_type_that_takes_the_bytes),
        cmocka_unit_test(a_type_that_is_changed_in_the_last_moment),
        cmocka_unit_test(rows_of_an_older_stream_hold),
        cmocka_unit_test(a_new_column_that_must_be_filled),
        cmocka_unit_test(a_revoked_right),
        cmocka_unit_test(tables_that_do_not_fit),
        cmocka_unit_test(tables_that_fit_in_other_ways),
    };
    return cmocka_run_group_tests(tests, rig_group_setup, rig_group_teardown);
}
