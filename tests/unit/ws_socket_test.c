/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each dialogue is played whole, byte by byte, and cut in two at every byte; what the user above
 * and the peer see must be the same each time.
 *
 * Longer than a file should be: one rig, and the RFC's rules in their order.
 */
#include "tests/unit/fake_conn.c"
#include "tests/unit/unit.h"
#include "tests/unit/ws_client.h"
#include "ws/debug.h"
#include "ws/websocket.h"

#include <stdio.h>

enum { LIMIT = 1000, IDLE_NS = 1000000, CLOSE_NS = 500 };

static const struct websocket_options options = {
    .message_bytes = LIMIT, .idle_ns = IDLE_NS, .close_ns = CLOSE_NS, .deflate_from = 64};
static const struct handshake plain = {.accept = "-"};
static const struct handshake packed = {.accept = "-",
                                        .deflate = {.agreed = true, .server_max_window_bits = 15}};

/* A user of a WebSocket who writes down what it sees. */
struct probe {
    struct websocket ws;
    struct buf log;
    unsigned unsettled; /* messages since the last settle */
    unsigned stalls;    /* so many times it cannot take a message */
    unsigned throttles;
    bool gone;
};

static struct conn conn;
static struct counters counters;
static struct turn turn = {.counters = &counters, .now_ns = 1000};
static struct probe probe;

static bool probe_message(struct websocket *ws, struct turn *now, const struct message *message)
{
    struct probe *self = (struct probe *)ws;
    char kind = message->binary ? 'B' : 'T';
    assert_non_null(message->text.at);
    assert_true(buf_put(&self->log, &kind, 1) &&
                buf_put(&self->log, message->text.at, message->text.length) &&
                buf_put(&self->log, "|", 1));
    self->unsettled++;
    if (self->stalls == 0)
        return true;
    conn_throttle(ws->wire.conn, now);
    self->throttles++;
    return false;
}

static bool probe_settle(struct websocket *ws, struct turn *now)
{
    (void)now;
    ((struct probe *)ws)->unsettled = 0;
    return true;
}

static bool probe_resume(struct websocket *ws, struct turn *now)
{
    struct probe *self = (struct probe *)ws;
    if (--self->stalls == 0)
        return true;
    conn_throttle(ws->wire.conn, now);
    return false;
}

static void probe_closed(struct websocket *ws, struct turn *now, uint16_t code)
{
    (void)now;
    struct probe *self = (struct probe *)ws;
    assert_false(self->gone);
    self->gone = true;
    assert_true(buf_print(&self->log, "closed %u", code));
}

static const struct websocket_ops probe_ops = {
    .name = "probe",
    .message = probe_message,
    .settle = probe_settle,
    .resume = probe_resume,
    .closed = probe_closed,
};

static void start(const struct handshake *handshake)
{
    fake_init(&conn);
    memset(&probe, 0, sizeof probe);
    buf_init(&probe.log, 1 << 20);
    turn.now_ns = 1000;
    websocket_init(&probe.ws, &probe_ops, &options);
    assert_true(websocket_start(&probe.ws, &turn, &conn, handshake));
    fake_forget(&conn);
}

static void stop(void)
{
    assert_int_equal(probe.unsettled, 0);
    fake_fini(&conn, &turn);
    assert_true(probe.gone);
    buf_fini(&probe.log);
}

/* The code of the close frame that was sent; 0: none. It must be the last frame. */
static unsigned sent_close(void)
{
    struct span sent = buf_span(&conn.sent), payload;
    struct frame frame = {0};
    unsigned code = 0;
    while (server_frame(&sent, &frame, &payload)) {
        assert_int_equal(code, 0);
        if (frame.opcode == FRAME_CLOSE)
            code =
                payload.length < 2 ? CLOSE_NO_STATUS : (unsigned)payload.at[0] << 8 | payload.at[1];
    }
    return code;
}

