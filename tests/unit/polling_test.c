/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"
#include "ws/polling.h"

#include <stdio.h>

#define FORM4 PAYLOAD_EIO4
#define FORM3 PAYLOAD_EIO3
#define FORMB PAYLOAD_EIO3_BINARY

/* What is in a payload, as "TYPE[b]=data;", and '!' where it is bad. */
static void show(enum payload_form form, const void *bytes, size_t length, char *out)
{
    uint8_t *at = unit_edge_copy(bytes, length);
    struct payload payload;
    struct packet packet;
    int kind;
    *out = '\0';
    payload_start(&payload, form, at, length);
    while ((kind = payload_next(&payload, &packet)) == PAYLOAD_PACKET)
        out += sprintf(out, "%d%s=%.*s;", packet.type, packet.binary ? "b" : "",
                       SPAN_ARGS(packet.data));
    if (kind == PAYLOAD_BAD) {
        strcpy(out, "!");
        assert_int_equal(payload_next(&payload, &packet), PAYLOAD_END);
    }
    unit_edge_free(at, length);
}

static void reads_bytes(enum payload_form form, const void *bytes, size_t length,
                        const char *wanted)
{
    char out[512];
    show(form, bytes, length, out);
    assert_string_equal(out, wanted);
}

static void reads(enum payload_form form, const char *text, const char *wanted)
{
    reads_bytes(form, text, strlen(text), wanted);
}

/* However it is cut: the same packets as far as they are whole, then an error or the end. */
static void cuts(enum payload_form form, const void *bytes, size_t length, const char *wanted)
{
    char out[512];
    for (size_t cut = 0; cut < length; cut++) {
        show(form, bytes, cut, out);
        size_t same = strlen(out);
        bool is_bad = same > 0 && out[same - 1] == '!';
        if (form != FORM4)
            assert_memory_equal(out, wanted, same - is_bad);
    }
    reads_bytes(form, bytes, length, wanted);
}

static void eio4(void **state)
{
    (void)state;
    reads(FORM4, "4hello", "4=hello;");
    reads(FORM4, "4", "4=;");
    reads(FORM4,
          "4a\x1e"
          "4b\x1e"
          "2probe\x1e"
          "1",
          "4=a;4=b;2=probe;1=;");
    reads(FORM4,
          "4hello\x1e"
          "baGk=",
          "4=hello;4b=hi;");
    reads(FORM4, "b", "4b=;");
    cuts(FORM4,
         "4one\x1e"
         "bdHdv\x1e"
         "6",
         12, "4=one;4b=two;6=;");
}

static void eio4_refused(void **state)
{
    (void)state;
    reads(FORM4, "", "!");
    reads(FORM4, "\x1e", "!");
    reads(FORM4, "4a\x1e", "4=a;!");
    reads(FORM4,
          "4a\x1e\x1e"
          "4b",
          "4=a;!");
    reads(FORM4, "abc", "!");
    reads(FORM4, "7", "!");
    reads(FORM4, "/", "!");
    reads(FORM4, "bA", "!");
    reads(FORM4, "b@@@@", "!");
    reads(FORM4, "4\xff", "!");
    reads(FORM4, "4\xed\xa0\x80", "!");
    reads_bytes(FORM4, "\0", 1, "!");
}

static void eio3(void **state)
{
    (void)state;
    reads(FORM3, "6:4hello", "4=hello;");
    reads(FORM3, "6:4test16:4test26:4test3", "4=test1;4=test2;4=test3;");
    reads(FORM3, "6:4hello6:b4aGk=", "4=hello;4b=hi;");
    reads(FORM3, "1:21:3", "2=;3=;");
    /* code units of UTF-16: é 1, € 1, 😀 2 */
    reads(FORM3, "2:4é1:2", "4=é;2=;");
    reads(FORM3, "2:4€1:2", "4=€;2=;");
    reads(FORM3, "3:4😀1:2", "4=😀;2=;");
    reads(FORM3, "3:4::1:2", "4=::;2=;");
    cuts(FORM3, "3:4😀6:b4aGk=1:2", 18, "4=😀;4b=hi;2=;");
}

static void eio3_refused(void **state)
{
    (void)state;
    reads(FORM3, "", "!");
    reads(FORM3, "abc", "!");
    reads(FORM3, ":4", "!");
    reads(FORM3, "0:", "!");
    reads(FORM3, "3:4a", "!");
    reads(FORM3, "2:4😀", "!"); /* ends within a pair */
    reads(FORM3, "-1:4", "!");
    reads(FORM3, "1e0:4", "!");
    reads(FORM3, "1.0:4", "!");
    reads(FORM3, "9999999999:4", "!");
    reads(FORM3, "18446744073709551617:4", "!");
    reads(FORM3, "1:41", "4=;!");
    reads(FORM3, "2:b4", "4b=;");
    reads(FORM3, "1:b", "!");
    reads(FORM3, "2:bA", "!");
    reads(FORM3, "2:4\xff", "!");
    reads(FORM3, "1:4\xc3", "4=;!");
}

