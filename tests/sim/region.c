/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core/region.h without its care: most of what a box takes it never touches before the next crash,
 * so pages come when they are touched.
 */
#include "core/region.h"

#include <sys/mman.h>

void *region_open(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

void region_close(void *region, size_t bytes)
{
    if (region != NULL)
        must(munmap(region, bytes) == 0);
}
