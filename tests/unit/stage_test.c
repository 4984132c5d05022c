/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stage as a client meets it: over loopback, on a free port.
 */
#include "tests/unit/unit.h"

#include "core/clock.h"
#include "metrics/stage.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ANSWER_BYTES = 1 << 20 };

struct fixture {
    struct counters counters[2];
    struct counters *list[2];
    struct stats stats;
    struct metrics_stage *stage;
    uint16_t port;
    char answer[ANSWER_BYTES];
};

static struct metrics_stage_options options_of(struct fixture *fixture, const char *address)
{
    return (struct metrics_stage_options){.address = address,
                                          .counters = fixture->list,
                                          .counters_count = 2,
                                          .stats = &fixture->stats,
                                          .node = "here",
                                          .version = "0.0.1"};
}

static int set_up(void **state)
{
    char why[METRICS_STAGE_WHY];
    struct fixture *fixture = aligned_alloc(64, (sizeof *fixture + 63) / 64 * 64);
    must(fixture != NULL);
    memset(fixture, 0, sizeof *fixture);
    fixture->list[0] = &fixture->counters[0];
    fixture->list[1] = &fixture->counters[1];
    struct metrics_stage_options options = options_of(fixture, "127.0.0.1:0");
    must(metrics_stage_open(&fixture->stage, &options, &fixture->port, why) == 0);
    must(metrics_stage_start(fixture->stage, why) == 0);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    metrics_stage_stop(fixture->stage);
    metrics_stage_close(fixture->stage);
    free(fixture);
    return 0;
}

static int reach_with(uint16_t port, int receive_buffer)
{
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (receive_buffer > 0)
        must(setsockopt(client, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer) ==
             0);
    must(client >= 0 && connect(client, (struct sockaddr *)&at, sizeof at) == 0);
    return client;
}

static int reach(uint16_t port)
{
    return reach_with(port, 0);
}

