/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TCP door against an intake that writes down what it is given. Each dialogue is sent whole,
 * byte by byte, and cut in two at every byte: the events and what the server says must be the same.
 */
#include "proto/tcp.h"
#include "tests/unit/fake_conn.c"
#include "tests/unit/fake_intake.h"
#include "tests/unit/unit.h"

#include <errno.h>

static struct conn conn;
static struct counters counters;
static struct turn turn;
static struct fake_intake fake;
static struct tcp_house house;
static struct streams *streams;

static int verify(void *self, struct turn *now, struct span token, const char *peer,
                  struct principal *out, char *why)
{
    (void)self;
    (void)now;
    (void)peer;
    *out = (struct principal){.user_id = "u1", .expires_s = span_is(token, "soon") ? 11 : 0};
    snprintf(why, 128, "token expired");
    return span_is(token, "good") || span_is(token, "soon") ? 0
           : span_is(token, "often")                        ? -EAGAIN
                                                            : -EACCES;
}

static struct admission admission = {.verify = verify};

static int set_up(void **state)
{
    char why[256];
    (void)state;
    streams = streams_open();
    return streams == NULL || streams_add_defaults(streams, why) != 0;
}

static int tear_down(void **state)
{
    (void)state;
    streams_close(streams);
    return 0;
}

static void begin(void)
{
    turn = (struct turn){.counters = &counters, .now_ns = 1000000000000, .wall_us = 1};
    fake_intake_init(&fake, streams);
    house = (struct tcp_house){.intake = &fake.intake,
                               .admission = &admission,
                               .shard = FAKE_SHARD,
                               .ack_interval_ns = 5000000,
                               .hello_ns = 1000000000,
                               .leeway_ns = 1000000000,
                               .idle_ns = 60000000000};
    admission.required = false;
    fake_init(&conn);
    conn.wire = tcp_open(&house, &turn, &conn);
    assert_non_null(conn.wire);
}

static void end(void)
{
    fake_fini(&conn, &turn);
    fake_intake_fini(&fake);
}

static void say(const char *text)
{
    fake_receive(&conn, &turn, text, strlen(text));
}

static void release_all(void)
{
    fake_release(&conn, &turn, conn.holds);
}

static void expect_sent(const char *text)
{
    assert_int_equal(conn.sent.length, strlen(text));
    if (conn.sent.length > 0)
        assert_memory_equal(conn.sent.at, text, conn.sent.length);
    fake_forget(&conn);
}

/* Somewhere in what the server said. */
static void expect_said(const char *text)
{
    assert_non_null(memmem(conn.sent.at, conn.sent.length, text, strlen(text)));
}

static void expect_seen(const char *text)
{
    assert_int_equal(fake.seen.length, strlen(text));
    if (fake.seen.length > 0)
        assert_memory_equal(fake.seen.at, text, fake.seen.length);
}

/* ── The same however it comes ──────────────────────────────────────────────────────────────── */

struct dialogue {
    const char *bytes;
    size_t length;
    const char *seen;
    const char *last; /* the end of what the server says */
};

static void check(const struct dialogue *dialogue, size_t cut, bool bytewise)
{
    begin();
    if (bytewise) {
        for (size_t i = 0; i < dialogue->length; i++)
            fake_receive(&conn, &turn, dialogue->bytes + i, 1);
    } else {
        fake_receive(&conn, &turn, dialogue->bytes, cut);
        fake_receive(&conn, &turn, dialogue->bytes + cut, dialogue->length - cut);
    }
    turn.now_ns += 100000000;
    release_all();
    turn.now_ns += 100000000;
    conn.wire->ops->deadline(conn.wire, &turn);
    expect_seen(dialogue->seen);
    size_t length = strlen(dialogue->last);
    assert_true(conn.sent.length >= length);
    if (length > 0)
        assert_memory_equal(conn.sent.at + conn.sent.length - length, dialogue->last, length);
    else
        assert_int_equal(conn.sent.length, 0);
    end();
}

