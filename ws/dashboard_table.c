/* SPDX-License-Identifier: Apache-2.0 */
#include "ws/dashboard_table.h"

#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define LOAD(field)         atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, value) atomic_store_explicit(&(field), (value), memory_order_relaxed)

static inline void add(_Atomic uint32_t *field)
{
    STORE(*field, LOAD(*field) + 1);
}

/* ── Names of types ─────────────────────────────────────────────────────────────────────────── */

static uint16_t add_type(struct users *users, struct span type, uint16_t *place)
{
    uint32_t index = LOAD(users->types);
    if (index == USERS_TYPES_MAX)
        return USERS_TYPE_OTHER;
    users->name[index].length = (uint8_t)type.length;
    memcpy(users->name[index].text, type.at, type.length);
    atomic_store_explicit(&users->types, index + 1, memory_order_release);
    *place = (uint16_t)(index + 1);
    return (uint16_t)index;
}

static inline uint16_t type_of(struct users *users, struct span type)
{
    size_t at = XXH3_64bits_withSeed(type.at, type.length, users->seed);
    for (;; at++) {
        uint16_t *place = &users->type_at[at & (2 * USERS_TYPES_MAX - 1)];
        if (UNLIKELY(*place == 0))
            return add_type(users, type, place);
        const struct type_name *name = &users->name[*place - 1];
        if (LIKELY(name->length == type.length && memcmp(name->text, type.at, type.length) == 0))
            return (uint16_t)(*place - 1);
    }
}

struct span users_type(const struct users *users, uint16_t type)
{
    if (type >= atomic_load_explicit(&users->types, memory_order_acquire))
        type = USERS_TYPE_OTHER;
    return span_of(users->name[type].text, users->name[type].length);
}

/* ── One event ──────────────────────────────────────────────────────────────────────────────── */

static inline void count_type(struct detail *detail, uint16_t type)
{
    for (unsigned i = 0; i < DASHBOARD_TYPES; i++) {
        uint32_t of_type = LOAD(detail->of_type[i]);
        if (of_type > 0 && LOAD(detail->type[i]) != type)
            continue;
        STORE(detail->type[i], type);
        STORE(detail->of_type[i], of_type + 1);
        return;
    }
    add(&detail->other);
}

static inline void count_second(struct detail *detail, uint32_t now_s)
{
    uint32_t newest = LOAD(detail->newest_s);
    if (newest != now_s) {
        uint32_t from = now_s - newest < USERS_SERIES ? newest + 1 : now_s + 1 - USERS_SERIES;
        for (uint32_t s = from; s != now_s + 1; s++)
            STORE(detail->series[s % USERS_SERIES], 0);
        STORE(detail->newest_s, now_s);
    }
    add(&detail->series[now_s % USERS_SERIES]);
}

/* The one that is known, else a free place, else that of the one seen longest ago. */
static void count_session(struct detail *detail, uint32_t session, uint16_t type, uint32_t now_s)
{
    unsigned place = 0;
    for (unsigned i = 0; i < DASHBOARD_SESSIONS; i++) {
        if (LOAD(detail->session[i]) == session) {
            place = i;
            break;
        }
        if (LOAD(detail->session_s[i]) < LOAD(detail->session_s[place]))
            place = i;
    }
    bool ended = type == USERS_TYPE_SESSION_END;
    STORE(detail->session[place], ended ? 0 : session);
    STORE(detail->session_s[place], ended ? 0 : now_s);
}

static uint32_t session_of(const struct users *users, const struct event *event)
{
    if (LIKELY(event->session_id.at == NULL))
        return 0;
    return (uint32_t)XXH3_64bits_withSeed(event->session_id.at, event->session_id.length,
                                          users->seed) |
           1;
}

/* The second event of a user: what the first one was goes where all others will. */
static void begin_detail(struct tally *tally, struct detail *detail, uint32_t first_s)
{
    for (unsigned i = 0; i < USERS_SERIES; i++)
        STORE(detail->series[i], 0);
    for (unsigned i = 0; i < DASHBOARD_TYPES; i++)
        STORE(detail->of_type[i], 0);
    for (unsigned i = 0; i < DASHBOARD_SESSIONS; i++) {
        STORE(detail->session[i], 0);
        STORE(detail->session_s[i], 0);
    }
    STORE(detail->other, 0);
    STORE(detail->newest_s, first_s);
    STORE(detail->series[first_s % USERS_SERIES], 1);
    count_type(detail, LOAD(tally->type));
    if (LOAD(tally->session) != 0)
        count_session(detail, LOAD(tally->session), LOAD(tally->type), first_s);
    atomic_store_explicit(&tally->detailed, 1, memory_order_release);
}

