/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what the intake took to what subscribers hear: routes, when an event is durable, what has no
 * room, arrays, and what users' events come to.
 */
#include "tests/unit/hub_fixture.h"
#include "ws/dashboard.h"
#include "ws/live.h"
#include "ws/route_table.h"
#include "ws/routes.h"

enum { LIVES_MAX = HUBS_MAX };

static struct house_of_hubs house;
static struct streams *streams;
static struct route_table *table;
static struct live *live[LIVES_MAX];
static struct routes *routes;
static struct dashboard *dashboard;
static struct progress progress[LIVES_MAX];
static struct config config;
static struct listener ear;
static uint64_t sequence;
static bool with_dashboards;
static unsigned users_kept = 1024;

static void set_route(unsigned index, const char *name, enum config_route_key key,
                      const char *value)
{
    config.route[index].name = (char *)(uintptr_t)name;
    config.route[index].value[key] = (char *)(uintptr_t)value;
    config.route[index].where[key] = (char *)(uintptr_t) "here";
    if (config.routes <= index)
        config.routes = index + 1;
}

static void open_all(unsigned shards, enum live_after after, size_t pending_bytes)
{
    char why[ROUTE_WHY_BYTES];
    struct dashboard_options counting = {
        .shards = shards, .users = users_kept, .interval_ns = 1000000000, .idle_s = 30};
    hubs_open(&house, shards, &hub_defaults);
    streams = streams_open();
    assert_int_equal(streams_add_defaults(streams, why), 0);
    table = route_table_open(&config, streams, why);
    if (table == NULL)
        fail_msg("%s", why);
    dashboard = dashboard_open(&counting);
    memset(progress, 0, sizeof progress);
    sequence = 0;
    for (unsigned i = 0; i < shards; i++) {
        struct live_options options = {.shard = i,
                                       .hub = house.hub[i],
                                       .routes = table,
                                       .dashboard = with_dashboards ? dashboard : NULL,
                                       .after = after,
                                       .batch_ns = 100000000,
                                       .pending_bytes = pending_bytes,
                                       .progress = &progress[i]};
        live[i] = live_open(&options);
        assert_non_null(live[i]);
    }
    routes = routes_open(house.hub[0], table);
    listener_open(&ear, &house, 0, "u");
}

static void close_all(void)
{
    listener_close(&ear, &house, 0);
    for (unsigned i = 0; i < house.shards; i++)
        live_close(live[i]);
    routes_close(routes);
    dashboard_close(dashboard);
    route_table_close(table);
    streams_close(streams);
    hubs_close(&house);
    config = (struct config){0};
    with_dashboards = false;
}

static void parse(const char *text, struct event *event)
{
    static char memory[INTAKE_MAX][2048];
    static unsigned next;
    static const struct event_rules rules = {.bytes_max = 65536, .bare_type = SPAN("event")};
    struct refusal refusal;
    char *copy = memory[next++ % INTAKE_MAX];
    assert_true(strlen(text) < sizeof memory[0]);
    strcpy(copy, text);
    if (event_parse(span_of_string(copy), &rules, event, &refusal) != EVENT_ACCEPTED)
        fail_msg("%s: %s", text, refusal.message);
}

static uint64_t take_from(unsigned shard, const struct source *source, const char *text)
{
    static struct event event;
    struct verdict verdict = {.code = EVENT_ACCEPTED,
                              .ticket = {sequence, shard},
                              .made_id = "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5"};
    verdict.made_id[UUID_TEXT_BYTES - 1] = 'b';
    parse(text, &event);
    verdict.stream = streams_route(streams, event.type);
    const struct witness *witness = live_witness(live[shard]);
    witness->accepted(witness->self, &house.turn[shard], source, &event, &verdict, 1);
    return sequence++;
}

static void take(const char *text)
{
    static const struct source nobody;
    (void)take_from(0, &nobody, text);
}

static void release(uint64_t durable)
{
    for (unsigned i = 0; i < house.shards; i++) {
        atomic_store(&progress[i].durable, durable);
        live_release(live[i], &house.turn[i]);
    }
    hubs_turn(&house);
}

