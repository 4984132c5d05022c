/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP/1.1 server (RFC 9110, 9112). One wire a connection, on its shard's thread.
 *
 * The roof fills in one `struct http_house` a shard, with a table of routes.
 * A request goes to the first route whose path and method fit;
 * then its handler is called, with the body as the route wants it:
 *
 *   handle(…)   once, when the whole body is there (or there is none)
 *   feed(…)     again and again as the body comes, for bodies that need not be in memory as a whole
 *   take(…)     as soon as the header is there: the connection goes over to another wire, such as
 *               a WebSocket's or one of Server-Sent Events; only for requests without a body
 *
 * A handler answers with http_respond() or http_refuse(), exactly once;
 * `feed` at the latest when it is told that this was the last.
 * Answers leave in the order of the requests, also when one waits for the disk.
 *
 * What is settled before a handler sees a request: syntax, 404, 405, 411, 413, 414, 415, 417, 431,
 * 501, 505, CORS, the token and its scopes, chunked and gzip taken off the body. A handler that
 * answers before the body is over gets no more of it.
 */
#ifndef PROTO_HTTP_H
#define PROTO_HTTP_H

#include "core/shard.h"
#include "proto/admission.h"
#include "proto/cors.h"
#include "proto/http_request.h"
#include "proto/receipt.h"

struct http_route {
    const char *method; /* "GET" answers HEAD too; NULL: all but OPTIONS, for `handle` to judge */
    const char *path;   /* "/events"; one segment may be a {name}: "/api/rooms/{room}/users" */
    bool upgrade; /* only requests with Upgrade: websocket; a route without may stand beside it */
    bool token; /* the token is looked at: a bad one is refused, and none, if tokens are required */
    unsigned scopes;    /* enum scope: of these the token must have one; 0: any token will do */
    size_t state_bytes; /* request->state: zeroed memory for one request */
    size_t body_bytes;  /* the longest body, before and after gunzip; 0: the house's */
    void *context;
    void (*handle)(void *context, struct turn *turn, struct http_request *request);
    /* How many of the bytes were used (they may be changed);
     * the others come again, with more behind them, unless this was the last. */
    size_t (*feed)(void *context, struct turn *turn, struct http_request *request, uint8_t *at,
                   size_t length, bool last);
    /* Sends what its protocol wants (conn_send) and gives the connection
     * its new wire (conn_change_wire). False: it has answered instead. */
    bool (*take)(void *context, struct turn *turn, struct http_request *request);
    /* The body broke off (its coding, its size, its time), for `feed` perhaps after some of it was
     * used, or is longer than it may be. Answers with this status and says what was taken; or not,
     * then {"code","message"} is answered, as it is for NULL. Only with state_bytes. */
    void (*cut)(void *context, struct turn *turn, struct http_request *request, unsigned status,
                const char *code, const char *message);
    /* While it was parked the peer ended its stream. It may answer now, or later as if nothing had
     * happened (who only shut down its sending end still reads). NULL: later. */
    void (*ended)(void *context, struct turn *turn, struct http_request *request);
    /* The request is over, or the connection is: free what `state` owns. May be NULL. */
    void (*forget)(void *context, struct http_request *request);
    /* Whose request this is: if another shard's, it goes there with its connection, unanswered, and
     * comes to this route again. Asked once it has been admitted. NULL: whoever got it. */
    unsigned (*shard_of)(void *context, const struct http_request *request);
};

struct http_house {
    const struct http_route *routes;
    unsigned routes_count;
    const struct cors *cors;           /* NULL: no cross-origin headers */
    const struct admission *admission; /* NULL: nobody is asked for a token */
    size_t body_bytes;                 /* limits.body_bytes, before and after gunzip */
    uint64_t header_ns, body_ns, idle_ns;
    unsigned shard; /* ours, for shard_of */
};

/* NULL: no memory. `house` must outlive it. */
NODISCARD struct wire *http_open(struct conn *conn, struct turn *turn,
                                 const struct http_house *house);

struct http_response {
    unsigned status;
    const char *type;    /* Content-Type; NULL: application/json */
    struct span headers; /* more lines, each with its CRLF */
    struct span body;
};

/* Answers at once, or once all that `receipt` (may be NULL)
 * speaks of has reached its level. Everything is copied. */
void http_respond(struct http_request *request, struct turn *turn,
                  const struct http_response *response, const struct receipt *receipt);

/* Answers {"code":…,"message":…}; headers as above. */
void http_refuse(struct http_request *request, struct turn *turn, unsigned status,
                 struct span headers, const char *code, const char *message);
/* The same with Retry-After. */
void http_refuse_for_now(struct http_request *request, struct turn *turn, unsigned status,
                         unsigned retry_after_s, const char *code, const char *message);

/*
 * For `handle`: the answer comes later, on this thread, whoever gives it. The header and `state` stay,
 * the body does not. No request behind it is read meanwhile, and no time runs against it. Until it has
 * been answered the request lives, unless `forget` says that it is over: so it must be told to whoever
 * means to answer (a route that parks has a `forget` and `state_bytes`).
 */
void http_park(struct http_request *request);

/* After the answer the connection is closed. Before http_respond(). */
void http_close_after(struct http_request *request);

#endif
