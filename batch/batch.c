/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a row is to be found:
 *
 *   lot 0 ─► piece 0 ─► piece 2 ─► piece 3        (COPY events …)
 *   lot 1 ─► piece 1                              (COPY cart_events …)
 *             │
 *             └ at, rows, bytes: in a lent block or in the arena
 *
 * Everything is mapped at start for the largest batch and touched only as far as batches grow.
 */
#include "batch/batch.h"
#include "batch/copy.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

enum {
    LOT_NONE = UINT16_MAX,
    LEND_BYTES = BLOCK_BYTES_MAX / 4, /* smaller blocks are copied */
};

/* ── Targets ────────────────────────────────────────────────────────────────────────────────── */

int targets_find(struct targets *targets, const char *name, const char *table, const char *copy_sql)
{
    for (unsigned i = 0; i < targets->count; i++)
        if (strcmp(targets->at[i].copy_sql, copy_sql) == 0 &&
            strcmp(targets->at[i].name, name) == 0)
            return (int)i;
    if (targets->count == TARGETS_MAX)
        return -1;
    struct spool_stream *at = realloc(targets->at, (targets->count + 1) * sizeof *at);
    if (at == NULL)
        return -1;
    targets->at = at;
    struct spool_stream *one = &at[targets->count];
    *one = (struct spool_stream){strdup(name), strdup(table), strdup(copy_sql)};
    if (one->name != NULL && one->table != NULL && one->copy_sql != NULL)
        return (int)targets->count++;
    free(one->name);
    free(one->table);
    free(one->copy_sql);
    return -1;
}

void targets_fini(struct targets *targets)
{
    for (unsigned i = 0; i < targets->count; i++) {
        free(targets->at[i].name);
        free(targets->at[i].table);
        free(targets->at[i].copy_sql);
    }
    free(targets->at);
    *targets = (struct targets){0};
}

/* ── Memory ─────────────────────────────────────────────────────────────────────────────────── */

static size_t rows_bound(const struct batch *batch)
{
    return (size_t)batch->rows_max + BLOCK_ROWS_MAX;
}

static size_t arena_bound(const struct batch *batch)
{
    return batch->bytes_max + BLOCK_BYTES_MAX;
}

