/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chunked transfer coding (RFC 9112 7.1), taken off in place. Pure.
 *
 * Strict where two readings of one message would let a request be smuggled past a proxy: only CRLF
 * ends a line, a size is hexadecimal digits and nothing else. Extensions and trailer fields are
 * read past, and are bounded.
 */
#ifndef PROTO_CHUNKED_H
#define PROTO_CHUNKED_H

#include "core/must.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All extensions and trailer fields of one message together. */
enum { CHUNKED_EXTRA_MAX = 16384 };

enum chunked_error { CHUNKED_INVALID = -1, CHUNKED_TOO_LONG = -2 };

enum chunked_state {
    CHUNKED_SIZE_FIRST,
    CHUNKED_SIZE,
    CHUNKED_SPACE, /* before a semicolon (RFC 9112 7.1.1: bad white space) */
    CHUNKED_EXTENSION,
    CHUNKED_SIZE_LF,
    CHUNKED_DATA,
    CHUNKED_DATA_CR,
    CHUNKED_DATA_LF,
    CHUNKED_TRAILER_FIRST,
    CHUNKED_TRAILER,
    CHUNKED_TRAILER_LF,
    CHUNKED_END_LF,
    CHUNKED_DONE,
};

/* Starts zeroed. */
struct chunked {
    enum chunked_state state;
    uint64_t left;  /* of the chunk */
    unsigned extra; /* bytes of extensions and trailers so far */
};

/*
 * Reads from `at`, moves the data that it finds together at the front of it,
 * and says in *data how many bytes that is. Returns how many bytes were used:
 * all, or fewer when the message has ended; or a chunked_error.
 */
NODISCARD ptrdiff_t chunked_decode(struct chunked *chunked, uint8_t *at, size_t length,
                                   size_t *data);

static inline bool chunked_done(const struct chunked *chunked)
{
    return chunked->state == CHUNKED_DONE;
}

#endif
