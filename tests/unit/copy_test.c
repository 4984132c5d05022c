/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The expected bytes were compared once with what PostgreSQL 15
 * itself sends for the same values (COPY … TO STDOUT (FORMAT binary)).
 *
 * Longer than a file should be: it is a table of values, column type by column type.
 */
#include "batch/copy.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

enum { RECEIVED_US = 1431857103 };

static const struct event_rules rules = {
    .bytes_max = 200000,
    .bare_type = {(const uint8_t *)"bare", 4},
    .keep_flaws = true,
};
static const char stand_in[] = "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b";

static struct refusal refusal;

/* What became of one event: its row in memory
 * of the very size that copy_row_bytes_max() asks for. */
struct encoded {
    uint8_t *row;
    size_t room, length;
};

static void encoded_free(struct encoded *encoded)
{
    unit_edge_free(encoded->row, encoded->room);
}

static struct encoded encode(const struct stream *stream, const char *json)
{
    size_t length = strlen(json);
    uint8_t *text = unit_edge_copy(json, length);
    struct event event;
    memset(&refusal, 0, sizeof refusal);
    enum event_code code = event_parse(span_of(text, length), &rules, &event, &refusal);
    if (code != EVENT_ACCEPTED)
        fail_msg("%s: %s", json, refusal.message);
    struct encoded encoded = {.room = copy_row_bytes_max(stream, &event)};
    encoded.row = unit_edge(encoded.room);
    encoded.length =
        copy_row(stream, &event, span_of(stand_in, 36), RECEIVED_US, encoded.row, &refusal);
    unit_edge_free(text, length);
    for (size_t room = 0; room <= encoded.room && encoded.length > 0; room++)
        assert_int_equal(copy_row_length(encoded.row, room),
                         room >= encoded.length ? encoded.length : 0);
    return encoded;
}

static struct streams *open_streams(const char *columns)
{
    char why[STREAM_WHY_BYTES];
    struct streams *streams = streams_open();
    assert_int_equal(streams_add_defaults(streams, why), 0);
    if (columns != NULL && streams_add(streams, "s", "s", columns, "", why) != 0)
        fail_msg("%s", why);
    return streams;
}

static void check_row(const char *name, const char *json, const void *row, size_t length)
{
    struct streams *streams = open_streams(NULL);
    struct encoded encoded = encode(streams_find(streams, name), json);
    if (encoded.length == 0)
        fail_msg("%s: %s", json, refusal.message);
    assert_int_equal(encoded.length, length);
    assert_memory_equal(encoded.row, row, length);
    encoded_free(&encoded);
    streams_close(streams);
}

#define CHECK_ROW(name, json, row) check_row(name, json, row, sizeof(row) - 1)
#define NONE                       "\xff\xff\xff\xff"

static void test_frame(void **state)
{
    (void)state;
    assert_memory_equal(copy_header, "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", COPY_HEADER_BYTES);
    assert_memory_equal(copy_trailer, "\377\377", COPY_TRAILER_BYTES);
    assert_int_equal(copy_row_length(copy_trailer, COPY_TRAILER_BYTES), 0);
}

