/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core/region.h without its care: nobody waits here for a page.
 *
 * A large region, of which most is never touched before the next crash, is kept when it is given
 * back; only the pages that somebody has touched are cleared for the next one.
 */
#include "core/region.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { LARGE_BYTES = 1024 * 1024, KEPT_MAX = 16, PAGE = 4096, PAGES_MAX = 64 * 1024 };

static struct {
    void *region[KEPT_MAX];
    size_t bytes[KEPT_MAX];
} kept;

static void *take_kept(size_t bytes)
{
    for (unsigned i = 0; i < KEPT_MAX; i++) {
        void *region = kept.region[i];
        if (region == NULL || kept.bytes[i] != bytes)
            continue;
        kept.region[i] = NULL;
        return region;
    }
    return NULL;
}

static void clear(uint8_t *region, size_t bytes)
{
    static unsigned char touched[PAGES_MAX];
    must(mincore(region, bytes, touched) == 0);
    for (size_t i = 0; i * PAGE < bytes; i++)
        if ((touched[i] & 1) != 0)
            memset(region + i * PAGE, 0, bytes - i * PAGE < PAGE ? bytes - i * PAGE : PAGE);
}

static bool keep(void *region, size_t bytes)
{
    for (unsigned i = 0; i < KEPT_MAX; i++) {
        if (kept.region[i] != NULL)
            continue;
        clear(region, bytes);
        kept.region[i] = region;
        kept.bytes[i] = bytes;
        return true;
    }
    return false;
}

void *region_open(size_t bytes)
{
    if (bytes < LARGE_BYTES) {
        void *small = aligned_alloc(PAGE, (bytes + PAGE - 1) / PAGE * PAGE);
        return small == NULL ? NULL : memset(small, 0, bytes);
    }
    void *at = take_kept(bytes);
    if (at == NULL)
        at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                  -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

void region_close(void *region, size_t bytes)
{
    if (bytes < LARGE_BYTES)
        free(region);
    else if (region != NULL && (bytes > (size_t)PAGES_MAX * PAGE || !keep(region, bytes)))
        must(munmap(region, bytes) == 0);
}
