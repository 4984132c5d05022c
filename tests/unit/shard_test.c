/* SPDX-License-Identifier: Apache-2.0 */
/* Whole shards: many connections, few buffers, several shards, and the end. */
#include "core/limits.h"
#include "tests/unit/engine_fixture.h"
#include "tests/unit/ring_descriptor.h"

#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>

static void test_thousand_come_and_go(void **state)
{
    (void)state;
    enum { MANY = 1000 };
    struct engine *engine = engine_start(1, engine_options(), false);
    static int fd[MANY];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < MANY; i++)
            fd[i] = client(engine, i % 3 ? DOOR_ECHO : DOOR_LENGTH);
        EVENTUALLY(shard_connections(engine->shard[0]) == MANY);
        for (int i = 0; i < MANY; i++)
            say(fd[i], "\0\1z", 3);
        for (int i = 0; i < MANY; i++)
            expect(fd[i], i % 3 ? "\0\1z" : "\0\1\x85", 3);
        EVENTUALLY(engine_counted(engine, COUNT_CONNECTION_BYTES) == 0); /* idle: no buffers */
        for (int i = 0; i < MANY; i++) {
            if (i % 2)
                close(fd[i]);
            else
                reset(fd[i]);
        }
        EVENTUALLY(shard_connections(engine->shard[0]) == 0);
    }
    assert_int_equal(engine_counted(engine, COUNT_CONNECTIONS_OPENED), 2 * MANY);
    assert_int_equal(engine_counted(engine, COUNT_STALE_COMPLETIONS), 0);
    engine_stop(engine);
}

static void test_full_house(void **state)
{
    (void)state;
    struct shard_options options = engine_options();
    options.connections_max = 3;
    struct engine *engine = engine_start(1, options, false);
    int fd[3], more;
    for (int i = 0; i < 3; i++) {
        fd[i] = client(engine, DOOR_ECHO);
        say(fd[i], "x", 1);
        expect(fd[i], "x", 1);
    }
    more = client(engine, DOOR_ECHO);
    char byte;
    assert_true(recv(more, &byte, 1, 0) <= 0);
    close(more);
    EVENTUALLY(engine_counted(engine, COUNT_CONNECTIONS_REFUSED) == 1);
    close(fd[0]);
    EVENTUALLY(shard_connections(engine->shard[0]) == 2);
    fd[0] = client(engine, DOOR_ECHO);
    say(fd[0], "y", 1);
    expect(fd[0], "y", 1);
    for (int i = 0; i < 3; i++)
        close(fd[i]);
    engine_stop(engine);
}

/* Each client keeps up to a window of bytes on their way;
 * all shall get their share of few buffers. */
static void busy_clients(struct shard_options options, int clients, size_t each)
{
    struct engine *engine = engine_start(1, options, false);
    static uint8_t bytes[8192], back[8192];
    static struct pollfd poll_set[256];
    static size_t said[256], heard[256];
    memset(bytes, 'b', sizeof bytes);
    memset(said, 0, sizeof said);
    memset(heard, 0, sizeof heard);
    for (int i = 0; i < clients; i++)
        poll_set[i].fd = client(engine, DOOR_ECHO);
    for (int done = 0; done < clients;) {
        for (int i = 0; i < clients; i++)
            poll_set[i].events = (short)(POLLIN | (said[i] < each ? POLLOUT : 0));
        assert_true(poll(poll_set, (nfds_t)clients, 5000) > 0);
        for (int i = 0; i < clients; i++) {
            if (poll_set[i].revents & POLLIN) {
                ssize_t got = recv(poll_set[i].fd, back, sizeof back, MSG_DONTWAIT);
                assert_true(got > 0 && back[0] == 'b' && back[got - 1] == 'b');
                heard[i] += (size_t)got;
                done += heard[i] == each;
            }
            if ((poll_set[i].revents & POLLOUT) && said[i] < each) {
                size_t more = each - said[i] < sizeof bytes ? each - said[i] : sizeof bytes;
                ssize_t sent = send(poll_set[i].fd, bytes, more, MSG_DONTWAIT | MSG_NOSIGNAL);
                said[i] += sent > 0 ? (size_t)sent : 0;
            }
        }
    }
    for (int i = 0; i < clients; i++)
        close(poll_set[i].fd);
    EVENTUALLY(shard_connections(engine->shard[0]) == 0);
    engine_stop(engine);
}

