/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shards with a house of cardboard and wires that do one thing each, on loopback. Each door speaks
 * another wire; the doors' ports are in `port`. The test's thread plays the clients.
 */
#ifndef TESTS_UNIT_ENGINE_FIXTURE_H
#define TESTS_UNIT_ENGINE_FIXTURE_H

#include "core/shard.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum door {
    DOOR_ECHO,   /* everything comes back */
    DOOR_BYTE,   /* the same, but it uses one byte a call */
    DOOR_LENGTH, /* messages of a two-byte length and so many bytes; each comes back inverted */
    DOOR_EVENT,  /* each byte is an event: its reply, the byte, is held until the level it names */
    DOOR_FLOOD,  /* a byte is answered with 64 KiB; over the limit: closed */
    DOOR_MOVE,   /* 'a' … 'h': to shard 0 … 7, where the rest of the bytes comes back */
    DOOR_SINK,   /* counts */
    DOOR_LAST,   /* echoes; 'q' says bye and finishes; 'u' becomes DOOR_LENGTH's wire; 'd': a
                    deadline; 'l' is answered with 5,000 bytes that are lent; '+' keeps a MiB more
                    and '*' 60 KiB, and says y or n; '-' lets go of all of it */
    DOORS
};

struct engine {
    unsigned shards;
    struct shard *shard[4];
    struct house house[4];
    struct counters *counters[4];
    struct progress progress[4];
    struct cardboard {
        struct engine *engine;
        unsigned index;
        uint64_t next; /* sequence */
    } cardboard[4];
    uint16_t port[DOORS];
    _Atomic uint64_t durable_max; /* events with a lower sequence may become durable */
    _Atomic bool open, drained, ended_by_wire;
    _Atomic uint64_t sunk, wires, threw;
    struct lent lent; /* DOOR_LAST's */
    _Atomic uint64_t lent_count, returned;
    int descriptors; /* open before it */
};

struct test_wire {
    struct wire wire;
    struct cardboard *house;
    enum door door;
    size_t counted; /* conn_count_memory() */
};

static inline struct test_wire *test_wire(struct wire *wire)
{
    return (struct test_wire *)(void *)wire;
}

static inline struct wire *wire_make(struct cardboard *house, struct conn *conn, enum door door);

static inline void send_or_abort(struct wire *wire, struct turn *turn, const void *at,
                                 size_t length)
{
    if (!conn_send(wire->conn, turn, at, length))
        conn_abort(wire->conn, turn);
}

static inline ptrdiff_t input_length(struct wire *wire, struct turn *turn, uint8_t *at,
                                     size_t length)
{
    if (length < 2)
        return 0;
    size_t whole = 2 + (size_t)(at[0] << 8 | at[1]);
    if (length < whole)
        return 0;
    for (size_t i = 2; i < whole; i++)
        at[i] = (uint8_t)~at[i];
    send_or_abort(wire, turn, at, whole);
    return (ptrdiff_t)whole;
}

/* Levels: 's' stored, 'n' none, 'o' an event of shard 1 (sequence 5) too; all others spooled. */
static inline ptrdiff_t input_event(struct wire *wire, struct turn *turn, const uint8_t *at,
                                    size_t length)
{
    struct cardboard *house = test_wire(wire)->house;
    if (!house->engine->open) {
        house->engine->threw++;
        conn_throttle(wire->conn, turn);
        return 0;
    }
    for (size_t i = 0; i < length; i++) {
        struct hold hold = {.level = at[i] == 's' ? ACK_STORED : ACK_SPOOLED,
                            .has_through = true,
                            .through = {house->next++, house->index},
                            .has_other = at[i] == 'o',
                            .other = {5, 1},
                            .reply = {at + i, 1}};
        if (at[i] == 'n')
            hold.level = ACK_NONE;
        if (!conn_hold(wire->conn, turn, &hold))
            conn_abort(wire->conn, turn);
    }
    return (ptrdiff_t)length;
}

