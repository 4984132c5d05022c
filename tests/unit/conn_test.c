/* SPDX-License-Identifier: Apache-2.0 */
/* One shard: what a wire is offered, what it may ask for, and how connections end. */
#include "tests/unit/engine_fixture.h"

static uint8_t pattern(size_t i)
{
    return (uint8_t)(i * 31 + i / 251);
}

static uint8_t *pattern_make(size_t length)
{
    uint8_t *at = malloc(length);
    for (size_t i = 0; i < length; i++)
        at[i] = pattern(i);
    return at;
}

static void test_echo(void **state)
{
    (void)state;
    struct engine *engine = engine_start(1, engine_options(), false);
    uint8_t *bytes = pattern_make(200000);
    int fd = client(engine, DOOR_ECHO);
    for (size_t length = 1; length < 200000; length *= 3) {
        say(fd, bytes, length);
        expect(fd, bytes, length);
    }
    close(fd);
    free(bytes);
    engine_stop(engine);
}

static void test_byte_by_byte(void **state)
{
    (void)state;
    struct engine *engine = engine_start(1, engine_options(), false);
    uint8_t *bytes = pattern_make(30000);
    int fd = client(engine, DOOR_BYTE);
    say(fd, bytes, 30000);
    expect(fd, bytes, 30000);
    close(fd);
    free(bytes);
    engine_stop(engine);
}

static size_t put_message(uint8_t *at, size_t length, bool inverted)
{
    at[0] = (uint8_t)(length >> 8);
    at[1] = (uint8_t)length;
    for (size_t i = 0; i < length; i++)
        at[2 + i] = inverted ? (uint8_t)~pattern(i) : pattern(i);
    return 2 + length;
}

/* Messages of many lengths, so that buffers cut them
 * at every place; the wire inverts them where they lie. */
static void messages_in_pieces(size_t piece, struct shard_options options)
{
    struct engine *engine = engine_start(1, options, false);
    static uint8_t out[400000], back[400000];
    size_t length = 0;
    for (size_t i = 0; i < 150; i++) {
        put_message(back + length, i * i % 5003, true);
        length += put_message(out + length, i * i % 5003, false);
    }
    length += (put_message(back + length, 65535, true), put_message(out + length, 65535, false));
    assert_true(length <= sizeof out);
    int fd = client(engine, DOOR_LENGTH);
    size_t said = 0, heard = 0;
    while (said < length) {
        size_t more = piece < length - said ? piece : length - said;
        say(fd, out + said, more);
        said += more;
        if (said - heard > 100000) { /* let neither side's buffers fill */
            expect(fd, back + heard, said - heard - 70000);
            heard = said - 70000;
        }
    }
    expect(fd, back + heard, length - heard);
    EVENTUALLY(engine_counted(engine, COUNT_CONNECTION_BYTES) ==
               0); /* nothing is left, nothing kept */
    close(fd);
    EVENTUALLY(shard_connections(engine->shard[0]) == 0);
    engine_stop(engine);
}

static void test_messages_cut(void **state)
{
    (void)state;
    struct shard_options options = engine_options();
    messages_in_pieces(400000, options);
    messages_in_pieces(1009, options);
    options.ring.buffer_bytes = 1024;
    messages_in_pieces(400000, options);
    options.ring.buffers = 2;
    options.ring.buffer_bytes = 128;
    messages_in_pieces(400000, options);
    options.ring.without.receive_length_cap = true;
    messages_in_pieces(400000, options);
    options.ring.without.multishot_receive = true;
    messages_in_pieces(400000, options);
}

static void test_message_cut_at_every_byte(void **state)
{
    (void)state;
    struct engine *engine = engine_start(1, engine_options(), false);
    uint8_t out[64], back[64];
    size_t length = put_message(out, 10, false);
    put_message(back, 10, true);
    length += put_message(out + length, 10, false);
    put_message(back + length / 2, 10, true);
    int fd = client(engine, DOOR_LENGTH);
    for (size_t cut = 1; cut < length; cut++) {
        say(fd, out, cut);
        usleep(200);
        say(fd, out + cut, length - cut);
        expect(fd, back, length);
    }
    close(fd);
    engine_stop(engine);
}

static void test_message_too_long(void **state)
{
    (void)state;
    struct shard_options options = engine_options();
    options.input_max = 20000;
    struct engine *engine = engine_start(1, options, false);
    uint8_t *message = malloc(70000);
    size_t length = put_message(message, 65000, false);
    int fd = client(engine, DOOR_LENGTH);
    (void)send(fd, message, length, MSG_NOSIGNAL);
    char byte;
    assert_true(recv(fd, &byte, 1, 0) <= 0);
    EVENTUALLY(engine_counted(engine, COUNT_CONNECTIONS_OVERRUN) == 1);
    close(fd);
    free(message);
    engine_stop(engine);
}

