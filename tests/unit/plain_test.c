/* SPDX-License-Identifier: Apache-2.0 */
/* /ws/live and /sse behind the real HTTP server, with a hub, and a directory that answers when told. */
#include "tests/unit/fake_conn.c"
#include "tests/unit/unit.h"
#include "tests/unit/ws_client.h"
#include "ws/plain.h"

#include <errno.h>
#include <stdio.h>

enum { HEARTBEAT_NS = 1000 };

static struct conn conn;
static struct counters counters;
static struct turn turn;
static struct hub_node *node;
static struct hub *hub;
static struct access *access_;
static struct allowance *allowance;
static struct plain plain;
static struct principal principal;
static bool has_principal;
static struct websocket_options websocket_options = {
    .message_bytes = 1000, .idle_ns = 1u << 30, .close_ns = 1000, .deflate_from = 1000};

unsigned shard_index(const struct shard *shard)
{
    (void)shard;
    return 0;
}

/* ── Around it ──────────────────────────────────────────────────────────────────────────────── */

static struct {
    struct directory directory; /* first */
    const struct asker *asker;
    uint64_t token[8];
    unsigned asked;
    bool later;
    enum finding_kind finding;
} files;

static bool look_up(struct directory *directory, struct turn *now, const struct question *question,
                    const struct asker *asker, uint64_t token, struct finding *finding)
{
    (void)directory;
    (void)now;
    (void)question;
    if (files.later) {
        files.asker = asker;
        files.token[files.asked++] = token;
    } else {
        *finding = (struct finding){.kind = files.finding};
    }
    return !files.later;
}

static void found(unsigned index, enum finding_kind kind)
{
    struct finding finding = {.kind = kind};
    files.asker->answered(files.asker->self, &turn, files.token[index], &finding);
}

static int verify(void *self, struct turn *now, struct span token, const char *peer,
                  struct principal *out, char *why)
{
    (void)self;
    (void)now;
    (void)token;
    (void)peer;
    (void)why;
    *out = principal;
    return has_principal ? 0 : -EACCES;
}

static struct admission admission = {.verify = verify};
static struct http_route routes[2];
static struct http_house house = {.routes = routes,
                                  .routes_count = 2,
                                  .admission = &admission,
                                  .body_bytes = 1000,
                                  .header_ns = 1u << 30,
                                  .body_ns = 1u << 30,
                                  .idle_ns = 1u << 30};

static int set_up(void **state)
{
    (void)state;
    turn = (struct turn){.counters = &counters, .now_ns = 1000000, .wall_us = 1700000000000000};
    memset(&counters, 0, sizeof counters);
    memset(&files, 0, sizeof files);
    memset(&principal, 0, sizeof principal);
    files.directory.ask = look_up;
    files.finding = FINDING_YES;
    has_principal = false;
    node = hub_node_open(1);
    hub = hub_open(&(struct hub_options){.node = node,
                                         .history_bytes = 1 << 20,
                                         .history_ns = 1000000000,
                                         .queue_bytes = 1 << 20,
                                         .queue_messages = 100,
                                         .rooms_max = 100,
                                         .backlog_bytes = 1 << 20,
                                         .answer_users = 10});
    access_ = access_open(&files.directory);
    allowance = allowance_open(64);
    plain_init(&plain, &(struct plain_options){.hub = hub,
                                               .access = access_,
                                               .allowance = allowance,
                                               .shards = 2,
                                               .heartbeat_ns = HEARTBEAT_NS,
                                               .retry_ms = 77,
                                               .websocket = &websocket_options});
    plain_change(&plain, &(struct plain_settings){.origins = "http://page.test"});
    routes[0] = (struct http_route){.method = "GET",
                                    .path = "/ws/live",
                                    .upgrade = true,
                                    .token = true,
                                    .context = &plain,
                                    .take = plain_take_socket,
                                    .shard_of = plain_shard_of};
    routes[1] = (struct http_route){.method = "GET",
                                    .path = "/sse",
                                    .token = true,
                                    .context = &plain,
                                    .take = plain_take_stream,
                                    .shard_of = plain_shard_of};
    fake_init(&conn);
    conn.wire = http_open(&conn, &turn, &house);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_fini(&conn, &turn);
    plain_fini(&plain);
    access_close(access_);
    allowance_close(allowance);
    hub_close(hub);
    hub_node_close(node);
    return 0;
}