static void shown_once_durable(void **state)
{
    (void)state;
    open_all(1, LIVE_SPOOLED, 1 << 20);
    take("{\"type\":\"send_message\",\"roomId\":\"r\",\"data\":{\"message\":\"nobody is there\"}}");
    join(&house, 0, &ear, "r");
    for (unsigned i = 0; i < 3; i++)
        take("{\"type\":\"send_message\",\"roomId\":\"r\",\"userId\":\"a\",\"timestamp\":0,"
             "\"data\":{\"message\": \"m\"}}");
    release(2);
    static const char one[] =
        "A r chat_message {\"id\":\"0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b\",\"roomId\":\"r\","
        "\"userId\":\"a\",\"userName\":\"a\",\"message\":\"m\","
        "\"timestamp\":\"1970-01-01T00:00:00.000Z\"}\n";
    heard(&ear, one);
    release(2);
    heard(&ear, "");
    release(4);
    char two[2 * sizeof one];
    snprintf(two, sizeof two, "%s%s", one, one);
    heard(&ear, two);
    close_all();
}

static void after_something_else(void **state)
{
    (void)state;
    open_all(1, LIVE_STORED, 1 << 20);
    join(&house, 0, &ear, "user:a");
    take("{\"type\":\"mark_notification_read\",\"userId\":\"a\",\"data\":{\"notificationId\":1}}");
    release(1);
    heard(&ear, "");
    atomic_store(&progress[0].stored, 1);
    release(1);
    heard(&ear, "A user:a notification_read {\"notificationId\":1}\n");
    close_all();
    open_all(1, LIVE_RECEIVED, 1 << 20);
    join(&house, 0, &ear, "user:a");
    take("{\"type\":\"mark_notification_read\",\"userId\":\"a\",\"data\":{\"notificationId\":1}}");
    release(0);
    heard(&ear, "A user:a notification_read {\"notificationId\":1}\n");
    close_all();
}

/* Everything that there is no room for is counted, and what comes later has room again. */
static void bounded(void **state)
{
    (void)state;
    char text[2048];
    open_all(1, LIVE_SPOOLED, 8192);
    join(&house, 0, &ear, "user:a");
    snprintf(text, sizeof text,
             "{\"type\":\"mark_notification_read\",\"userId\":\"a\",\"data\":{\"notificationId\":"
             "\"%01000d\"}}",
             0);
    for (unsigned round = 0; round < 5; round++) {
        uint64_t before = counted(house.counters[0], COUNT_LIVE_DROPPED);
        for (unsigned i = 0; i < 20; i++)
            take(text);
        uint64_t dropped = counted(house.counters[0], COUNT_LIVE_DROPPED) - before;
        assert_true(dropped > 0);
        release(sequence);
        unsigned lines = 0;
        for (size_t i = 0; i < ear.heard.length; i++)
            lines += ear.heard.at[i] == '\n';
        ear.heard.length = 0;
        assert_true(lines > 0);
        assert_true(lines + dropped <= 40 && lines + dropped >= 20); /* `events` as well */
    }
    close_all();
}

static void arrays(void **state)
{
    (void)state;
    open_all(1, LIVE_SPOOLED, 1 << 20);
    join(&house, 0, &ear, "user_a");
    take("{\"id\":\"1\",\"type\":\"x\",\"userId\":\"a\",\"timestamp\":1000000000123.456,"
         "\"data\":[ 1,\n\t\" \\\" \" ]}");
    take("{\"id\":\"2\",\"type\":\"x\",\"userId\":\"b\"}");
    take("{\"id\":\"3\",\"ty\\u0070e\":\"y\",\"userId\":\"a\",\"ts\":0,\"more\":{}}");
    release(3);
    heard(&ear, "");
    assert_int_equal(live_tick(live[0], &house.turn[0]), 100000000);
    house.turn[0].now_ns += 100000000;
    release(3);
    heard(&ear,
          "A user:a events [{\"id\":\"1\",\"type\":\"x\",\"userId\":\"a\","
          "\"timestamp\":\"2001-09-09T01:46:40.123456Z\",\"data\":[1,\" \\\" \"]},"
          "{\"id\":\"3\",\"type\":\"y\",\"userId\":\"a\","
          "\"timestamp\":\"1970-01-01T00:00:00.000Z\",\"data\":{\"_extra\":{\"more\":{}}}}]\n");
    close_all();
}