static void test_no_memory(void **state)
{
    (void)state;
    struct shard_options options = engine_options();
    options.connection_memory = 8192;
    struct engine *engine = engine_start(1, options, false);
    uint8_t *message = malloc(70000);
    size_t length = put_message(message, 65000, false);
    int fd = client(engine, DOOR_LENGTH);
    (void)send(fd, message, length, MSG_NOSIGNAL);
    char byte;
    assert_true(recv(fd, &byte, 1, 0) <= 0);
    close(fd);
    fd = client(engine, DOOR_ECHO); /* everybody else goes on */
    say(fd, "hello", 5);
    expect(fd, "hello", 5);
    close(fd);
    EVENTUALLY(shard_connections(engine->shard[0]) == 0);
    free(message);
    engine_stop(engine);
}

static void asks(int fd, const char *text, const char *answers)
{
    say(fd, text, strlen(text));
    expect(fd, answers, strlen(answers));
}

/* What wires keep of long messages leaves a quarter for the short ones. */
static void test_memory_of_all(void **state)
{
    (void)state;
    struct shard_options options = engine_options();
    options.connection_memory = 8 << 20;
    struct engine *engine = engine_start(1, options, false);
    int one = client(engine, DOOR_LAST), two = client(engine, DOOR_LAST);
    int small = client(engine, DOOR_LAST);
    asks(one, "++++", "yyyy");
    asks(two, "+++", "yyn");
    asks(one, "-+", "yy");
    asks(two, "++++*", "yyynn");
    asks(small, "**+-*", "ynnyy");
    asks(two, "echo", "echo");
    close(two); /* all that it kept may be kept by others */
    EVENTUALLY(engine->wires == 2);
    asks(one, "++++++", "yyyynn");
    close(small);
    close(one);
    engine_stop(engine);
}

/* What was sent before the end of the stream is answered, and then the server closes too. */
static void test_half_close(void **state)
{
    (void)state;
    struct engine *engine = engine_start(1, engine_options(), false);
    uint8_t *bytes = pattern_make(100000);
    int fd = client(engine, DOOR_ECHO);
    say(fd, bytes, 100000);
    shutdown(fd, SHUT_WR);
    expect(fd, bytes, 100000);
    expect_end(fd);
    close(fd);

    engine->durable_max = 0;
    fd = client(engine, DOOR_EVENT);
    say(fd, "abc", 3);
    shutdown(fd, SHUT_WR);
    expect_silence(fd);
    engine->durable_max = UINT64_MAX;
    expect(fd, "abc", 3);
    expect_end(fd);
    close(fd);
    free(bytes);
    engine_stop(engine);
}

/* … but not for ever, if what it waits for does not come true. */
static void test_half_close_is_bounded(void **state)
{
    (void)state;
    struct shard_options options = engine_options();
    options.finished_ns = 200 * 1000 * 1000;
    struct engine *engine = engine_start(1, options, false);
    engine->durable_max = 0;
    int waits = client(engine, DOOR_EVENT), open = client(engine, DOOR_EVENT);
    say(waits, "abc", 3);
    say(open, "abc", 3);
    shutdown(waits, SHUT_WR);
    EVENTUALLY(shard_connections(engine->shard[0]) == 1);
    char byte;
    assert_true(recv(waits, &byte, 1, 0) <= 0);
    engine->durable_max = UINT64_MAX;
    expect(open, "abc", 3);
    close(open);
    close(waits);
    engine_stop(engine);
}

/* The last words arrive although more bytes were on their way to us. */
static void test_finish_lingers(void **state)
{
    (void)state;
    struct engine *engine = engine_start(1, engine_options(), false);
    uint8_t *bytes = pattern_make(100000);
    bytes[0] = 'q';
    for (int i = 0; i < 20; i++) {
        int fd = client(engine, DOOR_LAST);
        say(fd, bytes, 100000);
        expect(fd, "bye", 3);
        expect_end(fd);
        close(fd);
    }
    EVENTUALLY(shard_connections(engine->shard[0]) == 0);
    int fd = client(engine, DOOR_LAST); /* a peer that never closes: after a second it is gone */
    say(fd, "q", 1);
    expect(fd, "bye", 3);
    expect_end(fd);
    for (int i = 0; i < 3; i++) { /* until then no reset answers what it still sends */
        say(fd, "more", 4);
        usleep(10000);
    }
    EVENTUALLY(shard_connections(engine->shard[0]) == 0);
    close(fd);
    free(bytes);
    engine_stop(engine);
}

