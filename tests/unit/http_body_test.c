/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies: with a length, in chunks, packed, large, broken, asked for, and read as they come.
 */
#include "proto/chunked.h"
#include "tests/unit/http_rig.h"

static void test_body(void **state)
{
    (void)state;
    expect_text(POST_ECHO("Content-Length: 3\r\n") "abc", "abc");
    expect_text(POST_ECHO("Content-Length: 0\r\n"), "");
    expect_text(POST_ECHO(CHUNKED) "0\r\n\r\n", "");
    expect_text(POST_ECHO(CHUNKED) "3;a=b;c=\"d\"\r\nabc\r\n00A ;x\r\n0123456789\r\n1\r\nz\r\n"
                                   "0;end\r\nTrailer: yes\r\nAnother:\r\n\r\n",
                "abc0123456789z");
    expect_status("POST /echo HTTP/1.1\r\n" HOST "\r\n", 411, false);
    expect_status("GET / HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc", 200, false);
    expect(POST_ECHO("Content-Length: 3\r\n") "abc" POST_ECHO(CHUNKED) "1\r\nz\r\n0\r\n\r\n"
                                                                       "GET / HTTP/1.1\r\n" HOST
                                                                       "\r\n",
           TEXT("3", "abc") TEXT("1", "z") TEXT("5", "hello"));
}

static void test_broken_chunks(void **state)
{
    static const char *const bodies[] = {
        "3\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "-1\r\n\r\n0\r\n\r\n",
        "3 \r\nabc\r\n0\r\n\r\n",
        "3;x\nabc\r\n0\r\n\r\n",
        "3;a\rb\r\nabc\r\n0\r\n\r\n",
        "0\r\n\n",
        "0\r\nA: b\n\r\n",
        "\r\n",
        ";\r\n",
        "1000000000000000000\r\n",
        "3;a=b;\x01\r\nabc\r\n",
        "3\r\nabc0\r\n\r\n",
        "3\r\nabc\rx0\r\n\r\n",
        "3\rxabc\r\n0\r\n\r\n",
        "0\r\n\rx",
        "0\r\nA: b\rx\r\n\r\n",
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        char text[512];
        snprintf(text, sizeof text, POST_ECHO(CHUNKED) "%s", bodies[i]);
        expect_status(text, 400, true);
    }
}

static void test_large_body(void **state)
{
    char head[128];
    (void)state;
    snprintf(head, sizeof head, POST_ECHO("Content-Length: %d\r\n"), BODY_MAX + 1);
    expect_status(head, 413, false);
    snprintf(head, sizeof head, POST_ECHO("Expect: 100-continue\r\nContent-Length: %d\r\n"),
             BODY_MAX + 1);
    expect_status(head, 413, true);
    /* As much as is allowed is read past, and not more. */
    open_conn();
    hear_text(POST_ECHO(CHUNKED));
    for (int i = 0; i < BODY_MAX / 1000 && !conn.finished; i++) {
        char chunk[1010];
        memset(chunk, 'x', sizeof chunk);
        memcpy(chunk, "3e8\r\n", 5);
        memcpy(chunk + 1005, "\r\n", 2);
        hear(chunk, 1007);
    }
    assert_int_equal(conn.sent.length, 0);
    hear_text("1\r\nx\r\n");
    char *text = said();
    assert_memory_equal(text, "HTTP/1.1 413 ", 13);
    free(text);
    assert_true(conn.finished);
    close_conn();
}

/* What is kept of a body counts against what all connections may keep together. */
static void test_memory_of_all(void **state)
{
    char body[1000] = {0};
    (void)state;
    open_conn();
    hear_text(POST_ECHO("Content-Length: 2000\r\n"));
    hear(body, sizeof body);
    assert_in_range(conn.memory, sizeof body, 4000);
    hear(body, sizeof body);
    assert_true(conn.sent.length > 2000);
    assert_int_equal(conn.memory, 0);
    conn.memory_max = 1000;
    fake_forget(&conn);
    hear_text(POST_ECHO("Content-Length: 2000\r\n"));
    hear(body, sizeof body);
    char *text = said();
    assert_memory_equal(text, "HTTP/1.1 503 ", 13);
    free(text);
    assert_true(conn.finished);
    close_conn();
}

static void test_extra_is_bounded(void **state)
{
    (void)state;
    for (int trailer = 0; trailer < 2; trailer++) {
        open_conn();
        hear_text(POST_ECHO(CHUNKED));
        hear_text(trailer ? "0\r\nA: " : "3;");
        for (int i = 0; i < CHUNKED_EXTRA_MAX + 1 && !conn.finished; i++)
            hear_text("x");
        assert_true(conn.finished);
        close_conn();
    }
}

