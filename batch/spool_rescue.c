/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recovery's writing: segments made whole under the name rescue.tmp,
 * durable there, and only then given their names. Whatever moment the
 * machine stops in, each name stands for the old file or for the new one.
 */
#include "batch/recovery.h"
#include "core/clock.h"
#include "core/file.h"
#include "core/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { FILE_MODE = 0640, COPY_BYTES = 256 * 1024 };

static const char rescue_name[] = "rescue.tmp";

struct rescue {
    int directory, file;
    uint64_t number, boot, first, offset;
};

static int rescue_open(struct rescue *rescue, int directory, uint64_t number)
{
    *rescue = (struct rescue){.directory = directory, .number = number};
    rescue->file = file_open(directory, rescue_name, O_WRONLY | O_CREAT | O_TRUNC, FILE_MODE);
    return rescue->file < 0 ? rescue->file : 0;
}

static int rescue_put(struct rescue *rescue, struct span bytes)
{
    int result = file_write(rescue->file, bytes.at, bytes.length, rescue->offset);
    if (result == 0)
        rescue->offset += bytes.length;
    return result;
}

/* The header twice, like `model` but for its place. */
static int rescue_header(struct rescue *rescue, const uint8_t *model,
                         const struct segment_header *place)
{
    uint32_t length = segment_claimed_bytes(model);
    uint8_t *copy = malloc(length);
    if (copy == NULL)
        return -ENOMEM;
    memcpy(copy, model, length);
    segment_place(copy, place);
    rescue->boot = place->boot;
    rescue->first = place->first_sequence;
    int result = rescue_put(rescue, span_of(copy, length));
    if (result == 0)
        result = rescue_put(rescue, span_of(copy, length));
    free(copy);
    return result;
}

/* A block without rows: the sequences first … lost_until - 1 are gone, or (0) only a witness. */
static int rescue_empty(struct rescue *rescue, unsigned shard, uint64_t first, uint64_t lost_until,
                        uint64_t durable)
{
    uint8_t bytes[BLOCK_ALIGN] = {0};
    struct block_view view = {.first_sequence = first,
                              .lost_until = lost_until,
                              .wall_us = clock_wall_us(),
                              .shard = shard};
    (void)block_seal(bytes, &view);
    block_place(bytes, rescue->number, rescue->boot, durable, rescue->offset);
    return rescue_put(rescue, span_of(bytes, sizeof bytes));
}

/* Durable, then named. */
static int rescue_close(struct rescue *rescue, int result)
{
    char name[SEGMENT_NAME_BYTES];
    if (rescue->file < 0)
        return result;
    if (result == 0)
        result = file_sync(rescue->file);
    file_close(rescue->file);
    segment_name(name, rescue->number);
    if (result == 0)
        result = file_rename(rescue->directory, rescue_name, name);
    if (result == 0)
        result = file_sync(rescue->directory);
    return result;
}

/* ── A damaged segment ──────────────────────────────────────────────────────────────────────── */

/* The damaged file as it is, for whoever wants to look: what can't be read of it becomes zeros. */
static int copy_aside(int directory, uint64_t number, uint64_t length)
{
    char from_name[SEGMENT_NAME_BYTES], to_name[SEGMENT_NAME_BYTES];
    segment_name(from_name, number);
    (void)snprintf(to_name, sizeof to_name, "%016" PRIx64 ".damaged", number);
    uint8_t *bytes = malloc(COPY_BYTES);
    int from = file_open(directory, from_name, O_RDONLY, 0);
    int to = file_open(directory, to_name, O_WRONLY | O_CREAT | O_TRUNC, FILE_MODE);
    int result = bytes == NULL ? -ENOMEM : from < 0 ? from : to < 0 ? to : 0;
    for (uint64_t at = 0; result == 0 && at < length; at += COPY_BYTES) {
        ssize_t got = file_read(from, bytes, COPY_BYTES, at);
        if (got == -EIO) {
            memset(bytes, 0, COPY_BYTES);
            got = length - at < COPY_BYTES ? (ssize_t)(length - at) : COPY_BYTES;
        }
        result = got < 0 ? (int)got : file_write(to, bytes, (size_t)got, at);
    }
    if (result == 0)
        result = file_sync(to);
    if (from >= 0)
        file_close(from);
    if (to >= 0)
        file_close(to);
    free(bytes);
    return result;
}

