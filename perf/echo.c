/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine with nothing above it: one shard that echoes,
 * or only receives, and a thread of clients.
 *
 *   echo sink [connections] [seconds]   clients write 64 KiB at a time: bytes a CPU second of the
 *                                       shard
 *   echo ping [connections] [seconds]   each client sends 200 bytes and waits for them: round
 *                                       trips, p50, p99
 *   echo idle [connections]             memory of idle connections
 */
#include "core/clock.h"
#include "core/limits.h"
#include "core/shard.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SECOND = 1000000000, MESSAGE_BYTES = 200, BULK_BYTES = 65536, SAMPLES_MAX = 1 << 22 };

struct bench {
    struct shard *shard;
    struct counters counters;
    struct progress progress;
    uint16_t port;
    bool echoes;
    _Atomic uint64_t cpu_ns;
};

static ptrdiff_t input(struct wire *wire, struct turn *turn, uint8_t *at, size_t length)
{
    if (wire->ops->name[0] == 'e' && !conn_send(wire->conn, turn, at, length))
        return WIRE_CLOSE;
    return (ptrdiff_t)length;
}

static void fini(struct wire *wire, struct turn *turn)
{
    (void)turn;
    free(wire);
}

static struct wire *greet(void *self, struct turn *turn, struct conn *conn, unsigned door)
{
    static const struct wire_ops echo = {.name = "echo", .input = input, .fini = fini};
    static const struct wire_ops sink = {.name = "sink", .input = input, .fini = fini};
    struct bench *bench = self;
    struct wire *wire = calloc(1, sizeof *wire);
    (void)turn;
    (void)door;
    if (wire)
        *wire = (struct wire){bench->echoes ? &echo : &sink, conn};
    return wire;
}

static void nothing(void *self, struct turn *turn)
{
    (void)self;
    (void)turn;
}

static void no_completion(void *self, struct turn *turn, const struct completion *completion)
{
    (void)self;
    (void)turn;
    (void)completion;
}

/* The shard's thread tells what it has used. */
static int64_t tick(void *self, struct turn *turn)
{
    struct bench *bench = self;
    struct timespec used;
    static _Thread_local uint64_t told;
    if (turn->now_ns - told > SECOND / 20) {
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
        bench->cpu_ns = (uint64_t)used.tv_sec * SECOND + (uint64_t)used.tv_nsec;
        told = turn->now_ns;
    }
    return SECOND / 20;
}

static bool always(void *self)
{
    (void)self;
    return true;
}

static bool at_once(void *self, struct turn *turn)
{
    (void)self;
    (void)turn;
    return true;
}

static unsigned option(const char *name, unsigned otherwise)
{
    const char *text = getenv(name);
    return text ? (unsigned)atoi(text) : otherwise;
}

static void start(struct bench *bench, struct house *house, unsigned connections)
{
    char why[256];
    *house = (struct house){.self = bench,
                            .greet = greet,
                            .complete = no_completion,
                            .commit = nothing,
                            .release = nothing,
                            .mail = nothing,
                            .tick = tick,
                            .open = always,
                            .drained = at_once};
    struct shard_options options = {
        .shards = 1,
        .core = -1,
        .ring = {.entries = 1024,
                 .completion_entries = 1u << 16,
                 .buffers = option("BUFFERS", 256),
                 .buffer_bytes = option("BUFFER_BYTES", 16384)},
        .connections_max = connections + 10,
        .output_max = 1 << 20,
        .input_max = 1 << 20,
        .connection_memory = 1 << 28,
        .busy_poll_us = option("SPIN", 0),
        .progress = &bench->progress,
        .counters = &bench->counters,
        .house = house,
    };
    if (limits_raise_descriptors(2ull * connections + 100, why) < 0)
        fprintf(stderr, "%s\n", why);
    if (shard_create(&bench->shard, &options, why) < 0 ||
        shard_listen(bench->shard, 0, "127.0.0.1:0", false, &bench->port, why) < 0 ||
        shard_start(bench->shard, why) < 0) {
        fprintf(stderr, "echo: %s\n", why);
        exit(1);
    }
}

static int dial(const struct bench *bench)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(bench->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        perror("echo: connect");
        exit(1);
    }
    return fd;
}

static void report(const struct bench *bench, uint64_t cpu_ns, const char *what, double amount)
{
    uint64_t turns = counted(&bench->counters, COUNT_TURNS);
    printf("%s: %.3g a CPU second; %llu turns, %.3g a turn, %llu starved\n", what,
           amount * 1e9 / (double)cpu_ns, (unsigned long long)turns, amount / (double)turns,
           (unsigned long long)counted(&bench->counters, COUNT_RECEIVE_STARVED));
}

