/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `pending` is a run of records, oldest first, of which `head` bytes are done with:
 *
 *   │ done … │ record: sequence, lengths ┊ room ┊ type ┊ emit ┊ data ┊ pad │ record … │
 *            head
 *
 * Sequences only grow, so what is durable is always in front.
 */
#include "ws/live.h"

#include "core/clock.h"
#include "ws/dashboard.h"
#include "ws/gather.h"
#include "ws/route.h"

#include <stdlib.h>
#include <xxhash.h>

enum { PENDING_IDLE_BYTES = 256 << 10, KNOWN_TYPES = 256, MASKS = (ROUTE_TABLE_MAX + 63) / 64 };

/* Which routes events of a type can match: most types few. */
struct known_type {
    uint64_t hash; /* 0: nothing is known here */
    uint64_t mask[MASKS];
};

struct live {
    struct live_options options;
    uint64_t seed;
    struct known_type known[KNOWN_TYPES]; /* by hash */
    struct witness witness;
    struct gather *gather;
    struct buf pending;
    size_t head;
};

/* What waits for its event; its texts follow. */
struct record {
    uint64_t sequence;
    uint32_t bytes; /* of all, a multiple of 8 */
    uint32_t data;
    uint8_t room, type, emit;
    bool batch;
};

/* ── What the intake took ───────────────────────────────────────────────────────────────────── */

static void dropped(struct live *live, struct turn *turn, size_t before)
{
    live->pending.length = before;
    count(turn->counters, COUNT_LIVE_DROPPED, 1);
}

/* Room for `bytes` more behind what waits, perhaps in place of what is done with. */
static bool make_room(struct live *live, size_t bytes)
{
    if (buf_room(&live->pending, bytes) != NULL)
        return true;
    buf_drop(&live->pending, live->head);
    live->head = 0;
    return buf_room(&live->pending, bytes) != NULL;
}

/* Made into its message, at the end of `pending`. */
static void keep(struct live *live, struct turn *turn, const struct route *route,
                 const struct route_subject *subject, struct span room, uint64_t sequence)
{
    struct buf *out = &live->pending;
    struct span type = subject->event->type;
    size_t front = sizeof(struct record) + room.length + type.length + route->emit.length;
    if (!make_room(live, front)) {
        dropped(live, turn, out->length);
        return;
    }
    struct record record = {.sequence = sequence,
                            .room = (uint8_t)room.length,
                            .type = (uint8_t)type.length,
                            .emit = (uint8_t)route->emit.length,
                            .batch = route->batch};
    size_t before = out->length;
    if (!buf_put(out, &record, sizeof record) || !buf_put(out, room.at, room.length) ||
        !buf_put(out, type.at, type.length) || !buf_put(out, route->emit.at, route->emit.length) ||
        !route_put(route, subject, out) || buf_room(out, 8) == NULL) {
        dropped(live, turn, before);
        return;
    }
    record.data = (uint32_t)(out->length - before - front);
    buf_grew(out, (0 - out->length) & 7);
    record.bytes = (uint32_t)(out->length - before);
    memcpy(out->at + before, &record, sizeof record);
}

/* Of one ingest batch only the first few? Counts this one. */
static bool is_past_first(const struct route *route, const struct source *source)
{
    if (route->first == 0 || source->batch == NULL)
        return false;
    uint16_t *shown = &source->batch->of[route->shown];
    if (*shown >= route->first)
        return true;
    ++*shown;
    return false;
}

static void consider(struct live *live, struct turn *turn, unsigned index,
                     const struct source *source, const struct route_subject *subject,
                     uint64_t sequence)
{
    const struct route *route = route_table_at(live->options.routes, index);
    char name[ROOM_NAME_MAX];
    size_t length;
    if (!route_matches(route, subject) || !route_permits(route, subject) ||
        route_room(route, subject, name, &length) != ROUTE_ROOM)
        return;
    struct span room = span_of(name, length);
    if (hub_has_audience(live->options.hub, room) && !is_past_first(route, source))
        keep(live, turn, route, subject, room, sequence);
}

/* Two types with one hash would share what is known of the first: an event of one's own making at
 * worst, and each route looks at the type again. */
static const struct known_type *know(struct live *live, struct span type)
{
    uint64_t hash = XXH3_64bits_withSeed(type.at, type.length, live->seed) | 1;
    struct known_type *known = &live->known[hash >> 32 & (KNOWN_TYPES - 1)];
    if (LIKELY(known->hash == hash))
        return known;
    *known = (struct known_type){.hash = hash};
    for (unsigned i = 0; i < route_table_count(live->options.routes); i++) {
        const struct route *route = route_table_at(live->options.routes, i);
        if (route->stored && route_takes_type(route, type))
            known->mask[i / 64] |= 1ull << i % 64;
    }
    return known;
}

