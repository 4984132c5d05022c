/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What unit tests share: cmocka with the headers that it wants before it, and memory that ends at
 * an unmapped page, so that a read past the end is a crash and not luck.
 */
#ifndef TESTS_UNIT_UNIT_H
#define TESTS_UNIT_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/mman.h>

enum { UNIT_PAGE = 4096 };

static inline size_t unit_edge_mapped(size_t length)
{
    return (length + UNIT_PAGE - 1) / UNIT_PAGE * UNIT_PAGE + UNIT_PAGE;
}

/* `length` bytes whose end is the end of readable memory. */
__attribute__((unused)) static inline uint8_t *unit_edge(size_t length)
{
    size_t mapped = unit_edge_mapped(length);
    uint8_t *base = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(base != MAP_FAILED);
    assert_int_equal(mprotect(base + mapped - UNIT_PAGE, UNIT_PAGE, PROT_NONE), 0);
    return base + mapped - UNIT_PAGE - length;
}

__attribute__((unused)) static inline void unit_edge_free(uint8_t *at, size_t length)
{
    size_t mapped = unit_edge_mapped(length);
    assert_int_equal(munmap(at + length + UNIT_PAGE - mapped, mapped), 0);
}

/* The same, filled with a copy. */
__attribute__((unused)) static inline uint8_t *unit_edge_copy(const void *bytes, size_t length)
{
    uint8_t *at = unit_edge(length);
    if (length > 0)
        memcpy(at, bytes, length);
    return at;
}

#endif