static void test_feed(void **state)
{
    (void)state;
    forgotten = 0;
    open_conn();
    hear_text("POST /lines HTTP/1.1\r\n" HOST CHUNKED "\r\n");
    fed = 0;
    for (int i = 0; i < 90; i++) {
        char chunk[1010];
        memset(chunk, 'x', sizeof chunk);
        memcpy(chunk, "3e8\r\n", 5);
        chunk[504] = '\n';
        memcpy(chunk + 1005, "\r\n", 2);
        hear(chunk, 1007);
    }
    assert_in_range(fed, 4, 8); /* some 16 KiB at a time */
    hear_text("0\r\n\r\n");
    char *text = said();
    assert_non_null(strstr(text, "\r\n\r\n90 lines, 89500 bytes, rest 500"));
    free(text);
    assert_int_equal(forgotten, 1);
    /* A connection that goes in the middle of a body. */
    hear_text("POST /lines HTTP/1.1\r\n" HOST CHUNKED "\r\n3\r\nab");
    close_conn();
    assert_int_equal(forgotten, 2);
}

static void test_answered_early(void **state)
{
    (void)state;
    expect_status("POST /refuse HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc", 503, false);
    open_conn();
    hear_text("POST /refuse HTTP/1.1\r\n" HOST "Content-Length: 50000\r\n\r\n");
    for (int i = 0; i < 50000; i += 1000) {
        char bytes[1000];
        memset(bytes, 'x', sizeof bytes);
        hear(bytes, sizeof bytes);
    }
    hear_text("GET / HTTP/1.1\r\n" HOST "\r\n");
    char *text = said();
    assert_non_null(strstr(text, "HTTP/1.1 503 Service Unavailable"));
    assert_non_null(strstr(text, "Retry-After: 3\r\n"));
    assert_non_null(strstr(text, "\r\n\r\nhello"));
    assert_null(strstr(text, "400"));
    free(text);
    assert_false(conn.finished);
    close_conn();
}

static const uint8_t gzip_abc[] = {0x1f, 0x8b, 8, 0,    0,    0,    0,    0, 0, 3, 0x4b, 0x4c,
                                   0x4a, 6,    0, 0xc2, 0x41, 0x24, 0x35, 3, 0, 0, 0};

static void expect_gzip(size_t sent, const char *fields, const char *wanted)
{
    char text[512];
    int head = snprintf(text, sizeof text, POST_ECHO("Content-Length: %zu\r\n%s"), sent, fields);
    memcpy(text + head, gzip_abc, sizeof gzip_abc);
    char *all = answer(text, (size_t)head + sent, 0, 1);
    assert_non_null(strstr(all, wanted));
    free(all);
}

static void test_gzip(void **state)
{
    (void)state;
    expect_gzip(sizeof gzip_abc, "Content-Encoding: gzip\r\n", "\r\n\r\nabc");
    expect_gzip(sizeof gzip_abc, "Content-Encoding: X-GZip\r\n", "\r\n\r\nabc");
    expect_gzip(sizeof gzip_abc - 1, "Content-Encoding: gzip\r\n", "HTTP/1.1 400 ");
    expect_gzip(sizeof gzip_abc, "Content-Encoding: deflate\r\n", "HTTP/1.1 415 ");
    expect_gzip(sizeof gzip_abc, "Content-Encoding: deflate\r\n", "Accept-Encoding: gzip");
    expect_gzip(sizeof gzip_abc, "Content-Encoding: gzip, gzip\r\n", "HTTP/1.1 415 ");
    expect_gzip(3, "Content-Encoding: identity\r\n", "\r\n\r\n\x1f\x8b");
}

static void test_expect(void **state)
{
    static const char request[] = POST_ECHO("Expect: 100-continue\r\nContent-Length: 3\r\n");
    (void)state;
    open_conn();
    hear_text(request);
    char *text = said();
    assert_string_equal(text, "HTTP/1.1 100 Continue\r\n\r\n");
    free(text);
    hear_text("abc");
    text = said();
    assert_string_equal(text, "HTTP/1.1 100 Continue\r\n\r\n" TEXT("3", "abc"));
    free(text);
    close_conn();
    expect_status(POST_ECHO("Expect: 200-fine\r\nContent-Length: 3\r\n"), 417, true);
    expect_status("POST /none HTTP/1.1\r\n" HOST
                  "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n",
                  404, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_body),
        cmocka_unit_test(test_broken_chunks),
        cmocka_unit_test(test_large_body),
        cmocka_unit_test(test_memory_of_all),
        cmocka_unit_test(test_extra_is_bounded),
        cmocka_unit_test(test_feed),
        cmocka_unit_test(test_answered_early),
        cmocka_unit_test(test_gzip),
        cmocka_unit_test(test_expect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
