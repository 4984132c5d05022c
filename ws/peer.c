/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue of references, and the place that names a peer.
 *
 * Few messages stand in the peer itself; with more the queue takes memory, twice as much each time,
 * and gives it back when it is empty. So an idle peer holds nothing, and one that is sent a message
 * a turn never asks for memory.
 */
#include "ws/hub_internal.h"

#include <stdlib.h>

enum { MANY_MIN = 32 };
_Static_assert((PEER_FEW & (PEER_FEW - 1)) == 0, "places of a ring are found by a mask");

static const char hexadecimal[] = "0123456789abcdef";

static struct encoded **place(struct peer_queue *queue, uint32_t index)
{
    struct encoded **at = queue->many != NULL ? queue->many : queue->few;
    return &at[(queue->head + index) & (queue->capacity - 1)];
}

static bool grow(struct peer_queue *queue)
{
    uint32_t capacity = queue->many == NULL ? MANY_MIN : 2 * queue->capacity;
    must(capacity > queue->capacity);
    struct encoded **many = malloc(capacity * sizeof(struct encoded *));
    if (many == NULL)
        return false;
    for (uint32_t i = 0; i < queue->count; i++)
        many[i] = *place(queue, i);
    free(queue->many);
    queue->many = many;
    queue->head = 0;
    queue->capacity = capacity;
    return true;
}

static void shrink(struct peer_queue *queue)
{
    free(queue->many);
    queue->many = NULL;
    queue->head = 0;
    queue->capacity = PEER_FEW;
}

/* A newer one takes the older one's place in the queue: what is there only once is looked for from
 * its end, where it mostly is. */
static bool replace(struct peer *peer, struct turn *turn, struct encoded *encoded)
{
    struct peer_queue *queue = &peer->queue;
    for (uint32_t i = queue->count; i > 0; i--) {
        struct encoded **at = place(queue, i - 1);
        if ((*at)->key != encoded->key)
            continue;
        queue->bytes += encoded->length;
        queue->bytes -= (*at)->length;
        encoded_put(*at);
        *at = encoded_ref(encoded);
        queue->missed++;
        count(turn->counters, COUNT_LIVE_REPLACED, 1);
        return true;
    }
    return false;
}

static bool has_room(const struct peer *peer, const struct encoded *encoded)
{
    const struct hub_options *options = &peer->hub->options;
    const struct peer_queue *queue = &peer->queue;
    return queue->count < options->queue_messages &&
           (queue->count == 0 || queue->bytes + encoded->length <= options->queue_bytes);
}

static void want_drain(struct peer *peer)
{
    if (!list_linked(&peer->dirty))
        list_append(&peer->hub->dirty, &peer->dirty);
}

static bool overrun(struct peer *peer, struct turn *turn)
{
    peer_clear(peer);
    peer->overran = true;
    want_drain(peer);
    count(turn->counters, COUNT_LIVE_OVERRUNS, 1);
    return false;
}

bool peer_deliver(struct peer *peer, struct turn *turn, struct encoded *encoded)
{
    struct peer_queue *queue = &peer->queue;
    if (UNLIKELY(peer->overran))
        return false;
    if (UNLIKELY(encoded->key != 0) && replace(peer, turn, encoded))
        return true;
    if (UNLIKELY(!has_room(peer, encoded)) ||
        (UNLIKELY(queue->count == queue->capacity) && !grow(queue)))
        return overrun(peer, turn);
    *place(queue, queue->count++) = encoded_ref(encoded);
    queue->bytes += encoded->length;
    want_drain(peer);
    return true;
}

bool peer_post(struct peer *peer, struct turn *turn, struct encoded *encoded)
{
    if (peer->hub->run.count > 0)
        hub_end_run(peer->hub, turn);
    return peer_deliver(peer, turn, encoded);
}

struct encoded *peer_take(struct peer *peer)
{
    struct peer_queue *queue = &peer->queue;
    if (queue->count == 0)
        return NULL;
    struct encoded *first = *place(queue, 0);
    queue->head = (queue->head + 1) & (queue->capacity - 1);
    queue->bytes -= first->length;
    if (--queue->count == 0 && queue->many != NULL)
        shrink(queue);
    return first;
}

const struct encoded *peer_first(const struct peer *peer)
{
    return peer->queue.count == 0 ? NULL : *place((struct peer_queue *)&peer->queue, 0);
}

uint64_t peer_missed(struct peer *peer)
{
    uint32_t missed = peer->queue.missed;
    peer->queue.missed = 0;
    return missed;
}

