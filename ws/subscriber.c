/* SPDX-License-Identifier: Apache-2.0 */
#include "ws/subscriber.h"

#include <inttypes.h>
#include <stdio.h>

static struct subscriber *subscriber_of(struct peer *peer)
{
    return LIST_ENTRY(peer, struct subscriber, peer);
}

/* How much of what only the newest matters of has been left out. */
static bool tell_gap(struct subscriber *subscriber, struct turn *turn)
{
    uint64_t missed = peer_missed(&subscriber->peer);
    char text[64];
    if (missed == 0)
        return true;
    int length = snprintf(text, sizeof text,
                          "{\"event\":\"gap\",\"data\":{\"missed\":%" PRIu64 "}}", missed);
    return websocket_send(&subscriber->ws, turn, false, span_of(text, (size_t)length));
}

static void drain(struct peer *peer, struct turn *turn)
{
    struct subscriber *subscriber = subscriber_of(peer);
    struct conn *conn = subscriber->ws.wire.conn;
    struct encoded *encoded;
    bool sent = true;
    if (subscriber->ws.state >= WEBSOCKET_CLOSING) {
        peer_clear(peer);
        return;
    }
    while (sent && peer_waits(peer) && conn_queued(conn) < SUBSCRIBER_AHEAD) {
        sent = tell_gap(subscriber, turn);
        encoded = peer_take(peer);
        if (sent)
            sent = websocket_send_encoded(&subscriber->ws, turn, encoded);
        else
            encoded_put(encoded);
    }
    if (sent && peer_waits(peer))
        conn_notify(conn);
}

static void overrun(struct peer *peer, struct turn *turn)
{
    websocket_close(&subscriber_of(peer)->ws, turn, CLOSE_TRY_AGAIN_LATER, "too slow");
}

static void kick(struct peer *peer, struct turn *turn)
{
    websocket_close(&subscriber_of(peer)->ws, turn, CLOSE_POLICY, "closed by an operator");
}

static const struct peer_ops peer_ops = {
    .name = "websocket", .drain = drain, .overrun = overrun, .kick = kick};

void subscriber_writable(struct websocket *ws, struct turn *turn)
{
    (void)turn;
    peer_wake(&((struct subscriber *)ws)->peer);
}

void subscriber_init(struct subscriber *subscriber, struct hub *hub, struct turn *turn,
                     const struct websocket_ops *ops, const struct websocket_options *options,
                     const char *user_id, const char *tenant_id)
{
    must(ops->writable == subscriber_writable);
    websocket_init(&subscriber->ws, ops, options);
    peer_init(&subscriber->peer, hub, turn, &peer_ops, user_id, tenant_id);
}

void subscriber_fini(struct subscriber *subscriber, struct turn *turn)
{
    peer_fini(&subscriber->peer, turn);
}
