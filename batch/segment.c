/* SPDX-License-Identifier: Apache-2.0 */
#include "batch/segment.h"
#include "batch/little.h"
#include "core/crc32c.h"

#include <stdio.h>

enum {
    AT_MAGIC = 0,
    AT_CRC = 4,
    AT_BYTES = 8,
    AT_VERSION = 12,
    AT_NUMBER = 16,
    AT_FIRST_SEQUENCE = 24,
    AT_EPOCH = 32,
    AT_BOOT = 40,
    AT_DURABLE = 48,
    AT_CREATED_US = 56,
    AT_SHARD = 64,
    AT_STREAMS = 68,
    AT_NODE_BYTES = 72,
    AT_STREAM_BYTES = 76,
    STREAM_FIXED_BYTES = 8,
    NUMBER_DIGITS = 16,
};

_Static_assert(AT_STREAM_BYTES + 4 == SEGMENT_FIXED_BYTES, "the fixed part is as drawn");

uint32_t segment_claimed_bytes(const uint8_t *bytes)
{
    uint32_t claimed = little_get32(bytes + AT_BYTES);
    bool can_be = little_get32(bytes + AT_MAGIC) == SEGMENT_MAGIC && claimed >= SEGMENT_ALIGN &&
                  claimed <= SEGMENT_HEADER_BYTES_MAX && claimed % SEGMENT_ALIGN == 0;
    return can_be ? claimed : 0;
}

static bool all_zero(const uint8_t *at, size_t length)
{
    uint8_t seen = 0;
    for (size_t i = 0; i < length; i++)
        seen |= at[i];
    return seen == 0;
}

static struct segment_header take_fixed(const uint8_t *at)
{
    return (struct segment_header){
        .number = little_get64(at + AT_NUMBER),
        .first_sequence = little_get64(at + AT_FIRST_SEQUENCE),
        .epoch = little_get64(at + AT_EPOCH),
        .boot = little_get64(at + AT_BOOT),
        .durable = little_get64(at + AT_DURABLE),
        .created_us = (int64_t)little_get64(at + AT_CREATED_US),
        .shard = little_get32(at + AT_SHARD),
        .streams = little_get32(at + AT_STREAMS),
        .bytes = little_get32(at + AT_BYTES),
    };
}

/* One stream at *offset of `list`; false if it does not lie in it whole. */
static bool take_stream(struct span list, size_t *offset, struct segment_stream *out)
{
    if (list.length - *offset < STREAM_FIXED_BYTES)
        return false;
    const uint8_t *at = list.at + *offset;
    size_t name = little_get16(at), table = little_get16(at + 2), copy = little_get32(at + 4);
    if (list.length - *offset - STREAM_FIXED_BYTES < name + table + copy)
        return false;
    at += STREAM_FIXED_BYTES;
    out->name = span_of(at, name);
    out->table = span_of(at + name, table);
    out->copy_sql = span_of(at + name + table, copy);
    *offset += STREAM_FIXED_BYTES + name + table + copy;
    return true;
}

static bool streams_add_up(const struct segment_header *header)
{
    size_t offset = 0;
    struct segment_stream stream;
    for (uint32_t i = 0; i < header->streams; i++)
        if (!take_stream(header->stream_bytes, &offset, &stream))
            return false;
    return offset == header->stream_bytes.length;
}

enum segment_fault segment_read(struct span bytes, struct segment_header *out)
{
    if (bytes.length < SEGMENT_ALIGN)
        return SEGMENT_BAD;
    uint32_t claimed = segment_claimed_bytes(bytes.at);
    if (claimed == 0)
        return all_zero(bytes.at, SEGMENT_ALIGN) ? SEGMENT_EMPTY : SEGMENT_BAD;
    if (claimed > bytes.length)
        return SEGMENT_BAD;
    if (little_get32(bytes.at + AT_CRC) != crc32c(0, bytes.at + AT_BYTES, claimed - AT_BYTES))
        return SEGMENT_BAD;
    if (little_get32(bytes.at + AT_VERSION) != SEGMENT_VERSION)
        return SEGMENT_NEWER;
    struct segment_header header = take_fixed(bytes.at);
    size_t node = little_get32(bytes.at + AT_NODE_BYTES);
    size_t streams = little_get32(bytes.at + AT_STREAM_BYTES);
    if (SEGMENT_FIXED_BYTES + node + streams > claimed)
        return SEGMENT_BAD;
    header.node = span_of(bytes.at + SEGMENT_FIXED_BYTES, node);
    header.stream_bytes = span_of(bytes.at + SEGMENT_FIXED_BYTES + node, streams);
    if (!streams_add_up(&header))
        return SEGMENT_BAD;
    *out = header;
    return SEGMENT_OK;
}

