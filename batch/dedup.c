/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table is one mapping of groups; a group is 128 buckets' worth of memory, the first of which
 * holds its lock:
 *
 *   group   ┌ lock ┬ bucket 0 ┬ bucket 1 ┬ … ┬ bucket 126 ┐   128 × 128 bytes
 *   bucket  ┌ cleaned ┬ tag × 7 ┐┌ (spare) ┬ record × 7 ┐     two cache lines; tag 0: an empty slot
 *   record  ┌ shard:6 ┬ second:18 ┬ sequence:40 ┐             of the original, the last two by
 * their low bits
 *
 * An id that is new, the usual case, needs the lock's line, the tags of its two buckets, and one
 * line of records to write to. It goes to the emptier bucket; a group is large enough that its own
 * share of the ids varies little, so that at 60 % of all slots hardly a pair of buckets is ever
 * full.
 *
 * The sequence. A shard's newest[] is at least the sequence of every id it has a record of, since
 * it is raised before the group's lock is let go. The original lies less than 2^40 below it
 * (dedup.h, limits), so there is one number with these low 40 bits that it can be.
 *
 * The second. There is no sweep, so a record must never lie so long that its 18 bits look young
 * again. Each bucket knows when it was last cleaned of expired records, and whoever comes at least
 * an eighth of a window later cleans it first. Let W be the window, <= 86,400 s. A record that has
 * survived the last cleaning was at most W old then; one that came later was put in within W/8 of
 * it. If the bucket was cleaned more than W + W/8 ago all are expired, whatever their bits say, and
 * all are dropped. Else each is at most W + W + W/8 = 183,600 s old, and 2^18 - 2^16 = 196,608. The
 * 2^16 ages above that stand for the future: other shards' clocks, and a wall clock set back. While
 * it is less than CLOCK_BACK_S behind the last cleaning nothing is cleaned, and records lie at most
 * 32,768 + W/8 = 43,568 s ahead; further back the bucket is dropped, as nothing in it can be dated.
 */
#include "batch/dedup.h"
#include "core/shard.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

enum {
    SLOTS = 7,
    BUCKETS = 127, /* a group's */
    FILL_PERCENT = 60,
    SEQUENCE_BITS = 40,
    SECOND_BITS = 18,
    FUTURE_S = 1 << 16,
    CLOCK_BACK_S = 1 << 15,
    SPINS_MAX = 1000, /* then the holder has been put off its processor */
    HUGE_PAGE_BYTES = 2 * 1024 * 1024,
};

#define SEQUENCE_MASK ((UINT64_C(1) << SEQUENCE_BITS) - 1)
#define SECOND_MASK   ((UINT32_C(1) << SECOND_BITS) - 1)

struct bucket {
    _Alignas(128) uint64_t cleaned_s; /* the low 32 bits of the clock */
    uint64_t tag[SLOTS];
    uint64_t spare;
    uint64_t record[SLOTS];
};

struct group {
    _Alignas(128) _Atomic uint32_t locked;
    struct bucket bucket[BUCKETS];
};

/* What a shard's thread writes and others read. */
struct shard_state {
    _Alignas(128) _Atomic uint64_t newest; /* the highest sequence it has a record of */
    _Atomic int64_t ids; /* put in, less those it took out, whoever had put them in */
};

struct dedup {
    struct shard_state shard[SHARDS_MAX];
    struct group *group;
    uint64_t groups;
    uint32_t window_s;
    void *mapped;
    size_t mapped_bytes;
};

_Static_assert(sizeof(struct bucket) == 128, "two cache lines, fetched as a pair");
_Static_assert(sizeof(struct group) == 128 * 128, "no group shares a line with another");
_Static_assert(SHARDS_MAX <= 1 << (64 - SEQUENCE_BITS - SECOND_BITS), "a shard fits its bits");
_Static_assert(2 * DEDUP_WINDOW_MAX_S + DEDUP_WINDOW_MAX_S / 8 < (1 << SECOND_BITS) - FUTURE_S,
               "an age that can be is not taken for the future");
_Static_assert(CLOCK_BACK_S + DEDUP_WINDOW_MAX_S / 8 < FUTURE_S,
               "a future that can be is not taken for an age");

