/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What proto/jwt*.c share: keys, algorithms, and libcrypto's part in our words. Not for others.
 */
#ifndef PROTO_JWT_KEY_H
#define PROTO_JWT_KEY_H

#include "core/buf.h"
#include "proto/json.h"
#include "proto/jwt.h"

enum jwt_algorithm {
    JWT_HS256,
    JWT_HS384,
    JWT_HS512,
    JWT_RS256,
    JWT_RS384,
    JWT_RS512,
    JWT_ES256,
    JWT_ES384,
    JWT_ES512,
    JWT_ALGORITHMS
};

enum jwt_family { JWT_HMAC, JWT_RSA, JWT_EC };

struct jwt_algorithm_facts {
    const char *name;
    enum jwt_family family;
    const char *jwk_curve, *curve; /* "P-256", and libcrypto's name */
    unsigned signature_bytes;      /* 0: as the RSA key has it */
};
extern const struct jwt_algorithm_facts jwt_algorithms[JWT_ALGORITHMS];

/* JWT_ALGORITHMS: not one of ours; "none" never is. Exact: "hs256" is nothing. */
enum jwt_algorithm jwt_algorithm_find(struct span name);

struct jwt_key {
    char *kid; /* "": for tokens that name none */
    enum jwt_algorithm algorithm;
    struct buf material; /* an HMAC secret, or a public key as PEM */
};

enum { JWT_KEYS_MAX = 128, JWT_KEY_FILE_MAX = 1 << 20, JWT_KEY_MATERIAL_MAX = 16384 };

/* One of the keys before these. */
struct jwt_former {
    struct jwt_key key;
    bool for_unnamed; /* tokens without a kid were verified with it */
    int64_t until_s;
};

struct jwt_keys {
    struct jwt_key key[JWT_KEYS_MAX];
    unsigned count;
    struct jwt_former former[JWT_FORMER_MAX];
    unsigned formers;
    char *issuer, *audience; /* "": not checked */
    int64_t leeway_s, cache_s;
};

/* jwt_verify(); *until_s: when a key that is no longer one of the present ends; INT64_MAX: never. */
NODISCARD enum jwt_reason jwt_verify_until(const struct jwt_keys *keys, struct span token,
                                           int64_t now_s, struct principal *out, char *why,
                                           int64_t *until_s);
/* The key that a token with this kid is verified with ({NULL,0}: without any), or NULL. */
const struct jwt_key *jwt_keys_find(const struct jwt_keys *keys, struct span kid);

/* A sentence of at most 256 bytes for the operator. Returns -EINVAL. */
int jwt_key_wrong(char *why, const char *format, ...) PRINTF_LIKE(2, 3);
/* The next free key, with that kid; NULL:
 * `why` says that there are too many, or that the kid is taken. */
NODISCARD struct jwt_key *jwt_key_add(struct jwt_keys *keys, struct span kid,
                                      enum jwt_algorithm algorithm, char *why);
NODISCARD bool jwt_key_secret(struct jwt_key *key, struct span secret, char *why);
/* Adds every usable signature key of a JWK set (RFC 7517). */
NODISCARD int jwt_jwks_add(struct jwt_keys *keys, struct span text, const char *file, char *why);

/* A public key (or a certificate) in PEM becomes the key's material if it suits the algorithm. */
NODISCARD bool jwt_pem_take(struct jwt_key *key, struct span pem, char *why);
/* The same from a JWK's numbers: big-endian bytes. */
NODISCARD bool jwt_pem_from_rsa(struct jwt_key *key, struct span n, struct span e, char *why);
NODISCARD bool jwt_pem_from_ec(struct jwt_key *key, struct span x, struct span y, char *why);

/* Claims in JSON to a principal. The text is changed (strings are unescaped where they lie). */
NODISCARD enum jwt_reason jwt_claims_judge(const struct jwt_keys *keys, struct span text,
                                           int64_t now_s, struct principal *out, char *why);

/* A string's inside, unescaped where it lies: the memory must be the caller's own to change. */
struct span jwt_string(const struct json_value *value);

/* For a reason that needs no more words. */
enum jwt_reason jwt_refuse(enum jwt_reason reason, char *why);

#endif
