/* SPDX-License-Identifier: Apache-2.0 */
#include "ws/hub.h"

#include "tests/sim/check.h"
#include "tests/sim/damage.h"
#include "tests/sim/disk.h"
#include "tests/sim/fiber.h"
#include "tests/sim/net.h"
#include "tests/sim/ring.h"
#include "ws/dashboard.h"
#include "ws/hub.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONNECTION_MEMORY = 8 * 1024 * 1024 };
enum { MAIL_LETTERS = 1024, DEDUP_IDS = 2048, REMOVALS_A_CHECK = 3 };

/* ── Making ─────────────────────────────────────────────────────────────────────────────────── */

static int make_gateway(struct box *box, struct seat *seat)
{
    struct gateway_options options = {
        .node = &box->node,
        .shard = seat->index,
        .spool = seat->spool,
        .producers = seat->producers,
        .to_writer = seat->to_writer,
        .from_writer = seat->from_writer,
        .writer_sleeper = &box->writer_sleeper[seat->index % box->writers],
        .tokens_max = 4,
    };
    return gateway_open(&seat->gateway, &options, box->why);
}

static int make_shard(struct box *box, struct seat *seat)
{
    struct shard_options options = {
        .index = seat->index,
        .shards = box->shards,
        .core = -1,
        .ring = {.entries = 256,
                 .completion_entries = 1024,
                 .buffers = box->options.receive_buffers,
                 .buffer_bytes = box->options.receive_bytes},
        .connections_max = 64,
        .output_max = 256 * 1024,
        .input_max = (size_t)box->config->limits_event_bytes + 65536,
        .connection_memory = CONNECTION_MEMORY,
        .progress = box->progress,
        .counters = &box->counters[seat->index],
        .house = gateway_house(seat->gateway),
    };
    return shard_create(&seat->shard, &options, box->why);
}

static int make_seat(struct box *box, unsigned index)
{
    struct seat *seat = &box->seat[index];
    int result = box_open_spool(box, seat);
    if (result == 0)
        result = make_gateway(box, seat);
    if (result == 0)
        result = make_shard(box, seat);
    return result;
}

/* All producers' tables first: a mark may be found in any shard's spool. */
static void clear(struct box *box)
{
    memset(box->progress, 0, sizeof box->progress);
    memset(box->counters, 0, sizeof box->counters);
    memset(box->seat, 0, sizeof box->seat);
    memset(box->writer_counters, 0, sizeof box->writer_counters);
    memset(box->writer, 0, sizeof box->writer);
    memset(box->sources, 0, sizeof box->sources);
    for (unsigned i = 0; i < box->writers; i++)
        box->writer_sleeper[i] = (struct sleeper){.doorbell = FIBER_BELL_FIRST + (int)i};
    box->dedup = dedup_open(DEDUP_IDS, DEDUP_WINDOW_MAX_S);
    for (unsigned i = 0; i < box->shards; i++) {
        struct seat *seat = &box->seat[i];
        *seat = (struct seat){.box = box, .index = i};
        seat->producers = producers_open(64);
        seat->to_writer = mail_open(MAIL_LETTERS, sizeof(struct block *));
        seat->from_writer = mail_open(MAIL_LETTERS, sizeof(struct block *));
        must(seat->producers != NULL && seat->to_writer != NULL && seat->from_writer != NULL);
    }
    ledger_unmark(box->ledger);
    box->hubs = hub_node_open(box->shards);
    struct dashboard_options dashboard = {
        .shards = box->shards, .users = 64, .interval_ns = 1000000000, .idle_s = 60};
    box->dashboard = dashboard_open(&dashboard);
    must(box->dedup != NULL && box->hubs != NULL && box->dashboard != NULL);
}

static int make(struct box *box)
{
    clear(box);
    int result = spool_directory_open(&box->directory, CHECK_DIRECTORY, CHECK_NODE, box->why);
    if (result != 0)
        return result;
    box->node = (struct node){
        .config = box->config,
        .name = CHECK_NODE,
        .streams = box->streams,
        .settings = &box->settings,
        .dedup = box->dedup,
        .dedup_secret = spool_directory_secret(box->directory),
        .progress = box->progress,
        .stats = &box->stats,
        .writer = box->writer,
        .writers = box->writers,
        .shards = box->shards,
        .hubs = box->hubs,
        .dashboard = box->dashboard,
        .started_ns = world.now_ns,
    };
    for (unsigned i = 0; result == 0 && i < box->shards; i++)
        result = make_seat(box, i);
    return result == 0 ? box_adopt_orphans(box) : result;
}

