/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Postgres's binary numeric: int16 groups, weight, sign, scale, then the groups of four digits. The
 * first group counts 10000^weight; groups that are not there are zeros.
 */
#include "batch/big_endian.h"
#include "batch/decimal.h"

enum {
    HEADER_BYTES = 8,
    GROUP_DIGITS = 4,
    GROUP_MAX = 9999,
    NUMERIC_POSITIVE = 0,
    NUMERIC_NEGATIVE = 0x4000,
};

struct numeric {
    const uint8_t *group;
    int groups, weight, scale;
    bool negative;
};

static bool read_header(struct span bytes, struct numeric *out)
{
    if (bytes.length < HEADER_BYTES)
        return false;
    uint16_t sign = get_be16(bytes.at + 4);
    *out = (struct numeric){
        .group = bytes.at + HEADER_BYTES,
        .groups = get_be16(bytes.at),
        .weight = (int16_t)get_be16(bytes.at + 2),
        .scale = get_be16(bytes.at + 6) & 0x3fff,
        .negative = sign == NUMERIC_NEGATIVE,
    };
    if (sign != NUMERIC_POSITIVE && sign != NUMERIC_NEGATIVE) /* NaN, infinity */
        return false;
    if (bytes.length != HEADER_BYTES + 2 * (size_t)out->groups)
        return false;
    for (int i = 0; i < out->groups; i++)
        if (get_be16(out->group + 2 * i) > GROUP_MAX)
            return false;
    return true;
}

/* The digit that counts 10^power. */
static char digit_of(const struct numeric *numeric, int power)
{
    static const unsigned ten[GROUP_DIGITS] = {1, 10, 100, 1000};
    int from_end = power + GROUP_DIGITS * (1 << 16); /* not negative, so that / rounds down */
    int group = numeric->weight - (from_end / GROUP_DIGITS - (1 << 16));
    if (group < 0 || group >= numeric->groups)
        return '0';
    unsigned value = get_be16(numeric->group + 2 * group);
    return (char)('0' + value / ten[from_end % GROUP_DIGITS] % 10);
}

size_t decimal_text_bytes_max(struct span numeric)
{
    struct numeric read;
    if (!read_header(numeric, &read))
        return 0;
    int whole = read.weight < 0 ? 1 : (read.weight + 1) * GROUP_DIGITS;
    return (size_t)(whole + read.scale) + sizeof "-." - 1;
}

size_t decimal_text(struct span numeric, char *out)
{
    struct numeric read;
    if (!read_header(numeric, &read))
        return 0;
    char *at = out;
    if (read.negative)
        *at++ = '-';
    int power = read.weight < 0 ? 0 : (read.weight + 1) * GROUP_DIGITS - 1;
    while (power > 0 && digit_of(&read, power) == '0')
        power--;
    for (; power >= 0; power--)
        *at++ = digit_of(&read, power);
    if (read.scale > 0)
        *at++ = '.';
    for (; power >= -read.scale; power--)
        *at++ = digit_of(&read, power);
    return (size_t)(at - out);
}