static void the_first_of_a_batch(void **state)
{
    (void)state;
    struct batch_shown shown = {0};
    struct source batch = {.batch = &shown};
    set_route(0, "event_received", ROUTE_FIRST, "2");
    set_route(0, "event_received", ROUTE_DATA, "data");
    open_all(1, LIVE_RECEIVED, 1 << 20);
    take_from(0, &batch, "{\"type\":\"k\",\"projectId\":\"p\",\"data\":0}"); /* nobody is there */
    join(&house, 0, &ear, "project:p");
    for (unsigned i = 1; i < 5; i++) {
        char text[80];
        snprintf(text, sizeof text, "{\"type\":\"k\",\"projectId\":\"p\",\"data\":%u}", i);
        take_from(0, &batch, text);
    }
    take_from(0, &batch,
              "{\"type\":\"session_end\",\"projectId\":\"p\",\"sessionId\":\"s\",\"ts\":0}");
    shown = (struct batch_shown){0};
    take_from(0, &batch, "{\"type\":\"k\",\"projectId\":\"p\",\"data\":6}");
    take("{\"type\":\"k\",\"projectId\":\"p\",\"data\":7}");
    take("{\"type\":\"k\",\"projectId\":\"p\",\"data\":8}");
    take("{\"type\":\"k\",\"projectId\":\"p\",\"data\":9}");
    release(0);
    heard(&ear, "A project:p event-received 1\nA project:p event-received 2\n"
                "A project:p session-ended {\"sessionId\":\"s\",\"externalUserId\":null,"
                "\"submitted\":true,\"timestamp\":\"1970-01-01T00:00:00.000Z\"}\n"
                "A project:p event-received 6\nA project:p event-received 7\n"
                "A project:p event-received 8\nA project:p event-received 9\n");
    close_all();
}

static void own_routes(void **state)
{
    (void)state;
    set_route(0, "order", ROUTE_TYPES, " placed , paid ");
    set_route(0, "order", ROUTE_HAS, "data.a.b, tenantId");
    set_route(0, "order", ROUTE_TO, "shop-{data.shop}-x else floor else *");
    set_route(0, "order", ROUTE_EMIT, "order");
    set_route(0, "order", ROUTE_DATA,
              "n from data.no|data.a.b, t from \"a, \\\"b\\\" | c\", u from null, v from -1.5e3, "
              "w from data, type");
    set_route(1, "cart", ROUTE_STREAMS, "cart_events");
    set_route(1, "cart", ROUTE_TO, "carts");
    set_route(1, "cart", ROUTE_EMIT, "cart");
    set_route(1, "cart", ROUTE_DATA, "type");
    set_route(2, "events", ROUTE_ENABLED, "no");
    open_all(1, LIVE_RECEIVED, 1 << 20);
    join(&house, 0, &ear, "shop-7-x");
    join(&house, 0, &ear, "floor");
    join(&house, 0, &ear, "carts");
    take("{\"type\":\"placed\",\"tenantId\":\"t\",\"data\":{\"shop\":7,\"a\":{\"b\":1}}}");
    take("{\"type\":\"paid\",\"tenantId\":\"t\",\"data\":{\"a\":{\"b\":\"\\u00e9\"}}}");
    take("{\"type\":\"paid\",\"tenantId\":\"t\",\"data\":{\"a\":{\"b\":null}}}");
    take("{\"type\":\"paid\",\"data\":{\"a\":{\"b\":1}}}");
    take("{\"type\":\"refunded\",\"tenantId\":\"t\",\"data\":{\"a\":{\"b\":1}}}");
    take("{\"type\":\"item_added\",\"userId\":\"u\"}");
    release(0);
    heard(&ear, "A shop-7-x order {\"n\":1,\"t\":\"a, \\\"b\\\" | c\",\"u\":null,\"v\":-1.5e3,"
                "\"w\":{\"shop\":7,\"a\":{\"b\":1}},\"type\":\"placed\"}\n"
                "A floor order {\"n\":\"\\u00e9\",\"t\":\"a, \\\"b\\\" | c\",\"u\":null,"
                "\"v\":-1.5e3,\"w\":{\"a\":{\"b\":\"\\u00e9\"}},\"type\":\"paid\"}\n"
                "A carts cart {\"type\":\"item_added\"}\n");
    close_all();
}