static void test_few_buffers_for_many(void **state)
{
    (void)state;
    struct shard_options options = engine_options();
    options.ring.buffers = 16;
    options.ring.buffer_bytes = 1024;
    busy_clients(options, 200, 30000);
    options.ring.without.receive_length_cap = true;
    busy_clients(options, 200, 30000);
    options.ring.without.multishot_receive = true;
    options.ring.without.multishot_accept = true;
    busy_clients(options, 100, 20000);
}

static void test_small_queues(void **state)
{
    (void)state;
    struct shard_options options = engine_options();
    options.ring.entries = 2;
    options.ring.completion_entries = 4;
    busy_clients(options, 60, 20000);
}

static void test_spread_evenly(void **state)
{
    (void)state;
    struct engine *engine = engine_start(2, engine_options(), true);
    int fd[64];
    for (int i = 0; i < 64; i++) {
        fd[i] = client(engine, DOOR_ECHO);
        say(fd[i], "x", 1);
        expect(fd[i], "x", 1);
        if (i % 2) {
            assert_int_equal(shard_connections(engine->shard[0]), (i + 1) / 2);
            assert_int_equal(shard_connections(engine->shard[1]), (i + 1) / 2);
        }
    }
    for (int i = 0; i < 64; i++)
        close(fd[i]);
    EVENTUALLY(shard_connections(engine->shard[0]) + shard_connections(engine->shard[1]) == 0);
    for (int i = 0; i < 8; i++) /* all at once */
        fd[i] = client(engine, DOOR_ECHO);
    EVENTUALLY(shard_connections(engine->shard[0]) == 4 &&
               shard_connections(engine->shard[1]) == 4);
    for (int i = 0; i < 8; i++)
        close(fd[i]);
    engine_stop(engine);
}

static void hand_over(struct shard_options options)
{
    struct engine *engine = engine_start(3, options, false);
    uint8_t *bytes = malloc(100000);
    memset(bytes, 'X', 100000);
    for (int i = 0; i < 30; i++) {
        int fd = client(engine, DOOR_MOVE);
        say(fd, "1", 1);
        expect(fd, "1", 1);
        bytes[0] = (uint8_t)('a' + i % 3); /* more bytes than the wire will see before it moves */
        say(fd, bytes, 50000);
        expect(fd, bytes, 50000);
        assert_true(shard_connections(engine->shard[i % 3]) >= 1);
        say(fd, "2", 1);
        expect(fd, "2", 1);
        bytes[0] = (uint8_t)('a' + (i + 1) % 3);
        say(fd, bytes, 1000);
        shutdown(fd, SHUT_WR); /* the end of the stream moves along */
        expect(fd, bytes, 1000);
        expect_end(fd);
        close(fd);
    }
    assert_true(engine_counted(engine, COUNT_CONNECTIONS_HANDED_OVER) >= 30);
    EVENTUALLY(engine->wires == 0);
    free(bytes);
    engine_stop(engine);
}

static void test_hand_over(void **state)
{
    (void)state;
    struct shard_options options = engine_options();
    hand_over(options);
    options.ring.without.message_ring = true;
    options.busy_poll_us = 50;
    hand_over(options);
}

static void test_many_hand_overs(void **state)
{
    (void)state;
    struct engine *engine = engine_start(2, engine_options(), false);
    int fd[300];
    for (int i = 0; i < 300; i++)
        fd[i] = client(engine, DOOR_MOVE);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 300; i++)
            say(fd[i], round % 2 ? "b?" : "a!", 2);
        for (int i = 0; i < 300; i++)
            expect(fd[i], round % 2 ? "b?" : "a!", 2);
        assert_int_equal(shard_connections(engine->shard[round % 2]), 300);
    }
    for (int i = 0; i < 300; i++)
        close(fd[i]);
    EVENTUALLY(engine->wires == 0);
    engine_stop(engine);
}

/* A letter for a shard that is not there closes the connection, and nothing else. */
static void test_hand_over_to_nobody(void **state)
{
    (void)state;
    struct engine *engine = engine_make(2, engine_options(), false);
    char why[256] = "", byte;
    assert_int_equal(shard_start(engine->shard[0], why), 0); /* shard 1 never starts */
    int fd = -1;
    for (int i = 0; i < 200; i++) {
        fd = client(engine, DOOR_MOVE);
        say(fd, "1", 1);
        struct timeval patience = {.tv_usec = 20000};
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        if (recv(fd, &byte, 1, 0) == 1)
            break;
        close(fd);
    }
    struct timeval patience = {.tv_sec = 5};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    say(fd, "b", 1);
    assert_true(recv(fd, &byte, 1, 0) <= 0);
    close(fd);
    engine_stop(engine);
}

