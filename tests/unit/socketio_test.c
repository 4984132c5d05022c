/* SPDX-License-Identifier: Apache-2.0 */
/* Packets in, packets out: namespaces, tokens, rooms, messages, limits and times. */
#include "tests/unit/socketio_rig.h"

static struct engineio_session one, two;

static int set_up(void **state)
{
    (void)state;
    world_open(1, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_close();
    return 0;
}

#define CONNECTED(user)                                                                            \
    "[\"connected\",{\"message\":\"Connected to WebSocket server\",\"userId\":" user               \
    ",\"connectionId\":\"*\"},\"*\"]\n"

static void connected(struct engineio_session *session, const char *token)
{
    char packet[128];
    session_open(session, 0, 4, "");
    snprintf(packet, sizeof packet, "0/ws,{\"token\":\"%s\"}", token);
    say(session, packet);
    assert_false(session->ended);
    forget(session);
}

static void connecting(void **state)
{
    (void)state;
    session_open(&one, 0, 4, "");
    say(&one, "0{\"token\":\"u/t\"}");
    hears(&one, "40{\"sid\":\"*\",\"pid\":\"*\"}\n42" CONNECTED("\"u\""));
    assert_string_equal(one.peer.user_id, "u");
    assert_string_equal(one.peer.tenant_id, "t");
    for (unsigned i = 0; i < 3; i++)
        assert_true(hub_is_member(hubs.hub[0], &one.peer,
                                  span_of_string((const char *[]){"user:u", "tenant:t", "*"}[i]),
                                  FIRST_ENCODING + 1));
    say(&one, "0/ws,{\"token\":\"u/t\"}");
    hears(&one, "40/ws,{\"sid\":\"*\",\"pid\":\"*\"}\n42/ws," CONNECTED("\"u\""));
    publish(&hubs, 0, "user_u", "note", "{\"a\":1}");
    turn_all();
    hears(&one, "42[\"note\",{\"a\":1},\"*\"]\n42/ws,[\"note\",{\"a\":1},\"*\"]\n");
    say(&one, "1");
    assert_false(one.ended);
    publish(&hubs, 0, "*", "all", "2");
    turn_all();
    hears(&one, "42/ws,[\"all\",2,\"*\"]\n");
    say(&one, "1/ws,");
    assert_string_equal(one.peer.user_id, "");
    pass(CONNECT_MS + 2);
    assert_true(one.ended && one.reason == ENGINEIO_FORCED_CLOSE);
    session_close(&one, one.reason);
}

/* As the stock client does it: connect() on a socket that connects by itself. */
static void connects_twice(void **state)
{
    (void)state;
    session_open(&one, 0, 4, "");
    say(&one, "0/ws,{\"token\":\"u/t\"}");
    forget(&one);
    say(&one, "0/ws,{\"token\":\"u/t\"}");
    say(&one, "0/ws,{\"token\":\"bad\"}");
    hears(&one, "");
    assert_false(one.ended);
    say(&one, "1/ws,");
    say(&one, "0/ws,{\"token\":\"bad\"}");
    hears(&one, "44/ws,{\"message\":\"Unauthorized: it is bad\"}\n");
    session_close(&one, ENGINEIO_TRANSPORT_CLOSE);
}

static void refused(void **state)
{
    (void)state;
    session_open(&one, 0, 4, "");
    say(&one, "0/nowhere,");
    hears(&one, "44/nowhere,{\"message\":\"Invalid namespace\"}\n");
    say(&one, "0");
    hears(&one, "44{\"message\":\"Unauthorized: no token\"}\n");
    say(&one, "0{\"token\":\"bad\"}");
    hears(&one, "44{\"message\":\"Unauthorized: it is bad\"}\n");
    say(&one, "0{\"token\":\"/t\"}");
    hears(&one, "44{\"message\":\"Unauthorized: the token names no user\"}\n");
    say(&one, "0{\"token\":\"u/t\"}");
    forget(&one);
    say(&one, "0/ws,{\"token\":\"v/t\"}");
    hears(&one, "44/ws,{\"message\":\"Unauthorized: this connection is another user's\"}\n");
    session_close(&one, ENGINEIO_TRANSPORT_CLOSE);
    /* The handshake's token, unless the packet has its own. */
    session_open(&one, 0, 4, "u/t");
    say(&one, "0{\"token\":\"bad\"}");
    hears(&one, "44{\"message\":\"Unauthorized: it is bad\"}\n");
    say(&one, "0{\"token\":null}");
    forget(&one);
    assert_string_equal(one.peer.user_id, "u");
    session_close(&one, ENGINEIO_TRANSPORT_CLOSE);
}

static void old_protocol(void **state)
{
    (void)state;
    session_open(&one, 0, 3, "");
    hears(&one, "44\"Unauthorized: no token\"\n");
    say(&one, "0/ws?a=b&token=u/t&c,");
    char wanted[256];
    snprintf(wanted, sizeof wanted,
             "40/ws,\n42/ws,[\"connected\",{\"message\":\"Connected to WebSocket server\","
             "\"userId\":\"u\",\"connectionId\":\"/ws#%s\"}]\n",
             one.sid);
    hears(&one, wanted);
    publish(&hubs, 0, "user:u", "note", "1");
    turn_all();
    hears(&one, "42/ws,[\"note\",1]\n");
    session_close(&one, ENGINEIO_TRANSPORT_CLOSE);
}

static void malformed(void **state)
{
    (void)state;
    static const char *const packets[] = {"abc", "2{}",     "2",          "2[\"a\"]",
                                          "4{}", "1/other", "20x[\"a\"]", "51-[\"a\"]"};
    for (size_t i = 0; i < COUNT_OF(packets); i++) {
        connected(&one, "u/t");
        say(&one, packets[i]);
        if (i == COUNT_OF(packets) - 1)
            say(&one, "2/ws,[\"text where an attachment is due\"]");
        assert_true(one.ended && one.reason == ENGINEIO_PARSE_ERROR);
        session_close(&one, one.reason);
    }
    connected(&one, "u/t");
    say_binary(&one, "an attachment to nothing");
    assert_true(one.ended && one.reason == ENGINEIO_PARSE_ERROR);
    session_close(&one, one.reason);
}

/* Where it has been, what is under way is dropped. */
static void left(void **state)
{
    (void)state;
    connected(&one, "u/t");
    say(&one, "0{\"token\":\"u/t\"}");
    forget(&one);
    say(&one, "1/ws,");
    say(&one, "2/ws,[\"message\",{\"type\":\"a\"}]");
    say(&one, "1/ws,");
    assert_false(one.ended);
    hears(&one, "");
    session_close(&one, ENGINEIO_TRANSPORT_CLOSE);
}

static void use_echo(struct socketio_options *options)
{
    options->echo = true;
}

static void echo(void **state)
{
    (void)state;
    world_close();
    world_open(1, use_echo);
    admission.required = false;
    session_open(&one, 0, 4, "");
    say(&one, "0/custom,{\"token\":\"123\"}");
    hears(&one, "40/custom,{\"sid\":\"*\"}\n"); /* in a send of its own: the suites ask for it */
    pass(60);
    hears(&one, "42/custom,[\"auth\",{\"token\":\"123\"}]\n");
    say(&one, "52-/custom,7[\"message-with-ack\",{\"_placeholder\":true,\"num\":1},1]");
    say_binary(&one, "ab");
    hears(&one, "");
    say_binary(&one, "");
    hears(&one, "462-/custom,7[{\"_placeholder\":true,\"num\":1},1]\n<ab>\n<>\n");
    say(&one, "2/custom,[\"message\"]");
    hears(&one, "42/custom,[\"message-back\"]\n");
    say(&one, "0");
    hears(&one, "40{\"sid\":\"*\"}\n");
    say(&one, "1"); /* gone before it was told */
    pass(60);
    hears(&one, "");
    say(&one, "0");
    session_close(&one, ENGINEIO_TRANSPORT_CLOSE);
    pass(60);
    admission.required = true;
}

#define ERROR(code, message)                                                                       \
    "{\"type\":\"error\",\"message\":\"" message "\",\"code\":\"" code "\",\"timestamp\":\"*\"}"
#define TWICE(event, argument) "42/ws,[\"" event "\"," argument "]\n43/ws,1[" argument "]\n"

static void rooms(void **state)
{
    (void)state;
    connected(&one, "u/t");
    say(&one, "2/ws,1[\"join_room\",{\"roomId\":\"r\\u0031\"}]");
    hears(&one, TWICE("joined_room", "{\"roomId\":\"r1\"}"));
    say(&one, "2/ws,[\"join_room\",{\"roomId\":7}]");
    hears(&one, "42/ws,[\"joined_room\",{\"roomId\":\"7\"}]\n");
    publish(&hubs, 0, "r1", "x", "1");
    turn_all();
    hears(&one, "42/ws,[\"x\",1,\"*\"]\n");
    say(&one, "2/ws,1[\"leave_room\",{\"roomId\":\"r1\"}]");
    hears(&one, TWICE("left_room", "{\"roomId\":\"r1\"}"));
    publish(&hubs, 0, "r1", "x", "2");
    turn_all();
    hears(&one, "");
    static const char *const closed[] = {"closed-1",   "user:v", "user_v",  "tenant:x", "*",
                                         "project:v1", "user:",  "\\u0000", "a\\nb"};
    for (size_t i = 0; i < COUNT_OF(closed); i++) {
        char packet[128];
        snprintf(packet, sizeof packet, "2/ws,1[\"join_room\",{\"roomId\":\"%s\"}]", closed[i]);
        say(&one, packet);
        if (strcmp(closed[i], "\\u0000") == 0)
            forget(&one);
        else
            hears(&one, TWICE("error", ERROR("UNAUTHORIZED", "Access denied to room")));
        assert_int_equal(one.peer.rooms, 4); /* user, tenant, everyone, 7 */
    }
    say(&one, "2/ws,1[\"join_room\",{\"roomId\":\"unknown\"}]");
    hears(&one, TWICE("error", ERROR("JOIN_FAILED", "Access to the room cannot be checked now")));
    say(&one, "2/ws,1[\"join_room\",{\"roomId\":{}}]");
    hears(&one, TWICE("error", ERROR("INVALID_FIELD",
                                     "roomId: must be a string of 1 to 160 bytes or an integer")));
    session_close(&one, ENGINEIO_TRANSPORT_CLOSE);
}

static void projects(void **state)
{
    (void)state;
    static const struct {
        const char *argument, *answer;
    } cases[] = {
        {"{\"projectId\":\"p\"}", TWICE("joined-project", "{\"projectId\":\"p\"}")},
        {"{\"projectId\":\"p\",\"token\":\"u/x\"}",
         TWICE("joined-project", "{\"projectId\":\"p\"}")},
        {"{\"projectId\":\"p\",\"token\":\"v/t\"}",
         TWICE("error", "{\"message\":\"The token is not valid for this "
                        "connection\",\"code\":\"UNAUTHORIZED\"}")},
        {"{\"projectId\":\"p\",\"token\":1}",
         TWICE("error", "{\"message\":\"The token is not valid for this "
                        "connection\",\"code\":\"UNAUTHORIZED\"}")},
        {"{}", TWICE("error",
                     "{\"message\":\"Project ID is required\",\"code\":\"MISSING_PROJECT_ID\"}")},
        {"{\"projectId\":\"\"}",
         TWICE("error",
               "{\"message\":\"Project ID is required\",\"code\":\"MISSING_PROJECT_ID\"}")},
        {"{\"projectId\":\"vp\"}",
         TWICE(
             "error",
             "{\"message\":\"You do not have access to this project\",\"code\":\"UNAUTHORIZED\"}")},
        {"{\"projectId\":\"gone\"}",
         TWICE("error", "{\"message\":\"Project not found\",\"code\":\"PROJECT_NOT_FOUND\"}")},
        {"{\"projectId\":\"idle\"}",
         TWICE("error", "{\"message\":\"Project is not active\",\"code\":\"PROJECT_INACTIVE\"}")},
        {"{\"projectId\":\"unknown\"}",
         TWICE("error", "{\"message\":\"Failed to join project room\",\"code\":\"JOIN_FAILED\"}")},
        {"{\"projectId\":true}",
         TWICE("error", "{\"message\":\"Failed to join project room\",\"code\":\"JOIN_FAILED\"}")},
    };
    connected(&one, "u/t");
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char packet[256];
        snprintf(packet, sizeof packet, "2/ws,1[\"join-project\",%s]", cases[i].argument);
        say(&one, packet);
        hears(&one, cases[i].answer);
    }
    say(&one, "2/ws,1[\"leave-project\",{\"projectId\":\"p\"}]");
    hears(&one, TWICE("left-project", "{\"projectId\":\"p\"}"));
    say(&one, "2/ws,1[\"leave-project\",{\"projectId\":[]}]");
    hears(&one, TWICE("error",
                      "{\"message\":\"Failed to leave project room\",\"code\":\"LEAVE_FAILED\"}"));
    session_close(&one, ENGINEIO_TRANSPORT_CLOSE);
}