/* What a token does not allow to be said is kept, and shown to nobody. */
static void who_may_speak(void **state)
{
    (void)state;
    static struct principal plain, trusted;
    strcpy(plain.user_id, "p");
    strcpy(plain.tenant_id, "mine");
    trusted.scopes = SCOPE_INGEST;
    struct source by_plain = {.principal = &plain}, by_trusted = {.principal = &trusted};
    struct source judged = {.principal = &plain, .judged_room = SPAN("r")};
    static const char in_room[] =
        "{\"type\":\"send_message\",\"roomId\":\"r\",\"ts\":0,\"id\":\"1\"}";
    static const char in_tenant[] =
        "{\"type\":\"send_message\",\"tenantId\":\"yours\",\"ts\":0,\"id\":\"2\"}";
    static const char elsewhere[] =
        "{\"type\":\"send_message\",\"data\":{\"roomId\":\"user:b\"},\"ts\":0,\"id\":\"3\"}";
    open_all(1, LIVE_RECEIVED, 1 << 20);
    join(&house, 0, &ear, "r");
    join(&house, 0, &ear, "tenant:yours");
    join(&house, 0, &ear, "user:b");
    join(&house, 0, &ear, "*");
    take_from(0, &by_plain, in_room);
    take_from(0, &by_plain, in_tenant);
    take_from(0, &judged, in_tenant);
    take_from(0, &judged, elsewhere);
    take_from(0, &by_trusted, elsewhere);
    take_from(0, &by_trusted, "{\"type\":\"broadcast\"}");
    release(0);
    heard(&ear, "");
    take_from(0, &judged, in_room);
    release(0);
    heard(&ear, "A r chat_message {\"id\":\"1\",\"roomId\":\"r\",\"userId\":null,\"userName\":null,"
                "\"message\":null,\"timestamp\":\"1970-01-01T00:00:00.000Z\"}\n");
    take_from(0, &by_trusted, in_tenant);
    release(0);
    heard(&ear, "A tenant:yours chat_message {\"id\":\"2\",\"roomId\":null,\"userId\":null,"
                "\"userName\":null,\"message\":null,\"timestamp\":\"1970-01-01T00:00:00.000Z\"}\n");
    close_all();
}

static enum routes_verdict offer(const struct principal *principal, const char *text,
                                 struct refusal *refusal)
{
    static struct event event;
    parse(text, &event);
    struct routes_sender sender = {principal, SPAN("r")};
    return routes_offer(routes, &house.turn[0], &sender, &event, refusal);
}

/* "": none. */
static void judges(const struct principal *principal, const char *text, const char *wanted)
{
    static struct event event;
    char name[ROOM_NAME_MAX + 1];
    size_t length = 0;
    parse(text, &event);
    if (!routes_room_to_judge(routes, principal, &event, name, &length))
        length = 0;
    name[length] = '\0';
    assert_string_equal(name, wanted);
}