static void test_events(void **state)
{
    (void)state;
    CHECK_ROW(
        "events",
        "{\"type\":\"page_view\",\"id\":\"e1\",\"tenantId\":\"t\",\"userId\":12345678,"
        "\"projectId\":\"0123456789abcdef0\",\"sessionId\":\"\\u00e9\",\"roomId\":\"room:42\","
        "\"timestamp\":\"2000-01-01T00:00:01Z\",\"data\":{\"a\": [1, 2]}}",
        "\0\x0a"
        "\0\0\0\x02"
        "e1"
        "\0\0\0\x09"
        "page_view"
        "\0\0\0\x01"
        "t"
        "\0\0\0\x08"
        "12345678"
        "\0\0\0\x11"
        "0123456789abcdef0"
        "\0\0\0\x02"
        "\xc3\xa9"
        "\0\0\0\x07"
        "room:42"
        "\0\0\0\x08"
        "\0\0\0\0\0\x0f\x42\x40"
        "\0\0\0\x08"
        "\xff\xfc\xa2\xff\x1a\x20\x87\xcf"
        "\0\0\0\x0e"
        "\x01{\"a\": [1, 2]}");
    CHECK_ROW("events", "{\"type\":\"x\"}",
              "\0\x0a"
              "\0\0\0\x24"
              "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"
              "\0\0\0\x01"
              "x" NONE NONE NONE NONE NONE "\0\0\0\x08"
              "\xff\xfc\xa2\xff\x1a\x20\x87\xcf"
              "\0\0\0\x08"
              "\xff\xfc\xa2\xff\x1a\x20\x87\xcf" NONE);
    CHECK_ROW("events", "{\"type\":\"x\",\"id\":\"i\",\"ts\":0,\"more\":1}",
              "\0\x0a"
              "\0\0\0\x01"
              "i"
              "\0\0\0\x01"
              "x" NONE NONE NONE NONE NONE "\0\0\0\x08"
              "\xff\xfc\xa2\xfe\xc4\xc8\x20\0"
              "\0\0\0\x08"
              "\xff\xfc\xa2\xff\x1a\x20\x87\xcf"
              "\0\0\0\x16"
              "\x01{\"_extra\":{\"more\":1}}");
    CHECK_ROW("events", "{\"bare\":true}",
              "\0\x0a"
              "\0\0\0\x24"
              "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"
              "\0\0\0\x04"
              "bare" NONE NONE NONE NONE NONE "\0\0\0\x08"
              "\xff\xfc\xa2\xff\x1a\x20\x87\xcf"
              "\0\0\0\x08"
              "\xff\xfc\xa2\xff\x1a\x20\x87\xcf"
              "\0\0\0\x0e"
              "\x01{\"bare\":true}");
}

static void test_messages_and_carts(void **state)
{
    (void)state;
    CHECK_ROW("messages",
              "{\"type\":\"message\",\"timestamp\":946684800000,\"data\":{\"user_id\":\"7\","
              "\"channel_id\":-2,\"content\":\"a\\n\\ud83d\\ude00\"}}",
              "\0\x04"
              "\0\0\0\x08"
              "\0\0\0\0\0\0\0\x07"
              "\0\0\0\x08"
              "\xff\xff\xff\xff\xff\xff\xff\xfe"
              "\0\0\0\x06"
              "a\n\xf0\x9f\x98\x80"
              "\0\0\0\x08"
              "\0\0\0\0\0\0\0\0");
    CHECK_ROW("messages",
              "{\"type\":\"message\",\"userId\":8,\"timestamp\":946684800000,"
              "\"data\":{\"user_id\":null,\"channel_id\":1,\"content\":\"\"}}",
              "\0\x04"
              "\0\0\0\x08"
              "\0\0\0\0\0\0\0\x08"
              "\0\0\0\x08"
              "\0\0\0\0\0\0\0\x01"
              "\0\0\0\0"
              "\0\0\0\x08"
              "\0\0\0\0\0\0\0\0");
    CHECK_ROW("cart_events",
              "{\"eventType\":\"item_added\",\"eventId\":\"e\",\"userId\":\"u\",\"metadata\":[],"
              "\"timestamp\":946684800000}",
              "\0\x06"
              "\0\0\0\x01"
              "e"
              "\0\0\0\x01"
              "u"
              "\0\0\0\x0a"
              "item_added"
              "\0\0\0\x03"
              "\x01[]"
              "\0\0\0\x08"
              "\0\0\0\0\0\0\0\0"
              "\0\0\0\x08"
              "\xff\xfc\xa2\xff\x1a\x20\x87\xcf");
}

/* ── One value into one column ──────────────────────────────────────────────────────────────── */

struct value_case {
    const char *json;
    const char *bytes; /* NULL: refused */
    size_t length;
};

#define FITS(json, bytes)                                                                          \
    {                                                                                              \
        json, bytes, sizeof(bytes) - 1                                                             \
    }
#define REFUSED(json)                                                                              \
    {                                                                                              \
        json, NULL, 0                                                                              \
    }

