/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/event.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

/* Texts are put so that they end at an unmapped page; one at a time. */
enum { EDGE_BYTES = 1 << 16 };
static uint8_t *edge;
static struct event event;
static struct refusal refusal;
static struct event_rules rules = {.bytes_max = 4096};

static int map_edge(void **state)
{
    (void)state;
    edge = unit_edge(EDGE_BYTES);
    return 0;
}

static int unmap_edge(void **state)
{
    (void)state;
    unit_edge_free(edge, EDGE_BYTES);
    return 0;
}

static int plain_rules(void **state)
{
    (void)state;
    rules = (struct event_rules){.bytes_max = 4096};
    return 0;
}

static enum event_code parse_bytes(const void *bytes, size_t length)
{
    uint8_t *at = edge + EDGE_BYTES - length;
    if (length > 0)
        memmove(at, bytes, length);
    memset(&event, 0xA5, sizeof event);
    refusal = (struct refusal){0};
    enum event_code code = event_parse(span_of(at, length), &rules, &event, &refusal);
    if (code != EVENT_ACCEPTED) {
        assert_int_equal(refusal.code, code);
        assert_true(refusal.message[0] != '\0' && strlen(refusal.message) < sizeof refusal.message);
    }
    return code;
}

static enum event_code parse(const char *text)
{
    return parse_bytes(text, strlen(text));
}

static void accepts(const char *text)
{
    if (parse(text) != EVENT_ACCEPTED)
        fail_msg("%s: %s", text, refusal.message);
}

static void refuses(const char *text, enum event_code code, const char *message)
{
    enum event_code got = parse(text);
    if (got != code)
        fail_msg("%s: %s, not %s: %s", text, event_code_name(got), event_code_name(code),
                 got == EVENT_ACCEPTED ? "" : refusal.message);
    if (strstr(refusal.message, message) == NULL)
        fail_msg("%s: \"%s\" should say \"%s\"", text, refusal.message, message);
}

static void is(struct span span, const char *text)
{
    if (text == NULL ? span.at != NULL : span.at == NULL || !span_is(span, text))
        fail_msg("%.*s, not %s", SPAN_ARGS(span), text == NULL ? "(absent)" : text);
}

static void test_envelope(void **state)
{
    (void)state;
    accepts(" {\"id\":\"e-1\",\"type\":\"page_view\",\"tenantId\":\"t\",\"userId\":\"u\","
            "\"projectId\":\"p\","
            "\"sessionId\":\"s\",\"roomId\":\"r\",\"timestamp\":\"2015-05-17T10:05:03Z\","
            "\"data\":{\"a\":[1,{\"b\":\"c\"}]}} \r\n");
    is(event.id, "e-1");
    is(event.type, "page_view");
    is(event.tenant_id, "t");
    is(event.user_id, "u");
    is(event.project_id, "p");
    is(event.session_id, "s");
    is(event.room_id, "r");
    assert_true(event.has_timestamp && !event.bare);
    assert_int_equal(event.timestamp_us, 1431857103000000);
    is(event.data.text, "{\"a\":[1,{\"b\":\"c\"}]}");
    assert_int_equal(event.data.kind, JSON_OBJECT);
    assert_int_equal(event.data.flaws, 0);
    assert_int_equal(event.extras, 0);
    assert_true(event.text.at[0] == '{' && event.text.at[event.text.length - 1] == '}');

    accepts("{\"type\":\"x\"}");
    is(event.id, NULL);
    is(event.tenant_id, NULL);
    is(event.user_id, NULL);
    is(event.project_id, NULL);
    is(event.session_id, NULL);
    is(event.room_id, NULL);
    is(event.data.text, NULL);
    assert_int_equal(event.data.flaws, 0);
    assert_false(event.has_timestamp);
}

