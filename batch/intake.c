/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two passes over a group of events. The first decides the stream,
 * judges the principal, hashes the id and asks the memory for the bucket;
 * the second, by which time the buckets have arrived, encodes and takes.
 * So the dozens of cache misses of a group overlap instead of following one another.
 */
#include "batch/intake.h"

#include "batch/copy.h"
#include "core/clock.h"
#include "core/log.h"
#include "proto/uuid.h"

#include <stdio.h>
#include <stdlib.h>

enum { CHANCE_BYTES = 64 * UUID_RANDOM_BYTES };

struct batch_intake {
    struct intake api; /* first: the doors hold this */
    struct intake_options options;
    uint8_t chance[CHANCE_BYTES]; /* drawn in one call for many ids */
    unsigned chance_left;
};

/* What the first pass finds out about one event. */
struct plan {
    const struct stream *stream;
    struct dedup_key key;
};

static struct batch_intake *mine(struct intake *intake)
{
    return (struct batch_intake *)(void *)intake;
}

static void refuse(struct verdict *verdict, enum event_code code, const char *member,
                   const char *why)
{
    verdict->code = code;
    verdict->refusal.code = code;
    snprintf(verdict->refusal.message, sizeof verdict->refusal.message, "%s: %s", member, why);
}

/* A member that the token also carries must say the same, unless the token may speak for others. */
static bool agrees(struct span said, const char *token, const char *member, struct verdict *verdict)
{
    if (said.at == NULL || token[0] == '\0' || span_is(said, token))
        return true;
    refuse(verdict, EVENT_FORBIDDEN, member, "differs from the one in the token");
    return false;
}

static bool permitted(const struct event *event, const struct principal *who,
                      struct verdict *verdict)
{
    if (who == NULL || (who->scopes & SCOPE_INGEST_ANY) != 0)
        return true;
    return agrees(event->tenant_id, who->tenant_id, "tenantId", verdict) &&
           agrees(event->user_id, who->user_id, "userId", verdict) &&
           agrees(event->project_id, who->project_id, "projectId", verdict) &&
           agrees(event->session_id, who->session_id, "sessionId", verdict);
}

/* The token's values stand in for members that the event leaves out. */
static void fill_in(struct event *event, const struct principal *who)
{
    if (event->tenant_id.at == NULL && who->tenant_id[0] != '\0')
        event->tenant_id = span_of_string(who->tenant_id);
    if (event->user_id.at == NULL && who->user_id[0] != '\0')
        event->user_id = span_of_string(who->user_id);
    if (event->project_id.at == NULL && who->project_id[0] != '\0')
        event->project_id = span_of_string(who->project_id);
    if (event->session_id.at == NULL && who->session_id[0] != '\0')
        event->session_id = span_of_string(who->session_id);
}

static const struct stream *choose(const struct intake *intake, const struct event *event,
                                   const struct stream *named, struct verdict *verdict)
{
    if (named == NULL)
        return streams_route(intake->streams, event->type);
    if (stream_takes(named, event->type))
        return named;
    char why[96];
    snprintf(why, sizeof why, "the stream %s does not take it", named->name);
    refuse(verdict, EVENT_UNSUPPORTED_TYPE, "type", why);
    return NULL;
}

static void plan(struct batch_intake *intake, const struct source *source, struct event *event,
                 const struct stream *named, struct plan *plan, struct verdict *verdict)
{
    verdict->code = EVENT_ACCEPTED;
    plan->key = (struct dedup_key){0, 0};
    plan->stream = choose(&intake->api, event, named, verdict);
    if (plan->stream == NULL || !permitted(event, source->principal, verdict))
        return;
    if (source->principal != NULL)
        fill_in(event, source->principal);
    if (event->id.at != NULL) {
        plan->key = dedup_key(intake->options.dedup_secret, event->id);
        dedup_prefetch(intake->options.dedup, plan->key);
    }
}

static bool seen_before(struct batch_intake *intake, struct turn *turn, const struct plan *plan,
                        struct verdict *verdict)
{
    if (plan->key.high == 0 && plan->key.low == 0)
        return false;
    bool evicted = false;
    uint32_t now_s = (uint32_t)(turn->wall_us / 1000000);
    if (dedup_take(intake->options.dedup, plan->key, verdict->ticket, now_s, &verdict->ticket,
                   &evicted)) {
        if (UNLIKELY(evicted))
            count(turn->counters, COUNT_DEDUP_EVICTED, 1);
        return false;
    }
    verdict->code = EVENT_DUPLICATE;
    return true;
}