static void ask(const char *path, const char *headers)
{
    char text[8192];
    int length = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n", path, headers);
    fake_receive(&conn, &turn, text, (size_t)length);
}

static void open_stream(const char *path)
{
    ask(path, "");
}

#define UPGRADE_TEXT                                                                               \
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"                   \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

static void open_socket(const char *path)
{
    ask(path, UPGRADE_TEXT);
}

static bool sent(const char *text)
{
    struct span all = buf_span(&conn.sent);
    return all.length > 0 && memmem(all.at, all.length, text, strlen(text)) != NULL;
}

static void expect(const char *text)
{
    if (!sent(text))
        fail_msg("wanted: %s\nsent: %.*s", text, SPAN_ARGS(buf_span(&conn.sent)));
}

static void publish_keyed(const char *room, const char *data, uint64_t key)
{
    struct publish publish = {.room = span_of_string(room),
                              .event = SPAN("e"),
                              .data = span_of_string(data),
                              .key = key,
                              .kept = key == 0};
    assert_true(hub_publish(hub, &turn, &publish));
}

static void publish(const char *room, const char *data)
{
    publish_keyed(room, data, 0);
    hub_flush(hub, &turn);
}

/* ── Refused ────────────────────────────────────────────────────────────────────────────────── */

static void refused(const char *path, unsigned status)
{
    char wanted[32];
    snprintf(wanted, sizeof wanted, "HTTP/1.1 %u ", status);
    for (unsigned i = 0; i < 2; i++) {
        char whole[4096];
        snprintf(whole, sizeof whole, "%s?%s", i == 0 ? "/ws/live" : "/sse", path);
        fake_forget(&conn);
        (i == 0 ? open_socket : open_stream)(whole);
        expect(wanted);
    }
}

static void what_is_refused_before_it_begins(void **state)
{
    (void)state;
    char rooms[2000] = "room=0";
    refused("room=", 400);
    refused("room=a,,b", 400);
    refused("room=%", 400);
    refused("types=a%2cb", 400);
    refused("types=%ff%", 400);
    refused("room=user:somebody", 403);
    refused("room=*", 403);
    refused("room=project:", 403);
    files.finding = FINDING_NO;
    refused("room=cellar", 403);
    refused("room=project:7", 404);
    files.finding = FINDING_FAILED;
    refused("room=lobby", 503);
    files.later = true; /* the second is no before the first is known: nobody is told of it later */
    refused("room=lobby,user:somebody", 403);
    for (unsigned i = 1; i <= PLAIN_ROOMS_MAX; i++)
        sprintf(rooms + strlen(rooms), ",%u", i);
    refused(rooms, 400);
    assert_int_equal(hub_peers(hub), 0);
}

static void too_many(const char *user, const struct plain_settings *settings)
{
    has_principal = true;
    strcpy(principal.user_id, user);
    plain_change(&plain, settings);
    fake_forget(&conn);
    open_stream("/sse?room=a&token=x");
    expect("HTTP/1.1 200 ");
    struct conn first = conn;
    fake_init(&conn);
    conn.wire = http_open(&conn, &turn, &house);
    refused("room=a&token=x", 429);
    fake_fini(&first, &turn);
    fake_forget(&conn);
    open_stream("/sse?room=a&token=x");
    expect("HTTP/1.1 200 ");
    fake_fini(&conn, &turn);
    fake_init(&conn);
    conn.wire = http_open(&conn, &turn, &house);
}

