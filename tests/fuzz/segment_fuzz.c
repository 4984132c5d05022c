/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a segment's header, also with the checksum put right; and as a file's name. What was
 * accepted is walked: every stream lies inside.
 */
#include "batch/little.h"
#include "batch/segment.h"
#include "core/crc32c.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static bool inside(struct span part, const uint8_t *bytes, size_t length)
{
    return part.at >= bytes && part.at + part.length <= bytes + length;
}

static void read_header(const uint8_t *bytes, size_t length)
{
    struct segment_header header;
    if (segment_read(span_of(bytes, length), &header) != SEGMENT_OK)
        return;
    must(header.bytes <= length && inside(header.node, bytes, length));
    size_t offset = 0;
    uint32_t streams = 0;
    struct segment_stream stream;
    for (; segment_stream_next(&header, &offset, &stream); streams++)
        must(inside(stream.name, bytes, length) && inside(stream.table, bytes, length) &&
             inside(stream.copy_sql, bytes, length));
    must(streams == header.streams);
}

static void read_name(const uint8_t *bytes, size_t length)
{
    uint64_t number;
    char name[SEGMENT_NAME_BYTES], again[SEGMENT_NAME_BYTES];
    size_t some = length < sizeof name - 1 ? length : sizeof name - 1;
    if (some > 0)
        memcpy(name, bytes, some);
    name[some] = '\0';
    if (!segment_number(name, ".seg", &number))
        return;
    segment_name(again, number);
    must(strcmp(name, again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    read_name(bytes, length);
    read_header(bytes, length);
    /* A header is at least a page: a short input is one with zeros behind it. */
    size_t room = length < SEGMENT_ALIGN ? SEGMENT_ALIGN : length;
    uint8_t *copy = calloc(1, room);
    must(copy != NULL);
    if (length > 0)
        memcpy(copy, bytes, length);
    little_put32(copy, SEGMENT_MAGIC);
    uint32_t claimed = segment_claimed_bytes(copy);
    if (claimed == 0 || claimed > room) {
        claimed = SEGMENT_ALIGN;
        little_put32(copy + 8, claimed);
    }
    little_put32(copy + 4, crc32c(0, copy + 8, claimed - 8));
    read_header(copy, room);
    free(copy);
    return 0;
}
