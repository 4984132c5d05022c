/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/quota.h"
#include "tests/unit/unit.h"

#include <stdio.h>

enum { SECOND = 1000000000, START = 7 };

static void test_bucket(void **state)
{
    (void)state;
    struct bucket_rate rate = bucket_rate(10, 1000, 2000); /* 10 a second, 20 at once */
    struct bucket bucket = {0};
    uint64_t now = START;
    assert_int_equal(bucket_left(&bucket, &rate, now), 20);
    for (int i = 0; i < 20; i++)
        assert_true(bucket_take(&bucket, &rate, 1, now));
    assert_int_equal(bucket_left(&bucket, &rate, now), 0);
    assert_false(bucket_take(&bucket, &rate, 1, now));
    assert_int_equal(bucket_wait_ns(&bucket, &rate, 1, now), SECOND / 10);
    now += SECOND / 10 - 1;
    assert_false(bucket_take(&bucket, &rate, 1, now));
    now += 1;
    assert_true(bucket_take(&bucket, &rate, 1, now));
    now += 1000ull * SECOND; /* it never holds more than its burst */
    assert_int_equal(bucket_left(&bucket, &rate, now), 20);
    assert_false(bucket_take(&bucket, &rate, 21, now));
    assert_false(bucket_take(&bucket, &rate, UINT64_MAX, now));
    assert_true(bucket_take(&bucket, &rate, 20, now));
}

static void test_bucket_extremes(void **state)
{
    (void)state;
    struct bucket bucket = {0};
    struct bucket_rate none = bucket_rate(0, 1000, 1000);
    assert_true(bucket_take(&bucket, &none, UINT64_MAX, START));
    assert_int_equal(bucket_left(&bucket, &none, START), UINT64_MAX);

    struct bucket_rate slow = bucket_rate(1, 60000, 0); /* a burst of at least one */
    assert_true(bucket_take(&bucket, &slow, 1, START));
    assert_false(bucket_take(&bucket, &slow, 1, START + 59ull * SECOND));
    assert_true(bucket_take(&bucket, &slow, 1, START + 60ull * SECOND));

    struct bucket fast_bucket = {0};
    struct bucket_rate fast = bucket_rate(1000000000, 1000, 1000);
    assert_int_equal(bucket_left(&fast_bucket, &fast, START), 1000000000);
    assert_true(bucket_take(&fast_bucket, &fast, 1000000000, START));
    assert_false(bucket_take(&fast_bucket, &fast, 1, START));
    assert_true(bucket_take(&fast_bucket, &fast, 64, START + 64));
}

/* In any stretch of time no more goes through than a full
 * bucket and what came in meanwhile; and all of that does. */
static void test_bucket_long_run(void **state)
{
    (void)state;
    struct bucket_rate rate = bucket_rate(333, 1000, 100);
    struct bucket bucket = {0};
    uint64_t taken = 0, now = START;
    for (uint32_t x = 1; now < START + 60ull * SECOND; now += x % 2000000) {
        x = x * 1664525u + 1013904223u;
        if (bucket_take(&bucket, &rate, 1, now))
            taken++;
    }
    assert_in_range(taken, 333 * 60 - 2, 333 * 60 + 34);
}

static void test_quota(void **state)
{
    (void)state;
    struct quota *quota = quota_open(1024, bucket_rate(3, 60000, 60000), 42);
    assert_non_null(quota);
    uint64_t a = quota_key(quota, SPAN("a")), b = quota_key(quota, SPAN("b"));
    assert_int_not_equal(a, b);
    for (int i = 0; i < 3; i++) {
        assert_true(quota_has(quota, a, 1, START));
        assert_true(quota_take(quota, a, 1, START));
    }
    assert_false(quota_has(quota, a, 1, START));
    assert_false(quota_take(quota, a, 1, START));
    assert_true(quota_has(quota, b, 3, START));
    assert_true(quota_has(quota, a, 1, START + 20ull * SECOND));
    quota_close(quota);
}

/* However many others come, the one that has used most is the last to be forgotten. */
static void test_quota_full(void **state)
{
    (void)state;
    struct quota *quota = quota_open(8, bucket_rate(100, 60000, 60000), 1);
    assert_non_null(quota);
    uint64_t bad = quota_key(quota, SPAN("bad"));
    assert_true(quota_take(quota, bad, 100, START));
    for (int i = 0; i < 1000; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        assert_true(quota_take(quota, quota_key(quota, span_of_string(name)), 1, START));
    }
    assert_false(quota_has(quota, bad, 1, START));
    quota_close(quota);
}

static void test_peers(void **state)
{
    (void)state;
    struct quota *quota = quota_open(8, bucket_rate(1, 1000, 1000), 9);
    assert_non_null(quota);
    uint64_t v4 = quota_key_of_peer(quota, "192.0.2.1:4711");
    assert_int_equal(v4, quota_key_of_peer(quota, "192.0.2.1:80"));
    assert_int_not_equal(v4, quota_key_of_peer(quota, "192.0.2.2:4711"));
    uint64_t v6 = quota_key_of_peer(quota, "[2001:db8:1:2::1]:80");
    assert_int_equal(v6, quota_key_of_peer(quota, "[2001:db8:1:2:ffff::9]:81"));
    assert_int_not_equal(v6, quota_key_of_peer(quota, "[2001:db8:1:3::1]:80"));
    assert_int_not_equal(quota_key_of_peer(quota, "[::ffff:192.0.2.1]:1"),
                         quota_key_of_peer(quota, "[::ffff:192.0.2.2]:1"));
    static const char *const odd[] = {"", ":", "[]:1", "[:1", "[x]:1", "unix"};
    for (size_t i = 0; i < COUNT_OF(odd); i++)
        assert_int_not_equal(quota_key_of_peer(quota, odd[i]), 0);
    quota_close(quota);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bucket),          cmocka_unit_test(test_bucket_extremes),
        cmocka_unit_test(test_bucket_long_run), cmocka_unit_test(test_quota),
        cmocka_unit_test(test_quota_full),      cmocka_unit_test(test_peers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
