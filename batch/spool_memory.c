/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spool's memory: one mapping cut into buffers
 * of a full block each, spool.memory bytes of them.
 *
 * A durable block is lent to the writer as it is, so that it is never copied on its way to
 * Postgres. But a buffer is large, and under a trickle of events most of it would be air: a block
 * that fills less than half of its buffer is copied to memory of its own size (all copies together
 * at most a quarter of spool.memory), and the buffer is free at once. What can't be lent is left
 * out; the writer sees the gap and reads it from the disk, so Postgres may be away for a day and
 * the shard still has its buffers.
 */
#include "batch/spool_internal.h"
#include "core/region.h"

#include <errno.h>
#include <stdlib.h>

/* Buffers that are never lent: one fill of the flight,
 * and what is being written and sealed behind it. */
enum { RESERVE_BESIDE_FLIGHT = 4 };

/* A durable block in memory of its own size. */
struct copy {
    struct block block; /* its owner is NULL */
    uint8_t bytes[];
};

int spool_memory_init(struct memory *memory, size_t bytes)
{
    unsigned buffers = (unsigned)(bytes / BLOCK_BYTES_MAX);
    *memory = (struct memory){.buffers = buffers, .copied_max = bytes / 4};
    list_init(&memory->free_list);
    list_init(&memory->durable);
    memory->buffer = calloc(buffers, sizeof *memory->buffer);
    memory->region_bytes = (size_t)buffers * BLOCK_BYTES_MAX;
    memory->region = region_open(memory->region_bytes);
    if (memory->buffer == NULL || memory->region == NULL)
        return -ENOMEM; /* spool_memory_fini() frees the half */
    for (unsigned i = 0; i < buffers; i++) {
        memory->buffer[i].bytes = memory->region + (size_t)i * BLOCK_BYTES_MAX;
        list_append(&memory->free_list, &memory->buffer[i].link);
    }
    memory->free = buffers;
    return 0;
}

void spool_memory_fini(struct memory *memory)
{
    region_close(memory->region, memory->region_bytes);
    free(memory->buffer);
    memory->region = NULL;
    memory->buffer = NULL;
}

struct buffer *spool_buffer_get(struct spool *spool)
{
    struct list *link = list_take(&spool->memory.free_list);
    if (link == NULL)
        return NULL;
    spool->memory.free--;
    struct buffer *buffer = LIST_ENTRY(link, struct buffer, link);
    buffer->length = buffer->rows = 0;
    buffer->snapshot = 0;
    return buffer;
}

void spool_buffer_put(struct spool *spool, struct buffer *buffer)
{
    must(!list_linked(&buffer->link));
    /* To the front: the one that is still in the cache is used next. */
    list_prepend(&spool->memory.free_list, &buffer->link);
    spool->memory.free++;
}

static struct block *lend_copy(struct spool *spool, const struct buffer *buffer)
{
    struct memory *memory = &spool->memory;
    if (memory->copied + buffer->length > memory->copied_max)
        return NULL;
    struct copy *copy = malloc(sizeof *copy + buffer->length);
    if (copy == NULL)
        return NULL;
    memcpy(copy->bytes, buffer->bytes, buffer->length);
    copy->block = buffer->block;
    copy->block.bytes.at = copy->bytes;
    copy->block.owner = NULL;
    memory->copied += buffer->length;
    return &copy->block;
}

/* The block in memory that can be spared for it, or NULL;
 * either way the buffer has been taken care of. */
static struct block *lend(struct spool *spool, struct buffer *buffer)
{
    buffer->block.bytes = span_of(buffer->bytes, buffer->length);
    buffer->block.first_sequence = buffer->first_sequence;
    buffer->block.rows = buffer->rows;
    buffer->block.owner = buffer;
    if (buffer->length < BLOCK_BYTES_MAX / 2) {
        struct block *block = lend_copy(spool, buffer);
        spool_buffer_put(spool, buffer);
        return block;
    }
    if (spool->memory.free >= spool->options.in_flight_max + RESERVE_BESIDE_FLIGHT)
        return &buffer->block;
    spool_buffer_put(spool, buffer);
    return NULL;
}

struct block *spool_take(struct spool *spool)
{
    for (;;) {
        struct list *link = list_take(&spool->memory.durable);
        if (link == NULL)
            return NULL;
        struct buffer *buffer = LIST_ENTRY(link, struct buffer, link);
        struct block *block = lend(spool, buffer);
        if (block != NULL)
            return block;
    }
}

void spool_give_back(struct spool *spool, struct block *block)
{
    if (block->owner != NULL) {
        spool_buffer_put(spool, block->owner);
        return;
    }
    must(spool->memory.copied >= block->bytes.length);
    spool->memory.copied -= block->bytes.length;
    free(LIST_ENTRY(block, struct copy, block));
}
