/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table is one mapping of groups of 128 buckets, each bucket two cache lines:
 *
 *   bucket   ┌ cleaned ┬ spilled ┬ tag × 7 ┐ ┌ - ┬ record × 7 ┐
 *            a tag of 0 is an empty slot
 *
 *   record   ┌ shard: 6 ┬ second: 18 ┬ sequence: 40 ┐
 *            of the original; second and sequence by their low bits
 *
 * A table of any use is larger than every cache, and a miss, with its walk through the tables of
 * pages, costs more than all the rest: an id that is new, the usual case, needs one bucket. Only
 * when that is full it goes to a partner: the bucket whose number differs by an XOR that the tag
 * gives. The bucket then notes when it spilled, and until that is a window ago whoever looks for an
 * id looks at the partner too. When both are full, one of those who live there can be moved to its
 * own partner (cuckoo hashing with one step). Measured: of 16 million ids that fill 70 % of all
 * slots none is pushed out; at 80 % it is one in 180,000, at 85 % one in 10,000. The locks of the
 * groups are a small array of their own, which stays in the cache.
 *
 * The sequence. A shard's newest is at least the sequence of every id it has a record of, since it
 * is raised before the group's lock is let go. The original lies less than 2^40 below it (dedup.h,
 * limits), so there is one number with these low 40 bits that it can be.
 *
 * The second. There is no sweep, so a record must never lie so long that its 18 bits look young
 * again. Each bucket knows when it was last cleaned of expired records, and whoever comes at least
 * an eighth of a window later cleans it first. Let W be the window, <= 86,400 s. A record that has
 * survived the last cleaning was at most W old then; one that came later was put in within W/8 of
 * it. If the bucket was cleaned more than W + W/8 ago all are expired, whatever their bits say, and
 * all are dropped. Else each is at most W + W + W/8 = 183,600 s old, and 2^18 - 2^16 = 196,608. The
 * 2^16 ages above that stand for the future: other shards' clocks, a wall clock set back, and a
 * start, which takes the ids of one shard after the other. Neither the cleaning's nor the spill's
 * time goes back with them: what was put in at the later time would look older than it is. While
 * it is less than CLOCK_BACK_S behind the last cleaning, records lie at most 32,768 + W/8 = 43,568
 * s ahead; further back the bucket is dropped, as nothing in it can be dated.
 */
#include "batch/dedup.h"
#include "core/region.h"
#include "core/shard.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    SLOTS = 7,
    BUCKETS = 128, /* a group's */
    FILL_PERCENT = 70,
    SEQUENCE_BITS = 40,
    SECOND_BITS = 18,
    FUTURE_S = 1 << 16,
    CLOCK_BACK_S = 1 << 15,
    CLOCK_APART_S = 60, /* shards' clocks */
    SPINS_MAX = 1000,   /* then the holder has been put off its processor */
};

#define SEQUENCE_MASK ((UINT64_C(1) << SEQUENCE_BITS) - 1)
#define SECOND_MASK   ((UINT32_C(1) << SECOND_BITS) - 1)

struct bucket {
    _Alignas(128) uint32_t cleaned_s;
    uint32_t spilled_s; /* when one who belongs here last went to a partner; 0: never */
    uint64_t tag[SLOTS];
    uint64_t unused;
    uint64_t record[SLOTS];
};

struct group {
    struct bucket bucket[BUCKETS];
};

/* What a shard's thread writes and others read. */
struct shard_state {
    _Alignas(128) _Atomic uint64_t newest; /* the highest sequence it has a record of */
    _Atomic int64_t ids;                   /* put in, less those it took out, whoever put them in */
};

struct dedup {
    struct shard_state shard[SHARDS_MAX];
    struct group *group;
    _Atomic uint32_t *lock; /* of each group; apart, so that they stay in the cache */
    uint64_t groups;
    uint32_t window_s;
};

_Static_assert(sizeof(struct bucket) == 128, "two cache lines, fetched as a pair");
_Static_assert((BUCKETS & (BUCKETS - 1)) == 0, "an XOR of two buckets' numbers is a bucket");
_Static_assert(SHARDS_MAX <= 1 << (64 - SEQUENCE_BITS - SECOND_BITS), "a shard fits its bits");
_Static_assert(2 * DEDUP_WINDOW_MAX_S + DEDUP_WINDOW_MAX_S / 8 < (1 << SECOND_BITS) - FUTURE_S,
               "an age that can be is not taken for the future");
_Static_assert(CLOCK_BACK_S + DEDUP_WINDOW_MAX_S / 8 < FUTURE_S,
               "a future that can be is not taken for an age");