/* The answer comes later, or too late. */
static void answers_later(void **state)
{
    (void)state;
    desk.later = true;
    connected(&one, "u/t");
    say(&one, "2/ws,1[\"join_room\",{\"roomId\":\"r1\"}]");
    hears(&one, "");
    say(&one, "2/ws,[\"refresh_token\",{\"token\":\"u/t\"}]");
    hears(&one, "42/ws,[\"token_refreshed\",{\"expiresAt\":null}]\n");
    directory_answers(0);
    turn_all();
    hears(&one, TWICE("joined_room", "{\"roomId\":\"r1\"}"));
    say(&one, "2/ws,1[\"message\",{\"type\":\"chat\",\"data\":{\"roomId\":\"r2\"}}]");
    directory_answers(0);
    turn_all();
    hears(&one, "");
    assert_string_equal((const char *)intake[0].seen.at, "chat//{\"roomId\":\"r2\"}\n");
    say(&one, "2/ws,1[\"join_room\",{\"roomId\":\"r3\"}]");
    session_close(&one, ENGINEIO_TRANSPORT_CLOSE);
    directory_answers(0);
}

/* What one client asks does not take all the room that the directory has: it waits for its turn. */
static void few_at_a_time(void **state)
{
    (void)state;
    char packet[64];
    connected(&one, "u/t");
    desk.later = true;
    desk.asked = 0;
    for (unsigned i = 0; i < 45; i++) {
        snprintf(packet, sizeof packet, "2/ws,[\"join_room\",{\"roomId\":\"r%u\"}]", i);
        say(&one, packet);
    }
    assert_int_equal(desk.asked, 16);
    hears(&one, "");
    directory_answers(0);
    assert_int_equal(desk.asked, 17);
    turn_all();
    hears(&one, "42/ws,[\"joined_room\",{\"roomId\":\"r15\"}]\n");
    desk.later = false; /* all that are next are known */
    directory_answers(0);
    assert_int_equal(desk.asked, 45);
    turn_all();
    assert_int_equal(one.peer.rooms, 3 + 30);
    say(&one, "1/ws,");
    session_close(&one, ENGINEIO_TRANSPORT_CLOSE);
}

