/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bucket is kept as the moment at which it will be full again if nobody takes anything (the
 * generic cell rate algorithm, ITU-T I.371): taking moves that moment on by the time that the
 * amount needs to come back, and may not move it further ahead of now than a whole bucket's time.
 * No refilling, no rounding that adds up, and a bucket that was left alone is equal to a new one:
 * so the table's entries expire by themselves.
 *
 * The table has sets of eight entries, two cache lines. In a full set the bucket that is fullest
 * makes place: it is nearest to being forgotten anyhow.
 */
#include "proto/quota.h"

#include <arpa/inet.h>
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { WAYS = 8, AMOUNT_MAX = 1000000000 };

struct bucket_rate bucket_rate(uint64_t amount, uint64_t per_ms, uint64_t burst_ms)
{
    must(amount <= AMOUNT_MAX && per_ms > 0 && per_ms <= 86400000 && burst_ms <= 86400000);
    struct bucket_rate rate = {amount, per_ms * 1000000, burst_ms * 1000000};
    /* Up, so that the one is whole. */
    uint64_t one_ns = amount > 0 ? (rate.per_ns + amount - 1) / amount : 0;
    if (rate.burst_ns < one_ns)
        rate.burst_ns = one_ns;
    return rate;
}

/* The time in which that much comes back. Saturates: more than any bucket holds. */
static uint64_t cost_ns(const struct bucket_rate *rate, uint64_t amount)
{
    uint64_t product;
    if (__builtin_mul_overflow(amount, rate->per_ns, &product))
        return UINT64_MAX / 2;
    return product / rate->amount;
}

static uint64_t debt_ns(const struct bucket *bucket, uint64_t now_ns)
{
    return bucket->full_ns > now_ns ? bucket->full_ns - now_ns : 0;
}

uint64_t bucket_wait_ns(const struct bucket *bucket, const struct bucket_rate *rate,
                        uint64_t amount, uint64_t now_ns)
{
    if (rate->amount == 0)
        return 0;
    uint64_t debt = debt_ns(bucket, now_ns) + cost_ns(rate, amount);
    return debt > rate->burst_ns ? debt - rate->burst_ns : 0;
}

bool bucket_take(struct bucket *bucket, const struct bucket_rate *rate, uint64_t amount,
                 uint64_t now_ns)
{
    if (rate->amount == 0)
        return true;
    if (bucket_wait_ns(bucket, rate, amount, now_ns) > 0)
        return false;
    bucket->full_ns = now_ns + debt_ns(bucket, now_ns) + cost_ns(rate, amount);
    return true;
}

uint64_t bucket_left(const struct bucket *bucket, const struct bucket_rate *rate, uint64_t now_ns)
{
    if (rate->amount == 0)
        return UINT64_MAX;
    uint64_t debt = debt_ns(bucket, now_ns);
    if (debt >= rate->burst_ns)
        return 0;
    /* Amount and time are each below 2^47: in 128 bits nothing is lost. */
    return (uint64_t)((unsigned __int128)(rate->burst_ns - debt) * rate->amount / rate->per_ns);
}

struct entry {
    uint64_t key; /* 0: free */
    struct bucket bucket;
};

struct quota {
    struct bucket_rate rate;
    uint64_t seed, mask; /* sets - 1 */
    struct entry entry[];
};

struct quota *quota_open(unsigned keys, struct bucket_rate rate, uint64_t seed)
{
    size_t sets = 1;
    while (sets * WAYS < keys)
        sets *= 2;
    struct quota *quota = calloc(1, sizeof *quota + sets * WAYS * sizeof quota->entry[0]);
    if (quota == NULL)
        return NULL;
    quota->rate = rate;
    quota->seed = seed;
    quota->mask = sets - 1;
    return quota;
}

void quota_change(struct quota *quota, struct bucket_rate rate)
{
    quota->rate = rate;
}

void quota_close(struct quota *quota)
{
    free(quota);
}

static const struct bucket *find(const struct quota *quota, uint64_t key)
{
    const struct entry *set = &quota->entry[(key & quota->mask) * WAYS];
    for (unsigned i = 0; i < WAYS; i++)
        if (set[i].key == key)
            return &set[i].bucket;
    return NULL;
}

/* The key's bucket; the fullest of its set, made its own, if it has none. */
static struct bucket *claim(struct quota *quota, uint64_t key)
{
    struct entry *set = &quota->entry[(key & quota->mask) * WAYS], *fullest = &set[0];
    for (unsigned i = 0; i < WAYS; i++) {
        if (set[i].key == key)
            return &set[i].bucket;
        if (set[i].bucket.full_ns < fullest->bucket.full_ns)
            fullest = &set[i];
    }
    *fullest = (struct entry){.key = key};
    return &fullest->bucket;
}

bool quota_has(const struct quota *quota, uint64_t key, uint64_t amount, uint64_t now_ns)
{
    static const struct bucket full;
    const struct bucket *bucket = find(quota, key);
    return bucket_wait_ns(bucket != NULL ? bucket : &full, &quota->rate, amount, now_ns) == 0;
}

bool quota_take(struct quota *quota, uint64_t key, uint64_t amount, uint64_t now_ns)
{
    return bucket_take(claim(quota, key), &quota->rate, amount, now_ns);
}

uint64_t quota_key(const struct quota *quota, struct span text)
{
    uint64_t key = XXH3_64bits_withSeed(text.at, text.length, quota->seed);
    return key != 0 ? key : 1;
}

struct span quota_address(const char *peer, uint8_t room[QUOTA_ADDRESS_BYTES])
{
    const char *colon = strrchr(peer, ':');
    struct span address = span_of(peer, colon != NULL ? (size_t)(colon - peer) : strlen(peer));
    struct in6_addr v6;
    char text[INET6_ADDRSTRLEN];
    if (address.length < 3 || address.at[0] != '[' || address.length - 2 >= sizeof text)
        return address;
    memcpy(text, address.at + 1, address.length - 2);
    text[address.length - 2] = '\0';
    if (inet_pton(AF_INET6, text, &v6) != 1)
        return address;
    size_t at = IN6_IS_ADDR_V4MAPPED(&v6) ? 12 : 0, length = at > 0 ? 4 : QUOTA_ADDRESS_BYTES;
    memcpy(room, v6.s6_addr + at, length);
    return span_of(room, length);
}

uint64_t quota_key_of_peer(const struct quota *quota, const char *peer)
{
    uint8_t room[QUOTA_ADDRESS_BYTES];
    return quota_key(quota, quota_address(peer, room));
}