static void show(struct live *live, struct turn *turn, const struct source *source,
                 const struct event *event, const struct verdict *verdict)
{
    struct route_subject subject = {
        .event = event,
        .id = event->id.at != NULL ? event->id : span_of(verdict->made_id, sizeof verdict->made_id),
        .stream = verdict->stream,
        .principal = source->principal,
        .received_us = turn->wall_us,
        .judged_room = source->judged_room,
    };
    const struct known_type *known = know(live, event->type);
    for (unsigned word = 0; word < MASKS; word++)
        for (uint64_t mask = known->mask[word]; mask != 0; mask &= mask - 1)
            consider(live, turn, word * 64 + (unsigned)__builtin_ctzll(mask), source, &subject,
                     verdict->ticket.sequence);
}

static void accepted(void *self, struct turn *turn, const struct source *source,
                     const struct event *events, const struct verdict *verdicts, unsigned judged)
{
    struct live *live = self;
    if (live->options.dashboard != NULL)
        dashboard_count(live->options.dashboard, live->options.shard, turn, events, verdicts,
                        judged);
    if (LIKELY(!hub_has_anyone(live->options.hub)))
        return;
    for (unsigned i = 0; i < judged; i++)
        if (verdicts[i].code == EVENT_ACCEPTED)
            show(live, turn, source, &events[i], &verdicts[i]);
}

/* ── Once it is durable ─────────────────────────────────────────────────────────────────────── */

static void publish(struct live *live, struct turn *turn, const struct record *record)
{
    const uint8_t *at = (const uint8_t *)(record + 1);
    struct span room = span_of(at, record->room);
    struct span type = span_of(at + record->room, record->type);
    struct span emit = span_of(type.at + record->type, record->emit);
    struct span data = span_of(emit.at + record->emit, record->data);
    if (record->batch) {
        if (!gather_add(live->gather, turn, emit, room, data))
            count(turn->counters, COUNT_LIVE_DROPPED, 1);
        return;
    }
    struct publish publish = {
        .room = room, .event = emit, .type = type, .data = data, .kept = true};
    (void)hub_publish(live->options.hub, turn,
                      &publish); /* what is dropped there is counted there */
}

static uint64_t reached(const struct live *live)
{
    switch (live->options.after) {
    case LIVE_RECEIVED:
        return UINT64_MAX;
    case LIVE_SPOOLED:
        return live_reached(live, ACK_SPOOLED);
    case LIVE_STORED:
        return live_reached(live, ACK_STORED);
    }
    must(false);
}

static void publish_pending(struct live *live, struct turn *turn)
{
    uint64_t limit = reached(live);
    while (live->head < live->pending.length) {
        const struct record *record =
            (const struct record *)(const void *)(live->pending.at + live->head);
        if (record->sequence >= limit)
            return;
        publish(live, turn, record);
        live->head += record->bytes;
    }
    live->head = live->pending.length = 0;
    if (live->pending.capacity > PENDING_IDLE_BYTES)
        buf_fini(&live->pending);
}

void live_release(struct live *live, struct turn *turn)
{
    if (live->pending.length > 0)
        publish_pending(live, turn);
    gather_flush(live->gather, turn);
    if (live->options.dashboard != NULL)
        dashboard_publish(live->options.dashboard, live->options.shard, turn, live->options.hub);
}

int64_t live_tick(const struct live *live, const struct turn *turn)
{
    uint64_t due = gather_due_ns(live->gather);
    uint64_t other = live->options.dashboard == NULL
                         ? 0
                         : dashboard_due_ns(live->options.dashboard, live->options.shard);
    if (due == 0 || (other != 0 && other < due))
        due = other;
    if (due == 0)
        return -1;
    return due > turn->now_ns ? (int64_t)(due - turn->now_ns) : 0;
}

uint64_t live_reached(const struct live *live, enum ack_level level)
{
    const struct progress *progress = live->options.progress;
    switch (level) {
    case ACK_NONE:
    case ACK_RECEIVED:
        return UINT64_MAX;
    case ACK_SPOOLED:
        return atomic_load_explicit(&progress->durable, memory_order_acquire);
    case ACK_STORED:
        return atomic_load_explicit(&progress->stored, memory_order_acquire);
    }
    must(false);
}

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

struct live *live_open(const struct live_options *options)
{
    struct live *live = calloc(1, sizeof *live);
    if (live == NULL)
        return NULL;
    live->options = *options;
    clock_random(&live->seed, sizeof live->seed);
    live->witness = (struct witness){live, accepted};
    buf_init(&live->pending, options->pending_bytes);
    live->gather = gather_open(options->hub, options->batch_ns, options->pending_bytes);
    if (live->gather != NULL)
        return live;
    live_close(live);
    return NULL;
}

void live_change(struct live *live, const struct route_table *routes)
{
    live->options.routes = routes;
    memset(live->known, 0, sizeof live->known);
}

void live_close(struct live *live)
{
    if (live == NULL)
        return;
    gather_close(live->gather);
    buf_fini(&live->pending);
    free(live);
}

const struct witness *live_witness(const struct live *live)
{
    return &live->witness;
}
