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

bool sql_put_text(struct buf *sql, struct span text)
{
    size_t before = sql->length;
    bool fits = buf_put(sql, " E'", 3);
    for (size_t i = 0; fits && i < text.length; i++) {
        uint8_t byte = text.at[i];
        if (byte == '\'' || byte == '\\')
            fits = buf_put(sql, &byte, 1);
        if (byte != 0)
            fits = fits && buf_put(sql, &byte, 1);
    }
    fits = fits && buf_put(sql, "'", 1);
    if (!fits)
        sql->length = before;
    return fits;
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
