/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values as SQL text. A simple-query message, the only kind
 * that may hold several statements, takes no parameters.
 */
#include "batch/sql.h"

size_t text_cut(struct span text, size_t bytes_max)
{
    if (text.length <= bytes_max)
        return text.length;
    size_t length = bytes_max;
    while (length > 0 && (text.at[length] & 0xc0) == 0x80)
        length--;
    return length;
}

static bool is_special(uint8_t byte)
{
    return byte == '\'' || byte == '\\';
}

bool sql_put_text(struct buf *sql, struct span text)
{
    static const char head[] = " E'";
    size_t bytes = sizeof head - 1 + text.length + 1;
    for (size_t i = 0; i < text.length; i++)
        bytes += is_special(text.at[i]);
    uint8_t *room = buf_room(sql, bytes), *at = room;
    if (room == NULL)
        return false;
    memcpy(at, head, sizeof head - 1);
    at += sizeof head - 1;
    for (size_t i = 0; i < text.length; i++) {
        if (is_special(text.at[i]))
            *at++ = text.at[i];
        if (text.at[i] != 0)
            *at++ = text.at[i];
    }
    *at++ = '\'';
    buf_grew(sql, (size_t)(at - room));
    return true;
}

bool sql_put_bytes(struct buf *sql, struct span bytes)
{
    static const char digit[] = "0123456789abcdef";
    static const char head[] = " E'\\\\x", tail[] = "'::bytea";
    uint8_t *at = buf_room(sql, sizeof head + sizeof tail + 2 * bytes.length);
    if (at == NULL)
        return false;
    memcpy(at, head, sizeof head - 1);
    at += sizeof head - 1;
    for (size_t i = 0; i < bytes.length; i++) {
        *at++ = (uint8_t)digit[bytes.at[i] >> 4];
        *at++ = (uint8_t)digit[bytes.at[i] & 15];
    }
    memcpy(at, tail, sizeof tail - 1);
    buf_grew(sql, sizeof head - 1 + 2 * bytes.length + sizeof tail - 1);
    return true;
}
