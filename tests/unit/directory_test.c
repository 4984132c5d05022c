/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory's thread against a real Postgres. The test's own thread plays two shards.
 */
#include "tests/unit/writer_rig.h"

#include "batch/directory.h"
#include "proto/stream.h"

enum { SHARDS = 2, WAITING = 4, KEEP_S = 60, TIMEOUT_MS = 300, TOLD_MAX = 64 };

static struct {
    struct directory_stage *stage;
    struct directory_options options;
    struct counters *thread, *shard;
    struct sleeper sleeper[SHARDS];
    struct turn turn;
    uint64_t later_ns; /* added to the clock */
    struct streams *streams;
    unsigned told;
    uint64_t token[TOLD_MAX];
    enum finding_kind kind[TOLD_MAX];
    bool active, has_owner;
    char owner[256], json[65536];
} rig;

static void keep(const struct finding *finding)
{
    rig.active = finding->active;
    rig.has_owner = finding->owner.at != NULL;
    snprintf(rig.owner, sizeof rig.owner, "%.*s", SPAN_ARGS(finding->owner));
    snprintf(rig.json, sizeof rig.json, "%.*s", SPAN_ARGS(finding->json));
}

static void answered(void *self, struct turn *turn, uint64_t token, const struct finding *finding)
{
    assert_ptr_equal(self, &rig);
    assert_ptr_equal(turn, &rig.turn);
    assert_true(rig.told < TOLD_MAX);
    rig.token[rig.told] = token;
    rig.kind[rig.told++] = finding->kind;
    keep(finding);
}

static const struct asker asker = {&rig, answered};

/* ── A shard's turn ─────────────────────────────────────────────────────────────────────────── */

static bool ask(unsigned shard, struct question question, uint64_t token, enum finding_kind *kind)
{
    struct finding finding;
    rig.turn.now_ns = clock_mono_ns() + rig.later_ns;
    if (!directory_ask(directory_desk(rig.stage, shard), &rig.turn, &question, &asker, token,
                       &finding))
        return false;
    *kind = finding.kind;
    keep(&finding);
    return true;
}

static void look_into_mail(void)
{
    rig.turn.now_ns = clock_mono_ns() + rig.later_ns;
    for (unsigned i = 0; i < SHARDS; i++)
        directory_mail(directory_desk(rig.stage, i), &rig.turn);
}

static void wait_told(unsigned count)
{
    uint64_t deadline = clock_mono_ns() + 20ull * RIG_SECOND;
    while (rig.told < count) {
        assert_true(clock_mono_ns() < deadline);
        look_into_mail();
        usleep(200);
    }
    assert_int_equal(rig.told, count);
}

/* Asks, and waits if need be. */
static enum finding_kind find(struct question question)
{
    enum finding_kind kind;
    rig.told = 0;
    if (ask(0, question, 42, &kind))
        return kind;
    wait_told(1);
    assert_int_equal(rig.token[0], 42);
    return rig.kind[0];
}

static struct question project(const char *name)
{
    return (struct question){.kind = QUESTION_PROJECT, .name = span_of_string(name)};
}

static struct question room(const char *name, const char *user)
{
    return (struct question){.kind = QUESTION_ROOM,
                             .name = span_of_string(name),
                             .user = span_of_string(user),
                             .tenant = SPAN("acme")};
}

static struct question messages(unsigned limit)
{
    return (struct question){.kind = QUESTION_MESSAGES,
                             .messages = {.before = INT64_MAX, .limit = limit}};
}

static uint64_t lookups(void)
{
    return counted(rig.thread, COUNT_DIRECTORY_LOOKUPS);
}

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

static struct counters *zeroed(void)
{
    struct counters *counters = aligned_alloc(64, sizeof *counters);
    return memset(counters, 0, sizeof *counters);
}

