/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a shard around its turns: memory at the start,
 * the thread, and everything given back at the end.
 *
 * The ring is opened on the shard's thread, since it belongs to it, and closed by shard_destroy(),
 * when no other shard's thread can send a message to it any more: stop all, join all, destroy all.
 */
#include "core/clock.h"
#include "core/conn_internal.h"
#include "core/log.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WHY = 256 };

int shard_open_ring(struct shard *shard, char *why)
{
    struct ring *ring;
    int result = ring_open(&ring, &shard->options.ring, why);
    if (result < 0)
        return result;
    struct ring_features features = ring_features(ring);
    log_debug("shard",
              "shard %u: ring with multishot receive %d, capped %d, messages %d, restricted %d",
              shard->options.index, features.multishot_receive, features.receive_length_cap,
              features.message_ring, features.restrictions);
    shard->ring = ring;
    shard->sleeper.doorbell = ring_doorbell(ring);
    listeners_start(shard);
    return 0;
}

static bool make_lists(struct shard *shard)
{
    list_init(&shard->ready);
    list_init(&shard->rearm);
    list_init(&shard->throttled);
    list_init(&shard->dirty);
    list_init(&shard->leaving);
    for (unsigned i = 0; i < HOLD_QUEUES; i++)
        list_init(&shard->waiting[i]);
    return true;
}

/* All memory of a shard but the ring's and the wires'. */
static bool make_memory(struct shard *shard)
{
    const struct shard_options *options = &shard->options;
    shard->conns = pool_open(options->connections_max, sizeof(struct conn));
    shard->heap = heap_open(options->connection_memory);
    shard->timers = timers_open(clock_mono_ns());
    shard->chunk = calloc(options->ring.buffers, sizeof *shard->chunk);
    return shard->conns && shard->heap && shard->timers && shard->chunk;
}

int shard_create(struct shard **out, const struct shard_options *options, char *why)
{
    const struct house *house = options->house;
    must(options->index < options->shards && options->shards <= SHARDS_MAX);
    must(options->connections_max > 0 && options->connections_max <= RING_SLOTS_MAX);
    must(house->greet && house->complete && house->commit && house->release && house->mail &&
         house->tick && house->open && house->drained);
    struct shard *shard = calloc(1, sizeof *shard);
    if (shard) {
        shard->options = *options;
        shard->sleeper.doorbell = -1;
        shard->house_wait_ns = -1;
        if (make_lists(shard) && make_memory(shard)) {
            *out = shard;
            return 0;
        }
    }
    snprintf(why, WHY, "no memory for %u connections (limits.connections)",
             options->connections_max);
    shard_destroy(shard);
    return -ENOMEM;
}

int shard_introduce(struct shard *shard, struct shard *other)
{
    must(shard != other && shard->options.index != other->options.index && !shard->ring);
    struct mail *mail = mail_open(LETTERS_MAX, sizeof(struct letter));
    if (!mail)
        return -ENOMEM;
    shard->neighbour[other->options.index].shard = other;
    shard->neighbour[other->options.index].out = mail;
    other->neighbour[shard->options.index].in = mail;
    return 0;
}

/* What shard_start() waits for. */
struct birth {
    struct shard *shard;
    char *why;
    int result;
    sem_t done;
};

static void pin(const struct shard *shard)
{
    char name[16];
    snprintf(name, sizeof name, "shard-%u", shard->options.index);
    (void)pthread_setname_np(pthread_self(), name);
    if (shard->options.core < 0)
        return;
    cpu_set_t cores;
    CPU_ZERO(&cores);
    CPU_SET((size_t)shard->options.core, &cores);
    int error = pthread_setaffinity_np(pthread_self(), sizeof cores, &cores);
    if (error != 0)
        log_warn("shard", "shard %u cannot be pinned to core %d: %s", shard->options.index,
                 shard->options.core, strerror(error));
}