/* A member of `struct event`, read from each of its names. */
static void test_aliases(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t place;
    } aliases[] = {
        {"type", offsetof(struct event, type)},
        {"eventType", offsetof(struct event, type)},
        {"event_type", offsetof(struct event, type)},
        {"id", offsetof(struct event, id)},
        {"eventId", offsetof(struct event, id)},
        {"event_id", offsetof(struct event, id)},
        {"tenantId", offsetof(struct event, tenant_id)},
        {"tenant_id", offsetof(struct event, tenant_id)},
        {"userId", offsetof(struct event, user_id)},
        {"user_id", offsetof(struct event, user_id)},
        {"externalUserId", offsetof(struct event, user_id)},
        {"external_user_id", offsetof(struct event, user_id)},
        {"projectId", offsetof(struct event, project_id)},
        {"project_id", offsetof(struct event, project_id)},
        {"sessionId", offsetof(struct event, session_id)},
        {"session_id", offsetof(struct event, session_id)},
        {"roomId", offsetof(struct event, room_id)},
        {"room_id", offsetof(struct event, room_id)},
    };
    for (size_t i = 0; i < COUNT_OF(aliases); i++) {
        char text[128];
        snprintf(text, sizeof text, "{\"type\":\"x\",\"%s\":\"V%zu\"}", aliases[i].name, i);
        accepts(text);
        snprintf(text, sizeof text, "V%zu", i);
        struct span got;
        memcpy(&got, (uint8_t *)&event + aliases[i].place, sizeof got);
        is(got, text);
        assert_int_equal(event.extras, 0);
    }
    static const char *const times[] = {"timestamp", "ts", "time"};
    static const char *const datas[] = {"data", "metadata", "payload"};
    for (size_t i = 0; i < 3; i++) {
        char text[128];
        snprintf(text, sizeof text, "{\"type\":\"x\",\"%s\":5,\"%s\":6}", times[i], datas[i]);
        accepts(text);
        assert_int_equal(event.timestamp_us, 5000000);
        is(event.data.text, "6");
    }
    /* What is nearly a name is not one. */
    static const char *const others[] = {"Type",
                                         "typ",
                                         "types",
                                         "ID",
                                         "idd",
                                         "TS",
                                         "tenantid",
                                         "user_Id",
                                         "datA",
                                         "timestamP",
                                         "roomID",
                                         "payloaD",
                                         "metadatum",
                                         "event_Id",
                                         "eventid",
                                         "",
                                         "externalUserID",
                                         "external_user_iD"};
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        char text[128];
        snprintf(text, sizeof text, "{\"type\":\"x\",\"%s\":\"V\"}", others[i]);
        accepts(text);
        assert_int_equal(event.extras, 1);
    }
}

static void test_escaped_names(void **state)
{
    (void)state;
    accepts("{\"\\u0074ype\":\"x\",\"u\\u0073er\\u005fid\":\"u\",\"typ\\u00e9\":1}");
    is(event.type, "x");
    is(event.user_id, "u");
    assert_int_equal(event.extras, 1);
    accepts(
        "{\"\\u0065\\u0078\\u0074\\u0065\\u0072\\u006e\\u0061\\u006c\\u005f\\u0075\\u0073\\u0065"
        "\\u0072\\u005f\\u0069\\u0064\":\"u\",\"type\":\"x\"}");
    is(event.user_id, "u");
    /* After an escape elsewhere, plain names are still known. */
    accepts("{\"data\":\"\\n\",\"type\":\"x\",\"id\":\"i\"}");
    is(event.id, "i");
    assert_true(event.data.escaped);
}

static void test_last_wins(void **state)
{
    (void)state;
    accepts(
        "{\"type\":\"a\",\"id\":\"1\",\"eventId\":\"2\",\"eventType\":\"b\",\"event_id\":\"3\"}");
    is(event.id, "3");
    is(event.type, "b");
    accepts("{\"type\":\"a\",\"id\":\"1\",\"event_id\":null,\"data\":1,\"payload\":null}");
    is(event.id, NULL);
    is(event.data.text, NULL);
    accepts("{\"type\":5,\"id\":[],\"ts\":\"x\",\"userId\":\"\",\"user_id\":7,\"id\":\"i\","
            "\"time\":1,\"type\":\"b\"}");
    is(event.id, "i");
    is(event.user_id, "7");
    accepts("{\"type\":\"\\u0000\",\"type\":\"b\"}");
    is(event.type, "b");
    accepts("{\"type\":\"b\",\"data\":\"\\u0000\",\"data\":\"fine\"}");
    is(event.data.text, "\"fine\"");
    refuses("{\"type\":\"b\",\"id\":\"i\",\"id\":5}", EVENT_INVALID_FIELD, "id: must be a string");
    is(event.id, NULL);
}

