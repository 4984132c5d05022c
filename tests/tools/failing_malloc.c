/* SPDX-License-Identifier: Apache-2.0 */
/*
 * To be preloaded: the main thread's n-th allocation from now on fails, once. Anonymous mappings of
 * the program's own count as such.
 *
 *   gcc -shared -fPIC -o failing_malloc.so failing_malloc.c
 *   FAILING_MALLOC=FILE LD_PRELOAD=…/failing_malloc.so PROGRAM
 *
 * The file, which the program maps, holds two 32-bit integers: how many allocations until the one
 * that fails (0: none does; counted down), and how many have failed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static volatile int32_t *control; /* [2] */

__attribute__((constructor)) static void begin(void)
{
    const char *name = getenv("FAILING_MALLOC");
    int file = name == NULL ? -1 : open(name, O_RDWR | O_CLOEXEC);
    if (file < 0)
        return;
    void *at = mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (at != MAP_FAILED)
        control = at;
}

static int fails(void)
{
    if (control == NULL || control[0] == 0 || gettid() != getpid())
        return 0;
    if (--control[0] != 0)
        return 0;
    control[1]++;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t bytes)
{
    return fails() ? NULL : __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
    return fails() ? NULL : __libc_calloc(count, bytes);
}

void *realloc(void *at, size_t bytes)
{
    return fails() ? NULL : __libc_realloc(at, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    return fails() ? NULL : __libc_memalign(alignment, bytes);
}

int posix_memalign(void **out, size_t alignment, size_t bytes)
{
    void *got = fails() ? NULL : __libc_memalign(alignment, bytes);
    if (got != NULL)
        *out = got;
    return got != NULL ? 0 : ENOMEM;
}

void *mmap(void *at, size_t length, int protection, int flags, int file, off_t offset)
{
    typedef void *maps(void *, size_t, int, int, int, off_t);
    static maps *next;
    if (next == NULL)
        next = (maps *)dlsym(RTLD_NEXT, "mmap");
    if ((flags & MAP_ANONYMOUS) != 0 && fails())
        return MAP_FAILED;
    return next(at, length, protection, flags, file, offset);
}