static void feed(const struct buf *in, size_t cut, bool bytewise)
{
    if (!bytewise) {
        fake_receive(&conn, &turn, in->at, cut);
        fake_receive(&conn, &turn, in->at + cut, in->length - cut);
        return;
    }
    for (size_t i = 0; i < in->length; i++)
        fake_receive(&conn, &turn, in->at + i, 1);
}

static void expect(const char *log, unsigned close_sent)
{
    assert_int_equal(probe.log.length, strlen(log));
    assert_memory_equal(probe.log.at == NULL ? (uint8_t *)"" : probe.log.at, log, strlen(log));
    assert_int_equal(sent_close(), close_sent);
    assert_int_equal(conn.finished, close_sent != 0);
    assert_false(conn.aborted);
}

/* Plays `in` in every way; frees it. `log` is what the messages were; close_sent 0: stays open. */
static void play_terms(const struct handshake *handshake, struct buf *in, const char *log,
                       unsigned close_sent)
{
    for (size_t cut = 0; cut <= in->length + 1; cut++) {
        start(handshake);
        feed(in, cut, cut == in->length + 1);
        expect(log, close_sent);
        if (close_sent == 0)
            assert_int_equal(conn.kept.length, 0);
        stop();
    }
    buf_fini(in);
}

static void play(struct buf *in, const char *log, unsigned close_sent)
{
    play_terms(&plain, in, log, close_sent);
}

static struct buf one(unsigned head, const char *payload, size_t length)
{
    struct buf in = {.max = 1 << 20};
    client_frame(&in, head, payload, length);
    return in;
}

static void more(struct buf *in, unsigned head, const char *payload)
{
    client_frame(in, head, payload, strlen(payload));
}

static void messages(void **state)
{
    (void)state;
    struct buf in = one(FIN | FRAME_TEXT, "Hello", 5);
    more(&in, FIN | FRAME_BINARY, "\x80\xff");
    more(&in, FIN | FRAME_TEXT, "");
    more(&in, FIN | FRAME_TEXT, "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5");
    play(&in, "THello|B\x80\xff|T|T\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5|", 0);
}

/* RFC 6455 5.4: control frames in between, empty fragments, text cut inside a character. */
static void fragments(void **state)
{
    (void)state;
    struct buf in = one(FRAME_TEXT, "Hel", 3);
    more(&in, FRAME_CONTINUATION, "");
    more(&in, FIN | FRAME_PONG, "unasked");
    more(&in, FIN | FRAME_CONTINUATION, "lo");
    more(&in, FRAME_BINARY, "");
    more(&in, FIN | FRAME_CONTINUATION, "");
    more(&in, FRAME_TEXT, "\xe2");
    more(&in, FRAME_CONTINUATION, "\x82");
    more(&in, FIN | FRAME_CONTINUATION, "\xac!");
    play(&in, "THello|B|T\xe2\x82\xac!|", 0);
}

static void ping_is_answered(void **state)
{
    (void)state;
    struct buf in = one(FRAME_TEXT, "a", 1);
    char payload[125];
    memset(payload, 0xfe, sizeof payload);
    client_frame(&in, FIN | FRAME_PING, payload, sizeof payload);
    more(&in, FIN | FRAME_PING, "");
    more(&in, FIN | FRAME_CONTINUATION, "b");
    start(&plain);
    feed(&in, 0, true);
    expect("Tab|", 0);
    struct span sent = buf_span(&conn.sent), pong;
    struct frame frame;
    assert_true(server_frame(&sent, &frame, &pong));
    assert_int_equal(frame.opcode, FRAME_PONG);
    assert_int_equal(pong.length, 125);
    assert_memory_equal(pong.at, payload, 125);
    assert_true(server_frame(&sent, &frame, &pong) && pong.length == 0 && sent.length == 0);
    stop();
    buf_fini(&in);
}

