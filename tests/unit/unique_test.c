/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dedup.scope = global: which unique index will do, and the SQL that goes by it.
 */
#include "tests/unit/writer_rig.h"

#include "batch/unique.h"

static struct streams *streams;
static struct postgres *postgres;
static struct unique unique;
static char why[UNIQUE_WHY_BYTES];

static int look(void *context, uint64_t waited_ns)
{
    (void)context;
    (void)waited_ns;
    return 1000;
}

static const struct patience patient = {.doorbell = -1, .look = look};

static void make_streams(const char *columns, unsigned without)
{
    char stream_why[STREAM_WHY_BYTES];
    streams_close(streams);
    streams = streams_open();
    if (streams_add(streams, "t", "t", columns, "t_type", stream_why) != 0)
        fail_msg("%s", stream_why);
    assert_int_equal(streams_make_ids_unique(streams), without);
}

static int setup(void **state)
{
    (void)state;
    make_streams(
        "key text from id, at timestamptz from timestamp, got timestamptz from receivedAt, "
        "data jsonb",
        0);
    rig_sql("drop table if exists t");
    return 0;
}

static int group_setup(void **state)
{
    char open_why[256];
    int result = rig_group_setup(state);
    postgres = postgres_open(rig_postgres.conninfo, open_why);
    assert_non_null(postgres);
    assert_int_equal(postgres_connect(postgres, &patient), ANSWER_OK);
    return result;
}

static int group_teardown(void **state)
{
    postgres_close(postgres);
    streams_close(streams);
    return rig_group_teardown(state);
}

static enum answer settle(void)
{
    return unique_settle(&unique, postgres, &patient, streams, why);
}

static const char *key(void)
{
    return unique.key[streams_find(streams, "t")->index];
}

#define TABLE "create table t (key text, at timestamptz, got timestamptz, data jsonb) "

static void the_index_is_made_with_the_table(void **state)
{
    (void)state;
    char sql[STREAM_SQL_BYTES];
    assert_true(stream_create_sql(streams_find(streams, "t"), sql, sizeof sql));
    rig_sql(sql);
    assert_int_equal(settle(), ANSWER_OK);
    assert_string_equal(key(), "key");
    assert_int_equal(settle(), ANSWER_OK); /* and again in the same session */
}

static void other_indexes_will_not_do(void **state)
{
    (void)state;
    static const char *const others[] = {
        "create index on t (key)",
        "create unique index on t (key) where data is not null",
        "create unique index on t (lower(key))",
        "create unique index on t (at)",
        "create unique index on t (key, at)", /* not partitioned */
        "alter table t add unique (key) deferrable",
    };
    for (unsigned i = 0; i < COUNT_OF(others); i++) {
        rig_sql("drop table if exists t");
        rig_sql(TABLE);
        rig_sql(others[i]);
        assert_int_equal(settle(), ANSWER_REFUSED);
        assert_non_null(strstr(why, "stream t: dedup.scope = global needs a unique index"));
        assert_non_null(strstr(why, "create unique index on \"t\" (\"key\")"));
    }
    rig_sql("alter table t add primary key (key)");
    assert_int_equal(settle(), ANSWER_OK);
    assert_string_equal(key(), "key");
}

static void of_a_partitioned_table_the_key_holds_what_it_is_partitioned_by(void **state)
{
    (void)state;
    rig_sql(TABLE "partition by range (at)");
    assert_int_equal(settle(), ANSWER_REFUSED);
    rig_sql("create unique index on t (at, key, got)");
    assert_int_equal(settle(), ANSWER_REFUSED);
    rig_sql("create unique index on t (at, key)");
    assert_int_equal(settle(), ANSWER_OK);
    assert_string_equal(key(), "at,key");
}

static void the_time_of_receipt_is_no_part_of_a_key(void **state)
{
    (void)state;
    rig_sql(TABLE "partition by range (got)");
    rig_sql("create unique index on t (key, got)");
    assert_int_equal(settle(), ANSWER_REFUSED);
    assert_non_null(strstr(why, "got is another one whenever an event is sent again"));
}

static void a_stream_without_an_id_goes_as_ever(void **state)
{
    (void)state;
    make_streams("data jsonb", 1);
    assert_int_equal(settle(), ANSWER_OK); /* although there is no table */
    struct spool_stream target = {
        (char *)(uintptr_t) "t", (char *)(uintptr_t) "t",
        (char *)(uintptr_t) "COPY \"t\" (\"data\") FROM STDIN (FORMAT binary)"};
    assert_false(unique_is(&unique, &target));
    unique = (struct unique){0};
    assert_false(unique_is(&unique, &target));
}

