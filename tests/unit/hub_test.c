/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/hub_fixture.h"

#include <pthread.h>
#include <sched.h>

static struct house_of_hubs house;

/* ── Membership ─────────────────────────────────────────────────────────────────────────────── */

static void join_and_leave(void **state)
{
    (void)state;
    struct listener a;
    hubs_open(&house, 1, &hub_defaults);
    listener_open(&a, &house, 0, "u");
    struct hub *hub = house.hub[0];
    assert_int_equal(join(&house, 0, &a, "room"), HUB_JOINED);
    assert_int_equal(join(&house, 0, &a, "room"), HUB_MEMBER_ALREADY);
    assert_true(hub_is_member(hub, &a.peer, SPAN("room"), ENCODING_A));
    assert_false(hub_is_member(hub, &a.peer, SPAN("room"), ENCODING_B));
    publish(&house, 0, "room", "e", "1");
    hubs_turn(&house);
    heard(&a, "A room e 1\n");
    assert_true(hub_leave(hub, &house.turn[0], &a.peer, SPAN("room"), ENCODING_A));
    assert_false(hub_leave(hub, &house.turn[0], &a.peer, SPAN("room"), ENCODING_A));
    publish(&house, 0, "room", "e", "2");
    hubs_turn(&house);
    heard(&a, "");
    listener_close(&a, &house, 0);
    hubs_close(&house);
}

static void names_of_rooms(void **state)
{
    (void)state;
    struct listener a;
    char name[ROOM_NAME_MAX + 2];
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = '\0';
    hubs_open(&house, 2, &hub_defaults);
    listener_open(&a, &house, 1, "u");
    assert_int_equal(join(&house, 1, &a, ""), HUB_BAD_NAME);
    assert_int_equal(join(&house, 1, &a, name), HUB_BAD_NAME);
    name[ROOM_NAME_MAX] = '\0';
    assert_int_equal(join(&house, 1, &a, name), HUB_JOINED);
    assert_int_equal(join(&house, 1, &a, "user_7"), HUB_JOINED);
    assert_int_equal(join(&house, 1, &a, "user:7"), HUB_MEMBER_ALREADY);
    publish(&house, 0, "user_7", "e", "1");
    publish(&house, 1, "user:7", "e", "2");
    hubs_turn(&house);
    struct span got = buf_span(&a.heard);
    assert_int_equal(got.length, strlen("A user:7 e 1\nA user:7 e 2\n"));
    struct hub *hub = house.hub[0];
    assert_true(hub_has_audience(hub, SPAN("user_7")));
    assert_true(hub_has_audience(hub, SPAN("user:7")));
    assert_true(hub_has_audience_of(hub, hub_room_hash(hub, SPAN("user:"), SPAN("7"))));
    assert_false(hub_has_audience(hub, SPAN("user:8")));
    assert_int_equal(hub_room_hash(hub, SPAN("user:"), span_of(name, ROOM_NAME_MAX)), 0);
    listener_close(&a, &house, 1);
    hubs_close(&house);
}

static void rooms_have_a_bound(void **state)
{
    (void)state;
    struct hub_options options = hub_defaults;
    struct listener a;
    options.rooms_max = 3;
    hubs_open(&house, 1, &options);
    listener_open(&a, &house, 0, "u");
    assert_int_equal(join(&house, 0, &a, "1"), HUB_JOINED);
    assert_int_equal(join(&house, 0, &a, "2"), HUB_JOINED);
    assert_int_equal(join(&house, 0, &a, "3"), HUB_JOINED);
    assert_int_equal(join(&house, 0, &a, "4"), HUB_TOO_MANY_ROOMS);
    assert_int_equal(join(&house, 0, &a, "3"), HUB_MEMBER_ALREADY);
    hub_leave_all(house.hub[0], &house.turn[0], &a.peer, ENCODING_B);
    assert_int_equal(join(&house, 0, &a, "4"), HUB_TOO_MANY_ROOMS);
    hub_leave_all(house.hub[0], &house.turn[0], &a.peer, ENCODING_A);
    assert_int_equal(join(&house, 0, &a, "4"), HUB_JOINED);
    listener_close(&a, &house, 0);
    hubs_close(&house);
}

static void add_name(void *context, struct span room)
{
    assert_true(buf_print(context, "%.*s ", SPAN_ARGS(room)));
}

static void rooms_of_a_peer(void **state)
{
    (void)state;
    struct listener a;
    struct buf names = {.max = 1000};
    hubs_open(&house, 1, &hub_defaults);
    listener_open(&a, &house, 0, "u");
    assert_int_equal(join(&house, 0, &a, "one"), HUB_JOINED);
    assert_int_equal(join(&house, 0, &a, "user_2"), HUB_JOINED);
    assert_int_equal(join_as(&house, 0, &a, "three", ENCODING_B, NULL), HUB_JOINED);
    hub_rooms_of(house.hub[0], &a.peer, ENCODING_A, add_name, &names);
    assert_true(span_is(buf_span(&names), "one user:2 "));
    buf_fini(&names);
    listener_close(&a, &house, 0);
    hubs_close(&house);
}

/* ── Delivery ───────────────────────────────────────────────────────────────────────────────── */