static int setup(void **state)
{
    (void)state;
    char why[STREAM_WHY_BYTES];
    memset(&rig, 0, sizeof rig);
    rig.thread = zeroed();
    rig.shard = zeroed();
    rig.turn.counters = rig.shard;
    rig.streams = streams_open();
    assert_int_equal(streams_add_defaults(rig.streams, why), 0);
    for (unsigned i = 0; i < SHARDS; i++)
        rig.sleeper[i].doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    rig_sql("drop table if exists projects, members, messages");
    rig_sql("create table projects (id text, owner_id text, is_active boolean)");
    rig_sql("insert into projects values ('p1', 'alice', true), ('p2', 'bob', false), "
            "('p3', null, null)");
    rig_sql("create table members (room text, user_id text, tenant text)");
    rig_sql("insert into members values ('r1', 'alice', 'acme')");
    rig_sql("create table messages (id bigint primary key, user_id bigint, channel_id bigint, "
            "content text, created_at timestamptz)");
    rig.options = (struct directory_options){
        .conninfo = rig_postgres.conninfo,
        .project_sql = "select owner_id, is_active from projects where id = $1",
        .room_sql = "select exists (select from members where room = $1 and user_id = $2)",
        .messages = streams_find(rig.streams, "messages"),
        .page_bytes_max = 60000,
        .shards = SHARDS,
        .remembered = 64,
        .waiting = WAITING,
        .keep_s = KEEP_S,
        .timeout_ms = 20000,
        .retry_min_ms = 10,
        .retry_max_ms = 20,
        .counters = rig.thread,
    };
    return 0;
}

static void start(void)
{
    char why[256];
    if (directory_stage_open(&rig.stage, &rig.options, why) != 0)
        fail_msg("%s", why);
    for (unsigned i = 0; i < SHARDS; i++)
        directory_introduce(rig.stage, i, &rig.sleeper[i]);
    assert_int_equal(directory_stage_start(rig.stage, why), 0);
}

static int teardown(void **state)
{
    (void)state;
    if (rig.stage != NULL) {
        directory_stage_stop(rig.stage);
        directory_stage_join(rig.stage);
    }
    directory_stage_close(rig.stage);
    for (unsigned i = 0; i < SHARDS; i++)
        close(rig.sleeper[i].doorbell);
    streams_close(rig.streams);
    free(rig.thread);
    free(rig.shard);
    return 0;
}

/* ── Projects and rooms ─────────────────────────────────────────────────────────────────────── */

static void a_project_has_an_owner_and_is_active_or_not(void **state)
{
    (void)state;
    start();
    assert_int_equal(find(project("p1")), FINDING_YES);
    assert_string_equal(rig.owner, "alice");
    assert_true(rig.active);
    assert_int_equal(find(project("p2")), FINDING_YES);
    assert_string_equal(rig.owner, "bob");
    assert_false(rig.active);
    assert_int_equal(find(project("p3")), FINDING_YES);
    assert_false(rig.has_owner);
    assert_false(rig.active);
    assert_int_equal(find(project("nowhere")), FINDING_NO);
    assert_int_equal(find(project("p1' or 'a' = 'a")), FINDING_NO);
    assert_int_equal(find(project("")), FINDING_NO);
    assert_int_equal(counted(rig.thread, COUNT_DIRECTORY_FAILURES), 0);
}

static void what_the_columns_type_can_not_have_is_nobodys_id(void **state)
{
    (void)state;
    rig_sql("alter table projects alter id type bigint using 7");
    start();
    assert_int_equal(find(project("7")), FINDING_YES);
    assert_int_equal(find(project("seven")), FINDING_NO);
    assert_int_equal(find(project("99999999999999999999999")), FINDING_NO);
    assert_int_equal(find(project("\xff\xfe")), FINDING_NO);
    struct question question = project("");
    question.name = span_of("7\0", 2);
    assert_int_equal(find(question), FINDING_NO);
}

static void a_room_is_for_whom_the_statement_says(void **state)
{
    (void)state;
    start();
    assert_int_equal(find(room("r1", "alice")), FINDING_YES);
    assert_int_equal(find(room("r1", "bob")), FINDING_NO);
    assert_int_equal(find(room("r2", "alice")), FINDING_NO);
}

static void a_statement_may_speak_of_the_tenant_or_of_the_room_alone(void **state)
{
    (void)state;
    rig.options.room_sql = "select true from members where room = $1 and user_id = $2 and "
                           "tenant = $3 -- \xc2\xb7";
    start();
    assert_int_equal(find(room("r1", "alice")), FINDING_YES);
    struct question question = room("r1", "alice");
    question.tenant = SPAN("other");
    assert_int_equal(find(question), FINDING_NO); /* no row */
    teardown(NULL);
    setup(NULL);
    rig.options.room_sql = "select null::boolean from members where room = $1;";
    start();
    assert_int_equal(find(room("r1", "alice")), FINDING_NO);
}

static void without_a_statement_rooms_are_open(void **state)
{
    (void)state;
    rig.options.room_sql = "";
    start();
    assert_int_equal(find(room("anything", "anybody")), FINDING_YES);
    assert_int_equal(lookups(), 0);
}

