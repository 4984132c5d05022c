/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A compressed message is a raw DEFLATE stream cut off before the 00 00 FF FF with which every sync
 * flush ends (RFC 7692 7.2.1); the receiver puts those four bytes back. A sender may also end a
 * message with a final block (7.2.3.4): the stream is then begun anew, with the same window.
 *
 * Output is bounded where it is made: zlib is never given room past out->max.
 * When there is none left it gets one spare byte; if it fills that one,
 * the message is too big, however small it was on the wire.
 *
 * Without takeover a deflater lives for one message, so its window need not be larger than the
 * message: 512 bytes of JSON cost some 10 KiB for some microseconds, not 256 KiB.
 *
 * zlib makes no raw window of 256 bytes. But its matches reach at most the window less 262 bytes
 * (MIN_LOOKAHEAD), so what it makes with 512 never goes back further than 250: that serves a peer
 * that keeps 256.
 */
#include "ws/deflate.h"

#include <stdlib.h>
#include <zlib.h>

static const uint8_t tail[] = {0x00, 0x00, 0xff, 0xff};

enum {
    ROOM_MIN = 1024,
    ROOM_MAX = 256 * 1024,
    EXPECTED_RATIO = 4,
    LEVEL = 1,
    MEMORY_LEVEL_MAX = 8,
    ZLIB_BITS_MIN = 9, /* of a raw window */
    MIN_LOOKAHEAD = 262
};

struct inflater {
    z_stream stream;
    bool complete; /* nothing fed since the last message, or the last byte ended a final block */
};

struct deflater {
    z_stream stream;
};

/* With the full window, whatever the client means to use. zlib looks at the window only where a
 * match reaches beyond what the same call put out: with less, a match that is too
 * far back would be understood or not by how the bytes happened to come. */
static int inflater_open(struct inflater **out)
{
    struct inflater *inflater = calloc(1, sizeof *inflater);
    if (inflater == NULL)
        return DEFLATE_NO_MEMORY;
    if (inflateInit2(&inflater->stream, -DEFLATE_BITS_MAX) != Z_OK) {
        free(inflater);
        return DEFLATE_NO_MEMORY;
    }
    inflater->complete = true;
    *out = inflater;
    return DEFLATE_OK;
}

void inflater_close(struct inflater **inflater)
{
    if (*inflater == NULL)
        return;
    (void)inflateEnd(&(*inflater)->stream);
    free(*inflater);
    *inflater = NULL;
}

/* Where zlib may write next: behind the message, or, when that is full, the spare byte. */
static int give_room(z_stream *stream, struct buf *out, uint8_t *spare, size_t *given)
{
    size_t left = out->max - out->length;
    if (left == 0) {
        stream->next_out = spare;
        stream->avail_out = 1;
        *given = 0;
        return DEFLATE_OK;
    }
    size_t wanted = (size_t)stream->avail_in * EXPECTED_RATIO;
    wanted = wanted < ROOM_MIN ? ROOM_MIN : wanted > ROOM_MAX ? ROOM_MAX : wanted;
    wanted = wanted < left ? wanted : left;
    uint8_t *room = buf_room(out, wanted);
    if (room == NULL)
        return DEFLATE_NO_MEMORY;
    stream->next_out = room;
    stream->avail_out = (uInt)wanted;
    *given = wanted;
    return DEFLATE_OK;
}

/* One call of inflate(). 1: there may be more output. */
static int inflate_step(struct inflater *inflater, struct buf *out)
{
    z_stream *stream = &inflater->stream;
    uint8_t spare;
    size_t given;
    int fault = give_room(stream, out, &spare, &given);
    if (fault != DEFLATE_OK)
        return fault;
    int result = inflate(stream, Z_SYNC_FLUSH);
    if (given == 0 && stream->avail_out == 0)
        return DEFLATE_TOO_BIG;
    if (given > 0)
        buf_grew(out, given - stream->avail_out);
    if (result == Z_STREAM_END) {
        /* A final block, and more behind it: RFC 7692 7.2.3.4. The window is kept. */
        (void)inflateResetKeep(stream);
        inflater->complete = stream->avail_in == 0;
        return !inflater->complete;
    }
    if (result == Z_MEM_ERROR)
        return DEFLATE_NO_MEMORY;
    if (result != Z_OK && result != Z_BUF_ERROR)
        return DEFLATE_CORRUPT;
    return stream->avail_out == 0 || stream->avail_in > 0;
}

static int inflate_all(struct inflater *inflater, struct span piece, struct buf *out)
{
    if (piece.length == 0)
        return DEFLATE_OK;
    /* zlib counts in 32 bits; a piece comes from a receive
     * buffer or a message, and both are far below. */
    must(piece.length <= INT32_MAX);
    inflater->stream.next_in = (Bytef *)(uintptr_t)piece.at;
    inflater->stream.avail_in = (uInt)piece.length;
    inflater->complete = false;
    int more;
    do {
        more = inflate_step(inflater, out);
    } while (more > 0);
    return more;
}

