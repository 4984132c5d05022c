/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handlers that the published protocol test suite asks of a server: `message` comes back as
 * `message-back`, and `message-with-ack` is acknowledged with its own arguments, attachments and all.
 */
#include "ws/socketio_internal.h"

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
