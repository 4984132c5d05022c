/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The digits stay where they are, in the text;
 * all that is computed is where the decimal point belongs:
 *
 *   -120.0500e3   negative, whole "120", fraction "05", power 1 (the 5 counts tens), scale 1
 *
 * Numeric keeps digits to the base 10000, aligned at the point, so the first group may be short by
 * up to three digits in front and the last one behind; groups of zeros at either end are left out.
 */
#include "batch/decimal.h"
#include "batch/big_endian.h"

enum {
    EXPONENT_MAX = 1000000000, /* larger ones are cut to this: far outside of every type */
    GROUP_DIGITS = 4,
    NUMERIC_WEIGHT_MAX = 32767, /* int16 */
    NUMERIC_SCALE_MAX = 16383,  /* 14 bits */
    NUMERIC_NEGATIVE = 0x4000,
};

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

/* The run of digits at the front of *rest, which steps behind it. */
static struct span take_digits(struct span *rest)
{
    size_t length = 0;
    while (length < rest->length && is_digit(rest->at[length]))
        length++;
    struct span digits = {rest->at, length};
    *rest = span_from(*rest, length);
    return digits;
}

static bool take_byte(struct span *rest, uint8_t byte)
{
    if (rest->length == 0 || rest->at[0] != byte)
        return false;
    *rest = span_from(*rest, 1);
    return true;
}

static bool take_exponent(struct span *rest, int64_t *out)
{
    bool negative = take_byte(rest, '-');
    if (!negative)
        (void)take_byte(rest, '+');
    struct span digits = take_digits(rest);
    int64_t exponent = 0;
    for (size_t i = 0; i < digits.length && exponent < EXPONENT_MAX; i++)
        exponent = exponent * 10 + (digits.at[i] - '0');
    if (exponent > EXPONENT_MAX)
        exponent = EXPONENT_MAX;
    *out = negative ? -exponent : exponent;
    return digits.length > 0;
}

static struct span without_leading_zeros(struct span digits)
{
    while (digits.length > 0 && digits.at[0] == '0')
        digits = span_from(digits, 1);
    return digits;
}

static struct span without_trailing_zeros(struct span digits)
{
    while (digits.length > 0 && digits.at[digits.length - 1] == '0')
        digits.length--;
    return digits;
}

/* Drops the zeros that carry nothing; those at the end raise the power. */
static void trim(struct decimal *decimal)
{
    decimal->whole = without_leading_zeros(decimal->whole);
    size_t before = decimal->fraction.length;
    decimal->fraction = without_trailing_zeros(decimal->fraction);
    decimal->power += (int64_t)(before - decimal->fraction.length);
    if (decimal->fraction.length == 0) {
        before = decimal->whole.length;
        decimal->whole = without_trailing_zeros(decimal->whole);
        decimal->power += (int64_t)(before - decimal->whole.length);
    } else if (decimal->whole.length == 0) {
        decimal->fraction = without_leading_zeros(decimal->fraction);
    }
}

bool decimal_read(struct span text, struct decimal *out)
{
    struct decimal decimal = {.negative = take_byte(&text, '-')};
    decimal.whole = take_digits(&text);
    if (decimal.whole.length == 0 || (decimal.whole.length > 1 && decimal.whole.at[0] == '0'))
        return false;
    if (take_byte(&text, '.')) {
        decimal.fraction = take_digits(&text);
        if (decimal.fraction.length == 0)
            return false;
    }
    int64_t exponent = 0;
    if ((take_byte(&text, 'e') || take_byte(&text, 'E')) && !take_exponent(&text, &exponent))
        return false;
    if (text.length > 0)
        return false;
    decimal.power = exponent - (int64_t)decimal.fraction.length;
    decimal.scale = -decimal.power;
    trim(&decimal);
    *out = decimal;
    return true;
}

static int64_t digit_count(const struct decimal *decimal)
{
    return (int64_t)(decimal->whole.length + decimal->fraction.length);
}

/* The digit at `index` from the front; 0 outside of those that are written. */
static unsigned digit_at(const struct decimal *decimal, int64_t index)
{
    if (index < 0 || index >= digit_count(decimal))
        return 0;
    size_t at = (size_t)index;
    size_t whole = decimal->whole.length;
    return (unsigned)(at < whole ? decimal->whole.at[at] : decimal->fraction.at[at - whole]) - '0';
}

bool decimal_integer(const struct decimal *decimal, int64_t least, int64_t most, int64_t *out)
{
    enum { INT64_DIGITS = 19 };
    int64_t count = digit_count(decimal) == 0 ? 0 : digit_count(decimal) + decimal->power;
    bool whole = digit_count(decimal) == 0 || decimal->power >= 0;
    if (!whole || count > INT64_DIGITS)
        return false;
    uint64_t magnitude = 0; /* 19 digits always fit */
    for (int64_t i = 0; i < count; i++)
        magnitude = magnitude * 10 + digit_at(decimal, i);
    if (magnitude > (uint64_t)INT64_MAX + decimal->negative)
        return false;
    int64_t value = (int64_t)(decimal->negative ? 0 - magnitude : magnitude);
    if (value < least || value > most)
        return false;
    *out = value;
    return true;
}

static int64_t floor_divide(int64_t a, int64_t b)
{
    int64_t quotient = a / b;
    return quotient * b > a ? quotient - 1 : quotient;
}

static uint8_t *put_groups(const struct decimal *decimal, int64_t first, int64_t groups,
                           uint8_t *at)
{
    for (int64_t i = 0, index = first; i < groups; i++) {
        unsigned group = 0;
        for (int k = 0; k < GROUP_DIGITS; k++)
            group = group * 10 + digit_at(decimal, index++);
        at = put_be16(at, (uint16_t)group);
    }
    return at;
}

size_t decimal_numeric(const struct decimal *decimal, uint8_t *out)
{
    int64_t scale = decimal->scale > 0 ? decimal->scale : 0;
    int64_t count = digit_count(decimal), weight = 0, first = 0, groups = 0;
    if (count > 0) {
        int64_t power = decimal->power + count - 1; /* of the first digit */
        weight = floor_divide(power, GROUP_DIGITS);
        first = power - weight * GROUP_DIGITS - (GROUP_DIGITS - 1);
        groups = (count - first + GROUP_DIGITS - 1) / GROUP_DIGITS;
    }
    if (scale > NUMERIC_SCALE_MAX || weight > NUMERIC_WEIGHT_MAX)
        return 0;
    bool negative = decimal->negative && count > 0; /* there is no negative zero */
    uint8_t *at = put_be16(out, (uint16_t)groups);
    at = put_be16(at, (uint16_t)weight);
    at = put_be16(at, negative ? NUMERIC_NEGATIVE : 0);
    at = put_be16(at, (uint16_t)scale);
    return (size_t)(put_groups(decimal, first, groups, at) - out);
}