static void no_more_than_so_many(void **state)
{
    (void)state;
    too_many("", &(struct plain_settings){.origins = "", .connections_per_address = 1});
    too_many("u", &(struct plain_settings){.origins = "", .connections_per_user = 1});
}

static void a_page_of_another_origin(void **state)
{
    (void)state;
    ask("/ws/live", UPGRADE_TEXT "Origin: http://evil.test\r\n");
    expect("HTTP/1.1 403 ");
}

/* ── In ─────────────────────────────────────────────────────────────────────────────────────── */

static void a_stream(void **state)
{
    (void)state;
    open_stream("/sse?room=a&types=e");
    expect("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n");
    expect("\r\n\r\nretry: 77\nid: 0-");
    fake_forget(&conn);
    publish("b", "1");
    publish("a", "{\"x\":\r\n1}");
    expect("\ndata: {\"event\":\"e\",\"data\":{\"x\":  1},\"room\":\"a\",\"id\":\"0-");
    assert_false(sent("\"room\":\"b\""));
    assert_memory_equal(conn.sent.at, "id: 0-", 6);
    assert_memory_equal(conn.sent.at + conn.sent.length - 4, "\"}\n\n", 4);
    fake_forget(&conn);
    publish("*", "2");
    expect("\"data\":2,\"room\":\"*\"");
}

static void a_socket(void **state)
{
    (void)state;
    open_socket("/ws/live?room=a");
    expect("HTTP/1.1 101 ");
    fake_forget(&conn);
    publish("a", "[1]");
    expect("{\"event\":\"e\",\"data\":[1],\"room\":\"a\",\"id\":\"0-");
    assert_int_equal(conn.sent.at[0], 0x81);
}

/* RFC 7692: long ones are compressed, once for all who agreed; short ones are not. */
static void a_socket_that_unpacks(void **state)
{
    (void)state;
    char data[3000] = "\"";
    memset(data + 1, 'x', sizeof data - 3);
    data[sizeof data - 2] = '"';
    ask("/ws/live?room=r", UPGRADE_TEXT "Sec-WebSocket-Extensions: permessage-deflate; "
                                        "server_max_window_bits=15\r\n");
    expect("permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
           "server_max_window_bits=15\r\n");
    fake_forget(&conn);
    publish("r", "1");
    publish("r", data);
    struct span rest = buf_span(&conn.sent), payload;
    struct frame frame;
    assert_true(server_frame(&rest, &frame, &payload));
    assert_int_equal(frame.reserved, 0);
    assert_true(server_frame(&rest, &frame, &payload));
    assert_int_equal(frame.reserved, FRAME_RSV1);
    assert_true(frame.final && frame.opcode == FRAME_TEXT && payload.length < 200);
    struct inflater *inflater = NULL;
    const struct deflate_terms terms = {true, true, true, 15};
    struct buf text = {.max = 10000};
    assert_int_equal(inflater_feed(&inflater, &terms, payload, true, &text), DEFLATE_OK);
    assert_non_null(memmem(text.at, text.length, data, strlen(data)));
    assert_int_equal(rest.length, 0);
    buf_fini(&text);
}

/* What is compressed once for all has the full window. */
static void a_socket_that_unpacks_little(void **state)
{
    (void)state;
    ask("/ws/live?room=r", UPGRADE_TEXT "Sec-WebSocket-Extensions: permessage-deflate; "
                                        "server_max_window_bits=10\r\n");
    expect("101 Switching");
    assert_false(sent("permessage-deflate"));
}

static void own_rooms(void **state)
{
    (void)state;
    has_principal = true;
    strcpy(principal.user_id, "u");
    strcpy(principal.tenant_id, "t");
    open_stream("/sse?token=x");
    publish("user:u", "1");
    publish("tenant:t", "2");
    publish("user:v", "3");
    expect("\"room\":\"user:u\"");
    expect("\"room\":\"tenant:t\"");
    assert_false(sent("user:v"));
}

/* ── Answers that come later ────────────────────────────────────────────────────────────────── */

