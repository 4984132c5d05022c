/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever a client sends, the user above and the client must see the same whether it comes whole,
 * byte by byte or in pieces, and whether or not there is always room. The first byte chooses the
 * terms and the size of the pieces.
 */
#include "tests/unit/fake_conn.c"
#include "ws/websocket.h"

enum { LIMIT = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

struct probe {
    struct websocket ws;
    struct buf log;
    unsigned stall_every, messages;
};

static bool probe_message(struct websocket *ws, struct turn *turn, const struct message *message)
{
    struct probe *probe = (struct probe *)ws;
    must(message->text.length <= LIMIT);
    must(message->binary || utf8_valid(message->text));
    must(buf_put(&probe->log, message->binary ? "B" : "T", 1));
    must(buf_put(&probe->log, message->text.at, message->text.length));
    if (message->text.length > 0) /* it is ours to change */
        *(uint8_t *)(uintptr_t)message->text.at ^= 0xff;
    probe->messages++;
    if (probe->stall_every == 0 || probe->messages % probe->stall_every != 0)
        return true;
    conn_throttle(ws->wire.conn, turn);
    return false;
}

static bool probe_resume(struct websocket *ws, struct turn *turn)
{
    (void)ws;
    (void)turn;
    return true;
}

static void probe_closed(struct websocket *ws, struct turn *turn, uint16_t code)
{
    (void)turn;
    must(buf_print(&((struct probe *)ws)->log, "closed %u", code));
}

static const struct websocket_ops ops = {
    .name = "probe", .message = probe_message, .resume = probe_resume, .closed = probe_closed};
static const struct websocket_options options = {
    .message_bytes = LIMIT, .idle_ns = 1000000, .close_ns = 1000, .deflate_from = 1};

struct outcome {
    struct buf log, sent;
    bool finished;
};

static struct outcome play(const struct handshake *handshake, const uint8_t *bytes, size_t length,
                           size_t piece, unsigned stall_every)
{
    static struct conn conn;
    static struct counters counters;
    struct turn turn = {.counters = &counters, .now_ns = 1};
    struct probe probe = {.log = {.max = 1 << 24}, .stall_every = stall_every};
    fake_init(&conn);
    websocket_init(&probe.ws, &ops, &options);
    must(websocket_start(&probe.ws, &turn, &conn, handshake));
    for (size_t at = 0; at < length; at += piece)
        fake_receive(&conn, &turn, bytes + at, length - at < piece ? length - at : piece);
    while (conn.throttled)
        fake_open(&conn, &turn);
    must(conn.finished || conn.kept.length <= FRAME_HEADER_MAX + FRAME_CONTROL_MAX);
    struct outcome outcome = {.sent = conn.sent, .finished = conn.finished};
    conn.sent = (struct buf){.max = 1};
    fake_fini(&conn, &turn);
    outcome.log = probe.log;
    return outcome;
}

static void compare(const struct outcome *a, struct outcome *b)
{
    must(span_equal(buf_span(&a->log), buf_span(&b->log)));
    must(span_equal(buf_span(&a->sent), buf_span(&b->sent)));
    must(a->finished == b->finished);
    buf_fini(&b->log);
    buf_fini(&b->sent);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    if (length == 0 || length > 1 << 16)
        return 0;
    unsigned choice = *bytes++;
    length--;
    struct handshake handshake = {.accept = "-",
                                  .deflate = {.agreed = (choice & 1) != 0,
                                              .client_no_context_takeover = (choice & 2) != 0,
                                              .server_no_context_takeover = true,
                                              .server_max_window_bits = 15}};
    struct outcome whole = play(&handshake, bytes, length, length + 1, 0);
    struct outcome other = play(&handshake, bytes, length, 1, 0);
    compare(&whole, &other);
    other = play(&handshake, bytes, length, 1 + (choice >> 3), 2);
    compare(&whole, &other);
    other = play(&handshake, bytes, length, length + 1, 1);
    compare(&whole, &other);
    buf_fini(&whole.log);
    buf_fini(&whole.sent);
    return 0;
}
