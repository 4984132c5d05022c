/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One client with a clock of the test's own: when each step has to be done by, over a socket pair.
 */
#include "tests/unit/unit.h"

#include "metrics/visitor.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static const uint64_t second = 1000000000;
static const char index_page[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
static const char metrics_page[] = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";

struct fixture {
    struct counters counters;
    struct counters *list[1];
    struct answer_source source;
    struct visitor visitor;
    int client;
};

static int set_up(void **state)
{
    int pair[2], least = 1;
    struct fixture *fixture = aligned_alloc(64, (sizeof *fixture + 63) / 64 * 64);
    must(fixture != NULL);
    memset(fixture, 0, sizeof *fixture);
    fixture->list[0] = &fixture->counters;
    fixture->source.options = (struct metrics_stage_options){
        .counters = fixture->list, .counters_count = 1, .node = "n", .version = "v"};
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    must(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &least, sizeof least) == 0);
    visitor_come(&fixture->visitor, pair[0], second);
    fixture->client = pair[1];
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    visitor_dismiss(&fixture->visitor);
    visitor_dismiss(&fixture->visitor);
    close(fixture->client);
    free(fixture);
    return 0;
}

static void say(struct fixture *fixture, const char *text, uint64_t now_ns)
{
    assert_int_equal(send(fixture->client, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    visitor_turn(&fixture->visitor, &fixture->source, now_ns);
}

static size_t hear(struct fixture *fixture, char *out, size_t room)
{
    ssize_t got = recv(fixture->client, out, room, 0);
    return got > 0 ? (size_t)got : 0;
}

static void assert_waits(const struct fixture *fixture, enum visitor_state state, short events,
                         uint64_t until_ns)
{
    assert_int_equal(fixture->visitor.state, state);
    assert_int_equal(visitor_events(&fixture->visitor), events);
    assert_int_equal(fixture->visitor.deadline_ns, until_ns);
}

/* Bytes that trickle in win no time, neither for the first request nor for the next. */
static void slow_request(void **state)
{
    struct fixture *fixture = *state;
    assert_waits(fixture, VISITOR_ASKING, POLLIN, 11 * second);
    say(fixture, "GET", 3 * second);
    say(fixture, " / HTTP", 9 * second);
    assert_waits(fixture, VISITOR_ASKING, POLLIN, 11 * second);
    say(fixture, "/1.1\r\nHost: x\r\n\r\n", 10 * second);
    assert_waits(fixture, VISITOR_ASKING, POLLIN, (10 + VISITOR_IDLE_S) * second);
    assert_true(fixture->visitor.idle);
    say(fixture, "G", 100 * second);
    assert_false(fixture->visitor.idle);
    say(fixture, "E", 105 * second);
    assert_waits(fixture, VISITOR_ASKING, POLLIN, 110 * second);
}

/* Nor do bytes that are read slowly. */
static void slow_reader(void **state)
{
    struct fixture *fixture = *state;
    char some[2000];
    say(fixture, metrics_page, 2 * second);
    assert_waits(fixture, VISITOR_ANSWERED, POLLOUT, 12 * second);
    for (uint64_t at = 3; fixture->visitor.state == VISITOR_ANSWERED; at++) {
        assert_true(at < 1000);
        assert_int_equal(fixture->visitor.deadline_ns, 12 * second);
        hear(fixture, some, sizeof some);
        visitor_turn(&fixture->visitor, &fixture->source, at * second);
    }
    assert_int_equal(fixture->visitor.state, VISITOR_ASKING);
    assert_true(fixture->visitor.idle);
    assert_null(fixture->visitor.output.at);
}

/* The second of two requests is answered in a turn of its own. */
static void one_answer_a_turn(void **state)
{
    struct fixture *fixture = *state;
    char answers[4096] = "";
    say(fixture, index_page, second);
    say(fixture, "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\nG", second);
    assert_waits(fixture, VISITOR_ASKING, POLLOUT, 11 * second);
    visitor_turn(&fixture->visitor, &fixture->source, 5 * second);
    assert_waits(fixture, VISITOR_ASKING, POLLOUT, 15 * second);
    visitor_turn(&fixture->visitor, &fixture->source, 6 * second);
    assert_waits(fixture, VISITOR_ASKING, POLLIN, 15 * second);
    assert_int_equal(fixture->visitor.kept, 1);
    size_t length = hear(fixture, answers, sizeof answers - 1), found = 0;
    assert_true(length > 0);
    for (char *at = answers; (at = strstr(at, "HTTP/1.1 200 OK")) != NULL; at++)
        found++;
    assert_int_equal(found, 3);
}

static void leaving(void **state)
{
    struct fixture *fixture = *state;
    say(fixture, "nonsense\n\n", 2 * second);
    assert_waits(fixture, VISITOR_LEAVING, POLLIN, 3 * second);
    char answer[1000];
    assert_true(hear(fixture, answer, sizeof answer) > 0);
    assert_int_equal(recv(fixture->client, answer, 1, 0), 0); /* told at once that this was all */
    say(fixture, "and on and on", 2 * second);
    assert_waits(fixture, VISITOR_LEAVING, POLLIN, 3 * second);
    shutdown(fixture->client, SHUT_WR);
    visitor_turn(&fixture->visitor, &fixture->source, 2 * second);
    assert_int_equal(fixture->visitor.state, VISITOR_ABSENT);
}

static void gone_while_answered(void **state)
{
    struct fixture *fixture = *state;
    say(fixture, metrics_page, 2 * second);
    close(fixture->client);
    fixture->client = -1;
    visitor_turn(&fixture->visitor, &fixture->source, 2 * second);
    assert_int_equal(fixture->visitor.state, VISITOR_ABSENT);
    visitor_turn(&fixture->visitor, &fixture->source, 2 * second);
}

/* A turn for nothing, which poll may give, changes nothing. */
static void nothing_there(void **state)
{
    struct fixture *fixture = *state;
    visitor_turn(&fixture->visitor, &fixture->source, 5 * second);
    assert_waits(fixture, VISITOR_ASKING, POLLIN, 11 * second);
    say(fixture, metrics_page, 6 * second);
    size_t sent = fixture->visitor.sent;
    visitor_turn(&fixture->visitor, &fixture->source, 7 * second);
    assert_int_equal(fixture->visitor.sent, sent);
    assert_waits(fixture, VISITOR_ANSWERED, POLLOUT, 16 * second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define EACH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        EACH(slow_request), EACH(slow_reader),         EACH(one_answer_a_turn),
        EACH(leaving),      EACH(gone_while_answered), EACH(nothing_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