static void put_name(struct tally *tally, struct detail *detail, struct span user)
{
    STORE(tally->name_length, (uint8_t)user.length);
    memcpy(user.length <= USERS_NAME_NEAR ? tally->near : detail->far, user.at, user.length);
}

/* In the place of nobody, or of whoever has been silent longest. */
__attribute__((noinline)) static void begin_user(struct users *users, struct bucket *bucket,
                                                 uint64_t hash, const struct event *event,
                                                 uint16_t type, const struct turn *turn,
                                                 uint32_t now_s)
{
    unsigned way = 0;
    for (unsigned i = 0; i < USERS_WAYS; i++)
        if (LOAD(bucket->seen_s[i]) < LOAD(bucket->seen_s[way]))
            way = i;
    size_t index = (size_t)(bucket - users->bucket) * USERS_WAYS + way;
    struct tally *tally = &users->tally[index];
    STORE(bucket->hash[way], 0);
    atomic_thread_fence(memory_order_release); /* nobody takes what follows for the one before */
    STORE(tally->total, 1);
    STORE(tally->last_us, turn->wall_us);
    STORE(tally->type, type);
    STORE(tally->session, session_of(users, event));
    STORE(tally->detailed, 0);
    put_name(tally, &users->detail[index], event->user_id);
    STORE(bucket->seen_s[way], now_s);
    atomic_store_explicit(&bucket->hash[way], hash, memory_order_release);
}

static inline void count_known(struct users *users, struct bucket *bucket, unsigned way,
                               const struct event *event, uint16_t type, const struct turn *turn,
                               uint32_t now_s)
{
    size_t index = (size_t)(bucket - users->bucket) * USERS_WAYS + way;
    struct tally *tally = &users->tally[index];
    struct detail *detail = &users->detail[index];
    if (UNLIKELY(LOAD(tally->detailed) == 0))
        begin_detail(tally, detail, LOAD(bucket->seen_s[way]));
    STORE(bucket->seen_s[way], now_s);
    STORE(tally->total, LOAD(tally->total) + 1);
    STORE(tally->last_us, turn->wall_us);
    count_second(detail, now_s);
    count_type(detail, type);
    uint32_t session = session_of(users, event);
    if (session != 0)
        count_session(detail, session, type, now_s);
}

uint64_t users_hash(const struct users *users, struct span user)
{
    uint64_t hash = XXH3_64bits_withSeed(user.at, user.length, users->seed);
    return hash == 0 ? 1 : hash;
}

static inline struct bucket *bucket_of(const struct users *users, uint64_t hash)
{
    return &users->bucket[(hash >> 20) & users->mask];
}

static inline void count_one(struct users *users, uint64_t hash, const struct event *event,
                             const struct turn *turn, uint32_t now_s)
{
    struct bucket *bucket = bucket_of(users, hash);
    uint16_t type = type_of(users, event->type);
    for (unsigned way = 0; way < USERS_WAYS; way++) {
        if (LOAD(bucket->hash[way]) == hash) {
            count_known(users, bucket, way, event, type, turn, now_s);
            return;
        }
    }
    begin_user(users, bucket, hash, event, type, turn, now_s);
}

/* Two passes, so that the buckets arrive together. */
void users_count(struct users *users, const struct turn *turn, const struct event *events,
                 const struct verdict *verdicts, unsigned judged)
{
    uint64_t hash[INTAKE_MAX];
    uint32_t now_s = (uint32_t)(turn->now_ns / 1000000000) + 1; /* 0: never seen */
    must(judged <= INTAKE_MAX);
    for (unsigned i = 0; i < judged; i++) {
        hash[i] = 0;
        if (verdicts[i].code != EVENT_ACCEPTED || events[i].user_id.at == NULL)
            continue;
        hash[i] = users_hash(users, events[i].user_id);
        __builtin_prefetch(bucket_of(users, hash[i]), 1);
    }
    for (unsigned i = 0; i < judged; i++)
        if (hash[i] != 0)
            count_one(users, hash[i], &events[i], turn, now_s);
}