/* A client cannot make us keep more than so much until somebody answers. */
static void much_waits(void **state)
{
    (void)state;
    char packet[11000];
    desk.later = true;
    intake[0].intake.rules.bytes_max = sizeof packet;
    connected(&one, "producer/t");
    memset(packet, 'x', sizeof packet);
    int head = snprintf(packet, sizeof packet,
                        "2/ws,1[\"message\",{\"type\":\"chat\",\"roomId\":\"r\",\"data\":\"");
    packet[head] = 'x';
    snprintf(packet + 10000, sizeof packet - 10000, "\"}]");
    unsigned told = 0;
    for (unsigned i = 0; i < 60; i++) {
        say(&one, packet);
        told += one.heard.length > 0;
        forget(&one);
    }
    assert_in_range(told, 5, 12);
    session_close(&one, ENGINEIO_TRANSPORT_CLOSE);
}

/* Attachments are kept for nobody who has not been let in. */
static void attachments_of_strangers(void **state)
{
    (void)state;
    session_open(&one, 0, 4, "");
    say(&one, "51-/ws,[\"message\",{\"_placeholder\":true,\"num\":0}]");
    assert_true(one.ended && one.reason == ENGINEIO_PARSE_ERROR);
    session_close(&one, one.reason);
    connected(&one, "u/t");
    say(&one, "0{\"token\":\"u/t\"}");
    say(&one, "1/ws,");
    forget(&one);
    say(&one, "51-/ws,[\"message\",{\"_placeholder\":true,\"num\":0}]");
    say_binary(&one, "late");
    assert_false(one.ended);
    session_close(&one, ENGINEIO_TRANSPORT_CLOSE);
}

