/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of an HTTP answer. Pure.
 */
#ifndef PROTO_HTTP_REPLY_H
#define PROTO_HTTP_REPLY_H

#include "core/buf.h"
#include "proto/http.h"

/* "Not Found"; a status that we never send has no words. */
const char *http_reason(unsigned status);

/* An upper bound for what http_reply_put() puts. */
size_t http_reply_bytes_max(const struct http_request *request,
                            const struct http_response *response);

/* Status line, header and, unless the request was
 * a HEAD, body. cors may be NULL. False: no room. */
NODISCARD bool http_reply_put(const struct http_request *request, const struct cors *cors,
                              int64_t wall_us, const struct http_response *response,
                              struct buf *out);

/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 5.6.7), always 29 bytes, no NUL; years 1970..9999. */
enum { HTTP_DATE_BYTES = 29 };
void http_date(int64_t wall_us, char out[HTTP_DATE_BYTES]);

#endif
