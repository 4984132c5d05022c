/* SPDX-License-Identifier: Apache-2.0 */
#include "core/log.h"
#include "proto/jwt.h"
#include "tests/unit/jwt_forge.h"

#include <errno.h>
#include <unistd.h>

#define SECRET "0123456789abcdef0123456789abcdef"

enum { NOW = 1700000000, PRIVATE_KEYS = 4 };

/* One key of each kind, made once: RSA takes a while. */
struct fixture {
    char directory[64], *path[PRIVATE_KEYS], *other;
    EVP_PKEY *private[PRIVATE_KEYS];
    char *pem[PRIVATE_KEYS];
    struct config config;
};
enum { RSA_KEY, P256, P384, P521 };

static int set_up(void **state)
{
    log_setup(LOG_ERROR, LOG_LOGFMT);
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    snprintf(f->directory, sizeof f->directory, "/tmp/ringmain-jwt-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    f->private[RSA_KEY] = EVP_RSA_gen(2048);
    f->private[P256] = EVP_EC_gen("P-256");
    f->private[P384] = EVP_EC_gen("P-384");
    f->private[P521] = EVP_EC_gen("P-521");
    for (int i = 0; i < PRIVATE_KEYS; i++) {
        assert_non_null(f->private[i]);
        f->pem[i] = forge_pem(f->private[i]);
        assert_true(asprintf(&f->path[i], "%s/%d.pem", f->directory, i) > 0);
        forge_write(f->path[i], f->pem[i], strlen(f->pem[i]));
    }
    assert_true(asprintf(&f->other, "%s/other", f->directory) > 0);
    forge_write(f->other, "", 0);
    f->config.auth_issuer = f->config.auth_audience = f->config.auth_jwks_file = "";
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < PRIVATE_KEYS; i++) {
        EVP_PKEY_free(f->private[i]);
        free(f->pem[i]);
        unlink(f->path[i]);
        free(f->path[i]);
    }
    unlink(f->other);
    free(f->other);
    rmdir(f->directory);
    free(f);
    return 0;
}

static void write_other(struct fixture *f, const char *text)
{
    forge_write(f->other, text, strlen(text));
}

static struct jwt_keys *open_key(struct fixture *f, struct config_key key, char *why)
{
    struct jwt_keys *keys = NULL;
    if (key.kid == NULL)
        key.kid = "k";
    f->config.key[0] = key;
    f->config.keys = 1;
    f->config.auth_jwks_file = "";
    if (jwt_keys_open(&keys, &f->config, why) != 0)
        return NULL;
    return keys;
}

static void expect_refused(struct fixture *f, struct config_key key, const char *sentence)
{
    char why[256] = "";
    struct jwt_keys *keys = open_key(f, key, why);
    assert_null(keys);
    if (strstr(why, sentence) == NULL)
        fail_msg("expected \"%s\", got \"%s\"", sentence, why);
}

static const struct {
    const char *algorithm;
    int key;
} algorithms[] = {{"RS256", RSA_KEY}, {"RS384", RSA_KEY}, {"RS512", RSA_KEY},
                  {"ES256", P256},    {"ES384", P384},    {"ES512", P521},
                  {"HS256", -1},      {"HS384", -1},      {"HS512", -1}};

static struct span sign(const struct fixture *f, size_t i, const char *kid)
{
    char header[128];
    snprintf(header, sizeof header, "{\"alg\":\"%s\",\"typ\":\"JWT\",\"kid\":\"%s\"}",
             algorithms[i].algorithm, kid);
    EVP_PKEY *key = algorithms[i].key >= 0 ? f->private[algorithms[i].key] : NULL;
    return forge(algorithms[i].algorithm, header, "{\"sub\":\"u\"}", SPAN(SECRET), key);
}