static void check_value(const struct stream *stream, const struct value_case *value,
                        const char *why)
{
    char json[4096];
    snprintf(json, sizeof json, "{\"type\":\"t\",\"data\":{\"v\":%s}}", value->json);
    struct encoded encoded = encode(stream, json);
    if (value->bytes == NULL) {
        if (encoded.length > 0)
            fail_msg("accepted: %s", value->json);
        assert_string_equal(refusal.message, why);
        assert_int_equal(refusal.code,
                         strstr(why, "surrogate") ? EVENT_UNSTORABLE_TEXT : EVENT_INVALID_FIELD);
    } else {
        if (encoded.length != 6 + value->length ||
            memcmp(encoded.row + 6, value->bytes, value->length) != 0)
            fail_msg("%s: wrong bytes, or %s", value->json, refusal.message);
        assert_int_equal(encoded.row[5], value->length);
    }
    encoded_free(&encoded);
}

static void check_values(const char *type, const struct value_case *cases, size_t count,
                         const char *why)
{
    char columns[64];
    snprintf(columns, sizeof columns, "v %s", type);
    struct streams *streams = open_streams(columns);
    for (size_t i = 0; i < count; i++)
        check_value(streams_find(streams, "s"), &cases[i], why);
    streams_close(streams);
}

static void test_bigint(void **state)
{
    (void)state;
    static const struct value_case cases[] = {
        FITS("5", "\0\0\0\0\0\0\0\x05"),
        FITS("5.0", "\0\0\0\0\0\0\0\x05"),
        FITS("5e0", "\0\0\0\0\0\0\0\x05"),
        FITS("50e-1", "\0\0\0\0\0\0\0\x05"),
        FITS("0.05E+2", "\0\0\0\0\0\0\0\x05"),
        FITS("\"5\"", "\0\0\0\0\0\0\0\x05"),
        FITS("\"\\u0035\"", "\0\0\0\0\0\0\0\x05"),
        FITS("-0", "\0\0\0\0\0\0\0\0"),
        FITS("0e999999999999", "\0\0\0\0\0\0\0\0"),
        FITS("1e18", "\x0d\xe0\xb6\xb3\xa7\x64\0\0"),
        FITS("9223372036854775807", "\x7f\xff\xff\xff\xff\xff\xff\xff"),
        FITS("-9223372036854775808", "\x80\0\0\0\0\0\0\0"),
        FITS("\"-9223372036854775808.000\"", "\x80\0\0\0\0\0\0\0"),
        REFUSED("9223372036854775808"),
        REFUSED("-9223372036854775809"),
        REFUSED("18446744073709551617"),
        REFUSED("1e19"),
        REFUSED("1e999999999999"),
        REFUSED("5.5"),
        REFUSED("1e-1"),
        REFUSED("\"\""),
        REFUSED("\" 5\""),
        REFUSED("\"5 \""),
        REFUSED("\"+5\""),
        REFUSED("\"05\""),
        REFUSED("\"5.\""),
        REFUSED("\"-\""),
        REFUSED("\"5e\""),
        REFUSED("\"\\u0000\""),
        REFUSED("\"NaN\""),
        REFUSED("true"),
        REFUSED("[5]"),
        REFUSED("{}"),
    };
    check_values("bigint", cases, COUNT_OF(cases),
                 "data.v: must be an integer from -9223372036854775808 to 9223372036854775807 "
                 "(bigint)");
}

static void test_integer(void **state)
{
    (void)state;
    static const struct value_case cases[] = {
        FITS("2147483647", "\x7f\xff\xff\xff"),
        FITS("-2147483648", "\x80\0\0\0"),
        FITS("2e3", "\0\0\x07\xd0"),
        REFUSED("2147483648"),
        REFUSED("-2147483649"),
        REFUSED("9223372036854775808"),
    };
    check_values("integer", cases, COUNT_OF(cases),
                 "data.v: must be an integer from -2147483648 to 2147483647 (integer)");
}

