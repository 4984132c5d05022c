/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replies that wait until an event is durable, or stored. Each connection has a FIFO of them; the
 * connection stands in one of four lists by what its first waits for, so that a turn looks only at
 * those for whom something can have changed:
 *
 *   HOLD_DUE        nothing any more: released in this turn or the next
 *   HOLD_DURABLE    our own disk: looked at when our `durable` has moved
 *   HOLD_STORED     our own writer: when our `stored` has moved
 *   HOLD_ELSEWHERE  an event of another shard, which does not know of us: looked at every turn,
 *                   and at least every millisecond
 */
#include "core/conn_internal.h"

#include <string.h>

static bool reached(const struct shard *shard, enum ack_level level, struct ticket ticket)
{
    must(ticket.shard < SHARDS_MAX); /* perhaps one of an earlier start with more shards than now */
    struct progress *progress = &shard->options.progress[ticket.shard];
    if (level == ACK_STORED)
        return ticket.sequence < atomic_load_explicit(&progress->stored, memory_order_acquire);
    if (level == ACK_SPOOLED)
        return ticket.sequence < atomic_load_explicit(&progress->durable, memory_order_acquire);
    return true;
}

/* What a count says that no event carries: it stands in a block, at any level. */
static bool block_reached(const struct shard *shard, const struct hold *hold)
{
    struct progress *own = &shard->options.progress[shard->options.index];
    return hold->level < ACK_SPOOLED ||
           hold->block <= atomic_load_explicit(&own->blocks, memory_order_acquire);
}

static enum hold_queue waits_for(const struct shard *shard, const struct hold *hold)
{
    unsigned own = shard->options.index;
    bool through = !hold->has_through || reached(shard, hold->level, hold->through);
    bool other = !hold->has_other || reached(shard, hold->level, hold->other);
    bool block = block_reached(shard, hold);
    if (through && other && block)
        return HOLD_DUE;
    if ((!other && hold->other.shard != own) || (!through && hold->through.shard != own))
        return HOLD_ELSEWHERE;
    return hold->level == ACK_STORED && block ? HOLD_STORED : HOLD_DURABLE;
}

static void enqueue(struct conn *conn)
{
    list_leave(&conn->waiting);
    if (conn->held_first)
        list_append(&conn->shard->waiting[waits_for(conn->shard, &conn->held_first->hold)],
                    &conn->waiting);
}

bool conn_hold(struct conn *conn, struct turn *turn, const struct hold *hold)
{
    (void)turn;
    size_t capacity;
    if (conn->state == CONN_STOPPED)
        return false;
    struct held *held = heap_get(conn->shard->heap, sizeof *held + hold->reply.length, &capacity);
    if (!held)
        return false;
    *held = (struct held){.capacity = capacity, .hold = *hold};
    if (hold->reply.length > 0)
        memcpy(held->reply, hold->reply.at, hold->reply.length);
    held->hold.reply = span_of(held->reply, hold->reply.length);
    if (conn->held_last)
        conn->held_last->next = held;
    else
        conn->held_first = held;
    conn->held_last = held;
    if (++conn->held == 1)
        enqueue(conn);
    return true;
}

unsigned conn_holds(const struct conn *conn)
{
    return conn->held;
}

static struct held *take_first(struct conn *conn)
{
    struct held *held = conn->held_first;
    conn->held_first = held->next;
    if (!conn->held_first)
        conn->held_last = NULL;
    conn->held--;
    return held;
}

void conn_drop_holds(struct conn *conn)
{
    list_leave(&conn->waiting);
    while (conn->held_first) {
        struct held *held = take_first(conn);
        heap_put(conn->shard->heap, held, held->capacity);
    }
}

/* The default of the wire's `released`. */
static void reply(struct conn *conn, struct turn *turn, const struct hold *hold)
{
    if (!conn_send(conn, turn, hold->reply.at, hold->reply.length))
        conn_abort(conn, turn);
}

static void release_due(struct conn *conn, struct turn *turn)
{
    struct heap *heap = conn->shard->heap;
    while (conn->held_first && waits_for(conn->shard, &conn->held_first->hold) == HOLD_DUE) {
        struct held *held = take_first(conn);
        if (conn->wire->ops->released)
            conn->wire->ops->released(conn->wire, turn, &held->hold);
        else
            reply(conn, turn, &held->hold);
        conn_settle(conn, turn);
        heap_put(heap, held, held->capacity);
    }
    enqueue(conn);
    conn_advance(conn, turn);
}

static void release_queue(struct shard *shard, struct turn *turn, enum hold_queue queue)
{
    struct list batch, *link;
    list_move_all(&shard->waiting[queue], &batch);
    while ((link = list_take(&batch)))
        release_due(LIST_ENTRY(link, struct conn, waiting), turn);
}

void holds_release(struct shard *shard, struct turn *turn)
{
    struct progress *own = &shard->options.progress[shard->options.index];
    uint64_t durable = atomic_load_explicit(&own->durable, memory_order_acquire);
    uint64_t blocks = atomic_load_explicit(&own->blocks, memory_order_acquire);
    uint64_t stored = atomic_load_explicit(&own->stored, memory_order_acquire);
    if (durable != shard->durable_seen || blocks != shard->blocks_seen)
        release_queue(shard, turn, HOLD_DURABLE);
    if (stored != shard->stored_seen)
        release_queue(shard, turn, HOLD_STORED);
    shard->durable_seen = durable;
    shard->blocks_seen = blocks;
    shard->stored_seen = stored;
    release_queue(shard, turn, HOLD_ELSEWHERE);
    release_queue(shard, turn, HOLD_DUE);
}