static void encoded_once(void **state)
{
    (void)state;
    struct listener a[10], b[10];
    hubs_open(&house, 1, &hub_defaults);
    for (unsigned i = 0; i < 10; i++) {
        listener_open(&a[i], &house, 0, "u");
        listener_open(&b[i], &house, 0, "u");
        assert_int_equal(join(&house, 0, &a[i], "r"), HUB_JOINED);
        assert_int_equal(join_as(&house, 0, &b[i], "r", ENCODING_B, NULL), HUB_JOINED);
    }
    publish(&house, 0, "r", "e", "1");
    hubs_turn(&house);
    assert_int_equal(house.encoded[0], 2);
    for (unsigned i = 0; i < 10; i++) {
        heard(&a[i], "A r e 1\n");
        heard(&b[i], "B r e 1\n");
        assert_int_equal(a[i].drains, 1);
    }
    for (unsigned i = 0; i < 10; i++) {
        listener_close(&a[i], &house, 0);
        listener_close(&b[i], &house, 0);
    }
    hubs_close(&house);
}

static void filters_and_except(void **state)
{
    (void)state;
    struct listener all, some;
    hubs_open(&house, 1, &hub_defaults);
    listener_open(&all, &house, 0, "u");
    listener_open(&some, &house, 0, "u");
    assert_int_equal(join(&house, 0, &all, "r"), HUB_JOINED);
    assert_int_equal(join_as(&house, 0, &some, "r", ENCODING_A, "click,,view"), HUB_JOINED);
    struct publish publish = {
        .room = SPAN("r"), .event = SPAN("e"), .type = SPAN("view"), .data = SPAN("1")};
    assert_true(hub_publish(house.hub[0], &house.turn[0], &publish));
    publish.type = SPAN("vie");
    assert_true(hub_publish(house.hub[0], &house.turn[0], &publish));
    publish.event = SPAN("click"); /* its name will do as well */
    publish.data = SPAN("2");
    assert_true(hub_publish(house.hub[0], &house.turn[0], &publish));
    publish.except = some.peer.id;
    assert_true(hub_publish(house.hub[0], &house.turn[0], &publish));
    hubs_turn(&house);
    heard(&all, "A r e 1\nA r e 1\nA r click 2\nA r click 2\n");
    heard(&some, "A r e 1\nA r click 2\n");
    listener_close(&all, &house, 0);
    listener_close(&some, &house, 0);
    hubs_close(&house);
}

/* One behind the other in one room: one message to each. What comes between keeps its place. */
static void runs(void **state)
{
    (void)state;
    struct listener early, late, gone;
    hubs_open(&house, 1, &hub_defaults);
    listener_open(&early, &house, 0, "u");
    listener_open(&late, &house, 0, "u");
    listener_open(&gone, &house, 0, "u");
    assert_int_equal(join(&house, 0, &early, "r"), HUB_JOINED);
    assert_int_equal(join(&house, 0, &early, "s"), HUB_JOINED);
    assert_int_equal(join(&house, 0, &gone, "r"), HUB_JOINED);
    early.slow = true;
    publish(&house, 0, "r", "e", "1");
    publish(&house, 0, "r", "e", "2");
    hubs_turn(&house);
    assert_int_equal(peer_first(&early.peer)->parts, 2);
    early.slow = false;
    publish(&house, 0, "s", "e", "3");
    publish(&house, 0, "r", "e", "4");
    assert_int_equal(join(&house, 0, &late, "r"), HUB_JOINED);
    assert_true(hub_leave(house.hub[0], &house.turn[0], &gone.peer, SPAN("r"), ENCODING_A));
    publish(&house, 0, "r", "e", "5");
    struct encoded *reply = encoded_make(SPAN("reply"), NULL, 0);
    assert_true(peer_post(&early.peer, &house.turn[0], reply));
    encoded_put(reply);
    publish(&house, 0, "r", "e", "6");
    hubs_turn(&house);
    heard(&early, "A r e 1\nA r e 2\nA s e 3\nA r e 4\nA r e 5\nreply\nA r e 6\n");
    heard(&late, "A r e 5\nA r e 6\n");
    heard(&gone, "A r e 1\nA r e 2\nA r e 4\n");
    publish(&house, 0, "r", "e", "nobody waits for it");
    listener_close(&early, &house, 0);
    listener_close(&late, &house, 0);
    listener_close(&gone, &house, 0);
    hubs_close(&house);
}

/* As many as a run holds and more, in their order; a run never outgrows a peer's bounds. */
static void long_runs(void **state)
{
    (void)state;
    struct hub_options options = hub_defaults;
    struct listener a;
    char number[16], wanted[4096];
    options.queue_bytes = 2000;
    hubs_open(&house, 1, &options);
    listener_open(&a, &house, 0, "u");
    assert_int_equal(join(&house, 0, &a, "r"), HUB_JOINED);
    for (unsigned length = 0, i = 0; i < 100; i++) {
        snprintf(number, sizeof number, "%u", i);
        publish(&house, 0, "r", "e", number);
        length += (unsigned)snprintf(wanted + length, sizeof wanted - length, "A r e %u\n", i);
    }
    hubs_turn(&house);
    heard(&a, wanted);
    assert_int_equal(a.overruns, 0);
    listener_close(&a, &house, 0);
    hubs_close(&house);
}