void peer_wake(struct peer *peer)
{
    if (peer->queue.count > 0)
        want_drain(peer);
}

void peer_clear(struct peer *peer)
{
    struct encoded *encoded;
    while ((encoded = peer_take(peer)) != NULL)
        encoded_put(encoded);
}

/* ── Its name ───────────────────────────────────────────────────────────────────────────────── */

static bool more_slots(struct hub *hub)
{
    enum { FIRST = 64, SLOTS_MAX = 1 << 24 };
    uint32_t slots = hub->slots == 0 ? FIRST : 2 * hub->slots;
    struct peer_slot *slot =
        slots > SLOTS_MAX ? NULL : realloc(hub->slot, slots * sizeof(struct peer_slot));
    if (slot == NULL)
        return false;
    for (uint32_t i = slots; i > hub->slots; i--) {
        slot[i - 1] = (struct peer_slot){.generation = 1, .next_free = hub->free_slot};
        hub->free_slot = i;
    }
    hub->slot = slot;
    hub->slots = slots;
    return true;
}

/* 0, which names nobody, if there is no memory: the peer can then not be kicked, that is all. */
static uint64_t take_slot(struct hub *hub, struct peer *peer)
{
    if (hub->free_slot == 0 && !more_slots(hub))
        return 0;
    uint32_t index = hub->free_slot - 1;
    struct peer_slot *slot = &hub->slot[index];
    hub->free_slot = slot->next_free;
    slot->peer = peer;
    return (uint64_t)hub->options.shard << 56 | (uint64_t)index << 32 | slot->generation;
}

static void give_slot_back(struct hub *hub, uint64_t id)
{
    if (id == 0)
        return;
    uint32_t index = (uint32_t)(id >> 32) & 0xffffff;
    struct peer_slot *slot = &hub->slot[index];
    slot->peer = NULL;
    if (++slot->generation == 0)
        slot->generation = 1;
    slot->next_free = hub->free_slot;
    hub->free_slot = index + 1;
}

struct peer *hub_find_peer(const struct hub *hub, uint64_t id)
{
    uint32_t index = (uint32_t)(id >> 32) & 0xffffff;
    if (id == 0 || id >> 56 != hub->options.shard || index >= hub->slots)
        return NULL;
    const struct peer_slot *slot = &hub->slot[index];
    return slot->generation == (uint32_t)id ? slot->peer : NULL;
}

void peer_id_print(uint64_t id, char out[PEER_ID_TEXT])
{
    for (unsigned i = 0; i < PEER_ID_TEXT - 1; i++)
        out[i] = hexadecimal[id >> (60 - 4 * i) & 15];
    out[PEER_ID_TEXT - 1] = '\0';
}

bool peer_id_parse(struct span text, uint64_t *id)
{
    uint64_t value = 0;
    if (text.length != PEER_ID_TEXT - 1)
        return false;
    for (size_t i = 0; i < text.length; i++) {
        const char *digit = text.at[i] == '\0' ? NULL : strchr(hexadecimal, text.at[i]);
        if (digit == NULL)
            return false;
        value = value << 4 | (uint64_t)(digit - hexadecimal);
    }
    *id = value;
    return true;
}

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

void peer_init(struct peer *peer, struct hub *hub, struct turn *turn, const struct peer_ops *ops,
               const char *user_id, const char *tenant_id)
{
    *peer = (struct peer){.ops = ops,
                          .hub = hub,
                          .user_id = user_id,
                          .tenant_id = tenant_id,
                          .opened_us = turn->wall_us,
                          .opened_ns = turn->now_ns,
                          .queue = {.capacity = PEER_FEW}};
    peer->id = take_slot(hub, peer);
    list_init(&peer->memberships);
    list_append(&hub->peers, &peer->all);
    hub->peers_count++;
}

void peer_fini(struct peer *peer, struct turn *turn)
{
    struct hub *hub = peer->hub;
    hub_leave_all(hub, turn, peer, HUB_ALL_ENCODINGS);
    peer_clear(peer);
    give_slot_back(hub, peer->id);
    if (peer->counted > 0)
        sockets_closed(hub->options.sockets, hub->options.shard, peer->counted - 1,
                       turn->now_ns - peer->opened_ns);
    list_remove(&peer->all);
    if (list_linked(&peer->dirty))
        list_remove(&peer->dirty);
    hub->peers_count--;
    *peer = (struct peer){0};
}