/* Nor more of them than there is memory for all clients together. */
static void attachments_of_all(void **state)
{
    (void)state;
    static char data[9000];
    static struct engineio_session many[9];
    unsigned ended = 0;
    memset(data, 'x', sizeof data - 1);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < COUNT_OF(many); i++) {
            char token[16];
            snprintf(token, sizeof token, "u%u/t", i);
            connected(&many[i], token);
            say(&many[i], "52-/ws,[\"message\",{\"_placeholder\":true,\"num\":0}]");
            say_binary(&many[i], data);
            ended += many[i].ended;
        }
        for (unsigned i = 0; i < COUNT_OF(many); i++)
            session_close(&many[i], many[i].reason);
    }
    assert_in_range(ended, 2 * 2, 2 * 4);
    connected(&one, "u/t");
    say(&one, "52-/ws,[\"message\",{\"_placeholder\":true,\"num\":0}]");
    say_binary(&one, data);
    assert_false(one.ended);
    session_close(&one, ENGINEIO_TRANSPORT_CLOSE);
}

static void messages(void **state)
{
    (void)state;
    connected(&one, "producer/t");
    say(&one, "2/ws,1[\"message\",{\"type\":\"a\",\"id\":\"e1\",\"data\":{}}]");
    say(&one, "2/ws,2[\"message\",{\"type\":\"liveliness\",\"data\":{}}]");
    hears(&one, "43/ws,2[{\"status\":\"sent\"}]\n");
    say(&one, "2/ws,3[\"message\",{\"type\":\"again\",\"id\":\"2\"}]");
    say(&one, "2/ws,[\"message\",{\"type\":\"b\"}]");
    hears(&one, "");
    progress[FAKE_SHARD].durable = 1;
    socketio_release(door[0], one.turn);
    turn_all();
    hears(&one, "43/ws,1[{\"status\":\"accepted\",\"id\":\"e1\"}]\n");
    progress[2].durable = 78;
    socketio_release(door[0], one.turn);
    turn_all();
    hears(&one, "43/ws,3[{\"status\":\"duplicate\",\"id\":\"2\"}]\n");
    say(&one, "2/ws,1[\"message\",{\"type\":\"no\"}]");
    hears(&one, TWICE("error", ERROR("FORBIDDEN", "type: no")));
    say(&one, "2/ws,1[\"message\",{\"type\":\"secret\"}]");
    hears(&one, TWICE("error", ERROR("FORBIDDEN", "type: needs a scope")));
    say(&one, "2/ws,1[\"message\",{\"data\":{}}]");
    forget(&one);
    say(&one, "2/ws,1[\"message\",{\"type\":\"chat\",\"data\":{\"roomId\":\"closed\"}}]");
    hears(&one, TWICE("error", ERROR("UNAUTHORIZED", "Access denied to room")));
    say(&one, "2/ws,1[\"message\",{\"type\":\"chat\",\"roomId\":\"user:v\",\"data\":{}}]");
    hears(&one, TWICE("error", ERROR("UNAUTHORIZED", "Access denied to room")));
    intake[0].room = 0;
    say(&one, "2/ws,1[\"message\",{\"type\":\"a\"}]");
    hears(&one, TWICE("error", ERROR("OVERLOADED", "the spool is full; try again later")));
    say(&one, "2/ws,1[\"what is this\"]");
    hears(&one, TWICE("error", ERROR("UNSUPPORTED_TYPE", "There is no such event")));
    say(&one, "2/ws,[\"what is this\"]");
    hears(&one, "");
    session_close(&one, ENGINEIO_TRANSPORT_CLOSE);
}