static struct encoded *encode_nothing(void *context, const struct publication *publication)
{
    (void)context;
    (void)publication;
    return NULL;
}

static void no_memory_to_encode(void **state)
{
    (void)state;
    struct listener a, b;
    hubs_open(&house, 1, &hub_defaults);
    hub_set_encoder(house.hub[0], 5, encode_nothing, NULL);
    listener_open(&a, &house, 0, "u");
    listener_open(&b, &house, 0, "u");
    assert_int_equal(join_as(&house, 0, &a, "r", 5, NULL), HUB_JOINED);
    assert_int_equal(join(&house, 0, &b, "r"), HUB_JOINED);
    publish(&house, 0, "r", "e", "1");
    hubs_turn(&house);
    heard(&a, "");
    heard(&b, "A r e 1\n");
    assert_int_equal(counted(house.counters[0], COUNT_LIVE_DROPPED), 1);
    listener_close(&a, &house, 0);
    listener_close(&b, &house, 0);
    hubs_close(&house);
}

/* ── Against something too simple to be wrong ───────────────────────────────────────────────── */

enum { PEERS = 24, ROOMS = 7, STEPS = 6000 };

struct model {
    bool here, in[ROOMS];
    struct buf heard;
};

static unsigned chance(uint64_t *seed, unsigned most)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(*seed >> 33) % most;
}

static const char *const room_names[ROOMS] = {"*", "user:1", "tenant:t", "project:9",
                                              "a", "b",      "c"};

static void model_publish(struct model *model, unsigned room, unsigned number, int except)
{
    for (int i = 0; i < PEERS; i++)
        if (model[i].here && model[i].in[room] && i != except)
            assert_true(buf_print(&model[i].heard, "A %s e %u\n", room_names[room], number));
}

static void step(struct model *model, struct listener *listener, uint64_t *seed, unsigned number)
{
    unsigned who = chance(seed, PEERS), shard = who % house.shards, room = chance(seed, ROOMS);
    struct hub *hub = house.hub[shard];
    struct turn *turn = &house.turn[shard];
    struct span name = span_of_string(room_names[room]);
    switch (chance(seed, 6)) {
    case 0:
        if (model[who].here) {
            heard(&listener[who], model[who].heard.length == 0 ? "" : (char *)model[who].heard.at);
            listener_close(&listener[who], &house, shard);
        } else {
            listener_open(&listener[who], &house, shard, "u");
        }
        model[who].here = !model[who].here;
        memset(model[who].in, 0, sizeof model[who].in);
        model[who].heard.length = 0;
        break;
    case 1:
        if (model[who].here)
            assert_int_equal(join(&house, shard, &listener[who], room_names[room]),
                             model[who].in[room] ? HUB_MEMBER_ALREADY : HUB_JOINED);
        model[who].in[room] = model[who].here;
        break;
    case 2:
        if (model[who].here)
            assert_int_equal(hub_leave(hub, turn, &listener[who].peer, name, ENCODING_A),
                             model[who].in[room]);
        model[who].in[room] = false;
        break;
    default: {
        char data[16];
        snprintf(data, sizeof data, "%u", number);
        struct publish publish = {.room = name,
                                  .event = SPAN("e"),
                                  .data = span_of_string(data),
                                  .kept = chance(seed, 2) == 0,
                                  .except = model[who].here ? listener[who].peer.id : 0};
        assert_true(hub_publish(house.hub[chance(seed, house.shards)], turn, &publish));
        hubs_turn(&house);
        model_publish(model, room, number, model[who].here ? (int)who : -1);
    }
    }
}

static void like_the_model(void **state)
{
    (void)state;
    for (unsigned shards = 1; shards <= HUBS_MAX; shards++) {
        static struct model model[PEERS];
        static struct listener listener[PEERS];
        struct hub_options options = hub_defaults;
        uint64_t seed = shards;
        options.history_ns = shards % 2 == 0 ? 0 : options.history_ns;
        options.history_bytes = 4096;
        hubs_open(&house, shards, &options);
        for (unsigned i = 0; i < PEERS; i++)
            model[i] = (struct model){.heard = {.max = 64 << 20}};
        for (unsigned i = 0; i < STEPS; i++) {
            step(model, listener, &seed, i);
            if (i % 100 == 0)
                hubs_wait(&house, options.history_ns / 3);
        }
        for (unsigned i = 0; i < PEERS; i++) {
            if (model[i].here) {
                assert_true(buf_put(&model[i].heard, "", 1));
                heard(&listener[i], (char *)model[i].heard.at);
                listener_close(&listener[i], &house, i % shards);
            }
            buf_fini(&model[i].heard);
        }
        hubs_wait(&house, 2 * options.history_ns);
        for (unsigned i = 0; i < ROOMS; i++)
            assert_false(hub_has_audience(house.hub[0], span_of_string(room_names[i])));
        hubs_close(&house);
    }
}

/* ── History ────────────────────────────────────────────────────────────────────────────────── */

static bool replay(struct listener *listener, uint64_t number)
{
    return hub_replay(house.hub[0], &house.turn[0], &listener->peer, ENCODING_A, number);
}

