/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One session: its beginning, what leaves by it, and its end.
 *
 * Whatever asks for the end, it happens in session_close(): good-bye by both transports, the user is
 * told, the memory is freed. Who stands somewhere deeper only marks the session; the tick does it.
 */
#include "ws/engineio_internal.h"

#include <stdio.h>
#include <stdlib.h>

static struct engineio_session *session_of(struct peer *peer)
{
    return LIST_ENTRY(peer, struct engineio_session, peer);
}

/* ── Stalls ─────────────────────────────────────────────────────────────────────────────────── */

void stall_free(struct stall *stall)
{
    if (stall == NULL)
        return;
    buf_fini(&stall->message);
    buf_fini(&stall->rest);
    free(stall);
}

bool session_stall(struct engineio_session *session, const struct packet *packet,
                   const struct payload *payload)
{
    struct stall *stall = calloc(1, sizeof *stall);
    must(session->stall == NULL);
    if (stall == NULL)
        return false;
    stall->message.max = stall->rest.max = session->door->options.payload_bytes;
    stall->binary = packet->binary;
    bool kept = buf_put(&stall->message, packet->data.at, packet->data.length);
    if (kept && payload != NULL) {
        kept = buf_put(&stall->rest, payload->rest, payload->left);
        stall->payload = *payload;
        stall->payload.rest = stall->rest.at;
    }
    if (!kept) {
        stall_free(stall);
        return false;
    }
    session->stall = stall;
    return true;
}

/* ── What goes out ──────────────────────────────────────────────────────────────────────────── */

/* We have said good-bye, or nothing is left but to say it. */
static bool may_end(const struct engineio_session *session)
{
    if (session->state == SESSION_DEAD)
        return true;
    return session->state == SESSION_ENDING &&
           (session->socket != NULL ? !peer_waits(&session->peer) : session->said_close);
}

void session_want_end(struct engineio_session *session)
{
    if (!list_linked(&session->ending))
        list_append(&session->door->ending, &session->ending);
}

void session_flush(struct engineio_session *session, struct turn *turn)
{
    if (session->state == SESSION_DEAD)
        return;
    if (session->socket != NULL)
        socket_flush(session, turn);
    else
        poll_flush(session, turn);
    if (may_end(session))
        session_want_end(session);
}

bool session_try_end(struct engineio_session *session, struct turn *turn)
{
    if (!may_end(session))
        session_flush(session, turn);
    bool ends = may_end(session);
    if (ends)
        session_close(session, turn, session->reason);
    return ends;
}

/* ── As the hub sees it ─────────────────────────────────────────────────────────────────────── */

static void drain(struct peer *peer, struct turn *turn)
{
    session_flush(session_of(peer), turn);
}

static void overrun(struct peer *peer, struct turn *turn)
{
    (void)turn;
    session_die(session_of(peer), ENGINEIO_TRANSPORT_ERROR, CLOSE_TRY_AGAIN_LATER);
}

static void kick(struct peer *peer, struct turn *turn)
{
    struct engineio_session *session = session_of(peer);
    if (session->door->options.ops->kicked != NULL && session->state == SESSION_OPEN)
        session->door->options.ops->kicked(session, turn);
    engineio_end(session, turn, ENGINEIO_FORCED_CLOSE);
}

static bool named(const struct peer *peer, struct span id)
{
    const struct engineio_session *session = session_of((struct peer *)(uintptr_t)peer);
    const struct engineio_ops *ops = session->door->options.ops;
    return ops->named != NULL && ops->named(session, id);
}

static const struct peer_ops peer_ops = {
    .name = "socket.io", .drain = drain, .overrun = overrun, .kick = kick, .named = named};

/* ── Beginning and end ──────────────────────────────────────────────────────────────────────── */

static bool keep_token(struct engineio_session *session, struct span token)
{
    if (token.length == 0)
        return true;
    session->token = malloc(token.length);
    if (session->token == NULL)
        return false;
    memcpy(session->token, token.at, token.length);
    session->token_length = token.length;
    return true;
}

struct engineio_session *session_open(struct engineio *door, struct turn *turn,
                                      const struct http_request *request, unsigned protocol)
{
    if (door->draining)
        return NULL;
    struct engineio_session *session = calloc(1, sizeof *session + door->options.user_bytes);
    if (session == NULL)
        return NULL;
    session->door = door;
    session->protocol = (uint8_t)protocol;
    if (!keep_token(session, http_token(request)) || !table_add(door, session)) {
        engineio_wipe_token(session);
        free(session);
        return NULL;
    }
    session->base64 = http_query_has(request, "b64");
    snprintf(session->address, sizeof session->address, "%s", conn_peer(request->conn));
    peer_init(&session->peer, door->options.hub, turn, &peer_ops, "", "");
    session_expect_beat(session, turn->now_ns);
    return session;
}

