/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The remembered stand in a table by pid and in a list by age. One that is found is taken out: a pid is
 * good once, and whoever breaks off again is remembered again, under the same pid.
 *
 * Often the client knows before us that its connection is broken, and comes back while we still wait for a
 * heartbeat. So living sockets are found by their pid as well, and who names one takes its place.
 *
 * The order on return matters: the rooms are joined before the history is read, and both happen in
 * one call, so nothing that is published can fall between.
 */
#include "ws/socketio_recovery.h"
#include "core/base64.h"
#include "core/clock.h"
#include "ws/socketio_internal.h"
#include "ws/socketio_moves.h"

#include <stdio.h>
#include <stdlib.h>

enum { BUCKETS = 1024, PID_RANDOM = 16, ROOMS_BYTES_MAX = 65536 };

struct recovery {
    struct socketio *door;
    struct moves *moves;
    struct list age;
    unsigned count;
    struct list bucket[BUCKETS], living[BUCKETS];
};

static struct list *bucket_of(struct list buckets[BUCKETS], const char *pid)
{
    unsigned hash = 0;
    for (; *pid != '\0'; pid++)
        hash = hash * 31 + (uint8_t)*pid;
    return &buckets[hash % BUCKETS];
}

void recovery_set_pid(struct recovery *recovery, struct socketio_socket *socket, const char *pid)
{
    if (list_linked(&socket->by_pid))
        list_remove(&socket->by_pid);
    snprintf(socket->pid, sizeof socket->pid, "%s", pid);
    list_append(bucket_of(recovery->living, socket->pid), &socket->by_pid);
}

/* ── Remembering ────────────────────────────────────────────────────────────────────────────── */

void recovery_name(struct recovery *recovery, struct socketio_socket *socket)
{
    uint8_t random[PID_RANDOM];
    char text[BASE64_ENCODED_MAX(PID_RANDOM)], pid[PID_TEXT];
    const struct socketio_options *options = &recovery->door->options;
    if (options->recovery_ns == 0 || socket->namespace->echo ||
        engineio_protocol(socketio_session(socket)) == 3)
        return;
    clock_random(random, sizeof random);
    size_t length = base64_encode(BASE64_URL, span_of(random, sizeof random), text);
    snprintf(pid, sizeof pid, "%u-%.*s", options->shard, (int)length, text);
    recovery_set_pid(recovery, socket, pid);
    socket->encoding = socket->namespace->encoding + 1;
}

/* One that is in the list by age no longer. */
static void free_remembered(struct recovery *recovery, struct list *age)
{
    struct remembered *remembered = LIST_ENTRY(age, struct remembered, age);
    list_remove(&remembered->same);
    recovery->count--;
    buf_fini(&remembered->texts);
    free(remembered);
}

void recovery_drop(struct recovery *recovery, struct remembered *remembered)
{
    list_remove(&remembered->age);
    free_remembered(recovery, &remembered->age);
}

struct collecting {
    struct buf *texts;
    bool fits;
};

static void collect(void *context, struct span room)
{
    struct collecting *collecting = context;
    collecting->fits = collecting->fits && buf_put(collecting->texts, room.at, room.length) &&
                       buf_put(collecting->texts, "", 1);
}

static bool put_texts(struct remembered *remembered, const struct socketio_socket *socket)
{
    struct buf *texts = &remembered->texts;
    struct collecting collecting = {texts, true};
    const char *user = socketio_user(socket), *tenant = socketio_tenant(socket);
    hub_rooms_of(socket->client->door->options.hub, socketio_peer(socket->client), socket->encoding,
                 collect, &collecting);
    size_t user_at = texts->length + 1, tenant_at = user_at + strlen(user) + 1;
    if (!collecting.fits || !buf_put(texts, "", 1) || !buf_put(texts, user, strlen(user) + 1) ||
        !buf_put(texts, tenant, strlen(tenant) + 1))
        return false;
    remembered->user_id = (char *)texts->at + user_at;
    remembered->tenant_id = (char *)texts->at + tenant_at;
    return true;
}

