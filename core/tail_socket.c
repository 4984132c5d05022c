/* SPDX-License-Identifier: Apache-2.0 */
#include "core/tail_socket.h"

#include "core/base64.h"
#include "core/clock.h"
#include "proto/json.h"
#include "ws/frame.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CHUNK_BYTES = 65536, ALIVE_S = 30 };

PRINTF_LIKE(3, 4)
static enum tail_result say(enum tail_result result, char *why, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, TAIL_WHY, format, arguments);
    va_end(arguments);
    return result;
}

/* ── Bytes ──────────────────────────────────────────────────────────────────────────────────── */

/* A peer that is gone without a word is found out: nothing else would ever come. */
static void keep_alive(int socket)
{
    int on = 1, seconds = ALIVE_S, probes = 3, between = 5;
    setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
    setsockopt(socket, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &between, sizeof between);
}

static enum tail_result dial(struct tail_socket *tail, const struct tail_target *target, char *why)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    int error = getaddrinfo(target->host, target->port, &hints, &list);
    if (error != 0)
        return say(TAIL_LOST, why, "%s: %s", target->host, gai_strerror(error));
    for (const struct addrinfo *at = list; at != NULL && tail->socket < 0; at = at->ai_next) {
        tail->socket = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (tail->socket >= 0 && connect(tail->socket, at->ai_addr, at->ai_addrlen) == 0)
            break;
        error = errno;
        tail_close(tail);
    }
    freeaddrinfo(list);
    if (tail->socket < 0)
        return say(error == EINTR ? TAIL_STOPPED : TAIL_LOST, why, "%s:%s: %s", target->host,
                   target->port, strerror(error));
    keep_alive(tail->socket);
    return TAIL_OK;
}

static enum tail_result write_all(struct tail_socket *tail, struct span bytes, char *why)
{
    while (bytes.length > 0) {
        ssize_t wrote = send(tail->socket, bytes.at, bytes.length, MSG_NOSIGNAL);
        if (wrote < 0)
            return say(errno == EINTR ? TAIL_STOPPED : TAIL_LOST, why, "%s", strerror(errno));
        bytes = span_from(bytes, (size_t)wrote);
    }
    return TAIL_OK;
}

static enum tail_result read_more(struct tail_socket *tail, char *why)
{
    buf_drop(&tail->in, tail->used);
    tail->used = 0;
    uint8_t *room = buf_room(&tail->in, CHUNK_BYTES);
    if (room == NULL)
        return say(TAIL_LOST, why, "a message of more than %d bytes, or no memory",
                   TAIL_MESSAGE_MAX);
    ssize_t got = recv(tail->socket, room, CHUNK_BYTES, 0);
    if (got < 0)
        return say(errno == EINTR ? TAIL_STOPPED : TAIL_LOST, why, "%s", strerror(errno));
    if (got == 0)
        return say(TAIL_LOST, why, "the server has closed the connection");
    buf_grew(&tail->in, (size_t)got);
    return TAIL_OK;
}

/* ── The handshake ──────────────────────────────────────────────────────────────────────────── */

static enum tail_result ask(struct tail_socket *tail, const struct tail_target *target, char *why)
{
    uint8_t nonce[16];
    char key[32] = "";
    struct buf request = {.max = 65536};
    clock_random(nonce, sizeof nonce);
    base64_encode(BASE64_STANDARD, span_of(nonce, sizeof nonce), key);
    bool put = buf_print(&request,
                         "GET %s HTTP/1.1\r\nHost: %s:%s\r\nUpgrade: websocket\r\n"
                         "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                         "Sec-WebSocket-Key: %s\r\n",
                         target->path, target->host, target->port, key);
    if (target->token != NULL)
        put = put && buf_print(&request, "Authorization: Bearer %s\r\n", target->token);
    put = put && buf_put(&request, "\r\n", 2);
    enum tail_result result = put ? write_all(tail, buf_span(&request), why)
                                  : say(TAIL_REFUSED, why, "the request is too long");
    buf_fini(&request);
    return result;
}

/* An answer that is no 101: what it says, as far as it is there. 5xx and 429 may pass. */
static enum tail_result refused(const struct tail_socket *tail, size_t head, char *why)
{
    struct span answer = buf_span(&tail->in);
    struct span body = span_from(answer, head);
    struct json_value message;
    unsigned status = 0;
    const char *advice = "";
    size_t fault;
    if (sscanf((const char *)answer.at, "HTTP/1.%*c %3u", &status) != 1)
        return say(TAIL_REFUSED, why, "this is no HTTP server");
    if (status == 401)
        advice = ": give a good token with --token or RINGMAIN_TOKEN";
    if (json_document(body, &message, &fault) == JSON_OK && message.kind == JSON_OBJECT &&
        json_find(message.text, "message", &message) && message.kind == JSON_STRING)
        body = span_of(message.text.at + 1, message.text.length - 2);
    return say(status >= 500 || status == 429 ? TAIL_LOST : TAIL_REFUSED, why,
               "refused with %u (%.*s)%s", status, (int)(body.length < 200 ? body.length : 200),
               (const char *)body.at, advice);
}

