/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libjwt checks signatures; everything that it is lax about is settled here, around it. It would
 * take an RS256 public key for an HS256 secret, accept "none" where no key is given and anything
 * where the key is empty, and looks at no claim. So, for a token of three parts:
 *
 *     header.claims.signature
 *
 *   1. all three must be base64url, strictly: one token has one spelling;
 *   2. the header is read by our own parser, and must say nothing that we do not understand
 *      (RFC 7515 4.1.11);
 *   3. its `kid` chooses the key, its `alg` must be the one that this key is for;
 *   4. the claims must be JSON before libjwt's parser meets them, and the signature as long as
 *      the algorithm's;
 *   5. libjwt verifies, with that key, never an empty one;
 *   6. the algorithm that libjwt saw must be the key's;
 *   7. only then do the claims count.
 */
#include "proto/jwt.h"
#include "core/base64.h"
#include "proto/jwt_key.h"

#include <errno.h>
#include <jwt.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

static const char *const texts[] = {
    [JWT_VALID] = "valid",
    [JWT_TOO_LONG] = "token too long",
    [JWT_MALFORMED] = "not a token",
    [JWT_ALGORITHM] = "algorithm not supported",
    [JWT_UNKNOWN_KEY] = "unknown key",
    [JWT_ALGORITHM_MISMATCH] = "algorithm not allowed for this key",
    [JWT_SIGNATURE] = "signature does not match",
    [JWT_EXPIRED] = "token expired",
    [JWT_NOT_YET] = "token not valid yet",
    [JWT_ISSUER] = "wrong issuer",
    [JWT_AUDIENCE] = "wrong audience",
    [JWT_CLAIM] = "a claim has the wrong shape",
};

enum jwt_reason jwt_refuse(enum jwt_reason reason, char *why)
{
    snprintf(why, JWT_WHY_MAX, "%s", texts[reason]);
    return reason;
}

enum {
    PART_MAX = BASE64_DECODED_MAX(JWT_TOKEN_MAX),
    HEADERS_MAX = 16, /* members; more is no header */
};

struct token {
    struct span header, claims, signature; /* decoded */
    enum jwt_algorithm algorithm;
    struct span kid; /* {NULL,0}: none */
    uint8_t memory[PART_MAX];
};

/* Decodes the next part, up to `dot` or the end, into the token's memory behind what is there. */
static bool decode_part(struct span *rest, bool last, uint8_t **room, struct span *out)
{
    const uint8_t *dot = memchr(rest->at, '.', rest->length);
    if ((dot == NULL) != last)
        return false;
    size_t length = last ? rest->length : (size_t)(dot - rest->at);
    ptrdiff_t decoded = base64_decode(BASE64_URL, span_of(rest->at, length), *room);
    if (decoded <= 0)
        return false;
    *out = span_of(*room, (size_t)decoded);
    *room += decoded;
    *rest = span_from(*rest, last ? length : length + 1);
    return true;
}

static bool is_clean_object(struct span text, struct json_value *out)
{
    size_t fault;
    return json_document(text, out, &fault) == JSON_OK && out->kind == JSON_OBJECT &&
           (out->flaws & (JSON_HAS_NUL | JSON_HAS_LONE_SURROGATE)) == 0;
}

/* One member of the header. False: it makes the token one that we must not accept. */
static bool take_header(struct token *token, struct span name, const struct json_value *value,
                        struct span *algorithm)
{
    struct span *field = span_is(name, "alg")   ? algorithm
                         : span_is(name, "kid") ? &token->kid
                                                : NULL;
    if (field != NULL) {
        /* Twice: two parsers may take two different ones. */
        if (value->kind != JSON_STRING || field->at != NULL)
            return false;
        *field = jwt_string(value);
        return true;
    }
    if (span_is(name, "typ")) { /* libjwt knows only this one */
        struct span type = value->kind == JSON_STRING ? jwt_string(value) : SPAN("");
        return type.length == 3 && strncasecmp((const char *)type.at, "JWT", 3) == 0;
    }
    return !span_is(name, "crit");
}

static enum jwt_reason read_header(struct token *token)
{
    struct json_value header, value;
    struct span name, algorithm = {0};
    unsigned members = 0;
    if (!is_clean_object(token->header, &header))
        return JWT_MALFORMED;
    struct json_walk walk = json_walk(header.text);
    while (json_next(&walk, &name, &value)) {
        /* An escape in a name has no honest use here. */
        if (++members > HEADERS_MAX || walk.name_escaped ||
            !take_header(token, name, &value, &algorithm))
            return JWT_MALFORMED;
    }
    token->algorithm = jwt_algorithm_find(algorithm);
    return token->algorithm < JWT_ALGORITHMS ? JWT_VALID : JWT_ALGORITHM;
}

static enum jwt_reason read_token(struct token *token, struct span text)
{
    struct json_value claims;
    uint8_t *room = token->memory;
    token->kid = (struct span){0};
    if (text.length > JWT_TOKEN_MAX)
        return JWT_TOO_LONG;
    if (text.length == 0 || !decode_part(&text, false, &room, &token->header) ||
        !decode_part(&text, false, &room, &token->claims) ||
        !decode_part(&text, true, &room, &token->signature) ||
        !is_clean_object(token->claims, &claims))
        return JWT_MALFORMED;
    token->claims = claims.text;
    return read_header(token);
}

