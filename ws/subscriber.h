/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A WebSocket that listens: a socket and a peer in one, for the doors that only hand on what the hub
 * delivers (/ws/live, /ws/stats, /sub). The door's own struct begins with one.
 *
 *   subscriber_init → websocket_start(&…->ws) → hub_join(&…->peer) …
 *   ops->closed of the door calls subscriber_fini, then frees it
 *
 * What the queue holds goes to the socket as long as little waits there (SUBSCRIBER_AHEAD); the rest
 * stays in the queue as references until that has left. Too slow a reader is told with 1013.
 */
#ifndef WS_SUBSCRIBER_H
#define WS_SUBSCRIBER_H

#include "ws/hub.h"
#include "ws/websocket.h"

enum { SUBSCRIBER_AHEAD = 64 * 1024 };

struct subscriber {
    struct websocket ws; /* first */
    struct peer peer;
};

/* The door's websocket_ops must have subscriber_writable as `writable`. */
void subscriber_init(struct subscriber *subscriber, struct hub *hub, struct turn *turn,
                     const struct websocket_ops *ops, const struct websocket_options *options,
                     const char *user_id, const char *tenant_id);
void subscriber_fini(struct subscriber *subscriber, struct turn *turn);
void subscriber_writable(struct websocket *ws, struct turn *turn);

#endif