static void test_draining(void **state)
{
    (void)state;
    struct engine *engine = engine_start(2, engine_options(), true);
    engine->drained = false;
    engine->durable_max = 0;
    int idle = client(engine, DOOR_LAST), held = client(engine, DOOR_EVENT);
    say(idle, "x", 1);
    expect(idle, "x", 1);
    say(held, "abc", 3);
    expect_silence(held);
    shard_stop(engine->shard[0]);
    shard_stop(engine->shard[1]);
    expect(idle, "drained", 7);
    expect_end(idle);
    expect_silence(held); /* not before it is durable */
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(engine->port[DOOR_ECHO]),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int late = socket(AF_INET, SOCK_STREAM, 0);
    EVENTUALLY(shard_draining(engine->shard[0]) && shard_draining(engine->shard[1]));
    usleep(5000);
    assert_int_equal(connect(late, (struct sockaddr *)&address, sizeof address), -1);
    assert_int_equal(errno, ECONNREFUSED);
    close(late);
    engine->durable_max = UINT64_MAX;
    expect(held, "abc", 3);
    expect_end(held);
    engine->drained = true;
    close(idle);
    close(held);
    engine_stop(engine);
}

/* The turns of a shard without a thread. */
static void test_turns_by_hand(void **state)
{
    (void)state;
    struct engine *engine = engine_make(1, engine_options(), false);
    struct shard *shard = engine->shard[0];
    int fd = client(engine, DOOR_ECHO);
    assert_int_equal(shard_turn(shard, 0), 0);
    say(fd, "hello", 5);
    char back[5];
    for (int i = 0; i < 100 && recv(fd, back, 5, MSG_DONTWAIT) < 0; i++)
        assert_int_equal(shard_turn(shard, 1000000), 0);
    assert_memory_equal(back, "hello", 5);
    uint64_t turns = engine_counted(engine, COUNT_TURNS);
    for (int i = 0; i < 10; i++) /* nothing to do: each turn sleeps its millisecond */
        assert_int_equal(shard_turn(shard, 1000000), 0);
    assert_int_equal(engine_counted(engine, COUNT_TURNS), turns + 10);
    shard_stop(shard);
    close(fd);
    int result = 0;
    for (int i = 0; i < 1000 && result == 0; i++)
        result = shard_turn(shard, 1000000);
    assert_int_equal(result, 1);
    engine_stop(engine);
}

static uint64_t turns_in_100_ms(struct engine *engine)
{
    uint64_t turns = engine_counted(engine, COUNT_TURNS);
    usleep(100000);
    return engine_counted(engine, COUNT_TURNS) - turns;
}

static void test_idle_shard_sleeps(void **state)
{
    (void)state;
    struct shard_options options = engine_options();
    options.busy_poll_us = 50;
    struct engine *engine = engine_start(2, options, true);
    int fd = client(engine, DOOR_ECHO);
    say(fd, "x", 1);
    expect(fd, "x", 1);
    usleep(10000);
    assert_true(turns_in_100_ms(engine) < 5);
    close(fd);
    engine_stop(engine);
}

/* Takes every descriptor that is left. */
static int exhaust(int *taken, int max)
{
    int count = 0;
    while (count < max && (taken[count] = dup(0)) >= 0)
        count++;
    assert_true(count < max);
    return count;
}

