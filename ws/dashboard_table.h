/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The users of one shard, as dashboard.c counts and shows them. Written by the shard alone, read by
 * all: every field that changes is atomic, and relaxed. Private to ws/dashboard*.c.
 *
 *   ways     half a cache line for 8 users: a part of the hash of each
 *   line     one a user: who, when last, how many of each of his first types
 *   detail   one a user, begun when he is watched or has more types: series, sessions, more types
 *   log      the last events of all, so that a series does not begin with the watching
 *
 * So an event of somebody who is not watched costs two lines and a word in the log.
 */
#ifndef WS_DASHBOARD_TABLE_H
#define WS_DASHBOARD_TABLE_H

#include "ws/dashboard.h"

enum {
    USERS_WAYS = 8,
    USERS_SERIES = 64, /* seconds, a power of two above DASHBOARD_WINDOW_S */
    USERS_LOG = 65536, /* a power of two */
    USERS_TYPES_NEAR = 5,
    USERS_TYPES_FAR = DASHBOARD_TYPES - USERS_TYPES_NEAR,
    USERS_TYPES_MAX = 1024, /* names of types that a shard knows */
    USERS_TYPES_QUICK = 1024,
    USERS_TYPE_NONE = 0, /* so that a count with a type in front is never 0 */
    USERS_TYPE_OTHER = 1,
    USERS_TYPE_SESSION_END = 2,
};

struct ways {
    _Alignas(32) _Atomic uint32_t tag[USERS_WAYS]; /* 0: nobody */
};

/* Counts stand with their type in front: type << 48 | count; 0: no type yet. */
struct line {
    _Alignas(64) _Atomic uint64_t hash; /* 0: nobody, or being changed */
    _Atomic int64_t last_us;            /* wall clock; 0: nobody */
    _Atomic uint64_t type[USERS_TYPES_NEAR];
    _Atomic uint64_t other; /* of types that have no count of their own; and the flags below */
};
_Static_assert(sizeof(struct line) == 64, "one line");
#define LINE_WATCHED (1ull << 63) /* detail's series and sessions are kept */
#define LINE_WANTED  (1ull << 62) /* … once the log has been read */
#define LINE_FAR     (1ull << 61) /* detail's types are kept */
#define LINE_COUNT   ((1ull << 48) - 1)

struct detail {
    _Alignas(64) _Atomic uint32_t series[USERS_SERIES]; /* by second */
    _Atomic uint32_t newest_s;                          /* the second that is written in */
    _Atomic uint32_t session[DASHBOARD_SESSIONS];       /* hashed; 0: none */
    _Atomic uint32_t session_s[DASHBOARD_SESSIONS];
    _Atomic uint64_t type[USERS_TYPES_FAR];
};

struct user_name {
    uint8_t length;
    uint8_t text[EVENT_TEXT_MAX]; /* of what the shard itself shows: no other reads it */
};

struct type_name {
    uint8_t length;
    uint8_t text[EVENT_TYPE_MAX];
};

/* A type that was counted lately, told by its hash as users are. */
struct quick_type {
    uint64_t hash; /* 0: none */
    uint16_t type;
};

struct log_record {
    uint32_t line, hash; /* the hash's low half: the line may be another's by now */
    uint32_t session, second;
};

struct users {
    uint64_t seed, seed_2; /* a secret of this start */
    size_t mask;           /* sets of ways - 1 */
    void *region;
    size_t region_bytes;
    struct ways *ways; /* these two and the log lie in the region */
    struct line *line;
    struct detail *detail;
    struct user_name *name;
    struct log_record *log;
    uint32_t logged;
    uint32_t wanted;        /* lines that wait for the log to be read */
    _Atomic uint32_t types; /* names that are complete */
    struct type_name *type; /* [USERS_TYPES_MAX] */
    uint16_t *type_at;      /* [2 * USERS_TYPES_MAX], by hash: index + 1 */
    struct quick_type *quick;
    uint64_t due_ns;
};

NODISCARD bool users_init(struct users *users, unsigned count, uint64_t seed);
void users_fini(struct users *users);

/* The shard's own thread. */
void users_count(struct users *users, const struct turn *turn, const struct event *events,
                 const struct verdict *verdicts, unsigned judged);
/* From now on, or no longer. What is new is there after users_read_log(). */
void users_watch(struct users *users, size_t line, bool watched);
void users_read_log(struct users *users);

/* A copy of what one shard knows of a user. Any thread. */
struct user_sum {
    uint64_t other;
    int64_t last_us;
    uint64_t type[DASHBOARD_TYPES]; /* as in a line */
    bool watched;                   /* what follows is meant */
    uint32_t newest_s;
    uint32_t series[USERS_SERIES];
    uint32_t session[DASHBOARD_SESSIONS];
    uint32_t session_s[DASHBOARD_SESSIONS];
};
uint64_t users_hash(const struct users *users, struct span user);
/* False: not known here. */
NODISCARD bool users_read(const struct users *users, uint64_t hash, struct user_sum *out);
int64_t users_last_us(const struct users *users, uint64_t hash); /* 0: not known here */
struct span users_type(const struct users *users, uint16_t type);

static inline uint32_t users_second(const struct turn *turn)
{
    return (uint32_t)(turn->now_ns / 1000000000) + 1; /* 0: never */
}

#endif
