/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block: one group commit, as it stands in memory, on the disk and on its way to Postgres.
 *
 *   0                128
 *   ├── header ───────┼── rows ─────┼── runs ─────┼── keys ─────┼── marks ─────┤ zeros to 4096
 *                     └─────────────────────── payload ──────────────────────┘
 *
 *   header (little-endian; bytes 8 … 127 are covered by header_crc, and so is the length)
 *      0 u32 magic 'RMB1'      4 u32 header_crc        8 u32 length: header and payload, no zeros
 *     12 u32 rows             16 u64 first_sequence   24 u64 segment         32 u64 boot
 *     40 u64 durable          the shard's next durable sequence when this was written
 *     48 i64 wall_us          56 u32 rows_bytes       60 u32 runs            64 u32 keys
 *     68 u32 marks_bytes      72 u32 payload_crc      76 u32 shard           80 u64 lost_until
 *     88 u64 durable_bytes    so much of this segment was durable when this was written
 *     96 … 127 zero
 *
 *   rows   COPY tuples (batch/copy.h), in the order of their sequence: row i is first_sequence + i
 *   runs   { u16 stream; u16 zero; u32 rows; u32 bytes } each: neighbouring rows of one stream;
 *          `stream` is an index into the list in the segment's header
 *   keys   { u32 row; u32 zero; u64 high; u64 low } each: the de-duplication key of a row, if any
 *   marks  { u8 length; name; u64 count } each: how far a named producer had come;
 *          of a name's marks the last holds
 *
 * A block with rows == 0 carries only marks, or nothing: then it is there for its `durable`, as the
 * witness that what stands before it had been acknowledged. With lost_until != 0 it stands for
 * damage that the operator accepted: the sequences first_sequence … lost_until - 1 are gone.
 *
 * Pure; the layout is used by the spool, recovery, the writer and the simulation's checker.
 */
#ifndef BATCH_BLOCK_H
#define BATCH_BLOCK_H

#include "core/must.h"
#include "core/span.h"

enum {
    BLOCK_MAGIC = 0x31424d52, /* "RMB1" */
    BLOCK_HEADER_BYTES = 128,
    BLOCK_BYTES_MAX = 256 * 1024, /* in memory and on disk, zeros included */
    BLOCK_ALIGN = 4096,
    BLOCK_ROWS_MAX = 4096,
    BLOCK_RUN_BYTES = 12,
    BLOCK_KEY_BYTES = 24,
    BLOCK_MARK_NAME_MAX = 128,
    BLOCK_MARK_BYTES_MAX = 1 + BLOCK_MARK_NAME_MAX + 8,
};

/* A de-duplication key: 128 bits of a keyed hash of the event's id. {0,0} stands for none. */
struct dedup_key {
    uint64_t high, low;
};

/* A block taken apart: spans into its bytes. */
struct block_view {
    uint64_t first_sequence, segment, boot, durable;
    uint64_t durable_bytes;
    uint64_t lost_until; /* 0: nothing was lost here */
    int64_t wall_us;
    uint32_t rows, runs, keys, shard, length;
    struct span row_bytes, run_bytes, key_bytes, mark_bytes;
};

struct block_run {
    uint16_t stream;
    uint32_t rows, bytes;
};

enum block_fault {
    BLOCK_OK = 0,
    BLOCK_EMPTY = -1,   /* zeros where a header should be */
    BLOCK_TORN = -2,    /* no valid header (magic, checksum, a length that can't be) */
    BLOCK_CORRUPT = -3, /* a valid header whose payload's checksum or inner lengths are wrong */
};

/* Takes the block at `bytes` apart; with `payload` false
 * only the header is judged, and the spans have lengths only. */
NODISCARD enum block_fault block_read(struct span bytes, bool payload, struct block_view *out);
struct block_run block_run_at(const struct block_view *view, unsigned index);
struct dedup_key block_key_at(const struct block_view *view, unsigned index, uint32_t *row);
/* Walks the marks: *offset starts at 0; false at the end. */
bool block_mark_next(const struct block_view *view, size_t *offset, struct span *name,
                     uint64_t *count);

/* Making one. First the payload is put in place behind the header's room; block_seal()
 * writes the header's part about it (rows, runs, keys, the spans' lengths, first_sequence,
 * wall_us, shard, lost_until of `view`; its length is the answer); block_place()
 * then says where the block goes, and may be called again when it has to go elsewhere. */
uint32_t block_seal(uint8_t *bytes, const struct block_view *view);
void block_place(uint8_t *bytes, uint64_t segment, uint64_t boot, uint64_t durable,
                 uint64_t durable_bytes);
void block_put_run(uint8_t *at, struct block_run run);
void block_put_key(uint8_t *at, uint32_t row, struct dedup_key key);
/* `at` has BLOCK_MARK_BYTES_MAX bytes; the bytes used. */
size_t block_put_mark(uint8_t *at, struct span name, uint64_t count);

/* What a block takes on the disk. */
static inline uint32_t block_padded(uint32_t length)
{
    return (length + BLOCK_ALIGN - 1) / BLOCK_ALIGN * BLOCK_ALIGN;
}

#endif