static void test_double(void **state)
{
    (void)state;
    static const struct value_case cases[] = {
        FITS("1", "\x3f\xf0\0\0\0\0\0\0"),
        FITS("-0", "\x80\0\0\0\0\0\0\0"),
        FITS("0.1", "\x3f\xb9\x99\x99\x99\x99\x99\x9a"),
        FITS("\"-2.5e3\"", "\xc0\xa3\x88\0\0\0\0\0"),
        FITS("1.7976931348623157e308", "\x7f\xef\xff\xff\xff\xff\xff\xff"),
        FITS("5e-324", "\0\0\0\0\0\0\0\x01"),
        REFUSED("1.8e308"),
        REFUSED("-1e400"),
        REFUSED("1e-400"),
        REFUSED("\"inf\""),
        REFUSED("\"0x10\""),
        REFUSED("\"1 \""),
        REFUSED("false"),
    };
    check_values("double precision", cases, COUNT_OF(cases),
                 "data.v: must be a number within 1.8e308 (double precision)");
}

static void test_numeric(void **state)
{
    (void)state;
    static const struct value_case cases[] = {
        FITS("0", "\0\0\0\0\0\0\0\0"),
        FITS("-0.00", "\0\0\0\0\0\0\0\x02"),
        FITS("1", "\0\x01\0\0\0\0\0\0\0\x01"),
        FITS("-12345.6780", "\0\x03\0\x01\x40\0\0\x04\0\x01\x09\x29\x1a\x7c"),
        FITS("10000", "\0\x01\0\x01\0\0\0\0\0\x01"),
        FITS("0.0001", "\0\x01\xff\xff\0\0\0\x04\0\x01"),
        FITS("0.00012", "\0\x02\xff\xff\0\0\0\x05\0\x01\x07\xd0"),
        FITS("1.50e1", "\0\x01\0\0\0\0\0\x01\0\x0f"),
        FITS("1.50e1", "\0\x01\0\0\0\0\0\x01\0\x0f"),
        FITS("15e-1", "\0\x02\0\0\0\0\0\x01\0\x01\x13\x88"),
        FITS("\"99.99\"", "\0\x02\0\0\0\0\0\x02\0\x63\x26\xac"),
        FITS("1e131071", "\0\x01\x7f\xff\0\0\0\0\x03\xe8"),
        FITS("1e-16383", "\0\x01\xf0\0\0\0\x3f\xff\0\x0a"),
        REFUSED("1e131072"),
        REFUSED("1e-16384"),
        REFUSED("0e-16384"),
        REFUSED("-1e99999999999999999999"),
        REFUSED("\"NaN\""),
        REFUSED("\"1_000\""),
        REFUSED("\"\""),
    };
    check_values("numeric", cases, COUNT_OF(cases),
                 "data.v: must be a number below 1e131072 with at most 16383 decimals (numeric)");
}

static void test_boolean(void **state)
{
    (void)state;
    static const struct value_case cases[] = {
        FITS("true", "\x01"),    FITS("false", "\0"), FITS("\"true\"", "\x01"),
        FITS("\"false\"", "\0"), REFUSED("1"),        REFUSED("0"),
        REFUSED("\"t\""),        REFUSED("\"\""),     REFUSED("\"True\""),
        REFUSED("[]"),
    };
    check_values("boolean", cases, COUNT_OF(cases), "data.v: must be true or false (boolean)");
}

static void test_timestamptz(void **state)
{
    (void)state;
    static const struct value_case cases[] = {
        FITS("\"2000-01-01T00:00:00Z\"", "\0\0\0\0\0\0\0\0"),
        FITS("\"2000-01-01T02:00:00\\u002B02:00\"", "\0\0\0\0\0\0\0\0"),
        FITS("\"2000-01-01T00:00:00.000001Z\"", "\0\0\0\0\0\0\0\x01"),
        FITS("946684800", "\0\0\0\0\0\0\0\0"),
        FITS("946684800000", "\0\0\0\0\0\0\0\0"),
        FITS("946684800.5", "\0\0\0\0\0\x07\xa1\x20"),
        FITS("9466848e5", "\0\0\0\0\0\0\0\0"),
        REFUSED("\"2000-01-01\""),
        REFUSED("\"2000-13-01T00:00:00Z\""),
        REFUSED("\"now\""),
        REFUSED("\"946684800\""),
        REFUSED("1e18"),
        REFUSED("1e300"),
        REFUSED("true"),
    };
    check_values("timestamptz", cases, COUNT_OF(cases),
                 "data.v: must be an RFC 3339 time or epoch milliseconds (timestamptz)");
}

