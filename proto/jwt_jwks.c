/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A JSON Web Key Set (RFC 7517; the numbers of a key: RFC 7518 6):
 * {"keys":[{"kty":"RSA","kid":…,"n":…,"e":…}, …]}.
 *
 * Sets in the wild hold keys for other purposes and algorithms: those are passed over, as RFC 7517
 * 5 has it. A key that is meant for us and is broken stops the start.
 */
#include "core/base64.h"
#include "core/log.h"
#include "proto/jwt_key.h"

#include <errno.h>

enum { NUMBER_MAX = 2048 }; /* bytes of n, e, x, y or k */

struct jwk {
    struct span kty, kid, alg, use, crv, n, e, x, y, k;
};

struct span jwt_string(const struct json_value *value)
{
    struct span inside = span_of(value->text.at + 1, value->text.length - 2);
    if (value->escaped)
        inside.length = json_unescape(inside, (uint8_t *)(uintptr_t)inside.at);
    return inside;
}

static struct jwk read_jwk(struct span object)
{
    static const struct {
        const char *name;
        size_t offset;
    } members[] = {
        {"kty", offsetof(struct jwk, kty)}, {"kid", offsetof(struct jwk, kid)},
        {"alg", offsetof(struct jwk, alg)}, {"use", offsetof(struct jwk, use)},
        {"crv", offsetof(struct jwk, crv)}, {"n", offsetof(struct jwk, n)},
        {"e", offsetof(struct jwk, e)},     {"x", offsetof(struct jwk, x)},
        {"y", offsetof(struct jwk, y)},     {"k", offsetof(struct jwk, k)},
    };
    struct jwk jwk = {0};
    struct json_walk walk = json_walk(object);
    struct json_value value;
    struct span name;
    while (json_next(&walk, &name, &value))
        for (size_t i = 0; i < COUNT_OF(members) && value.kind == JSON_STRING; i++)
            if (span_is(name, members[i].name))
                *(struct span *)(void *)((char *)&jwk + members[i].offset) = jwt_string(&value);
    return jwk;
}

/* What the key is for: its `alg`, else what its type suggests. JWT_ALGORITHMS: not for us. */
static enum jwt_algorithm purpose(const struct jwk *jwk)
{
    if (jwk->use.at != NULL && !span_is(jwk->use, "sig"))
        return JWT_ALGORITHMS;
    enum jwt_family family = span_is(jwk->kty, "RSA")   ? JWT_RSA
                             : span_is(jwk->kty, "EC")  ? JWT_EC
                             : span_is(jwk->kty, "oct") ? JWT_HMAC
                                                        : (enum jwt_family) - 1;
    for (enum jwt_algorithm i = 0; i < JWT_ALGORITHMS; i++) {
        const struct jwt_algorithm_facts *facts = &jwt_algorithms[i];
        if (facts->family != family || (jwk->alg.at != NULL && !span_is(jwk->alg, facts->name)))
            continue;
        if (family != JWT_EC || span_is(jwk->crv, facts->jwk_curve))
            return i;
    }
    return JWT_ALGORITHMS;
}

/* Decodes one of the numbers; false: absent, not base64url, or too long. */
static bool decode(struct span text, uint8_t out[BASE64_DECODED_MAX(NUMBER_MAX)],
                   struct span *number)
{
    if (text.length == 0 || text.length > NUMBER_MAX)
        return false;
    ptrdiff_t length = base64_decode(BASE64_URL, text, out);
    *number = span_of(out, length > 0 ? (size_t)length : 0);
    return length > 0;
}

static bool take_jwk(struct jwt_key *key, const struct jwk *jwk, char *why)
{
    uint8_t first[BASE64_DECODED_MAX(NUMBER_MAX)], second[BASE64_DECODED_MAX(NUMBER_MAX)];
    struct span a, b;
    bool taken;
    switch (jwt_algorithms[key->algorithm].family) {
    case JWT_HMAC:
        if (!decode(jwk->k, first, &a))
            break;
        taken = jwt_key_secret(key, a, why);
        explicit_bzero(first, sizeof first);
        return taken;
    case JWT_RSA:
        if (decode(jwk->n, first, &a) && decode(jwk->e, second, &b))
            return jwt_pem_from_rsa(key, a, b, why);
        break;
    case JWT_EC:
        if (decode(jwk->x, first, &a) && decode(jwk->y, second, &b))
            return jwt_pem_from_ec(key, a, b, why);
        break;
    }
    jwt_key_wrong(why, "key \"%.64s\": its numbers are absent or not base64url", key->kid);
    return false;
}

int jwt_jwks_add(struct jwt_keys *keys, struct span text, const char *file, char *why)
{
    struct json_value set, list = {0}, member;
    size_t fault = 0;
    struct span name;
    if (json_document(text, &set, &fault) != JSON_OK || set.kind != JSON_OBJECT ||
        !json_find(set.text, "keys", &list) || list.kind != JSON_ARRAY)
        return jwt_key_wrong(why, "%.160s: not a JSON Web Key Set (fault at byte %zu)", file,
                             fault);
    unsigned before = keys->count, passed_over = 0;
    struct json_walk walk = json_walk(list.text);
    while (json_next(&walk, &name, &member)) {
        struct jwk jwk = {0};
        if (member.kind == JSON_OBJECT && member.flaws == 0)
            jwk = read_jwk(member.text);
        enum jwt_algorithm algorithm = purpose(&jwk);
        if (algorithm == JWT_ALGORITHMS) {
            passed_over++;
            continue;
        }
        struct span kid = jwk.kid.at != NULL ? jwk.kid : SPAN("");
        struct jwt_key *key = jwt_key_add(keys, kid, algorithm, why);
        if (key == NULL || !take_jwk(key, &jwk, why))
            return -EINVAL;
    }
    log_info("jwt", "%s: %u keys, %u passed over", file, keys->count - before, passed_over);
    return 0;
}