static void dialogues(void **state)
{
#define BYTES(text) text, sizeof text - 1
    static const struct dialogue all[] = {
        {BYTES("{\"type\":\"a\"}\n{\"type\":\"b\",\"id\":\"1\"}\r\n\n  \n{\"x\":1}\n"),
         "a//\nb/1/\nevent//{\"x\":1}\n", ""},
        {BYTES("{\"hello\":{}}\n{\"type\":\"a\"}\n{\"type\":\"b\"}\n"), "a//\nb//\n",
         "{\"ack\":2}\n"},
        {BYTES("{\"hello\":{\"ack\":\"none\"}}\n{\"type\":\"a\"}\n"), "a//\n", "\"resume\":0}}\n"},
        {BYTES("{\"hello\":{\"format\":\"length32\"}}\n\0\0\0\x0c{\"type\":\"a\"}\0\0\0\x0c{"
               "\"type\":\"b\"}"),
         "a//\nb//\n", "{\"ack\":2}\n"},
    };
    (void)state;
    for (unsigned i = 0; i < COUNT_OF(all); i++) {
        check(&all[i], 0, true);
        for (size_t cut = 0; cut <= all[i].length; cut++)
            check(&all[i], cut, false);
    }
}

/* ── Acknowledgements ───────────────────────────────────────────────────────────────────────── */

static void ack_waits_for_its_level(void **state)
{
    (void)state;
    begin();
    say("{\"hello\":{\"ack\":\"stored\"}}\n");
    fake_forget(&conn);
    say("{\"type\":\"a\"}\n{\"type\":\"b\"}\n");
    assert_int_equal(conn.holds, 1);
    assert_int_equal(conn.hold[0].level, ACK_STORED);
    assert_true(conn.hold[0].has_through);
    assert_int_equal(conn.hold[0].through.sequence, 1);
    expect_sent("");
    release_all();
    expect_sent("{\"ack\":2}\n");
    end();
}

static void acks_keep_their_distance(void **state)
{
    (void)state;
    begin();
    say("{\"hello\":{}}\n");
    fake_forget(&conn);
    say("{\"type\":\"a\"}\n");
    release_all();
    expect_sent("{\"ack\":1}\n");
    turn.now_ns += 1000000;
    say("{\"type\":\"a\"}\n");
    release_all();
    expect_sent("");
    assert_int_equal(conn.deadline_ns, turn.now_ns + 4000000);
    turn.now_ns += 4000000;
    conn.wire->ops->deadline(conn.wire, &turn);
    expect_sent("{\"ack\":2}\n");
    end();
}

static void duplicates_wait_for_their_originals(void **state)
{
    (void)state;
    begin();
    say("{\"hello\":{}}\n");
    fake_forget(&conn);
    say("{\"type\":\"a\"}\n{\"type\":\"again\",\"id\":\"2\"}\n{\"type\":\"again\",\"id\":\"3\"}\n");
    assert_int_equal(conn.holds, 2); /* one for each other shard */
    assert_true(conn.hold[0].has_other && conn.hold[1].has_other);
    assert_int_equal(conn.hold[0].other.shard, 2);
    assert_int_equal(conn.hold[1].other.shard, 3);
    release_all();
    turn.now_ns += 10000000;
    conn.wire->ops->deadline(conn.wire, &turn);
    expect_said("{\"ack\":3,\"duplicates\":2}\n");
    end();
}

/* ── Bad input ──────────────────────────────────────────────────────────────────────────────── */

static void refusals_are_named_and_counted(void **state)
{
    (void)state;
    begin();
    say("{\"hello\":{}}\n");
    fake_forget(&conn);
    say("{\"type\":\"a\"}\n{\"type\":\"no\"}\n{\"id\":\"x\"}\n{\"type\":\"b\"}\n");
    expect_said("{\"reject\":2,\"code\":\"FORBIDDEN\",\"message\":\"type: no\"}\n");
    expect_said("{\"reject\":3,\"code\":\"MISSING_TYPE\"");
    fake_forget(&conn);
    release_all();
    turn.now_ns += 10000000;
    conn.wire->ops->deadline(conn.wire, &turn);
    expect_sent("{\"ack\":4}\n");
    end();
}

static void too_large_is_passed_over(void **state)
{
    static char line[20000];
    (void)state;
    begin();
    memset(line, 'x', sizeof line - 2);
    line[sizeof line - 2] = '\n';
    say("{\"type\":\"a\"}\n");
    for (size_t at = 0; at < sizeof line - 1; at += 100)
        fake_receive(&conn, &turn, line + at,
                     sizeof line - 1 - at < 100 ? sizeof line - 1 - at : 100);
    say("{\"type\":\"b\"}\n");
    expect_seen("a//\nb//\n");
    expect_said("{\"reject\":2,\"code\":\"TOO_LARGE\"");
    assert_true(conn.kept.capacity <= 8192);
    end();
}

