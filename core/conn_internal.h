/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the engine's own files know of one another: the inside of a connection and of a shard.
 * Nobody above the engine includes this. Reading order: shard.c (the turn), then a connection's
 * parts as bytes pass them:
 *
 *   listener.c ─► conn.c (life) ─► conn_input.c ─► the wire ─► conn_hold.c ─► conn_output.c
 *                                                  └─► conn_move.c ─► another shard
 */
#ifndef CORE_CONN_INTERNAL_H
#define CORE_CONN_INTERNAL_H

#include "core/list.h"
#include "core/pool.h"
#include "core/shard.h"
#include "core/socket.h"
#include <pthread.h>
#include <stdatomic.h>

/* Who a completion is for: ring_id.owner. */
enum { OWNER_NOBODY, OWNER_CONN, OWNER_LISTENER };

enum {
    COMPLETIONS_MAX = 512, /* taken in one turn */
    REARMS_MAX = 32,   /* receives armed again, and throttled connections resumed, in one turn */
    LETTERS_MAX = 256, /* connections on their way from one shard to another */
};

/* Bounds in time, ms. */
enum {
    FLUSH_MS = 10000,      /* a peer that takes nothing for so long after conn_finish() */
    LINGER_MS = 1000,      /* for its end of stream after ours */
    ACCEPT_PAUSE_MS = 100, /* after accept() found no descriptors */
    DRAINED_MS = 5000,     /* for output to leave once the house is drained */
    POLL_MS = 1,           /* for what nobody would wake us for */
    NS_PER_MS = 1000000,
};

enum conn_state {
    CONN_OPEN,      /* the wire is offered what arrives */
    CONN_FINISHING, /* holds are waited for, output leaves; what arrives is dropped */
    CONN_LINGERING, /* we have shut down; what arrives is dropped, until the peer does so too */
    CONN_MOVING,  /* output leaves as in FINISHING, input is kept, then it goes to another shard */
    CONN_STOPPED, /* waits until nothing is in flight (join), then for the end of the turn (bury) */
};

/* Bytes that a wire has left: at[start .. start + length). */
struct spill {
    uint8_t *at;
    size_t start, length, capacity;
};

struct output {
    uint8_t *at;
    size_t length, capacity;
    struct lent *lent; /* whose bytes these are; NULL: ours, from the heap */
};

/* For whom the first of a connection's holds waits. */
enum hold_queue { HOLD_DUE, HOLD_DURABLE, HOLD_STORED, HOLD_ELSEWHERE, HOLD_QUEUES };

struct held {
    struct held *next;
    size_t capacity; /* of this run of the heap */
    struct hold hold;
    uint8_t reply[];
};

struct conn {
    struct wire *wire;
    struct wire *retired; /* the wire before, until nothing of it is on the stack */
    struct shard *shard;
    int socket;
    uint32_t slot, generation;
    uint8_t state; /* enum conn_state */
    uint8_t door;
    uint8_t target; /* of MOVING */
    /* receiving */
    bool armed, cancelling, paused, throttled;
    bool offer;    /* the spill is to be offered although nothing new has arrived */
    bool outwaits; /* finished, and its timer runs for what it still holds */
    bool ended, ended_told;
    bool broken; /* reset, or another error; found after what had arrived before */
    /* sending */
    bool sending, mute /* the peer takes nothing any more */, over_soft, writable;
    unsigned in_flight; /* requests that the kernel still has, cancellations included */
    int32_t chunk_first, chunk_last;
    struct spill spill;
    struct output flight, gather;
    size_t flight_sent;
    struct held *held_first, *held_last;
    unsigned held;
    struct timer timer;
    struct list ready, rearm, throttle, dirty, waiting, leaving; /* links in the shard's lists */
    char peer[SOCKET_PEER_MAX];
};
_Static_assert(sizeof(struct conn) <= 512, "an idle connection is cheap");

/* Received bytes that wait for `feed`: one for each receive buffer, chained a connection. */
struct chunk {
    int32_t next;
    uint32_t length;
};

struct listener {
    int socket;
    unsigned door;
    bool spread, armed, closing;
    int error;         /* that was logged, and nobody has come in since */
    uint64_t retry_ns; /* arm again at this time; 0: not needed */
};

/* A connection on its way to another shard. */
struct letter {
    int socket;
    uint8_t door;
    struct spill spill;
};

