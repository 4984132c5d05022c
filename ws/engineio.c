/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The door: what a request asks for, and whether it may. Questions and answers stand in the order of
 * the reference server's, so that a client that does several things wrong is told the same:
 *
 *   transport known? (0)  ─► sid: known? (1)  its transport, its protocol? (3)  ─► GET, POST
 *                         └─► none: GET? (2)  a WebSocket only with Upgrade (3)  protocol? (5)
 *                             admitted? (4)  ─► a session begins
 */
#include "ws/engineio.h"

#include "core/base64.h"
#include "ws/engineio_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { PARAMETER_MAX = 16, NS_PER_MS = 1000000 };

/* ── Answers ────────────────────────────────────────────────────────────────────────────────── */

void engineio_refuse(struct http_request *request, struct turn *turn, enum engineio_code code)
{
    static const char *const reason_text[] = {
        [ENGINEIO_UNKNOWN_TRANSPORT] = "Transport unknown",
        [ENGINEIO_UNKNOWN_SID] = "Session ID unknown",
        [ENGINEIO_BAD_METHOD] = "Bad handshake method",
        [ENGINEIO_BAD_REQUEST] = "Bad request",
        [ENGINEIO_FORBIDDEN] = "Forbidden",
        [ENGINEIO_BAD_PROTOCOL] = "Unsupported protocol version",
    };
    char body[80];
    int length =
        snprintf(body, sizeof body, "{\"code\":%d,\"message\":\"%s\"}", code, reason_text[code]);
    struct http_response response = {.status = code == ENGINEIO_FORBIDDEN ? 403 : 400,
                                     .body = span_of(body, (size_t)length)};
    http_respond(request, turn, &response, NULL);
}

size_t engineio_greeting(const struct engineio_session *session, bool websocket, char *out,
                         size_t room)
{
    const struct engineio_options *options = &session->door->options;
    bool upgrade = !websocket && options->websocket;
    int length = snprintf(out, room,
                          "0{\"sid\":\"%s\",\"upgrades\":[%s],\"pingInterval\":%" PRIu64
                          ",\"pingTimeout\":%" PRIu64 ",\"maxPayload\":%zu}",
                          session->sid, upgrade ? "\"websocket\"" : "",
                          options->ping_interval_ns / NS_PER_MS,
                          options->ping_timeout_ns / NS_PER_MS, options->payload_bytes);
    must(length > 0 && (size_t)length < room);
    return (size_t)length;
}

/* ── What a request says ────────────────────────────────────────────────────────────────────── */

struct asked {
    bool polling, websocket; /* its transport; neither: one that we do not know, or do not allow */
    bool has_sid;
    unsigned protocol; /* 0: one that we do not know, or do not allow */
    struct engineio_session *session;
};

static struct span sid_of(const struct http_request *request, char out[SID_LENGTH + 1])
{
    if (!http_query(request, "sid", out, SID_LENGTH + 1))
        return (struct span){NULL, 0};
    return span_of_string(out);
}

/* An empty one counts as none. */
static bool has_sid(const struct http_request *request)
{
    char text[SID_LENGTH + 1];
    return http_query_has(request, "sid") &&
           !(http_query(request, "sid", text, sizeof text) && text[0] == '\0');
}

static unsigned protocol_of(const struct engineio *door, const struct http_request *request)
{
    char text[PARAMETER_MAX];
    if (!http_query(request, "EIO", text, sizeof text))
        return 0;
    if (strcmp(text, "4") == 0)
        return 4;
    return strcmp(text, "3") == 0 && door->options.eio3 ? 3 : 0;
}

static struct asked read_request(struct engineio *door, struct turn *turn,
                                 const struct http_request *request)
{
    char transport[PARAMETER_MAX] = "", sid[SID_LENGTH + 1];
    struct asked asked = {.has_sid = has_sid(request), .protocol = protocol_of(door, request)};
    if (http_query(request, "transport", transport, sizeof transport)) {
        asked.polling = strcmp(transport, "polling") == 0 && door->options.polling;
        asked.websocket = strcmp(transport, "websocket") == 0 && door->options.websocket;
    }
    if (asked.has_sid)
        asked.session = table_find(door, sid_of(request, sid));
    if (asked.session != NULL && session_expired(asked.session, turn))
        asked.session = NULL;
    return asked;
}