enum { LENT_BYTES = 5000 };
static const char lent_bytes[LENT_BYTES] = "these are not copied";

static inline void lent_returned(struct lent *lent)
{
    ((struct engine *)((char *)lent - offsetof(struct engine, lent)))->returned++;
}

static inline void lend(struct wire *wire, struct turn *turn)
{
    struct engine *engine = test_wire(wire)->house->engine;
    engine->lent.returned = lent_returned;
    if (conn_lend(wire->conn, turn, span_of(lent_bytes, LENT_BYTES), &engine->lent))
        engine->lent_count++;
    else
        conn_abort(wire->conn, turn);
}

static inline ptrdiff_t input_move(struct wire *wire, struct turn *turn, const uint8_t *at,
                                   size_t length)
{
    unsigned target = (unsigned)(at[0] - 'a');
    if (at[0] >= 'a' && at[0] <= 'h' && target != test_wire(wire)->house->index) {
        conn_hand_over(wire->conn, target);
        return WIRE_HAND_OVER;
    }
    send_or_abort(wire, turn, at, length);
    return (ptrdiff_t)length;
}

static inline void keep(struct test_wire *wire, struct turn *turn, size_t bytes)
{
    bool may = conn_count_memory(wire->wire.conn, &wire->counted, bytes);
    send_or_abort(&wire->wire, turn, may ? "y" : "n", 1);
}

static inline ptrdiff_t input_last(struct wire *wire, struct turn *turn, const uint8_t *at,
                                   size_t length)
{
    (void)length;
    if (at[0] == 'q') {
        send_or_abort(wire, turn, "bye", 3);
        return WIRE_CLOSE;
    }
    if (at[0] == 'u') {
        struct test_wire *old = test_wire(wire);
        uint64_t wires = old->house->engine->wires;
        conn_change_wire(wire->conn, turn, wire_make(old->house, wire->conn, DOOR_LENGTH));
        must(old->house->engine->wires == wires + 1); /* this one is not freed under us */
        return 1;
    }
    if (at[0] == 'l')
        lend(wire, turn);
    else if (at[0] == '+')
        keep(test_wire(wire), turn, test_wire(wire)->counted + (1 << 20));
    else if (at[0] == '*')
        keep(test_wire(wire), turn, test_wire(wire)->counted + 61440);
    else if (at[0] == '-')
        keep(test_wire(wire), turn, 0);
    else if (at[0] == 'n') /* with nothing queued: nothing; else "w" once all has left */
        conn_notify(wire->conn);
    else if (at[0] == 'd')
        conn_deadline(wire->conn, turn, turn->now_ns + 3000000);
    else
        send_or_abort(wire, turn, at, 1);
    return 1;
}

static inline ptrdiff_t test_input(struct wire *wire, struct turn *turn, uint8_t *at, size_t length)
{
    static const char flood[65536];
    must(length > 0);
    switch (test_wire(wire)->door) {
    case DOOR_ECHO:
        send_or_abort(wire, turn, at, length);
        return (ptrdiff_t)length;
    case DOOR_BYTE:
        send_or_abort(wire, turn, at, 1);
        return 1;
    case DOOR_LENGTH:
        return input_length(wire, turn, at, length);
    case DOOR_EVENT:
        return input_event(wire, turn, at, length);
    case DOOR_FLOOD:
        send_or_abort(wire, turn, flood, sizeof flood);
        return 1;
    case DOOR_MOVE:
        return input_move(wire, turn, at, length);
    case DOOR_SINK:
        test_wire(wire)->house->engine->sunk += length;
        return (ptrdiff_t)length;
    case DOOR_LAST:
        return input_last(wire, turn, at, length);
    case DOORS:
        break;
    }
    return WIRE_CLOSE;
}

