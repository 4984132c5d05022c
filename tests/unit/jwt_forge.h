/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens and keys for the tests of proto/jwt.h, made by libcrypto
 * and not by what is tested: any header, any claims, any key.
 */
#ifndef TESTS_UNIT_JWT_FORGE_H
#define TESTS_UNIT_JWT_FORGE_H

#include "core/base64.h"
#include "tests/unit/unit.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>

enum { FORGE_TOKEN_MAX = 20000 };

static inline const EVP_MD *forge_hash(const char *algorithm)
{
    const char *bits = algorithm + 2;
    return strcmp(bits, "256") == 0   ? EVP_sha256()
           : strcmp(bits, "384") == 0 ? EVP_sha384()
                                      : EVP_sha512();
}

static inline size_t forge_part(const char *json, char *out)
{
    return base64_encode(BASE64_URL, span_of_string(json), out);
}

/* DER to r || s (RFC 7518 3.4). */
static inline size_t forge_raw_signature(const uint8_t *der, size_t length, int half, uint8_t *out)
{
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long)length);
    assert_non_null(pair);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(pair), out, half), half);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(pair), out + half, half), half);
    ECDSA_SIG_free(pair);
    return (size_t)half * 2;
}

static inline size_t forge_sign(const char *algorithm, EVP_PKEY *key, const char *text,
                                size_t length, uint8_t *out)
{
    uint8_t der[1024];
    size_t signature = sizeof der;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(context, NULL, forge_hash(algorithm), NULL, key), 1);
    assert_int_equal(EVP_DigestSign(context, der, &signature, (const uint8_t *)text, length), 1);
    EVP_MD_CTX_free(context);
    if (algorithm[0] == 'E')
        return forge_raw_signature(der, signature, (EVP_PKEY_get_bits(key) + 7) / 8, out);
    memcpy(out, der, signature);
    return signature;
}

/* header.claims.signature by HMAC with `secret`, or by `key` where it is given. */
static inline struct span forge(const char *algorithm, const char *header, const char *claims,
                                struct span secret, EVP_PKEY *key)
{
    static char token[FORGE_TOKEN_MAX * 2];
    uint8_t signature[1024];
    size_t at = forge_part(header, token);
    token[at++] = '.';
    at += forge_part(claims, token + at);
    size_t length;
    if (key != NULL) {
        length = forge_sign(algorithm, key, token, at, signature);
    } else {
        unsigned hmac;
        assert_non_null(HMAC(forge_hash(algorithm), secret.at, (int)secret.length,
                             (const uint8_t *)token, at, signature, &hmac));
        length = hmac;
    }
    token[at++] = '.';
    at += base64_encode(BASE64_URL, span_of(signature, length), token + at);
    return span_of(token, at);
}

static inline void forge_write(const char *path, const void *bytes, size_t length)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    fclose(file);
}

/* The public half as PEM; the caller frees. */
static inline char *forge_pem(EVP_PKEY *key)
{
    BIO *out = BIO_new(BIO_s_mem());
    char *text;
    assert_int_equal(PEM_write_bio_PUBKEY(out, key), 1);
    long length = BIO_get_mem_data(out, &text);
    char *copy = strndup(text, (size_t)length);
    BIO_free(out);
    return copy;
}

/* A number of the key in base64url, `bytes` long (0: as short as it is). */
static inline void forge_number(EVP_PKEY *key, const char *name, int bytes, char *out)
{
    BIGNUM *number = NULL;
    uint8_t binary[1024];
    assert_int_equal(EVP_PKEY_get_bn_param(key, name, &number), 1);
    if (bytes == 0)
        bytes = BN_num_bytes(number);
    assert_int_equal(BN_bn2binpad(number, binary, bytes), bytes);
    BN_free(number);
    out[base64_encode(BASE64_URL, span_of(binary, (size_t)bytes), out)] = '\0';
}

#endif
