/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a run of bytes is taken apart.
 *
 *   input ─► for each frame: frame_read, judge ──┬─ control ─► close, ping, pong (whole, in place)
 *                                                ├─ a whole plain message ─► unmask, hand on where
 * it lies └─ else: enter the frame, then payload() as it comes: unmask ─► inflate or copy ─► gather
 * ─► UTF-8
 *
 * So the connection never has to keep more for us than a frame's header or a control frame (131
 * bytes), whatever the size of the message, and bad UTF-8 is found with the byte that makes it bad.
 *
 * Stalling. When the user cannot take more (the spool is full), the connection is not read until
 * there is room; but it calls us again only if it has bytes for us. So one byte of those that we
 * used is reported as not used, and is passed over when it is offered again; what it holds by then
 * does not matter.
 *
 * Closing. Nothing may follow a close frame, and held replies come later than now. So while there
 * are any, the close frame is held too, behind them.
 */
#include "ws/socket.h"

enum { CLOSE_REASON_MAX = FRAME_CONTROL_MAX - 2, GATHER_AT_ONCE_MAX = 64 * 1024 };

/* What a step of input says besides the bytes that it used. */
enum {
    STEP_MORE = 0,
    STEP_OVER = -1 /* the connection is ending: the rest of the run does not matter */
};

static struct socket *socket_of(struct wire *wire)
{
    return LIST_ENTRY(wire, struct socket, wire);
}

static bool settle(struct socket *socket, struct turn *turn)
{
    return socket->ops->settle == NULL || socket->ops->settle(socket, turn);
}

/* Nothing can be sent any more: over the output limit, or no memory. */
static void give_up(struct socket *socket, struct turn *turn)
{
    socket->state = SOCKET_DONE;
    conn_abort(socket->wire.conn, turn);
}

/* ── Out ──────────────────────────────────────────────────────────────────────────────────── */

/* One frame: together in one call if it is short, so that nothing is queued by halves. */
static bool send_frame(struct socket *socket, struct turn *turn, const struct frame *frame,
                       const uint8_t *payload)
{
    enum { SHORT = 1024 };
    uint8_t bytes[FRAME_HEADER_MAX + SHORT];
    size_t header = frame_write(frame, bytes), length = (size_t)frame->length;
    bool sent;
    if (length <= SHORT) {
        if (length > 0)
            memcpy(bytes + header, payload, length);
        sent = conn_send(socket->wire.conn, turn, bytes, header + length);
    } else {
        sent = conn_send(socket->wire.conn, turn, bytes, header) &&
               conn_send(socket->wire.conn, turn, payload, length);
    }
    if (!sent)
        give_up(socket, turn);
    return sent;
}

static bool send_compressed(struct socket *socket, struct turn *turn, struct frame *frame,
                            struct span text)
{
    struct buf packed = {.max = text.length + text.length / 8 + 64};
    int fault = deflater_message(&socket->deflater, &socket->terms, text, &packed);
    bool sent = false;
    if (fault == DEFLATE_OK) {
        frame->reserved = FRAME_RSV1;
        frame->length = packed.length;
        sent = send_frame(socket, turn, frame, packed.at);
    } else {
        give_up(socket, turn);
    }
    buf_fini(&packed);
    return sent;
}

bool socket_send(struct socket *socket, struct turn *turn, bool binary, struct span text)
{
    if (socket->state >= SOCKET_CLOSING)
        return false;
    struct frame frame = {
        .final = true, .opcode = binary ? FRAME_BINARY : FRAME_TEXT, .length = text.length};
    if (socket->terms.agreed && text.length >= socket->options->deflate_from)
        return send_compressed(socket, turn, &frame, text);
    return send_frame(socket, turn, &frame, text.at);
}

/* Queues the close frame, behind the replies that are held. RFC 6455 5.5.1 */
static void say_close(struct socket *socket, struct turn *turn, struct span payload)
{
    uint8_t bytes[2 + FRAME_CONTROL_MAX];
    struct conn *conn = socket->wire.conn;
    size_t length = frame_write_header(FRAME_CLOSE, payload.length, bytes);
    if (payload.length > 0)
        memcpy(bytes + length, payload.at, payload.length);
    length += payload.length;
    struct hold hold = {.tag = SOCKET_TAG_CLOSE, .reply = span_of(bytes, length)};
    bool said =
        conn_holds(conn) > 0 ? conn_hold(conn, turn, &hold) : conn_send(conn, turn, bytes, length);
    if (!said)
        give_up(socket, turn);
}

