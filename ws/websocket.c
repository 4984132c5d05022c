/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a run of bytes is taken apart.
 *
 *   input ─► each frame: frame_read, judge ─┬─ control: whole ─► close, ping, pong
 *                                           ├─ a whole plain message: unmask ─► ops->message
 *                                           └─ else payload(), as it comes:
 *              unmask ─► inflate or copy ─► gather ─► UTF-8 ─► at the end ops->message
 *
 * So the connection never has to keep more for us than a frame's header or a control frame (131
 * bytes), whatever the size of the message, and bad UTF-8 is found with the byte that makes it bad.
 *
 * Stalling. When the user cannot take more (the spool is full), the connection
 * is not read until there is room; but it calls us again only if it has bytes for us.
 * So one byte of those that we used is reported as not used, and is passed
 * over when it is offered again; what it holds by then does not matter.
 */
#include "ws/websocket_internal.h"

enum { GATHER_AT_ONCE_MAX = 64 * 1024 };

/* What a step of input says besides the bytes that it used. */
enum {
    STEP_MORE = 0,
    STEP_OVER = -1 /* the connection is ending: the rest of the run does not matter */
};

static struct websocket *websocket_of(struct wire *wire)
{
    return LIST_ENTRY(wire, struct websocket, wire);
}

/* False: more than there is for all connections. */
static bool count_memory(struct websocket *ws)
{
    size_t inflater = ws->inflater != NULL ? INFLATER_BYTES : 0;
    return conn_count_memory(ws->wire.conn, &ws->counted, ws->gather.capacity + inflater);
}

static void drop_gathered(struct websocket *ws)
{
    buf_fini(&ws->gather);
    (void)count_memory(ws);
}

/* The end: what was being gathered is of no use any more. */
static void finish(struct websocket *ws, struct turn *turn)
{
    ws->state = WEBSOCKET_DONE;
    inflater_close(&ws->inflater);
    drop_gathered(ws);
    conn_finish(ws->wire.conn, turn);
}

/* RFC 6455 7.1.7: fail the connection. What came before the fault still counts. */
static ptrdiff_t fail(struct websocket *ws, struct turn *turn, uint16_t code, const char *reason)
{
    websocket_let_go(ws, turn);
    if (ws->state < WEBSOCKET_CLOSING)
        websocket_say_close_code(ws, turn, code, reason);
    finish(ws, turn);
    return STEP_OVER;
}

/* ── Control frames ─────────────────────────────────────────────────────────────────────────── */