/* Comes, hears, goes; comes back and gets exactly what it missed, in order. */
static void who_was_away(void **state)
{
    (void)state;
    struct listener a;
    hubs_open(&house, 1, &hub_defaults);
    listener_open(&a, &house, 0, "u");
    assert_int_equal(join(&house, 0, &a, "x"), HUB_JOINED);
    assert_int_equal(join(&house, 0, &a, "y"), HUB_JOINED);
    publish(&house, 0, "x", "e", "1");
    hubs_turn(&house);
    heard(&a, "A x e 1\n");
    uint64_t last = hub_last_number(house.hub[0]);
    listener_close(&a, &house, 0);

    publish(&house, 0, "x", "e", "2");
    publish(&house, 0, "y", "e", "3");
    publish(&house, 0, "x", "e", "4");
    struct publish typing = {.room = SPAN("x"), .event = SPAN("typing"), .data = SPAN("5")};
    assert_true(hub_publish(house.hub[0], &house.turn[0], &typing)); /* not kept */

    listener_open(&a, &house, 0, "u");
    assert_int_equal(join(&house, 0, &a, "x"), HUB_JOINED);
    assert_int_equal(join_as(&house, 0, &a, "y", ENCODING_B, NULL), HUB_JOINED);
    assert_true(replay(&a, last));
    publish(&house, 0, "x", "e", "6");
    hubs_turn(&house);
    heard(&a, "A x e 2\nA x e 4\nA x e 6\n");
    assert_true(hub_replay(house.hub[0], &house.turn[0], &a.peer, ENCODING_B, last));
    hubs_turn(&house);
    heard(&a, "B y e 3\n");
    assert_true(replay(&a, hub_last_number(house.hub[0])));
    hubs_turn(&house);
    heard(&a, "");
    assert_false(replay(&a, hub_last_number(house.hub[0]) + 1)); /* of another life */
    assert_false(replay(&a, 1));
    listener_close(&a, &house, 0);
    hubs_close(&house);
}

static void history_is_bounded(void **state)
{
    (void)state;
    struct hub_options options = hub_defaults;
    struct listener a;
    options.history_bytes = 10000;
    hubs_open(&house, 1, &options);
    listener_open(&a, &house, 0, "u");
    assert_int_equal(join(&house, 0, &a, "x"), HUB_JOINED);
    uint64_t first = hub_last_number(house.hub[0]);
    for (unsigned i = 0; i < 1000; i++)
        publish(&house, 0, "x", "e", "1");
    hubs_turn(&house);
    (void)hub_tick(house.hub[0], &house.turn[0]);
    assert_true(counted(house.counters[0], COUNT_LIVE_HISTORY_BYTES) <= 10000);
    assert_false(replay(&a, first));
    assert_true(replay(&a, first + 998));
    hubs_wait(&house, options.history_ns + 1);
    hubs_wait(&house, options.history_ns + 1);
    assert_int_equal(counted(house.counters[0], COUNT_LIVE_HISTORY_BYTES), 0);
    assert_false(replay(&a, first + 998));
    assert_true(replay(&a, first + 1000));
    listener_close(&a, &house, 0);
    hubs_close(&house);
}

/* Nobody kept what was published after the room was forgotten: that must be seen. */
static void a_forgotten_room(void **state)
{
    (void)state;
    struct listener a, b;
    hubs_open(&house, 1, &hub_defaults);
    listener_open(&a, &house, 0, "u");
    listener_open(&b, &house, 0, "u");
    assert_int_equal(join(&house, 0, &a, "x"), HUB_JOINED);
    assert_int_equal(join(&house, 0, &b, "y"), HUB_JOINED);
    publish(&house, 0, "x", "e", "1");
    uint64_t last = hub_last_number(house.hub[0]);
    assert_true(hub_leave(house.hub[0], &house.turn[0], &a.peer, SPAN("x"), ENCODING_A));
    hubs_wait(&house, hub_defaults.history_ns / 2);
    assert_true(hub_has_audience(house.hub[0], SPAN("x"))); /* lingers */
    hubs_wait(&house, hub_defaults.history_ns / 2 + 1000000000);
    assert_false(hub_has_audience(house.hub[0], SPAN("x")));
    assert_int_equal(join(&house, 0, &a, "x"), HUB_JOINED);
    assert_false(replay(&a, last));
    assert_true(replay(&a, hub_last_number(house.hub[0])));
    assert_true(replay(&b, hub_last_number(house.hub[0])));
    listener_close(&a, &house, 0);
    listener_close(&b, &house, 0);
    hubs_close(&house);
}

static void come_and_go(struct listener *listener, unsigned rooms)
{
    for (unsigned i = 0; i < rooms; i++) {
        char room[16];
        snprintf(room, sizeof room, "room %u", i);
        assert_int_equal(join(&house, 0, listener, room), HUB_JOINED);
        assert_true(hub_leave(house.hub[0], &house.turn[0], &listener->peer, span_of_string(room),
                              ENCODING_A));
    }
}