static void say_close_code(struct socket *socket, struct turn *turn, uint16_t code,
                           const char *reason)
{
    uint8_t payload[FRAME_CONTROL_MAX] = {(uint8_t)(code >> 8), (uint8_t)code};
    size_t length = strlen(reason);
    must(length <= CLOSE_REASON_MAX);
    memcpy(payload + 2, reason, length);
    socket->close_code = code;
    say_close(socket, turn, span_of(payload, 2 + length));
}

/* The end: what was being gathered is of no use any more. The peer has close_ns to take what is
 * queued. */
static void finish(struct socket *socket, struct turn *turn)
{
    socket->state = SOCKET_DONE;
    inflater_close(&socket->inflater);
    buf_fini(&socket->gather);
    conn_deadline(socket->wire.conn, turn, turn->now_ns + socket->options->close_ns);
    conn_finish(socket->wire.conn, turn);
}

/* RFC 6455 7.1.7: fail the connection. What came before the fault still counts. */
static ptrdiff_t fail(struct socket *socket, struct turn *turn, uint16_t code, const char *reason)
{
    (void)settle(socket, turn);
    if (socket->state < SOCKET_CLOSING)
        say_close_code(socket, turn, code, reason);
    finish(socket, turn);
    return STEP_OVER;
}

void socket_close(struct socket *socket, struct turn *turn, uint16_t code, const char *reason)
{
    if (socket->state >= SOCKET_CLOSING)
        return;
    (void)settle(socket, turn);
    socket->state = SOCKET_CLOSING;
    say_close_code(socket, turn, code, reason);
    conn_deadline(socket->wire.conn, turn, turn->now_ns + socket->options->close_ns);
}

/* ── Control frames ───────────────────────────────────────────────────────────────────────── */

