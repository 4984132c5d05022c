/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handlers that the published protocol test suite asks of a server: `message` comes back as
 * `message-back`, and `message-with-ack` is acknowledged with its own arguments, attachments and all.
 *
 * Right after connect the client is told its own `auth`, but not in one send with the answer to its
 * CONNECT (ws/engineio_echo.h).
 */
#include "ws/engineio_echo.h"
#include "ws/socketio_internal.h"

#include <stdlib.h>

struct greeting {
    struct alarm alarm;
    struct socketio_socket *socket;
    size_t length;
    uint8_t auth[];
};

static void greet(struct alarm *alarm, struct turn *turn)
{
    struct greeting *greeting = LIST_ENTRY(alarm, struct greeting, alarm);
    struct socketio_socket *socket = greeting->socket;
    socketio_emit(socket, turn, SPAN("auth"), span_of(greeting->auth, greeting->length), NULL, 0);
    socketio_echo_drop(socket);
}

void socketio_echo_welcome(struct socketio_socket *socket, struct turn *turn, struct span auth)
{
    if (auth.at == NULL)
        auth = SPAN("{}");
    struct greeting *greeting = malloc(sizeof *greeting + auth.length);
    if (greeting == NULL) {
        engineio_end(socketio_session(socket), turn, ENGINEIO_FORCED_CLOSE);
        return;
    }
    *greeting =
        (struct greeting){.alarm = {.rings = greet}, .socket = socket, .length = auth.length};
    memcpy(greeting->auth, auth.at, auth.length);
    socket->greeting = greeting;
    socketio_send_connect(socket, turn);
    alarm_set(socket->client->door, &greeting->alarm, turn->now_ns + ECHO_PAUSE_NS);
}

void socketio_echo_drop(struct socketio_socket *socket)
{
    struct greeting *greeting = socket->greeting;
    socket->greeting = NULL;
    if (greeting != NULL)
        alarm_stop(socket->client->door, &greeting->alarm);
    free(greeting);
}

void socketio_echo(struct socketio_socket *socket, struct turn *turn,
                   const struct socketio_packet *packet, const struct span *attachments)
{
    if (socketio_is(packet, "message"))
        socketio_emit(socket, turn, SPAN("message-back"), packet->arguments, attachments,
                      packet->attachments);
    else if (socketio_is(packet, "message-with-ack") && packet->has_id)
        socketio_answer(socket, turn, packet->id, packet->arguments, attachments,
                        packet->attachments);
}