static void test_nulls_are_absent(void **state)
{
    (void)state;
    accepts("{\"type\":\"x\",\"id\":null,\"ts\":null,\"userId\":null,\"data\":null}");
    is(event.id, NULL);
    is(event.user_id, NULL);
    is(event.data.text, NULL);
    assert_false(event.has_timestamp);
    refuses("{\"type\":null}", EVENT_MISSING_TYPE, "type");
    rules.default_type = SPAN("given");
    accepts("{\"type\":null}");
    is(event.type, "given");
}

static void test_texts(void **state)
{
    (void)state;
    char text[512], long_text[140];
    memset(long_text, 'i', sizeof long_text);
    long_text[128] = '\0';
    snprintf(text, sizeof text, "{\"type\":\"x\",\"id\":\"%s\",\"roomId\":\"%s\"}", long_text,
             long_text);
    accepts(text);
    is(event.id, long_text);
    is(event.room_id, long_text);
    long_text[128] = 'i';
    long_text[129] = '\0';
    snprintf(text, sizeof text, "{\"type\":\"x\",\"id\":\"%s\"}", long_text);
    refuses(text, EVENT_INVALID_FIELD, "id: must be a string of 1 to 128 bytes");
    is(event.id, NULL);
    snprintf(text, sizeof text, "{\"type\":\"x\",\"id\":\"i\",\"userId\":\"%s\"}", long_text);
    refuses(text, EVENT_INVALID_FIELD, "userId: must be a string of 1 to 128 bytes or an integer");
    is(event.id, "i");
    refuses("{\"type\":\"x\",\"id\":\"\"}", EVENT_INVALID_FIELD, "id: ");
    refuses("{\"type\":\"x\",\"tenantId\":\"\"}", EVENT_INVALID_FIELD, "tenantId: ");
    refuses("{\"type\":\"x\",\"sessionId\":true}", EVENT_INVALID_FIELD, "sessionId: ");
    refuses("{\"type\":\"x\",\"projectId\":{}}", EVENT_INVALID_FIELD, "projectId: ");
    refuses("{\"type\":\"x\",\"roomId\":[\"r\"]}", EVENT_INVALID_FIELD, "roomId: ");
    refuses("{\"type\":\"x\",\"id\":5}", EVENT_INVALID_FIELD, "id: ");
    accepts("{\"type\":\"x\",\"userId\":12345678901234567890123,\"tenantId\":0,\"roomId\":-7}");
    is(event.user_id, "12345678901234567890123");
    is(event.tenant_id, "0");
    is(event.room_id, "-7");
    refuses("{\"type\":\"x\",\"userId\":1.0}", EVENT_INVALID_FIELD, "userId: ");
    refuses("{\"type\":\"x\",\"userId\":1e3}", EVENT_INVALID_FIELD, "userId: ");
    memset(long_text, '7', 129);
    snprintf(text, sizeof text, "{\"type\":\"x\",\"userId\":%s}", long_text);
    refuses(text, EVENT_INVALID_FIELD, "userId: ");
}

static void test_texts_are_decoded(void **state)
{
    (void)state;
    accepts("{\"type\":\"a\\u002eb\",\"id\":\"x\\\"\\u00e9\\ud83d\\ude00\",\"userId\":\"é\",\"ts\":"
            "\"\\u0032"
            "015-05-17T10:05:03Z\"}");
    is(event.type, "a.b");
    is(event.id, "x\"é😀");
    is(event.user_id, "é");
    assert_int_equal(event.timestamp_us, 1431857103000000);
    char text[1024] = "{\"type\":\"x\",\"id\":\"";
    for (unsigned i = 0; i < 128; i++)
        strcat(text, "\\u0041");
    strcat(text, "\"}");
    accepts(text);
    assert_int_equal(event.id.length, 128);
}

