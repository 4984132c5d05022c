/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a connection.
 *
 *   conn_open() ─► OPEN ─ conn_finish() ─► FINISHING ─ all sent ─► LINGERING
 *                   │                          │                       │
 *                   │ conn_abort(), reset,     │ 10 s without          │ peer's end,
 *                   │ no memory                │ progress              │ or 1 s
 *                   ├──────────────────────────┴───────────────────────┴─► STOPPED ─► buried
 *                   │
 *                   └─ WIRE_HAND_OVER ─► MOVING ─► (nothing in flight) ─► another shard
 *
 * Closing has four steps. Stop: no timer, no list, no holds, nothing queued. Shutdown: the socket,
 * and a cancellation, so that what the kernel still has of us completes. Join: wait until it has.
 * Bury: at the end of the turn, when nothing of the wire can be on the stack: the wire's fini, the
 * memory, the descriptor.
 *
 * Lingering lets the last answer arrive: closing a socket with unread bytes in it would send a
 * reset, and that destroys at the peer's side what it has not read yet.
 */
#include "core/conn_internal.h"
#include "core/log.h"

#include <errno.h>
#include <stdio.h>

struct ring_id conn_ring_id(const struct conn *conn)
{
    return (struct ring_id){conn->slot, conn->generation, OWNER_CONN};
}

static void set_timer(struct conn *conn, struct turn *turn, uint64_t in_ms)
{
    timer_start(conn->shard->timers, &conn->timer, turn->now_ns + in_ms * NS_PER_MS);
}

static struct conn *make(struct shard *shard, int socket, unsigned door)
{
    struct conn *conn = pool_get(shard->conns);
    if (!conn)
        return NULL;
    conn->shard = shard;
    conn->socket = socket;
    conn->door = (uint8_t)door;
    conn->slot = pool_index(shard->conns, conn);
    conn->generation = pool_generation(shard->conns, conn);
    conn->chunk_first = conn->chunk_last = -1;
    atomic_fetch_add_explicit(&shard->connections, 1, memory_order_relaxed);
    return conn;
}

static struct conn *refuse(struct shard *shard, struct turn *turn, int socket, unsigned door)
{
    count_one(turn, COUNT_CONNECTIONS_REFUSED);
    shard_uncount(shard, shard->options.index, door);
    ring_close_descriptor(shard->ring, socket, (struct ring_id){.owner = OWNER_NOBODY});
    return NULL;
}

/* Some kernels' multishot accept returned what is no socket (6.6 to 6.8): that is not ours
 * to close. One that has been reset already is welcome: what it sent before may still be read. */
static bool is_socket(struct conn *conn, struct turn *turn)
{
    int result = socket_peer(conn->socket, conn->peer);
    if (result == -ENOTCONN)
        snprintf(conn->peer, sizeof conn->peer, "unknown:0");
    if (result == 0 || result == -ENOTCONN)
        return true;
    count_one(turn, COUNT_ACCEPT_ERRORS);
    conn->socket = -1;
    return false;
}

static bool greet(struct conn *conn, struct turn *turn)
{
    const struct house *house = conn->shard->options.house;
    conn->wire = house->greet(house->self, turn, conn, conn->door);
    conn_settle(conn, turn);
    return conn->wire;
}

/* A connected socket becomes a connection with a wire,
 * or is closed: NULL. Its door has counted it. */
struct conn *conn_open(struct shard *shard, struct turn *turn, int socket, unsigned door)
{
    if (shard_draining(shard))
        return refuse(shard, turn, socket, door);
    struct conn *conn = make(shard, socket, door);
    if (!conn) {
        log_warn("shard", "shard %u holds %u connections, its limit (limits.connections): refused",
                 shard->options.index, shard->options.connections_max);
        return refuse(shard, turn, socket, door);
    }
    count_one(turn, COUNT_CONNECTIONS_OPENED);
    if (is_socket(conn, turn) && greet(conn, turn))
        conn_update_reading(conn, turn);
    else
        conn_stop(conn, turn);
    conn_advance(conn, turn);
    return conn;
}

void conn_completed(struct conn *conn, struct turn *turn, const struct completion *completion)
{
    if (!completion->more) {
        must(conn->in_flight > 0);
        conn->in_flight--;
    }
    if (completion->op == RING_RECEIVE)
        conn_received(conn, turn, completion);
    else if (completion->op == RING_SEND)
        conn_sent(conn, turn, completion->result);
    conn_advance(conn, turn);
}

/* ---- closing ---- */

static void leave(struct conn *conn)
{
    list_want(&conn->shard->leaving, &conn->leaving);
}

static void leave_lists(struct conn *conn)
{
    timer_stop(conn->shard->timers, &conn->timer);
    if (list_linked(&conn->throttle))
        conn->shard->throttled_count--;
    list_leave(&conn->throttle);
    list_leave(&conn->ready);
    list_leave(&conn->rearm);
    list_leave(&conn->dirty);
    list_leave(&conn->leaving);
}

/* Steps one and two. The spill and what is in flight stay: somebody may be looking at them. */
void conn_stop(struct conn *conn, struct turn *turn)
{
    if (conn->state == CONN_STOPPED)
        return;
    conn->state = CONN_STOPPED;
    leave_lists(conn);
    conn_drop_holds(conn);
    conn_drop_input(conn, turn);
    conn_drop_output(conn);
    if (conn->in_flight > 0) {
        socket_shutdown(conn->socket);
        ring_cancel(turn->ring, conn->socket, conn_ring_id(conn));
        conn->in_flight++;
    }
    conn_advance(conn, turn);
}

