/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From one shard to another: a letter with the socket, and with the bytes
 * that were received and not used. The receiving shard makes it a new
 * connection with a new wire, which is offered these bytes first.
 *
 * Two kinds of connections move: one that has just been accepted while another shard has fewer on
 * that door, and one whose wire asked for it. The latter first sends what is queued and waits until
 * nothing of it is in flight.
 *
 * Each shard counts its connections by door in atomics that all may see;
 * who gives a connection away counts it for the receiver at once,
 * so that two shards that give at the same time see each other's gifts.
 */
#include "core/conn_internal.h"
#include "core/log.h"

/* ---- whose it shall be ---- */

static bool reachable(const struct shard *shard, unsigned target)
{
    const struct shard *other = shard->neighbour[target].shard;
    return other && atomic_load_explicit(&other->accepts, memory_order_acquire);
}

static _Atomic uint32_t *door_count(struct shard *shard, unsigned target, unsigned door)
{
    struct shard *of = target == shard->options.index ? shard : shard->neighbour[target].shard;
    return &of->door_connections[door];
}

/* Itself, unless another has fewer. */
static unsigned least_busy(struct shard *shard, unsigned door, uint32_t *fewest)
{
    unsigned best = shard->options.index;
    *fewest = atomic_load_explicit(door_count(shard, best, door), memory_order_relaxed);
    for (unsigned target = 0; target < shard->options.shards; target++) {
        if (!reachable(shard, target))
            continue;
        uint32_t here = atomic_load_explicit(door_count(shard, target, door), memory_order_relaxed);
        if (here < *fewest) {
            *fewest = here;
            best = target;
        }
    }
    return best;
}

unsigned shard_choose(struct shard *shard, unsigned door, bool spread)
{
    unsigned own = shard->options.index, target;
    uint32_t fewest;
    if (!spread) {
        atomic_fetch_add_explicit(door_count(shard, own, door), 1, memory_order_relaxed);
        return own;
    }
    do
        target = least_busy(shard, door, &fewest);
    while (!atomic_compare_exchange_strong_explicit(door_count(shard, target, door), &fewest,
                                                    fewest + 1, memory_order_relaxed,
                                                    memory_order_relaxed));
    return target;
}

void shard_uncount(struct shard *shard, unsigned target, unsigned door)
{
    atomic_fetch_sub_explicit(door_count(shard, target, door), 1, memory_order_relaxed);
}

/* ---- going ---- */

bool conn_post(struct shard *shard, unsigned target, const struct letter *letter)
{
    struct neighbour *neighbour = &shard->neighbour[target];
    if (!mail_post(neighbour->out, letter))
        return false;
    neighbour->posted = true;
    return true;
}

/* Once a turn: a message through the rings for each sleeper that got mail. */
void neighbours_wake(struct shard *shard, struct turn *turn)
{
    for (unsigned i = 0; i < shard->options.shards; i++) {
        struct neighbour *neighbour = &shard->neighbour[i];
        if (!neighbour->posted)
            continue;
        neighbour->posted = false;
        if (atomic_exchange_explicit(&neighbour->shard->sleeper.asleep, 0, memory_order_acq_rel))
            ring_wake(turn->ring, neighbour->shard->ring);
    }
}

void conn_hand_over(struct conn *conn, unsigned shard)
{
    must(shard < conn->shard->options.shards);
    conn->target = (uint8_t)shard;
}

/* At the end of a turn. A full mailbox: the connection
 * stays in the list, and the next turn tries again. */
void conn_move(struct conn *conn, struct turn *turn)
{
    struct shard *shard = conn->shard;
    struct letter letter = {conn->socket, conn->door, conn->spill};
    unsigned target = conn->target;
    if (conn->held > 0 || conn_queued(conn) > 0 || conn->in_flight > 0)
        return; /* somebody sent something to it meanwhile; it will be back */
    if (!reachable(shard, target)) {
        log_warn("shard", "%s: shard %u cannot take it over: closed", conn->peer, target);
        conn_stop(conn, turn);
        return;
    }
    atomic_fetch_add_explicit(door_count(shard, target, conn->door), 1, memory_order_relaxed);
    if (!conn_post(shard, target, &letter)) {
        shard_uncount(shard, target, conn->door);
        list_want(&shard->leaving, &conn->leaving);
        return;
    }
    count_one(turn, COUNT_CONNECTIONS_HANDED_OVER);
    heap_forget(shard->heap, conn->spill.capacity);
    conn->spill = (struct spill){0};
    shard_uncount(shard, shard->options.index, conn->door);
    conn_forget(conn, turn);
}

/* ---- coming ---- */

static void adopt(struct shard *shard, struct turn *turn, const struct letter *letter)
{
    struct conn *conn = conn_open(shard, turn, letter->socket, letter->door);
    bool wanted = conn && conn->state == CONN_OPEN;
    if (letter->spill.at && !(wanted && heap_adopt(shard->heap, letter->spill.capacity))) {
        heap_discard(letter->spill.at);
        if (wanted)
            conn_abort(conn, turn);
        return;
    }
    if (!wanted)
        return;
    conn->spill = letter->spill;
    conn->offer = true;
    list_want(&shard->ready, &conn->ready);
    conn_update_reading(conn, turn);
}

void letters_read(struct shard *shard, struct turn *turn)
{
    struct letter letter;
    for (unsigned i = 0; i < shard->options.shards; i++)
        while (shard->neighbour[i].in && mail_take(shard->neighbour[i].in, &letter))
            adopt(shard, turn, &letter);
}

/* Nobody will read them any more. */
void letters_discard(struct shard *shard)
{
    struct letter letter;
    for (unsigned i = 0; i < shard->options.shards; i++) {
        struct mail *mail = shard->neighbour[i].in;
        while (mail && mail_take(mail, &letter)) {
            socket_close(letter.socket);
            heap_discard(letter.spill.at);
        }
    }
}
