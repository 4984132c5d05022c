/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole or in pieces, the same comes out, or the same is wrong;
 * and never more than is allowed. The first byte is the size of the pieces.
 */
#include "proto/gunzip.h"

enum { BYTES_MAX = 100000 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static int unpack(const uint8_t *bytes, size_t length, size_t piece, struct buf *out, bool *whole)
{
    struct gunzip *gunzip = gunzip_open(BYTES_MAX);
    int error = 0;
    must(gunzip != NULL);
    for (size_t at = 0; at < length && error == 0; at += piece)
        error = gunzip_feed(gunzip, span_of(bytes + at, length - at < piece ? length - at : piece),
                            out);
    *whole = gunzip_whole(gunzip);
    gunzip_close(gunzip);
    return error;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    if (length < 2)
        return 0;
    struct buf at_once = {.max = 1 << 20}, by_pieces = {.max = 1 << 20};
    bool whole, also_whole;
    size_t piece = bytes[0] == 0 ? 1 : bytes[0];
    int error = unpack(bytes + 1, length - 1, length, &at_once, &whole);
    must(unpack(bytes + 1, length - 1, piece, &by_pieces, &also_whole) == error);
    must(at_once.length <= BYTES_MAX + 16384 && by_pieces.length <= BYTES_MAX + 16384);
    if (error == 0)
        must(whole == also_whole && span_equal(buf_span(&at_once), buf_span(&by_pieces)));
    buf_fini(&at_once);
    buf_fini(&by_pieces);
    return 0;
}
