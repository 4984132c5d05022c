/* SPDX-License-Identifier: Apache-2.0 */
/* Engine.IO: the WebSocket, and the upgrade to it. */
#include "tests/unit/engineio_rig.h"

static char query[128], websocket[128];
static struct conn *const first = &line[1], *const second = &line[2], *const third = &line[3];

/* A session of its own on a WebSocket; what greets it is taken off. */
static void open_socket(struct conn *conn, unsigned protocol)
{
    char text[64];
    snprintf(text, sizeof text, "EIO=%u&transport=websocket", protocol);
    upgrade(conn, text);
    upgraded(conn);
    const char *greeting = frames(conn);
    assert_memory_equal(greeting, "T0{\"sid\":\"AQ", 12);
    assert_non_null(strstr(greeting, "\"upgrades\":[],"));
}

/* A session by polling, and a probe for it that has been answered. */
static void probe(struct conn *conn, unsigned protocol)
{
    shake(protocol, query);
    websocket_query(query, websocket);
    upgrade(conn, websocket);
    upgraded(conn);
    hears(conn, "");
    say(conn, "2probe");
    hears(conn, "T3probe|");
}

static void messages(void **state)
{
    (void)state;
    rig_open(&defaults);
    open_socket(first, 4);
    say(first, "4hello");
    hears(first, "T4hello|");
    say(first, "4");
    hears(first, "T4|");
    say_bytes(first, FRAME_BINARY, "\1\2", 2);
    hears(first, "B\1\2|");
    say(first, "baGk="); /* as text, which a client without binary would send */
    hears(first, "Bhi|");
    was_told("opened 4 ws|T hello|T |B \1\2|B hi|");
    open_socket(second, 3);
    say_bytes(second, FRAME_BINARY, "\4\1\2", 3);
    hears(second, "B\4\1\2|");
    say(second, "b4aGk=");
    hears(second, "B\4hi|");
    was_told("opened 3 ws|B \1\2|B hi|");
    for (unsigned protocol = 3; protocol <= 4; protocol++) {
        char text[64];
        snprintf(text, sizeof text, "EIO=%u&transport=websocket&b64=1", protocol);
        upgrade(third, text);
        upgraded(third);
        fake_forget(third);
        say(third, protocol == 3 ? "b4aGk=" : "baGk=");
        hears(third, protocol == 3 ? "Tb4aGk=|" : "TbaGk=|");
        say(third, "4x");
        hears(third, "T4x|");
    }
    rig_close();
}

/* The greeting in a send of its own, for clients that listen for one thing at a time. */
static void greeted_later(void **state)
{
    (void)state;
    struct engineio_options options = defaults;
    options.greet_after_ns = 20 * MS;
    rig_open(&options);
    for (unsigned protocol = 3; protocol <= 4; protocol++) {
        char text[64];
        snprintf(text, sizeof text, "EIO=%u&transport=websocket", protocol);
        upgrade(first, text);
        upgraded(first);
        hears(first, "");
        say(first,
            "4early"); /* what is said meanwhile is heard, and answered behind the greeting */
        sleep_ms(19);
        hears(first, "");
        sleep_ms(1);
        const char *said = frames(first);
        assert_memory_equal(said, "T0{\"sid\":\"AQ", 12);
        assert_string_equal(strchr(said, '|'), "|T4early|");
        say(first, "4hello");
        hears(first, "T4hello|");
        say(first, "1");
        hears(first, "C1000|");
        upgrade(second, text); /* and who goes before it is told nothing */
        upgraded(second);
        second->aborted = true;
        sleep_ms(25);
        upgrade(third, text);
        upgraded(third);
        say(third, "1");
        hears(third, "C1000|");
        sleep_ms(25);
    }
    was_told("opened 3 ws|T early|T hello|transport close|opened 3 ws|transport close|"
             "opened 3 ws|transport close|opened 4 ws|T early|T hello|transport close|"
             "opened 4 ws|transport close|opened 4 ws|transport close|");
    shake(4, query); /* a poll is greeted at once, and so is a probe answered */
    websocket_query(query, websocket);
    upgrade(first, websocket);
    upgraded(first);
    say(first, "2probe");
    hears(first, "T3probe|");
    engineio_send(latest, &turn, SPAN("4x"));
    say(first, "5");
    hears(first, "T4x|");
    rig_close();
}