static void add_source(struct box *box, const struct seat *seat)
{
    unsigned writer = seat->index % box->writers;
    box->source[writer][box->sources[writer]++] = (struct writer_source){
        .shard = seat->index,
        .epoch = spool_directory_epoch(box->directory),
        .durable_at_start = seat->recovery.next,
        .blocks = seat->to_writer,
        .returns = seat->from_writer,
        .shard_sleeper = seat->orphan ? NULL : shard_sleeper(seat->shard),
        .orphan = seat->orphan ? seat->spool : NULL,
    };
}

static int make_writer(struct box *box, unsigned index)
{
    struct writer_options options = {
        .index = index,
        .conninfo = "simulated",
        .node = CHECK_NODE,
        .directory = CHECK_DIRECTORY,
        .create_tables = box->options.create_tables,
        .batch_rows_max = box->options.rows_max,
        .batch_bytes_max = box->options.bytes_max_batch,
        .linger_ms = box->options.linger_ms,
        .retry_min_ms = 5,
        .retry_max_ms = 100,
        .hold_retry_ms = box->options.hold_ms,
        .streams = box->streams,
        .progress = box->progress,
        .shards = box->shards,
        .counters = &box->writer_counters[index],
        .sleeper = &box->writer_sleeper[index],
        .source = box->source[index],
        .sources = box->sources[index],
    };
    return writer_open(&box->writer[index], &options, box->why);
}

static int make_writers(struct box *box)
{
    int result = 0;
    for (unsigned i = 0; i < WORLD_SHARDS_MAX; i++)
        if (box->seat[i].spool != NULL)
            add_source(box, &box->seat[i]);
    for (unsigned i = 0; result == 0 && i < box->writers; i++)
        result = make_writer(box, i);
    for (unsigned i = 0; result == 0 && i < box->writers; i++)
        result = writer_start(box->writer[i], box->why);
    return result;
}

static int open_doors(struct box *box)
{
    int result = 0;
    for (unsigned i = 0; i < box->shards; i++)
        for (unsigned j = 0; result == 0 && j < box->shards; j++)
            if (i != j)
                result = shard_introduce(box->seat[i].shard, box->seat[j].shard);
    for (unsigned i = 0; result == 0 && i < box->shards; i++)
        hub_node_set_sleeper(box->hubs, i, shard_sleeper(box->seat[i].shard));
    for (unsigned i = 0; result == 0 && i < box->shards; i++)
        result = shard_listen(box->seat[i].shard, DOOR_TCP, "192.0.2.9:7070", true, NULL, box->why);
    return result;
}

/* ── Taking apart ───────────────────────────────────────────────────────────────────────────── */

static void note_counters(const struct box *box)
{
    for (unsigned i = 0; i < box->shards; i++) {
        const struct counters *counters = &box->counters[i];
        world.saw[SAW_HANDED_OVER] += counted(counters, COUNT_CONNECTIONS_HANDED_OVER);
        world.saw[SAW_THROTTLED] += counted(counters, COUNT_THROTTLED);
        world.saw[SAW_COMMIT_FAILURES] += counted(counters, COUNT_COMMIT_FAILURES);
        world.saw[SAW_DUPLICATES] += counted(counters, COUNT_EVENTS_DUPLICATE);
        world.saw[SAW_BLOCKS_READ] += counted(&box->writer_counters[i], COUNT_BLOCKS_REREAD);
    }
}

static void unmake_seat(struct seat *seat)
{
    struct block *block;
    bool lends = seat->spool != NULL && !seat->orphan;
    while (lends && mail_take(seat->from_writer, &block))
        spool_give_back(seat->spool, block);
    while (lends && mail_take(seat->to_writer, &block))
        spool_give_back(seat->spool, block);
    if (seat->shard != NULL)
        shard_destroy(seat->shard);
    if (seat->gateway != NULL)
        gateway_close(seat->gateway);
    if (seat->spool != NULL)
        spool_close(seat->spool);
    mail_close(seat->to_writer);
    mail_close(seat->from_writer);
    producers_close(seat->producers);
}

static void unmake_writers(struct box *box)
{
    for (unsigned i = 0; i < box->writers; i++)
        if (box->writer[i] != NULL)
            writer_stop(box->writer[i], world.now_ns);
    fibers_end();
    for (unsigned i = 0; i < box->writers; i++) {
        if (box->writer[i] == NULL)
            continue;
        writer_join(box->writer[i]);
        writer_close(box->writer[i]);
        box->writer[i] = NULL;
    }
}

