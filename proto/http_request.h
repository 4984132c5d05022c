/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP request as a handler sees it. Spans look into the header as it was received; they and
 * the request live until the handler's answer, or for `feed` until the last call; not longer. Pure
 * but for what http.c does with it.
 */
#ifndef PROTO_HTTP_REQUEST_H
#define PROTO_HTTP_REQUEST_H

#include "core/must.h"
#include "core/span.h"

enum { HTTP_HEAD_MAX = 32768, HTTP_TARGET_MAX = 8192, HTTP_FIELDS_MAX = 100 };
_Static_assert(HTTP_HEAD_MAX <= UINT16_MAX, "a piece of the header is found by 16 bits");

struct conn;
struct http_route;
struct principal;

/* Where something stands in the header. The header may
 * move between calls, so it is found by place, not address. */
struct http_piece {
    uint16_t at, length;
};

struct http_field {
    struct http_piece name, value;
};

/* How many events this connection sent in this second: kept from request to request. */
struct http_rate {
    uint64_t second, events;
};

struct http_request {
    struct conn *conn;
    const struct http_route *route;
    const struct principal *principal; /* NULL: nobody in particular */
    uint64_t received_ns;              /* when its header was complete */
    void *state;                       /* route->state_bytes, zeroed */
    uint8_t *body;                     /* for `handle`: the whole body, which may be changed */
    size_t body_length;
    bool http_1_0;
    bool bodiless;   /* HEAD: the answer goes without its body */
    bool keep_alive; /* the connection stays open after the answer */
    bool upgrade;    /* Connection: upgrade and Upgrade: websocket, in HTTP/1.1 */
    bool broken;     /* where the next request begins cannot be known: there is none */
    bool answered;
    bool parked; /* http_park(): the answer comes later */
    struct http_rate rate;
    /* The rest is read through the functions below. */
    const uint8_t *head;
    struct http_piece method, target, path, query, argument;
    struct http_field field[HTTP_FIELDS_MAX];
    unsigned fields;
};

struct span http_method(const struct http_request *request);
struct span http_path(const struct http_request *request); /* as sent: not decoded */
/* The value of the first header field of this name, in whatever case, without
 * the blanks around it; {NULL,0}: absent. */
struct span http_header(const struct http_request *request, const char *name);
/* That of the next one. *cursor is 0 at first; {NULL,0}: there are no more. */
struct span http_header_next(const struct http_request *request, const char *name,
                             unsigned *cursor);
/* How many fields of this name there are. */
unsigned http_header_count(const struct http_request *request, const char *name);
/* Does the comma-separated list in the fields of this name hold the token (in whatever case)? */
bool http_header_lists(const struct http_request *request, const char *name, const char *token);

/* The query parameter of this name, percent-decoded, with a NUL behind it;
 * the first of that name. False: absent, or badly encoded, or it does not fit. */
NODISCARD bool http_query(const struct http_request *request, const char *name, char *out,
                          size_t room);
/* Is there such a parameter, whatever it says? */
bool http_query_has(const struct http_request *request, const char *name);
/* All values of the parameter, which may be repeated, each a list with commas: one a call, decoded, so
 * that an encoded comma is part of a value. *cursor is 0 at first. 1: *out is the next; 0: there are
 * no more; -1: badly encoded, or it does not fit. */
NODISCARD int http_query_next(const struct http_request *request, const char *name, size_t *cursor,
                              char *out, size_t room);
/* What stood in the place of the route's {name}; the same rules. */
NODISCARD bool http_argument(const struct http_request *request, char *out, size_t room);
/* Authorization: Bearer …, else the query parameter `token`
 * as it stands (a JWT has nothing to encode). {NULL,0}: none. */
struct span http_token(const struct http_request *request);

/* For http.c: finds path and query in the target.
 * False: neither origin-form, absolute-form nor "*". */
NODISCARD bool http_split_target(struct http_request *request);
/* For http.c: does the path fit the route's? Sets `argument`. */
NODISCARD bool http_path_fits(struct http_request *request, const char *pattern);

/* ASCII letters of either case are the same. */
bool http_same(struct span a, struct span b);

#endif