/* The blocks of a good piece, one after the other, and where they stand now. */
static int copy_piece(struct rescue *rescue, struct segment_file *file, struct piece *piece)
{
    uint64_t at = rescue->offset, offset = piece->at;
    while (offset < piece->end) {
        struct block_view view;
        enum block_fault fault;
        uint32_t room;
        int result = segment_file_block(file, offset, &fault, &view, &room);
        if (result == 0 && fault != BLOCK_OK)
            result = -EIO; /* it was good a moment ago */
        if (result == 0)
            result = rescue_put(rescue, segment_file_bytes(file, offset, room));
        if (result < 0)
            return result;
        offset += room;
    }
    piece->at = at;
    piece->end = rescue->offset;
    return 0;
}

static int write_mended(struct recovery *recovery, struct rescue *rescue, struct found *found)
{
    const struct spool *spool = recovery->spool;
    const struct segment_file *file = &recovery->file;
    bool headed = found->fault == SEGMENT_OK;
    struct segment_header place = {.number = found->number,
                                   .first_sequence = found->first,
                                   .boot = headed ? found->boot : spool->boot,
                                   .durable = headed ? file->header.durable : 0,
                                   .created_us = clock_wall_us()};
    int result = rescue_header(rescue, headed ? file->image : spool->header, &place);
    for (unsigned i = 0; result == 0 && i < found->pieces; i++) {
        struct piece *piece = &found->piece[i];
        if (!piece->lost)
            result = copy_piece(rescue, &recovery->file, piece);
        else if (piece->first < piece->last)
            result = rescue_empty(rescue, spool->options.shard, piece->first, piece->last, 0);
    }
    return result;
}

int recovery_repair(struct recovery *recovery, struct found *found)
{
    int directory = recovery->spool->shard_directory;
    struct rescue rescue;
    int result = copy_aside(directory, found->number, found->length);
    if (result == 0)
        result = segment_file_open(&recovery->file, directory, found->number);
    if (result < 0)
        return result;
    result = rescue_open(&rescue, directory, found->number);
    if (result == 0)
        result = write_mended(recovery, &rescue, found);
    segment_file_close(&recovery->file);
    result = rescue_close(&rescue, result);
    if (result < 0)
        return result;
    found->length = found->durable_bytes = rescue.offset;
    log_warn("spool",
             "shard %u: %016" PRIx64 ".seg has been written anew without the damage; the old "
             "file is kept as %016" PRIx64 ".damaged",
             recovery->spool->options.shard, found->number, found->number);
    return 0;
}

/* ── The tail that was never proven durable ─────────────────────────────────────────────────── */

static bool is_proven(const struct recovery *recovery, const struct found *found,
                      const struct block_view *view, uint64_t end)
{
    if (view->length == BLOCK_HEADER_BYTES || end <= found->durable_bytes)
        return true; /* there is nothing in it, or a later block says that it was durable */
    return view->rows > 0 ? view->first_sequence + view->rows <= recovery->proven
                          : view->first_sequence < recovery->proven;
}

struct tail {
    struct recovery *recovery;
    struct rescue rescue;
    uint8_t *block;
    bool begun;
};

static int tail_begin(struct tail *tail, uint64_t first)
{
    struct recovery *recovery = tail->recovery;
    struct spool *spool = recovery->spool;
    struct segment_header place = {.number = spool->next_number++,
                                   .first_sequence = first,
                                   .boot = spool->boot,
                                   .durable = recovery->expected,
                                   .created_us = clock_wall_us()};
    int result = rescue_open(&tail->rescue, spool->shard_directory, place.number);
    tail->begun = result == 0;
    return result < 0 ? result : rescue_header(&tail->rescue, recovery->file.image, &place);
}