static void test_types(void **state)
{
    (void)state;
    accepts("{\"type\":\"AZaz09_.:-\"}");
    char text[128];
    for (unsigned byte = 0x20; byte < 0x7F; byte++) {
        if (byte == '"' || byte == '\\')
            continue;
        snprintf(text, sizeof text, "{\"type\":\"a%cb\"}", (char)byte);
        bool fine = strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:-",
                           (int)byte) != NULL;
        assert_int_equal(parse(text), fine ? EVENT_ACCEPTED : EVENT_INVALID_FIELD);
    }
    refuses("{\"type\":\"\"}", EVENT_INVALID_FIELD, "type: must be a string of 1 to 64");
    refuses("{\"type\":\"é\"}", EVENT_INVALID_FIELD, "type: ");
    refuses("{\"type\":5,\"id\":\"i\"}", EVENT_INVALID_FIELD, "type: ");
    is(event.id, "i");
    snprintf(text, sizeof text, "{\"type\":\"%064d\"}", 1);
    accepts(text);
    snprintf(text, sizeof text, "{\"type\":\"%065d\"}", 1);
    refuses(text, EVENT_INVALID_FIELD, "type: ");
    refuses("{\"id\":\"i\"}", EVENT_MISSING_TYPE, "type: is required");
    is(event.id, "i");
    rules.default_type = SPAN("given");
    accepts("{\"id\":\"i\"}");
    is(event.type, "given");
    accepts("{\"id\":\"i\",\"type\":\"own\"}");
    is(event.type, "own");
}

static void test_timestamps(void **state)
{
    (void)state;
    accepts("{\"type\":\"x\",\"ts\":\"2015-05-17t12:05:03.25+02:00\"}");
    assert_true(event.has_timestamp);
    assert_int_equal(event.timestamp_us, 1431857103250000);
    accepts("{\"type\":\"x\",\"ts\":1431857103250}");
    assert_int_equal(event.timestamp_us, 1431857103250000);
    accepts("{\"type\":\"x\",\"ts\":-1.5}");
    assert_int_equal(event.timestamp_us, -1500000);
    static const char *const wrong[] = {
        "253402300800000", "1e99", "true", "[]", "{}", "\"\"", "\"1431857103\"", "\"2015-05-17\""};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        char text[128];
        snprintf(text, sizeof text, "{\"type\":\"x\",\"id\":\"i\",\"ts\":%s}", wrong[i]);
        refuses(text, EVENT_INVALID_FIELD, "timestamp: must be an RFC 3339");
        is(event.id, "i");
    }
}

static void test_many_extras(void **state)
{
    (void)state;
    char text[1024] = "{\"id\":\"i\",\"type\":\"x\"";
    for (unsigned i = 0; i < EVENT_EXTRA_MAX; i++)
        snprintf(text + strlen(text), 32, ",\"x%u\":%u", i, i);
    size_t length = strlen(text);
    strcpy(text + length, "}");
    accepts(text);
    assert_int_equal(event.extras, EVENT_EXTRA_MAX);
    is(event.extra[31], "\"x31\":31");
    strcpy(text + length, ",\"one\":1}");
    refuses(text, EVENT_INVALID_FIELD, "more than 32 unknown members");
    is(event.id, "i");
    /* A bare event may have any number. */
    rules.bare_type = SPAN("bare");
    char bare[1024] = "{\"a\":0";
    for (unsigned i = 0; i < 40; i++)
        snprintf(bare + strlen(bare), 32, ",\"x%u\":%u", i, i);
    strcat(bare, "}");
    accepts(bare);
    is(event.data.text, bare);
}

