/* SPDX-License-Identifier: Apache-2.0 */
#include "core/clock.h"
#include "tests/unit/unit.h"
#include "ws/socketio_packet.h"

static struct socketio_packet good(const char *text)
{
    struct socketio_packet packet;
    enum socketio_error error = socketio_parse(span_of_string(text), &packet);
    if (error != SOCKETIO_OK)
        fail_msg("%s: %d", text, error);
    return packet;
}

/* From an unreadable edge; the output stays as it was. */
static void bad(const char *text, enum socketio_error error)
{
    struct socketio_packet packet;
    memset(&packet, 0x5a, sizeof packet);
    uint8_t *at = unit_edge_copy(text, strlen(text));
    if (socketio_parse(span_of(at, strlen(text)), &packet) != error)
        fail_msg("%s: not %d", text, error);
    assert_int_equal(((uint8_t *)&packet)[0], 0x5a);
    unit_edge_free(at, strlen(text));
}

static void assert_span(struct span span, const char *text)
{
    if (!span_is(span, text))
        fail_msg("'%.*s' is not '%s'", SPAN_ARGS(span), text);
}

static void connects(void **state)
{
    (void)state;
    struct socketio_packet packet = good("0");
    assert_int_equal(packet.type, SOCKETIO_CONNECT);
    assert_span(packet.namespace, "/");
    assert_null(packet.payload.at);
    packet = good("0/ws,{\"token\":\"t\"}");
    assert_span(packet.namespace, "/ws");
    assert_span(packet.payload, "{\"token\":\"t\"}");
    assert_span(good("0/ws").namespace, "/ws");
    packet = good("0/ws?token=a&b=c,");
    assert_span(packet.namespace, "/ws");
    assert_span(packet.query, "token=a&b=c");
    assert_span(good("0{}").payload, "{}");
    bad("0[]", SOCKETIO_BAD_PAYLOAD);
    bad("0\"x\"", SOCKETIO_BAD_PAYLOAD);
    bad("0/ws,{", SOCKETIO_BAD_PAYLOAD);
}

static void disconnects(void **state)
{
    (void)state;
    assert_span(good("1").namespace, "/");
    assert_span(good("1/ws,").namespace, "/ws");
    assert_span(good("1/ws").namespace, "/ws");
    bad("1{}", SOCKETIO_BAD_PAYLOAD);
}

static void events(void **state)
{
    (void)state;
    struct socketio_packet packet = good("2[\"message\",1,\"2\",{\"3\":[true]}]");
    assert_span(packet.name, "message");
    assert_true(socketio_is(&packet, "message"));
    assert_false(socketio_is(&packet, "messages"));
    assert_span(packet.arguments, "1,\"2\",{\"3\":[true]}");
    assert_false(packet.has_id);
    packet = good("2/ws,17[ \"a\" , {} ]");
    assert_span(packet.namespace, "/ws");
    assert_true(packet.has_id && packet.id == 17);
    assert_span(packet.arguments, "{}");
    assert_span(good("2[\"a\"]").arguments, "");
    assert_span(good("2[7,1]").name, "7");
    packet = good("2[\"m\\u0065ssage\"]");
    assert_true(packet.name_escaped && socketio_is(&packet, "message"));
    packet = good("29007199254740991[\"a\"]");
    assert_true(packet.id == 9007199254740991);
    assert_true(good("2007[\"a\"]").id == 7);
}

static void bad_events(void **state)
{
    (void)state;
    bad("2", SOCKETIO_BAD_PAYLOAD);
    bad("2{}", SOCKETIO_BAD_PAYLOAD);
    bad("2[]", SOCKETIO_BAD_PAYLOAD);
    bad("2[true]", SOCKETIO_BAD_PAYLOAD);
    bad("2[{}]", SOCKETIO_BAD_PAYLOAD);
    bad("2[\"a\"", SOCKETIO_BAD_PAYLOAD);
    bad("2[\"a\"]]", SOCKETIO_BAD_PAYLOAD);
    bad("2abc[\"a\"]", SOCKETIO_BAD_PAYLOAD);
    bad("2-1[\"a\"]", SOCKETIO_BAD_PAYLOAD);
    bad("29007199254740992[\"a\"]", SOCKETIO_BAD_ID);
    bad("2[\"connect\"]", SOCKETIO_BAD_PAYLOAD);
    bad("2[\"dis\\u0063onnect\"]", SOCKETIO_BAD_PAYLOAD);
    bad("2[\"newListener\",1]", SOCKETIO_BAD_PAYLOAD);
    bad("", SOCKETIO_BAD_TYPE);
    bad("7", SOCKETIO_BAD_TYPE);
    bad("abc", SOCKETIO_BAD_TYPE);
    bad("\xff", SOCKETIO_BAD_TYPE);
}