struct dedup *dedup_open(uint64_t ids, uint32_t window_s)
{
    must(window_s >= 1 && window_s <= DEDUP_WINDOW_MAX_S);
    uint64_t groups = ids / (SLOTS * BUCKETS * FILL_PERCENT / 100) + 1;
    if (groups > (SIZE_MAX / 2) / sizeof(struct group))
        return NULL;
    struct dedup *dedup = aligned_alloc(_Alignof(struct dedup), sizeof *dedup);
    if (dedup == NULL)
        return NULL;
    memset(dedup, 0, sizeof *dedup);
    dedup->window_s = window_s;
    dedup->groups = groups;
    dedup->group = region_open(groups * sizeof *dedup->group);
    dedup->lock = region_open(groups * sizeof *dedup->lock);
    if (dedup->group != NULL && dedup->lock != NULL)
        return dedup;
    dedup_close(dedup);
    return NULL;
}

void dedup_close(struct dedup *dedup)
{
    if (dedup == NULL)
        return;
    region_close(dedup->group, dedup->groups * sizeof *dedup->group);
    region_close(dedup->lock, dedup->groups * sizeof *dedup->lock);
    free(dedup);
}

/* ── Where a key belongs ────────────────────────────────────────────────────────────────────── */

struct place {
    struct group *group;
    _Atomic uint32_t *lock;
    struct bucket *bucket[2];
    uint64_t tag;
};

static inline struct bucket *partner(struct group *group, const struct bucket *bucket, uint64_t tag)
{
    size_t number = (size_t)(bucket - group->bucket);
    size_t difference = 1 + (tag & 0xffff) * (BUCKETS - 1) / 0x10000;
    return &group->bucket[number ^ difference];
}

static inline struct place place_of(const struct dedup *dedup, struct dedup_key key)
{
    uint64_t index = (uint64_t)((unsigned __int128)key.low * dedup->groups >> 64);
    struct place place = {.group = &dedup->group[index],
                          .lock = &dedup->lock[index],
                          .tag = key.high != 0 ? key.high : 1};
    place.bucket[0] = &place.group->bucket[key.low % BUCKETS];
    place.bucket[1] = partner(place.group, place.bucket[0], place.tag);
    return place;
}

void dedup_prefetch(const struct dedup *dedup, struct dedup_key key)
{
    struct place place = place_of(dedup, key);
    __builtin_prefetch(place.lock, 1);
    __builtin_prefetch(&place.bucket[0]->tag, 1);
    __builtin_prefetch(&place.bucket[0]->record, 1);
}

static inline void lock(_Atomic uint32_t *locked)
{
    for (unsigned spins = 0; atomic_exchange_explicit(locked, 1, memory_order_acquire) != 0;) {
        while (atomic_load_explicit(locked, memory_order_relaxed) != 0) {
            __builtin_ia32_pause();
            if (++spins % SPINS_MAX == 0)
                sched_yield();
        }
    }
}