static void say(int client, const char *text)
{
    assert_int_equal(send(client, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static bool readable(int client, int within_ms)
{
    struct pollfd polled = {.fd = client, .events = POLLIN};
    return poll(&polled, 1, within_ms) == 1;
}

/* One byte more, or false at the end of the connection. */
static bool hear_byte(int client, char *out)
{
    assert_true(readable(client, 5000));
    return recv(client, out, 1, 0) == 1;
}

static bool ended(int client)
{
    char byte;
    return !hear_byte(client, &byte);
}

/* One response, as long as its Content-Length says, into fixture->answer; its body is returned. */
static const char *hear(struct fixture *fixture, int client, bool with_body)
{
    char *answer = fixture->answer;
    size_t length = 0;
    do {
        assert_true(hear_byte(client, answer + length));
        answer[++length] = '\0';
        assert_true(length < ANSWER_BYTES / 2);
    } while (length < 4 || memcmp(answer + length - 4, "\r\n\r\n", 4) != 0);
    const char *field = strstr(answer, "\r\nContent-Length: ");
    assert_non_null(field);
    size_t body = with_body ? strtoul(field + 18, NULL, 10) : 0;
    assert_true(body < ANSWER_BYTES / 2);
    if (body > 0)
        assert_int_equal(recv(client, answer + length, body, MSG_WAITALL), body);
    answer[length + body] = '\0';
    return answer + length;
}

static const char *ask(struct fixture *fixture, const char *request)
{
    int client = reach(fixture->port);
    say(client, request);
    const char *body = hear(fixture, client, strncmp(request, "HEAD", 4) != 0);
    close(client);
    return body;
}

static void assert_status(const struct fixture *fixture, const char *status)
{
    size_t length = strlen("HTTP/1.1 ");
    assert_memory_equal(fixture->answer, "HTTP/1.1 ", length);
    if (strncmp(fixture->answer + length, status, strlen(status)) != 0)
        fail_msg("wanted %s, got %.60s", status, fixture->answer);
}

static void has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" is not in: %.600s", part, text);
}

static void metrics_are_served(void **state)
{
    struct fixture *fixture = *state;
    count(&fixture->counters[0], COUNT_EVENTS_STORED, 40);
    count(&fixture->counters[1], COUNT_EVENTS_STORED, 2);
    const char *body = ask(fixture, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_status(fixture, "200 ");
    has(fixture->answer, "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n");
    has(body, "\nringmain_events_stored_total 42\n");
    has(body, "ringmain_build_info{version=\"0.0.1\",node=\"here\"} 1\n");
    assert_null(strstr(body, "# EOF"));
}

static void openmetrics_is_served(void **state)
{
    struct fixture *fixture = *state;
    const char *body = ask(fixture, "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: "
                                    "application/openmetrics-text;version=1.0.0,"
                                    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n\r\n");
    has(fixture->answer,
        "\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n");
    has(body, "# TYPE ringmain_events_stored counter\n");
    assert_string_equal(body + strlen(body) - 6, "# EOF\n");
}

static void other_pages(void **state)
{
    struct fixture *fixture = *state;
    has(ask(fixture, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "<a href=\"/metrics\">");
    assert_status(fixture, "200 ");
    ask(fixture, "GET /metricsx HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_status(fixture, "404 ");
    ask(fixture, "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
    assert_status(fixture, "405 ");
    has(fixture->answer, "\r\nAllow: GET, HEAD\r\n");
    has(ask(fixture, "GET http://h:1/metrics?a=b HTTP/1.1\nHost: h:1\n\n"), "ringmain_turns");
    assert_status(fixture, "200 ");
}

static void head_has_no_body(void **state)
{
    struct fixture *fixture = *state;
    int client = reach(fixture->port);
    say(client, "HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    hear(fixture, client, false);
    assert_status(fixture, "200 ");
    assert_null(strstr(fixture->answer, "\r\nContent-Length: 0\r\n"));
    assert_true(ended(client));
    close(client);
}

static void bad_requests(void **state)
{
    static const char *const bad[] = {
        "\x16\x03\x01\n\n",
        "GET\r\n\r\n",
        "GET /metrics\r\n\r\n",
        "GET /metrics HTTP/2.0\r\nHost: x\r\n\r\n",
        "GET /metrics HTTP/1.1 \r\nHost: x\r\n\r\n",
        "GET  /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /met\trics HTTP/1.1\r\nHost: x\r\n\r\n",
        "G:T /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /metrics HTTP/1.1\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost : x\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: x\r\nA: b\x01\r\n\r\n",
    };
    struct fixture *fixture = *state;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        int client = reach(fixture->port);
        say(client, bad[i]);
        hear(fixture, client, true);
        assert_status(fixture, "400 ");
        assert_true(ended(client));
        close(client);
    }
}

static void header_too_large(void **state)
{
    struct fixture *fixture = *state;
    static char head[100000];
    memset(head, 'a', sizeof head - 1);
    memcpy(head, "GET / HTTP/1.1\r\nA: ", 19);
    int client = reach(fixture->port);
    say(client, head);
    hear(fixture, client, true);
    assert_status(fixture, "431 ");
    assert_true(ended(client));
    close(client);
}

/* Byte by byte, four times on one connection, then three at once. */
static void keep_alive(void **state)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    struct fixture *fixture = *state;
    int client = reach(fixture->port), one = 1;
    must(setsockopt(client, IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof one) == 0);
    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < sizeof request - 1; i++)
            say(client, (char[]){request[i], '\0'});
        has(hear(fixture, client, true), "/metrics");
        has(fixture->answer, "\r\nConnection: keep-alive\r\n");
    }
    say(client, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"
                "GET /no HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n\r\n");
    has(hear(fixture, client, true), "ringmain_turns_total 0\n");
    has(hear(fixture, client, true), "<a href");
    hear(fixture, client, true);
    assert_status(fixture, "404 ");
    assert_true(ended(client));
    close(client);
}

static void old_clients(void **state)
{
    struct fixture *fixture = *state;
    int client = reach(fixture->port);
    say(client, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    hear(fixture, client, true);
    has(fixture->answer, "\r\nConnection: keep-alive\r\n");
    say(client, "GET / HTTP/1.0\r\n\r\n");
    hear(fixture, client, true);
    has(fixture->answer, "\r\nConnection: close\r\n");
    assert_true(ended(client));
    close(client);
}

/* A client that has shut down its side still gets its answer. */
static void half_closed(void **state)
{
    struct fixture *fixture = *state;
    int client = reach(fixture->port);
    say(client, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    shutdown(client, SHUT_WR);
    hear(fixture, client, true);
    assert_status(fixture, "200 ");
    assert_true(ended(client));
    close(client);
}

/* Clients that ask and ask and read nothing. */
static void stuck_clients(void **state)
{
    struct fixture *fixture = *state;
    int stuck[8];
    for (size_t i = 0; i < COUNT_OF(stuck); i++) {
        stuck[i] = reach_with(fixture->port, 4096);
        for (int asked = 0; asked < 100; asked++)
            say(stuck[i], "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    count(&fixture->counters[0], COUNT_EVENTS_ACCEPTED, 7);
    for (int waited = 0; fixture->stats.total_messages != 7 && waited < 200; waited++)
        usleep(10000);
    assert_int_equal(fixture->stats.total_messages, 7);
    ask(fixture, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_status(fixture, "200 ");
    for (size_t i = 0; i < COUNT_OF(stuck); i++)
        close(stuck[i]);
}

/* Idle ones make room for new ones, the longest idle first. */
static void full_house(void **state)
{
    struct fixture *fixture = *state;
    int idle[64];
    for (size_t i = 0; i < COUNT_OF(idle); i++) {
        idle[i] = reach(fixture->port);
        say(idle[i], "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        hear(fixture, idle[i], true);
    }
    ask(fixture, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_status(fixture, "200 ");
    assert_true(ended(idle[0]));
    assert_false(readable(idle[1], 0));
    for (size_t i = 0; i < COUNT_OF(idle); i++)
        close(idle[i]);
}

static void stops_at_once(void **state)
{
    struct fixture *fixture = *state;
    int client = reach(fixture->port);
    say(client, "GET /metr");
    uint64_t before_ns = clock_mono_ns();
    metrics_stage_stop(fixture->stage);
    assert_true(clock_mono_ns() - before_ns < 100000000);
    metrics_stage_stop(fixture->stage);
    close(client);
}

static void without_a_port(void **state)
{
    struct fixture *fixture = *state;
    struct metrics_stage_options options = options_of(fixture, "");
    struct metrics_stage *stage;
    char why[METRICS_STAGE_WHY];
    uint16_t port = 1;
    assert_int_equal(metrics_stage_open(&stage, &options, &port, why), 0);
    assert_int_equal(port, 0);
    metrics_stage_stop(stage); /* before it was started */
    assert_int_equal(metrics_stage_start(stage, why), 0);
    count(&fixture->counters[1], COUNT_BATCHES, 3);
    for (int waited = 0; fixture->stats.total_batches != 3 && waited < 200; waited++)
        usleep(10000);
    assert_int_equal(fixture->stats.total_batches, 3);
    metrics_stage_stop(stage);
    metrics_stage_close(stage);
}

static void refused_address(struct fixture *fixture, const char *address, int error,
                            const char *because)
{
    struct metrics_stage_options options = options_of(fixture, address);
    struct metrics_stage *stage = NULL;
    char why[METRICS_STAGE_WHY] = "";
    assert_int_equal(metrics_stage_open(&stage, &options, NULL, why), error);
    assert_null(stage);
    has(why, address);
    has(why, because);
}

static void addresses(void **state)
{
    struct fixture *fixture = *state;
    static const char *const malformed[] = {"9464",         "localhost:",  "127.0.0.1:http",
                                            "127.0.0.1:-1", "::1:9464",    "127.0.0.1:65536",
                                            "[::1:9464",    "127.0.0.1: 1"};
    for (size_t i = 0; i < COUNT_OF(malformed); i++)
        refused_address(fixture, malformed[i], -EINVAL, "host:port");
    refused_address(fixture, "192.0.2.1:9464", -EADDRNOTAVAIL, "does not have that address");
    char taken[32];
    snprintf(taken, sizeof taken, "127.0.0.1:%u", fixture->port);
    refused_address(fixture, taken, -EADDRINUSE, "another program");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define EACH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        EACH(metrics_are_served), EACH(openmetrics_is_served),
        EACH(other_pages),        EACH(head_has_no_body),
        EACH(bad_requests),       EACH(header_too_large),
        EACH(keep_alive),         EACH(old_clients),
        EACH(half_closed),        EACH(stuck_clients),
        EACH(full_house),         EACH(stops_at_once),
        EACH(without_a_port),     EACH(addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
