/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Growth doubles, so that appending n bytes costs O(n) in all;
 * it stops at `max`. A buffer over memory that its owner lends (capacity == max)
 * never asks for any: that is how the log builds its lines on the stack.
 */
#include "core/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { CAPACITY_LEAST = 256 };

void buf_init(struct buf *buf, size_t max)
{
    *buf = (struct buf){.max = max};
}

void buf_fini(struct buf *buf)
{
    free(buf->at);
    buf_init(buf, buf->max);
}

static bool grow(struct buf *buf, size_t needed)
{
    size_t capacity = buf->capacity > 0 ? buf->capacity : CAPACITY_LEAST;
    while (capacity < needed)
        capacity = capacity <= buf->max / 2 ? capacity * 2 : buf->max;
    if (capacity > buf->max)
        capacity = buf->max;
    uint8_t *at = realloc(buf->at, capacity);
    if (at == NULL)
        return false;
    buf->at = at;
    buf->capacity = capacity;
    return true;
}

uint8_t *buf_room(struct buf *buf, size_t more)
{
    must(buf->length <= buf->capacity && buf->capacity <= buf->max);
    if (more > buf->max - buf->length)
        return NULL;
    size_t needed = buf->length + more;
    /* Room for nothing in an empty buffer is still an address, not the NULL of a failure. */
    if ((needed > buf->capacity || buf->at == NULL) && !grow(buf, needed))
        return NULL;
    return buf->at + buf->length;
}

void buf_grew(struct buf *buf, size_t more)
{
    must(more <= buf->capacity - buf->length);
    buf->length += more;
}

bool buf_put(struct buf *buf, const void *bytes, size_t length)
{
    if (length == 0)
        return true;
    uint8_t *room = buf_room(buf, length);
    if (room == NULL)
        return false;
    memcpy(room, bytes, length);
    buf->length += length;
    return true;
}

bool buf_put_number(struct buf *buf, uint64_t number)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return buf_put(buf, digits + at, sizeof digits - at);
}

/* Mostly what is there already is enough. vsnprintf() ends with a NUL,
 * which needs a place but does not count. */
bool buf_print(struct buf *buf, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    size_t spare = buf->capacity - buf->length;
    int length =
        vsnprintf(spare > 0 ? (char *)buf->at + buf->length : NULL, spare, format, arguments);
    va_end(arguments);
    must(length >= 0);
    size_t whole = (size_t)length + 1;
    uint8_t *room = buf_room(buf, whole);
    if (room != NULL && whole > spare)
        vsnprintf((char *)room, whole, format, again);
    if (room != NULL)
        buf->length += (size_t)length;
    va_end(again);
    return room != NULL;
}

/* The length of the UTF-8 character at the start of `text` (RFC 3629:
 * no overlong forms, no surrogates, nothing above U+10FFFF), or 0. */
static size_t character_length(struct span text)
{
    const uint8_t *at = text.at;
    uint8_t first = at[0];
    if (first < 0x80)
        return 1;
    size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4 || text.length < length)
        return 0;
    uint8_t least = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    uint8_t most = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    if (at[1] < least || at[1] > most)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    return length;
}

/* How many bytes at the start of `text` go into a JSON string as they are. */
static size_t plain_length(struct span text)
{
    size_t i = 0;
    while (i < text.length && text.at[i] >= 0x20 && text.at[i] != '"' && text.at[i] != '\\') {
        size_t length = character_length(span_from(text, i));
        if (length == 0)
            break;
        i += length;
    }
    return i;
}

static bool put_escaped(struct buf *buf, uint8_t byte)
{
    switch (byte) {
    case '"':
        return buf_put(buf, "\\\"", 2);
    case '\\':
        return buf_put(buf, "\\\\", 2);
    case '\n':
        return buf_put(buf, "\\n", 2);
    case '\r':
        return buf_put(buf, "\\r", 2);
    case '\t':
        return buf_put(buf, "\\t", 2);
    default:
        break;
    }
    static const char hex[] = "0123456789abcdef";
    if (byte < 0x20)
        return buf_put(buf, (char[]){'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15]}, 6);
    return buf_put(buf, "\xEF\xBF\xBD", 3); /* U+FFFD for what is not UTF-8 */
}

bool buf_put_json(struct buf *buf, struct span text)
{
    size_t before = buf->length;
    bool fits = buf_put(buf, "\"", 1);
    while (fits && text.length > 0) {
        size_t plain = plain_length(text);
        fits = buf_put(buf, text.at, plain);
        text = span_from(text, plain);
        if (fits && text.length > 0) {
            fits = put_escaped(buf, text.at[0]);
            text = span_from(text, 1);
        }
    }
    fits = fits && buf_put(buf, "\"", 1);
    if (!fits)
        buf->length = before;
    return fits;
}

void buf_drop(struct buf *buf, size_t length)
{
    must(length <= buf->length);
    buf->length -= length;
    if (length > 0 && buf->length > 0)
        memmove(buf->at, buf->at + length, buf->length);
}
