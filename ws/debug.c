/* SPDX-License-Identifier: Apache-2.0 */
#include "ws/debug.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct debug {
    struct websocket ws; /* first: a pointer to it is one to the whole */
    uint64_t messages;
};

static bool echo_message(struct websocket *ws, struct turn *turn, const struct message *message)
{
    (void)websocket_send(ws, turn, message->binary, message->text);
    return true;
}

static bool sink_message(struct websocket *ws, struct turn *turn, const struct message *message)
{
    struct debug *debug = (struct debug *)ws;
    if (LIKELY(message->binary || !span_is(message->text, "COUNT"))) {
        debug->messages++;
        return true;
    }
    char text[24];
    int length = snprintf(text, sizeof text, "%" PRIu64, debug->messages);
    (void)websocket_send(ws, turn, false, span_of(text, (size_t)length));
    return true;
}

static void debug_closed(struct websocket *ws, struct turn *turn, uint16_t code)
{
    (void)turn;
    (void)code;
    free(ws);
}

static const struct websocket_ops door_ops[] = {
    [DEBUG_ECHO] = {.name = "echo", .message = echo_message, .closed = debug_closed},
    [DEBUG_SINK] = {.name = "sink", .message = sink_message, .closed = debug_closed},
};

bool debug_start(enum debug_door door, struct turn *turn, struct conn *conn,
                 const struct handshake *handshake, const struct websocket_options *options)
{
    struct debug *debug = calloc(1, sizeof *debug);
    if (debug == NULL)
        return false;
    websocket_init(&debug->ws, &door_ops[door], options);
    if (websocket_start(&debug->ws, turn, conn, handshake))
        return true;
    free(debug);
    return false;
}
