/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The segment: one file of the spool, `shard-NN/%016x.seg`, the number in hexadecimal.
 *
 *   0                bytes            2 × bytes                               length of the file
 *   ├── header ───────┼── header ──────┼── block ──┼── block ──┼ … ─┼── zeros, written ahead ──┤
 *
 * The header stands there twice: without its statements nobody can say
 * what the rows of the whole file are, so one bad sector must not be able
 * to take it. (Two pages of zeros in a row end the search for the second: no
 * page of a header is all zeros.) Everything starts and ends on 4096 bytes, for O_DIRECT.
 *
 *   header (little-endian; the checksum covers bytes 8 … `bytes`, so every byte of it)
 *      0 u32 magic 'RMS1'      4 u32 crc               8 u32 bytes: of one copy, a multiple of 4096
 *     12 u32 version          16 u64 number           24 u64 first_sequence  32 u64 epoch
 *     40 u64 boot             48 u64 durable          56 i64 created_us      64 u32 shard
 *     68 u32 streams          72 u32 node_bytes       76 u32 stream_bytes    80 node, streams, 0 …
 *   stream
 *     u16 name_bytes          u16 table_bytes         u32 copy_bytes         name, table, statement
 *
 * Of two segments that both reach over a sequence the one with the higher number holds it:
 * what was in flight when a write failed, or was not proven durable when the
 * machine stopped, is written again in a new segment with the same sequences,
 * and a segment is never written after that. So the content of a segment ends
 * at the smallest first_sequence of all segments after it, whatever stands behind.
 *
 * Pure.
 */
#ifndef BATCH_SEGMENT_H
#define BATCH_SEGMENT_H

#include "core/must.h"
#include "core/span.h"

enum {
    SEGMENT_MAGIC = 0x31534d52, /* "RMS1" */
    SEGMENT_VERSION = 1,
    SEGMENT_FIXED_BYTES = 80,
    SEGMENT_ALIGN = 4096,
    SEGMENT_HEADER_BYTES_MAX = 512 * 1024,
    SEGMENT_NAME_BYTES = 32,
};

struct segment_header {
    uint64_t number, first_sequence, epoch, boot;
    uint64_t durable; /* the shard's next durable sequence when this was written */
    int64_t created_us;
    uint32_t shard, streams, bytes;
    struct span node, stream_bytes;
};

struct segment_stream {
    struct span name, table, copy_sql;
};

enum segment_fault {
    SEGMENT_OK = 0,
    SEGMENT_EMPTY = -1, /* zeros where a header should be */
    SEGMENT_BAD = -2,
    SEGMENT_NEWER = -3, /* valid, but of a version that this program does not know */
};

/* One copy of the header, at the beginning of `bytes`; spans look into it. */
NODISCARD enum segment_fault segment_read(struct span bytes, struct segment_header *out);
/* How long the header at `bytes` (at least SEGMENT_FIXED_BYTES)
 * says that it is; 0: it can't be one. Not yet proven. */
uint32_t segment_claimed_bytes(const uint8_t *bytes);
/* Walks the streams: *offset starts at 0; false at the end. */
bool segment_stream_next(const struct segment_header *header, size_t *offset,
                         struct segment_stream *out);

/*
 * Making one: begin, add every stream, end; each false if `room` is used up.
 * segment_place() then says where it stands, and may be called
 * again for the next segment of the same boot: the streams stay.
 */
struct segment_builder {
    uint8_t *bytes;
    size_t room, used;
    uint32_t streams;
};
NODISCARD bool segment_begin(struct segment_builder *builder, struct span node, uint64_t epoch,
                             uint32_t shard);
NODISCARD bool segment_add(struct segment_builder *builder, const struct segment_stream *stream);
/* The length of the header, or 0. */
NODISCARD uint32_t segment_end(struct segment_builder *builder);
/* Writes number, first_sequence, boot, durable and created_us of `place`, and the checksum. */
void segment_place(uint8_t *bytes, const struct segment_header *place);

/* The file's name, and its number back. `out` has SEGMENT_NAME_BYTES. */
void segment_name(char *out, uint64_t number);
NODISCARD bool segment_number(const char *name, const char *ending, uint64_t *out);

#endif
