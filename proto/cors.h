/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which web pages may talk to us: the list `cors.origins`, and the headers that say so to a browser
 * (the Fetch standard's CORS protocol). Made once, then read-only: any thread.
 */
#ifndef PROTO_CORS_H
#define PROTO_CORS_H

#include "core/buf.h"

struct cors;

/* Origins separated by commas, "*" for any; white space
 * and a slash at an origin's end do not count. NULL: no memory. */
NODISCARD struct cors *cors_open(const char *origins);
void cors_close(struct cors *cors);

/* May a page of this origin? A request without an Origin
 * header does not come from a page: do not ask. */
bool cors_allows(const struct cors *cors, struct span origin);

/* Header lines for an answer to a request of this origin; nothing but Vary if it is not allowed. */
NODISCARD bool cors_put(const struct cors *cors, struct span origin, struct buf *out);
/* The lines that an answer to a preflight has besides:
 * `methods` as in Allow, `headers` as the browser asked. */
NODISCARD bool cors_put_preflight(struct span methods, struct span headers, struct buf *out);
/* More than the two ever put. */
size_t cors_bytes_max(struct span origin, struct span methods, struct span headers);

#endif