/* The server's own id, for an event that came without. */
static void make_id(struct batch_intake *intake, int64_t wall_us, char out[UUID_TEXT_BYTES])
{
    uint8_t uuid[UUID_BYTES];
    if (intake->chance_left < UUID_RANDOM_BYTES) {
        clock_random(intake->chance, CHANCE_BYTES);
        intake->chance_left = CHANCE_BYTES;
    }
    intake->chance_left -= UUID_RANDOM_BYTES;
    uuid_v7(wall_us, intake->chance + intake->chance_left, uuid);
    uuid_print(uuid, out);
}

/* Encodes the event at `out` and, if nobody had it, appends it. */
static void take(struct batch_intake *intake, struct turn *turn, const struct plan *plan,
                 const struct event *event, uint8_t *out, struct verdict *verdict)
{
    struct spool *spool = intake->options.spool;
    struct span id = event->id;
    if (id.at == NULL) {
        make_id(intake, turn->wall_us, verdict->made_id);
        id = span_of(verdict->made_id, sizeof verdict->made_id);
    }
    size_t bytes = copy_row(plan->stream, event, id, turn->wall_us, out, &verdict->refusal);
    if (UNLIKELY(bytes == 0)) {
        verdict->code = verdict->refusal.code;
        return;
    }
    verdict->ticket = (struct ticket){spool_next(spool), intake->options.shard};
    verdict->stream = plan->stream;
    if (seen_before(intake, turn, plan, verdict))
        return;
    uint64_t sequence = spool_append(spool, plan->stream->index, bytes, plan->key);
    must(sequence == verdict->ticket.sequence);
}

/* One event of the second pass. False: there is no room for it now. */
static bool judge(struct batch_intake *intake, struct turn *turn, const struct plan *plan,
                  const struct event *event, struct verdict *verdict)
{
    size_t room = copy_row_bytes_max(plan->stream, event);
    if (UNLIKELY(room > SPOOL_ROW_MAX)) {
        refuse(verdict, EVENT_TOO_LARGE, "event", "its row is larger than a spool block");
        return true;
    }
    uint8_t *out = spool_room(intake->options.spool, room);
    if (UNLIKELY(out == NULL))
        return false;
    take(intake, turn, plan, event, out, verdict);
    return true;
}

/*
 * The producer's count goes on with every value, and every value writes it down: the next start
 * must not know of fewer than the producer was told. False: no room.
 */
static bool advance(struct batch_intake *intake, struct producer *producer, uint64_t values)
{
    struct spool *spool = intake->options.spool;
    struct span name = span_of(producer->name, producer->name_length);
    if (spool_room(spool, 0) == NULL || !spool_mark(spool, name, producer->count + values))
        return false;
    producer->count += values;
    producer->block = spool_block(spool);
    return true;
}

/* A duplicate of what another shard may not have on its disk yet. */
static void note_original(struct batch_intake *intake, struct producer *producer,
                          struct ticket original)
{
    if (original.shard == intake->options.shard)
        return; /* the mark stands in its block, or in a later one */
    producer->original = original;
    producer->has_original = true;
}

/* The row and its mark stand in one block: spool_room() has left enough for both. */
static bool advance_by(struct batch_intake *intake, struct producer *producer,
                       const struct verdict *verdict)
{
    struct spool *spool = intake->options.spool;
    if (verdict->code == EVENT_DUPLICATE)
        note_original(intake, producer, verdict->ticket);
    if (verdict->code != EVENT_ACCEPTED)
        return advance(intake, producer, 1);
    producer->count++;
    bool marked =
        spool_mark(spool, span_of(producer->name, producer->name_length), producer->count);
    must(marked);
    producer->block = spool_block(spool);
    return true;
}

