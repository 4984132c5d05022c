/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass over the text checks RFC 8259's grammar, RFC 3629's UTF-8, and collects the flaws that
 * jsonb would object to. A string is first searched for its first byte that is not plain
 * (json_scan.h); nearly always that is the closing quote, and all else (escapes, bytes past ASCII)
 * is handled here, out of the way.
 *
 * Nesting needs no stack of its own: at most 64 levels, so one bit
 * each of a 64-bit word says whether it is an object or an array.
 */
#include "proto/json_scan.h"

#include <limits.h>

#if defined(__SSE2__) && !defined(JSON_PORTABLE)
#include <emmintrin.h>
#define JSON_SSE2 1
#else
#define JSON_SSE2 0
#endif

_Static_assert(JSON_DEPTH_MAX <= 64, "a level is a bit of a 64-bit word");

__attribute__((cold)) const uint8_t *json_scan_fail(struct json_scan *scan, const uint8_t *at)
{
    scan->fault = at;
    scan->error = at == scan->end ? JSON_TRUNCATED : JSON_INVALID;
    return NULL;
}

__attribute__((cold)) static const uint8_t *too_deep(struct json_scan *scan, const uint8_t *at)
{
    scan->fault = at;
    scan->error = JSON_TOO_DEEP;
    return NULL;
}

const uint8_t *json_scan_skip(const struct json_scan *scan, const uint8_t *at)
{
    while (at < scan->end && json_is_space(*at))
        at++;
    return at;
}

/* ── The window ─────────────────────────────────────────────────────────────────────────────── */

/*
 * A bit for each of the 64 bytes at `at` that is not plain: quote, backslash, control character, or
 * past ASCII (which, compared as signed, is below 0x20 as well).
 */
#if JSON_SSE2
static inline uint64_t plain_16(const uint8_t *at)
{
    const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
    const __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    const __m128i backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    const __m128i text = _mm_cmpgt_epi8(bytes, _mm_set1_epi8(0x1F));
    return (unsigned)_mm_movemask_epi8(_mm_andnot_si128(_mm_or_si128(quote, backslash), text));
}

static inline uint64_t not_plain(const uint8_t *at)
{
    return ~(plain_16(at) | plain_16(at + 16) << 16 | plain_16(at + 32) << 32 |
             plain_16(at + 48) << 48);
}
#else
static inline uint64_t not_plain(const uint8_t *at)
{
    uint64_t bits = 0;
    for (unsigned i = 0; i < JSON_WINDOW; i++) {
        bool plain = at[i] >= 0x20 && at[i] < 0x80 && at[i] != '"' && at[i] != '\\';
        bits |= (uint64_t)!plain << i;
    }
    return bits;
}
#endif

/* A text that is shorter than a window is looked at in a copy, all at once. */
__attribute__((noinline)) static void show_short(struct json_scan *scan)
{
    uint8_t copy[JSON_WINDOW] = {0};
    size_t length = (size_t)(scan->end - scan->begin);
    memcpy(copy, scan->begin, length);
    scan->window = scan->begin;
    scan->not_plain = not_plain(copy) & ((UINT64_C(1) << length) - 1);
}

/* The first byte from `at` on that is not plain, or the end, in a text shorter than a window. */
__attribute__((noinline)) static const uint8_t *seek_short(struct json_scan *scan,
                                                           const uint8_t *at)
{
    if (scan->window == NULL)
        show_short(scan);
    uint64_t found = scan->not_plain >> (at - scan->begin);
    return found != 0 ? at + (unsigned)__builtin_ctzll(found) : scan->end;
}

/* The same in any text, where the window shows nothing of it:
 * it moves to there, or so far that it ends with the text. */
static inline const uint8_t *seek(struct json_scan *scan, const uint8_t *at)
{
    if (UNLIKELY(scan->end - scan->begin < JSON_WINDOW))
        return seek_short(scan, at);
    if ((uintptr_t)at - (uintptr_t)scan->window < JSON_WINDOW)
        at = scan->window + JSON_WINDOW;
    while (LIKELY(at < scan->end)) {
        const uint8_t *last = scan->end - JSON_WINDOW, *window = at < last ? at : last;
        uint64_t bits = not_plain(window), found = bits >> (at - window);
        scan->window = window;
        scan->not_plain = bits;
        if (LIKELY(found != 0))
            return at + (unsigned)__builtin_ctzll(found);
        at = window + JSON_WINDOW;
    }
    return at;
}

const uint8_t *json_scan_string_far(struct json_scan *scan, const uint8_t *at)
{
    at = seek(scan, at);
    return LIKELY(at < scan->end && *at == '"') ? at + 1 : json_scan_string_rest(scan, at);
}

