/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A frame's header stands before its payload, and its length depends on the payload's. So room for
 * the longest is left in front, and when the payload is there it is moved up to a header of the
 * right length. Acks, of which there is one for every event, know their length beforehand unless
 * the id is absent or needs escapes.
 */
#include "ws/reply.h"
#include "ws/frame.h"

#include <inttypes.h>

struct reply_time reply_time(int64_t wall_us)
{
    struct reply_time time;
    event_time_print(wall_us, time.text);
    return time;
}

static bool put(struct buf *out, const char *text)
{
    return buf_put(out, text, strlen(text));
}

static bool put_time(struct buf *out, const struct reply_time *time)
{
    return put(out, ",\"timestamp\":\"") && buf_put(out, time->text, sizeof time->text) &&
           put(out, "\"}");
}

static bool put_id(struct buf *out, struct span id)
{
    return id.at == NULL || (put(out, ",\"eventId\":") && buf_put_json(out, id));
}

/* Leaves room for the header; returns where the frame begins. */
static size_t begin(struct buf *out, bool *fits)
{
    static const uint8_t room[FRAME_HEADER_UNMASKED_MAX];
    size_t at = out->length;
    *fits = buf_put(out, room, sizeof room);
    return at;
}

/* Writes the header of the frame that began at `at`; or takes all of it away again. */
static bool end(struct buf *out, size_t at, bool fits)
{
    if (!fits) {
        out->length = at;
        return false;
    }
    size_t length = out->length - at - FRAME_HEADER_UNMASKED_MAX;
    size_t header = frame_write_header(FRAME_TEXT, length, out->at + at);
    memmove(out->at + at + header, out->at + at + FRAME_HEADER_UNMASKED_MAX, length);
    out->length = at + header + length;
    return true;
}

bool reply_put_connected(struct buf *out, uint64_t connection, const struct reply_time *time)
{
    bool fits;
    size_t at = begin(out, &fits);
    fits = fits &&
           buf_print(out,
                     "{\"type\":\"connected\",\"connectionId\":\"%016" PRIx64
                     "\",\"message\":\"Connected to the event stream\"",
                     connection) &&
           put_time(out, time);
    return end(out, at, fits);
}

/* Goes into a JSON string as it is. */
static bool is_plain(struct span text)
{
    unsigned odd = 0;
    for (size_t i = 0; i < text.length; i++) {
        uint8_t c = text.at[i];
        odd |= (unsigned)(c < 0x20) | (unsigned)(c >= 0x7f) | (unsigned)(c == '"') |
               (unsigned)(c == '\\');
    }
    return odd == 0;
}

/* One frame whose payload is these parts. */
static bool put_frame(struct buf *out, const struct span *parts, unsigned count)
{
    size_t length = 0;
    for (unsigned i = 0; i < count; i++)
        length += parts[i].length;
    uint8_t *at = buf_room(out, FRAME_HEADER_UNMASKED_MAX + length);
    if (at == NULL)
        return false;
    size_t header = frame_write_header(FRAME_TEXT, length, at);
    at += header;
    for (unsigned i = 0; i < count; i++) {
        memcpy(at, parts[i].at, parts[i].length);
        at += parts[i].length;
    }
    buf_grew(out, header + length);
    return true;
}

static bool put_ack_slowly(struct buf *out, enum event_code code, struct span id,
                           const struct reply_time *time)
{
    bool fits;
    size_t at = begin(out, &fits);
    fits = fits && put(out, "{\"type\":\"ack\"") && put_id(out, id) && put(out, ",\"status\":\"") &&
           put(out, event_code_name(code)) && put(out, "\"") && put_time(out, time);
    return end(out, at, fits);
}

bool reply_put_ack(struct buf *out, enum event_code code, struct span id,
                   const struct reply_time *time)
{
    if (UNLIKELY(id.at == NULL || !is_plain(id)))
        return put_ack_slowly(out, code, id, time);
    const struct span parts[] = {
        SPAN("{\"type\":\"ack\",\"eventId\":\""),
        id,
        SPAN("\",\"status\":\""),
        code == EVENT_ACCEPTED ? SPAN("accepted") : SPAN("duplicate"),
        SPAN("\",\"timestamp\":\""),
        span_of(time->text, sizeof time->text),
        SPAN("\"}"),
    };
    return put_frame(out, parts, COUNT_OF(parts));
}

bool reply_put_error(struct buf *out, const struct refusal *refusal, struct span id,
                     const struct reply_time *time)
{
    bool fits;
    size_t at = begin(out, &fits);
    fits = fits && put(out, "{\"type\":\"error\",\"code\":\"") &&
           put(out, event_code_name(refusal->code)) && put(out, "\",\"message\":") &&
           buf_put_json(out, span_of_string(refusal->message)) && put_id(out, id) &&
           put_time(out, time);
    return end(out, at, fits);
}

bool reply_put_batch(struct buf *out, const struct receipt *receipt, const struct reply_time *time)
{
    bool fits;
    size_t at = begin(out, &fits);
    fits = fits && put(out, "{\"type\":\"ack\",") && receipt_print(receipt, out) &&
           put_time(out, time);
    return end(out, at, fits);
}
