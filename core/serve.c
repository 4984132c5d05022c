/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One struct holds the process. Each step of the table below has its make and its undo; start goes
 * down the table, a failure or the end goes back up from where it had come.
 */
#include "core/server.h"

#include "core/clock.h"
#include "core/limits.h"
#include "core/log.h"
#include "ws/allowance.h"
#include "ws/dashboard.h"
#include "ws/hub.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define ECHO_NS 1000000000ull

enum { DESCRIPTORS_RESERVED = 256, ALLOWANCE_KEYS = 65536 };

/* ── What the configuration says ────────────────────────────────────────────────────────────── */

struct streams *serve_streams(const struct config *config, char *why)
{
    struct streams *streams = streams_open();
    if (streams == NULL) {
        snprintf(why, 256, "no memory");
        return NULL;
    }
    int result = streams_add_defaults(streams, why);
    for (unsigned i = 0; result == 0 && i < config->streams; i++) {
        const struct config_stream *stream = &config->stream[i];
        char wrong[256] = "";
        result =
            streams_add(streams, stream->name, stream->table == NULL ? stream->name : stream->table,
                        stream->columns == NULL ? "" : stream->columns,
                        stream->types == NULL ? "" : stream->types, wrong);
        if (result != 0 && wrong[0] != '\0')
            snprintf(why, 256, "[stream %.64s] %.180s", stream->name, wrong);
    }
    enum { SCOPE_GLOBAL = 1 };
    if (result == 0 && config->dedup_scope == SCOPE_GLOBAL)
        (void)streams_make_ids_unique(streams);
    if (result == 0)
        return streams;
    if (why[0] == '\0')
        snprintf(why, 256, "no memory for the streams");
    streams_close(streams);
    return NULL;
}

static unsigned cores(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

/* The n-th core that this process may use. */
static int core_at(unsigned n)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return -1;
    for (int core = 0; core < CPU_SETSIZE; core++)
        if (CPU_ISSET((size_t)core, &set) && n-- == 0)
            return core;
    return -1;
}

static int make_node(struct server *server)
{
    const struct config *config = server->config;
    server->shards = config->node_shards > 0 ? (unsigned)config->node_shards : cores();
    if (server->shards > SHARDS_MAX)
        server->shards = SHARDS_MAX;
    server->writers =
        config->postgres_conninfo[0] == '\0' ? 0 : (unsigned)config->postgres_connections;
    if (server->writers > server->shards)
        server->writers = server->shards;
    if (config->node_name[0] == '\0' && gethostname(server->host, sizeof server->host - 1) != 0)
        return -errno;
    server->streams = serve_streams(config, server->why);
    if (server->streams == NULL)
        return -EINVAL;
    struct settings *settings;
    int result = settings_open(&settings, config, server->streams, NULL, clock_wall_us() / 1000000,
                               server->why);
    if (result != 0)
        return result;
    settings_publish(&server->settings, settings);
    if (!config->auth_required)
        log_warn("auth",
                 "auth.required = no: whoever reaches a door may write events; for a laptop only");
    return 0;
}

static bool make_dashboard(struct server *server)
{
    const struct config *config = server->config;
    if (config->dashboard_users == 0)
        return true;
    struct dashboard_options options = {
        .shards = server->shards,
        .users = (unsigned)config->dashboard_users,
        .interval_ns = (uint64_t)config->dashboard_interval_ms * 1000000,
        .idle_s = (uint32_t)config->dashboard_idle_s,
    };
    server->dashboard = dashboard_open(&options);
    return server->dashboard != NULL;
}

