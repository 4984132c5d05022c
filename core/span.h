/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A span is a view of bytes that somebody else owns: where they begin and how many there are. It is
 * passed by value, never owns, is never NUL-terminated, and lives as long as what it looks at.
 * An absent text is {NULL, 0}; an empty one has an address and length 0.
 */
#ifndef CORE_SPAN_H
#define CORE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
    const uint8_t *at;
    size_t length;
};

/* A span over a string literal. */
#define SPAN(literal) ((struct span){(const uint8_t *)(literal), sizeof(literal) - 1})

/* For printf("%.*s", SPAN_ARGS(span)). */
#define SPAN_ARGS(span) (int)(span).length, (const char *)(span).at

static inline struct span span_of(const void *at, size_t length)
{
    return (struct span){(const uint8_t *)at, length};
}

static inline struct span span_of_string(const char *text)
{
    return (struct span){(const uint8_t *)text, strlen(text)};
}

static inline bool span_equal(struct span a, struct span b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.at, b.at, a.length) == 0);
}

static inline bool span_is(struct span a, const char *text)
{
    return span_equal(a, span_of_string(text));
}

static inline struct span span_from(struct span whole, size_t offset)
{
    return (struct span){whole.at + offset, whole.length - offset};
}

#endif
