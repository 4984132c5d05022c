/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hubs in one process, turned by hand, and subscribers that write down what they are sent.
 */
#ifndef TESTS_UNIT_HUB_FIXTURE_H
#define TESTS_UNIT_HUB_FIXTURE_H

#include "core/clock.h"
#include "tests/unit/unit.h"
#include "ws/hub.h"

#include <stdio.h>
#include <stdlib.h>

enum { HUBS_MAX = 4, ENCODING_A = 0, ENCODING_B = 1 };

struct house_of_hubs {
    unsigned shards;
    struct hub_node *node;
    struct hub *hub[HUBS_MAX];
    struct counters *counters[HUBS_MAX];
    struct turn turn[HUBS_MAX];
    unsigned encoded[HUBS_MAX]; /* how often something was */
};

struct listener {
    struct peer peer;
    struct buf heard; /* payloads, a line each */
    unsigned overruns, kicks, drains;
    uint64_t missed;
    bool slow; /* takes nothing */
    const char *name;
};

static inline struct listener *listener_of(struct peer *peer)
{
    return LIST_ENTRY(peer, struct listener, peer);
}

static void listener_drain(struct peer *peer, struct turn *turn)
{
    struct listener *listener = listener_of(peer);
    struct encoded *encoded;
    (void)turn;
    listener->drains++;
    listener->missed += listener->slow ? 0 : peer_missed(peer);
    while (!listener->slow && (encoded = peer_take(peer)) != NULL) {
        for (unsigned i = 0; i < encoded->parts; i++) {
            struct span text = encoded_payload(encoded, i);
            assert_true(buf_put(&listener->heard, text.at, text.length));
            assert_true(buf_put(&listener->heard, "\n", 1));
        }
        encoded_put(encoded);
    }
}

static void listener_overrun(struct peer *peer, struct turn *turn)
{
    (void)turn;
    assert_null(peer_first(peer));
    listener_of(peer)->overruns++;
}

static void listener_kick(struct peer *peer, struct turn *turn)
{
    (void)turn;
    listener_of(peer)->kicks++;
}

static bool listener_named(const struct peer *peer, struct span id)
{
    const struct listener *listener = listener_of((struct peer *)(uintptr_t)peer);
    return listener->name != NULL && span_is(id, listener->name);
}

static const struct peer_ops listener_ops = {.name = "test",
                                             .drain = listener_drain,
                                             .overrun = listener_overrun,
                                             .kick = listener_kick,
                                             .named = listener_named};

/* "A room event data": what a member with this encoding gets. */
static struct encoded *encode(void *context, const struct publication *publication, char encoding)
{
    char text[65536];
    (*(unsigned *)context)++;
    int length =
        snprintf(text, sizeof text, "%c %.*s %.*s %.*s", encoding, SPAN_ARGS(publication->room),
                 SPAN_ARGS(publication->event), SPAN_ARGS(publication->data));
    return encoded_make(span_of(text, (size_t)length), publication->attachments,
                        publication->attachments_count);
}

static struct encoded *encode_a(void *context, const struct publication *publication)
{
    return encode(context, publication, 'A');
}

static struct encoded *encode_b(void *context, const struct publication *publication)
{
    return encode(context, publication, 'B');
}

/* What no test says otherwise. */
__attribute__((unused)) static const struct hub_options hub_defaults = {.history_bytes = 1 << 20,
                                                                        .history_ns = 60000000000,
                                                                        .queue_bytes = 1 << 20,
                                                                        .queue_messages = 1024,
                                                                        .rooms_max = 64,
                                                                        .rooms_kept = 1000,
                                                                        .backlog_bytes = 1 << 20,
                                                                        .answer_users = 100};

static void hubs_open(struct house_of_hubs *house, unsigned shards,
                      const struct hub_options *options)
{
    *house = (struct house_of_hubs){.shards = shards, .node = hub_node_open(shards)};
    assert_non_null(house->node);
    for (unsigned i = 0; i < shards; i++) {
        struct hub_options own = *options;
        own.node = house->node;
        own.shard = i;
        house->counters[i] = aligned_alloc(64, sizeof *house->counters[i]);
        memset(house->counters[i], 0, sizeof *house->counters[i]);
        house->turn[i] = (struct turn){
            .counters = house->counters[i], .now_ns = 1000000000, .wall_us = 1700000000000000};
        house->hub[i] = hub_open(&own);
        assert_non_null(house->hub[i]);
        hub_set_encoder(house->hub[i], ENCODING_A, encode_a, &house->encoded[i]);
        hub_set_encoder(house->hub[i], ENCODING_B, encode_b, &house->encoded[i]);
    }
}

static void hubs_close(struct house_of_hubs *house)
{
    for (unsigned i = 0; i < house->shards; i++)
        hub_close(house->hub[i]);
    hub_node_close(house->node);
    for (unsigned i = 0; i < house->shards; i++)
        free(house->counters[i]);
}

/* Turns until nothing moves any more. */
static void hubs_turn(struct house_of_hubs *house)
{
    for (unsigned round = 0; round < 6; round++)
        for (unsigned i = 0; i < house->shards; i++) {
            hub_mail(house->hub[i], &house->turn[i]);
            hub_flush(house->hub[i], &house->turn[i]);
        }
}

__attribute__((unused)) static void hubs_wait(struct house_of_hubs *house, uint64_t ns)
{
    for (unsigned i = 0; i < house->shards; i++) {
        house->turn[i].now_ns += ns;
        (void)hub_tick(house->hub[i], &house->turn[i]);
    }
}

__attribute__((unused)) static void listener_open(struct listener *listener,
                                                  struct house_of_hubs *house, unsigned shard,
                                                  const char *user)
{
    *listener = (struct listener){.heard = {.max = 64 << 20}};
    peer_init(&listener->peer, house->hub[shard], &house->turn[shard], &listener_ops, user, "t");
}

__attribute__((unused)) static void listener_close(struct listener *listener,
                                                   struct house_of_hubs *house, unsigned shard)
{
    peer_fini(&listener->peer, &house->turn[shard]);
    buf_fini(&listener->heard);
    (void)house;
}

__attribute__((unused)) static void heard(struct listener *listener, const char *wanted)
{
    struct span got = buf_span(&listener->heard);
    if (!span_is(got, wanted))
        fail_msg("wanted:\n%sheard:\n%.*s", wanted, SPAN_ARGS(got));
    listener->heard.length = 0;
}

__attribute__((unused)) static enum hub_joined join_as(struct house_of_hubs *house, unsigned shard,
                                                       struct listener *listener, const char *room,
                                                       unsigned encoding, const char *types)
{
    struct hub_terms terms = {encoding, types};
    return hub_join(house->hub[shard], &house->turn[shard], &listener->peer, span_of_string(room),
                    &terms);
}

__attribute__((unused)) static enum hub_joined join(struct house_of_hubs *house, unsigned shard,
                                                    struct listener *listener, const char *room)
{
    return join_as(house, shard, listener, room, ENCODING_A, NULL);
}

__attribute__((unused)) static void publish(struct house_of_hubs *house, unsigned shard,
                                            const char *room, const char *event, const char *data)
{
    struct publish publish = {.room = span_of_string(room),
                              .event = span_of_string(event),
                              .data = span_of_string(data),
                              .kept = true};
    assert_true(hub_publish(house->hub[shard], &house->turn[shard], &publish));
}

#endif