static enum jwt_reason verify(const struct jwt_keys *keys, struct span token)
{
    struct principal principal;
    char why[JWT_WHY_MAX];
    uint8_t *edge = unit_edge_copy(token.at, token.length);
    enum jwt_reason reason = jwt_verify(keys, span_of(edge, token.length), NOW, &principal, why);
    unit_edge_free(edge, token.length);
    return reason;
}

static void test_every_algorithm(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < COUNT_OF(algorithms); i++) {
        char why[256] = "", broken[FORGE_TOKEN_MAX];
        int key = algorithms[i].key;
        struct jwt_keys *keys =
            open_key(f,
                     (struct config_key){.algorithm = (char *)(uintptr_t)algorithms[i].algorithm,
                                         .pem_file = key >= 0 ? f->path[key] : NULL,
                                         .secret = key >= 0 ? NULL : SECRET},
                     why);
        if (keys == NULL)
            fail_msg("%s", why);
        for (size_t k = 0; k < COUNT_OF(algorithms); k++)
            assert_int_equal(verify(keys, sign(f, k, "k")),
                             k == i ? JWT_VALID : JWT_ALGORITHM_MISMATCH);

        struct span token = sign(f, i, "k");
        memcpy(broken, token.at, token.length);
        broken[token.length] = '\0';
        char *signature = strrchr(broken, '.') + 1;
        for (char *at = signature; at < broken + token.length; at += 7) {
            char kept = *at;
            *at = kept == 'A' ? 'B' : 'A';
            assert_int_not_equal(verify(keys, span_of(broken, token.length)), JWT_VALID);
            *at = kept;
        }
        assert_int_equal(verify(keys, span_of(broken, token.length)), JWT_VALID);
        assert_int_not_equal(verify(keys, span_of(broken, token.length - 1)), JWT_VALID);
        jwt_keys_close(keys);
    }
}

/* The classic: the public key, which everybody has, as the secret of an HMAC. */
static void test_public_key_as_secret(void **state)
{
    struct fixture *f = *state;
    static char *const names[] = {"RS256", "ES256"};
    for (int i = 0; i < 2; i++) {
        char why[256];
        struct jwt_keys *keys =
            open_key(f, (struct config_key){.algorithm = names[i], .pem_file = f->path[i]}, why);
        assert_non_null(keys);
        struct span token = forge("HS256", "{\"alg\":\"HS256\",\"kid\":\"k\"}", "{\"sub\":\"u\"}",
                                  span_of_string(f->pem[i]), NULL);
        assert_int_equal(verify(keys, token), JWT_ALGORITHM_MISMATCH);
        token = forge("HS256", "{\"alg\":\"HS256\"}", "{}", span_of_string(f->pem[i]), NULL);
        assert_int_equal(verify(keys, token), JWT_ALGORITHM_MISMATCH);
        jwt_keys_close(keys);
    }
}

static void test_secret_files(void **state)
{
    struct fixture *f = *state;
    char why[256];
    write_other(f, SECRET);
    struct config_key key = {.algorithm = "HS256", .secret_file = f->other};
    struct jwt_keys *keys = open_key(f, key, why);
    assert_non_null(keys);
    assert_int_equal(verify(keys, sign(f, 6, "k")), JWT_VALID);
    jwt_keys_close(keys);

    write_other(f, SECRET "\n"); /* its bytes are the secret: all of them */
    keys = open_key(f, key, why);
    assert_non_null(keys);
    assert_int_equal(verify(keys, sign(f, 6, "k")), JWT_SIGNATURE);
    jwt_keys_close(keys);

    write_other(f, "");
    expect_refused(f, key, "key \"k\": the secret is empty");
    expect_refused(f, (struct config_key){.algorithm = "HS256", .secret = ""}, "secret is empty");
    expect_refused(f, (struct config_key){.algorithm = "HS256"}, "secret is empty");
    expect_refused(f, (struct config_key){.algorithm = "HS256", .secret_file = "/nonexistent/s"},
                   "/nonexistent/s: No such file or directory");
    expect_refused(f, (struct config_key){.algorithm = "HS256", .secret_file = f->directory},
                   "Is a directory");
}

