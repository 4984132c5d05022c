/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers leave in the order of their requests:
 * while one waits for the disk, all behind it wait as well.
 */
#include "proto/http_reply.h"
#include "proto/http_wire.h"

#include <stdio.h>

/* A larger answer is put together in memory of its own. */
enum { STACK_REPLY_BYTES = 4096, REFUSAL_BYTES_MAX = 4096 };

static struct http *owner(struct http_request *request)
{
    return (struct http *)(void *)((char *)request - offsetof(struct http, request));
}

static void give_up(struct http *http, struct turn *turn)
{
    http->phase = HTTP_GONE;
    conn_abort(http->wire.conn, turn);
}

void http_finish(struct http *http, struct turn *turn)
{
    if (http->phase == HTTP_GONE)
        return;
    http->phase = HTTP_GONE;
    conn_deadline(http->wire.conn, turn, 0);
    conn_finish(http->wire.conn, turn);
}

void http_dispatch(struct http *http, struct turn *turn, const struct receipt *receipt,
                   struct span reply)
{
    struct conn *conn = http->wire.conn;
    bool done;
    if (receipt != NULL && receipt->level > ACK_RECEIVED)
        done = receipt_hold(receipt, conn, turn, http->request.received_ns, reply);
    else if (conn_holds(conn) > 0)
        done = conn_hold(conn, turn, &(struct hold){.level = ACK_NONE, .reply = reply});
    else
        done = conn_send(conn, turn, reply.at, reply.length);
    if (!done)
        give_up(http, turn);
}

void http_respond(struct http_request *request, struct turn *turn,
                  const struct http_response *response, const struct receipt *receipt)
{
    struct http *http = owner(request);
    uint8_t stack[STACK_REPLY_BYTES];
    size_t most = http_reply_bytes_max(request, response);
    struct buf reply = {.max = most};
    bool lent = most <= sizeof stack;
    if (lent)
        reply = (struct buf){.at = stack, .capacity = sizeof stack, .max = sizeof stack};
    must(!request->answered);
    request->answered = true;
    count(turn->counters, COUNT_HTTP_REQUESTS, 1);
    if (http_reply_put(request, http->house->cors, turn->wall_us, response, &reply))
        http_dispatch(http, turn, receipt, buf_span(&reply));
    else
        give_up(http, turn);
    if (!lent)
        buf_fini(&reply);
    if (http->phase == HTTP_PARKED)
        http_unpark(http, turn);
}

void http_refuse(struct http_request *request, struct turn *turn, unsigned status,
                 struct span headers, const char *code, const char *message)
{
    struct buf body = {.max = REFUSAL_BYTES_MAX};
    struct http_response response = {.status = status, .headers = headers};
    if (buf_print(&body, "{\"code\":\"%s\",\"message\":", code) &&
        buf_put_json(&body, span_of_string(message)) && buf_put(&body, "}", 1))
        response.body = buf_span(&body);
    http_respond(request, turn, &response, NULL);
    buf_fini(&body);
}

void http_refuse_for_now(struct http_request *request, struct turn *turn, unsigned status,
                         unsigned retry_after_s, const char *code, const char *message)
{
    char line[40];
    int length = snprintf(line, sizeof line, "Retry-After: %u\r\n", retry_after_s);
    http_refuse(request, turn, status, span_of(line, (size_t)length), code, message);
}

void http_park(struct http_request *request)
{
    must(!request->answered && request->state != NULL && request->route->forget != NULL);
    request->parked = true;
}

void http_close_after(struct http_request *request)
{
    request->keep_alive = false;
}

void http_cut(struct http *http, struct turn *turn, unsigned status, const char *code,
              const char *message)
{
    struct http_request *request = &http->request;
    const struct http_route *route = request->route;
    request->keep_alive = false;
    if (!request->answered && route != NULL && route->cut != NULL && request->state != NULL)
        route->cut(route->context, turn, request, status, code, message);
    if (!request->answered)
        http_refuse(request, turn, status, (struct span){NULL, 0}, code, message);
}

void http_fail(struct http *http, struct turn *turn, unsigned status, const char *code,
               const char *message)
{
    http_cut(http, turn, status, code, message);
    http_finish(http, turn);
}
