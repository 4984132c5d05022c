/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass over the text checks RFC 8259's grammar, RFC 3629's UTF-8, and collects the flaws that
 * jsonb would object to. A string is first searched for its first byte that is not plain
 * (json_scan.h); nearly always that is the closing quote, and all else (escapes, bytes past ASCII)
 * is handled here, out of the way.
 *
 * Nesting needs no stack of its own: at most 64 levels, so one bit each of a 64-bit word says
 * whether it is an object or an array.
 */
#include "proto/json_scan.h"

#include <limits.h>

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
    unsigned unit, second;
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
            at = json_scan_plain(scan, at);
    }
    if (at == NULL)
        return NULL;
    return at < scan->end ? at + 1 : json_scan_fail(scan, at);
}

/* ── Numbers ────────────────────────────────────────────────────────────────────────────────── */

static inline bool is_digit(uint8_t byte)
{
    return (uint8_t)(byte - '0') <= 9;
}

static inline const uint8_t *digits(const struct json_scan *scan, const uint8_t *at)
{
    while (at < scan->end && is_digit(*at))
        at++;
    return at;
}

/*
 * What numeric_in() of Postgres says of value out of range: more than 131072 digits before the
 * decimal point (leading zeros do not count, so zero never has any), more than 16383 behind it
 * (zeros count there, even those of zero), or an exponent that it will not add up at all.
 */
enum { WHOLE_DIGITS_MAX = 131072, FRACTION_DIGITS_MAX = 16383, EXPONENT_LIMIT = INT_MAX / 2 };

/* Of the digits at `at` (with "e", its sign, or neither before them); those too large become
 * EXPONENT_LIMIT. */
static int64_t exponent_of(const uint8_t *at, const uint8_t *end)
{
    bool negative = false;
    int64_t value = 0;
    for (; at < end && value < EXPONENT_LIMIT; at++) {
        if (is_digit(*at))
            value = value * 10 + (*at - '0');
        else
            negative = *at == '-';
    }
    value = value < EXPONENT_LIMIT ? value : EXPONENT_LIMIT;
    return negative ? -value : value;
}

/* How many digits stand before the point of the number whose whole part, fraction and exponent
 * these are; 0 or less: none (a fraction, or zero). */
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

/* Any number, from its whole part on: int [ frac ] [ exp ] */
static const uint8_t *long_number(struct json_scan *scan, const uint8_t *whole)
{
    const uint8_t *at = json_scan_peek(scan, whole) == '0' ? whole + 1 : some_digits(scan, whole);
    if (at == NULL)
        return NULL;
    const uint8_t *whole_end = at, *fraction = at;
    if (json_scan_peek(scan, at) == '.') {
        fraction = at + 1;
        at = some_digits(scan, fraction);
        if (at == NULL)
            return NULL;
    }
    const uint8_t *mantissa_end = at;
    if ((json_scan_peek(scan, at) | 0x20) == 'e') {
        at = exponent_part(scan, at + 1);
        if (at == NULL)
            return NULL;
    }
    if (UNLIKELY(at > mantissa_end || at - whole > FRACTION_DIGITS_MAX)) {
        if (is_huge(span_of(whole, (size_t)(whole_end - whole)),
                    span_of(fraction, (size_t)(mantissa_end - fraction)),
                    exponent_of(mantissa_end, at)))
            scan->flaws |= JSON_HAS_HUGE_NUMBER;
    }
    return at;
}

const uint8_t *json_scan_number(struct json_scan *scan, const uint8_t *at)
{
    at += *at == '-';
    return long_number(scan, at);
}

/* ── Literals ───────────────────────────────────────────────────────────────────────────────── */

const uint8_t *json_scan_literal(struct json_scan *scan, const uint8_t *at)
{
    uint8_t first = json_scan_peek(scan, at);
    const char *word = first == 't' ? "true" : first == 'f' ? "false" : "null";
    for (; *word != '\0'; word++, at++) {
        if (json_scan_peek(scan, at) != (uint8_t)*word)
            return json_scan_fail(scan, at);
    }
    return at;
}

/* ── Arrays and objects ─────────────────────────────────────────────────────────────────────── */

/* A member's name and colon, up to its value. */
static inline const uint8_t *member_name(struct json_scan *scan, const uint8_t *at)
{
    if (UNLIKELY(json_scan_peek(scan, at) != '"'))
        return json_scan_fail(scan, at);
    at = json_scan_string(scan, at + 1);
    return LIKELY(at != NULL) ? json_scan_colon(scan, at) : NULL;
}

/* Bit 0 of `objects` speaks of the innermost level, those above of the ones around it. */
static inline uint8_t closer(uint64_t objects)
{
    return (objects & 1) != 0 ? '}' : ']';
}

const uint8_t *json_scan_composite(struct json_scan *scan, const uint8_t *at, unsigned outer)
{
    uint64_t objects = 0;
    unsigned depth = outer;
    for (;;) {
        /* At a value. */
        uint8_t first = json_scan_peek(scan, at);
        if (json_is_open(first)) {
            if (UNLIKELY(depth++ == JSON_DEPTH_MAX))
                return too_deep(scan, at);
            objects = objects << 1 | (first == '{');
            at = json_scan_space(scan, at + 1);
            if (json_scan_peek(scan, at) != closer(objects)) {
                if (first == '{' && UNLIKELY((at = member_name(scan, at)) == NULL))
                    return NULL;
                continue;
            }
        } else {
            at = json_scan_scalar(scan, at);
            if (UNLIKELY(at == NULL))
                return NULL;
            at = json_scan_space(scan, at);
        }
        /* Behind a value, or at the bracket that closes an empty level. */
        while (json_scan_peek(scan, at) != ',') {
            if (UNLIKELY(json_scan_peek(scan, at) != closer(objects)))
                return json_scan_fail(scan, at);
            objects >>= 1;
            if (--depth == outer)
                return at + 1;
            at = json_scan_space(scan, at + 1);
        }
        at = json_scan_space(scan, at + 1);
        if ((objects & 1) != 0 && UNLIKELY((at = member_name(scan, at)) == NULL))
            return NULL;
    }
}

/* ── What json.h offers ─────────────────────────────────────────────────────────────────────── */

enum json_kind json_kind_of(uint8_t first)
{
    switch (first) {
    case '"':
        return JSON_STRING;
    case '{':
        return JSON_OBJECT;
    case '[':
        return JSON_ARRAY;
    case 't':
        return JSON_TRUE;
    case 'f':
        return JSON_FALSE;
    case 'n':
        return JSON_NULL;
    default:
        return JSON_NUMBER;
    }
}

ptrdiff_t json_value(struct span text, struct json_value *out, size_t *fault)
{
    if (text.length == 0) {
        *fault = 0;
        return JSON_TRUNCATED;
    }
    struct json_scan scan = json_scan_of(text);
    const uint8_t *at = json_scan_space(&scan, text.at);
    const uint8_t *end = json_scan_value(&scan, at, 0);
    if (end == NULL) {
        *fault = (size_t)(scan.fault - text.at);
        return scan.error;
    }
    out->text = span_of(at, (size_t)(end - at));
    out->kind = json_kind_of(*at);
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