/* RFC 6455 7.4.2, and the codes registered with IANA since (1012 to 1014). */
static bool is_close_code(uint16_t code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

static ptrdiff_t closed_by_peer(struct socket *socket, struct turn *turn, struct span payload)
{
    if (socket->state == SOCKET_CLOSING) {
        finish(socket, turn);
        return STEP_OVER;
    }
    uint16_t code = CLOSE_NO_STATUS;
    if (payload.length == 1)
        return fail(socket, turn, CLOSE_PROTOCOL_ERROR, "close frame with half a code");
    if (payload.length >= 2) {
        code = (uint16_t)(payload.at[0] << 8 | payload.at[1]);
        if (!is_close_code(code))
            return fail(socket, turn, CLOSE_PROTOCOL_ERROR, "invalid close code");
        if (!utf8_valid(span_from(payload, 2)))
            return fail(socket, turn, CLOSE_INVALID_DATA, "close reason is not UTF-8");
    }
    (void)settle(socket, turn);
    socket->close_code = code;
    payload.length = payload.length < 2 ? 0 : 2; /* the code goes back, the reason need not */
    say_close(socket, turn, payload);
    finish(socket, turn);
    return STEP_OVER;
}

static ptrdiff_t control(struct socket *socket, struct turn *turn, const struct frame *frame,
                         uint8_t *payload)
{
    size_t length = (size_t)frame->length;
    frame_unmask(payload, length, frame->mask);
    if (frame->opcode == FRAME_CLOSE)
        return closed_by_peer(socket, turn, span_of(payload, length));
    if (frame->opcode == FRAME_PING && socket->state != SOCKET_CLOSING) {
        struct frame pong = {.final = true, .opcode = FRAME_PONG, .length = length};
        if (!send_frame(socket, turn, &pong, payload))
            return STEP_OVER;
    }
    return (ptrdiff_t)length;
}

/* ── Data frames ──────────────────────────────────────────────────────────────────────────── */

static void hand_on(struct socket *socket, struct turn *turn, const struct message *message)
{
    if (UNLIKELY(!socket->ops->message(socket, turn, message)) && socket->state == SOCKET_OPEN)
        socket->state = SOCKET_STALLED;
}

/* The message is whole in `gather`. */
static ptrdiff_t hand_on_gathered(struct socket *socket, struct turn *turn)
{
    if (socket->kind == FRAME_TEXT && !utf8_whole(socket->utf8))
        return fail(socket, turn, CLOSE_INVALID_DATA, "text ends inside a UTF-8 character");
    struct message message = {
        .text = buf_span(&socket->gather),
        .binary = socket->kind == FRAME_BINARY,
        .memory = &socket->gather,
    };
    if (message.text.at == NULL)
        message.text = SPAN("");
    socket->kind = 0;
    hand_on(socket, turn, &message);
    buf_fini(&socket->gather);
    return 0;
}

/* Room for what the frame still brings, at once if that is not too much on a mere promise. */
static bool make_room(struct socket *socket, size_t here)
{
    size_t rest = socket->left < GATHER_AT_ONCE_MAX ? (size_t)socket->left : GATHER_AT_ONCE_MAX;
    return buf_room(&socket->gather, here > rest ? here : rest) != NULL;
}

static int keep(struct socket *socket, const uint8_t *at, size_t length, bool last)
{
    if (socket->compressed)
        return inflater_feed(&socket->inflater, &socket->terms, span_of(at, length), last,
                             &socket->gather);
    if (!make_room(socket, length) || !buf_put(&socket->gather, at, length))
        return DEFLATE_NO_MEMORY;
    return DEFLATE_OK;
}

static ptrdiff_t refuse_piece(struct socket *socket, struct turn *turn, int fault)
{
    if (fault == DEFLATE_TOO_BIG)
        return fail(socket, turn, CLOSE_TOO_BIG, "message too big");
    if (fault == DEFLATE_CORRUPT)
        return fail(socket, turn, CLOSE_INVALID_DATA, "compressed data is damaged");
    return fail(socket, turn, CLOSE_INTERNAL_ERROR, "out of memory");
}

/* Payload of the current frame, as much as is here. Returns the bytes used. */
static ptrdiff_t payload(struct socket *socket, struct turn *turn, uint8_t *at, size_t length)
{
    size_t here = length < socket->left ? length : (size_t)socket->left;
    size_t before = socket->gather.length;
    frame_unmask(at, here, socket->mask);
    socket->mask = frame_mask_at(socket->mask, here);
    bool last = here == socket->left && socket->final;
    int fault = keep(socket, at, here, last);
    if (fault != DEFLATE_OK)
        return refuse_piece(socket, turn, fault);
    socket->left -= here;
    socket->in_frame = socket->left > 0;
    if (socket->kind == FRAME_TEXT && socket->gather.length > before &&
        !utf8_feed(&socket->utf8, socket->gather.at + before, socket->gather.length - before))
        return fail(socket, turn, CLOSE_INVALID_DATA, "text is not UTF-8");
    if (last && hand_on_gathered(socket, turn) == STEP_OVER)
        return STEP_OVER;
    return (ptrdiff_t)here;
}

/* The fast path: the whole message lies here. */
static ptrdiff_t in_place(struct socket *socket, struct turn *turn, const struct frame *frame,
                          uint8_t *at)
{
    size_t length = (size_t)frame->length;
    bool ascii = frame_unmask(at, length, frame->mask);
    struct message message = {span_of(at, length), frame->opcode == FRAME_BINARY, NULL};
    if (!message.binary && !ascii && !utf8_valid(message.text))
        return fail(socket, turn, CLOSE_INVALID_DATA, "text is not UTF-8");
    hand_on(socket, turn, &message);
    return (ptrdiff_t)length;
}

static void enter(struct socket *socket, const struct frame *frame)
{
    if (frame->opcode != FRAME_CONTINUATION) {
        socket->kind = frame->opcode;
        socket->compressed = frame->reserved != 0;
        socket->utf8 = (struct utf8){0};
    }
    socket->in_frame = true;
    socket->final = frame->final;
    socket->left = frame->length;
    socket->mask = frame->mask;
}

/* What a header may not say, now: the reason for 1002, or NULL. RFC 6455 5.2, 5.4, 5.5; RFC 7692 6
 */
static const char *judge(const struct socket *socket, const struct frame *frame)
{
    if (!frame->masked)
        return "frame is not masked";
    bool may_compress = socket->terms.agreed && socket->kind == 0 &&
                        (frame->opcode == FRAME_TEXT || frame->opcode == FRAME_BINARY);
    if ((frame->reserved & ~(may_compress ? FRAME_RSV1 : 0)) != 0)
        return "reserved bit is set";
    switch (frame->opcode) {
    case FRAME_CONTINUATION:
        return socket->kind == 0 ? "continuation of nothing" : NULL;
    case FRAME_TEXT:
    case FRAME_BINARY:
        return socket->kind != 0 ? "message inside a fragmented message" : NULL;
    case FRAME_CLOSE:
    case FRAME_PING:
    case FRAME_PONG:
        if (!frame->final)
            return "fragmented control frame";
        return frame->length > FRAME_CONTROL_MAX ? "control frame too long" : NULL;
    default:
        return "reserved opcode";
    }
}

static bool is_too_big(const struct socket *socket, const struct frame *frame)
{
    bool compressed = socket->kind != 0 ? socket->compressed : frame->reserved != 0;
    return !compressed && frame->length > socket->options->message_bytes - socket->gather.length;
}

static ptrdiff_t data(struct socket *socket, struct turn *turn, const struct frame *frame,
                      uint8_t *at, size_t length)
{
    if (is_too_big(socket, frame))
        return fail(socket, turn, CLOSE_TOO_BIG, "message too big");
    if (LIKELY(frame->final && frame->length <= length && frame->reserved == 0 &&
               frame->opcode != FRAME_CONTINUATION))
        return in_place(socket, turn, frame, at);
    enter(socket, frame);
    return payload(socket, turn, at, length);
}

/* ── In ───────────────────────────────────────────────────────────────────────────────────── */

static ptrdiff_t frame(struct socket *socket, struct turn *turn, uint8_t *at, size_t length)
{
    struct frame frame;
    int header = frame_read(at, length, &frame);
    if (UNLIKELY(header <= 0))
        return header == FRAME_MORE
                   ? STEP_MORE
                   : fail(socket, turn, CLOSE_PROTOCOL_ERROR, "payload length is badly encoded");
    const char *wrong = judge(socket, &frame);
    if (UNLIKELY(wrong != NULL))
        return fail(socket, turn, CLOSE_PROTOCOL_ERROR, wrong);
    at += header;
    length -= (size_t)header;
    ptrdiff_t used;
    if (UNLIKELY(frame.opcode >= FRAME_CLOSE)) {
        if (frame.length > length)
            return STEP_MORE;
        used = control(socket, turn, &frame, at);
    } else {
        used = data(socket, turn, &frame, at, length);
    }
    return used == STEP_OVER ? STEP_OVER : header + used;
}

/* After our close frame: data goes by unread until the peer's close frame comes. RFC 6455 1.4 */
static ptrdiff_t pass_over(struct socket *socket, struct turn *turn, uint8_t *at, size_t length)
{
    if (socket->in_frame) {
        size_t here = length < socket->left ? length : (size_t)socket->left;
        socket->left -= here;
        socket->in_frame = socket->left > 0;
        return (ptrdiff_t)here;
    }
    struct frame frame;
    int header = frame_read(at, length, &frame);
    if (header == FRAME_MORE)
        return STEP_MORE;
    if (header < 0 || frame.opcode == FRAME_CLOSE) {
        finish(socket, turn);
        return STEP_OVER;
    }
    socket->left = frame.length;
    socket->in_frame = frame.length > 0;
    return header;
}

static ptrdiff_t step(struct socket *socket, struct turn *turn, uint8_t *at, size_t length)
{
    if (UNLIKELY(socket->state == SOCKET_CLOSING))
        return pass_over(socket, turn, at, length);
    if (socket->in_frame)
        return payload(socket, turn, at, length);
    return frame(socket, turn, at, length);
}

/* The run is over; a socket that stalls keeps one byte back. */
static ptrdiff_t end_run(struct socket *socket, struct turn *turn, size_t used)
{
    if (!settle(socket, turn) && socket->state == SOCKET_OPEN)
        socket->state = SOCKET_STALLED;
    if (socket->state == SOCKET_STALLED) {
        must(used > 0);
        socket->holds_back = true;
        used--;
    }
    return (ptrdiff_t)used;
}

/* Input is offered again after a stall. False: there is still no room. */
static bool go_on(struct socket *socket, struct turn *turn)
{
    if (socket->state == SOCKET_STALLED) {
        if (!socket->ops->resume(socket, turn))
            return false;
        if (socket->state == SOCKET_STALLED)
            socket->state = SOCKET_OPEN;
    }
    socket->holds_back = false;
    return true;
}

static ptrdiff_t socket_input(struct wire *wire, struct turn *turn, uint8_t *at, size_t length)
{
    struct socket *socket = socket_of(wire);
    size_t used = 0;
    socket->heard_ns = turn->now_ns;
    if (UNLIKELY(socket->holds_back) && length > 0) {
        if (!go_on(socket, turn))
            return WIRE_MORE;
        used = 1;
    }
    while (used < length && (socket->state == SOCKET_OPEN || socket->state == SOCKET_CLOSING)) {
        ptrdiff_t more = step(socket, turn, at + used, length - used);
        if (more == STEP_OVER)
            return (ptrdiff_t)length;
        if (more == STEP_MORE)
            break;
        used += (size_t)more;
    }
    return socket->state == SOCKET_DONE ? (ptrdiff_t)length : end_run(socket, turn, used);
}

/* ── Time ─────────────────────────────────────────────────────────────────────────────────── */

static void arm(struct socket *socket, struct turn *turn, bool pinged)
{
    uint64_t idle = socket->options->idle_ns;
    uint64_t due = socket->heard_ns + (pinged ? idle : idle / 2);
    if (due <= turn->now_ns)
        due = turn->now_ns + 1;
    if (socket->expires_ns > 0 && socket->expires_ns < due)
        due = socket->expires_ns;
    conn_deadline(socket->wire.conn, turn, due);
}

static void expire(struct socket *socket, struct turn *turn)
{
    if (socket->ops->expired != NULL)
        socket->ops->expired(socket, turn);
    socket_close(socket, turn, CLOSE_POLICY, "token expired");
}

/* The peer has not answered our close frame, or not taken what was queued for it. Replies that are
 * still held are not its fault. */
static void wait_or_abort(struct socket *socket, struct turn *turn)
{
    if (conn_holds(socket->wire.conn) > 0)
        conn_deadline(socket->wire.conn, turn, turn->now_ns + socket->options->close_ns);
    else
        give_up(socket, turn);
}

/* Bytes that come only move heard_ns; the deadline is looked at when it comes and set anew if it
 * came too soon. */
static void socket_deadline(struct wire *wire, struct turn *turn)
{
    struct socket *socket = socket_of(wire);
    if (socket->state >= SOCKET_CLOSING) {
        wait_or_abort(socket, turn);
        return;
    }
    if (socket->expires_ns > 0 && turn->now_ns >= socket->expires_ns) {
        expire(socket, turn);
        return;
    }
    if (socket->state == SOCKET_STALLED) /* it is we who do not listen */
        socket->heard_ns = turn->now_ns;
    uint64_t silent = turn->now_ns - socket->heard_ns, idle = socket->options->idle_ns;
    if (silent >= idle) {
        give_up(socket, turn);
        return;
    }
    bool ping = silent >= idle / 2;
    struct frame frame = {.final = true, .opcode = FRAME_PING};
    if (!ping || send_frame(socket, turn, &frame, NULL))
        arm(socket, turn, ping);
}

/* ── The wire ─────────────────────────────────────────────────────────────────────────────── */

static void socket_ended(struct wire *wire, struct turn *turn)
{
    struct socket *socket = socket_of(wire);
    if (socket->state != SOCKET_DONE)
        finish(socket, turn);
}

static void socket_released(struct wire *wire, struct turn *turn, const struct hold *hold)
{
    struct socket *socket = socket_of(wire);
    if (hold->tag != SOCKET_TAG_CLOSE && socket->ops->released != NULL)
        socket->ops->released(socket, turn, hold);
    if (hold->reply.length > 0 && !conn_send(wire->conn, turn, hold->reply.at, hold->reply.length))
        give_up(socket, turn);
}

static void socket_drain(struct wire *wire, struct turn *turn)
{
    socket_close(socket_of(wire), turn, CLOSE_GOING_AWAY, "server is stopping");
}

static void socket_fini(struct wire *wire, struct turn *turn)
{
    struct socket *socket = socket_of(wire);
    inflater_close(&socket->inflater);
    deflater_close(&socket->deflater);
    buf_fini(&socket->gather);
    socket->ops->closed(socket, turn, socket->close_code);
}

static const struct wire_ops wire_ops = {
    .name = "ws",
    .input = socket_input,
    .ended = socket_ended,
    .released = socket_released,
    .deadline = socket_deadline,
    .drain = socket_drain,
    .fini = socket_fini,
};

void socket_init(struct socket *socket, const struct socket_ops *ops,
                 const struct socket_options *options)
{
    *socket = (struct socket){
        .wire = {.ops = &wire_ops},
        .ops = ops,
        .options = options,
        .gather = {.max = options->message_bytes},
        .close_code = CLOSE_ABNORMAL,
    };
}

bool socket_start(struct socket *socket, struct turn *turn, struct conn *conn,
                  const struct handshake *handshake)
{
    char answer[HANDSHAKE_ANSWER_MAX];
    if (!conn_send(conn, turn, answer, handshake_answer(handshake, answer)))
        return false;
    socket->terms = handshake->deflate;
    socket->wire.conn = conn;
    socket->heard_ns = turn->now_ns;
    conn_change_wire(conn, turn, &socket->wire);
    arm(socket, turn, false);
    if (socket->ops->opened != NULL)
        socket->ops->opened(socket, turn);
    return true;
}
