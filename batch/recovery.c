/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recovery: what an earlier boot left of a shard's spool,
 * and what of it counts. Before the loop runs, by plain system calls.
 *
 *   1 survey   which files there are, and their headers: from when on each segment is superseded
 *              by a later one
 *   2 scan     every block of every segment, once, in order. Good neighbours make a piece. Where a
 *              block is bad the search goes on page by page. Keys and marks are told to the caller
 *              while all is as it should be
 *   3 judge    (recovery_judge.c) the torn end is dropped; damage is named
 *   4 tell     the keys and marks of what came after the first irregularity and counts all the same
 *   5 mend     (spool_rescue.c) with accept_loss, a damaged segment is copied to *.damaged and
 *              written anew without the damage, with a block in its place that says which sequences
 *              are gone: the reader steps over it
 *   6 move     blocks that look good but were never proven durable may stand in the kernel's cache
 *              only, after a write error even for good: they are written again, into a segment of
 *              this boot, before they count
 *   7 begin    a new segment, which supersedes whatever was torn off (of a shard that no longer runs
 *              only a header); only now empty leftovers are removed
 *
 * A crash at any point of this leaves what was there before, or a step more.
 */
#include "batch/recovery.h"
#include "core/file.h"
#include "core/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static int no_memory(const struct recovery *recovery)
{
    (void)snprintf(recovery->why, SPOOL_WHY_BYTES, "no memory for recovery");
    return -ENOMEM;
}

static int disk_failed(const struct recovery *recovery, uint64_t number, int error)
{
    (void)snprintf(recovery->why, SPOOL_WHY_BYTES, "%s/shard-%02u/%016" PRIx64 ".seg: %s",
                   spool_directory_path(recovery->spool->directory), recovery->spool->options.shard,
                   number, strerror(-error));
    return error;
}

/* ── 1 survey ───────────────────────────────────────────────────────────────────────────────── */

static int note_file(void *context, const char *name)
{
    struct recovery *recovery = context;
    uint64_t number;
    bool segment = segment_number(name, ".seg", &number);
    if (!segment && !segment_number(name, ".damaged", &number))
        return 0;
    if (number > recovery->highest)
        recovery->highest = number;
    if (!segment)
        return 0;
    if (recovery->founds == recovery->room) {
        unsigned room = recovery->room == 0 ? 64 : recovery->room * 2;
        struct found *more = realloc(recovery->found, room * sizeof *more);
        if (more == NULL)
            return -ENOMEM;
        recovery->found = more;
        recovery->room = room;
    }
    recovery->found[recovery->founds++] = (struct found){
        .number = number, .cut = UINT64_MAX, .ends_at = UINT64_MAX, .lowest = UINT64_MAX};
    return 0;
}

static int by_number(const void *a, const void *b)
{
    uint64_t left = ((const struct found *)a)->number, right = ((const struct found *)b)->number;
    return (left > right) - (left < right);
}

static int refuse(const struct recovery *recovery, const struct found *found, const char *reason)
{
    (void)snprintf(recovery->why, SPOOL_WHY_BYTES,
                   "%s/shard-%02u/%016" PRIx64 ".seg %s; move the file away if that is meant",
                   spool_directory_path(recovery->spool->directory), recovery->spool->options.shard,
                   found->number, reason);
    return -EINVAL;
}

/* Is this a segment of ours at all? A foreign one was put
 * here by mistake, and nothing good can come of guessing. */
static int check_origin(const struct recovery *recovery, const struct found *found)
{
    const struct segment_header *header = &recovery->file.header;
    const struct spool *spool = recovery->spool;
    if (recovery->file.fault == SEGMENT_NEWER) {
        (void)refuse(recovery, found, "was written by a newer version of ringmain");
        return -EPROTO;
    }
    if (found->fault != SEGMENT_OK)
        return 0;
    if (header->epoch != spool_directory_epoch(spool->directory))
        return refuse(recovery, found, "belongs to another spool (its epoch is another)");
    if (!span_is(header->node, spool_directory_node(spool->directory)))
        return refuse(recovery, found, "belongs to another node");
    if (header->shard != spool->options.shard)
        return refuse(recovery, found, "belongs to another shard");
    return 0;
}

