/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   1a ;name=value CRLF  <26 bytes> CRLF  …  0 CRLF  [Name: value CRLF]… CRLF
 *
 * One byte at a time, but for the data, which moves in one piece.
 */
#include "proto/chunked.h"

#include <string.h>

/* A chunk cannot be longer than this; far below where `left` would overflow. */
#define SIZE_MAX_BITS 56

static int hex_digit(uint8_t byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    uint8_t lower = byte | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

static bool text(uint8_t byte)
{
    return byte == '\t' || (byte >= ' ' && byte != 0x7f);
}

/* A byte behind the size: the end of the line, or of an extension's beginning. */
static bool after_size(struct chunked *chunked, uint8_t byte)
{
    if (byte == '\r')
        chunked->state = CHUNKED_SIZE_LF;
    else if (byte == ';')
        chunked->state = CHUNKED_EXTENSION;
    else if (byte == ' ' || byte == '\t')
        chunked->state = CHUNKED_SPACE;
    else
        return false;
    return true;
}

static bool size_byte(struct chunked *chunked, uint8_t byte)
{
    int digit = hex_digit(byte);
    if (digit < 0)
        return chunked->state == CHUNKED_SIZE && after_size(chunked, byte);
    if (chunked->left >> SIZE_MAX_BITS != 0)
        return false;
    chunked->left = chunked->left << 4 | (unsigned)digit;
    chunked->state = CHUNKED_SIZE;
    return true;
}

static bool go(struct chunked *chunked, enum chunked_state state, bool valid)
{
    chunked->state = state;
    return valid;
}

static bool line_byte(struct chunked *chunked, uint8_t byte, enum chunked_state end)
{
    if (byte == '\r')
        chunked->state = end;
    else if (!text(byte))
        return false;
    return true;
}

/* Any byte but one of data. False: not the grammar's. */
static bool step(struct chunked *chunked, uint8_t byte)
{
    switch (chunked->state) {
    case CHUNKED_SIZE_FIRST:
    case CHUNKED_SIZE:
        return size_byte(chunked, byte);
    case CHUNKED_SPACE:
        chunked->extra++;
        return byte != '\r' && after_size(chunked, byte);
    case CHUNKED_EXTENSION:
        chunked->extra++;
        return line_byte(chunked, byte, CHUNKED_SIZE_LF);
    case CHUNKED_SIZE_LF:
        return go(chunked, chunked->left > 0 ? CHUNKED_DATA : CHUNKED_TRAILER_FIRST, byte == '\n');
    case CHUNKED_DATA_CR:
        return go(chunked, CHUNKED_DATA_LF, byte == '\r');
    case CHUNKED_DATA_LF:
        return go(chunked, CHUNKED_SIZE_FIRST, byte == '\n');
    case CHUNKED_TRAILER_FIRST:
        if (byte == '\r')
            return go(chunked, CHUNKED_END_LF, true);
        chunked->state = CHUNKED_TRAILER;
        chunked->extra++;
        return text(byte);
    case CHUNKED_TRAILER:
        chunked->extra++;
        return line_byte(chunked, byte, CHUNKED_TRAILER_LF);
    case CHUNKED_TRAILER_LF:
        return go(chunked, CHUNKED_TRAILER_FIRST, byte == '\n');
    case CHUNKED_END_LF:
        return go(chunked, CHUNKED_DONE, byte == '\n');
    case CHUNKED_DATA:
    case CHUNKED_DONE:
        break;
    }
    must(false);
    return false;
}

static size_t take_data(struct chunked *chunked, uint8_t *to, const uint8_t *from, size_t length)
{
    size_t piece = chunked->left < length ? (size_t)chunked->left : length;
    memmove(to, from, piece);
    chunked->left -= piece;
    if (chunked->left == 0)
        chunked->state = CHUNKED_DATA_CR;
    return piece;
}

ptrdiff_t chunked_decode(struct chunked *chunked, uint8_t *at, size_t length, size_t *data)
{
    size_t used = 0, got = 0;
    while (used < length && chunked->state != CHUNKED_DONE) {
        if (chunked->state == CHUNKED_DATA) {
            size_t piece = take_data(chunked, at + got, at + used, length - used);
            used += piece;
            got += piece;
            continue;
        }
        if (!step(chunked, at[used]))
            return CHUNKED_INVALID;
        if (chunked->extra > CHUNKED_EXTRA_MAX)
            return CHUNKED_TOO_LONG;
        used++;
    }
    *data = got;
    return (ptrdiff_t)used;
}