/* The room in which it would be told, wherever its name stands. */
static void a_room_to_judge(void **state)
{
    (void)state;
    static struct principal who;
    strcpy(who.tenant_id, "t");
    set_route(0, "chat", ROUTE_TYPES, "said");
    set_route(0, "chat", ROUTE_TO, "chat-{data.where.room}");
    set_route(0, "chat", ROUTE_EMIT, "said");
    open_all(1, LIVE_RECEIVED, 1 << 20);
    judges(&who, "{\"type\":\"typing_start\",\"roomId\":\"r\"}", "r");
    judges(&who, "{\"type\":\"send_message\",\"metadata\":{\"roomId\":\"\\u0072\"}}", "r");
    judges(&who, "{\"type\":\"send_message\",\"roomId\":\"a\",\"room_id\":\"b\"}", "b");
    judges(&who, "{\"type\":\"send_message\",\"tenantId\":\"t\"}", "");
    judges(&who, "{\"type\":\"send_message\",\"roomId\":\"tenant:t\"}", "");
    judges(&who, "{\"type\":\"said\",\"roomId\":\"a\",\"data\":{\"where\":{\"room\":7}}}",
           "chat-7");
    judges(&who, "{\"type\":\"anything\",\"roomId\":\"r\",\"userId\":\"u\",\"projectId\":\"p\"}",
           "");
    close_all();
}

static void messages_that_are_not_kept(void **state)
{
    (void)state;
    static struct principal who;
    struct refusal refusal;
    strcpy(who.user_id, "p");
    open_all(1, LIVE_RECEIVED, 1 << 20);
    join(&house, 0, &ear, "r");
    assert_int_equal(
        offer(&who, "{\"type\":\"typing_start\",\"data\":{\"roomId\":\"r\"}}", &refusal),
        ROUTES_TOLD);
    hubs_turn(&house);
    heard(&ear, "A r user_typing {\"userId\":\"p\",\"roomId\":\"r\",\"typing\":true}\n");
    assert_int_equal(offer(&who, "{\"type\":\"typing_start\"}", &refusal), ROUTES_REFUSED);
    assert_string_equal(refusal.message, "roomId: missing");
    assert_int_equal(
        offer(&who, "{\"type\":\"typing_start\",\"roomId\":\"r\",\"userId\":\"q\"}", &refusal),
        ROUTES_REFUSED);
    assert_int_equal(refusal.code, EVENT_FORBIDDEN);
    assert_int_equal(offer(&who, "{\"type\":\"typing_start\",\"roomId\":\"tenant:t\"}", &refusal),
                     ROUTES_REFUSED);
    assert_int_equal(offer(&who, "{\"type\":\"typing_start\",\"roomId\":\"other\"}", &refusal),
                     ROUTES_REFUSED);
    assert_int_equal(refusal.code, EVENT_FORBIDDEN);
    assert_int_equal(offer(&who, "{\"type\":\"user_status\",\"data\":{}}", &refusal), ROUTES_TOLD);
    assert_int_equal(offer(&who, "{\"type\":\"broadcast\"}", &refusal), ROUTES_REFUSED);
    assert_int_equal(refusal.code, EVENT_FORBIDDEN);
    who.scopes = SCOPE_PUBLISH_ALL;
    assert_int_equal(offer(&who, "{\"type\":\"broadcast\"}", &refusal), ROUTES_STORED);
    assert_int_equal(offer(NULL, "{\"type\":\"anything\"}", &refusal), ROUTES_STORED);
    hubs_turn(&house);
    heard(&ear, "");
    close_all();
}

static void says(const char *part)
{
    assert_true(buf_put(&ear.heard, "", 1));
    if (strstr((const char *)ear.heard.at, part) == NULL)
        fail_msg("%s is not in %s", part, (const char *)ear.heard.at);
    ear.heard.length--;
}

static void tick(void)
{
    for (unsigned i = 0; i < house.shards; i++) {
        house.turn[i].now_ns += 1000000000;
        house.turn[i].wall_us += 1000000;
    }
    release(sequence);
}

