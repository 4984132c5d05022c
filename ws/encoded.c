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

static size_t framed(struct span payload)
{
    uint8_t header[FRAME_HEADER_UNMASKED_MAX];
    return frame_write_header(FRAME_TEXT, payload.length, header) + payload.length;
}

/* Behind what stands there already. */
static void add(struct encoded *encoded, unsigned index, struct span payload, bool binary)
{
    struct encoded_part *part = &encoded->part[index];
    uint8_t *bytes = bytes_of(encoded) + encoded->length;
    size_t header = frame_write_header(binary ? FRAME_BINARY : FRAME_TEXT, payload.length, bytes);
    if (payload.length > 0)
        memcpy(bytes + header, payload.at, payload.length);
    *part = (struct encoded_part){.at = encoded->length,
                                  .header = (uint32_t)header,
                                  .length = (uint32_t)payload.length,
                                  .binary = binary};
    encoded->length += (uint32_t)(header + payload.length);
}

static void returned(struct lent *lent)
{
    encoded_put((struct encoded *)lent);
}

struct encoded *encoded_make(struct span text, const struct span *attachments,
                             unsigned attachments_count)
{
    unsigned texts = text.at != NULL, parts = texts + attachments_count;
    if (attachments_count >= ENCODED_PARTS_MAX)
        return NULL;
    uint64_t length = texts ? framed(text) : 0;
    for (unsigned i = 0; i < attachments_count; i++)
        length += framed(attachments[i]);
    if (length > UINT32_MAX)
        return NULL;
    struct encoded *encoded =
        malloc(sizeof *encoded + parts * sizeof encoded->part[0] + (size_t)length);
    if (encoded == NULL)
        return NULL;
    *encoded = (struct encoded){.lent = {returned}, .references = 1, .parts = parts};
    for (unsigned i = 0; i < parts; i++)
        add(encoded, i, i < texts ? text : attachments[i - texts], i >= texts);
    must(encoded->length == length);
    return encoded;
}

struct encoded *encoded_join(struct encoded *const *some, unsigned count)
{
    uint64_t length = 0;
    unsigned parts = 0;
    for (unsigned i = 0; i < count; i++) {
        length += some[i] == NULL ? 0 : some[i]->length;
        parts += some[i] == NULL ? 0 : some[i]->parts;
    }
    if (length > UINT32_MAX)
        return NULL;
    struct encoded *all = malloc(sizeof *all + parts * sizeof all->part[0] + (size_t)length);
    if (all == NULL)
        return NULL;
    *all = (struct encoded){.lent = {returned}, .references = 1, .parts = parts};
    for (unsigned i = 0, part = 0; i < count; i++) {
        if (some[i] == NULL)
            continue;
        memcpy(bytes_of(all) + all->length, bytes_of(some[i]), some[i]->length);
        for (unsigned j = 0; j < some[i]->parts; j++, part++) {
            all->part[part] = some[i]->part[j];
            all->part[part].at += all->length;
        }
        all->length += some[i]->length;
    }
    return all;
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

void encoded_set_compressed(struct encoded *encoded)
{
    must(encoded->references == 1 && encoded->parts > 0);
    bytes_of(encoded)[encoded->part[0].at] |= FRAME_RSV1;
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