static void test_uuid(void **state)
{
    (void)state;
    static const char bytes[] = "\x0a\x1b\x2c\x3d\x4e\x5f\x60\x71\x82\x93\xa4\xb5\xc6\xd7\xe8\xf9";
    static const struct value_case cases[] = {
        {"\"0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9\"", bytes, 16},
        {"\"0A1B2C3D4E5F60718293A4B5C6D7E8F9\"", bytes, 16},
        {"\"{0a1b-2c3d-4e5f-6071-8293-a4b5-c6d7-e8f9}\"", bytes, 16},
        REFUSED("\"0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f\""),
        REFUSED("\"0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9-\""),
        REFUSED("\"-0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9\""),
        REFUSED("\"0-a1b2c3d4e5f60718293a4b5c6d7e8f9\""),
        REFUSED("\"0a1b2c3d--4e5f60718293a4b5c6d7e8f9\""),
        REFUSED("\"{0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9\""),
        REFUSED("\"0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9}\""),
        REFUSED("\"0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8fg\""),
        REFUSED("\"\""),
        REFUSED("\"{}\""),
        REFUSED("5"),
    };
    check_values("uuid", cases, COUNT_OF(cases), "data.v: must be a UUID of 32 hex digits (uuid)");
}

static void test_text(void **state)
{
    (void)state;
    static const struct value_case cases[] = {
        FITS("\"\"", ""),
        FITS("\"a\"", "a"),
        FITS("\"\\\"\\\\\\u20ac\"", "\"\\\xe2\x82\xac"),
        FITS("5.50", "5.50"),
        FITS("true", "true"),
        FITS("[1, \"x\"]", "[1, \"x\"]"),
        FITS("{\"a\":\"\\u0000\"}", "{\"a\":\"\\u0000\"}"),
        REFUSED("\"\\u0000\""),
        REFUSED("\"a\\ud800\""),
    };
    check_values("text", cases, COUNT_OF(cases),
                 "data.v: holds \\u0000 or half a surrogate pair, which text can't store");
}

static void test_json(void **state)
{
    (void)state;
    static const struct value_case binary[] = {
        FITS("\"a\"", "\x01\"a\""),
        FITS("[1, {}]", "\x01[1, {}]"),
        FITS("1e131071", "\x01"
                         "1e131071"),
        REFUSED("[\"\\u0000\"]"),
        REFUSED("{\"\\udc00\":1}"),
    };
    check_values("jsonb", binary, COUNT_OF(binary),
                 "data.v: holds \\u0000 or half a surrogate pair, which jsonb can't store");
    static const struct value_case huge[] = {REFUSED("1e131072"), REFUSED("[1e-16384]")};
    check_values(
        "jsonb", huge, COUNT_OF(huge),
        "data.v: must be JSON whose numbers are below 1e131072 with at most 16383 decimals "
        "(jsonb)");
    static const struct value_case text[] = {
        FITS("\"\\u0000\"", "\"\\u0000\""),
        FITS("[\"\\ud800\", 1e999999]", "[\"\\ud800\", 1e999999]"),
    };
    check_values("json", text, COUNT_OF(text), "");
}

/* ── Where values come from ─────────────────────────────────────────────────────────────────── */

static void check_columns(const char *columns, const char *json, const char *row, size_t length)
{
    struct streams *streams = open_streams(columns);
    struct encoded encoded = encode(streams_find(streams, "s"), json);
    if (encoded.length != length || memcmp(encoded.row, row, length) != 0)
        fail_msg("%s from %s: wrong, or %s", columns, json, refusal.message);
    encoded_free(&encoded);
    streams_close(streams);
}

#define CHECK_COLUMNS(columns, json, row) check_columns(columns, json, row, sizeof(row) - 1)

