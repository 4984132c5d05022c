/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The WebSocket door as a producer sees it: batch messages,
 * several on their way at once, acknowledged in order. After a reconnect
 * what was not acknowledged is sent again; ids make that harmless.
 */
#include "core/send_link.h"

#include "core/base64.h"
#include "core/clock.h"
#include "proto/json.h"
#include "ws/frame.h"

#include <stdio.h>

enum { IN_FLIGHT = 8 };

static void start(struct send_link *link)
{
    const struct send_options *options = link->options;
    link->next = link->settled;
    uint8_t nonce[16];
    char key[32] = "";
    clock_random(nonce, sizeof nonce);
    base64_encode(BASE64_STANDARD, span_of(nonce, sizeof nonce), key);
    bool put = buf_print(&link->out,
                         "GET %s?ack=%s HTTP/1.1\r\nHost: %s:%s\r\nUpgrade: websocket\r\n"
                         "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                         "Sec-WebSocket-Key: %s\r\n",
                         options->path, options->ack, options->host, options->port, key);
    if (options->token != NULL)
        put = put && buf_print(&link->out, "Authorization: Bearer %s\r\n", options->token);
    if (!put || !buf_put(&link->out, "\r\n", 2))
        send_link_fail(link, "no memory");
}

static bool put_frame(struct buf *out, enum frame_opcode opcode, const struct buf *payload)
{
    struct frame frame = {
        .length = payload->length, .opcode = (uint8_t)opcode, .final = true, .masked = true};
    clock_random(&frame.mask, sizeof frame.mask); /* RFC 6455 5.3 */
    uint8_t header[FRAME_HEADER_MAX];
    size_t length = frame_write(&frame, header);
    if (!buf_put(out, header, length))
        return false;
    uint8_t *at = buf_room(out, payload->length);
    if (at == NULL)
        return false;
    memcpy(at, payload->at, payload->length);
    frame_unmask(at, payload->length, frame.mask);
    buf_grew(out, payload->length);
    return true;
}

static bool put_batch(struct send_link *link, uint64_t end)
{
    struct buf body = {.max = (size_t)1 << 30};
    bool put = buf_print(&body, "{\"type\":\"batch\",\"data\":[");
    for (uint64_t n = link->next; put && n < end; n++)
        put = (n == link->next || buf_put(&body, ",", 1)) &&
              send_feed_put(link->options->feed, send_link_index(link, n), &body);
    put = put && buf_put(&body, "]}", 2) && put_frame(&link->out, FRAME_TEXT, &body);
    buf_fini(&body);
    return put;
}

static void fill(struct send_link *link, uint64_t events_max, uint64_t now_ns)
{
    while (events_max > 0 && link->marks < IN_FLIGHT && link->next < link->events &&
           link->out.length < SEND_FILL_BYTES) {
        uint64_t size = link->options->batch < events_max ? link->options->batch : events_max;
        uint64_t end = link->next + size < link->events ? link->next + size : link->events;
        if (!put_batch(link, end)) {
            send_link_fail(link, "no memory");
            return;
        }
        events_max -= end - link->next;
        link->next = end;
        send_link_mark(link, now_ns);
    }
}

/* The first batch on its way is answered:
 * all of it counts as settled, what was refused is in the list. */
static void batch_ack(struct send_link *link, struct span body, uint64_t now_ns)
{
    send_link_count(link, body);
    if (link->marks > 0)
        send_link_settle(link, link->mark[link->mark_first].through, now_ns);
}

static void message(struct send_link *link, struct span text, uint64_t now_ns)
{
    struct json_value value, type;
    size_t fault;
    if (json_document(text, &value, &fault) != 0 || value.kind != JSON_OBJECT ||
        !json_find(value.text, "type", &type))
        send_link_fail(link, "not a ringmain WebSocket door: it said %.*s", SPAN_ARGS(text));
    else if (span_is(type.text, "\"connected\""))
        link->ready = true;
    else if (span_is(type.text, "\"ack\""))
        batch_ack(link, value.text, now_ns);
    else if (span_is(type.text, "\"error\""))
        send_link_fail(link, "refused: %.*s", SPAN_ARGS(value.text));
}

/* RFC 6455 7.4.1: what is wrong with us would be so again; all else may pass. */
static void closed(struct send_link *link, struct span payload)
{
    unsigned code = payload.length < 2 ? 1005 : (unsigned)payload.at[0] << 8 | payload.at[1];
    struct span reason = payload.length < 2 ? SPAN("") : span_from(payload, 2);
    link->hang_up = true;
    if (code == 1002 || code == 1003 || (code >= 1007 && code <= 1010))
        send_link_fail(link, "closed with %u: %.*s", code, SPAN_ARGS(reason));
}

static void control(struct send_link *link, const struct frame *frame, const uint8_t *payload)
{
    struct buf answer = {.max = FRAME_CONTROL_MAX};
    if (frame->opcode == FRAME_CLOSE) {
        closed(link, span_of(payload, (size_t)frame->length));
    } else if (frame->opcode == FRAME_PING && (!buf_put(&answer, payload, (size_t)frame->length) ||
                                               !put_frame(&link->out, FRAME_PONG, &answer))) {
        send_link_fail(link, "no memory");
    }
    buf_fini(&answer);
}

/* The 101, once. False: more is needed, or it was refused. */
static bool upgraded(struct send_link *link)
{
    const uint8_t *end = memmem(link->in.at, link->in.length, "\r\n\r\n", 4);
    if (!send_link_speaks_http(link) || end == NULL)
        return false;
    if (memcmp(link->in.at, "HTTP/1.1 101", 12) != 0) {
        send_link_fail(link, "refused: %.*s", SPAN_ARGS(buf_span(&link->in)));
        return false;
    }
    buf_drop(&link->in, (size_t)(end - link->in.at) + 4);
    link->upgraded = true;
    return true;
}

static void input(struct send_link *link, uint64_t now_ns)
{
    if (!link->upgraded && !upgraded(link))
        return;
    size_t used = 0;
    struct frame frame;
    while (link->fatal[0] == '\0') {
        const uint8_t *at = link->in.at + used;
        int header = frame_read(at, link->in.length - used, &frame);
        if (header < 0)
            send_link_fail(link, "it sent a broken frame");
        if (header <= 0 || link->in.length - used - (size_t)header < frame.length)
            break;
        if (frame.opcode >= FRAME_CLOSE)
            control(link, &frame, at + header);
        else
            message(link, span_of(at + header, (size_t)frame.length), now_ns);
        used += (size_t)header + (size_t)frame.length;
    }
    buf_drop(&link->in, used);
}

const struct send_protocol send_ws = {"ws", "8080", "/events/stream", true, start, fill, input};