static void nothing_is_joined_before_all_is_known(void **state)
{
    (void)state;
    files.later = true;
    open_stream("/sse?room=a,b");
    expect("HTTP/1.1 200 ");
    found(0, FINDING_YES);
    publish("a", "1");
    assert_false(sent("\"data\":1"));
    found(1, FINDING_YES);
    publish("a", "2");
    publish("b", "3");
    expect("\"data\":2");
    expect("\"data\":3");
}

static void a_late_no_closes_a_stream(void **state)
{
    (void)state;
    files.later = true;
    open_stream("/sse?room=a,b,c");
    found(1, FINDING_NO);
    expect("data: {\"event\":\"error\",\"data\":{\"code\":\"FORBIDDEN\","
           "\"message\":\"room: access denied\"},\"room\":\"b\"}\n\n");
    assert_true(conn.finished);
    found(0, FINDING_YES); /* of no interest any more */
    publish("*", "1");
    assert_false(sent("\"data\":1"));
}

static void a_late_no_closes_a_socket(void **state)
{
    (void)state;
    files.later = true;
    open_socket("/ws/live?room=a");
    found(0, FINDING_NO);
    expect("\"code\":\"FORBIDDEN\"");
    expect("\x88\x0f\x03\xf0"); /* 1008 */
    publish("*", "1");
    assert_false(sent("\"data\":1"));
}

static void whoever_leaves_before_the_answer(void **state)
{
    (void)state;
    files.later = true;
    open_socket("/ws/live?room=a");
    fake_fini(&conn, &turn);
    found(0, FINDING_YES);
    fake_init(&conn);
    conn.wire = http_open(&conn, &turn, &house);
}

/* ── What was missed ────────────────────────────────────────────────────────────────────────── */

static void come_back(bool socket)
{
    char offset[HUB_OFFSET_TEXT], path[200];
    open_stream("/sse?room=a");
    publish("a", "1");
    hub_offset_print(0, hub_last_number(hub), offset);
    fake_fini(&conn, &turn);
    publish("a", "2");
    publish("a", "3");
    fake_init(&conn);
    conn.wire = http_open(&conn, &turn, &house);
    snprintf(path, sizeof path, "%s?room=a&last_id=%s", socket ? "/ws/live" : "/sse", offset);
    (socket ? open_socket : open_stream)(path);
    hub_flush(hub, &turn);
    assert_false(sent("\"data\":1"));
    expect("\"data\":2");
    expect("\"data\":3");
    assert_false(sent("gap"));
}

static void a_stream_comes_back(void **state)
{
    (void)state;
    come_back(false);
}

static void a_socket_comes_back(void **state)
{
    (void)state;
    come_back(true);
}

static void too_late(void **state)
{
    (void)state;
    ask("/sse?room=a", "Last-Event-ID: 0-5\r\n");
    hub_flush(hub, &turn);
    expect("data: {\"event\":\"gap\",\"data\":{\"missed\":null}}\n\n");
}

static void of_another_shard(void **state)
{
    (void)state;
    house.shard = 0;
    ask("/sse?room=a", "Last-Event-ID: 1-5\r\n");
    assert_true(conn.moves);
    assert_int_equal(conn.target, 1);
    assert_int_equal(conn.sent.length, 0);
}

/* ── Time ───────────────────────────────────────────────────────────────────────────────────── */

static void pass(void)
{
    turn.now_ns = conn.deadline_ns;
    conn.wire->ops->deadline(conn.wire, &turn);
}

static void silence_and_the_end_of_a_token(void **state)
{
    (void)state;
    has_principal = true;
    strcpy(principal.user_id, "u");
    principal.expires_s = turn.wall_us / 1000000 + 1;
    open_stream("/sse?token=x");
    pass();
    assert_false(sent("\n:\n\n")); /* what is queued has not left: no more on top */
    fake_forget(&conn);
    pass();
    assert_true(span_is(buf_span(&conn.sent), ":\n\n"));
    turn.now_ns += 1000000000;
    pass();
    turn.now_ns += 1000000000;
    conn.wire->ops->deadline(conn.wire, &turn);
    expect("data: {\"event\":\"error\",\"data\":{\"code\":\"UNAUTHORIZED\"");
    assert_true(conn.finished);
}

