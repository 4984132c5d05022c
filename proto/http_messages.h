/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /messages (CONTRACTS.md 3, [001]):
 *   {"user_id":1,"channel_id":1,"content":"…"} → 202 {"status":"queued"}
 *
 * A bad body is 422 with FastAPI's list of what is wrong, every member at once, beside our code and
 * message:
 *   {"detail":[{"type":"missing","loc":["body","user_id"],"msg":"Field required"}],
 *    "code":…,"message":…}
 */
#ifndef PROTO_HTTP_MESSAGES_H
#define PROTO_HTTP_MESSAGES_H

#include "proto/http.h"

/* A route's context. */
struct http_messages {
    struct intake *intake;
};

/* The handler of the route {"POST", "/messages", .handle = http_messages_handle}. */
void http_messages_handle(void *context, struct turn *turn, struct http_request *request);

#endif
