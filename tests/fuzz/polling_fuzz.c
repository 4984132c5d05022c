/* SPDX-License-Identifier: Apache-2.0 */
/* What a payload is read as, written again and read again, is the same. */
#include "ws/polling.h"
#include "ws/utf8.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static bool is_message(const struct packet *packet)
{
    return packet->type == PACKET_MESSAGE || !packet->binary;
}

static void put(enum payload_form form, const struct packet *packet, struct buf *out)
{
    struct buf text = {.max = SIZE_MAX};
    char type = (char)('0' + packet->type);
    if (!packet->binary)
        must(buf_put(&text, &type, 1));
    must(buf_put(&text, packet->data.at, packet->data.length));
    must(payload_put(form, packet->binary, buf_span(&text), out));
    must(out->length > 0);
    buf_fini(&text);
}

/* Reads all; packets that we ever write go to `again`. */
static void pass(enum payload_form form, uint8_t *bytes, size_t length, enum payload_form as,
                 struct buf *again)
{
    struct payload payload;
    struct packet packet;
    payload_start(&payload, form, bytes, length);
    while (payload_next(&payload, &packet) == PAYLOAD_PACKET) {
        must(packet.type <= PACKET_NOOP);
        must(packet.data.at >= bytes && packet.data.at + packet.data.length <= bytes + length);
        must(packet.binary || utf8_valid(packet.data));
        bool has_separator = !packet.binary && as == PAYLOAD_EIO4 &&
                             memchr(packet.data.at, 0x1e, packet.data.length) != NULL;
        if (is_message(&packet) && !has_separator)
            put(as, &packet, again);
    }
}

static void check(enum payload_form form, const uint8_t *bytes, size_t length)
{
    uint8_t *copy = malloc(length + 1);
    struct buf once = {.max = SIZE_MAX}, twice = {.max = SIZE_MAX};
    must(copy != NULL);
    memcpy(copy, bytes, length);
    pass(form, copy, length, PAYLOAD_EIO4, &once);
    if (once.length > 0) {
        struct buf kept = {.max = SIZE_MAX};
        must(buf_put(&kept, once.at, once.length));
        pass(PAYLOAD_EIO4, once.at, once.length, PAYLOAD_EIO4, &twice);
        must(span_equal(buf_span(&kept), buf_span(&twice)));
        buf_fini(&kept);
    }
    buf_fini(&once);
    buf_fini(&twice);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    if (length > 0)
        check((enum payload_form)(bytes[0] % 3), bytes + 1, length - 1);
    return 0;
}