static void linger(struct conn *conn, struct turn *turn)
{
    conn->state = CONN_LINGERING;
    socket_shutdown_sending(conn->socket);
    set_timer(conn, turn, LINGER_MS);
    conn_update_reading(conn, turn);
}

/* An acknowledgement can be due when Postgres is back, and whether a peer that has
 * said its last word is still there for it cannot be told: so long, and no longer. */
static void outwait(struct conn *conn, struct turn *turn)
{
    uint64_t bound_ns = conn->shard->options.finished_ns;
    if (conn->outwaits)
        return;
    conn->outwaits = true;
    timer_stop(conn->shard->timers, &conn->timer);
    if (bound_ns > 0)
        timer_start(conn->shard->timers, &conn->timer, turn->now_ns + bound_ns);
}

static void flush(struct conn *conn, struct turn *turn)
{
    if (conn->outwaits || !timer_running(&conn->timer))
        set_timer(conn, turn, FLUSH_MS);
    conn->outwaits = false;
}

static void advance_finishing(struct conn *conn, struct turn *turn)
{
    if (conn->broken || conn->mute)
        conn_stop(conn, turn);
    else if (conn->held > 0)
        outwait(conn, turn);
    else if (conn_queued(conn) > 0)
        flush(conn, turn);
    else if (conn_queued(conn) == 0 && conn->ended)
        conn_stop(conn, turn);
    else if (conn_queued(conn) == 0)
        linger(conn, turn);
}

void conn_advance(struct conn *conn, struct turn *turn)
{
    switch ((enum conn_state)conn->state) {
    case CONN_OPEN:
        break;
    case CONN_FINISHING:
        advance_finishing(conn, turn);
        break;
    case CONN_LINGERING:
        if (conn->ended || conn->broken)
            conn_stop(conn, turn);
        break;
    case CONN_MOVING:
        if (conn->broken)
            conn_stop(conn, turn);
        else if (conn->held == 0 && conn_queued(conn) == 0 && conn->in_flight == 0)
            leave(conn);
        break;
    case CONN_STOPPED:
        if (conn->in_flight == 0)
            leave(conn);
        break;
    }
}

void conn_finish(struct conn *conn, struct turn *turn)
{
    if (conn->state != CONN_OPEN && conn->state != CONN_MOVING)
        return;
    conn->state = CONN_FINISHING;
    list_leave(&conn->leaving);
    timer_stop(conn->shard->timers, &conn->timer);
    list_want(&conn->shard->ready,
              &conn->ready); /* feed drops what is left, and goes on from there */
    (void)turn;
}

void conn_abort(struct conn *conn, struct turn *turn)
{
    conn_stop(conn, turn);
}

void conn_drain(struct conn *conn, struct turn *turn)
{
    if (conn->state == CONN_OPEN && conn->wire->ops->drain)
        conn->wire->ops->drain(conn->wire, turn);
    else
        conn_finish(conn, turn);
    conn_settle(conn, turn);
    conn_advance(conn, turn);
}

void conn_timed_out(struct conn *conn, struct turn *turn)
{
    if (conn->state == CONN_OPEN)
        conn->wire->ops->deadline(conn->wire, turn);
    else
        conn_stop(conn, turn);
    conn_settle(conn, turn);
    conn_advance(conn, turn);
}

/* ---- burying ---- */

/* Its place is free from here on: the socket is somebody else's, or about to be closed. */
void conn_forget(struct conn *conn, struct turn *turn)
{
    struct shard *shard = conn->shard;
    must(conn->in_flight == 0);
    leave_lists(conn);
    conn_drop_holds(conn);
    conn_drop_input(conn, turn);
    conn_drop_output(conn);
    conn_free_spill(conn);
    conn_settle(conn, turn);
    if (conn->wire)
        conn->wire->ops->fini(conn->wire, turn);
    atomic_fetch_sub_explicit(&shard->connections, 1, memory_order_relaxed);
    pool_put(shard->conns, conn);
}

void conn_bury(struct conn *conn, struct turn *turn)
{
    int socket = conn->socket;
    shard_uncount(conn->shard, conn->shard->options.index, conn->door);
    conn_forget(conn, turn);
    ring_close_descriptor(turn->ring, socket, (struct ring_id){.owner = OWNER_NOBODY});
}

/* ---- small questions and wishes ---- */

void conn_settle(struct conn *conn, struct turn *turn)
{
    struct wire *retired = conn->retired;
    conn->retired = NULL;
    if (retired)
        retired->ops->fini(retired, turn);
}

void conn_change_wire(struct conn *conn, struct turn *turn, struct wire *wire)
{
    must(wire && wire != conn->wire);
    if (conn->retired) /* changed twice in one call: the wire between was never called */
        conn->wire->ops->fini(conn->wire, turn);
    else
        conn->retired = conn->wire;
    conn->wire = wire;
}

void conn_deadline(struct conn *conn, struct turn *turn, uint64_t at_ns)
{
    if (conn->state != CONN_OPEN)
        return;
    /* One that has passed comes in the next turn: a wire that asks for it again
     * and again from its own deadline() must not keep the shard in this one. */
    if (at_ns == 0)
        timer_stop(conn->shard->timers, &conn->timer);
    else
        timer_start(conn->shard->timers, &conn->timer,
                    at_ns > turn->now_ns ? at_ns : turn->now_ns + 1);
}

uint64_t conn_id(const struct conn *conn)
{
    _Static_assert(SHARDS_MAX <= 256, "a shard's number has 8 bits of a connection's");
    return (uint64_t)conn->shard->options.index << 56 | (uint64_t)conn->slot << 32 |
           conn->generation;
}

const char *conn_peer(const struct conn *conn)
{
    return conn->peer;
}
