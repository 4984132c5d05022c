/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is stored of an event: its data, with the unknown members at its top merged in.
 */
#include "core/buf.h"
#include "core/clock.h"
#include "proto/event.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

static void check_stored(const char *text, const char *stored)
{
    const struct event_rules rules = {.bytes_max = 4096, .bare_type = SPAN("bare")};
    struct event event;
    struct refusal refusal;
    uint8_t copy[4096], out[4096];
    memcpy(copy, text, strlen(text));
    if (event_parse(span_of(copy, strlen(text)), &rules, &event, &refusal) != EVENT_ACCEPTED)
        fail_msg("%s: %s", text, refusal.message);
    size_t length = event_put_data(&event, out);
    assert_true(length <= event_data_bytes_max(&event));
    if (!span_is(span_of(out, length), stored))
        fail_msg("%s is stored as %.*s", text, (int)length, (const char *)out);
    struct json_value value;
    size_t fault;
    if (length > 0)
        assert_int_equal(json_document(span_of(out, length), &value, &fault), JSON_OK);
}

static void test_data_alone(void **state)
{
    (void)state;
    check_stored("{\"type\":\"x\"}", "");
    check_stored("{\"type\":\"x\",\"data\":{\"a\":1}}", "{\"a\":1}");
    check_stored("{\"type\":\"x\",\"data\":\"s\"}", "\"s\"");
    check_stored("{\"a\":1,\"b\":{\"type\":\"no\"}}", "{\"a\":1,\"b\":{\"type\":\"no\"}}");
}

static void test_extras(void **state)
{
    (void)state;
    check_stored("{\"type\":\"x\",\"u\":1,\"data\":{\"a\":1},\"v\" : [2] }",
                 "{\"a\":1,\"_extra\":{\"u\":1,\"v\" : [2]}}");
    check_stored("{\"u\":1,\"type\":\"x\"}", "{\"_extra\":{\"u\":1}}");
    check_stored("{\"u\":1,\"type\":\"x\",\"data\":null}", "{\"_extra\":{\"u\":1}}");
    check_stored("{\"u\":1,\"type\":\"x\",\"data\":{}}", "{\"_extra\":{\"u\":1}}");
    check_stored("{\"u\":1,\"type\":\"x\",\"data\":{ }}", "{ \"_extra\":{\"u\":1}}");
    check_stored("{\"u\":1,\"type\":\"x\",\"data\":[1]}", "{\"_data\":[1],\"_extra\":{\"u\":1}}");
    check_stored("{\"u\":1,\"type\":\"x\",\"data\":\"s\"}",
                 "{\"_data\":\"s\",\"_extra\":{\"u\":1}}");
    check_stored("{\"u\":1,\"type\":\"x\",\"data\":{\"_extra\":0}}",
                 "{\"_extra\":0,\"_extra2\":{\"u\":1}}");
    check_stored("{\"u\":1,\"type\":\"x\",\"data\":{\"_extra\":0,\"_extra\\u0032\":0}}",
                 "{\"_extra\":0,\"_extra\\u0032\":0,\"_extra3\":{\"u\":1}}");
    check_stored("{\"u\":1,\"type\":\"x\",\"data\":{\"_extra1\":0,\"_extra02\":0,\"_extras\":0}}",
                 "{\"_extra1\":0,\"_extra02\":0,\"_extras\":0,\"_extra\":{\"u\":1}}");
    check_stored("{\"u\":1,\"type\":\"x\",\"data\":{\"_extra\":0,\"_extra02\":0,\"_extra3\":0}}",
                 "{\"_extra\":0,\"_extra02\":0,\"_extra3\":0,\"_extra2\":{\"u\":1}}");
    check_stored("{\"_extra\":1,\"type\":\"x\"}", "{\"_extra\":{\"_extra\":1}}");
    check_stored("{\"u\":1,\"u\":2,\"type\":\"x\"}", "{\"_extra\":{\"u\":1,\"u\":2}}");
}

static void put_names(struct buf *text, unsigned last)
{
    assert_true(buf_print(text, "{\"u\":1,\"type\":\"x\",\"data\":{\"_extra\":0"));
    for (unsigned i = 2; i <= last; i++)
        assert_true(buf_print(text, ",\"_extra%u\":0", i));
    assert_true(buf_print(text, "}}"));
}

/* However many of these names are taken already, each member is looked at once. */
static void test_many_taken(void **state)
{
    (void)state;
    enum { MANY = 5000, LEAST_NS = 1000000 };
    for (unsigned last = 63; last <= MANY; last += last < 66 ? 1 : MANY - 66) {
        const struct event_rules rules = {.bytes_max = 1 << 20};
        struct buf text = {.max = 1 << 20};
        static struct event event;
        struct refusal refusal;
        char wanted[32];
        put_names(&text, last);
        uint64_t begin_ns = clock_mono_ns();
        assert_int_equal(event_parse(buf_span(&text), &rules, &event, &refusal), EVENT_ACCEPTED);
        uint64_t parsed_ns = clock_mono_ns();
        uint8_t *out = malloc(event_data_bytes_max(&event));
        size_t length = event_put_data(&event, out);
        uint64_t put_ns = clock_mono_ns() - parsed_ns;
        size_t more = (size_t)snprintf(wanted, sizeof wanted, ",\"_extra%u\":{\"u\":1}}", last + 1);
        assert_memory_equal(out + length - more, wanted, more);
        assert_true(put_ns < 100 * (parsed_ns - begin_ns + LEAST_NS));
        free(out);
        buf_fini(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_data_alone),
        cmocka_unit_test(test_extras),
        cmocka_unit_test(test_many_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