static void raw(const char *bytes, size_t length, unsigned close_sent)
{
    struct buf in = {.max = 1 << 20};
    more(&in, FIN | FRAME_TEXT, "before");
    assert_true(buf_put(&in, bytes, length));
    more(&in, FIN | FRAME_TEXT, "never seen");
    play(&in, "Tbefore|", close_sent);
}

static void protocol_errors(void **state)
{
    (void)state;
    raw("\x81\x00", 2, CLOSE_PROTOCOL_ERROR);                        /* not masked */
    raw("\xc1\x80....", 6, CLOSE_PROTOCOL_ERROR);                    /* RSV1, nothing agreed */
    raw("\xa1\x80....", 6, CLOSE_PROTOCOL_ERROR);                    /* RSV2 */
    raw("\x91\x80....", 6, CLOSE_PROTOCOL_ERROR);                    /* RSV3 */
    raw("\x80\x80....", 6, CLOSE_PROTOCOL_ERROR);                    /* continues nothing */
    raw("\x09\x80....", 6, CLOSE_PROTOCOL_ERROR);                    /* fragmented ping */
    raw("\x08\x80....", 6, CLOSE_PROTOCOL_ERROR);                    /* fragmented close */
    raw("\x89\xfe\x00\x7e....", 8, CLOSE_PROTOCOL_ERROR);            /* ping of 126 bytes */
    raw("\x82\xfe\x00\x7d....", 8, CLOSE_PROTOCOL_ERROR);            /* not the shortest form */
    raw("\x82\xff\x80\0\0\0\0\0\0\0....", 14, CLOSE_PROTOCOL_ERROR); /* the top bit */
    raw("\x01\x80....\x81\x80....", 12, CLOSE_PROTOCOL_ERROR);       /* a message in a message */
    raw("\x01\x80....\xc0\x80....", 12, CLOSE_PROTOCOL_ERROR);       /* RSV1 on a continuation */
    for (unsigned opcode = 0; opcode < 16; opcode++) {
        char head[] = {(char)(FIN | opcode), (char)0x80, '.', '.', '.', '.'};
        if ((opcode >= 3 && opcode <= 7) || opcode >= 11)
            raw(head, sizeof head, CLOSE_PROTOCOL_ERROR);
    }
}

static void bad_text(void **state)
{
    (void)state;
    struct buf in = one(FIN | FRAME_TEXT,
                        "\xce\xba\xed\xa0\x80"
                        "edited",
                        11);
    play(&in, "", CLOSE_INVALID_DATA);
    in = one(FIN | FRAME_TEXT, "\xe2\x82", 2);
    play(&in, "", CLOSE_INVALID_DATA);
    in = one(FRAME_TEXT, "\xe2\x82", 2);
    more(&in, FIN | FRAME_CONTINUATION, "");
    play(&in, "", CLOSE_INVALID_DATA);
    in = one(FRAME_TEXT, "\xe2", 1);
    more(&in, FIN | FRAME_CONTINUATION, "x");
    play(&in, "", CLOSE_INVALID_DATA);
}

/* RFC 6455 8.1, Autobahn 6.4: refused with the byte
 * that is wrong, before the frame is all there. */
static void bad_text_fails_fast(void **state)
{
    (void)state;
    struct buf in = one(FIN | FRAME_TEXT,
                        "\xce\xba\xe1\xbd\xb9\xf4\x90\x80\x80"
                        "edited",
                        15);
    for (size_t wrong = 6 + 7; wrong < in.length; wrong++) {
        start(&plain);
        fake_receive(&conn, &turn, in.at, wrong - 1 < 6 + 6 ? wrong - 1 : 6 + 6);
        assert_int_equal(sent_close(), 0);
        fake_receive(&conn, &turn, in.at + 6 + 6, 1);
        assert_int_equal(sent_close(), CLOSE_INVALID_DATA);
        stop();
    }
    buf_fini(&in);
}

