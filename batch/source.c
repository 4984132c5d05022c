/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mail or disk? The shard mails what it can spare memory for, so what comes
 * by mail may have gaps, and after a restart or an absence of Postgres
 * nothing of the past is mailed at all. The spool has everything. So:
 *
 *   the mailed block …
 *     begins at `next`     is used
 *     lies below `next`    has come another way: given back
 *     lies beyond `next`   is parked while the gap is read from the disk; if the gap is wide it is
 *                          given back, and so is all mail until the disk has been caught up with
 *   no mail, but more      after a grace (a block is posted a moment after it has become durable)
 *   is durable             the disk is read
 *
 * A checkpoint may stand in the middle of a block,
 * since another run's batches may have ended there.
 */
#include "batch/source.h"
#include "core/clock.h"
#include "core/log.h"

#include <errno.h>
#include <stdio.h>

enum {
    GRACE_NS = 10 * 1000 * 1000,
    GAP_ROWS = 4 * BLOCK_ROWS_MAX, /* a gap wider than this is not worth a parked block */
};

bool source_init(struct source *source, const struct writer_options *options, unsigned index,
                 struct targets *targets)
{
    const struct writer_source *feed = &options->source[index];
    *source = (struct source){
        .feed = *feed,
        .progress = &options->progress[feed->shard],
        .orphan = feed->blocks == NULL,
        .directory = options->directory,
        .counters = options->counters,
        .lives = streams_count(options->streams),
        .number = (uint16_t)index,
    };
    for (unsigned i = 0; i < source->lives; i++) {
        char copy_sql[STREAM_SQL_BYTES];
        const struct stream *stream = streams_at(options->streams, i);
        must(stream_copy_sql(stream, copy_sql, sizeof copy_sql));
        int target = targets_find(targets, stream->name, stream->table, copy_sql);
        if (target < 0) /* the first STREAMS_MAX always find a place */
            return false;
        source->live[stream->index] = (uint16_t)target;
    }
    return true;
}

void source_fini(struct source *source)
{
    must(source->parked == NULL);
    if (source->reader != NULL)
        spool_reader_close(source->reader);
    source->reader = NULL;
}

uint64_t source_durable(const struct source *source)
{
    uint64_t durable = source->feed.durable_at_start;
    uint64_t now = atomic_load_explicit(&source->progress->durable, memory_order_acquire);
    return now > durable ? now : durable;
}

/* ── Blocks on their way back ───────────────────────────────────────────────────────────────── */

void source_give(struct source *source, struct block *block)
{
    /* The returns have as many places as there are blocks: see writer.h. */
    must(mail_post(source->feed.returns, &block));
    source->returned = true;
}

void source_wake(struct source *source)
{
    if (source->returned)
        (void)sleeper_wake(source->feed.shard_sleeper);
    source->returned = false;
}

static struct block *next_mailed(struct source *source)
{
    struct block *block = source->parked;
    source->parked = NULL;
    if (block == NULL && source->feed.blocks != NULL && !mail_take(source->feed.blocks, &block))
        return NULL;
    return block;
}

void source_drop(struct source *source)
{
    struct block *block;
    while ((block = next_mailed(source)) != NULL)
        source_give(source, block);
}

/* ── Filling ────────────────────────────────────────────────────────────────────────────────── */

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* How many of the rows from `next` to `end` go into the batch now; 0: the batch is full. */
static uint32_t rows_to_take(const struct source *source, const struct batch *batch,
                             const struct fill_rules *rules, const struct block_view *view)
{
    uint64_t end = smaller(view->first_sequence + view->rows, rules->until);
    uint32_t rows = (uint32_t)(end - source->next);
    if (rules->rows_limit > 0) {
        uint32_t room = rules->rows_limit > batch->rows ? rules->rows_limit - batch->rows : 0;
        /* The bytes' bound holds for a cut block as for a whole one. */
        if (!batch_has_room(batch, room > 0 ? 1 : UINT32_MAX, view->row_bytes.length))
            return 0;
        return rows < room ? rows : room;
    }
    return batch_has_room(batch, rows, view->row_bytes.length) ? rows : 0;
}