struct dedup *dedup_open(uint64_t ids, uint32_t window_s)
{
    must(window_s >= 1 && window_s <= DEDUP_WINDOW_MAX_S);
    uint64_t slots_a_group = (uint64_t)SLOTS * BUCKETS * FILL_PERCENT / 100;
    uint64_t groups = ids / slots_a_group + 1;
    if (groups > (SIZE_MAX / 2) / sizeof(struct group))
        return NULL;
    struct dedup *dedup = aligned_alloc(_Alignof(struct dedup), sizeof *dedup);
    if (dedup == NULL)
        return NULL;
    memset(dedup, 0, sizeof *dedup);
    dedup->window_s = window_s;
    dedup->groups = groups;
    dedup->mapped_bytes = groups * sizeof(struct group) + HUGE_PAGE_BYTES;
    dedup->mapped = mmap(NULL, dedup->mapped_bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (dedup->mapped == MAP_FAILED) {
        free(dedup);
        return NULL;
    }
    (void)madvise(dedup->mapped, dedup->mapped_bytes, MADV_HUGEPAGE); /* a wish */
    uintptr_t at = (uintptr_t)dedup->mapped + HUGE_PAGE_BYTES - 1;
    dedup->group = (struct group *)(at - at % HUGE_PAGE_BYTES);
    return dedup;
}

void dedup_close(struct dedup *dedup)
{
    if (dedup == NULL)
        return;
    must(munmap(dedup->mapped, dedup->mapped_bytes) == 0);
    free(dedup);
}

/* ── Where a key belongs ────────────────────────────────────────────────────────────────────── */

struct place {
    struct group *group;
    struct bucket *bucket[2];
    uint64_t tag;
};

/* A number below `range` from evenly spread bits, without a division. */
static inline uint32_t spread16(uint64_t bits, uint32_t range)
{
    return (uint32_t)(bits & 0xffff) * range >> 16;
}

static inline struct place place_of(const struct dedup *dedup, struct dedup_key key)
{
    uint64_t index = (uint64_t)((unsigned __int128)key.low * dedup->groups >> 64);
    struct group *group = &dedup->group[index];
    uint32_t first = spread16(key.low, BUCKETS);
    uint32_t second = first + 1 + spread16(key.low >> 16, BUCKETS - 1);
    second -= second >= BUCKETS ? BUCKETS : 0;
    return (struct place){
        .group = group,
        .bucket = {&group->bucket[first], &group->bucket[second]},
        .tag = key.high != 0 ? key.high : 1,
    };
}

void dedup_prefetch(const struct dedup *dedup, struct dedup_key key)
{
    struct place place = place_of(dedup, key);
    __builtin_prefetch(&place.group->locked, 1);
    for (int i = 0; i < 2; i++) {
        __builtin_prefetch(&place.bucket[i]->tag, 1);
        __builtin_prefetch(&place.bucket[i]->record, 1);
    }
}

static inline void lock(struct group *group)
{
    for (unsigned spins = 0;
         atomic_exchange_explicit(&group->locked, 1, memory_order_acquire) != 0;) {
        while (atomic_load_explicit(&group->locked, memory_order_relaxed) != 0) {
            __builtin_ia32_pause();
            if (++spins % SPINS_MAX == 0)
                sched_yield();
        }
    }
}

static inline void unlock(struct group *group)
{
    atomic_store_explicit(&group->locked, 0, memory_order_release);
}

/* ── Records ────────────────────────────────────────────────────────────────────────────────── */

static inline uint64_t record_of(struct ticket ticket, uint32_t now_s)
{
    return (uint64_t)ticket.shard << (SECOND_BITS + SEQUENCE_BITS) |
           (uint64_t)(now_s & SECOND_MASK) << SEQUENCE_BITS | (ticket.sequence & SEQUENCE_MASK);
}

static inline uint32_t age_of(uint64_t record, uint32_t now_s)
{
    uint32_t age = (now_s - (uint32_t)(record >> SEQUENCE_BITS)) & SECOND_MASK;
    return age < (1u << SECOND_BITS) - FUTURE_S ? age : 0;
}

static inline struct ticket ticket_of(const struct dedup *dedup, uint64_t record)
{
    uint32_t shard = (uint32_t)(record >> (SECOND_BITS + SEQUENCE_BITS));
    uint64_t newest = atomic_load_explicit(&dedup->shard[shard].newest, memory_order_relaxed);
    return (struct ticket){
        .sequence = newest - ((newest - record) & SEQUENCE_MASK),
        .shard = shard,
    };
}

/* Only the shard's own thread writes, so no locked instruction is needed. */
static inline void count_ids(struct shard_state *shard, int64_t more)
{
    int64_t ids = atomic_load_explicit(&shard->ids, memory_order_relaxed);
    atomic_store_explicit(&shard->ids, ids + more, memory_order_relaxed);
}

static inline void raise_newest(struct shard_state *shard, uint64_t sequence)
{
    if (sequence > atomic_load_explicit(&shard->newest, memory_order_relaxed))
        atomic_store_explicit(&shard->newest, sequence, memory_order_relaxed);
}

/* ── Buckets, under the lock ────────────────────────────────────────────────────────────────── */

static int64_t drop_expired(struct bucket *bucket, uint32_t window_s, uint32_t now_s, bool all)
{
    int64_t dropped = 0;
    for (int i = 0; i < SLOTS; i++) {
        if (bucket->tag[i] != 0 && (all || age_of(bucket->record[i], now_s) > window_s)) {
            bucket->tag[i] = 0;
            dropped++;
        }
    }
    bucket->cleaned_s = now_s;
    return dropped;
}

/* Returns how many it dropped. */
static inline int64_t clean(struct bucket *bucket, uint32_t window_s, uint32_t now_s)
{
    int32_t since = (int32_t)(now_s - (uint32_t)bucket->cleaned_s);
    int32_t window = (int32_t)window_s;
    if (LIKELY(since < window / 8 + (window < 8) && since > -CLOCK_BACK_S))
        return 0;
    return drop_expired(bucket, window_s, now_s, since < 0 || since > window + window / 8);
}

/* The slot with this tag, or -1. */
static inline int find(const struct bucket *bucket, uint64_t tag)
{
    unsigned found = 0;
    for (int i = 0; i < SLOTS; i++)
        found |= (unsigned)(bucket->tag[i] == tag) << i;
    return found != 0 ? __builtin_ctz(found) : -1;
}

static inline unsigned free_slots(const struct bucket *bucket)
{
    unsigned empty = 0;
    for (int i = 0; i < SLOTS; i++)
        empty += bucket->tag[i] == 0;
    return empty;
}

struct slot {
    struct bucket *bucket;
    int index;
};

static struct slot oldest(const struct place *place, uint32_t now_s)
{
    struct slot found = {place->bucket[0], 0};
    uint32_t age_most = 0;
    for (int i = 0; i < 2 * SLOTS; i++) {
        struct bucket *bucket = place->bucket[i >= SLOTS];
        uint32_t age = age_of(bucket->record[i % SLOTS], now_s);
        if (age > age_most) {
            age_most = age;
            found = (struct slot){bucket, i % SLOTS};
        }
    }
    return found;
}

/* An empty slot of the emptier bucket. Both full: the oldest, and *evicted. */
static inline struct slot choose(const struct place *place, uint32_t now_s, bool *evicted)
{
    unsigned first = free_slots(place->bucket[0]), second = free_slots(place->bucket[1]);
    *evicted = first == 0 && second == 0;
    if (UNLIKELY(*evicted))
        return oldest(place, now_s);
    struct bucket *bucket = place->bucket[second > first];
    return (struct slot){bucket, find(bucket, 0)};
}

static inline bool find_in_place(const struct place *place, struct slot *out)
{
    for (int i = 0; i < 2; i++) {
        int index = find(place->bucket[i], place->tag);
        if (index >= 0) {
            *out = (struct slot){place->bucket[i], index};
            return true;
        }
    }
    return false;
}

static inline bool take(struct dedup *dedup, const struct place *place, struct ticket ticket,
                        uint32_t now_s, struct ticket *original, bool *evicted)
{
    struct shard_state *shard = &dedup->shard[ticket.shard];
    int64_t dropped = clean(place->bucket[0], dedup->window_s, now_s) +
                      clean(place->bucket[1], dedup->window_s, now_s);
    struct slot slot;
    bool there = find_in_place(place, &slot);
    *evicted = false;
    if (there && age_of(slot.bucket->record[slot.index], now_s) <= dedup->window_s) {
        count_ids(shard, -dropped);
        *original = ticket_of(dedup, slot.bucket->record[slot.index]);
        return false;
    }
    if (!there)
        slot = choose(place, now_s, evicted);
    slot.bucket->tag[slot.index] = place->tag;
    slot.bucket->record[slot.index] = record_of(ticket, now_s);
    raise_newest(shard, ticket.sequence);
    count_ids(shard, 1 - dropped - (there || *evicted));
    return true;
}

bool dedup_take(struct dedup *dedup, struct dedup_key key, struct ticket ticket, uint32_t now_s,
                struct ticket *original, bool *evicted)
{
    must(ticket.shard < SHARDS_MAX);
    struct place place = place_of(dedup, key);
    lock(place.group);
    bool taken = take(dedup, &place, ticket, now_s, original, evicted);
    unlock(place.group);
    return taken;
}

void dedup_forget(struct dedup *dedup, struct dedup_key key, struct ticket ticket)
{
    must(ticket.shard < SHARDS_MAX);
    struct place place = place_of(dedup, key);
    struct slot slot;
    lock(place.group);
    if (find_in_place(&place, &slot)) {
        struct ticket holder = ticket_of(dedup, slot.bucket->record[slot.index]);
        if (holder.shard == ticket.shard && holder.sequence == ticket.sequence) {
            slot.bucket->tag[slot.index] = 0;
            count_ids(&dedup->shard[ticket.shard], -1);
        }
    }
    unlock(place.group);
}

uint64_t dedup_ids(const struct dedup *dedup)
{
    int64_t ids = 0;
    for (unsigned i = 0; i < SHARDS_MAX; i++)
        ids += atomic_load_explicit(&dedup->shard[i].ids, memory_order_relaxed);
    return ids > 0 ? (uint64_t)ids : 0; /* threads are not read at one moment */
}

size_t dedup_bytes(const struct dedup *dedup)
{
    return dedup->mapped_bytes;
}