static void test_late(void **state)
{
    (void)state;
    struct engine *engine = engine_start(1, engine_options(), false);
    int fd = client(engine, DOOR_LAST);
    say(fd, "xd", 2);
    expect(fd, "xlate", 5);
    expect_end(fd);
    close(fd);
    engine_stop(engine);
}

static void test_change_wire(void **state)
{
    (void)state;
    struct engine *engine = engine_start(1, engine_options(), false);
    int fd = client(engine, DOOR_LAST);
    say(fd, "xu\0\3abc\0", 8);
    expect(fd, "x\0\3\x9e\x9d\x9c", 6);
    say(fd, "\1z", 2);
    expect(fd, "\0\1\x85", 3);
    close(fd);
    engine_stop(engine);
}

static void test_holds_in_order(void **state)
{
    (void)state;
    struct engine *engine = engine_start(1, engine_options(), false);
    engine->durable_max = 0;
    int fd = client(engine, DOOR_EVENT), other = client(engine, DOOR_EVENT);
    say(fd, "n", 1); /* waits for nothing */
    expect(fd, "n", 1);
    say(fd, "abns", 4);
    expect_silence(fd);
    engine->durable_max = 2; /* n and a */
    expect(fd, "a", 1);
    expect_silence(fd);
    say(other, "x", 1);
    expect_silence(other);
    engine->durable_max = UINT64_MAX;
    expect(fd, "bn", 2); /* s waits for Postgres, and what is behind it too */
    expect(other, "x", 1);
    say(fd, "c", 1);
    expect_silence(fd);
    engine->progress[0].stored = 4;
    sleeper_wake(shard_sleeper(engine->shard[0]));
    expect_silence(fd);
    engine->progress[0].stored = 5;
    sleeper_wake(shard_sleeper(engine->shard[0]));
    expect(fd, "sc", 2);
    say(fd, "z", 1); /* long durable when it is held: nothing changes any more, and yet it goes */
    expect(fd, "z", 1);
    close(fd);
    close(other);
    engine_stop(engine);
}

static void test_holds_for_another_shard(void **state)
{
    (void)state;
    struct shard_options options = engine_options();
    struct engine *engine = engine_start(2, options, false);
    int fd = -1;
    for (int i = 0; i < 200; i++) { /* until the kernel gives us shard 0 */
        uint64_t opened = counted(engine->counters[0], COUNT_CONNECTIONS_OPENED);
        fd = client(engine, DOOR_EVENT);
        EVENTUALLY(engine_counted(engine, COUNT_CONNECTIONS_OPENED) == (uint64_t)i + 1);
        if (counted(engine->counters[0], COUNT_CONNECTIONS_OPENED) > opened)
            break;
        close(fd);
    }
    say(fd, "oa", 2);
    expect_silence(fd);
    engine->progress[1].durable = 5;
    expect_silence(fd);
    engine->progress[1].durable = 6; /* nobody wakes shard 0 for that */
    expect(fd, "oa", 2);
    close(fd);
    engine_stop(engine);
}

static void test_reset(void **state)
{
    (void)state;
    struct engine *engine = engine_start(1, engine_options(), false);
    engine->durable_max = 0;
    for (int i = 0; i < 20; i++) {
        int fd = client(engine, i % 2 ? DOOR_EVENT : DOOR_FLOOD);
        say(fd, "abc", 3);
        usleep(500);
        reset(fd);
    }
    EVENTUALLY(shard_connections(engine->shard[0]) == 0);
    int fd = client(engine, DOOR_SINK); /* what came before the reset counts */
    char bytes[1000] = "";
    say(fd, bytes, sizeof bytes);
    reset(fd);
    EVENTUALLY(engine->sunk == 1000);
    EVENTUALLY(engine->wires == 0);
    engine_stop(engine);
}

/* A peer that asks and does not read: its output
 * limit is reached, it is closed, nobody else suffers. */
static void test_slow_reader(void **state)
{
    (void)state;
    struct shard_options options = engine_options();
    options.connection_memory = 1 << 30; /* it is its own limit that it meets */
    struct engine *engine = engine_start(1, options, false);
    int slow = client(engine, DOOR_FLOOD), quick = client(engine, DOOR_ECHO);
    char many[1000] = "";
    say(slow, many, sizeof many); /* 64 MB are asked for */
    for (int i = 0; i < 10; i++) {
        say(quick, "hello", 5);
        expect(quick, "hello", 5);
    }
    EVENTUALLY(shard_connections(engine->shard[0]) == 1);
    close(slow);
    close(quick);
    engine_stop(engine);
}

