/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The turn between the sockets and the spool, and the table of the HTTP door's routes.
 *
 *   input ─► wires ─► intake ─► open block      (feed)
 *   commit:   the open block goes to the disk
 *   release:  what is durable is published, and its blocks are posted to the writer
 *   mail:     blocks come back from the writer, answers from the directory
 *   tick:     segments made ready and freed, gauges set
 */
#include "core/gateway.h"

#include "batch/intake.h"
#include "core/clock.h"
#include "core/gateway_live.h"
#include "core/gateway_pages.h"
#include "core/gateway_plain.h"
#include "core/gateway_sessions.h"
#include "proto/http.h"
#include "proto/http_history.h"
#include "proto/http_ingest.h"
#include "proto/http_messages.h"
#include "proto/tcp.h"
#include "ws/debug.h"
#include "ws/ingest.h"
#include "ws/upgrade.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROUTES_MAX = 64, GAUGES_MS = 100 };

struct gateway {
    struct house house;
    const struct node *node;
    const struct settings *settings; /* that all below follows; see adopt() */
    unsigned shard, tokens_max;
    struct spool *spool;
    struct producers *producers;
    struct mail *to_writer, *from_writer;
    struct sleeper *writer_sleeper;
    struct directory *directory;
    struct intake *intake;
    struct jwt_cache *tokens;
    struct quota *failures;
    struct admission admission;
    struct tcp_house tcp;
    struct http_house http;
    struct http_ingest http_ingest;
    struct http_route route[ROUTES_MAX];
    struct websocket_options websocket;
    struct ingest_door *ingest;
    struct http_messages http_messages;
    struct http_history history;
    struct gateway_pages pages;
    struct gateway_live live;
    struct gateway_sessions sessions;
    struct gateway_plain plain;
    uint64_t gauges_ns;
    uint64_t drain_until_ns; /* 0: not draining */
};

/* ── Who may come in ────────────────────────────────────────────────────────────────────────── */

static int verify(void *self, struct turn *turn, struct span token, const char *peer,
                  struct principal *out, char *why)
{
    struct gateway *gateway = self;
    uint64_t key = quota_key_of_peer(gateway->failures, peer);
    if (!quota_has(gateway->failures, key, 1, turn->now_ns)) {
        snprintf(why, JWT_WHY_MAX, "too many bad tokens from this address; wait a minute");
        return -EAGAIN;
    }
    enum jwt_reason reason = jwt_cache_verify(gateway->tokens, gateway->settings->keys, token,
                                              turn->wall_us / 1000000, out, why);
    if (reason == JWT_VALID)
        return 0;
    quota_take(gateway->failures, key, 1, turn->now_ns);
    return -EACCES;
}

/* ── WebSocket doors ────────────────────────────────────────────────────────────────────────── */

static bool shake(struct gateway *gateway, struct turn *turn, struct http_request *request,
                  struct handshake *out)
{
    struct handshake_policy policy = {
        .origins = span_of_string(gateway->settings->config.cors_origins), .deflate = true};
    return upgrade_agree(request, turn, &policy, out);
}

/* GET /events/stream */
static bool take_stream(void *context, struct turn *turn, struct http_request *request)
{
    struct gateway *gateway = context;
    struct handshake handshake;
    enum ack_level level;
    if (!http_ingest_level(request, turn, gateway->intake, &level))
        return false;
    return shake(gateway, turn, request, &handshake) &&
           upgrade_started(request, turn,
                           ingest_start(gateway->ingest, turn, request->conn, &handshake,
                                        request->principal, level));
}

static bool take_echo(void *context, struct turn *turn, struct http_request *request)
{
    struct gateway *gateway = context;
    struct handshake handshake;
    enum debug_door door = span_is(http_path(request), "/sink") ? DEBUG_SINK : DEBUG_ECHO;
    return shake(gateway, turn, request, &handshake) &&
           upgrade_started(request, turn,
                           debug_start(door, turn, request->conn, &handshake, &gateway->websocket));
}

/* ── The table of routes ────────────────────────────────────────────────────────────────────── */