static void test_no_descriptors(void **state)
{
    (void)state;
    struct rlimit before, few;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = 200;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    struct engine *engine = engine_start(1, engine_options(), false);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(engine->port[DOOR_ECHO]),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd[3], taken[200];
    for (int i = 0; i < 3; i++)
        fd[i] = socket(AF_INET, SOCK_STREAM, 0);
    int count = exhaust(taken, 200);
    for (int i = 0; i < 3; i++)
        assert_int_equal(connect(fd[i], (struct sockaddr *)&address, sizeof address), 0);
    EVENTUALLY(engine_counted(engine, COUNT_ACCEPT_ERRORS) > 0);
    while (count > 0)
        close(taken[--count]);
    for (int i = 0; i < 3; i++) { /* they waited, and are served once there are descriptors */
        say(fd[i], "x", 1);
        expect(fd[i], "x", 1);
        close(fd[i]);
    }
    engine_stop(engine);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

/* A process of its own: it is not to see the end. */
static void work_with_a_broken_ring(int log)
{
    struct shard_options options = engine_options();
    options.ring.without.ring_fd_registered = true;
    assert_int_equal(dup2(log, STDERR_FILENO), STDERR_FILENO);
    struct engine *engine = engine_start(1, options, false);
    int fd = client(engine, DOOR_ECHO);
    say(fd, "x", 1);
    expect(fd, "x", 1);
    assert_int_equal(close(ring_descriptor()), 0);
    say(fd, "y", 1);
    expect_end(fd);
    _exit(0);
}

static void test_broken_ring(void **state)
{
    (void)state;
    int log[2], status;
    char said[1000] = "";
    assert_int_equal(pipe(log), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        work_with_a_broken_ring(log[1]);
    close(log[1]);
    for (size_t length = 0; length < sizeof said - 1;) {
        ssize_t more = read(log[0], said + length, sizeof said - 1 - length);
        if (more <= 0)
            break;
        length += (size_t)more;
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_non_null(strstr(said, "level=error"));
    assert_non_null(
        strstr(said, "shard 0: its ring is broken: Bad file descriptor. ringmain ends"));
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    close(log[0]);
}

static void test_addresses(void **state)
{
    (void)state;
    struct engine *engine = engine_make(1, engine_options(), false);
    struct shard *shard;
    struct shard_options options = engine_options();
    char why[256] = "", taken[32];
    options.shards = 1;
    options.progress = engine->progress;
    options.counters = engine->counters[0];
    options.house = &engine->house[0];
    assert_int_equal(shard_create(&shard, &options, why), 0);
    uint16_t port = 0;
    assert_int_equal(shard_listen(shard, 0, "localhost:0", false, &port, why), 0);
    assert_true(port > 0);
    assert_int_equal(shard_listen(shard, 1, "*:0", false, &port, why), 0);
    assert_true(shard_listen(shard, 2, "nowhere", false, NULL, why) < 0);
    assert_non_null(strstr(why, "nowhere"));
    assert_true(shard_listen(shard, 2, "127.0.0.1:http", false, NULL, why) < 0);
    assert_true(shard_listen(shard, 2, "192.0.2.1:7070", false, NULL, why) == -EADDRNOTAVAIL);
    assert_non_null(strstr(why, "192.0.2.1"));

    int other = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    assert_int_equal(bind(other, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(other, 1), 0);
    assert_int_equal(getsockname(other, (struct sockaddr *)&address, &length), 0);
    snprintf(taken, sizeof taken, "127.0.0.1:%u", ntohs(address.sin_port));
    assert_int_equal(shard_listen(shard, 2, taken, false, NULL, why), -EADDRINUSE);
    assert_non_null(strstr(why, "another program"));
    close(other);
    /* another server that shares its port, as this one does */
    snprintf(taken, sizeof taken, "127.0.0.1:%u", engine->port[DOOR_ECHO]);
    assert_int_equal(shard_listen(shard, 2, taken, false, NULL, why), -EADDRINUSE);
    shard_destroy(shard);
    engine_stop(engine);
}

static void test_limits(void **state)
{
    (void)state;
    char why[LIMITS_WHY] = "";
    struct rlimit limit;
    assert_int_equal(limits_raise_descriptors(64, why), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(limits_raise_descriptors(limit.rlim_cur, why), 0);
    static const int errors[] = {EPERM, ENOSYS, EOPNOTSUPP, ENOMEM, EMFILE, EACCES};
    for (size_t i = 0; i < COUNT_OF(errors); i++) {
        limits_explain_ring(-errors[i], why);
        assert_true(strlen(why) > 20 && strlen(why) < LIMITS_WHY - 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_thousand_come_and_go),
        cmocka_unit_test(test_full_house),
        cmocka_unit_test(test_few_buffers_for_many),
        cmocka_unit_test(test_small_queues),
        cmocka_unit_test(test_spread_evenly),
        cmocka_unit_test(test_hand_over),
        cmocka_unit_test(test_many_hand_overs),
        cmocka_unit_test(test_hand_over_to_nobody),
        cmocka_unit_test(test_draining),
        cmocka_unit_test(test_turns_by_hand),
        cmocka_unit_test(test_idle_shard_sleeps),
        cmocka_unit_test(test_no_descriptors),
        cmocka_unit_test(test_broken_ring),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_limits),
    };
    cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