static void tally(struct turn *turn, const struct source *source, const struct verdict *verdicts,
                  unsigned judged)
{
    unsigned accepted = 0, duplicates = 0;
    for (unsigned i = 0; i < judged; i++) {
        enum event_code code = verdicts[i].code;
        if (LIKELY(code == EVENT_ACCEPTED))
            accepted++;
        else if (code == EVENT_DUPLICATE)
            duplicates++;
        else
            count(turn->counters,
                  COUNT_EVENTS_REFUSED_INVALID_JSON + (enum counter_id)(code - EVENT_INVALID_JSON),
                  1);
    }
    count(turn->counters, source->received, judged);
    count(turn->counters, COUNT_EVENTS_ACCEPTED, accepted);
    count(turn->counters, COUNT_EVENTS_DUPLICATE, duplicates);
}

static unsigned accept_events(struct intake *intake, struct turn *turn, const struct source *source,
                              struct event *events, const struct stream *const *streams,
                              unsigned count_, struct verdict *verdicts)
{
    struct batch_intake *self = mine(intake);
    struct plan plans[INTAKE_MAX];
    must(count_ <= INTAKE_MAX);
    for (unsigned i = 0; i < count_; i++)
        plan(self, source, &events[i], streams == NULL ? NULL : streams[i], &plans[i],
             &verdicts[i]);
    unsigned judged = 0;
    if (!self->api.open(&self->api))
        return 0;
    for (; judged < count_; judged++) {
        struct verdict *verdict = &verdicts[judged];
        if (verdict->code == EVENT_ACCEPTED &&
            !judge(self, turn, &plans[judged], &events[judged], verdict))
            break;
        if (source->producer != NULL && !advance_by(self, source->producer, verdict))
            break;
    }
    tally(turn, source, verdicts, judged);
    if (self->options.witness != NULL)
        self->options.witness->accepted(self->options.witness->self, turn, source, events, verdicts,
                                        judged);
    return judged;
}

static bool is_open(const struct intake *intake)
{
    const struct spool *spool = mine((struct intake *)(uintptr_t)intake)->options.spool;
    return !spool_failed(spool) && spool_pressure(spool) < 2;
}

static unsigned retry_after_s(const struct intake *intake)
{
    return spool_failed(mine((struct intake *)(uintptr_t)intake)->options.spool) ? 60 : 1;
}

static unsigned producer_shard(const struct intake *intake, struct span name)
{
    return producers_shard(name, mine((struct intake *)(uintptr_t)intake)->options.shards);
}

static struct producer *producer_open(struct intake *intake, struct turn *turn, struct span name,
                                      struct conn *conn, uint64_t *resume, struct ticket *ticket,
                                      bool *wait)
{
    struct batch_intake *self = mine(intake);
    struct producer *producer = producers_get(self->options.producers, name, turn->now_ns);
    if (producer == NULL)
        return NULL;
    if (producer->conn != NULL && producer->conn != conn) {
        log_info("tcp", "producer %.*s came again from %s; the older connection from %s is closed",
                 SPAN_ARGS(name), conn_peer(conn), conn_peer(producer->conn));
        conn_abort(producer->conn, turn);
    }
    producers_open_for(producer, conn);
    *resume = producer->count;
    *wait = producer->has_original;
    *ticket = producer->original;
    return producer;
}

static void producer_close(struct intake *intake, struct producer *producer, struct conn *conn)
{
    if (producer->conn == conn)
        producers_let_go(mine(intake)->options.producers, producer, clock_mono_ns());
}

static bool producer_skip(struct intake *intake, struct producer *producer, uint64_t values)
{
    return advance(mine(intake), producer, values);
}

static uint64_t producer_block(const struct producer *producer)
{
    return producer->block;
}

struct intake *intake_open(const struct intake_options *options)
{
    struct batch_intake *self = calloc(1, sizeof *self);
    if (self == NULL)
        return NULL;
    self->options = *options;
    self->api = (struct intake){
        .accept = accept_events,
        .open = is_open,
        .retry_after_s = retry_after_s,
        .producer_shard = producer_shard,
        .producer_open = producer_open,
        .producer_close = producer_close,
        .producer_skip = producer_skip,
        .producer_block = producer_block,
        .streams = options->streams,
        .rules = options->rules,
        .stores = options->stores,
    };
    return &self->api;
}

void intake_close(struct intake *intake)
{
    free(intake);
}