static void add_route(struct gateway *gateway, struct http_route route)
{
    must(gateway->http.routes_count < ROUTES_MAX);
    gateway->route[gateway->http.routes_count++] = route;
}

static void add_routes(struct gateway *gateway)
{
    struct gateway_pages *pages = &gateway->pages;
    add_route(gateway, (struct http_route){.method = "POST",
                                           .path = "/events",
                                           .token = true,
                                           .state_bytes = http_ingest_state_bytes(),
                                           .context = &gateway->http_ingest,
                                           .feed = http_ingest_feed,
                                           .cut = http_ingest_cut,
                                           .forget = http_ingest_forget});
    add_route(gateway, (struct http_route){.method = "POST",
                                           .path = "/messages",
                                           .token = true,
                                           .context = &gateway->http_messages,
                                           .handle = http_messages_handle});
    if (gateway->directory != NULL)
        add_route(gateway, (struct http_route){.method = "GET",
                                               .path = "/messages",
                                               .token = true,
                                               .state_bytes = http_history_state_bytes(),
                                               .context = &gateway->history,
                                               .handle = http_history_handle,
                                               .forget = http_history_forget});
    add_route(gateway, (struct http_route){.method = "GET",
                                           .path = "/events/stream",
                                           .upgrade = true,
                                           .token = true,
                                           .context = gateway,
                                           .take = take_stream});
    add_route(gateway,
              (struct http_route){
                  .method = "GET", .path = "/", .context = pages, .handle = page_dashboard});
    add_route(gateway,
              (struct http_route){
                  .method = "GET", .path = "/health", .context = pages, .handle = page_health});
    add_route(gateway,
              (struct http_route){
                  .method = "GET", .path = "/livez", .context = pages, .handle = page_livez});
    add_route(gateway,
              (struct http_route){
                  .method = "GET", .path = "/readyz", .context = pages, .handle = page_readyz});
    add_route(gateway, (struct http_route){.method = "GET",
                                           .path = "/stats",
                                           .token = true, /* see adopt() */
                                           .context = pages,
                                           .handle = page_stats});
    struct http_route route;
    for (unsigned i = 0; gateway_live_route(&gateway->live, i, &route); i++)
        add_route(gateway, route);
    struct http_route sessions[GATEWAY_SESSIONS_ROUTES];
    unsigned count_ = gateway_sessions_routes(&gateway->sessions, sessions);
    for (unsigned i = 0; i < count_; i++)
        add_route(gateway, sessions[i]);
    struct http_route plain[GATEWAY_PLAIN_ROUTES];
    gateway_plain_routes(&gateway->plain, plain);
    for (unsigned i = 0; i < GATEWAY_PLAIN_ROUTES; i++)
        add_route(gateway, plain[i]);
    if (!gateway->node->config->debug_echo)
        return;
    for (unsigned i = 0; i < 2; i++)
        add_route(gateway, (struct http_route){.method = "GET",
                                               .path = i == 0 ? "/echo" : "/sink",
                                               .upgrade = true,
                                               .context = gateway,
                                               .take = take_echo});
}

/* ── What may change ────────────────────────────────────────────────────────────────────────── */

static uint64_t ns_of(int64_t ms)
{
    return (uint64_t)ms * 1000000;
}

/* Of one connection; a second's worth may come at once. */
static struct bucket_rate events_rate(const struct config *config)
{
    return bucket_rate((uint64_t)config->limits_events_per_second, 1000, 1000);
}

static void adopt_limits(struct gateway *gateway, const struct config *config)
{
    gateway->tcp.ack_interval_ns = ns_of(config->tcp_ack_interval_ms);
    gateway->tcp.hello_ns = ns_of(config->limits_header_ms);
    gateway->tcp.idle_ns = ns_of(config->limits_idle_ms);
    gateway->tcp.leeway_ns = ns_of(config->auth_leeway_s * 1000);
    gateway->tcp.rate = events_rate(config);
    gateway->http_ingest.events_per_second = (uint64_t)config->limits_events_per_second;
    gateway->http.body_bytes = (size_t)config->limits_body_bytes;
    gateway->http.header_ns = ns_of(config->limits_header_ms);
    gateway->http.body_ns = ns_of(config->limits_body_ms);
    gateway->http.idle_ns = ns_of(config->limits_idle_ms);
    gateway->websocket.idle_ns = ns_of(config->limits_idle_ms);
    gateway->websocket.message_ns = ns_of(config->limits_body_ms);
    gateway->websocket.close_ns = ns_of(config->limits_header_ms);
    ingest_door_change(gateway->ingest, ns_of(config->auth_leeway_s * 1000), events_rate(config),
                       &gateway->websocket);
}

