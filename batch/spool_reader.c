/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader: from the disk, what memory could not
 * keep for the writer, and what an earlier boot left.
 *
 * It stands in one segment, at one block, and walks: asked for one sequence after the other it
 * reads each byte of the spool once, in large reads. Only when the block at hand does not lead on
 * does it look into the directory, for the segment with the highest number that does not begin
 * behind the sequence: of two that reach over it, the later one holds it (batch/segment.h). An open
 * segment may be removed meanwhile; its descriptor keeps it readable.
 *
 * The shard writes while it reads, past the page cache. What was read ahead of the durable end may
 * be old: before a block is called bad it is read again.
 */
#include "batch/segment_file.h"
#include "batch/spool_directory.h"
#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct spool_reader {
    int directory;
    unsigned shard;
    struct segment_file segment;
    struct segment_file probe; /* while looking for another one */
    uint64_t cut;              /* its content ends here: a later one has what follows */
    uint64_t offset;           /* of the block at hand in it */
    uint64_t first, last; /* that block's sequences, once it is read; else both: where it begins */
    uint32_t room;        /* and its length; 0: not read yet */
    struct spool_stream *streams;
    unsigned streams_count;
};

static void free_streams(struct spool_reader *reader)
{
    for (unsigned i = 0; i < reader->streams_count; i++) {
        free(reader->streams[i].name);
        free(reader->streams[i].table);
        free(reader->streams[i].copy_sql);
    }
    free(reader->streams);
    reader->streams = NULL;
    reader->streams_count = 0;
}

static char *text_of(struct span span)
{
    return strndup(span.length > 0 ? (const char *)span.at : "", span.length);
}

static int load_streams(struct spool_reader *reader)
{
    const struct segment_header *header = &reader->segment.header;
    free_streams(reader);
    reader->streams = calloc(header->streams > 0 ? header->streams : 1, sizeof *reader->streams);
    if (reader->streams == NULL)
        return -ENOMEM;
    size_t offset = 0;
    struct segment_stream stream;
    while (segment_stream_next(header, &offset, &stream)) {
        struct spool_stream *own = &reader->streams[reader->streams_count++];
        own->name = text_of(stream.name);
        own->table = text_of(stream.table);
        own->copy_sql = text_of(stream.copy_sql);
        if (own->name == NULL || own->table == NULL || own->copy_sql == NULL)
            return -ENOMEM;
    }
    return 0;
}

/* ── Which segment ──────────────────────────────────────────────────────────────────────────── */

struct search {
    struct spool_reader *reader;
    uint64_t sequence;
    uint64_t number; /* of the best so far */
    uint64_t oldest; /* sequence that any segment begins with */
    uint64_t cut;    /* the smallest that one after it begins with */
    bool found;
};

/* The first sequence of a segment that has begun. 1, 0: it has not, or it is gone; -errno. */
static int first_of(struct search *search, const char *name, uint64_t *number, uint64_t *first)
{
    struct segment_file *probe = &search->reader->probe;
    if (!segment_number(name, ".seg", number))
        return 0;
    int result = segment_file_open(probe, search->reader->directory, *number);
    if (result < 0)
        return result == -ENOENT ? 0 : result;
    *first = probe->header.first_sequence;
    result = probe->fault == SEGMENT_OK ? 1 : 0;
    segment_file_close(probe);
    return result;
}

static int consider(void *context, const char *name)
{
    struct search *search = context;
    uint64_t number, first;
    int result = first_of(search, name, &number, &first);
    if (result <= 0)
        return result;
    if (first < search->oldest)
        search->oldest = first;
    if (first > search->sequence || (search->found && number < search->number))
        return 0;
    search->found = true;
    search->number = number;
    return 0;
}

static int consider_cut(void *context, const char *name)
{
    struct search *search = context;
    uint64_t number, first;
    int result = first_of(search, name, &number, &first);
    if (result > 0 && number > search->number && first < search->cut)
        search->cut = first;
    return result < 0 ? result : 0;
}

