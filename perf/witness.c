/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What live costs an event that nobody watches: the witness of the intake over groups of parsed
 * events, with users that come again and again and with users that never do, beside event_parse() and
 * the row's encoding over the same events.
 *
 *   witness [SECONDS]
 */
#include "batch/copy.h"
#include "core/clock.h"
#include "ws/dashboard.h"
#include "ws/live.h"

#include <stdio.h>
#include <stdlib.h>

enum { EVENTS = 65536, TEXT_BYTES = 320 };

struct bench {
    char (*text)[TEXT_BYTES];
    struct event *event; /* [INTAKE_MAX] */
    struct verdict *verdict;
    uint8_t *row;
    struct streams *streams;
    struct hub *hub;
    struct live *live;
    struct counters *counters;
    struct turn turn;
    unsigned users;
    size_t sum;
};

static void write_events(struct bench *bench)
{
    for (unsigned i = 0; i < EVENTS; i++)
        snprintf(bench->text[i], TEXT_BYTES,
                 "{\"id\":\"ev-%07u\",\"type\":\"%s\",\"tenantId\":\"t-%u\",\"userId\":\"u-%08x\","
                 "\"timestamp\":\"2024-05-17T10:00:00Z\",\"data\":{\"path\":\"/shop/item/%u\","
                 "\"price\":%u.50,\"quantity\":%u,\"currency\":\"EUR\"}}",
                 i, i % 3 == 0 ? "page_view" : "item_added", i % 7,
                 (i % bench->users) * 2654435761u, i * 31, i % 500, i % 9);
}

static void parse(struct bench *bench, unsigned first)
{
    static const struct event_rules rules = {.bytes_max = 65536};
    struct refusal refusal;
    for (unsigned i = 0; i < INTAKE_MAX; i++) {
        struct span text = span_of_string(bench->text[first + i]);
        must(event_parse(text, &rules, &bench->event[i], &refusal) == EVENT_ACCEPTED);
    }
}

static void encode(struct bench *bench)
{
    struct refusal refusal;
    for (unsigned i = 0; i < INTAKE_MAX; i++)
        bench->sum += copy_row(streams_route(bench->streams, bench->event[i].type),
                               &bench->event[i], bench->event[i].id, 1, bench->row, &refusal);
}

static void witness(struct bench *bench)
{
    static const struct source source;
    const struct witness *who = live_witness(bench->live);
    who->accepted(who->self, &bench->turn, &source, bench->event, bench->verdict, INTAKE_MAX);
}

/* Nanoseconds an event of each of the three, the least of all rounds. */
static void measure(struct bench *bench, const char *name, double seconds)
{
    uint64_t best[3] = {UINT64_MAX, UINT64_MAX, UINT64_MAX}, end = clock_mono_ns();
    end += (uint64_t)(seconds * 1e9);
    write_events(bench);
    do {
        uint64_t spent[3] = {0};
        bench->turn.now_ns = clock_mono_ns();
        bench->turn.wall_us = clock_wall_us();
        for (unsigned first = 0; first < EVENTS; first += INTAKE_MAX) {
            uint64_t t0 = clock_mono_ns();
            parse(bench, first);
            uint64_t t1 = clock_mono_ns();
            encode(bench);
            uint64_t t2 = clock_mono_ns();
            witness(bench);
            uint64_t t3 = clock_mono_ns();
            spent[0] += t1 - t0;
            spent[1] += t2 - t1;
            spent[2] += t3 - t2;
        }
        for (unsigned i = 0; i < 3; i++)
            best[i] = spent[i] < best[i] ? spent[i] : best[i];
    } while (clock_mono_ns() < end);
    printf("%-24s parse %6.1f ns, encode %6.1f ns, witness %6.1f ns an event\n", name,
           (double)best[0] / EVENTS, (double)best[1] / EVENTS, (double)best[2] / EVENTS);
}

static struct encoded *encode_nothing(void *context, const struct publication *publication)
{
    (void)context;
    (void)publication;
    return NULL;
}

static void open_live(struct bench *bench, unsigned users)
{
    static struct progress progress;
    char why[ROUTE_WHY_BYTES];
    struct config config = {0};
    struct hub_node *node = hub_node_open(1);
    struct hub_options hub = {.node = node, .queue_messages = 1, .rooms_max = 4};
    struct dashboard_options dashboard = {
        .shards = 1, .users = users, .interval_ns = 1000000000, .idle_s = 60};
    bench->hub = hub_open(&hub);
    struct live_options options = {.hub = bench->hub,
                                   .routes = route_table_open(&config, bench->streams, why),
                                   .dashboard = users == 0 ? NULL : dashboard_open(&dashboard),
                                   .pending_bytes = 65536,
                                   .progress = &progress};
    bench->live = live_open(&options);
    must(bench->live != NULL);
}

/* A browser is there, for a user and a project that no event here is of. */
static void somebody_else(struct bench *bench)
{
    static const struct peer_ops ops = {.name = "bench"};
    static struct peer peer;
    struct hub_terms terms = {.encoding = ENCODING_RAW};
    hub_set_encoder(bench->hub, ENCODING_RAW, encode_nothing, NULL);
    peer_init(&peer, bench->hub, &bench->turn, &ops, "", "");
    must(hub_join(bench->hub, &bench->turn, &peer, SPAN("user:x"), &terms) == HUB_JOINED);
    must(hub_join(bench->hub, &bench->turn, &peer, SPAN("project:x"), &terms) == HUB_JOINED);
}

int main(int count, char **arguments)
{
    double seconds = count > 1 ? atof(arguments[1]) : 1.0;
    static struct counters counters;
    struct bench bench = {.counters = &counters, .streams = streams_open()};
    char why[STREAM_WHY_BYTES];
    bench.text = calloc(EVENTS, TEXT_BYTES);
    bench.event = calloc(INTAKE_MAX, sizeof *bench.event);
    bench.verdict = calloc(INTAKE_MAX, sizeof *bench.verdict);
    bench.row = malloc(65536);
    bench.turn = (struct turn){.counters = &counters};
    must(bench.text != NULL && bench.event != NULL && bench.verdict != NULL && bench.row != NULL);
    must(streams_add_defaults(bench.streams, why) == 0);
    bench.users = 1000;
    open_live(&bench, 0);
    measure(&bench, "no dashboards", seconds);
    open_live(&bench, 0);
    somebody_else(&bench);
    measure(&bench, "others are watched", seconds);
    open_live(&bench, 16384);
    measure(&bench, "1,000 users", seconds);
    bench.users = 10000;
    measure(&bench, "10,000 users", seconds);
    bench.users = EVENTS;
    measure(&bench, "each a new user", seconds);
    return bench.sum == 0;
}
