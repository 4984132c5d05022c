/* SPDX-License-Identifier: Apache-2.0 */
/* Engine.IO: the handshake, polling, heartbeats, and how sessions end. */
#include "tests/unit/engineio_rig.h"

static char query[128];
static struct conn *const first = &line[1], *const second = &line[2], *const third = &line[3];

/* ── The handshake ──────────────────────────────────────────────────────────────────────────── */

static void handshake(void **state)
{
    (void)state;
    static const char rest[] = "\",\"upgrades\":[\"websocket\"],\"pingInterval\":300,"
                               "\"pingTimeout\":200,\"maxPayload\":2000}";
    rig_open(&defaults);
    get(first, "EIO=4&transport=polling");
    const char *said = answer(first);
    assert_memory_equal(said, "200 0{\"sid\":\"AQ", 14); /* of shard 1 */
    assert_string_equal(said + 13 + 28, rest);
    was_told("opened 4|");
    get(first, "EIO=3&transport=polling");
    said = answer(first);
    assert_memory_equal(said, "200 119:0{\"sid\":\"AQ", 18);
    assert_int_equal(strlen(said), 4 + 4 + 119);
    was_told("opened 3|");
    assert_int_equal(engineio_sessions(door), 2);
    rig_close();
}

static void headers_of_answers(void **state)
{
    (void)state;
    rig_open(&defaults);
    get(first, "EIO=4&transport=polling");
    assert_non_null(memmem(first->sent.at, first->sent.length,
                           "Content-Type: text/plain; charset=UTF-8\r\n", 41));
    assert_non_null(memmem(first->sent.at, first->sent.length, "Cache-Control: no-store\r\n", 25));
    assert_null(memmem(first->sent.at, first->sent.length, "Set-Cookie", 10));
    fake_forget(first);
    shake(4, query);
    post(first, query, "4x");
    assert_non_null(memmem(first->sent.at, first->sent.length, "Content-Type: text/html\r\n", 25));
    rig_close();
}

static void handshakes_refused(void **state)
{
    (void)state;
    rig_open(&defaults);
    get(first, "EIO=4");
    answers(first, UNKNOWN_TRANSPORT);
    get(first, "EIO=4&transport=abc");
    answers(first, UNKNOWN_TRANSPORT);
    get(first, "EIO=4&transport=websocket"); /* without Upgrade */
    answers(first, BAD_REQUEST);
    get(first, "transport=polling");
    answers(first, BAD_PROTOCOL);
    get(first, "EIO=abc&transport=polling");
    answers(first, BAD_PROTOCOL);
    get(first, "EIO=5&transport=polling");
    answers(first, BAD_PROTOCOL);
    get(first, "EIO=4&transport=polling&j=0");
    answers(first, BAD_REQUEST);
    get(first, "EIO=4&transport=polling&sid=unknown");
    answers(first, UNKNOWN_SID);
    get(first, "EIO=4&transport=polling&sid=AQAAAAAAAAAAAAAAAAAAAAAAAAAA");
    answers(first, UNKNOWN_SID);
    post(first, "EIO=4&transport=polling", "");
    answers(first, BAD_METHOD);
    ask(first, "PUT", "EIO=4&transport=polling", "", "");
    answers(first, BAD_METHOD);
    ask(first, "HEAD", "EIO=4&transport=polling", "", "");
    answers(first, "400 ");
    forbidden = true;
    get(first, "EIO=4&transport=polling");
    answers(first, FORBIDDEN);
    assert_int_equal(engineio_sessions(door), 0);
    was_told("");
    rig_close();
}

static void what_is_not_allowed(void **state)
{
    (void)state;
    struct engineio_options options = defaults;
    options.eio3 = options.websocket = false;
    options.sessions_max = 1;
    rig_open(&options);
    get(first, "EIO=3&transport=polling");
    answers(first, BAD_PROTOCOL);
    get(first, "EIO=4&transport=websocket");
    answers(first, UNKNOWN_TRANSPORT);
    get(first, "EIO=4&transport=polling");
    assert_non_null(strstr(answer(first), "\"upgrades\":[]"));
    get(first, "EIO=4&transport=polling");
    assert_memory_equal(answer(first), "503", 3);
    rig_close();
    options.polling = false;
    options.websocket = true;
    rig_open(&options);
    get(first, "EIO=4&transport=polling");
    answers(first, UNKNOWN_TRANSPORT);
    rig_close();
}

