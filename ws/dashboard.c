/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sums over the shards' tables, and what is made of them.
 */
#include "ws/dashboard.h"

#include "core/clock.h"
#include "ws/dashboard_table.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    ROOM_BYTES_MAX = 5 + EVENT_TEXT_MAX,
    JSON_BYTES_MAX = 16384,
    USER_TYPES_MAX = 64,
    USER_SESSIONS_MAX = 64
};

struct dashboard {
    struct dashboard_options options;
    struct buf *json;    /* [shards] */
    struct users *users; /* [shards] */
};

/* One user over all shards. */
struct whole {
    uint64_t other;
    int64_t last_us;
    uint32_t now_s;
    uint64_t series[DASHBOARD_WINDOW_S]; /* the last is the current second's */
    struct {
        struct span name;
        uint64_t count;
    } type[USER_TYPES_MAX];
    uint32_t session[USER_SESSIONS_MAX];
    unsigned types, sessions;
};

/* ── Adding up ──────────────────────────────────────────────────────────────────────────────── */

static void add_type(struct whole *whole, struct span name, uint64_t count_)
{
    unsigned i = 0;
    while (i < whole->types && !span_equal(whole->type[i].name, name))
        i++;
    if (i == USER_TYPES_MAX || span_is(name, "other")) {
        whole->other += count_;
        return;
    }
    if (i == whole->types)
        whole->type[whole->types++].name = name;
    whole->type[i].count += count_;
}

static void add_session(struct whole *whole, uint32_t session)
{
    for (unsigned i = 0; i < whole->sessions; i++)
        if (whole->session[i] == session)
            return;
    if (whole->sessions < USER_SESSIONS_MAX)
        whole->session[whole->sessions++] = session;
}

static void add_series(struct whole *whole, const struct user_sum *sum)
{
    for (unsigned i = 0; i < DASHBOARD_WINDOW_S; i++) {
        uint32_t second = whole->now_s - (DASHBOARD_WINDOW_S - 1) + i;
        if (second <= sum->newest_s && sum->newest_s - second < USERS_SERIES)
            whole->series[i] += sum->series[second % USERS_SERIES];
    }
}

static void add_sum(struct whole *whole, const struct users *users, const struct user_sum *sum)
{
    whole->other += sum->other;
    if (sum->last_us > whole->last_us)
        whole->last_us = sum->last_us;
    for (unsigned i = 0; i < DASHBOARD_TYPES; i++)
        if (sum->type[i] != 0)
            add_type(whole, users_type(users, (uint16_t)(sum->type[i] >> 48)),
                     sum->type[i] & LINE_COUNT);
    if (!sum->watched)
        return;
    add_series(whole, sum);
    for (unsigned i = 0; i < DASHBOARD_SESSIONS; i++)
        if (sum->session[i] != 0 && whole->now_s - sum->session_s[i] < DASHBOARD_WINDOW_S)
            add_session(whole, sum->session[i]);
}

static bool add_up(const struct dashboard *dashboard, const struct turn *turn, struct span user,
                   struct whole *whole)
{
    struct user_sum sum;
    bool known = false;
    memset(whole, 0, sizeof *whole);
    whole->now_s = users_second(turn);
    for (unsigned shard = 0; shard < dashboard->options.shards; shard++) {
        const struct users *users = &dashboard->users[shard];
        if (!users_read(users, users_hash(users, user), &sum))
            continue;
        add_sum(whole, users, &sum);
        known = true;
    }
    return known;
}

/* ── The object ─────────────────────────────────────────────────────────────────────────────── */

static bool put_types(const struct whole *whole, struct buf *out)
{
    bool put = buf_print(out, ",\"byType\":{");
    for (unsigned i = 0; i < whole->types; i++)
        put = put && (i == 0 || buf_put(out, ",", 1)) && buf_put_json(out, whole->type[i].name) &&
              buf_print(out, ":%llu", (unsigned long long)whole->type[i].count);
    if (whole->other > 0)
        put = put && buf_print(out, "%s\"other\":%llu", whole->types > 0 ? "," : "",
                               (unsigned long long)whole->other);
    return put && buf_put(out, "}", 1);
}

