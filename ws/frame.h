/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The WebSocket frame, RFC 6455 5.2: header in, header out, and the mask. Pure; any thread.
 *
 *   0               1                 2 …
 *   FIN RSV1-3 op   MASK length7      [length16 | length64]   [masking key]   payload
 *
 * frame_read() judges the encoding only; what a header
 * may say in which situation is ws/websocket.c's business.
 */
#ifndef WS_FRAME_H
#define WS_FRAME_H

#include "core/must.h"
#include "core/span.h"

/* Opcodes, RFC 6455 11.8; from 8 on they are control frames. */
enum frame_opcode {
    FRAME_CONTINUATION = 0x0,
    FRAME_TEXT = 0x1,
    FRAME_BINARY = 0x2,
    FRAME_CLOSE = 0x8,
    FRAME_PING = 0x9,
    FRAME_PONG = 0xa,
};

enum { FRAME_RSV1 = 0x40, FRAME_RSV2 = 0x20, FRAME_RSV3 = 0x10 };

enum {
    FRAME_HEADER_MAX = 14, /* of a masked one */
    FRAME_HEADER_UNMASKED_MAX = 10,
    FRAME_CONTROL_MAX = 125, /* payload of a control frame, RFC 6455 5.5 */
};

struct frame {
    uint64_t length;  /* of the payload */
    uint32_t mask;    /* the key's four bytes as they lie in memory; 0 when not masked */
    uint8_t opcode;   /* 0..15 */
    uint8_t reserved; /* FRAME_RSV1 | … */
    bool final;
    bool masked;
};

enum frame_fault {
    FRAME_MORE = 0,
    FRAME_BAD_LENGTH = -1, /* not in the shortest form, or the 64-bit form's top bit is set */
};

/* > 0: bytes of the header, *out is filled; else an enum frame_fault. */
NODISCARD int frame_read(const uint8_t *at, size_t length, struct frame *out);

/* Writes a header in the shortest form; returns its bytes, 2..FRAME_HEADER_MAX. */
size_t frame_write(const struct frame *frame, uint8_t out[FRAME_HEADER_MAX]);
/* The header of a whole unmasked message or control frame: what a server sends. */
size_t frame_write_header(enum frame_opcode opcode, uint64_t length,
                          uint8_t out[FRAME_HEADER_UNMASKED_MAX]);

/* Applies the mask to the bytes, in place; twice is nothing. True: all of the results are ASCII. */
bool frame_unmask(uint8_t *at, size_t length, uint32_t mask);

/* The mask for what comes `bytes` further on in the same payload. */
static inline uint32_t frame_mask_at(uint32_t mask, size_t bytes)
{
    unsigned bits = (unsigned)(bytes & 3) * 8;
    return bits == 0 ? mask : mask >> bits | mask << (32 - bits);
}

#endif