static void sids_name_shards(void **state)
{
    (void)state;
    rig_open(&defaults);
    dial(first);
    get(first, "EIO=4&transport=polling&sid=AgAAAAAAAAAAAAAAAAAAAAAAAAAA");
    assert_true(first->moves && first->target == 2);
    assert_int_equal(first->sent.length, 0);
    dial(first);
    get(first, "EIO=4&transport=polling&sid=AwAAAAAAAAAAAAAAAAAAAAAAAAAA"); /* there are three */
    answers(first, UNKNOWN_SID);
    dial(first);
    upgrade(first, "EIO=4&transport=websocket&sid=AAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    assert_true(first->moves && first->target == 0);
    rig_close();
}

/* ── Messages ───────────────────────────────────────────────────────────────────────────────── */

static void messages(void **state)
{
    (void)state;
    rig_open(&defaults);
    shake(4, query);
    post(first, query, "4hello");
    answers(first, "200 ok");
    get(first, query);
    answers(first, "200 4hello");
    post(first, query,
         "4a\x1e"
         "4b\x1e"
         "bAQIDBA==");
    answers(first, "200 ok");
    get(first, query);
    answers(first, "200 4a\x1e"
                   "4b\x1e"
                   "bAQIDBA==");
    was_told("opened 4|T hello|T a|T b|B \1\2\3\4|");
    get(first, query); /* parked */
    answers(first, "");
    post(second, query, "4later");
    answers(second, "200 ok");
    answers(first, "200 4later");
    rig_close();
}

static void messages_of_eio3(void **state)
{
    (void)state;
    rig_open(&defaults);
    shake(3, query);
    post(first, query, "6:4hello10:b4AQIDBA==3:4😀");
    answers(first, "200 ok");
    get(first, query);
    answers(first, "200 6:4hello10:b4AQIDBA==3:4😀");
    post(first, query, "1:2");
    answers(first, "200 ok");
    get(first, query);
    answers(first, "200 1:3");
    rig_close();
}

static void binary_of_eio3(void **state)
{
    (void)state;
    static const char wanted[] = "\0\6\xff"
                                 "4hello\1\5\xff\4\1\2\3\4";
    rig_open(&defaults);
    get(first, "EIO=3&transport=polling");
    const char *sid = strstr(answer(first), "AQ");
    snprintf(query, sizeof query, "EIO=3&transport=polling&sid=%.28s", sid);
    post(first, query, "6:4hello10:b4AQIDBA==");
    answers(first, "200 ok");
    get(first, query);
    assert_non_null(memmem(first->sent.at, first->sent.length,
                           "Content-Type: application/octet-stream\r\n", 40));
    assert_memory_equal(first->sent.at + first->sent.length - (sizeof wanted - 1), wanted,
                        sizeof wanted - 1);
    fake_forget(first);
    ask(first, "POST", query, "Content-Type: application/octet-stream\r\n", "\1\3\xff\4hi");
    answers(first, "200 ok");
    get(first, query);
    assert_memory_equal(first->sent.at + first->sent.length - 6, "\1\3\xff\4hi", 6);
    was_told("opened 3|T hello|B \1\2\3\4|B hi|");
    rig_close();
}

static void polls_have_a_size(void **state)
{
    (void)state;
    char body[POLL], wanted[POLL + 8];
    rig_open(&defaults);
    shake(4, query);
    for (unsigned i = 0; i < 3; i++) {
        memset(body, 'a' + (int)i, 400);
        body[0] = '4';
        body[400] = '\0';
        post(first, query, body);
        answers(first, "200 ok");
    }
    for (unsigned i = 0; i < 3; i++) {
        memset(body, 'a' + (int)i, 400);
        body[0] = '4';
        snprintf(wanted, sizeof wanted, "200 %s", body);
        get(first, query);
        answers(first, wanted);
    }
    rig_close();
}

static void malformed(void **state)
{
    (void)state;
    static const char *const bodies[] = {"abc", "", "4a\x1e", "7", "\xff"};
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        rig_open(&defaults);
        shake(4, query);
        post(first, query, bodies[i]);
        answers(first, BAD_REQUEST);
        was_told(i == 2 ? "opened 4|T a|parse error|" : "opened 4|parse error|");
        get(first, query);
        answers(first, UNKNOWN_SID);
        rig_close();
    }
}

