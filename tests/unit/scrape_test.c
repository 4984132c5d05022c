/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests and their Accept: whole, cut at every byte, and ending at an unmapped page.
 */
#include "tests/unit/unit.h"

#include "metrics/negotiate.h"
#include "metrics/scrape.h"

#define OPENMETRICS "application/openmetrics-text"

static void accepts(void **state)
{
    (void)state;
    static const struct {
        const char *accept;
        bool openmetrics;
    } vectors[] = {
        {"", false},
        {"*/*", false},
        {"text/plain", false},
        {OPENMETRICS, true},
        {"Application/OpenMetrics-Text", true},
        {"text/html, " OPENMETRICS, true},
        {OPENMETRICS "; version=1.0.0; charset=utf-8", true},
        {OPENMETRICS ";version=\"1.0.0\"", true},
        {OPENMETRICS ";version=0.0.1", false},
        {OPENMETRICS ";version=2.0.0,text/plain", false},
        {OPENMETRICS ";q=0", false},
        {OPENMETRICS ";q=0.5, text/plain;q=0.6", false},
        {OPENMETRICS ";q=0.6, text/plain;q=0.5", true},
        {OPENMETRICS ";q=0.501,text/plain;q=0.5", true},
        {OPENMETRICS " ; Q=1.000 , text/plain;q=0.999", true},
        {OPENMETRICS ", */*", false},
        {OPENMETRICS ", */*;q=0.1", true},
        {"application/*, text/*;q=0.2", true},
        {"application/*, " OPENMETRICS ";q=0.1, text/plain;q=0.2", false},
        {OPENMETRICS ";q=2", false},
        {OPENMETRICS ";q=1.1", false},
        {OPENMETRICS ";q=0.1234", false},
        {OPENMETRICS ";q=", false},
        {OPENMETRICS ";q=0,5", false},
        {"x/y;z=\"," OPENMETRICS ",\"", false},
        {"x/y;z=\"\\\"," OPENMETRICS, false},
        {",;,=;," OPENMETRICS, true},
        /* Prometheus 2.42 and 3.0, and 2.x with a preference for the older text */
        {OPENMETRICS ";version=1.0.0," OPENMETRICS ";version=0.0.1;q=0.75,"
                     "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
         true},
        {OPENMETRICS ";version=1.0.0;escaping=allow-utf-8;q=0.5," OPENMETRICS
                     ";version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
                     "text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
         true},
        {"text/plain;version=0.0.4;q=0.6," OPENMETRICS ";version=1.0.0;q=0.5,*/*;q=0.2", false},
    };
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        struct negotiation negotiation = {0};
        size_t length = strlen(vectors[i].accept);
        uint8_t *edge = unit_edge_copy(vectors[i].accept, length);
        negotiate(&negotiation, span_of(edge, length));
        if (negotiated_openmetrics(&negotiation) != vectors[i].openmetrics)
            fail_msg("Accept: %s", vectors[i].accept);
        for (size_t cut = 0; cut < length; cut++) /* nothing to see but that it stays in bounds */
            negotiate(&negotiation, span_of(edge + length - cut, cut));
        unit_edge_free(edge, length);
    }
}

/* Cut at every byte it wants more, and only whole
 * is it a request; what stands behind is not its. */
static void requests_cut(void **state)
{
    (void)state;
    static const char request[] = "\r\n\nGET /metrics HTTP/1.1\r\nHost: x\r\nAccept: " OPENMETRICS
                                  "\r\nConnection: Keep-Alive, Upgrade\r\n\r\n";
    size_t length = sizeof request - 1;
    for (size_t cut = 0; cut <= length; cut++) {
        struct scrape asked = {.page = PAGE_UNKNOWN};
        uint8_t *edge = unit_edge_copy(request, cut);
        ptrdiff_t used = scrape_read(span_of(edge, cut), &asked);
        assert_int_equal(used, cut < length ? 0 : length);
        assert_int_equal(asked.page, cut < length ? PAGE_UNKNOWN : PAGE_METRICS);
        assert_int_equal(asked.openmetrics, cut == length);
        unit_edge_free(edge, cut);
    }
    struct scrape asked;
    struct span two = SPAN("GET / HTTP/1.1\nhost:\n\nGET /metrics");
    assert_int_equal(scrape_read(two, &asked), 22);
    assert_int_equal(asked.page, PAGE_INDEX);
    assert_true(asked.keep_alive && asked.allowed && !asked.bodyless && !asked.openmetrics);
}

static void requests(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        struct scrape asked;
    } vectors[] = {
        {"HEAD /metrics?x HTTP/1.1\nHost: a\n\n", {PAGE_METRICS, true, true, true, false}},
        {"GET /metrics/ HTTP/1.1\nHost: a\n\n", {PAGE_UNKNOWN, true, false, true, false}},
        {"GET HTTP://a HTTP/1.1\nHost: a\n\n", {PAGE_INDEX, true, false, true, false}},
        {"GET http://a/metrics HTTP/1.1\nHost: a\n\n", {PAGE_METRICS, true, false, true, false}},
        {"OPTIONS * HTTP/1.1\nHost: a\n\n", {PAGE_UNKNOWN, false, false, true, false}},
        {"get / HTTP/1.1\nHost: a\n\n", {PAGE_INDEX, false, false, true, false}},
        {"GET / HTTP/1.0\n\n", {PAGE_INDEX, true, false, false, false}},
        {"GET / HTTP/1.0\nConnection: keep-alive\n\n", {PAGE_INDEX, true, false, true, false}},
        {"GET / HTTP/1.1\nHost: a\nConnection: x,CLOSE\n\n",
         {PAGE_INDEX, true, false, false, false}},
        {"GET / HTTP/1.1\nHost: a\nContent-Length: 0\n\n", {PAGE_INDEX, true, false, true, false}},
        {"GET / HTTP/1.1\nHost: a\nContent-Length: 1\n\n", {PAGE_INDEX, true, false, false, false}},
        {"PUT / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n",
         {PAGE_INDEX, false, false, false, false}},
        {"GET /metrics HTTP/1.1\nHost: a\nAccept: text/plain;q=0.1\naccept:" OPENMETRICS "\n\n",
         {PAGE_METRICS, true, false, true, true}},
    };
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        struct scrape asked, wanted = vectors[i].asked;
        struct span text = span_of_string(vectors[i].text);
        assert_int_equal(scrape_read(text, &asked), text.length);
        assert_int_equal(asked.page, wanted.page);
        assert_int_equal(asked.allowed, wanted.allowed);
        assert_int_equal(asked.bodyless, wanted.bodyless);
        assert_int_equal(asked.keep_alive, wanted.keep_alive);
        assert_int_equal(asked.openmetrics, wanted.openmetrics);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts),
        cmocka_unit_test(requests_cut),
        cmocka_unit_test(requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
