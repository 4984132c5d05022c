/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests whose answer comes later, from elsewhere; and those that belong to another shard.
 */
#include "tests/unit/http_rig.h"

#define PARK "GET /park HTTP/1.1\r\n" HOST "\r\n"

static void expect_said(const char *wanted)
{
    char *text = said();
    assert_string_equal(text, wanted);
    free(text);
}

static void test_answered_later(void **state)
{
    (void)state;
    for (size_t cut = 0; cut <= strlen(PARK); cut++) {
        open_conn();
        hear(PARK, cut);
        hear(PARK + cut, strlen(PARK) - cut);
        expect_said("");
        assert_non_null(parked);
        assert_true(span_is(http_path(parked), "/park")); /* the header was kept */
        say(parked, "now");
        expect_said(TEXT("3", "now"));
        assert_null(parked);
        fake_forget(&conn);
        hear_text("GET / HTTP/1.1\r\n" HOST "\r\n"); /* the connection goes on */
        expect_said(TEXT("5", "hello"));
        close_conn();
    }
}

static void test_what_is_behind_waits(void **state)
{
    (void)state;
    open_conn();
    hear_text(PARK "GET / HTTP/1.1\r\n" HOST "\r\n" PARK);
    expect_said("");
    assert_true(conn.paused);
    say(parked, "now");
    assert_false(conn.paused);
    fake_open(&conn, &turn);
    expect_said(TEXT("3", "now") TEXT("5", "hello"));
    say(parked, "then");
    expect_said(TEXT("3", "now") TEXT("5", "hello") TEXT("4", "then"));
    close_conn();
}

static void test_no_time_runs(void **state)
{
    (void)state;
    open_conn();
    hear_text(PARK);
    for (unsigned i = 0; i < 4; i++) {
        turn.now_ns = conn.deadline_ns;
        conn.wire->ops->deadline(conn.wire, &turn);
        assert_false(conn.finished);
    }
    say(parked, "late");
    turn.now_ns += IDLE_NS - 1;
    conn.wire->ops->deadline(conn.wire, &turn);
    assert_false(conn.finished); /* idle only from the answer on */
    turn.now_ns += 1;
    conn.wire->ops->deadline(conn.wire, &turn);
    assert_true(conn.finished);
    close_conn();
}

static void test_the_connection_goes(void **state)
{
    (void)state;
    open_conn();
    hear_text(PARK);
    forgotten = 0;
    close_conn();
    assert_null(parked);
    assert_int_equal(forgotten, 1);
}

/* Who only shuts down its sending end gets its answer. */
static void test_the_peer_ends(void **state)
{
    (void)state;
    open_conn();
    hear_text(PARK);
    conn.wire->ops->ended(conn.wire, &turn);
    assert_false(conn.finished);
    say(parked, "still");
    expect_said(TEXT("5", "still"));
    assert_true(conn.finished);
    close_conn();
    open_conn();
    hear_text("POST /park HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nab");
    conn.wire->ops->ended(conn.wire, &turn);
    assert_null(parked);
    assert_true(conn.finished);
    close_conn();
}

static void test_drain(void **state)
{
    (void)state;
    open_conn();
    hear_text(PARK);
    conn.wire->ops->drain(conn.wire, &turn);
    assert_false(conn.finished);
    say(parked, "bye");
    char *text = said();
    assert_non_null(strstr(text, "Connection: close"));
    free(text);
    assert_true(conn.finished);
    close_conn();
}

static void test_its_own_limit(void **state)
{
    (void)state;
    expect_status("POST /park HTTP/1.1\r\n" HOST "Content-Length: 11\r\n\r\n01234567890", 413,
                  true);
}

static void test_another_shard(void **state)
{
    static const char request[] = "POST /at?at=3 HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nab";
    (void)state;
    open_conn();
    hear_text("POST /at?at=0 HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nab");
    expect_said(TEXT("2", "ab"));
    assert_false(conn.moves);
    hear_text("GET / HTTP/1.1\r\n" HOST "\r\n");
    hear_text(request);
    assert_true(conn.moves);
    assert_int_equal(conn.target, 3);
    assert_int_equal(conn.kept.length, strlen(request)); /* nothing of it was used */
    close_conn();
    open_conn(); /* behind another in one run */
    char both[300];
    snprintf(both, sizeof both, "GET / HTTP/1.1\r\n" HOST "\r\n%s", request);
    hear_text(both);
    expect_said(TEXT("5", "hello"));
    assert_true(conn.moves);
    assert_int_equal(conn.kept.length, strlen(request));
    close_conn();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answered_later), cmocka_unit_test(test_what_is_behind_waits),
        cmocka_unit_test(test_no_time_runs),   cmocka_unit_test(test_the_connection_goes),
        cmocka_unit_test(test_the_peer_ends),  cmocka_unit_test(test_drain),
        cmocka_unit_test(test_its_own_limit),  cmocka_unit_test(test_another_shard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