/* RFC 6455 7.4.2, and the codes registered with IANA since (1012 to 1014). */
static bool is_close_code(uint16_t code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

static ptrdiff_t closed_by_peer(struct websocket *ws, struct turn *turn, struct span payload)
{
    if (ws->state == WEBSOCKET_CLOSING) {
        finish(ws, turn);
        return STEP_OVER;
    }
    uint16_t code = CLOSE_NO_STATUS;
    if (payload.length == 1)
        return fail(ws, turn, CLOSE_PROTOCOL_ERROR, "close frame with half a code");
    if (payload.length >= 2) {
        code = (uint16_t)(payload.at[0] << 8 | payload.at[1]);
        if (!is_close_code(code))
            return fail(ws, turn, CLOSE_PROTOCOL_ERROR, "invalid close code");
        if (!utf8_valid(span_from(payload, 2)))
            return fail(ws, turn, CLOSE_INVALID_DATA, "close reason is not UTF-8");
    }
    websocket_let_go(ws, turn);
    ws->close_code = code;
    payload.length = payload.length < 2 ? 0 : 2; /* the code goes back, the reason need not */
    websocket_say_close(ws, turn, payload);
    finish(ws, turn);
    return STEP_OVER;
}

static ptrdiff_t control(struct websocket *ws, struct turn *turn, const struct frame *frame,
                         uint8_t *payload)
{
    size_t length = (size_t)frame->length;
    frame_unmask(payload, length, frame->mask);
    if (frame->opcode == FRAME_CLOSE)
        return closed_by_peer(ws, turn, span_of(payload, length));
    if (frame->opcode == FRAME_PING && ws->state != WEBSOCKET_CLOSING) {
        struct frame pong = {.final = true, .opcode = FRAME_PONG, .length = length};
        if (!websocket_send_frame(ws, turn, &pong, payload))
            return STEP_OVER;
    }
    return (ptrdiff_t)length;
}

/* ── Data frames ────────────────────────────────────────────────────────────────────────────── */

static void hand_on(struct websocket *ws, struct turn *turn, const struct message *message)
{
    if (UNLIKELY(!ws->ops->message(ws, turn, message)) && ws->state == WEBSOCKET_OPEN)
        ws->state = WEBSOCKET_STALLED;
}

/* The message is whole in `gather`. */
static ptrdiff_t hand_on_gathered(struct websocket *ws, struct turn *turn)
{
    if (ws->kind == FRAME_TEXT && !utf8_whole(ws->utf8))
        return fail(ws, turn, CLOSE_INVALID_DATA, "text is not UTF-8");
    struct message message = {
        .text = buf_span(&ws->gather),
        .binary = ws->kind == FRAME_BINARY,
    };
    if (message.text.at == NULL)
        message.text = SPAN("");
    ws->kind = 0;
    hand_on(ws, turn, &message);
    websocket_let_go(ws, turn);
    drop_gathered(ws);
    return 0;
}

/* Room for what the frame still brings, at once if that is not too much on a mere promise. */
static bool make_room(struct websocket *ws, size_t here)
{
    size_t rest = ws->left < GATHER_AT_ONCE_MAX ? (size_t)ws->left : GATHER_AT_ONCE_MAX;
    return buf_room(&ws->gather, here > rest ? here : rest) != NULL;
}

static int keep(struct websocket *ws, const uint8_t *at, size_t length, bool last)
{
    if (ws->compressed)
        return inflater_feed(&ws->inflater, &ws->terms, span_of(at, length), last, &ws->gather);
    if (!make_room(ws, length) || !buf_put(&ws->gather, at, length))
        return DEFLATE_NO_MEMORY;
    return DEFLATE_OK;
}

static ptrdiff_t refuse_piece(struct websocket *ws, struct turn *turn, int fault)
{
    if (fault == DEFLATE_TOO_BIG)
        return fail(ws, turn, CLOSE_TOO_BIG, "message too big");
    if (fault == DEFLATE_CORRUPT)
        return fail(ws, turn, CLOSE_INVALID_DATA, "compressed data is damaged");
    return fail(ws, turn, CLOSE_INTERNAL_ERROR, "out of memory");
}

static ptrdiff_t overrun(struct websocket *ws, struct turn *turn)
{
    count(turn->counters, COUNT_CONNECTIONS_OVERRUN, 1);
    return fail(ws, turn, CLOSE_TRY_AGAIN_LATER, "no memory for the message");
}

/* Is what came behind `before` still text? Asked before any other fault is told: it came first. */
static bool is_still_text(struct websocket *ws, size_t before)
{
    const struct buf *gather = &ws->gather;
    return ws->kind != FRAME_TEXT || gather->length == before ||
           utf8_feed(&ws->utf8, gather->at + before, gather->length - before);
}

/* Payload of the current frame, as much as is here. Returns the bytes used. */
static ptrdiff_t payload(struct websocket *ws, struct turn *turn, uint8_t *at, size_t length)
{
    size_t here = length < ws->left ? length : (size_t)ws->left;
    size_t before = ws->gather.length;
    frame_unmask(at, here, ws->mask);
    ws->mask = frame_mask_at(ws->mask, here);
    bool last = here == ws->left && ws->final;
    int fault = keep(ws, at, here, last);
    bool fits = count_memory(ws);
    if (!is_still_text(ws, before))
        return fail(ws, turn, CLOSE_INVALID_DATA, "text is not UTF-8");
    if (fault != DEFLATE_OK)
        return refuse_piece(ws, turn, fault);
    if (!fits)
        return overrun(ws, turn);
    ws->left -= here;
    ws->in_frame = ws->left > 0;
    if (last && hand_on_gathered(ws, turn) == STEP_OVER)
        return STEP_OVER;
    return (ptrdiff_t)here;
}

/* The fast path: the whole message lies here. */
static ptrdiff_t in_place(struct websocket *ws, struct turn *turn, const struct frame *frame,
                          uint8_t *at)
{
    size_t length = (size_t)frame->length;
    bool ascii = frame_unmask(at, length, frame->mask);
    struct message message = {span_of(at, length), frame->opcode == FRAME_BINARY};
    if (!message.binary && !ascii && !utf8_valid(message.text))
        return fail(ws, turn, CLOSE_INVALID_DATA, "text is not UTF-8");
    hand_on(ws, turn, &message);
    return (ptrdiff_t)length;
}

static void enter(struct websocket *ws, const struct frame *frame)
{
    if (frame->opcode != FRAME_CONTINUATION) {
        ws->kind = frame->opcode;
        ws->compressed = frame->reserved != 0;
        ws->utf8 = (struct utf8){0};
    }
    ws->in_frame = true;
    ws->final = frame->final;
    ws->left = frame->length;
    ws->mask = frame->mask;
}

/* What a header may not say, now: the reason for 1002,
 * or NULL. RFC 6455 5.2, 5.4, 5.5; RFC 7692 6 */
static const char *judge(const struct websocket *ws, const struct frame *frame)
{
    if (!frame->masked)
        return "frame is not masked";
    bool may_compress = ws->terms.agreed && ws->kind == 0 &&
                        (frame->opcode == FRAME_TEXT || frame->opcode == FRAME_BINARY);
    if ((frame->reserved & ~(may_compress ? FRAME_RSV1 : 0)) != 0)
        return "reserved bit is set";
    switch (frame->opcode) {
    case FRAME_CONTINUATION:
        return ws->kind == 0 ? "continuation of nothing" : NULL;
    case FRAME_TEXT:
    case FRAME_BINARY:
        return ws->kind != 0 ? "message inside a fragmented message" : NULL;
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

static bool is_too_big(const struct websocket *ws, const struct frame *frame)
{
    bool compressed = ws->kind != 0 ? ws->compressed : frame->reserved != 0;
    return !compressed && frame->length > ws->options->message_bytes - ws->gather.length;
}

static ptrdiff_t data(struct websocket *ws, struct turn *turn, const struct frame *frame,
                      uint8_t *at, size_t length)
{
    if (is_too_big(ws, frame))
        return fail(ws, turn, CLOSE_TOO_BIG, "message too big");
    if (LIKELY(frame->final && frame->length <= length && frame->reserved == 0 &&
               frame->opcode != FRAME_CONTINUATION))
        return in_place(ws, turn, frame, at);
    enter(ws, frame);
    return payload(ws, turn, at, length);
}

/* ── In ─────────────────────────────────────────────────────────────────────────────────────── */

static ptrdiff_t frame(struct websocket *ws, struct turn *turn, uint8_t *at, size_t length)
{
    struct frame frame;
    int header = frame_read(at, length, &frame);
    if (UNLIKELY(header <= 0))
        return header == FRAME_MORE
                   ? STEP_MORE
                   : fail(ws, turn, CLOSE_PROTOCOL_ERROR, "payload length is badly encoded");
    const char *wrong = judge(ws, &frame);
    if (UNLIKELY(wrong != NULL))
        return fail(ws, turn, CLOSE_PROTOCOL_ERROR, wrong);
    at += header;
    length -= (size_t)header;
    ptrdiff_t used;
    if (UNLIKELY(frame.opcode >= FRAME_CLOSE)) {
        if (frame.length > length)
            return STEP_MORE;
        used = control(ws, turn, &frame, at);
    } else {
        used = data(ws, turn, &frame, at, length);
    }
    return used == STEP_OVER ? STEP_OVER : header + used;
}

/* After our close frame: data goes by unread until the peer's close frame comes. RFC 6455 1.4 */
static ptrdiff_t pass_over(struct websocket *ws, struct turn *turn, uint8_t *at, size_t length)
{
    if (ws->in_frame) {
        size_t here = length < ws->left ? length : (size_t)ws->left;
        ws->left -= here;
        ws->in_frame = ws->left > 0;
        return (ptrdiff_t)here;
    }
    struct frame frame;
    int header = frame_read(at, length, &frame);
    if (header == FRAME_MORE)
        return STEP_MORE;
    if (header < 0 || frame.opcode == FRAME_CLOSE) {
        finish(ws, turn);
        return STEP_OVER;
    }
    ws->left = frame.length;
    ws->in_frame = frame.length > 0;
    return header;
}

static ptrdiff_t step(struct websocket *ws, struct turn *turn, uint8_t *at, size_t length)
{
    if (UNLIKELY(ws->state == WEBSOCKET_CLOSING))
        return pass_over(ws, turn, at, length);
    if (ws->in_frame)
        return payload(ws, turn, at, length);
    return frame(ws, turn, at, length);
}

/* The run is over, however it ended; a socket that stalls keeps one byte back. */
static ptrdiff_t end_run(struct websocket *ws, struct turn *turn, size_t used, size_t length)
{
    websocket_let_go(ws, turn);
    if (ws->state == WEBSOCKET_DONE)
        return (ptrdiff_t)length;
    if (ws->state == WEBSOCKET_STALLED) {
        must(used > 0);
        ws->holds_back = true;
        used--;
    }
    return (ptrdiff_t)used;
}

/* Input is offered again after a stall. False: there is still no room. */
static bool go_on(struct websocket *ws, struct turn *turn)
{
    if (ws->state == WEBSOCKET_STALLED) {
        if (!ws->ops->resume(ws, turn))
            return false;
        if (ws->state == WEBSOCKET_STALLED)
            ws->state = WEBSOCKET_OPEN;
    }
    ws->holds_back = false;
    return true;
}

static void set_deadline(struct websocket *ws, struct turn *turn, uint64_t due_ns)
{
    ws->due_ns = due_ns;
    conn_deadline(ws->wire.conn, turn, due_ns);
}

/* A message that has begun may take so long and no longer, however many bytes come meanwhile. The
 * deadline is moved only where it is too late: not for each message that is cut by the end of a run.
 */
static void message_begins(struct websocket *ws, struct turn *turn)
{
    uint64_t allowed = ws->options->message_ns;
    if (allowed == 0 || ws->begun_ns != 0 || ws->state != WEBSOCKET_OPEN)
        return;
    ws->begun_ns = turn->now_ns;
    if (turn->now_ns + allowed < ws->due_ns)
        set_deadline(ws, turn, turn->now_ns + allowed);
}

static ptrdiff_t websocket_input(struct wire *wire, struct turn *turn, uint8_t *at, size_t length)
{
    struct websocket *ws = websocket_of(wire);
    size_t used = 0;
    ws->heard_ns = turn->now_ns;
    if (UNLIKELY(ws->holds_back) && length > 0) {
        if (!go_on(ws, turn))
            return WIRE_MORE;
        used = 1;
    }
    while (used < length && (ws->state == WEBSOCKET_OPEN || ws->state == WEBSOCKET_CLOSING)) {
        ptrdiff_t more = step(ws, turn, at + used, length - used);
        if (more == STEP_MORE || more == STEP_OVER)
            break;
        used += (size_t)more;
        if (!ws->in_frame && ws->kind == 0)
            ws->begun_ns = 0;
    }
    if (ws->in_frame || ws->kind != 0 || used < length)
        message_begins(ws, turn);
    return end_run(ws, turn, used, length);
}

/* ── Time ───────────────────────────────────────────────────────────────────────────────────── */

static void arm(struct websocket *ws, struct turn *turn, bool pinged)
{
    uint64_t idle = ws->options->idle_ns;
    uint64_t due = ws->heard_ns + (pinged ? idle : idle / 2);
    if (due <= turn->now_ns)
        due = turn->now_ns + 1;
    if (ws->expires_ns > 0 && ws->expires_ns < due)
        due = ws->expires_ns;
    if (ws->begun_ns > 0 && ws->begun_ns + ws->options->message_ns < due)
        due = ws->begun_ns + ws->options->message_ns;
    set_deadline(ws, turn, due);
}

static void expire(struct websocket *ws, struct turn *turn)
{
    if (ws->ops->expired != NULL)
        ws->ops->expired(ws, turn);
    websocket_close(ws, turn, CLOSE_POLICY, "token expired");
}

/* The peer has not answered our close frame, or not taken what was
 * queued for it. Replies that are still held are not its fault. */
static void wait_or_abort(struct websocket *ws, struct turn *turn)
{
    if (conn_holds(ws->wire.conn) > 0)
        conn_deadline(ws->wire.conn, turn, turn->now_ns + ws->options->close_ns);
    else
        websocket_abort(ws, turn);
}

/* Bytes that come only move heard_ns; the deadline is looked
 * at when it comes and set anew if it came too soon. */
static void websocket_deadline(struct wire *wire, struct turn *turn)
{
    struct websocket *ws = websocket_of(wire);
    if (ws->state >= WEBSOCKET_CLOSING) {
        wait_or_abort(ws, turn);
        return;
    }
    if (ws->expires_ns > 0 && turn->now_ns >= ws->expires_ns) {
        expire(ws, turn);
        return;
    }
    if (ws->state == WEBSOCKET_STALLED) { /* it is we who do not listen */
        ws->heard_ns = turn->now_ns;
        ws->begun_ns = 0;
    }
    if (ws->begun_ns > 0 && turn->now_ns >= ws->begun_ns + ws->options->message_ns) {
        websocket_close(ws, turn, CLOSE_POLICY, "message takes too long");
        return;
    }
    uint64_t silent = turn->now_ns - ws->heard_ns, idle = ws->options->idle_ns;
    if (silent >= idle) {
        websocket_abort(ws, turn);
        return;
    }
    bool ping = silent >= idle / 2;
    struct frame frame = {.final = true, .opcode = FRAME_PING};
    if (!ping || websocket_send_frame(ws, turn, &frame, NULL))
        arm(ws, turn, ping);
}

/* ── The wire ───────────────────────────────────────────────────────────────────────────────── */

static void websocket_ended(struct wire *wire, struct turn *turn)
{
    struct websocket *ws = websocket_of(wire);
    if (ws->state != WEBSOCKET_DONE)
        finish(ws, turn);
}

static void websocket_released(struct wire *wire, struct turn *turn, const struct hold *hold)
{
    struct websocket *ws = websocket_of(wire);
    if (hold->tag != WEBSOCKET_TAG_CLOSE && ws->ops->released != NULL)
        ws->ops->released(ws, turn, hold);
    if (hold->reply.length > 0 && !conn_send(wire->conn, turn, hold->reply.at, hold->reply.length))
        websocket_abort(ws, turn);
}

static void websocket_writable(struct wire *wire, struct turn *turn)
{
    struct websocket *ws = websocket_of(wire);
    if (ws->ops->writable != NULL && ws->state < WEBSOCKET_CLOSING)
        ws->ops->writable(ws, turn);
}

static void websocket_drain(struct wire *wire, struct turn *turn)
{
    websocket_close(websocket_of(wire), turn, CLOSE_GOING_AWAY, "server is stopping");
}

static void websocket_fini(struct wire *wire, struct turn *turn)
{
    struct websocket *ws = websocket_of(wire);
    inflater_close(&ws->inflater);
    deflater_close(&ws->deflater);
    drop_gathered(ws);
    ws->ops->closed(ws, turn, ws->close_code);
}

static const struct wire_ops wire_ops = {
    .name = "ws",
    .input = websocket_input,
    .ended = websocket_ended,
    .released = websocket_released,
    .deadline = websocket_deadline,
    .drain = websocket_drain,
    .writable = websocket_writable,
    .fini = websocket_fini,
};

void websocket_init(struct websocket *ws, const struct websocket_ops *ops,
                    const struct websocket_options *options)
{
    *ws = (struct websocket){
        .wire = {.ops = &wire_ops},
        .ops = ops,
        .options = options,
        .gather = {.max = options->message_bytes},
        .close_code = CLOSE_ABNORMAL,
    };
}

bool websocket_start(struct websocket *ws, struct turn *turn, struct conn *conn,
                     const struct handshake *handshake)
{
    char answer[HANDSHAKE_ANSWER_MAX];
    if (!conn_send(conn, turn, answer, handshake_answer(handshake, answer)))
        return false;
    ws->terms = handshake->deflate;
    ws->wire.conn = conn;
    ws->heard_ns = turn->now_ns;
    conn_change_wire(conn, turn, &ws->wire);
    arm(ws, turn, false);
    if (ws->ops->opened != NULL)
        ws->ops->opened(ws, turn);
    return true;
}