static void too_big(void **state)
{
    (void)state;
    static char text[LIMIT + 1];
    memset(text, 'x', sizeof text);
    struct buf in = one(FIN | FRAME_BINARY, text, LIMIT + 1);
    in.length = 8; /* the header is enough */
    play(&in, "", CLOSE_TOO_BIG);
    in = one(FRAME_BINARY, text, LIMIT);
    more(&in, FIN | FRAME_CONTINUATION, "x");
    start(&plain);
    feed(&in, 0, true);
    expect("", CLOSE_TOO_BIG);
    stop();
    buf_fini(&in);
    in = one(FRAME_BINARY, text, LIMIT - 1);
    more(&in, FIN | FRAME_CONTINUATION, "x");
    start(&plain);
    feed(&in, 0, true);
    assert_int_equal(probe.log.length, LIMIT + 2);
    stop();
    buf_fini(&in);
}

/* A message that is not whole counts against what all connections may keep together. */
static void memory_of_all(void **state)
{
    (void)state;
    char text[200] = {0};
    struct buf in = one(FRAME_BINARY, text, sizeof text);
    start(&plain);
    feed(&in, 0, true);
    assert_true(conn.memory >= sizeof text && conn.memory < 2000);
    more(&in, FIN | FRAME_CONTINUATION, "x");
    fake_receive(&conn, &turn, in.at + in.length - 7, 7);
    assert_int_equal(probe.log.length, sizeof text + 3);
    assert_int_equal(conn.memory, 0);
    stop();
    start(&plain);
    conn.memory_max = 100;
    feed(&in, 0, true);
    expect("", CLOSE_TRY_AGAIN_LATER);
    assert_int_equal(conn.memory, 0);
    stop();
    buf_fini(&in);
    in = one(FRAME_BINARY | FRAME_RSV1, "\xf2\x48", 2);
    start(&packed);
    feed(&in, 0, false);
    assert_true(conn.memory > INFLATER_BYTES);
    stop();
    buf_fini(&in);
}

static void closed_with(const char *payload, size_t length, unsigned close_sent)
{
    struct buf in = one(FIN | FRAME_CLOSE, payload, length);
    more(&in, FIN | FRAME_TEXT, "after");
    more(&in, FIN | FRAME_PING, "after");
    play(&in, "", close_sent);
}

/* RFC 6455 5.5.1, 7.4; Autobahn 7 */
static void close_frames(void **state)
{
    (void)state;
    static const uint16_t valid[] = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010,
                                     1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999};
    static const uint16_t invalid[] = {0,    999,  1004, 1005, 1006, 1015,
                                       1016, 1100, 2000, 2999, 5000, 65535};
    closed_with("", 0, CLOSE_NO_STATUS);
    closed_with("\x03", 1, CLOSE_PROTOCOL_ERROR);
    for (unsigned i = 0; i < COUNT_OF(valid); i++)
        closed_with((char[]){(char)(valid[i] >> 8), (char)valid[i]}, 2, valid[i]);
    for (unsigned i = 0; i < COUNT_OF(invalid); i++)
        closed_with((char[]){(char)(invalid[i] >> 8), (char)invalid[i]}, 2, CLOSE_PROTOCOL_ERROR);
    closed_with("\x03\xe8"
                "good bye \xe2\x82\xac",
                14, CLOSE_NORMAL);
    closed_with("\x03\xe8"
                "good bye \xe2\x82",
                13, CLOSE_INVALID_DATA);
    char longest[125] = "\x03\xe8";
    memset(longest + 2, '*', 123);
    closed_with(longest, 125, CLOSE_NORMAL);
}

static void who_closed(void **state)
{
    (void)state;
    struct buf in = one(FIN | FRAME_CLOSE, "\x0f\xa0", 2); /* 4000 */
    start(&plain);
    feed(&in, 0, false);
    conn.wire->ops->fini(conn.wire, &turn);
    assert_memory_equal(probe.log.at, "closed 4000", 11);
    conn.wire = NULL;
    stop();
    buf_fini(&in);
    start(&plain);
    conn.wire->ops->ended(conn.wire, &turn);
    assert_true(conn.finished);
    conn.wire->ops->fini(conn.wire, &turn);
    assert_memory_equal(probe.log.at, "closed 1006", 11);
    conn.wire = NULL;
    stop();
}