static void sink(struct bench *bench, unsigned connections, unsigned seconds)
{
    static uint8_t bytes[BULK_BYTES];
    struct epoll_event event = {.events = EPOLLOUT}, ready[64];
    int epoll = epoll_create1(0);
    for (unsigned i = 0; i < connections; i++) {
        event.data.fd = dial(bench);
        epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event);
    }
    uint64_t until = clock_mono_ns() + (uint64_t)seconds * SECOND, before = bench->cpu_ns;
    while (clock_mono_ns() < until) {
        int count = epoll_wait(epoll, ready, 64, 100);
        for (int i = 0; i < count; i++)
            (void)!send(ready[i].data.fd, bytes, sizeof bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    report(bench, bench->cpu_ns - before, "bytes received",
           (double)counted(&bench->counters, COUNT_RECEIVED_BYTES));
}

static int by_size(const void *one, const void *other)
{
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return (a > b) - (a < b);
}

static void ping(struct bench *bench, unsigned connections, unsigned seconds)
{
    uint8_t bytes[MESSAGE_BYTES] = {0};
    uint64_t *asked = calloc(connections + 1000, sizeof *asked);
    uint32_t *took = malloc(SAMPLES_MAX * sizeof *took);
    size_t trips = 0;
    struct epoll_event event = {.events = EPOLLIN}, ready[64];
    int epoll = epoll_create1(0);
    if (!asked || !took)
        exit(1);
    for (unsigned i = 0; i < connections; i++) {
        int fd = event.data.fd = dial(bench);
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
        asked[fd] = clock_mono_ns();
        (void)!send(fd, bytes, sizeof bytes, MSG_NOSIGNAL);
    }
    uint64_t until = clock_mono_ns() + (uint64_t)seconds * SECOND, before = bench->cpu_ns;
    while (clock_mono_ns() < until && trips < SAMPLES_MAX - 64) {
        int count = epoll_wait(epoll, ready, 64, 100);
        for (int i = 0; i < count; i++) {
            int fd = ready[i].data.fd;
            if (recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) <= 0)
                continue;
            uint64_t now = clock_mono_ns();
            took[trips++] = (uint32_t)(now - asked[fd]);
            asked[fd] = now;
            (void)!send(fd, bytes, sizeof bytes, MSG_NOSIGNAL);
        }
    }
    report(bench, bench->cpu_ns - before, "round trips", (double)trips);
    qsort(took, trips, sizeof *took, by_size);
    printf("%zu trips, p50 %.1f us, p99 %.1f us\n", trips, took[trips / 2] / 1e3,
           took[trips * 99 / 100] / 1e3);
    free(asked);
    free(took);
}

static long resident_bytes(void)
{
    long total, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file || fscanf(file, "%ld %ld", &total, &resident) != 2)
        resident = 0;
    if (file)
        fclose(file);
    return resident * sysconf(_SC_PAGESIZE);
}

static void idle(struct bench *bench, unsigned connections)
{
    char byte = 'x';
    int fd = dial(bench);
    (void)!send(fd, &byte, 1, MSG_NOSIGNAL);
    usleep(100000);
    long before = resident_bytes();
    for (unsigned i = 1; i < connections; i++) {
        fd = dial(bench);
        (void)!send(fd, &byte, 1, MSG_NOSIGNAL);
    }
    while (counted(&bench->counters, COUNT_RECEIVED_BYTES) < connections)
        usleep(1000);
    usleep(200000);
    printf("%ld bytes of ours a connection; %llu in buffers\n",
           (resident_bytes() - before) / (long)connections,
           (unsigned long long)counted(&bench->counters, COUNT_CONNECTION_BYTES));
}

int main(int argc, char **argv)
{
    static struct bench bench;
    static struct house house;
    const char *what = argc > 1 ? argv[1] : "ping";
    unsigned connections = argc > 2 ? (unsigned)atoi(argv[2]) : 50;
    unsigned seconds = argc > 3 ? (unsigned)atoi(argv[3]) : 2;
    bench.echoes = strcmp(what, "sink") != 0;
    start(&bench, &house, connections);
    if (strcmp(what, "sink") == 0)
        sink(&bench, connections, seconds);
    else if (strcmp(what, "ping") == 0)
        ping(&bench, connections, seconds);
    else
        idle(&bench, connections);
    return 0; /* the process takes the shard with it */
}