/* ── Slow readers ───────────────────────────────────────────────────────────────────────────── */

static char *big(void)
{
    static char data[20003];
    memset(data, 'x', sizeof data - 1);
    data[0] = data[sizeof data - 2] = '"';
    return data;
}

/* Little is copied; the rest waits as references, and goes on when that has left. */
static void who_is_slow_keeps_references(bool socket)
{
    (socket ? open_socket : open_stream)(socket ? "/ws/live?room=a" : "/sse?room=a");
    fake_forget(&conn);
    for (unsigned i = 0; i < 20; i++)
        publish("a", big());
    assert_in_range(conn.sent.length, 1, 100000);
    assert_true(conn.notify);
    size_t total = 0;
    for (unsigned i = 0; i < 20 && conn.sent.length > 0; i++) {
        total += conn.sent.length;
        fake_sent(&conn, &turn);
        hub_flush(hub, &turn);
    }
    assert_in_range(total, 20 * 20000, 20 * 20200);
}

static void a_slow_stream(void **state)
{
    (void)state;
    who_is_slow_keeps_references(false);
}

static void a_slow_socket(void **state)
{
    (void)state;
    who_is_slow_keeps_references(true);
}

static void far_too_slow_a_stream(void **state)
{
    (void)state;
    open_stream("/sse?room=a");
    for (unsigned i = 0; i < 200; i++)
        publish("a", big());
    assert_true(conn.aborted);
}

static void far_too_slow_a_socket(void **state)
{
    (void)state;
    open_socket("/ws/live?room=a");
    for (unsigned i = 0; i < 200; i++)
        publish("a", big());
    expect("\x88\x0a\x03\xf5"); /* 1013 */
}

static void the_newest_and_the_gap(bool socket)
{
    (socket ? open_socket : open_stream)(socket ? "/ws/live?room=a" : "/sse?room=a");
    for (unsigned i = 0; i < 4; i++)
        publish("a", big());
    for (unsigned i = 0; i < 10; i++) {
        char data[16];
        snprintf(data, sizeof data, "%u", i);
        publish_keyed("a", data, 5);
    }
    hub_flush(hub, &turn);
    for (unsigned i = 0; i < 5; i++) {
        fake_sent(&conn, &turn);
        hub_flush(hub, &turn);
        if (sent("gap"))
            break;
    }
    expect("{\"event\":\"gap\",\"data\":{\"missed\":9}}");
    expect("\"data\":9,");
}

static void a_gap_of_a_stream(void **state)
{
    (void)state;
    the_newest_and_the_gap(false);
}

static void a_gap_of_a_socket(void **state)
{
    (void)state;
    the_newest_and_the_gap(true);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_is_refused_before_it_begins),
        CASE(no_more_than_so_many),
        CASE(a_page_of_another_origin),
        CASE(a_stream),
        CASE(a_socket),
        CASE(a_socket_that_unpacks),
        CASE(a_socket_that_unpacks_little),
        CASE(own_rooms),
        CASE(nothing_is_joined_before_all_is_known),
        CASE(a_late_no_closes_a_stream),
        CASE(a_late_no_closes_a_socket),
        CASE(whoever_leaves_before_the_answer),
        CASE(a_stream_comes_back),
        CASE(a_socket_comes_back),
        CASE(too_late),
        CASE(of_another_shard),
        CASE(silence_and_the_end_of_a_token),
        CASE(a_slow_stream),
        CASE(a_slow_socket),
        CASE(far_too_slow_a_stream),
        CASE(far_too_slow_a_socket),
        CASE(a_gap_of_a_stream),
        CASE(a_gap_of_a_socket),
    };
    return cmocka_run_group_tests_name("plain", tests, NULL, NULL);
}