static void too_large_by_its_length(void **state)
{
    (void)state;
    begin();
    say("{\"hello\":{\"format\":\"length32\"}}\n");
    fake_forget(&conn);
    fake_receive(&conn, &turn, "\0\0\x10\0", 4);
    for (unsigned i = 0; i < 0x1000; i++)
        fake_receive(&conn, &turn, "y", 1);
    fake_receive(&conn, &turn, "\0\0\0\x0c{\"type\":\"b\"}", 16);
    expect_seen("b//\n");
    end();
}

static void bad_hellos(void **state)
{
    static const struct {
        const char *line, *answer;
    } all[] = {
        {"{\"hello\":{\"ack\":\"sure\"}}\n",
         "hello.ack: must be none, received, spooled or stored"},
        {"{\"hello\":{\"format\":\"xml\"}}\n", "hello.format: must be ndjson or length32"},
        {"{\"hello\":{\"producer\":\"\"}}\n", "hello.producer: must be 1 to 128 bytes"},
        {"{\"hello\":{\"producers\":\"p\"}}\n", "hello.producers: is not known"},
        {"{\"hello\":{\"ack\":1}}\n", "hello.ack: must be a string"},
        {"{\"hello\":{\"token\":\"bad\"}}\n",
         "\"code\":\"UNAUTHORIZED\",\"message\":\"token expired\""},
        {"{\"hello\":{\"token\":\"often\"}}\n", "\"code\":\"RATE_LIMITED\""},
    };
    (void)state;
    for (unsigned i = 0; i < COUNT_OF(all); i++) {
        begin();
        say(all[i].line);
        expect_said(all[i].answer);
        assert_true(conn.closing);
        end();
    }
}

static void nobody_without_a_token(void **state)
{
    (void)state;
    begin();
    admission.required = true;
    say("{\"type\":\"a\"}\n");
    assert_true(conn.closing);
    expect_seen("");
    expect_said("UNAUTHORIZED");
    end();
    begin();
    admission.required = true;
    say("{\"hello\":{\"token\":\"good\"}}\n{\"type\":\"a\"}\n");
    expect_seen("a//\n");
    end();
}

/* A token that expires while its producer speaks: it is told, acknowledged what it sent, and closed. */
static void a_token_expires(void **state)
{
    (void)state;
    begin();
    say("{\"hello\":{\"token\":\"soon\",\"ack\":\"spooled\"}}\n");
    assert_int_equal(conn.deadline_ns, turn.now_ns + 12000000000);
    fake_forget(&conn);
    turn.now_ns += 11900000000;
    say("{\"type\":\"a\"}\n");
    fake_release(&conn, &turn, 1);
    conn.wire->ops->deadline(conn.wire, &turn);
    assert_false(conn.finished);
    turn.now_ns += 100000000;
    conn.wire->ops->deadline(conn.wire, &turn);
    assert_true(conn.finished);
    expect_said("{\"ack\":1}");
    expect_said("{\"error\":{\"code\":\"UNAUTHORIZED\",\"message\":\"token: it has expired\"}}");
    end();
}

/* ── Back-pressure ──────────────────────────────────────────────────────────────────────────── */

/* What was cut and parsed but not taken is parsed again, escapes and all, and nothing twice. */
static void no_room(void **state)
{
    static const char text[] =
        "{\"hello\":{}}\n{\"type\":\"a\",\"id\":\"\\u0041-1\"}\n"
        "{\"type\":\"b\",\"id\":\"\\u0041-2\"}\n{\"type\":\"c\",\"id\":\"\\u0041-3\"}\n";
    (void)state;
    for (unsigned room = 0; room < 3; room++) {
        begin();
        fake.room = room;
        say(text);
        assert_true(conn.throttled);
        for (unsigned i = room; i < 3; i++) {
            fake.room = 1;
            fake_open(&conn, &turn);
        }
        expect_seen("a/A-1/\nb/A-2/\nc/A-3/\n");
        fake_forget(&conn);
        release_all();
        turn.now_ns += 10000000;
        conn.wire->ops->deadline(conn.wire, &turn);
        expect_said("{\"ack\":3}\n");
        end();
    }
}