/* Our close goes first: data passes unread, and the peer's close ends it, cut anywhere. */
static void closing_from_here(void **state)
{
    (void)state;
    struct buf in = one(FIN | FRAME_TEXT, "first", 5);
    size_t before = in.length;
    more(&in, FRAME_TEXT, "late");
    more(&in, FIN | FRAME_PING, "late");
    more(&in, FIN | FRAME_CONTINUATION, "late");
    more(&in, FIN | FRAME_CLOSE, "\x03\xe9");
    for (size_t cut = before; cut <= in.length; cut++) {
        for (size_t drain = before; drain < before + 12 && drain <= cut; drain++) {
            start(&plain);
            fake_receive(&conn, &turn, in.at, drain);
            conn.wire->ops->drain(conn.wire, &turn);
            assert_int_equal(conn.deadline_ns, turn.now_ns + CLOSE_NS);
            fake_receive(&conn, &turn, in.at + drain, cut - drain);
            fake_receive(&conn, &turn, in.at + cut, in.length - cut);
            expect("Tfirst|", CLOSE_GOING_AWAY);
            stop();
        }
    }
    buf_fini(&in);
}

/* Nothing follows a close frame, so it waits behind the replies that are held. */
static void close_waits_for_holds(void **state)
{
    (void)state;
    struct buf in = one(FIN | FRAME_CLOSE, "\x03\xe8", 2);
    const struct hold ack = {.level = ACK_SPOOLED,
                             .reply = SPAN("\x81\x03"
                                           "ack")};
    start(&plain);
    assert_true(conn_hold(&conn, &turn, &ack));
    feed(&in, 0, false);
    assert_true(conn.finished);
    assert_int_equal(conn.sent.length, 0);
    fake_release(&conn, &turn, 2);
    assert_memory_equal(conn.sent.at,
                        "\x81\x03"
                        "ack\x88\x02\x03\xe8",
                        9);
    assert_int_equal(conn.sent.length, 9);
    stop();
    buf_fini(&in);
}

/* The peer may take its time while replies are held, but not for ever after. */
static void close_unanswered(void **state)
{
    (void)state;
    const struct hold ack = {.level = ACK_SPOOLED,
                             .reply = SPAN("\x81\x03"
                                           "ack")};
    start(&plain);
    assert_true(conn_hold(&conn, &turn, &ack));
    websocket_close(&probe.ws, &turn, CLOSE_NORMAL, "");
    assert_int_equal(conn.sent.length, 0);
    turn.now_ns = conn.deadline_ns;
    conn.wire->ops->deadline(conn.wire, &turn);
    assert_false(conn.aborted);
    fake_release(&conn, &turn, 2);
    assert_int_equal(sent_close(), CLOSE_NORMAL);
    turn.now_ns = conn.deadline_ns;
    conn.wire->ops->deadline(conn.wire, &turn);
    assert_true(conn.aborted);
    stop();
}

static void silence(void **state)
{
    (void)state;
    start(&plain);
    assert_int_equal(conn.deadline_ns, 1000 + IDLE_NS / 2);
    turn.now_ns += 10;
    struct buf in = one(FIN | FRAME_PONG, "", 0);
    feed(&in, 0, false);
    turn.now_ns = conn.deadline_ns;
    conn.wire->ops->deadline(conn.wire, &turn); /* too early: only moved */
    assert_int_equal(conn.sent.length, 0);
    assert_int_equal(conn.deadline_ns, 1010 + IDLE_NS / 2);
    turn.now_ns = conn.deadline_ns;
    conn.wire->ops->deadline(conn.wire, &turn);
    assert_int_equal(conn.sent.length, 2);
    assert_memory_equal(conn.sent.at, "\x89\x00", 2);
    feed(&in, 0, false); /* the pong */
    uint64_t heard = turn.now_ns;
    turn.now_ns = conn.deadline_ns;
    conn.wire->ops->deadline(conn.wire, &turn);
    assert_false(conn.aborted);
    turn.now_ns = heard + IDLE_NS;
    conn.wire->ops->deadline(conn.wire, &turn);
    assert_true(conn.aborted);
    stop();
    buf_fini(&in);
}

