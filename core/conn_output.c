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

bool conn_send(struct conn *conn, struct turn *turn, const void *bytes, size_t length)
{
    (void)turn;
    size_t queued = conn_queued(conn), output_max = conn->shard->options.output_max;
    if (conn->state == CONN_LINGERING || conn->state == CONN_STOPPED)
        return false;
    if (conn->mute || length == 0)
        return true; /* the peer is gone; its receive will say so, behind what it sent */
    if (length > output_max || queued > output_max - length || !grow(conn, length))
        return false;
    memcpy(conn->gather.at + conn->gather.length, bytes, length);
    conn->gather.length += length;
    conn->over_soft |= queued + length > output_max / 2;
    list_want(&conn->shard->dirty, &conn->dirty);
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