static void note_header(struct recovery *recovery, struct found *found)
{
    const struct segment_file *file = &recovery->file;
    found->length = file->length;
    found->fault = file->fault;
    found->blocks_at = file->blocks_at;
    if (file->second_copy)
        log_warn("spool", "shard %u: %016" PRIx64 ".seg: one of its two headers is damaged",
                 recovery->spool->options.shard, found->number);
    if (file->fault != SEGMENT_OK)
        return;
    found->first = file->header.first_sequence;
    found->boot = file->header.boot;
    if (file->header.durable > recovery->proven)
        recovery->proven = file->header.durable;
    if (file->header.boot > recovery->last_boot)
        recovery->last_boot = file->header.boot;
}

static int survey_headers(struct recovery *recovery)
{
    for (unsigned i = 0; i < recovery->founds; i++) {
        struct found *found = &recovery->found[i];
        int result =
            segment_file_open(&recovery->file, recovery->spool->shard_directory, found->number);
        if (result < 0)
            return disk_failed(recovery, found->number, result);
        note_header(recovery, found);
        result = check_origin(recovery, found);
        segment_file_close(&recovery->file);
        if (result < 0)
            return result;
    }
    uint64_t cut = UINT64_MAX;
    for (unsigned i = recovery->founds; i-- > 0;) {
        recovery->found[i].cut = cut;
        if (recovery->found[i].fault == SEGMENT_OK && recovery->found[i].first < cut)
            cut = recovery->found[i].first;
    }
    return 0;
}

static int survey(struct recovery *recovery)
{
    int directory = recovery->spool->shard_directory;
    int result = file_list(directory, note_file, recovery);
    if (result == -ENOMEM)
        return no_memory(recovery);
    if (result < 0)
        return disk_failed(recovery, 0, result);
    if (recovery->founds > 1)
        qsort(recovery->found, recovery->founds, sizeof *recovery->found, by_number);
    return survey_headers(recovery);
}

/* ── 2 scan, 4 tell ─────────────────────────────────────────────────────────────────────────── */

static void tell(struct recovery *recovery, const struct block_view *view, uint64_t cut)
{
    struct spool_recovery *out = recovery->out;
    for (unsigned i = 0; out->key != NULL && i < view->keys; i++) {
        uint32_t row;
        struct dedup_key key = block_key_at(view, i, &row);
        if (view->first_sequence + row < cut)
            out->key(out->context, key, view->first_sequence + row, view->wall_us);
    }
    size_t offset = 0;
    struct span name;
    uint64_t producer_count;
    while (out->mark != NULL && block_mark_next(view, &offset, &name, &producer_count))
        out->mark(out->context, name, producer_count);
    out->blocks++;
    out->rows += view->rows;
}

static uint64_t last_of(const struct block_view *view)
{
    return view->lost_until != 0 ? view->lost_until : view->first_sequence + view->rows;
}

/* While every block begins where the one before it ended, it can be told at once. */
static void tell_if_clean(struct recovery *recovery, const struct found *found, uint64_t offset,
                          const struct block_view *view)
{
    if (!recovery->clean)
        return;
    if (recovery->told == UINT64_MAX)
        recovery->told = found->first;
    if (found->fault == SEGMENT_OK && view->first_sequence == recovery->told) {
        tell(recovery, view, found->cut);
        recovery->told = last_of(view);
        return;
    }
    recovery->clean = false;
    recovery->rest_found = (unsigned)(found - recovery->found);
    recovery->rest_offset = offset;
}

static bool add_block(struct recovery *recovery, struct found *found, uint64_t offset,
                      const struct block_view *view, uint32_t room)
{
    if (view->durable > recovery->proven)
        recovery->proven = view->durable;
    if (view->durable_bytes > found->durable_bytes && view->durable_bytes <= offset)
        found->durable_bytes = view->durable_bytes;
    if (view->first_sequence < found->lowest)
        found->lowest = view->first_sequence;
    if (found_is_superseded(found, view)) {
        if (offset < found->ends_at)
            found->ends_at = offset;
        return true;
    }
    tell_if_clean(recovery, found, offset, view);
    struct piece piece = {
        .at = offset, .end = offset + room, .first = view->first_sequence, .last = last_of(view)};
    struct piece *before = found->pieces > 0 ? &found->piece[found->pieces - 1] : NULL;
    if (before == NULL || before->end != piece.at || before->last != piece.first)
        return recovery_add_piece(found, piece);
    before->end = piece.end;
    before->last = piece.last;
    return true;
}

