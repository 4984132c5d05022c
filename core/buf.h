/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growable run of bytes with an upper bound. It owns its memory; one owner, one thread.
 *
 * Start with {.max = n} (all else zero) or buf_init(); end with buf_fini(), after which it may be
 * used again. Every put either appends the whole of what was given or changes nothing and returns
 * false: the bound would be passed, or there is no memory.
 */
#ifndef CORE_BUF_H
#define CORE_BUF_H

#include "core/must.h"
#include "core/span.h"

struct buf {
    uint8_t *at;
    size_t length;   /* bytes in use */
    size_t capacity; /* bytes owned */
    size_t max;      /* bytes it may ever own */
};

void buf_init(struct buf *buf, size_t max);
void buf_fini(struct buf *buf);

/* Room for `more` bytes behind the end, or NULL. What is written there counts after buf_grew(). */
NODISCARD uint8_t *buf_room(struct buf *buf, size_t more);
void buf_grew(struct buf *buf, size_t more);

NODISCARD bool buf_put(struct buf *buf, const void *bytes, size_t length);
NODISCARD bool buf_print(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);

NODISCARD bool buf_put_number(struct buf *buf, uint64_t number); /* in decimal */

/* Puts `text` as a JSON string, quotes included: control characters,
 * quote and backslash escaped, and bytes that are not UTF-8 replaced by U+FFFD. */
NODISCARD bool buf_put_json(struct buf *buf, struct span text);

/* Drops the first `length` bytes; the rest moves to the front. */
void buf_drop(struct buf *buf, size_t length);

static inline struct span buf_span(const struct buf *buf)
{
    return span_of(buf->at, buf->length);
}

#endif
