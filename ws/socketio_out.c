/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is written: packets to one client, made in the door's one buffer; and what the hub delivers,
 * made once for all members of a namespace. Who has no memory for an answer closes that connection:
 * its client would wait for ever.
 *
 * The offset behind an event's arguments is what a client that comes back names: the publication's
 * place in our log. One that is not kept has none; if its last argument is a text, the client takes
 * that for the offset, and will begin afresh.
 */
#include "ws/socketio_internal.h"

static void post(struct socketio_client *client, struct turn *turn, bool fits,
                 const struct span *attachments, unsigned count)
{
    struct span text = buf_span(&client->door->out);
    bool sent =
        fits && (count == 0 ? engineio_send(client->session, turn, text)
                            : engineio_send_with(client->session, turn, text, attachments, count));
    if (!sent)
        engineio_end(client->session, turn, ENGINEIO_FORCED_CLOSE);
}

void socketio_send(struct socketio_client *client, struct turn *turn, enum socketio_type type,
                   struct span namespace, struct span payload)
{
    struct buf *out = &client->door->out;
    out->length = 0;
    bool fits = socketio_put_head(out, type, 0, namespace, NULL) &&
                buf_put(out, payload.at, payload.length);
    post(client, turn, fits, NULL, 0);
}

static struct span name_of(const struct socketio_socket *socket)
{
    return span_of_string(socket->namespace->name);
}

void socketio_emit(struct socketio_socket *socket, struct turn *turn, struct span name,
                   struct span arguments, const struct span *attachments, unsigned count)
{
    struct buf *out = &socket->client->door->out;
    enum socketio_type type = count > 0 ? SOCKETIO_BINARY_EVENT : SOCKETIO_EVENT;
    out->length = 0;
    bool fits = socketio_put_head(out, type, count, name_of(socket), NULL) &&
                socketio_put_event(out, name, arguments);
    post(socket->client, turn, fits, attachments, count);
}

void socketio_answer(struct socketio_socket *socket, struct turn *turn, uint64_t id,
                     struct span arguments, const struct span *attachments, unsigned count)
{
    struct buf *out = &socket->client->door->out;
    enum socketio_type type = count > 0 ? SOCKETIO_BINARY_ACK : SOCKETIO_ACK;
    out->length = 0;
    bool fits = socketio_put_head(out, type, count, name_of(socket), &id) && buf_put(out, "[", 1) &&
                buf_put(out, arguments.at, arguments.length) && buf_put(out, "]", 1);
    post(socket->client, turn, fits, attachments, count);
}

/* ── What the hub delivers ──────────────────────────────────────────────────────────────────── */

static bool put_publication(struct buf *out, const struct socketio_namespace *namespace,
                            const struct publication *publication, bool offset)
{
    char text[HUB_OFFSET_TEXT];
    unsigned count = publication->attachments_count;
    enum socketio_type type = count > 0 ? SOCKETIO_BINARY_EVENT : SOCKETIO_EVENT;
    if (!socketio_put_head(out, type, count, span_of_string(namespace->name), NULL) ||
        !buf_put(out, "[", 1) || !buf_put_json(out, publication->event) || !buf_put(out, ",", 1) ||
        !buf_put(out, publication->data.at, publication->data.length))
        return false;
    if (!offset || publication->number == 0)
        return buf_put(out, "]", 1);
    hub_offset_print(publication->shard, publication->number, text);
    return buf_put(out, ",\"", 2) && buf_put(out, text, strlen(text)) && buf_put(out, "\"]", 2);
}

static struct encoded *encode(struct socketio_namespace *namespace,
                              const struct publication *publication, bool offset)
{
    struct buf out = {.max = publication->data.length + 6 * publication->event.length + 512};
    struct encoded *encoded = NULL;
    if (put_publication(&out, namespace, publication, offset))
        encoded =
            encoded_make(buf_span(&out), publication->attachments, publication->attachments_count);
    buf_fini(&out);
    return encoded;
}

struct encoded *socketio_encode(void *context, const struct publication *publication)
{
    return encode(context, publication, false);
}

struct encoded *socketio_encode_with_offset(void *context, const struct publication *publication)
{
    return encode(context, publication, true);
}