static void test_bare(void **state)
{
    (void)state;
    refuses("{\"a\":1}", EVENT_MISSING_TYPE, "type");
    rules.bare_type = SPAN("log");
    rules.default_type = SPAN("no");
    accepts(" {\"a\":1,\"Type\":\"b\"} ");
    is(event.type, "log");
    assert_true(event.bare);
    assert_int_equal(event.extras, 0);
    is(event.data.text, "{\"a\":1,\"Type\":\"b\"}");
    assert_int_equal(event.data.kind, JSON_OBJECT);
    refuses("{}", EVENT_MISSING_TYPE, "empty");
    refuses(" { } ", EVENT_MISSING_TYPE, "empty");
    accepts("{\"id\":null}");
    assert_false(event.bare);
    is(event.type, "no");
    refuses("{\"a\":\"\\u0000\"}", EVENT_UNSTORABLE_TEXT, "event: holds \\u0000");
    refuses("{\"\\ud800\":1}", EVENT_UNSTORABLE_TEXT, "event: holds half");
}

static void test_body_is_data(void **state)
{
    (void)state;
    rules.body_is_data = true;
    refuses("{\"type\":\"x\"}", EVENT_MISSING_TYPE, "type");
    rules.default_type = SPAN("message");
    accepts(" {\"type\":5,\"id\":{},\"user_id\":1,\"content\":\"c\"} ");
    is(event.type, "message");
    is(event.id, NULL);
    is(event.user_id, NULL);
    assert_true(event.bare);
    is(event.data.text, "{\"type\":5,\"id\":{},\"user_id\":1,\"content\":\"c\"}");
    accepts("{}");
    is(event.data.text, "{}");
    refuses("[]", EVENT_INVALID_FIELD, "must be an object");
    refuses("{\"a\":1e999999}", EVENT_INVALID_FIELD, "event: holds a number");
    refuses("{\"a\":", EVENT_INVALID_JSON, "cut short at byte 5");
}

static void test_no_object(void **state)
{
    (void)state;
    static const char *const texts[] = {"[]",   "[{\"type\":\"x\"}]", "5", "\"x\"", "null", "true",
                                        " [1] "};
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        refuses(texts[i], EVENT_INVALID_FIELD, "event: must be an object");
    refuses("", EVENT_INVALID_JSON, "cut short at byte 0");
    refuses("  ", EVENT_INVALID_JSON, "cut short at byte 2");
    refuses("[1", EVENT_INVALID_JSON, "cut short at byte 2");
    refuses("hello", EVENT_INVALID_JSON, "wrong at byte 0");
    refuses("[] x", EVENT_INVALID_JSON, "wrong at byte 3");
    refuses("\xEF\xBB\xBF{\"type\":\"x\"}", EVENT_INVALID_JSON, "wrong at byte 0");
}

static void test_invalid_json(void **state)
{
    (void)state;
    refuses("{\"id\":\"i\",\"type\":\"x\",}", EVENT_INVALID_JSON, "wrong at byte 21");
    is(event.id, "i");
    refuses("{\"id\":\"i\",\"type\":\"x\"} {", EVENT_INVALID_JSON, "wrong at byte 22");
    is(event.id, "i");
    refuses("{\"id\":\"i\",\"type\"\"x\"}", EVENT_INVALID_JSON, "wrong at byte 16");
    refuses("{\"type\":\"x\" \"id\":\"i\"}", EVENT_INVALID_JSON, "wrong at byte 12");
    is(event.id, NULL);
    refuses("{\"type\":\"x\",\"data\":{\"a\":\"\xFF\"}}", EVENT_INVALID_JSON, "wrong at byte 25");
    refuses("{\"a\":nul}", EVENT_INVALID_JSON, "wrong at byte 8");
    refuses("{5:1}", EVENT_INVALID_JSON, "wrong at byte 1");
    refuses("{\"a\":}", EVENT_INVALID_JSON, "wrong at byte 5");
    char text[256] = "{\"id\":\"i\",\"type\":\"x\",\"data\":";
    size_t length = strlen(text);
    memset(text + length, '[', 63);
    memset(text + length + 63, ']', 63);
    strcpy(text + length + 126, "}");
    accepts(text);
    memset(text + length, '[', 64);
    memset(text + length + 64, ']', 64);
    strcpy(text + length + 128, "}");
    refuses(text, EVENT_INVALID_JSON, "nested more than 64 deep at byte 91");
    is(event.id, "i");
}

