/* SPDX-License-Identifier: Apache-2.0 */
#include "batch/segment_file.h"
#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

/* Who wants one block reads little; who walks on reads more each time. */
enum { AHEAD_BYTES = 32 * 1024, WINDOW_BYTES = 1024 * 1024 };

_Static_assert(WINDOW_BYTES >= 2 * BLOCK_BYTES_MAX, "most blocks are found whole");
_Static_assert(WINDOW_BYTES >= (int)SEGMENT_HEADER_BYTES_MAX, "a header is found whole");

int segment_file_init(struct segment_file *segment)
{
    *segment = (struct segment_file){.file = -1};
    segment->window = aligned_alloc(BLOCK_ALIGN, WINDOW_BYTES);
    segment->image = malloc(SEGMENT_HEADER_BYTES_MAX);
    if (segment->window != NULL && segment->image != NULL)
        return 0;
    segment_file_fini(segment);
    return -ENOMEM;
}

void segment_file_fini(struct segment_file *segment)
{
    segment_file_close(segment);
    free(segment->window);
    free(segment->image);
    segment->window = segment->image = NULL;
}

void segment_file_forget(struct segment_file *segment)
{
    segment->window_at = 0;
    segment->window_bytes = 0;
    segment->ahead = AHEAD_BYTES;
}

void segment_file_close(struct segment_file *segment)
{
    if (segment->file >= 0)
        file_close(segment->file);
    segment->file = -1;
    segment_file_forget(segment);
}

/* A bad sector is damage like any other: the page it is
 * in becomes something that no checksum takes for good. */
static ssize_t read_around(struct segment_file *segment, uint64_t offset, size_t length)
{
    size_t done = 0;
    /* Behind the end nothing can be damaged:
     * a disk that answers nothing but errors must not seem endless. */
    while (done < length && offset + done < segment->length) {
        ssize_t got = file_read(segment->file, segment->window + done, BLOCK_ALIGN, offset + done);
        if (got < 0 && got != -EIO)
            return got;
        if (got == -EIO)
            memset(segment->window + done, 0xee, BLOCK_ALIGN);
        done += got == -EIO ? BLOCK_ALIGN : (size_t)got;
        if (got >= 0 && got < BLOCK_ALIGN)
            break;
    }
    return (ssize_t)done;
}

static int open_file(struct segment_file *segment)
{
    char name[SEGMENT_NAME_BYTES];
    segment_name(name, segment->number);
    int flags = O_RDONLY | (segment->direct ? O_DIRECT : 0);
    int file = file_open(segment->directory, name, flags, 0);
    if (file == -EINVAL && segment->direct) {
        segment->direct = false;
        return open_file(segment);
    }
    return file;
}

/* Fills the window. A file system that does not do O_DIRECT,
 * and a file of an odd length, are read through the page cache. */
static ssize_t read_window(struct segment_file *segment, uint64_t offset, size_t length)
{
    ssize_t got = file_read(segment->file, segment->window, length, offset);
    if (got == -EINVAL && segment->direct) {
        segment->direct = false;
        file_close(segment->file);
        segment->file = open_file(segment);
        if (segment->file < 0)
            return segment->file;
        got = file_read(segment->file, segment->window, length, offset);
    }
    return got == -EIO ? read_around(segment, offset, length) : got;
}

/* How much is read for `length` bytes at `offset`, which the window lacks. */
static size_t ahead_of(struct segment_file *segment, uint64_t offset, size_t length)
{
    uint64_t end = segment->window_at + segment->window_bytes;
    bool walks = segment->window_bytes > 0 && offset >= segment->window_at && offset <= end;
    size_t ahead = walks ? 2 * segment->ahead : AHEAD_BYTES;
    segment->ahead = ahead < WINDOW_BYTES ? ahead : WINDOW_BYTES;
    return segment->ahead > length ? segment->ahead : length;
}

/* Makes `length` bytes at `offset`, or what the file still has of them, stand in the
 * window; if it has to read, then `ahead` bytes, a multiple of BLOCK_ALIGN, or if that
 * is 0 as many as seems right. */
static int look(struct segment_file *segment, uint64_t offset, size_t length, size_t ahead,
                struct span *out)
{
    uint64_t end = segment->window_at + segment->window_bytes;
    if (offset < segment->window_at || offset + length > end) {
        if (ahead == 0)
            ahead = ahead_of(segment, offset, length);
        segment->window_bytes = 0;
        ssize_t got = read_window(segment, offset, ahead);
        if (got < 0)
            return (int)got;
        segment->window_at = offset;
        segment->window_bytes = (size_t)got;
        end = offset + segment->window_bytes;
    }
    size_t there = offset < end ? (size_t)(end - offset) : 0;
    *out =
        span_of(segment->window + (offset - segment->window_at), there < length ? there : length);
    return 0;
}