/* Takes over the present settings; nothing of those before is looked at any more. */
static void adopt(struct gateway *gateway)
{
    struct settings *settings = settings_of(gateway->node->settings);
    if (LIKELY(settings == gateway->settings))
        return;
    gateway->settings = settings;
    gateway->admission.required = settings->config.auth_required;
    gateway->http.cors = settings->cors;
    for (unsigned i = 0; i < gateway->http.routes_count; i++)
        if (gateway->route[i].handle == page_stats || gateway->route[i].take == ticker_take)
            gateway->route[i].token = !settings->config.stats_public;
    adopt_limits(gateway, &settings->config);
    gateway_live_adopt(&gateway->live, settings, &gateway->websocket);
    gateway_sessions_adopt(&gateway->sessions, &settings->config, &gateway->websocket);
    quota_change(gateway->failures,
                 bucket_rate((uint64_t)settings->config.auth_failures_per_minute, 60000, 60000));
    jwt_cache_clear(gateway->tokens);
    gateway_plain_adopt(&gateway->plain, settings);
    settings_adopt(settings);
}

/* ── The house ──────────────────────────────────────────────────────────────────────────────── */

static struct wire *greet(void *self, struct turn *turn, struct conn *conn, unsigned door)
{
    struct gateway *gateway = self;
    if (door == DOOR_TCP)
        return tcp_open(&gateway->tcp, turn, conn);
    return http_open(conn, turn, &gateway->http);
}

static void complete(void *self, struct turn *turn, const struct completion *completion)
{
    struct gateway *gateway = self;
    spool_complete(gateway->spool, turn->ring, completion, turn->now_ns);
}

static void commit(void *self, struct turn *turn)
{
    struct gateway *gateway = self;
    spool_commit(gateway->spool, turn->ring, turn->now_ns, turn->wall_us);
}

/* Posts durable blocks to the writer as long as it has room; the others it reads from the disk. */
static bool post_blocks(struct gateway *gateway)
{
    struct block *block;
    bool posted = false;
    while ((block = spool_take(gateway->spool)) != NULL) {
        if (gateway->to_writer != NULL && mail_post(gateway->to_writer, &block))
            posted = true;
        else
            spool_give_back(gateway->spool, block);
    }
    return posted;
}

static void release(void *self, struct turn *turn)
{
    struct gateway *gateway = self;
    struct progress *progress = &gateway->node->progress[gateway->shard];
    uint64_t durable = spool_durable(gateway->spool);
    uint64_t before = atomic_load_explicit(&progress->durable, memory_order_relaxed);
    bool posted = post_blocks(gateway);
    atomic_store_explicit(&progress->blocks, spool_blocks_durable(gateway->spool),
                          memory_order_release);
    if (durable != before)
        atomic_store_explicit(&progress->durable, durable, memory_order_release);
    if (gateway->writer_sleeper != NULL && (posted || durable != before))
        sleeper_wake(gateway->writer_sleeper);
    gateway_sessions_release(&gateway->sessions, turn);
    gateway_live_release(&gateway->live, turn);
}

static void draining(void *self, struct turn *turn)
{
    struct gateway *gateway = self;
    gateway_sessions_drain(&gateway->sessions, turn);
}

static void buried(void *self, struct turn *turn)
{
    struct gateway *gateway = self;
    (void)gateway_sessions_tick(&gateway->sessions, turn); /* whose poll broke off */
    gateway_live_buried(&gateway->live, turn);
}