static void limits(void **state)
{
    (void)state;
    struct engineio_session more[2];
    connected(&one, "u/t");
    connected(&two, "u/t");
    for (unsigned i = 0; i < 5; i++)
        say(i % 2 == 0 ? &one : &two, "2/ws,[\"message\",{\"type\":\"live1\"}]");
    hears(&one, "");
    say(&two, "2/ws,1[\"message\",{\"type\":\"live1\"}]");
    hears(&two, TWICE("error", ERROR("RATE_LIMITED", "Rate limit exceeded")));
    connected(&more[0], "u/t");
    session_open(&more[1], 0, 4, "u/t");
    say(&more[1], "0");
    hears(&more[1], "44{\"message\":\"Too many connections of this user\"}\n");
    session_close(&more[0], ENGINEIO_TRANSPORT_CLOSE);
    say(&more[1], "0");
    assert_string_equal(more[1].peer.user_id, "u");
    session_close(&more[1], ENGINEIO_TRANSPORT_CLOSE);
    forget(&two);
    for (unsigned i = 0; i < 60; i++)
        say(&two, "2/ws,[\"join_room\",{\"roomId\":\"r\"}]");
    assert_true(buf_put(&two.heard, "", 1));
    assert_non_null(strstr((const char *)two.heard.at, "RATE_LIMITED"));
    session_close(&one, ENGINEIO_TRANSPORT_CLOSE);
    session_close(&two, ENGINEIO_TRANSPORT_CLOSE);
}

