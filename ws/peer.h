/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A peer is one subscriber's connection as the hub sees it: who it is, the rooms that it is in, and
 * the queue of what it is still to be sent. One shard's thread.
 *
 *   hub ── deliver ──┐
 *                    ▼
 *   replies ──► peer_post ─► queue of references ─► ops->drain ─► conn_send, or the next poll
 *                                                        ▲
 *                                   once a turn (hub_flush), and when the transport has room again
 *
 * Nothing is copied into the queue but a reference, so a thousand slow readers of one message hold it
 * once. The queue is bounded by messages and by bytes (live.queue_messages, live.queue_bytes): a peer
 * past its bounds is closed by ops->overrun (1013) and nobody else notices. Messages with a key are
 * replaced by the newest instead; how many were, ops->drain asks peer_missed() and tells.
 *
 * A peer lies inside its owner's object (a plain socket, a stream of Server-Sent Events, an Engine.IO
 * session). Life: peer_init → hub_join …, peer_post … → peer_fini (leaves all rooms, drops the queue).
 */
#ifndef WS_PEER_H
#define WS_PEER_H

#include "core/list.h"
#include "core/shard.h"
#include "ws/encoded.h"

struct hub;
struct peer;

struct peer_ops {
    const char *name; /* for metrics and the list of connections: "socket.io", "ws", "sse" */
    /* The queue is not empty: take with peer_take() as much as the transport has room for, now. What
     * stays is offered again by peer_wake() or with the next message. */
    void (*drain)(struct peer *peer, struct turn *turn);
    /* Past its bounds, or no memory: close it with 1013; its queue has been dropped, and nothing is
     * queued any more. Called once, at the end of the turn (hub_flush), never inside peer_post(). */
    void (*overrun)(struct peer *peer, struct turn *turn);
    /* An operator wants it gone (DELETE /api/connections/{id}). */
    void (*kick)(struct peer *peer, struct turn *turn);
    /* Is this its name, as its client was told? NULL: it has none but peer->id. */
    bool (*named)(const struct peer *peer, struct span id);
};

enum { PEER_FEW = 4 };

/* A ring of references: `few`, or memory of its own while there are more. */
struct peer_queue {
    struct encoded **many; /* NULL: they stand in `few` */
    uint32_t head, count, capacity;
    uint32_t missed;
    size_t bytes;
    struct encoded *few[PEER_FEW];
};

struct peer {
    /* What a delivery touches: two lines of cache. */
    struct hub *hub;
    struct list dirty; /* in the hub's list of those to be drained in this turn */
    unsigned rooms;
    unsigned counted; /* what sockets_opened() said, and 1; 0: it has not entered a room yet */
    bool overran, overrun_told;
    struct peer_queue queue;
    /* the rest */
    const struct peer_ops *ops;
    uint64_t id;           /* shard, slot and generation: names it in this node (peer_id_print) */
    const char *user_id;   /* the owner's memory; "": nobody in particular */
    const char *tenant_id; /* likewise */
    int64_t opened_us;     /* wall clock */
    uint64_t opened_ns;
    struct list memberships;
    struct list all; /* in the hub's list of all peers */
};

/* ops, user_id and tenant_id must outlive it (the texts may be set later, before the first join). */
void peer_init(struct peer *peer, struct hub *hub, struct turn *turn, const struct peer_ops *ops,
               const char *user_id, const char *tenant_id);
void peer_fini(struct peer *peer, struct turn *turn);

/* Queues a message behind all others; takes a reference of its own. False: overrun, and ops->overrun
 * comes at the end of this turn. The message leaves at the end of this turn, with all others. */
bool peer_post(struct peer *peer, struct turn *turn, struct encoded *encoded);

/* The oldest, whose reference becomes the caller's; NULL: none is left. For ops->drain. It may be
 * several messages in one: look at all its parts. */
NODISCARD struct encoded *peer_take(struct peer *peer);
/* A look at it, to see whether there is room; NULL: none. */
const struct encoded *peer_first(const struct peer *peer);
static inline bool peer_waits(const struct peer *peer)
{
    return peer->queue.count > 0;
}
/* How many messages with a key were replaced since this was last asked. */
NODISCARD uint64_t peer_missed(struct peer *peer);
/* The transport has room again: ops->drain comes at the end of the turn, if there is anything. */
void peer_wake(struct peer *peer);
/* Drops what waits. */
void peer_clear(struct peer *peer);

/* The connection's public name, 16 hexadecimal digits and a NUL: unguessable is the Engine.IO sid's
 * business, not this one's. */
enum { PEER_ID_TEXT = 17 };
void peer_id_print(uint64_t id, char out[PEER_ID_TEXT]);
NODISCARD bool peer_id_parse(struct span text, uint64_t *id);

#endif
