/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doors for subscribers without a protocol of their own (CONTRACTS.md 4):
 *
 *   /ws/live?room=…&types=a,b[&last_id=]   a WebSocket, RFC 6455
 *   GET /sse?room=…&types=…                Server-Sent Events, WHATWG HTML 9.2
 *
 * Both hand on what is published in the rooms as JSON {"event","data","room"[,"id"]}; of Server-Sent
 * Events it is the data of a plain `message`, so that a page's onmessage gets it. `room` and `types` may
 * be repeated, or hold several with commas. Without a room: the token's own user and tenant. Everyone
 * is in `*`, and gets what goes to all.
 *
 *   "id"       there for what the history keeps. Who comes back says the last one it had (Last-Event-ID,
 *              or ?lastEventId= or ?last_id=) and is first sent what it missed; on the shard that knows,
 *              which plain_shard_of() tells.
 *   gap        {"event":"gap","data":{"missed":n}}: so many were left out, null: nobody knows how many
 *   error      {"event":"error","data":{"code","message"}}: FORBIDDEN for a room that it may not enter,
 *              UNAUTHORIZED once its token has expired; then it is closed (1008)
 *
 * What is known at once to be forbidden is refused with 403 before anything begins, and with 429 who has
 * too many connections. One door a shard, on its thread.
 */
#ifndef WS_PLAIN_H
#define WS_PLAIN_H

#include "proto/http.h"
#include "ws/access.h"
#include "ws/allowance.h"
#include "ws/hub.h"
#include "ws/websocket.h"

enum { PLAIN_ROOMS_MAX = 64, PLAIN_TYPES_MAX = 1024 };

struct plain_options {
    struct hub *hub;
    struct access *access;
    struct allowance *allowance; /* the node's */
    unsigned shard, shards;
    uint64_t heartbeat_ns; /* live.heartbeat_ms: of an event stream */
    unsigned retry_ms;     /* live.retry_ms: after which a page's EventSource comes back */
    const struct websocket_options *websocket; /* of all sockets of the gateway */
};

/* What may change while it runs. */
struct plain_settings {
    const struct cors *cors;                                /* NULL: no cross-origin headers */
    const char *origins;                                    /* cors.origins */
    uint64_t leeway_ns;                                     /* auth.leeway_s */
    unsigned connections_per_user, connections_per_address; /* 0: no limit */
};

struct plain {
    struct plain_options options;
    struct plain_settings settings;
    struct buf scratch; /* what is being encoded */
    struct buf packed;  /* … and compressed */
};

/* At start: the encoders of ENCODING_JSON, ENCODING_JSON_PACKED and ENCODING_EVENT_STREAM. */
void plain_init(struct plain *plain, const struct plain_options *options);
void plain_fini(struct plain *plain); /* nobody listens any more */
/* Before the first connection, and again with others. */
void plain_change(struct plain *plain, const struct plain_settings *settings);

/* `take` and `shard_of` of both doors, with the door as context. */
bool plain_take_socket(void *context, struct turn *turn, struct http_request *request);
bool plain_take_stream(void *context, struct turn *turn, struct http_request *request);
unsigned plain_shard_of(void *context, const struct http_request *request);

#endif
