/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listeners. Every shard has its own on every door (SO_REUSEPORT: the kernel spreads by the peer's
 * address), and may give what it accepts to a shard with fewer connections on that door.
 *
 * An accept stays armed until it fails. No descriptors: it is armed again after a pause, and the
 * peers wait in the kernel's queue meanwhile.
 */
#include "core/conn_internal.h"
#include "core/log.h"

#include <errno.h>
#include <string.h>

static struct ring_id id_of(const struct shard *shard, const struct listener *listener)
{
    return (struct ring_id){(uint32_t)(listener - shard->listener), 0, OWNER_LISTENER};
}

int shard_listen(struct shard *shard, unsigned door, const char *address, bool spread,
                 uint16_t *bound, char *why)
{
    must(!shard->ring && shard->listeners < LISTENERS_MAX && door < LISTENERS_MAX);
    int socket = shard->options.index == 0 ? socket_unused(address, why) : 0;
    if (socket == 0)
        socket = socket_listen(address, bound, why);
    if (socket < 0)
        return socket;
    shard->listener[shard->listeners++] =
        (struct listener){.socket = socket, .door = door, .spread = spread};
    return 0;
}

static void arm(struct shard *shard, struct listener *listener)
{
    listener->retry_ns = 0;
    if (listener->armed || listener->closing)
        return;
    ring_accept(shard->ring, listener->socket, id_of(shard, listener));
    count(shard->options.counters, COUNT_ARMED_ACCEPT, 1);
    listener->armed = true;
}

void listeners_start(struct shard *shard)
{
    for (unsigned i = 0; i < shard->listeners; i++)
        arm(shard, &shard->listener[i]);
    atomic_store_explicit(&shard->accepts, true, memory_order_release);
}

static void accepted(struct shard *shard, struct turn *turn, const struct listener *listener,
                     int socket)
{
    unsigned own = shard->options.index;
    unsigned target = shard_choose(shard, listener->door, listener->spread);
    struct letter letter = {.socket = socket, .door = (uint8_t)listener->door};
    if (target != own && conn_post(shard, target, &letter)) {
        count_one(turn, COUNT_CONNECTIONS_HANDED_OVER);
        return;
    }
    if (target != own) {
        shard_uncount(shard, target, listener->door);
        (void)shard_choose(shard, listener->door, false);
    }
    (void)conn_open(shard, turn, socket, listener->door);
}

static void failed(struct shard *shard, struct turn *turn, struct listener *listener, int error)
{
    if (error == -ECANCELED || error == -EAGAIN || error == -EINTR)
        return;
    count_one(turn, COUNT_ACCEPT_ERRORS);
    if (error == -ECONNABORTED)
        return;
    listener->retry_ns = turn->now_ns + ACCEPT_PAUSE_MS * (uint64_t)NS_PER_MS;
    if (error == listener->error)
        return;
    listener->error = error;
    if (error == -EMFILE || error == -ENFILE)
        log_warn("shard",
                 "shard %u: no descriptors left; new connections wait (LimitNOFILE, fs.file-max)",
                 shard->options.index);
    else
        log_warn("shard", "shard %u: accept: %s", shard->options.index, strerror(-error));
}

static void close_listener(struct shard *shard, struct listener *listener)
{
    if (listener->armed || listener->socket < 0)
        return;
    ring_close_descriptor(shard->ring, listener->socket, (struct ring_id){.owner = OWNER_NOBODY});
    listener->socket = -1;
}

void listener_completed(struct shard *shard, struct turn *turn, const struct completion *done)
{
    struct listener *listener = &shard->listener[done->id.slot];
    must(done->id.slot < shard->listeners);
    if (done->op != RING_ACCEPT)
        return;
    listener->armed = done->more;
    if (done->result >= 0) {
        listener->error = 0;
        accepted(shard, turn, listener, done->result);
    } else {
        failed(shard, turn, listener, done->result);
    }
    if (listener->closing)
        close_listener(shard, listener);
    else if (listener->retry_ns == 0)
        arm(shard, listener);
}

int64_t listeners_tick(struct shard *shard, struct turn *turn)
{
    int64_t wait_ns = -1;
    for (unsigned i = 0; i < shard->listeners; i++) {
        struct listener *listener = &shard->listener[i];
        if (listener->retry_ns == 0)
            continue;
        if (listener->retry_ns <= turn->now_ns)
            arm(shard, listener);
        else
            wait_ns = ACCEPT_PAUSE_MS * (int64_t)NS_PER_MS / 4;
    }
    return wait_ns;
}

/* First of all the accept is cancelled: an armed one would keep the port bound. */
void listeners_drain(struct shard *shard)
{
    atomic_store_explicit(&shard->accepts, false, memory_order_release);
    for (unsigned i = 0; i < shard->listeners; i++) {
        struct listener *listener = &shard->listener[i];
        listener->closing = true;
        listener->retry_ns = 0;
        if (listener->armed)
            ring_cancel(shard->ring, listener->socket, id_of(shard, listener));
        else
            close_listener(shard, listener);
    }
}

bool listeners_closed(const struct shard *shard)
{
    for (unsigned i = 0; i < shard->listeners; i++)
        if (shard->listener[i].socket >= 0)
            return false;
    return true;
}
