/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list of questions, in this order: is it HTTP as it should be, is there such a page, may this
 * client see it, can its body be read. The first that is answered with no is the answer.
 */
#include "proto/http_judge.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { ALLOW_BYTES = 128, WHY_BYTES = 128, TOO_MANY_FAILURES_S = 60 };

static const struct span no_headers = {NULL, 0};

/* Refuses what would leave us unsure where the next request begins. */
static bool refuse_and_close(struct http_request *request, struct turn *turn, unsigned status,
                             const char *message)
{
    http_close_after(request);
    request->broken = true;
    http_refuse(request, turn, status, no_headers,
                status == 501 ? "NOT_IMPLEMENTED" : "BAD_REQUEST", message);
    return false;
}

static enum http_framing framing(const struct http_framed *framed)
{
    if (framed->transfer_encoding)
        return HTTP_FRAMING_CHUNKED;
    return framed->has_length ? HTTP_FRAMING_LENGTH : HTTP_FRAMING_NONE;
}

/* ── Is it HTTP as it should be ─────────────────────────────────────────────────────────────── */

/* RFC 9112 6.1: chunked alone, once, and only in HTTP/1.1.
 * And what the parser has not noticed does not count as absent. */
static bool framing_is_clear(struct http_request *request, struct turn *turn,
                             const struct http_framed *framed)
{
    unsigned codings = http_header_count(request, "transfer-encoding");
    if (http_header_count(request, "content-length") != framed->has_length)
        return refuse_and_close(request, turn, 400, "Content-Length: once, or not at all");
    if (codings == 0 && !framed->transfer_encoding)
        return true;
    if (request->http_1_0)
        return refuse_and_close(request, turn, 400, "Transfer-Encoding is not of HTTP/1.0");
    if (codings != 1 || !framed->transfer_encoding ||
        !http_same(http_header(request, "transfer-encoding"), SPAN("chunked")))
        return refuse_and_close(request, turn, 501, "the only Transfer-Encoding here is chunked");
    return true;
}

static bool is_proper(struct http_request *request, struct turn *turn,
                      const struct http_framed *framed)
{
    if (!framed->protocol_ok)
        return refuse_and_close(request, turn, 505, "this is an HTTP/1.1 server");
    if (!framing_is_clear(request, turn, framed))
        return false;
    /* RFC 9112 3.2 */
    unsigned hosts = http_header_count(request, "host");
    if (hosts > 1 || (hosts == 0 && !request->http_1_0))
        return refuse_and_close(request, turn, 400, "there must be one Host field");
    if (!http_split_target(request))
        return refuse_and_close(request, turn, 400, "the target is not a path");
    struct span expect = http_header(request, "expect");
    if (expect.at != NULL && !http_same(expect, SPAN("100-continue"))) {
        http_refuse(request, turn, 417, no_headers, "BAD_REQUEST", "this cannot be expected here");
        return false;
    }
    return true;
}

/* ── Is there such a page ───────────────────────────────────────────────────────────────────── */

static bool method_fits(const struct http_request *request, const struct http_route *route)
{
    if (route->method == NULL)
        return !span_is(http_method(request), "OPTIONS");
    return span_is(http_method(request), route->method) ||
           (request->bodiless && strcmp(route->method, "GET") == 0);
}

static void allow(struct buf *methods, const char *method)
{
    bool put = (methods->length == 0 || buf_put(methods, ", ", 2)) &&
               buf_put(methods, method, strlen(method));
    if (put && strcmp(method, "GET") == 0)
        put = buf_put(methods, ", HEAD", 6);
    must(put); /* a route table with more methods on one path than exist */
}

/* RFC 9110 9.3.7, and CORS's preflight, which is the same with questions in it. */
static void answer_options(const struct http_house *house, struct turn *turn,
                           struct http_request *request, struct span methods)
{
    struct span origin = http_header(request, "origin");
    struct span headers = http_header(request, "access-control-request-headers");
    struct buf lines = {.max = 64 + cors_bytes_max(origin, methods, headers)};
    bool put = buf_print(&lines, "Allow: %.*s\r\n", SPAN_ARGS(methods));
    if (put && house->cors != NULL && origin.at != NULL && cors_allows(house->cors, origin) &&
        http_header(request, "access-control-request-method").at != NULL)
        put = cors_put_preflight(methods, headers, &lines);
    struct http_response response = {.status = 204, .headers = buf_span(&lines)};
    if (put)
        http_respond(request, turn, &response, NULL);
    else
        http_refuse(request, turn, 503, no_headers, "OVERLOADED", "no memory");
    buf_fini(&lines);
}

static void refuse_method(const struct http_house *house, struct turn *turn,
                          struct http_request *request, struct span methods)
{
    char lines[ALLOW_BYTES + 16];
    if (span_is(http_method(request), "OPTIONS")) {
        answer_options(house, turn, request, methods);
        return;
    }
    int length = snprintf(lines, sizeof lines, "Allow: %.*s\r\n", SPAN_ARGS(methods));
    http_refuse(request, turn, 405, span_of(lines, (size_t)length), "METHOD_NOT_ALLOWED",
                "this method is not for this path");
}

static void refuse_page(const struct http_house *house, struct turn *turn,
                        struct http_request *request, struct buf *methods, bool upgrade)
{
    allow(methods, "OPTIONS");
    if (methods->length > strlen("OPTIONS"))
        refuse_method(house, turn, request, buf_span(methods));
    else if (upgrade)
        http_refuse(request, turn, 426, SPAN("Upgrade: websocket\r\nConnection: upgrade\r\n"),
                    "UPGRADE_REQUIRED", "this path speaks WebSocket");
    else if (span_is(http_path(request), "*"))
        refuse_method(house, turn, request, buf_span(methods));
    else
        http_refuse(request, turn, 404, no_headers, "NOT_FOUND", "there is nothing here");
}