/* A frame by drops: each byte in time for limits.idle_ms, and never
 * to the end. Whole messages meanwhile begin the time anew. */
static void message_by_drops(void **state)
{
    static const struct websocket_options hasty = {.message_bytes = LIMIT,
                                                   .idle_ns = IDLE_NS,
                                                   .message_ns = IDLE_NS / 4,
                                                   .close_ns = CLOSE_NS};
    (void)state;
    start(&plain);
    probe.ws.options = &hasty;
    struct buf whole = one(FIN | FRAME_TEXT, "whole", 5), in = one(FIN | FRAME_TEXT, "drops", 5);
    for (size_t i = 0; i < in.length; i++) {
        struct buf one_byte = {.at = in.at + i, .length = 1, .capacity = 1, .max = 1};
        feed(&one_byte, 0, false);
        turn.now_ns += IDLE_NS / 80;
    }
    feed(&whole, 0, false);
    struct buf byte = {.at = in.at, .length = 1, .capacity = 1, .max = 1};
    feed(&byte, 0, false);
    uint64_t begun = turn.now_ns;
    turn.now_ns = conn.deadline_ns;
    conn.wire->ops->deadline(conn.wire, &turn);
    assert_true(turn.now_ns < begun + IDLE_NS / 4 && probe.ws.state == WEBSOCKET_OPEN);
    assert_int_equal(conn.deadline_ns, begun + IDLE_NS / 4);
    turn.now_ns = conn.deadline_ns;
    fake_forget(&conn);
    conn.wire->ops->deadline(conn.wire, &turn);
    assert_int_equal(sent_close(), CLOSE_POLICY);
    stop();
    buf_fini(&in);
    buf_fini(&whole);
}

static void expiry(void **state)
{
    (void)state;
    start(&plain);
    probe.ws.expires_ns = 1500;
    turn.now_ns = 1500;
    conn.wire->ops->deadline(conn.wire, &turn);
    assert_int_equal(sent_close(), CLOSE_POLICY);
    stop();
}

/* A user who is full gets the rest later, whatever the way in which the bytes came. */
static void stalling(void **state)
{
    (void)state;
    struct buf in = one(FIN | FRAME_TEXT, "one", 3);
    more(&in, FIN | FRAME_TEXT, "two");
    more(&in, FRAME_TEXT, "th");
    more(&in, FIN | FRAME_CONTINUATION, "r");
    more(&in, FIN | FRAME_TEXT, "");
    for (size_t cut = 0; cut <= in.length + 1; cut++) {
        for (unsigned stalls = 1; stalls <= 3; stalls++) {
            start(&plain);
            probe.stalls = stalls;
            feed(&in, cut, cut == in.length + 1);
            assert_true(conn.throttled);
            assert_int_equal(probe.throttles, 1);
            assert_true(conn.kept.length > 0); /* else nobody would call again */
            turn.now_ns += IDLE_NS;
            conn.wire->ops->deadline(conn.wire, &turn);
            assert_false(conn.aborted);
            while (conn.throttled)
                fake_open(&conn, &turn);
            expect("Tone|Ttwo|Tthr|T|", 0);
            assert_int_equal(conn.kept.length, 0);
            stop();
        }
    }
    buf_fini(&in);
}