/* Lent bytes leave alone, or with what is sent around them, in order, and are returned once. */
static void test_lent(void **state)
{
    (void)state;
    static const char *const asked[] = {"l", "xl", "lx", "ll", "xly", "lxl", "llll", "axlbylcz"};
    struct engine *engine = engine_start(1, engine_options(), false);
    int fd = client(engine, DOOR_LAST);
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        say(fd, asked[i], strlen(asked[i]));
        for (const char *one = asked[i]; *one != '\0'; one++)
            expect(fd, *one == 'l' ? lent_bytes : one, *one == 'l' ? LENT_BYTES : 1);
    }
    EVENTUALLY(engine->returned == engine->lent_count);
    assert_int_equal(engine->lent_count, 14);
    EVENTUALLY(engine_counted(engine, COUNT_CONNECTION_BYTES) == 0);
    close(fd);
    engine_stop(engine);
}

/* One answer that is longer than the limit leaves all the same: nobody has been slow yet. */
static void test_long_answer(void **state)
{
    (void)state;
    struct shard_options options = engine_options();
    options.output_max = LENT_BYTES / 2;
    struct engine *engine = engine_start(1, options, false);
    int fd = client(engine, DOOR_LAST);
    say(fd, "l", 1);
    expect(fd, lent_bytes, LENT_BYTES);
    close(fd);
    engine_stop(engine);
}

/* Whoever goes away with lent bytes under way, or does not read them, returns them too. */
static void test_lent_and_gone(void **state)
{
    (void)state;
    static char many[3000];
    struct engine *engine = engine_start(1, engine_options(), false);
    memset(many, 'l', sizeof many);
    for (int i = 0; i < 20; i++) {
        int fd = client(engine, DOOR_LAST);
        say(fd, many, i % 2 ? sizeof many : 1 + (size_t)i * 10);
        usleep(500);
        reset(fd);
    }
    EVENTUALLY(shard_connections(engine->shard[0]) == 0);
    EVENTUALLY(engine->returned == engine->lent_count && engine->wires == 0);
    assert_true(engine->lent_count > 0);
    engine_stop(engine);
}

/* Told once when what is queued has left, if it asked for it, and not otherwise. */
static void test_notify(void **state)
{
    (void)state;
    struct engine *engine = engine_start(1, engine_options(), false);
    int fd = client(engine, DOOR_LAST);
    say(fd, "n", 1);
    say(fd, "xn", 2);
    expect(fd, "xw", 2);
    say(fd, "xnnyln", 6);
    expect(fd, "xy", 2);
    expect(fd, lent_bytes, LENT_BYTES);
    expect(fd, "w", 1);
    say(fd, "z", 1); /* no more of it */
    expect(fd, "z", 1);
    say(fd, "q", 1);
    expect(fd, "bye", 3);
    expect_end(fd);
    close(fd);
    engine_stop(engine);
}

static void test_throttle(void **state)
{
    (void)state;
    struct engine *engine = engine_start(1, engine_options(), false);
    uint8_t *bytes = pattern_make(10000);
    for (size_t i = 0; i < 10000; i++)
        bytes[i] = (uint8_t)('A' + bytes[i] % 26);
    int fd[40];
    for (int i = 0; i < 40; i++)
        fd[i] = client(engine, DOOR_EVENT);
    engine->open = false;
    for (int i = 0; i < 40; i++)
        say(fd[i], bytes, 10000);
    EVENTUALLY(engine_counted(engine, COUNT_THROTTLED_CONNECTIONS) == 40);
    assert_int_equal(engine_counted(engine, COUNT_THROTTLED), 40);
    assert_int_equal(engine->threw, 40); /* stopped means stopped: no wire was asked twice */
    expect_silence(fd[0]);
    engine->open = true;
    for (int i = 0; i < 40; i++)
        expect(fd[i], bytes, 10000);
    EVENTUALLY(engine_counted(engine, COUNT_THROTTLED_CONNECTIONS) == 0);
    EVENTUALLY(engine_counted(engine, COUNT_CONNECTION_BYTES) == 0);
    for (int i = 0; i < 40; i++)
        close(fd[i]);
    free(bytes);
    engine_stop(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_byte_by_byte),
        cmocka_unit_test(test_messages_cut),
        cmocka_unit_test(test_message_cut_at_every_byte),
        cmocka_unit_test(test_message_too_long),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_memory_of_all),
        cmocka_unit_test(test_half_close),
        cmocka_unit_test(test_half_close_is_bounded),
        cmocka_unit_test(test_finish_lingers),
        cmocka_unit_test(test_late),
        cmocka_unit_test(test_change_wire),
        cmocka_unit_test(test_holds_in_order),
        cmocka_unit_test(test_holds_for_another_shard),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_long_answer),
        cmocka_unit_test(test_notify),
        cmocka_unit_test(test_lent),
        cmocka_unit_test(test_lent_and_gone),
        cmocka_unit_test(test_throttle),
    };
    cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
