/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes from the socket to the wire.
 *
 * A completed receive is only chained to its connection, in the order of arrival; `feed` then
 * offers each buffer to the wire where it lies and gives it back, so that every turn ends with all
 * buffers free. What a wire leaves is copied: it spills into memory of the heap.
 *
 *     spill   ░░░░░░▒▒▒        buffer   ▒▒▒▓▓▓▓▓▓▓▓▓▓▓▓▓░░░░
 *             └ a message ┘             └─┘ the wire has used these in the spill
 *               cut in two                 └─ so it goes on here, in place;
 *                                             what is left spills again
 *
 * So only a message that was cut is copied: of the new buffer 512 bytes are put
 * behind the spill, then more each time the wire says that it is not enough,
 * until it has used all that lay there before. A wire changes only bytes
 * that it uses, so the bytes behind those are still good in the buffer.
 */
#include "core/conn_internal.h"
#include "core/log.h"

#include <errno.h>
#include <string.h>

enum { SPLICE_BYTES = 512 };

/* The wire is offered bytes. */
static bool takes(const struct conn *conn)
{
    return conn->state == CONN_OPEN && !conn->paused && !conn->throttled;
}

/* What arrives is kept, if not for this wire then for the next. */
static bool keeps(const struct conn *conn)
{
    return conn->state == CONN_OPEN || conn->state == CONN_MOVING;
}

/* ---- receiving ---- */

static bool wants_bytes(const struct conn *conn)
{
    return (takes(conn) || conn->state == CONN_LINGERING) && !conn->ended && !conn->broken;
}

void conn_update_reading(struct conn *conn, struct turn *turn)
{
    if (wants_bytes(conn)) {
        if (!conn->armed)
            list_want(&conn->shard->rearm, &conn->rearm);
    } else if (conn->armed && !conn->cancelling && keeps(conn)) {
        ring_cancel_receive(turn->ring, conn_ring_id(conn));
        conn->cancelling = true;
        conn->in_flight++;
    }
}

void conn_rearm(struct conn *conn, struct turn *turn)
{
    if (conn->armed || !wants_bytes(conn))
        return;
    ring_receive(turn->ring, conn->socket, conn_ring_id(conn));
    count_one(turn, COUNT_ARMED_RECEIVE);
    conn->armed = true;
    conn->in_flight++;
}

static void chain(struct conn *conn, int32_t buffer, uint32_t length)
{
    struct chunk *chunk = conn->shard->chunk;
    chunk[buffer] = (struct chunk){.next = -1, .length = length};
    if (conn->chunk_first < 0)
        conn->chunk_first = buffer;
    else
        chunk[conn->chunk_last].next = buffer;
    conn->chunk_last = buffer;
    list_want(&conn->shard->ready, &conn->ready);
}

static int32_t unchain(struct conn *conn)
{
    int32_t buffer = conn->chunk_first;
    if (buffer >= 0)
        conn->chunk_first = conn->shard->chunk[buffer].next;
    return buffer;
}

/* A receive without bytes. Bytes that came before an error are still to be used. */
static void note_end(struct conn *conn, struct turn *turn, int32_t result)
{
    switch (result) {
    case -ENOBUFS:
        count_one(turn, COUNT_RECEIVE_STARVED);
        return;
    case -ECANCELED:
        count_one(turn, COUNT_RECEIVE_CANCELLED);
        return;
    case -EAGAIN:
    case -EINTR:
        return;
    case 0:
        conn->ended = true;
        break;
    default:
        conn->broken = true;
        break;
    }
    if (conn->state != CONN_STOPPED)
        list_want(&conn->shard->ready, &conn->ready);
}

void conn_received(struct conn *conn, struct turn *turn, const struct completion *completion)
{
    if (!completion->more)
        conn->armed = conn->cancelling = false;
    if (completion->result > 0) {
        count(turn->counters, COUNT_RECEIVED_BYTES, (uint64_t)completion->result);
        if (keeps(conn))
            chain(conn, completion->buffer, (uint32_t)completion->result);
        else
            ring_buffer_put(turn->ring, completion->buffer);
    } else {
        if (completion->buffer >= 0)
            ring_buffer_put(turn->ring, completion->buffer);
        note_end(conn, turn, completion->result);
    }
    conn_update_reading(conn, turn);
}