/* Whatever is missing at the end, it is INVALID_JSON, and the id is there once it has been read. */
static void test_cut_at_every_byte(void **state)
{
    (void)state;
    const char *text =
        "{\"id\":\"e-1\",\"type\":\"a\\u0062c\",\"x\": [1.5e3,{\"y\":null}],\"userId\":77,"
        "\"ts\":\"2015-05-17T10:05:03.5+02:00\",\"data\":{\"é\":[true,false,\"\\ud83d\\ude00\"]}}";
    accepts(text);
    for (size_t cut = 0; cut < strlen(text); cut++) {
        assert_int_equal(parse_bytes(text, cut), EVENT_INVALID_JSON);
        assert_non_null(strstr(refusal.message, "cut short"));
        is(event.id, cut >= strlen("{\"id\":\"e-1\"") ? "e-1" : NULL);
    }
}

static void test_too_large(void **state)
{
    (void)state;
    rules.bytes_max = 30;
    accepts("{\"id\":\"i\",\"type\":\"x\",\"aa\":123}");
    refuses("{\"id\":\"i\",\"type\":\"x\",\"aa\":1234}", EVENT_TOO_LARGE, "31 bytes, at most 30");
    is(event.id, "i");
    refuses("{\"type\":\"x\",\"aa\":12345,\"id\":\"i\"}", EVENT_TOO_LARGE, "32 bytes, at most 30");
    is(event.id, NULL);
    refuses("                               ", EVENT_TOO_LARGE, "31 bytes");
}

static void test_flaws(void **state)
{
    (void)state;
    refuses("{\"type\":\"x\",\"id\":\"i\",\"data\":{\"a\":[\"\\u0000\"]}}", EVENT_UNSTORABLE_TEXT,
            "data: holds \\u0000");
    is(event.id, "i");
    refuses("{\"type\":\"x\",\"data\":\"\\udc00\"}", EVENT_UNSTORABLE_TEXT, "data: holds half");
    refuses("{\"type\":\"x\",\"data\":[1e131072]}", EVENT_INVALID_FIELD, "data: holds a number");
    refuses("{\"type\":\"x\",\"more\" : \"\\u0000\"}", EVENT_UNSTORABLE_TEXT, "\"more\": holds");
    refuses("{\"type\":\"x\",\"\\u0000\":1}", EVENT_UNSTORABLE_TEXT, "\"\\u0000\": holds");
    refuses("{\"type\":\"x\",\"more\":1e-16384}", EVENT_INVALID_FIELD, "\"more\": holds");
    refuses("{\"type\":\"x\",\"id\":\"a\\u0000\"}", EVENT_UNSTORABLE_TEXT, "id: holds");
    is(event.id, NULL);
    refuses("{\"type\":\"x\\u0000\"}", EVENT_UNSTORABLE_TEXT, "type: holds");
    refuses("{\"type\":\"x\",\"roomId\":\"\\ud800\"}", EVENT_UNSTORABLE_TEXT, "roomId: holds");
    accepts("{\"type\":\"x\",\"data\":\"\\\\u0000\"}");
    accepts("{\"type\":\"x\",\"data\":[1e131071]}");

    rules.keep_flaws = true;
    accepts("{\"type\":\"x\",\"data\":{\"a\":[\"\\u0000\"]},\"more\":\"\\ud800\",\"id\":\"i\"}");
    assert_int_equal(event.data.flaws, JSON_HAS_NUL | JSON_HAS_LONE_SURROGATE);
    is(event.id, "i");
    accepts("{\"type\":\"x\",\"more\":1e131072}");
    assert_int_equal(event.data.flaws, JSON_HAS_HUGE_NUMBER);
    accepts("{\"type\":\"x\",\"data\":\"\\u0000\",\"data\":1}");
    assert_int_equal(event.data.flaws, 0);
    refuses("{\"type\":\"x\",\"id\":\"a\\u0000\"}", EVENT_UNSTORABLE_TEXT, "id: holds");
}

