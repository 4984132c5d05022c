/* SPDX-License-Identifier: Apache-2.0 */
#include "batch/producers.h"
#include "tests/unit/unit.h"

#include <stdio.h>

static struct producer *get(struct producers *producers, const char *name, uint64_t now_ns)
{
    return producers_get(producers, span_of_string(name), now_ns);
}

static void found_again(void **state)
{
    (void)state;
    struct producers *producers = producers_open(10);
    assert_non_null(producers);
    struct producer *a = get(producers, "a", 1), *b = get(producers, "b", 2);
    assert_true(a != NULL && b != NULL && a != b);
    a->count = 7;
    assert_ptr_equal(get(producers, "a", 3), a);
    assert_int_equal(a->count, 7);
    assert_int_equal(a->used_ns, 3);
    producers_close(producers);
}

static void bad_names(void **state)
{
    char name[PRODUCER_NAME_MAX + 2];
    (void)state;
    struct producers *producers = producers_open(10);
    memset(name, 'x', sizeof name);
    assert_null(producers_get(producers, span_of(name, 0), 1));
    assert_non_null(producers_get(producers, span_of(name, PRODUCER_NAME_MAX), 1));
    assert_null(producers_get(producers, span_of(name, PRODUCER_NAME_MAX + 1), 1));
    producers_close(producers);
}

/* Full: only a name that nobody has open and nobody
 * asked for in a day is forgotten, the oldest first. */
static void full(void **state)
{
    (void)state;
    struct producers *producers = producers_open(2);
    struct conn *conn = (struct conn *)(void *)producers; /* only compared with NULL */
    get(producers, "a", 1)->conn = conn;
    assert_non_null(get(producers, "b", 2));
    assert_null(get(producers, "c", 3));
    assert_null(get(producers, "c", PRODUCER_FORGET_NS + 10)); /* the oldest is open */
    get(producers, "a", 4)->conn = NULL;
    assert_null(get(producers, "c", PRODUCER_FORGET_NS + 1));
    assert_non_null(get(producers, "c", PRODUCER_FORGET_NS + 2));
    assert_null(get(producers, "b", PRODUCER_FORGET_NS + 3)); /* it was b that had to go */
    producers_close(producers);
}

static void walk(void **state)
{
    char name[16];
    (void)state;
    struct producers *producers = producers_open(1000);
    uint64_t sum = 0, seen = 0, count;
    for (unsigned i = 1; i <= 500; i++) {
        snprintf(name, sizeof name, "p%u", i);
        get(producers, name, i)->count = i;
    }
    struct span each;
    size_t cursor = 0;
    while (producers_each(producers, &cursor, &each, &count)) {
        assert_int_equal(each.at[0], 'p');
        sum += count;
        seen++;
    }
    assert_int_equal(seen, 500);
    assert_int_equal(sum, 500 * 501 / 2);
    producers_close(producers);
}

static void spread(void **state)
{
    unsigned owned[3] = {0};
    char name[16];
    (void)state;
    for (unsigned i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "p%u", i);
        owned[producers_shard(span_of_string(name), 3)]++;
    }
    for (unsigned i = 0; i < 3; i++)
        assert_in_range(owned[i], 800, 1200);
    assert_int_equal(producers_shard(SPAN("x"), 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(found_again), cmocka_unit_test(bad_names), cmocka_unit_test(full),
        cmocka_unit_test(walk),        cmocka_unit_test(spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