static void mail(void *self, struct turn *turn)
{
    struct gateway *gateway = self;
    struct block *block;
    adopt(gateway);
    while (gateway->from_writer != NULL && mail_take(gateway->from_writer, &block))
        spool_give_back(gateway->spool, block);
    if (gateway->directory != NULL)
        directory_mail(gateway->directory, turn);
    gateway_live_mail(&gateway->live, turn);
}

static uint64_t stored(const struct gateway *gateway)
{
    return atomic_load_explicit(&gateway->node->progress[gateway->shard].stored,
                                memory_order_acquire);
}

static void set_gauges(struct gateway *gateway, struct turn *turn)
{
    gateway->gauges_ns = turn->now_ns + GAUGES_MS * 1000000ull;
    uint64_t durable = spool_durable(gateway->spool), done = stored(gateway);
    gauge(turn->counters, COUNT_SPOOL_PENDING_EVENTS, durable > done ? durable - done : 0);
    gauge(turn->counters, COUNT_SPOOL_PRESSURE, spool_pressure(gateway->spool));
    if (gateway->shard == 0)
        gauge(turn->counters, COUNT_DEDUP_IDS, dedup_ids(gateway->node->dedup));
}

/* Until each shard has repeated its producers' counts nobody removes what they stood in before. */
static void share_marks(struct gateway *gateway)
{
    struct progress *progress = gateway->node->progress;
    bool everywhere = true;
    if (spool_marks_stand(gateway->spool))
        atomic_store_explicit(&progress[gateway->shard].marks, true, memory_order_release);
    for (unsigned i = 0; i < gateway->node->shards; i++)
        everywhere = everywhere && atomic_load_explicit(&progress[i].marks, memory_order_acquire);
    spool_keep_inherited(gateway->spool, !everywhere);
}

static int64_t sooner(int64_t one, int64_t other)
{
    if (one < 0 || other < 0)
        return one < 0 ? other : one;
    return one < other ? one : other;
}

static int64_t tick(void *self, struct turn *turn)
{
    struct gateway *gateway = self;
    if (turn->now_ns >= gateway->gauges_ns) {
        share_marks(gateway);
        set_gauges(gateway, turn);
    }
    uint64_t seen_ns = atomic_load_explicit(&gateway->node->progress[gateway->shard].seen_ns,
                                            memory_order_acquire);
    int64_t next = spool_tick(gateway->spool, turn->ring, turn->now_ns, turn->wall_us,
                              stored(gateway), seen_ns);
    next = sooner(next, gateway_sessions_due(&gateway->sessions, turn));
    next = sooner(next, gateway_live_tick(&gateway->live, turn));
    next = sooner(next, gateway_sessions_tick(&gateway->sessions, turn));
    return sooner(next, (int64_t)(gateway->gauges_ns - turn->now_ns));
}

static bool is_open(void *self)
{
    const struct gateway *gateway = self;
    return gateway->intake->open(gateway->intake);
}

/* Everything on disk, and in Postgres too unless it takes longer than node.shutdown_s; as long as
 * that we also wait for room on a full disk. */
static bool drained(void *self, struct turn *turn)
{
    struct gateway *gateway = self;
    if (gateway->drain_until_ns == 0)
        gateway->drain_until_ns =
            turn->now_ns + (uint64_t)gateway->node->config->node_shutdown_s * 1000000000;
    bool late = turn->now_ns >= gateway->drain_until_ns;
    if (!spool_idle(gateway->spool) && !spool_failed(gateway->spool))
        return late && spool_stuck(gateway->spool); /* nobody was thanked for what is lost */
    return gateway->to_writer == NULL || stored(gateway) >= spool_durable(gateway->spool) || late;
}

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

static void fill_doors(struct gateway *gateway)
{
    gateway->admission = (struct admission){.self = gateway, .verify = verify};
    gateway->tcp.intake = gateway->intake;
    gateway->tcp.admission = &gateway->admission;
    gateway->tcp.shard = gateway->shard;
    gateway->http_ingest.intake = gateway->intake;
    gateway->http = (struct http_house){
        .routes = gateway->route, .admission = &gateway->admission, .shard = gateway->shard};
    gateway->pages = (struct gateway_pages){gateway->node, gateway->intake};
    gateway->http_messages.intake = gateway->intake;
    http_history_init(&gateway->history, gateway->directory);
    gateway_plain_open(&gateway->plain, &gateway->live, &gateway->sessions, &gateway->websocket);
}

