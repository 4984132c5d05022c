/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"
#include "ws/encoded.h"

#include <stdlib.h>

/* Reads the frames back as a client does. */
static void check_frames(const struct encoded *encoded, const struct span *payload, unsigned parts)
{
    struct span frames = encoded_frames(encoded);
    assert_int_equal(encoded->parts, parts);
    assert_int_equal(frames.length, encoded->length);
    for (unsigned i = 0; i < parts; i++) {
        struct frame frame;
        int header = frame_read(frames.at, frames.length, &frame);
        assert_true(header > 0 && frame.final && !frame.masked);
        assert_int_equal(frame.opcode, i == 0 ? FRAME_TEXT : FRAME_BINARY);
        assert_int_equal(frame.length, payload[i].length);
        struct span inside = span_of(frames.at + header, (size_t)frame.length);
        assert_true(span_equal(inside, payload[i]));
        assert_true(span_equal(encoded_payload(encoded, i), payload[i]));
        assert_int_equal(encoded->part[i].binary, i > 0);
        frames = span_from(frames, (size_t)header + (size_t)frame.length);
    }
    assert_int_equal(frames.length, 0);
}

/* Lengths at which a frame's header changes its form. */
static void of_every_form(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 1, 125, 126, 65535, 65536, 100000};
    uint8_t *bytes = calloc(1, 100000);
    for (unsigned i = 0; i < COUNT_OF(lengths); i++) {
        struct span payload[] = {span_of(bytes, lengths[i]), span_of(bytes, lengths[i]),
                                 span_of(bytes, 7)};
        for (unsigned attachments = 0; attachments < 3; attachments++) {
            struct encoded *encoded = encoded_make(payload[0], payload + 1, attachments);
            assert_non_null(encoded);
            check_frames(encoded, payload, 1 + attachments);
            encoded_put(encoded);
        }
    }
    free(bytes);
}

static void attachments_have_a_bound(void **state)
{
    (void)state;
    struct span attachment[ENCODED_PARTS_MAX];
    for (unsigned i = 0; i < ENCODED_PARTS_MAX; i++)
        attachment[i] = SPAN("x");
    struct encoded *most = encoded_make(SPAN("text"), attachment, ENCODED_PARTS_MAX - 1);
    assert_non_null(most);
    encoded_put(most);
    assert_null(encoded_make(SPAN("text"), attachment, ENCODED_PARTS_MAX));
}

/* What goes with an Engine.IO 4 message stands alone. */
static void attachments_without_a_text(void **state)
{
    (void)state;
    struct span attachment[] = {SPAN("one"), SPAN("")};
    struct encoded *encoded = encoded_make((struct span){0}, attachment, 2);
    assert_int_equal(encoded->parts, 2);
    assert_int_equal(encoded_frames(encoded).length, 7);
    assert_memory_equal(encoded_frames(encoded).at, "\x82\x03one\x82", 6);
    assert_true(encoded->part[0].binary && encoded->part[1].binary);
    assert_true(span_is(encoded_payload(encoded, 0), "one"));
    assert_int_equal(encoded_payload(encoded, 1).length, 0);
    encoded_put(encoded);
}

static void joined(void **state)
{
    (void)state;
    struct span attachment = SPAN("bin");
    struct encoded *one = encoded_make(SPAN("one"), &attachment, 1),
                   *other = encoded_make(SPAN("other"), NULL, 0), *some[] = {one, NULL, other};
    struct encoded *all = encoded_join(some, 3);
    encoded_put(one);
    encoded_put(other);
    assert_int_equal(all->parts, 3);
    assert_int_equal(encoded_frames(all).length, 17);
    assert_memory_equal(encoded_frames(all).at,
                        "\x81\x03one\x82\x03"
                        "bin\x81\x05other",
                        17);
    assert_true(span_is(encoded_payload(all, 0), "one") && !all->part[0].binary);
    assert_true(span_is(encoded_payload(all, 1), "bin") && all->part[1].binary);
    assert_true(span_is(encoded_payload(all, 2), "other") && !all->part[2].binary);
    encoded_put(all);
}

static void references(void **state)
{
    (void)state;
    struct encoded *encoded = encoded_make(SPAN("text"), NULL, 0);
    assert_ptr_equal(encoded_ref(encoded), encoded);
    encoded_put(encoded);
    assert_true(span_is(encoded_payload(encoded, 0), "text")); /* the sanitizer watches */
    encoded_put(encoded);
    encoded_put(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_every_form),
        cmocka_unit_test(attachments_have_a_bound),
        cmocka_unit_test(attachments_without_a_text),
        cmocka_unit_test(joined),
        cmocka_unit_test(references),
    };
    return cmocka_run_group_tests_name("encoded", tests, NULL, NULL);
}