static int tail_block(struct tail *tail, const struct found *found, uint64_t offset,
                      const struct block_view *view, uint32_t room)
{
    struct recovery *recovery = tail->recovery;
    if (found_is_superseded(found, view) ||
        (!tail->begun && is_proven(recovery, found, view, offset + room)))
        return 0;
    int result = tail->begun ? 0 : tail_begin(tail, view->first_sequence);
    if (result < 0)
        return result;
    memcpy(tail->block, segment_file_bytes(&recovery->file, offset, room).at, room);
    block_place(tail->block, tail->rescue.number, tail->rescue.boot, recovery->expected,
                tail->rescue.offset);
    return rescue_put(&tail->rescue, span_of(tail->block, room));
}

static int tail_piece(struct tail *tail, const struct found *found, const struct piece *piece)
{
    uint64_t offset = piece->at;
    while (offset < piece->end) {
        struct block_view view;
        enum block_fault fault;
        uint32_t room;
        int result = segment_file_block(&tail->recovery->file, offset, &fault, &view, &room);
        if (result == 0 && fault != BLOCK_OK)
            result = -EIO; /* it was good a moment ago */
        if (result == 0)
            result = tail_block(tail, found, offset, &view, room);
        if (result < 0)
            return result;
        offset += room;
    }
    return 0;
}

/* The pieces of a segment behind its last loss:
 * what stands before one must not be superseded without it. */
static int tail_segment(struct tail *tail, struct found *found)
{
    struct recovery *recovery = tail->recovery;
    unsigned i = found->pieces;
    while (i > 0 && !found->piece[i - 1].lost)
        i--;
    int result =
        segment_file_open(&recovery->file, recovery->spool->shard_directory, found->number);
    for (; result == 0 && i < found->pieces; i++)
        result = tail_piece(tail, found, &found->piece[i]);
    segment_file_close(&recovery->file);
    return result;
}

static int tail_segments(struct tail *tail)
{
    struct recovery *recovery = tail->recovery;
    unsigned i = recovery->founds;
    /* An older boot's tail was looked after by the boot that followed it. */
    while (i > 0 && (recovery->found[i - 1].pieces == 0 ||
                     (recovery->found[i - 1].boot == recovery->last_boot &&
                      !recovery->found[i - 1].damaged)))
        i--;
    if (i > 0 && recovery->found[i - 1].boot == recovery->last_boot)
        i--; /* the last damaged one: from its last loss on */
    int result = 0;
    for (; result == 0 && i < recovery->founds; i++)
        if (recovery->found[i].pieces > 0)
            result = tail_segment(tail, &recovery->found[i]);
    return result;
}

static int tail_end(struct tail *tail, int result, struct segment **out)
{
    struct recovery *recovery = tail->recovery;
    struct rescue *rescue = &tail->rescue;
    struct segment *segment = calloc(1, sizeof *segment);
    if (result == 0 && segment == NULL)
        result = -ENOMEM;
    if (result == 0)
        result = rescue_empty(rescue, recovery->spool->options.shard, recovery->expected, 0,
                              recovery->expected);
    result = rescue_close(rescue, result);
    if (result < 0) {
        free(segment);
        return result;
    }
    segment->number = rescue->number;
    segment->first_sequence = rescue->first;
    segment->end = recovery->expected;
    segment->bytes = rescue->offset;
    segment->file = -1;
    *out = segment;
    return 0;
}

int recovery_move_tail(struct recovery *recovery, struct segment **out)
{
    struct tail tail = {.recovery = recovery, .block = malloc(BLOCK_BYTES_MAX)};
    *out = NULL;
    if (tail.block == NULL)
        return -ENOMEM;
    int result = tail_segments(&tail);
    if (tail.begun)
        result = tail_end(&tail, result, out);
    free(tail.block);
    if (*out == NULL)
        return result;
    for (struct list *link = recovery->spool->segments.next; link != &recovery->spool->segments;
         link = link->next) {
        struct segment *segment = LIST_ENTRY(link, struct segment, link);
        if (segment->end > (*out)->first_sequence)
            segment->end = (*out)->first_sequence;
    }
    return result;
}

