/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "metrics/stats.h"
#include "metrics/window.h"

#include <inttypes.h>
#include <stdio.h>

static const uint64_t second = 1000000000, refresh = STATS_REFRESH_MS * (uint64_t)1000000;

static void assert_json(const struct stats *stats, int64_t wall_us, const char *wanted)
{
    uint8_t *edge = unit_edge(STATS_JSON_MAX);
    size_t length = stats_json(stats, wall_us, (char *)edge);
    assert_int_equal(length, strlen(wanted));
    assert_memory_equal(edge, wanted, length);
    unit_edge_free(edge, STATS_JSON_MAX);
}

static void at_the_start(void **state)
{
    (void)state;
    struct stats stats = {0};
    assert_json(&stats, 0,
                "{\"total_messages\":0,\"current_rps\":0.00,\"messages_per_second\":0.00,"
                "\"queue_depth\":0,\"queue_length\":0,\"total_batches\":0,\"avg_batch_size\":0.0,"
                "\"timestamp\":\"1970-01-01T00:00:00.000Z\"}");
}

static void decimals(void **state)
{
    (void)state;
    struct stats stats = {.total_messages = 1234,
                          .rps_hundredths = 12305,
                          .queue_depth = 17,
                          .total_batches = 3,
                          .stored = 50};
    assert_json(&stats, 1704164645678901,
                "{\"total_messages\":1234,\"current_rps\":123.05,\"messages_per_second\":123.05,"
                "\"queue_depth\":17,\"queue_length\":17,\"total_batches\":3,"
                "\"avg_batch_size\":16.7,\"timestamp\":\"2024-01-02T03:04:05.678Z\"}");
}

static void largest(void **state)
{
    (void)state;
    struct stats stats = {.total_messages = UINT64_MAX,
                          .rps_hundredths = UINT64_MAX,
                          .queue_depth = UINT64_MAX,
                          .total_batches = UINT64_MAX,
                          .stored = UINT64_MAX};
    char json[STATS_JSON_MAX];
    size_t length = stats_json(&stats, 253402300799999999, json);
    assert_true(length < STATS_JSON_MAX);
    assert_non_null(strstr(json, "\"timestamp\":\"9999-12-31T23:59:59.999Z\"}"));
}

static void time_before_the_epoch(void **state)
{
    (void)state;
    struct stats stats = {0};
    char json[STATS_JSON_MAX];
    size_t length = stats_json(&stats, -1, json);
    assert_true(length > 0);
    assert_non_null(strstr(json, "1969-12-31T23:59:59.999Z"));
}

static void nothing_has_passed(void **state)
{
    (void)state;
    struct window window;
    window_init(&window, 5 * second, 100);
    assert_int_equal(window_move(&window, 5 * second, 900), 0);
}

static void before_the_window_is_full(void **state)
{
    (void)state;
    struct window window;
    window_init(&window, 7 * second, 0);
    for (uint64_t i = 1; i < WINDOW_SAMPLES; i++) /* 10 in each refresh: 100 a second */
        assert_int_equal(window_move(&window, 7 * second + i * refresh, i * 10), 10000);
}

/* What was counted more than STATS_WINDOW_S ago no longer
 * counts; what was counted since does, all of it. */
static void window_moves_on(void **state)
{
    (void)state;
    struct window window;
    window_init(&window, 0, 0);
    for (uint64_t i = 1; i <= WINDOW_SAMPLES; i++)
        assert_int_equal(window_move(&window, i * refresh, 1000), (100000 * 10 + i / 2) / i);
    assert_int_equal(window_move(&window, (WINDOW_SAMPLES + 1) * refresh, 1000), 0);
    assert_int_equal(window_move(&window, (WINDOW_SAMPLES + 2) * refresh, 1123), 1230);
}

static void late_refreshes(void **state)
{
    (void)state;
    struct window window;
    uint64_t now = 3;
    window_init(&window, now, 0);
    for (uint64_t i = 1; i < 5 * WINDOW_SAMPLES;
         i++) { /* always 250 a second, however long it took */
        now += refresh * (1 + i % 4);
        uint64_t value = now / (second / 250), rate = window_move(&window, now, value);
        assert_in_range(rate, 25000 - 1000, 25000 + 1000);
    }
}

/* A rate that no integer of 64 bits could hold on the way. */
static void enormous(void **state)
{
    (void)state;
    struct window window;
    window_init(&window, 0, 0);
    uint64_t rate = window_move(&window, 10 * second, (uint64_t)1 << 40);
    assert_int_equal(rate, ((uint64_t)1 << 40) * 10);
}

static void refresh_adds_up(void **state)
{
    (void)state;
    static struct counters one, other;
    struct counters *const all[] = {&one, &other};
    struct stats stats = {0};
    struct window window;
    window_init(&window, 0, 0);
    count(&one, COUNT_EVENTS_ACCEPTED, 30);
    count(&other, COUNT_EVENTS_ACCEPTED, 12);
    gauge(&one, COUNT_SPOOL_PENDING_EVENTS, 5000); /* from before a restart */
    gauge(&other, COUNT_SPOOL_PENDING_EVENTS, 2);
    count(&one, COUNT_BATCHES, 4);
    count(&other, COUNT_EVENTS_STORED, 90);
    stats_refresh(&stats, &window, 2 * second, all, 2);
    assert_int_equal(stats.total_messages, 42);
    assert_int_equal(stats.rps_hundredths, 2100);
    assert_int_equal(stats.queue_depth, 5002);
    assert_int_equal(stats.total_batches, 4);
    assert_int_equal(stats.stored, 90);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_the_start),
        cmocka_unit_test(decimals),
        cmocka_unit_test(largest),
        cmocka_unit_test(time_before_the_epoch),
        cmocka_unit_test(nothing_has_passed),
        cmocka_unit_test(before_the_window_is_full),
        cmocka_unit_test(window_moves_on),
        cmocka_unit_test(late_refreshes),
        cmocka_unit_test(enormous),
        cmocka_unit_test(refresh_adds_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