static void test_refused_keys(void **state)
{
    struct fixture *f = *state;
    expect_refused(f, (struct config_key){.algorithm = "none", .secret = SECRET},
                   "unknown algorithm");
    expect_refused(f, (struct config_key){.algorithm = "RS256"}, "no pem_file");
    expect_refused(f, (struct config_key){.algorithm = "RS256", .pem_file = f->path[P256]},
                   "RS256 needs an RSA key of 2048 to 8192 bits");
    expect_refused(f, (struct config_key){.algorithm = "ES256", .pem_file = f->path[P384]},
                   "ES256 needs a key on the curve P-256");
    expect_refused(f, (struct config_key){.algorithm = "ES256", .pem_file = f->path[RSA_KEY]},
                   "ES256 needs a key on the curve P-256");
    write_other(f, "not PEM");
    expect_refused(f, (struct config_key){.algorithm = "RS256", .pem_file = f->other},
                   "key \"k\": not a public key in PEM, nor a certificate");
    EVP_PKEY *small = EVP_RSA_gen(1024);
    char *pem = forge_pem(small);
    write_other(f, pem);
    expect_refused(f, (struct config_key){.algorithm = "RS256", .pem_file = f->other},
                   "2048 to 8192 bits");
    free(pem);
    EVP_PKEY_free(small);

    char why[256];
    struct jwt_keys *keys = NULL;
    f->config.key[0] = f->config.key[1] =
        (struct config_key){.kid = "k", .algorithm = "HS256", .secret = SECRET};
    f->config.keys = 2;
    assert_int_equal(jwt_keys_open(&keys, &f->config, why), -EINVAL);
    assert_string_equal(why, "two keys are called \"k\"");
}