static void test_from_value(void **state)
{
    (void)state;
    uint8_t text[] = "[{\"type\":\"a\",\"id\":\"1\"}, {\"id\":\"2\"},3]";
    struct json_walk walk = json_walk(span_of(text, sizeof text - 1));
    struct json_value value;
    struct span name;
    assert_true(json_next(&walk, &name, &value));
    assert_int_equal(event_from_value(&value, &rules, &event, &refusal), EVENT_ACCEPTED);
    is(event.id, "1");
    assert_true(json_next(&walk, &name, &value));
    assert_int_equal(event_from_value(&value, &rules, &event, &refusal), EVENT_MISSING_TYPE);
    is(event.id, "2");
    assert_true(json_next(&walk, &name, &value));
    assert_int_equal(event_from_value(&value, &rules, &event, &refusal), EVENT_INVALID_FIELD);
    assert_false(json_next(&walk, &name, &value));
}

/* The real ones, if they lie beside the project. */
static void test_real_events(void **state)
{
    (void)state;
    FILE *file = fopen("../shared/data/web-access.ndjson", "r");
    if (file == NULL) {
        print_message("no file of real events here: nothing to read\n");
        return;
    }
    char *line = NULL;
    size_t room = 0, count = 0;
    ssize_t length;
    while ((length = getline(&line, &room, file)) > 0) {
        assert_int_equal(parse_bytes(line, (size_t)length), EVENT_ACCEPTED);
        assert_true(event.id.length == 8 && event.has_timestamp && event.user_id.at != NULL);
        assert_int_equal(event.data.kind, JSON_OBJECT);
        count++;
    }
    assert_true(count > 0);
    free(line);
    fclose(file);
}

static void test_code_names(void **state)
{
    (void)state;
    assert_string_equal(event_code_name(EVENT_ACCEPTED), "accepted");
    assert_string_equal(event_code_name(EVENT_DUPLICATE), "duplicate");
    assert_string_equal(event_code_name(EVENT_INVALID_JSON), "INVALID_JSON");
    for (unsigned code = EVENT_INVALID_JSON; code < EVENT_CODES; code++)
        assert_true(event_code_name((enum event_code)code)[0] >= 'A');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_envelope, plain_rules),
        cmocka_unit_test_setup(test_aliases, plain_rules),
        cmocka_unit_test_setup(test_escaped_names, plain_rules),
        cmocka_unit_test_setup(test_last_wins, plain_rules),
        cmocka_unit_test_setup(test_nulls_are_absent, plain_rules),
        cmocka_unit_test_setup(test_texts, plain_rules),
        cmocka_unit_test_setup(test_texts_are_decoded, plain_rules),
        cmocka_unit_test_setup(test_types, plain_rules),
        cmocka_unit_test_setup(test_timestamps, plain_rules),
        cmocka_unit_test_setup(test_many_extras, plain_rules),
        cmocka_unit_test_setup(test_bare, plain_rules),
        cmocka_unit_test_setup(test_body_is_data, plain_rules),
        cmocka_unit_test_setup(test_no_object, plain_rules),
        cmocka_unit_test_setup(test_invalid_json, plain_rules),
        cmocka_unit_test_setup(test_cut_at_every_byte, plain_rules),
        cmocka_unit_test_setup(test_too_large, plain_rules),
        cmocka_unit_test_setup(test_flaws, plain_rules),
        cmocka_unit_test_setup(test_from_value, plain_rules),
        cmocka_unit_test_setup(test_real_events, plain_rules),
        cmocka_unit_test(test_code_names),
    };
    return cmocka_run_group_tests(tests, map_edge, unmap_edge);
}
