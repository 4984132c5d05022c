/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys that took the place of others: what is still good, and until when.
 */
#include "core/log.h"
#include "proto/jwt.h"
#include "tests/unit/jwt_forge.h"

enum { NOW = 1700000000, OVERLAP_S = 300, UNTIL = NOW + OVERLAP_S };

#define SECRET(letter) (letter letter letter letter "0123456789abcdef0123456789abcdef")

static struct config config = {.auth_issuer = "", .auth_audience = "", .auth_jwks_file = ""};

static struct jwt_keys *open_keys(unsigned count, const char *const (*named)[2])
{
    struct jwt_keys *keys = NULL;
    char why[256];
    config.keys = count;
    config.auth_cache_s = 60;
    for (unsigned i = 0; i < count; i++)
        config.key[i] = (struct config_key){.kid = (char *)(uintptr_t)named[i][0],
                                            .algorithm = (char *)(uintptr_t) "HS256",
                                            .secret = (char *)(uintptr_t)named[i][1]};
    if (jwt_keys_open(&keys, &config, why) != 0)
        fail_msg("%s", why);
    return keys;
}

#define KEYS(...)                                                                                  \
    open_keys(sizeof((const char *const[][2]){__VA_ARGS__}) / sizeof(const char *[2]),             \
              (const char *const[][2]){__VA_ARGS__})

/* The new keys, with what the old ones leave; the old ones are gone. */
static struct jwt_keys *replace(struct jwt_keys *old, struct jwt_keys *keys, int64_t now_s,
                                int64_t until_s, int formers)
{
    assert_int_equal(jwt_keys_inherit(keys, old, now_s, until_s), formers);
    jwt_keys_close(old);
    return keys;
}

/* kid NULL: none. */
static enum jwt_reason verify(const struct jwt_keys *keys, const char *kid, const char *secret,
                              int64_t now_s)
{
    char header[100], why[JWT_WHY_MAX];
    struct principal principal;
    snprintf(header, sizeof header, kid != NULL ? "{\"alg\":\"HS256\",\"kid\":\"%s\"}" : "%s",
             kid != NULL ? kid : "{\"alg\":\"HS256\"}");
    struct span token = forge("HS256", header, "{\"sub\":\"u\"}", span_of_string(secret), NULL);
    return jwt_verify(keys, token, now_s, &principal, why);
}

static void a_secret_that_was_changed_is_good_for_a_while(void **state)
{
    (void)state;
    struct jwt_keys *keys =
        replace(KEYS({"default", SECRET("a")}), KEYS({"default", SECRET("b")}), NOW, UNTIL, 1);
    assert_int_equal(jwt_keys_count(keys), 1);
    for (unsigned named = 0; named < 2; named++) {
        const char *kid = named ? "default" : NULL;
        assert_int_equal(verify(keys, kid, SECRET("b"), NOW), JWT_VALID);
        assert_int_equal(verify(keys, kid, SECRET("a"), UNTIL - 1), JWT_VALID);
        assert_int_equal(verify(keys, kid, SECRET("a"), UNTIL), JWT_SIGNATURE);
        assert_int_equal(verify(keys, kid, SECRET("b"), UNTIL), JWT_VALID);
        assert_int_equal(verify(keys, kid, SECRET("c"), NOW), JWT_SIGNATURE);
    }
    jwt_keys_close(keys);
}

static void a_key_that_was_taken_out_is_good_for_a_while_under_its_name(void **state)
{
    (void)state;
    struct jwt_keys *keys = replace(KEYS({"k1", SECRET("a")}, {"k2", SECRET("b")}),
                                    KEYS({"k2", SECRET("b")}, {"k3", SECRET("c")}), NOW, UNTIL, 1);
    assert_int_equal(verify(keys, "k1", SECRET("a"), NOW), JWT_VALID);
    assert_int_equal(verify(keys, "k1", SECRET("a"), UNTIL), JWT_UNKNOWN_KEY);
    assert_int_equal(verify(keys, "k2", SECRET("a"), NOW), JWT_SIGNATURE);
    assert_int_equal(verify(keys, "k3", SECRET("a"), NOW), JWT_SIGNATURE);
    assert_int_equal(verify(keys, NULL, SECRET("a"), NOW), JWT_UNKNOWN_KEY);
    assert_int_equal(verify(keys, "k3", SECRET("c"), NOW), JWT_VALID);
    jwt_keys_close(keys);
}

/* The only key needs no name; with a second one beside it, it does. */
static void what_needed_no_name_needs_none_for_a_while(void **state)
{
    (void)state;
    struct jwt_keys *keys =
        replace(KEYS({"a", SECRET("a")}), KEYS({"a", SECRET("a")}, {"default", SECRET("b")}), NOW,
                UNTIL, 1);
    assert_int_equal(verify(keys, NULL, SECRET("a"), NOW), JWT_VALID);
    assert_int_equal(verify(keys, NULL, SECRET("a"), UNTIL), JWT_SIGNATURE);
    assert_int_equal(verify(keys, "a", SECRET("a"), UNTIL), JWT_VALID);
    jwt_keys_close(keys);
}