static void wrong_in_some_way(void **state)
{
    (void)state;
    rig_open(&defaults);
    shake(4, query);
    ask(first, "POST", query, "Content-Type: application/octet-stream\r\n", "4x");
    answers(first, BAD_REQUEST);
    was_told("opened 4|transport error|");
    shake(4, query);
    post(first, query, "2");
    answers(first, BAD_REQUEST);
    was_told("opened 4|transport error|");
    shake(3, query);
    post(first, query, "1:3");
    answers(first, BAD_REQUEST);
    was_told("opened 3|transport error|");
    shake(4, query);
    ask(first, "PUT", query, "", "");
    answers(first, BAD_REQUEST);
    ask(first, "HEAD", query, "", "");
    answers(first, "400 ");
    query[4] = '3';
    get(first, query);
    answers(first, BAD_REQUEST);
    query[4] = '4';
    was_told("opened 4|");
    post(first, query, "4still here");
    answers(first, "200 ok");
    rig_close();
}

static void bodies_have_a_bound(void **state)
{
    (void)state;
    char body[PAYLOAD + 50];
    rig_open(&defaults);
    shake(4, query);
    memset(body, '4', sizeof body);
    body[PAYLOAD] = '\0';
    silent = true;
    post(first, query, body);
    answers(first, "200 ok");
    body[PAYLOAD] = '4';
    body[PAYLOAD + 1] = '\0';
    get(third, query);
    told.length = 0;
    post(first, query, body);
    assert_memory_equal(answer(first), "413", 3);
    was_told("transport error|"); /* what is lost would be missed: it is over */
    answers(third, "");
    sleep_ms(20);
    answers(third, "200 1");
    post(second, query, "4x");
    answers(second, UNKNOWN_SID);
    shake(4, query);
    dial(first);
    char head[256];
    snprintf(head, sizeof head,
             "POST /engine.io/?%s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n801\r\n",
             query);
    hear(first, head);
    hear(first, body);
    assert_memory_equal(answer(first), "413", 3);
    get(third, query);
    answers(third, "200 1");
    post(second, query, "4x");
    answers(second, UNKNOWN_SID);
    shake(4, query);
    dial(first);
    snprintf(head, sizeof head,
             "POST /engine.io/?%.8s&transport=polling HTTP/1.1\r\nHost: x\r\nContent-Length: "
             "9999\r\n\r\n",
             query);
    hear(first, head);
    assert_memory_equal(answer(first), "413", 3);
    post(second, query, "4x");
    answers(second, "200 ok");
    fake_fini(second, &turn);
    rig_close();
}

/* ── Overlaps and ends ──────────────────────────────────────────────────────────────────────── */

static void two_polls(void **state)
{
    (void)state;
    rig_open(&defaults);
    shake(4, query);
    get(first, query);
    answers(first, "");
    get(second, query);
    answers(first, "200 1");
    answers(second, BAD_REQUEST);
    get(third, query);
    answers(third, UNKNOWN_SID);
    was_told("opened 4|transport error|");
    rig_close();
}

static void leaving(void **state)
{
    (void)state;
    rig_open(&defaults);
    shake(4, query);
    get(first, query);
    post(second, query, "1");
    answers(first, "200 6");
    answers(second, "200 ok");
    get(first, query);
    answers(first, UNKNOWN_SID);
    was_told("opened 4|transport close|");
    /* The poll had a longer way. */
    shake(4, query);
    post(second, query,
         "4x\x1e"
         "1");
    answers(second, "");
    get(first, query);
    answers(first, "200 6");
    answers(second, "200 ok");
    was_told("opened 4|T x|transport close|");
    /* There is none. */
    shake(4, query);
    post(second, query, "1");
    answers(second, "");
    was_told("opened 4|transport close|"); /* at once: the client may be back already */
    sleep_ms(19);
    answers(second, "");
    sleep_ms(1);
    answers(second, "200 ok");
    get(first, query);
    answers(first, UNKNOWN_SID);
    /* Nor does it come, and the connection breaks off. */
    shake(4, query);
    post(second, query, "1");
    second->aborted = true;
    settle_all();
    get(first, query);
    answers(first, UNKNOWN_SID);
    was_told("opened 4|transport close|");
    rig_close();
}

