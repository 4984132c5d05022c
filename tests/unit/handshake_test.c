/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"
#include "ws/handshake.h"
#include "ws/header_list.h"

#include <stdio.h>

static const struct handshake_request good = {
    .wanted = true,
    .key = {(const uint8_t *)"dGhlIHNhbXBsZSBub25jZQ==", 24},
    .version = {(const uint8_t *)"13", 2},
    .host = {(const uint8_t *)"events.example:8080", 19},
};

static const struct handshake_policy policy = {.deflate = true};

/* The answer's extension header, or "" — for an offer under a policy. */
static const char *negotiated(const char *offer, const struct handshake_policy *under)
{
    static char out[HANDSHAKE_ANSWER_MAX + 1];
    struct handshake_request request = good;
    struct handshake agreed;
    size_t length = strlen(offer);
    uint8_t *at = unit_edge_copy(offer, length);
    struct span line = span_of(at, length);
    request.extensions = &line;
    request.extension_lines = 1;
    enum handshake_fault fault = handshake_judge(&request, under, &agreed);
    unit_edge_free(at, length);
    if (fault == HANDSHAKE_BAD_EXTENSIONS)
        return "bad";
    assert_int_equal(fault, HANDSHAKE_OK);
    out[handshake_answer(&agreed, out)] = '\0';
    char *found = strstr(out, "permessage-deflate");
    assert_int_equal(found != NULL, agreed.deflate.agreed);
    if (found == NULL)
        return "";
    *strstr(found, "\r\n") = '\0';
    return found;
}

/* RFC 6455 1.3 */
static void example(void **state)
{
    (void)state;
    struct handshake agreed;
    char out[HANDSHAKE_ANSWER_MAX];
    assert_int_equal(handshake_judge(&good, &policy, &agreed), HANDSHAKE_OK);
    assert_string_equal(agreed.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    size_t length = handshake_answer(&agreed, out);
    static const char expected[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                                   "Connection: Upgrade\r\n"
                                   "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    assert_int_equal(length, sizeof expected - 1);
    assert_memory_equal(out, expected, length);
}

static enum handshake_fault with(struct handshake_request request)
{
    struct handshake agreed;
    return handshake_judge(&request, &policy, &agreed);
}

static void what_is_wanted(void **state)
{
    (void)state;
    struct handshake_request request = good;
    request.wanted = false;
    assert_int_equal(with(request), HANDSHAKE_NOT_WEBSOCKET);
    request = good, request.version = SPAN("8");
    assert_int_equal(with(request), HANDSHAKE_BAD_VERSION);
    assert_int_equal(handshake_status(HANDSHAKE_BAD_VERSION), 426);
    request = good, request.version = (struct span){NULL, 0};
    assert_int_equal(with(request), HANDSHAKE_BAD_VERSION);
}

static void keys(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQAA",
                                      "dGhlIHNhbXBsZSBub25j*Q==", "dGhlIHNhbXBsZSBub25jZQ==="};
    struct handshake_request request = good;
    for (unsigned i = 0; i < COUNT_OF(bad); i++) {
        request.key = span_of_string(bad[i]);
        assert_int_equal(with(request), HANDSHAKE_BAD_KEY);
    }
    request.key = (struct span){NULL, 0};
    assert_int_equal(with(request), HANDSHAKE_BAD_KEY);
}

static enum handshake_fault from(const char *origin, const char *allowed)
{
    struct handshake_policy strict = {.origins = span_of_string(allowed)};
    struct handshake_request request = good;
    struct handshake agreed;
    request.origin = span_of_string(origin);
    return handshake_judge(&request, &strict, &agreed);
}

static void origins(void **state)
{
    (void)state;
    assert_int_equal(from("http://localhost:3000", "http://localhost:3000"), HANDSHAKE_OK);
    assert_int_equal(from("https://a.example", "http://x, https://A.example"), HANDSHAKE_OK);
    assert_int_equal(from("https://a.example", "*"), HANDSHAKE_OK);
    assert_int_equal(from("https://a.example", ""), HANDSHAKE_BAD_ORIGIN);
    assert_int_equal(from("https://a.example.evil", "https://a.example"), HANDSHAKE_BAD_ORIGIN);
    assert_int_equal(from("null", "https://a.example"), HANDSHAKE_BAD_ORIGIN);
    assert_int_equal(from("http://events.example:8080", ""), HANDSHAKE_OK); /* our own page */
    assert_int_equal(from("http://events.example", ""), HANDSHAKE_BAD_ORIGIN);
    assert_int_equal(from("", ""), HANDSHAKE_BAD_ORIGIN);
    assert_int_equal(handshake_status(HANDSHAKE_BAD_ORIGIN), 403);
}

#define BOTH_NOT "; server_no_context_takeover; client_no_context_takeover"

static void offers(void **state)
{
    (void)state;
    const struct handshake_policy keeps = {.deflate = true, .takeover = true}, off = {0};
    assert_string_equal(negotiated("", &policy), "");
    assert_string_equal(negotiated("permessage-deflate", &off), "");
    assert_string_equal(negotiated("permessage-deflate", &keeps), "permessage-deflate");
    assert_string_equal(negotiated("permessage-deflate", &policy), "permessage-deflate" BOTH_NOT);
    assert_string_equal(negotiated("permessage-deflate; client_max_window_bits", &policy),
                        "permessage-deflate" BOTH_NOT);
    assert_string_equal(negotiated("permessage-deflate ; client_max_window_bits = \"10\"", &keeps),
                        "permessage-deflate");
    assert_string_equal(negotiated("permessage-deflate; client_max_window_bits=8", &keeps),
                        "permessage-deflate");
    assert_string_equal(negotiated("permessage-deflate; server_max_window_bits=9", &keeps),
                        "permessage-deflate; server_max_window_bits=9");
    assert_string_equal(negotiated("permessage-deflate; server_no_context_takeover", &keeps),
                        "permessage-deflate; server_no_context_takeover");
    /* 7.1.2.1: who agrees to it names it, whatever its value. */
    assert_string_equal(
        negotiated("PerMessage-Deflate; client_no_context_takeover;server_max_window_bits=15",
                   &keeps),
        "permessage-deflate; client_no_context_takeover; server_max_window_bits=15");
    assert_string_equal(negotiated("permessage-deflate; server_max_window_bits=8", &policy),
                        "permessage-deflate" BOTH_NOT "; server_max_window_bits=8");
    const struct handshake_policy shared = {.deflate = true, .shared = true, .takeover = true};
    assert_string_equal(negotiated("permessage-deflate; server_max_window_bits=10", &shared), "");
    assert_string_equal(negotiated("permessage-deflate; server_max_window_bits=10, "
                                   "permessage-deflate; client_max_window_bits=10",
                                   &shared),
                        "permessage-deflate");
    assert_string_equal(negotiated("x-webkit-deflate-frame, permessage-deflate", &keeps),
                        "permessage-deflate");
}

/* RFC 7692 5, 7.1: what we cannot keep is passed over, and the next offer looked at. */
static void offers_declined(void **state)
{
    (void)state;
    const struct handshake_policy keeps = {.deflate = true, .takeover = true};
    static const char *const declined[] = {
        "permessage-deflate; unknown",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=010",
        "permessage-deflate; server_max_window_bits=1x",
        "permessage-deflate; client_max_window_bits=20",
        "permessage-deflate; client_max_window_bits=10; client_max_window_bits",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; client_no_context_takeover=1",
        "permessage-bzip2; client_no_context_takeover",
    };
    for (unsigned i = 0; i < COUNT_OF(declined); i++) {
        char two[256];
        snprintf(two, sizeof two, "%s, permessage-deflate; server_max_window_bits=12", declined[i]);
        assert_string_equal(negotiated(declined[i], &keeps), "");
        assert_string_equal(negotiated(two, &keeps),
                            "permessage-deflate; server_max_window_bits=12");
    }
}

static void grammar(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "permessage-deflate; ",
        "permessage-deflate; a=",
        "; a",
        "a b",
        "a; b c",
        "a; b=\"c",
        "a; b=\"\"",
        "a; b=\"c d\"",
        "a; b=c=d",
        "\x01",
        "a;;b",
        "=",
    };
    for (unsigned i = 0; i < COUNT_OF(bad); i++)
        assert_string_equal(negotiated(bad[i], &policy), "bad");
    assert_string_equal(negotiated(", ,foo;bar;baz=1 ,, permessage-deflate,", &policy),
                        "permessage-deflate" BOTH_NOT);
}

