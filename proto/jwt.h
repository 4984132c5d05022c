/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON Web Tokens (RFC 7519), verified: from a compact
 * text to a principal, or to words that say why not.
 *
 * The keys are made once from the configuration and then read-only: any thread. A cache of what was
 * verified belongs to one thread; with it a token costs a SHA-256 instead of a signature. Who calls
 * it limits failures per address first (proto/quota.h).
 *
 * A token never reaches a log or a message, nor does any part of one.
 */
#ifndef PROTO_JWT_H
#define PROTO_JWT_H

#include "core/config.h"
#include "core/must.h"
#include "core/span.h"
#include "proto/principal.h"

enum {
    JWT_TOKEN_MAX = 8192,
    JWT_WHY_MAX = 128, /* room for the words */
};

enum jwt_reason {
    JWT_VALID,
    JWT_TOO_LONG,
    JWT_MALFORMED,          /* not three parts of base64url with a header and claims in JSON */
    JWT_ALGORITHM,          /* none, or one that we do not know */
    JWT_UNKNOWN_KEY,        /* no key of that kid, or no kid where it is needed */
    JWT_ALGORITHM_MISMATCH, /* not the one that the key is for */
    JWT_SIGNATURE,
    JWT_EXPIRED,
    JWT_NOT_YET,
    JWT_ISSUER,
    JWT_AUDIENCE,
    JWT_CLAIM, /* one has the wrong shape; the words say which */
};

struct jwt_keys;

/*
 * Reads [key …], auth.jwks_file and what `auth` demands of claims. A token is verified with the key
 * that its `kid` names; one without a kid with the key `default`, or with the only key there is. 0,
 * or -EINVAL or -errno with a sentence in `why` (256 bytes) that names the key or the file. No keys
 * is allowed: then every token is refused.
 */
NODISCARD int jwt_keys_open(struct jwt_keys **out, const struct config *config, char *why);
void jwt_keys_close(struct jwt_keys *keys); /* wipes them */
unsigned jwt_keys_count(const struct jwt_keys *keys);

/*
 * New keys have taken the place of `old`: what the old ones verify and the new ones do not stays
 * good until `until_s` (seconds since 1970), each key under the name that it had. Copies; `old` may
 * go. What `old` itself has inherited is passed on with its own time, if that is sooner. At most JWT_FORMER_MAX, the
 * newest. Before anybody else sees `keys`. How many there are now, or -ENOMEM.
 */
enum { JWT_FORMER_MAX = 16 };
NODISCARD int jwt_keys_inherit(struct jwt_keys *keys, const struct jwt_keys *old, int64_t now_s,
                               int64_t until_s);

/* JWT_VALID: *out is filled. Else the reason, in words for the client in `why`
 * (JWT_WHY_MAX bytes), and *out is as it was. `now_s`: seconds since 1970. */
NODISCARD enum jwt_reason jwt_verify(const struct jwt_keys *keys, struct span token, int64_t now_s,
                                     struct principal *out, char *why);

/* Verified tokens by their SHA-256, each until it expires,
 * auth.cache_s at most. One thread; NULL: no memory. */
struct jwt_cache;
enum { JWT_CACHE_ENTRIES = 1024 }; /* 5 KB each */
NODISCARD struct jwt_cache *jwt_cache_open(unsigned entries);
void jwt_cache_close(struct jwt_cache *cache);
void jwt_cache_clear(struct jwt_cache *cache); /* after new keys */

/* jwt_verify() by way of the cache. */
NODISCARD enum jwt_reason jwt_cache_verify(struct jwt_cache *cache, const struct jwt_keys *keys,
                                           struct span token, int64_t now_s, struct principal *out,
                                           char *why);

/* A token for development and tests, HS256. Texts that are NULL are left out. */
struct jwt_claims {
    const char *kid, *user, *email, *tenant, *scope, *issuer, *audience;
    int64_t issued_s, expires_s; /* 0: left out */
};
/* The token's length, NUL not counted, or -EINVAL (an empty secret) or -ENOSPC. */
NODISCARD int jwt_mint(struct span secret, const struct jwt_claims *claims, char *out, size_t room);

#endif