static enum fill add(struct source *source, struct batch *batch, const struct fill_rules *rules,
                     struct batch_part *part)
{
    part->from = source->next;
    part->rows = rows_to_take(source, batch, rules, part->view);
    if (part->rows == 0)
        return FILL_FULL;
    part->last_is_dead = rules->bury_last && part->from + part->rows == rules->until;
    if (batch->rows == 0)
        batch->begun_ns = rules->now_ns;
    enum batch_added added = batch_add(batch, part);
    if (added == BATCH_MALFORMED)
        return FILL_FAILED;
    if (added == BATCH_COPIED && part->loan != NULL)
        source_give(source, part->loan);
    source->next += part->rows;
    source->noticed_ns = 0;
    return FILL_SOME;
}

/* A block that can't be used now. Far ahead of `next` it would only take up the shard's memory. */
static enum fill put_aside(struct source *source, struct block *block)
{
    source->behind = true;
    if (block->first_sequence - source->next <= GAP_ROWS) {
        source->parked = block;
        return FILL_NOTHING;
    }
    source_give(source, block);
    return FILL_SOME;
}

/* A block of this boot, straight from its maker:
 * its lengths are believed, its payload is not summed up again. */
static struct block_view view_of(const struct block *block)
{
    struct block_view view;
    must(block_read(block->bytes, false, &view) == BLOCK_OK && view.rows == block->rows);
    view.row_bytes.at = block->bytes.at + BLOCK_HEADER_BYTES;
    view.run_bytes.at = view.row_bytes.at + view.row_bytes.length;
    return view;
}

static enum fill fill_from_mail(struct source *source, struct batch *batch,
                                const struct fill_rules *rules)
{
    struct block *block = next_mailed(source);
    if (block == NULL)
        return FILL_NOTHING;
    if (block->first_sequence + block->rows <= source->next) {
        source_give(source, block);
        return FILL_SOME;
    }
    if (block->first_sequence > source->next)
        return put_aside(source, block);
    struct block_view view = view_of(block);
    struct batch_part part = {.view = &view,
                              .target = source->live,
                              .targets = source->lives,
                              .loan = block,
                              .durable_ns = block->durable_ns,
                              .source = source->number};
    enum fill fill = add(source, batch, rules, &part);
    must(fill != FILL_FAILED); /* our own block of this boot */
    if (fill == FILL_FULL)
        source->parked = block;
    else
        source->behind = false;
    return fill;
}

/* Is it time to look on the disk? */
static bool disk_has_more(struct source *source, uint64_t now_ns)
{
    if (source->next >= source_durable(source)) {
        source->behind = false;
        source->noticed_ns = 0;
        return false;
    }
    if (source->behind)
        return true;
    if (source->noticed_ns == 0)
        source->noticed_ns = now_ns;
    source->behind = now_ns - source->noticed_ns >= GRACE_NS;
    return source->behind;
}

static bool holds(const struct block_view *view, uint64_t sequence)
{
    return view->first_sequence <= sequence && sequence < view->first_sequence + view->rows;
}

/* What stands at `next`. 1: a block; 2: accepted damage,
 * view->first_sequence says where it goes on; or a failure that `why` explains. */
static int read_block(struct source *source, struct block_view *view,
                      const struct spool_stream **streams, unsigned *kinds, char *why)
{
    int error = 0;
    if (source->reader == NULL)
        error = spool_reader_open(&source->reader, source->directory, source->feed.shard, why);
    if (error < 0) {
        source->reader = NULL;
        return error;
    }
    int got = spool_reader_get(source->reader, source->next, view, streams, kinds, why);
    if ((got == 1 && holds(view, source->next)) ||
        (got == 2 && view->first_sequence > source->next))
        return got;
    spool_reader_close(source->reader); /* the next try begins afresh */
    source->reader = NULL;
    if (got < 0)
        return got;
    snprintf(why, 256, "shard %u: event %llu is durable and yet not in the spool",
             source->feed.shard, (unsigned long long)source->next);
    return -ENOENT;
}

