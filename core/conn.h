/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection, as the rooms above see it, and the wire that speaks on it.
 *
 * The shard owns connections: it receives, sends, times and closes.
 * A *wire* is the state of one protocol on one connection;
 * it has no I/O of its own. Everything here is called on the shard's thread.
 *
 *   bytes in ─► conn (keeps what a wire left) ─► wire->ops->input ─► intake
 *                                                      │
 *   bytes out ◄── conn_send() ◄── a reply ─────────────┤
 *                     ▲                                │
 *               ops->released ◄── durable ◄── conn_hold(): a reply that must wait
 *
 * Life: the house's `greet` makes the wire; the shard calls `input` …;
 * then exactly one `fini`, after which the connection's handle is stale.
 * No call below frees the connection or the wire under its caller.
 */
#ifndef CORE_CONN_H
#define CORE_CONN_H

#include "core/must.h"
#include "core/span.h"

struct conn;
struct turn;
struct wire;

/* Where an event stands: its number on the shard that took it. */
struct ticket {
    uint64_t sequence; /* per shard, gapless, from 0 */
    uint32_t shard;
};

/* What a producer's acknowledgement promises (CONTRACTS.md 3). */
enum ack_level { ACK_NONE, ACK_RECEIVED, ACK_SPOOLED, ACK_STORED };

/*
 * A reply that waits until `through` (and `other`, if it is on another shard)
 * has reached `level`. Released in the order in which they were
 * held on one connection: a hold behind an unreleased one waits.
 */
struct hold {
    enum ack_level level; /* ACK_NONE or ACK_RECEIVED: waits for nothing but its turn */
    bool has_through;
    bool has_other;
    struct ticket through; /* the last event of ours that it speaks of, on this shard */
    struct ticket other;   /* a duplicate's original on another shard */
    uint64_t block;    /* so many of this shard's blocks must be durable; 0: it waits for none */
    uint64_t tag;      /* the wire's own */
    struct span reply; /* bytes the wire wants back; copied by conn_hold(); may be empty */
};

/* Non-positive answers of `input`. */
enum { WIRE_MORE = 0, WIRE_CLOSE = -1, WIRE_HAND_OVER = -2 };

struct wire_ops {
    const char *name; /* for logs and metrics: "tcp", "http", "ws" */
    /*
     * Bytes arrived. The wire may change those that it uses. Returns how many it used, 0..length;
     * the rest is kept and offered again at the front of a longer run (so using 0 means: need
     * more). WIRE_CLOSE: send what is queued, then close. WIRE_HAND_OVER: nothing was used, and the
     * connection, with the same bytes, moves to the shard that conn_hand_over() named, where a new
     * wire of the same door gets them. After conn_throttle() it should return what it has used so
     * far; it is offered the rest later.
     */
    ptrdiff_t (*input)(struct wire *wire, struct turn *turn, uint8_t *at, size_t length);
    /* The peer sent its end of stream; no input will follow.
     * Default (NULL): flush, wait for holds, close. */
    void (*ended)(struct wire *wire, struct turn *turn);
    /* The hold has come true. Default (NULL): conn_send(hold->reply), or conn_abort(). */
    void (*released)(struct wire *wire, struct turn *turn, const struct hold *hold);
    /* The time given to conn_deadline() has come. */
    void (*deadline)(struct wire *wire, struct turn *turn);
    /* The server stops: say good-bye and conn_finish()
     * as the protocol wants. NULL: conn_finish(). */
    void (*drain)(struct wire *wire, struct turn *turn);
    /* What was queued has been sent, and the queue had been over its soft limit, or conn_notify()
     * asked for it. May be NULL. */
    void (*writable)(struct wire *wire, struct turn *turn);
    /* The connection is gone: free the wire. */
    void (*fini)(struct wire *wire, struct turn *turn);
};

/* The head of every wire's own struct. */
struct wire {
    const struct wire_ops *ops;
    struct conn *conn;
};

/* Queues bytes; they leave at the end of the turn, all that waits in one send.
 * False: over the connection's output limit or no memory;
 * nothing was queued (the wire decides what that means, usually conn_abort()). */
NODISCARD bool conn_send(struct conn *conn, struct turn *turn, const void *bytes, size_t length);
size_t conn_queued(const struct conn *conn); /* bytes queued or in flight */

/* conn_send() of bytes that are not ours to copy: many connections send them from where they lie. If
 * it is true `lent->returned` is called once, perhaps before it returns; until then the bytes must
 * stay as they are. What is sent behind them in the same turn still leaves with them in one send. */
struct lent {
    void (*returned)(struct lent *lent);
};
NODISCARD bool conn_lend(struct conn *conn, struct turn *turn, struct span bytes,
                         struct lent *lent);
/* ops->writable is wanted once all that is queued has left, however little it is; nothing if nothing
 * is queued. For a wire that would rather keep what is next than queue it. */
void conn_notify(struct conn *conn);

/* What a wire keeps for its connection besides, such as a message that has not come whole yet: `bytes` in
 * all, *counted of which it has said before. False: that would be more than limits.connection_memory for
 * all connections of the shard, and nothing changed. The last quarter of it is only for those that keep
 * no more than CONN_MEMORY_SMALL: whoever sends much leaves room for those who do not. Less is always
 * true; 0 in `fini` at the latest. */
enum { CONN_MEMORY_SMALL = 65536 };
bool conn_count_memory(struct conn *conn, size_t *counted, size_t bytes);

/* False: no memory for it (nothing was held). */
NODISCARD bool conn_hold(struct conn *conn, struct turn *turn, const struct hold *hold);
unsigned conn_holds(const struct conn *conn);

/* One deadline a connection; a new one replaces it; 0 stops it. ns on the monotonic clock. */
void conn_deadline(struct conn *conn, struct turn *turn, uint64_t at_ns);

/* Stops reading until conn_resume(); what has been received is kept. */
void conn_pause(struct conn *conn, struct turn *turn);
void conn_resume(struct conn *conn, struct turn *turn);
/* Stops reading until the house says that there is room again (house->open()). */
void conn_throttle(struct conn *conn, struct turn *turn);

/* Wait for holds, send what is queued, then close. No more input is offered. */
void conn_finish(struct conn *conn, struct turn *turn);
/* Close now; what is queued is dropped. */
void conn_abort(struct conn *conn, struct turn *turn);

/* The protocol changed (HTTP → WebSocket):
 * from now on `wire` is spoken. The old one's fini is called. */
void conn_change_wire(struct conn *conn, struct turn *turn, struct wire *wire);
/* Names the target before returning WIRE_HAND_OVER. */
void conn_hand_over(struct conn *conn, unsigned shard);

/* What the wire has not used yet, for `ended`:
 * a last line without its newline. Valid until the wire returns. */
struct span conn_rest(const struct conn *conn);

uint64_t conn_id(const struct conn *conn); /* unique in this process: shard, slot, generation */
const char *conn_peer(const struct conn *conn); /* "address:port", for logs and limits */

#endif
