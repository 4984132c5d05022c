/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of a publication.
 *
 *   hub_publish() ─► copied once ─► home: hub_sequence() ─► each shard with such a room: hub_deliver()
 *
 * The home does nothing but pass on; since all of a room's publications come through it, and mail
 * keeps its order, all shards deliver them in one order. If the home is this shard, and so is every
 * member, nothing leaves this thread.
 */
#include "ws/hub_internal.h"

#include "core/log.h"

#include <stdlib.h>

/* ── Is there an audience? ──────────────────────────────────────────────────────────────────── */

bool hub_has_anyone(const struct hub *hub)
{
    return atomic_load_explicit(&hub->node->rooms, memory_order_acquire) > 0;
}

bool hub_has_audience_of(const struct hub *hub, uint64_t hash)
{
    const struct hub_node *node = hub->node;
    if (atomic_load_explicit(&node->rooms, memory_order_acquire) == 0)
        return false;
    _Atomic uint32_t *interest = hub_interest(node, hash);
    for (unsigned i = 0; i < node->shards; i++)
        if (atomic_load_explicit(&interest[i], memory_order_acquire) > 0)
            return true;
    return false;
}

bool hub_has_audience(const struct hub *hub, struct span room)
{
    uint64_t hash;
    return hub_has_anyone(hub) && hub_name_hash(hub, room, &hash) && hub_has_audience_of(hub, hash);
}

/* ── A copy to travel ───────────────────────────────────────────────────────────────────────── */

static struct span copied(uint8_t **at, struct span text)
{
    if (text.at == NULL)
        return text;
    struct span copy = span_of(*at, text.length);
    memcpy(*at, text.at, text.length);
    *at += text.length;
    return copy;
}

static size_t bytes_of(const struct publish *publish, size_t room_length)
{
    size_t bytes =
        room_length + publish->event.length + publish->type.length + publish->data.length;
    for (unsigned i = 0; i < publish->attachments_count; i++)
        bytes += publish->attachments[i].length;
    return bytes;
}

static struct dispatch *make(const struct publish *publish, const struct room_name *name)
{
    size_t bytes = sizeof(struct dispatch) + publish->attachments_count * sizeof(struct span) +
                   bytes_of(publish, name->length);
    struct dispatch *dispatch = malloc(bytes);
    if (dispatch == NULL)
        return NULL;
    uint8_t *at = (uint8_t *)&dispatch->attachment[publish->attachments_count];
    *dispatch = (struct dispatch){
        .letter = {LETTER_PUBLISH, bytes},
        .kept = publish->kept,
        .hash = name->hash,
        .except = publish->except,
        .key = publish->key,
        .publication = {.room = copied(&at, span_of(name->text, name->length)),
                        .event = copied(&at, publish->event),
                        .type = copied(&at, publish->type),
                        .data = copied(&at, publish->data),
                        .attachments = dispatch->attachment,
                        .attachments_count = publish->attachments_count},
    };
    atomic_init(&dispatch->references, 1);
    if (publish->type.at == NULL)
        dispatch->publication.type = dispatch->publication.event;
    for (unsigned i = 0; i < publish->attachments_count; i++)
        dispatch->attachment[i] = copied(&at, publish->attachments[i]);
    return dispatch;
}

void dispatch_put(struct dispatch *dispatch)
{
    if (atomic_fetch_sub_explicit(&dispatch->references, 1, memory_order_acq_rel) == 1)
        free(dispatch);
}

bool hub_dropped(struct hub *hub, struct turn *turn, const char *why)
{
    enum { COMPLAIN_S = 10 };
    count(turn->counters, COUNT_LIVE_DROPPED, 1);
    if (turn->now_ns < hub->complained_ns)
        return false;
    hub->complained_ns = turn->now_ns + COMPLAIN_S * 1000000000ull;
    log_warn("hub", "shard %u: live messages are dropped: %s", hub->options.shard, why);
    return false;
}

bool hub_publish(struct hub *hub, struct turn *turn, const struct publish *publish)
{
    struct room_name name;
    if (!hub_name(hub, publish->room, &name) || !hub_has_audience_of(hub, name.hash))
        return true;
    count(turn->counters, COUNT_LIVE_PUBLICATIONS, 1);
    hub->pressed++;
    struct dispatch *dispatch = make(publish, &name);
    if (dispatch == NULL)
        return hub_dropped(hub, turn, "no memory");
    unsigned home = hub_home(hub->node, name.hash);
    if (home == hub->options.shard) {
        hub_sequence(hub, turn, dispatch);
        return true;
    }
    if (hub_post(hub, home, &dispatch->letter))
        return true;
    dispatch_put(dispatch);
    return hub_dropped(hub, turn, "another shard does not keep up (live.backlog_bytes)");
}

/* ── The home ───────────────────────────────────────────────────────────────────────────────── */

/* The caller's reference becomes ours. One shard of many that has no room for it misses it: counted. */
void hub_sequence(struct hub *hub, struct turn *turn, struct dispatch *dispatch)
{
    const struct hub_node *node = hub->node;
    unsigned us = hub->options.shard;
    _Atomic uint32_t *interest = hub_interest(node, dispatch->hash);
    dispatch->letter.kind = LETTER_DELIVER;
    for (unsigned i = 0; i < node->shards; i++) {
        if (i == us || atomic_load_explicit(&interest[i], memory_order_acquire) == 0)
            continue;
        atomic_fetch_add_explicit(&dispatch->references, 1, memory_order_relaxed);
        if (!hub_post(hub, i, &dispatch->letter)) {
            atomic_fetch_sub_explicit(&dispatch->references, 1, memory_order_relaxed);
            (void)hub_dropped(hub, turn, "another shard does not keep up (live.backlog_bytes)");
        }
    }
    if (atomic_load_explicit(&interest[us], memory_order_relaxed) > 0)
        hub_deliver(hub, turn, dispatch);
    else
        dispatch_put(dispatch);
}

/* ── Members ────────────────────────────────────────────────────────────────────────────────── */

struct encoded *hub_encoded(struct hub *hub, const struct dispatch *dispatch, unsigned encoding,
                            uint64_t number)
{
    return hub_encoded_as(hub, dispatch, encoding, hub->options.shard, number);
}

struct encoded *hub_encoded_as(struct hub *hub, const struct dispatch *dispatch, unsigned encoding,
                               unsigned shard, uint64_t number)
{
    struct publication publication = dispatch->publication;
    publication.shard = shard;
    publication.number = number;
    const struct encoder *encoder = &hub->encoder[encoding];
    struct encoded *encoded = encoder->encode(encoder->context, &publication);
    if (encoded != NULL)
        encoded->key = dispatch->key;
    return encoded;
}

/* The caller's reference becomes ours. */
void hub_deliver(struct hub *hub, struct turn *turn, struct dispatch *dispatch)
{
    struct room *room = hub_find_room(hub, dispatch->hash, dispatch->publication.room);
    if (room == NULL) {
        dispatch_put(dispatch);
        return;
    }
    uint64_t number = dispatch->kept ? log_append(hub, turn, room, dispatch) : 0;
    hub_add_to_run(hub, turn, room, dispatch, number);
}
