/* SPDX-License-Identifier: Apache-2.0 */
#include "core/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct thing {
    uint64_t value[3];
};

static void test_get_until_empty(void **state)
{
    (void)state;
    struct pool *pool = pool_open(3, sizeof(struct thing));
    struct thing *thing[3];
    for (unsigned i = 0; i < 3; i++) {
        thing[i] = pool_get(pool);
        assert_non_null(thing[i]);
        assert_int_equal(pool_index(pool, thing[i]), i);
        assert_int_equal((uintptr_t)thing[i] % 64, 0);
        memset(thing[i], 0xff, sizeof *thing[i]);
    }
    assert_null(pool_get(pool));
    assert_int_equal(pool_in_use(pool), 3);
    pool_put(pool, thing[1]);
    assert_int_equal(pool_in_use(pool), 2);
    struct thing *again = pool_get(pool);
    assert_ptr_equal(again, thing[1]);
    assert_int_equal(again->value[0] | again->value[1] | again->value[2], 0);
    pool_close(pool);
}

static void test_stale_names_find_nothing(void **state)
{
    (void)state;
    struct pool *pool = pool_open(2, sizeof(struct thing));
    struct thing *thing = pool_get(pool);
    uint32_t generation = pool_generation(pool, thing);
    assert_ptr_equal(pool_find(pool, 0, generation), thing);
    assert_null(pool_find(pool, 1, generation)); /* never used */
    assert_null(pool_find(pool, 2, generation)); /* none there */
    assert_null(pool_find(pool, 0, 0));
    pool_put(pool, thing);
    assert_null(pool_find(pool, 0, generation));
    assert_null(pool_find(pool, 0, generation + 1)); /* free */
    assert_ptr_equal(pool_get(pool), thing);
    assert_null(pool_find(pool, 0, generation));
    assert_ptr_equal(pool_find(pool, 0, pool_generation(pool, thing)), thing);
    pool_close(pool);
}

static void test_walk(void **state)
{
    (void)state;
    struct pool *pool = pool_open(100, sizeof(struct thing));
    struct thing *thing[10], *found;
    for (unsigned i = 0; i < 10; i++)
        assert_non_null(thing[i] = pool_get(pool));
    for (unsigned i = 0; i < 10; i += 2)
        pool_put(pool, thing[i]);
    unsigned seen = 0;
    for (uint32_t cursor = 0; (found = pool_next(pool, &cursor));) {
        assert_ptr_equal(found, thing[2 * seen + 1]);
        pool_put(pool, found);
        seen++;
    }
    assert_int_equal(seen, 5);
    assert_int_equal(pool_in_use(pool), 0);
    pool_close(pool);
}

static void test_heap_rounds_up(void **state)
{
    (void)state;
    static const size_t asked[] = {1, 64, 65, 128, 129, 4096, 1000000};
    static const size_t given[] = {64, 64, 128, 128, 256, 4096, 1048576};
    struct heap *heap = heap_open(1 << 24);
    for (size_t i = 0; i < COUNT_OF(asked); i++) {
        size_t capacity = 0;
        uint8_t *at = heap_get(heap, asked[i], &capacity);
        assert_int_equal(capacity, given[i]);
        memset(at, 1, capacity);
        assert_int_equal(heap_bytes(heap), capacity);
        heap_put(heap, at, capacity);
        assert_int_equal(heap_bytes(heap), 0);
    }
    heap_put(heap, NULL, 0);
    heap_close(heap);
}

static void test_heap_keeps_to_its_budget(void **state)
{
    (void)state;
    struct heap *heap = heap_open(1000);
    size_t capacity, other;
    void *at = heap_get(heap, 500, &capacity);
    assert_non_null(at);
    assert_null(heap_get(heap, 500, &other)); /* 512 + 512 > 1000 */
    void *small = heap_get(heap, 200, &other);
    assert_non_null(small);
    assert_null(heap_get(heap, (size_t)1 << 60, &other));
    assert_null(heap_get(heap, SIZE_MAX, &other));
    assert_int_equal(heap_bytes(heap), 768);
    heap_put(heap, at, capacity);
    heap_put(heap, small, 256);
    heap_close(heap);
}

static void test_heap_to_heap(void **state)
{
    (void)state;
    struct heap *one = heap_open(4096), *two = heap_open(4096);
    size_t capacity;
    void *at = heap_get(one, 3000, &capacity);
    heap_forget(one, capacity);
    assert_int_equal(heap_bytes(one), 0);
    assert_true(heap_adopt(two, capacity));
    assert_false(heap_adopt(two, 64));
    heap_put(two, at, capacity);
    heap_close(one);
    heap_close(two);
}

static void test_heap_of_many(void **state)
{
    (void)state;
    enum { MANY = 5000 };
    struct heap *heap = heap_open(1 << 28);
    static struct {
        uint8_t *at;
        size_t capacity;
    } run[MANY];
    for (int round = 0; round < 3; round++) {
        for (unsigned i = 0; i < MANY; i++) {
            run[i].at = heap_get(heap, 1 + i * 7 % 9000, &run[i].capacity);
            memset(run[i].at, (int)i, run[i].capacity);
        }
        for (unsigned i = 0; i < MANY; i++) {
            assert_int_equal(run[i].at[0], (uint8_t)i);
            assert_int_equal(run[i].at[run[i].capacity - 1], (uint8_t)i);
            heap_put(heap, run[i].at, run[i].capacity);
        }
        assert_int_equal(heap_bytes(heap), 0);
    }
    heap_close(heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get_until_empty),
        cmocka_unit_test(test_stale_names_find_nothing),
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_heap_rounds_up),
        cmocka_unit_test(test_heap_keeps_to_its_budget),
        cmocka_unit_test(test_heap_to_heap),
        cmocka_unit_test(test_heap_of_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