bool segment_stream_next(const struct segment_header *header, size_t *offset,
                         struct segment_stream *out)
{
    return *offset < header->stream_bytes.length && take_stream(header->stream_bytes, offset, out);
}

static bool put(struct segment_builder *builder, struct span bytes)
{
    if (builder->room - builder->used < bytes.length)
        return false;
    if (bytes.length > 0)
        memcpy(builder->bytes + builder->used, bytes.at, bytes.length);
    builder->used += bytes.length;
    return true;
}

bool segment_begin(struct segment_builder *builder, struct span node, uint64_t epoch,
                   uint32_t shard)
{
    uint8_t *at = builder->bytes;
    if (builder->room < SEGMENT_ALIGN)
        return false;
    memset(at, 0, SEGMENT_FIXED_BYTES);
    little_put32(at + AT_MAGIC, SEGMENT_MAGIC);
    little_put32(at + AT_VERSION, SEGMENT_VERSION);
    little_put64(at + AT_EPOCH, epoch);
    little_put32(at + AT_SHARD, shard);
    little_put32(at + AT_NODE_BYTES, (uint32_t)node.length);
    builder->used = SEGMENT_FIXED_BYTES;
    builder->streams = 0;
    return put(builder, node);
}

bool segment_add(struct segment_builder *builder, const struct segment_stream *stream)
{
    uint8_t fixed[STREAM_FIXED_BYTES];
    if (stream->name.length > UINT16_MAX || stream->table.length > UINT16_MAX ||
        stream->copy_sql.length > SEGMENT_HEADER_BYTES_MAX)
        return false;
    little_put16(fixed, (uint16_t)stream->name.length);
    little_put16(fixed + 2, (uint16_t)stream->table.length);
    little_put32(fixed + 4, (uint32_t)stream->copy_sql.length);
    builder->streams++;
    return put(builder, span_of(fixed, sizeof fixed)) && put(builder, stream->name) &&
           put(builder, stream->table) && put(builder, stream->copy_sql);
}

uint32_t segment_end(struct segment_builder *builder)
{
    uint8_t *at = builder->bytes;
    size_t bytes = (builder->used + SEGMENT_ALIGN - 1) / SEGMENT_ALIGN * SEGMENT_ALIGN;
    if (bytes > builder->room || bytes > SEGMENT_HEADER_BYTES_MAX)
        return 0;
    memset(at + builder->used, 0, bytes - builder->used);
    uint32_t node = little_get32(at + AT_NODE_BYTES);
    little_put32(at + AT_BYTES, (uint32_t)bytes);
    little_put32(at + AT_STREAMS, builder->streams);
    little_put32(at + AT_STREAM_BYTES, (uint32_t)(builder->used - SEGMENT_FIXED_BYTES - node));
    return (uint32_t)bytes;
}

void segment_place(uint8_t *bytes, const struct segment_header *place)
{
    uint32_t length = segment_claimed_bytes(bytes);
    must(length != 0);
    little_put64(bytes + AT_NUMBER, place->number);
    little_put64(bytes + AT_FIRST_SEQUENCE, place->first_sequence);
    little_put64(bytes + AT_BOOT, place->boot);
    little_put64(bytes + AT_DURABLE, place->durable);
    little_put64(bytes + AT_CREATED_US, (uint64_t)place->created_us);
    little_put32(bytes + AT_CRC, crc32c(0, bytes + AT_BYTES, length - AT_BYTES));
}

void segment_name(char *out, uint64_t number)
{
    (void)snprintf(out, SEGMENT_NAME_BYTES, "%016llx.seg", (unsigned long long)number);
}

bool segment_number(const char *name, const char *ending, uint64_t *out)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < NUMBER_DIGITS; i++) {
        char digit = name[i];
        if (digit >= '0' && digit <= '9')
            number = number << 4 | (uint64_t)(digit - '0');
        else if (digit >= 'a' && digit <= 'f')
            number = number << 4 | (uint64_t)(digit - 'a' + 10);
        else
            return false;
    }
    if (strcmp(name + NUMBER_DIGITS, ending) != 0)
        return false;
    *out = number;
    return true;
}
