/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Doors of Socket.IO on up to four shards, over real hubs, turned by hand; sessions of Engine.IO, tokens,
 * the directory, routes and the intake are made of cardboard. A client writes down what it is sent:
 * texts a line each, attachments in angle brackets.
 *
 * Tokens are "user", "user/tenant" or "user/tenant/seconds from 1700000000 until it expires", and with
 * "/room" behind that the claim `rooms` has this one; "bad" is.
 * Types of messages that begin with "live" are shown and not stored; "secret" needs a scope.
 */
#ifndef TESTS_UNIT_SOCKETIO_RIG_H
#define TESTS_UNIT_SOCKETIO_RIG_H

#include "tests/unit/fake_intake.h"
#include "tests/unit/hub_fixture.h"
#include "ws/socketio.h"

#include <errno.h>

#define MS 1000000ull

enum { FIRST_ENCODING = 8, CONNECT_MS = 1000, IDLE_MS = 60000, RECOVERY_MS = 30000 };

struct engineio_session {
    struct peer peer;
    struct socketio *door;
    struct turn *turn;
    unsigned protocol;
    char sid[24], address[32], token[64];
    struct buf heard;
    bool ended;
    enum engineio_reason reason;
    max_align_t user[64];
};

static struct house_of_hubs hubs;
static struct socketio *door[HUBS_MAX];
static struct access *access_of[HUBS_MAX];
static struct fake_intake intake[HUBS_MAX];
static struct progress progress[HUBS_MAX];
static struct allowance *allowance;
static struct routes *routes[HUBS_MAX]; /* never looked into */
static unsigned sessions;

/* ── Engine.IO ──────────────────────────────────────────────────────────────────────────────── */

struct peer *engineio_peer(struct engineio_session *session)
{
    return &session->peer;
}

void *engineio_user(struct engineio_session *session)
{
    return session->user;
}

void *engineio_context(const struct engineio_session *session)
{
    return session->door;
}

const char *engineio_sid(const struct engineio_session *session)
{
    return session->sid;
}

unsigned engineio_protocol(const struct engineio_session *session)
{
    return session->protocol;
}

struct span engineio_token(const struct engineio_session *session)
{
    return session->token[0] == '\0' ? (struct span){NULL, 0} : span_of_string(session->token);
}

const char *engineio_address(const struct engineio_session *session)
{
    return session->address;
}

bool engineio_send_with(struct engineio_session *session, struct turn *turn, struct span text,
                        const struct span *attachments, unsigned attachments_count)
{
    struct encoded *encoded = encoded_make(text, attachments, attachments_count);
    assert_non_null(encoded);
    assert_int_equal(text.at[0], '4');
    bool posted = peer_post(&session->peer, turn, encoded);
    encoded_put(encoded);
    return posted;
}

bool engineio_send(struct engineio_session *session, struct turn *turn, struct span text)
{
    return engineio_send_with(session, turn, text, NULL, 0);
}

void engineio_end(struct engineio_session *session, struct turn *turn, enum engineio_reason reason)
{
    (void)turn;
    if (!session->ended)
        session->reason = reason;
    session->ended = true;
}

static void session_drain(struct peer *peer, struct turn *turn)
{
    struct engineio_session *session = LIST_ENTRY(peer, struct engineio_session, peer);
    struct encoded *encoded;
    (void)turn;
    while ((encoded = peer_take(peer)) != NULL) {
        for (unsigned i = 0; i < encoded->parts; i++) {
            struct span part = encoded_payload(encoded, i);
            assert_true(buf_print(&session->heard, encoded->part[i].binary ? "<%.*s>\n" : "%.*s\n",
                                  SPAN_ARGS(part)));
        }
        encoded_put(encoded);
    }
}

static void session_overrun(struct peer *peer, struct turn *turn)
{
    engineio_end(LIST_ENTRY(peer, struct engineio_session, peer), turn, ENGINEIO_FORCED_CLOSE);
}

static const struct peer_ops session_ops = {
    .name = "socket.io", .drain = session_drain, .overrun = session_overrun};

/* ── Tokens, the directory, routes ──────────────────────────────────────────────────────────── */

