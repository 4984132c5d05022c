/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lengths of EIO 3 were counted by JavaScript: in UTF-16 code units, so what UTF-8 writes with four
 * bytes counts two, and everything else one.
 */
#include "ws/polling.h"

#include "core/base64.h"
#include "ws/utf8.h"

enum { SEPARATOR = 0x1e, LENGTH_END = 0xff, LENGTH_DIGITS_MAX = 9 };

/* ── One packet ─────────────────────────────────────────────────────────────────────────────── */

static bool is_type(unsigned value)
{
    return value <= PACKET_NOOP;
}

static bool read_base64(unsigned protocol, uint8_t *text, size_t length, struct packet *out)
{
    unsigned type = PACKET_MESSAGE;
    if (protocol == 3) {
        if (length == 0 || text[0] < '0' || !is_type((unsigned)text[0] - '0'))
            return false;
        type = (unsigned)text[0] - '0';
        text++;
        length--;
    }
    ptrdiff_t bytes = base64_decode(BASE64_STANDARD, span_of(text, length), text);
    if (bytes < 0)
        return false;
    *out = (struct packet){(enum packet_type)type, true, span_of(text, (size_t)bytes)};
    return true;
}

static bool read_text(unsigned protocol, uint8_t *text, size_t length, struct packet *out)
{
    if (length == 0)
        return false;
    if (text[0] == 'b')
        return read_base64(protocol, text + 1, length - 1, out);
    if (text[0] < '0' || !is_type((unsigned)text[0] - '0'))
        return false;
    *out = (struct packet){(enum packet_type)(text[0] - '0'), false, span_of(text + 1, length - 1)};
    return true;
}

bool packet_read(unsigned protocol, bool binary, uint8_t *bytes, size_t length, struct packet *out)
{
    if (!binary)
        return read_text(protocol, bytes, length, out);
    if (protocol != 3) {
        *out = (struct packet){PACKET_MESSAGE, true, span_of(bytes, length)};
        return true;
    }
    if (length == 0 || !is_type(bytes[0]))
        return false;
    *out = (struct packet){(enum packet_type)bytes[0], true, span_of(bytes + 1, length - 1)};
    return true;
}

/* ── Reading payloads ───────────────────────────────────────────────────────────────────────── */

void payload_start(struct payload *payload, enum payload_form form, uint8_t *bytes, size_t length)
{
    *payload = (struct payload){form, form != PAYLOAD_EIO3_BINARY, bytes, length};
}

static int bad(struct payload *payload)
{
    payload->left = 0;
    payload->more = false;
    return PAYLOAD_BAD;
}

/* The first `length` bytes of what is left are a packet, and `skip` more go with it. */
static int take(struct payload *payload, bool binary, size_t length, size_t skip,
                struct packet *out)
{
    unsigned protocol = payload->form == PAYLOAD_EIO4 ? 4 : 3;
    uint8_t *at = payload->rest;
    payload->rest += length + skip;
    payload->left -= length + skip;
    if (!binary && !utf8_valid(span_of(at, length)))
        return bad(payload);
    return packet_read(protocol, binary, at, length, out) ? PAYLOAD_PACKET : bad(payload);
}

static int next_of_4(struct payload *payload, struct packet *out)
{
    if (payload->left == 0)
        return bad(payload); /* nothing at all, or nothing behind a separator */
    uint8_t *end = memchr(payload->rest, SEPARATOR, payload->left);
    payload->more = end != NULL;
    size_t length = end == NULL ? payload->left : (size_t)(end - payload->rest);
    return take(payload, false, length, payload->more, out);
}

/* A decimal length and what ends it, passed over. Digits stand above `zero`. False: it is none. */
static bool read_length(struct payload *payload, uint8_t zero, uint8_t end, size_t *length)
{
    size_t value = 0, at = 0;
    for (; at < payload->left && payload->rest[at] != end; at++) {
        unsigned digit = (unsigned)payload->rest[at] - zero;
        if (digit > 9 || at == LENGTH_DIGITS_MAX)
            return false;
        value = value * 10 + digit;
    }
    if (at == 0 || at == payload->left)
        return false;
    payload->rest += at + 1;
    payload->left -= at + 1;
    *length = value;
    return true;
}

/* How many bytes hold so many UTF-16 code units; -1: they end elsewhere. Is it UTF-8? That is asked
 * later: what is counted wrongly here is not. */