static void addresses(void **state)
{
    (void)state;
    static struct engineio_session crowd[12];
    for (unsigned i = 0; i < COUNT_OF(crowd); i++)
        session_open(&crowd[i], 0, 4, "");
    say(&crowd[10], "0{\"token\":\"u/t\"}");
    hears(&crowd[10], "44{\"message\":\"Too many connections from this address\"}\n");
    assert_true(crowd[10].ended); /* its place is not kept for it */
    pass(CONNECT_MS / 2);
    assert_true(crowd[11].ended && !crowd[0].ended); /* nor for who does not even ask */
    for (unsigned i = 0; i < COUNT_OF(crowd); i++)
        session_close(&crowd[i], ENGINEIO_TRANSPORT_CLOSE);
    session_open(&one, 0, 4, "u/t");
    say(&one, "0");
    assert_string_equal(one.peer.user_id, "u");
    session_close(&one, ENGINEIO_TRANSPORT_CLOSE);
}

static void expiry(void **state)
{
    (void)state;
    connected(&one, "u/t/10");
    say(&one, "0{\"token\":\"u/t/20\"}");
    forget(&one);
    pass(9000);
    hears(&one, "");
    pass(1010);
    hears(&one, "42/ws,[\"error\"," ERROR("TOKEN_EXPIRED", "Token expired") "]\n41/ws,\n");
    assert_false(one.ended);
    say(&one, "2[\"refresh_token\",{\"token\":\"v/t/90\"}]");
    hears(&one,
          "42[\"error\"," ERROR("UNAUTHORIZED", "Unauthorized: the token is another user's") "]\n");
    say(&one, "2[\"refresh_token\",{\"token\":\"bad\"}]");
    hears(&one, "42[\"error\"," ERROR("UNAUTHORIZED", "Unauthorized: it is bad") "]\n");
    say(&one, "21[\"refresh_token\",{\"token\":\"u/t/30\"}]");
    forget(&one);
    pass(15000);
    hears(&one, "");
    pass(5010);
    hears(&one, "42[\"error\"," ERROR("TOKEN_EXPIRED", "Token expired") "]\n41\n");
    session_close(&one, ENGINEIO_TRANSPORT_CLOSE);
}

