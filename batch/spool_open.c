/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening and closing a shard's spool. Its memory, sized here and nowhere else:
 *
 *   spool.memory   the buffers (spool_memory.c), and up to a quarter of it again for small blocks
 *                  on loan
 *   0.5 MiB        runs, keys and marks of the open block (spool_draft.c)
 *   2 × header     the segment's header as it is written: 8 KiB with the default streams
 *   1 MiB          of zeros, all of them the kernel's one page of zeros
 *   2 MiB          recovery's, given back when it is done
 */
#include "batch/spool_internal.h"
#include "core/clock.h"
#include "core/file.h"
#include "core/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum {
    SEGMENTS_LEAST = 4, /* one written, one ready, one being sent to Postgres, one being removed */
    BUFFERS_BESIDE_FLIGHT = 8,
};

static bool add_stream(struct segment_builder *builder, const struct stream *stream)
{
    char sql[STREAM_SQL_BYTES];
    if (!stream_copy_sql(stream, sql, sizeof sql))
        return false;
    struct segment_stream entry = {
        .name = span_of_string(stream->name),
        .table = span_of_string(stream->table),
        .copy_sql = span_of_string(sql),
    };
    return segment_add(builder, &entry);
}

/* The header that all segments of this boot have, up to their places. */
static int make_header(struct spool *spool, char *why)
{
    const struct spool_options *options = &spool->options;
    struct segment_builder builder = {.room = SEGMENT_HEADER_BYTES_MAX};
    spool->header = aligned_alloc(SEGMENT_ALIGN, 2 * (size_t)SEGMENT_HEADER_BYTES_MAX);
    builder.bytes = spool->header;
    if (spool->header == NULL)
        return -ENOMEM;
    bool fits = segment_begin(&builder, span_of_string(spool_directory_node(spool->directory)),
                              spool_directory_epoch(spool->directory), options->shard);
    for (unsigned i = 0; fits && i < streams_count(options->streams); i++)
        fits = add_stream(&builder, streams_at(options->streams, i));
    spool->header_bytes = fits ? segment_end(&builder) : 0;
    if (spool->header_bytes != 0 &&
        2 * (uint64_t)spool->header_bytes + BLOCK_BYTES_MAX <= options->segment_bytes)
        return 0;
    (void)snprintf(why, SPOOL_WHY_BYTES,
                   "the streams' definitions do not fit a segment: use fewer columns or a larger "
                   "spool.segment_bytes");
    return -EINVAL;
}

/* A spool that is full must still be several segments, or none could ever be freed. */
static void settle_options(struct spool *spool, const struct spool_options *options)
{
    struct spool_options *own = &spool->options;
    *own = *options;
    if (own->segment_bytes > own->bytes_max / SEGMENTS_LEAST) {
        own->segment_bytes = own->bytes_max / SEGMENTS_LEAST;
        log_info("spool",
                 "shard %u: segments of %" PRIu64 " bytes, so that %d of them fit "
                 "spool.bytes",
                 own->shard, own->segment_bytes, SEGMENTS_LEAST);
    }
    own->segment_bytes = own->segment_bytes / SEGMENT_ALIGN * SEGMENT_ALIGN;
    spool->direct = own->direct;
}

static int open_directories(struct spool *spool, char *why)
{
    const struct spool_options *options = &spool->options;
    spool->directory = options->shared;
    if (options->shared == NULL) {
        int result =
            spool_directory_open(&spool->own_directory, options->directory, options->node, why);
        if (result < 0)
            return result;
        spool->directory = spool->own_directory;
    }
    spool->boot = spool_directory_boot(spool->directory);
    int root = spool_directory_root(spool->directory);
    spool->shard_directory = spool_shard_open(root, options->shard, true);
    if (spool->shard_directory >= 0)
        return 0;
    (void)snprintf(why, SPOOL_WHY_BYTES, "%s/shard-%02u: %s",
                   spool_directory_path(spool->directory), options->shard,
                   strerror(-spool->shard_directory));
    return spool->shard_directory;
}