/* Two shards have taken his events, before anybody looked and after. */
static void dashboards(void **state)
{
    (void)state;
    static const struct source nobody;
    with_dashboards = true;
    open_all(2, LIVE_SPOOLED, 1 << 20);
    for (unsigned i = 0; i < 3; i++)
        take_from(i % 2, &nobody, "{\"type\":\"t\",\"userId\":\"a\",\"sessionId\":\"s\"}");
    take_from(1, &nobody,
              "{\"type\":\"other_type_than_that\",\"userId\":\"a\",\"sessionId\":\"s2\"}");
    take_from(1, &nobody, "{\"type\":\"t\",\"userId\":\"b\"}");
    tick();
    heard(&ear, "");
    join_as(&house, 0, &ear, "user:a", ENCODING_A, "dashboard_data");
    tick();
    says("\"totalEvents\":4,"); /* at once; the other shard's series comes with its own tick */
    ear.heard.length = 0;
    tick();
    says("A user:a dashboard_data {\"userId\":\"a\",\"totalEvents\":4,"
         "\"eventsPerSecond\":0.40,\"activeSessions\":2,"
         "\"byType\":{\"t\":3,\"other_type_than_that\":1},"
         "\"lastEventAt\":\"2023-11-14T22:13:20.000Z\",\"windowSeconds\":60,\"series\":["
         "{\"t\":\"2023-11-14T22:12:24.000Z\",\"count\":0},");
    says("{\"t\":\"2023-11-14T22:13:20.000Z\",\"count\":4},"
         "{\"t\":\"2023-11-14T22:13:21.000Z\",\"count\":0},"
         "{\"t\":\"2023-11-14T22:13:22.000Z\",\"count\":0},"
         "{\"t\":\"2023-11-14T22:13:23.000Z\",\"count\":0}],"
         "\"timestamp\":\"2023-11-14T22:13:23.000Z\"}\n");
    assert_null(memmem(ear.heard.at, ear.heard.length, "\"b\"", 3));
    ear.heard.length = 0;
    take_from(0, &nobody, "{\"type\":\"session_end\",\"userId\":\"a\",\"sessionId\":\"s\"}");
    take_from(1, &nobody, "{\"type\":\"session_end\",\"userId\":\"a\",\"sessionId\":\"s\"}");
    tick();
    says("\"totalEvents\":6,\"eventsPerSecond\":0.60,\"activeSessions\":1,");
    ear.heard.length = 0;
    for (unsigned i = 0; i < 31; i++)
        tick();
    ear.heard.length = 0;
    tick();
    heard(&ear, ""); /* idle */
    take_from(1, &nobody, "{\"type\":\"t\",\"userId\":\"a\"}");
    tick();
    says("\"totalEvents\":7,");
    close_all();
}

/* Against counts that are too simple to be wrong: many types, many users, more than have room. */
static void counts(void **state)
{
    (void)state;
    static const struct source nobody;
    enum { USERS = 40, TYPES = 25 };
    static unsigned have[USERS][TYPES];
    struct buf json = {.max = 65536};
    char text[256];
    with_dashboards = true;
    open_all(1, LIVE_SPOOLED, 1 << 20);
    memset(have, 0, sizeof have);
    uint64_t chance = 3;
    for (unsigned i = 0; i < 20000; i++) {
        chance = chance * 6364136223846793005u + 1442695040888963407u;
        unsigned user = (unsigned)(chance >> 33) % USERS, type = (unsigned)(chance >> 50) % TYPES;
        snprintf(text, sizeof text, "{\"type\":\"%.*s%u\",\"userId\":\"%.*s%u\"}",
                 (int)(type % 3) * 8, "abcdefghijklmnopqrstuvwxyz", type, (int)(user % 4) * 7,
                 "ABCDEFGHIJKLMNOPQRSTUVWXYZ", user);
        take_from(0, &nobody, text);
        have[user][type]++;
    }
    for (unsigned user = 0; user < USERS; user++) {
        unsigned total = 0, named = 0;
        int length = snprintf(text, sizeof text, "%.*s%u", (int)(user % 4) * 7,
                              "ABCDEFGHIJKLMNOPQRSTUVWXYZ", user);
        json.length = 0;
        if (!dashboard_put(dashboard, &house.turn[0], span_of(text, (size_t)length), &json))
            fail_msg("%s is forgotten", text);
        assert_true(buf_put(&json, "", 1));
        for (unsigned type = 0; type < TYPES; type++) {
            char part[80];
            total += have[user][type];
            snprintf(part, sizeof part, "\"%.*s%u\":%u", (int)(type % 3) * 8,
                     "abcdefghijklmnopqrstuvwxyz", type, have[user][type]);
            named += strstr((const char *)json.at, part) != NULL;
        }
        snprintf(text, sizeof text, "\"totalEvents\":%u,", total);
        if (strstr((const char *)json.at, text) == NULL)
            fail_msg("%s is not in %s", text, (const char *)json.at);
        assert_int_equal(named, DASHBOARD_TYPES);
        assert_non_null(strstr((const char *)json.at, "\"other\":"));
    }
    buf_fini(&json);
    close_all();
}