void conn_drop_input(struct conn *conn, struct turn *turn)
{
    int32_t buffer;
    while ((buffer = unchain(conn)) >= 0)
        ring_buffer_put(turn->ring, buffer);
}

/* ---- the spill ---- */

void conn_free_spill(struct conn *conn)
{
    heap_put(conn->shard->heap, conn->spill.at, conn->spill.capacity);
    conn->spill = (struct spill){0};
}

static bool spill_room(struct conn *conn, size_t more)
{
    struct spill *spill = &conn->spill;
    if (spill->start + spill->length + more <= spill->capacity)
        return true;
    if (spill->start >= spill->length && spill->length + more <= spill->capacity) {
        memmove(spill->at, spill->at + spill->start, spill->length);
        spill->start = 0;
        return true;
    }
    size_t capacity;
    uint8_t *at = heap_get(conn->shard->heap, spill->length + more, &capacity);
    if (!at)
        return false;
    if (spill->length > 0)
        memcpy(at, spill->at + spill->start, spill->length);
    heap_put(conn->shard->heap, spill->at, spill->capacity);
    *spill = (struct spill){at, 0, spill->length, capacity};
    return true;
}

bool conn_count_memory(struct conn *conn, size_t *counted, size_t bytes)
{
    struct shard *shard = conn->shard;
    size_t most = shard->options.connection_memory;
    if (bytes > CONN_MEMORY_SMALL)
        most -= most / 4;
    if (bytes > *counted && shard->counted + (bytes - *counted) > most)
        return false;
    shard->counted += bytes - *counted;
    *counted = bytes;
    return true;
}

static void give_up(struct conn *conn, struct turn *turn, const char *reason)
{
    count_one(turn, COUNT_CONNECTIONS_OVERRUN);
    log_warn("shard", "%s: closed: %s", conn->peer, reason);
    conn_stop(conn, turn);
}

/* Copies what the wire cannot take now. False: the connection is stopped. */
static bool keep(struct conn *conn, struct turn *turn, const uint8_t *at, size_t length)
{
    const struct shard_options *options = &conn->shard->options;
    if (length == 0 || !keeps(conn))
        return true;
    if (takes(conn) &&
        conn->spill.length + length > options->input_max + options->ring.buffer_bytes) {
        give_up(conn, turn, "a message is longer than any that this door accepts");
        return false;
    }
    if (!spill_room(conn, length)) {
        give_up(conn, turn, "no memory for what it sends (limits.connection_memory)");
        return false;
    }
    memcpy(conn->spill.at + conn->spill.start + conn->spill.length, at, length);
    conn->spill.length += length;
    return true;
}

/* ---- feeding ---- */

static void begin_move(struct conn *conn, struct turn *turn)
{
    conn->state = CONN_MOVING;
    timer_stop(conn->shard->timers, &conn->timer);
    conn_update_reading(conn, turn);
}

/* Offers until the wire needs more or takes no more: how many it has used. */
static size_t offer(struct conn *conn, struct turn *turn, uint8_t *at, size_t length)
{
    size_t used = 0;
    while (used < length && takes(conn)) {
        struct wire *wire = conn->wire;
        ptrdiff_t result = wire->ops->input(wire, turn, at + used, length - used);
        bool changed = conn->wire != wire;
        conn_settle(conn, turn);
        if (result == WIRE_HAND_OVER && conn->state == CONN_OPEN)
            begin_move(conn, turn);
        else if (result < 0)
            conn_finish(conn, turn);
        if (result < 0 || (result == WIRE_MORE && !changed))
            break;
        must((size_t)result <= length - used);
        used += (size_t)result;
    }
    return used;
}

static size_t offer_spill(struct conn *conn, struct turn *turn)
{
    struct spill *spill = &conn->spill;
    size_t used = offer(conn, turn, spill->at + spill->start, spill->length);
    spill->start += used;
    spill->length -= used;
    return used;
}

/* Splices the new bytes behind the spill until what lay there before is used.
 * How many of the new ones that took; all of them, if the spill is still there. */
