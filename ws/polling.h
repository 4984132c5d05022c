/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Engine.IO packets, and the payloads in which HTTP long-polling carries several of them.
 * https://github.com/socketio/engine.io-protocol (4, and 3). Pure; any thread.
 *
 *   a packet, as a WebSocket carries it      text    type digit, data        4hello
 *                                            binary  EIO 4: the data         ▒▒▒▒
 *                                                    EIO 3: type byte, data  04 ▒▒▒▒
 *   … and as text                            EIO 4:  b, base64               bAQIDBA==
 *                                            EIO 3:  b, type digit, base64   b4AQIDBA==
 *
 *   PAYLOAD_EIO4          packets as text, 1e between them
 *   PAYLOAD_EIO3          LENGTH:packet as text …, the length in UTF-16 code units
 *   PAYLOAD_EIO3_BINARY   00 or 01 (binary), the length in bytes as decimal digits 00..09, ff, packet
 */
#ifndef WS_POLLING_H
#define WS_POLLING_H

#include "core/buf.h"

enum packet_type {
    PACKET_OPEN,
    PACKET_CLOSE,
    PACKET_PING,
    PACKET_PONG,
    PACKET_MESSAGE,
    PACKET_UPGRADE,
    PACKET_NOOP,
};

struct packet {
    enum packet_type type;
    bool binary;
    struct span data; /* behind the type; of a text packet: UTF-8 */
};

/* A packet as it stands in `bytes`, which may be changed (base64 is decoded in place) and must
 * outlive it. Text must be UTF-8 already. False: it is none. */
NODISCARD bool packet_read(unsigned protocol, bool binary, uint8_t *bytes, size_t length,
                           struct packet *out);

/* Appends a message's binary data as text, for a client that asked for it (`b64=1`). False: no room. */
NODISCARD bool packet_put_base64(unsigned protocol, struct span data, struct buf *out);

enum payload_form { PAYLOAD_EIO4, PAYLOAD_EIO3, PAYLOAD_EIO3_BINARY };

/* Takes a payload apart; `rest` may be changed. */
struct payload {
    enum payload_form form;
    bool more; /* at least one packet must still come */
    uint8_t *rest;
    size_t left;
};

enum { PAYLOAD_BAD = -1, PAYLOAD_END = 0, PAYLOAD_PACKET = 1 };

void payload_start(struct payload *payload, enum payload_form form, uint8_t *bytes, size_t length);
/* PAYLOAD_PACKET: *out is the next one. After PAYLOAD_BAD it is over as well. */
NODISCARD int payload_next(struct payload *payload, struct packet *out);

/* Appends a text packet with its type digit, or a message's binary data, bare. False: no room. */
NODISCARD bool payload_put(enum payload_form form, bool binary, struct span packet,
                           struct buf *out);
/* More bytes than payload_put() ever appends. */
size_t payload_bytes_max(size_t packet_length);

#endif
