/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A seed makes a world, a box with ringmain on it, producers and Postgres, and a plan of what goes
 * wrong. While the chaos lasts everything may go wrong; then faults cease, and all has to come to
 * its end.
 */
#include "tests/sim/seed.h"

#include "tests/sim/box.h"
#include "tests/sim/disk.h"
#include "tests/sim/net.h"
#include "tests/sim/producer.h"
#include "tests/sim/server.h"

#include <stdlib.h>
#include <string.h>

enum { STEPS_MAX = 3000000, SEGMENT_BYTES = 272 * 1024 /* a header and one full block */ };
#define CHAOS_NS MILLISECONDS(700)
#define LONG_US  INT64_C(3600000000)
#define DRAIN_NS MILLISECONDS(300000)

/* ── Scenarios ──────────────────────────────────────────────────────────────────────────────── */

struct scenario {
    const char *name;
    struct faults faults;
    bool tight;  /* a small spool that frees its segments */
    bool poison; /* some events are such that Postgres refuses them */
};

static const struct scenario scenarios[] = {
    {"crashes lose nothing that was acknowledged",
     {.slow = 1000, .crash = 35000, .kill = 15000, .stop = 4000},
     false,
     false},
    {"failing writes and fsyncs are never taken for success",
     {.write_fails = 600,
      .write_short = 600,
      .sync_fails = 1500,
      .names_fail = 1000,
      .slow = 3000,
      .crash = 12000,
      .kill = 12000,
      .squeeze = 15000},
     false,
     false},
    {"cut connections neither lose nor repeat",
     {.reset = 400, .vanish = 250, .dies_in_line = 1500, .accept_fails = 3000, .kill = 4000},
     false,
     false},
    {"Postgres goes away, and nobody knows what it committed",
     {.postgres_breaks = 3000,
      .postgres_refuses = 500,
      .postgres_away = 25000,
      .kill = 8000,
      .crash = 8000},
     false,
     false},
    {"Postgres refuses rows, a table does not fit, a standby takes over",
     {.postgres_breaks = 400,
      .postgres_refuses = 800,
      .fail_over = 25000,
      .break_table = 20000,
      .kill = 4000,
      .crash = 6000},
     false,
     true},
    {"a small spool holds producers back and frees what is stored",
     {.slow = 12000,
      .postgres_away = 25000,
      .crash = 15000,
      .kill = 5000,
      .squeeze = 8000,
      .names_fail = 500},
     true,
     false},
    {"everything at once",
     {.write_fails = 200,
      .write_short = 200,
      .sync_fails = 400,
      .names_fail = 300,
      .slow = 2000,
      .reset = 150,
      .vanish = 80,
      .dies_in_line = 400,
      .accept_fails = 500,
      .postgres_breaks = 800,
      .postgres_refuses = 200,
      .postgres_away = 8000,
      .fail_over = 5000,
      .break_table = 3000,
      .crash = 15000,
      .kill = 8000,
      .stop = 3000,
      .squeeze = 5000},
     false,
     true},
};

/* ── One seed ───────────────────────────────────────────────────────────────────────────────── */

struct run {
    const struct scenario *scenario;
    struct ledger ledger;
    struct box box;
    struct client *client[PRODUCERS_MAX];
    unsigned clients;
    uint64_t plan_ns, boot_ns, chaos_end_ns, end_ns, squeeze_end_ns;
    uint64_t steps;
    bool quiet;
    bool squeezed; /* the disk was full: what is stored may have gone before its time */
};

static struct box_options draw_box(bool tight)
{
    struct box_options options = {
        .shards = once_in(3) ? WORLD_SHARDS_MAX : 1, /* a second one costs as much as the first */
        .rots = once_in(8),
        .moves = once_in(tight ? 2 : 6),
        .segment_bytes = SEGMENT_BYTES,
        .bytes_max = (tight ? between(4, 6) : 64) * SEGMENT_BYTES,
        .memory_bytes = (tight ? 13 : 24) * UINT64_C(262144),
        .retain_us = tight || once_in(2) ? (int64_t)below(once_in(2) ? 1000 : 300000) : LONG_US,
        .in_flight = (unsigned)between(1, 4),
        .receive_buffers = 1u << between(1, 4),
        .receive_bytes = (unsigned)between(1, 16) * 512,
        .direct = once_in(2),
        .rows_max = (unsigned)between(1, once_in(2) ? 12 : 400),
        .bytes_max_batch = (size_t)between(1, 8) * 32768,
        .linger_ms = once_in(3) ? 0 : (unsigned)between(1, 30),
        .hold_ms = (unsigned)between(5, 100),
        .create_tables = once_in(8),
    };
    options.writers = (unsigned)between(1, options.moves ? WORLD_SHARDS_MAX : options.shards);
    return options;
}

/* Ids are forgotten with the segments that they stand in: who relies on them needs a spool that
 * keeps what is stored for as long. */
