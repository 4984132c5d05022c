/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Polling: what a parked GET is answered, and what a POST brings.
 *
 * A poll is answered with what is owed and as much of the queue as fits; a session that ends adds a
 * close packet once the queue is empty. A second GET beside a parked one, and a second POST beside
 * one that waits, end the session: answers could overtake one another.
 *
 * Leaving. Client libraries send their close packet while a poll is under way on another
 * connection, and that poll may have had to go to another shard first. So the close waits a moment
 * for it: the poll gets its noop, and only then the POST its answer. The user is told at once: the
 * client may be back before.
 */
#include "ws/engineio_internal.h"

enum { POLL_MESSAGES_MAX = 256 };

static const struct span no_store = {(const uint8_t *)"Cache-Control: no-store\r\n", 25};

/* ── Answers ────────────────────────────────────────────────────────────────────────────────── */

/* From here on it is no request of the session's; `forget` finds nobody. */
static struct http_request *let_go(struct http_request **place)
{
    struct http_request *request = *place;
    ((struct poll_state *)request->state)->session = NULL;
    *place = NULL;
    return request;
}

static void answer(struct http_request *request, struct turn *turn, bool binary, struct span body)
{
    struct http_response response = {
        .status = 200,
        .type = binary ? "application/octet-stream" : "text/plain; charset=UTF-8",
        .headers = no_store,
        .body = body,
    };
    http_respond(request, turn, &response, NULL);
}

static void answer_post(struct http_request *request, struct turn *turn, bool good)
{
    /* as HTML, for browsers that would offer plain text as a download */
    struct http_response response = {
        .status = 200, .type = "text/html", .headers = no_store, .body = SPAN("ok")};
    if (good)
        http_respond(request, turn, &response, NULL);
    else
        engineio_refuse(request, turn, ENGINEIO_BAD_REQUEST);
}

static enum payload_form text_form(const struct engineio_session *session)
{
    return session->protocol == 3 ? PAYLOAD_EIO3 : PAYLOAD_EIO4;
}

static void answer_one(struct engineio_session *session, struct turn *turn,
                       struct http_request *request, struct span packet)
{
    uint8_t bytes[GREETING_MAX + 32];
    struct buf out = {.at = bytes, .capacity = sizeof bytes, .max = sizeof bytes};
    must(payload_put(text_form(session), false, packet, &out));
    answer(request, turn, false, buf_span(&out));
}

void poll_greet(struct engineio_session *session, struct turn *turn, struct http_request *request)
{
    char text[GREETING_MAX];
    size_t length = engineio_greeting(session, false, text, sizeof text);
    answer_one(session, turn, request, span_of(text, length));
}

void poll_end(struct engineio_session *session, struct turn *turn, const char *packet)
{
    if (session->poll != NULL)
        answer_one(session, turn, let_go(&session->poll), span_of_string(packet));
}

void poll_post_end(struct engineio_session *session, struct turn *turn, bool good)
{
    if (session->post != NULL)
        answer_post(let_go(&session->post), turn, good);
}

/* ── What a poll is given ───────────────────────────────────────────────────────────────────── */

struct batch {
    struct encoded *message[POLL_MESSAGES_MAX];
    unsigned count;
    size_t bytes; /* as a payload, at most */
    bool binary;
};

static size_t bytes_max(const struct encoded *encoded)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < encoded->parts; i++)
        bytes += payload_bytes_max(encoded->part[i].length);
    return bytes;
}

static void gather(struct engineio_session *session, struct batch *batch)
{
    size_t room = session->door->options.poll_bytes;
    const struct encoded *first;
    while (batch->count < POLL_MESSAGES_MAX && (first = peer_first(&session->peer)) != NULL) {
        size_t bytes = bytes_max(first);
        if (batch->count > 0 && bytes > room - batch->bytes)
            break;
        batch->bytes += bytes;
        for (unsigned i = 0; i < first->parts; i++)
            batch->binary |= first->part[i].binary;
        batch->message[batch->count++] = peer_take(&session->peer);
        if (batch->bytes > room)
            break;
    }
}

static bool put_all(const struct batch *batch, enum payload_form form, struct buf *out)
{
    for (unsigned i = 0; i < batch->count; i++) {
        const struct encoded *encoded = batch->message[i];
        for (unsigned part = 0; part < encoded->parts; part++)
            if (!payload_put(form, encoded->part[part].binary, encoded_payload(encoded, part), out))
                return false;
    }
    return true;
}

static bool put_owed(unsigned owed, enum payload_form form, struct buf *out)
{
    static const struct {
        unsigned owed;
        const char *packet;
    } all[] = {{OWE_PING, "2"}, {OWE_PONG, "3"}, {OWE_NOOP, "6"}};
    bool put = true;
    for (size_t i = 0; put && i < COUNT_OF(all); i++)
        if ((owed & all[i].owed) != 0)
            put = payload_put(form, false, span_of_string(all[i].packet), out);
    return put;
}

