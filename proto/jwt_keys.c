/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A key is for exactly one algorithm. That, and that the algorithm of a token
 * is compared with its key's before and after libjwt has looked at it,
 * is what keeps a public RSA key from being taken for an HMAC secret.
 */
#include "core/log.h"
#include "proto/jwt_key.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

const struct jwt_algorithm_facts jwt_algorithms[JWT_ALGORITHMS] = {
    [JWT_HS256] = {"HS256", JWT_HMAC, NULL, NULL, 32},
    [JWT_HS384] = {"HS384", JWT_HMAC, NULL, NULL, 48},
    [JWT_HS512] = {"HS512", JWT_HMAC, NULL, NULL, 64},
    [JWT_RS256] = {"RS256", JWT_RSA, NULL, NULL, 0},
    [JWT_RS384] = {"RS384", JWT_RSA, NULL, NULL, 0},
    [JWT_RS512] = {"RS512", JWT_RSA, NULL, NULL, 0},
    [JWT_ES256] = {"ES256", JWT_EC, "P-256", "prime256v1", 64},
    [JWT_ES384] = {"ES384", JWT_EC, "P-384", "secp384r1", 96},
    [JWT_ES512] = {"ES512", JWT_EC, "P-521", "secp521r1", 132},
};

enum { SECRET_ADVISED = 32 }; /* RFC 7518 3.2: as long as the hash */

enum jwt_algorithm jwt_algorithm_find(struct span name)
{
    enum jwt_algorithm found = 0;
    while (found < JWT_ALGORITHMS && !span_is(name, jwt_algorithms[found].name))
        found++;
    return found;
}

int jwt_key_wrong(char *why, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, 256, format, arguments);
    va_end(arguments);
    return -EINVAL;
}

struct jwt_key *jwt_key_add(struct jwt_keys *keys, struct span kid, enum jwt_algorithm algorithm,
                            char *why)
{
    for (unsigned i = 0; i < keys->count; i++)
        if (span_is(kid, keys->key[i].kid)) {
            jwt_key_wrong(why, "two keys are called \"%.64s\"", keys->key[i].kid);
            return NULL;
        }
    if (keys->count == JWT_KEYS_MAX) {
        jwt_key_wrong(why, "more than %d keys for tokens", JWT_KEYS_MAX);
        return NULL;
    }
    char *copy = strndup((const char *)kid.at, kid.length);
    if (copy == NULL) {
        jwt_key_wrong(why, "out of memory");
        return NULL;
    }
    struct jwt_key *key = &keys->key[keys->count++];
    *key = (struct jwt_key){.kid = copy, .algorithm = algorithm};
    buf_init(&key->material, JWT_KEY_MATERIAL_MAX);
    return key;
}

bool jwt_key_secret(struct jwt_key *key, struct span secret, char *why)
{
    if (secret.length == 0) {
        jwt_key_wrong(why, "key \"%.64s\": the secret is empty", key->kid);
        return false;
    }
    if (secret.length < SECRET_ADVISED)
        log_warn("jwt", "key \"%.64s\": a secret of %zu bytes can be guessed; use %d random ones",
                 key->kid, secret.length, SECRET_ADVISED);
    if (!buf_put(&key->material, secret.at, secret.length)) {
        jwt_key_wrong(why, "key \"%.64s\": a secret longer than %d bytes", key->kid,
                      JWT_KEY_MATERIAL_MAX);
        return false;
    }
    return true;
}

const struct jwt_key *jwt_keys_find(const struct jwt_keys *keys, struct span kid)
{
    bool named = kid.at != NULL;
    if (!named && keys->count == 1)
        return &keys->key[0];
    for (unsigned i = 0; i < keys->count; i++)
        if (named ? span_is(kid, keys->key[i].kid)
                  : keys->key[i].kid[0] == '\0' || strcmp(keys->key[i].kid, "default") == 0)
            return &keys->key[i];
    return NULL;
}

static void wipe(struct buf *buf)
{
    if (buf->at != NULL)
        explicit_bzero(buf->at, buf->capacity);
    buf_fini(buf);
}

/* The whole file; at most JWT_KEY_FILE_MAX bytes. `what`: the option that names it; with `kid` of
 * that key's section. 0 or -errno. */
static int read_file(const char *kid, const char *what, const char *name, struct buf *out,
                     char *why)
{
    *out = (struct buf){.max = JWT_KEY_FILE_MAX};
    FILE *file = fopen(name, "re");
    int error = file == NULL ? errno : 0;
    uint8_t *room = error == 0 ? buf_room(out, JWT_KEY_FILE_MAX) : NULL;
    if (room != NULL) {
        buf_grew(out, fread(room, 1, JWT_KEY_FILE_MAX, file));
        if (ferror(file))
            error = errno; /* such as EISDIR */
        else if (out->length == JWT_KEY_FILE_MAX)
            error = EFBIG;
    } else if (error == 0) {
        error = ENOMEM;
    }
    if (file != NULL)
        fclose(file);
    if (error == 0)
        return 0;
    wipe(out);
    if (kid != NULL)
        jwt_key_wrong(why, "[key %.64s] %s %.120s: %s", kid, what, name, strerror(error));
    else
        jwt_key_wrong(why, "%s %.160s: %s", what, name, strerror(error));
    return -error;
}

static int take_secret_file(struct jwt_key *key, const char *file, char *why)
{
    struct buf bytes;
    int error = read_file(key->kid, "secret_file", file, &bytes, why);
    if (error != 0)
        return error;
    struct span secret = buf_span(&bytes);
    if (secret.length > 0 && secret.at[secret.length - 1] == '\n')
        log_warn("jwt", "key \"%.64s\": %s ends in a line's end, which is part of the secret",
                 key->kid, file);
    if (!jwt_key_secret(key, secret, why))
        error = -EINVAL;
    wipe(&bytes);
    return error;
}