/* A certificate has a public key in it, too. */
static void test_certificate(void **state)
{
    struct fixture *f = *state;
    X509 *certificate = X509_new();
    assert_non_null(certificate);
    assert_int_equal(X509_set_pubkey(certificate, f->private[P256]), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    assert_true(X509_sign(certificate, f->private[P256], EVP_sha256()) > 0);
    FILE *file = fopen(f->other, "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, certificate), 1);
    fclose(file);
    X509_free(certificate);
    char why[256];
    struct jwt_keys *keys =
        open_key(f, (struct config_key){.algorithm = "ES256", .pem_file = f->other}, why);
    assert_non_null(keys);
    assert_int_equal(verify(keys, sign(f, 3, "k")), JWT_VALID);
    jwt_keys_close(keys);
}

static struct jwt_keys *open_set(struct fixture *f, const char *text, char *why)
{
    struct jwt_keys *keys = NULL;
    write_other(f, text);
    f->config.keys = 0;
    f->config.auth_jwks_file = f->other;
    int error = jwt_keys_open(&keys, &f->config, why);
    assert_true((error == 0) == (keys != NULL));
    return keys;
}

static void put_ec(const struct fixture *f, int key, const char *curve, int bytes, char *out,
                   size_t room)
{
    char x[256], y[256];
    forge_number(f->private[key], OSSL_PKEY_PARAM_EC_PUB_X, bytes, x);
    forge_number(f->private[key], OSSL_PKEY_PARAM_EC_PUB_Y, bytes, y);
    snprintf(out, room, "{\"kty\":\"EC\",\"crv\":\"%s\",\"kid\":\"%s\",\"x\":\"%s\",\"y\":\"%s\"}",
             curve, curve, x, y);
}

static void test_key_set(void **state)
{
    struct fixture *f = *state;
    static char n[1000], e[64], k[64], text[9000], ec[3][600];
    char why[256] = "";
    forge_number(f->private[RSA_KEY], OSSL_PKEY_PARAM_RSA_N, 0, n);
    forge_number(f->private[RSA_KEY], OSSL_PKEY_PARAM_RSA_E, 0, e);
    put_ec(f, P256, "P-256", 32, ec[0], sizeof ec[0]);
    put_ec(f, P384, "P-384", 48, ec[1], sizeof ec[1]);
    put_ec(f, P521, "P-521", 66, ec[2], sizeof ec[2]);
    k[base64_encode(BASE64_URL, SPAN(SECRET), k)] = '\0';
    snprintf(text, sizeof text,
             "{\"x\":1,\"keys\":[{\"kty\":\"RSA\",\"use\":\"sig\",\"kid\":\"rsa\",\"n\":\"%s\","
             "\"e\":\"%s\"},%s,%s,%s,{\"kty\":\"oct\",\"alg\":\"HS384\",\"kid\":\"oct\",\"k\":"
             "\"%s\"},{\"kty\":\"RSA\",\"use\":\"enc\",\"kid\":\"rsa\"},{\"kty\":\"OKP\","
             "\"crv\":\"Ed25519\"},{\"kty\":\"RSA\",\"alg\":\"PS256\"},5,{}]}",
             n, e, ec[0], ec[1], ec[2], k);
    struct jwt_keys *keys = open_set(f, text, why);
    if (keys == NULL)
        fail_msg("%s", why);
    assert_int_equal(jwt_keys_count(keys), 5);
    static const struct {
        size_t algorithm;
        const char *kid;
    } expected[] = {{0, "rsa"}, {3, "P-256"}, {4, "P-384"}, {5, "P-521"}, {7, "oct"}};
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        assert_int_equal(verify(keys, sign(f, expected[i].algorithm, expected[i].kid)), JWT_VALID);
        assert_int_equal(verify(keys, sign(f, expected[i].algorithm, "x")), JWT_UNKNOWN_KEY);
    }
    assert_int_equal(verify(keys, sign(f, 1, "rsa")), JWT_ALGORITHM_MISMATCH);
    jwt_keys_close(keys);
}

static void test_broken_key_sets(void **state)
{
    struct fixture *f = *state;
    static const char *const cases[][2] = {
        {"", "not a JSON Web Key Set"},
        {"[]", "not a JSON Web Key Set"},
        {"{\"keys\":{}}", "not a JSON Web Key Set"},
        {"{\"keys\":[", "not a JSON Web Key Set (fault at byte 9)"},
        {"{\"keys\":[{\"kty\":\"oct\",\"kid\":\"a\",\"k\":\"\"}]}",
         "key \"a\": its numbers are absent"},
        {"{\"keys\":[{\"kty\":\"oct\",\"kid\":\"a\",\"k\":\"a+b/\"}]}", "key \"a\": its numbers"},
        {"{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"a\",\"n\":\"AQAB\"}]}", "key \"a\": its numbers"},
        {"{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"a\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}", "2048"},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"a\",\"x\":\"AQAB\",\"y\":\"AQAB\"}"
         "]}",
         "key \"a\": not a public key"},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"a\",\"x\":"
         "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\"y\":"
         "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]}",
         "key \"a\": not a public key"}, /* not on the curve */
        {"{\"keys\":[{\"kty\":\"oct\",\"k\":\"AQAB\"},{\"kty\":\"oct\",\"k\":\"AQAB\"}]}",
         "two keys are called \"\""},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char why[256] = "";
        assert_null(open_set(f, cases[i][0], why));
        if (strstr(why, cases[i][1]) == NULL)
            fail_msg("%s: expected \"%s\", got \"%s\"", cases[i][0], cases[i][1], why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_algorithm), cmocka_unit_test(test_public_key_as_secret),
        cmocka_unit_test(test_secret_files),    cmocka_unit_test(test_refused_keys),
        cmocka_unit_test(test_certificate),     cmocka_unit_test(test_key_set),
        cmocka_unit_test(test_broken_key_sets),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