/* ── Reading ────────────────────────────────────────────────────────────────────────────────── */

static bool find(const struct users *users, uint64_t hash, struct bucket **bucket, unsigned *way)
{
    *bucket = bucket_of(users, hash);
    for (*way = 0; *way < USERS_WAYS; ++*way)
        if (atomic_load_explicit(&(*bucket)->hash[*way], memory_order_acquire) == hash)
            return true;
    return false;
}

bool users_seen(const struct users *users, uint64_t hash, uint32_t *seen_s)
{
    struct bucket *bucket;
    unsigned way;
    if (!find(users, hash, &bucket, &way))
        return false;
    *seen_s = LOAD(bucket->seen_s[way]);
    return true;
}

static void read_detail(const struct detail *detail, struct user_sum *out)
{
    out->newest_s = LOAD(detail->newest_s);
    out->other = LOAD(detail->other);
    for (unsigned i = 0; i < USERS_SERIES; i++)
        out->series[i] = LOAD(detail->series[i]);
    for (unsigned i = 0; i < DASHBOARD_TYPES; i++) {
        out->of_type[i] = LOAD(detail->of_type[i]);
        out->type[i] = LOAD(detail->type[i]);
    }
    for (unsigned i = 0; i < DASHBOARD_SESSIONS; i++) {
        out->session[i] = LOAD(detail->session[i]);
        out->session_s[i] = LOAD(detail->session_s[i]);
    }
}

static void read_first(const struct tally *tally, struct user_sum *out)
{
    out->newest_s = out->seen_s;
    out->series[out->seen_s % USERS_SERIES] = 1;
    out->type[0] = LOAD(tally->type);
    out->of_type[0] = 1;
    out->session[0] = out->type[0] == USERS_TYPE_SESSION_END ? 0 : LOAD(tally->session);
    out->session_s[0] = out->session[0] != 0 ? out->seen_s : 0;
}

bool users_read(const struct users *users, uint64_t hash, struct user_sum *out)
{
    struct bucket *bucket;
    unsigned way;
    if (!find(users, hash, &bucket, &way))
        return false;
    size_t index = (size_t)(bucket - users->bucket) * USERS_WAYS + way;
    const struct tally *tally = &users->tally[index];
    memset(out, 0, sizeof *out);
    out->seen_s = LOAD(bucket->seen_s[way]);
    out->total = LOAD(tally->total);
    out->last_us = LOAD(tally->last_us);
    if (atomic_load_explicit(&tally->detailed, memory_order_acquire) != 0)
        read_detail(&users->detail[index], out);
    else
        read_first(tally, out);
    /* Had the place become another's meanwhile, this would be neither's. */
    atomic_thread_fence(memory_order_acquire);
    return LOAD(bucket->hash[way]) == hash;
}

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

bool users_init(struct users *users, unsigned count, uint64_t seed)
{
    size_t buckets = 64;
    while (buckets * USERS_WAYS < count)
        buckets *= 2;
    size_t places = buckets * USERS_WAYS;
    *users = (struct users){.seed = seed, .mask = buckets - 1};
    users->bucket = aligned_alloc(64, buckets * sizeof *users->bucket);
    users->tally = aligned_alloc(64, places * sizeof *users->tally);
    users->detail = aligned_alloc(64, places * sizeof *users->detail); /* touched when it is used */
    users->name = calloc(USERS_TYPES_MAX, sizeof *users->name);
    users->type_at = calloc((size_t)2 * USERS_TYPES_MAX, sizeof *users->type_at);
    if (users->bucket == NULL || users->tally == NULL || users->detail == NULL ||
        users->name == NULL || users->type_at == NULL)
        return false;
    memset(users->bucket, 0, buckets * sizeof *users->bucket);
    memset(users->tally, 0, places * sizeof *users->tally);
    must(type_of(users, SPAN("other")) == USERS_TYPE_OTHER);
    must(type_of(users, SPAN("session_end")) == USERS_TYPE_SESSION_END);
    return true;
}

void users_fini(struct users *users)
{
    free(users->bucket);
    free(users->tally);
    free(users->detail);
    free(users->name);
    free(users->type_at);
}
