/* SPDX-License-Identifier: Apache-2.0 */
#include "core/region.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HUGE_PAGE_BYTES = 2 * 1024 * 1024 };

/* What is really mapped: whole pages, so that both ends can be cut off or given back. */
static size_t page_padded(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (bytes + page - 1) / page * page;
}

static void *map(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static void unmap(uint8_t *at, size_t bytes)
{
    if (bytes > 0)
        must(munmap(at, bytes) == 0);
}

/* More is mapped than is wanted, and cut to where a huge page begins. */
static void *map_aligned(size_t bytes)
{
    if (bytes < HUGE_PAGE_BYTES)
        return map(bytes);
    uint8_t *at = map(bytes + HUGE_PAGE_BYTES);
    if (at == NULL)
        return NULL;
    size_t before = (HUGE_PAGE_BYTES - (uintptr_t)at % HUGE_PAGE_BYTES) % HUGE_PAGE_BYTES;
    unmap(at, before);
    unmap(at + before + bytes, HUGE_PAGE_BYTES - before);
    (void)madvise(at + before, bytes, MADV_HUGEPAGE); /* a wish */
    return at + before;
}

/* A kernel that cannot do it beforehand (-EINVAL) does it page by page later. */
static bool populate(void *at, size_t bytes)
{
    int result;
    do
        result = madvise(at, bytes, MADV_POPULATE_WRITE);
    while (result < 0 && (errno == EINTR || errno == EAGAIN));
    return result == 0 || errno == EINVAL;
}

/* The kernel would promise it, and end a process when it can't keep the promise: perhaps ours,
 * perhaps Postgres. */
static bool machine_has(size_t bytes)
{
    long pages = sysconf(_SC_PHYS_PAGES);
    return pages <= 0 || bytes / (size_t)sysconf(_SC_PAGESIZE) < (size_t)pages;
}

void *region_open(size_t bytes)
{
    if (bytes == 0 || bytes > SIZE_MAX / 2 || !machine_has(bytes))
        return NULL;
    bytes = page_padded(bytes);
    void *at = map_aligned(bytes);
    if (at == NULL || populate(at, bytes))
        return at;
    unmap(at, bytes);
    return NULL;
}

void region_close(void *region, size_t bytes)
{
    if (region != NULL)
        unmap(region, page_padded(bytes));
}