/* RFC 6455 9.1: several lines are one list. */
static void several_lines(void **state)
{
    (void)state;
    const struct span lines[] = {
        SPAN("foo, permessage-deflate; unknown"), SPAN(""),
        SPAN("permessage-deflate; server_max_window_bits=12, permessage-deflate"), SPAN("a b")};
    struct handshake_request request = good;
    struct handshake agreed;
    request.extensions = lines;
    request.extension_lines = 3;
    assert_int_equal(handshake_judge(&request, &policy, &agreed), HANDSHAKE_OK);
    assert_true(agreed.deflate.agreed && agreed.deflate.server_max_window_bits == 12);
    request.extension_lines = 4;
    assert_int_equal(handshake_judge(&request, &policy, &agreed), HANDSHAKE_BAD_EXTENSIONS);
}

/* No cut of a header makes the reader run on. */
static void cut_everywhere(void **state)
{
    (void)state;
    static const char whole[] = "foo; a=\"b\", permessage-deflate; server_max_window_bits=\"12\" ; "
                                "client_max_window_bits";
    char cut[sizeof whole];
    for (size_t length = 0; length < sizeof whole; length++) {
        memcpy(cut, whole, length);
        cut[length] = '\0';
        (void)negotiated(cut, &policy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(example),        cmocka_unit_test(what_is_wanted),
        cmocka_unit_test(keys),           cmocka_unit_test(origins),
        cmocka_unit_test(offers),         cmocka_unit_test(offers_declined),
        cmocka_unit_test(grammar),        cmocka_unit_test(several_lines),
        cmocka_unit_test(cut_everywhere),
    };
    return cmocka_run_group_tests_name("handshake", tests, NULL, NULL);
}