/* However many rooms somebody makes and leaves: the oldest are forgotten, which is told, … */
static void rooms_that_nobody_is_in_have_a_bound(void **state)
{
    (void)state;
    struct hub_options options = hub_defaults;
    struct listener a, b;
    options.rooms_kept = 10;
    hubs_open(&house, 1, &options);
    listener_open(&a, &house, 0, "u");
    listener_open(&b, &house, 0, "u");
    assert_int_equal(join(&house, 0, &a, "x"), HUB_JOINED);
    uint64_t last = hub_last_number(house.hub[0]);
    assert_true(hub_leave(house.hub[0], &house.turn[0], &a.peer, SPAN("x"), ENCODING_A));
    come_and_go(&b, 1000);
    hubs_wait(&house, 1000000000);
    assert_int_equal(counted(house.counters[0], COUNT_LIVE_ROOMS), 10);
    assert_true(hub_has_audience(house.hub[0], SPAN("room 999")));
    assert_false(hub_has_audience(house.hub[0], SPAN("x")));
    assert_int_equal(join(&house, 0, &a, "x"), HUB_JOINED);
    assert_false(replay(&a, last));
    listener_close(&a, &house, 0);
    listener_close(&b, &house, 0);
    hubs_close(&house);
}

/* … and the history of the others does not suffer. */
static void rooms_that_come_and_go(void **state)
{
    (void)state;
    struct hub_options options = hub_defaults;
    struct listener a, b;
    options.history_bytes = 10000;
    options.rooms_kept = 100000;
    hubs_open(&house, 1, &options);
    listener_open(&a, &house, 0, "u");
    listener_open(&b, &house, 0, "u");
    assert_int_equal(join(&house, 0, &a, "x"), HUB_JOINED);
    assert_int_equal(join(&house, 0, &b, "y"), HUB_JOINED);
    come_and_go(&b, 50000);
    hubs_wait(&house, options.history_ns - 1000000000);
    publish(&house, 0, "x", "e", "1");
    uint64_t last = hub_last_number(house.hub[0]);
    publish(&house, 0, "x", "e", "2");
    hubs_turn(&house);
    heard(&a, "A x e 1\nA x e 2\n");
    hubs_wait(&house, 2000000000);
    assert_int_equal(counted(house.counters[0], COUNT_LIVE_ROOMS), 2);
    assert_true(replay(&a, last));
    hubs_turn(&house);
    heard(&a, "A x e 2\n");
    listener_close(&a, &house, 0);
    listener_close(&b, &house, 0);
    hubs_close(&house);
}

/* It could not be sent all of it without being closed for being slow: then it is told of a gap, or it
 * would come back for the same again and again. */
static void more_than_a_queue_takes(void **state)
{
    (void)state;
    for (unsigned bytes = 0; bytes < 2; bytes++) {
        struct hub_options options = hub_defaults;
        struct listener a;
        char data[4001];
        memset(data, '1', sizeof data);
        data[bytes != 0 ? 4000 : 1] = '\0';
        options.queue_messages = bytes != 0 ? 1024 : 64;
        options.queue_bytes = bytes != 0 ? 256000 : 1 << 20;
        hubs_open(&house, 1, &options);
        listener_open(&a, &house, 0, "u");
        assert_int_equal(join(&house, 0, &a, "x"), HUB_JOINED);
        uint64_t last = hub_last_number(house.hub[0]);
        a.slow = true;
        for (unsigned i = 0; i < 40; i++)
            publish(&house, 0, "x", "e", data);
        hubs_turn(&house);
        peer_clear(&a.peer);
        a.slow = false;
        assert_false(replay(&a, last));
        hubs_turn(&house);
        heard(&a, "");
        assert_true(replay(&a, last + 20));
        hubs_turn(&house);
        assert_int_equal(a.overruns, 0);
        assert_true(a.heard.length > 20);
        listener_close(&a, &house, 0);
        hubs_close(&house);
    }
}

static void offsets(void **state)
{
    (void)state;
    char text[HUB_OFFSET_TEXT];
    unsigned shard;
    uint64_t number;
    hub_offset_print(63, UINT64_MAX, text);
    assert_true(hub_offset_parse(span_of_string(text), &shard, &number));
    assert_true(shard == 63 && number == UINT64_MAX);
    static const char *const bad[] = {
        "",     "-",    "1",     "1-",  "-1",  "64-1", "1-18446744073709551616",
        "1-1 ", " 1-1", "1-1-1", "a-1", "1--1"};
    for (unsigned i = 0; i < COUNT_OF(bad); i++)
        assert_false(hub_offset_parse(span_of_string(bad[i]), &shard, &number));
}

/* ── Questions ──────────────────────────────────────────────────────────────────────────────── */

static char answered[1000];

static void keep_answer(void *context, struct turn *turn, struct span json)
{
    (void)turn;
    assert_ptr_equal(context, &house);
    snprintf(answered, sizeof answered, "%.*s", SPAN_ARGS(json));
}

static const char *ask(unsigned shard, enum hub_question question, const char *name)
{
    answered[0] = '\0';
    assert_int_not_equal(hub_ask(house.hub[shard], &house.turn[shard], question,
                                 span_of_string(name), keep_answer, &house),
                         0);
    assert_string_equal(answered, "");
    hubs_turn(&house);
    return answered;
}