/* With a fresh token it stays where that one lets it in, and nowhere else. */
static void a_token_that_says_less(void **state)
{
    (void)state;
    connected(&one, "u/t/100/r1");
    say(&one, "2/ws,[\"join_room\",{\"roomId\":\"r1\"}]");
    say(&one, "2/ws,[\"join-project\",{\"projectId\":\"1\"}]");
    forget(&one);
    say(&one, "2/ws,[\"refresh_token\",{\"token\":\"u/t/200/r1\"}]");
    hears(&one, "42/ws,[\"token_refreshed\",{\"expiresAt\":\"*\"}]\n");
    say(&one, "2/ws,[\"refresh_token\",{\"token\":\"u/t/200/r2\"}]");
    hears(&one, "42/ws,[\"left_room\",{\"roomId\":\"r1\"}]\n"
                "42/ws,[\"token_refreshed\",{\"expiresAt\":\"*\"}]\n");
    assert_false(hub_is_member(hubs.hub[0], &one.peer, SPAN("r1"), FIRST_ENCODING + 3));
    desk.later = true;
    desk.closed = "1";
    say(&one, "2/ws,[\"refresh_token\",{\"token\":\"u/t/200/r2\"}]");
    hears(&one, "42/ws,[\"token_refreshed\",{\"expiresAt\":\"*\"}]\n");
    directory_answers(0);
    turn_all();
    hears(&one, "42/ws,[\"left-project\",{\"projectId\":\"1\"}]\n");
    assert_int_equal(one.peer.rooms, 3);
    session_close(&one, ENGINEIO_TRANSPORT_CLOSE);
    connected(&one, "u/t/100");
    say(&one, "2/ws,[\"join_room\",{\"roomId\":\"r1\"}]");
    say(&one, "2/ws,[\"refresh_token\",{\"token\":\"u/t/200/r2\"}]");
    forget(&one);
    directory_answers(0);
    turn_all();
    hears(&one, "42/ws,[\"error\"," ERROR("UNAUTHORIZED", "Access denied to room") "]\n");
    session_close(&one, ENGINEIO_TRANSPORT_CLOSE);
}

static void idle(void **state)
{
    (void)state;
    connected(&one, "u/t");
    pass(IDLE_MS - 1000);
    say(&one, "2/ws,[\"nothing\"]");
    pass(IDLE_MS - 1000);
    assert_false(one.ended);
    pass(1100);
    assert_true(one.ended);
    session_close(&one, one.reason);
    session_open(&one, 0, 4, "");
    pass(CONNECT_MS - 10);
    assert_false(one.ended);
    pass(20);
    assert_true(one.ended);
    session_close(&one, one.reason);
}

static void kicked(void **state)
{
    (void)state;
    connected(&one, "u/t");
    say(&one, "0{\"token\":\"u/t\"}");
    forget(&one);
    socketio_ops.kicked(&one, one.turn);
    turn_all();
    hears(&one, "41/ws,\n41\n");
    assert_int_equal(one.peer.rooms, 0);
    session_close(&one, ENGINEIO_FORCED_CLOSE);
}

static void namespaces(void **state)
{
    (void)state;
    char why[256];
    static const char *const bad[] = {
        "ws", "/a?b", "/1,/2,/3,/4,/5,/6,/7,/8",
        "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct house_of_hubs own;
        hubs_open(&own, 1, &hub_defaults);
        struct socketio_options options = options_of(0);
        options.hub = own.hub[0];
        options.namespaces = bad[i];
        assert_null(socketio_open(&options, why));
        assert_non_null(strstr(why, "socketio.namespaces"));
        hubs_close(&own);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(connecting, set_up, tear_down),
        cmocka_unit_test_setup_teardown(connects_twice, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(old_protocol, set_up, tear_down),
        cmocka_unit_test_setup_teardown(malformed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(left, set_up, tear_down),
        cmocka_unit_test_setup_teardown(echo, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rooms, set_up, tear_down),
        cmocka_unit_test_setup_teardown(projects, set_up, tear_down),
        cmocka_unit_test_setup_teardown(answers_later, set_up, tear_down),
        cmocka_unit_test_setup_teardown(few_at_a_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(much_waits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(attachments_of_strangers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(attachments_of_all, set_up, tear_down),
        cmocka_unit_test_setup_teardown(messages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(limits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(addresses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(expiry, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_token_that_says_less, set_up, tear_down),
        cmocka_unit_test_setup_teardown(idle, set_up, tear_down),
        cmocka_unit_test_setup_teardown(kicked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(namespaces, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
