/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames come at tens of millions a second, and most are short: a header is read with as few
 * branches as its forms allow, and the payload is unmasked sixteen bytes at a time. Unmasking reads
 * every byte anyway, so it also says whether there was anything beyond ASCII: plain text never
 * meets the UTF-8 automaton.
 */
#include "ws/frame.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the mask is turned as a word");

enum {
    FIN = 0x80,
    RESERVED = 0x70,
    OPCODE = 0x0f,
    MASK = 0x80,
    LENGTH = 0x7f,
    LENGTH16 = 126,
    LENGTH64 = 127,
    MASK_BYTES = 4,
};

static uint64_t big_endian(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

/* RFC 6455 5.2: "the minimal number of bytes MUST
 * be used", "the most significant bit MUST be 0". */
static bool is_well_encoded(uint64_t length, unsigned extended)
{
    if (extended == 2)
        return length >= LENGTH16;
    return length > UINT16_MAX && length <= INT64_MAX;
}

int frame_read(const uint8_t *at, size_t length, struct frame *out)
{
    if (length < 2)
        return FRAME_MORE;
    unsigned short_length = at[1] & LENGTH;
    unsigned extended = short_length < LENGTH16 ? 0 : short_length == LENGTH16 ? 2 : 8;
    bool masked = (at[1] & MASK) != 0;
    unsigned header = 2 + extended + (masked ? MASK_BYTES : 0);
    if (length < header)
        return FRAME_MORE;
    uint64_t payload = short_length;
    if (extended > 0) {
        payload = big_endian(at + 2, extended);
        if (!is_well_encoded(payload, extended))
            return FRAME_BAD_LENGTH;
    }
    uint32_t mask = 0;
    if (masked)
        memcpy(&mask, at + header - MASK_BYTES, MASK_BYTES);
    *out = (struct frame){
        .length = payload,
        .mask = mask,
        .opcode = at[0] & OPCODE,
        .reserved = at[0] & RESERVED,
        .final = (at[0] & FIN) != 0,
        .masked = masked,
    };
    return (int)header;
}

static size_t write_length(uint64_t length, uint8_t *out)
{
    if (length < LENGTH16) {
        out[0] = (uint8_t)length;
        return 1;
    }
    unsigned bytes = length <= UINT16_MAX ? 2 : 8;
    out[0] = bytes == 2 ? LENGTH16 : LENGTH64;
    for (unsigned i = 0; i < bytes; i++)
        out[1 + i] = (uint8_t)(length >> 8 * (bytes - 1 - i));
    return 1 + bytes;
}

size_t frame_write(const struct frame *frame, uint8_t out[FRAME_HEADER_MAX])
{
    must(frame->opcode <= OPCODE && (frame->reserved & ~RESERVED) == 0);
    must(frame->length <= INT64_MAX);
    out[0] = (uint8_t)((frame->final ? FIN : 0) | frame->reserved | frame->opcode);
    size_t used = 1 + write_length(frame->length, out + 1);
    if (frame->masked) {
        out[1] |= MASK;
        memcpy(out + used, &frame->mask, MASK_BYTES);
        used += MASK_BYTES;
    }
    return used;
}

size_t frame_write_header(enum frame_opcode opcode, uint64_t length,
                          uint8_t out[FRAME_HEADER_UNMASKED_MAX])
{
    out[0] = (uint8_t)(FIN | opcode);
    return 1 + write_length(length, out + 1);
}

/* One SSE2 or NEON register, at any address. */
typedef uint64_t lanes __attribute__((vector_size(16), aligned(1), may_alias));

/* The rest of less than sixteen bytes; returns all results or-ed together. */
static uint64_t unmask_rest(uint8_t *at, size_t length, uint64_t mask)
{
    uint64_t seen = 0;
    if (length >= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        word ^= mask;
        memcpy(at, &word, 8);
        seen = word;
        at += 8;
        length -= 8;
    }
    if (length >= 4) {
        uint32_t word;
        memcpy(&word, at, 4);
        word ^= (uint32_t)mask;
        memcpy(at, &word, 4);
        seen |= word;
        at += 4;
        length -= 4;
    }
    for (; length > 0; at++, length--, mask >>= 8) {
        *at = (uint8_t)(*at ^ mask);
        seen |= *at;
    }
    return seen;
}

bool frame_unmask(uint8_t *at, size_t length, uint32_t mask)
{
    uint64_t wide = (uint64_t)mask << 32 | mask;
    lanes masks = {wide, wide}, seen = {0, 0};
    for (; length >= sizeof masks; at += sizeof masks, length -= sizeof masks) {
        lanes block = *(lanes *)at ^ masks;
        *(lanes *)at = block;
        seen |= block;
    }
    uint64_t all = seen[0] | seen[1] | unmask_rest(at, length, wide);
    return (all & 0x8080808080808080u) == 0;
}
