/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool is one mapping of objects and one array of generations beside it: even while free, odd
 * while in use. Free objects are a chain through their own first bytes, the last one given back on
 * top; those that were never used are not in it: `fresh` is the first of them.
 *
 * A heap is malloc() behind a count and, for each power of two, a chain of runs that have come
 * back. What lies in the chains belongs to no budget but is bounded: at most KEPT_BYTES_MAX a size.
 */
#include "core/pool.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* ---- pool ---- */

enum { ALIGNMENT = 64 };

struct pool {
    uint8_t *objects;
    uint32_t *generation;
    size_t stride;
    uint32_t count, fresh, in_use;
    void *free;
};

static void *map(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

struct pool *pool_open(uint32_t objects, size_t object_bytes)
{
    must(objects > 0 && object_bytes >= sizeof(void *));
    struct pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return NULL;
    pool->count = objects;
    pool->stride = (object_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    pool->objects = map(pool->stride * objects);
    pool->generation = map(sizeof *pool->generation * objects);
    if (!pool->objects || !pool->generation) {
        pool_close(pool);
        return NULL;
    }
    return pool;
}

void pool_close(struct pool *pool)
{
    if (!pool)
        return;
    if (pool->objects)
        munmap(pool->objects, pool->stride * pool->count);
    if (pool->generation)
        munmap(pool->generation, sizeof *pool->generation * pool->count);
    free(pool);
}

static void *object_at(const struct pool *pool, uint32_t index)
{
    return pool->objects + pool->stride * index;
}

uint32_t pool_index(const struct pool *pool, const void *object)
{
    size_t offset = (size_t)((const uint8_t *)object - pool->objects);
    must(offset % pool->stride == 0 && offset / pool->stride < pool->fresh);
    return (uint32_t)(offset / pool->stride);
}

void *pool_get(struct pool *pool)
{
    void *object = pool->free;
    if (object)
        memcpy(&pool->free, object, sizeof pool->free);
    else if (pool->fresh < pool->count)
        object = object_at(pool, pool->fresh++);
    else
        return NULL;
    memset(object, 0, pool->stride);
    pool->generation[pool_index(pool, object)]++;
    pool->in_use++;
    return object;
}

void pool_put(struct pool *pool, void *object)
{
    uint32_t index = pool_index(pool, object);
    must(pool->generation[index] % 2 == 1);
    pool->generation[index]++;
    memcpy(object, &pool->free, sizeof pool->free);
    pool->free = object;
    pool->in_use--;
}

void *pool_find(struct pool *pool, uint32_t index, uint32_t generation)
{
    bool named =
        index < pool->fresh && generation % 2 == 1 && pool->generation[index] == generation;
    return named ? object_at(pool, index) : NULL;
}

uint32_t pool_generation(const struct pool *pool, const void *object)
{
    return pool->generation[pool_index(pool, object)];
}

uint32_t pool_in_use(const struct pool *pool)
{
    return pool->in_use;
}

void *pool_next(struct pool *pool, uint32_t *cursor)
{
    while (*cursor < pool->fresh) {
        uint32_t index = (*cursor)++;
        if (pool->generation[index] % 2 == 1)
            return object_at(pool, index);
    }
    return NULL;
}

/* ---- heap ---- */

enum { SIZE_MIN_BITS = 6, SIZES = 48, KEPT_BYTES_MAX = 1 << 20 };

#ifdef __SANITIZE_ADDRESS__
enum { KEEPING = false }; /* let the sanitizer see every use after a run has come back */
#else
enum { KEEPING = true };
#endif

struct kept {
    struct kept *next;
};

struct heap {
    size_t budget, out;
    struct kept *kept[SIZES];
    size_t kept_bytes[SIZES];
};

struct heap *heap_open(size_t budget)
{
    struct heap *heap = calloc(1, sizeof *heap);
    if (heap)
        heap->budget = budget;
    return heap;
}

void heap_close(struct heap *heap)
{
    if (!heap)
        return;
    must(heap->out == 0);
    for (unsigned size = 0; size < SIZES; size++) {
        struct kept *kept;
        while ((kept = heap->kept[size])) {
            heap->kept[size] = kept->next;
            free(kept);
        }
    }
    free(heap);
}

static unsigned size_for(size_t bytes)
{
    if (bytes <= (size_t)1 << SIZE_MIN_BITS)
        return 0;
    return (unsigned)(64 - __builtin_clzll(bytes - 1)) - SIZE_MIN_BITS;
}

static size_t bytes_of(unsigned size)
{
    return (size_t)1 << (size + SIZE_MIN_BITS);
}

void *heap_get(struct heap *heap, size_t bytes, size_t *capacity)
{
    must(bytes > 0);
    unsigned size = size_for(bytes);
    if (size >= SIZES || !heap_adopt(heap, bytes_of(size)))
        return NULL;
    void *at = heap->kept[size];
    if (at) {
        heap->kept[size] = heap->kept[size]->next;
        heap->kept_bytes[size] -= bytes_of(size);
    } else {
        at = malloc(bytes_of(size));
    }
    if (!at) {
        heap_forget(heap, bytes_of(size));
        return NULL;
    }
    *capacity = bytes_of(size);
    return at;
}

void heap_put(struct heap *heap, void *at, size_t capacity)
{
    if (!at)
        return;
    unsigned size = size_for(capacity);
    must(bytes_of(size) == capacity);
    heap_forget(heap, capacity);
    if (!KEEPING || heap->kept_bytes[size] + capacity > KEPT_BYTES_MAX) {
        free(at);
        return;
    }
    struct kept *kept = at;
    kept->next = heap->kept[size];
    heap->kept[size] = kept;
    heap->kept_bytes[size] += capacity;
}

size_t heap_bytes(const struct heap *heap)
{
    return heap->out;
}

void heap_forget(struct heap *heap, size_t capacity)
{
    must(heap->out >= capacity);
    heap->out -= capacity;
}

bool heap_adopt(struct heap *heap, size_t capacity)
{
    if (capacity > heap->budget - heap->out)
        return false;
    heap->out += capacity;
    return true;
}

void heap_discard(void *at)
{
    free(at);
}