/* "2015-05-17T10:05:03.123Z" */
static bool put_time(struct buf *out, const char *name, int64_t us)
{
    char text[EVENT_TIME_BYTES];
    event_time_print(us, text);
    return buf_print(out, "%s\"%.*sZ\"", name, EVENT_TIME_BYTES - 4, text);
}

static bool put_series(const struct whole *whole, const struct turn *turn, struct buf *out)
{
    int64_t current_us = turn->wall_us - turn->wall_us % 1000000;
    bool put = buf_print(out, ",\"windowSeconds\":%d,\"series\":[", DASHBOARD_WINDOW_S);
    for (unsigned i = 0; i < DASHBOARD_WINDOW_S; i++) {
        int64_t us = current_us - (int64_t)(DASHBOARD_WINDOW_S - 1 - i) * 1000000;
        put = put && buf_put(out, ",", i > 0) && put_time(out, "{\"t\":", us) &&
              buf_print(out, ",\"count\":%llu}", (unsigned long long)whole->series[i]);
    }
    return put && buf_put(out, "]", 1);
}

static uint64_t total(const struct whole *whole)
{
    uint64_t events = whole->other;
    for (unsigned i = 0; i < whole->types; i++)
        events += whole->type[i].count;
    return events;
}

static uint64_t lately(const struct whole *whole)
{
    uint64_t events = 0;
    for (unsigned i = DASHBOARD_WINDOW_S - DASHBOARD_RATE_S; i < DASHBOARD_WINDOW_S; i++)
        events += whole->series[i];
    return events;
}

bool dashboard_put(const struct dashboard *dashboard, const struct turn *turn, struct span user,
                   struct buf *out)
{
    struct whole whole;
    if (!add_up(dashboard, turn, user, &whole))
        return false;
    return buf_print(out, "{\"userId\":") && buf_put_json(out, user) &&
           buf_print(out, ",\"totalEvents\":%llu,\"eventsPerSecond\":%.2f,\"activeSessions\":%u",
                     (unsigned long long)total(&whole), (double)lately(&whole) / DASHBOARD_RATE_S,
                     whole.sessions) &&
           put_types(&whole, out) && put_time(out, ",\"lastEventAt\":", whole.last_us) &&
           put_series(&whole, turn, out) && put_time(out, ",\"timestamp\":", turn->wall_us) &&
           buf_put(out, "}", 1);
}

/* ── Who is shown ───────────────────────────────────────────────────────────────────────────── */

static bool is_active(const struct dashboard *dashboard, int64_t last_us, int64_t now_us)
{
    return last_us != 0 && now_us - last_us <= (int64_t)dashboard->options.idle_s * 1000000;
}

/* Of the shards that have seen the user lately the first one shows him. */
static bool is_ours(const struct dashboard *dashboard, unsigned shard, struct span user,
                    int64_t now_us)
{
    for (unsigned i = 0; i < shard; i++) {
        const struct users *users = &dashboard->users[i];
        if (is_active(dashboard, users_last_us(users, users_hash(users, user)), now_us))
            return false;
    }
    return true;
}

static struct span room_of(struct span user, uint8_t name[ROOM_BYTES_MAX])
{
    static const uint8_t prefix[] = {'u', 's', 'e', 'r', ':'};
    memcpy(name, prefix, sizeof prefix);
    memcpy(name + sizeof prefix, user.at, user.length);
    return span_of(name, sizeof prefix + user.length);
}

static void show(struct dashboard *dashboard, unsigned shard, struct turn *turn, struct hub *hub,
                 struct span user)
{
    uint8_t name[ROOM_BYTES_MAX];
    struct buf *json = &dashboard->json[shard];
    if (!is_ours(dashboard, shard, user, turn->wall_us))
        return;
    json->length = 0;
    if (!dashboard_put(dashboard, turn, user, json))
        return; /* forgotten just now, or no memory: the next one comes soon */
    struct publish publish = {.room = room_of(user, name),
                              .event = SPAN("dashboard_data"),
                              .data = buf_span(json),
                              .key = users_hash(&dashboard->users[0], user)};
    (void)hub_publish(hub, turn, &publish);
}

