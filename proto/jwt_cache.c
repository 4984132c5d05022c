/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sets of four entries; the digest's first bytes choose the set, and in a full one the entry that
 * would be forgotten first makes place. Only tokens that were verified get in, so nobody can push
 * others out without having a key.
 *
 * Entries of a set are all compared, to the end:
 * how long a search takes says nothing about what is remembered.
 */
#include "proto/jwt_key.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdlib.h>

enum { WAYS = 4 };

struct entry {
    uint8_t digest[SHA256_DIGEST_LENGTH];
    int64_t until_s; /* 0: free */
    struct principal principal;
};

struct jwt_cache {
    unsigned sets; /* a power of two */
    struct entry entry[];
};

struct jwt_cache *jwt_cache_open(unsigned entries)
{
    unsigned sets = 1;
    while (sets * WAYS < entries)
        sets *= 2;
    struct jwt_cache *cache =
        calloc(1, sizeof *cache + (size_t)sets * WAYS * sizeof cache->entry[0]);
    if (cache != NULL)
        cache->sets = sets;
    return cache;
}

void jwt_cache_clear(struct jwt_cache *cache)
{
    /* Those that were never used are left alone: they take no memory yet. */
    for (size_t i = 0; i < (size_t)cache->sets * WAYS; i++)
        if (cache->entry[i].until_s != 0)
            explicit_bzero(&cache->entry[i], sizeof cache->entry[i]);
}

void jwt_cache_close(struct jwt_cache *cache)
{
    if (cache != NULL)
        jwt_cache_clear(cache);
    free(cache);
}

static struct entry *set_of(struct jwt_cache *cache, const uint8_t *digest)
{
    uint32_t bits;
    memcpy(&bits, digest, sizeof bits);
    return &cache->entry[(size_t)(bits & (cache->sets - 1)) * WAYS];
}

static const struct entry *find(struct entry *set, const uint8_t *digest, int64_t now_s)
{
    const struct entry *found = NULL;
    for (unsigned i = 0; i < WAYS; i++)
        if (CRYPTO_memcmp(set[i].digest, digest, SHA256_DIGEST_LENGTH) == 0 &&
            now_s < set[i].until_s)
            found = &set[i];
    return found;
}

static void remember(struct entry *set, const uint8_t *digest, const struct jwt_keys *keys,
                     int64_t now_s, int64_t key_until_s, const struct principal *principal)
{
    int64_t until_s = now_s + keys->cache_s;
    if (until_s > key_until_s)
        until_s = key_until_s;
    if (principal->expires_s != 0 && until_s > principal->expires_s + keys->leeway_s)
        until_s = principal->expires_s + keys->leeway_s;
    struct entry *oldest = &set[0];
    for (unsigned i = 1; i < WAYS; i++)
        if (set[i].until_s < oldest->until_s)
            oldest = &set[i];
    memcpy(oldest->digest, digest, SHA256_DIGEST_LENGTH);
    oldest->until_s = until_s;
    oldest->principal = *principal;
}

enum jwt_reason jwt_cache_verify(struct jwt_cache *cache, const struct jwt_keys *keys,
                                 struct span token, int64_t now_s, struct principal *out, char *why)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    if (token.length > JWT_TOKEN_MAX)
        return jwt_refuse(JWT_TOO_LONG, why);
    must(SHA256(token.at, token.length, digest) != NULL);
    struct entry *set = set_of(cache, digest);
    const struct entry *known = find(set, digest, now_s);
    if (known != NULL) {
        *out = known->principal;
        return JWT_VALID;
    }
    int64_t key_until_s;
    enum jwt_reason reason = jwt_verify_until(keys, token, now_s, out, why, &key_until_s);
    if (reason == JWT_VALID && keys->cache_s > 0)
        remember(set, digest, keys, now_s, key_until_s, out);
    return reason;
}