static struct client_options draw_client(unsigned index, const struct scenario *scenario,
                                         const struct box_options *box)
{
    bool tight = scenario->tight, short_memory = box->retain_us < LONG_US;
    bool named = once_in(2), forgetful = !named && (short_memory || once_in(4));
    struct client_options options = {
        .index = index,
        .values = (unsigned)between(4, tight ? 60 : 20),
        .named = named,
        .in_order = named && !box->moves, /* see proto/README.md */
        .with_ids = !short_memory && !forgetful && (!named || once_in(3)),
        .forgetful = forgetful,
        .length32 = once_in(3),
        .stored = once_in(3),
        .window = 1u << below(7),
        .bad_in = once_in(2) ? 0 : (unsigned)between(3, 20),
        .again_in = once_in(2) ? 0 : (unsigned)between(3, 20),
        .large_in = once_in(2) ? 0 : (unsigned)between(tight ? 2 : 4, 20),
        .poison_in = !scenario->poison || once_in(2) ? 0 : (unsigned)between(2, 12),
        .think_ns = once_in(4) ? 0 : MILLISECONDS(between(1, 60)),
    };
    return options;
}

static void check_image(void *self)
{
    box_check_image(self);
}

static void begin(struct run *run)
{
    bool tight = run->scenario->tight;
    world.faults = run->scenario->faults;
    world.disk = disk_open(UINT64_C(200) << 20);
    world.net = net_open();
    ledger_begin(&run->ledger);
    struct box_options options = draw_box(tight);
    if (options.moves && once_in(2)) { /* what a shard has to repeat of another's takes it long */
        world.faults.slow = 40000;
        world.slowest_ms = 3000;
    }
    box_open(&run->box, &options, &run->ledger);
    world.server = server_open(&run->ledger, run->box.streams);
    run->clients = (unsigned)between(1, 3);
    for (unsigned i = 0; i < run->clients; i++) {
        struct client_options client = draw_client(i, run->scenario, &options);
        run->client[i] = client_open(&client, &run->ledger);
        client_watch(run->client[i], &run->box, check_image);
    }
    run->boot_ns = world.now_ns;
    run->plan_ns = world.now_ns + MILLISECONDS(50);
    run->chaos_end_ns = world.now_ns + CHAOS_NS;
    run->squeeze_end_ns = NEVER;
    tell("seed %llu: %s; %u shards, %u producers, %u in flight", (unsigned long long)world.seed,
         run->scenario->name, options.shards, run->clients, options.in_flight);
}

static void end(struct run *run)
{
    for (unsigned i = 0; i < run->clients; i++)
        client_close(run->client[i]);
    if (run->box.up)
        box_crash(&run->box);
    server_close(world.server);
    net_close(world.net);
    disk_close(world.disk);
}

/* ── What goes wrong ────────────────────────────────────────────────────────────────────────── */

static void plan_crash(bool kill)
{
    world.killed = kill;
    world.cruel = !kill && once_in(3);
    if (once_in(3))
        world.crash_at_ack = true;
    else
        world.io_left = between(1, once_in(3) ? 400 : 60);
    tell("a %s is to come", kill ? "kill" : "crash");
}

static void plan_squeeze(struct run *run)
{
    tell("the disk is full");
    disk_squeeze(world.disk, true);
    run->squeezed = true;
    run->squeeze_end_ns = world.now_ns + MILLISECONDS(between(10, 600));
}

static void plan_postgres(const struct run *run)
{
    const struct faults *faults = &world.faults;
    uint64_t retain_ns = (uint64_t)run->box.options.retain_us * 1000;
    if (faulty(faults->postgres_away))
        server_go_away(world.server, MILLISECONDS(between(5, 600)));
    if (!run->squeezed && faulty(faults->fail_over))
        server_fail_over(world.server, world.now_ns > retain_ns ? world.now_ns - retain_ns : 0);
    if (faulty(faults->break_table))
        server_break_table(world.server, MILLISECONDS(between(10, 400)));
}

static void plan(struct run *run)
{
    const struct faults *faults = &world.faults;
    bool coming = world.io_left > 0 || world.crash_at_ack;
    run->plan_ns = world.now_ns + MILLISECONDS(between(20, 150));
    if (!coming && faulty(faults->crash))
        plan_crash(false);
    else if (!coming && faulty(faults->kill))
        plan_crash(true);
    else if (run->box.up && !run->box.stopping && faulty(faults->stop))
        box_stop(&run->box);
    if (run->squeeze_end_ns == NEVER && faulty(faults->squeeze))
        plan_squeeze(run);
    plan_postgres(run);
    if (once_in(20))
        world.wall_us += (int64_t)between(0, 4000000) - 2000000;
}

static void squeeze_end(struct run *run)
{
    tell("the disk has room again");
    disk_squeeze(world.disk, false);
    run->squeeze_end_ns = NEVER;
}

/* Faults cease, and everything has to come to its end. */
static void calm(struct run *run)
{
    run->quiet = true;
    run->plan_ns = NEVER;
    run->end_ns = world.now_ns + DRAIN_NS;
    unsigned slow = run->box.options.moves ? world.faults.slow : 0;
    memset(&world.faults, 0, sizeof world.faults);
    world.faults.slow = slow; /* it may still be, without harm: shards come and go in calm too */
    world.io_left = 0;
    world.crash_at_ack = world.killed = world.cruel = false;
    squeeze_end(run);
    server_calm(world.server);
    for (unsigned i = 0; i < run->clients; i++)
        client_hurry(run->client[i]);
    tell("calm");
}