static size_t feed_spill(struct conn *conn, struct turn *turn, const uint8_t *at, size_t length)
{
    size_t before = conn->spill.length, spliced = 0;
    for (size_t step = SPLICE_BYTES; spliced < length && takes(conn); step *= 2) {
        size_t more = step < length - spliced ? step : length - spliced;
        if (!keep(conn, turn, at + spliced, more))
            return length;
        spliced += more;
        size_t used = offer_spill(conn, turn);
        if (used >= before) {
            spliced -= conn->spill.length;
            conn_free_spill(conn);
            return spliced;
        }
        before -= used;
    }
    (void)keep(conn, turn, at + spliced, length - spliced);
    return length;
}

static void feed_bytes(struct conn *conn, struct turn *turn, uint8_t *at, size_t length)
{
    size_t used = conn->spill.length > 0 ? feed_spill(conn, turn, at, length) : 0;
    used += offer(conn, turn, at + used, length - used);
    (void)keep(conn, turn, at + used, length - used);
}

static void feed_end(struct conn *conn, struct turn *turn)
{
    if (!takes(conn))
        return;
    if (conn->broken) {
        conn_stop(conn, turn);
    } else if (conn->ended && !conn->ended_told) {
        conn->ended_told = true;
        if (conn->wire->ops->ended)
            conn->wire->ops->ended(conn->wire, turn);
        else
            conn_finish(conn, turn);
        conn_settle(conn, turn);
    }
}

static void feed_writable(struct conn *conn, struct turn *turn)
{
    if (!conn->writable || conn->state != CONN_OPEN)
        return;
    conn->writable = false;
    if (conn->wire->ops->writable)
        conn->wire->ops->writable(conn->wire, turn);
    conn_settle(conn, turn);
}

void conn_feed(struct conn *conn, struct turn *turn)
{
    int32_t buffer;
    if (conn->offer && takes(conn)) {
        conn->offer = false;
        if (conn->spill.length > 0)
            (void)offer_spill(conn, turn);
    }
    while ((buffer = unchain(conn)) >= 0) {
        feed_bytes(conn, turn, ring_buffer(turn->ring, buffer), conn->shard->chunk[buffer].length);
        ring_buffer_put(turn->ring, buffer);
    }
    feed_writable(conn, turn);
    feed_end(conn, turn);
    if (!keeps(conn) || conn->spill.length == 0)
        conn_free_spill(conn);
    conn_advance(conn, turn);
}

struct span conn_rest(const struct conn *conn)
{
    if (conn->spill.length == 0)
        return (struct span){0};
    return span_of(conn->spill.at + conn->spill.start, conn->spill.length);
}

/* ---- pausing ---- */

static void go_on(struct conn *conn, struct turn *turn)
{
    conn->offer = true;
    list_want(&conn->shard->ready, &conn->ready);
    conn_update_reading(conn, turn);
}

void conn_pause(struct conn *conn, struct turn *turn)
{
    conn->paused = true;
    conn_update_reading(conn, turn);
}

void conn_resume(struct conn *conn, struct turn *turn)
{
    if (!conn->paused)
        return;
    conn->paused = false;
    if (keeps(conn))
        go_on(conn, turn);
}

void conn_throttle(struct conn *conn, struct turn *turn)
{
    if (conn->throttled || conn->state != CONN_OPEN)
        return;
    conn->throttled = true;
    count_one(turn, COUNT_THROTTLED);
    list_append(&conn->shard->throttled, &conn->throttle);
    conn->shard->throttled_count++;
    conn_update_reading(conn, turn);
}

static void unthrottle(struct conn *conn, struct turn *turn)
{
    must(list_linked(&conn->throttle));
    list_remove(&conn->throttle);
    conn->shard->throttled_count--;
    conn->throttled = false;
    if (keeps(conn))
        go_on(conn, turn);
}

/* In the order in which they were stopped, a few a turn: who is stopped again stands at the end. */
void throttled_resume(struct shard *shard, struct turn *turn)
{
    const struct house *house = shard->options.house;
    unsigned left = shard->throttled_count < REARMS_MAX ? shard->throttled_count : REARMS_MAX;
    while (left-- > 0 && house->open(house->self))
        unthrottle(LIST_ENTRY(shard->throttled.next, struct conn, throttle), turn);
}
