/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is decided about a request when its header is whole: its route, who sends it, and how its
 * body comes. Answers itself whatever never reaches a handler.
 */
#ifndef PROTO_HTTP_JUDGE_H
#define PROTO_HTTP_JUDGE_H

#include "proto/http.h"
#include "proto/http_body.h"
#include "proto/http_head.h"

struct http_judged {
    enum http_framing framing;
    bool gzip;
};

/*
 * Fills in the request's route, principal and flags, and what is returned. request->answered tells
 * whether it has been refused (or was a preflight); the body then still has to be read past.
 * `principal`: where the connection keeps room for one, made when it is first needed.
 */
struct http_judged http_judge(const struct http_house *house, struct turn *turn,
                              struct http_request *request, const struct http_framed *framed,
                              struct principal **principal);

#define HTTP_BODY_TOO_LONG                                                                         \
    "the body is larger than what is allowed here (limits.body_bytes, or this path's own limit)"

/* How long a body may be, before and after gunzip: the route's limit, or else the house's. */
size_t http_body_most(const struct http_house *house, const struct http_request *request);

#endif