/* The operator started with accept_loss: nothing will ever come for these sequences. */
static void pass_over(struct source *source, uint64_t next)
{
    log_error(
        "writer",
        "shard %u: events %llu to %llu were lost to damage in the spool, as was accepted at start",
        source->feed.shard, (unsigned long long)source->next, (unsigned long long)next - 1);
    source->next = next;
}

/* When the shard's block became durable, on our clock, from the wall clock's time in it. */
static uint64_t durable_ns(const struct block_view *view, uint64_t now_ns)
{
    int64_t ago_us = clock_wall_us() - view->wall_us;
    uint64_t ago_ns = ago_us > 0 ? (uint64_t)ago_us * 1000 : 0;
    return ago_ns < now_ns ? now_ns - ago_ns : 0;
}

static enum fill fill_from_disk(struct source *source, struct batch *batch,
                                const struct fill_rules *rules, char *why)
{
    struct block_view view;
    const struct spool_stream *streams;
    unsigned kinds;
    uint16_t target[STREAMS_MAX];
    int got = read_block(source, &view, &streams, &kinds, why);
    if (got < 0)
        return FILL_FAILED;
    if (got == 2) {
        pass_over(source, view.first_sequence);
        return FILL_SOME;
    }
    for (unsigned i = 0; i < kinds && i < STREAMS_MAX; i++) {
        int found =
            targets_find(rules->targets, streams[i].name, streams[i].table, streams[i].copy_sql);
        if (found < 0) {
            snprintf(why, 256, "no memory for the streams of the spool");
            return FILL_FAILED;
        }
        target[i] = (uint16_t)found;
    }
    struct batch_part part = {.view = &view,
                              .target = target,
                              .targets = kinds < STREAMS_MAX ? kinds : STREAMS_MAX,
                              .durable_ns = durable_ns(&view, rules->now_ns),
                              .source = source->number};
    enum fill fill = add(source, batch, rules, &part);
    if (fill == FILL_FAILED)
        snprintf(why, 256, "shard %u: the spool's block of event %llu contradicts itself",
                 source->feed.shard, (unsigned long long)source->next);
    if (fill == FILL_SOME)
        count(source->counters, COUNT_BLOCKS_REREAD, 1);
    return fill;
}

enum fill source_fill(struct source *source, struct batch *batch, const struct fill_rules *rules,
                      char *why)
{
    if (source->next >= rules->until)
        return FILL_FULL;
    enum fill fill = fill_from_mail(source, batch, rules);
    if (fill != FILL_NOTHING)
        return fill;
    if (!disk_has_more(source, rules->now_ns))
        return FILL_NOTHING;
    fill = fill_from_disk(source, batch, rules, why);
    /* The batch leaves without the parked block, and the next one is not begun soon. */
    if (fill == FILL_FULL && source->parked != NULL && source->behind)
        source_drop(source);
    return fill;
}

int64_t source_wait_ns(const struct source *source, uint64_t now_ns)
{
    if (source->noticed_ns == 0)
        return -1;
    uint64_t due = source->noticed_ns + GRACE_NS;
    return due > now_ns ? (int64_t)(due - now_ns) : 0;
}

/* ── How far it has come ────────────────────────────────────────────────────────────────────── */

void source_stored(struct source *source, uint64_t next)
{
    source->stored = next;
    atomic_store_explicit(&source->progress->stored, next, memory_order_release);
    if (!source->orphan)
        (void)sleeper_wake(source->feed.shard_sleeper);
    source->returned = false;
}

void source_seen(struct source *source, uint64_t now_ns)
{
    atomic_store_explicit(&source->progress->seen_ns, now_ns, memory_order_release);
}

void source_rewind(struct source *source, uint64_t next)
{
    source->next = next;
    source->behind = true;
    source->noticed_ns = 0;
    source->known = true;
}
