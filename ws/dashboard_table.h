/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The users of one shard, as dashboard.c counts and shows them. Written by the shard alone, read by
 * all: every field that changes is atomic, and relaxed. Private to ws/dashboard*.c.
 *
 *   bucket   │ hash hash hash hash │ seen seen seen seen │      one cache line: who, and when last
 *   tally      [4 for each bucket]  total, last, name …         one more for whoever comes but once
 *   detail     [likewise]           series, types, sessions     begun with the second event
 *
 * So a stream of ever new users touches two lines for each, and an event of a known one a few that
 * are warm.
 */
#ifndef WS_DASHBOARD_TABLE_H
#define WS_DASHBOARD_TABLE_H

#include "ws/dashboard.h"

enum {
    USERS_WAYS = 4,
    USERS_SERIES = 64, /* seconds, a power of two above DASHBOARD_WINDOW_S */
    USERS_NAME_NEAR = 36,
    USERS_TYPES_MAX = 1024, /* names of types that a shard knows */
    USERS_TYPE_OTHER = 0,
    USERS_TYPE_SESSION_END = 1,
};

struct bucket {
    _Alignas(64) _Atomic uint64_t hash[USERS_WAYS]; /* 0: empty, or being changed */
    _Atomic uint32_t seen_s[USERS_WAYS];            /* monotonic */
};

struct tally {
    _Alignas(64) _Atomic uint64_t total;
    _Atomic int64_t last_us;  /* wall clock */
    _Atomic uint32_t session; /* the first event's, hashed; 0: none */
    _Atomic uint16_t type;    /* the first event's */
    _Atomic uint8_t name_length;
    _Atomic uint8_t detailed;
    uint8_t near[USERS_NAME_NEAR]; /* the name, if it is short; else it stands in the detail */
    /* The names change only while hash is 0, and are read between two looks at it. */
};
_Static_assert(sizeof(struct tally) == 64, "one line");

struct detail {
    _Alignas(64) _Atomic uint32_t newest_s; /* the second that series is written in */
    _Atomic uint32_t other;                 /* events of types that have no count of their own */
    _Atomic uint32_t series[USERS_SERIES];  /* by second */
    _Atomic uint16_t type[DASHBOARD_TYPES];
    _Atomic uint32_t of_type[DASHBOARD_TYPES]; /* 0: no type yet */
    _Atomic uint32_t session[DASHBOARD_SESSIONS];
    _Atomic uint32_t session_s[DASHBOARD_SESSIONS];
    uint8_t far[EVENT_TEXT_MAX];
};

struct type_name {
    uint8_t length;
    uint8_t text[EVENT_TYPE_MAX];
};

struct users {
    uint64_t seed;
    size_t mask; /* buckets - 1 */
    struct bucket *bucket;
    struct tally *tally;
    struct detail *detail;
    _Atomic uint32_t types; /* names that are complete */
    struct type_name *name; /* [USERS_TYPES_MAX] */
    uint16_t *type_at;      /* [2 * USERS_TYPES_MAX], by hash: index + 1 */
    uint64_t due_ns;
};

NODISCARD bool users_init(struct users *users, unsigned count, uint64_t seed);
void users_fini(struct users *users);

/* The shard's own thread. */
void users_count(struct users *users, const struct turn *turn, const struct event *events,
                 const struct verdict *verdicts, unsigned judged);

/* A copy of what one shard knows of a user. Any thread. */
struct user_sum {
    uint64_t total;
    int64_t last_us;
    uint32_t seen_s, newest_s, other;
    uint32_t series[USERS_SERIES];
    uint16_t type[DASHBOARD_TYPES];
    uint32_t of_type[DASHBOARD_TYPES];
    uint32_t session[DASHBOARD_SESSIONS];
    uint32_t session_s[DASHBOARD_SESSIONS];
};
uint64_t users_hash(const struct users *users, struct span user);
/* False: not known here. */
NODISCARD bool users_read(const struct users *users, uint64_t hash, struct user_sum *out);
NODISCARD bool users_seen(const struct users *users, uint64_t hash, uint32_t *seen_s);
struct span users_type(const struct users *users, uint16_t type);

#endif
