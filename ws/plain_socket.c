/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /ws/live. What the other end says is of no interest; a message is read and dropped.
 */
#include "ws/plain_internal.h"
#include "ws/subscriber.h"
#include "ws/upgrade.h"

#include <stdlib.h>

struct socket {
    struct subscriber subscriber; /* first */
    struct entrance entrance;
};

static struct socket *socket_of(struct entrance *entrance)
{
    return LIST_ENTRY(entrance, struct socket, entrance);
}

static bool said(struct websocket *ws, struct turn *turn, const struct message *message)
{
    (void)ws;
    (void)turn;
    (void)message;
    return true;
}

static void tell(struct socket *socket, struct turn *turn, struct span room, const char *code,
                 const char *message)
{
    struct encoded *error = plain_error(ENCODING_JSON, room, code, message);
    if (error != NULL)
        (void)websocket_send_encoded(&socket->subscriber.ws, turn, error);
}

static void expired(struct websocket *ws, struct turn *turn)
{
    tell((struct socket *)ws, turn, (struct span){NULL, 0}, "UNAUTHORIZED",
         "token: it has expired");
}

static void closed(struct websocket *ws, struct turn *turn, uint16_t code)
{
    struct socket *socket = (struct socket *)ws;
    (void)code;
    subscriber_fini(&socket->subscriber, turn);
    entrance_fini(&socket->entrance);
    free(socket);
}

static void entered(struct entrance *entrance, struct turn *turn, bool good)
{
    if (!good)
        websocket_close(&socket_of(entrance)->subscriber.ws, turn, CLOSE_TRY_AGAIN_LATER,
                        "no memory");
}

static void refused(struct entrance *entrance, struct turn *turn, const char *room,
                    enum access_answer answer)
{
    struct socket *socket = socket_of(entrance);
    tell(socket, turn, span_of_string(room), answer == ACCESS_UNKNOWN ? "OVERLOADED" : "FORBIDDEN",
         answer == ACCESS_UNKNOWN ? "room: who may enter it cannot be found out now"
                                  : "room: access denied");
    websocket_close(&socket->subscriber.ws, turn,
                    answer == ACCESS_UNKNOWN ? CLOSE_TRY_AGAIN_LATER : CLOSE_POLICY,
                    "access denied");
}

static const struct websocket_ops socket_ops = {.name = "live",
                                                .message = said,
                                                .writable = subscriber_writable,
                                                .expired = expired,
                                                .closed = closed};

/* Reads and asks first: what is refused is refused in HTTP. */
static struct socket *make(struct plain *plain, struct turn *turn, struct http_request *request,
                           const struct handshake *handshake)
{
    struct socket *socket = calloc(1, sizeof *socket);
    if (socket == NULL) {
        http_refuse_for_now(request, turn, 503, 1, "OVERLOADED", "no memory");
        return NULL;
    }
    struct entrance *entrance = &socket->entrance;
    if (!entrance_read(entrance, plain, turn, request)) {
        free(socket);
        return NULL;
    }
    entrance->peer = &socket->subscriber.peer;
    entrance->encoding = handshake->deflate.agreed ? ENCODING_JSON_PACKED : ENCODING_JSON;
    entrance->entered = entered;
    entrance->refused = refused;
    if (entrance_ask(entrance, turn, request))
        return socket;
    entrance_fini(entrance);
    free(socket);
    return NULL;
}

bool plain_take_socket(void *context, struct turn *turn, struct http_request *request)
{
    struct plain *plain = context;
    struct handshake_policy policy = {
        .origins = span_of_string(plain->settings.origins), .deflate = true, .shared = true};
    struct handshake handshake;
    if (!upgrade_agree(request, turn, &policy, &handshake))
        return false;
    struct socket *socket = make(plain, turn, request, &handshake);
    if (socket == NULL)
        return false;
    struct subscriber *subscriber = &socket->subscriber;
    subscriber_init(subscriber, plain->options.hub, turn, &socket_ops, plain->options.websocket,
                    entrance_user(&socket->entrance), entrance_tenant(&socket->entrance));
    subscriber->ws.expires_ns = principal_expires_ns(socket->entrance.principal, turn->now_ns,
                                                     turn->wall_us, plain->settings.leeway_ns);
    _Static_assert(sizeof handshake.connection_id == PEER_ID_TEXT, "it holds a peer's id");
    peer_id_print(subscriber->peer.id, handshake.connection_id);
    bool started = websocket_start(&subscriber->ws, turn, request->conn, &handshake);
    if (started)
        entrance_go(&socket->entrance, turn);
    else
        closed(&subscriber->ws, turn, CLOSE_ABNORMAL);
    return upgrade_started(request, turn, started);
}
