/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counting goes over a group of events three times, so that what each needs from memory is under way
 * to the processor while the others are looked at: the users' ways, the users' lines, the counts.
 * What else the shard does in between has driven them out of its caches.
 */
#include "ws/dashboard_table.h"

#include "core/region.h"

#include <emmintrin.h>
#include <stdlib.h>

#define SEED_APART 0x9e3779b97f4a7c15

#define LOAD(field)         atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, value) atomic_store_explicit(&(field), (value), memory_order_relaxed)
#define MORE(field)         STORE(field, LOAD(field) + 1)

/* ── Short texts in two words ───────────────────────────────────────────────────────────────── */

struct words {
    uint64_t front, back;
};

static inline uint64_t load_8(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static inline uint32_t load_4(const uint8_t *at)
{
    uint32_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* Of 1 to 16 bytes: with the length they say all of it. */
static inline struct words words_of(struct span text)
{
    const uint8_t *at = text.at;
    size_t length = text.length;
    if (LIKELY(length >= 8))
        return (struct words){load_8(at), load_8(at + length - 8)};
    if (length >= 4)
        return (struct words){load_4(at), load_4(at + length - 4)};
    return (struct words){at[0], (uint64_t)at[length / 2] << 8 | at[length - 1]};
}

static inline uint64_t mix(uint64_t one, uint64_t other)
{
    __uint128_t product = (__uint128_t)one * other;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Of a user's or a session's id, or of a type: 16 bytes at a time, the last ones once more where they
 * overlap. The length goes in times a secret, so that no text can make up for another length: two
 * users of one hash would be shown as one. Odd, since 0 is nobody's. */
static inline uint64_t hash_of(const struct users *users, struct span text)
{
    uint64_t chain = users->seed_2 ^ text.length * users->seed;
    struct words words;
    if (LIKELY(text.length <= 16)) {
        words = words_of(text);
    } else {
        const uint8_t *last = text.at + text.length - 16;
        for (const uint8_t *at = text.at; at < last; at += 16)
            chain = mix(load_8(at) ^ users->seed, load_8(at + 8) ^ chain);
        words = (struct words){load_8(last), load_8(last + 8)};
    }
    return mix(words.front ^ users->seed, words.back ^ chain) | 1;
}

uint64_t users_hash(const struct users *users, struct span user)
{
    return hash_of(users, user);
}

/* ── Names of types ─────────────────────────────────────────────────────────────────────────── */

static uint16_t add_type(struct users *users, struct span type, uint16_t *place)
{
    uint32_t index = LOAD(users->types);
    if (index == USERS_TYPES_MAX)
        return USERS_TYPE_OTHER;
    users->type[index].length = (uint8_t)type.length;
    memcpy(users->type[index].text, type.at, type.length);
    atomic_store_explicit(&users->types, index + 1, memory_order_release);
    *place = (uint16_t)(index + 1);
    return (uint16_t)index;
}

__attribute__((noinline)) static uint16_t find_type(struct users *users, struct span type)
{
    for (size_t at = hash_of(users, type) >> 32;; at++) {
        uint16_t *place = &users->type_at[at & (2 * USERS_TYPES_MAX - 1)];
        if (*place == 0)
            return add_type(users, type, place);
        const struct type_name *name = &users->type[*place - 1];
        if (name->length == type.length && memcmp(name->text, type.at, type.length) == 0)
            return (uint16_t)(*place - 1);
    }
}

static inline uint16_t type_of(struct users *users, struct span type)
{
    uint64_t hash = hash_of(users, type);
    struct quick_type *quick = &users->quick[hash >> 54];
    if (UNLIKELY(quick->hash != hash))
        *quick = (struct quick_type){hash, find_type(users, type)};
    return quick->type;
}

struct span users_type(const struct users *users, uint16_t type)
{
    if (type >= atomic_load_explicit(&users->types, memory_order_acquire))
        type = USERS_TYPE_OTHER;
    return span_of(users->type[type].text, users->type[type].length);
}

/* ── Counts ─────────────────────────────────────────────────────────────────────────────────── */

/* False: there is no place for this type. */
static inline bool count_in(_Atomic uint64_t *types, unsigned places, uint16_t type)
{
    for (unsigned i = 0; i < places; i++) {
        uint64_t entry = LOAD(types[i]);
        if (LIKELY(entry >> 48 == type)) {
            STORE(types[i], entry + 1);
            return true;
        }
        if (entry == 0) {
            STORE(types[i], (uint64_t)type << 48 | 1);
            return true;
        }
    }
    return false;
}

__attribute__((noinline)) static void count_far(struct line *line, struct detail *detail,
                                                uint16_t type)
{
    if ((LOAD(line->other) & LINE_FAR) == 0) {
        for (unsigned i = 0; i < USERS_TYPES_FAR; i++)
            STORE(detail->type[i], 0);
        STORE(line->other, LOAD(line->other) | LINE_FAR);
    }
    if (!count_in(detail->type, USERS_TYPES_FAR, type))
        MORE(line->other);
}

static void count_second(struct detail *detail, uint32_t second)
{
    uint32_t newest = LOAD(detail->newest_s);
    if (newest != second) {
        uint32_t from = second - newest < USERS_SERIES ? newest + 1 : second + 1 - USERS_SERIES;
        for (uint32_t s = from; s != second + 1; s++)
            STORE(detail->series[s % USERS_SERIES], 0);
        STORE(detail->newest_s, second);
    }
    MORE(detail->series[second % USERS_SERIES]);
}

/* The one that is known, else a free place, else that of the one seen longest ago. */
static void count_session(struct detail *detail, uint32_t session, uint32_t second)
{
    unsigned place = 0;
    for (unsigned i = 0; i < DASHBOARD_SESSIONS; i++) {
        if (LOAD(detail->session[i]) == (session | 1)) {
            place = i;
            break;
        }
        if (LOAD(detail->session_s[i]) < LOAD(detail->session_s[place]))
            place = i;
    }
    bool ended = (session & 1) == 0;
    STORE(detail->session[place], ended ? 0 : session);
    STORE(detail->session_s[place], ended ? 0 : second);
}

static void count_detail(struct detail *detail, const struct log_record *record)
{
    count_second(detail, record->second);
    if (record->session != 0)
        count_session(detail, record->session, record->second);
}

/* 0: none. The last bit is clear where the event ends the session. */
static inline uint32_t session_of(const struct users *users, const struct event *event,
                                  uint16_t type)
{
    if (LIKELY(event->session_id.at == NULL))
        return 0;
    uint32_t hash = (uint32_t)(hash_of(users, event->session_id) >> 32) & ~1u;
    return hash | 2 | (type != USERS_TYPE_SESSION_END);
}

/* ── One event ──────────────────────────────────────────────────────────────────────────────── */

static inline size_t set_of(const struct users *users, uint64_t hash)
{
    return (hash >> 32) & users->mask;
}

static inline uint32_t tag_of(uint64_t hash)
{
    return (uint32_t)hash;
}

/* Its line, if the user is known: from any thread. */
static size_t find_line(const struct users *users, uint64_t hash)
{
    size_t set = set_of(users, hash);
    const struct ways *ways = &users->ways[set];
    for (unsigned way = 0; way < USERS_WAYS; way++)
        if (LOAD(ways->tag[way]) == tag_of(hash))
            return set * USERS_WAYS + way;
    return SIZE_MAX;
}

/* The line that it is in if it is in any: all ways at a look. By the only thread that writes them. */
static inline struct line *guess_line(const struct users *users, uint64_t hash)
{
    size_t set = set_of(users, hash);
    const __m128i *tags = (const __m128i *)(const void *)users->ways[set].tag;
    __m128i tag = _mm_set1_epi32((int)tag_of(hash));
    __m128i same = _mm_packs_epi32(_mm_cmpeq_epi32(_mm_load_si128(tags), tag),
                                   _mm_cmpeq_epi32(_mm_load_si128(tags + 1), tag));
    unsigned ways = (unsigned)_mm_movemask_epi8(same) | 1u << 15;
    return users->line + set * USERS_WAYS + (unsigned)__builtin_ctz(ways) / 2;
}

/* In the place of nobody, or of whoever has been silent longest. */
__attribute__((noinline)) static struct line *begin_line(struct users *users, uint64_t hash,
                                                         struct span user)
{
    size_t index = find_line(users, hash);
    if (index != SIZE_MAX && LOAD(users->line[index].hash) == hash)
        return &users->line[index]; /* another event of the same group began it */
    struct ways *ways = &users->ways[set_of(users, hash)];
    size_t first = set_of(users, hash) * USERS_WAYS;
    index = first;
    for (unsigned way = 0; way < USERS_WAYS; way++)
        if (LOAD(users->line[first + way].last_us) < LOAD(users->line[index].last_us))
            index = first + way;
    struct line *line = &users->line[index];
    STORE(line->hash, 0);
    atomic_thread_fence(memory_order_release); /* nobody takes what follows for the one before */
    STORE(line->last_us, 0);
    for (unsigned i = 0; i < USERS_TYPES_NEAR; i++)
        STORE(line->type[i], 0);
    STORE(line->other, 0);
    users->name[index].length = (uint8_t)user.length;
    memcpy(users->name[index].text, user.at, user.length);
    STORE(ways->tag[index - first], tag_of(hash));
    atomic_store_explicit(&line->hash, hash, memory_order_release);
    return line;
}

/* An event whose user is known, and where in the table that is. */
struct counted {
    const struct event *event;
    uint64_t hash;
    struct line *line;
};

static inline void count_one(struct users *users, const struct counted *counted,
                             const struct turn *turn, uint32_t second, struct log_record *record)
{
    struct line *line = counted->line;
    size_t index = (size_t)(line - users->line);
    uint16_t type = type_of(users, counted->event->type);
    STORE(line->last_us, turn->wall_us);
    if (UNLIKELY(!count_in(line->type, USERS_TYPES_NEAR, type)))
        count_far(line, &users->detail[index], type);
    *record = (struct log_record){(uint32_t)index, (uint32_t)counted->hash,
                                  session_of(users, counted->event, type), second};
    if (UNLIKELY((LOAD(line->other) & LINE_WATCHED) != 0))
        count_detail(&users->detail[index], record);
}

void users_count(struct users *users, const struct turn *turn, const struct event *events,
                 const struct verdict *verdicts, unsigned judged)
{
    struct counted counted[INTAKE_MAX], *end = counted;
    uint32_t second = users_second(turn), logged = users->logged;
    must(judged <= INTAKE_MAX);
    for (unsigned i = 0; i < judged; i++) {
        if (UNLIKELY(verdicts[i].code != EVENT_ACCEPTED) || events[i].user_id.length == 0)
            continue;
        end->event = &events[i];
        end->hash = hash_of(users, events[i].user_id);
        __builtin_prefetch(&users->ways[set_of(users, end->hash)]);
        end++;
    }
    for (struct counted *one = counted; one < end; one++) {
        one->line = guess_line(users, one->hash);
        __builtin_prefetch(one->line, 1);
    }
    for (struct counted *one = counted; one < end; one++) {
        if (UNLIKELY(LOAD(one->line->hash) != one->hash))
            one->line = begin_line(users, one->hash, one->event->user_id);
        count_one(users, one, turn, second, &users->log[logged++ % USERS_LOG]);
    }
    users->logged = logged;
}

/* ── Who is watched ─────────────────────────────────────────────────────────────────────────── */

void users_watch(struct users *users, size_t index, bool watched)
{
    struct line *line = &users->line[index];
    struct detail *detail = &users->detail[index];
    uint64_t other = LOAD(line->other);
    if (watched == ((other & LINE_WATCHED) != 0))
        return;
    if (!watched) {
        STORE(line->other, other & ~LINE_WATCHED);
        return;
    }
    for (unsigned i = 0; i < USERS_SERIES; i++)
        STORE(detail->series[i], 0);
    for (unsigned i = 0; i < DASHBOARD_SESSIONS; i++) {
        STORE(detail->session[i], 0);
        STORE(detail->session_s[i], 0);
    }
    STORE(detail->newest_s, 0);
    STORE(line->other, other | LINE_WANTED);
    users->wanted++;
}

/* One pass for all who are newly watched, the oldest event first. */
void users_read_log(struct users *users)
{
    if (LIKELY(users->wanted == 0))
        return;
    for (uint32_t i = 0; i < USERS_LOG; i++) {
        const struct log_record *record = &users->log[(users->logged + i) % USERS_LOG];
        const struct line *line = &users->line[record->line];
        if (record->second != 0 && (LOAD(line->other) & LINE_WANTED) != 0 &&
            (uint32_t)LOAD(line->hash) == record->hash)
            count_detail(&users->detail[record->line], record);
    }
    for (size_t i = 0; i < (users->mask + 1) * USERS_WAYS; i++) {
        uint64_t other = LOAD(users->line[i].other);
        if ((other & LINE_WANTED) != 0)
            atomic_store_explicit(&users->line[i].other, (other & ~LINE_WANTED) | LINE_WATCHED,
                                  memory_order_release);
    }
    users->wanted = 0;
}

/* ── Reading ────────────────────────────────────────────────────────────────────────────────── */

int64_t users_last_us(const struct users *users, uint64_t hash)
{
    size_t index = find_line(users, hash);
    if (index == SIZE_MAX || LOAD(users->line[index].hash) != hash)
        return 0;
    return LOAD(users->line[index].last_us);
}

static void read_detail(const struct detail *detail, struct user_sum *out)
{
    out->watched = true;
    out->newest_s = LOAD(detail->newest_s);
    for (unsigned i = 0; i < USERS_SERIES; i++)
        out->series[i] = LOAD(detail->series[i]);
    for (unsigned i = 0; i < DASHBOARD_SESSIONS; i++) {
        out->session[i] = LOAD(detail->session[i]);
        out->session_s[i] = LOAD(detail->session_s[i]);
    }
}

bool users_read(const struct users *users, uint64_t hash, struct user_sum *out)
{
    size_t index = find_line(users, hash);
    memset(out, 0, sizeof *out);
    if (index == SIZE_MAX)
        return false;
    const struct line *line = &users->line[index];
    const struct detail *detail = &users->detail[index];
    if (atomic_load_explicit(&line->hash, memory_order_acquire) != hash)
        return false;
    uint64_t other = atomic_load_explicit(&line->other, memory_order_acquire);
    out->other = other & LINE_COUNT;
    out->last_us = LOAD(line->last_us);
    for (unsigned i = 0; i < USERS_TYPES_NEAR; i++)
        out->type[i] = LOAD(line->type[i]);
    for (unsigned i = 0; (other & LINE_FAR) != 0 && i < USERS_TYPES_FAR; i++)
        out->type[USERS_TYPES_NEAR + i] = LOAD(detail->type[i]);
    if ((other & LINE_WATCHED) != 0)
        read_detail(detail, out);
    /* Had the place become another's meanwhile, this would be neither's. */
    atomic_thread_fence(memory_order_acquire);
    return LOAD(line->hash) == hash;
}

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

bool users_init(struct users *users, unsigned count, uint64_t seed)
{
    size_t sets = 8;
    while (sets * USERS_WAYS / 2 < count) /* so that hardly a set overflows before */
        sets *= 2;
    size_t places = sets * USERS_WAYS;
    enum { HUGE_PAGE_BYTES = 2 << 20 };
    *users = (struct users){.seed = seed | 1, .seed_2 = mix(seed, SEED_APART), .mask = sets - 1};
    /* What every event touches lies together, in huge pages if there are such. */
    size_t ways = sets * sizeof *users->ways, lines = places * sizeof *users->line;
    users->region_bytes = ways + lines + USERS_LOG * sizeof *users->log;
    users->region_bytes += -users->region_bytes & (HUGE_PAGE_BYTES - 1);
    users->region = region_open(users->region_bytes);
    if (users->region == NULL)
        return false;
    users->ways = users->region;
    users->line = (struct line *)(void *)((uint8_t *)users->region + ways);
    users->log = (struct log_record *)(void *)((uint8_t *)users->region + ways + lines);
    users->detail = aligned_alloc(64, places * sizeof *users->detail); /* touched when it is used */
    users->name = malloc(places * sizeof *users->name);                /* likewise */
    users->type = calloc(USERS_TYPES_MAX, sizeof *users->type);
    users->type_at = calloc((size_t)2 * USERS_TYPES_MAX, sizeof *users->type_at);
    users->quick = calloc(USERS_TYPES_QUICK, sizeof *users->quick);
    if (users->detail == NULL || users->name == NULL || users->type == NULL ||
        users->type_at == NULL || users->quick == NULL)
        return false;
    STORE(users->types, USERS_TYPE_NONE + 1);
    must(find_type(users, SPAN("other")) == USERS_TYPE_OTHER);
    must(find_type(users, SPAN("session_end")) == USERS_TYPE_SESSION_END);
    return true;
}

void users_fini(struct users *users)
{
    region_close(users->region, users->region_bytes);
    free(users->detail);
    free(users->name);
    free(users->type);
    free(users->type_at);
    free(users->quick);
}
