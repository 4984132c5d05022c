/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The box's spools, as core/serve_spools.c opens them: those of the shards that run, and those that
 * an earlier start with more shards has left behind.
 */
#include "tests/sim/check.h"
#include "tests/sim/disk.h"

#include "core/file.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static void recovered_key(void *context, struct dedup_key key, uint64_t sequence, int64_t wall_us)
{
    const struct seat *seat = context;
    struct ticket mine = {sequence, seat->index}, original;
    bool evicted;
    bool taken =
        dedup_take(seat->box->dedup, key, mine, (uint32_t)(wall_us / 1000000), &original, &evicted);
    (void)taken;
}

static void recovered_mark(void *context, struct span name, uint64_t count)
{
    const struct seat *seat = context;
    struct seat *owner = &seat->box->seat[producers_shard(name, seat->box->shards)];
    must(producers_recover(owner->producers, name, count, world.now_ns));
    ledger_marked(seat->box->ledger, name, count);
}

struct spool_options box_spool_options(const struct box *box, unsigned shard)
{
    const struct box_options *options = &box->options;
    return (struct spool_options){
        .shared = box->directory,
        .directory = CHECK_DIRECTORY,
        .node = CHECK_NODE,
        .shard = shard,
        .segment_bytes = options->segment_bytes,
        .bytes_max = options->bytes_max,
        .memory_bytes = options->memory_bytes,
        .retain_us = options->retain_us,
        .in_flight_max = options->in_flight,
        .accept_loss = box->damage.accepted,
        .direct = options->direct,
        .streams = box->streams,
        .counters = (struct counters *)(uintptr_t)&box->counters[shard],
        .ring_owner = RING_OWNER_HOUSE,
    };
}

int box_open_spool(struct box *box, struct seat *seat)
{
    struct spool_options options = box_spool_options(box, seat->index);
    seat->recovery =
        (struct spool_recovery){.context = seat, .key = recovered_key, .mark = recovered_mark};
    int result = (seat->orphan ? spool_adopt : spool_open)(&seat->spool, &options, &seat->recovery,
                                                           box->why);
    if (result != 0)
        return result;
    if (seat->orphan && seat->recovery.segments > 0)
        saw(SAW_LEFT_BEHIND);
    if (seat->recovery.torn_bytes > 0)
        saw(SAW_TORN_TAILS);
    tell("%s %u recovered: %llu … %llu in %llu segments, %llu bytes torn",
         seat->orphan ? "orphan" : "shard", seat->index, (unsigned long long)seat->recovery.oldest,
         (unsigned long long)seat->recovery.next, (unsigned long long)seat->recovery.segments,
         (unsigned long long)seat->recovery.torn_bytes);
    box->progress[seat->index].durable = seat->recovery.next;
    box->progress[seat->index].stored = seat->recovery.oldest;
    box->progress[seat->index].marks = seat->orphan;
    return 0;
}

int box_adopt_orphans(struct box *box)
{
    int result = 0;
    uint64_t present = spool_directory_shards(box->directory);
    for (unsigned i = box->shards; result == 0 && i < WORLD_SHARDS_MAX; i++) {
        struct seat *seat = &box->seat[i];
        *seat = (struct seat){.box = box, .index = i, .orphan = true};
        if ((present >> i & 1) != 0)
            result = box_open_spool(box, seat);
    }
    return result;
}

uint64_t box_durable(const struct box *box, unsigned shard)
{
    const struct seat *seat = &box->seat[shard];
    if (seat->spool == NULL)
        return 0;
    return seat->orphan ? seat->recovery.next : spool_durable(seat->spool);
}

static int count_segments(void *context, const char *name)
{
    unsigned *count = context;
    *count += strstr(name, ".seg") != NULL;
    return 0;
}

/* One header may stay. */
static bool has_gone(const struct seat *seat)
{
    char name[DISK_NAME_MAX];
    unsigned count = 0;
    (void)snprintf(name, sizeof name, "shard-%02u", seat->index);
    int root = file_open(AT_FDCWD, CHECK_DIRECTORY, O_RDONLY, 0);
    int directory = file_open(root, name, O_RDONLY, 0);
    must(root >= 0 && directory >= 0 && file_list(directory, count_segments, &count) == 0);
    file_close(directory);
    file_close(root);
    return count <= 1;
}

bool box_is_tidy(const struct box *box)
{
    bool looking = world.looking, tidy = true;
    world.looking = true;
    for (unsigned i = 0; i < WORLD_SHARDS_MAX; i++)
        if (box->seat[i].orphan && box->seat[i].spool != NULL)
            tidy = tidy && has_gone(&box->seat[i]);
    world.looking = looking;
    return tidy;
}