static void polls_break_off(void **state)
{
    (void)state;
    rig_open(&defaults);
    shake(4, query);
    get(first, query);
    first->wire->ops->ended(first->wire, &turn);
    settle_all();
    was_told("opened 4|transport close|");
    assert_true(first->finished);
    shake(4, query);
    get(second, query);
    second->aborted = true; /* reset */
    settle_all();
    was_told("opened 4|transport close|");
    get(third, query);
    answers(third, UNKNOWN_SID);
    rig_close();
}

static void ended_by_us(void **state)
{
    (void)state;
    rig_open(&defaults);
    shake(4, query);
    get(first, query);
    engineio_send(latest, &turn, SPAN("4bye"));
    engineio_end(latest, &turn, ENGINEIO_FORCED_CLOSE);
    assert_false(engineio_send(latest, &turn, SPAN("4late")));
    settle_all();
    answers(first, "200 4bye\x1e"
                   "1");
    was_told("opened 4|forced close|");
    /* No poll is there: what is queued waits for one, and so does good-bye. */
    shake(4, query);
    engineio_send(latest, &turn, SPAN("4bye"));
    engineio_end(latest, &turn, ENGINEIO_FORCED_CLOSE);
    settle_all();
    was_told("opened 4|");
    post(second, query, "4ignored");
    answers(second, "200 ok");
    get(first, query);
    answers(first, "200 4bye\x1e"
                   "1");
    was_told("forced close|");
    /* None comes. */
    shake(4, query);
    engineio_end(latest, &turn, ENGINEIO_PARSE_ERROR);
    sleep_ms(29999);
    was_told("opened 4|");
    sleep_ms(1);
    was_told("parse error|");
    rig_close();
}

static void overrun(void **state)
{
    (void)state;
    rig_open(&defaults);
    shake(4, query);
    for (unsigned i = 0; i < 100; i++)
        (void)engineio_send(latest, &turn, SPAN("4x"));
    settle_all();
    was_told("opened 4|transport error|");
    rig_close();
}

static void draining(void **state)
{
    (void)state;
    rig_open(&defaults);
    shake(4, query);
    get(first, query);
    engineio_drain(door, &turn);
    settle_all();
    answers(first, "200 1");
    was_told("opened 4|shutting down|");
    get(first, "EIO=4&transport=polling");
    assert_memory_equal(answer(first), "503", 3);
    rig_close();
}

/* ── Heartbeats ─────────────────────────────────────────────────────────────────────────────── */

static void heartbeat_of_4(void **state)
{
    (void)state;
    rig_open(&defaults);
    shake(4, query);
    for (unsigned i = 0; i < 3; i++) {
        get(first, query);
        sleep_ms((i == 0 ? INTERVAL_MS : INTERVAL_MS / 2) - 1);
        answers(first, "");
        sleep_ms(1);
        answers(first, "200 2");
        sleep_ms(TIMEOUT_MS - 1); /* the last moment: half an interval lies before the next ping */
        post(first, query, "3");
        answers(first, "200 ok");
    }
    get(first, query);
    sleep_ms(INTERVAL_MS / 2);
    answers(first, "200 2");
    get(first, query);
    sleep_ms(TIMEOUT_MS - 1);
    answers(first, "");
    sleep_ms(1);
    answers(first, "200 1");
    was_told("opened 4|ping timeout|");
    rig_close();
}

static void silence_of_4(void **state)
{
    (void)state;
    rig_open(&defaults);
    shake(4, query);
    sleep_ms(INTERVAL_MS + TIMEOUT_MS - 1);
    was_told("opened 4|");
    turn.now_ns += MS; /* and before any timer was looked at: */
    get(first, query);
    answers(first, UNKNOWN_SID);
    was_told("ping timeout|");
    rig_close();
}

/* What else comes while a pong is awaited gives time once. */
static void heartbeat_extended(void **state)
{
    (void)state;
    rig_open(&defaults);
    silent = true;
    shake(4, query);
    sleep_ms(INTERVAL_MS + TIMEOUT_MS - 1);
    post(first, query, "4x");
    sleep_ms(TIMEOUT_MS - 1);
    post(first, query, "4y");
    was_told("opened 4|T x|T y|");
    sleep_ms(1);
    was_told("ping timeout|");
    rig_close();
}

