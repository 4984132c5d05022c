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

/* Full: only a name that nobody has open and that was
 * let go of a day ago is forgotten, the oldest first. */
static void full(void **state)
{
    (void)state;
    struct producers *producers = producers_open(2);
    struct conn *conn = (struct conn *)(void *)producers; /* only compared with NULL */
    struct producer *a = get(producers, "a", 1);
    producers_open_for(a, conn);
    assert_non_null(get(producers, "b", 2));
    assert_null(get(producers, "c", 3));
    assert_null(get(producers, "c", PRODUCER_FORGET_NS + 1));
    assert_non_null(get(producers, "c", PRODUCER_FORGET_NS + 2)); /* in b's place */
    assert_ptr_equal(get(producers, "a", PRODUCER_FORGET_NS + 2), a);
    producers_close(producers);
}

/* Whoever was connected for days, and has only just lost his connection, is not forgotten. */
static void open_for_days(void **state)
{
    uint64_t later_ns = 3 * PRODUCER_FORGET_NS;
    (void)state;
    struct producers *producers = producers_open(1);
    struct producer *a = get(producers, "a", 1);
    producers_open_for(a, (struct conn *)(void *)producers);
    a->count = 41;
    assert_null(get(producers, "b", later_ns));
    producers_let_go(producers, a, later_ns);
    assert_null(get(producers, "b", later_ns + 1));
    assert_int_equal(get(producers, "a", later_ns + 2)->count, 41);
    assert_null(get(producers, "b", later_ns + PRODUCER_FORGET_NS + 1));
    assert_non_null(get(producers, "b", later_ns + PRODUCER_FORGET_NS + 2));
    producers_close(producers);
}

/* An earlier start had room for more: what was promised then still holds. */
static void recovered(void **state)
{
    (void)state;
    struct producers *producers = producers_open(1);
    assert_true(producers_recover(producers, SPAN("a"), 5, 1));
    assert_true(producers_recover(producers, SPAN("b"), 7, 1));
    assert_true(producers_recover(producers, SPAN("b"), 6, 1));
    assert_false(producers_recover(producers, SPAN(""), 1, 1));
    assert_int_equal(get(producers, "a", 2)->count, 5);
    assert_int_equal(get(producers, "b", 2)->count, 7);
    assert_null(get(producers, "c", 3));
    assert_non_null(get(producers, "c", PRODUCER_FORGET_NS + 2)); /* both have gone */
    assert_null(get(producers, "a", PRODUCER_FORGET_NS + 3));
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

/* Marks are repeated over several turns, and meanwhile names are asked for, come and go. */
static void walk_while_used(void **state)
{
    char name[16];
    bool seen[27] = {false};
    (void)state;
    struct producers *producers = producers_open(26);
    for (char letter = 'a'; letter <= 'z'; letter++) {
        snprintf(name, sizeof name, "%c", letter);
        get(producers, name, 1);
    }
    struct span each;
    uint64_t count;
    size_t cursor = 0;
    while (producers_each(producers, &cursor, &each, &count)) {
        char letter = (char)each.at[0];
        assert_false(seen[letter - 'a']);
        seen[letter - 'a'] = true;
        snprintf(name, sizeof name, "%c", letter);
        get(producers, name, 2); /* the one at hand is used */
        for (char other = 'a'; letter == 'd' && other <= 'z'; other++) {
            snprintf(name, sizeof name, "%c", other);
            if (other != 'd')
                get(producers, name, PRODUCER_FORGET_NS);
        }
        if (letter == 'd') /* it is forgotten */
            assert_non_null(get(producers, "{", PRODUCER_FORGET_NS + 2));
    }
    for (unsigned i = 0; i <= 26; i++)
        assert_true(seen[i]);
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
        cmocka_unit_test(found_again),     cmocka_unit_test(bad_names), cmocka_unit_test(full),
        cmocka_unit_test(open_for_days),   cmocka_unit_test(recovered), cmocka_unit_test(walk),
        cmocka_unit_test(walk_while_used), cmocka_unit_test(spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
