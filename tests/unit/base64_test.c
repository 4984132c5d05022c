/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base64.h"
#include "tests/unit/unit.h"

/* RFC 4648 section 10, and RFC 6455's handshake nonce. */
static const struct {
    const char *bytes, *standard, *url;
} vectors[] = {
    {"", "", ""},
    {"f", "Zg==", "Zg"},
    {"fo", "Zm8=", "Zm8"},
    {"foo", "Zm9v", "Zm9v"},
    {"foob", "Zm9vYg==", "Zm9vYg"},
    {"fooba", "Zm9vYmE=", "Zm9vYmE"},
    {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
    {"the sample nonce", "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ"},
    {"\xFB\xFF\xBF", "+/+/", "-_-_"},
};

static void check(enum base64 form, const char *bytes, const char *text)
{
    char encoded[64];
    struct span in = span_of_string(bytes);
    size_t length = base64_encode(form, in, encoded);
    assert_true(span_is(span_of(encoded, length), text));
    assert_true(length <= BASE64_ENCODED_MAX(in.length));

    size_t text_length = strlen(text);
    uint8_t *edge = unit_edge_copy(text, text_length), decoded[64];
    ptrdiff_t got = base64_decode(form, span_of(edge, text_length), decoded);
    assert_true(got >= 0 && (size_t)got <= BASE64_DECODED_MAX(text_length));
    assert_true(span_equal(span_of(decoded, (size_t)got), in));

    got = base64_decode(form, span_of(edge, text_length), edge);
    assert_true(got >= 0 && span_equal(span_of(edge, (size_t)got), in));
    unit_edge_free(edge, text_length);
}

static void test_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        check(BASE64_STANDARD, vectors[i].bytes, vectors[i].standard);
        check(BASE64_URL, vectors[i].bytes, vectors[i].url);
    }
}

static void test_all_bytes(void **state)
{
    (void)state;
    uint8_t bytes[256], decoded[BASE64_DECODED_MAX(BASE64_ENCODED_MAX(256))];
    char text[BASE64_ENCODED_MAX(256)];
    for (unsigned i = 0; i < 256; i++)
        bytes[i] = (uint8_t)(255 - i);
    for (size_t length = 0; length <= 256; length++)
        for (enum base64 form = BASE64_STANDARD; form <= BASE64_URL; form++) {
            size_t written = base64_encode(form, span_of(bytes, length), text);
            assert_int_equal(base64_decode(form, span_of(text, written), decoded), length);
            assert_memory_equal(decoded, bytes, length);
        }
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const standard[] = {
        "Z",    "Zg",     "Zg=",  "Zg===", "=",    "====", "Zh==",       "Zm9=",    "Zm-v",
        "Zm_v", "Zm9v\n", "Zm 9", "Z=g=",  "Zg=v", "=Zg=", "\xC3\xBC==", "Zg==Zg=="};
    static const char *const url[] = {"Z", "Zg==", "Zh", "Zm9", "Zm+v", "Zm/v", "Zm9vY", "Zm9v "};
    uint8_t out[64];
    for (size_t i = 0; i < COUNT_OF(standard); i++)
        assert_int_equal(base64_decode(BASE64_STANDARD, span_of_string(standard[i]), out), -1);
    for (size_t i = 0; i < COUNT_OF(url); i++)
        assert_int_equal(base64_decode(BASE64_URL, span_of_string(url[i]), out), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_all_bytes),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