static bool find_route(const struct http_house *house, struct turn *turn,
                       struct http_request *request)
{
    char text[ALLOW_BYTES];
    struct buf methods = {.at = (uint8_t *)text, .capacity = sizeof text, .max = sizeof text};
    bool upgrade = false;
    for (unsigned i = 0; i < house->routes_count; i++) {
        const struct http_route *route = &house->routes[i];
        if (!http_path_fits(request, route->path))
            continue;
        if (route->upgrade && !request->upgrade) {
            upgrade = true;
        } else if (method_fits(request, route)) {
            request->route = route;
            return true;
        } else {
            allow(&methods, route->method == NULL ? "GET, HEAD, POST" : route->method);
        }
    }
    refuse_page(house, turn, request, &methods, upgrade);
    return false;
}

/* ── May this client see it ─────────────────────────────────────────────────────────────────── */

static bool refuse_client(struct http_request *request, struct turn *turn, const char *why)
{
    http_refuse(request, turn, 401, SPAN("WWW-Authenticate: Bearer\r\n"), "UNAUTHORIZED", why);
    return false;
}

static bool verify(const struct http_house *house, struct turn *turn, struct http_request *request,
                   struct span token, struct principal **principal)
{
    char why[WHY_BYTES] = "";
    struct principal found;
    int error = house->admission->verify(house->admission->self, turn, token,
                                         conn_peer(request->conn), &found, why);
    if (error == 0) {
        free(*principal); /* of the request before */
        *principal = principal_copy(&found);
        request->principal = *principal;
        if (*principal == NULL)
            http_refuse(request, turn, 503, no_headers, "OVERLOADED", "no memory");
        return *principal != NULL;
    }
    if (error != -EAGAIN)
        return refuse_client(request, turn, why);
    http_refuse_for_now(request, turn, 429, TOO_MANY_FAILURES_S, "RATE_LIMITED",
                        "too many bad tokens from this address");
    return false;
}

static bool is_admitted(const struct http_house *house, struct turn *turn,
                        struct http_request *request, struct principal **principal)
{
    const struct http_route *route = request->route;
    if (!route->token || house->admission == NULL)
        return true;
    struct span token = http_token(request);
    if (token.length == 0)
        return !house->admission->required || refuse_client(request, turn, "a token is required");
    if (!verify(house, turn, request, token, principal))
        return false;
    if (route->scopes == 0 || (request->principal->scopes & route->scopes) != 0)
        return true;
    http_refuse(request, turn, 403, no_headers, "FORBIDDEN", "the token's scopes do not allow it");
    return false;
}

/* ── Can its body be read ───────────────────────────────────────────────────────────────────── */

static bool coding_is_known(struct http_request *request, struct turn *turn, bool *gzip)
{
    struct span coding = http_header(request, "content-encoding");
    *gzip = http_same(coding, SPAN("gzip")) || http_same(coding, SPAN("x-gzip"));
    if (coding.length == 0 || http_same(coding, SPAN("identity")))
        return true;
    if (*gzip && http_header_count(request, "content-encoding") == 1)
        return true;
    /* RFC 9110 12.5.3 */
    http_refuse(request, turn, 415, SPAN("Accept-Encoding: gzip, identity\r\n"),
                "UNSUPPORTED_ENCODING", "Content-Encoding: only gzip and identity are read");
    return false;
}

size_t http_body_most(const struct http_house *house, const struct http_request *request)
{
    const struct http_route *route = request->route;
    return route != NULL && route->body_bytes > 0 ? route->body_bytes : house->body_bytes;
}

static bool body_is_readable(struct turn *turn, struct http_request *request,
                             const struct http_framed *framed, bool *gzip)
{
    struct span method = http_method(request);
    bool wants_body = span_is(method, "POST") || span_is(method, "PUT");
    if (wants_body && !framed->has_length && !framed->transfer_encoding) {
        http_refuse(request, turn, 411, no_headers, "LENGTH_REQUIRED",
                    "Content-Length or Transfer-Encoding: chunked is needed");
        return false;
    }
    if (request->route->take != NULL && (framed->length > 0 || framed->transfer_encoding))
        return refuse_and_close(request, turn, 400, "no body can go with this request");
    return coding_is_known(request, turn, gzip);
}

struct http_judged http_judge(const struct http_house *house, struct turn *turn,
                              struct http_request *request, const struct http_framed *framed,
                              struct principal **principal)
{
    struct http_judged judged = {0};
    request->http_1_0 = framed->http_1_0;
    request->keep_alive = request->keep_alive && framed->keep_alive;
    request->bodiless = span_is(http_method(request), "HEAD");
    request->upgrade = !framed->http_1_0 && /* RFC 9110 7.8 */
                       http_header_lists(request, "connection", "upgrade") &&
                       http_header_lists(request, "upgrade", "websocket");
    bool through = is_proper(request, turn, framed) && find_route(house, turn, request) &&
                   is_admitted(house, turn, request, principal) &&
                   body_is_readable(turn, request, framed, &judged.gzip);
    must(through == !request->answered);
    judged.framing = request->broken ? HTTP_FRAMING_NONE : framing(framed);
    return judged;
}
