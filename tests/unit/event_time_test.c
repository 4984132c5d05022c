/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/event.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <time.h>

static bool read_time(const char *text, int64_t *us)
{
    size_t length = strlen(text);
    uint8_t *at = unit_edge_copy(text, length);
    bool fine = event_time_parse(span_of(at, length), us);
    unit_edge_free(at, length);
    return fine;
}

static void reads(const char *text, int64_t expected)
{
    int64_t us = -1;
    if (!read_time(text, &us) || us != expected)
        fail_msg("%s: %lld, not %lld", text, (long long)us, (long long)expected);
}

static void refuses(const char *text)
{
    int64_t us = 42;
    if (read_time(text, &us))
        fail_msg("should be refused: %s", text);
    assert_int_equal(us, 42);
}

static void prints(int64_t us, const char *expected)
{
    char out[EVENT_TIME_BYTES + 1] = {0};
    event_time_print(us, out);
    assert_string_equal(out, expected);
}

/* RFC 3339 5.8, and the forms around them. */
static void test_forms(void **state)
{
    (void)state;
    reads("1985-04-12T23:20:50.52Z", 482196050520000);
    reads("1996-12-19T16:39:57-08:00", 851042397000000);
    reads("1937-01-01T12:00:27.87+00:20", -1041337172130000);
    reads("1970-01-01T00:00:00Z", 0);
    reads("1970-01-01t00:00:00z", 0);
    reads("1970-01-01T00:00:00-00:00", 0);
    reads("1970-01-01T23:59:00+23:59", 0);
    reads("1969-12-31T23:59:59.999999Z", -1);
    reads("1970-01-01T00:00:00.1Z", 100000);
    reads("1970-01-01T00:00:00.000001Z", 1);
    reads("1970-01-01T00:00:00.0000019999999999999999999999999999999Z", 1);
    reads("1970-01-01T00:00:00.9999999+00:00", 999999);
    reads("2000-02-29T00:00:00Z", 951782400000000);
    reads("2024-02-29T12:00:00Z", 1709208000000000);
}

static void test_range(void **state)
{
    (void)state;
    reads("0001-01-01T00:00:00Z", -62135596800000000);
    reads("9999-12-31T23:59:59.999999Z", 253402300799999999);
    reads("0001-01-01T01:00:00+01:00", -62135596800000000);
    refuses("0000-12-31T23:59:59Z");
    refuses("0001-01-01T00:59:59+01:00");
    refuses("9999-12-31T23:00:00-01:00");
    refuses("0000-01-01T00:00:00Z");
}

static void test_leap_seconds(void **state)
{
    (void)state;
    reads("1990-12-31T23:59:60Z", 662687999999999);
    reads("1990-12-31T15:59:60-08:00", 662687999999999);
    reads("2016-12-31T23:59:60.25Z", 1483228799999999);
    reads("2017-01-01T00:59:60+01:00", 1483228799999999);
    reads("2012-06-30T23:59:60Z", 1341100799999999);
    reads("9999-12-31T23:59:60Z", 253402300799999999);
    refuses("1990-12-31T22:59:60Z");
    refuses("1990-12-31T23:58:60Z");
    refuses("1990-12-30T23:59:60Z");
    refuses("1990-12-31T23:59:61Z");
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "Z",
                                        "2015-05-17",
                                        "2015-05-17T10:05:03",
                                        "2015-05-17T10:05Z",
                                        "2015-05-17 10:05:03Z",
                                        "2015-05-17T10:05:03.Z",
                                        "2015-05-17T10:05:03,5Z",
                                        "2015-05-17T10:05:03+0200",
                                        "2015-05-17T10:05:03+02",
                                        "2015-05-17T10:05:03+02:0",
                                        "2015-05-17T10:05:03+24:00",
                                        "2015-05-17T10:05:03+02:60",
                                        "2015-05-17T10:05:03Z ",
                                        " 2015-05-17T10:05:03Z",
                                        "2015-05-17T10:05:03ZZ",
                                        "2015-13-17T10:05:03Z",
                                        "2015-00-17T10:05:03Z",
                                        "2015-05-00T10:05:03Z",
                                        "2015-05-32T10:05:03Z",
                                        "2015-04-31T10:05:03Z",
                                        "2015-02-29T10:05:03Z",
                                        "1900-02-29T10:05:03Z",
                                        "2015-05-17T24:00:00Z",
                                        "2015-05-17T10:60:03Z",
                                        "2015-05-17T10:05:99Z",
                                        "15-05-17T10:05:03Z",
                                        "2015/05/17T10:05:03Z",
                                        "2015-05-17T10.05.03Z",
                                        "2015-05-17T10:05:0aZ",
                                        "2015-05-17T1 :05:03Z",
                                        "+015-05-17T10:05:03Z",
                                        "2015-05-17T10:05:03.5",
                                        "2015-05-17T10:05:03.",
                                        "2015-05-17T10:05:03.5+2:00",
                                        "2015-05-17T10:05:03\xC3\xA9",
                                        "\xB2\xB0\xB1\xB5-05-17T10:05:03Z",
                                        "2015-05-17T10:05:03*02:00",
                                        "2015-05-17\02410:05:03Z",
                                        "20150517T100503Z"};
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        refuses(texts[i]);
}

