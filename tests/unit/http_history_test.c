/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/http_history.h" /* before the rig, which has a `turn` of its own */

#include "tests/unit/http_rig.h"

/* ── A directory that the test answers for ──────────────────────────────────────────────────── */

static struct {
    struct directory face;
    bool at_once;
    struct finding finding;
    struct question question;
    const struct asker *asker;
    uint64_t token;
    unsigned asked;
} oracle;

static bool ask(struct directory *directory, struct turn *now, const struct question *question,
                const struct asker *asker, uint64_t token, struct finding *finding)
{
    assert_ptr_equal(directory, &oracle.face);
    assert_ptr_equal(now, &turn);
    oracle.question = *question;
    oracle.asker = asker;
    oracle.token = token;
    oracle.asked++;
    if (oracle.at_once)
        *finding = oracle.finding;
    return oracle.at_once;
}

static void tell(uint64_t token, const char *json)
{
    struct finding finding = {.kind = FINDING_YES, .json = span_of_string(json)};
    oracle.asker->answered(oracle.asker->self, &turn, token, &finding);
}

static struct http_history history;
static struct http_route history_route = {.method = "GET",
                                          .path = "/messages",
                                          .context = &history,
                                          .handle = http_history_handle,
                                          .forget = http_history_forget};
static struct http_house history_house;

static int setup(void **state)
{
    (void)state;
    memset(&oracle, 0, sizeof oracle);
    oracle.face.ask = ask;
    http_history_init(&history, &oracle.face);
    history_route.state_bytes = http_history_state_bytes();
    history_house = house;
    history_house.routes = &history_route;
    history_house.routes_count = 1;
    turn.now_ns = 1000000;
    fake_init(&conn);
    conn.wire = http_open(&conn, &turn, &history_house);
    return conn.wire == NULL;
}

static int teardown(void **state)
{
    (void)state;
    if (conn.wire != NULL)
        close_conn();
    return 0;
}

static void get(const char *target)
{
    char text[256];
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", target);
    hear_text(text);
}

static void expect_said(const char *begin, const char *end)
{
    char *text = said();
    if (strncmp(text, begin, strlen(begin)) != 0 || strlen(text) < strlen(end) ||
        strcmp(text + strlen(text) - strlen(end), end) != 0)
        fail_msg("said: %s", text);
    free(text);
    fake_forget(&conn);
    conn.sent.max = 1 << 20;
}

/* ── Tests ──────────────────────────────────────────────────────────────────────────────────── */

static void the_parameters_are_asked_for(void **state)
{
    (void)state;
    oracle.at_once = true;
    oracle.finding = (struct finding){.kind = FINDING_YES, .json = SPAN("[]")};
    get("/messages");
    assert_int_equal(oracle.question.kind, QUESTION_MESSAGES);
    assert_int_equal(oracle.question.messages.limit, 50);
    assert_true(oracle.question.messages.before == INT64_MAX);
    assert_false(oracle.question.messages.has_channel);
    get("/messages?limit=1000&before=-7&channel_id=9223372036854775807");
    assert_int_equal(oracle.question.messages.limit, 1000);
    assert_true(oracle.question.messages.before == -7);
    assert_true(oracle.question.messages.has_channel);
    assert_true(oracle.question.messages.channel_id == INT64_MAX);
    expect_said("HTTP/1.1 200 OK\r\n", "\r\n\r\n[]");
}

static void what_is_no_number_is_unprocessable(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "limit=0", "limit=1001",  "limit=",         "limit=1x",
        "limit",   "limit=%zz",   "before=newest",  "before=9223372036854775808",
        "before=", "before=1e30", "channel_id=1.5", "channel_id=a%00b",
    };
    for (unsigned i = 0; i < COUNT_OF(bad); i++) {
        char target[80];
        snprintf(target, sizeof target, "/messages?%s", bad[i]);
        get(target);
        expect_said("HTTP/1.1 422 ", "\"}");
    }
    assert_int_equal(oracle.asked, 0);
}

static void it_waits_for_the_answer_and_what_is_behind_waits_too(void **state)
{
    (void)state;
    get("/messages?limit=1");
    get("/messages?limit=2");
    assert_int_equal(conn.sent.length, 0);
    assert_int_equal(oracle.asked, 1);
    tell(oracle.token, "[1]");
    expect_said("HTTP/1.1 200 OK\r\n", "[1]");
    fake_open(&conn, &turn);
    assert_int_equal(oracle.asked, 2);
    tell(oracle.token - 1, "[old]"); /* nobody's any more */
    assert_int_equal(conn.sent.length, 0);
    tell(oracle.token, "[2]");
    expect_said("HTTP/1.1 200 OK\r\n", "[2]");
    tell(oracle.token, "[again]");
    assert_int_equal(conn.sent.length, 0);
}

static void who_has_left_gets_no_answer(void **state)
{
    (void)state;
    get("/messages");
    close_conn();
    assert_true(list_empty(&history.waiting));
    tell(oracle.token, "[1]");
}

static void a_failure_is_told_with_when_to_come_again(void **state)
{
    (void)state;
    oracle.at_once = true;
    oracle.finding = (struct finding){.kind = FINDING_FAILED};
    get("/messages");
    char *text = said();
    assert_non_null(strstr(text, "Retry-After: 1\r\n"));
    free(text);
    expect_said("HTTP/1.1 503 ", "\"}");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_parameters_are_asked_for),
        TEST(what_is_no_number_is_unprocessable),
        TEST(it_waits_for_the_answer_and_what_is_behind_waits_too),
        TEST(who_has_left_gets_no_answer),
        TEST(a_failure_is_told_with_when_to_come_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
