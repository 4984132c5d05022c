/* SPDX-License-Identifier: Apache-2.0 */
#include "core/region.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { HUGE = 2 * 1024 * 1024 };

/* Of the page at `at`: is it there? */
static bool present(void *at)
{
    unsigned char flag = 0;
    assert_int_equal(mincore(at, 1, &flag), 0);
    return flag & 1;
}

static bool mapped(void *at)
{
    unsigned char flag;
    return mincore(at, 1, &flag) == 0;
}

static void whole(size_t bytes)
{
    uint8_t *at = region_open(bytes);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    assert_non_null(at);
    assert_int_equal((uintptr_t)at % (bytes < HUGE ? page : HUGE), 0);
    for (size_t i = 0; i < bytes; i += page) {
        assert_true(present(at + i));
        assert_int_equal(at[i], 0);
    }
    at[0] = at[bytes - 1] = 1;
    region_close(at, bytes);
    assert_false(mapped(at));
    assert_false(mapped(at + (bytes - 1) / page * page));
}

static void is_there_to_the_last_page(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 4096, 4097, HUGE - 1, HUGE, HUGE + 1, 5 * HUGE + 12345};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        whole(sizes[i]);
}

static void more_than_there_is(void **state)
{
    (void)state;
    assert_null(region_open(0));
    assert_null(region_open(SIZE_MAX));
    assert_null(region_open((size_t)1 << 60));
    /* What the kernel would promise, and not have. */
    assert_null(region_open((size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE)));
    region_close(NULL, 4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_there_to_the_last_page),
        cmocka_unit_test(more_than_there_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
