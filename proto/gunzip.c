/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/gunzip.h"

#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

enum { ROOM = 16384, WINDOW_BITS_GZIP = 15 + 16 };

struct gunzip {
    z_stream stream;
    uint64_t bytes_max, bytes;
    bool in_member; /* bytes of a member have been read, and not yet its end */
    bool whole;
};

struct gunzip *gunzip_open(uint64_t bytes_max)
{
    struct gunzip *gunzip = calloc(1, sizeof *gunzip);
    if (gunzip == NULL)
        return NULL;
    gunzip->bytes_max = bytes_max;
    if (inflateInit2(&gunzip->stream, WINDOW_BITS_GZIP) != Z_OK) {
        free(gunzip);
        return NULL;
    }
    return gunzip;
}

void gunzip_close(struct gunzip *gunzip)
{
    if (gunzip == NULL)
        return;
    inflateEnd(&gunzip->stream);
    free(gunzip);
}

bool gunzip_whole(const struct gunzip *gunzip)
{
    return gunzip->whole && !gunzip->in_member;
}

static int translate(int code)
{
    if (code == Z_OK || code == Z_STREAM_END || code == Z_BUF_ERROR)
        return 0;
    return code == Z_MEM_ERROR ? GUNZIP_NO_MEMORY : GUNZIP_INVALID;
}

/* As much as fits into one run of room. */
static int step(struct gunzip *gunzip, struct buf *out)
{
    z_stream *stream = &gunzip->stream;
    uint8_t *room = buf_room(out, ROOM);
    if (room == NULL)
        return out->max - out->length < ROOM ? GUNZIP_TOO_LARGE : GUNZIP_NO_MEMORY;
    stream->next_out = room;
    stream->avail_out = ROOM;
    gunzip->in_member = true;
    int code = inflate(stream, Z_NO_FLUSH);
    size_t got = ROOM - stream->avail_out;
    buf_grew(out, got);
    gunzip->bytes += got;
    if (gunzip->bytes > gunzip->bytes_max)
        return GUNZIP_TOO_LARGE;
    if (code == Z_STREAM_END) {
        gunzip->in_member = false;
        gunzip->whole = true;
        code = inflateReset(stream);
    }
    return translate(code);
}

int gunzip_feed(struct gunzip *gunzip, struct span in, struct buf *out)
{
    z_stream *stream = &gunzip->stream;
    must(in.length <= UINT_MAX);
    stream->next_in = (z_const Bytef *)(uintptr_t)in.at;
    stream->avail_in = (uInt)in.length;
    int error = 0;
    /* A full room may mean that zlib holds more back, even with nothing left to read. */
    do {
        if (stream->avail_in == 0 && !gunzip->in_member)
            break;
        error = step(gunzip, out);
    } while (error == 0 && (stream->avail_in > 0 || stream->avail_out == 0));
    return error;
}