/* From now on it is nobody's but ours. */
static void tell_closed(struct engineio_session *session, struct turn *turn,
                        enum engineio_reason reason)
{
    if (session->told_closed)
        return;
    session->told_closed = true;
    session->door->options.ops->closed(session, turn, reason);
    peer_fini(&session->peer, turn);
}

static void release(struct engineio_session *session, struct turn *turn)
{
    if (!session->told_closed)
        peer_fini(&session->peer, turn);
    timer_stop(session->door->timers, &session->timer);
    if (list_linked(&session->ending))
        list_remove(&session->ending);
    if (list_linked(&session->stalled))
        list_remove(&session->stalled);
    table_remove(session);
    stall_free(session->stall);
    engineio_wipe_token(session);
    explicit_bzero(session->secret, sizeof session->secret);
    explicit_bzero(session->sid, sizeof session->sid);
    free(session);
}

void session_discard(struct engineio_session *session, struct turn *turn)
{
    release(session, turn);
}

static uint16_t close_code(const struct engineio_session *session, enum engineio_reason reason)
{
    if (session->close_code != 0)
        return session->close_code;
    switch (reason) {
    case ENGINEIO_PARSE_ERROR:
        return CLOSE_UNSUPPORTED_DATA;
    case ENGINEIO_SERVER_SHUTTING_DOWN:
        return CLOSE_GOING_AWAY;
    case ENGINEIO_TRANSPORT_ERROR:
        return CLOSE_POLICY;
    case ENGINEIO_TRANSPORT_CLOSE:
    case ENGINEIO_PING_TIMEOUT:
    case ENGINEIO_FORCED_CLOSE:
        break;
    }
    return CLOSE_NORMAL;
}

void session_close(struct engineio_session *session, struct turn *turn, enum engineio_reason reason)
{
    bool left = reason == ENGINEIO_TRANSPORT_CLOSE;
    session->state = SESSION_DEAD;
    poll_end(session, turn, left ? "6" : "1");
    poll_post_end(session, turn, left);
    engineio_socket_close(&session->probe, turn, CLOSE_NORMAL);
    engineio_socket_close(&session->socket, turn, close_code(session, reason));
    tell_closed(session, turn, reason);
    release(session, turn);
}

void session_leave(struct engineio_session *session, struct turn *turn, enum engineio_reason reason)
{
    session->state = SESSION_LEAVING;
    session->reason = (uint8_t)reason;
    session->beat_ns = 0;
    session->end_ns = turn->now_ns + ENGINEIO_LEAVE_NS;
    session_arm(session);
    tell_closed(session, turn, reason);
}

void session_die(struct engineio_session *session, enum engineio_reason reason, uint16_t code)
{
    session->state = SESSION_DEAD;
    session->reason = (uint8_t)reason;
    session->close_code = code;
    session_want_end(session);
}

/* ── For the user ───────────────────────────────────────────────────────────────────────────── */

void engineio_end(struct engineio_session *session, struct turn *turn, enum engineio_reason reason)
{
    if (session->state != SESSION_OPEN)
        return;
    session->state = SESSION_ENDING;
    session->reason = (uint8_t)reason;
    session->beat_ns = 0;
    session->end_ns = turn->now_ns + ENGINEIO_GOOD_BYE_NS;
    session_arm(session);
    session_want_end(session);
}

bool engineio_send(struct engineio_session *session, struct turn *turn, struct span text)
{
    return engineio_send_with(session, turn, text, NULL, 0);
}

bool engineio_send_with(struct engineio_session *session, struct turn *turn, struct span text,
                        const struct span *attachments, unsigned attachments_count)
{
    if (session->state != SESSION_OPEN)
        return false;
    struct encoded *encoded = encoded_make(text, attachments, attachments_count);
    if (encoded == NULL) {
        session_die(session, ENGINEIO_TRANSPORT_ERROR, CLOSE_TRY_AGAIN_LATER);
        return false;
    }
    bool posted = peer_post(&session->peer, turn, encoded);
    encoded_put(encoded);
    return posted;
}

struct peer *engineio_peer(struct engineio_session *session)
{
    return &session->peer;
}

struct engineio_session *engineio_session_of(struct peer *peer)
{
    must(peer->ops == &peer_ops);
    return session_of(peer);
}

void *engineio_user(struct engineio_session *session)
{
    return session->user;
}

void *engineio_context(const struct engineio_session *session)
{
    return session->door->options.context;
}

const char *engineio_sid(const struct engineio_session *session)
{
    return session->sid;
}

unsigned engineio_protocol(const struct engineio_session *session)
{
    return session->protocol;
}

bool engineio_is_websocket(const struct engineio_session *session)
{
    return session->socket != NULL;
}

struct span engineio_token(const struct engineio_session *session)
{
    return span_of(session->token, session->token_length);
}

void engineio_wipe_token(struct engineio_session *session)
{
    if (session->token != NULL)
        explicit_bzero(session->token, session->token_length);
    free(session->token);
    session->token = NULL;
    session->token_length = 0;
}

const char *engineio_address(const struct engineio_session *session)
{
    return session->address;
}