/* ── Steps ──────────────────────────────────────────────────────────────────────────────────── */

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t next_ns(const struct run *run)
{
    uint64_t next = sooner(net_next_ns(), server_next_ns(world.server));
    next = sooner(next, sooner(run->plan_ns, run->squeeze_end_ns));
    next = sooner(next, run->quiet ? NEVER : run->chaos_end_ns);
    next = sooner(next, run->box.up ? box_next_ns(&run->box) : run->boot_ns);
    for (unsigned i = 0; i < run->clients; i++)
        next = sooner(next, client_next_ns(run->client[i]));
    return next;
}

static void box_step(struct run *run)
{
    struct box *box = &run->box;
    if (!box->up && run->boot_ns <= world.now_ns)
        (void)box_boot(box);
    else if (box->up && box_next_ns(box) <= world.now_ns)
        box_work(box);
    if (box->up && world.power && box_has_failed(box) && !box->stopping) {
        saw(SAW_SPOOLS_CLOSED);
        box_stop(box);
    }
}

/* The crash may have come anywhere in what the others did. */
static void survive(struct run *run)
{
    if (!world.power)
        box_crash(&run->box);
    if (!run->box.up && run->boot_ns <= world.now_ns)
        run->boot_ns = world.now_ns + MILLISECONDS(between(1, 300));
}

static void step(struct run *run)
{
    uint64_t next = next_ns(run);
    if (next > world.now_ns)
        world.now_ns = next;
    run->steps++;
    if (!run->quiet && run->chaos_end_ns <= world.now_ns)
        calm(run);
    if (run->plan_ns <= world.now_ns)
        plan(run);
    if (run->squeeze_end_ns <= world.now_ns)
        squeeze_end(run);
    net_work();
    box_step(run);
    survive(run);
    server_work(world.server);
    for (unsigned i = 0; i < run->clients; i++)
        if (client_next_ns(run->client[i]) <= world.now_ns)
            client_work(run->client[i]);
}

/* What the writer thinks may be out of date: after a fail-over it has to store again. */
static bool all_stored(const struct run *run)
{
    uint64_t epoch = spool_directory_epoch(run->box.directory);
    for (unsigned i = 0; i < WORLD_SHARDS_MAX; i++)
        if (server_checkpoint(world.server, i, epoch) < box_durable(&run->box, i))
            return false;
    return true;
}

static bool all_done(const struct run *run)
{
    for (unsigned i = 0; i < run->clients; i++)
        if (!client_is_done(run->client[i]))
            return false;
    return run->quiet && run->box.up && all_stored(run) && box_is_drained(&run->box) &&
           (run->box.options.retain_us == LONG_US || box_is_tidy(&run->box));
}

/* False: something is wrong. */
static bool go_until(struct run *run, bool (*reached)(const struct run *run), const char *what)
{
    while (!reached(run) && world.verdict[0] == '\0') {
        if (run->steps > STEPS_MAX || (run->quiet && world.now_ns > run->end_ns))
            blame("%s does not come to an end", what);
        else
            step(run);
    }
    return world.verdict[0] == '\0';
}

static bool is_down(const struct run *run)
{
    return !run->box.up;
}

static bool is_up(const struct run *run)
{
    return run->box.up;
}

static void live(struct run *run)
{
    if (!go_until(run, all_done, "the drain"))
        return;
    ledger_close(&run->ledger);
    box_stop(&run->box);
    if (!go_until(run, is_down, "the stop") || !go_until(run, is_up, "the last start"))
        return;
    for (unsigned i = 0; i < run->clients; i++)
        client_ask_again(run->client[i]);
    if (!go_until(run, all_done, "what named producers ask"))
        return;
    uint64_t epoch = spool_directory_epoch(run->box.directory);
    for (unsigned i = 0; i < WORLD_SHARDS_MAX; i++)
        if (run->box.seat[i].spool != NULL &&
            run->box.seat[i].recovery.next != server_checkpoint(world.server, i, epoch))
            blame("after a clean stop the spool of shard %u ends at another event than Postgres",
                  i);
}

unsigned seed_scenario(uint64_t seed)
{
    return (unsigned)(seed % COUNT_OF(scenarios));
}

const char *seed_scenario_name(unsigned scenario)
{
    return scenario < COUNT_OF(scenarios) ? scenarios[scenario].name : NULL;
}

bool seed_run(uint64_t seed, enum telling telling)
{
    struct run *run = calloc(1, sizeof *run);
    must(run != NULL);
    world_begin(seed, telling);
    run->scenario = &scenarios[seed_scenario(seed)];
    begin(run);
    live(run);
    bool good = world.verdict[0] == '\0';
    tell("seed %llu: %s after %llu steps, trace %016llx", (unsigned long long)seed,
         good ? "good" : "NOT GOOD", (unsigned long long)run->steps,
         (unsigned long long)world.trace);
    world.looking = !good;
    end(run);
    free(run);
    return good;
}
