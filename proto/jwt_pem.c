/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcrypto's part: public keys. Whatever form a key comes in, it is judged (the right kind, long
 * enough, on the algorithm's curve) and kept as the one PEM form that libjwt reads.
 */
#include "proto/jwt_key.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>

enum { RSA_BITS_LEAST = 2048, RSA_BITS_MOST = 8192 }; /* RFC 7518 3.3 */

static bool suits(const struct jwt_key *key, EVP_PKEY *public, char *why)
{
    const struct jwt_algorithm_facts *facts = &jwt_algorithms[key->algorithm];
    if (facts->family == JWT_RSA) {
        int bits = EVP_PKEY_is_a(public, "RSA") ? EVP_PKEY_get_bits(public) : 0;
        if (bits >= RSA_BITS_LEAST && bits <= RSA_BITS_MOST)
            return true;
        jwt_key_wrong(why, "key \"%.64s\": %s needs an RSA key of %d to %d bits", key->kid,
                      facts->name, RSA_BITS_LEAST, RSA_BITS_MOST);
        return false;
    }
    char curve[64] = "";
    if (EVP_PKEY_is_a(public, "EC") &&
        EVP_PKEY_get_group_name(public, curve, sizeof curve, NULL) == 1 &&
        strcmp(curve, facts->curve) == 0)
        return true;
    jwt_key_wrong(why, "key \"%.64s\": %s needs a key on the curve %s", key->kid, facts->name,
                  facts->jwk_curve);
    return false;
}

/* Judges, writes down and frees `public` (NULL: it could not be read). */
static bool keep(struct jwt_key *key, EVP_PKEY *public, char *why)
{
    bool kept = false;
    BIO *out = BIO_new(BIO_s_mem());
    if (public == NULL) {
        jwt_key_wrong(why, "key \"%.64s\": not a public key in PEM, nor a certificate", key->kid);
    } else if (suits(key, public, why)) {
        char *text;
        long length;
        kept = out != NULL && PEM_write_bio_PUBKEY(out, public) == 1 &&
               (length = BIO_get_mem_data(out, &text)) > 0 &&
               buf_put(&key->material, text, (size_t)length);
        if (!kept)
            jwt_key_wrong(why, "key \"%.64s\": out of memory", key->kid);
    }
    BIO_free(out);
    EVP_PKEY_free(public);
    return kept;
}

/* No prompt for a pass phrase: a file that needs one is refused. */
static int no_phrase(char *out, int room, int writing, void *context)
{
    (void)out, (void)room, (void)writing, (void)context;
    return -1;
}

bool jwt_pem_take(struct jwt_key *key, struct span pem, char *why)
{
    BIO *in = BIO_new_mem_buf(pem.at, (int)pem.length);
    EVP_PKEY *public = in != NULL ? PEM_read_bio_PUBKEY(in, NULL, no_phrase, NULL) : NULL;
    if (public == NULL && in != NULL && BIO_reset(in) == 1) {
        X509 *certificate = PEM_read_bio_X509(in, NULL, no_phrase, NULL);
        if (certificate != NULL)
        public = X509_get_pubkey(certificate);
        X509_free(certificate);
    }
    BIO_free(in);
    return keep(key, public, why);
}

/* A public key of that type out of its parameters, or NULL. Frees the builder. */
static EVP_PKEY *build(const char *type, OSSL_PARAM_BLD *builder)
{
    EVP_PKEY *public = NULL;
    OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    if (parameters == NULL || context == NULL || EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, &public, EVP_PKEY_PUBLIC_KEY, parameters) != 1)
    public = NULL;
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(parameters);
    OSSL_PARAM_BLD_free(builder);
    return public;
}

bool jwt_pem_from_rsa(struct jwt_key *key, struct span n, struct span e, char *why)
{
    BIGNUM *modulus = BN_bin2bn(n.at, (int)n.length, NULL);
    BIGNUM *exponent = BN_bin2bn(e.at, (int)e.length, NULL);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    EVP_PKEY *public = NULL;
    if (modulus != NULL && exponent != NULL && builder != NULL &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, modulus) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, exponent) == 1)
    public = build("RSA", builder);
    else OSSL_PARAM_BLD_free(builder);
    BN_free(modulus);
    BN_free(exponent);
    return keep(key, public, why);
}

bool jwt_pem_from_ec(struct jwt_key *key, struct span x, struct span y, char *why)
{
    const struct jwt_algorithm_facts *facts = &jwt_algorithms[key->algorithm];
    size_t half = facts->signature_bytes / 2; /* a coordinate is as long as half a signature */
    uint8_t point[1 + 132] = {4};             /* SEC 1 2.3.3: uncompressed */
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    EVP_PKEY *public = NULL;
    if (builder != NULL && x.length == half && y.length == half) {
        memcpy(point + 1, x.at, half);
        memcpy(point + 1 + half, y.at, half);
        if (OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, facts->curve, 0) ==
                1 &&
            OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point,
                                             1 + 2 * half) == 1) {
            public = build("EC", builder);
            builder = NULL;
        }
    }
    OSSL_PARAM_BLD_free(builder);
    return keep(key, public, why);
}
