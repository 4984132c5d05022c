/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first byte chooses the terms and where to cut. The rest
 * is taken for a compressed message, whole and cut: the same outcome,
 * within the limit. Then it is taken for a plain one: there and back.
 */
#include "ws/deflate.h"

enum { LIMIT = 10000 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static int inflate_cut(const struct deflate_terms *terms, struct span packed, size_t cut,
                       struct buf *out)
{
    struct inflater *inflater = NULL;
    int fault = inflater_feed(&inflater, terms, span_of(packed.at, cut), false, out);
    if (fault == DEFLATE_OK)
        fault = inflater_feed(&inflater, terms, span_from(packed, cut), true, out);
    inflater_close(&inflater);
    must(out->length <= LIMIT && out->capacity <= LIMIT);
    return fault;
}

static void there_and_back(const struct deflate_terms *terms, struct span text)
{
    struct deflater *deflater = NULL;
    struct inflater *inflater = NULL;
    for (unsigned i = 0; i < 3; i++) {
        struct buf packed = {.max = 2 * LIMIT}, out = {.max = LIMIT};
        must(deflater_message(&deflater, terms, text, &packed) == DEFLATE_OK);
        must(inflater_feed(&inflater, terms, buf_span(&packed), true, &out) == DEFLATE_OK);
        must(span_equal(buf_span(&out), text));
        buf_fini(&packed);
        buf_fini(&out);
    }
    deflater_close(&deflater);
    inflater_close(&inflater);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    if (length == 0 || length > LIMIT)
        return 0;
    unsigned choice = *bytes++;
    struct span rest = span_of(bytes, --length);
    uint8_t bits = (uint8_t)(8 + (choice & 7));
    struct deflate_terms terms = {true, (choice & 8) != 0, (choice & 16) != 0, bits};
    struct buf whole = {.max = LIMIT}, cut = {.max = LIMIT};
    int fault = inflate_cut(&terms, rest, 0, &whole);
    must(inflate_cut(&terms, rest, length * (choice >> 5) / 8, &cut) == fault);
    must(fault != DEFLATE_OK || span_equal(buf_span(&whole), buf_span(&cut)));
    buf_fini(&whole);
    buf_fini(&cut);
    /* One end here is both: what the server forgets, the client forgets. */
    terms.client_no_context_takeover = terms.server_no_context_takeover;
    there_and_back(&terms, rest);
    return 0;
}
