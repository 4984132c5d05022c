/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The world that one seed makes: its clock, its chance, its power switch, and what has been seen of
 * it. Everything in it happens on one thread, in an order that follows from the seed alone.
 *
 * There is one world at a time, and it is a global:
 * core/clock.h and core/file.h, which it stands behind, take no context.
 *
 * The power. A crash is not a jump out of the code under test:
 * from that moment on nothing that it does has any effect (the disk keeps what it has,
 * no byte leaves, no request completes), until its memory has been taken apart
 * in the usual way. To the world outside that is the same, and no memory leaks.
 */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "core/must.h"
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WORLD_SHARDS_MAX = 2 };

#define MICROSECONDS(n) ((uint64_t)(n)*1000u)
#define MILLISECONDS(n) ((uint64_t)(n)*1000000u)
#define NEVER           UINT64_MAX

/* What must have happened at least once in a run over many seeds, or the run proves little. */
#define WORLD_SIGHTS(SIGHT)                                                                        \
    SIGHT(MACHINE_CRASHES, "machine crashes")                                                      \
    SIGHT(KILLS, "kills of the process")                                                           \
    SIGHT(CRASHES_AT_ACK, "crashes right behind an acknowledgement")                               \
    SIGHT(CRASHES_IN_RECOVERY, "crashes in a recovery")                                            \
    SIGHT(CLEAN_STOPS, "clean stops")                                                              \
    SIGHT(BOOTS_REFUSED, "starts that the disk refused")                                           \
    SIGHT(SHARDS_FEWER, "starts with fewer shards")                                                \
    SIGHT(SHARDS_MORE, "starts with more shards")                                                  \
    SIGHT(LEFT_BEHIND, "starts that found events of shards that no longer run")                    \
    SIGHT(ROT, "bits and sectors that rotted")                                                     \
    SIGHT(ROT_REFUSED, "starts refused for damage, which they named")                              \
    SIGHT(LOSS_ACCEPTED, "losses accepted")                                                        \
    SIGHT(TORN_TAILS, "torn tails dropped by a recovery")                                          \
    SIGHT(SECTORS_LOST, "sectors that a crash lost")                                               \
    SIGHT(SECTORS_KEPT, "unsynced sectors that survived one")                                      \
    SIGHT(SECTORS_DAMAGED, "unsynced sectors that survived damaged")                               \
    SIGHT(NAMES_LOST, "names that a crash lost")                                                   \
    SIGHT(SYNCS_FAILED, "failed fsyncs")                                                           \
    SIGHT(SECTORS_DROPPED, "sectors that a failed fsync dropped")                                  \
    SIGHT(WRITES_FAILED, "failed writes")                                                          \
    SIGHT(WRITES_SHORT, "short writes")                                                            \
    SIGHT(NAMES_FAILED, "failed opens, renames, unlinks")                                          \
    SIGHT(SPACE_ENDED, "writes without space")                                                     \
    SIGHT(COMMIT_FAILURES, "group commits that failed")                                            \
    SIGHT(SPOOLS_CLOSED, "spools closed for good")                                                 \
    SIGHT(SEGMENTS_REMOVED, "stored segments removed")                                             \
    SIGHT(CONNECTIONS, "connections")                                                              \
    SIGHT(RESETS, "connections reset at some byte")                                                \
    SIGHT(HALF_OPEN, "peers that vanished")                                                        \
    SIGHT(DEAD_IN_A_LINE, "peers that died within a line")                                         \
    SIGHT(HANDED_OVER, "connections handed to another shard")                                      \
    SIGHT(STARVED, "receives without a buffer")                                                    \
    SIGHT(SENDS_SHORT, "short sends")                                                              \
    SIGHT(THROTTLED, "connections held back")                                                      \
    SIGHT(RESUMED, "producers that resumed")                                                       \
    SIGHT(RESENT, "values sent again")                                                             \
    SIGHT(DUPLICATES, "duplicates found")                                                          \
    SIGHT(REJECTS, "values refused")                                                               \
    SIGHT(ACKS, "acknowledgements")                                                                \
    SIGHT(IMAGES_CHECKED, "durable images recovered")                                              \
    SIGHT(POSTGRES_AWAY, "times that Postgres was away")                                           \
    SIGHT(SESSIONS_BROKEN, "connections to Postgres that broke")                                   \
    SIGHT(COMMITS_LOST, "commits of unknown outcome: never applied")                               \
    SIGHT(COMMITS_APPLIED, "commits of unknown outcome: applied")                                  \
    SIGHT(ZOMBIES, "commits of unknown outcome: applied, or refused, later")                       \
    SIGHT(SLOW_ROLLBACKS, "transactions rolled back long after their connection had gone")         \
    SIGHT(LOCK_WAITS, "checkpoints read behind somebody's lock")                                   \
    SIGHT(CHECKPOINT_REFUSED, "transactions refused by the checkpoint")                            \
    SIGHT(FAIL_OVERS, "fail-overs that lost transactions")                                         \
    SIGHT(REFUSED_FOR_NOW, "transactions refused for now")                                         \
    SIGHT(TABLES_BROKEN, "tables that did not fit for a while")                                    \
    SIGHT(HOLDS, "batches held until something was mended")                                        \
    SIGHT(ROWS_BURIED, "rows refused and buried")                                                  \
    SIGHT(BLOCKS_READ, "blocks read back from the spool")                                          \
    SIGHT(ROWS_STORED, "rows stored")

