/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From an HTTP request to a WebSocket: what a door's `take` (proto/http.h) begins with.
 *
 *   upgrade_agree() → websocket_init, websocket_start → upgrade_started()
 */
#ifndef WS_UPGRADE_H
#define WS_UPGRADE_H

#include "proto/http.h"
#include "ws/handshake.h"

/* True: *out is agreed. Else the request has been answered, as the fault wants it. */
NODISCARD bool upgrade_agree(struct http_request *request, struct turn *turn,
                             const struct handshake_policy *policy, struct handshake *out);

/* Passes on whether it was; if not, answers in place of the WebSocket that there was no memory for. */
NODISCARD bool upgrade_started(struct http_request *request, struct turn *turn, bool started);

#endif