static struct spool_stream target_of(const char *table, char *copy_sql)
{
    return (struct spool_stream){(char *)(uintptr_t) "t", (char *)(uintptr_t)table, copy_sql};
}

static void the_statements_are_good_sql(void **state)
{
    (void)state;
    char copy_sql[STREAM_SQL_BYTES];
    rig_sql(TABLE);
    rig_sql("alter table t add primary key (key)");
    assert_int_equal(settle(), ANSWER_OK);
    assert_true(stream_copy_sql(streams_find(streams, "t"), copy_sql, sizeof copy_sql));
    struct spool_stream target = target_of("t", copy_sql);
    assert_true(unique_is(&unique, &target));
    struct buf sql = {.max = 65536};
    assert_true(unique_put(&unique, &target, 7, &sql) && buf_put(&sql, "", 1));
    static const char wanted[] =
        "create temporary table if not exists ringmain_staging_7 on commit "
        "delete rows as select \"key\"";
    assert_memory_equal(sql.at, wanted, sizeof wanted - 1);
    assert_non_null(strstr((char *)sql.at, "COPY pg_temp.ringmain_staging_7 (\"key\""));
    assert_non_null(strstr((char *)sql.at, " FROM STDIN (FORMAT binary);insert into \"t\" ("));
    assert_non_null(strstr((char *)sql.at, " order by \"key\" on conflict (key) do nothing;"));
    buf_fini(&sql);
}

static void rows_of_another_table_or_from_before_it_had_an_id_go_as_ever(void **state)
{
    (void)state;
    rig_sql(TABLE);
    rig_sql("alter table t add primary key (key)");
    assert_int_equal(settle(), ANSWER_OK);
    char other[] = "COPY \"t\" (\"data\",\"my\"\"key\"\"\") FROM STDIN (FORMAT binary)";
    char with[] = "COPY \"t\" (\"data\",\"key\") FROM STDIN (FORMAT binary)";
    struct spool_stream target = target_of("t", other);
    assert_false(unique_is(&unique, &target));
    target = target_of("old", with);
    assert_false(unique_is(&unique, &target));
    target = target_of("t", with);
    assert_true(unique_is(&unique, &target));
}

static long staging_tables(void)
{
    return rig_number("select count(*) from pg_class where relname like 'ringmain_staging%'");
}

static void staging_tables_do_not_grow_old(void **state)
{
    (void)state;
    char copy_sql[STREAM_SQL_BYTES];
    struct buf sql = {.max = 65536};
    rig_sql(TABLE);
    rig_sql("alter table t add primary key (key)");
    assert_int_equal(settle(), ANSWER_OK);
    assert_true(stream_copy_sql(streams_find(streams, "t"), copy_sql, sizeof copy_sql));
    struct spool_stream target = target_of("t", copy_sql);
    assert_true(unique_put(&unique, &target, 7, &sql) && buf_put(&sql, "", 1));
    *strchr((char *)sql.at, ';') = '\0'; /* only the first of the three */
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(postgres_query(postgres, &patient, (char *)sql.at, NULL, NULL), ANSWER_OK);
    buf_fini(&sql);
    assert_int_equal(staging_tables(), 1);
    uint64_t stale_ns = unique.stale_ns;
    assert_in_range(stale_ns, clock_mono_ns(), clock_mono_ns() + 3600ull * RIG_SECOND);
    assert_int_equal(unique_refresh(&unique, postgres, &patient, stale_ns - 1), ANSWER_OK);
    assert_int_equal(staging_tables(), 1);
    assert_int_equal(unique_refresh(&unique, postgres, &patient, stale_ns), ANSWER_OK);
    assert_int_equal(staging_tables(), 0);
    assert_true(unique.stale_ns == stale_ns + 3600ull * RIG_SECOND);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, setup)
    const struct CMUnitTest tests[] = {
        TEST(the_index_is_made_with_the_table),
        TEST(other_indexes_will_not_do),
        TEST(of_a_partitioned_table_the_key_holds_what_it_is_partitioned_by),
        TEST(the_time_of_receipt_is_no_part_of_a_key),
        TEST(a_stream_without_an_id_goes_as_ever),
        TEST(the_statements_are_good_sql),
        TEST(staging_tables_do_not_grow_old),
        TEST(rows_of_another_table_or_from_before_it_had_an_id_go_as_ever),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