static void handshakes_refused(void **state)
{
    (void)state;
    static const struct {
        const char *query, *wanted;
    } bad[] = {
        {"EIO=4", UNKNOWN_TRANSPORT},
        {"EIO=4&transport=abc", UNKNOWN_TRANSPORT},
        {"EIO=4&transport=polling", BAD_REQUEST},
        {"transport=websocket", BAD_PROTOCOL},
        {"EIO=abc&transport=websocket", BAD_PROTOCOL},
        {"EIO=4&transport=websocket&sid=abc", UNKNOWN_SID},
    };
    rig_open(&defaults);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        upgrade(first, bad[i].query);
        answers(first, bad[i].wanted);
    }
    forbidden = true;
    upgrade(first, "EIO=4&transport=websocket");
    answers(first, FORBIDDEN);
    assert_int_equal(engineio_sessions(door), 0);
    rig_close();
}

static void closing(void **state)
{
    (void)state;
    rig_open(&defaults);
    open_socket(first, 4);
    say(first, "1");
    hears(first, "C1000|");
    was_told("opened 4 ws|transport close|");
    open_socket(second, 4);
    say(second, "abc");
    hears(second, "C1003|");
    was_told("opened 4 ws|parse error|");
    say(second, "4late");
    hears(second, "");
    open_socket(third, 4);
    say_bytes(third, FRAME_CLOSE, "\3\350", 2);
    hears(third, "C1000|");
    was_told("opened 4 ws|transport close|");
    open_socket(first, 4);
    first->aborted = true;
    settle_all();
    was_told("opened 4 ws|transport close|");
    open_socket(second, 3);
    say_bytes(second, FRAME_BINARY, "\7", 1);
    hears(second, "C1003|");
    was_told("opened 3 ws|parse error|");
    rig_close();
}

static void ended_by_us(void **state)
{
    (void)state;
    rig_open(&defaults);
    open_socket(first, 4);
    engineio_send(latest, &turn, SPAN("4bye"));
    engineio_end(latest, &turn, ENGINEIO_FORCED_CLOSE);
    say(first, "4ignored");
    hears(first, "T4bye|C1000|");
    was_told("opened 4 ws|forced close|");
    open_socket(second, 4);
    engineio_drain(door, &turn);
    settle_all();
    hears(second, "C1001|");
    was_told("opened 4 ws|shutting down|");
    rig_close();
}

static void heartbeats(void **state)
{
    (void)state;
    rig_open(&defaults);
    open_socket(first, 4);
    open_socket(second, 3);
    for (unsigned i = 0; i < 3; i++) {
        sleep_ms(INTERVAL_MS);
        hears(first, "T2|");
        say(first, "3");
        say(second, "2");
        hears(second, "T3|");
    }
    sleep_ms(INTERVAL_MS + TIMEOUT_MS - 1);
    was_told("opened 4 ws|opened 3 ws|");
    sleep_ms(1);
    hears(first, "T2|C1000|");
    hears(second, "C1000|");
    was_told("ping timeout|ping timeout|");
    open_socket(third, 4);
    say(third, "2");
    hears(third, "C1008|");
    was_told("opened 4 ws|transport error|");
    rig_close();
}

/* Pings keep their time, however long a pong takes, but never follow one closely. */
static void pings_in_time(void **state)
{
    (void)state;
    rig_open(&defaults);
    open_socket(first, 4);
    sleep_ms(INTERVAL_MS);
    for (unsigned i = 0; i < 3; i++) {
        hears(first, "T2|");
        sleep_ms(40);
        say(first, "3");
        sleep_ms(INTERVAL_MS - 41);
        hears(first, "");
        sleep_ms(1);
    }
    hears(first, "T2|");
    sleep_ms(TIMEOUT_MS - 1);
    say(first, "3");
    say(first, "3"); /* nobody asked */
    sleep_ms(INTERVAL_MS / 2 - 1);
    hears(first, "");
    sleep_ms(1);
    hears(first, "T2|");
    was_told("opened 4 ws|");
    rig_close();
}