/* Calls back for each user who was seen lately. */
static void each_active(struct dashboard *dashboard, unsigned shard, struct turn *turn,
                        struct hub *hub,
                        void (*each)(struct dashboard *dashboard, unsigned shard, struct turn *turn,
                                     struct hub *hub, size_t line))
{
    struct users *users = &dashboard->users[shard];
    for (size_t line = 0; line < (users->mask + 1) * USERS_WAYS; line++) {
        int64_t last_us = atomic_load_explicit(&users->line[line].last_us, memory_order_relaxed);
        if (is_active(dashboard, last_us, turn->wall_us))
            each(dashboard, shard, turn, hub, line);
    }
}

static struct span name_of(const struct users *users, size_t line)
{
    return span_of(users->name[line].text, users->name[line].length);
}

static void watch(struct dashboard *dashboard, unsigned shard, struct turn *turn, struct hub *hub,
                  size_t line)
{
    struct users *users = &dashboard->users[shard];
    uint8_t name[ROOM_BYTES_MAX];
    (void)turn;
    users_watch(users, line, hub_has_audience(hub, room_of(name_of(users, line), name)));
}

static void show_watched(struct dashboard *dashboard, unsigned shard, struct turn *turn,
                         struct hub *hub, size_t line)
{
    struct users *users = &dashboard->users[shard];
    uint64_t flags = atomic_load_explicit(&users->line[line].other, memory_order_relaxed);
    if ((flags & LINE_WATCHED) != 0)
        show(dashboard, shard, turn, hub, name_of(users, line));
}

void dashboard_publish(struct dashboard *dashboard, unsigned shard, struct turn *turn,
                       struct hub *hub)
{
    struct users *users = &dashboard->users[shard];
    if (LIKELY(turn->now_ns < users->due_ns))
        return;
    users->due_ns = turn->now_ns + dashboard->options.interval_ns;
    if (!hub_has_anyone(hub))
        return;
    each_active(dashboard, shard, turn, hub, watch);
    users_read_log(users);
    each_active(dashboard, shard, turn, hub, show_watched);
}

uint64_t dashboard_due_ns(const struct dashboard *dashboard, unsigned shard)
{
    return dashboard->users[shard].due_ns;
}

void dashboard_count(struct dashboard *dashboard, unsigned shard, const struct turn *turn,
                     const struct event *events, const struct verdict *verdicts, unsigned judged)
{
    users_count(&dashboard->users[shard], turn, events, verdicts, judged);
}

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

struct dashboard *dashboard_open(const struct dashboard_options *options)
{
    struct dashboard *dashboard = calloc(1, sizeof *dashboard);
    uint64_t seed;
    if (dashboard == NULL)
        return NULL;
    clock_random(&seed, sizeof seed);
    dashboard->options = *options;
    dashboard->users = calloc(options->shards, sizeof *dashboard->users);
    dashboard->json = calloc(options->shards, sizeof *dashboard->json);
    bool good = dashboard->users != NULL && dashboard->json != NULL;
    for (unsigned i = 0; good && i < options->shards; i++) {
        buf_init(&dashboard->json[i], JSON_BYTES_MAX);
        good = users_init(&dashboard->users[i], options->users, seed);
    }
    if (good)
        return dashboard;
    dashboard_close(dashboard);
    return NULL;
}

void dashboard_close(struct dashboard *dashboard)
{
    if (dashboard == NULL)
        return;
    for (unsigned i = 0; i < dashboard->options.shards; i++) {
        if (dashboard->users != NULL)
            users_fini(&dashboard->users[i]);
        if (dashboard->json != NULL)
            buf_fini(&dashboard->json[i]);
    }
    free(dashboard->users);
    free(dashboard->json);
    free(dashboard);
}
