/* SPDX-License-Identifier: Apache-2.0 */
/* The wheel against a model too simple to be wrong: an array of due times. */
#include "core/timer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MS = 1000000, TIMERS = 300 };

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void test_fires_neither_early_nor_late(void **state)
{
    (void)state;
    static const uint64_t delays[] = {0,
                                      1,
                                      MS - 1,
                                      MS,
                                      MS + 1,
                                      63 * MS,
                                      64 * MS,
                                      65 * MS,
                                      4095ull * MS,
                                      4096ull * MS,
                                      4097ull * MS,
                                      262144ull * MS,
                                      86400000ull * MS,
                                      123456789012345};
    for (size_t i = 0; i < COUNT_OF(delays); i++) {
        uint64_t start = 987654321012345, due = start + delays[i];
        struct timers *timers = timers_open(start);
        struct timer timer = {0};
        timer_start(timers, &timer, due);
        assert_true(timer_running(&timer));
        uint64_t now = start;
        struct timer *fired = NULL;
        for (int rounds = 0; !(fired = timers_take(timers, now)); rounds++) {
            int64_t wait = timers_wait_ns(timers, now);
            assert_true(wait > 0 && rounds < 10);
            now += (uint64_t)wait;
        }
        assert_ptr_equal(fired, &timer);
        assert_true(now >= due && now < due + MS);
        assert_false(timer_running(&timer));
        assert_int_equal(timers_wait_ns(timers, now), -1);
        timers_close(timers);
    }
}

static void test_stop_and_move(void **state)
{
    (void)state;
    struct timers *timers = timers_open(0);
    struct timer one = {0}, two = {0};
    timer_stop(timers, &one);
    timer_start(timers, &one, 5 * MS);
    timer_start(timers, &two, 500 * MS);
    timer_start(timers, &one, 1000 * MS);
    timer_start(timers, &two, 7 * MS);
    assert_null(timers_take(timers, 6 * MS));
    assert_ptr_equal(timers_take(timers, 7 * MS), &two);
    assert_null(timers_take(timers, 999 * MS));
    timer_stop(timers, &one);
    assert_null(timers_take(timers, 5000ull * MS));
    assert_int_equal(timers_wait_ns(timers, 5000ull * MS), -1);
    timer_start(timers, &one, 1 * MS); /* long past: at once */
    assert_int_equal(timers_wait_ns(timers, 5000ull * MS), 0);
    assert_ptr_equal(timers_take(timers, 5000ull * MS), &one);
    timers_close(timers);
}

struct model {
    struct timer timer;
    uint64_t due; /* 0: stopped */
};

static uint64_t random_delay(uint64_t *seed)
{
    static const uint64_t scale[] = {3, 70, 5000, 300000, 20000000};
    return random_next(seed) % (scale[random_next(seed) % COUNT_OF(scale)] * MS);
}

static void take_due(struct timers *timers, struct model *model, uint64_t now)
{
    struct timer *fired;
    while ((fired = timers_take(timers, now))) {
        struct model *of = (struct model *)(void *)fired;
        assert_true(of->due > 0 && of->due <= now);
        of->due = 0;
    }
    for (int i = 0; i < TIMERS; i++) {
        assert_int_equal(timer_running(&model[i].timer), model[i].due > 0);
        assert_true(model[i].due == 0 || model[i].due + MS > now);
    }
}

static void test_against_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 30; seed++) {
        uint64_t random = seed * 0x9e3779b97f4a7c15, now = random_next(&random) % 1000000000000000;
        struct timers *timers = timers_open(now);
        struct model model[TIMERS];
        memset(model, 0, sizeof model);
        for (int step = 0; step < 1000; step++) {
            struct model *one = &model[random_next(&random) % TIMERS];
            one->due = random_next(&random) % 4 ? now + 1 + random_delay(&random) : 0;
            if (one->due)
                timer_start(timers, &one->timer, one->due);
            else
                timer_stop(timers, &one->timer);
            int64_t wait = timers_wait_ns(timers, now);
            if (random_next(&random) % 2 && wait >= 0)
                now += (uint64_t)wait;
            else if (random_next(&random) % 8 == 0)
                now += random_delay(&random);
            take_due(timers, model, now);
        }
        timers_close(timers);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fires_neither_early_nor_late),
        cmocka_unit_test(test_stop_and_move),
        cmocka_unit_test(test_against_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
