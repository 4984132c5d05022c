/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one user, or one address, may have over the whole node: so many connections, so many messages
 * in a time. One for all shards; any thread, without locks. Keys are hashes; who asks keeps users
 * and addresses apart by hashing them with different prefixes.
 *
 *   ticket = allowance_enter(…) ──► the connection lives; allowance_take(…) ──► allowance_leave(ticket)
 *
 * It is exact but for two cases, both on the generous side: two shards that see a key for the very first
 * time in the same instant may each count for themselves; and where more keys meet in one set of the
 * table than it has places, all in use, the last are not counted.
 */
#ifndef WS_ALLOWANCE_H
#define WS_ALLOWANCE_H

#include "proto/quota.h"

struct allowance;

enum { ALLOWANCE_UNCOUNTED = 0 };

/* `keys`: how many it has places for. NULL: no memory. */
NODISCARD struct allowance *allowance_open(unsigned keys);
void allowance_close(struct allowance *allowance);

/* Never 0. */
uint64_t allowance_key(const struct allowance *allowance, const char *prefix, struct span text);

/* False: `most` (0: no limit) are there already. Else *ticket is for allowance_leave(). */
NODISCARD bool allowance_enter(struct allowance *allowance, uint64_t key, uint32_t most,
                               uint32_t *ticket);
void allowance_leave(struct allowance *allowance, uint32_t ticket);

/* False: there is not so much, and nothing is taken. All who name one key give one rate. */
NODISCARD bool allowance_take(struct allowance *allowance, uint64_t key,
                              const struct bucket_rate *rate, uint64_t now_ns);

#endif