static int fake_verify(void *self, struct turn *turn, struct span token, const char *peer,
                       struct principal *out, char *why)
{
    char text[64];
    (void)self, (void)turn, (void)peer;
    snprintf(text, sizeof text, "%.*s", SPAN_ARGS(token));
    snprintf(why, 128, "it is bad");
    if (strcmp(text, "bad") == 0)
        return -EACCES;
    memset(out, 0, sizeof *out);
    out->rooms_at = 1;
    char *rest = text, *part = strsep(&rest, "/");
    snprintf(out->user_id, sizeof out->user_id, "%s", part);
    if ((part = strsep(&rest, "/")) != NULL)
        snprintf(out->tenant_id, sizeof out->tenant_id, "%s", part);
    if ((part = strsep(&rest, "/")) != NULL)
        out->expires_s = 1700000000 + atoi(part);
    if ((part = strsep(&rest, "/")) != NULL) {
        out->lists_rooms = true;
        snprintf(out->lists + out->rooms_at, 32, "%s", part);
    }
    if (strcmp(out->user_id, "producer") == 0)
        out->scopes = SCOPE_INGEST;
    return 0;
}

static struct admission admission = {.required = true, .verify = fake_verify};

/* Rooms that begin with "closed" are; a project is of the user whose name its id begins with, "gone" is
 * none, "idle…" is not active and u's; with `later` the answer comes with directory_answers(). */
static struct {
    struct directory directory;
    bool later;
    const char *closed; /* this room or project is nobody's any more */
    const struct asker *asker;
    uint64_t token;
    struct finding finding;
    unsigned asked; /* how often */
} desk;

static bool fake_ask(struct directory *directory, struct turn *turn,
                     const struct question *question, const struct asker *asker, uint64_t token,
                     struct finding *finding)
{
    bool project = question->kind == QUESTION_PROJECT;
    struct span name = question->name;
    (void)directory, (void)turn;
    struct finding found = {.kind = FINDING_YES, .owner = SPAN("u"), .active = true};
    if (!project && name.length >= 6 && memcmp(name.at, "closed", 6) == 0)
        found.kind = FINDING_NO;
    if (project && span_is(name, "gone"))
        found.kind = FINDING_NO;
    if (desk.closed != NULL && span_is(name, desk.closed))
        found.kind = FINDING_NO;
    if (span_is(name, "unknown"))
        found.kind = FINDING_FAILED;
    if (project && name.at[0] == 'v')
        found.owner = SPAN("v");
    found.active = !span_is(name, "idle");
    desk.asked++;
    desk.asker = asker;
    desk.token = token;
    desk.finding = found;
    if (!desk.later)
        *finding = found;
    return !desk.later;
}

__attribute__((unused)) static void directory_answers(unsigned shard)
{
    desk.asker->answered(desk.asker->self, &hubs.turn[shard], desk.token, &desk.finding);
}

bool routes_room_to_judge(const struct routes *routes_, const struct principal *principal,
                          const struct event *event, char *name, size_t *length)
{
    (void)routes_, (void)principal, (void)event, (void)name, (void)length;
    return false;
}

enum routes_verdict routes_offer(struct routes *routes_, struct turn *turn,
                                 const struct routes_sender *sender, const struct event *event,
                                 struct refusal *refusal)
{
    (void)routes_, (void)turn, (void)sender;
    if (span_is(event->type, "secret")) {
        *refusal = (struct refusal){EVENT_FORBIDDEN, "type: needs a scope"};
        return ROUTES_REFUSED;
    }
    return event->type.length > 4 && memcmp(event->type.at, "live", 4) == 0 ? ROUTES_TOLD
                                                                            : ROUTES_STORED;
}

/* ── The world ──────────────────────────────────────────────────────────────────────────────── */

static struct socketio_options options_of(unsigned shard)
{
    return (struct socketio_options){
        .hub = hubs.hub[shard],
        .access = access_of[shard],
        .routes = routes[shard],
        .intake = &intake[shard].intake,
        .admission = &admission,
        .allowance = allowance,
        .progress = progress,
        .shard = shard,
        .shards = hubs.shards,
        .encoding = FIRST_ENCODING,
        .namespaces = "/ws, /other",
        .connect_ns = CONNECT_MS * MS,
        .idle_ns = IDLE_MS * MS,
        .recovery_ns = RECOVERY_MS * MS,
        .recovery_connections = 3,
        .payload_bytes = 10000,
        .gathered_bytes = 100000,
        .connections_per_user = 3,
        .connections_per_address = 10,
        .user_messages = bucket_rate(5, 60000, 60000),
        .events = bucket_rate(50, 1000, 1000),
    };
}

