/* SPDX-License-Identifier: Apache-2.0 */
/* Who comes back, to the same shard or another, hears each publication once and in order. */
#include "tests/unit/socketio_rig.h"

static struct engineio_session one, two;
static char pid[64], offset[64];

static int set_up(void **state)
{
    (void)state;
    world_open(1, NULL);
    return 0;
}

static int set_up_three(void **state)
{
    (void)state;
    world_open(3, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_close();
    return 0;
}

static void say_to_room(unsigned shard, const char *text)
{
    struct publish publish = {
        .room = SPAN("r"), .event = SPAN("x"), .data = span_of_string(text), .kept = true};
    assert_true(hub_publish(hubs.hub[shard], &hubs.turn[shard], &publish));
}

/* In /ws, in room r, and with its pid and offset noted. */
static void begin(struct engineio_session *session, unsigned shard, const char *token)
{
    session_open(session, shard, 4, token);
    say(session, "0/ws,");
    find(session, "\"pid\":\"", pid);
    find(session, "},\"", offset);
    say(session, "2/ws,[\"join_room\",{\"roomId\":\"r\"}]");
    forget(session);
}

static void come_back(struct engineio_session *session, unsigned shard, const char *token)
{
    char packet[256];
    session_open(session, shard, 4, token);
    snprintf(packet, sizeof packet, "0/ws,{\"pid\":\"%s\",\"offset\":\"%s\"}", pid, offset);
    socketio_ops.message(session, session->turn, false, span_of_string(packet));
}

static bool has_recovered(struct engineio_session *session)
{
    char now[64];
    find(session, "\"pid\":\"", now);
    return strcmp(now, pid) == 0;
}

static void same_shard(void **state)
{
    (void)state;
    char sid[64], now[64];
    begin(&one, 0, "u/t");
    say(&one, "2/ws,[\"nothing\"]");
    say_to_room(0, "1");
    turn_all();
    find(&one, "x\",1,\"", offset);
    say_to_room(0, "2"); /* sent, and lost on its way */
    turn_all();
    peer_id_print(one.peer.id, sid);
    session_close(&one, ENGINEIO_PING_TIMEOUT);
    say_to_room(0, "3");
    publish(&hubs, 0, "user:u", "y", "4");
    publish(&hubs, 0, "another", "z", "5");
    turn_all();
    come_back(&two, 0, "u/t");
    say_to_room(0, "6");
    turn_all();
    assert_true(has_recovered(&two));
    find(&two, "\"sid\":\"", now);
    assert_string_equal(now, sid);
    hears(&two,
          "40/ws,{\"sid\":\"*\",\"pid\":\"*\"}\n"
          "42/ws,[\"x\",2,\"*\"]\n42/ws,[\"x\",3,\"*\"]\n42/ws,[\"y\",4,\"*\"]\n"
          "42/ws,[\"connected\",{\"message\":\"Connected to WebSocket server\",\"userId\":\"u\","
          "\"connectionId\":\"*\"},\"*\"]\n"
          "42/ws,[\"x\",6,\"*\"]\n");
    session_close(&two, ENGINEIO_TRANSPORT_CLOSE);
}

/* The server does not know yet that the connection is broken: who comes back takes its place. */
static void displaced(void **state)
{
    (void)state;
    begin(&one, 0, "u/t");
    come_back(&two, 0, "v/t");
    turn_all();
    assert_false(has_recovered(&two));
    assert_false(one.ended);
    session_close(&two, ENGINEIO_TRANSPORT_CLOSE);
    say_to_room(0, "1"); /* sent, and lost on its way */
    turn_all();
    come_back(&two, 0, "u/t");
    turn_all();
    assert_true(has_recovered(&two));
    assert_true(one.ended && one.reason == ENGINEIO_FORCED_CLOSE);
    assert_int_equal(one.peer.rooms, 0);
    assert_true(hub_is_member(hubs.hub[0], &two.peer, SPAN("r"), FIRST_ENCODING + 3));
    session_close(&one, ENGINEIO_FORCED_CLOSE);
    assert_true(buf_put(&two.heard, "", 1));
    assert_non_null(strstr((const char *)two.heard.at, "[\"x\",1,"));
    session_close(&two, ENGINEIO_TRANSPORT_CLOSE);
    come_back(&one, 0, "u/t"); /* and once more */
    turn_all();
    assert_true(has_recovered(&one));
    session_close(&one, ENGINEIO_TRANSPORT_CLOSE);
}

static void refused(void **state)
{
    (void)state;
    /* Another user. */
    begin(&one, 0, "u/t");
    session_close(&one, ENGINEIO_TRANSPORT_CLOSE);
    come_back(&two, 0, "v/t");
    turn_all();
    assert_false(has_recovered(&two));
    session_close(&two, ENGINEIO_TRANSPORT_CLOSE);
    /* Who broke the protocol, or said good-bye. */
    begin(&one, 0, "u/t");
    session_close(&one, ENGINEIO_PARSE_ERROR);
    come_back(&two, 0, "u/t");
    turn_all();
    assert_false(has_recovered(&two));
    session_close(&two, ENGINEIO_TRANSPORT_CLOSE);
    begin(&one, 0, "u/t");
    say(&one, "1/ws,");
    session_close(&one, ENGINEIO_TRANSPORT_CLOSE);
    come_back(&two, 0, "u/t");
    turn_all();
    assert_false(has_recovered(&two));
    session_close(&two, ENGINEIO_TRANSPORT_CLOSE);
    /* Nonsense. */
    begin(&one, 0, "u/t");
    session_close(&one, ENGINEIO_TRANSPORT_CLOSE);
    strcpy(offset, "7-1");
    come_back(&two, 0, "u/t");
    turn_all();
    assert_false(has_recovered(&two));
    session_close(&two, ENGINEIO_TRANSPORT_CLOSE);
}

static void forgotten(void **state)
{
    (void)state;
    begin(&one, 0, "u/t");
    session_close(&one, ENGINEIO_TRANSPORT_CLOSE);
    pass(RECOVERY_MS + 10);
    come_back(&two, 0, "u/t");
    turn_all();
    assert_false(has_recovered(&two));
    session_close(&two, ENGINEIO_TRANSPORT_CLOSE);
    /* Three are remembered, not four. */
    char first[64], first_offset[64];
    begin(&one, 0, "u/t");
    strcpy(first, pid);
    strcpy(first_offset, offset);
    session_close(&one, ENGINEIO_TRANSPORT_CLOSE);
    for (unsigned i = 0; i < 3; i++) {
        begin(&one, 0, "w/t");
        session_close(&one, ENGINEIO_TRANSPORT_CLOSE);
    }
    strcpy(pid, first);
    strcpy(offset, first_offset);
    come_back(&two, 0, "u/t");
    turn_all();
    assert_false(has_recovered(&two));
    session_close(&two, ENGINEIO_TRANSPORT_CLOSE);
}

/* A room that was left to it by rights that it has no longer stays left. */
static void rights_that_ended(void **state)
{
    (void)state;
    begin(&one, 0, "u/t");
    session_close(&one, ENGINEIO_TRANSPORT_CLOSE);
    come_back(&two, 0, "u/other");
    turn_all();
    assert_false(has_recovered(&two));
    assert_false(hub_is_member(hubs.hub[0], &two.peer, SPAN("tenant:t"), FIRST_ENCODING + 3));
    session_close(&two, ENGINEIO_TRANSPORT_CLOSE);
}

/* Nor is it told what was said there: on this shard or another. */
static void rooms_that_were_closed(void **state)
{
    (void)state;
    for (unsigned there = 0; there < 2; there++) {
        begin(&one, 1, "u/t");
        session_close(&one, ENGINEIO_TRANSPORT_CLOSE);
        desk.closed = "r";
        say_to_room(1, "1");
        publish(&hubs, 1, "user:u", "y", "2");
        turn_all();
        come_back(&two, there, "u/t");
        turn_all();
        say_to_room(1, "3");
        turn_all();
        assert_true(has_recovered(&two));
        hears(
            &two,
            "40/ws,{\"sid\":\"*\",\"pid\":\"*\"}\n42/ws,[\"y\",2,\"*\"]\n"
            "42/ws,[\"connected\",{\"message\":\"Connected to WebSocket server\",\"userId\":\"u\","
            "\"connectionId\":\"*\"},\"*\"]\n");
        session_close(&two, ENGINEIO_PARSE_ERROR);
        desk.closed = NULL;
    }
}

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static void turn_one(unsigned shard)
{
    hub_mail(hubs.hub[shard], &hubs.turn[shard]);
    hub_flush(hubs.hub[shard], &hubs.turn[shard]);
}

static unsigned spoken;

static void speak(uint64_t *seed)
{
    char text[16];
    snprintf(text, sizeof text, "%u", spoken++);
    say_to_room((unsigned)(next_random(seed) % 3), text);
}

/* The publisher is one a turn or fewer, so that the numbers are published in their order. */
static void any_order(uint64_t *seed, unsigned steps)
{
    for (unsigned i = 0; i < steps; i++) {
        unsigned shard = (unsigned)(next_random(seed) % 3);
        turn_one(shard);
        if (next_random(seed) % 4 == 0) {
            turn_all();
            speak(seed);
        }
    }
}

/* Publications of one shard alone keep their order on the way to the home, whatever turns when. */
static void from_one_shard(uint64_t *seed, unsigned shard, unsigned steps)
{
    for (unsigned i = 0; i < steps; i++) {
        char text[16];
        turn_one((unsigned)(next_random(seed) % 3));
        if (next_random(seed) % 2 == 0)
            continue;
        snprintf(text, sizeof text, "%u", spoken++);
        say_to_room(shard, text);
    }
}

/* All numbers from `from` on, each once and in order, and nothing else but the two greetings. */
static void heard_all(struct engineio_session *session, unsigned from)
{
    assert_true(buf_put(&session->heard, "", 1));
    const char *at = (const char *)session->heard.at;
    for (unsigned i = from; i < spoken; i++) {
        char wanted[32];
        snprintf(wanted, sizeof wanted, "[\"x\",%u,", i);
        const char *found = strstr(at, "[\"x\",");
        if (found == NULL || strncmp(found, wanted, strlen(wanted)) != 0)
            fail_msg("%s is not next in\n%s", wanted, session->heard.at);
        at = found + 1;
    }
    assert_null(strstr(at, "[\"x\","));
    session->heard.length--;
}

static void other_shards(void **state)
{
    (void)state;
    for (uint64_t run = 1; run <= 300; run++) {
        uint64_t seed = run * 0x9e3779b97f4a7c15;
        unsigned here = (unsigned)(next_random(&seed) % 3),
                 there = (unsigned)(next_random(&seed) % 3);
        unsigned speaker = (unsigned)(next_random(&seed) % 3);
        bool many = next_random(&seed) % 2 == 0;
        spoken = 0;
        begin(&one, here, "u/t");
        any_order(&seed, (unsigned)(next_random(&seed) % 8));
        turn_all();
        unsigned from = spoken;
        if (from > 0) {
            char before[32];
            snprintf(before, sizeof before, "x\",%u,\"", from - 1);
            find(&one, before, offset);
        }
        bool noticed = next_random(&seed) % 4 != 0;
        if (noticed)
            session_close(&one, ENGINEIO_TRANSPORT_CLOSE);
        any_order(&seed, (unsigned)(next_random(&seed) % 8));
        come_back(&two, there, "u/t");
        if (many)
            from_one_shard(&seed, speaker, 30);
        else
            any_order(&seed, 30);
        turn_all();
        assert_true(has_recovered(&two));
        heard_all(&two, from);
        if (!noticed)
            session_close(&one, ENGINEIO_FORCED_CLOSE);
        say(&two, "1/ws,");
        session_close(&two, ENGINEIO_TRANSPORT_CLOSE);
        pass(RECOVERY_MS + 10);
    }
}

/* The shard that is asked never answers. */
static void no_answer(void **state)
{
    (void)state;
    begin(&one, 1, "u/t");
    session_close(&one, ENGINEIO_TRANSPORT_CLOSE);
    session_open(&two, 0, 4, "u/t");
    char packet[256];
    snprintf(packet, sizeof packet, "0/ws,{\"pid\":\"%s\",\"offset\":\"%s\"}", pid, offset);
    socketio_ops.message(&two, two.turn, false, span_of_string(packet));
    turn_one(0);
    hears(&two, "");
    hubs.turn[0].now_ns += 2100 * MS;
    (void)socketio_tick(door[0], two.turn);
    turn_one(0);
    assert_false(has_recovered(&two));
    turn_all();
    pass(3000);
    assert_true(hub_is_member(hubs.hub[0], &two.peer, SPAN("user:u"), FIRST_ENCODING + 3));
    /* And one who asks and goes. */
    begin(&one, 1, "u/t");
    session_close(&one, ENGINEIO_TRANSPORT_CLOSE);
    come_back(&one, 2, "u/t");
    session_close(&one, ENGINEIO_TRANSPORT_CLOSE);
    turn_all();
    session_close(&two, ENGINEIO_TRANSPORT_CLOSE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(same_shard, set_up, tear_down),
        cmocka_unit_test_setup_teardown(displaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(forgotten, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rights_that_ended, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rooms_that_were_closed, set_up_three, tear_down),
        cmocka_unit_test_setup_teardown(other_shards, set_up_three, tear_down),
        cmocka_unit_test_setup_teardown(no_answer, set_up_three, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