/* False: it has been refused. */
static bool is_sound(struct turn *turn, struct http_request *request, const struct asked *asked)
{
    if (!asked->polling && !asked->websocket)
        engineio_refuse(request, turn, ENGINEIO_UNKNOWN_TRANSPORT);
    else if (asked->has_sid && asked->session == NULL)
        engineio_refuse(request, turn, ENGINEIO_UNKNOWN_SID);
    else if (asked->has_sid && asked->protocol != asked->session->protocol)
        engineio_refuse(request, turn, ENGINEIO_BAD_REQUEST);
    else
        return true;
    return false;
}

/* ── A session begins ───────────────────────────────────────────────────────────────────────── */

static bool may_begin(struct engineio *door, struct turn *turn, struct http_request *request,
                      const struct asked *asked)
{
    const struct engineio_ops *ops = door->options.ops;
    if (asked->protocol == 0)
        engineio_refuse(request, turn, ENGINEIO_BAD_PROTOCOL);
    else if (ops->admit != NULL && !ops->admit(door->options.context, turn, request))
        engineio_refuse(request, turn, ENGINEIO_FORBIDDEN);
    else
        return true;
    return false;
}

/* JSONP (`j`) is not spoken. */
static void begin(struct engineio *door, struct turn *turn, struct http_request *request,
                  const struct asked *asked)
{
    if (!span_is(http_method(request), "GET")) {
        engineio_refuse(request, turn, ENGINEIO_BAD_METHOD);
        return;
    }
    if (asked->websocket || http_query_has(request, "j")) {
        engineio_refuse(request, turn, ENGINEIO_BAD_REQUEST);
        return;
    }
    if (!may_begin(door, turn, request, asked))
        return;
    struct engineio_session *session = session_open(door, turn, request, asked->protocol);
    if (session == NULL) {
        http_refuse_for_now(request, turn, 503, 1, "OVERLOADED", "no room for a session");
        return;
    }
    poll_greet(session, turn, request);
    door->options.ops->opened(session, turn);
}

/* ── Requests ───────────────────────────────────────────────────────────────────────────────── */

static void handle(void *context, struct turn *turn, struct http_request *request)
{
    struct engineio *door = context;
    struct asked asked = read_request(door, turn, request);
    if (!is_sound(turn, request, &asked))
        return;
    if (!asked.has_sid)
        begin(door, turn, request, &asked);
    else if (asked.websocket || asked.session->socket != NULL)
        engineio_refuse(request, turn, ENGINEIO_BAD_REQUEST);
    else if (span_is(http_method(request), "GET"))
        poll_get(asked.session, turn, request);
    else if (span_is(http_method(request), "POST"))
        poll_post(asked.session, turn, request);
    else
        engineio_refuse(request, turn, ENGINEIO_BAD_REQUEST);
}

static bool take(void *context, struct turn *turn, struct http_request *request)
{
    struct engineio *door = context;
    struct asked asked = read_request(door, turn, request);
    if (!is_sound(turn, request, &asked))
        return false;
    if (!asked.websocket) {
        engineio_refuse(request, turn, ENGINEIO_BAD_REQUEST);
        return false;
    }
    if (!asked.has_sid && !may_begin(door, turn, request, &asked))
        return false;
    return socket_take(door, turn, request, asked.session, asked.protocol);
}

static unsigned shard_of(void *context, const struct http_request *request)
{
    const struct engineio *door = context;
    char sid[SID_LENGTH + 1];
    return table_shard_of(sid_of(request, sid), door->options.shards, door->options.shard);
}

/* A payload that cannot be read whole: its messages would be missed. Its client is to hear of that from
 * the answer to its POST, and not first from the end of its poll. */