static void world_open(unsigned shards, void (*change)(struct socketio_options *options))
{
    char why[256];
    memset(&desk, 0, sizeof desk);
    desk.directory.ask = fake_ask;
    hubs_open(&hubs, shards, &hub_defaults);
    allowance = allowance_open(64);
    memset(progress, 0, sizeof progress);
    for (unsigned i = 0; i < shards; i++) {
        fake_intake_init(&intake[i], NULL);
        access_of[i] = access_open(&desk.directory);
        struct socketio_options options = options_of(i);
        if (change != NULL)
            change(&options);
        door[i] = socketio_open(&options, why);
        assert_non_null(door[i]);
    }
}

static void world_close(void)
{
    for (unsigned i = 0; i < hubs.shards; i++) {
        socketio_close(door[i]);
        access_close(access_of[i]);
        fake_intake_fini(&intake[i]);
    }
    hubs_close(&hubs);
    allowance_close(allowance);
}

static void turn_all(void)
{
    hubs_turn(&hubs);
}

__attribute__((unused)) static void pass(uint64_t ms)
{
    for (unsigned i = 0; i < hubs.shards; i++) {
        hubs.turn[i].now_ns += ms * MS;
        hubs.turn[i].wall_us += (int64_t)ms * 1000;
        (void)socketio_tick(door[i], &hubs.turn[i]);
        (void)hub_tick(hubs.hub[i], &hubs.turn[i]);
    }
    turn_all();
}

/* ── Clients ────────────────────────────────────────────────────────────────────────────────── */

static void session_open(struct engineio_session *session, unsigned shard, unsigned protocol,
                         const char *token)
{
    assert_true(socketio_session_bytes() <= sizeof session->user);
    *session = (struct engineio_session){.door = door[shard],
                                         .turn = &hubs.turn[shard],
                                         .protocol = protocol,
                                         .address = "192.0.2.1:1000",
                                         .heard = {.max = 1 << 22}};
    snprintf(session->sid, sizeof session->sid, "sid%u", ++sessions);
    snprintf(session->token, sizeof session->token, "%s", token);
    peer_init(&session->peer, hubs.hub[shard], session->turn, &session_ops, "", "");
    socketio_ops.opened(session, session->turn);
    turn_all();
}

static void session_close(struct engineio_session *session, enum engineio_reason reason)
{
    socketio_ops.closed(session, session->turn, reason);
    peer_fini(&session->peer, session->turn);
    buf_fini(&session->heard);
}

__attribute__((unused)) static void say_binary(struct engineio_session *session, const char *data)
{
    assert_true(socketio_ops.message(session, session->turn, true, span_of_string(data)));
    turn_all();
}

static void say(struct engineio_session *session, const char *packet)
{
    char copy[12000];
    snprintf(copy, sizeof copy, "%s", packet);
    assert_true(socketio_ops.message(session, session->turn, false, span_of_string(copy)));
    turn_all();
}

/* All that was heard since; a `*` stands for what goes up to the next quote. */
__attribute__((unused)) static void hears(struct engineio_session *session, const char *wanted)
{
    assert_true(buf_put(&session->heard, "", 1));
    const char *got = (const char *)session->heard.at, *at = got, *want = wanted;
    while (*want != '\0' || *at != '\0') {
        if (*want == '*') {
            at += strcspn(at, "\"");
            want++;
        } else if (*want++ != *at++) {
            fail_msg("wanted:\n%sheard:\n%s", wanted, got);
        }
    }
    session->heard.length = 0;
}

__attribute__((unused)) static void forget(struct engineio_session *session)
{
    session->heard.length = 0;
}

/* What stands between these quotes of the last thing heard: "sid", "pid", or the offset. */
__attribute__((unused)) static void find(struct engineio_session *session, const char *before,
                                         char out[64])
{
    assert_true(buf_put(&session->heard, "", 1));
    const char *found = NULL, *at = (const char *)session->heard.at;
    while ((at = strstr(at, before)) != NULL)
        found = at += strlen(before);
    assert_non_null(found);
    snprintf(out, 64, "%.*s", (int)strcspn(found, "\""), found);
    session->heard.length--;
}

#endif