static void a_statement_without_its_parameters_is_refused_at_the_start(void **state)
{
    (void)state;
    char why[256];
    rig.options.project_sql = "select 'x', true";
    assert_int_equal(directory_stage_open(&rig.stage, &rig.options, why), -EINVAL);
    assert_non_null(strstr(why, "directory.project_sql"));
    teardown(NULL);
    setup(NULL);
    rig.options.room_sql = "select $4::boolean";
    assert_int_equal(directory_stage_open(&rig.stage, &rig.options, why), -EINVAL);
    assert_non_null(strstr(why, "directory.room_sql"));
}

/* ── What is remembered ─────────────────────────────────────────────────────────────────────── */

static void an_answer_is_remembered_and_asked_again_when_its_time_is_over(void **state)
{
    (void)state;
    enum finding_kind kind;
    start();
    assert_int_equal(find(project("p1")), FINDING_YES);
    assert_int_equal(find(project("p9")), FINDING_NO);
    rig_sql("update projects set owner_id = 'carol'");
    rig_sql("insert into projects values ('p9', 'dave', true)");
    assert_true(ask(0, project("p1"), 1, &kind));
    assert_string_equal(rig.owner, "alice");
    assert_true(ask(0, project("p9"), 1, &kind));
    assert_int_equal(kind, FINDING_NO);
    assert_int_equal(lookups(), 2);
    assert_int_equal(counted(rig.shard, COUNT_DIRECTORY_CACHED), 2);
    rig.later_ns = KEEP_S * 1000000000ull;
    assert_int_equal(find(project("p1")), FINDING_YES);
    assert_string_equal(rig.owner, "carol");
    assert_int_equal(find(project("p9")), FINDING_YES);
    assert_string_equal(rig.owner, "dave");
}

static void questions_that_are_equal_share_one_look_up(void **state)
{
    (void)state;
    enum finding_kind kind;
    start();
    rig_sql("begin; lock table projects");
    for (unsigned i = 0; i < WAITING; i++)
        assert_false(ask(0, project("p1"), i, &kind));
    assert_true(ask(0, project("p1"), 99, &kind)); /* more than may wait */
    assert_int_equal(kind, FINDING_FAILED);
    assert_true(ask(0, project("p2"), 99, &kind));
    assert_int_equal(counted(rig.shard, COUNT_DIRECTORY_OVERLOADED), 2);
    assert_false(ask(1, project("p2"), 7, &kind)); /* the other shard may still ask */
    rig_sql("commit");
    wait_told(WAITING + 1);
    assert_int_equal(lookups(), 2);
    assert_int_equal(counted(rig.shard, COUNT_DIRECTORY_CACHED), WAITING);
    for (unsigned i = 0; i < rig.told; i++)
        assert_int_equal(rig.kind[i], FINDING_YES);
}

/* ── Faults ─────────────────────────────────────────────────────────────────────────────────── */

static void what_takes_too_long_fails_and_the_next_is_asked(void **state)
{
    (void)state;
    enum finding_kind kind;
    rig.options.timeout_ms = TIMEOUT_MS;
    start();
    rig_sql("begin; lock table projects");
    uint64_t begun = clock_mono_ns();
    assert_false(ask(0, project("p1"), 1, &kind));
    assert_false(ask(1, room("r1", "alice"), 2, &kind));
    wait_told(2);
    assert_in_range(clock_mono_ns() - begun, TIMEOUT_MS * 1000000ull, 10ull * RIG_SECOND);
    rig_sql("commit");
    assert_int_equal(rig.token[0], 1);
    assert_int_equal(rig.kind[0], FINDING_FAILED);
    uint64_t deadline = clock_mono_ns() + 20ull * RIG_SECOND; /* a busy machine may be as slow */
    while (find(project("p1")) != FINDING_YES)
        assert_true(clock_mono_ns() < deadline);
    assert_int_equal(counted(rig.thread, COUNT_POSTGRES_CONNECTS), 1); /* cancelled, not cut */
}

static void a_connection_that_was_cut_is_made_again_unnoticed(void **state)
{
    (void)state;
    start();
    for (unsigned i = 0; i < 5; i++) {
        char name[8];
        snprintf(name, sizeof name, "n%u", i);
        assert_int_equal(find(project(name)), FINDING_NO);
        rig_sql("select count(pg_terminate_backend(pid)) from pg_stat_activity "
                "where application_name = 'ringmain'");
    }
    assert_int_equal(counted(rig.thread, COUNT_DIRECTORY_FAILURES), 0);
}