/* Drained while stalled: the byte held back is not taken for a frame. */
static void closing_while_stalled(void **state)
{
    (void)state;
    struct buf in = one(FIN | FRAME_TEXT, "one", 3), bye = one(FIN | FRAME_CLOSE, "\x03\xe9", 2);
    start(&plain);
    probe.stalls = 1;
    feed(&in, 0, false);
    conn.wire->ops->drain(conn.wire, &turn);
    fake_receive(&conn, &turn, bye.at, bye.length);
    fake_open(&conn, &turn);
    expect("Tone|", CLOSE_GOING_AWAY);
    stop();
    buf_fini(&in);
    buf_fini(&bye);
}

static void compressed(void **state)
{
    (void)state;
    struct buf in = one(FIN | FRAME_RSV1 | FRAME_TEXT, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7);
    client_frame(&in, FRAME_RSV1 | FRAME_TEXT, "\xf2\x00", 2);
    more(&in, FIN | FRAME_PING, "");
    client_frame(&in, FIN | FRAME_CONTINUATION, "\x11\x00\x00", 3);
    client_frame(&in, FIN | FRAME_RSV1 | FRAME_BINARY, "\x00", 1);
    more(&in, FIN | FRAME_TEXT, "plain");
    play_terms(&packed, &in, "THello|THello|B|Tplain|", 0);
    /* RSV1 belongs on the first frame only, and never on a control frame. */
    in = one(FRAME_RSV1 | FRAME_TEXT, "\xf2", 1);
    client_frame(&in, FIN | FRAME_RSV1 | FRAME_CONTINUATION, "\x48", 1);
    play_terms(&packed, &in, "", CLOSE_PROTOCOL_ERROR);
    in = one(FIN | FRAME_RSV1 | FRAME_PING, "", 0);
    play_terms(&packed, &in, "", CLOSE_PROTOCOL_ERROR);
    in = one(FIN | FRAME_RSV1 | FRAME_TEXT, "\xff\xff\xff\xff", 4);
    play_terms(&packed, &in, "", CLOSE_INVALID_DATA);
    in = one(FIN | FRAME_RSV1 | FRAME_TEXT, "\x00\x02\x00\xfd\xff\xc3\x28\x00", 8); /* not UTF-8 */
    play_terms(&packed, &in, "", CLOSE_INVALID_DATA);
}

static void compressed_bomb(void **state)
{
    (void)state;
    static uint8_t zeros[LIMIT + 1];
    struct buf small = {.max = LIMIT}, in = {.max = LIMIT};
    struct deflater *deflater = NULL;
    assert_int_equal(
        deflater_message(&deflater, &packed.deflate, span_of(zeros, sizeof zeros), &small),
        DEFLATE_OK);
    client_frame(&in, FIN | FRAME_RSV1 | FRAME_BINARY, small.at, small.length);
    play_terms(&packed, &in, "", CLOSE_TOO_BIG);
    deflater_close(&deflater);
    buf_fini(&small);
}

/* What we send: short ones plain, long ones compressed, none after a close. */
static void sending(void **state)
{
    (void)state;
    static char text[5000];
    memset(text, 'x', sizeof text);
    start(&packed);
    assert_true(websocket_send(&probe.ws, &turn, false, SPAN("Hello")));
    assert_memory_equal(conn.sent.at, "\x81\x05Hello", 7);
    fake_forget(&conn);
    assert_true(websocket_send(&probe.ws, &turn, true, span_of(text, sizeof text)));
    assert_int_equal(conn.sent.at[0], FIN | FRAME_RSV1 | FRAME_BINARY);
    assert_true(conn.sent.length < 100);
    fake_forget(&conn);
    websocket_close(&probe.ws, &turn, CLOSE_NORMAL, "");
    assert_false(websocket_send(&probe.ws, &turn, true, SPAN("late")));
    assert_int_equal(sent_close(), CLOSE_NORMAL);
    stop();
    start(&plain);
    conn.sent.max = 4096;
    assert_false(websocket_send(&probe.ws, &turn, true, span_of(text, sizeof text)));
    assert_true(conn.aborted);
    stop();
}