static void upgrades(void **state)
{
    (void)state;
    rig_open(&defaults);
    for (unsigned protocol = 3; protocol <= 4; protocol++) {
        const char *noop = protocol == 3 ? "200 1:6" : "200 6";
        probe(first, protocol);
        get(second, query);
        answers(second, noop);
        say(first, "5");
        hears(first, "");
        say(first, "4hello");
        hears(first, "T4hello|");
        assert_true(engineio_is_websocket(latest));
        /* Polling asked for base64 where it was EIO 3; this request did not. */
        say_bytes(first, FRAME_BINARY, protocol == 3 ? "\4x" : "x", protocol == 3 ? 2 : 1);
        hears(first, protocol == 3 ? "B\4x|" : "Bx|");
        get(second, query);
        answers(second, BAD_REQUEST);
        post(second, query, "4x");
        answers(second, BAD_REQUEST);
        say(first, "1");
        was_told(protocol == 3 ? "opened 3|T hello|B x|transport close|"
                               : "opened 4|T hello|B x|transport close|");
    }
    rig_close();
}

/* The poll that was parked before the probe is ended by it. */
static void parked_poll_ends(void **state)
{
    (void)state;
    rig_open(&defaults);
    shake(4, query);
    websocket_query(query, websocket);
    get(second, query);
    answers(second, "");
    upgrade(first, websocket);
    upgraded(first);
    answers(second, "");
    say(first, "2probe");
    hears(first, "T3probe|");
    answers(second, "200 6");
    say(first, "5");
    was_told("opened 4|");
    rig_close();
}

/* Messages go by polls until the 5, and by the WebSocket from then on; none twice. */
static void order_is_kept(void **state)
{
    (void)state;
    rig_open(&defaults);
    probe(first, 4);
    engineio_send(latest, &turn, SPAN("41"));
    get(second, query);
    answers(second, "200 41");
    engineio_send(latest, &turn, SPAN("42"));
    engineio_send(latest, &turn, SPAN("43"));
    settle_all();
    hears(first, "");
    say(first, "5");
    hears(first, "T42|T43|");
    engineio_send(latest, &turn, SPAN("44"));
    settle_all();
    hears(first, "T44|");
    rig_close();
}

/* A client that goes on polling and says 5 all the same: its poll is not left hanging. */
static void upgrade_under_a_poll(void **state)
{
    (void)state;
    rig_open(&defaults);
    shake(4, query);
    websocket_query(query, websocket);
    upgrade(first, websocket);
    upgraded(first);
    get(second, query);
    answers(second, "");
    say(first, "5"); /* without a probe, as the reference server takes it too */
    answers(second, "200 6");
    say(first, "4hello");
    hears(first, "T4hello|");
    rig_close();
}

static void second_sockets(void **state)
{
    (void)state;
    rig_open(&defaults);
    probe(first, 4);
    upgrade(second, websocket);
    upgraded(second);
    hears(second, "C1000|");
    say(first, "5");
    upgrade(third, websocket);
    upgraded(third);
    hears(third, "C1000|");
    say(first, "4hello");
    hears(first, "T4hello|");
    was_told("opened 4|T hello|");
    rig_close();
}

static void probes_given_up(void **state)
{
    (void)state;
    rig_open(&defaults);
    shake(4, query);
    websocket_query(query, websocket);
    static const char *const wrong[] = {"4hello", "2", "abc", ""};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        upgrade(first, websocket);
        upgraded(first);
        say(first, wrong[i]);
        hears(first, "C1000|");
    }
    upgrade(first, websocket); /* in whose place another may come */
    upgraded(first);
    say(first, "2probe");
    first->aborted = true;
    settle_all();
    get(third, query);
    post(second, query, "4still polling");
    answers(third, "200 4still polling");
    was_told("opened 4|T still polling|");
    rig_close();
}

