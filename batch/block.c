/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking blocks apart and putting them together; batch/block.h has the bytes drawn.
 *
 * A block is judged twice. The header first: its own checksum covers every length, so a length is
 * believed only when it is true, and then whether the lengths add up. The payload after that: its
 * checksum, and whether the runs, keys and marks say nothing that the rows do not bear out. Whoever
 * holds a view that passed both may walk it without another check.
 */
#include "batch/block.h"
#include "batch/little.h"
#include "core/crc32c.h"

enum {
    AT_MAGIC = 0,
    AT_HEADER_CRC = 4,
    AT_LENGTH = 8,
    AT_ROWS = 12,
    AT_FIRST_SEQUENCE = 16,
    AT_SEGMENT = 24,
    AT_BOOT = 32,
    AT_DURABLE = 40,
    AT_WALL_US = 48,
    AT_ROWS_BYTES = 56,
    AT_RUNS = 60,
    AT_KEYS = 64,
    AT_MARKS_BYTES = 68,
    AT_PAYLOAD_CRC = 72,
    AT_SHARD = 76,
    AT_LOST_UNTIL = 80,
    AT_DURABLE_BYTES = 88,
    AT_ZERO = 96,
};

_Static_assert(BLOCK_BYTES_MAX % BLOCK_ALIGN == 0, "a full block ends on a boundary");

static bool all_zero(const uint8_t *at, size_t length)
{
    uint8_t seen = 0;
    for (size_t i = 0; i < length; i++)
        seen |= at[i];
    return seen == 0;
}

static uint32_t header_crc(const uint8_t *bytes)
{
    return crc32c(0, bytes + AT_LENGTH, BLOCK_HEADER_BYTES - AT_LENGTH);
}

static struct block_view take_header(const uint8_t *at)
{
    return (struct block_view){
        .first_sequence = little_get64(at + AT_FIRST_SEQUENCE),
        .segment = little_get64(at + AT_SEGMENT),
        .boot = little_get64(at + AT_BOOT),
        .durable = little_get64(at + AT_DURABLE),
        .durable_bytes = little_get64(at + AT_DURABLE_BYTES),
        .lost_until = little_get64(at + AT_LOST_UNTIL),
        .wall_us = (int64_t)little_get64(at + AT_WALL_US),
        .rows = little_get32(at + AT_ROWS),
        .runs = little_get32(at + AT_RUNS),
        .keys = little_get32(at + AT_KEYS),
        .shard = little_get32(at + AT_SHARD),
        .length = little_get32(at + AT_LENGTH),
        .row_bytes = {NULL, little_get32(at + AT_ROWS_BYTES)},
        .run_bytes = {NULL, (size_t)little_get32(at + AT_RUNS) * BLOCK_RUN_BYTES},
        .key_bytes = {NULL, (size_t)little_get32(at + AT_KEYS) * BLOCK_KEY_BYTES},
        .mark_bytes = {NULL, little_get32(at + AT_MARKS_BYTES)},
    };
}

static bool header_adds_up(const struct block_view *view)
{
    uint64_t sum = BLOCK_HEADER_BYTES + (uint64_t)view->row_bytes.length + view->run_bytes.length +
                   view->key_bytes.length + view->mark_bytes.length;
    if (view->length > BLOCK_BYTES_MAX || sum != view->length)
        return false;
    if (view->rows > BLOCK_ROWS_MAX || view->runs > view->rows || view->keys > view->rows)
        return false;
    if ((view->rows == 0) != (view->runs == 0) || view->first_sequence > UINT64_MAX - view->rows)
        return false;
    return view->lost_until == 0 || (view->rows == 0 && view->lost_until > view->first_sequence);
}

static void point_into(struct block_view *view, const uint8_t *bytes)
{
    view->row_bytes.at = bytes + BLOCK_HEADER_BYTES;
    view->run_bytes.at = view->row_bytes.at + view->row_bytes.length;
    view->key_bytes.at = view->run_bytes.at + view->run_bytes.length;
    view->mark_bytes.at = view->key_bytes.at + view->key_bytes.length;
}

static bool runs_add_up(const struct block_view *view)
{
    uint64_t rows = 0, bytes = 0;
    for (unsigned i = 0; i < view->runs; i++) {
        struct block_run run = block_run_at(view, i);
        if (run.rows == 0 || little_get16(view->run_bytes.at + i * BLOCK_RUN_BYTES + 2) != 0)
            return false;
        rows += run.rows;
        bytes += run.bytes;
    }
    return rows == view->rows && bytes == view->row_bytes.length;
}

static bool keys_add_up(const struct block_view *view)
{
    uint32_t row, before = 0;
    for (unsigned i = 0; i < view->keys; i++) {
        (void)block_key_at(view, i, &row);
        if (row >= view->rows || (i > 0 && row <= before))
            return false;
        if (little_get32(view->key_bytes.at + i * BLOCK_KEY_BYTES + 4) != 0)
            return false;
        before = row;
    }
    return true;
}

static bool marks_add_up(const struct block_view *view)
{
    size_t offset = 0, end = view->mark_bytes.length;
    while (offset < end) {
        size_t name = view->mark_bytes.at[offset];
        if (name == 0 || name > BLOCK_MARK_NAME_MAX || end - offset < 1 + name + 8)
            return false;
        offset += 1 + name + 8;
    }
    return true;
}

