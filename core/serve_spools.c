/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the spools of an earlier start still know: the ids go into the table of all shards, the
 * producers' counts to the shard that a name belongs to now.
 */
#include "core/server.h"

#include "core/clock.h"
#include "core/log.h"

#include <errno.h>

static void recovered_key(void *context, struct dedup_key key, uint64_t sequence, int64_t wall_us)
{
    const struct seat *seat = context;
    struct ticket mine = {sequence, seat->index}, original;
    bool evicted, taken;
    if (clock_wall_us() - wall_us > seat->server->config->dedup_window_s * 1000000)
        return; /* a spool can be days long: these would push out what still counts */
    taken = dedup_take(seat->server->dedup, key, mine, (uint32_t)(wall_us / 1000000), &original,
                       &evicted);
    (void)taken; /* twice on disk: only after an accepted loss */
}

static void recovered_mark(void *context, struct span name, uint64_t count_)
{
    struct seat *seat = context;
    struct seat *owner = &seat->server->seat[producers_shard(name, seat->server->shards)];
    if (!producers_recover(owner->producers, name, count_, clock_mono_ns()))
        seat->starved = true;
}

static void say_recovery(const struct seat *seat)
{
    const struct spool_recovery *recovery = &seat->recovery;
    if (recovery->loss[0] != '\0')
        log_error("spool", "shard %u: acknowledged data was lost and accepted as such: %s",
                  seat->index, recovery->loss);
    log_info("spool", "shard %u: boot %llu, %llu events in %llu segments recovered, next is %llu%s",
             seat->index, (unsigned long long)recovery->boot, (unsigned long long)recovery->rows,
             (unsigned long long)recovery->segments, (unsigned long long)recovery->next,
             recovery->torn_bytes > 0 ? "; a torn tail that nobody was told of was dropped" : "");
}

static int open_spool(struct server *server, unsigned index)
{
    const struct config *config = server->config;
    struct seat *seat = &server->seat[index];
    seat->recovery =
        (struct spool_recovery){.context = seat, .key = recovered_key, .mark = recovered_mark};
    struct spool_options options = {
        .shared = server->directory,
        .directory = config->spool_directory,
        .node = server->node.name,
        .shard = index,
        .segment_bytes = (uint64_t)config->spool_segment_bytes,
        .bytes_max = (uint64_t)config->spool_bytes,
        .memory_bytes = (uint64_t)config->spool_memory,
        .retain_us = config->spool_retain_stored_s * 1000000,
        .in_flight_max = (unsigned)config->spool_in_flight,
        .accept_loss = server->options->accept_loss,
        .direct = config->spool_direct,
        .streams = server->streams,
        .counters = &server->counters[seat->orphan ? 0 : index],
        .ring_owner = RING_OWNER_HOUSE,
    };
    /* Nothing more is written to an orphan's; the writer reads what is left there, and removes it. */
    int result = seat->orphan ? spool_adopt(&seat->spool, &options, &seat->recovery, server->why)
                              : spool_open(&seat->spool, &options, &seat->recovery, server->why);
    if (result == 0 && seat->starved) {
        snprintf(server->why, SERVER_WHY, "no memory for the producers that the spool remembers");
        return -ENOMEM;
    }
    if (result != 0)
        return result;
    say_recovery(seat);
    server->progress[index].durable = seat->recovery.next;
    server->progress[index].stored = seat->recovery.oldest;
    server->progress[index].marks = seat->orphan;
    return 0;
}

int serve_make_spools(struct server *server)
{
    int result = 0;
    uint64_t present = spool_directory_shards(server->directory);
    for (unsigned i = 0; i < SHARDS_MAX; i++) {
        struct seat *seat = &server->seat[i];
        seat->server = server;
        seat->index = i;
        seat->orphan = i >= server->shards;
        if (!seat->orphan &&
            (seat->producers = producers_open((uint64_t)server->config->limits_producers)) == NULL)
            return -ENOMEM;
        if (!seat->orphan || (present >> i & 1) != 0)
            server->seats = i + 1;
    }
    for (unsigned i = 0; result == 0 && i < server->seats; i++)
        if (!server->seat[i].orphan || (present >> i & 1) != 0)
            result = open_spool(server, i);
    return result;
}