static int enter(struct spool_reader *reader, uint64_t number)
{
    segment_file_close(&reader->segment);
    int result = segment_file_open(&reader->segment, reader->directory, number);
    if (result < 0)
        return result;
    if (reader->segment.fault != SEGMENT_OK) {
        segment_file_close(&reader->segment);
        return -EBADMSG;
    }
    reader->offset = reader->segment.blocks_at;
    reader->first = reader->last = reader->segment.header.first_sequence;
    reader->room = 0;
    result = load_streams(reader);
    if (result < 0)
        segment_file_close(&reader->segment);
    return result;
}

/* Goes into the segment that holds `sequence`. 1:
 * another one than before; 0: it is this one, or there is none yet. */
static int find(struct spool_reader *reader, uint64_t sequence, char *why)
{
    struct search search = {
        .reader = reader, .sequence = sequence, .oldest = UINT64_MAX, .cut = UINT64_MAX};
    int result = file_list(reader->directory, consider, &search);
    if (result == 0 && search.found)
        result = file_list(reader->directory, consider_cut, &search);
    if (result == 0 && search.found) {
        reader->cut = search.cut;
        if (reader->segment.file >= 0 && search.number == reader->segment.number)
            return 0;
        result = enter(reader, search.number);
        if (result == 0)
            return 1;
    }
    if (result == 0 && search.oldest != UINT64_MAX) {
        (void)snprintf(why, SPOOL_WHY_BYTES,
                       "shard %u: event %" PRIu64
                       " is no longer in the spool, which begins with %" PRIu64
                       "; to go on without what lies between set next_seq of ringmain_checkpoint "
                       "to that",
                       reader->shard, sequence, search.oldest);
        return -ENOENT;
    }
    if (result < 0)
        (void)snprintf(why, SPOOL_WHY_BYTES, "shard %u: the spool can't be read: %s", reader->shard,
                       strerror(-result));
    return result;
}

/* ── Which block ────────────────────────────────────────────────────────────────────────────── */

/* The block at hand, read again from the disk if it looks bad. */
static int look(struct spool_reader *reader, enum block_fault *fault, struct block_view *view,
                uint32_t *room)
{
    struct segment_file *segment = &reader->segment;
    bool fresh = segment->window_bytes == 0;
    int result = segment_file_block(segment, reader->offset, fault, view, room);
    if (result < 0 || *fault == BLOCK_OK || fresh)
        return result;
    segment_file_forget(segment);
    return segment_file_block(segment, reader->offset, fault, view, room);
}

static int say_damage(const struct spool_reader *reader, uint64_t sequence, char *why)
{
    (void)snprintf(why, SPOOL_WHY_BYTES,
                   "shard-%02u/%016" PRIx64 ".seg is damaged at byte %" PRIu64
                   ", where event %" PRIu64 " should be; start ringmain again to have it looked at",
                   reader->shard, reader->segment.number, reader->offset, sequence);
    return -EBADMSG;
}

/* A place where accepted damage was: the view has no rows and says where it goes on. */
static int pass_over(struct block_view *view)
{
    view->first_sequence = view->lost_until;
    return 2;
}

enum walk { WALK_ON, WALK_FOUND, WALK_LOST, WALK_END, WALK_DAMAGED, WALK_PAST };

/* Where a good block leads; its place is remembered,
 * so that it need not be read again to be passed. */
static enum walk judge(struct spool_reader *reader, uint64_t sequence,
                       const struct block_view *view, uint32_t room)
{
    uint64_t end = view->first_sequence + view->rows;
    if (view->first_sequence > sequence)
        return WALK_PAST;
    if (view->first_sequence >= reader->cut && view->rows > 0)
        return WALK_END;
    reader->first = view->first_sequence;
    reader->last = view->lost_until != 0 ? view->lost_until : end;
    reader->room = room;
    if (sequence >= reader->last)
        return WALK_ON;
    return view->lost_until != 0 ? WALK_LOST : WALK_FOUND;
}

