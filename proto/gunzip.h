/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Content-Encoding: gzip (RFC 1952), for bodies that come in pieces. One member after another, as
 * the format allows. A bomb is cut off at a limit on what comes out. About 40 KiB each; one thread.
 */
#ifndef PROTO_GUNZIP_H
#define PROTO_GUNZIP_H

#include "core/buf.h"

struct gunzip;

enum gunzip_error { GUNZIP_INVALID = -1, GUNZIP_TOO_LARGE = -2, GUNZIP_NO_MEMORY = -3 };

/* bytes_max: of everything that comes out. NULL: no memory. */
NODISCARD struct gunzip *gunzip_open(uint64_t bytes_max);
void gunzip_close(struct gunzip *gunzip); /* NULL is fine */

/* Uses all of `in`; what it unpacks to is put behind `out`.
 * 0 or a gunzip_error, after which only gunzip_close(). */
NODISCARD int gunzip_feed(struct gunzip *gunzip, struct span in, struct buf *out);

/* Is what was fed a whole number of members, and at least one? Else the body was cut off. */
bool gunzip_whole(const struct gunzip *gunzip);

#endif
