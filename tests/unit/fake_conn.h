/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection without a shard: core/conn.h's functions over plain memory, for tests and fuzzers of
 * wires. Include fake_conn.c once in the program; it defines every function of conn.h, so that the
 * library's are not linked.
 *
 * It keeps what the wire left and offers it again in front of what comes next, each time in memory
 * of its own and of exactly that size, so that a read past the end is seen.
 */
#ifndef TESTS_UNIT_FAKE_CONN_H
#define TESTS_UNIT_FAKE_CONN_H

#include "core/buf.h"
#include "core/conn.h"
#include "core/shard.h"

#ifndef FAKE_HOLDS_MAX /* fuzzers want less: it is cleared each time */
#define FAKE_HOLDS_MAX 4096
#endif

struct conn {
    struct wire *wire;
    struct wire *retired; /* left behind by conn_change_wire() */
    struct buf kept;      /* input that the wire left */
    struct buf sent;      /* all output so far; .max is the output limit */
    struct hold hold[FAKE_HOLDS_MAX];
    unsigned holds;
    size_t memory, memory_max; /* conn_count_memory() */
    uint64_t deadline_ns;
    uint64_t id;
    bool throttled, paused, finished, aborted;
    bool closing;    /* input said WIRE_CLOSE */
    bool notify;     /* conn_notify() was called */
    bool moves;      /* input said WIRE_HAND_OVER … */
    unsigned target; /* … to this shard */
};

void fake_init(struct conn *conn);
/* Calls the wire's fini. */
void fake_fini(struct conn *conn, struct turn *turn);

/* Bytes come from the peer: offered until the wire wants more, throttles or ends. */
void fake_receive(struct conn *conn, struct turn *turn, const void *bytes, size_t length);
/* There is room again: a throttled connection is offered what it has. */
void fake_open(struct conn *conn, struct turn *turn);
/* Releases the first `count` holds. */
void fake_release(struct conn *conn, struct turn *turn, unsigned count);
/* Forgets the output: it has left. */
void fake_forget(struct conn *conn);
/* The same, and the wire is told if it asked for it. */
void fake_sent(struct conn *conn, struct turn *turn);

#endif