static void acknowledgements(void **state)
{
    (void)state;
    struct socketio_packet packet = good("3456[1,\"2\"]");
    assert_true(packet.type == SOCKETIO_ACK && packet.id == 456);
    assert_span(packet.arguments, "1,\"2\"");
    assert_span(good("3/ws,0[]").arguments, "");
    bad("3[1]", SOCKETIO_BAD_PAYLOAD);
    bad("31{}", SOCKETIO_BAD_PAYLOAD);
}

static void binaries(void **state)
{
    (void)state;
    struct socketio_packet packet = good("52-/ws,7[\"m\",{\"_placeholder\":true,\"num\":0},"
                                         "{\"x\":[{\"num\":1,\"_placeholder\":true}]}]");
    assert_int_equal(packet.attachments, 2);
    assert_true(packet.id == 7);
    assert_span(good("61-5[{\"_placeholder\":true,\"num\":0}]").namespace, "/");
    assert_int_equal(good("510-[\"m\"]").attachments, 10);
    bad("50-[\"m\"]", SOCKETIO_BAD_ATTACHMENTS);
    bad("511-[\"m\"]", SOCKETIO_BAD_ATTACHMENTS);
    bad("599999999999999999999-[\"m\"]", SOCKETIO_BAD_ATTACHMENTS);
    bad("5-[\"m\"]", SOCKETIO_BAD_ATTACHMENTS);
    bad("51[\"m\"]", SOCKETIO_BAD_ATTACHMENTS);
    bad("51", SOCKETIO_BAD_ATTACHMENTS);
    bad("5", SOCKETIO_BAD_ATTACHMENTS);
    bad("51.5-[\"m\"]", SOCKETIO_BAD_ATTACHMENTS);
    bad("51-[\"m\",{\"_placeholder\":true,\"num\":1}]", SOCKETIO_BAD_ATTACHMENTS);
    bad("51-[\"m\",{\"_placeholder\":true,\"num\":-1}]", SOCKETIO_BAD_ATTACHMENTS);
    bad("51-[\"m\",{\"_placeholder\":true,\"num\":0.5}]", SOCKETIO_BAD_ATTACHMENTS);
    bad("51-[\"m\",{\"_placeholder\":true,\"num\":\"splice\"}]", SOCKETIO_BAD_ATTACHMENTS);
    bad("51-[\"m\",[{\"_placeholder\":true}]]", SOCKETIO_BAD_ATTACHMENTS);
    (void)good("51-[\"m\",{\"_placeholder\":false,\"num\":9}]");
    bad("51-[\"m\",{\"_placeholder\":true,\"num\":0,\"num\":5}]", SOCKETIO_BAD_ATTACHMENTS);
    bad("51-[\"m\",{\"_pl\\u0061ceholder\":true,\"n\\u0075m\":5}]", SOCKETIO_BAD_ATTACHMENTS);
    bad("51-[\"m\",{\"_placeholder\":true,\"x\":{\"num\":0}}]", SOCKETIO_BAD_ATTACHMENTS);
    bad("51-[\"m\",{\"x\":[{}],\"_placeholder\" : true , \"num\":[0]}]", SOCKETIO_BAD_ATTACHMENTS);
    bad("51-[\"m\",{\"x\":[[{\"_placeholder\":true,\"num\":1}]]}]", SOCKETIO_BAD_ATTACHMENTS);
    (void)good("51-[\"m\",{\"_placeholder\":true,\"_placeholder\":1,\"num\":7}]");
    (void)good("51-[\"m\",{\"a\":{\"_placeholder\":true,\"num\":0},\"num\":9}]");
    (void)good("51-[\"m\",{\"x\":[1,\"_placeholder\",true],\"num\":9}, "
               "{\"_placeholder\":\"\\\"\",\"num\":9}]");
}