static int take_pem_file(struct jwt_key *key, const char *file, char *why)
{
    struct buf bytes;
    int error = read_file(key->kid, "pem_file", file, &bytes, why);
    if (error != 0)
        return error;
    if (!jwt_pem_take(key, buf_span(&bytes), why))
        error = -EINVAL;
    wipe(&bytes);
    return error;
}

static bool is_set(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static int add_configured(struct jwt_keys *keys, const struct config_key *from, char *why)
{
    enum jwt_algorithm algorithm = from->algorithm != NULL
                                       ? jwt_algorithm_find(span_of_string(from->algorithm))
                                       : JWT_ALGORITHMS;
    if (algorithm == JWT_ALGORITHMS)
        return jwt_key_wrong(why, "key \"%.64s\": unknown algorithm", from->kid);
    struct jwt_key *key = jwt_key_add(keys, span_of_string(from->kid), algorithm, why);
    if (key == NULL)
        return -EINVAL;
    if (jwt_algorithms[algorithm].family != JWT_HMAC)
        return is_set(from->pem_file) ? take_pem_file(key, from->pem_file, why)
                                      : jwt_key_wrong(why, "key \"%.64s\": no pem_file", key->kid);
    if (is_set(from->secret_file))
        return take_secret_file(key, from->secret_file, why);
    struct span secret = from->secret != NULL ? span_of_string(from->secret) : SPAN("");
    return jwt_key_secret(key, secret, why) ? 0 : -EINVAL;
}

static int add_all(struct jwt_keys *keys, const struct config *config, char *why)
{
    for (unsigned i = 0; i < config->keys; i++) {
        int error = add_configured(keys, &config->key[i], why);
        if (error != 0)
            return error;
    }
    if (!is_set(config->auth_jwks_file))
        return 0;
    struct buf text;
    int error = read_file(NULL, "auth.jwks_file", config->auth_jwks_file, &text, why);
    if (error != 0)
        return error;
    error = jwt_jwks_add(keys, buf_span(&text), config->auth_jwks_file, why);
    wipe(&text);
    return error;
}

int jwt_keys_open(struct jwt_keys **out, const struct config *config, char *why)
{
    struct jwt_keys *keys = calloc(1, sizeof *keys);
    if (keys == NULL)
        return -ENOMEM;
    keys->leeway_s = config->auth_leeway_s;
    keys->cache_s = config->auth_cache_s;
    keys->issuer = strdup(config->auth_issuer);
    keys->audience = strdup(config->auth_audience);
    int error = keys->issuer != NULL && keys->audience != NULL
                    ? add_all(keys, config, why)
                    : jwt_key_wrong(why, "out of memory");
    if (error != 0)
        jwt_keys_close(keys);
    else
        *out = keys;
    return error;
}

static void forget(struct jwt_key *key)
{
    free(key->kid);
    wipe(&key->material);
}

void jwt_keys_close(struct jwt_keys *keys)
{
    if (keys == NULL)
        return;
    for (unsigned i = 0; i < keys->count; i++)
        forget(&keys->key[i]);
    for (unsigned i = 0; i < keys->formers; i++)
        forget(&keys->former[i].key);
    free(keys->issuer);
    free(keys->audience);
    free(keys);
}

unsigned jwt_keys_count(const struct jwt_keys *keys)
{
    return keys->count;
}

/* ── Keys that were replaced ────────────────────────────────────────────────────────────────── */

static bool is_same(const struct jwt_key *a, const struct jwt_key *b)
{
    return a->algorithm == b->algorithm && strcmp(a->kid, b->kid) == 0 &&
           span_equal(buf_span(&a->material), buf_span(&b->material));
}

static bool is_present(const struct jwt_keys *keys, const struct jwt_key *key)
{
    for (unsigned i = 0; i < keys->count; i++)
        if (is_same(&keys->key[i], key))
            return true;
    return false;
}

/* False: no memory. */
static bool add_former(struct jwt_keys *keys, const struct jwt_key *key, bool for_unnamed,
                       int64_t until_s)
{
    const struct jwt_key *unnamed = jwt_keys_find(keys, (struct span){NULL, 0});
    bool still =
        is_present(keys, key) && (!for_unnamed || (unnamed != NULL && is_same(unnamed, key)));
    if (still || keys->formers == JWT_FORMER_MAX)
        return true;
    struct jwt_former *former = &keys->former[keys->formers];
    *former = (struct jwt_former){.for_unnamed = for_unnamed, .until_s = until_s};
    former->key = (struct jwt_key){.kid = strdup(key->kid), .algorithm = key->algorithm};
    buf_init(&former->key.material, JWT_KEY_MATERIAL_MAX);
    keys->formers++;
    return former->key.kid != NULL &&
           buf_put(&former->key.material, key->material.at, key->material.length);
}

int jwt_keys_inherit(struct jwt_keys *keys, const struct jwt_keys *old, int64_t now_s,
                     int64_t until_s)
{
    const struct jwt_key *unnamed = jwt_keys_find(old, (struct span){NULL, 0});
    bool fits = true;
    for (unsigned i = 0; fits && until_s > now_s && i < old->count; i++)
        fits = add_former(keys, &old->key[i], &old->key[i] == unnamed, until_s);
    for (unsigned i = 0; fits && i < old->formers; i++) {
        const struct jwt_former *former = &old->former[i];
        int64_t ends_s = former->until_s < until_s ? former->until_s : until_s;
        if (ends_s > now_s)
            fits = add_former(keys, &former->key, former->for_unnamed, ends_s);
    }
    return fits ? (int)keys->formers : -ENOMEM;
}
