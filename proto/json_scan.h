/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scanner under json.h and event.c: the small steps of RFC 8259, inline, for those who walk
 * JSON themselves. Nobody else includes it.
 *
 * Every step takes the place where it begins and returns the place behind what it read, or NULL
 * after json_scan_fail(). A place may be `end`, never past it, and nothing at or past `end` is
 * read: strings are searched 16 bytes at a time, and the last, incomplete 16 are read so that they
 * end with the text (its earlier bytes come along and are shifted out). Only a text shorter than 16
 * bytes goes byte by byte.
 */
#ifndef PROTO_JSON_SCAN_H
#define PROTO_JSON_SCAN_H

#include "proto/json.h"

#if defined(__SSE2__) && !defined(JSON_PORTABLE)
#include <emmintrin.h>
#define JSON_SSE2 1
#else
#define JSON_SSE2 0
#endif

struct json_scan {
    const uint8_t *begin, *end; /* of the text */
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
/* The rest of a string from a byte that is not plain, or from the end, to behind its closing quote.
 */
const uint8_t *json_scan_string_rest(struct json_scan *scan, const uint8_t *at);
/* A number, a literal, an array or object; `outer` is how many arrays and objects stand around it.
 */
const uint8_t *json_scan_number(struct json_scan *scan, const uint8_t *at);
const uint8_t *json_scan_literal(struct json_scan *scan, const uint8_t *at);
const uint8_t *json_scan_composite(struct json_scan *scan, const uint8_t *at, unsigned outer);

/* ── White space ────────────────────────────────────────────────────────────────────────────── */

static inline bool json_is_space(uint8_t byte)
{
    return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t';
}

/* Compact JSON has none, most other writers put one blank: both leave at once. */
static inline const uint8_t *json_scan_space(const struct json_scan *scan, const uint8_t *at)
{
    while (UNLIKELY(at < scan->end && *at <= ' ') && json_is_space(*at))
        at++;
    return at;
}

/* The byte at `at`, or 0, which stands for nothing in JSON, at the end. */
static inline uint8_t json_scan_peek(const struct json_scan *scan, const uint8_t *at)
{
    return LIKELY(at < scan->end) ? *at : 0;
}

/* ── Strings ────────────────────────────────────────────────────────────────────────────────── */

/* Plain: neither quote nor backslash nor control character, and ASCII. */
static inline bool json_is_plain(uint8_t byte)
{
    return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

#if JSON_SSE2
/* A bit for each byte that is not plain. Compared as signed, those past ASCII are below 0x20 too.
 */
static inline unsigned json_not_plain(const uint8_t *at)
{
    const __m128i bytes = _mm_loadu_si128((const __m128i *)at);
    const __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    const __m128i backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    const __m128i other = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), other));
}

/* The first byte that is not plain, or the end. */
static inline const uint8_t *json_scan_plain(const struct json_scan *scan, const uint8_t *at)
{
    const uint8_t *end = scan->end;
    for (; LIKELY(end - at >= 16); at += 16) {
        unsigned found = json_not_plain(at);
        if (found != 0)
            return at + __builtin_ctz(found);
    }
    if (UNLIKELY(end - scan->begin < 16)) {
        while (at < end && json_is_plain(*at))
            at++;
        return at;
    }
    unsigned found = json_not_plain(end - 16) >> (16 - (end - at));
    return found != 0 ? at + __builtin_ctz(found) : end;
}
#else
/* True if one of the eight bytes is not plain (the classic test for a byte of value 0 or below n in
 * a word). */
static inline bool json_not_plain(const uint8_t *at)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    uint64_t word;
    memcpy(&word, at, sizeof word);
    const uint64_t quote = word ^ (ones * '"'), backslash = word ^ (ones * '\\');
    return (((word - ones * 0x20) | (quote - ones) | (backslash - ones) | word) & tops) != 0;
}

static inline const uint8_t *json_scan_plain(const struct json_scan *scan, const uint8_t *at)
{
    while (scan->end - at >= 8 && !json_not_plain(at))
        at += 8;
    while (at < scan->end && json_is_plain(*at))
        at++;
    return at;
}
#endif

/* From behind the opening quote to behind the closing one. */
static inline const uint8_t *json_scan_string(struct json_scan *scan, const uint8_t *at)
{
    at = json_scan_plain(scan, at);
    if (LIKELY(at < scan->end && *at == '"'))
        return at + 1;
    return json_scan_string_rest(scan, at);
}

/* ── Members and values ─────────────────────────────────────────────────────────────────────── */

/* From behind a member's name to its value. */
static inline const uint8_t *json_scan_colon(struct json_scan *scan, const uint8_t *at)
{
    at = json_scan_space(scan, at);
    if (UNLIKELY(json_scan_peek(scan, at) != ':'))
        return json_scan_fail(scan, at);
    return json_scan_space(scan, at + 1);
}

/* A string, number or literal. */
static inline const uint8_t *json_scan_scalar(struct json_scan *scan, const uint8_t *at)
{
    uint8_t first = json_scan_peek(scan, at);
    if (LIKELY(first == '"'))
        return json_scan_string(scan, at + 1);
    if (LIKELY(first == '-' || (first >= '0' && first <= '9')))
        return json_scan_number(scan, at);
    return json_scan_literal(scan, at);
}

static inline bool json_is_open(uint8_t byte)
{
    return byte == '{' || byte == '[';
}

static inline const uint8_t *json_scan_value(struct json_scan *scan, const uint8_t *at,
                                             unsigned outer)
{
    if (json_is_open(json_scan_peek(scan, at)))
        return json_scan_composite(scan, at, outer);
    return json_scan_scalar(scan, at);
}

/* What kind of value an accepted one is, by its first byte. */
enum json_kind json_kind_of(uint8_t first);

#endif