static void check_refusal(const char *columns, const char *json, enum event_code code,
                          const char *message)
{
    struct streams *streams = open_streams(columns);
    struct encoded encoded = encode(streams_find(streams, "s"), json);
    assert_int_equal(encoded.length, 0);
    assert_int_equal(refusal.code, code);
    assert_string_equal(refusal.message, message);
    encoded_free(&encoded);
    streams_close(streams);
}

static void test_sources(void **state)
{
    (void)state;
    CHECK_COLUMNS("a uuid from id, b bigint from userId, c jsonb from roomId, d json from type",
                  "{\"type\":\"t\",\"userId\":5,\"roomId\":\"q\\\"\\\\\\u0001\xc3\xa9\"}",
                  "\0\x04"
                  "\0\0\0\x10"
                  "\x01\x90\xa1\xb2\xc3\xd4\x7e\x5f\x8a\x9b\x0c\x1d\x2e\x3f\x4a\x5b"
                  "\0\0\0\x08"
                  "\0\0\0\0\0\0\0\x05"
                  "\0\0\0\x10"
                  "\x01\"q\\\"\\\\\\u0001\xc3\xa9\""
                  "\0\0\0\x03"
                  "\"t\"");
    CHECK_COLUMNS("a text from timestamp, b timestamptz from receivedAt, c text from data",
                  "{\"type\":\"t\",\"timestamp\":1,\"data\":\"a\\tb\"}",
                  "\0\x03"
                  "\0\0\0\x1b"
                  "1970-01-01T00:00:01.000000Z"
                  "\0\0\0\x08"
                  "\xff\xfc\xa2\xff\x1a\x20\x87\xcf"
                  "\0\0\0\x03"
                  "a\tb");
}

static void test_paths(void **state)
{
    (void)state;
    CHECK_COLUMNS("a integer from data.x.y, b text from data.z|data.x, raw jsonb from data",
                  "{\"type\":\"t\",\"data\":{\"x\":{\"y\":1,\"y\":2},\"z\":null}}",
                  "\0\x03"
                  "\0\0\0\x04"
                  "\0\0\0\x02"
                  "\0\0\0\x0d"
                  "{\"y\":1,\"y\":2}"
                  "\0\0\0\x1d"
                  "\x01{\"x\":{\"y\":1,\"y\":2},\"z\":null}");
    CHECK_COLUMNS("a text from data.x, b numeric from data", "{\"type\":\"t\",\"data\":-7}",
                  "\0\x02" NONE "\0\0\0\x0a"
                  "\0\x01\0\0\x40\0\0\0\0\x07");
    CHECK_COLUMNS("a jsonb from data, b text from data.b", "{\"type\":\"t\",\"data\":null}",
                  "\0\x02" NONE NONE);
    CHECK_COLUMNS("a text from data, b bigint from data", "{\"type\":\"t\",\"more\":1}",
                  "\0\x02"
                  "\0\0\0\x15"
                  "{\"_extra\":{\"more\":1}}" NONE);
}

/* One walk for many paths finds what a search
 * for each would: the last of a name, escaped or not. */
static void test_many_paths(void **state)
{
    (void)state;
    static const char columns[] = "a text from data.a, b text from data.b.c, c text from data.b.d, "
                                  "d text from data.nobody|data.a.x, e text from data.e";
    CHECK_COLUMNS(
        columns,
        "{\"type\":\"t\",\"data\":{\"b\":{\"c\":1},\"a\":{\"x\":5},\"b\":{\"d\":2,\"d\":3},"
        "\"e\":1,\"e\":2,\"a\":{\"x\":6}}}",
        "\0\x05"
        "\0\0\0\x07"
        "{\"x\":6}" NONE "\0\0\0\x01"
        "3"
        "\0\0\0\x01"
        "6"
        "\0\0\0\x01"
        "2");
    CHECK_COLUMNS(
        columns, "{\"type\":\"t\",\"data\":{\"\\u0061\":{\"x\":6},\"b\":{\"\\u0063\":1},\"e\":[]}}",
        "\0\x05"
        "\0\0\0\x07"
        "{\"x\":6}"
        "\0\0\0\x01"
        "1" NONE "\0\0\0\x01"
        "6"
        "\0\0\0\x02"
        "[]");
    CHECK_COLUMNS(columns, "{\"type\":\"t\",\"data\":{}}", "\0\x05" NONE NONE NONE NONE NONE);
    CHECK_COLUMNS(columns, "{\"type\":\"t\",\"data\":[{\"a\":1}]}",
                  "\0\x05" NONE NONE NONE NONE NONE);
}

