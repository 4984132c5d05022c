/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a block. Chance never meets a checksum, so each input is also tried with its
 * checksums put right: then only the lengths and the parts can be wrong. A view that was accepted
 * is walked, and written again it must be the same bytes.
 */
#include "batch/block.h"
#include "batch/little.h"
#include "core/crc32c.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void walk(const struct block_view *view)
{
    uint64_t rows = 0, mark;
    uint32_t row;
    for (unsigned i = 0; i < view->runs; i++)
        rows += block_run_at(view, i).rows;
    must(rows == view->rows);
    for (unsigned i = 0; i < view->keys; i++) {
        (void)block_key_at(view, i, &row);
        must(row < view->rows);
    }
    size_t offset = 0;
    struct span name;
    while (block_mark_next(view, &offset, &name, &mark))
        must(name.length >= 1 && name.length <= BLOCK_MARK_NAME_MAX);
    must(offset == view->mark_bytes.length);
}

static void write_again(const uint8_t *bytes, const struct block_view *view)
{
    uint8_t *copy = malloc(view->length);
    must(copy != NULL);
    memcpy(copy, bytes, view->length);
    must(block_seal(copy, view) == view->length);
    block_place(copy, view->segment, view->boot, view->durable, view->durable_bytes);
    must(memcmp(copy, bytes, view->length) == 0);
    free(copy);
}

static void read_block(const uint8_t *bytes, size_t length)
{
    struct block_view view;
    enum block_fault header = block_read(span_of(bytes, length), false, &view);
    if (block_read(span_of(bytes, length), true, &view) != BLOCK_OK)
        return;
    must(header == BLOCK_OK);
    must(view.length <= length);
    walk(&view);
    write_again(bytes, &view);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    read_block(bytes, length);
    if (length < BLOCK_HEADER_BYTES)
        return 0;
    uint8_t *copy = malloc(length);
    must(copy != NULL);
    memcpy(copy, bytes, length);
    little_put32(copy, BLOCK_MAGIC);
    uint32_t claimed = little_get32(copy + 8);
    if (claimed >= BLOCK_HEADER_BYTES && claimed <= length)
        little_put32(copy + 72, crc32c(0, copy + BLOCK_HEADER_BYTES, claimed - BLOCK_HEADER_BYTES));
    little_put32(copy + 4, crc32c(0, copy + 8, BLOCK_HEADER_BYTES - 8));
    read_block(copy, length);
    free(copy);
    return 0;
}