/* No byte of it may be anything else. */
static void test_every_byte(void **state)
{
    (void)state;
    const char *form = "2015-05-17T10:05:03.5+02:00";
    for (size_t place = 0; place < strlen(form); place++) {
        char text[32];
        int64_t us;
        for (unsigned byte = 1; byte < 256; byte++) {
            strcpy(text, form);
            text[place] = (char)byte;
            bool digit = byte >= '0' && byte <= '9';
            bool same = byte == (uint8_t)form[place] || (place == 10 && byte == 't') ||
                        (place == 21 && byte == '-');
            bool fine = event_time_parse(span_of_string(text), &us);
            if (fine && !same && !(digit && form[place] >= '0' && form[place] <= '9'))
                fail_msg("byte %zu of %s", place, text);
            if (same)
                assert_true(fine);
        }
        strcpy(text, form);
        text[place] = '\0';
        assert_false(event_time_parse(span_of(text, place), &us));
    }
}

static void check_number(const char *number, int64_t expected)
{
    int64_t us = 42;
    if (!event_time_from_number(span_of_string(number), &us) || us != expected)
        fail_msg("%s: %lld", number, (long long)us);
}

static void test_numbers(void **state)
{
    (void)state;
    check_number("0", 0);
    check_number("-0.0", 0);
    check_number("1431857103", 1431857103000000);
    check_number("1431857103000", 1431857103000000);
    check_number("1431857103.5", 1431857103500000);
    check_number("1431857103.1234569", 1431857103123456);
    check_number("1431857103123.4567", 1431857103123456);
    check_number("1431857103123.4569999999999999999999999999", 1431857103123456);
    check_number("99999999999", 99999999999000000);
    check_number("99999999999.9999999", 99999999999999999);
    check_number("100000000000", 100000000000000);
    check_number("-1.5", -1500000);
    check_number("-99999999999e-1", -9999999999900000);
    check_number("1.431857103e9", 1431857103000000);
    check_number("1431857103E3", 1431857103000000);
    check_number("14318571030000e-1", 1431857103000000);
    check_number("1e-7", 0);
    check_number("0.000001", 1);
    check_number("0e999999999", 0);
    check_number("253402300799999", 253402300799999000);
    check_number("-62135596800000", -62135596800000000);
    static const char *const out_of_range[] = {
        "253402300800000", "-62135596800001",       "1e15", "9e99", "-99999999999",
        "1e999999999",     "1e99999999999999999999"};
    for (size_t i = 0; i < COUNT_OF(out_of_range); i++) {
        int64_t us;
        assert_false(event_time_from_number(span_of_string(out_of_range[i]), &us));
    }
}

static void test_print(void **state)
{
    (void)state;
    prints(0, "1970-01-01T00:00:00.000000Z");
    prints(-1, "1969-12-31T23:59:59.999999Z");
    prints(1431857103123456, "2015-05-17T10:05:03.123456Z");
    prints(-62135596800000000, "0001-01-01T00:00:00.000000Z");
    prints(253402300799999999, "9999-12-31T23:59:59.999999Z");
    prints(951782399000000, "2000-02-28T23:59:59.000000Z");
    prints(951782400000000, "2000-02-29T00:00:00.000000Z");
}

/* Every day of 10,000 years, against the C library's calendar, there and back. */
static void test_every_day(void **state)
{
    (void)state;
    for (int64_t day = -719162; day < 2932897; day++) {
        int64_t us = (day * 86400 + (day & 0xFFFF)) * 1000000 + (day & 0xFFFFF), back;
        char out[EVENT_TIME_BYTES];
        event_time_print(us, out);
        assert_true(event_time_parse(span_of(out, sizeof out), &back));
        assert_int_equal(back, us);
        if ((day & 0xFF) == 0) {
            time_t seconds = day * 86400;
            struct tm date;
            char expected[32];
            gmtime_r(&seconds, &date);
            snprintf(expected, sizeof expected, "%04d-%02d-%02d", date.tm_year + 1900,
                     date.tm_mon + 1, date.tm_mday);
            assert_memory_equal(out, expected, 10);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),        cmocka_unit_test(test_range),
        cmocka_unit_test(test_leap_seconds), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_every_byte),   cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_print),        cmocka_unit_test(test_every_day),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