/* Walks on in the open segment until the block that holds `sequence`. */
static int walk(struct spool_reader *reader, uint64_t sequence, struct block_view *view,
                enum walk *how)
{
    for (;;) {
        if (sequence >= reader->last) {
            reader->offset += reader->room;
            reader->first = reader->last;
            reader->room = 0;
        }
        enum block_fault fault;
        uint32_t room;
        int result = look(reader, &fault, view, &room);
        if (result < 0)
            return result;
        if (fault != BLOCK_OK) {
            *how = fault == BLOCK_EMPTY ? WALK_END : WALK_DAMAGED;
            return 0;
        }
        *how = judge(reader, sequence, view, room);
        if (*how != WALK_ON)
            return 0;
    }
}

static int walk_or_find(struct spool_reader *reader, uint64_t sequence, struct block_view *view,
                        char *why)
{
    for (;;) {
        enum walk how;
        int result = walk(reader, sequence, view, &how);
        if (result < 0) {
            (void)snprintf(why, SPOOL_WHY_BYTES, "shard %u: the spool can't be read: %s",
                           reader->shard, strerror(-result));
            return result;
        }
        if (how == WALK_FOUND)
            return 1;
        if (how == WALK_LOST)
            return pass_over(view);
        /* It does not go on here: is there a later segment that has it? */
        result = find(reader, sequence, why);
        if (result < 0)
            return result;
        if (result == 0)
            return how == WALK_END ? 0 : say_damage(reader, sequence, why);
    }
}

int spool_reader_get(struct spool_reader *reader, uint64_t sequence, struct block_view *view,
                     const struct spool_stream **streams, unsigned *streams_count, char *why)
{
    /* A segment is only walked forward. */
    if (reader->segment.file < 0 || sequence < reader->first) {
        segment_file_close(&reader->segment);
        int result = find(reader, sequence, why);
        if (result <= 0)
            return result;
    }
    struct block_view found;
    int result = walk_or_find(reader, sequence, &found, why);
    if (result <= 0)
        return result;
    *view = found;
    *streams = reader->streams;
    *streams_count = reader->streams_count;
    return result;
}

/* ── Opening ────────────────────────────────────────────────────────────────────────────────── */

static int open_shard(struct spool_reader *reader, const char *directory, char *why)
{
    int root = file_open(AT_FDCWD, directory, O_RDONLY | O_DIRECTORY, 0);
    if (root < 0) {
        (void)snprintf(why, SPOOL_WHY_BYTES, "%s: %s", directory, strerror(-root));
        return root;
    }
    reader->directory = spool_shard_open(root, reader->shard, false);
    int result = reader->directory < 0 ? reader->directory : 0;
    if (result < 0)
        (void)snprintf(why, SPOOL_WHY_BYTES, "%s/shard-%02u: %s", directory, reader->shard,
                       strerror(-result));
    file_close(root);
    return result;
}

int spool_reader_open(struct spool_reader **out, const char *directory, unsigned shard, char *why)
{
    struct spool_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL) {
        (void)snprintf(why, SPOOL_WHY_BYTES, "no memory");
        return -ENOMEM;
    }
    reader->shard = shard;
    reader->directory = -1;
    reader->segment.file = reader->probe.file = -1;
    int result = segment_file_init(&reader->segment);
    reader->segment.direct = true; /* the page cache is Postgres's */
    if (result == 0)
        result = segment_file_init(&reader->probe);
    if (result < 0)
        (void)snprintf(why, SPOOL_WHY_BYTES, "no memory");
    else
        result = open_shard(reader, directory, why);
    if (result < 0) {
        spool_reader_close(reader);
        return result;
    }
    *out = reader;
    return 0;
}

void spool_reader_close(struct spool_reader *reader)
{
    free_streams(reader);
    segment_file_fini(&reader->segment);
    segment_file_fini(&reader->probe);
    if (reader->directory >= 0)
        file_close(reader->directory);
    free(reader);
}