static int scan_blocks(struct recovery *recovery, struct found *found)
{
    uint64_t offset = found->blocks_at;
    for (;;) {
        struct block_view view;
        enum block_fault fault;
        uint32_t room;
        int result = segment_file_block(&recovery->file, offset, &fault, &view, &room);
        if (result < 0)
            return disk_failed(recovery, found->number, result);
        if (room == 0)
            return 0;
        if (fault == BLOCK_OK && !add_block(recovery, found, offset, &view, room))
            return no_memory(recovery);
        if (fault == BLOCK_TORN || fault == BLOCK_CORRUPT)
            found->bad_bytes += room;
        offset += room;
    }
}

static int scan(struct recovery *recovery)
{
    recovery->clean = true;
    recovery->told = UINT64_MAX;
    for (unsigned i = 0; i < recovery->founds; i++) {
        struct found *found = &recovery->found[i];
        int result =
            segment_file_open(&recovery->file, recovery->spool->shard_directory, found->number);
        if (result < 0)
            return disk_failed(recovery, found->number, result);
        result = scan_blocks(recovery, found);
        segment_file_close(&recovery->file);
        if (result < 0)
            return result;
    }
    return 0;
}

static int tell_piece(struct recovery *recovery, const struct found *found,
                      const struct piece *piece, uint64_t from)
{
    uint64_t offset = piece->at;
    while (offset < piece->end) {
        struct block_view view;
        enum block_fault fault;
        uint32_t room;
        int result = segment_file_block(&recovery->file, offset, &fault, &view, &room);
        if (result == 0 && fault != BLOCK_OK)
            result = -EIO; /* it was good a moment ago */
        if (result < 0)
            return result;
        if (offset >= from && !found_is_superseded(found, &view))
            tell(recovery, &view, found->cut);
        offset += room;
    }
    return 0;
}

static int tell_rest(struct recovery *recovery)
{
    for (unsigned i = recovery->rest_found; !recovery->clean && i < recovery->founds; i++) {
        struct found *found = &recovery->found[i];
        uint64_t from = i == recovery->rest_found ? recovery->rest_offset : 0;
        if (found->pieces == 0)
            continue;
        int result =
            segment_file_open(&recovery->file, recovery->spool->shard_directory, found->number);
        for (unsigned j = 0; result == 0 && j < found->pieces; j++)
            if (!found->piece[j].lost)
                result = tell_piece(recovery, found, &found->piece[j], from);
        segment_file_close(&recovery->file);
        if (result < 0)
            return disk_failed(recovery, found->number, result);
    }
    return 0;
}

/* ── 3 judge, 5 mend ────────────────────────────────────────────────────────────────────────── */

static int judge(struct recovery *recovery)
{
    if (recovery_judge(recovery) < 0)
        return no_memory(recovery);
    if (recovery->losses == 0 || recovery->spool->options.accept_loss)
        return 0;
    (void)snprintf(recovery->why, SPOOL_WHY_BYTES,
                   "acknowledged events are damaged on the disk: %.400s; put the file back from a "
                   "copy, or start with --accept-loss",
                   recovery->out->loss);
    return -EBADMSG;
}

static int mend(struct recovery *recovery)
{
    for (unsigned i = 0; i < recovery->founds; i++) {
        struct found *found = &recovery->found[i];
        int result = found->damaged ? recovery_repair(recovery, found) : 0;
        if (result < 0)
            return disk_failed(recovery, found->number, result);
    }
    return 0;
}

/* ── 7 begin ────────────────────────────────────────────────────────────────────────────────── */

static int keep(struct recovery *recovery, const struct found *found)
{
    struct segment *segment = calloc(1, sizeof *segment);
    if (segment == NULL)
        return no_memory(recovery);
    segment->number = found->number;
    segment->first_sequence = found->first;
    segment->end = found->cut < recovery->expected ? found->cut : recovery->expected;
    segment->bytes = found->length;
    segment->file = -1;
    list_append(&recovery->spool->segments, &segment->link);
    return 0;
}

/* Nothing in it counts: an unused spare, a header that was torn. But if something is missing it may
 * be this. It must not stay: what supersedes it will be removed one day, and then it would count. */
static int clear_away(struct recovery *recovery, const struct found *found)
{
    char name[SEGMENT_NAME_BYTES], aside[SEGMENT_NAME_BYTES];
    int directory = recovery->spool->shard_directory;
    segment_name(name, found->number);
    int result;
    if (found->fault == SEGMENT_OK || recovery->losses == 0) {
        result = file_remove(directory, name);
    } else {
        (void)snprintf(aside, sizeof aside, "%016" PRIx64 ".damaged", found->number);
        result = file_rename(directory, name, aside);
        log_warn("spool", "shard %u: %s has no header and is set aside as %s",
                 recovery->spool->options.shard, name, aside);
    }
    if (result < 0)
        (void)snprintf(recovery->why, SPOOL_WHY_BYTES, "%s/shard-%02u/%s can't be removed: %s",
                       spool_directory_path(recovery->spool->directory),
                       recovery->spool->options.shard, name, strerror(-result));
    return result;
}