/* Takes the copy of the header at `offset` over, if it is one. */
static int take_header(struct segment_file *segment, uint64_t offset)
{
    struct span there = {NULL, 0};
    int result = look(segment, offset, SEGMENT_ALIGN, 2 * SEGMENT_ALIGN, &there);
    uint32_t claimed = there.length < SEGMENT_ALIGN ? 0 : segment_claimed_bytes(there.at);
    if (result == 0 && claimed > there.length)
        result = look(segment, offset, claimed, claimed, &there);
    if (result < 0)
        return result;
    segment->fault = segment_read(there, &segment->header);
    if (segment->fault != SEGMENT_OK)
        return 0;
    memcpy(segment->image, there.at, segment->header.bytes);
    segment->fault = segment_read(span_of(segment->image, segment->header.bytes), &segment->header);
    must(segment->fault == SEGMENT_OK);
    segment->blocks_at = 2 * (uint64_t)segment->header.bytes;
    return 0;
}

static bool is_zeros(struct span page)
{
    struct segment_header none;
    return segment_read(page, &none) == SEGMENT_EMPTY;
}

/* The first copy is no good: the second stands as far in as it is long. No page of a header is all
 * zeros, so two such pages are the end of the search: a segment that was only made ready. */
static int take_second_copy(struct segment_file *segment)
{
    enum segment_fault first = segment->fault;
    bool zeros = first == SEGMENT_EMPTY;
    for (uint32_t at = SEGMENT_ALIGN; at <= SEGMENT_HEADER_BYTES_MAX; at += SEGMENT_ALIGN) {
        struct span there;
        int result = look(segment, at, SEGMENT_ALIGN, SEGMENT_HEADER_BYTES_MAX, &there);
        if (result < 0)
            return result;
        if (there.length < SEGMENT_ALIGN || (zeros && is_zeros(there)))
            break;
        zeros = is_zeros(there);
        if (segment_claimed_bytes(there.at) != at)
            continue;
        result = take_header(segment, at);
        if (result < 0 || segment->fault != SEGMENT_BAD) {
            segment->second_copy = true;
            return result;
        }
    }
    segment->fault = first;
    return 0;
}

static int judge_header(struct segment_file *segment)
{
    segment->second_copy = false;
    segment->blocks_at = 0;
    int result = take_header(segment, 0);
    if (result == 0 && (segment->fault == SEGMENT_BAD || segment->fault == SEGMENT_EMPTY))
        result = take_second_copy(segment);
    if (result == 0 && segment->fault == SEGMENT_OK && segment->header.number != segment->number)
        segment->fault = SEGMENT_BAD;
    return result;
}

int segment_file_open(struct segment_file *segment, int directory, uint64_t number)
{
    must(segment->file < 0);
    segment->directory = directory;
    segment->number = number;
    int file = open_file(segment);
    if (file < 0)
        return file;
    int64_t length = file_length(file);
    segment->file = file;
    segment->length = length < 0 ? 0 : (uint64_t)length;
    segment_file_forget(segment);
    file_read_ahead(file);
    int result = length < 0 ? (int)length : judge_header(segment);
    if (result < 0)
        segment_file_close(segment);
    return result;
}

/* Is this block one of this segment, with rows of streams that its header knows? */
static bool belongs(const struct segment_file *segment, const struct block_view *view)
{
    if (view->segment != segment->number)
        return false;
    if (segment->fault != SEGMENT_OK)
        return true;
    if (view->boot != segment->header.boot || view->shard != segment->header.shard)
        return false;
    for (unsigned i = 0; view->run_bytes.at != NULL && i < view->runs; i++)
        if (block_run_at(view, i).stream >= segment->header.streams)
            return false;
    return true;
}

int segment_file_block(struct segment_file *segment, uint64_t offset, enum block_fault *fault,
                       struct block_view *view, uint32_t *room)
{
    struct span there;
    struct block_view found;
    int result = look(segment, offset, BLOCK_ALIGN, 0, &there);
    if (result < 0)
        return result;
    *room = there.length == 0 ? 0 : BLOCK_ALIGN;
    *fault = there.length == 0 ? BLOCK_EMPTY : block_read(there, false, &found);
    if (*fault != BLOCK_OK)
        return 0;
    if (!belongs(segment, &found)) {
        *fault = BLOCK_TORN;
        return 0;
    }
    *room = block_padded(found.length);
    result = look(segment, offset, *room, 0, &there);
    if (result < 0)
        return result;
    *fault = block_read(there, true, &found);
    if (*fault == BLOCK_OK && (there.length < *room || !belongs(segment, &found)))
        *fault = BLOCK_CORRUPT;
    if (*fault == BLOCK_OK)
        *view = found;
    return 0;
}

struct span segment_file_bytes(const struct segment_file *segment, uint64_t offset, uint32_t length)
{
    must(offset >= segment->window_at &&
         offset + length <= segment->window_at + segment->window_bytes);
    return span_of(segment->window + (offset - segment->window_at), length);
}
