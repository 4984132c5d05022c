/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base64.h"

static const char alphabets[][65] = {
    [BASE64_STANDARD] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    [BASE64_URL] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};

size_t base64_encode(enum base64 form, struct span bytes, char *out)
{
    const char *letter = alphabets[form];
    char *at = out;
    size_t i = 0;
    for (; i + 3 <= bytes.length; i += 3) {
        uint32_t group = (uint32_t)bytes.at[i] << 16 | (uint32_t)bytes.at[i + 1] << 8 |
                         (uint32_t)bytes.at[i + 2];
        for (int shift = 18; shift >= 0; shift -= 6)
            *at++ = letter[group >> shift & 63];
    }
    size_t left = bytes.length - i; /* 0, 1 or 2, which become 0, 2 or 3 characters */
    if (left > 0) {
        uint32_t group = (uint32_t)bytes.at[i] << 16;
        if (left == 2)
            group |= (uint32_t)bytes.at[i + 1] << 8;
        for (size_t k = 0; k <= left; k++)
            *at++ = letter[group >> (18 - 6 * k) & 63];
        for (size_t k = left; k < 3 && form == BASE64_STANDARD; k++)
            *at++ = '=';
    }
    return (size_t)(at - out);
}

/* The six bits of a letter, or -1. */
static int value_of(enum base64 form, uint8_t letter)
{
    if (letter >= 'A' && letter <= 'Z')
        return letter - 'A';
    if (letter >= 'a' && letter <= 'z')
        return letter - 'a' + 26;
    if (letter >= '0' && letter <= '9')
        return letter - '0' + 52;
    if (letter == (uint8_t)alphabets[form][62])
        return 62;
    return letter == (uint8_t)alphabets[form][63] ? 63 : -1;
}

/* Takes the padding off; false if it is not what the form demands. */
static bool unpad(enum base64 form, struct span *text)
{
    if (form == BASE64_URL)
        return text->length % 4 != 1;
    if (text->length % 4 != 0)
        return false;
    for (int i = 0; i < 2 && text->length > 0 && text->at[text->length - 1] == '='; i++)
        text->length--;
    return true;
}

ptrdiff_t base64_decode(enum base64 form, struct span text, uint8_t *out)
{
    if (!unpad(form, &text))
        return -1;
    uint8_t *at = out;
    uint32_t bits = 0;
    unsigned held = 0; /* how many of `bits` are still to be written */
    for (size_t i = 0; i < text.length; i++) {
        int value = value_of(form, text.at[i]);
        if (value < 0)
            return -1;
        bits = bits << 6 | (uint32_t)value;
        held += 6;
        if (held >= 8) {
            held -= 8;
            *at++ = (uint8_t)(bits >> held);
        }
    }
    if ((bits & ((1u << held) - 1)) != 0)
        return -1;
    return at - out;
}
