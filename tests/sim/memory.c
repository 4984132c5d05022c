/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Large memory for the code under test: core/region.h, and what it asks of calloc() and mmap()
 * (the linker sends those calls here, see the Makefile).
 *
 * Some times a seed a box is made and taken apart, and of most of its tables only some pages are
 * ever touched. So what is given back is kept, and of it only the pages that somebody has touched
 * are cleared: the kernel need not find new ones, and nobody clears what is clear. Since a page
 * once touched stays, all of them are let go now and then.
 */
#include "core/region.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    PAGE = 4096,
    LARGE_BYTES = 64 * 1024, /* of what is smaller nothing is saved */
    CLASSES = 12,            /* 64 KiB, 128 KiB … 128 MiB */
    PIECES_MAX = 256,
    LIVES = 16, /* then its pages are let go */
};
#define ARENA_BYTES ((size_t)2 << 30)

struct piece {
    uint8_t *at;
    size_t bytes; /* that its taker asked for */
    unsigned class, lives;
    bool taken, read_only;
};

static struct {
    uint8_t *at;
    size_t used;
    struct piece piece[PIECES_MAX];
    unsigned pieces;
} arena;

void *__real_calloc(size_t count, size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void __real_free(void *at);
void __wrap_free(void *at);
void *__real_mmap(void *at, size_t bytes, int protection, int flags, int file, off_t offset);
void *__wrap_mmap(void *at, size_t bytes, int protection, int flags, int file, off_t offset);
int __real_munmap(void *at, size_t bytes);
int __wrap_munmap(void *at, size_t bytes);

static size_t class_bytes(unsigned class)
{
    return (size_t)LARGE_BYTES << class;
}

static struct piece *new_piece(unsigned class, bool read_only)
{
    if (arena.at == NULL) {
        arena.at = __real_mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        must(arena.at != MAP_FAILED);
    }
    must(arena.pieces < PIECES_MAX && arena.used + class_bytes(class) <= ARENA_BYTES);
    struct piece *piece = &arena.piece[arena.pieces++];
    *piece = (struct piece){.at = arena.at + arena.used, .class = class, .read_only = read_only};
    arena.used += class_bytes(class);
    return piece;
}

static void *take(size_t bytes, bool read_only)
{
    unsigned class = 0;
    while (class_bytes(class) < bytes)
        class ++;
    must(class < CLASSES);
    struct piece *piece = NULL;
    for (unsigned i = 0; piece == NULL && i < arena.pieces; i++)
        if (!arena.piece[i].taken && arena.piece[i].class == class &&
            arena.piece[i].read_only == read_only)
            piece = &arena.piece[i];
    if (piece == NULL)
        piece = new_piece(class, read_only);
    piece->taken = true;
    piece->bytes = bytes;
    return piece->at;
}

static void clear(struct piece *piece)
{
    static unsigned char touched[(LARGE_BYTES << (CLASSES - 1)) / PAGE];
    if (++piece->lives % LIVES == 0) {
        must(madvise(piece->at, class_bytes(piece->class), MADV_DONTNEED) == 0);
        return;
    }
    must(mincore(piece->at, piece->bytes, touched) == 0);
    for (size_t i = 0; i * PAGE < piece->bytes; i++)
        if ((touched[i] & 1) != 0)
            memset(piece->at + i * PAGE, 0, PAGE);
}

static bool is_ours(const void *at)
{
    return arena.at != NULL && (const uint8_t *)at >= arena.at &&
           (const uint8_t *)at < arena.at + ARENA_BYTES;
}

static void give(const void *at)
{
    for (unsigned i = 0; i < arena.pieces; i++) {
        struct piece *piece = &arena.piece[i];
        if (piece->at != at)
            continue;
        must(piece->taken);
        if (!piece->read_only)
            clear(piece);
        piece->taken = false;
        return;
    }
    must(false);
}

/* ── What is asked for ──────────────────────────────────────────────────────────────────────── */

void *region_open(size_t bytes)
{
    if (bytes >= LARGE_BYTES)
        return take(bytes, false);
    void *small = aligned_alloc(PAGE, (bytes + PAGE - 1) / PAGE * PAGE);
    return small == NULL ? NULL : memset(small, 0, bytes);
}

void region_close(void *region, size_t bytes)
{
    (void)bytes;
    free(region);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    bool large = bytes > 0 && count < SIZE_MAX / bytes && count * bytes >= LARGE_BYTES;
    return large ? take(count * bytes, false) : __real_calloc(count, bytes);
}

void __wrap_free(void *at)
{
    if (is_ours(at))
        give(at);
    else
        __real_free(at);
}

void *__wrap_mmap(void *at, size_t bytes, int protection, int flags, int file, off_t offset)
{
    if (at != NULL || (flags & MAP_ANONYMOUS) == 0 || (flags & MAP_SHARED) != 0)
        return __real_mmap(at, bytes, protection, flags, file, offset);
    return take(bytes, (protection & PROT_WRITE) == 0);
}

int __wrap_munmap(void *at, size_t bytes)
{
    if (!is_ours(at))
        return __real_munmap(at, bytes);
    give(at);
    return 0;
}
