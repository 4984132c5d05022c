/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dialogues with an HTTP connection: requests, tokens, other origins,
 * the order of answers, time. What a broken request gets is a table.
 */
#include "tests/unit/http_rig.h"

static void test_get(void **state)
{
    (void)state;
    expect("GET / HTTP/1.1\r\nHost: localhost:8080\r\n\r\n", TEXT("5", "hello"));
    expect("HEAD / HTTP/1.1\r\n" HOST "\r\n", TEXT("5", ""));
    expect("\r\nGET http://a.b:8080/?q HTTP/1.1\r\n" HOST "\r\n", TEXT("5", "hello"));
    expect("GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                                     "Content-Length: 5\r\nConnection: close\r\n\r\nhello|");
    expect("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
           "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
           "Content-Length: 5\r\nConnection: keep-alive\r\n\r\nhello");
    expect("GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
           "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
           "Content-Length: 5\r\nConnection: close\r\n\r\nhello|");
}

static void test_date(void **state)
{
    (void)state;
    open_conn();
    hear_text("GET / HTTP/1.1\r\n" HOST "\r\n");
    assert_non_null(
        memmem(conn.sent.at, conn.sent.length, "\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 39));
    close_conn();
}

static void test_request(void **state)
{
    (void)state;
    expect_text("GET /show?a=b&q=%41+%2f&q=2 HTTP/1.1\r\n" HOST "x-thing:  v w\r\n\r\n",
                "GET /show arg= q=A / token= x=v w user=-");
    expect_text("GET /show HTTP/1.1\r\n" HOST "X-Thing: \tv w\t \r\n\r\n", /* RFC 9110 5.5 */
                "GET /show arg= q=- token= x=v w user=-");
    expect_text("GET /show/a%20b?q HTTP/1.1\r\n" HOST "Authorization: bearer  abc\r\n\r\n",
                "GET /show/a%20b arg=a b q= token=abc x= user=-");
    expect_text("DELETE /show/z?q=%zz&token=t.t HTTP/1.1\r\n" HOST "\r\n",
                "DELETE /show/z arg=z q=(bad) token=t.t x= user=-");
    expect_text("GET /in/r1/users?q=%00 HTTP/1.1\r\n" HOST "\r\n",
                "GET /in/r1/users arg=r1 q=(bad) token= x= user=-");
    expect_text("GET /show?q=0123456789abcdef HTTP/1.1\r\n" HOST "\r\n",
                "GET /show arg= q=(bad) token= x= user=-");
    expect_text("GET /show?q=0123456789abcde HTTP/1.1\r\n" HOST "\r\n",
                "GET /show arg= q=0123456789abcde token= x= user=-");
}

static void test_no_page(void **state)
{
    (void)state;
    expect("GET /nowhere HTTP/1.1\r\n" HOST "\r\n",
           "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 54\r\n\r\n"
           "{\"code\":\"NOT_FOUND\",\"message\":\"there is nothing here\"}");
    expect_status("GET /show/ HTTP/1.1\r\n" HOST "\r\n", 404, false);
    expect_status("GET /show/a/b HTTP/1.1\r\n" HOST "\r\n", 404, false);
    expect_status("POST /nowhere HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc", 404, false);
    expect_status("GET /echo HTTP/1.1\r\n" HOST "\r\n", 405, false);
    expect_status("PATCH / HTTP/1.1\r\n" HOST "\r\n", 405, false);
    expect("OPTIONS /show/x HTTP/1.1\r\n" HOST "\r\n",
           "HTTP/1.1 204 No Content\r\nAllow: GET, HEAD, DELETE, OPTIONS\r\n\r\n");
    expect_status("GET /any HTTP/1.1\r\n" HOST "\r\n", 200, false);
    expect_status("HEAD /any HTTP/1.1\r\n" HOST "\r\n", 200, false);
    expect_status("PUT /any HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", 200, false);
    expect_status("POST /any HTTP/1.1\r\n" HOST "\r\n", 411, false);
    expect("OPTIONS /any HTTP/1.1\r\n" HOST "\r\n",
           "HTTP/1.1 204 No Content\r\nAllow: GET, HEAD, POST, OPTIONS\r\n\r\n");
    expect("OPTIONS * HTTP/1.1\r\n" HOST "\r\n",
           "HTTP/1.1 204 No Content\r\nAllow: OPTIONS\r\n\r\n");
    expect("PUT /echo HTTP/1.1\r\n" HOST "\r\n",
           "HTTP/1.1 405 Method Not Allowed\r\nContent-Type: application/json\r\n"
           "Content-Length: 74\r\nAllow: POST, OPTIONS\r\n\r\n"
           "{\"code\":\"METHOD_NOT_ALLOWED\",\"message\":\"this method is not for this path\"}");
}

/* RFC 9112, and what is known of request smuggling: whatever
 * could be read in two ways is refused, and the connection closed. */
static void test_broken(void **state)
{
    static const struct {
        const char *request;
        unsigned status;
    } cases[] = {
        {"\x16\x03\x01\x02\x01", 400},
        {"get / HTTP/1.1\r\n\r\n", 400},
        {"FETCH / HTTP/1.1\r\n\r\n", 501},
        {"GET / HTTP/2.0\r\n" HOST "\r\n", 505},
        {"GET / HTTP/1.2\r\n" HOST "\r\n", 505},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
        {"GET /\r\n\r\n", 400},
        {"SETUP / RTSP/1.0\r\n" HOST "\r\n", 400},
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST HOST "\r\n", 400},
        {"GET / HTTP/1.1\n" HOST "\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: x\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "A: b\rContent-Length: 3\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "A: b\r\n c: d\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "A:\r\n b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n A: b\r\n" HOST "\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "A b: c\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST ": c\r\n\r\n", 400},
        {"GET /\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n", 400},
        {"CONNECT x:80 HTTP/1.1\r\n" HOST "\r\n", 400},
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
         400},
        {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
         400},
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 3\r\n\r\n", 400},
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3, 3\r\n\r\n", 400},
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Length: +3\r\n\r\n", 400},
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 0x3\r\n\r\n", 400},
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Length: -3\r\n\r\n", 400},
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n", 400},
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Length : 3\r\n\r\n", 400},
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551616\r\n\r\n", 400},
        {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, chunked\r\n\r\n", 400},
        {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, gzip\r\n\r\n", 400},
        {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
        {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n", 501},
        {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n", 501},
        {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n", 501},
        {"POST /echo HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", 400},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        expect_status(cases[i].request, cases[i].status, true);
}

static void test_too_much(void **state)
{
    static char text[HTTP_HEAD_MAX + 4096];
    (void)state;
    int at = snprintf(text, sizeof text, "GET /");
    memset(text + at, 'a', HTTP_TARGET_MAX);
    strcpy(text + at + HTTP_TARGET_MAX, " HTTP/1.1\r\n" HOST "\r\n");
    expect_status(text, 414, true);
    at = snprintf(text, sizeof text, "GET / HTTP/1.1\r\n" HOST);
    for (int i = 0; i < HTTP_FIELDS_MAX; i++)
        at += snprintf(text + at, sizeof text - (size_t)at, "A%d: b\r\n", i);
    strcpy(text + at, "\r\n");
    expect_status(text, 431, true);
    at = snprintf(text, sizeof text, "GET / HTTP/1.1\r\n" HOST "A: ");
    memset(text + at, 'a', HTTP_HEAD_MAX);
    text[HTTP_HEAD_MAX + at] = '\0';
    expect_status(text, 431, true);
}

/* Behind an answer that waits for the disk all others wait, and leave in order. */
static void test_order(void **state)
{
    (void)state;
    open_conn();
    hear_text("GET / HTTP/1.1\r\n" HOST "\r\n"
              "POST /held HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nx"
              "GET / HTTP/1.1\r\n" HOST "\r\nGET /none HTTP/1.1\r\n" HOST "\r\n");
    char *text = said();
    assert_string_equal(text, TEXT("5", "hello"));
    free(text);
    assert_int_equal(conn.holds, 3);
    assert_int_equal(conn.hold[0].level, ACK_SPOOLED);
    assert_true(conn.hold[0].has_through);
    assert_int_equal(conn.hold[0].through.sequence, 7);
    assert_int_equal(conn.hold[1].level, ACK_NONE);
    fake_forget(&conn);
    conn.sent.max = 1 << 20;
    fake_release(&conn, &turn, 3);
    text = said();
    assert_memory_equal(text, "HTTP/1.1 202 Accepted", 21);
    assert_true(strstr(text, "hello") < strstr(text, "404 Not Found"));
    free(text);
    hear_text("GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    assert_true(conn.finished);
    close_conn();
}

static void test_many_waiting(void **state)
{
    (void)state;
    open_conn();
    for (int i = 0; i < 300; i++)
        hear_text("POST /held HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nx");
    assert_true(conn.paused);
    assert_in_range(conn.holds, 100, 200);
    unsigned released = 0;
    while (conn.holds > 0) {
        released++;
        fake_release(&conn, &turn, 1);
        hear("", 0);
    }
    assert_int_equal(released, 300);
    assert_false(conn.paused);
    close_conn();
}

static void test_many_unread(void **state)
{
    (void)state;
    open_conn();
    while (!conn.paused)
        hear_text("GET / HTTP/1.1\r\n" HOST "\r\nGET / HTTP/1.1\r\n" HOST "\r\n");
    size_t before = conn.sent.length;
    assert_in_range(before, 200 * 1024, 300 * 1024);
    turn.now_ns += 60000000;
    conn.wire->ops->deadline(conn.wire, &turn);
    assert_true(conn.paused || conn.finished);
    close_conn();
    open_conn();
    while (!conn.paused)
        hear_text("GET / HTTP/1.1\r\n" HOST "\r\n");
    fake_forget(&conn);
    conn.sent.max = 1 << 20;
    conn.wire->ops->writable(conn.wire, &turn);
    assert_false(conn.paused);
    hear_text("GET / HTTP/1.1\r\n" HOST "\r\n");
    assert_true(conn.sent.length > 0);
    close_conn();
}

#define UPGRADE "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"

static void test_take(void **state)
{
    (void)state;
    expect("GET /shout HTTP/1.1\r\n" HOST UPGRADE "\r\nloud",
           "HTTP/1.1 101 Switching Protocols\r\n\r\nLOUD");
    expect("GET /both HTTP/1.1\r\n" HOST UPGRADE "\r\nloud",
           "HTTP/1.1 101 Switching Protocols\r\n\r\nLOUD");
    expect("GET /both HTTP/1.1\r\n" HOST "\r\n", TEXT("5", "hello"));
    expect("GET /shout HTTP/1.1\r\n" HOST "Connection: keep-alive\r\nUpgrade: h2c\r\n"
           "Connection: x, UPGRADE ,\r\nUpgrade: WebSocket \r\n\r\nloud",
           "HTTP/1.1 101 Switching Protocols\r\n\r\nLOUD");
    expect_status("GET /shout HTTP/1.1\r\n" HOST
                  "Connection: upgraded\r\nUpgrade: websocket\r\n\r\n",
                  426, false);
    /* RFC 9110 7.8: ignored. */
    expect_status("GET /shout HTTP/1.0\r\n" HOST UPGRADE "\r\n", 426, false);
    expect_status("GET /shout HTTP/1.1\r\n" HOST "\r\n", 426, false);
    expect_status("GET /shout HTTP/1.1\r\n" HOST UPGRADE "Content-Length: 1\r\n\r\n", 400, true);
    expect("GET / HTTP/1.1\r\n" HOST UPGRADE "\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
           TEXT("5", "hello") TEXT("5", "hello"));
    expect_status("GET /shout?no=1 HTTP/1.1\r\n" HOST UPGRADE "\r\n", 400, false);
    /* Behind an answer that waits: nothing overtakes it. */
    expect("POST /held HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nx"
           "GET /shout HTTP/1.1\r\n" HOST UPGRADE "\r\nloud",
           "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
           "HTTP/1.1 101 Switching Protocols\r\n\r\nLOUD");
}

static void test_tokens(void **state)
{
    (void)state;
    expect_status("GET /secret HTTP/1.1\r\n" HOST "\r\n", 401, false);
    expect_status("GET /secret?token=bad HTTP/1.1\r\n" HOST "\r\n", 401, false);
    expect_status("GET /secret?token=many HTTP/1.1\r\n" HOST "\r\n", 429, false);
    expect_status("GET /secret HTTP/1.1\r\n" HOST "Authorization: Basic good\r\n\r\n", 401, false);
    expect_text("GET /secret HTTP/1.1\r\n" HOST "Authorization: Bearer good\r\n\r\n",
                "GET /secret arg= q=- token=good x= user=ann");
    expect_text("GET /secret?token=good HTTP/1.1\r\n" HOST "\r\n",
                "GET /secret arg= q=- token=good x= user=ann");
    expect_status("GET /admin?token=good HTTP/1.1\r\n" HOST "\r\n", 403, false);
    expect_status("GET /admin?token=admin HTTP/1.1\r\n" HOST "\r\n", 200, false);
    expect("GET /secret?token=x HTTP/1.1\r\n" HOST "\r\n",
           "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: 56\r\n"
           "WWW-Authenticate: Bearer\r\n\r\n"
           "{\"code\":\"UNAUTHORIZED\",\"message\":\"the token is \\\"bad\\\"\"}");
    admission.required = false;
    expect_status("GET /secret HTTP/1.1\r\n" HOST "\r\n", 200, false);
    expect_status("GET /secret?token=bad HTTP/1.1\r\n" HOST "\r\n", 401, false);
    admission.required = true;
}

static void test_cors(void **state)
{
    struct cors *cors = cors_open("http://localhost:3000");
    (void)state;
    house.cors = cors;
    expect("GET / HTTP/1.1\r\n" HOST "Origin: http://localhost:3000\r\n\r\n",
           "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n"
           "Access-Control-Allow-Origin: http://localhost:3000\r\n"
           "Access-Control-Allow-Credentials: true\r\n"
           "Access-Control-Expose-Headers: Retry-After\r\nVary: Origin\r\n\r\nhello");
    expect("GET / HTTP/1.1\r\n" HOST "Origin: http://evil\r\n\r\n",
           "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n"
           "Vary: Origin\r\n\r\nhello");
    expect("OPTIONS /echo HTTP/1.1\r\n" HOST "Origin: http://localhost:3000\r\n"
           "Access-Control-Request-Method: POST\r\n"
           "Access-Control-Request-Headers: content-type,authorization\r\n\r\n",
           "HTTP/1.1 204 No Content\r\nAllow: POST, OPTIONS\r\n"
           "Access-Control-Allow-Methods: POST, OPTIONS\r\n"
           "Access-Control-Allow-Headers: content-type,authorization\r\n"
           "Access-Control-Max-Age: 600\r\n"
           "Access-Control-Allow-Origin: http://localhost:3000\r\n"
           "Access-Control-Allow-Credentials: true\r\n"
           "Access-Control-Expose-Headers: Retry-After\r\nVary: Origin\r\n\r\n");
    expect("OPTIONS /echo HTTP/1.1\r\n" HOST "Origin: http://evil\r\n"
           "Access-Control-Request-Method: POST\r\n\r\n",
           "HTTP/1.1 204 No Content\r\nAllow: POST, OPTIONS\r\nVary: Origin\r\n\r\n");
    house.cors = NULL;
    cors_close(cors);
}

/* ── Time ───────────────────────────────────────────────────────────────────────────────────── */

/* Lets the time pass as the shard would:
 * the deadline fires when it is due, and may be set again. */
static void pass(uint64_t ns)
{
    uint64_t until = turn.now_ns + ns;
    while (!conn.finished && conn.deadline_ns != 0 && conn.deadline_ns <= until) {
        if (conn.deadline_ns > turn.now_ns)
            turn.now_ns = conn.deadline_ns;
        conn.deadline_ns = 0;
        conn.wire->ops->deadline(conn.wire, &turn);
    }
    turn.now_ns = until;
}

static void test_times(void **state)
{
    (void)state;
    open_conn();
    pass(IDLE_NS - 1);
    assert_false(conn.finished);
    pass(1);
    assert_true(conn.finished && conn.sent.length == 0);
    close_conn();

    open_conn(); /* a slow header */
    hear_text("GET / HT");
    pass(HEADER_NS - 1);
    hear_text("T");
    pass(1);
    assert_true(conn.finished && memcmp(conn.sent.at, "HTTP/1.1 408 ", 13) == 0);
    close_conn();

    open_conn(); /* a slow body */
    hear_text(POST_ECHO("Content-Length: 3\r\n") "a");
    pass(BODY_NS - 1);
    hear_text("b");
    assert_false(conn.finished);
    pass(1);
    assert_true(conn.finished && memcmp(conn.sent.at, "HTTP/1.1 408 ", 13) == 0);
    close_conn();
}

static void test_time_begins_anew(void **state)
{
    (void)state;
    open_conn();
    for (int i = 0; i < 20; i++) { /* always the beginning of the next one behind each */
        hear_text(i == 0 ? "GET / HT" : "TP/1.1\r\n" HOST "\r\nGET / HT");
        pass(HEADER_NS / 2);
        assert_false(conn.finished);
    }
    hear_text("TP/1.1\r\n" HOST "\r\n");
    pass(IDLE_NS - 1);
    assert_false(conn.finished);
    hear_text("GET / HTTP/1.1\r\n" HOST "\r\n");
    pass(IDLE_NS - 1);
    assert_false(conn.finished);
    hear_text("POST /held HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nx");
    pass(IDLE_NS * 3); /* it waits for us: not idle */
    assert_false(conn.finished);
    fake_release(&conn, &turn, 1);
    pass(IDLE_NS * 2);
    assert_true(conn.finished);
    close_conn();
}

static void test_drain(void **state)
{
    (void)state;
    open_conn();
    conn.wire->ops->drain(conn.wire, &turn);
    assert_true(conn.finished);
    close_conn();
    open_conn();
    hear_text("GET / HT");
    conn.wire->ops->drain(conn.wire, &turn);
    assert_false(conn.finished);
    hear_text("TP/1.1\r\n" HOST "\r\n");
    assert_true(conn.finished);
    char *text = said();
    assert_non_null(strstr(text, "Connection: close"));
    free(text);
    close_conn();
}

static void test_output_full(void **state)
{
    (void)state;
    open_conn();
    conn.sent.max = 10;
    hear_text("GET / HTTP/1.1\r\n" HOST "\r\n");
    assert_true(conn.aborted);
    close_conn();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),         cmocka_unit_test(test_date),
        cmocka_unit_test(test_request),     cmocka_unit_test(test_no_page),
        cmocka_unit_test(test_broken),      cmocka_unit_test(test_too_much),
        cmocka_unit_test(test_order),       cmocka_unit_test(test_many_waiting),
        cmocka_unit_test(test_many_unread), cmocka_unit_test(test_take),
        cmocka_unit_test(test_tokens),      cmocka_unit_test(test_cors),
        cmocka_unit_test(test_times),       cmocka_unit_test(test_time_begins_anew),
        cmocka_unit_test(test_drain),       cmocka_unit_test(test_output_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
