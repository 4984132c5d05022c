/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"
#include "ws/publishing.h"

#include <stdio.h>

static struct publishing publishing;

/* From an unreadable edge; NULL: good. */
static const char *reading(const char *body)
{
    static uint8_t *at;
    static size_t length;
    if (at != NULL)
        unit_edge_free(at, length); /* what the last one's spans looked at */
    length = strlen(body);
    at = unit_edge_copy(body, length);
    return publishing_read(&publishing, at, length);
}

static void good(const char *body, const char *room, const char *event, const char *type,
                 const char *data)
{
    const char *wrong = reading(body);
    if (wrong != NULL)
        fail_msg("%s: %s", body, wrong);
    assert_true(span_is(publishing.publish.room, room));
    assert_true(span_is(publishing.publish.event, event));
    assert_true(span_is(publishing.publish.type, type));
    assert_true(span_is(publishing.publish.data, data));
    assert_true(publishing.publish.kept);
}

static void whom_and_what(void **state)
{
    (void)state;
    good("{\"to\":\"all\",\"event\":\"e\"}", "*", "e", "", "null");
    good("{\"to\":{\"user\":\"u\"},\"event\":\"e\",\"data\":1}", "user:u", "e", "", "1");
    good("{\"to\":{\"user\":42},\"event\":\"e\",\"data\":{ }}", "user:42", "e", "", "{ }");
    good("{\"to\":{\"tenant\":\"t\"},\"event\":\"e\",\"data\":null}", "tenant:t", "e", "", "null");
    good("{\"to\":{\"project\":-7},\"event\":\"e\"}", "project:-7", "e", "", "null");
    good(" {\"data\":[1, 2],\"type\":\"t\",\"event\":\"e\",\"to\":{\"room\":\"user_7\"}} ",
         "user_7", "e", "t", "[1, 2]");
    good("{\"to\":{\"room\":\"\\u0061\\n\"},\"event\":\"\\u00e9\"}", "a\n", "\xc3\xa9", "", "null");
    good("{\"to\":\"all\",\"to\":{\"room\":\"r\"},\"event\":\"x\",\"event\":\"e\"}", "r", "e", "",
         "null"); /* the last wins */
}

static void bad(const char *body, const char *code, const char *wrong)
{
    const char *got = reading(body);
    if (got == NULL || strncmp(got, wrong, strlen(wrong)) != 0)
        fail_msg("%s: %s", body, got == NULL ? "good" : got);
    assert_string_equal(publishing.code, code);
}

static void what_is_wrong_is_named(void **state)
{
    (void)state;
    bad("", "INVALID_JSON", "the body");
    bad("{\"to\":\"all\",\"event\":\"e\"", "INVALID_JSON", "the body");
    bad("{\"to\":\"all\",\"event\":\"e\"}}", "INVALID_JSON", "the body");
    bad("[]", "INVALID_FIELD", "the body");
    bad("{\"event\":\"e\"}", "INVALID_FIELD", "to: missing");
    bad("{\"to\":\"all\"}", "INVALID_FIELD", "event: missing");
    static const char *const to[] = {"null",
                                     "\"everyone\"",
                                     "7",
                                     "[]",
                                     "{}",
                                     "{\"room\":\"\"}",
                                     "{\"room\":null}",
                                     "{\"room\":1.5}",
                                     "{\"room\":1e3}",
                                     "{\"room\":\"a\\u0000\"}",
                                     "{\"room\":\"\\ud800\"}",
                                     "{\"room\":\"a\",\"user\":\"b\"}",
                                     "{\"room\":\"stats:ws\"}",
                                     "{\"rooms\":\"a\"}",
                                     "{\"room\":{\"room\":\"a\"}}"};
    for (unsigned i = 0; i < COUNT_OF(to); i++) {
        char body[200];
        snprintf(body, sizeof body, "{\"to\":%s,\"event\":\"e\"}", to[i]);
        bad(body, "INVALID_FIELD", "to:");
    }
    static const char *const event[] = {
        "null",       "\"\"", "7", "\"connect\"", "\"\\u0063onnect\"", "\"disconnecting\"",
        "\"\\u0000\""};
    for (unsigned i = 0; i < COUNT_OF(event); i++) {
        char body[200];
        snprintf(body, sizeof body, "{\"to\":\"all\",\"event\":%s}", event[i]);
        bad(body, "INVALID_FIELD", "event:");
    }
    bad("{\"to\":\"all\",\"event\":\"e\",\"type\":1}", "INVALID_FIELD", "type:");
}

/* Lengths at their bounds, plain and with escapes. */
static void lengths(void **state)
{
    (void)state;
    static char body[4096];
    for (unsigned length = 150; length < 170; length++)
        for (unsigned escaped = 0; escaped < 2; escaped++) {
            char *at = body + sprintf(body, "{\"event\":\"e\",\"to\":{\"project\":\"");
            for (unsigned i = 0; i < length; i++)
                at += sprintf(at, escaped ? "\\u0061" : "a");
            strcpy(at, "\"}}");
            const char *wrong = reading(body);
            assert_int_equal(wrong == NULL, length <= ROOM_NAME_MAX - strlen("project:"));
            if (wrong == NULL)
                assert_int_equal(publishing.publish.room.length, length + strlen("project:"));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whom_and_what),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(lengths),
    };
    return cmocka_run_group_tests_name("publishing", tests, NULL, NULL);
}