static inline void test_released(struct wire *wire, struct turn *turn, const struct hold *hold)
{
    send_or_abort(wire, turn, hold->reply.at, hold->reply.length);
}

static inline void test_deadline(struct wire *wire, struct turn *turn)
{
    send_or_abort(wire, turn, "late", 4);
    conn_finish(wire->conn, turn);
}

static inline void test_writable(struct wire *wire, struct turn *turn)
{
    if (test_wire(wire)->door == DOOR_LAST) {
        must(conn_queued(wire->conn) == 0);
        send_or_abort(wire, turn, "w", 1);
    }
}

static inline void test_drain(struct wire *wire, struct turn *turn)
{
    if (test_wire(wire)->door == DOOR_LAST)
        send_or_abort(wire, turn, "drained", 7);
    conn_finish(wire->conn, turn);
}

static inline void test_fini(struct wire *wire, struct turn *turn)
{
    (void)turn;
    (void)conn_count_memory(wire->conn, &test_wire(wire)->counted, 0);
    test_wire(wire)->house->engine->wires--;
    test_wire(wire)->door = DOORS;
    free(wire);
}

static inline struct wire *wire_make(struct cardboard *house, struct conn *conn, enum door door)
{
    static const struct wire_ops ops = {.name = "test",
                                        .input = test_input,
                                        .released = test_released,
                                        .deadline = test_deadline,
                                        .writable = test_writable,
                                        .drain = test_drain,
                                        .fini = test_fini};
    struct test_wire *wire = calloc(1, sizeof *wire);
    must(wire);
    *wire = (struct test_wire){{&ops, conn}, house, door, 0};
    house->engine->wires++;
    return &wire->wire;
}

static inline struct wire *house_greet(void *self, struct turn *turn, struct conn *conn,
                                       unsigned door)
{
    (void)turn;
    must(strncmp(conn_peer(conn), "127.0.0.1:", 10) == 0 ||
         strcmp(conn_peer(conn), "unknown:0") == 0);
    return wire_make(self, conn, (enum door)door);
}

static inline void house_complete(void *self, struct turn *turn, const struct completion *done)
{
    (void)self;
    (void)turn;
    (void)done;
    must(false);
}

static inline void house_nothing(void *self, struct turn *turn)
{
    (void)self;
    (void)turn;
}

static inline void house_release(void *self, struct turn *turn)
{
    struct cardboard *house = self;
    uint64_t durable = house->engine->durable_max;
    (void)turn;
    if (durable > house->next)
        durable = house->next;
    if (durable > house->engine->progress[house->index].durable)
        house->engine->progress[house->index].durable = durable;
}

static inline int64_t house_tick(void *self, struct turn *turn)
{
    struct cardboard *house = self;
    (void)turn;
    return house->engine->progress[house->index].durable < house->next ? 1000000 : -1;
}

static inline bool house_open(void *self)
{
    return ((struct cardboard *)self)->engine->open;
}

static inline bool house_drained(void *self, struct turn *turn)
{
    (void)turn;
    return ((struct cardboard *)self)->engine->drained;
}

static inline struct shard_options engine_options(void)
{
    return (struct shard_options){
        .core = -1,
        .ring = {.entries = 256, .completion_entries = 4096, .buffers = 64, .buffer_bytes = 4096},
        .connections_max = 2000,
        .output_max = 1 << 20,
        .input_max = 1 << 17,
        .connection_memory = 64 << 20};
}

static inline void engine_add(struct engine *engine, unsigned index, struct shard_options options)
{
    char why[256] = "";
    engine->cardboard[index] = (struct cardboard){engine, index, 0};
    engine->house[index] = (struct house){.self = &engine->cardboard[index],
                                          .greet = house_greet,
                                          .complete = house_complete,
                                          .commit = house_nothing,
                                          .release = house_release,
                                          .mail = house_nothing,
                                          .tick = house_tick,
                                          .open = house_open,
                                          .drained = house_drained};
    engine->counters[index] = aligned_alloc(64, sizeof(struct counters));
    must(engine->counters[index]);
    memset(engine->counters[index], 0, sizeof(struct counters));
    options.index = index;
    options.shards = engine->shards;
    options.progress = engine->progress;
    options.counters = engine->counters[index];
    options.house = &engine->house[index];
    must(shard_create(&engine->shard[index], &options, why) == 0);
}