static void many_fragments(void **state)
{
    (void)state;
    struct buf in = one(FRAME_TEXT, "", 0);
    for (unsigned i = 0; i < 65535; i++)
        client_frame(&in, FRAME_CONTINUATION, "x", i % 128 == 0);
    more(&in, FIN | FRAME_CONTINUATION, "");
    start(&plain);
    feed(&in, in.length / 2, false);
    assert_int_equal(probe.log.length, 512 + 2);
    stop();
    buf_fini(&in);
}

static const struct websocket_options debug_options = {
    .message_bytes = 1 << 24, .idle_ns = IDLE_NS, .close_ns = CLOSE_NS, .deflate_from = 1};

static void debug_doors(void **state)
{
    (void)state;
    struct buf in = {.max = 1 << 20};
    client_text(&in, "one");
    client_frame(&in, FIN | FRAME_BINARY, "COUNT", 5);
    client_text(&in, "COUNT");
    fake_init(&conn);
    assert_true(debug_start(DEBUG_SINK, &turn, &conn, &plain, &debug_options));
    fake_forget(&conn);
    feed(&in, 0, true);
    assert_int_equal(conn.sent.length, 3);
    assert_memory_equal(conn.sent.at,
                        "\x81\x01"
                        "2",
                        3);
    fake_fini(&conn, &turn);
    fake_init(&conn);
    assert_true(debug_start(DEBUG_ECHO, &turn, &conn, &plain, &debug_options));
    fake_forget(&conn);
    feed(&in, 0, false);
    assert_memory_equal(conn.sent.at,
                        "\x81\x03one\x82\x05"
                        "COUNT\x81\x05"
                        "COUNT",
                        19);
    fake_fini(&conn, &turn);
    buf_fini(&in);
}

/* Autobahn 9: 16 MiB in pieces of 997 bytes; and the connection keeps nothing of it for us. */
static void sixteen_mebibytes(void **state)
{
    (void)state;
    struct buf in = {.max = 1 << 25}, half = {.max = 1 << 23};
    uint8_t *room = buf_room(&half, 1 << 23);
    memset(room, 'x', 1 << 23);
    buf_grew(&half, 1 << 23);
    client_frame(&in, FRAME_TEXT, half.at, half.length);
    client_frame(&in, FIN | FRAME_CONTINUATION, half.at, half.length);
    fake_init(&conn);
    assert_true(debug_start(DEBUG_ECHO, &turn, &conn, &plain, &debug_options));
    fake_forget(&conn);
    for (size_t at = 0; at < in.length; at += 997) {
        fake_receive(&conn, &turn, in.at + at, in.length - at < 997 ? in.length - at : 997);
        assert_true(conn.kept.length < FRAME_HEADER_MAX);
    }
    assert_int_equal(conn.sent.length, (1 << 24) + 10);
    fake_fini(&conn, &turn);
    buf_fini(&in);
    buf_fini(&half);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages),
        cmocka_unit_test(fragments),
        cmocka_unit_test(memory_of_all),
        cmocka_unit_test(ping_is_answered),
        cmocka_unit_test(protocol_errors),
        cmocka_unit_test(bad_text),
        cmocka_unit_test(bad_text_fails_fast),
        cmocka_unit_test(too_big),
        cmocka_unit_test(close_frames),
        cmocka_unit_test(who_closed),
        cmocka_unit_test(closing_from_here),
        cmocka_unit_test(close_waits_for_holds),
        cmocka_unit_test(close_unanswered),
        cmocka_unit_test(silence),
        cmocka_unit_test(message_by_drops),
        cmocka_unit_test(expiry),
        cmocka_unit_test(stalling),
        cmocka_unit_test(closing_while_stalled),
        cmocka_unit_test(compressed),
        cmocka_unit_test(compressed_bomb),
        cmocka_unit_test(sending),
        cmocka_unit_test(many_fragments),
        cmocka_unit_test(debug_doors),
        cmocka_unit_test(sixteen_mebibytes),
    };
    return cmocka_run_group_tests_name("ws_socket", tests, NULL, NULL);
}