static void probes_have_a_time(void **state)
{
    (void)state;
    struct engineio_options options = defaults;
    options.ping_interval_ns = 10000 * MS;
    rig_open(&options);
    probe(first, 4);
    sleep_ms(UPGRADE_MS - 1);
    hears(first, "");
    sleep_ms(1);
    hears(first, "C1000|");
    get(second, query); /* which nothing ends now */
    answers(second, "");
    was_told("opened 4|");
    rig_close();
}

static void a_session_ends_under_a_probe(void **state)
{
    (void)state;
    rig_open(&defaults);
    probe(first, 4);
    engineio_send(latest, &turn, SPAN("4bye"));
    engineio_end(latest, &turn, ENGINEIO_FORCED_CLOSE);
    settle_all();
    say(first, "5");
    hears(first, "T4bye|C1000|");
    was_told("opened 4|forced close|");
    probe(first, 4);
    post(second, query, "abc");
    answers(second, BAD_REQUEST);
    hears(first, "C1000|");
    was_told("opened 4|parse error|");
    rig_close();
}

static void stalled(void **state)
{
    (void)state;
    struct buf out = {.max = 1000};
    rig_open(&defaults);
    open_socket(first, 4);
    stalls = 2;
    client_text(&out, "4a");
    client_frame(&out, FIN | FRAME_BINARY, "b", 1);
    fake_receive(first, &turn, out.at, out.length);
    settle_all();
    assert_true(first->throttled);
    hears(first, "");
    was_told("opened 4 ws|");
    sleep_ms(10 * (INTERVAL_MS + TIMEOUT_MS)); /* its pong is not read: not its fault */
    hears(first, "T2|");
    fake_open(first, &turn); /* still not */
    assert_true(first->throttled);
    fake_open(first, &turn);
    settle_all();
    hears(first, "T4a|Bb|");
    was_told("T a|B b|");
    stalls = 1;
    say(first, "4c");
    engineio_end(latest, &turn, ENGINEIO_FORCED_CLOSE);
    settle_all();
    hears(first, "C1000|");
    was_told("forced close|");
    buf_fini(&out);
    rig_close();
}

/* A reader that takes nothing: what waits stays in the queue, and goes when there is room. */
static void slow_reader(void **state)
{
    (void)state;
    static char text[1500];
    memset(text, '4', sizeof text);
    rig_open(&defaults);
    open_socket(first, 4);
    unsigned sent = 0;
    while (!first->notify) {
        assert_true(engineio_send(latest, &turn, span_of(text, sizeof text)));
        settle_all();
        assert_true(++sent < 1000);
    }
    size_t queued = first->sent.length;
    assert_true(engineio_send(latest, &turn, SPAN("4last")));
    settle_all();
    assert_int_equal(first->sent.length, queued);
    fake_sent(first, &turn);
    settle_all();
    assert_true(first->sent.length >= 7);
    assert_memory_equal(first->sent.at + first->sent.length - 5, "4last", 5);
    fake_forget(first);
    /* Past its bounds: 1013. */
    for (unsigned i = 0; i < 200; i++)
        (void)engineio_send(latest, &turn, SPAN("4x"));
    settle_all();
    hears(first, "C1013|");
    was_told("opened 4 ws|transport error|");
    rig_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages),
        cmocka_unit_test(greeted_later),
        cmocka_unit_test(handshakes_refused),
        cmocka_unit_test(closing),
        cmocka_unit_test(ended_by_us),
        cmocka_unit_test(heartbeats),
        cmocka_unit_test(pings_in_time),
        cmocka_unit_test(upgrades),
        cmocka_unit_test(parked_poll_ends),
        cmocka_unit_test(order_is_kept),
        cmocka_unit_test(upgrade_under_a_poll),
        cmocka_unit_test(second_sockets),
        cmocka_unit_test(probes_given_up),
        cmocka_unit_test(probes_have_a_time),
        cmocka_unit_test(a_session_ends_under_a_probe),
        cmocka_unit_test(stalled),
        cmocka_unit_test(slow_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