static void questions(void **state)
{
    (void)state;
    for (unsigned shards = 1; shards <= HUBS_MAX; shards++) {
        static const char *const users[] = {"b", "a", "b", "", "c\"", "a"};
        struct listener listener[6];
        hubs_open(&house, shards, &hub_defaults);
        for (unsigned i = 0; i < 6; i++) {
            listener_open(&listener[i], &house, i % shards, users[i]);
            assert_int_equal(join(&house, i % shards, &listener[i], i < 5 ? "r" : "s"), HUB_JOINED);
        }
        assert_string_equal(ask(0, HUB_WHO, "r"), "[\"a\",\"b\",\"c\\\"\"]");
        assert_string_equal(ask(shards - 1, HUB_WHO, "none"), "[]");
        assert_string_equal(ask(0, HUB_WHO, ""), "[]");
        assert_string_equal(
            ask(0, HUB_CONNECTIONS, ""),
            "{\"totalConnections\":6,\"transportConnections\":{\"test\":6},"
            "\"userConnections\":{\"a\":2,\"b\":2,\"c\\\"\":1},\"tenantConnections\":{\"t\":6},"
            "\"truncated\":false}");
        char id[PEER_ID_TEXT], list[400];
        peer_id_print(listener[2].peer.id, id);
        int length = snprintf(list, sizeof list,
                              "{\"connections\":[{\"id\":\"%s\",\"userId\":\"b\","
                              "\"tenantId\":\"t\",\"transport\":\"test\",\"connectedAt\":\"",
                              id);
        listener[0].peer.user_id = "b2";
        assert_memory_equal(ask(shards - 1, HUB_LIST, "user:b"), list, (size_t)length);
        assert_non_null(strstr(ask(0, HUB_LIST, "user:b"), "],\"count\":1,\"truncated\":false}"));
        assert_non_null(strstr(ask(0, HUB_LIST, "user:"), "\"count\":0"));
        assert_non_null(strstr(ask(0, HUB_LIST, "tenant:t"), "\"count\":6,"));
        assert_non_null(strstr(ask(0, HUB_LIST, ""), "\"userId\":null"));
        peer_id_print(listener[4].peer.id, id);
        assert_string_equal(ask(0, HUB_KICK, id), "1");
        assert_int_equal(listener[4].kicks, 1);
        peer_id_print(listener[4].peer.id + 1, id);
        assert_string_equal(ask(0, HUB_KICK, id), "0");
        assert_string_equal(ask(0, HUB_KICK, "name of b"), "0");
        listener[2].name = "name of b";
        assert_string_equal(ask(0, HUB_KICK, "name of b"), "1");
        assert_int_equal(listener[2].kicks, 1);
        assert_string_equal(ask(0, HUB_KICK, "ffffffffffffffff"), "0");
        assert_string_equal(ask(0, HUB_KICK, ""), "0");
        for (unsigned i = 0; i < 6; i++)
            listener_close(&listener[i], &house, i % shards);
        hubs_close(&house);
    }
}

static void too_many_questions(void **state)
{
    (void)state;
    struct listener a;
    uint64_t asked[1000];
    unsigned good = 0;
    hubs_open(&house, 2, &hub_defaults);
    listener_open(&a, &house, 1, "u");
    while (good < 1000 && (asked[good] = hub_ask(house.hub[0], &house.turn[0], HUB_WHO, SPAN("r"),
                                                 keep_answer, &house)) != 0)
        good++;
    assert_in_range(good, 1, 999);
    answered[0] = '\0';
    for (unsigned i = 0; i < good; i++)
        hub_forget(house.hub[0], asked[i]);
    hubs_turn(&house);
    assert_string_equal(answered, ""); /* nobody is told who has gone */
    assert_string_equal(ask(0, HUB_WHO, "r"), "[]");
    assert_int_not_equal(
        hub_ask(house.hub[0], &house.turn[0], HUB_WHO, SPAN("r"), keep_answer, &house),
        0); /* left open: the end frees it */
    hub_flush(house.hub[0], &house.turn[0]);
    listener_close(&a, &house, 1);
    hubs_close(&house);
}

/* ── Presence ───────────────────────────────────────────────────────────────────────────────── */

/* What a watcher in the room heard, shortened: "+u" for a join, "-u" for a leave. */
static void announced(struct listener *watcher, const char *wanted)
{
    char got[200] = "";
    struct span rest = buf_span(&watcher->heard);
    while (rest.length > 0) {
        const uint8_t *end = memchr(rest.at, '\n', rest.length);
        char line[300], user[20];
        snprintf(line, sizeof line, "%.*s", (int)(end - rest.at), (const char *)rest.at);
        const char *at = strstr(line, "\"userId\":\"");
        assert_non_null(strstr(line, "A p:1 presence {\"event\":"));
        assert_non_null(strstr(line, "\"roomId\":\"p:1\""));
        assert_non_null(at);
        assert_non_null(strstr(line, ",\"timestamp\":\"2023-11-14T22:13:20"));
        assert_int_equal(sscanf(at + 10, "%19[^\"]", user), 1);
        snprintf(got + strlen(got), sizeof got - strlen(got), "%c%s",
                 strstr(line, "\"join\"") != NULL ? '+' : '-', user);
        rest = span_from(rest, (size_t)(end - rest.at) + 1);
    }
    assert_string_equal(got, wanted);
    watcher->heard.length = 0;
}