static int make_memory(struct server *server)
{
    unsigned threads = server->shards + server->writers + 2;
    server->progress = aligned_alloc(64, SHARDS_MAX * sizeof *server->progress);
    server->counters = aligned_alloc(64, threads * sizeof *server->counters);
    server->stats = calloc(1, sizeof *server->stats);
    server->dedup =
        dedup_open((uint64_t)server->config->dedup_ids, (uint32_t)server->config->dedup_window_s);
    server->hubs = hub_node_open(server->shards);
    server->allowance = allowance_open(ALLOWANCE_KEYS);
    server->sockets = sockets_open(server->shards, (unsigned)server->config->metrics_max_series);
    if (server->progress == NULL || server->counters == NULL || server->stats == NULL ||
        server->dedup == NULL || server->hubs == NULL || server->allowance == NULL ||
        server->sockets == NULL || !make_dashboard(server)) {
        snprintf(server->why, SERVER_WHY, "no memory for %lld ids (dedup.ids)",
                 (long long)server->config->dedup_ids);
        return -ENOMEM;
    }
    memset(server->progress, 0, SHARDS_MAX * sizeof *server->progress);
    memset(server->counters, 0, threads * sizeof *server->counters);
    for (unsigned i = 0; i < threads; i++)
        server->counters_list[i] = &server->counters[i];
    return 0;
}

static void fill_node(struct server *server)
{
    const struct config *config = server->config;
    server->node = (struct node){
        .config = config,
        .name = config->node_name[0] != '\0' ? config->node_name : server->host,
        .streams = server->streams,
        .settings = &server->settings,
        .dedup = server->dedup,
        .dedup_secret = spool_directory_secret(server->directory),
        .progress = server->progress,
        .stats = server->stats,
        .writer = server->writer,
        .writers = server->writers,
        .shards = server->shards,
        .hubs = server->hubs,
        .allowance = server->allowance,
        .sockets = server->sockets,
        .dashboard = server->dashboard,
        .started_ns = clock_mono_ns(),
    };
}

static int open_directory(struct server *server)
{
    int result = spool_directory_open(
        &server->directory, server->config->spool_directory,
        server->config->node_name[0] != '\0' ? server->config->node_name : server->host,
        server->why);
    if (result != 0)
        return result;
    if (limits_is_memory(server->config->spool_directory))
        log_warn(
            "spool",
            "spool.directory %s is in memory (tmpfs): what is acknowledged as being on the disk "
            "will not outlive this machine; name a directory on a disk",
            server->config->spool_directory);
    fill_node(server);
    return 0;
}

/* ── Writers ────────────────────────────────────────────────────────────────────────────────── */

static unsigned power_of_two(uint64_t least)
{
    unsigned power = 64;
    while (power < least)
        power *= 2;
    return power;
}

/* Either way there is room for every block that there can be: full ones, and small ones
 * of at least a header in a quarter as much memory. So a block always finds its way back. */
static bool make_mail(struct seat *seat)
{
    uint64_t memory = (uint64_t)seat->server->config->spool_memory;
    unsigned letters = power_of_two(memory / BLOCK_BYTES_MAX + memory / 4 / BLOCK_HEADER_BYTES);
    seat->to_writer = mail_open(letters, sizeof(struct block *));
    seat->from_writer = mail_open(letters, sizeof(struct block *));
    return seat->to_writer != NULL && seat->from_writer != NULL;
}

static void add_source(struct server *server, struct seat *seat, unsigned writer)
{
    server->source[writer][server->sources[writer]++] = (struct writer_source){
        .shard = seat->index,
        .epoch = spool_directory_epoch(server->directory),
        .durable_at_start = seat->recovery.next,
        .blocks = seat->to_writer,
        .returns = seat->from_writer,
        .shard_sleeper = seat->shard == NULL ? NULL : shard_sleeper(seat->shard),
        .orphan = seat->orphan ? seat->spool : NULL,
    };
}

static int make_writer(struct server *server, unsigned index)
{
    const struct config *config = server->config;
    struct sleeper *sleeper = &server->writer_sleeper[index];
    struct writer_options options = {
        .index = index,
        .conninfo = config->postgres_conninfo,
        .node = server->node.name,
        .directory = config->spool_directory,
        .create_tables = config->postgres_create_tables,
        .batch_rows_max = (unsigned)config->batch_max_rows,
        .batch_bytes_max = (size_t)config->batch_max_bytes,
        .linger_ms = (unsigned)config->batch_linger_ms,
        .retry_min_ms = (unsigned)config->postgres_retry_min_ms,
        .retry_max_ms = (unsigned)config->postgres_retry_max_ms,
        .hold_retry_ms = (unsigned)config->postgres_hold_retry_ms,
        .streams = server->streams,
        .progress = server->progress,
        .shards = server->shards,
        .counters = &server->counters[server->shards + index],
        .sleeper = sleeper,
        .source = server->source[index],
        .sources = server->sources[index],
    };
    return writer_open(&server->writer[index], &options, server->why);
}

