/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The open block. A row is written once, by its encoder, at the place in the buffer
 * from which it goes to the disk and to Postgres. What belongs to rows but
 * stands behind them (runs, keys, marks) can't know yet where that will be,
 * so it collects aside and is put behind the last row when the block is sealed.
 *
 *   buffer   │ header's room │ row │ row │ row │ next row …   │ kept free for what waits aside │
 *   aside    run run   key key key   mark
 */
#include "batch/spool_internal.h"

#include <errno.h>
#include <stdlib.h>

_Static_assert(BLOCK_HEADER_BYTES + SPOOL_ROW_MAX + BLOCK_RUN_BYTES + BLOCK_KEY_BYTES +
                       BLOCK_MARK_BYTES_MAX <=
                   BLOCK_BYTES_MAX,
               "the largest row fits an empty block, with its key and a mark");

int spool_draft_init(struct draft *draft)
{
    *draft = (struct draft){0};
    draft->run_bytes = malloc((size_t)BLOCK_ROWS_MAX * BLOCK_RUN_BYTES);
    draft->key_bytes = malloc((size_t)BLOCK_ROWS_MAX * BLOCK_KEY_BYTES);
    draft->mark_bytes = malloc(BLOCK_BYTES_MAX);
    bool all = draft->run_bytes != NULL && draft->key_bytes != NULL && draft->mark_bytes != NULL;
    return all ? 0 : -ENOMEM;
}

void spool_draft_fini(struct draft *draft)
{
    free(draft->run_bytes);
    free(draft->key_bytes);
    free(draft->mark_bytes);
}

bool spool_draft_empty(const struct draft *draft)
{
    return draft->rows == 0 && draft->marks_bytes == 0;
}

static size_t used(const struct draft *draft)
{
    return BLOCK_HEADER_BYTES + (size_t)draft->rows_bytes + (size_t)draft->runs * BLOCK_RUN_BYTES +
           (size_t)draft->keys * BLOCK_KEY_BYTES + draft->marks_bytes;
}

static bool fits(const struct draft *draft, size_t row_bytes)
{
    return draft->rows < BLOCK_ROWS_MAX &&
           used(draft) + row_bytes + BLOCK_RUN_BYTES + BLOCK_KEY_BYTES + BLOCK_MARK_BYTES_MAX <=
               BLOCK_BYTES_MAX;
}

static bool begin(struct spool *spool)
{
    struct draft *draft = &spool->draft;
    draft->buffer = spool_buffer_get(spool);
    if (draft->buffer == NULL)
        return false;
    draft->rows = draft->rows_bytes = draft->runs = draft->keys = draft->marks_bytes = 0;
    draft->snapshot = 0;
    draft->buffer->first_sequence = spool->next;
    return true;
}

/* Puts what collected aside behind the rows. */
static void gather(struct draft *draft, struct block_view *view)
{
    uint8_t *at = draft->buffer->bytes + BLOCK_HEADER_BYTES + draft->rows_bytes;
    view->row_bytes.length = draft->rows_bytes;
    view->run_bytes.length = (size_t)draft->runs * BLOCK_RUN_BYTES;
    view->key_bytes.length = (size_t)draft->keys * BLOCK_KEY_BYTES;
    view->mark_bytes.length = draft->marks_bytes;
    memcpy(at, draft->run_bytes, view->run_bytes.length);
    at += view->run_bytes.length;
    memcpy(at, draft->key_bytes, view->key_bytes.length);
    at += view->key_bytes.length;
    memcpy(at, draft->mark_bytes, view->mark_bytes.length);
}

void spool_draft_seal(struct spool *spool)
{
    struct draft *draft = &spool->draft;
    struct buffer *buffer = draft->buffer;
    struct block_view view = {
        .first_sequence = buffer->first_sequence,
        .wall_us = spool->wall_us,
        .rows = draft->rows,
        .runs = draft->runs,
        .keys = draft->keys,
        .shard = spool->options.shard,
    };
    gather(draft, &view);
    buffer->length = block_seal(buffer->bytes, &view);
    memset(buffer->bytes + buffer->length, 0, block_padded(buffer->length) - buffer->length);
    buffer->rows = draft->rows;
    buffer->snapshot = draft->snapshot;
    draft->buffer = NULL;
    draft->rows = draft->marks_bytes = 0;
    buffer->ordinal = ++spool->blocks_sealed;
    list_append(&spool->sealed, &buffer->link);
    spool->sealed_count++;
}

bool spool_draft_witness(struct spool *spool)
{
    must(spool_draft_empty(&spool->draft));
    if (spool->draft.buffer == NULL && !begin(spool))
        return false;
    spool_draft_seal(spool);
    return true;
}

