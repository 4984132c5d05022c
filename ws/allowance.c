/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of sets of eight places. A place is two words:
 *
 *   name   │ tag: the key's upper 44 bits │ connections: 20 bits │    full_ns: the bucket (proto/quota.h)
 *
 * Tag and count change together by compare-and-swap, so a place with connections can never be taken
 * over by another key. One without can, preferably the one whose bucket is fullest: there is least
 * to be forgotten.
 */
#include "ws/allowance.h"
#include "core/clock.h"

#include <stdatomic.h>
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { WAYS = 8, COUNT_BITS = 20, COUNT_MAX = (1 << COUNT_BITS) - 1 };

struct place {
    _Atomic uint64_t name;
    _Atomic uint64_t full_ns;
};

struct allowance {
    uint64_t seed;
    uint64_t mask; /* of sets */
    struct place place[];
};

static uint64_t tag_of(uint64_t key)
{
    return key & ~(uint64_t)COUNT_MAX;
}

static struct place *set_of(struct allowance *allowance, uint64_t key)
{
    return &allowance->place[((key ^ key >> 32) & allowance->mask) * WAYS];
}

static struct place *look_up(struct place *set, uint64_t tag)
{
    for (unsigned i = 0; i < WAYS; i++)
        if ((atomic_load_explicit(&set[i].name, memory_order_acquire) & ~(uint64_t)COUNT_MAX) ==
            tag)
            return &set[i];
    return NULL;
}

/* The one without connections whose bucket is fullest; NULL: there is none. */
static struct place *spare(struct place *set, uint64_t *name)
{
    struct place *best = NULL;
    uint64_t best_full_ns = UINT64_MAX;
    for (unsigned i = 0; i < WAYS; i++) {
        uint64_t now = atomic_load_explicit(&set[i].name, memory_order_acquire);
        uint64_t full_ns = atomic_load_explicit(&set[i].full_ns, memory_order_relaxed);
        if ((now & COUNT_MAX) != 0 || full_ns >= best_full_ns)
            continue;
        best = &set[i];
        best_full_ns = full_ns;
        *name = now;
    }
    return best;
}

/* The key's place; NULL: all of the set are in use. */
static struct place *find(struct allowance *allowance, uint64_t key)
{
    struct place *set = set_of(allowance, key), *place;
    uint64_t name = 0;
    while ((place = look_up(set, tag_of(key))) == NULL) {
        place = spare(set, &name);
        if (place == NULL)
            return NULL;
        if (!atomic_compare_exchange_strong_explicit(&place->name, &name, tag_of(key),
                                                     memory_order_acq_rel, memory_order_relaxed))
            continue;
        atomic_store_explicit(&place->full_ns, 0, memory_order_relaxed);
        return place;
    }
    return place;
}

bool allowance_enter(struct allowance *allowance, uint64_t key, uint32_t most, uint32_t *ticket)
{
    struct place *place;
    *ticket = ALLOWANCE_UNCOUNTED;
    while ((place = find(allowance, key)) != NULL) {
        uint64_t name = atomic_load_explicit(&place->name, memory_order_relaxed);
        uint64_t count = name & COUNT_MAX;
        if (tag_of(name) != tag_of(key))
            continue; /* taken over meanwhile */
        if (count == COUNT_MAX || (most > 0 && count >= most))
            return false;
        if (!atomic_compare_exchange_strong_explicit(&place->name, &name, name + 1,
                                                     memory_order_acq_rel, memory_order_relaxed))
            continue;
        *ticket = (uint32_t)(place - allowance->place) + 1;
        return true;
    }
    return true;
}

void allowance_leave(struct allowance *allowance, uint32_t ticket)
{
    if (ticket == ALLOWANCE_UNCOUNTED)
        return;
    uint64_t before =
        atomic_fetch_sub_explicit(&allowance->place[ticket - 1].name, 1, memory_order_acq_rel);
    must((before & COUNT_MAX) > 0);
}

bool allowance_take(struct allowance *allowance, uint64_t key, const struct bucket_rate *rate,
                    uint64_t now_ns)
{
    struct place *place = rate->amount > 0 ? find(allowance, key) : NULL;
    if (place == NULL)
        return true;
    uint64_t before = atomic_load_explicit(&place->full_ns, memory_order_relaxed);
    struct bucket bucket;
    do {
        bucket.full_ns = before;
        if (!bucket_take(&bucket, rate, 1, now_ns))
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&place->full_ns, &before, bucket.full_ns,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

uint64_t allowance_key(const struct allowance *allowance, const char *prefix, struct span text)
{
    uint64_t seed = XXH3_64bits_withSeed(prefix, strlen(prefix), allowance->seed);
    uint64_t key = XXH3_64bits_withSeed(text.at, text.length, seed);
    return tag_of(key) != 0 ? key : ~(uint64_t)0;
}

struct allowance *allowance_open(unsigned keys)
{
    uint64_t sets = 1;
    while (sets * WAYS < keys)
        sets *= 2;
    struct allowance *allowance = calloc(1, sizeof *allowance + sets * WAYS * sizeof(struct place));
    if (allowance == NULL)
        return NULL;
    allowance->mask = sets - 1;
    clock_random(&allowance->seed, sizeof allowance->seed);
    return allowance;
}

void allowance_close(struct allowance *allowance)
{
    free(allowance);
}
