/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scanner under json.h and event.c: the small steps of RFC 8259, inline, for those who walk
 * JSON themselves. Nobody else includes it.
 *
 * Every step takes the place where it begins and returns
 * the place behind what it read, or NULL after json_scan_fail().
 * A place may be `end`, never past it, and nothing at or past `end` is read.
 *
 * Strings are most of JSON, and most of the work is to find where they end. The scanner looks at 64
 * bytes at a time and keeps a bit for each that is not plain text: quotes, above all. The end of a
 * string is then a shift and a count of zeros away, for as many strings as the window holds:
 *
 *   window ─► { " i d " : " w a - 0 0 0 0 0 " , " t y p e " : …
 *   bits        1     1   1                 1   1         1
 *                     ▲ from `i` on, the first one
 */
#ifndef PROTO_JSON_SCAN_H
#define PROTO_JSON_SCAN_H

#include "proto/json.h"

enum { JSON_WINDOW = 64 };

struct json_scan {
    const uint8_t *begin, *end; /* of the text */
    const uint8_t *window;      /* where the bits begin; NULL: nowhere yet */
    uint64_t not_plain;         /* a bit for each byte of the window; 0 for those past the end */
    const uint8_t *fault;       /* where it failed … */
    enum json_error error;      /* … and how */
    unsigned flaws;             /* of all that was read so far */
    bool escaped;               /* a backslash was read so far */
};

static inline struct json_scan json_scan_of(struct span text)
{
    return (struct json_scan){.begin = text.at, .end = text.at + text.length};
}

/* Notes the fault and returns NULL. */
const uint8_t *json_scan_fail(struct json_scan *scan, const uint8_t *at);
/* Over white space, of which there is at least a suspicion. */
const uint8_t *json_scan_skip(const struct json_scan *scan, const uint8_t *at);
/* A string's rest that the window does not show,
 * from any byte of it; or from one that is not plain. */
const uint8_t *json_scan_string_far(struct json_scan *scan, const uint8_t *at);
const uint8_t *json_scan_string_rest(struct json_scan *scan, const uint8_t *at);
const uint8_t *json_scan_number(struct json_scan *scan, const uint8_t *at);
const uint8_t *json_scan_literal(struct json_scan *scan, const uint8_t *at);
/* At an opening bracket; `outer` is how many arrays and objects stand around it. */
const uint8_t *json_scan_composite(struct json_scan *scan, const uint8_t *at, unsigned outer);

static inline bool json_is_space(uint8_t byte)
{
    return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t';
}

static inline bool json_is_digit(uint8_t byte)
{
    return (uint8_t)(byte - '0') <= 9;
}

static inline bool json_is_open(uint8_t byte)
{
    return byte == '{' || byte == '[';
}

/* The byte at `at`, or 0, which stands for nothing in JSON, at the end. */
static inline uint8_t json_scan_peek(const struct json_scan *scan, const uint8_t *at)
{
    return LIKELY(at < scan->end) ? *at : 0;
}

/* Moves over white space, of which compact JSON has none; what stands there, 0 at the end. */
static inline uint8_t json_scan_next(const struct json_scan *scan, const uint8_t **at)
{
    uint8_t next = json_scan_peek(scan, *at);
    if (LIKELY(next > ' '))
        return next;
    *at = json_scan_skip(scan, *at);
    return json_scan_peek(scan, *at);
}

/* Over `wanted`, with white space before it. */
static inline const uint8_t *json_scan_byte(struct json_scan *scan, const uint8_t *at,
                                            uint8_t wanted)
{
    if (LIKELY(json_scan_next(scan, &at) == wanted))
        return at + 1;
    return json_scan_fail(scan, at);
}

/* These two stand at `at`, nothing between them: the commonest sequences are asked for as one. */
static inline bool json_scan_pair(const struct json_scan *scan, const uint8_t *at,
                                  const char pair[2])
{
    return LIKELY(at + 2 <= scan->end) && memcmp(at, pair, 2) == 0;
}

/* From behind the opening quote to behind the closing one. */
static inline const uint8_t *json_scan_string(struct json_scan *scan, const uint8_t *at)
{
    size_t offset = (size_t)((uintptr_t)at - (uintptr_t)scan->window);
    uint64_t found = LIKELY(offset < JSON_WINDOW) ? scan->not_plain >> offset : 0;
    if (UNLIKELY(found == 0))
        return json_scan_string_far(scan, at);
    at += (unsigned)__builtin_ctzll(found);
    return LIKELY(*at == '"') ? at + 1 : json_scan_string_rest(scan, at);
}

/* From behind a member's opening quote to behind its colon. */
static inline const uint8_t *json_scan_name(struct json_scan *scan, const uint8_t *at)
{
    at = json_scan_string(scan, at);
    return LIKELY(at != NULL) ? json_scan_byte(scan, at, ':') : NULL;
}

/* A value that is neither array nor object, of which `first` is the first byte. */
static inline const uint8_t *json_scan_scalar(struct json_scan *scan, const uint8_t *at,
                                              uint8_t first)
{
    if (LIKELY(first == '"'))
        return json_scan_string(scan, at + 1);
    return json_is_digit(first) || first == '-' ? json_scan_number(scan, at)
                                                : json_scan_literal(scan, at);
}

/* Any value, of which `first` is the first byte. */
static inline const uint8_t *json_scan_value(struct json_scan *scan, const uint8_t *at,
                                             uint8_t first, unsigned outer)
{
    return json_is_open(first) ? json_scan_composite(scan, at, outer)
                               : json_scan_scalar(scan, at, first);
}

/* What kind of value an accepted one is, by its first byte. */
static inline enum json_kind json_kind_of(uint8_t first)
{
    return first == '{'   ? JSON_OBJECT
           : first == '"' ? JSON_STRING
           : first == '[' ? JSON_ARRAY
           : first == 't' ? JSON_TRUE
           : first == 'f' ? JSON_FALSE
           : first == 'n' ? JSON_NULL
                          : JSON_NUMBER;
}

#endif
