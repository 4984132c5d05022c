/* SPDX-License-Identifier: Apache-2.0 */
/* What was read can be written and read again, and then says the same; nothing is changed. */
#include "ws/socketio_packet.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void check_inside(struct span text, struct span part)
{
    must(part.at == NULL || (part.at >= text.at && part.length <= text.length &&
                             part.at + part.length <= text.at + text.length));
}

static void check_again(const struct socketio_packet *packet)
{
    struct buf out = {.max = 1 << 20};
    struct socketio_packet again;
    must(socketio_put_head(&out, packet->type, packet->attachments, packet->namespace,
                           packet->has_id ? &packet->id : NULL));
    must(buf_put(&out, packet->payload.at, packet->payload.length));
    must(socketio_parse(span_from(buf_span(&out), 1), &again) == SOCKETIO_OK);
    must(again.type == packet->type && again.attachments == packet->attachments);
    must(span_equal(again.namespace, packet->namespace) && again.has_id == packet->has_id);
    must(again.id == packet->id && span_equal(again.name, packet->name));
    must(span_equal(again.payload, packet->payload));
    must(span_equal(again.arguments, packet->arguments));
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    uint8_t *copy = malloc(length + 1);
    must(copy != NULL);
    if (length > 0)
        memcpy(copy, bytes, length);
    struct span text = span_of(copy, length);
    struct socketio_packet packet;
    if (socketio_parse(text, &packet) == SOCKETIO_OK) {
        check_inside(text, packet.payload);
        check_inside(text, packet.name);
        check_inside(text, packet.arguments);
        must(packet.type != SOCKETIO_EVENT || packet.name.at != NULL);
        check_again(&packet);
    }
    must(length == 0 || memcmp(copy, bytes, length) == 0);
    free(copy);
    return 0;
}