/* Where the string goes on after what was not plain: perhaps in the window. */
static const uint8_t *go_on(struct json_scan *scan, const uint8_t *at)
{
    size_t offset = (size_t)((uintptr_t)at - (uintptr_t)scan->window);
    uint64_t found = offset < JSON_WINDOW ? scan->not_plain >> offset : 0;
    return found != 0 ? at + (unsigned)__builtin_ctzll(found) : seek(scan, at);
}

/* ── UTF-8, RFC 3629 4 ──────────────────────────────────────────────────────────────────────── */

/* `count` bytes 80..BF at `at`, of which the first is within low..high. */
static const uint8_t *tail(struct json_scan *scan, const uint8_t *at, unsigned count, uint8_t low,
                           uint8_t high)
{
    for (; count > 0; count--, low = 0x80, high = 0xBF, at++) {
        if (at == scan->end || *at < low || *at > high)
            return json_scan_fail(scan, at);
    }
    return at;
}

/* One character past ASCII: no overlong form, no surrogate, nothing above U+10FFFF. */
static const uint8_t *character(struct json_scan *scan, const uint8_t *at)
{
    uint8_t first = *at;
    if (first < 0xC2 || first > 0xF4)
        return json_scan_fail(scan, at);
    if (first < 0xE0)
        return tail(scan, at + 1, 1, 0x80, 0xBF);
    if (first < 0xF0)
        return tail(scan, at + 1, 2, first == 0xE0 ? 0xA0 : 0x80, first == 0xED ? 0x9F : 0xBF);
    return tail(scan, at + 1, 3, first == 0xF0 ? 0x90 : 0x80, first == 0xF4 ? 0x8F : 0xBF);
}

/* Characters up to the next ASCII byte or the end. */
static const uint8_t *characters(struct json_scan *scan, const uint8_t *at)
{
    do
        at = character(scan, at);
    while (at != NULL && at < scan->end && *at >= 0x80);
    return at;
}

/* ── Escapes, RFC 8259 7 ────────────────────────────────────────────────────────────────────── */

/* The value of a hexadecimal digit, or -1. */
static int hex(uint8_t digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    digit |= 0x20;
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* The four digits at `at`; behind them, with their value in *unit. */
static const uint8_t *code_unit(struct json_scan *scan, const uint8_t *at, unsigned *unit)
{
    unsigned value = 0;
    for (unsigned i = 0; i < 4; i++, at++) {
        int digit = at < scan->end ? hex(*at) : -1;
        if (digit < 0)
            return json_scan_fail(scan, at);
        value = value << 4 | (unsigned)digit;
    }
    *unit = value;
    return at;
}

/* Behind "\u". A high surrogate takes the low one behind it along. */
static const uint8_t *unicode_escape(struct json_scan *scan, const uint8_t *at)
{
    unsigned unit = 0, second = 0;
    at = code_unit(scan, at, &unit);
    if (at == NULL)
        return NULL;
    if (unit == 0)
        scan->flaws |= JSON_HAS_NUL;
    if ((unit & 0xF800) != 0xD800)
        return at;
    if (unit < 0xDC00 && scan->end - at >= 2 && at[0] == '\\' && at[1] == 'u') {
        const uint8_t *next = code_unit(scan, at + 2, &second);
        if (next == NULL || (second & 0xFC00) == 0xDC00)
            return next;
    }
    scan->flaws |= JSON_HAS_LONE_SURROGATE;
    return at;
}

/* At a backslash. */
static const uint8_t *escape(struct json_scan *scan, const uint8_t *at)
{
    scan->escaped = true;
    switch (json_scan_peek(scan, at + 1)) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return at + 2;
    case 'u':
        return unicode_escape(scan, at + 2);
    default:
        return json_scan_fail(scan, at + 1);
    }
}

const uint8_t *json_scan_string_rest(struct json_scan *scan, const uint8_t *at)
{
    while (at != NULL && at < scan->end && *at != '"') {
        if (*at == '\\')
            at = escape(scan, at);
        else if (*at >= 0x80)
            at = characters(scan, at);
        else
            return json_scan_fail(scan, at);
        if (at != NULL)
            at = go_on(scan, at);
    }
    if (at == NULL)
        return NULL;
    return at < scan->end ? at + 1 : json_scan_fail(scan, at);
}

/* ── Numbers ────────────────────────────────────────────────────────────────────────────────── */

/* Behind the digits at `at`. Eight at a time:
 * XOR makes digits 0..9, which adding 0x76 leaves below 0x80. */