static void too_fast(void **state)
{
    (void)state;
    begin();
    house.rate = bucket_rate(2, 1000, 1000);
    say("{\"type\":\"a\"}\n{\"type\":\"b\"}\n{\"type\":\"c\"}\n");
    expect_seen("a//\nb//\n");
    expect_said("{\"reject\":3,\"code\":\"RATE_LIMITED\"");
    turn.now_ns += 2000000000;
    say("{\"type\":\"d\"}\n");
    expect_seen("a//\nb//\nd//\n");
    end();
}

/* Byte by byte, each in its time, and never to the end. */
static void a_hello_by_drops(void **state)
{
    (void)state;
    begin();
    for (unsigned i = 0; i < 9; i++) {
        say("{");
        turn.now_ns += house.hello_ns / 8;
        if (turn.now_ns >= conn.deadline_ns)
            conn.wire->ops->deadline(conn.wire, &turn);
    }
    expect_said("the first line did not come to its end");
    end();
}

/* What there was no room for has not been sent as far as limits.events_per_second goes. */
static void held_back_costs_nothing(void **state)
{
    (void)state;
    begin();
    house.rate = bucket_rate(4, 1000, 1000);
    fake.room = 1;
    say("{\"type\":\"a\"}\n{\"type\":\"b\"}\nbad\n{\"type\":\"c\"}\n");
    for (unsigned i = 0; i < 3; i++) {
        expect_seen("a//\n");
        fake_open(&conn, &turn);
    }
    fake.room = 9;
    fake_open(&conn, &turn);
    expect_seen("a//\nb//\nc//\n");
    expect_said("{\"reject\":3,\"code\":\"INVALID_JSON\"");
    fake_forget(&conn);
    say("{\"type\":\"d\"}\n");
    expect_said("{\"reject\":5,\"code\":\"RATE_LIMITED\"");
    end();
}

/* ── Named producers ────────────────────────────────────────────────────────────────────────── */

static void resume_goes_on(void **state)
{
    (void)state;
    begin();
    say("{\"hello\":{\"producer\":\"p\"}}\n{\"type\":\"a\"}\nbad\n{\"type\":\"b\"}\n");
    expect_said("\"resume\":0}}");
    assert_int_equal(fake.skipped, 1);
    fake_fini(&conn, &turn);
    fake_init(&conn);
    conn.wire = tcp_open(&house, &turn, &conn);
    fake.wait = true;
    fake.last = (struct ticket){1, FAKE_SHARD};
    say("{\"hello\":{\"producer\":\"p\"}}\n{\"type\":\"c\"}\n");
    expect_sent(""); /* the welcome waits for the disk, and the values for the welcome */
    assert_true(conn.paused);
    assert_int_equal(conn.holds, 1);
    release_all();
    assert_false(conn.paused);
    expect_said("\"resume\":3}}");
    end();
}

/* All that it sent was refused: there is no event to wait for, only the block that says how many. */
static void resume_waits_for_the_count(void **state)
{
    (void)state;
    begin();
    fake.block = 7;
    say("{\"hello\":{\"producer\":\"p\"}}\n{\"type\":\"c\"}\n");
    expect_sent("");
    assert_true(conn.paused);
    assert_int_equal(conn.holds, 1);
    assert_int_equal(conn.hold[0].block, 7);
    assert_int_equal(conn.hold[0].level, ACK_SPOOLED);
    release_all();
    assert_false(conn.paused);
    expect_said("\"resume\":0}}");
    end();
}

/* Behind a token the name is its user's, as long as both fit. */
static void a_users_producer(void **state)
{
    (void)state;
    for (int length = 122; length < 124; length++) {
        char line[256];
        begin();
        snprintf(line, sizeof line, "{\"hello\":{\"token\":\"good\",\"producer\":\"%0*d\"}}\n",
                 length, 0);
        say(line);
        assert_int_equal(conn.closing, length > 122);
        expect_said(length > 122 ? "hello.producer: too long" : "\"resume\":0");
        end();
    }
}

static void another_shards_producer(void **state)
{
    (void)state;
    begin();
    fake.owner = 5;
    char line[] = "{\"hello\":{\"producer\":\"p\"}}\n";
    assert_int_equal(conn.wire->ops->input(conn.wire, &turn, (uint8_t *)line, strlen(line)),
                     WIRE_HAND_OVER);
    end();
}