static void who_comes_and_who_goes(void **state)
{
    (void)state;
    for (unsigned shards = 1; shards <= HUBS_MAX; shards++)
        for (unsigned history = 0; history < 2; history++) {
            struct hub_options options = hub_defaults;
            struct listener watcher, first, second, nobody;
            unsigned there = shards - 1;
            options.presence = "lobby, p:*";
            options.history_ns = history * hub_defaults.history_ns;
            hubs_open(&house, shards, &options);
            listener_open(&watcher, &house, 0, "");
            listener_open(&first, &house, 0, "u");
            listener_open(&second, &house, there, "u");
            listener_open(&nobody, &house, there, "");
            assert_int_equal(join(&house, 0, &watcher, "p:1"), HUB_JOINED);
            assert_int_equal(join(&house, 0, &watcher, "q:1"), HUB_JOINED);
            assert_int_equal(join(&house, there, &nobody, "p:1"), HUB_JOINED);
            assert_int_equal(join(&house, 0, &first, "q:1"), HUB_JOINED);
            assert_int_equal(join(&house, 0, &first, "p:1"), HUB_JOINED);
            hubs_turn(&house);
            announced(&watcher, "+u");
            heard(&first, ""); /* it knows */
            assert_int_equal(join(&house, there, &second, "p:1"), HUB_JOINED);
            assert_int_equal(join_as(&house, there, &second, "p:1", ENCODING_B, NULL), HUB_JOINED);
            hubs_turn(&house);
            announced(&watcher, "");
            listener_close(&first, &house, 0);
            assert_true(hub_leave(house.hub[there], &house.turn[there], &second.peer, SPAN("p:1"),
                                  ENCODING_B));
            hubs_turn(&house);
            announced(&watcher, "");
            listener_close(&second, &house, there);
            hubs_turn(&house);
            announced(&watcher, "-u");
            listener_open(&first, &house, there, "w");
            assert_int_equal(join(&house, there, &first, "p:1"), HUB_JOINED);
            listener_close(&first, &house, there);
            hubs_turn(&house);
            announced(&watcher, "+w-w");
            listener_close(&nobody, &house, there);
            listener_close(&watcher, &house, 0);
            hubs_close(&house);
        }
}

/* ── Mail ───────────────────────────────────────────────────────────────────────────────────── */

/* A name whose home is another shard than 0, of two. */
static const char *room_elsewhere(void)
{
    static char name[16];
    struct listener a;
    for (unsigned i = 0;; i++) {
        snprintf(name, sizeof name, "room%u", i);
        listener_open(&a, &house, 0, "u");
        assert_int_equal(join(&house, 0, &a, name), HUB_JOINED);
        publish(&house, 0, name, "e", "1");
        hub_flush(house.hub[0], &house.turn[0]);
        bool at_home = a.heard.length > 0; /* no mail needed */
        hubs_turn(&house);
        listener_close(&a, &house, 0);
        if (!at_home)
            return name;
    }
}

/* More than the mail holds waits in order; more than that is dropped and counted. */
static void a_shard_that_does_not_read(void **state)
{
    (void)state;
    struct hub_options options = hub_defaults;
    struct listener a;
    options.queue_messages = 100000;
    options.queue_bytes = 100 << 20;
    hubs_open(&house, 2, &options);
    const char *room = room_elsewhere();
    listener_open(&a, &house, 1, "u");
    assert_int_equal(join(&house, 1, &a, room), HUB_JOINED);
    struct publish publish = {.room = span_of_string(room), .event = SPAN("e")};
    unsigned good = 0;
    char data[16];
    for (;; good++) {
        publish.data = span_of(data, (size_t)snprintf(data, sizeof data, "%u", good));
        if (!hub_publish(house.hub[0], &house.turn[0], &publish))
            break;
    }
    assert_int_equal(counted(house.counters[0], COUNT_LIVE_DROPPED), 1);
    assert_true(hub_is_dirty(house.hub[0])); /* the other shard is to be woken */
    hub_flush(house.hub[0], &house.turn[0]);
    assert_false(hub_is_dirty(house.hub[0]));
    assert_int_equal(hub_tick(house.hub[0], &house.turn[0]), 1000000);
    answered[0] = '\0'; /* who asks now is answered all the same: he would wait for ever */
    assert_int_not_equal(
        hub_ask(house.hub[1], &house.turn[1], HUB_WHO, span_of_string(room), keep_answer, &house),
        0);
    hub_mail(house.hub[0], &house.turn[0]);
    hub_flush(house.hub[0], &house.turn[0]);
    for (unsigned i = 0; i < 100; i++)
        hubs_turn(&house);
    assert_string_equal(answered, "[\"u\"]");
    assert_in_range(good, 4097, 100000);
    struct buf wanted = {.max = 16 << 20};
    for (unsigned i = 0; i < good; i++)
        assert_true(buf_print(&wanted, "A %s e %u\n", room, i));
    assert_true(span_equal(buf_span(&a.heard), buf_span(&wanted)));
    buf_fini(&wanted);
    publish.data = SPAN("left in the mail");
    assert_true(hub_publish(house.hub[0], &house.turn[0], &publish));
    listener_close(&a, &house, 1);
    hubs_close(&house);
}

/* ── Threads ────────────────────────────────────────────────────────────────────────────────── */

enum { THREADS = 4, LISTENERS = 3, MESSAGES = 2000, SHARED_ROOMS = 5 };

static _Atomic unsigned ready, done;

struct runner {
    unsigned shard;
    struct listener listener[LISTENERS];
};