static inline void unlock(_Atomic uint32_t *locked)
{
    atomic_store_explicit(locked, 0, memory_order_release);
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

/* One visit to the table. */
struct visit {
    struct place place;
    uint32_t window_s, now_s;
    int64_t dropped; /* records that were expired, or evicted */
};

struct slot {
    struct bucket *bucket;
    int index;
};

static inline int32_t since_cleaned(const struct visit *visit, const struct bucket *bucket)
{
    return (int32_t)(visit->now_s - bucket->cleaned_s);
}

static void clean_now(struct visit *visit, struct bucket *bucket)
{
    int32_t since = since_cleaned(visit, bucket), window = (int32_t)visit->window_s;
    bool all = since > window + window / 8 || since <= -CLOCK_BACK_S;
    for (int i = 0; i < SLOTS; i++) {
        if (bucket->tag[i] != 0 &&
            (all || age_of(bucket->record[i], visit->now_s) > visit->window_s)) {
            bucket->tag[i] = 0;
            visit->dropped++;
        }
    }
    if (since > 0 || since <= -CLOCK_BACK_S)
        bucket->cleaned_s = visit->now_s;
}

static inline void clean(struct visit *visit, struct bucket *bucket)
{
    int32_t since = since_cleaned(visit, bucket), window = (int32_t)visit->window_s;
    if (UNLIKELY(since > 0 ? since >= window / 8 : since <= -CLOCK_BACK_S))
        clean_now(visit, bucket);
}

/* The slot with this tag, or -1. */
static inline int find(const struct bucket *bucket, uint64_t tag)
{
    unsigned found = 0;
    for (int i = 0; i < SLOTS; i++)
        found |= (unsigned)(bucket->tag[i] == tag) << i;
    return found != 0 ? __builtin_ctz(found) : -1;
}

static inline bool find_in_place(const struct place *place, int buckets, struct slot *out)
{
    for (int i = 0; i < buckets; i++) {
        int index = find(place->bucket[i], place->tag);
        if (index >= 0) {
            *out = (struct slot){place->bucket[i], index};
            return true;
        }
    }
    return false;
}

/* May one who belongs to `bucket` live with a partner? Its record would be no older than that. */
static inline bool spilled(const struct visit *visit, const struct bucket *bucket)
{
    int32_t since = (int32_t)(visit->now_s - bucket->spilled_s);
    return bucket->spilled_s != 0 && since <= (int32_t)visit->window_s + CLOCK_APART_S;
}

/* Never back: a younger one may live there already. */
static void note_spilled(const struct visit *visit, struct bucket *bucket)
{
    if (bucket->spilled_s == 0 || (int32_t)(visit->now_s - bucket->spilled_s) > 0)
        bucket->spilled_s = visit->now_s;
}

static inline unsigned empty_slots(const struct bucket *bucket)
{
    unsigned empty = 0;
    for (int i = 0; i < SLOTS; i++)
        empty += bucket->tag[i] == 0;
    return empty;
}

/* Somebody who lives in `bucket` moves to the partner, if one of them finds room there. */
static bool move_one(struct visit *visit, struct bucket *bucket)
{
    for (int i = 0; i < SLOTS; i++) {
        struct bucket *other = partner(visit->place.group, bucket, bucket->tag[i]);
        clean_now(visit, other);
        int index = find(other, 0);
        if (index >= 0) {
            other->tag[index] = bucket->tag[i];
            other->record[index] = bucket->record[i];
            bucket->tag[i] = 0;
            note_spilled(visit, bucket);
            return true;
        }
    }
    return false;
}

static void evict_oldest(struct visit *visit)
{
    struct slot found = {visit->place.bucket[0], 0};
    uint32_t age_most = 0;
    for (int i = 0; i < 2 * SLOTS; i++) {
        struct bucket *bucket = visit->place.bucket[i >= SLOTS];
        uint32_t age = age_of(bucket->record[i % SLOTS], visit->now_s);
        if (age > age_most) {
            age_most = age;
            found = (struct slot){bucket, i % SLOTS};
        }
    }
    found.bucket->tag[found.index] = 0;
    visit->dropped++;
}

/* Both buckets are full: afterwards they are not. True: at the cost of an id. */
static bool make_room(struct visit *visit)
{
    struct bucket *const *bucket = visit->place.bucket;
    clean_now(visit, bucket[0]);
    clean_now(visit, bucket[1]);
    if (empty_slots(bucket[0]) + empty_slots(bucket[1]) > 0 || move_one(visit, bucket[0]) ||
        move_one(visit, bucket[1]))
        return false;
    evict_oldest(visit);
    return true;
}

/* An empty slot: at the partner's only if there is none here. */
static inline struct slot choose(struct visit *visit, bool *evicted)
{
    struct bucket *const *bucket = visit->place.bucket;
    int index = find(bucket[0], 0);
    if (LIKELY(index >= 0))
        return (struct slot){bucket[0], index};
    clean_now(visit, bucket[1]); /* what is left of its own from before must not be found later */
    if (UNLIKELY(find(bucket[1], 0) < 0))
        *evicted = make_room(visit);
    if ((index = find(bucket[0], 0)) >= 0)
        return (struct slot){bucket[0], index};
    note_spilled(visit, bucket[0]);
    return (struct slot){bucket[1], find(bucket[1], 0)};
}

/* ── The calls ──────────────────────────────────────────────────────────────────────────────── */

static inline bool take(struct dedup *dedup, struct visit *visit, struct ticket ticket,
                        struct ticket *original, bool *evicted)
{
    struct slot slot;
    clean(visit, visit->place.bucket[0]);
    int buckets = UNLIKELY(spilled(visit, visit->place.bucket[0])) ? 2 : 1;
    if (buckets == 2)
        clean(visit, visit->place.bucket[1]);
    *evicted = false;
    if (find_in_place(&visit->place, buckets, &slot)) {
        if (age_of(slot.bucket->record[slot.index], visit->now_s) <= visit->window_s) {
            *original = ticket_of(dedup, slot.bucket->record[slot.index]);
            return false;
        }
        slot.bucket->tag[slot.index] = 0; /* its own, from before the window */
        visit->dropped++;
    }
    slot = choose(visit, evicted);
    slot.bucket->tag[slot.index] = visit->place.tag;
    slot.bucket->record[slot.index] = record_of(ticket, visit->now_s);
    raise_newest(&dedup->shard[ticket.shard], ticket.sequence);
    return true;
}

bool dedup_take(struct dedup *dedup, struct dedup_key key, struct ticket ticket, uint32_t now_s,
                struct ticket *original, bool *evicted)
{
    must(ticket.shard < SHARDS_MAX);
    struct visit visit = {
        .place = place_of(dedup, key),
        .window_s = dedup->window_s,
        .now_s = now_s,
    };
    lock(visit.place.lock);
    bool taken = take(dedup, &visit, ticket, original, evicted);
    unlock(visit.place.lock);
    count_ids(&dedup->shard[ticket.shard], taken - visit.dropped);
    return taken;
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
    return dedup->groups * (sizeof *dedup->group + sizeof *dedup->lock);
}
