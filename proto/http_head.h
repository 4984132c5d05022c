/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the header of an HTTP/1 request, behind llhttp (this room's only door to it). The header is
 * read where it lies, as far as it has come; nothing is copied, and the request's pieces are
 * offsets from its first byte.
 */
#ifndef PROTO_HTTP_HEAD_H
#define PROTO_HTTP_HEAD_H

#include "proto/http_request.h"

struct http_head;

/* What the header says about the message as a whole. */
struct http_framed {
    bool protocol_ok; /* HTTP/1.0 or 1.1 */
    bool http_1_0;
    bool keep_alive;
    bool has_length;        /* Content-Length … */
    bool transfer_encoding; /* … or Transfer-Encoding, whatever it says; never both */
    uint64_t length;        /* of Content-Length */
};

NODISCARD struct http_head *http_head_open(void); /* NULL: no memory */
void http_head_close(struct http_head *head);

/* A new header begins; its pieces will be written into `request`. */
void http_head_start(struct http_head *head, struct http_request *request);

/*
 * The header so far: the same bytes as last time, perhaps elsewhere, and more behind them. Returns
 * its whole length, 0 if it has not ended yet, or -status with `*why` in words: 400, 414, 431, 501,
 * 505. After that only http_head_start().
 */
NODISCARD ptrdiff_t http_head_parse(struct http_head *head, const uint8_t *at, size_t length,
                                    const char **why);
/* Once it is whole. */
struct http_framed http_head_framed(const struct http_head *head);
/* Has anything of it been seen? */
bool http_head_begun(const struct http_head *head);

#endif