static void too_many_producers(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        begin();
        for (unsigned j = 0; i == 1 && j < 4; j++) {
            char name[8];
            snprintf(name, sizeof name, "q%u", j);
            assert_non_null(producers_get(fake.producers, span_of_string(name), turn.now_ns));
        }
        say("{\"hello\":{\"producer\":\"p\"}}\n");
        assert_true(conn.closing == (i == 1));
        end();
    }
}

/* ── The end ────────────────────────────────────────────────────────────────────────────────── */

static void last_line_without_newline(void **state)
{
    (void)state;
    begin();
    say("{\"hello\":{}}\n{\"type\":\"a\"}\n{\"type\":\"b\"}");
    fake_forget(&conn);
    conn.wire->ops->ended(conn.wire, &turn);
    expect_seen("a//\nb//\n");
    assert_true(conn.finished);
    release_all();
    expect_said("{\"ack\":2}\n");
    end();
}

/* Whoever dies while writing leaves half a line:
 * it is no value, or the producer would resume behind it. */
static void half_a_line(void **state)
{
    (void)state;
    begin();
    say("{\"hello\":{\"producer\":\"p\"}}\n");
    release_all();
    say("{\"type\":\"a\"}\n{\"type\":");
    fake_forget(&conn);
    conn.wire->ops->ended(conn.wire, &turn);
    expect_seen("a//\n");
    assert_int_equal(fake.skipped, 0);
    release_all();
    expect_said("{\"ack\":1}\n");
    end();
    begin();
    say("{\"type\":\"a\"}\n{\"type\":"); /* nobody will come again */
    conn.wire->ops->ended(conn.wire, &turn);
    expect_said("{\"reject\":2,\"code\":\"INVALID_JSON\"");
    end();
}

/* A hello that was cut off is not taken for an event: there may be a token in it. */
static void only_line_without_newline(void **state)
{
    static const char *const lines[] = {"{\"hello\":{\"token\":\"t\"}}", "{\"type\":\"a\"}"};
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        begin();
        admission.required = i >= 2;
        say(lines[i % 2]);
        conn.wire->ops->ended(conn.wire, &turn);
        expect_seen(i == 1 ? "a//\n" : "");
        if (i != 1)
            expect_said(i == 3 ? "UNAUTHORIZED" : "hello: the line did not come to its end");
        assert_true(conn.finished);
        end();
    }
    admission.required = false;
}

/* Each deadline lies ahead, or it would come at once, for ever. */
static void silence(void **state)
{
    (void)state;
    begin();
    for (unsigned i = 0; i < 20 && !conn.finished; i++) {
        assert_true(conn.deadline_ns > turn.now_ns);
        turn.now_ns = conn.deadline_ns;
        conn.wire->ops->deadline(conn.wire, &turn);
    }
    assert_true(conn.finished);
    expect_sent("");
    end();
}

static void idle_and_slow(void **state)
{
    (void)state;
    begin();
    say("{\"hel");
    turn.now_ns += 2000000000;
    conn.wire->ops->deadline(conn.wire, &turn);
    assert_true(conn.finished);
    expect_said("the first line");
    end();
    begin();
    say("{\"type\":\"a\"}\n");
    turn.now_ns += 61000000000;
    conn.wire->ops->deadline(conn.wire, &turn);
    assert_true(conn.finished);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dialogues),
        cmocka_unit_test(ack_waits_for_its_level),
        cmocka_unit_test(acks_keep_their_distance),
        cmocka_unit_test(duplicates_wait_for_their_originals),
        cmocka_unit_test(refusals_are_named_and_counted),
        cmocka_unit_test(too_large_is_passed_over),
        cmocka_unit_test(too_large_by_its_length),
        cmocka_unit_test(bad_hellos),
        cmocka_unit_test(nobody_without_a_token),
        cmocka_unit_test(a_token_expires),
        cmocka_unit_test(no_room),
        cmocka_unit_test(too_fast),
        cmocka_unit_test(a_hello_by_drops),
        cmocka_unit_test(held_back_costs_nothing),
        cmocka_unit_test(resume_goes_on),
        cmocka_unit_test(resume_waits_for_the_count),
        cmocka_unit_test(a_users_producer),
        cmocka_unit_test(another_shards_producer),
        cmocka_unit_test(too_many_producers),
        cmocka_unit_test(last_line_without_newline),
        cmocka_unit_test(half_a_line),
        cmocka_unit_test(only_line_without_newline),
        cmocka_unit_test(silence),
        cmocka_unit_test(idle_and_slow),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