static void take_of(const char *user)
{
    char text[400];
    snprintf(text, sizeof text, "{\"type\":\"t\",\"userId\":\"%s\",\"sessionId\":\"%s\"}", user,
             user);
    take(text);
}

static bool has_events(const char *user, const char *total)
{
    struct buf json = {.max = 65536};
    bool has = dashboard_put(dashboard, &house.turn[0], span_of_string(user), &json) &&
               memmem(json.at, json.length, total, strlen(total)) != NULL;
    buf_fini(&json);
    return has;
}

/* Ids of every length, and such as differ in one byte wherever it stands. */
static void told_apart(void **state)
{
    (void)state;
    users_kept = 16384;
    with_dashboards = true;
    open_all(1, LIVE_SPOOLED, 1 << 20);
    for (size_t length = 1; length <= EVENT_TEXT_MAX; length++) {
        char user[EVENT_TEXT_MAX + 1] = "", other[EVENT_TEXT_MAX + 1];
        memset(user, 'u', length);
        take_of(user);
        for (size_t at = 0; at < length; at++) {
            strcpy(other, user);
            other[at] = 'v';
            take_of(other);
            if (!has_events(other, "\"totalEvents\":1,"))
                fail_msg("%zu bytes, byte %zu", length, at);
        }
        if (!has_events(user, "\"totalEvents\":1,"))
            fail_msg("%zu bytes", length);
    }
    users_kept = 1024;
    close_all();
}

static void forgotten_users(void **state)
{
    (void)state;
    static const struct source nobody;
    struct buf json = {.max = 65536};
    char text[80];
    unsigned known = 0;
    users_kept = 32;
    with_dashboards = true;
    open_all(1, LIVE_SPOOLED, 1 << 20);
    for (unsigned i = 0; i < 10000; i++) {
        snprintf(text, sizeof text, "{\"type\":\"t\",\"userId\":\"user-%u\"}", i);
        take_from(0, &nobody, text);
    }
    for (unsigned i = 0; i < 10000; i++) {
        int length = snprintf(text, sizeof text, "user-%u", i);
        json.length = 0;
        if (!dashboard_put(dashboard, &house.turn[0], span_of(text, (size_t)length), &json))
            continue;
        known++;
        assert_non_null(memmem(json.at, json.length, "\"totalEvents\":1,", 16));
    }
    assert_true(known > 16 && known <= 64);
    users_kept = 1024;
    buf_fini(&json);
    close_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shown_once_durable),
        cmocka_unit_test(after_something_else),
        cmocka_unit_test(bounded),
        cmocka_unit_test(arrays),
        cmocka_unit_test(the_first_of_a_batch),
        cmocka_unit_test(own_routes),
        cmocka_unit_test(who_may_speak),
        cmocka_unit_test(a_room_to_judge),
        cmocka_unit_test(messages_that_are_not_kept),
        cmocka_unit_test(dashboards),
        cmocka_unit_test(counts),
        cmocka_unit_test(told_apart),
        cmocka_unit_test(forgotten_users),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