/* The parked poll is answered with all of this, and good-bye if that is all there is to say. */
static void answer_batch(struct engineio_session *session, struct turn *turn, struct batch *batch)
{
    bool binary = session->protocol == 3 && batch->binary && !session->base64;
    enum payload_form form = binary ? PAYLOAD_EIO3_BINARY : text_form(session);
    struct buf out = {.max = batch->bytes + 64};
    bool ends = session->state == SESSION_ENDING && !peer_waits(&session->peer);
    bool put = put_owed(session->owed, form, &out) && put_all(batch, form, &out) &&
               (!ends || payload_put(form, false, SPAN("1"), &out));
    session->owed = 0;
    session->said_close |= ends;
    if (put)
        answer(let_go(&session->poll), turn, binary, buf_span(&out));
    else
        session_die(session, ENGINEIO_TRANSPORT_ERROR, 0);
    buf_fini(&out);
}

void poll_flush(struct engineio_session *session, struct turn *turn)
{
    struct batch batch = {0};
    if (session->poll == NULL)
        return;
    gather(session, &batch);
    if (session->probed && batch.count == 0)
        session->owed |= OWE_NOOP;
    if (batch.count > 0 || session->owed != 0 || session->state == SESSION_ENDING)
        answer_batch(session, turn, &batch);
    for (unsigned i = 0; i < batch.count; i++)
        encoded_put(batch.message[i]);
}

/* ── Requests ───────────────────────────────────────────────────────────────────────────────── */

static void park(struct engineio_session *session, struct http_request *request)
{
    ((struct poll_state *)request->state)->session = session;
    http_park(request);
}

void poll_get(struct engineio_session *session, struct turn *turn, struct http_request *request)
{
    if (session->poll != NULL) {
        session_close(session, turn, ENGINEIO_TRANSPORT_ERROR);
        engineio_refuse(request, turn, ENGINEIO_BAD_REQUEST);
        return;
    }
    session->poll = request;
    if (session->state == SESSION_LEAVING) {
        session_close(session, turn, session->reason);
        return;
    }
    session_flush(session, turn);
    if (session->poll == request)
        park(session, request);
}

/* Packets up to one that is not simply taken. A message that stalls is kept, with what follows. */
static enum session_verdict run(struct engineio_session *session, struct turn *turn,
                                struct payload *payload)
{
    struct packet packet;
    int kind;
    while ((kind = payload_next(payload, &packet)) == PAYLOAD_PACKET) {
        enum session_verdict verdict = session_packet(session, turn, &packet);
        if (verdict == VERDICT_STALLED && !session_stall(session, &packet, payload))
            return VERDICT_WRONG_WAY;
        if (verdict != VERDICT_TAKEN)
            return verdict;
    }
    return kind == PAYLOAD_END ? VERDICT_TAKEN : VERDICT_PARSE_ERROR;
}

/* What comes of a POST that is the session's `post`, be it parked or just here. */
static void conclude(struct engineio_session *session, struct turn *turn,
                     enum session_verdict verdict)
{
    switch (verdict) {
    case VERDICT_TAKEN:
        poll_post_end(session, turn, true);
        return;
    case VERDICT_STALLED:
        list_append(&session->door->stalled, &session->stalled);
        return;
    case VERDICT_LEFT:
        if (session->poll == NULL)
            session_leave(session, turn, ENGINEIO_TRANSPORT_CLOSE);
        else
            session_close(session, turn, ENGINEIO_TRANSPORT_CLOSE);
        return;
    case VERDICT_PARSE_ERROR:
    case VERDICT_WRONG_WAY:
        session_close(session, turn, session_reason_of(verdict));
        return;
    }
}

static bool is_octets(const struct http_request *request)
{
    return span_is(http_header(request, "content-type"), "application/octet-stream");
}

void poll_post(struct engineio_session *session, struct turn *turn, struct http_request *request)
{
    struct payload payload;
    bool octets = is_octets(request);
    if (session->post != NULL || (octets && session->protocol != 3)) {
        session_close(session, turn, ENGINEIO_TRANSPORT_ERROR);
        engineio_refuse(request, turn, ENGINEIO_BAD_REQUEST);
        return;
    }
    payload_start(&payload, octets ? PAYLOAD_EIO3_BINARY : text_form(session), request->body,
                  request->body_length);
    session->post = request;
    conclude(session, turn, run(session, turn, &payload));
    if (!request->answered)
        park(session, request);
}

/* The message that stalled, and if it is taken now, what was behind it. */
void poll_go_on(struct engineio_session *session, struct turn *turn)
{
    struct stall *stall = session->stall;
    struct packet packet = {PACKET_MESSAGE, stall->binary, buf_span(&stall->message)};
    enum session_verdict verdict = session_packet(session, turn, &packet);
    if (verdict == VERDICT_STALLED) {
        list_append(&session->door->stalled, &session->stalled);
        return;
    }
    session->stall = NULL;
    conclude(session, turn, run(session, turn, &stall->payload));
    stall_free(stall);
}
