/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Base64 (RFC 4648): the standard alphabet with padding (section 4), and the one for URLs without
 * (section 5, as JOSE uses it). Pure; any thread.
 */
#ifndef CORE_BASE64_H
#define CORE_BASE64_H

#include "core/must.h"
#include "core/span.h"

enum base64 { BASE64_STANDARD, BASE64_URL };

/* Room that encoding or decoding `length` bytes never exceeds. */
#define BASE64_ENCODED_MAX(length) (((length) + 2) / 3 * 4)
#define BASE64_DECODED_MAX(length) ((length) / 4 * 3 + 3)

/* Writes at most BASE64_ENCODED_MAX(bytes.length) characters, no NUL; returns how many. */
size_t base64_encode(enum base64 form, struct span bytes, char *out);

/*
 * Decodes the whole of `text` strictly: no white space, exactly the padding of its form, and unused
 * bits zero, so that one value has one spelling. Returns the bytes written, or -1 and `out` is of
 * no value. `out` may be where text begins.
 */
NODISCARD ptrdiff_t base64_decode(enum base64 form, struct span text, uint8_t *out);

#endif