static int keep_all(struct recovery *recovery)
{
    for (unsigned i = 0; i < recovery->founds; i++) {
        const struct found *found = &recovery->found[i];
        int result = found->pieces > 0 ? keep(recovery, found) : 0;
        if (result < 0)
            return result;
    }
    return 0;
}

/* The last header already says where the sequences go on, and nothing else:
 * an earlier start ended this spool. */
static bool is_ended(const struct recovery *recovery, const struct segment *tail)
{
    if (recovery->founds == 0)
        return recovery->highest == 0; /* it never began */
    const struct found *last = &recovery->found[recovery->founds - 1];
    return tail == NULL && last->fault == SEGMENT_OK && last->pieces == 0 &&
           last->number == recovery->highest && last->first == recovery->expected;
}

static int clear_all_away(struct recovery *recovery, unsigned founds)
{
    for (unsigned i = 0; i < founds; i++) {
        const struct found *found = &recovery->found[i];
        int result = found->pieces == 0 ? clear_away(recovery, found) : 0;
        if (result < 0)
            return result;
    }
    int result = file_sync(recovery->spool->shard_directory);
    return result < 0 ? disk_failed(recovery, recovery->highest, result) : 0;
}

/* The new segment's sequences begin where all others end:
 * what was torn off is superseded from now on. */
static int begin(struct recovery *recovery, bool live)
{
    struct spool *spool = recovery->spool;
    struct segment *tail = NULL, *segment = NULL;
    int result = keep_all(recovery);
    if (result < 0)
        return result;
    spool->next_number = recovery->highest + 1;
    spool->next = spool->durable = recovery->expected;
    result = recovery_move_tail(recovery, &tail);
    if (result == 0 && tail != NULL)
        list_append(&spool->segments, &tail->link);
    bool ended = !live && is_ended(recovery, tail);
    if (result == 0 && live)
        result = recovery_make_live(recovery, &segment);
    else if (result == 0 && !ended)
        result = recovery_make_end(recovery);
    if (result < 0) {
        int64_t space = file_space(spool->shard_directory);
        (void)snprintf(recovery->why, SPOOL_WHY_BYTES,
                       "%s/shard-%02u: a new segment can't be made: %s; %" PRId64
                       " bytes are free, and some megabytes are needed",
                       spool_directory_path(spool->directory), spool->options.shard,
                       strerror(-result), space);
        return result;
    }
    if (segment != NULL)
        list_append(&spool->segments, &segment->link);
    spool->current = segment;
    spool->own_from = spool->next_number - 1;
    return clear_all_away(recovery,
                          ended && recovery->founds > 0 ? recovery->founds - 1 : recovery->founds);
}

static void fill_in(struct recovery *recovery)
{
    struct spool *spool = recovery->spool;
    struct spool_recovery *out = recovery->out;
    out->epoch = spool_directory_epoch(spool->directory);
    out->boot = spool->boot;
    out->next = spool->next;
    out->oldest = spool->next;
    if (!list_empty(&spool->segments))
        out->oldest = LIST_ENTRY(spool->segments.next, struct segment, link)->first_sequence;
    for (struct list *link = spool->segments.next; link != &spool->segments; link = link->next)
        out->segments++;
}

static int run(struct recovery *recovery, bool live)
{
    int result = survey(recovery);
    if (result == 0)
        result = scan(recovery);
    if (result < 0)
        return result;
    result = judge(recovery);
    if (result == 0)
        result = tell_rest(recovery);
    if (result == 0)
        result = mend(recovery);
    if (result == 0)
        result = begin(recovery, live);
    if (result == 0)
        fill_in(recovery);
    return result;
}

int spool_recover_shard(struct spool *spool, struct spool_recovery *out, bool live, char *why)
{
    struct recovery recovery = {.spool = spool, .out = out, .why = why};
    out->segments = out->blocks = out->rows = out->torn_bytes = 0;
    out->loss[0] = '\0';
    int result = segment_file_init(&recovery.file);
    result = result < 0 ? no_memory(&recovery) : run(&recovery, live);
    for (unsigned i = 0; i < recovery.founds; i++)
        free(recovery.found[i].piece);
    free(recovery.found);
    segment_file_fini(&recovery.file);
    return result;
}
