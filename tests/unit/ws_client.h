/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's end of a WebSocket, for tests: writes masked frames, reads unmasked ones.
 */
#ifndef TESTS_UNIT_WS_CLIENT_H
#define TESTS_UNIT_WS_CLIENT_H

#include "core/buf.h"
#include "ws/frame.h"

enum { FIN = 0x80 };

/* Appends a frame; `head`: FIN, reserved bits and opcode as on the wire. */
static inline void client_frame(struct buf *out, unsigned head, const void *payload, size_t length)
{
    struct frame frame = {.length = length,
                          .mask = 0x3d21fa37,
                          .opcode = head & 15,
                          .reserved = head & 0x70,
                          .final = (head & FIN) != 0,
                          .masked = true};
    uint8_t header[FRAME_HEADER_MAX];
    must(buf_put(out, header, frame_write(&frame, header)));
    must(buf_put(out, payload, length));
    if (length > 0)
        frame_unmask(out->at + out->length - length, length, frame.mask);
}

static inline void client_text(struct buf *out, const char *text)
{
    client_frame(out, FIN | FRAME_TEXT, text, strlen(text));
}

/* Takes the next frame off what the server sent. False: none. It must be whole and unmasked. */
static inline bool server_frame(struct span *sent, struct frame *frame, struct span *payload)
{
    if (sent->length == 0)
        return false;
    int header = frame_read(sent->at, sent->length, frame);
    must(header > 0 && !frame->masked);
    *sent = span_from(*sent, (size_t)header);
    must(frame->length <= sent->length);
    *payload = span_of(sent->at, (size_t)frame->length);
    *sent = span_from(*sent, (size_t)frame->length);
    return true;
}

#endif