static inline const uint8_t *digits(const struct json_scan *scan, const uint8_t *at)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    for (; LIKELY(scan->end - at >= 8); at += 8) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        word ^= 0x3030303030303030u;
        uint64_t others = ((word + 0x7676767676767676u) | word) & 0x8080808080808080u;
        if (LIKELY(others != 0))
            return at + __builtin_ctzll(others) / 8;
    }
#endif
    while (at < scan->end && json_is_digit(*at))
        at++;
    return at;
}

/*
 * What numeric_in() of Postgres says of value out of range: more than 131072 digits before the
 * decimal point (leading zeros do not count, so zero never has any), more than 16383 behind it
 * (zeros count there, even those of zero), or an exponent that it will not add up at all.
 */
enum { WHOLE_DIGITS_MAX = 131072, FRACTION_DIGITS_MAX = 16383, EXPONENT_LIMIT = INT_MAX / 2 };

/* Of the digits at `at` (with "e", its sign, or neither
 * before them); those too large become EXPONENT_LIMIT. */
static int64_t exponent_of(const uint8_t *at, const uint8_t *end)
{
    bool negative = false;
    int64_t value = 0;
    for (; at < end && value < EXPONENT_LIMIT; at++) {
        if (json_is_digit(*at))
            value = value * 10 + (*at - '0');
        else
            negative = *at == '-';
    }
    value = value < EXPONENT_LIMIT ? value : EXPONENT_LIMIT;
    return negative ? -value : value;
}

/* How many digits stand before the point of the number whose whole part,
 * fraction and exponent these are; 0 or less: none (a fraction, or zero). */
static int64_t whole_digits(struct span whole, struct span fraction, int64_t exponent)
{
    size_t zeros = 0;
    if (whole.at[0] != '0')
        return (int64_t)whole.length + exponent;
    while (zeros < fraction.length && fraction.at[zeros] == '0')
        zeros++;
    return zeros == fraction.length ? 0 : exponent - (int64_t)zeros;
}

static bool is_huge(struct span whole, struct span fraction, int64_t exponent)
{
    return exponent >= EXPONENT_LIMIT || exponent <= -EXPONENT_LIMIT ||
           (int64_t)fraction.length - exponent > FRACTION_DIGITS_MAX ||
           whole_digits(whole, fraction, exponent) > WHOLE_DIGITS_MAX;
}

/* At least one digit, or a failure. */
static const uint8_t *some_digits(struct json_scan *scan, const uint8_t *at)
{
    const uint8_t *behind = digits(scan, at);
    return behind > at ? behind : json_scan_fail(scan, at);
}

static const uint8_t *exponent_part(struct json_scan *scan, const uint8_t *at)
{
    uint8_t sign = json_scan_peek(scan, at);
    return some_digits(scan, at + (sign == '+' || sign == '-'));
}

/* The rest of what looks like a number but is long,
 * has an exponent, or is none: int [ frac ] [ exp ]. */
__attribute__((noinline)) static const uint8_t *number_rest(struct json_scan *scan,
                                                            const uint8_t *whole)
{
    const uint8_t *whole_end =
        json_scan_peek(scan, whole) == '0' ? whole + 1 : some_digits(scan, whole);
    const uint8_t *fraction = whole_end, *at = whole_end;
    if (at != NULL && json_scan_peek(scan, at) == '.') {
        fraction = at + 1;
        at = some_digits(scan, fraction);
    }
    const uint8_t *exponent = at;
    if (at != NULL && (json_scan_peek(scan, at) | 0x20) == 'e')
        at = exponent_part(scan, at + 1);
    if (at != NULL &&
        is_huge(span_of(whole, (size_t)(whole_end - whole)),
                span_of(fraction, (size_t)(exponent - fraction)), exponent_of(exponent, at)))
        scan->flaws |= JSON_HAS_HUGE_NUMBER;
    return at;
}

const uint8_t *json_scan_number(struct json_scan *scan, const uint8_t *at)
{
    const uint8_t *whole = at + (*at == '-'), *from = whole;
    const uint8_t *end = json_scan_peek(scan, whole) == '0' ? whole + 1 : digits(scan, whole);
    uint8_t next = json_scan_peek(scan, end);
    if (next == '.' && end > whole) {
        from = end + 1;
        end = digits(scan, from);
        next = json_scan_peek(scan, end);
    }
    if (LIKELY(end > from && (next | 0x20) != 'e' && end - whole <= FRACTION_DIGITS_MAX))
        return end;
    return number_rest(scan, whole);
}

/* ── Literals ───────────────────────────────────────────────────────────────────────────────── */

