/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/hub_fixture.h"

static struct house_of_hubs house;

static void open_house(unsigned messages, size_t bytes)
{
    struct hub_options options = hub_defaults;
    options.queue_messages = messages;
    options.queue_bytes = bytes;
    hubs_open(&house, 1, &options);
}

static bool post(struct listener *listener, const char *text, uint64_t key)
{
    struct encoded *encoded = encoded_make(span_of_string(text), NULL, 0);
    encoded->key = key;
    bool posted = peer_post(&listener->peer, &house.turn[0], encoded);
    encoded_put(encoded);
    return posted;
}

/* In order, over the bounds of `few`, of every growth, and around the ring. */
static void first_in_first_out(void **state)
{
    (void)state;
    struct listener listener;
    open_house(1000, 1 << 20);
    listener_open(&listener, &house, 0, "u");
    unsigned posted = 0, taken = 0;
    for (unsigned round = 1; round <= 300; round++) {
        char text[16];
        for (unsigned i = 0; i < round; i++) {
            snprintf(text, sizeof text, "%u", posted++);
            assert_true(post(&listener, text, 0));
        }
        for (unsigned i = 0; i < round - (round % 3 == 0 ? 0 : 1) && taken < posted; i++) {
            snprintf(text, sizeof text, "%u", taken++);
            assert_true(span_is(encoded_payload(peer_first(&listener.peer), 0), text));
            struct encoded *encoded = peer_take(&listener.peer);
            assert_true(span_is(encoded_payload(encoded, 0), text));
            encoded_put(encoded);
        }
    }
    while (taken < posted) {
        encoded_put(peer_take(&listener.peer));
        taken++;
    }
    assert_null(peer_first(&listener.peer));
    assert_null(peer_take(&listener.peer));
    assert_null(listener.peer.queue.many); /* idle: no memory */
    assert_int_equal(listener.peer.queue.bytes, 0);
    listener_close(&listener, &house, 0);
    hubs_close(&house);
}

static void past_its_bounds(void **state)
{
    (void)state;
    struct listener listener;
    open_house(10, 1 << 20);
    listener_open(&listener, &house, 0, "u");
    listener.slow = true;
    for (unsigned i = 0; i < 10; i++)
        assert_true(post(&listener, "x", 0));
    hubs_turn(&house);
    assert_false(post(&listener, "x", 0));
    assert_int_equal(listener.overruns, 0); /* not inside the call */
    hubs_turn(&house);
    assert_int_equal(listener.overruns, 1);
    assert_false(post(&listener, "x", 0));
    hubs_turn(&house);
    assert_int_equal(listener.overruns, 1);
    listener_close(&listener, &house, 0);
    hubs_close(&house);
}

/* One message that is longer than the bound is still sent to who has nothing before it. */
static void bytes_are_bounded(void **state)
{
    (void)state;
    struct listener listener;
    open_house(10, 8);
    listener_open(&listener, &house, 0, "u");
    assert_true(post(&listener, "longer than eight", 0));
    hubs_turn(&house);
    heard(&listener, "longer than eight\n");
    assert_true(post(&listener, "four", 0));
    assert_false(post(&listener, "four", 0));
    hubs_turn(&house);
    assert_int_equal(listener.overruns, 1);
    heard(&listener, "");
    listener_close(&listener, &house, 0);
    hubs_close(&house);
}

static void only_the_newest(void **state)
{
    (void)state;
    struct listener listener;
    open_house(10, 1 << 20);
    listener_open(&listener, &house, 0, "u");
    listener.slow = true;
    assert_true(post(&listener, "a", 0));
    for (unsigned i = 0; i < 100; i++) {
        char text[16];
        snprintf(text, sizeof text, "stats %u", i);
        assert_true(post(&listener, text, 7));
        snprintf(text, sizeof text, "other %u", i);
        assert_true(post(&listener, text, 8));
    }
    assert_true(post(&listener, "b", 0));
    hubs_turn(&house);
    listener.slow = false;
    peer_wake(&listener.peer);
    hubs_turn(&house);
    heard(&listener, "a\nstats 99\nother 99\nb\n");
    assert_int_equal(listener.missed, 198);
    listener_close(&listener, &house, 0);
    hubs_close(&house);
}

static void names(void **state)
{
    (void)state;
    static const uint64_t ids[] = {0, 1, UINT64_MAX, 0x0123456789abcdefull};
    for (unsigned i = 0; i < COUNT_OF(ids); i++) {
        char text[PEER_ID_TEXT];
        uint64_t id;
        peer_id_print(ids[i], text);
        assert_int_equal(strlen(text), PEER_ID_TEXT - 1);
        assert_true(peer_id_parse(span_of_string(text), &id));
        assert_int_equal(id, ids[i]);
    }
    uint64_t id;
    assert_false(peer_id_parse(SPAN("0123456789abcde"), &id));
    assert_false(peer_id_parse(SPAN("0123456789abcdef0"), &id));
    assert_false(peer_id_parse(SPAN("0123456789abcdeg"), &id));
    assert_false(peer_id_parse(SPAN("0123456789ABCDEF"), &id));
    assert_false(peer_id_parse(SPAN("0123456\x00"
                                    "9abcdef"),
                               &id));
}

/* A name is not used again for somebody else. */
static void a_name_is_used_once(void **state)
{
    (void)state;
    struct listener listener[200];
    uint64_t old[200];
    open_house(10, 1 << 20);
    for (unsigned i = 0; i < 200; i++) {
        listener_open(&listener[i], &house, 0, "u");
        old[i] = listener[i].peer.id;
        for (unsigned j = 0; j < i; j++)
            assert_int_not_equal(old[i], old[j]);
    }
    for (unsigned i = 0; i < 200; i++)
        listener_close(&listener[i], &house, 0);
    for (unsigned i = 0; i < 200; i++) {
        listener_open(&listener[i], &house, 0, "u");
        for (unsigned j = 0; j < 200; j++)
            assert_int_not_equal(listener[i].peer.id, old[j]);
    }
    for (unsigned i = 0; i < 200; i++)
        listener_close(&listener[i], &house, 0);
    hubs_close(&house);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_in_first_out),
        cmocka_unit_test(past_its_bounds),
        cmocka_unit_test(bytes_are_bounded),
        cmocka_unit_test(only_the_newest),
        cmocka_unit_test(names),
        cmocka_unit_test(a_name_is_used_once),
    };
    return cmocka_run_group_tests_name("peer", tests, NULL, NULL);
}