enum sight {
#define SIGHT(id, text) SAW_##id,
    WORLD_SIGHTS(SIGHT)
#undef SIGHT
        SIGHTS
};

/* How often something goes wrong: of 100,000 times that it could. */
struct faults {
    unsigned write_fails, write_short, sync_fails, names_fail, slow;
    unsigned reset, vanish, dies_in_line, accept_fails;
    unsigned postgres_breaks, postgres_refuses; /* at each wait, at each statement */
    /* At each of the plan's moments: see seed.c. */
    unsigned crash, kill, stop, squeeze;
    unsigned postgres_away, fail_over, break_table;
};

/* A trace costs more than what it tells of: of most seeds only the end is asked for, of a seed that
 * failed and is run once more. */
enum telling { TELL_NOTHING, TELL_THE_END, TELL_ALL };

struct disk;
struct net;
struct ring;
struct server;

struct world {
    uint64_t seed, chance;
    uint64_t now_ns;
    int64_t wall_us;
    bool power;
    bool killed;       /* the process went, not the machine: the page cache survives */
    bool cruel;        /* the machine went, and nothing unsynced survives */
    bool crash_at_ack; /* the power goes when the next acknowledgement has left */
    bool looking;      /* a check is under way: no faults, no crash */
    bool removed;      /* a segment has gone for good since the last look */
    bool forgets;      /* a full disk has cost a segment, and the ids in it */
    uint64_t io_left;  /* I/O calls until the power goes; 0: it stays */
    struct faults faults;
    uint64_t slowest_ms; /* what is slow on the disk takes at most so long */
    struct disk *disk;
    struct net *net;
    struct server *server;
    struct ring *ring[WORLD_SHARDS_MAX];
    unsigned running;       /* the shard whose turn it is */
    jmp_buf asleep;         /* where a ring goes that has nothing to return: see tests/sim/ring.c */
    uint64_t events, trace; /* how many lines the trace has, and what they follow from, hashed */
    enum telling telling;
    char verdict[1024];   /* what went wrong first; empty: nothing */
    uint64_t saw[SIGHTS]; /* kept over the seeds */
};

extern struct world world;

void world_begin(uint64_t seed, enum telling telling);
void world_blackout(void); /* the power goes, now */

/* Chance. */
uint64_t chance(void);
uint64_t below(uint64_t n);                      /* 0 … n-1 */
uint64_t between(uint64_t least, uint64_t most); /* both included */
bool once_in(uint64_t n);
bool faulty(unsigned rate); /* never while a check is under way */

/* An I/O call of the code under test begins. */
enum io {
    IO_GOES,
    IO_LAST, /* it takes effect, but the power goes with it: nobody learns */
    IO_DEAD, /* the power is off */
};
enum io world_io(void);

static inline void saw(enum sight sight)
{
    world.saw[sight]++;
}

/* A line of the trace, and the first thing that is wrong. */
void tell(const char *format, ...) PRINTF_LIKE(1, 2);
void blame(const char *format, ...) PRINTF_LIKE(1, 2);
void world_print_end(void); /* TELL_THE_END: the last lines of the trace */

#endif