static void *map(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static void unmap(void *at, size_t bytes)
{
    if (at != NULL)
        (void)munmap(at, bytes);
}

/* A piece and a stretch hold at least a row each, so there are never more of them than rows. */
int batch_init(struct batch *batch, uint32_t rows_max, size_t bytes_max)
{
    *batch = (struct batch){.rows_max = rows_max, .bytes_max = bytes_max};
    batch->piece = map(rows_bound(batch) * sizeof *batch->piece);
    batch->stretch = map(rows_bound(batch) * sizeof *batch->stretch);
    batch->arena = map(arena_bound(batch));
    batch->lot = calloc(TARGETS_MAX, sizeof *batch->lot);
    batch->lot_of_target = calloc(TARGETS_MAX, sizeof *batch->lot_of_target);
    if (batch->piece == NULL || batch->stretch == NULL || batch->arena == NULL ||
        batch->lot == NULL || batch->lot_of_target == NULL) {
        batch_fini(batch);
        return -ENOMEM;
    }
    memset(batch->lot_of_target, 0xff, TARGETS_MAX * sizeof *batch->lot_of_target);
    return 0;
}

void batch_fini(struct batch *batch)
{
    unmap(batch->piece, rows_bound(batch) * sizeof *batch->piece);
    unmap(batch->stretch, rows_bound(batch) * sizeof *batch->stretch);
    unmap(batch->arena, arena_bound(batch));
    free(batch->lot);
    free(batch->lot_of_target);
    *batch = (struct batch){0};
}

bool batch_has_room(const struct batch *batch, uint32_t rows, size_t bytes)
{
    return batch->rows == 0 || (batch->rows + (uint64_t)rows <= batch->rows_max &&
                                batch->bytes + bytes <= batch->bytes_max);
}

void batch_reset(struct batch *batch)
{
    for (uint32_t i = 0; i < batch->lots; i++)
        batch->lot_of_target[batch->lot[i].target] = LOT_NONE;
    batch->pieces = batch->stretches = batch->lots = 0;
    batch->arena_bytes = 0;
    batch->bytes = 0;
    batch->rows = 0;
    batch->begun_ns = 0;
    batch->dead = (struct dead_row){0};
}

/* ── Adding ─────────────────────────────────────────────────────────────────────────────────── */

/* The length of the first `rows` of the rows in `bytes`; false: there are not so many. */
static bool walk_rows(struct span bytes, uint32_t rows, size_t *length)
{
    size_t at = 0;
    while (rows-- > 0) {
        size_t row = copy_row_length(bytes.at + at, bytes.length - at);
        if (row == 0)
            return false;
        at += row;
    }
    *length = at;
    return true;
}

/* A run, cut to the rows wanted. `skip` rows are below them;
 * what is wanted of the run is left in it. */
static bool cut_run(struct piece *piece, uint32_t skip, uint32_t rows)
{
    size_t before = 0, kept = piece->bytes;
    if (skip > 0 && !walk_rows(span_of(piece->at, piece->bytes), skip, &before))
        return false;
    if (skip + rows < piece->rows) {
        if (!walk_rows(span_of(piece->at + before, piece->bytes - before), rows, &kept))
            return false;
    } else {
        kept = piece->bytes - before;
    }
    piece->at += before;
    piece->bytes = (uint32_t)kept;
    piece->first_sequence += skip;
    piece->rows = rows;
    return true;
}

static void link_piece(struct batch *batch, uint32_t index, uint16_t target)
{
    struct piece *piece = &batch->piece[index];
    uint16_t number = batch->lot_of_target[target];
    if (number == LOT_NONE) {
        number = (uint16_t)batch->lots++;
        batch->lot_of_target[target] = number;
        batch->lot[number] = (struct lot){.first = index, .last = index, .target = target};
    } else {
        batch->piece[batch->lot[number].last].next = index;
        batch->lot[number].last = index;
    }
    batch->lot[number].rows += piece->rows;
    batch->lot[number].bytes += piece->bytes;
}

/* The last row of the piece is taken out of it; an empty piece remains unlinked. */
static bool bury_last(struct batch *batch, struct piece *piece, uint16_t target)
{
    size_t before;
    if (!walk_rows(span_of(piece->at, piece->bytes), piece->rows - 1, &before))
        return false;
    batch->dead = (struct dead_row){.there = true,
                                    .source = piece->source,
                                    .target = target,
                                    .sequence = piece->first_sequence + piece->rows - 1,
                                    .bytes = span_of(piece->at + before, piece->bytes - before)};
    piece->rows--;
    piece->bytes = (uint32_t)before;
    return true;
}

/*
 * Walks the block's runs and makes the pieces of those rows that are wanted, unlinked as yet: their
 * `next` holds their target. Returns how many, or -1.
 */
static int cut_pieces(const struct batch *batch, const struct batch_part *part)
{
    const struct block_view *view = part->view;
    uint64_t sequence = view->first_sequence, end = part->from + part->rows;
    size_t at = 0;
    int made = 0;
    for (uint32_t i = 0; i < view->runs && sequence < end; i++) {
        struct block_run run = block_run_at(view, i);
        if (run.bytes > view->row_bytes.length - at || run.stream >= part->targets)
            return -1;
        if (sequence + run.rows > part->from && run.rows > 0) {
            uint32_t skip = sequence < part->from ? (uint32_t)(part->from - sequence) : 0;
            uint64_t run_end = sequence + run.rows < end ? sequence + run.rows : end;
            struct piece *piece = &batch->piece[batch->pieces + (uint32_t)made++];
            *piece = (struct piece){.at = view->row_bytes.at + at,
                                    .first_sequence = sequence,
                                    .bytes = run.bytes,
                                    .rows = run.rows,
                                    .next = part->target[run.stream],
                                    .source = part->source};
            if (!cut_run(piece, skip, (uint32_t)(run_end - sequence) - skip))
                return -1;
        }
        at += run.bytes;
        sequence += run.rows;
    }
    return sequence >= end ? made : -1;
}

/* Moves neighbouring pieces' bytes, which stand together, into the arena. */
static void copy_pieces(struct batch *batch, uint32_t first, uint32_t end)
{
    for (uint32_t i = first; i < end; i++) {
        struct piece *piece = &batch->piece[i];
        must(piece->bytes <= arena_bound(batch) - batch->arena_bytes);
        uint8_t *to = batch->arena + batch->arena_bytes;
        memcpy(to, piece->at, piece->bytes);
        batch->arena_bytes += piece->bytes;
        piece->at = to;
    }
}

enum batch_added batch_add(struct batch *batch, const struct batch_part *part)
{
    must(part->rows > 0 && batch->rows + (uint64_t)part->rows <= rows_bound(batch));
    int made = cut_pieces(batch, part);
    if (made <= 0)
        return BATCH_MALFORMED;
    uint32_t first = batch->pieces, end = first + (uint32_t)made;
    struct piece *last = &batch->piece[end - 1];
    size_t arena_before = batch->arena_bytes;
    /* A buried row's bytes are not its piece's any more: they must stand where they stay. */
    bool lend = part->loan != NULL && part->loan->bytes.length >= LEND_BYTES && !part->last_is_dead;
    if (!lend)
        copy_pieces(batch, first, end);
    if (part->last_is_dead && !bury_last(batch, last, (uint16_t)last->next)) {
        batch->arena_bytes = arena_before;
        return BATCH_MALFORMED;
    }
    for (uint32_t i = first; i < end; i++) {
        uint16_t target = (uint16_t)batch->piece[i].next;
        batch->piece[i].next = PIECE_NONE;
        batch->bytes += batch->piece[i].bytes;
        if (batch->piece[i].rows > 0)
            link_piece(batch, i, target);
    }
    batch->stretch[batch->stretches++] = (struct stretch){.loan = lend ? part->loan : NULL,
                                                          .durable_ns = part->durable_ns,
                                                          .first_piece = first,
                                                          .rows = part->rows,
                                                          .source = part->source};
    batch->pieces = end;
    batch->bytes += part->last_is_dead ? batch->dead.bytes.length : 0;
    batch->rows += part->rows;
    return lend ? BATCH_LENT : BATCH_COPIED;
}

void batch_order(struct batch *batch, const struct targets *targets)
{
    for (uint32_t i = 1; i < batch->lots; i++) {
        struct lot lot = batch->lot[i];
        const char *sql = targets->at[lot.target].copy_sql;
        uint32_t at = i;
        for (; at > 0 && strcmp(targets->at[batch->lot[at - 1].target].copy_sql, sql) > 0; at--)
            batch->lot[at] = batch->lot[at - 1];
        batch->lot[at] = lot;
    }
}

/* ── Loans ──────────────────────────────────────────────────────────────────────────────────── */

static uint32_t stretch_end(const struct batch *batch, uint32_t index)
{
    return index + 1 < batch->stretches ? batch->stretch[index + 1].first_piece : batch->pieces;
}

static void settle_loans(struct batch *batch, bool copy, batch_give *give, void *context)
{
    for (uint32_t i = 0; i < batch->stretches; i++) {
        struct stretch *stretch = &batch->stretch[i];
        if (stretch->loan == NULL)
            continue;
        if (copy)
            copy_pieces(batch, stretch->first_piece, stretch_end(batch, i));
        give(context, stretch->source, stretch->loan);
        stretch->loan = NULL;
    }
}

void batch_return(struct batch *batch, batch_give *give, void *context)
{
    settle_loans(batch, false, give, context);
}

void batch_own(struct batch *batch, batch_give *give, void *context)
{
    settle_loans(batch, true, give, context);
}

bool batch_row_at(const struct batch *batch, unsigned lot, uint64_t line, uint16_t *source,
                  uint64_t *sequence)
{
    if (lot >= batch->lots || line == 0 || line > batch->lot[lot].rows)
        return false;
    uint64_t left = line - 1;
    for (uint32_t i = batch->lot[lot].first; i != PIECE_NONE; i = batch->piece[i].next) {
        const struct piece *piece = &batch->piece[i];
        if (left < piece->rows) {
            *source = piece->source;
            *sequence = piece->first_sequence + left;
            return true;
        }
        left -= piece->rows;
    }
    return false;
}