static void while_postgres_is_away_questions_fail_at_once(void **state)
{
    (void)state;
    start();
    assert_int_equal(find(project("p1")), FINDING_YES);
    rig_shell("stop", "fast", NULL, 0);
    uint64_t begun = clock_mono_ns();
    assert_int_equal(find(project("p2")), FINDING_FAILED);
    assert_int_equal(find(project("p2")), FINDING_FAILED);
    assert_in_range(clock_mono_ns() - begun, 0, 2ull * RIG_SECOND);
    assert_int_equal(find(project("p1")), FINDING_YES); /* what is known stays so */
    rig_server_start();
    uint64_t deadline = clock_mono_ns() + 20ull * RIG_SECOND;
    while (find(project("p2")) != FINDING_YES) {
        assert_true(clock_mono_ns() < deadline);
        usleep(1000);
    }
    assert_string_equal(rig.owner, "bob");
}

static void statements_that_do_not_fit_fail_and_recover_when_they_do(void **state)
{
    (void)state;
    rig.options.room_sql = "select 1 from members where room = $1"; /* no boolean */
    start();
    rig_sql("alter table projects rename to initiatives");
    assert_int_equal(find(project("p1")), FINDING_FAILED);
    assert_int_equal(find(room("r1", "alice")), FINDING_FAILED);
    rig_sql("alter table initiatives rename to projects");
    assert_int_equal(find(project("p1")), FINDING_YES);
    rig_sql("alter table projects alter is_active type text");
    assert_int_equal(find(project("p2")), FINDING_FAILED);
    assert_int_equal(counted(rig.thread, COUNT_DIRECTORY_FAILURES), 3);
    assert_int_equal(counted(rig.thread, COUNT_POSTGRES_CONNECTS), 1);
}

static void a_statement_can_change_nothing(void **state)
{
    (void)state;
    rig.options.project_sql =
        "with gone as (delete from projects where id = $1 returning 1) select 'x', true from gone";
    start();
    assert_int_equal(find(project("p1")), FINDING_FAILED);
    assert_int_equal(rig_number("select count(*) from projects"), 3);
}

/* However many rows and columns a careless statement returns. */
static void the_first_row_counts(void **state)
{
    (void)state;
    rig.options.project_sql =
        "select 'first', true, 3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18 where $1 <> '' "
        "union all select 'other', false, 3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18 "
        "from generate_series(1, 50000)";
    start();
    assert_int_equal(find(project("p1")), FINDING_YES);
    assert_string_equal(rig.owner, "first");
    assert_true(rig.active);
}

static void an_owner_too_long_to_be_a_user_is_nobody(void **state)
{
    (void)state;
    rig_sql("update projects set owner_id = repeat('x', 201)");
    start();
    assert_int_equal(find(project("p1")), FINDING_YES);
    assert_false(rig.has_owner);
}

static void without_postgres_every_question_fails(void **state)
{
    (void)state;
    rig.options.conninfo = "";
    start();
    assert_int_equal(find(project("p1")), FINDING_FAILED);
    assert_int_equal(find(room("r1", "alice")), FINDING_FAILED);
    assert_int_equal(find(messages(1)), FINDING_FAILED);
}

static void what_is_asked_at_the_end_is_left(void **state)
{
    (void)state;
    enum finding_kind kind;
    start();
    rig_sql("begin; lock table projects");
    assert_false(ask(0, project("p1"), 1, &kind));
    assert_false(ask(0, project("p2"), 1, &kind));
    uint64_t begun = clock_mono_ns();
    directory_stage_stop(rig.stage);
    directory_stage_join(rig.stage);
    assert_in_range(clock_mono_ns() - begun, 0, 5ull * RIG_SECOND);
    rig_sql("commit");
}

/* ── Messages ───────────────────────────────────────────────────────────────────────────────── */