/* Puts the tail back. Then the stream must stand
 * between two blocks: else the sender broke one off. */
static int inflate_tail(struct inflater *inflater, struct buf *out)
{
    enum { UNUSED_BITS = 63, BLOCK_BOUNDARY = 128 }; /* of data_type, as zlib.h says of inflate() */
    /* Also an empty message, or a final block without the 00 behind it: forgiven. */
    if (inflater->complete)
        return DEFLATE_OK;
    int fault = inflate_all(inflater, span_of(tail, sizeof tail), out);
    if (fault != DEFLATE_OK || inflater->complete)
        return fault;
    int type = inflater->stream.data_type;
    return (type & BLOCK_BOUNDARY) != 0 && (type & UNUSED_BITS) == 0 ? DEFLATE_OK : DEFLATE_CORRUPT;
}

int inflater_feed(struct inflater **inflater, const struct deflate_terms *terms, struct span piece,
                  bool last, struct buf *out)
{
    must(terms->agreed);
    if (*inflater == NULL) {
        int fault = inflater_open(inflater);
        if (fault != DEFLATE_OK)
            return fault;
    }
    int fault = inflate_all(*inflater, piece, out);
    if (fault == DEFLATE_OK && last) {
        fault = inflate_tail(*inflater, out);
        (*inflater)->complete = true;
        if (terms->client_no_context_takeover)
            inflater_close(inflater);
    }
    return fault;
}

/* The smallest window that holds the whole message;
 * all that the terms allow if it outlives the message. */
static int window_bits(const struct deflate_terms *terms, size_t length)
{
    int bits = terms->server_max_window_bits;
    while (terms->server_no_context_takeover && bits > ZLIB_BITS_MIN &&
           ((size_t)1 << (bits - 1)) >= length + MIN_LOOKAHEAD)
        bits--;
    return bits < ZLIB_BITS_MIN ? ZLIB_BITS_MIN : bits;
}

static int deflater_open(struct deflater **out, int bits)
{
    must(bits >= ZLIB_BITS_MIN && bits <= DEFLATE_BITS_MAX);
    struct deflater *deflater = calloc(1, sizeof *deflater);
    if (deflater == NULL)
        return DEFLATE_NO_MEMORY;
    int memory_level = bits - 7 < MEMORY_LEVEL_MAX ? bits - 7 : MEMORY_LEVEL_MAX;
    if (deflateInit2(&deflater->stream, LEVEL, Z_DEFLATED, -bits, memory_level,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
        free(deflater);
        return DEFLATE_NO_MEMORY;
    }
    *out = deflater;
    return DEFLATE_OK;
}

void deflater_close(struct deflater **deflater)
{
    if (*deflater == NULL)
        return;
    (void)deflateEnd(&(*deflater)->stream);
    free(*deflater);
    *deflater = NULL;
}

static int deflate_all(z_stream *stream, struct span message, struct buf *out)
{
    must(message.length <= INT32_MAX);
    stream->next_in = (Bytef *)(uintptr_t)message.at;
    stream->avail_in = (uInt)message.length;
    do {
        size_t left = out->max - out->length;
        size_t wanted = (size_t)stream->avail_in / 2 + ROOM_MIN;
        wanted = wanted < left ? wanted : left;
        uint8_t *room = wanted > 0 ? buf_room(out, wanted) : NULL;
        if (room == NULL)
            return left == 0 ? DEFLATE_TOO_BIG : DEFLATE_NO_MEMORY;
        stream->next_out = room;
        stream->avail_out = (uInt)wanted;
        (void)deflate(stream, Z_SYNC_FLUSH);
        buf_grew(out, wanted - stream->avail_out);
    } while (stream->avail_out == 0);
    return DEFLATE_OK;
}

int deflater_message(struct deflater **deflater, const struct deflate_terms *terms,
                     struct span message, struct buf *out)
{
    must(terms->agreed);
    if (message.length == 0) /* RFC 7692 7.2.3.6: zlib would flush nothing a second time */
        return buf_put(out, "", 1) ? DEFLATE_OK : DEFLATE_TOO_BIG;
    if (*deflater == NULL) {
        int fault = deflater_open(deflater, window_bits(terms, message.length));
        if (fault != DEFLATE_OK)
            return fault;
    }
    size_t before = out->length;
    int fault = deflate_all(&(*deflater)->stream, message, out);
    if (fault == DEFLATE_OK) {
        must(out->length - before > sizeof tail &&
             memcmp(out->at + out->length - sizeof tail, tail, sizeof tail) == 0);
        out->length -= sizeof tail;
    } else {
        out->length = before;
    }
    if (terms->server_no_context_takeover)
        deflater_close(deflater);
    return fault;
}
