/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way out of a WebSocket: frames, messages, and the first half of good-bye.
 *
 * Closing. Nothing may follow a close frame, and held replies come later than now. So while there
 * are any, the close frame is held too, behind them.
 */
#include "ws/websocket_internal.h"

enum { CLOSE_REASON_MAX = FRAME_CONTROL_MAX - 2 };

/* The texts of all messages so far are about to go. */
void websocket_let_go(struct websocket *ws, struct turn *turn)
{
    if (ws->ops->settle != NULL && !ws->ops->settle(ws, turn) && ws->state == WEBSOCKET_OPEN)
        ws->state = WEBSOCKET_STALLED;
}

void websocket_abort(struct websocket *ws, struct turn *turn)
{
    ws->state = WEBSOCKET_DONE;
    conn_abort(ws->wire.conn, turn);
}

/* One frame: together in one call if it is short, so that nothing is queued by halves. */
bool websocket_send_frame(struct websocket *ws, struct turn *turn, const struct frame *frame,
                          const uint8_t *payload)
{
    enum { SHORT = 1024 };
    uint8_t bytes[FRAME_HEADER_MAX + SHORT];
    size_t header = frame_write(frame, bytes), length = (size_t)frame->length;
    bool sent;
    if (length <= SHORT) {
        if (length > 0)
            memcpy(bytes + header, payload, length);
        sent = conn_send(ws->wire.conn, turn, bytes, header + length);
    } else {
        sent = conn_send(ws->wire.conn, turn, bytes, header) &&
               conn_send(ws->wire.conn, turn, payload, length);
    }
    if (!sent)
        websocket_abort(ws, turn);
    return sent;
}

static bool send_compressed(struct websocket *ws, struct turn *turn, struct frame *frame,
                            struct span text)
{
    struct buf packed = {.max = text.length + text.length / 8 + 64};
    int fault = deflater_message(&ws->deflater, &ws->terms, text, &packed);
    bool sent = false;
    if (fault == DEFLATE_OK) {
        frame->reserved = FRAME_RSV1;
        frame->length = packed.length;
        sent = websocket_send_frame(ws, turn, frame, packed.at);
    } else {
        websocket_abort(ws, turn);
    }
    buf_fini(&packed);
    return sent;
}

bool websocket_send(struct websocket *ws, struct turn *turn, bool binary, struct span text)
{
    if (ws->state >= WEBSOCKET_CLOSING)
        return false;
    struct frame frame = {
        .final = true, .opcode = binary ? FRAME_BINARY : FRAME_TEXT, .length = text.length};
    if (ws->terms.agreed && text.length >= ws->options->deflate_from)
        return send_compressed(ws, turn, &frame, text);
    return websocket_send_frame(ws, turn, &frame, text.at);
}

bool websocket_send_frames(struct websocket *ws, struct turn *turn, struct span frames)
{
    if (ws->state >= WEBSOCKET_CLOSING)
        return false;
    bool sent = conn_send(ws->wire.conn, turn, frames.at, frames.length);
    if (!sent)
        websocket_abort(ws, turn);
    return sent;
}

bool websocket_send_encoded(struct websocket *ws, struct turn *turn, struct encoded *encoded)
{
    if (ws->state < WEBSOCKET_CLOSING) {
        if (conn_lend(ws->wire.conn, turn, encoded_frames(encoded), &encoded->lent))
            return true;
        websocket_abort(ws, turn);
    }
    encoded_put(encoded);
    return false;
}

/* Queues the close frame, behind the replies that are held. RFC 6455 5.5.1 */
void websocket_say_close(struct websocket *ws, struct turn *turn, struct span payload)
{
    uint8_t bytes[2 + FRAME_CONTROL_MAX];
    struct conn *conn = ws->wire.conn;
    size_t length = frame_write_header(FRAME_CLOSE, payload.length, bytes);
    if (payload.length > 0)
        memcpy(bytes + length, payload.at, payload.length);
    length += payload.length;
    struct hold hold = {.tag = WEBSOCKET_TAG_CLOSE, .reply = span_of(bytes, length)};
    bool said =
        conn_holds(conn) > 0 ? conn_hold(conn, turn, &hold) : conn_send(conn, turn, bytes, length);
    if (!said)
        websocket_abort(ws, turn);
}

void websocket_say_close_code(struct websocket *ws, struct turn *turn, uint16_t code,
                              const char *reason)
{
    uint8_t payload[FRAME_CONTROL_MAX] = {(uint8_t)(code >> 8), (uint8_t)code};
    struct span why = span_of_string(reason);
    must(why.length <= CLOSE_REASON_MAX);
    memcpy(payload + 2, why.at, why.length);
    ws->close_code = code;
    websocket_say_close(ws, turn, span_of(payload, 2 + why.length));
}

void websocket_close(struct websocket *ws, struct turn *turn, uint16_t code, const char *reason)
{
    if (ws->state >= WEBSOCKET_CLOSING)
        return;
    websocket_let_go(ws, turn);
    ws->state = WEBSOCKET_CLOSING;
    websocket_say_close_code(ws, turn, code, reason);
    conn_deadline(ws->wire.conn, turn, turn->now_ns + ws->options->close_ns);
}