static void messages_come_newest_first_and_by_pages(void **state)
{
    (void)state;
    rig_sql("insert into messages select n, n * 10, n % 2, 'say \"' || n || '\"', "
            "'2024-01-17T12:34:56.5Z' from generate_series(1, 9) n");
    start();
    assert_int_equal(find(messages(2)), FINDING_YES);
    assert_string_equal(rig.json, "[{\"id\":9,\"user_id\":90,\"channel_id\":1,\"content\":"
                                  "\"say \\\"9\\\"\",\"created_at\":\"2024-01-17T12:34:56.5+00:00"
                                  "\"},{\"id\":8,\"user_id\":80,\"channel_id\":0,\"content\":"
                                  "\"say \\\"8\\\"\",\"created_at\":\"2024-01-17T12:34:56.5+00:00"
                                  "\"}]");
    struct question question = messages(1);
    question.messages.before = 8;
    question.messages.has_channel = true;
    assert_int_equal(find(question), FINDING_YES);
    assert_non_null(strstr(rig.json, "[{\"id\":6,"));
    question.messages.channel_id = 7;
    assert_int_equal(find(question), FINDING_YES);
    assert_string_equal(rig.json, "[]");
    assert_int_equal(counted(rig.shard, COUNT_DIRECTORY_CACHED), 0);
}

static void a_page_is_full_when_it_is_full(void **state)
{
    (void)state;
    rig_sql("insert into messages select n, 1, 1, repeat('x', 20000) from generate_series(1, 5) n");
    start();
    assert_int_equal(find(messages(5)), FINDING_YES);
    assert_in_range(strlen(rig.json), 2 * 20000, 2 * 20100);
    assert_string_equal(rig.json + strlen(rig.json) - 2, "}]");
    rig_sql("insert into messages values (6, 1, 1, repeat('x', 70000))");
    assert_int_equal(find(messages(5)), FINDING_FAILED);
}

/* All clients come back at once, each into a room of its own. */
static _Atomic unsigned storm_told, storm_yes;

static void storm_answered(void *self, struct turn *turn, uint64_t token,
                           const struct finding *finding)
{
    (void)self;
    (void)turn;
    (void)token;
    storm_told++;
    storm_yes += finding->kind == FINDING_YES;
}

static void a_storm_of_questions_is_answered(void **state)
{
    enum { QUESTIONS = 4096 };
    const struct asker stormy = {NULL, storm_answered};
    (void)state;
    rig.options.waiting = rig.options.remembered = QUESTIONS;
    start();
    uint64_t begun = clock_mono_ns();
    for (unsigned i = 0; i < QUESTIONS; i++) {
        char name[16];
        struct finding finding;
        snprintf(name, sizeof name, "u%u", i);
        struct question question = room("r1", i % 2 == 0 ? name : "alice");
        question.tenant = span_of_string(name);
        rig.turn.now_ns = clock_mono_ns();
        assert_false(directory_ask(directory_desk(rig.stage, 0), &rig.turn, &question, &stormy, i,
                                   &finding));
    }
    while (storm_told < QUESTIONS) {
        assert_in_range(clock_mono_ns() - begun, 0, 20ull * RIG_SECOND);
        look_into_mail();
        usleep(100);
    }
    assert_int_equal(storm_yes, QUESTIONS / 2);
    assert_int_equal(lookups(), QUESTIONS);
    print_message("%.0f look-ups a second on one connection\n",
                  QUESTIONS * 1e9 / (double)(clock_mono_ns() - begun));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_project_has_an_owner_and_is_active_or_not),
        TEST(what_the_columns_type_can_not_have_is_nobodys_id),
        TEST(a_room_is_for_whom_the_statement_says),
        TEST(a_statement_may_speak_of_the_tenant_or_of_the_room_alone),
        TEST(without_a_statement_rooms_are_open),
        TEST(a_statement_without_its_parameters_is_refused_at_the_start),
        TEST(an_answer_is_remembered_and_asked_again_when_its_time_is_over),
        TEST(questions_that_are_equal_share_one_look_up),
        TEST(what_takes_too_long_fails_and_the_next_is_asked),
        TEST(a_connection_that_was_cut_is_made_again_unnoticed),
        TEST(while_postgres_is_away_questions_fail_at_once),
        TEST(statements_that_do_not_fit_fail_and_recover_when_they_do),
        TEST(a_statement_can_change_nothing),
        TEST(the_first_row_counts),
        TEST(an_owner_too_long_to_be_a_user_is_nobody),
        TEST(without_postgres_every_question_fails),
        TEST(what_is_asked_at_the_end_is_left),
        TEST(a_storm_of_questions_is_answered),
        TEST(messages_come_newest_first_and_by_pages),
        TEST(a_page_is_full_when_it_is_full),
    };
    return cmocka_run_group_tests(tests, rig_group_setup, rig_group_teardown);
}