static enum tail_result upgrade(struct tail_socket *tail, char *why)
{
    const uint8_t *end = NULL;
    while (end == NULL) {
        enum tail_result result = read_more(tail, why);
        if (result != TAIL_OK)
            return result;
        if (memcmp(tail->in.at, "HTTP/", tail->in.length < 5 ? tail->in.length : 5) != 0)
            return say(TAIL_REFUSED, why, "this is no HTTP server");
        end = memmem(tail->in.at, tail->in.length, "\r\n\r\n", 4);
    }
    size_t head = (size_t)(end - tail->in.at) + 4;
    if (tail->in.length < 12 || memcmp(tail->in.at, "HTTP/1.1 101", 12) != 0)
        return refused(tail, head, why);
    tail->used = head;
    return TAIL_OK;
}

enum tail_result tail_open(struct tail_socket *tail, const struct tail_target *target, char *why)
{
    *tail = (struct tail_socket){.socket = -1};
    buf_init(&tail->in, TAIL_MESSAGE_MAX);
    buf_init(&tail->text, TAIL_MESSAGE_MAX);
    enum tail_result result = dial(tail, target, why);
    if (result == TAIL_OK)
        result = ask(tail, target, why);
    if (result == TAIL_OK)
        result = upgrade(tail, why);
    if (result != TAIL_OK)
        tail_close(tail);
    return result;
}

void tail_close(struct tail_socket *tail)
{
    if (tail->socket >= 0)
        close(tail->socket);
    tail->socket = -1;
    buf_fini(&tail->in);
    buf_fini(&tail->text);
}

/* ── Messages ───────────────────────────────────────────────────────────────────────────────── */

static enum tail_result answer(struct tail_socket *tail, enum frame_opcode opcode,
                               struct span payload, char *why)
{
    struct frame frame = {
        .length = payload.length, .opcode = (uint8_t)opcode, .final = true, .masked = true};
    uint8_t bytes[FRAME_HEADER_MAX + FRAME_CONTROL_MAX];
    clock_random(&frame.mask, sizeof frame.mask); /* RFC 6455 5.3 */
    size_t header = frame_write(&frame, bytes);
    if (payload.length > 0)
        memcpy(bytes + header, payload.at, payload.length);
    frame_unmask(bytes + header, payload.length, frame.mask);
    return write_all(tail, span_of(bytes, header + payload.length), why);
}

/* 1008: the token has expired, or an operator; it would be the same again. */
static enum tail_result closed(struct tail_socket *tail, struct span payload, char *why)
{
    char ignored[TAIL_WHY];
    unsigned code = payload.length < 2 ? 1005 : (unsigned)payload.at[0] << 8 | payload.at[1];
    struct span reason = payload.length < 2 ? SPAN("") : span_from(payload, 2);
    (void)say(TAIL_OK, why, "closed with %u%s%.*s", code, reason.length > 0 ? ": " : "",
              SPAN_ARGS(reason));
    /* It is over either way. */
    if (answer(tail, FRAME_CLOSE, payload.length < 2 ? payload : span_of(payload.at, 2), ignored) ==
        TAIL_STOPPED)
        return TAIL_STOPPED;
    return code == 1008 ? TAIL_REFUSED : TAIL_LOST;
}

static enum tail_result control(struct tail_socket *tail, const struct frame *frame,
                                struct span payload, char *why)
{
    if (payload.length > FRAME_CONTROL_MAX)
        return say(TAIL_LOST, why, "a broken frame");
    if (frame->opcode == FRAME_CLOSE)
        return closed(tail, payload, why);
    return frame->opcode == FRAME_PING ? answer(tail, FRAME_PONG, payload, why) : TAIL_OK;
}

/* One whole frame's payload is in `in`. OK with *message.at NULL: more must come. */
static enum tail_result take(struct tail_socket *tail, const struct frame *frame,
                             struct span payload, struct span *message, char *why)
{
    if (frame->opcode >= FRAME_CLOSE)
        return control(tail, frame, payload, why);
    if (frame->opcode != FRAME_CONTINUATION)
        tail->text.length = 0;
    if (frame->final && tail->text.length == 0) {
        *message = payload;
        return TAIL_OK;
    }
    if (!buf_put(&tail->text, payload.at, payload.length))
        return say(TAIL_LOST, why, "a message of more than %d bytes", TAIL_MESSAGE_MAX);
    if (frame->final)
        *message = buf_span(&tail->text);
    return TAIL_OK;
}

enum tail_result tail_next(struct tail_socket *tail, struct span *message, char *why)
{
    *message = (struct span){NULL, 0};
    while (message->at == NULL) {
        struct frame frame;
        struct span rest = span_from(buf_span(&tail->in), tail->used);
        int header = frame_read(rest.at, rest.length, &frame);
        enum tail_result result = TAIL_OK;
        if (header < 0 || (header > 0 && frame.length > TAIL_MESSAGE_MAX))
            return say(TAIL_LOST, why, "a broken frame");
        if (header == 0 || rest.length - (size_t)header < frame.length) {
            result = read_more(tail, why);
        } else {
            tail->used += (size_t)header + (size_t)frame.length;
            result =
                take(tail, &frame, span_of(rest.at + header, (size_t)frame.length), message, why);
        }
        if (result != TAIL_OK)
            return result;
    }
    return TAIL_OK;
}