void recovery_remember(struct recovery *recovery, struct turn *turn,
                       const struct socketio_socket *socket)
{
    const struct socketio *door = recovery->door;
    struct remembered *remembered = socket->pid[0] == '\0' ? NULL : calloc(1, sizeof *remembered);
    if (remembered == NULL)
        return;
    buf_init(&remembered->texts, ROOMS_BYTES_MAX);
    remembered->until_ns = turn->now_ns + door->options.recovery_ns;
    remembered->namespace = (unsigned)(socket->namespace - door->namespace);
    memcpy(remembered->sid, socket->sid, sizeof remembered->sid);
    memcpy(remembered->pid, socket->pid, sizeof remembered->pid);
    if (!put_texts(remembered, socket)) {
        buf_fini(&remembered->texts);
        free(remembered);
        return;
    }
    if (recovery->count == door->options.recovery_connections)
        free_remembered(recovery, list_take(&recovery->age));
    list_append(&recovery->age, &remembered->age);
    list_append(bucket_of(recovery->bucket, remembered->pid), &remembered->same);
    recovery->count++;
}

static bool is_of(const char *user_id, const char *tenant_id, const char *user, const char *tenant)
{
    return strcmp(user_id, user) == 0 && strcmp(tenant_id, tenant) == 0;
}

/* The one that still seems to live is remembered, and its session ends. */
static void displace(struct recovery *recovery, struct turn *turn, const char *pid,
                     const char *user_id, const char *tenant_id)
{
    struct list *bucket = bucket_of(recovery->living, pid);
    for (struct list *at = bucket->next; at != bucket; at = at->next) {
        struct socketio_socket *socket = LIST_ENTRY(at, struct socketio_socket, by_pid);
        if (strcmp(socket->pid, pid) != 0 ||
            !is_of(socketio_user(socket), socketio_tenant(socket), user_id, tenant_id))
            continue;
        recovery_remember(recovery, turn, socket);
        engineio_end(socketio_session(socket), turn, ENGINEIO_FORCED_CLOSE);
        socketio_leave(socket, turn);
        return;
    }
}

void recovery_tick(struct recovery *recovery, struct turn *turn)
{
    struct list *oldest;
    while ((oldest = list_take(&recovery->age)) != NULL) {
        if (turn->now_ns < LIST_ENTRY(oldest, struct remembered, age)->until_ns) {
            list_prepend(&recovery->age, oldest);
            break;
        }
        free_remembered(recovery, oldest);
    }
    moves_tick(recovery->moves, turn);
}

void recovery_forget(struct recovery *recovery, struct socketio_socket *socket)
{
    if (list_linked(&socket->by_pid))
        list_remove(&socket->by_pid);
    moves_forget(recovery->moves, socket);
}

/* ── Coming back ────────────────────────────────────────────────────────────────────────────── */

/* A text of the auth object without escapes, and short. */
static bool read_text(struct span auth, const char *name, char out[PID_TEXT])
{
    struct json_value value;
    if (auth.at == NULL || !json_find(auth, name, &value) || value.kind != JSON_STRING ||
        value.escaped || value.text.length - 2 >= PID_TEXT)
        return false;
    memcpy(out, value.text.at + 1, value.text.length - 2);
    out[value.text.length - 2] = '\0';
    return true;
}

struct remembered *recovery_find(struct recovery *recovery, struct turn *turn, const char *pid,
                                 unsigned namespace, const char *user_id, const char *tenant_id)
{
    struct list *bucket = bucket_of(recovery->bucket, pid);
    displace(recovery, turn, pid, user_id, tenant_id);
    for (struct list *at = bucket->next; at != bucket; at = at->next) {
        struct remembered *remembered = LIST_ENTRY(at, struct remembered, same);
        if (strcmp(remembered->pid, pid) == 0)
            return remembered->namespace == namespace &&
                           is_of(remembered->user_id, remembered->tenant_id, user_id, tenant_id)
                       ? remembered
                       : NULL;
    }
    return NULL;
}

