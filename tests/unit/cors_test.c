/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/cors.h"
#include "tests/unit/unit.h"

static bool allows(const char *origins, const char *origin)
{
    struct cors *cors = cors_open(origins);
    assert_non_null(cors);
    bool allowed = cors_allows(cors, span_of_string(origin));
    cors_close(cors);
    return allowed;
}

static void test_origins(void **state)
{
    static const char list[] = " http://localhost:3000,https://app.example.com/ ,,http://a";
    (void)state;
    assert_true(allows(list, "http://localhost:3000"));
    assert_true(allows(list, "https://app.example.com"));
    assert_true(allows(list, "http://a"));
    assert_false(allows(list, "http://localhost:3001"));
    assert_false(allows(list, "http://localhost:30000"));
    assert_false(allows(list, "https://localhost:3000"));
    assert_false(allows(list, "https://app.example.com.evil.org"));
    assert_false(allows(list, "https://evil.app.example.com"));
    assert_false(allows(list, "null"));
    assert_false(allows(list, ""));
    assert_false(allows("", ""));
    assert_false(allows(" , ", "http://a"));
    assert_true(allows("http://a, *", "https://anything"));
    assert_false(allows("http://*", "http://a"));
}

static void test_lines(void **state)
{
    struct cors *cors = cors_open("http://a");
    struct buf out = {.max = 4096};
    (void)state;
    assert_true(cors_put(cors, SPAN("http://a"), &out));
    assert_true(out.length <= cors_bytes_max(SPAN("http://a"), SPAN(""), SPAN("")));
    assert_non_null(memmem(out.at, out.length, "Access-Control-Allow-Origin: http://a\r\n", 39));
    assert_non_null(memmem(out.at, out.length, "Access-Control-Allow-Credentials: true\r\n", 40));
    assert_non_null(memmem(out.at, out.length, "Vary: Origin\r\n", 14));
    out.length = 0;
    assert_true(cors_put(cors, SPAN("http://b"), &out));
    assert_true(span_is(buf_span(&out), "Vary: Origin\r\n"));
    out.length = 0;
    assert_true(cors_put_preflight(SPAN("GET, POST"), SPAN("x-a"), &out));
    assert_true(span_is(buf_span(&out), "Access-Control-Allow-Methods: GET, POST\r\n"
                                        "Access-Control-Allow-Headers: x-a\r\n"
                                        "Access-Control-Max-Age: 600\r\n"));
    out.length = 0;
    assert_true(cors_put_preflight(SPAN("GET"), (struct span){NULL, 0}, &out));
    assert_true(span_is(buf_span(&out), "Access-Control-Allow-Methods: GET\r\n"
                                        "Access-Control-Max-Age: 600\r\n"));
    buf_fini(&out);
    cors_close(cors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_origins),
                                       cmocka_unit_test(test_lines)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
