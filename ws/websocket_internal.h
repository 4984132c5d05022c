/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two halves of a WebSocket know of one another:
 * websocket.c (in), websocket_out.c. Nobody else includes this.
 */
#ifndef WS_WEBSOCKET_INTERNAL_H
#define WS_WEBSOCKET_INTERNAL_H

#include "ws/websocket.h"

/* The texts of all messages so far are about to go: ops->settle. */
void websocket_let_go(struct websocket *ws, struct turn *turn);

/* Queues one frame. False: the connection has been aborted. */
bool websocket_send_frame(struct websocket *ws, struct turn *turn, const struct frame *frame,
                          const uint8_t *payload);

/* Queues the close frame, behind the replies that are held (RFC 6455 5.5.1):
 * with this payload, or with our code and reason, which is then the socket's close_code. */
void websocket_say_close(struct websocket *ws, struct turn *turn, struct span payload);
void websocket_say_close_code(struct websocket *ws, struct turn *turn, uint16_t code,
                              const char *reason);

#endif