static void test_required(void **state)
{
    (void)state;
    check_refusal("a bigint from data.a|userId required", "{\"type\":\"t\",\"data\":{\"a\":null}}",
                  EVENT_INVALID_FIELD, "data.a: is required (bigint)");
    check_refusal("a text from userId required", "{\"type\":\"t\"}", EVENT_INVALID_FIELD,
                  "userId: is required (text)");
    check_refusal("a jsonb from data required", "{\"type\":\"t\"}", EVENT_INVALID_FIELD,
                  "data: is required (jsonb)");
    check_refusal("u uuid from userId", "{\"type\":\"t\",\"userId\":5}", EVENT_INVALID_FIELD,
                  "userId: must be a UUID of 32 hex digits (uuid)");
    check_refusal("data jsonb", "{\"type\":\"t\",\"data\":{\"a\":\"\\u0000\"}}",
                  EVENT_UNSTORABLE_TEXT,
                  "data: holds \\u0000 or half a surrogate pair, which jsonb can't store");
    check_refusal("data jsonb", "{\"type\":\"t\",\"x\":\"\\ud800\"}", EVENT_UNSTORABLE_TEXT,
                  "\"x\": holds \\u0000 or half a surrogate pair, which jsonb can't store");
}

/* The bound holds where it is tightest: every byte of the data goes into many columns. */
static void test_bound(void **state)
{
    (void)state;
    struct streams *streams = open_streams(
        "a jsonb from data, b text from data, c text from data.x, d jsonb from data.x.y, "
        "e numeric from data.x.y.z, f text from data.x.y.z, g json from id, h jsonb from userId");
    char json[2048];
    char digits[1001], user[600] = "";
    memset(digits, '9', 1000);
    digits[1000] = 0;
    for (int i = 0; i < 128 / 2; i++)
        strcat(user, i % 2 ? "\\u0001\\u0002" : "\\\"\\\\");
    for (int length = 1; length <= 1000; length += 7) {
        snprintf(json, sizeof json,
                 "{\"type\":\"t\",\"userId\":\"%s\",\"data\":{\"x\":{\"y\":{\"z\":%s}}}}", user,
                 digits + 1000 - length);
        struct encoded encoded = encode(streams_find(streams, "s"), json);
        assert_true(encoded.length > 0);
        encoded_free(&encoded);
    }
    streams_close(streams);
}

static void test_row_length(void **state)
{
    (void)state;
    static const struct {
        const char *row;
        size_t room, length;
    } cases[] = {
        {"\0\0", 2, 0},                   /* no column */
        {"\0\x01\xff\xff\xff\xff", 6, 6}, /* null */
        {"\0\x01\xff\xff\xff\xfe", 6, 0}, /* -2 */
        {"\0\x01\x7f\xff\xff\xff"
         "abc",
         9, 0},                           /* longer than there is */
        {"\0\x41\xff\xff\xff\xff", 6, 0}, /* more columns than a stream has */
        {"\0\x02\0\0\0\x01"
         "a\0\0\0\0",
         11, 11},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t *edge = unit_edge_copy(cases[i].row, cases[i].room);
        assert_int_equal(copy_row_length(edge, cases[i].room), cases[i].length);
        unit_edge_free(edge, cases[i].room);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frame),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_messages_and_carts),
        cmocka_unit_test(test_bigint),
        cmocka_unit_test(test_integer),
        cmocka_unit_test(test_double),
        cmocka_unit_test(test_numeric),
        cmocka_unit_test(test_boolean),
        cmocka_unit_test(test_timestamptz),
        cmocka_unit_test(test_uuid),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_sources),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_many_paths),
        cmocka_unit_test(test_required),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_row_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