static void unmake(struct box *box)
{
    unmake_writers(box);
    note_counters(box);
    for (unsigned i = 0; i < WORLD_SHARDS_MAX; i++)
        unmake_seat(&box->seat[i]);
    if (box->directory != NULL)
        spool_directory_close(box->directory);
    box->directory = NULL;
    hub_node_close(box->hubs);
    dashboard_close(box->dashboard);
    dedup_close(box->dedup);
    box->up = box->stopping = false;
}

/* The end of the process, however it came: the kernel closes what it had open. */
static void bury(struct box *box)
{
    unmake(box);
    if (!world.power && !world.killed)
        disk_crash(world.disk);
    else
        disk_killed(world.disk);
    net_server_gone();
    world.power = true;
    world.killed = world.cruel = world.crash_at_ack = false;
    world.io_left = 0;
}

void box_crash(struct box *box)
{
    must(box->up);
    if (world.power)
        world_blackout();
    saw(world.killed ? SAW_KILLS : SAW_MACHINE_CRASHES);
    for (unsigned i = 0; i < box->shards; i++)
        if (world.ring[i] != NULL)
            ring_crash(world.ring[i]);
    bury(box);
}

/* ── Boots ──────────────────────────────────────────────────────────────────────────────────── */

static int refused(struct box *box, int result)
{
    bool crashed = !world.power;
    tell("boot %u is refused: %s", box->boots, crashed ? "the power is off" : box->why);
    if (result == -EBADMSG && !crashed)
        damage_refused(box);
    saw(crashed ? SAW_CRASHES_IN_RECOVERY : SAW_BOOTS_REFUSED);
    world.killed = world.killed || !crashed;
    world.power = false;
    bury(box);
    return result;
}

/* An operator has given it more cores, or fewer. */
static void draw_shards(struct box *box)
{
    unsigned before = box->shards;
    if (box->options.moves && once_in(2))
        box->shards = (unsigned)between(1, WORLD_SHARDS_MAX);
    box->writers = box->options.writers < box->shards ? box->options.writers : box->shards;
    if (box->shards == before)
        return;
    saw(box->shards < before ? SAW_SHARDS_FEWER : SAW_SHARDS_MORE);
    tell("%u shards from now on", box->shards);
}

int box_boot(struct box *box)
{
    box->boots++;
    draw_shards(box);
    if (box->options.rots && once_in(3))
        damage_plant(box);
    box->why[0] = '\0';
    int result = make(box);
    if (result == 0)
        result = open_doors(box);
    if (result == 0)
        result = make_writers(box);
    if (result != 0 || !world.power)
        return refused(box, result != 0 ? result : -EIO);
    box->up = true;
    uint64_t boot = spool_directory_boot(box->directory);
    if (boot <= box->boot_seen)
        blame("boot %llu comes after boot %llu", (unsigned long long)boot,
              (unsigned long long)box->boot_seen);
    box->boot_seen = boot;
    damage_started(box);
    check_spool(box, "after a start");
    return 0;
}

void box_check_image(struct box *box)
{
    struct disk *disk = world.disk;
    world.disk = disk_worst(disk);
    world.looking = true;
    saw(SAW_IMAGES_CHECKED);
    check_image(box);
    disk_close(world.disk);
    world.looking = false;
    world.disk = disk;
}

void box_stop(struct box *box)
{
    tell("SIGTERM");
    box->stopping = true;
    for (unsigned i = 0; i < box->shards; i++)
        shard_stop(box->seat[i].shard);
}

/* ── Turns ──────────────────────────────────────────────────────────────────────────────────── */

enum { ASLEEP = 2 };

static int turn(const struct seat *seat)
{
    world.running = seat->index;
    if (setjmp(world.asleep) != 0)
        return ASLEEP;
    return shard_turn(seat->shard, -1);
}

static uint64_t seat_next_ns(const struct seat *seat)
{
    const struct ring *ring = world.ring[seat->index];
    uint64_t next = seat->asleep ? ring_wakes_ns(ring) : 0;
    if (seat->stopped)
        return NEVER;
    return next < seat->busy_ns ? seat->busy_ns : next;
}

