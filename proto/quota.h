/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much somebody may do in a time: token buckets. One thread each.
 *
 * A bucket is a single number, so that one lies in every connection (events a second); a quota
 * keeps many, found by a key's hash, in a table of fixed size (failed tokens of an address).
 */
#ifndef PROTO_QUOTA_H
#define PROTO_QUOTA_H

#include "core/must.h"
#include "core/span.h"

/* `rate` a second on the long run, `burst` at once. */
struct bucket_rate {
    uint64_t amount, per_ns; /* amount in every per_ns; amount 0: no limit */
    uint64_t burst_ns;       /* what a full bucket holds, as time */
};

/* Burst: as much as comes in `burst_ms`, but at least one. Amount at most 10^9. */
struct bucket_rate bucket_rate(uint64_t amount, uint64_t per_ms, uint64_t burst_ms);

struct bucket {       /* zeroed: full */
    uint64_t full_ns; /* when it will be full again */
};

/* Takes `amount`. False: there is not so much, and nothing is taken.
 * More than a full bucket holds is never there. */
NODISCARD bool bucket_take(struct bucket *bucket, const struct bucket_rate *rate, uint64_t amount,
                           uint64_t now_ns);
/* How much is there now. */
uint64_t bucket_left(const struct bucket *bucket, const struct bucket_rate *rate, uint64_t now_ns);
/* ns until `amount` will be there; 0: now. For Retry-After. */
uint64_t bucket_wait_ns(const struct bucket *bucket, const struct bucket_rate *rate,
                        uint64_t amount, uint64_t now_ns);

struct quota;

/* `keys`: how many are remembered; of more, the one that used least is forgotten.
 * `seed`: random, so that nobody can choose keys that collide. NULL: no memory. */
NODISCARD struct quota *quota_open(unsigned keys, struct bucket_rate rate, uint64_t seed);
void quota_close(struct quota *quota);
/* From now on; what was used is kept, as the time that it takes to come back. */
void quota_change(struct quota *quota, struct bucket_rate rate);

bool quota_has(const struct quota *quota, uint64_t key, uint64_t amount, uint64_t now_ns);
/* False: not so much left; then nothing is taken. */
bool quota_take(struct quota *quota, uint64_t key, uint64_t amount, uint64_t now_ns);

/* Keys: of any text; of a peer "192.0.2.1:4711" or "[2001:db8::1]:4711", without its port,
 * and of an IPv6 address the first 64 bits, which is what one subscriber has. */
uint64_t quota_key(const struct quota *quota, struct span text);
uint64_t quota_key_of_peer(const struct quota *quota, const char *peer);
/* What stands for that address, in `peer` or in `room`. */
enum { QUOTA_ADDRESS_BYTES = 8 };
struct span quota_address(const char *peer, uint8_t room[QUOTA_ADDRESS_BYTES]);

#endif
