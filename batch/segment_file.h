/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A segment on the disk, read from front to back through a window of memory: what recovery and the
 * reader share. One owner, one thread; the memory is kept from one segment to the next.
 *
 * Start with segment_file_init(); open and close as often as wanted; end with segment_file_fini().
 */
#ifndef BATCH_SEGMENT_FILE_H
#define BATCH_SEGMENT_FILE_H

#include "batch/block.h"
#include "batch/segment.h"

struct segment_file {
    int file; /* -1: none is open */
    uint64_t number, length;
    enum segment_fault fault;     /* of the header; SEGMENT_OK: `header` may be used */
    bool second_copy;             /* the header's first copy is damaged */
    struct segment_header header; /* looks into `image` */
    uint64_t blocks_at; /* where the first block stands (also behind a damaged header: a guess) */
    bool direct;        /* set before it is opened: read past the page cache */
    int directory;
    uint8_t *image;
    uint8_t *window;
    uint64_t window_at;
    size_t window_bytes;
    size_t ahead; /* how much was read the last time */
};

NODISCARD int segment_file_init(struct segment_file *segment); /* 0 or -ENOMEM */
void segment_file_fini(struct segment_file *segment);

/* Opens `number` in `directory` and judges its header. 0, or -errno: then nothing is open. */
NODISCARD int segment_file_open(struct segment_file *segment, int directory, uint64_t number);
void segment_file_close(struct segment_file *segment);

/*
 * The block at `offset`. 0: *fault says how it is, and if BLOCK_OK *view is valid until the next
 * call; a block of another segment, boot or shard counts as torn. *room is what the place takes:
 * the block's padded length if its header is good, else BLOCK_ALIGN. Behind the end of the file:
 * BLOCK_EMPTY, and *room 0. -errno: the disk failed.
 */
NODISCARD int segment_file_block(struct segment_file *segment, uint64_t offset,
                                 enum block_fault *fault, struct block_view *view, uint32_t *room);
/* The whole block that the last view looks into, zeros included. */
struct span segment_file_bytes(const struct segment_file *segment, uint64_t offset,
                               uint32_t length);
/* Forget what has been read ahead: a live segment has grown since. */
void segment_file_forget(struct segment_file *segment);

#endif