static int make_writers(struct server *server)
{
    int result = 0;
    for (unsigned i = 0; server->writers > 0 && i < server->seats; i++) {
        struct seat *seat = &server->seat[i];
        if (seat->orphan && seat->recovery.boot == 0)
            continue;
        add_source(server, seat, i % server->writers);
    }
    for (unsigned i = 0; result == 0 && i < server->writers; i++)
        result = make_writer(server, i);
    for (unsigned i = 0; result == 0 && i < server->writers; i++)
        result = writer_start(server->writer[i], server->why);
    return result;
}

/* ── Look-ups ───────────────────────────────────────────────────────────────────────────────── */

static int make_lookups(struct server *server)
{
    const struct config *config = server->config;
    size_t page = (size_t)config->limits_output_bytes / 2;
    struct directory_options options = {
        .conninfo = config->postgres_conninfo,
        .project_sql = config->directory_project_sql,
        .room_sql = config->directory_room_sql,
        .messages = streams_find(server->streams, "messages"),
        .page_bytes_max = page < DIRECTORY_PAGE_MAX ? page : DIRECTORY_PAGE_MAX,
        .shards = server->shards,
        .remembered = (unsigned)config->directory_access_cache_entries,
        .waiting = (unsigned)config->directory_waiting,
        .keep_s = (unsigned)config->directory_access_cache_s,
        .timeout_ms = (unsigned)config->directory_timeout_ms,
        .retry_min_ms = (unsigned)config->postgres_retry_min_ms,
        .retry_max_ms = (unsigned)config->postgres_retry_max_ms,
        .counters = server_directory_counters(server),
    };
    return directory_stage_open(&server->lookups, &options, server->why);
}

static int start_lookups(struct server *server)
{
    for (unsigned i = 0; i < server->shards; i++)
        directory_introduce(server->lookups, i, shard_sleeper(server->seat[i].shard));
    return directory_stage_start(server->lookups, server->why);
}

/* ── Shards ─────────────────────────────────────────────────────────────────────────────────── */

static int make_shard(struct server *server, struct seat *seat)
{
    const struct config *config = server->config;
    if (server->writers > 0 && !make_mail(seat))
        return -ENOMEM;
    struct gateway_options door = {
        .node = &server->node,
        .shard = seat->index,
        .spool = seat->spool,
        .producers = seat->producers,
        .to_writer = seat->to_writer,
        .from_writer = seat->from_writer,
        .writer_sleeper =
            server->writers == 0 ? NULL : &server->writer_sleeper[seat->index % server->writers],
        .tokens_max = JWT_CACHE_ENTRIES,
        .directory = directory_desk(server->lookups, seat->index),
    };
    int result = gateway_open(&seat->gateway, &door, server->why);
    if (result != 0)
        return result;
    uint64_t connections = (uint64_t)config->limits_connections;
    uint64_t completions = (uint64_t)config->limits_completions;
    struct shard_options options = {
        .index = seat->index,
        .shards = server->shards,
        .core = config->node_pin ? core_at(seat->index) : -1,
        .ring = {.entries = 1024,
                 .completion_entries =
                     completions > 0 ? (unsigned)completions : power_of_two(2 * connections + 4096),
                 .buffers = (unsigned)config->limits_receive_buffers,
                 .buffer_bytes = (unsigned)config->limits_receive_buffer_bytes},
        .connections_max = (unsigned)connections,
        .busy_poll_us = (unsigned)config->node_busy_poll_us,
        .finished_ns = (uint64_t)config->limits_idle_ms * 1000000,
        .output_max = (size_t)config->limits_output_bytes,
        .input_max = (size_t)config->limits_event_bytes + 65536,
        .connection_memory = (size_t)config->limits_connection_memory,
        .progress = server->progress,
        .counters = &server->counters[seat->index],
        .house = gateway_house(seat->gateway),
    };
    return shard_create(&seat->shard, &options, server->why);
}

