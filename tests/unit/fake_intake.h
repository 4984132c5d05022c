/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An intake for tests and fuzzers of doors: takes everything, or as many as `room` says, and writes
 * down what it took, a line each: type/id/data. The type "again" is a duplicate of an event on the
 * shard that its id begins with, "no" is refused as FORBIDDEN. Include it once in a program.
 */
#ifndef TESTS_UNIT_FAKE_INTAKE_H
#define TESTS_UNIT_FAKE_INTAKE_H

#include "batch/producers.h"
#include "core/buf.h"
#include "proto/intake.h"

#include <stdio.h>
#include <stdlib.h>

enum { FAKE_SHARD = 1 };

struct fake_intake {
    struct intake intake;
    struct buf seen;
    unsigned room; /* events that it will still take */
    uint64_t sequence;
    struct producers *producers;
    unsigned owner;     /* the shard that owns every name */
    struct ticket last; /* what producer_open says */
    bool wait;
    uint64_t block; /* what producer_block says */
    uint64_t skipped;
};

static void fake_judge(struct fake_intake *fake, const struct event *event, struct verdict *verdict)
{
    uint8_t *data = malloc(event_data_bytes_max(event) + 1);
    size_t length = event_put_data(event, data);
    must(buf_print(&fake->seen, "%.*s/%.*s/%.*s\n", SPAN_ARGS(event->type), SPAN_ARGS(event->id),
                   (int)length, data));
    free(data);
    *verdict = (struct verdict){.code = EVENT_ACCEPTED, .ticket = {fake->sequence, FAKE_SHARD}};
    if (span_is(event->type, "no")) {
        verdict->code = verdict->refusal.code = EVENT_FORBIDDEN;
        snprintf(verdict->refusal.message, sizeof verdict->refusal.message, "type: no");
    } else if (span_is(event->type, "again") && event->id.length > 0) {
        verdict->code = EVENT_DUPLICATE;
        verdict->ticket = (struct ticket){77, (uint32_t)(event->id.at[0] & 7)};
    } else {
        fake->sequence++;
    }
}

static unsigned fake_accept(struct intake *intake, struct turn *turn, const struct source *source,
                            struct event *events, const struct stream *const *streams,
                            unsigned count_, struct verdict *verdicts)
{
    struct fake_intake *fake = (struct fake_intake *)(void *)intake;
    unsigned judged = count_ < fake->room ? count_ : fake->room;
    (void)turn;
    (void)streams;
    must(count_ > 0 && count_ <= INTAKE_MAX);
    for (unsigned i = 0; i < judged; i++) {
        fake_judge(fake, &events[i], &verdicts[i]);
        if (source->producer != NULL)
            source->producer->count++;
    }
    fake->room -= judged;
    return judged;
}

static bool fake_is_open(const struct intake *intake)
{
    return ((const struct fake_intake *)(const void *)intake)->room > 0;
}

static unsigned fake_producer_shard(const struct intake *intake, struct span name)
{
    (void)name;
    return ((const struct fake_intake *)(const void *)intake)->owner;
}

static struct producer *fake_producer_open(struct intake *intake, struct turn *turn,
                                           struct span name, struct conn *conn, uint64_t *resume,
                                           struct ticket *ticket, bool *wait)
{
    struct fake_intake *fake = (struct fake_intake *)(void *)intake;
    struct producer *producer = producers_get(fake->producers, name, turn->now_ns);
    if (producer == NULL)
        return NULL;
    producers_open_for(producer, conn);
    producer->block = fake->block;
    *resume = producer->count;
    *ticket = fake->last;
    *wait = fake->wait;
    return producer;
}

static void fake_producer_close(struct intake *intake, struct producer *producer, struct conn *conn)
{
    if (producer->conn == conn)
        producers_let_go(((struct fake_intake *)(void *)intake)->producers, producer, 0);
}

static bool fake_producer_skip(struct intake *intake, struct producer *producer, uint64_t values)
{
    ((struct fake_intake *)(void *)intake)->skipped += values;
    producer->count += values;
    return true;
}

static uint64_t fake_producer_block(const struct producer *producer)
{
    return producer->block;
}

static void fake_intake_init(struct fake_intake *fake, const struct streams *streams)
{
    *fake = (struct fake_intake){.room = UINT32_MAX, .owner = FAKE_SHARD};
    buf_init(&fake->seen, 1 << 24);
    fake->producers = producers_open(4);
    must(fake->producers != NULL);
    fake->intake = (struct intake){
        .accept = fake_accept,
        .open = fake_is_open,
        .producer_shard = fake_producer_shard,
        .producer_open = fake_producer_open,
        .producer_close = fake_producer_close,
        .producer_skip = fake_producer_skip,
        .producer_block = fake_producer_block,
        .streams = streams,
        .stores = true,
        .rules = {.bytes_max = 1000, .bare_type = SPAN("event")},
    };
}

static void fake_intake_fini(struct fake_intake *fake)
{
    buf_fini(&fake->seen);
    producers_close(fake->producers);
}

#endif
