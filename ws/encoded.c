/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One piece of memory: the struct, its parts, then the bytes. The sizes are added up first, so that
 * everything is written once.
 */
#include "ws/encoded.h"

#include <stdlib.h>

static uint8_t *bytes_of(const struct encoded *encoded)
{
    return (uint8_t *)&encoded->part[encoded->parts];
}

static size_t header_bytes(size_t payload)
{
    uint8_t header[FRAME_HEADER_UNMASKED_MAX];
    return frame_write_header(FRAME_TEXT, payload, header);
}

/* Where part `index` is to stand: behind the one before. */
static size_t place(struct encoded *encoded, unsigned index, size_t at, struct span payload)
{
    uint8_t *bytes = bytes_of(encoded) + at;
    size_t header =
        frame_write_header(index == 0 ? FRAME_TEXT : FRAME_BINARY, payload.length, bytes);
    if (payload.length > 0)
        memcpy(bytes + header, payload.at, payload.length);
    encoded->part[index] = (struct encoded_part){.at = (uint32_t)at,
                                                 .header = (uint32_t)header,
                                                 .length = (uint32_t)payload.length,
                                                 .binary = index > 0};
    return at + header + payload.length;
}

struct encoded *encoded_make(struct span text, const struct span *attachments,
                             unsigned attachments_count)
{
    if (attachments_count >= ENCODED_PARTS_MAX)
        return NULL;
    uint64_t length = header_bytes(text.length) + text.length;
    for (unsigned i = 0; i < attachments_count; i++)
        length += header_bytes(attachments[i].length) + attachments[i].length;
    if (length > UINT32_MAX)
        return NULL;
    unsigned parts = 1 + attachments_count;
    struct encoded *encoded =
        malloc(sizeof *encoded + parts * sizeof encoded->part[0] + (size_t)length);
    if (encoded == NULL)
        return NULL;
    *encoded = (struct encoded){.references = 1, .parts = parts, .length = (uint32_t)length};
    size_t at = place(encoded, 0, 0, text);
    for (unsigned i = 0; i < attachments_count; i++)
        at = place(encoded, 1 + i, at, attachments[i]);
    must(at == length);
    return encoded;
}

struct encoded *encoded_ref(struct encoded *encoded)
{
    must(encoded->references > 0 && encoded->references < UINT32_MAX);
    encoded->references++;
    return encoded;
}

void encoded_put(struct encoded *encoded)
{
    if (encoded == NULL)
        return;
    must(encoded->references > 0);
    if (--encoded->references == 0)
        free(encoded);
}

struct span encoded_frames(const struct encoded *encoded)
{
    return span_of(bytes_of(encoded), encoded->length);
}

struct span encoded_payload(const struct encoded *encoded, unsigned part)
{
    must(part < encoded->parts);
    const struct encoded_part *one = &encoded->part[part];
    return span_of(bytes_of(encoded) + one->at + one->header, one->length);
}