/*
 * Its connections, its part of the spool and what other shards wait to hear from it are stuck for
 * good, so nothing could be drained. Whatever was thanked for lies on the disk; a start recovers.
 */
_Noreturn static void end_process(const struct shard *shard, int error)
{
    const char *why = error == -EBADR
                          ? "the kernel had no memory for its completions, and some are lost"
                          : strerror(-error);
    log_error("shard",
              "shard %u: its ring is broken: %s. ringmain ends here; what was acknowledged as "
              "spooled is on the disk: start it again",
              shard->options.index, why);
    _exit(EXIT_FAILURE);
}

static void *run(void *argument)
{
    struct birth *birth = argument;
    struct shard *shard = birth->shard;
    pin(shard);
    int result = shard_open_ring(shard, birth->why);
    birth->result = result;
    must(sem_post(&birth->done) == 0);
    while (result == 0)
        result = shard_turn(shard, -1);
    if (result < 0 && shard->ring)
        end_process(shard, result);
    return NULL;
}

/* The thread gets no signals: they are for main. */
static int start_thread(struct shard *shard, struct birth *birth)
{
    sigset_t all, before;
    sigfillset(&all);
    must(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    int error = pthread_create(&shard->thread, NULL, run, birth);
    must(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    return -error;
}

int shard_start(struct shard *shard, char *why)
{
    struct birth birth = {.shard = shard, .why = why};
    must(!shard->started && !shard->ring);
    must(sem_init(&birth.done, 0, 0) == 0);
    int result = start_thread(shard, &birth);
    if (result < 0) {
        snprintf(why, WHY, "no thread for shard %u: %s", shard->options.index, strerror(-result));
    } else {
        while (sem_wait(&birth.done) < 0)
            must(errno == EINTR);
        shard->started = birth.result == 0;
        result = birth.result;
        if (result < 0)
            must(pthread_join(shard->thread, NULL) == 0);
    }
    must(sem_destroy(&birth.done) == 0);
    return result;
}

void shard_stop(struct shard *shard)
{
    atomic_store(&shard->stopping, true);
    sleeper_wake(&shard->sleeper);
}

void shard_join(struct shard *shard)
{
    if (shard->started)
        must(pthread_join(shard->thread, NULL) == 0);
    shard->started = false;
}

/* Connections are left only if the shard was never drained (a test that gave up). */
static void abandon(struct shard *shard)
{
    struct turn turn = {.shard = shard, .ring = shard->ring, .counters = shard->options.counters};
    struct conn *conn;
    if (!shard->conns)
        return;
    for (uint32_t cursor = 0; (conn = pool_next(shard->conns, &cursor));) {
        socket_close(conn->socket);
        conn->in_flight = 0;
        conn->sending = false;
        conn_forget(conn, &turn);
    }
}

void shard_destroy(struct shard *shard)
{
    if (!shard)
        return;
    must(!shard->started);
    letters_discard(shard);
    if (shard->ring)
        abandon(shard);
    ring_close(shard->ring);
    for (unsigned i = 0; i < shard->listeners; i++)
        if (shard->listener[i].socket >= 0)
            socket_close(shard->listener[i].socket);
    for (unsigned i = 0; i < shard->options.shards; i++)
        mail_close(shard->neighbour[i].in);
    free(shard->chunk);
    if (shard->timers)
        timers_close(shard->timers);
    must(shard->counted == 0);
    heap_close(shard->heap);
    pool_close(shard->conns);
    free(shard);
}

struct sleeper *shard_sleeper(struct shard *shard)
{
    return &shard->sleeper;
}

unsigned shard_index(const struct shard *shard)
{
    return shard->options.index;
}

unsigned shard_connections(const struct shard *shard)
{
    return atomic_load_explicit(&shard->connections, memory_order_relaxed);
}

bool shard_draining(const struct shard *shard)
{
    return atomic_load_explicit(&shard->draining, memory_order_relaxed);
}