/* ── The new segment ────────────────────────────────────────────────────────────────────────── */

/* How long it shall be. A full disk must not keep us from starting, or nobody would carry away what
 * fills it. 0: there is no room. */
static uint64_t live_bytes(const struct spool *spool)
{
    int64_t space = file_space(spool->shard_directory);
    if (space < 0 || (uint64_t)space >= spool->options.segment_bytes)
        return spool->options.segment_bytes;
    uint64_t bytes = spool_short_segment(spool, (uint64_t)space);
    if (bytes > 0)
        log_warn("spool",
                 "shard %u: only %" PRId64
                 " bytes are free on the disk: it begins with a segment of %" PRIu64
                 "; free disk space",
                 spool->options.shard, space, bytes);
    return bytes;
}

static int fill(struct rescue *rescue, const struct spool *spool, uint64_t bytes)
{
    int result = 0;
    rescue->offset = 0;
    while (result == 0 && rescue->offset < bytes) {
        uint64_t left = bytes - rescue->offset;
        result = rescue_put(
            rescue, span_of(spool->zeros, left < SPOOL_ZEROS_BYTES ? left : SPOOL_ZEROS_BYTES));
    }
    rescue->offset = 0;
    return result;
}

static int write_first_header(struct rescue *rescue, const struct spool *spool)
{
    struct segment_header place = {.number = rescue->number,
                                   .first_sequence = spool->next,
                                   .boot = spool->boot,
                                   .durable = spool->next,
                                   .created_us = clock_wall_us()};
    return rescue_header(rescue, spool->header, &place);
}

static int write_live(struct rescue *rescue, const struct spool *spool, uint64_t bytes)
{
    int result = fill(rescue, spool, bytes);
    return result < 0 ? result : write_first_header(rescue, spool);
}

/* The file that commits go to: with O_DIRECT if the
 * file system can, which shows at the first write. */
static int open_live(struct spool *spool, const struct segment *segment)
{
    char name[SEGMENT_NAME_BYTES];
    segment_name(name, segment->number);
    if (spool->direct) {
        int file = file_open(spool->shard_directory, name, O_WRONLY | O_DIRECT, 0);
        if (file >= 0 && file_write(file, spool->zeros, BLOCK_ALIGN, segment->offset) == 0)
            return file;
        if (file >= 0)
            file_close(file);
        log_warn("spool", "shard %u: this file system does not do O_DIRECT: going on without",
                 spool->options.shard);
        spool->direct = false;
    }
    return file_open(spool->shard_directory, name, O_WRONLY, 0);
}

int recovery_make_live(struct recovery *recovery, struct segment **out)
{
    struct spool *spool = recovery->spool;
    uint64_t bytes = live_bytes(spool);
    if (bytes == 0)
        return -ENOSPC;
    struct segment *segment = calloc(1, sizeof *segment);
    if (segment == NULL)
        return -ENOMEM;
    struct rescue rescue;
    int result = rescue_open(&rescue, spool->shard_directory, spool->next_number++);
    if (result == 0)
        result = write_live(&rescue, spool, bytes);
    result = rescue_close(&rescue, result);
    segment->number = rescue.number;
    segment->first_sequence = spool->next;
    segment->end = UINT64_MAX;
    segment->bytes = bytes;
    segment->offset = segment->durable_bytes = rescue.offset;
    segment->file = result < 0 ? result : open_live(spool, segment);
    if (segment->file < 0) {
        result = segment->file;
        free(segment);
        return result;
    }
    *out = segment;
    return 0;
}

int recovery_make_end(struct recovery *recovery)
{
    struct spool *spool = recovery->spool;
    struct rescue rescue;
    int result = rescue_open(&rescue, spool->shard_directory, spool->next_number++);
    if (result == 0)
        result = write_first_header(&rescue, spool);
    return rescue_close(&rescue, result);
}