static void heartbeat_of_3(void **state)
{
    (void)state;
    rig_open(&defaults);
    shake(3, query);
    for (unsigned i = 0; i < 3; i++) {
        sleep_ms(INTERVAL_MS + TIMEOUT_MS - 1);
        post(first, query, "1:2");
        answers(first, "200 ok");
        get(first, query);
        answers(first, "200 1:3");
    }
    sleep_ms(INTERVAL_MS + TIMEOUT_MS - 1);
    was_told("opened 3|");
    sleep_ms(1);
    was_told("ping timeout|");
    rig_close();
}

/* It was we who did not look: the client has its whole time. */
static void late_beat(void **state)
{
    (void)state;
    rig_open(&defaults);
    shake(4, query);
    get(first, query);
    turn.now_ns += 10000 * MS;
    settle_all();
    answers(first, "200 2");
    post(first, query, "3");
    answers(first, "200 ok");
    was_told("opened 4|");
    rig_close();
}

/* That leniency is for who waits: nobody does here, so no ping would have reached anybody. */
static void late_beat_unheard(void **state)
{
    (void)state;
    rig_open(&defaults);
    shake(4, query);
    turn.now_ns += (INTERVAL_MS + TIMEOUT_MS) * MS;
    get(first, query);
    answers(first, UNKNOWN_SID);
    shake(4, query);
    turn.now_ns += (INTERVAL_MS + TIMEOUT_MS - 1) * MS;
    settle_all();
    turn.now_ns += MS;
    settle_all();
    was_told("opened 4|ping timeout|opened 4|ping timeout|");
    rig_close();
}

/* ── A user that cannot take more ───────────────────────────────────────────────────────────── */

static void stalled(void **state)
{
    (void)state;
    rig_open(&defaults);
    shake(4, query);
    stalls = 100;
    post(first, query,
         "4a\x1e"
         "bYg==\x1e"
         "4c");
    answers(first, "");
    was_told("opened 4|");
    stalls = 0;
    settle_all();
    answers(first, "200 ok");
    was_told("T a|B b|T c|");
    stalls = 1;
    post(first, query, "4d");
    answers(first, "200 ok"); /* the second time in the same turn */
    get(first, query);
    answers(first, "200 4a\x1e"
                   "bYg==\x1e"
                   "4c\x1e"
                   "4d");
    was_told("T d|");
    /* A client whose POST waits cannot send its pong: that is not its fault. */
    stalls = 1000000;
    post(first, query, "4w");
    sleep_ms(10 * (INTERVAL_MS + TIMEOUT_MS));
    was_told("");
    stalls = 0;
    settle_all();
    was_told("T w|");
    answers(first, "200 ok");
    /* Another POST beside one that waits. */
    stalls = 100;
    post(first, query, "4e");
    post(second, query, "4f");
    answers(first, BAD_REQUEST);
    answers(second, BAD_REQUEST);
    was_told("transport error|");
    rig_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handshake),
        cmocka_unit_test(headers_of_answers),
        cmocka_unit_test(handshakes_refused),
        cmocka_unit_test(what_is_not_allowed),
        cmocka_unit_test(sids_name_shards),
        cmocka_unit_test(messages),
        cmocka_unit_test(messages_of_eio3),
        cmocka_unit_test(binary_of_eio3),
        cmocka_unit_test(polls_have_a_size),
        cmocka_unit_test(malformed),
        cmocka_unit_test(wrong_in_some_way),
        cmocka_unit_test(bodies_have_a_bound),
        cmocka_unit_test(two_polls),
        cmocka_unit_test(leaving),
        cmocka_unit_test(polls_break_off),
        cmocka_unit_test(ended_by_us),
        cmocka_unit_test(overrun),
        cmocka_unit_test(draining),
        cmocka_unit_test(heartbeat_of_4),
        cmocka_unit_test(silence_of_4),
        cmocka_unit_test(heartbeat_extended),
        cmocka_unit_test(heartbeat_of_3),
        cmocka_unit_test(late_beat),
        cmocka_unit_test(late_beat_unheard),
        cmocka_unit_test(stalled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