static void eio3_binary(void **state)
{
    (void)state;
    static const char both[] = "\0\6\xff"
                               "4hello\1\3\xff\4hi";
    cuts(FORMB, both, sizeof both - 1, "4=hello;4b=hi;");
    reads_bytes(FORMB, "", 0, "");
    reads_bytes(FORMB,
                "\0\1\0\xff"
                "4123456789",
                14, "4=123456789;");
    reads_bytes(FORMB,
                "\0\3\xff"
                "4\xc3\xa9",
                6, "4=é;"); /* bytes here */
    reads_bytes(FORMB,
                "\2\1\xff"
                "4",
                4, "!");
    reads_bytes(FORMB, "\0\xff", 2, "!");
    reads_bytes(FORMB, "\0\0\xff", 3, "!");
    reads_bytes(FORMB, "\1\0\xff", 3, "!");
    reads_bytes(FORMB, "\1\1\xff\7", 4, "!");
    reads_bytes(FORMB,
                "\0\x0a\xff"
                "4234567890",
                13, "!");
    reads_bytes(FORMB,
                "\0\2\xff"
                "4",
                4, "!");
    reads_bytes(FORMB, "\0\1\1\1\1\1\1\1\1\1\1\xff", 12, "!");
}

struct piece {
    bool binary;
    const char *text;
};

static void writes(enum payload_form form, const struct piece *piece, size_t count,
                   const void *wanted, size_t length)
{
    struct buf out = {.max = 1000};
    size_t most = 0;
    for (size_t i = 0; i < count; i++) {
        struct span packet = span_of_string(piece[i].text);
        assert_true(payload_put(form, piece[i].binary, packet, &out));
        most += payload_bytes_max(packet.length);
    }
    assert_int_equal(out.length, length);
    assert_memory_equal(out.at, wanted, length);
    assert_true(out.length <= most);
    /* With any less room, nothing of the last one is there. */
    struct buf tight = {.max = length - 1};
    bool put = true;
    for (size_t i = 0; i < count; i++)
        put = payload_put(form, piece[i].binary, span_of_string(piece[i].text), &tight);
    assert_false(put);
    buf_fini(&tight);
    buf_fini(&out);
}

static void writing(void **state)
{
    (void)state;
    static const struct piece some[] = {{false, "4hello"}, {true, "hi"}, {false, "3"}};
    static const char four[] = "4hello\x1e"
                               "baGk=\x1e"
                               "3",
                      three[] = "6:4hello6:b4aGk=1:3",
                      binary[] = "\0\6\xff"
                                 "4hello\1\3\xff\4hi\0\1\xff"
                                 "3";
    writes(FORM4, some, 3, four, sizeof four - 1);
    writes(FORM3, some, 3, three, sizeof three - 1);
    writes(FORMB, some, 3, binary, sizeof binary - 1);
    static const struct piece units[] = {{false, "4é€😀"}};
    writes(FORM3, units, 1, "5:4é€😀", 12);
    writes(FORMB, units, 1,
           "\0\1\0\xff"
           "4é€😀",
           14);
    static const struct piece none[] = {{true, ""}};
    writes(FORM4, none, 1, "b", 1);
    writes(FORM3, none, 1, "2:b4", 4);
    writes(FORMB, none, 1, "\1\1\xff\4", 4);
}

static void one_packet(void **state)
{
    (void)state;
    struct packet packet;
    uint8_t text[] = "4hello", binary[] = "\4hi", wrong[] = "\7";
    assert_true(packet_read(4, false, text, 6, &packet) && packet.data.at == text + 1);
    assert_true(packet_read(4, true, binary, 3, &packet) && packet.data.length == 3);
    assert_true(packet_read(4, true, binary, 0, &packet) && packet.binary);
    assert_true(packet_read(3, true, binary, 3, &packet) && span_is(packet.data, "hi"));
    assert_int_equal(packet.type, PACKET_MESSAGE);
    assert_false(packet_read(3, true, binary, 0, &packet));
    assert_false(packet_read(3, true, wrong, 1, &packet));
    assert_false(packet_read(4, false, text, 0, &packet));
    struct buf out = {.max = 5};
    assert_true(packet_put_base64(4, SPAN("hi"), &out));
    assert_true(span_is(buf_span(&out), "baGk="));
    assert_false(packet_put_base64(4, SPAN("x"), &out));
    assert_int_equal(out.length, 5);
    buf_fini(&out);
    assert_false(packet_put_base64(3, SPAN("hi"), &out));
    out.max = 6;
    assert_true(packet_put_base64(3, SPAN("hi"), &out) && span_is(buf_span(&out), "b4aGk="));
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(eio4),         cmocka_unit_test(eio4_refused), cmocka_unit_test(eio3),
        cmocka_unit_test(eio3_refused), cmocka_unit_test(eio3_binary),  cmocka_unit_test(writing),
        cmocka_unit_test(one_packet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
