/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"
#include "ws/allowance.h"

#include <pthread.h>
#include <stdio.h>

enum { THREADS = 4, ROUNDS = 20000 };

static void connections(void **state)
{
    (void)state;
    struct allowance *allowance = allowance_open(64);
    uint64_t key = allowance_key(allowance, "user:", SPAN("a"));
    uint32_t ticket[3], other;
    assert_true(allowance_key(allowance, "address:", SPAN("a")) != key);
    assert_true(allowance_key(allowance, "user:", SPAN("a")) == key);
    for (unsigned i = 0; i < 3; i++)
        assert_true(allowance_enter(allowance, key, 3, &ticket[i]));
    assert_false(allowance_enter(allowance, key, 3, &other));
    assert_true(allowance_enter(allowance, key, 0, &other)); /* no limit */
    allowance_leave(allowance, other);
    allowance_leave(allowance, ticket[1]);
    assert_true(allowance_enter(allowance, key, 3, &ticket[1]));
    assert_false(allowance_enter(allowance, key, 3, &other));
    allowance_leave(allowance, ALLOWANCE_UNCOUNTED);
    allowance_close(allowance);
}

/* Sixty a minute: sixty at once, then one a second; whoever counts. */
static void messages(void **state)
{
    (void)state;
    struct allowance *allowance = allowance_open(64);
    struct bucket_rate rate = bucket_rate(60, 60000, 60000), none = {0};
    uint64_t key = allowance_key(allowance, "user:", SPAN("a")), now_ns = 1000000000000;
    for (unsigned i = 0; i < 60; i++)
        assert_true(allowance_take(allowance, key, &rate, now_ns));
    assert_false(allowance_take(allowance, key, &rate, now_ns));
    assert_true(allowance_take(allowance, key, &none, now_ns));
    assert_false(allowance_take(allowance, key, &rate, now_ns + 999000000));
    assert_true(allowance_take(allowance, key, &rate, now_ns + 1000000000));
    assert_true(
        allowance_take(allowance, allowance_key(allowance, "user:", SPAN("b")), &rate, now_ns));
    allowance_close(allowance);
}

/* More keys than places: nobody who is connected is forgotten, and nobody is refused for it. */
static void crowded(void **state)
{
    (void)state;
    struct allowance *allowance = allowance_open(8);
    uint32_t ticket[100], held;
    uint64_t first = allowance_key(allowance, "user:", SPAN("first"));
    assert_true(allowance_enter(allowance, first, 1, &held));
    for (unsigned i = 0; i < 100; i++) {
        char name[16];
        snprintf(name, sizeof name, "%u", i);
        uint64_t key = allowance_key(allowance, "user:", span_of_string(name));
        assert_true(allowance_enter(allowance, key, 1, &ticket[i]));
        assert_int_equal(ticket[i] == ALLOWANCE_UNCOUNTED, i >= 7);
    }
    assert_false(allowance_enter(allowance, first, 1, &ticket[99]));
    for (unsigned i = 0; i < 100; i++)
        allowance_leave(allowance, ticket[i]);
    allowance_leave(allowance, held);
    assert_true(allowance_enter(allowance, first, 1, &held));
    allowance_leave(allowance, held);
    allowance_close(allowance);
}

struct crew {
    struct allowance *allowance;
    struct bucket_rate rate;
    _Atomic unsigned inside, most, taken;
};

static void *work(void *context)
{
    struct crew *crew = context;
    uint64_t key = allowance_key(crew->allowance, "user:", SPAN("a"));
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint32_t ticket;
        crew->taken += allowance_take(crew->allowance, key, &crew->rate, 1000000000000);
        if (!allowance_enter(crew->allowance, key, 2, &ticket))
            continue;
        unsigned inside = ++crew->inside;
        if (inside > crew->most)
            crew->most = inside;
        crew->inside--;
        allowance_leave(crew->allowance, ticket);
    }
    return NULL;
}

static void many_threads(void **state)
{
    (void)state;
    struct crew crew = {.allowance = allowance_open(64), .rate = bucket_rate(1000, 60000, 60000)};
    pthread_t thread[THREADS];
    uint32_t ticket;
    uint64_t key = allowance_key(crew.allowance, "user:", SPAN("a"));
    assert_true(allowance_enter(crew.allowance, key, 0, &ticket)); /* the place is there */
    allowance_leave(crew.allowance, ticket);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, work, &crew), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    assert_true(crew.most <= 2);
    assert_int_equal(crew.taken, 1000);
    allowance_close(crew.allowance);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections),
        cmocka_unit_test(messages),
        cmocka_unit_test(crowded),
        cmocka_unit_test(many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