static void a_key_that_is_still_there_is_no_former_one(void **state)
{
    (void)state;
    jwt_keys_close(replace(KEYS({"k", SECRET("a")}), KEYS({"k", SECRET("a")}), NOW, UNTIL, 0));
    jwt_keys_close(replace(KEYS({"k", SECRET("a")}), KEYS({"k", SECRET("b")}), NOW, NOW, 0));
}

static void each_keeps_its_own_time_over_several_changes(void **state)
{
    (void)state;
    struct jwt_keys *keys =
        replace(KEYS({"k", SECRET("a")}), KEYS({"k", SECRET("b")}), NOW, UNTIL, 1);
    keys = replace(keys, KEYS({"k", SECRET("c")}), NOW + 10, UNTIL + 10, 2);
    assert_int_equal(verify(keys, "k", SECRET("a"), UNTIL - 1), JWT_VALID);
    assert_int_equal(verify(keys, "k", SECRET("a"), UNTIL), JWT_SIGNATURE);
    assert_int_equal(verify(keys, "k", SECRET("b"), UNTIL + 9), JWT_VALID);
    assert_int_equal(verify(keys, "k", SECRET("b"), UNTIL + 10), JWT_SIGNATURE);
    keys = replace(keys, KEYS({"k", SECRET("d")}), UNTIL + 1, UNTIL + 5, 2); /* a's is over */
    assert_int_equal(verify(keys, "k", SECRET("b"), UNTIL + 4), JWT_VALID);
    assert_int_equal(verify(keys, "k", SECRET("b"), UNTIL + 5), JWT_SIGNATURE);
    keys = replace(keys, KEYS({"k", SECRET("e")}), UNTIL + 2, UNTIL + 2, 0); /* none any more */
    assert_int_equal(verify(keys, "k", SECRET("c"), UNTIL + 2), JWT_SIGNATURE);
    jwt_keys_close(keys);
}

static const char *numbered(unsigned n)
{
    static char secret[40];
    snprintf(secret, sizeof secret, "%02u%s", n, SECRET("a"));
    return secret;
}

static void of_too_many_the_newest_stay(void **state)
{
    (void)state;
    enum { CHANGES = JWT_FORMER_MAX + 4 };
    struct jwt_keys *keys = KEYS({"k", numbered(0)});
    for (unsigned i = 1; i <= CHANGES; i++)
        keys = replace(keys, KEYS({"k", numbered(i)}), NOW, UNTIL,
                       i < JWT_FORMER_MAX ? (int)i : JWT_FORMER_MAX);
    for (unsigned i = 0; i <= CHANGES; i++)
        assert_int_equal(verify(keys, "k", numbered(i), NOW),
                         i >= CHANGES - JWT_FORMER_MAX ? JWT_VALID : JWT_SIGNATURE);
    jwt_keys_close(keys);
}

/* What the cache remembers of a former key ends with the key. */
static void the_cache_ends_with_the_key(void **state)
{
    (void)state;
    struct principal principal;
    char why[JWT_WHY_MAX];
    struct jwt_cache *cache = jwt_cache_open(8);
    struct jwt_keys *keys =
        replace(KEYS({"k", SECRET("a")}), KEYS({"k", SECRET("b")}), NOW, UNTIL, 1);
    struct span token = forge("HS256", "{\"alg\":\"HS256\",\"kid\":\"k\"}", "{\"sub\":\"u\"}",
                              span_of_string(SECRET("a")), NULL);
    assert_int_equal(jwt_cache_verify(cache, keys, token, UNTIL - 10, &principal, why), JWT_VALID);
    assert_int_equal(jwt_cache_verify(cache, keys, token, UNTIL - 1, &principal, why), JWT_VALID);
    assert_int_equal(jwt_cache_verify(cache, keys, token, UNTIL, &principal, why), JWT_SIGNATURE);
    jwt_cache_close(cache);
    jwt_keys_close(keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_secret_that_was_changed_is_good_for_a_while),
        cmocka_unit_test(a_key_that_was_taken_out_is_good_for_a_while_under_its_name),
        cmocka_unit_test(what_needed_no_name_needs_none_for_a_while),
        cmocka_unit_test(a_key_that_is_still_there_is_no_former_one),
        cmocka_unit_test(each_keeps_its_own_time_over_several_changes),
        cmocka_unit_test(of_too_many_the_newest_stay),
        cmocka_unit_test(the_cache_ends_with_the_key),
    };
    log_setup(LOG_ERROR, LOG_LOGFMT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
