/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One room. Its publications are not JSON: the event says whether they are text, the data is the
 * message. A publisher who has sent enough in this turn waits for the next, so that what came in one
 * read does not fill the listeners' queues before they have had a chance to be drained.
 */
#include "ws/relay.h"

#include "ws/subscriber.h"
#include "ws/upgrade.h"

#include <stdlib.h>

struct publisher {
    struct websocket ws;
    struct relay *relay;
};

static struct encoded *encode(void *context, const struct publication *publication)
{
    (void)context;
    return span_is(publication->event, "text")
               ? encoded_make(publication->data, NULL, 0)
               : encoded_make((struct span){NULL, 0}, &publication->data, 1);
}

/* ── Publishers ─────────────────────────────────────────────────────────────────────────────── */

static bool publisher_resume(struct websocket *ws, struct turn *turn)
{
    struct publisher *publisher = (struct publisher *)ws;
    if (!hub_is_pressed(publisher->relay->hub))
        return true;
    conn_throttle(ws->wire.conn, turn);
    return false;
}

static bool publisher_message(struct websocket *ws, struct turn *turn,
                              const struct message *message)
{
    struct publisher *publisher = (struct publisher *)ws;
    struct publish publish = {.room = ROOM_RELAY,
                              .event = message->binary ? SPAN("binary") : SPAN("text"),
                              .data = message->text};
    (void)hub_publish(publisher->relay->hub, turn, &publish);
    return publisher_resume(ws, turn);
}

static void publisher_closed(struct websocket *ws, struct turn *turn, uint16_t code)
{
    (void)turn;
    (void)code;
    free(ws);
}

static const struct websocket_ops publisher_ops = {.name = "pub",
                                                   .message = publisher_message,
                                                   .resume = publisher_resume,
                                                   .closed = publisher_closed};

/* ── Listeners ──────────────────────────────────────────────────────────────────────────────── */

static bool listener_message(struct websocket *ws, struct turn *turn, const struct message *message)
{
    (void)ws;
    (void)turn;
    (void)message;
    return true;
}

static void listener_closed(struct websocket *ws, struct turn *turn, uint16_t code)
{
    (void)code;
    subscriber_fini((struct subscriber *)ws, turn);
    free(ws);
}

static const struct websocket_ops listener_ops = {.name = "sub",
                                                  .message = listener_message,
                                                  .writable = subscriber_writable,
                                                  .closed = listener_closed};

/* ── Doors ──────────────────────────────────────────────────────────────────────────────────── */

static const struct handshake_policy anybody = {.origins = {(const uint8_t *)"*", 1}};

bool relay_take_pub(void *context, struct turn *turn, struct http_request *request)
{
    struct relay *relay = context;
    struct handshake handshake;
    if (!upgrade_agree(request, turn, &anybody, &handshake))
        return false;
    struct publisher *publisher = calloc(1, sizeof *publisher);
    bool good = false;
    if (publisher != NULL) {
        websocket_init(&publisher->ws, &publisher_ops, &relay->websocket);
        publisher->relay = relay;
        good = websocket_start(&publisher->ws, turn, request->conn, &handshake);
    }
    if (!good)
        free(publisher);
    return upgrade_started(request, turn, good);
}

static bool listen(struct relay *relay, struct turn *turn, struct subscriber *subscriber,
                   const struct http_request *request, const struct handshake *handshake)
{
    struct hub_terms terms = {.encoding = ENCODING_RAW};
    subscriber_init(subscriber, relay->hub, turn, &listener_ops, &relay->websocket, "", "");
    if (hub_join(relay->hub, turn, &subscriber->peer, ROOM_RELAY, &terms) == HUB_JOINED &&
        websocket_start(&subscriber->ws, turn, request->conn, handshake))
        return true;
    subscriber_fini(subscriber, turn);
    return false;
}

bool relay_take_sub(void *context, struct turn *turn, struct http_request *request)
{
    struct relay *relay = context;
    struct handshake handshake;
    if (!upgrade_agree(request, turn, &anybody, &handshake))
        return false;
    struct subscriber *subscriber = calloc(1, sizeof *subscriber);
    bool good = subscriber != NULL && listen(relay, turn, subscriber, request, &handshake);
    if (!good)
        free(subscriber);
    return upgrade_started(request, turn, good);
}

void relay_init(struct relay *relay, struct hub *hub, const struct websocket_options *websocket)
{
    *relay = (struct relay){hub, *websocket};
    hub_set_encoder(hub, ENCODING_RAW, encode, relay);
}