static jwt_alg_t libjwt_algorithm(enum jwt_algorithm algorithm)
{
    return jwt_str_alg(jwt_algorithms[algorithm].name);
}

static enum jwt_reason check_signature(const struct jwt_key *key, const struct token *token,
                                       struct span text)
{
    unsigned signature_bytes = jwt_algorithms[key->algorithm].signature_bytes;
    if (token->algorithm != key->algorithm)
        return JWT_ALGORITHM_MISMATCH;
    if (signature_bytes != 0 && token->signature.length != signature_bytes)
        return JWT_SIGNATURE;
    must(key->material.length > 0);

    char copy[JWT_TOKEN_MAX + 1];
    memcpy(copy, text.at, text.length);
    copy[text.length] = '\0';
    jwt_t *jwt = NULL;
    int error = jwt_decode(&jwt, copy, key->material.at, (int)key->material.length);
    explicit_bzero(copy, sizeof copy);
    if (error != 0)
        return JWT_SIGNATURE;
    bool same = jwt_get_alg(jwt) == libjwt_algorithm(key->algorithm);
    jwt_free(jwt);
    return same ? JWT_VALID : JWT_ALGORITHM_MISMATCH;
}

static bool was_for(const struct jwt_former *former, struct span kid)
{
    return kid.at != NULL ? span_is(kid, former->key.kid) : former->for_unnamed;
}

/* The present key first, then those that it has replaced not too long ago. */
static enum jwt_reason check_keys(const struct jwt_keys *keys, const struct token *token,
                                  struct span text, int64_t now_s, int64_t *until_s)
{
    const struct jwt_key *key = jwt_keys_find(keys, token->kid);
    enum jwt_reason reason = key != NULL ? check_signature(key, token, text) : JWT_UNKNOWN_KEY;
    *until_s = INT64_MAX;
    for (unsigned i = 0; reason != JWT_VALID && i < keys->formers; i++) {
        const struct jwt_former *former = &keys->former[i];
        if (now_s >= former->until_s || !was_for(former, token->kid) ||
            check_signature(&former->key, token, text) != JWT_VALID)
            continue;
        *until_s = former->until_s;
        return JWT_VALID;
    }
    return reason;
}

enum jwt_reason jwt_verify_until(const struct jwt_keys *keys, struct span text, int64_t now_s,
                                 struct principal *out, char *why, int64_t *until_s)
{
    struct token token;
    enum jwt_reason reason = read_token(&token, text);
    if (reason == JWT_VALID)
        reason = check_keys(keys, &token, text, now_s, until_s);
    if (reason == JWT_VALID)
        reason = jwt_claims_judge(keys, token.claims, now_s, out, why);
    else
        jwt_refuse(reason, why);
    explicit_bzero(&token, sizeof token);
    return reason;
}

enum jwt_reason jwt_verify(const struct jwt_keys *keys, struct span text, int64_t now_s,
                           struct principal *out, char *why)
{
    int64_t until_s;
    return jwt_verify_until(keys, text, now_s, out, why, &until_s);
}

static int add_text(jwt_t *jwt, const char *name, const char *text)
{
    return text != NULL ? jwt_add_grant(jwt, name, text) : 0;
}

static int add_time(jwt_t *jwt, const char *name, int64_t time_s)
{
    return time_s != 0 ? jwt_add_grant_int(jwt, name, (long)time_s) : 0;
}

static char *encode(jwt_t *jwt, struct span secret, const struct jwt_claims *claims)
{
    if (jwt_set_alg(jwt, JWT_ALG_HS256, secret.at, (int)secret.length) != 0 ||
        (claims->kid != NULL && jwt_add_header(jwt, "kid", claims->kid) != 0) ||
        add_text(jwt, "sub", claims->user) != 0 || add_text(jwt, "email", claims->email) != 0 ||
        add_text(jwt, "tenantId", claims->tenant) != 0 ||
        add_text(jwt, "scope", claims->scope) != 0 || add_text(jwt, "iss", claims->issuer) != 0 ||
        add_text(jwt, "aud", claims->audience) != 0 ||
        add_time(jwt, "iat", claims->issued_s) != 0 || add_time(jwt, "exp", claims->expires_s) != 0)
        return NULL;
    return jwt_encode_str(jwt);
}

int jwt_mint(struct span secret, const struct jwt_claims *claims, char *out, size_t room)
{
    jwt_t *jwt = NULL;
    if (secret.length == 0 || secret.length > JWT_KEY_MATERIAL_MAX)
        return -EINVAL;
    if (jwt_new(&jwt) != 0)
        return -ENOMEM;
    char *text = encode(jwt, secret, claims);
    jwt_free(jwt);
    if (text == NULL)
        return -EINVAL; /* such as a text that is not UTF-8 */
    size_t length = strlen(text);
    bool fits = length < room && length <= JWT_TOKEN_MAX;
    if (fits)
        memcpy(out, text, length + 1);
    explicit_bzero(text, length);
    free(text);
    return fits ? (int)length : -ENOSPC;
}