static void ignore(struct access_request *request, struct turn *turn, enum access_answer answer)
{
    (void)request, (void)turn, (void)answer;
}

/* Only what the token and the name settle is judged anew: the directory was asked not long ago. */
static bool may_enter_again(struct socketio_socket *socket, struct turn *turn, struct span room)
{
    struct access *access = socket->client->door->options.access;
    struct access_request request = {.answered = ignore};
    enum access_answer answer;
    if (span_is(room, "*"))
        return true;
    if (access_ask(access, turn, socket->principal, room, &request, &answer))
        return answer == ACCESS_GRANTED || answer == ACCESS_UNKNOWN;
    access_forget(access, &request);
    return true;
}

void recovery_rejoin(struct socketio_socket *socket, struct turn *turn, const char *rooms,
                     const char *types)
{
    struct hub_terms terms = {.encoding = socket->encoding, .types = types};
    struct hub *hub = socket->client->door->options.hub;
    for (; *rooms != '\0'; rooms += strlen(rooms) + 1)
        if (may_enter_again(socket, turn, span_of_string(rooms)))
            (void)hub_join(hub, turn, socketio_peer(socket->client), span_of_string(rooms), &terms);
}

/* The rooms first; if the history does not reach back, out of them again. */
static bool resume(struct recovery *recovery, struct socketio_socket *socket, struct turn *turn,
                   const struct remembered *remembered, uint64_t number)
{
    struct hub *hub = socket->client->door->options.hub;
    struct peer *peer = socketio_peer(socket->client);
    recovery_rejoin(socket, turn, (const char *)remembered->texts.at, NULL);
    if (!hub_reaches_back(hub, peer, socket->encoding, number)) {
        hub_leave_all(hub, turn, peer, socket->encoding);
        return false;
    }
    memcpy(socket->sid, remembered->sid, sizeof socket->sid);
    recovery_set_pid(recovery, socket, remembered->pid);
    socketio_send_connect(socket, turn);
    if (!hub_replay(hub, turn, peer, socket->encoding, number))
        engineio_end(socketio_session(socket), turn, ENGINEIO_FORCED_CLOSE);
    socketio_emit_connected(socket, turn);
    count(turn->counters, COUNT_SOCKETIO_RECOVERED, 1);
    return true;
}

bool recovery_resume(struct recovery *recovery, struct turn *turn, struct socketio_socket *socket,
                     struct span auth)
{
    const struct socketio *door = recovery->door;
    char pid[PID_TEXT], offset[PID_TEXT];
    unsigned shard;
    uint64_t number;
    if (socket->pid[0] == '\0' || !read_text(auth, "pid", pid) ||
        !read_text(auth, "offset", offset) ||
        !hub_offset_parse(span_of_string(offset), &shard, &number) || shard >= door->options.shards)
        return false;
    if (shard != door->options.shard)
        return moves_ask(recovery->moves, turn, socket, shard, pid, number);
    struct remembered *remembered =
        recovery_find(recovery, turn, pid, (unsigned)(socket->namespace - door->namespace),
                      socketio_user(socket), socketio_tenant(socket));
    if (remembered == NULL)
        return false;
    bool resumed = resume(recovery, socket, turn, remembered, number);
    recovery_drop(recovery, remembered);
    return resumed;
}

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

struct recovery *recovery_open(struct socketio *door)
{
    struct recovery *recovery = calloc(1, sizeof *recovery);
    if (recovery == NULL)
        return NULL;
    recovery->door = door;
    list_init(&recovery->age);
    for (unsigned i = 0; i < BUCKETS; i++) {
        list_init(&recovery->bucket[i]);
        list_init(&recovery->living[i]);
    }
    recovery->moves = moves_open(door, recovery);
    if (recovery->moves != NULL)
        return recovery;
    recovery_close(recovery);
    return NULL;
}

void recovery_close(struct recovery *recovery)
{
    if (recovery == NULL)
        return;
    struct list *age;
    while ((age = list_take(&recovery->age)) != NULL)
        free_remembered(recovery, age);
    moves_close(recovery->moves);
    free(recovery);
}