static void turn_alone(unsigned shard)
{
    hub_mail(house.hub[shard], &house.turn[shard]);
    hub_flush(house.hub[shard], &house.turn[shard]);
}

static void wait_for_all(_Atomic unsigned *counter, unsigned shard)
{
    atomic_fetch_add(counter, 1);
    while (atomic_load(counter) < THREADS) {
        turn_alone(shard);
        sched_yield();
    }
}

static void *run(void *context)
{
    struct runner *runner = context;
    unsigned shard = runner->shard;
    for (unsigned i = 0; i < LISTENERS; i++) {
        listener_open(&runner->listener[i], &house, shard, "u");
        for (unsigned room = 0; room < SHARED_ROOMS; room++)
            assert_int_equal(join(&house, shard, &runner->listener[i], room_names[room]),
                             HUB_JOINED);
    }
    wait_for_all(&ready, shard);
    for (unsigned i = 0; i < MESSAGES; i++) {
        char data[32];
        snprintf(data, sizeof data, "%u:%u", shard, i);
        publish(&house, shard, room_names[i % SHARED_ROOMS], "e", data);
        if (i % 7 == 0)
            turn_alone(shard);
        /* Rooms come and go beside it. */
        struct listener passer;
        listener_open(&passer, &house, shard, "p");
        assert_int_equal(join(&house, shard, &passer, i % 3 == 0 ? "b" : "c"), HUB_JOINED);
        listener_close(&passer, &house, shard);
    }
    wait_for_all(&done, shard);
    for (unsigned i = 0; i < 2000; i++) {
        turn_alone(shard);
        sched_yield();
    }
    return NULL;
}

/* The lines of one room. */
static struct buf of_room(const struct listener *listener, const char *room)
{
    struct buf lines = {.max = 64 << 20};
    struct span rest = buf_span(&listener->heard);
    char head[32];
    size_t length = (size_t)snprintf(head, sizeof head, "A %s e ", room);
    while (rest.length > 0) {
        size_t line = (size_t)((const uint8_t *)memchr(rest.at, '\n', rest.length) - rest.at) + 1;
        if (line > length && memcmp(rest.at, head, length) == 0)
            assert_true(buf_put(&lines, rest.at, line));
        rest = span_from(rest, line);
    }
    return lines;
}

static size_t lines_of(struct span text)
{
    size_t lines = 0;
    for (size_t i = 0; i < text.length; i++)
        lines += text.at[i] == '\n';
    return lines;
}

/* All hear all, each once, and of one room all in the same order. */
static void shards_as_threads(void **state)
{
    (void)state;
    static struct runner runner[THREADS];
    pthread_t thread[THREADS];
    struct hub_options options = hub_defaults;
    options.queue_messages = 100000;
    options.queue_bytes = options.backlog_bytes = 100 << 20;
    options.history_ns = 0;
    options.presence = "c"; /* those who pass are told of beside it */
    hubs_open(&house, THREADS, &options);
    for (unsigned i = 0; i < THREADS; i++) {
        runner[i].shard = i;
        assert_int_equal(pthread_create(&thread[i], NULL, run, &runner[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    for (unsigned i = 0; i < 10; i++)
        hubs_turn(&house);
    for (unsigned room = 0; room < SHARED_ROOMS; room++) {
        struct buf wanted = of_room(&runner[0].listener[0], room_names[room]);
        assert_int_equal(lines_of(buf_span(&wanted)), THREADS * MESSAGES / SHARED_ROOMS);
        for (unsigned i = 0; i < THREADS * LISTENERS; i++) {
            struct buf got =
                of_room(&runner[i / LISTENERS].listener[i % LISTENERS], room_names[room]);
            assert_true(span_equal(buf_span(&got), buf_span(&wanted)));
            buf_fini(&got);
        }
        buf_fini(&wanted);
    }
    for (unsigned i = 0; i < THREADS * LISTENERS; i++)
        listener_close(&runner[i / LISTENERS].listener[i % LISTENERS], &house, i / LISTENERS);
    hubs_close(&house);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(join_and_leave),
        cmocka_unit_test(names_of_rooms),
        cmocka_unit_test(rooms_have_a_bound),
        cmocka_unit_test(rooms_of_a_peer),
        cmocka_unit_test(encoded_once),
        cmocka_unit_test(filters_and_except),
        cmocka_unit_test(runs),
        cmocka_unit_test(long_runs),
        cmocka_unit_test(no_memory_to_encode),
        cmocka_unit_test(like_the_model),
        cmocka_unit_test(who_was_away),
        cmocka_unit_test(history_is_bounded),
        cmocka_unit_test(a_forgotten_room),
        cmocka_unit_test(rooms_that_nobody_is_in_have_a_bound),
        cmocka_unit_test(rooms_that_come_and_go),
        cmocka_unit_test(more_than_a_queue_takes),
        cmocka_unit_test(offsets),
        cmocka_unit_test(questions),
        cmocka_unit_test(too_many_questions),
        cmocka_unit_test(who_comes_and_who_goes),
        cmocka_unit_test(a_shard_that_does_not_read),
        cmocka_unit_test(shards_as_threads),
    };
    return cmocka_run_group_tests_name("hub", tests, NULL, NULL);
}
