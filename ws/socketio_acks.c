/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Acknowledgements of stored events: a client is thanked when its event is on disk. They wait in the
 * order in which the events were taken, and are answered in that order; the one in front may
 * wait for another shard, whose event it repeats, and holds up those behind it for a turn or two.
 */
#include "ws/socketio_internal.h"

#include <stdlib.h>

struct ack {
    struct list all;  /* the door's */
    struct list mine; /* the socket's */
    struct socketio_socket *socket;
    uint64_t id;
    struct ticket ticket;
    size_t length;
    uint8_t arguments[];
};

void socketio_answer_when_durable(struct socketio_socket *socket, struct turn *turn, uint64_t id,
                                  const struct ticket *ticket, struct span arguments)
{
    struct ack *ack = malloc(sizeof *ack + arguments.length);
    if (ack == NULL) {
        engineio_end(socketio_session(socket), turn, ENGINEIO_FORCED_CLOSE);
        return;
    }
    *ack = (struct ack){.socket = socket, .id = id, .ticket = *ticket, .length = arguments.length};
    memcpy(ack->arguments, arguments.at, arguments.length);
    list_append(&socket->client->door->acks, &ack->all);
    list_append(&socket->acks, &ack->mine);
}

void socketio_acks_drop(struct socketio_socket *socket)
{
    struct list *link;
    while ((link = list_take(&socket->acks)) != NULL) {
        struct ack *ack = LIST_ENTRY(link, struct ack, mine);
        list_remove(&ack->all);
        free(ack);
    }
}

static bool is_durable(const struct socketio *door, const struct ticket *ticket)
{
    const struct progress *progress = &door->options.progress[ticket->shard];
    return atomic_load_explicit(&progress->durable, memory_order_acquire) > ticket->sequence;
}

void socketio_release(struct socketio *door, struct turn *turn)
{
    struct list *link;
    while ((link = list_take(&door->acks)) != NULL) {
        struct ack *ack = LIST_ENTRY(link, struct ack, all);
        if (!is_durable(door, &ack->ticket)) {
            list_prepend(&door->acks, link);
            return;
        }
        socketio_answer(ack->socket, turn, ack->id, span_of(ack->arguments, ack->length), NULL, 0);
        list_remove(&ack->mine);
        free(ack);
    }
}
