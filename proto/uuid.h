/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UUIDs of version 7 (RFC 9562 5.7): the time first, so that those made
 * later sort later. Pure: the caller gives the time and the chance.
 */
#ifndef PROTO_UUID_H
#define PROTO_UUID_H

#include <stdint.h>

enum { UUID_BYTES = 16, UUID_TEXT_BYTES = 36, UUID_RANDOM_BYTES = 8 };

/*
 * wall_us: microseconds since 1970, not negative. The 48 bits of milliseconds are followed by 12
 * bits of their fraction (RFC 9562 6.2, method 3), then 62 bits of `random`, which must be
 * unpredictable and new for each.
 */
void uuid_v7(int64_t wall_us, const uint8_t random[UUID_RANDOM_BYTES], uint8_t out[UUID_BYTES]);

/* "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b": always 36 bytes, lower case, no NUL. */
void uuid_print(const uint8_t uuid[UUID_BYTES], char out[UUID_TEXT_BYTES]);

#endif