static int make_memory(struct spool *spool)
{
    void *zeros = mmap(NULL, SPOOL_ZEROS_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    spool->zeros = zeros == MAP_FAILED ? NULL : zeros;
    int result = spool_memory_init(&spool->memory, spool->options.memory_bytes);
    if (result == 0)
        result = spool_draft_init(&spool->draft);
    return spool->zeros == NULL ? -ENOMEM : result;
}

static int check_options(const struct spool_options *options, char *why)
{
    must(options->in_flight_max >= 1 && options->in_flight_max <= SPOOL_IN_FLIGHT_MAX);
    must(options->shard < SPOOL_SHARDS_MAX);
    uint64_t least = (uint64_t)(options->in_flight_max + BUFFERS_BESIDE_FLIGHT) * BLOCK_BYTES_MAX;
    if (options->memory_bytes >= least)
        return 0;
    (void)snprintf(why, SPOOL_WHY_BYTES, "spool.memory must be at least %" PRIu64, least);
    return -EINVAL;
}

static struct spool *spool_new(const struct spool_options *options)
{
    struct spool *spool = calloc(1, sizeof *spool);
    if (spool == NULL)
        return NULL;
    spool->shard_directory = -1;
    list_init(&spool->segments);
    list_init(&spool->sealed);
    list_init(&spool->memory.free_list);
    list_init(&spool->memory.durable);
    settle_options(spool, options);
    return spool;
}

static int make(struct spool *spool, struct spool_recovery *recovery, bool live, char *why)
{
    int result = check_options(&spool->options, why);
    if (result == 0)
        result = open_directories(spool, why);
    if (result == 0)
        result = make_header(spool, why);
    if (result == 0 && live)
        result = make_memory(spool);
    if (result == 0)
        result = spool_recover_shard(spool, recovery, live, why);
    if (result == -ENOMEM)
        (void)snprintf(why, SPOOL_WHY_BYTES, "no memory for the spool (spool.memory)");
    spool->snapshot.due = true;
    spool->wall_us = clock_wall_us();
    return result;
}

static int open_or_adopt(struct spool **out, const struct spool_options *options,
                         struct spool_recovery *recovery, bool live, char *why)
{
    struct spool *spool = spool_new(options);
    if (spool == NULL) {
        (void)snprintf(why, SPOOL_WHY_BYTES, "no memory");
        return -ENOMEM;
    }
    int result = make(spool, recovery, live, why);
    if (result < 0) {
        spool_close(spool);
        return result;
    }
    *out = spool;
    return 0;
}

int spool_open(struct spool **out, const struct spool_options *options,
               struct spool_recovery *recovery, char *why)
{
    return open_or_adopt(out, options, recovery, true, why);
}

int spool_adopt(struct spool **out, const struct spool_options *options,
                struct spool_recovery *recovery, char *why)
{
    return open_or_adopt(out, options, recovery, false, why);
}

/* A last witness: without it the next start could not tell
 * damage of the last block from a block never finished. */
static void sign_off(struct spool *spool)
{
    struct segment *current = spool->current;
    if (current == NULL || spool->failed || !spool_idle(spool) ||
        spool->witnessed == spool->retired || current->offset + BLOCK_ALIGN > current->bytes)
        return;
    struct buffer *buffer = spool_buffer_get(spool);
    if (buffer == NULL)
        return;
    struct block_view view = {
        .first_sequence = spool->next, .wall_us = clock_wall_us(), .shard = spool->options.shard};
    memset(buffer->bytes, 0, BLOCK_ALIGN);
    (void)block_seal(buffer->bytes, &view);
    block_place(buffer->bytes, current->number, spool->boot, spool->durable,
                current->durable_bytes);
    int result = file_write(current->file, buffer->bytes, BLOCK_ALIGN, current->offset);
    if (result == 0)
        result = file_sync(current->file);
    if (result < 0)
        log_warn("spool", "shard %u: the last block could not be written: %s; nothing is missing",
                 spool->options.shard, strerror(-result));
    spool_buffer_put(spool, buffer);
}

static void close_segments(struct spool *spool)
{
    if (spool->nursery.segment != NULL)
        list_append(&spool->segments, &spool->nursery.segment->link);
    if (spool->grave.segment != NULL)
        list_append(&spool->segments, &spool->grave.segment->link);
    struct list *next;
    for (struct list *link = spool->segments.next; link != &spool->segments; link = next) {
        struct segment *segment = LIST_ENTRY(link, struct segment, link);
        next = link->next;
        if (segment->file >= 0)
            file_close(segment->file);
        free(segment);
    }
}

void spool_close(struct spool *spool)
{
    sign_off(spool);
    close_segments(spool);
    spool_draft_fini(&spool->draft);
    spool_memory_fini(&spool->memory);
    free(spool->header);
    if (spool->zeros != NULL)
        (void)munmap((void *)(uintptr_t)spool->zeros, SPOOL_ZEROS_BYTES);
    if (spool->shard_directory >= 0)
        file_close(spool->shard_directory);
    if (spool->own_directory != NULL)
        spool_directory_close(spool->own_directory);
    free(spool);
}