/* Byte by byte, to say where it goes wrong. */
static const uint8_t *spell(struct json_scan *scan, const uint8_t *at, const char *word)
{
    for (; *word != '\0'; word++, at++) {
        if (json_scan_peek(scan, at) != (uint8_t)*word)
            return json_scan_fail(scan, at);
    }
    return at;
}

const uint8_t *json_scan_literal(struct json_scan *scan, const uint8_t *at)
{
    if (LIKELY(scan->end - at > 4)) {
        if (memcmp(at, "true", 4) == 0 || memcmp(at, "null", 4) == 0)
            return at + 4;
        if (memcmp(at, "fals", 4) == 0 && at[4] == 'e')
            return at + 5;
    }
    uint8_t first = json_scan_peek(scan, at);
    return spell(scan, at, first == 't' ? "true" : first == 'f' ? "false" : "null");
}

/* ── Arrays and objects ─────────────────────────────────────────────────────────────────────── */

/* Bit 0 of `objects` speaks of the innermost level, those above of the ones around it. */
static inline uint8_t closer(uint64_t objects)
{
    return (objects & 1) != 0 ? '}' : ']';
}

/* The levels that are open, from `outer` on. */
struct levels {
    uint64_t objects;
    unsigned depth, outer;
};

/* Behind a value: closes the levels that end here.
 * Behind the comma, or behind the bracket that closed them all. */
static inline const uint8_t *close_levels(struct json_scan *scan, const uint8_t *at,
                                          struct levels *levels)
{
    for (;;) {
        uint8_t next = json_scan_next(scan, &at);
        if (next == ',')
            return at + 1;
        if (UNLIKELY(next != closer(levels->objects)))
            return json_scan_fail(scan, at);
        at++;
        levels->objects >>= 1;
        if (--levels->depth == levels->outer)
            return at;
    }
}

const uint8_t *json_scan_composite(struct json_scan *scan, const uint8_t *at, unsigned outer)
{
    struct levels levels = {.depth = outer, .outer = outer};
    for (;;) {
        /* Before a value. */
        uint8_t next = json_scan_next(scan, &at);
        bool opened = json_is_open(next);
        if (opened) {
            if (UNLIKELY(levels.depth++ == JSON_DEPTH_MAX))
                return too_deep(scan, at);
            levels.objects = levels.objects << 1 | (next == '{');
            at++;
            opened = json_scan_next(scan, &at) != closer(levels.objects);
        } else {
            at = json_scan_scalar(scan, at, next);
            if (UNLIKELY(at == NULL))
                return NULL;
        }
        /* Behind a value, or before the bracket that closes
         * an empty level; or before the first member of one. */
        if (!opened) {
            if (LIKELY((levels.objects & 1) != 0 && json_scan_pair(scan, at, ",\""))) {
                at = json_scan_name(scan, at + 2);
                if (UNLIKELY(at == NULL))
                    return NULL;
                continue;
            }
            at = close_levels(scan, at, &levels);
            if (UNLIKELY(at == NULL) || levels.depth == outer)
                return at;
        }
        if ((levels.objects & 1) != 0) {
            at = json_scan_byte(scan, at, '"');
            if (LIKELY(at != NULL))
                at = json_scan_name(scan, at);
            if (UNLIKELY(at == NULL))
                return NULL;
        }
    }
}

/* ── What json.h offers ─────────────────────────────────────────────────────────────────────── */

ptrdiff_t json_value(struct span text, struct json_value *out, size_t *fault)
{
    if (text.length == 0) {
        *fault = 0;
        return JSON_TRUNCATED;
    }
    struct json_scan scan = json_scan_of(text);
    const uint8_t *at = text.at;
    uint8_t first = json_scan_next(&scan, &at);
    const uint8_t *end = json_scan_value(&scan, at, first, 0);
    if (end == NULL) {
        *fault = (size_t)(scan.fault - text.at);
        return scan.error;
    }
    out->text = span_of(at, (size_t)(end - at));
    out->kind = json_kind_of(first);
    out->flaws = scan.flaws;
    out->escaped = out->kind == JSON_STRING && scan.escaped;
    return end - text.at;
}

int json_document(struct span text, struct json_value *out, size_t *fault)
{
    struct json_value value;
    ptrdiff_t used = json_value(text, &value, fault);
    if (used < 0)
        return (int)used;
    while ((size_t)used < text.length && json_is_space(text.at[used]))
        used++;
    if ((size_t)used < text.length) {
        *fault = (size_t)used;
        return JSON_INVALID;
    }
    *out = value;
    return JSON_OK;
}
