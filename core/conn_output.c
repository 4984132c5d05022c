/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes to the socket. One send is in flight at a time, so their order is certain;
 * what is queued meanwhile gathers behind it, and at the end of a turn all
 * that has gathered becomes the next send. Both buffers come from the heap
 * and go back when they are empty: a connection that is silent owns neither.
 */
#include "core/conn_internal.h"

#include <errno.h>
#include <string.h>

enum { GATHER_BYTES = 512 };

static void release(struct conn *conn, struct output *output)
{
    if (output->lent)
        output->lent->returned(output->lent);
    else
        heap_put(conn->shard->heap, output->at, output->capacity);
    *output = (struct output){0};
}

size_t conn_queued(const struct conn *conn)
{
    return conn->flight.length - conn->flight_sent + conn->gather.length;
}

void conn_notify(struct conn *conn)
{
    conn->over_soft |= conn_queued(conn) > 0;
}

static bool grow(struct conn *conn, size_t length)
{
    struct output *gather = &conn->gather;
    size_t capacity, wanted = gather->length + length;
    if (wanted <= gather->capacity)
        return true;
    uint8_t *at =
        heap_get(conn->shard->heap, wanted < GATHER_BYTES ? GATHER_BYTES : wanted, &capacity);
    if (!at)
        return false;
    if (gather->length > 0)
        memcpy(at, gather->at, gather->length);
    heap_put(conn->shard->heap, gather->at, gather->capacity);
    gather->at = at;
    gather->capacity = capacity;
    return true;
}

/* Who has nothing waiting is not too slow for it, however long it is. */
static bool has_room(const struct conn *conn, size_t length)
{
    size_t queued = conn_queued(conn), output_max = conn->shard->options.output_max;
    return queued == 0 || (length <= output_max && queued <= output_max - length);
}

static bool is_open(const struct conn *conn)
{
    return conn->state != CONN_LINGERING && conn->state != CONN_STOPPED;
}

static void want_push(struct conn *conn)
{
    conn->over_soft |= conn_queued(conn) > conn->shard->options.output_max / 2;
    list_want(&conn->shard->dirty, &conn->dirty);
}

/* A lent flight that has not left yet is copied in front of what comes now: one send for both. */
static bool take_in(struct conn *conn, size_t more)
{
    struct output flight = conn->flight;
    if (!flight.lent || conn->sending || conn->flight_sent > 0 || conn->gather.length > 0)
        return true;
    if (!grow(conn, flight.length + more))
        return false;
    memcpy(conn->gather.at, flight.at, flight.length);
    conn->gather.length = flight.length;
    release(conn, &conn->flight);
    return true;
}

bool conn_send(struct conn *conn, struct turn *turn, const void *bytes, size_t length)
{
    (void)turn;
    if (!is_open(conn))
        return false;
    if (conn->mute || length == 0)
        return true; /* the peer is gone; its receive will say so, behind what it sent */
    if (!has_room(conn, length) || !take_in(conn, length) || !grow(conn, length))
        return false;
    memcpy(conn->gather.at + conn->gather.length, bytes, length);
    conn->gather.length += length;
    want_push(conn);
    return true;
}

bool conn_lend(struct conn *conn, struct turn *turn, struct span bytes, struct lent *lent)
{
    if (conn->mute || bytes.length == 0 || conn_queued(conn) > 0) {
        bool sent = conn_send(conn, turn, bytes.at, bytes.length);
        if (sent)
            lent->returned(lent);
        return sent;
    }
    if (!is_open(conn) || !has_room(conn, bytes.length))
        return false;
    conn->flight =
        (struct output){.at = (uint8_t *)(uintptr_t)bytes.at, .length = bytes.length, .lent = lent};
    want_push(conn);
    return true;
}

void conn_push(struct conn *conn, struct turn *turn)
{
    if (conn->sending)
        return; /* its completion comes back here */
    if (conn->flight.length == 0) {
        conn->flight = conn->gather;
        conn->gather = (struct output){0};
    }
    if (conn->flight.length == 0)
        return;
    ring_send(turn->ring, conn->socket, conn->flight.at + conn->flight_sent,
              conn->flight.length - conn->flight_sent, conn_ring_id(conn));
    conn->sending = true;
    conn->in_flight++;
}

void conn_drop_output(struct conn *conn)
{
    release(conn, &conn->gather);
    if (conn->sending)
        return; /* the kernel still reads the other one */
    release(conn, &conn->flight);
    conn->flight_sent = 0;
}

static void sent_all(struct conn *conn)
{
    release(conn, &conn->flight);
    conn->flight_sent = 0;
    if (conn->gather.length > 0 || !conn->over_soft)
        return;
    conn->over_soft = false;
    conn->writable = true;
    list_want(&conn->shard->ready, &conn->ready);
}

static void lost(struct conn *conn)
{
    conn->mute = true;
    conn_drop_output(conn);
    if (!conn->armed) {
        conn->broken = true; /* no receive would tell */
        list_want(&conn->shard->ready, &conn->ready);
    }
}

void conn_sent(struct conn *conn, struct turn *turn, int32_t result)
{
    conn->sending = false;
    if (conn->state == CONN_STOPPED) {
        conn_drop_output(conn);
        return;
    }
    if (result < 0 && result != -ECANCELED && result != -EAGAIN && result != -EINTR) {
        lost(conn);
        return;
    }
    if (result > 0) {
        count(turn->counters, COUNT_SENT_BYTES, (uint64_t)result);
        conn->flight_sent += (size_t)result;
        if (conn->state == CONN_FINISHING)
            timer_stop(conn->shard->timers, &conn->timer); /* it takes: the bound starts anew */
        if (conn->flight_sent == conn->flight.length)
            sent_all(conn);
    }
    if (conn_queued(conn) > 0)
        list_want(&conn->shard->dirty, &conn->dirty);
}