static bool marks(void *context, size_t *cursor, struct span *name, uint64_t *count_)
{
    return producers_each(context, cursor, name, count_);
}

/* The parts that take memory. */
static bool make_parts(struct gateway *gateway, char *why)
{
    const struct node *node = gateway->node;
    uint64_t seed;
    clock_random(&seed, sizeof seed);
    gateway->websocket = (struct websocket_options){
        .message_bytes = (size_t)node->config->limits_message_bytes,
        .idle_ns = ns_of(node->config->limits_idle_ms),
        .message_ns = ns_of(node->config->limits_body_ms),
        .close_ns = ns_of(node->config->limits_header_ms),
        .deflate_from = 1024,
    };
    if (!gateway_live_open(&gateway->live, node, gateway->shard, &gateway->websocket))
        return false;
    struct intake_options options = {
        .shard = gateway->shard,
        .shards = node->shards,
        .spool = gateway->spool,
        .dedup = node->dedup,
        .dedup_secret = node->dedup_secret,
        .streams = node->streams,
        .rules = {.keep_flaws = true,
                  .bytes_max = (size_t)node->config->limits_event_bytes,
                  .bare_type = node->config->events_bare_type[0] == '\0'
                                   ? (struct span){0}
                                   : span_of_string(node->config->events_bare_type)},
        .producers = gateway->producers,
        .stores = node->writers > 0,
        .witness = live_witness(gateway->live.live),
    };
    gateway->intake = intake_open(&options);
    struct ingest_options door = {
        .intake = gateway->intake, .shard = gateway->shard, .websocket = gateway->websocket};
    if (gateway->intake == NULL)
        return false;
    gateway->ingest = ingest_door_open(&door);
    gateway->tokens = jwt_cache_open(gateway->tokens_max);
    gateway->failures = quota_open(4096, (struct bucket_rate){0}, seed); /* see adopt() */
    return gateway->ingest != NULL && gateway->tokens != NULL && gateway->failures != NULL &&
           gateway_sessions_open(&gateway->sessions, &gateway->live, gateway->intake,
                                 &gateway->admission, gateway->directory, &gateway->websocket, why);
}

int gateway_open(struct gateway **out, const struct gateway_options *options, char *why)
{
    struct gateway *gateway = calloc(1, sizeof *gateway);
    if (gateway != NULL) {
        gateway->node = options->node;
        gateway->shard = options->shard;
        gateway->tokens_max = options->tokens_max;
        gateway->spool = options->spool;
        gateway->producers = options->producers;
        gateway->to_writer = options->to_writer;
        gateway->from_writer = options->from_writer;
        gateway->writer_sleeper = options->writer_sleeper;
        gateway->directory = options->directory;
    }
    snprintf(why, 256, "no memory for shard %u", options->shard);
    if (gateway == NULL || !make_parts(gateway, why)) {
        gateway_close(gateway);
        return -ENOMEM;
    }
    spool_set_marks(gateway->spool, gateway->producers, marks);
    spool_keep_inherited(gateway->spool, true);
    fill_doors(gateway);
    add_routes(gateway);
    adopt(gateway);
    gateway->house = (struct house){
        .self = gateway,
        .greet = greet,
        .complete = complete,
        .commit = commit,
        .release = release,
        .mail = mail,
        .draining = draining,
        .buried = buried,
        .tick = tick,
        .open = is_open,
        .drained = drained,
    };
    *out = gateway;
    return 0;
}

void gateway_close(struct gateway *gateway)
{
    if (gateway == NULL)
        return;
    gateway_plain_close(&gateway->plain);
    gateway_sessions_close(&gateway->sessions);
    gateway_live_close(&gateway->live);
    ingest_door_close(gateway->ingest);
    intake_close(gateway->intake);
    jwt_cache_close(gateway->tokens);
    quota_close(gateway->failures);
    free(gateway);
}

const struct house *gateway_house(const struct gateway *gateway)
{
    return &gateway->house;
}