static inline int descriptors(void)
{
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    must(directory);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

static inline struct engine *engine_make(unsigned shards, struct shard_options options, bool spread)
{
    struct engine *engine = calloc(1, sizeof *engine);
    char why[256] = "", address[32];
    must(engine);
    engine->descriptors = descriptors();
    engine->shards = shards;
    engine->open = engine->drained = true;
    engine->durable_max = UINT64_MAX;
    for (unsigned i = 0; i < shards; i++) {
        engine_add(engine, i, options);
        for (unsigned door = 0; door < DOORS; door++) {
            snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)engine->port[door]);
            if (shard_listen(engine->shard[i], door, address, spread, &engine->port[door], why) < 0)
                fail_msg("%s", why);
        }
    }
    for (unsigned i = 0; i < shards; i++)
        for (unsigned j = 0; j < shards; j++)
            if (i != j)
                must(shard_introduce(engine->shard[i], engine->shard[j]) == 0);
    return engine;
}

static inline struct engine *engine_start(unsigned shards, struct shard_options options,
                                          bool spread)
{
    struct engine *engine = engine_make(shards, options, spread);
    char why[256] = "";
    for (unsigned i = 0; i < shards; i++)
        if (shard_start(engine->shard[i], why) < 0)
            fail_msg("%s", why);
    return engine;
}

static inline void engine_stop(struct engine *engine)
{
    for (unsigned i = 0; i < engine->shards; i++)
        shard_stop(engine->shard[i]);
    for (unsigned i = 0; i < engine->shards; i++)
        shard_join(engine->shard[i]);
    for (unsigned i = 0; i < engine->shards; i++) {
        assert_int_equal(shard_connections(engine->shard[i]), 0);
        shard_destroy(engine->shard[i]);
        free(engine->counters[i]);
    }
    assert_int_equal(engine->wires, 0);
    assert_int_equal(descriptors(), engine->descriptors);
    free(engine);
}

static inline uint64_t engine_counted(const struct engine *engine, enum counter_id id)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < engine->shards; i++)
        sum += counted(engine->counters[i], id);
    return sum;
}

/* ---- clients ---- */

static inline int client(const struct engine *engine, enum door door)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(engine->port[door]),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 5};
    int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    assert_true(fd >= 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static inline void say(int fd, const void *bytes, size_t length)
{
    assert_int_equal(send(fd, bytes, length, MSG_NOSIGNAL), length);
}

static inline void expect(int fd, const void *bytes, size_t length)
{
    uint8_t *got = malloc(length + 1);
    size_t have = 0;
    while (have < length) {
        ssize_t count = recv(fd, got + have, length - have, 0);
        if (count <= 0)
            fail_msg("after %zu of %zu bytes: %zd, %s", have, length, count, strerror(errno));
        have += (size_t)count;
    }
    assert_memory_equal(got, bytes, length);
    free(got);
}

static inline void expect_end(int fd)
{
    char byte;
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
}

static inline void expect_silence(int fd)
{
    char byte;
    usleep(5000);
    assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
    assert_int_equal(errno, EAGAIN);
}

static inline void reset(int fd)
{
    struct linger now = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
}

/* Until `condition`, or five seconds. */
#define EVENTUALLY(condition)                                                                      \
    do {                                                                                           \
        for (int tries = 0; !(condition) && tries < 5000; tries++)                                 \
            usleep(1000);                                                                          \
        assert_true(condition);                                                                    \
    } while (0)

#endif
