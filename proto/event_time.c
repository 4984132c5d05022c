/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times as text, by RFC 3339 5.6 and in the proleptic Gregorian calendar.
 *
 * The nineteen bytes before the fraction are read as three words of eight, "YYYY-MM-", "DDThh:mm"
 * and "hh:mm:ss". XOR with the picture "0000-00-" leaves digits as their values and separators as
 * zero, so one test a word finds whatever should not be there; and one multiplication makes all the
 * two-digit numbers of a word.
 */
#include "proto/event.h"

enum {
    MICROSECONDS = 1000000,
    MINUTES_A_DAY = 1440,
    FRACTION_DIGITS = 6,
    FIXED_BYTES = 19, /* "YYYY-MM-DDThh:mm:ss" */
};

/* 0001-01-01T00:00:00Z and 10000-01-01T00:00:00Z */
static const int64_t earliest_us = -62135596800 * MICROSECONDS;
static const int64_t too_late_us = 253402300800 * MICROSECONDS;

static bool in_range(int64_t us)
{
    return us >= earliest_us && us < too_late_us;
}

/* ── The calendar: days since 1970-01-01 ────────────────────────────────────────────────────── */

/* Years begin in March here, so that the leap day
 * is the last; 400 years are an era of 146097 days. */
enum { ERA_DAYS = 146097, EPOCH_DAYS = 719468 /* 0000-03-01 to 1970-01-01 */ };

static inline int64_t days_of(unsigned year, unsigned month, unsigned day)
{
    static const uint16_t before[] = {306, 337, 0, 31, 61, 92, 122, 153, 184, 214, 245, 275};
    year -= month <= 2;
    unsigned days = year * 365 + year / 4 - year / 100 + year / 400 + before[month - 1] + day - 1;
    return (int64_t)days - EPOCH_DAYS;
}

struct date {
    unsigned year, month, day;
};

/* days: from 0000-03-01 on. */
static struct date date_of(int64_t days)
{
    unsigned shifted = (unsigned)(days + EPOCH_DAYS);
    unsigned era = shifted / ERA_DAYS, of_era = shifted % ERA_DAYS;
    unsigned year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    unsigned of_year = of_era - (365 * year + year / 4 - year / 100);
    unsigned month = (5 * of_year + 2) / 153;
    struct date date = {.day = of_year - (153 * month + 2) / 5 + 1};
    date.month = month < 10 ? month + 3 : month - 9;
    date.year = era * 400 + year + (date.month <= 2);
    return date;
}

/* Every month has 28 days. */
static inline bool has_day(unsigned year, unsigned month, unsigned day)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (LIKELY(day <= 28))
        return day > 0;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return day <= days[month - 1] + (unsigned)(month == 2 && leap);
}

/* ── Reading ────────────────────────────────────────────────────────────────────────────────── */