enum block_fault block_read(struct span bytes, bool payload, struct block_view *out)
{
    if (bytes.length < BLOCK_HEADER_BYTES)
        return BLOCK_TORN;
    const uint8_t *at = bytes.at;
    if (little_get32(at + AT_MAGIC) != BLOCK_MAGIC)
        return all_zero(at, BLOCK_HEADER_BYTES) ? BLOCK_EMPTY : BLOCK_TORN;
    struct block_view view = take_header(at);
    if (little_get32(at + AT_HEADER_CRC) != header_crc(at) || !header_adds_up(&view) ||
        !all_zero(at + AT_ZERO, BLOCK_HEADER_BYTES - AT_ZERO))
        return BLOCK_TORN;
    if (payload) {
        if (view.length > bytes.length)
            return BLOCK_CORRUPT;
        uint32_t crc = crc32c(0, at + BLOCK_HEADER_BYTES, view.length - BLOCK_HEADER_BYTES);
        if (crc != little_get32(at + AT_PAYLOAD_CRC))
            return BLOCK_CORRUPT;
        point_into(&view, at);
        if (!runs_add_up(&view) || !keys_add_up(&view) || !marks_add_up(&view))
            return BLOCK_CORRUPT;
    }
    *out = view;
    return BLOCK_OK;
}

struct block_run block_run_at(const struct block_view *view, unsigned index)
{
    must(index < view->runs);
    const uint8_t *at = view->run_bytes.at + (size_t)index * BLOCK_RUN_BYTES;
    return (struct block_run){
        .stream = little_get16(at),
        .rows = little_get32(at + 4),
        .bytes = little_get32(at + 8),
    };
}

struct dedup_key block_key_at(const struct block_view *view, unsigned index, uint32_t *row)
{
    must(index < view->keys);
    const uint8_t *at = view->key_bytes.at + (size_t)index * BLOCK_KEY_BYTES;
    *row = little_get32(at);
    return (struct dedup_key){.high = little_get64(at + 8), .low = little_get64(at + 16)};
}

bool block_mark_next(const struct block_view *view, size_t *offset, struct span *name,
                     uint64_t *count)
{
    if (*offset >= view->mark_bytes.length)
        return false;
    const uint8_t *at = view->mark_bytes.at + *offset;
    *name = span_of(at + 1, at[0]);
    *count = little_get64(at + 1 + at[0]);
    *offset += 1u + at[0] + 8u;
    return true;
}

uint32_t block_seal(uint8_t *bytes, const struct block_view *view)
{
    uint32_t length =
        BLOCK_HEADER_BYTES + (uint32_t)(view->row_bytes.length + view->run_bytes.length +
                                        view->key_bytes.length + view->mark_bytes.length);
    must(length <= BLOCK_BYTES_MAX);
    memset(bytes, 0, BLOCK_HEADER_BYTES);
    little_put32(bytes + AT_MAGIC, BLOCK_MAGIC);
    little_put32(bytes + AT_LENGTH, length);
    little_put32(bytes + AT_ROWS, view->rows);
    little_put64(bytes + AT_FIRST_SEQUENCE, view->first_sequence);
    little_put64(bytes + AT_WALL_US, (uint64_t)view->wall_us);
    little_put32(bytes + AT_ROWS_BYTES, (uint32_t)view->row_bytes.length);
    little_put32(bytes + AT_RUNS, view->runs);
    little_put32(bytes + AT_KEYS, view->keys);
    little_put32(bytes + AT_MARKS_BYTES, (uint32_t)view->mark_bytes.length);
    uint32_t crc = crc32c(0, bytes + BLOCK_HEADER_BYTES, length - BLOCK_HEADER_BYTES);
    little_put32(bytes + AT_PAYLOAD_CRC, crc);
    little_put32(bytes + AT_SHARD, view->shard);
    little_put64(bytes + AT_LOST_UNTIL, view->lost_until);
    return length;
}

void block_place(uint8_t *bytes, uint64_t segment, uint64_t boot, uint64_t durable,
                 uint64_t durable_bytes)
{
    little_put64(bytes + AT_SEGMENT, segment);
    little_put64(bytes + AT_BOOT, boot);
    little_put64(bytes + AT_DURABLE, durable);
    little_put64(bytes + AT_DURABLE_BYTES, durable_bytes);
    little_put32(bytes + AT_HEADER_CRC, header_crc(bytes));
}

void block_put_run(uint8_t *at, struct block_run run)
{
    little_put16(at, run.stream);
    little_put16(at + 2, 0);
    little_put32(at + 4, run.rows);
    little_put32(at + 8, run.bytes);
}

void block_put_key(uint8_t *at, uint32_t row, struct dedup_key key)
{
    little_put32(at, row);
    little_put32(at + 4, 0);
    little_put64(at + 8, key.high);
    little_put64(at + 16, key.low);
}

size_t block_put_mark(uint8_t *at, struct span name, uint64_t count)
{
    must(name.length >= 1 && name.length <= BLOCK_MARK_NAME_MAX);
    at[0] = (uint8_t)name.length;
    memcpy(at + 1, name.at, name.length);
    little_put64(at + 1 + name.length, count);
    return 1 + name.length + 8;
}
