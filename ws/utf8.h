/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UTF-8 by RFC 3629, as it comes: runs may end in the middle of a character. No surrogates, nothing
 * above U+10FFFF, no overlong forms. Fails with the first byte after which no continuation could be
 * valid, so a peer is told at once (RFC 6455 8.1). Pure; any thread.
 */
#ifndef WS_UTF8_H
#define WS_UTF8_H

#include "core/must.h"
#include "core/span.h"

/* Zeroed: between two characters. */
struct utf8 {
    uint8_t state;
};

/* False: what was fed so far cannot become valid any more; *utf8 is then of no further use. */
NODISCARD bool utf8_feed(struct utf8 *utf8, const uint8_t *at, size_t length);

/* Does the text end here, between two characters? */
static inline bool utf8_whole(struct utf8 utf8)
{
    return utf8.state == 0;
}

bool utf8_valid(struct span text);

#endif
