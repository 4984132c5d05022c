/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The box: the machine with ringmain on it, as core/serve.c would put it together: directory,
 * recovery, de-duplication, gateways, shards and writers. Everything in it is the real thing.
 */
#ifndef TESTS_SIM_BOX_H
#define TESTS_SIM_BOX_H

#include "core/gateway.h"
#include "tests/sim/ledger.h"

struct seat {
    struct box *box;
    unsigned index;
    bool orphan; /* of an earlier start with more shards: its spool is all there is of it */
    struct spool *spool;
    struct spool_recovery recovery;
    struct producers *producers;
    struct mail *to_writer, *from_writer;
    struct gateway *gateway;
    struct shard *shard;
    bool asleep, stopped;
    uint64_t busy_ns; /* no turn before */
};

/* How the box is set up; drawn by the plan, the same for all boots of a seed. */
struct box_options {
    unsigned shards; /* at first */
    bool moves;      /* … and from boot to boot another number */
    bool rots;       /* what was durable may not stay as it was */
    uint64_t segment_bytes, bytes_max, memory_bytes;
    int64_t retain_us;
    unsigned in_flight, receive_buffers, receive_bytes;
    bool direct;
    unsigned writers; /* or as many as there are shards */
    unsigned rows_max, linger_ms, hold_ms;
    size_t bytes_max_batch;
    bool create_tables;
};

/* See tests/sim/damage.h. */
enum { DAMAGE_HOLES_MAX = 3 };
struct hole {
    unsigned shard;
    uint64_t first, last; /* sequences first … last - 1 */
};
struct damage {
    bool planted, accepted; /* the next start is one with --accept-loss */
    unsigned shard;
    uint64_t first, last; /* that it costs */
    struct hole hole[DAMAGE_HOLES_MAX];
    unsigned holes;
};

struct box {
    struct box_options options;
    unsigned shards, writers; /* of this boot */
    struct ledger *ledger;
    const struct config *config;
    const struct streams *streams;
    struct settings_board settings;
    struct node node;
    struct stats stats;
    struct spool_directory *directory;
    struct dedup *dedup;
    struct hub_node *hubs;
    struct dashboard *dashboard;
    struct progress progress[SHARDS_MAX];
    struct counters counters[WORLD_SHARDS_MAX], writer_counters[WORLD_SHARDS_MAX];
    struct sleeper writer_sleeper[WORLD_SHARDS_MAX];
    struct writer_source source[WORLD_SHARDS_MAX][WORLD_SHARDS_MAX]; /* of each writer */
    unsigned sources[WORLD_SHARDS_MAX];
    struct writer *writer[WORLD_SHARDS_MAX];
    struct seat seat[WORLD_SHARDS_MAX];
    struct damage damage;
    bool up, stopping;
    unsigned boots;
    uint64_t boot_seen; /* the last number of a boot that came up */
    char why[512];
};

/* Once, before all boxes. */
void box_furnish(void);
void box_open(struct box *box, const struct box_options *options, struct ledger *ledger);

/* 0, or why it did not start: then try again later. What recovery found is checked. */
int box_boot(struct box *box);
/* When it has something to do; and do it. After each, look at world.power. */
uint64_t box_next_ns(const struct box *box);
void box_work(struct box *box);
/* The power went, or the process is killed now. Afterwards the box is down, and there is power. */
void box_crash(struct box *box);
/* SIGTERM; the box is down once it has drained. */
void box_stop(struct box *box);
/* A shard has given up its spool: it takes a start to get it going again. */
bool box_has_failed(const struct box *box);
/* All that is durable is stored. */
bool box_is_drained(const struct box *box);
/* Of shards that no longer run no event is left on the disk. */
bool box_is_tidy(const struct box *box);
/* How far a shard, or one that no longer runs, has come on the disk. */
uint64_t box_durable(const struct box *box, unsigned shard);

/* Is everything that was acknowledged still there after the worst crash that could come now? */
void box_check_image(struct box *box);

/* box_spools.c: for box.c only. */
int box_open_spool(struct box *box, struct seat *seat);
int box_adopt_orphans(struct box *box);

#endif