uint8_t *spool_room(struct spool *spool, size_t row_bytes)
{
    struct draft *draft = &spool->draft;
    must(row_bytes <= SPOOL_ROW_MAX);
    if (UNLIKELY(spool->failed))
        return NULL;
    if (draft->buffer != NULL && !fits(draft, row_bytes))
        spool_draft_seal(spool);
    if (draft->buffer == NULL && !begin(spool))
        return NULL;
    return draft->buffer->bytes + BLOCK_HEADER_BYTES + draft->rows_bytes;
}

static void put_run(struct draft *draft, uint16_t stream, uint32_t bytes)
{
    struct block_run *run = &draft->last_run;
    if (draft->runs > 0 && run->stream == stream) {
        run->rows++;
        run->bytes += bytes;
    } else {
        *run = (struct block_run){.stream = stream, .rows = 1, .bytes = bytes};
        draft->runs++;
    }
    block_put_run(draft->run_bytes + (size_t)(draft->runs - 1) * BLOCK_RUN_BYTES, *run);
}

uint64_t spool_append(struct spool *spool, uint16_t stream, size_t bytes, struct dedup_key key)
{
    struct draft *draft = &spool->draft;
    must(draft->buffer != NULL && bytes > 0 && fits(draft, bytes));
    put_run(draft, stream, (uint32_t)bytes);
    if (key.high != 0 || key.low != 0)
        block_put_key(draft->key_bytes + (size_t)draft->keys++ * BLOCK_KEY_BYTES, draft->rows, key);
    draft->rows++;
    draft->rows_bytes += (uint32_t)bytes;
    return spool->next++;
}

/* The same producer as the last time: only its count is new. */
static bool mark_again(struct draft *draft, struct span name, uint64_t count)
{
    if (draft->marks_bytes == 0)
        return false;
    uint8_t *at = draft->mark_bytes + draft->last_mark;
    if (!span_equal(span_of(at + 1, at[0]), name))
        return false;
    (void)block_put_mark(at, name, count);
    return true;
}

bool spool_mark(struct spool *spool, struct span name, uint64_t count)
{
    struct draft *draft = &spool->draft;
    if (UNLIKELY(spool->failed))
        return false;
    if (draft->buffer != NULL && mark_again(draft, name, count))
        return true;
    if (draft->buffer != NULL && used(draft) + BLOCK_MARK_BYTES_MAX > BLOCK_BYTES_MAX)
        spool_draft_seal(spool);
    if (draft->buffer == NULL && !begin(spool))
        return false;
    draft->last_mark = draft->marks_bytes;
    draft->marks_bytes +=
        (uint32_t)block_put_mark(draft->mark_bytes + draft->last_mark, name, count);
    return true;
}

/* ── All marks again, at the head of each segment ───────────────────────────────────────────── */

static void snapshot_begin(struct spool *spool)
{
    struct snapshot *snapshot = &spool->snapshot;
    snapshot->due = false;
    snapshot->under_way = true;
    snapshot->cursor_moved = false;
    snapshot->cursor = 0;
    snapshot->from = spool->current->number;
}

/* The last of the marks has been put somewhere:
 * when the block that is sealed next is durable, so are they all. */
static void snapshot_end(struct spool *spool)
{
    struct snapshot *snapshot = &spool->snapshot;
    struct draft *draft = &spool->draft;
    if (snapshot->cursor_moved) {
        if (draft->buffer == NULL && !begin(spool))
            return; /* tried again in the next turn */
        draft->snapshot = snapshot->from;
        if (spool_draft_empty(draft))
            spool_draft_seal(spool);
    } else { /* no producer has a name */
        spool->marks_from = snapshot->from;
    }
    snapshot->under_way = false;
}

/*
 * Goes on repeating the marks, as far as there are buffers: it may take several turns. It comes
 * before the doors, or under a load that takes every buffer it would never come to its end, and no
 * segment would ever be free to go. A mark that changes meanwhile stands in a block of this
 * segment or a later one anyway. Whatever is marked here covers rows that have
 * been appended before, so it must not overtake them: the draft is behind them all.
 */
void spool_snapshot_continue(struct spool *spool)
{
    struct snapshot *snapshot = &spool->snapshot;
    if (!snapshot->under_way && (!snapshot->due || spool->current == NULL))
        return;
    if (!snapshot->under_way)
        snapshot_begin(spool);
    while (spool->memory.free > 0) {
        struct span name;
        uint64_t count;
        size_t cursor = snapshot->cursor;
        if (snapshot->each == NULL || !snapshot->each(snapshot->context, &cursor, &name, &count)) {
            snapshot_end(spool);
            return;
        }
        if (!spool_mark(spool, name, count))
            return;
        snapshot->cursor = cursor;
        snapshot->cursor_moved = true;
    }
}

void spool_set_marks(struct spool *spool, void *context,
                     bool (*each)(void *context, size_t *cursor, struct span *name,
                                  uint64_t *count))
{
    spool->snapshot.context = context;
    spool->snapshot.each = each;
}