static void cut(void *context, struct turn *turn, struct http_request *request, unsigned status,
                const char *code, const char *message)
{
    (void)status;
    (void)code;
    (void)message;
    struct asked asked = read_request(context, turn, request);
    if (asked.polling && asked.session != NULL && asked.session->socket == NULL &&
        asked.session->state == SESSION_OPEN && asked.protocol == asked.session->protocol)
        session_leave(asked.session, turn, ENGINEIO_TRANSPORT_ERROR);
}

/* Its peer has gone, or has said that it says no more: nobody waits for the answer. */
static void ended(void *context, struct turn *turn, struct http_request *request)
{
    struct poll_state *state = request->state;
    (void)context;
    if (state->session != NULL)
        session_close(state->session, turn, ENGINEIO_TRANSPORT_CLOSE);
}

static void forget(void *context, struct http_request *request)
{
    struct poll_state *state = request->state;
    struct engineio_session *session = state->session;
    (void)context;
    if (session == NULL)
        return;
    if (session->poll == request)
        session->poll = NULL;
    else
        session->post = NULL;
    session_die(session, ENGINEIO_TRANSPORT_CLOSE, 0);
}

void engineio_routes(struct engineio *door, const char *path,
                     struct http_route out[ENGINEIO_ROUTES])
{
    out[0] = (struct http_route){.method = "GET",
                                 .path = path,
                                 .upgrade = true,
                                 .context = door,
                                 .take = take,
                                 .shard_of = shard_of};
    out[1] = (struct http_route){.path = path,
                                 .state_bytes = sizeof(struct poll_state),
                                 .body_bytes = door->options.payload_bytes,
                                 .context = door,
                                 .handle = handle,
                                 .cut = cut,
                                 .ended = ended,
                                 .forget = forget,
                                 .shard_of = shard_of};
}

/* ── The door's own life ────────────────────────────────────────────────────────────────────── */

struct engineio *engineio_open(const struct engineio_options *options)
{
    struct engineio *door = calloc(1, sizeof *door);
    if (door == NULL)
        return NULL;
    door->options = *options;
    list_init(&door->ending);
    list_init(&door->stalled);
    door->timers = timers_open(0);
    if (door->timers != NULL)
        return door;
    free(door);
    return NULL;
}

void engineio_change(struct engineio *door, struct span origins, uint64_t idle_ns,
                     uint64_t close_ns)
{
    door->options.origins = origins;
    door->options.websocket_options.idle_ns = idle_ns;
    door->options.websocket_options.close_ns = close_ns;
}

void engineio_close(struct engineio *door)
{
    if (door == NULL)
        return;
    must(door->sessions == 0);
    timers_close(door->timers);
    free(door->slot);
    free(door);
}

static void go_on(struct engineio *door, struct turn *turn)
{
    struct list again, *link;
    list_init(&again);
    while ((link = list_take(&door->stalled)) != NULL)
        list_append(&again, link);
    while ((link = list_take(&again)) != NULL)
        poll_go_on(LIST_ENTRY(link, struct engineio_session, stalled), turn);
}

static void end_sessions(struct engineio *door, struct turn *turn)
{
    struct list *link;
    while ((link = list_take(&door->ending)) != NULL)
        (void)session_try_end(LIST_ENTRY(link, struct engineio_session, ending), turn);
}

int64_t engineio_tick(struct engineio *door, struct turn *turn)
{
    struct timer *timer;
    go_on(door, turn);
    while ((timer = timers_take(door->timers, turn->now_ns)) != NULL)
        (void)session_expired(LIST_ENTRY(timer, struct engineio_session, timer), turn);
    end_sessions(door, turn);
    int64_t wait = timers_wait_ns(door->timers, turn->now_ns);
    bool stalled = !list_empty(&door->stalled);
    return stalled && (wait < 0 || wait > ENGINEIO_STALL_NS) ? ENGINEIO_STALL_NS : wait;
}

void engineio_drain(struct engineio *door, struct turn *turn)
{
    door->draining = true;
    for (uint32_t slot = 0; slot < door->slots; slot++)
        if (door->slot[slot].session != NULL)
            session_close(door->slot[slot].session, turn, ENGINEIO_SERVER_SHUTTING_DOWN);
}

size_t engineio_sessions(const struct engineio *door)
{
    return door->sessions;
}