static int make_shards(struct server *server)
{
    int result = 0;
    for (unsigned i = 0; i < server->writers; i++) {
        server->writer_sleeper[i].doorbell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (server->writer_sleeper[i].doorbell < 0)
            return -errno;
    }
    for (unsigned i = 0; result == 0 && i < server->shards; i++)
        result = make_shard(server, &server->seat[i]);
    for (unsigned i = 0; result == 0 && i < server->shards; i++)
        for (unsigned j = 0; result == 0 && j < server->shards; j++)
            if (i != j)
                result = shard_introduce(server->seat[i].shard, server->seat[j].shard);
    for (unsigned i = 0; result == 0 && i < server->shards; i++)
        hub_node_set_sleeper(server->hubs, i, shard_sleeper(server->seat[i].shard));
    return result;
}

static int make_stage(struct server *server)
{
    struct metrics_stage_options options = {
        .address = server->config->listen_metrics,
        .counters = server->counters_list,
        .counters_count = server->shards + server->writers + 2,
        .stats = server->stats,
        .sockets = server->sockets,
        .node = server->node.name,
        .version = RINGMAIN_VERSION,
    };
    int result = metrics_stage_open(&server->stage, &options, &server->port_metrics, server->why);
    return result != 0 ? result : metrics_stage_start(server->stage, server->why);
}

static int open_door(struct server *server, enum door door, const char *address, uint16_t *port)
{
    char at[300];
    snprintf(at, sizeof at, "%s", address);
    for (unsigned i = 0; address[0] != '\0' && i < server->shards; i++) {
        int result = shard_listen(server->seat[i].shard, door, at, true, port, server->why);
        if (result != 0)
            return result;
        serve_resolve(address, *port, at);
    }
    return 0;
}

static int open_doors(struct server *server)
{
    const struct config *config = server->config;
    int result = open_door(server, DOOR_TCP, config->listen_tcp, &server->port_tcp);
    if (result == 0)
        result = open_door(server, DOOR_HTTP, config->listen_http, &server->port_http);
    for (unsigned i = 0; result == 0 && i < server->shards; i++)
        result = shard_start(server->seat[i].shard, server->why);
    return result;
}

/* ── Start and stop ─────────────────────────────────────────────────────────────────────────── */

/* From here on there are threads, which inherit the mask, and a stop is a drain. Before, a signal
 * ends the process where it is, as a crash would, which recovery is made for: it may take minutes,
 * and whoever presses Ctrl-C must not have to wait for its end. */
static int hold_signals(struct server *server)
{
    return -pthread_sigmask(SIG_BLOCK, &server->signals, NULL);
}

static int start(struct server *server)
{
    static int (*const steps[])(struct server *) = {
        make_node,     make_memory,  open_directory, serve_make_spools,
        hold_signals,  make_lookups, make_shards,    make_writers,
        start_lookups, make_stage,   open_doors,     serve_tell_ready};
    int result = 0;
    for (unsigned i = 0; result == 0 && i < COUNT_OF(steps); i++)
        result = steps[i](server);
    if (result != 0)
        log_error("serve", "cannot start: %s",
                  server->why[0] != '\0' ? server->why : strerror(-result));
    return result;
}

/* Everything accepted comes to the disk, and as far as there is time to Postgres. After a
 * start that failed some shards and writers may be there and run, and others not. */
static void drain(struct server *server)
{
    for (unsigned i = 0; i < server->shards; i++)
        if (server->seat[i].shard != NULL)
            shard_stop(server->seat[i].shard);
    for (unsigned i = 0; i < server->shards; i++)
        if (server->seat[i].shard != NULL)
            shard_join(server->seat[i].shard);
    if (server->lookups != NULL) {
        directory_stage_stop(server->lookups);
        directory_stage_join(server->lookups);
    }
    for (unsigned i = 0; i < server->writers; i++)
        if (server->writer[i] != NULL)
            writer_stop(server->writer[i], clock_mono_ns());
    for (unsigned i = 0; i < server->writers; i++)
        if (server->writer[i] != NULL)
            writer_join(server->writer[i]);
}

