/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that is counted. One thread each.
 *
 * A pool holds a fixed number of objects of one size, all made at start (their pages are only
 * touched once they are used). An object is named by index and generation; the generation changes
 * whenever the object is given back, so that a stale name finds nothing.
 *
 * A heap gives runs of bytes of any length, as long as all that it has given out stays within its
 * budget. A run's capacity is the power of two that was rounded up to; what comes back is kept for
 * the next who asks, by size.
 */
#ifndef CORE_POOL_H
#define CORE_POOL_H

#include "core/must.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pool;

/* NULL: no memory. Objects are aligned for anything. */
NODISCARD struct pool *pool_open(uint32_t objects, size_t object_bytes);
void pool_close(struct pool *pool);

/* A zeroed object, or NULL: all are in use. */
NODISCARD void *pool_get(struct pool *pool);
void pool_put(struct pool *pool, void *object);

/* The object that has this name now, or NULL. */
NODISCARD void *pool_find(struct pool *pool, uint32_t index, uint32_t generation);
uint32_t pool_index(const struct pool *pool, const void *object);
uint32_t pool_generation(const struct pool *pool, const void *object);
uint32_t pool_in_use(const struct pool *pool);

/* Walks those in use: start with *cursor = 0;
 * NULL at the end. Objects may be given back on the way. */
NODISCARD void *pool_next(struct pool *pool, uint32_t *cursor);

struct heap;

NODISCARD struct heap *heap_open(size_t budget);
/* Everything must have come back. */
void heap_close(struct heap *heap);

/* At least `bytes` (> 0), uninitialised; *capacity is how
 * many there are. NULL: over the budget, or no memory. */
NODISCARD void *heap_get(struct heap *heap, size_t bytes, size_t *capacity);
/* `capacity` as heap_get() said. NULL is nothing. */
void heap_put(struct heap *heap, void *at, size_t capacity);
/* Bytes that are out. */
size_t heap_bytes(const struct heap *heap);

/* A run moves to another thread's heap: the one forgets it,
 * the other adopts it (false: over its budget). */
void heap_forget(struct heap *heap, size_t capacity);
NODISCARD bool heap_adopt(struct heap *heap, size_t capacity);
/* Frees a run that has been forgotten and was not adopted. */
void heap_discard(void *at);

#endif