uint64_t box_next_ns(const struct box *box)
{
    uint64_t next = box->up ? fibers_next_ns() : NEVER;
    for (unsigned i = 0; box->up && i < box->shards; i++) {
        uint64_t seat = seat_next_ns(&box->seat[i]);
        uint64_t ring = world.ring[i] == NULL ? NEVER : ring_next_ns(world.ring[i]);
        next = seat < next ? seat : next;
        next = ring < next ? ring : next;
    }
    return next;
}

/*
 * Memory and disk stay within what they were given, whatever comes. A spool may have three segments
 * more: a start begins one, without a current one it makes one in any case, and stored ones whose
 * marks are still to be repeated do not count (batch/spool_files.c).
 */
static void check_limits(const struct seat *seat)
{
    const struct box_options *options = &seat->box->options;
    const struct counters *counters = &seat->box->counters[seat->index];
    uint64_t memory = counted(counters, COUNT_CONNECTION_BYTES);
    uint64_t disk = counted(counters, COUNT_SPOOL_BYTES);
    if (memory > CONNECTION_MEMORY)
        blame("connections of shard %u hold %llu bytes of memory", seat->index,
              (unsigned long long)memory);
    if (disk > options->bytes_max + 3 * options->segment_bytes)
        blame("the spool of shard %u has %llu bytes of files", seat->index,
              (unsigned long long)disk);
}

static void seat_work(struct seat *seat)
{
    if (seat->asleep)
        ring_time_is_over(world.ring[seat->index]);
    int result = turn(seat);
    check_limits(seat);
    seat->asleep = result == ASLEEP;
    seat->stopped = result == 1;
    if (result < 0)
        blame("a shard's ring is broken: %d", result);
    if (!seat->asleep)
        seat->busy_ns = world.now_ns + MICROSECONDS(between(2, 60));
}

static void rest(struct box *box)
{
    for (unsigned i = 0; i < box->shards; i++)
        if (!box->seat[i].stopped)
            return;
    tell("stopped");
    saw(SAW_CLEAN_STOPS);
    bury(box);
}

void box_work(struct box *box)
{
    for (unsigned i = 0; i < box->shards && world.power; i++)
        if (world.ring[i] != NULL && ring_next_ns(world.ring[i]) <= world.now_ns)
            ring_work(world.ring[i]);
    if (world.removed && world.power && once_in(REMOVALS_A_CHECK))
        box_check_image(box);
    world.removed = false;
    unsigned first = (unsigned)below(box->shards);
    for (unsigned i = 0; i < box->shards && world.power; i++) {
        struct seat *seat = &box->seat[(first + i) % box->shards];
        if (seat_next_ns(seat) <= world.now_ns)
            seat_work(seat);
    }
    if (world.power)
        fibers_work();
    if (world.power && box->stopping)
        rest(box);
}

bool box_has_failed(const struct box *box)
{
    for (unsigned i = 0; box->up && i < box->shards; i++)
        if (spool_failed(box->seat[i].spool))
            return true;
    return false;
}

bool box_is_drained(const struct box *box)
{
    for (unsigned i = 0; box->up && i < box->shards; i++)
        if (!spool_idle(box->seat[i].spool))
            return false;
    for (unsigned i = 0; box->up && i < WORLD_SHARDS_MAX; i++)
        if (box->progress[i].stored < box_durable(box, i))
            return false;
    return box->up;
}

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

/* What every box has, and is not made anew for each: it would take longer than some seeds do. */
static struct {
    struct config config;
    struct streams *streams;
    struct settings *settings;
} furniture;

void box_furnish(void)
{
    static const char *const settings[] = {
        "auth.required=no",      "node.shutdown_s=3600",  "limits.idle_ms=20000",
        "tcp.ack_interval_ms=2", "limits.header_ms=5000", ("node.name=" CHECK_NODE),
    };
    char why[SETTINGS_WHY];
    furniture.streams = streams_open();
    must(furniture.streams != NULL && streams_add_defaults(furniture.streams, why) == 0);
    must(config_load(&furniture.config, NULL, NULL, settings, COUNT_OF(settings), stderr) == 0);
    must(settings_open(&furniture.settings, &furniture.config, furniture.streams, NULL, 0, why) ==
         0);
}

void box_open(struct box *box, const struct box_options *options, struct ledger *ledger)
{
    memset(box, 0, sizeof *box);
    box->options = *options;
    box->shards = options->shards;
    box->ledger = ledger;
    box->config = &furniture.config;
    box->streams = furniture.streams;
    settings_publish(&box->settings, furniture.settings);
}
