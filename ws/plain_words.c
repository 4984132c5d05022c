/* SPDX-License-Identifier: Apache-2.0 */
#include "ws/plain_internal.h"

#include <inttypes.h>

static bool put(struct buf *out, struct span text)
{
    return buf_put(out, text.at, text.length);
}

static struct span or_null(struct span data)
{
    return data.length == 0 ? SPAN("null") : data;
}

static bool put_id(struct buf *out, const struct publication *publication)
{
    char offset[HUB_OFFSET_TEXT];
    if (publication->number == 0)
        return true;
    hub_offset_print(publication->shard, publication->number, offset);
    return buf_print(out, ",\"id\":\"%s\"", offset);
}

static bool put_json(struct buf *out, const struct publication *publication)
{
    return put(out, SPAN("{\"event\":")) && buf_put_json(out, publication->event) &&
           put(out, SPAN(",\"data\":")) && put(out, or_null(publication->data)) &&
           put(out, SPAN(",\"room\":")) && buf_put_json(out, publication->room) &&
           put_id(out, publication) && put(out, SPAN("}"));
}

/* Binary attachments follow as binary messages, in the order of their placeholders. */
struct encoded *plain_encode_json(void *context, const struct publication *publication)
{
    struct plain *plain = context;
    plain->scratch.length = 0;
    if (!put_json(&plain->scratch, publication))
        return NULL;
    return encoded_make(buf_span(&plain->scratch), publication->attachments,
                        publication->attachments_count);
}

/* What all understand who agreed: nothing is kept from one message to the next. */
static bool pack(struct plain *plain)
{
    static const struct deflate_terms terms = {.agreed = true,
                                               .server_no_context_takeover = true,
                                               .server_max_window_bits = DEFLATE_BITS_MAX};
    struct deflater *deflater = NULL;
    plain->packed.length = 0;
    return deflater_message(&deflater, &terms, buf_span(&plain->scratch), &plain->packed) ==
               DEFLATE_OK &&
           plain->packed.length < plain->scratch.length;
}

/* Without room to compress it, or if it is no shorter then, it goes as it is. */
struct encoded *plain_encode_packed(void *context, const struct publication *publication)
{
    struct plain *plain = context;
    plain->scratch.length = 0;
    if (!put_json(&plain->scratch, publication))
        return NULL;
    bool packed = plain->scratch.length >= plain->options.websocket->deflate_from && pack(plain);
    struct encoded *encoded =
        encoded_make(buf_span(packed ? &plain->packed : &plain->scratch), publication->attachments,
                     publication->attachments_count);
    if (packed && encoded != NULL)
        encoded_set_compressed(encoded);
    return encoded;
}

/* A line's end would end the field. In JSON it can only stand between tokens, where a space will do. */
static void unbreak(uint8_t *at, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (at[i] == '\n' || at[i] == '\r')
            at[i] = ' ';
}

/* WHATWG HTML 9.2.5. Without an `event` line, or a page's onmessage would not be called. */
struct encoded *plain_encode_event(void *context, const struct publication *publication)
{
    struct plain *plain = context;
    struct buf *out = &plain->scratch;
    char offset[HUB_OFFSET_TEXT];
    out->length = 0;
    if (publication->number != 0) {
        hub_offset_print(publication->shard, publication->number, offset);
        if (!buf_print(out, "id: %s\n", offset))
            return NULL;
    }
    if (!put(out, SPAN("data: ")))
        return NULL;
    size_t begin = out->length;
    if (!put_json(out, publication))
        return NULL;
    unbreak(out->at + begin, out->length - begin);
    return put(out, SPAN("\n\n")) ? encoded_make(buf_span(out), NULL, 0) : NULL;
}

/* ── Words of our own ───────────────────────────────────────────────────────────────────────── */

static struct encoded *as(unsigned encoding, struct buf *text, bool good)
{
    struct encoded *encoded = NULL;
    if (good && (encoding != ENCODING_EVENT_STREAM || put(text, SPAN("\n\n"))))
        encoded = encoded_make(buf_span(text), NULL, 0);
    buf_fini(text);
    return encoded;
}

static bool begin(struct buf *text, unsigned encoding)
{
    *text = (struct buf){.max = 65536};
    return encoding != ENCODING_EVENT_STREAM || put(text, SPAN("data: "));
}

struct encoded *plain_gap(unsigned encoding, int64_t missed)
{
    struct buf text;
    bool good =
        begin(&text, encoding) && put(&text, SPAN("{\"event\":\"gap\",\"data\":{\"missed\":"));
    good = good && (missed < 0 ? put(&text, SPAN("null")) : buf_print(&text, "%" PRId64, missed));
    return as(encoding, &text, good && put(&text, SPAN("}}")));
}

struct encoded *plain_error(unsigned encoding, struct span room, const char *code,
                            const char *message)
{
    struct buf text;
    bool good =
        begin(&text, encoding) &&
        buf_print(&text, "{\"event\":\"error\",\"data\":{\"code\":\"%s\",\"message\":", code) &&
        buf_put_json(&text, span_of_string(message)) && put(&text, SPAN("}"));
    if (room.at != NULL)
        good = good && put(&text, SPAN(",\"room\":")) && buf_put_json(&text, room);
    return as(encoding, &text, good && put(&text, SPAN("}")));
}
