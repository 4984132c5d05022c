/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The body of one request on its way in: framing off, gzip off, and what nobody has used yet kept.
 *
 *   received ─► http_body_take ─► pending ─► a handler uses some ─► http_body_used, _keep
 *
 * What arrived in one piece stays where it was received;
 * only what is left at the end of an input is copied.
 */
#ifndef PROTO_HTTP_BODY_H
#define PROTO_HTTP_BODY_H

#include "core/buf.h"
#include "proto/chunked.h"
#include "proto/gunzip.h"

enum http_framing { HTTP_FRAMING_NONE, HTTP_FRAMING_LENGTH, HTTP_FRAMING_CHUNKED };

enum http_body_error {
    HTTP_BODY_BAD_CHUNK = -1,
    HTTP_BODY_BAD_GZIP = -2,
    HTTP_BODY_TOO_LARGE = -3,
    HTTP_BODY_NO_MEMORY = -4,
};

struct http_body {
    enum http_framing framing;
    uint64_t left; /* of a body with Content-Length */
    struct chunked chunked;
    struct gunzip *gunzip; /* NULL: as it comes */
    bool complete;
    bool discard; /* nobody wants it any more */
    uint64_t received, bytes_max;
    size_t enough;   /* so much must be pending before a handler is called again */
    struct buf kept; /* what is pending lies here … */
    uint8_t *run;    /* … or, if that is empty, where it was received */
    size_t run_length;
    uint8_t nothing[1]; /* where an empty body lies */
};

void http_body_start(struct http_body *body, enum http_framing framing, uint64_t length,
                     size_t bytes_max);
/* Is it known to be longer than it may be? */
bool http_body_too_long(const struct http_body *body);
void http_body_fini(struct http_body *body); /* harmless on zeroed memory, and twice */

/* Bytes of the connection: how many of them were the body's, or an http_body_error. */
NODISCARD ptrdiff_t http_body_take(struct http_body *body, uint8_t *at, size_t length);

/* What is there and unused; never NULL. Valid until the next call for this body. */
uint8_t *http_body_pending(struct http_body *body, size_t *length);
void http_body_used(struct http_body *body, size_t length);
/* The received bytes are about to go. False: no memory. */
NODISCARD bool http_body_keep(struct http_body *body);
/* Enough for a handler that takes bodies in pieces? */
bool http_body_enough(const struct http_body *body);

#endif
