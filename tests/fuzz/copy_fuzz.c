/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any text as an event, into rows of streams with every column type:
 * a row never passes its bound and is measured right by copy_row_length(),
 * and a refusal says why. The address sanitizer watches the memory.
 */
#include "batch/copy.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static const char *const columns[] = {
    "v text",
    "v bigint",
    "v integer",
    "v double precision",
    "v numeric",
    "v boolean",
    "v timestamptz",
    "v uuid",
    "v jsonb",
    "v json",
    "d text from data, a numeric from data.v, b jsonb from data.v, c text from data.v.v, e json "
    "from data",
    "a jsonb from userId, b json from id, c uuid from id, d bigint from roomId|data.v, "
    "e timestamptz from sessionId, f numeric from userId, g double precision from type, "
    "h text from timestamp, i text from data.v|data required",
};

static struct streams *open_streams(void)
{
    char why[STREAM_WHY_BYTES], name[] = "a";
    struct streams *streams = streams_open();
    must(streams != NULL && streams_add_defaults(streams, why) == 0);
    for (size_t i = 0; i < COUNT_OF(columns); i++, name[0]++)
        must(streams_add(streams, name, name, columns[i], "", why) == 0);
    return streams;
}

static void put_row(const struct stream *stream, const struct event *event)
{
    size_t room = copy_row_bytes_max(stream, event);
    uint8_t *row = malloc(room);
    must(row != NULL);
    struct refusal refusal = {.code = EVENT_ACCEPTED};
    size_t length =
        copy_row(stream, event, SPAN("0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"), 1, row, &refusal);
    must(length <= room);
    if (length > 0) {
        must(copy_row_length(row, length) == length && copy_row_length(row, length - 1) == 0);
    } else {
        must(refusal.code == EVENT_INVALID_FIELD || refusal.code == EVENT_UNSTORABLE_TEXT);
        must(refusal.message[0] != 0 && memchr(refusal.message, 0, sizeof refusal.message) != NULL);
    }
    free(row);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static struct streams *streams; /* made once: libFuzzer gives no other place */
    if (streams == NULL)
        streams = open_streams();
    const struct event_rules rules = {
        .bytes_max = 65536,
        .default_type = SPAN("t"),
        .bare_type = SPAN("t"),
        .keep_flaws = true,
    };
    struct event event;
    struct refusal refusal;
    uint8_t *text = malloc(length + 1);
    must(text != NULL);
    memcpy(text, bytes, length);
    if (event_parse(span_of(text, length), &rules, &event, &refusal) == EVENT_ACCEPTED)
        for (unsigned i = 0; i < streams_count(streams); i++)
            put_row(streams_at(streams, i), &event);
    (void)copy_row_length(bytes, length);
    free(text);
    return 0;
}
