/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/jwt.h"
#include "tests/unit/jwt_forge.h"

#include <errno.h>

#define SECRET "0123456789abcdef0123456789abcdef"
#define HS256  "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"

enum { NOW = 1700000000 };

/* Keys "default" (HS256) and "other" (HS512), and room for what a test changes. */
struct fixture {
    struct config_key key[2];
    struct config config;
    struct jwt_keys *keys;
};

static void open_keys(struct fixture *f)
{
    char why[256] = "";
    jwt_keys_close(f->keys);
    f->keys = NULL;
    if (jwt_keys_open(&f->keys, &f->config, why) != 0)
        fail_msg("%s", why);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->config.auth_issuer = f->config.auth_audience = f->config.auth_jwks_file = "";
    f->config.auth_leeway_s = 30;
    f->config.auth_cache_s = 60;
    f->config.key[0] =
        (struct config_key){.kid = "default", .algorithm = "HS256", .secret = SECRET};
    f->config.key[1] =
        (struct config_key){.kid = "other", .algorithm = "HS512", .secret = SECRET SECRET};
    f->config.keys = 2;
    open_keys(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    jwt_keys_close(f->keys);
    free(f);
    return 0;
}

static struct principal principal;
static char why[JWT_WHY_MAX];

/* Verifies a copy that ends at an unmapped page. */
static enum jwt_reason verify(const struct fixture *f, struct span token)
{
    uint8_t *edge = unit_edge_copy(token.at, token.length);
    memset(&principal, 0xA5, sizeof principal);
    why[0] = '\0';
    enum jwt_reason reason = jwt_verify(f->keys, span_of(edge, token.length), NOW, &principal, why);
    unit_edge_free(edge, token.length);
    if (reason != JWT_VALID) {
        assert_true(why[0] != '\0' && strlen(why) < JWT_WHY_MAX);
        assert_int_equal((uint8_t)principal.user_id[0], 0xA5);
    }
    return reason;
}

static enum jwt_reason verify_text(const struct fixture *f, const char *token)
{
    return verify(f, span_of_string(token));
}

static enum jwt_reason verify_claims(const struct fixture *f, const char *claims)
{
    return verify(f, forge("HS256", HS256, claims, SPAN(SECRET), NULL));
}

static enum jwt_reason verify_header(const struct fixture *f, const char *header)
{
    return verify(f, forge("HS256", header, "{\"sub\":\"u\"}", SPAN(SECRET), NULL));
}

static void test_claims(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(
        verify_claims(f, "{\"sub\":\"u-1\",\"userId\":\"other\",\"email\":\"a@b\",\"tenantId\":7,"
                         "\"projectId\":\"p\",\"sessionId\":\"s\",\"exp\":1700000100.5,\"x\":[{}],"
                         "\"projects\":[\"a\",5,\"ü\"],\"rooms\":\"lobby\"}"),
        JWT_VALID);
    assert_string_equal(principal.user_id, "u-1");
    assert_string_equal(principal.email, "a@b");
    assert_string_equal(principal.tenant_id, "7");
    assert_string_equal(principal.project_id, "p");
    assert_string_equal(principal.session_id, "s");
    assert_int_equal(principal.expires_s, 1700000100);
    assert_memory_equal(principal_projects(&principal),
                        "a\0"
                        "5\0ü\0",
                        8);
    assert_memory_equal(principal_rooms(&principal), "lobby\0", 7);
    assert_true(principal.lists_rooms);
    assert_true(principal_lists(principal_projects(&principal), SPAN("5")));
    assert_false(principal_lists(principal_projects(&principal), SPAN("")));
    assert_false(principal_lists(principal_projects(&principal), SPAN("lobby")));
    assert_int_equal(principal.scopes, 0);
    struct principal *copy = principal_copy(&principal);
    assert_non_null(copy);
    assert_string_equal(copy->user_id, "u-1");
    assert_true(principal_lists(principal_projects(copy), SPAN("a")));
    assert_true(principal_lists(principal_rooms(copy), SPAN("lobby")));
    assert_false(principal_lists(principal_rooms(copy), SPAN("a")));
    free(copy);

    assert_int_equal(verify_claims(f, "{\"userId\":-12,\"sub\":null,\"email\":\"\"}"), JWT_VALID);
    assert_string_equal(principal.user_id, "-12");
    assert_int_equal(principal.expires_s, 0);
    assert_int_equal(verify_claims(f, "{\"rooms\":[]}"), JWT_VALID);
    assert_true(principal.lists_rooms);
    assert_int_equal(verify_claims(f, " { } "), JWT_VALID);
    assert_false(principal.lists_rooms);
    assert_string_equal(principal.user_id, "");
    /* The last of one name; escapes in names and values; all of Unicode. */
    assert_int_equal(
        verify_claims(f, "{\"sub\":\"a\",\"s\\u0075b\":\"\\u00fc\\ud834\\udd1e\\n𝄞\"}"), JWT_VALID);
    assert_string_equal(principal.user_id, "ü𝄞\n𝄞");
}

static void test_scopes(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *claims;
        unsigned scopes;
    } cases[] = {
        {"{\"scope\":\"ingest ingest:any  publish publish:all stats other\"}",
         SCOPE_INGEST | SCOPE_INGEST_ANY | SCOPE_PUBLISH | SCOPE_PUBLISH_ALL | SCOPE_STATS},
        {"{\"scope\":[\"ingest\",\"stats\"]}", SCOPE_INGEST | SCOPE_STATS},
        {"{\"scopes\":[\"admin\"],\"permissions\":[\"publish\"]}", SCOPE_ADMIN | SCOPE_PUBLISH},
        {"{\"scope\":\"\\u0069ngest\"}", SCOPE_INGEST},
        {"{\"roles\":[\"user\",\"admin\"]}", SCOPE_ADMIN},
        {"{\"roles\":\"admin\"}", SCOPE_ADMIN},
        {"{\"roles\":[\"publish\",\"admins\",\"admin ingest\"]}", 0},
        {"{\"scope\":\"ingest:\"}", 0},
        {"{\"scope\":\"Ingest\"}", 0},
        {"{\"scope\":null,\"roles\":[]}", 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(verify_claims(f, cases[i].claims), JWT_VALID);
        assert_int_equal(principal.scopes, cases[i].scopes);
    }
}

static void test_wrong_claims(void **state)
{
    struct fixture *f = *state;
    static const char *const cases[][2] = {
        {"{\"sub\":true}", "claim sub must be a text or an integer"},
        {"{\"sub\":1.5}", "claim sub must be a text or an integer"},
        {"{\"tenantId\":{}}", "claim tenantId must be a text or an integer"},
        {"{\"exp\":\"1700000100\"}", "claim exp must be a time in seconds"},
        {"{\"exp\":1e300}", "claim exp must be a time in seconds"},
        {"{\"exp\":-5}", "claim exp must be a time in seconds"},
        {"{\"nbf\":[]}", "claim nbf must be a time in seconds"},
        {"{\"scope\":{\"ingest\":true}}", "claim scope must be a text or an array of texts"},
        {"{\"roles\":[1]}", "claim roles must be a text or an array of texts"},
        {"{\"roles\":[[\"admin\"]]}", "claim roles must be a text or an array of texts"},
        {"{\"rooms\":[{}]}",
         "claim rooms must be an array of names of 1 to 128 bytes, 2047 in all"},
        {"{\"rooms\":[\"\"]}",
         "claim rooms must be an array of names of 1 to 128 bytes, 2047 in all"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(verify_claims(f, cases[i][0]), JWT_CLAIM);
        assert_string_equal(why, cases[i][1]);
    }
    static const char *const malformed[] = {
        "[]", "1", "{", "{}x", "{\"a\":\"\\u0000\"}", "{\"a\":\"\\ud800\"}", "{\"a\":\"\xFF\"}"};
    for (size_t i = 0; i < COUNT_OF(malformed); i++)
        assert_int_equal(verify_claims(f, malformed[i]), JWT_MALFORMED);
}

static void test_oversize(void **state)
{
    struct fixture *f = *state;
    char claims[9000], long_text[129 + 1];
    memset(long_text, 'x', 129);
    long_text[129] = '\0';
    snprintf(claims, sizeof claims, "{\"sub\":\"%s\"}", long_text);
    assert_int_equal(verify_claims(f, claims), JWT_CLAIM);
    assert_string_equal(why, "claim sub must be at most 128 bytes long");
    snprintf(claims, sizeof claims, "{\"sub\":\"%s\"}", long_text + 1);
    assert_int_equal(verify_claims(f, claims), JWT_VALID);
    assert_string_equal(principal.user_id, long_text + 1);

    /* 16 names of 127 bytes and their NULs fill the list but for its end. */
    for (int fits = 1; fits >= 0; fits--) {
        size_t at = (size_t)snprintf(claims, sizeof claims, "{\"projects\":[");
        for (int i = 0; i < 16; i++)
            at += (size_t)snprintf(claims + at, sizeof claims - at, "\"%s\"%s",
                                   long_text + (i == 15 ? 2 + fits : 2), i == 15 ? "]}" : ",");
        assert_int_equal(verify_claims(f, claims), fits ? JWT_VALID : JWT_CLAIM);
    }
    memset(claims, ' ', 8999);
    claims[8999] = '\0';
    memcpy(claims, "{}", 2);
    assert_int_equal(verify_claims(f, claims), JWT_TOO_LONG);
    claims[5900] = '\0';
    assert_int_equal(verify_claims(f, claims), JWT_VALID);
}

static void test_times_and_origin(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(verify_claims(f, "{\"exp\":1699999971}"), JWT_VALID); /* leeway 30 s */
    assert_int_equal(verify_claims(f, "{\"exp\":1699999970}"), JWT_EXPIRED);
    assert_string_equal(why, "token expired");
    assert_int_equal(verify_claims(f, "{\"nbf\":1700000030}"), JWT_VALID);
    assert_int_equal(verify_claims(f, "{\"nbf\":1.700000031e9}"), JWT_NOT_YET);
    assert_string_equal(why, "token not valid yet");

    f->config.auth_issuer = "https://issuer";
    f->config.auth_audience = "ringmain";
    open_keys(f);
    assert_int_equal(verify_claims(f, "{\"aud\":\"ringmain\"}"), JWT_ISSUER);
    assert_int_equal(verify_claims(f, "{\"iss\":\"https://issuer/\"}"), JWT_ISSUER);
    assert_int_equal(verify_claims(f, "{\"iss\":\"https://issuer\"}"), JWT_AUDIENCE);
    assert_int_equal(verify_claims(f, "{\"iss\":\"https://issuer\",\"aud\":[\"x\"]}"),
                     JWT_AUDIENCE);
    assert_int_equal(
        verify_claims(f, "{\"iss\":\"https:\\/\\/issuer\",\"aud\":[\"x\",\"ringmain\"]}"),
        JWT_VALID);
    assert_int_equal(verify_claims(f, "{\"iss\":\"https://issuer\",\"aud\":\"ringmain\"}"),
                     JWT_VALID);
}

static void test_headers(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *header;
        enum jwt_reason reason;
    } cases[] = {
        {"{\"alg\":\"HS256\"}", JWT_VALID},
        {"{\"typ\":\"jwt\",\"kid\":\"default\",\"alg\":\"HS256\",\"x\":{}}", JWT_VALID},
        {"{\"alg\":\"none\"}", JWT_ALGORITHM},
        {"{\"alg\":\"None\"}", JWT_ALGORITHM},
        {"{\"alg\":\"hs256\"}", JWT_ALGORITHM},
        {"{\"alg\":\"PS256\"}", JWT_ALGORITHM},
        {"{\"alg\":\"\"}", JWT_ALGORITHM},
        {"{}", JWT_ALGORITHM},
        {"{\"alg\":\"HS512\"}", JWT_ALGORITHM_MISMATCH},
        {"{\"alg\":\"HS256\",\"kid\":\"other\"}", JWT_ALGORITHM_MISMATCH},
        {"{\"alg\":\"RS256\"}", JWT_ALGORITHM_MISMATCH},
        {"{\"alg\":\"HS256\",\"kid\":\"nobody\"}", JWT_UNKNOWN_KEY},
        {"{\"alg\":\"HS256\",\"kid\":\"\"}", JWT_UNKNOWN_KEY},
        {"{\"alg\":\"HS256\",\"kid\":\"default\\u0000\"}", JWT_MALFORMED},
        {"{\"alg\":\"HS256\",\"alg\":\"none\"}", JWT_MALFORMED},
        {"{\"alg\":\"HS256\",\"kid\":\"default\",\"kid\":\"other\"}", JWT_MALFORMED},
        {"{\"\\u0061lg\":\"HS256\"}", JWT_MALFORMED},
        {"{\"alg\":5}", JWT_MALFORMED},
        {"{\"alg\":\"HS256\",\"kid\":null}", JWT_MALFORMED},
        {"{\"alg\":\"HS256\",\"typ\":\"at+jwt\"}", JWT_MALFORMED},
        {"{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}", JWT_MALFORMED},
        {"[\"HS256\"]", JWT_MALFORMED},
        {"\"HS256\"", JWT_MALFORMED},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        enum jwt_reason reason = verify_header(f, cases[i].header);
        if (reason != cases[i].reason)
            fail_msg("%s: %s", cases[i].header, why);
    }
    /* "none" as it is meant: without a signature. */
    assert_int_equal(verify_text(f, "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1In0."), JWT_MALFORMED);
    assert_int_equal(verify_text(f, "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1In0"), JWT_MALFORMED);
}

static void test_keys_by_name(void **state)
{
    struct fixture *f = *state;
    struct span token =
        forge("HS512", "{\"alg\":\"HS512\",\"kid\":\"other\"}", "{}", SPAN(SECRET SECRET), NULL);
    assert_int_equal(verify(f, token), JWT_VALID);
    /* The only key serves tokens that name none, whatever it is called; but not a wrong name. */
    f->config.key[0].kid = "solo";
    f->config.keys = 1;
    open_keys(f);
    assert_int_equal(verify_header(f, "{\"alg\":\"HS256\"}"), JWT_VALID);
    assert_int_equal(verify_header(f, "{\"alg\":\"HS256\",\"kid\":\"default\"}"), JWT_UNKNOWN_KEY);
    f->config.keys = 2;
    open_keys(f);
    assert_int_equal(verify_header(f, "{\"alg\":\"HS256\"}"), JWT_UNKNOWN_KEY);
    f->config.keys = 0;
    open_keys(f);
    assert_int_equal(jwt_keys_count(f->keys), 0);
    assert_int_equal(verify_header(f, "{\"alg\":\"HS256\"}"), JWT_UNKNOWN_KEY);
}

static void test_every_byte_counts(void **state)
{
    struct fixture *f = *state;
    struct span token = forge("HS256", HS256, "{\"sub\":\"u\"}", SPAN(SECRET), NULL);
    char copy[512];
    assert_true(token.length < sizeof copy);
    memcpy(copy, token.at, token.length);
    assert_int_equal(verify(f, span_of(copy, token.length)), JWT_VALID);
    for (size_t length = 0; length < token.length; length++)
        assert_int_not_equal(verify(f, span_of(copy, length)), JWT_VALID);
    for (size_t i = 0; i < token.length; i++) {
        char kept = copy[i];
        static const char others[] = "AB-_.=\0 ";
        for (size_t k = 0; k < sizeof others; k++)
            if (others[k] != kept) {
                copy[i] = others[k];
                assert_int_not_equal(verify(f, span_of(copy, token.length)), JWT_VALID);
            }
        copy[i] = kept;
    }
    static const char *const odd[] = {"", ".", "..", "...", "a.b.c", "a", "\xFF.\xFF.\xFF"};
    for (size_t i = 0; i < COUNT_OF(odd); i++)
        assert_int_equal(verify_text(f, odd[i]), JWT_MALFORMED);
    memcpy(copy + token.length, ".x", 2);
    assert_int_equal(verify(f, span_of(copy, token.length + 2)), JWT_MALFORMED);
}

static void test_cache(void **state)
{
    struct fixture *f = *state;
    struct jwt_cache *cache = jwt_cache_open(8);
    assert_non_null(cache);
    struct span token =
        forge("HS256", HS256, "{\"sub\":\"u\",\"exp\":1700000010}", SPAN(SECRET), NULL);
    struct principal out = {0};
    /* A key that changes behind the cache's back shows whether it was asked. */
    assert_int_equal(jwt_cache_verify(cache, f->keys, token, NOW, &out, why), JWT_VALID);
    f->config.key[0].secret = "another secret of thirty-two byte";
    open_keys(f);
    assert_int_equal(jwt_cache_verify(cache, f->keys, token, NOW + 39, &out, why), JWT_VALID);
    assert_string_equal(out.user_id, "u");
    assert_int_equal(jwt_cache_verify(cache, f->keys, token, NOW + 40, &out, why), JWT_SIGNATURE);
    assert_int_equal(jwt_cache_verify(cache, f->keys, token, NOW + 39, &out, why), JWT_VALID);
    jwt_cache_clear(cache);
    assert_int_equal(jwt_cache_verify(cache, f->keys, token, NOW, &out, why), JWT_SIGNATURE);
    jwt_cache_close(cache);
}

static void test_cache_is_bounded(void **state)
{
    struct fixture *f = *state;
    struct jwt_cache *cache = jwt_cache_open(4);
    assert_non_null(cache);
    struct principal out = {0};
    for (unsigned i = 0; i < 50; i++) {
        char claims[64], expected[16];
        snprintf(expected, sizeof expected, "u%u", i / 2);
        snprintf(claims, sizeof claims, "{\"sub\":\"%s\"}", expected);
        struct span token = forge("HS256", HS256, claims, SPAN(SECRET), NULL);
        assert_int_equal(jwt_cache_verify(cache, f->keys, token, NOW + i, &out, why), JWT_VALID);
        assert_string_equal(out.user_id, expected);
    }
    /* 60 s at most, also without exp. */
    struct span token = forge("HS256", HS256, "{\"sub\":\"last\"}", SPAN(SECRET), NULL);
    assert_int_equal(jwt_cache_verify(cache, f->keys, token, NOW, &out, why), JWT_VALID);
    f->config.keys = 0;
    open_keys(f);
    assert_int_equal(jwt_cache_verify(cache, f->keys, token, NOW + 59, &out, why), JWT_VALID);
    assert_int_equal(jwt_cache_verify(cache, f->keys, token, NOW + 60, &out, why), JWT_UNKNOWN_KEY);
    jwt_cache_close(cache);
}

static void test_mint(void **state)
{
    struct fixture *f = *state;
    char token[1024];
    struct jwt_claims claims = {.kid = "default",
                                .user = "d\"emo ü",
                                .email = "d@x",
                                .tenant = "t",
                                .scope = "ingest admin",
                                .issuer = "i",
                                .audience = "a",
                                .issued_s = NOW,
                                .expires_s = NOW + 100};
    int length = jwt_mint(SPAN(SECRET), &claims, token, sizeof token);
    assert_true(length > 0 && (size_t)length == strlen(token));
    f->config.auth_issuer = "i";
    f->config.auth_audience = "a";
    open_keys(f);
    assert_int_equal(verify_text(f, token), JWT_VALID);
    assert_string_equal(principal.user_id, "d\"emo ü");
    assert_string_equal(principal.tenant_id, "t");
    assert_string_equal(principal.email, "d@x");
    assert_int_equal(principal.scopes, SCOPE_INGEST | SCOPE_ADMIN);
    assert_int_equal(principal.expires_s, NOW + 100);

    assert_int_equal(jwt_mint(SPAN(SECRET), &claims, token, (size_t)length), -ENOSPC);
    assert_int_equal(jwt_mint(SPAN(""), &claims, token, sizeof token), -EINVAL);
    assert_true(jwt_mint(SPAN(SECRET), &(struct jwt_claims){0}, token, sizeof token) > 0);
    claims.user = "\xFF";
    assert_int_equal(jwt_mint(SPAN(SECRET), &claims, token, sizeof token), -EINVAL);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_claims),
        TEST(test_scopes),
        TEST(test_wrong_claims),
        TEST(test_oversize),
        TEST(test_times_and_origin),
        TEST(test_headers),
        TEST(test_keys_by_name),
        TEST(test_every_byte_counts),
        TEST(test_cache),
        TEST(test_cache_is_bounded),
        TEST(test_mint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