struct neighbour {
    struct shard *shard;
    struct mail *out;
    struct mail *in;
    bool posted; /* in this turn */
};

struct shard {
    struct shard_options options;
    struct ring *ring;
    struct pool *conns;
    struct heap *heap;
    size_t counted; /* what wires keep besides: conn_count_memory() */
    struct timers *timers;
    struct chunk *chunk; /* [receive buffers] */
    struct list ready;   /* to be fed */
    struct list rearm;   /* to be received from again, in this order */
    struct list throttled;
    struct list dirty;   /* with output to be sent */
    struct list leaving; /* to be buried or moved */
    struct list waiting[HOLD_QUEUES];
    uint64_t durable_seen, blocks_seen, stored_seen;
    unsigned throttled_count;
    struct listener listener[LISTENERS_MAX];
    unsigned listeners;
    struct neighbour neighbour[SHARDS_MAX];
    struct sleeper sleeper;
    bool lies_down; /* has looked at its mail since it got up: only then may it sleep */
    _Atomic uint32_t connections;
    _Atomic uint32_t door_connections[LISTENERS_MAX];
    _Atomic bool accepts; /* connections may be handed over to it */
    _Atomic bool stopping, draining;
    uint64_t drained_ns; /* when the house first said so */
    uint64_t worked_ns;  /* the end of the last turn that had something to do */
    uint64_t overflows_seen;
    int64_t house_wait_ns;
    pthread_t thread;
    bool started;
    struct completion completion[COMPLETIONS_MAX];
};

static inline void count_one(struct turn *turn, enum counter_id id)
{
    count(turn->counters, id, 1);
}

/* In at most one of a kind of list at a time; a second wish to be there is none. */
static inline void list_want(struct list *head, struct list *link)
{
    if (!list_linked(link))
        list_append(head, link);
}

static inline void list_leave(struct list *link)
{
    if (list_linked(link))
        list_remove(link);
}

/* shard_life.c */
NODISCARD int shard_open_ring(struct shard *shard, char *why);

/* conn.c: life */
struct ring_id conn_ring_id(const struct conn *conn);
struct conn *conn_open(struct shard *shard, struct turn *turn, int socket, unsigned door);
void conn_completed(struct conn *conn, struct turn *turn, const struct completion *completion);
void conn_stop(struct conn *conn, struct turn *turn);
void conn_advance(struct conn *conn, struct turn *turn); /* on to the next state, if it is time */
void conn_timed_out(struct conn *conn, struct turn *turn);
void conn_drain(struct conn *conn, struct turn *turn);
void conn_settle(struct conn *conn, struct turn *turn); /* after each call of a wire */
void conn_bury(struct conn *conn, struct turn *turn);
void conn_forget(struct conn *conn, struct turn *turn); /* its memory, but not its socket */

/* conn_input.c */
void conn_received(struct conn *conn, struct turn *turn, const struct completion *completion);
void conn_feed(struct conn *conn, struct turn *turn);
void conn_update_reading(struct conn *conn, struct turn *turn);
void conn_rearm(struct conn *conn, struct turn *turn);
void conn_drop_input(struct conn *conn, struct turn *turn); /* what has not been offered */
void conn_free_spill(struct conn *conn);
void throttled_resume(struct shard *shard, struct turn *turn);

/* conn_output.c */
void conn_push(struct conn *conn, struct turn *turn);
void conn_sent(struct conn *conn, struct turn *turn, int32_t result);
void conn_drop_output(struct conn *conn);

/* conn_hold.c */
void holds_release(struct shard *shard, struct turn *turn);
void conn_drop_holds(struct conn *conn);

/* conn_move.c */
unsigned shard_choose(struct shard *shard, unsigned door, bool spread); /* and counts it there */
void shard_uncount(struct shard *shard, unsigned target, unsigned door);
NODISCARD bool conn_post(struct shard *shard, unsigned target, const struct letter *letter);
void conn_move(struct conn *conn, struct turn *turn);
void letters_read(struct shard *shard, struct turn *turn);
void letters_discard(struct shard *shard);
void neighbours_wake(struct shard *shard, struct turn *turn);

/* listener.c */
void listener_completed(struct shard *shard, struct turn *turn, const struct completion *done);
void listeners_start(struct shard *shard);
int64_t listeners_tick(struct shard *shard, struct turn *turn); /* ns until it wants the next */
void listeners_drain(struct shard *shard);
bool listeners_closed(const struct shard *shard);

#endif
