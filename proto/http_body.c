/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A handler that could use nothing is called again only when twice as much is there, so that an
 * event which arrives in a thousand pieces is not read a thousand times from its beginning.
 */
#include "proto/http_body.h"

enum { PIECE_LEAST = 16384, KEPT_SLACK = 65536 };

void http_body_start(struct http_body *body, enum http_framing framing, uint64_t length,
                     size_t bytes_max)
{
    *body = (struct http_body){
        .framing = framing,
        .left = length,
        .complete = framing == HTTP_FRAMING_NONE || (framing == HTTP_FRAMING_LENGTH && length == 0),
        .bytes_max = bytes_max,
        .enough = PIECE_LEAST,
        .kept = {.max = bytes_max + KEPT_SLACK},
    };
}

bool http_body_too_long(const struct http_body *body)
{
    return body->framing == HTTP_FRAMING_LENGTH && body->left > body->bytes_max;
}

void http_body_fini(struct http_body *body)
{
    gunzip_close(body->gunzip);
    body->gunzip = NULL;
    if (body->kept.at != NULL)
        buf_fini(&body->kept);
}

/* Leaves the content at the front of `at`, *content bytes of it; returns the bytes used. */
static ptrdiff_t unframe(struct http_body *body, uint8_t *at, size_t length, size_t *content)
{
    if (body->framing == HTTP_FRAMING_CHUNKED) {
        ptrdiff_t used = chunked_decode(&body->chunked, at, length, content);
        body->complete = used >= 0 && chunked_done(&body->chunked);
        return used >= 0 ? used : HTTP_BODY_BAD_CHUNK;
    }
    *content = body->left < length ? (size_t)body->left : length;
    body->left -= *content;
    body->complete = body->left == 0;
    return (ptrdiff_t)*content;
}

static int unpack(struct http_body *body, struct span content)
{
    int error = gunzip_feed(body->gunzip, content, &body->kept);
    if (error == GUNZIP_TOO_LARGE)
        return HTTP_BODY_TOO_LARGE;
    if (error == GUNZIP_NO_MEMORY)
        return HTTP_BODY_NO_MEMORY;
    if (error != 0 || (body->complete && !gunzip_whole(body->gunzip)))
        return HTTP_BODY_BAD_GZIP;
    return 0;
}

static int add(struct http_body *body, uint8_t *at, size_t length)
{
    if (body->discard)
        return 0;
    if (body->gunzip != NULL)
        return unpack(body, span_of(at, length));
    if (body->kept.length > 0)
        return buf_put(&body->kept, at, length) ? 0 : HTTP_BODY_NO_MEMORY;
    body->run = at;
    body->run_length = length;
    return 0;
}

ptrdiff_t http_body_take(struct http_body *body, uint8_t *at, size_t length)
{
    size_t content = 0;
    must(!body->complete && body->run_length == 0);
    ptrdiff_t used = unframe(body, at, length, &content);
    if (used < 0)
        return used;
    body->received += content;
    if (body->received > body->bytes_max)
        return HTTP_BODY_TOO_LARGE;
    int error = add(body, at, content);
    return error != 0 ? error : used;
}

uint8_t *http_body_pending(struct http_body *body, size_t *length)
{
    bool kept = body->kept.length > 0;
    *length = kept ? body->kept.length : body->run_length;
    if (*length == 0)
        return body->nothing;
    return kept ? body->kept.at : body->run;
}

void http_body_used(struct http_body *body, size_t length)
{
    size_t pending;
    (void)http_body_pending(body, &pending);
    must(length <= pending);
    if (body->kept.length > 0) {
        buf_drop(&body->kept, length);
    } else if (length > 0) {
        body->run += length;
        body->run_length -= length;
    }
    size_t twice = (pending - length) * 2;
    body->enough = twice > PIECE_LEAST ? twice : PIECE_LEAST;
}

bool http_body_keep(struct http_body *body)
{
    if (body->run_length > 0 && !buf_put(&body->kept, body->run, body->run_length))
        return false;
    body->run = NULL;
    body->run_length = 0;
    return true;
}

bool http_body_enough(const struct http_body *body)
{
    return body->complete || body->kept.length + body->run_length >= body->enough;
}