/* Cut at every byte, whatever it then is: nothing past the edge is read. */
static void cut_anywhere(void **state)
{
    (void)state;
    static const char *const whole[] = {
        "52-/ws,7[\"m\\u0065\",{\"_placeholder\":true,\"num\":0},1]",
        "0/ws?token=a,{\"token\":\"x\"}",
        "2/a,9007199254740991[\"message\",{\"type\":\"t\",\"data\":{}}]",
    };
    for (size_t i = 0; i < COUNT_OF(whole); i++)
        for (size_t cut = 0; cut < strlen(whole[i]); cut++) {
            struct socketio_packet packet;
            uint8_t *at = unit_edge_copy(whole[i], cut);
            enum socketio_error error = socketio_parse(span_of(at, cut), &packet);
            assert_true(error == SOCKETIO_OK || error < 0);
            unit_edge_free(at, cut);
        }
}

static void writing(void **state)
{
    (void)state;
    struct buf out = {.max = 4096};
    uint64_t id = 12;
    assert_true(socketio_put_head(&out, SOCKETIO_EVENT, 0, SPAN("/"), NULL));
    assert_true(socketio_put_event(&out, SPAN("a\"b"), SPAN("{\"x\":1}")));
    assert_span(buf_span(&out), "42[\"a\\\"b\",{\"x\":1}]");
    out.length = 0;
    assert_true(socketio_put_head(&out, SOCKETIO_BINARY_ACK, 2, SPAN("/ws"), &id));
    assert_span(buf_span(&out), "462-/ws,12");
    out.length = 0;
    assert_true(socketio_put_event(&out, SPAN("e"), (struct span){0}));
    assert_span(buf_span(&out), "[\"e\"]");
    out.max = out.capacity;
    while (socketio_put_head(&out, SOCKETIO_CONNECT, 0, SPAN("/ws"), NULL))
        continue;
    buf_fini(&out);
}

static uint64_t parse_ns(struct span text)
{
    struct socketio_packet packet;
    uint64_t best_ns = UINT64_MAX;
    for (unsigned i = 0; i < 3; i++) {
        uint64_t begin_ns = clock_mono_ns();
        assert_int_equal(socketio_parse(text, &packet), SOCKETIO_OK);
        uint64_t took_ns = clock_mono_ns() - begin_ns;
        best_ns = took_ns < best_ns ? took_ns : best_ns;
    }
    return best_ns;
}

/* However deep it is nested, each byte is looked at a few times and no more: anybody may send it. */
static void nested(void **state)
{
    (void)state;
    enum { DEEP = JSON_DEPTH_MAX - 2, LONG = 200000 };
    struct buf text = {.max = 2 * LONG};
    assert_true(buf_print(&text, "51-[\"m\","));
    for (unsigned i = 0; i < DEEP; i++)
        assert_true(buf_print(&text, "{\"a\":"));
    assert_true(buf_put(&text, "[1", 2));
    while (text.length < LONG)
        assert_true(buf_put(&text, ",1", 2));
    assert_true(buf_put(&text, "]", 1));
    for (unsigned i = 0; i < DEEP; i++)
        assert_true(buf_put(&text, "}", 1));
    assert_true(buf_put(&text, "]", 1));
    uint64_t binary_ns = parse_ns(buf_span(&text));
    text.at[2] = '2';
    uint64_t plain_ns = parse_ns(span_from(buf_span(&text), 2));
    assert_true(binary_ns < 30 * plain_ns);
    buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nested),      cmocka_unit_test(connects),
        cmocka_unit_test(disconnects), cmocka_unit_test(events),
        cmocka_unit_test(bad_events),  cmocka_unit_test(acknowledgements),
        cmocka_unit_test(binaries),    cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(writing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
