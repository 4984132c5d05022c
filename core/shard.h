/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shard: one thread, one ring, its connections, timers and mail. Read core/shard.c first: its
 * loop is the table of contents of the running program.
 *
 * The shard knows nothing of events. What the floors above do in a turn
 * it calls through `struct house`, one per shard, filled in by the roof
 * (core/gateway.c). All calls come on the shard's own thread.
 */
#ifndef CORE_SHARD_H
#define CORE_SHARD_H

#include "core/conn.h"
#include "core/mail.h"
#include "core/ring.h"
#include "core/timer.h"
#include "metrics/counters.h"

struct shard;

enum { SHARDS_MAX = 64, LISTENERS_MAX = 8 };

/* What every call of a turn may know. Lives on the loop's stack; never kept. */
struct turn {
    struct shard *shard;
    struct ring *ring;
    struct counters *counters; /* this shard's; only this thread writes them */
    uint64_t now_ns;           /* monotonic, once a turn */
    int64_t wall_us;           /* since 1970, once a turn */
};

/* How far a shard's events have come; written by it
 * (durable) and by its writer (stored), read by all. */
struct progress {
    _Atomic uint64_t durable; /* events with sequence < durable are on disk */
    _Atomic uint64_t blocks; /* so many blocks of this boot are on disk, those without events too */
    _Atomic uint64_t stored; /* events with sequence < stored are committed in Postgres … */
    _Atomic uint64_t seen_ns; /* … as it was last heard to be there, monotonic; 0: never */
    _Atomic bool
        marks; /* the producers' counts that were known at start stand in this boot's files */
};

struct house {
    void *self;
    /* A connection has come in through listener `door`: its wire, or NULL to close it. */
    struct wire *(*greet)(void *self, struct turn *turn, struct conn *conn, unsigned door);
    /* A file operation (RING_WRITE … RING_READ) with the house's owner number has completed. */
    void (*complete)(void *self, struct turn *turn, const struct completion *completion);
    /* Once a turn, after all input: put what was accepted on its way to the disk. */
    void (*commit)(void *self, struct turn *turn);
    /* Once a turn: what is durable goes on its way (to the writer, to the live hub). */
    void (*release)(void *self, struct turn *turn);
    /* Mail from the house's other threads is to be read (writer → shard). */
    void (*mail)(void *self, struct turn *turn);
    /* SIGTERM, before the connections are told: say good-bye to whom they do not show. May be NULL. */
    void (*draining)(void *self, struct turn *turn);
    /* Connections have been buried: what their end made known goes on its way. May be NULL. */
    void (*buried)(void *self, struct turn *turn);
    /* Housekeeping; returns in how many ns it wants
     * to be called again at the latest (-1: no need). */
    int64_t (*tick)(void *self, struct turn *turn);
    /* Is there room for more events? While false, throttled connections stay so. */
    bool (*open)(void *self);
    /* SIGTERM: true once everything accepted is durable (and, within shutdown_s, stored). */
    bool (*drained)(void *self, struct turn *turn);
};

/* Completions with this owner belong to the house; smaller ones to the shard. */
enum { RING_OWNER_HOUSE = 16 };

struct shard_options {
    unsigned index; /* 0 … shards-1 */
    unsigned shards;
    int core; /* to be pinned to, or -1 */
    struct ring_options ring;
    unsigned connections_max;
    uint64_t finished_ns; /* how long a connection that has finished may wait for what it
                           * holds: limits.idle_ms; 0: as long as it takes */
    size_t output_max;    /* bytes queued for one connection, but for one longer piece */
    size_t input_max; /* bytes kept for a wire that needs more: the largest message it accepts */
    size_t connection_memory;  /* bytes of all connections' buffers of this shard together */
    unsigned busy_poll_us;     /* spin before sleeping when busy; 0: never */
    struct progress *progress; /* [SHARDS_MAX], shared by all */
    struct counters *counters;
    const struct house *house;
};

/*
 * Life: shard_create (any thread) → shard_listen… → shard_introduce… →
 * shard_start (its thread runs) → shard_stop (any thread; asks it to drain)
 * → shard_join → shard_destroy; of several shards, each step for all before the next.
 * 0 or -errno, with a sentence for the operator in `why` (256).
 */
NODISCARD int shard_create(struct shard **out, const struct shard_options *options, char *why);
/* Opens a TCP listener with SO_REUSEPORT for this shard; door < LISTENERS_MAX;
 * address "127.0.0.1:7070" or "[::]:7070". With `bound` non-NULL it gets the port
 * (for port 0). Spread: a connection may be handed to a less busy shard at once.
 * Shard 0 comes first on each address: it makes sure that nobody else listens there. */
NODISCARD int shard_listen(struct shard *shard, unsigned door, const char *address, bool spread,
                           uint16_t *bound, char *why);
/* Shards that may hand connections to one another know each other: call for every ordered pair. */
NODISCARD int shard_introduce(struct shard *shard, struct shard *other);
NODISCARD int shard_start(struct shard *shard, char *why);
void shard_stop(struct shard *shard);
void shard_join(struct shard *shard);
void shard_destroy(struct shard *shard);

/* For threads that post mail to this shard: wake it. Any thread. */
struct sleeper *shard_sleeper(struct shard *shard);
unsigned shard_index(const struct shard *shard);
unsigned shard_connections(const struct shard *shard); /* any thread, a moment's truth */
bool shard_draining(const struct shard *shard);

/* One turn, for the simulation and for tests: what the thread's loop does over and over.
 * 0: goes on; 1: it was stopped and has drained; -errno: its ring is broken. */
NODISCARD int shard_turn(struct shard *shard, int64_t wait_max_ns);

#endif