static inline uint64_t word_at(const void *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

#define BYTE_OF(word, index) ((unsigned)((word) >> (8 * (index))) & 0xFF)

/* The word's bytes against the picture's: digits where it has '0', the very same
 * elsewhere. Byte i of *pairs becomes the number that digits i and i + 1 make.
 * The picture is a constant, so what is made of it costs nothing. */
static inline bool read_word(uint64_t word, uint64_t picture, uint64_t *pairs)
{
    const uint64_t tops = 0x8080808080808080u, ones = 0x0101010101010101u;
    uint64_t value = word ^ picture;
    uint64_t not_digits = (value + ones * (0x7F - 9)) | value;
    uint64_t fixed = ((((picture ^ (ones * '0')) + ones * 0x7F) & tops) >> 7) * 0xFF;
    *pairs = value * 10 + (value >> 8);
    return ((not_digits & tops) | (value & fixed)) == 0;
}

struct clock_time {
    unsigned year, month, day, hour, minute, second;
};

static inline bool read_fixed(const uint8_t *at, struct clock_time *out)
{
    uint64_t date, day, time;
    const uint64_t lower = (uint64_t)0x20 << 16; /* 't' is as good as 'T' */
    if (!read_word(word_at(at), word_at("0000-00-"), &date) ||
        !read_word(word_at(at + 8) & ~lower, word_at("00T00:00") & ~lower, &day) ||
        !read_word(word_at(at + 11), word_at("00:00:00"), &time))
        return false;
    out->year = BYTE_OF(date, 0) * 100 + BYTE_OF(date, 2);
    out->month = BYTE_OF(date, 5);
    out->day = BYTE_OF(day, 0);
    out->hour = BYTE_OF(time, 0);
    out->minute = BYTE_OF(time, 3);
    out->second = BYTE_OF(time, 6);
    return out->year > 0 && out->month - 1 < 12 && has_day(out->year, out->month, out->day) &&
           out->hour < 24 && out->minute < 60 && out->second <= 60;
}

static bool is_digit(uint8_t byte)
{
    return (uint8_t)(byte - '0') <= 9;
}

/* "." and at least one digit at the start of *rest, which moves behind them. */
static bool read_fraction(struct span *rest, unsigned *us)
{
    size_t used = 1;
    unsigned value = 0, scale = MICROSECONDS;
    for (; used < rest->length && is_digit(rest->at[used]); used++) {
        if (scale == 1)
            continue;
        scale /= 10;
        value += (unsigned)(rest->at[used] - '0') * scale;
    }
    *us = value;
    *rest = span_from(*rest, used);
    return used > 1;
}

/* "Z", or "+hh:mm", and nothing behind. */
static bool read_offset(struct span rest, int *minutes)
{
    *minutes = 0;
    if (rest.length == 1)
        return (rest.at[0] | 0x20) == 'z';
    if (rest.length != 6 || (rest.at[0] != '+' && rest.at[0] != '-') || rest.at[3] != ':')
        return false;
    for (unsigned i = 1; i < 6; i++) {
        if (i != 3 && !is_digit(rest.at[i]))
            return false;
    }
    int hours = (rest.at[1] - '0') * 10 + rest.at[2] - '0';
    int past = (rest.at[4] - '0') * 10 + rest.at[5] - '0';
    *minutes = (rest.at[0] == '-' ? -1 : 1) * (hours * 60 + past);
    return hours < 24 && past < 60;
}

/* RFC 3339 5.7: a leap second ends a month, in UTC. */
static bool ends_month(int64_t minute)
{
    int64_t from_zero = minute + 1 + (int64_t)EPOCH_DAYS * MINUTES_A_DAY;
    return from_zero % MINUTES_A_DAY == 0 &&
           date_of(from_zero / MINUTES_A_DAY - EPOCH_DAYS).day == 1;
}

static inline int64_t minute_of(const struct clock_time *clock)
{
    return days_of(clock->year, clock->month, clock->day) * MINUTES_A_DAY + clock->hour * 60 +
           clock->minute;
}

/* The rest: a fraction, an offset, a leap second. */
__attribute__((noinline)) static bool read_rest(struct clock_time clock, struct span rest,
                                                int64_t *out_us)
{
    unsigned fraction = 0;
    int offset;
    if (rest.at[0] == '.' && !read_fraction(&rest, &fraction))
        return false;
    if (!read_offset(rest, &offset))
        return false;
    int64_t minute = minute_of(&clock) - offset;
    if (clock.second == 60) {
        if (!ends_month(minute))
            return false;
        clock.second = 59;
        fraction = MICROSECONDS - 1;
    }
    int64_t us = (minute * 60 + clock.second) * MICROSECONDS + fraction;
    if (!in_range(us))
        return false;
    *out_us = us;
    return true;
}

bool event_time_parse(struct span text, int64_t *out_us)
{
    struct clock_time clock;
    if (text.length <= FIXED_BYTES || !read_fixed(text.at, &clock))
        return false;
    if (LIKELY(text.length == FIXED_BYTES + 1 && text.at[FIXED_BYTES] == 'Z' &&
               clock.second < 60)) {
        *out_us = (minute_of(&clock) * 60 + clock.second) * MICROSECONDS;
        return true;
    }
    return read_rest(clock, span_from(text, FIXED_BYTES), out_us);
}

/* ── Numbers ────────────────────────────────────────────────────────────────────────────────── */

/* A JSON number taken apart: its digits without the point,
 * leading zeros left out, and where the point stands. */
struct decimal {
    bool negative;
    uint8_t digit[24]; /* as many as matter; zeros behind */
    unsigned digits;
    int64_t point; /* how many digits stand before it; may be negative, or past the digits */
};

enum { EXPONENT_MAX = 1000000000 };

static int64_t read_exponent(const uint8_t *at, const uint8_t *end)
{
    int64_t value = 0;
    bool negative = at < end && *at == '-';
    for (; at < end; at++) {
        if (is_digit(*at) && value < EXPONENT_MAX)
            value = value * 10 + (*at - '0');
    }
    return negative ? -value : value;
}

static void read_decimal(struct span number, struct decimal *out)
{
    const uint8_t *at = number.at, *end = at + number.length;
    bool behind_point = false;
    *out = (struct decimal){.negative = *at == '-'};
    for (at += out->negative; at < end && (is_digit(*at) || *at == '.'); at++) {
        if (*at == '.') {
            behind_point = true;
            continue;
        }
        bool leading_zero = out->digits == 0 && *at == '0';
        if (!leading_zero && out->digits < sizeof out->digit)
            out->digit[out->digits++] = (uint8_t)(*at - '0');
        if (behind_point ? leading_zero : !leading_zero)
            out->point += behind_point ? -1 : 1;
    }
    if (at < end)
        out->point += read_exponent(at + 1, end);
}

/* The number's first digits up to `behind` places behind the point, as a whole number. */
static int64_t digits_to(const struct decimal *decimal, int64_t behind)
{
    int64_t value = 0;
    for (int64_t i = 0; i < decimal->point + behind; i++)
        value = value * 10 + (i < decimal->digits ? decimal->digit[i] : 0);
    return decimal->negative ? -value : value;
}

enum { SECONDS_DIGITS = 11, MILLISECONDS_DIGITS = 15 };

/* Nearly every number is this: digits, and not too many. */
static bool read_plain(struct span number, int64_t *us)
{
    int64_t value = 0;
    if (number.length > MILLISECONDS_DIGITS)
        return false;
    for (size_t i = 0; i < number.length; i++) {
        if (!is_digit(number.at[i]))
            return false;
        value = value * 10 + (number.at[i] - '0');
    }
    *us = value * (value < 100000000000 ? MICROSECONDS : 1000);
    return true;
}

/* With a sign, a fraction, an exponent. */
static bool read_any(struct span number, int64_t *us)
{
    struct decimal decimal;
    read_decimal(number, &decimal);
    *us = 0;
    if (decimal.digits == 0)
        return true;
    if (decimal.point > MILLISECONDS_DIGITS)
        return false;
    *us = digits_to(&decimal, decimal.point <= SECONDS_DIGITS ? FRACTION_DIGITS : 3);
    return true;
}

bool event_time_from_number(struct span number, int64_t *out_us)
{
    int64_t us;
    if ((!read_plain(number, &us) && !read_any(number, &us)) || !in_range(us))
        return false;
    *out_us = us;
    return true;
}

/* ── Writing ────────────────────────────────────────────────────────────────────────────────── */

static void put_two(char *out, unsigned value)
{
    out[0] = (char)('0' + value / 10);
    out[1] = (char)('0' + value % 10);
}

void event_time_print(int64_t us, char out[EVENT_TIME_BYTES])
{
    must(in_range(us));
    uint64_t from_zero = (uint64_t)(us - earliest_us);
    unsigned fraction = (unsigned)(from_zero % MICROSECONDS);
    uint64_t seconds = from_zero / MICROSECONDS;
    unsigned of_day = (unsigned)(seconds % 86400);
    struct date date = date_of((int64_t)(seconds / 86400) + earliest_us / MICROSECONDS / 86400);
    memcpy(out, "0000-00-00T00:00:00.000000Z", EVENT_TIME_BYTES);
    put_two(out, date.year / 100);
    put_two(out + 2, date.year % 100);
    put_two(out + 5, date.month);
    put_two(out + 8, date.day);
    put_two(out + 11, of_day / 3600);
    put_two(out + 14, of_day / 60 % 60);
    put_two(out + 17, of_day % 60);
    put_two(out + 20, fraction / 10000);
    put_two(out + 22, fraction / 100 % 100);
    put_two(out + 24, fraction % 100);
}