static void unmake_seat(struct seat *seat)
{
    struct block *block;
    while (seat->from_writer != NULL && mail_take(seat->from_writer, &block))
        spool_give_back(seat->spool, block);
    while (seat->to_writer != NULL && mail_take(seat->to_writer, &block))
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

static void unmake(struct server *server)
{
    if (server->stage != NULL) {
        metrics_stage_stop(server->stage);
        metrics_stage_close(server->stage);
    }
    for (unsigned i = 0; i < server->writers; i++) {
        if (server->writer[i] != NULL)
            writer_close(server->writer[i]);
    }
    for (unsigned i = 0; i < server->seats; i++)
        unmake_seat(&server->seat[i]);
    directory_stage_close(server->lookups);
    for (unsigned i = 0; i < server->writers; i++)
        if (server->writer_sleeper[i].doorbell > 0)
            close(server->writer_sleeper[i].doorbell);
    if (server->directory != NULL)
        spool_directory_close(server->directory);
    hub_node_close(server->hubs);
    allowance_close(server->allowance);
    sockets_close(server->sockets);
    dashboard_close(server->dashboard);
    dedup_close(server->dedup);
    settings_close(settings_of(&server->settings));
    streams_close(server->streams);
    free(server->progress);
    free(server->counters);
    free(server->stats);
}

/* While everything drains: a second signal, when it is not just the first one's echo (a terminal
 * and a launcher both pass it on), ends the process. Whatever was acknowledged is on the disk. */
static void *watch_for_second(void *context)
{
    const struct server *server = context;
    uint64_t first_ns = clock_mono_ns();
    int number;
    while (sigwait(&server->signals, &number) == 0)
        if (number != SIGHUP && clock_mono_ns() - first_ns > ECHO_NS)
            _exit(128 + number);
    return NULL;
}

static void wait_for_signal(struct server *server)
{
    pthread_t watcher;
    int number = 0;
    while (sigwait(&server->signals, &number) == 0 && number == SIGHUP)
        serve_reload(server);
    log_info("serve", "%s: draining for at most %lld s; once more to stop at once",
             number == SIGINT ? "SIGINT" : "SIGTERM", (long long)server->config->node_shutdown_s);
    if (pthread_create(&watcher, NULL, watch_for_second, server) == 0)
        pthread_detach(watcher); /* waits for ever, or ends the process */
}

/* After drain(). False: a spool gave up on its disk. */
static bool ended_well(const struct server *server)
{
    bool well = true;
    for (unsigned i = 0; i < server->shards; i++) {
        const struct spool *spool = server->seat[i].spool;
        if (spool == NULL)
            continue;
        well = well && !spool_failed(spool);
        if (spool_stuck(spool))
            log_warn("serve",
                     "shard %u: there was no room on the disk for the last %llu events; nobody was "
                     "thanked for them, and they are gone",
                     i, (unsigned long long)(spool_next(spool) - spool_durable(spool)));
    }
    return well;
}

int serve(const struct config *config, const struct serve_options *options)
{
    static struct server
        the_server; /* for as long as the process: the watcher looks at it to the last */
    struct server *server = &the_server;
    char why[LIMITS_WHY];
    server->config = config;
    server->options = options;
    sigset_t reload;
    sigemptyset(&reload);
    sigaddset(&reload, SIGHUP);
    server->signals = reload;
    sigaddset(&server->signals, SIGTERM);
    sigaddset(&server->signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &reload, NULL); /* it waits until there is something to reload */
    signal(SIGPIPE, SIG_IGN);                  /* libpq writes to sockets that may be gone */
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is a failed write, which the spool can handle */
    if (limits_raise_descriptors((uint64_t)config->limits_connections * 2 + DESCRIPTORS_RESERVED,
                                 why) != 0)
        log_warn("serve", "%s", why);
    if (limits_raise_locked_memory(64 << 20, why) != 0)
        log_debug("serve", "%s", why);
    int result = start(server);
    if (result == 0)
        wait_for_signal(server);
    drain(server);
    bool lossless = ended_well(server);
    unmake(server);
    if (result == 0)
        log_info("serve", "stopped");
    return result == 0 && lossless ? 0 : 1;
}