static ptrdiff_t bytes_of_units(struct span text, size_t units)
{
    size_t at = 0;
    while (units > 0 && at < text.length) {
        uint8_t lead = text.at[at];
        size_t bytes = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
        size_t counts = bytes == 4 ? 2 : 1;
        if (counts > units || bytes > text.length - at)
            return -1;
        units -= counts;
        at += bytes;
    }
    return units == 0 ? (ptrdiff_t)at : -1;
}

static int next_of_3(struct payload *payload, struct packet *out)
{
    size_t units;
    payload->more = false;
    if (!read_length(payload, '0', ':', &units))
        return bad(payload);
    ptrdiff_t length = bytes_of_units(span_of(payload->rest, payload->left), units);
    return length < 0 ? bad(payload) : take(payload, false, (size_t)length, 0, out);
}

static int next_of_binary(struct payload *payload, struct packet *out)
{
    uint8_t kind = payload->rest[0];
    size_t length;
    payload->rest++;
    payload->left--;
    if (kind > 1 || !read_length(payload, 0, LENGTH_END, &length) || length > payload->left)
        return bad(payload);
    return take(payload, kind == 1, length, 0, out);
}

int payload_next(struct payload *payload, struct packet *out)
{
    if (payload->left == 0 && !payload->more)
        return PAYLOAD_END;
    switch (payload->form) {
    case PAYLOAD_EIO4:
        return next_of_4(payload, out);
    case PAYLOAD_EIO3:
        return next_of_3(payload, out);
    case PAYLOAD_EIO3_BINARY:
        return next_of_binary(payload, out);
    }
    must(false);
    return PAYLOAD_BAD;
}

/* ── Writing ────────────────────────────────────────────────────────────────────────────────── */

bool packet_put_base64(unsigned protocol, struct span data, struct buf *out)
{
    const char *type = protocol == 3 ? "b4" : "b";
    size_t before = out->length, most = BASE64_ENCODED_MAX(data.length);
    uint8_t *room = buf_put(out, type, strlen(type)) ? buf_room(out, most) : NULL;
    if (room == NULL) {
        out->length = before;
        return false;
    }
    buf_grew(out, base64_encode(BASE64_STANDARD, data, (char *)room));
    return true;
}

static bool put_4(bool binary, struct span packet, struct buf *out)
{
    static const uint8_t separator = SEPARATOR;
    if (out->length > 0 && !buf_put(out, &separator, 1))
        return false;
    if (!binary)
        return buf_put(out, packet.at, packet.length);
    return packet_put_base64(4, packet, out);
}

static size_t units_of(struct span text)
{
    size_t units = 0;
    for (size_t i = 0; i < text.length; i++)
        units += (size_t)((text.at[i] & 0xc0) != 0x80) + (text.at[i] >= 0xf0);
    return units;
}

static bool put_3(bool binary, struct span packet, struct buf *out)
{
    if (!binary)
        return buf_print(out, "%zu:", units_of(packet)) && buf_put(out, packet.at, packet.length);
    size_t length = 2 + BASE64_ENCODED_MAX(packet.length);
    return buf_print(out, "%zu:", length) && packet_put_base64(3, packet, out);
}

static bool put_binary(bool binary, struct span packet, struct buf *out)
{
    uint8_t head[24] = {binary}, digits[20];
    size_t count = 0, length = 1, rest = packet.length + binary;
    do
        digits[count++] = (uint8_t)(rest % 10);
    while ((rest /= 10) > 0);
    while (count > 0)
        head[length++] = digits[--count];
    head[length++] = LENGTH_END;
    if (binary)
        head[length++] = PACKET_MESSAGE;
    return buf_put(out, head, length) && buf_put(out, packet.at, packet.length);
}

bool payload_put(enum payload_form form, bool binary, struct span packet, struct buf *out)
{
    size_t before = out->length;
    bool put = false;
    switch (form) {
    case PAYLOAD_EIO4:
        put = put_4(binary, packet, out);
        break;
    case PAYLOAD_EIO3:
        put = put_3(binary, packet, out);
        break;
    case PAYLOAD_EIO3_BINARY:
        put = put_binary(binary, packet, out);
        break;
    }
    if (!put)
        out->length = before;
    return put;
}

size_t payload_bytes_max(size_t packet_length)
{
    return BASE64_ENCODED_MAX(packet_length) + 32;
}
