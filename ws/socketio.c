/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions and packets. A session may stand in several namespaces; a packet names one.
 *
 *   opened ─► waits for a CONNECT (connect timeout) ─► in one namespace or more ─► closed
 *                       ▲                                        │ the last one left
 *                       └────────────────────────────────────────┘
 *
 * A client that breaks the protocol is closed as a whole: a packet that cannot be read, one for a
 * namespace that it is not in, text where an attachment is due. One exception: packets may still be
 * on their way for a namespace that it has been in and that we have closed; they are dropped.
 *
 * A binary packet's text is kept, with its attachments behind it, until the last has come.
 */
#include "ws/commands.h"
#include "ws/socketio_internal.h"
#include "ws/socketio_recovery.h"

#include <stdio.h>
#include <stdlib.h>

enum { GATHERED_PAYLOADS = 4, CROWDED_PART = 10 };

struct gathering {
    struct buf bytes; /* the text, then the attachments */
    size_t counted;   /* of door->gathered */
    size_t text;
    unsigned wanted, come;
    size_t length[SOCKETIO_ATTACHMENTS_MAX];
};

/* ── Time ───────────────────────────────────────────────────────────────────────────────────── */

void alarm_set(struct socketio *door, struct alarm *alarm, uint64_t at_ns)
{
    timer_start(door->timers, &alarm->timer, at_ns);
}

void alarm_stop(struct socketio *door, struct alarm *alarm)
{
    timer_stop(door->timers, &alarm->timer);
}

int64_t socketio_tick(struct socketio *door, struct turn *turn)
{
    struct timer *timer;
    while ((timer = timers_take(door->timers, turn->now_ns)) != NULL) {
        struct alarm *alarm = LIST_ENTRY(timer, struct alarm, timer);
        alarm->rings(alarm, turn);
    }
    recovery_tick(door->recovery, turn);
    return timers_wait_ns(door->timers, turn->now_ns);
}

/* Without a socket it was to connect; with one it was to say something. */
static void client_rings(struct alarm *alarm, struct turn *turn)
{
    struct socketio_client *client = LIST_ENTRY(alarm, struct socketio_client, alarm);
    uint64_t idle_ns = client->door->options.idle_ns;
    if (!list_empty(&client->sockets) && turn->now_ns < client->active_ns + idle_ns)
        alarm_set(client->door, alarm, client->active_ns + idle_ns);
    else
        engineio_end(client->session, turn, ENGINEIO_FORCED_CLOSE);
}

void socketio_watch(struct socketio_client *client, struct turn *turn)
{
    struct socketio *door = client->door;
    client->active_ns = turn->now_ns;
    if (list_empty(&client->sockets))
        alarm_set(door, &client->alarm, turn->now_ns + door->options.connect_ns);
    else if (door->options.idle_ns > 0)
        alarm_set(door, &client->alarm, turn->now_ns + door->options.idle_ns);
    else
        alarm_stop(door, &client->alarm);
}

/* ── Packets ────────────────────────────────────────────────────────────────────────────────── */

static struct socketio_namespace *find_namespace(struct socketio *door, struct span name)
{
    for (unsigned i = 0; i < door->namespaces; i++)
        if (span_is(name, door->namespace[i].name))
            return &door->namespace[i];
    return NULL;
}

static struct socketio_socket *find_socket(struct socketio_client *client,
                                           const struct socketio_namespace *namespace)
{
    for (struct list *at = client->sockets.next; at != &client->sockets; at = at->next) {
        struct socketio_socket *socket = LIST_ENTRY(at, struct socketio_socket, link);
        if (socket->namespace == namespace)
            return socket;
    }
    return NULL;
}

static bool has_left(const struct socketio_client *client,
                     const struct socketio_namespace *namespace)
{
    return (client->left >> (namespace - client->door->namespace) & 1) != 0;
}

static void break_off(struct socketio_client *client, struct turn *turn)
{
    engineio_end(client->session, turn, ENGINEIO_PARSE_ERROR);
}

static void take_connect(struct socketio_client *client, struct turn *turn,
                         struct socketio_namespace *namespace, const struct socketio_packet *packet)
{
    if (namespace == NULL) /* an object in EIO 3 too, as the reference server has it */
        socketio_send(client, turn, SOCKETIO_CONNECT_ERROR, packet->namespace,
                      SPAN("{\"message\":\"Invalid namespace\"}"));
    else
        socketio_connect(client, turn, namespace, packet);
}

/* For a namespace that the client is in. We never ask for acknowledgements: there is nobody to be told
 * of one. */
static void take_packet(struct socketio_socket *socket, struct turn *turn,
                        const struct socketio_packet *packet, const struct span *attachments)
{
    struct socketio_client *client = socket->client;
    switch (packet->type) {
    case SOCKETIO_EVENT:
    case SOCKETIO_BINARY_EVENT:
        client->active_ns = turn->now_ns;
        if (socket->namespace->echo)
            socketio_echo(socket, turn, packet, attachments);
        else
            commands_event(socket, turn, packet);
        return;
    case SOCKETIO_ACK:
    case SOCKETIO_BINARY_ACK:
        client->active_ns = turn->now_ns;
        return;
    case SOCKETIO_DISCONNECT:
        socketio_leave(socket, turn);
        return;
    case SOCKETIO_CONNECT: /* twice, by connect() on a socket that connects by itself */
        return;
    case SOCKETIO_CONNECT_ERROR:
        break_off(client, turn);
        return;
    }
}

static void take(struct socketio_client *client, struct turn *turn,
                 const struct socketio_packet *packet, const struct span *attachments)
{
    struct socketio_namespace *namespace = find_namespace(client->door, packet->namespace);
    struct socketio_socket *socket = namespace == NULL ? NULL : find_socket(client, namespace);
    if (socket != NULL)
        take_packet(socket, turn, packet, attachments);
    else if (packet->type == SOCKETIO_CONNECT)
        take_connect(client, turn, namespace, packet);
    else if (namespace == NULL || !has_left(client, namespace))
        break_off(client, turn);
}

/* ── Attachments ────────────────────────────────────────────────────────────────────────────── */

static void free_gathering(struct socketio *door, struct gathering *gathering)
{
    if (gathering == NULL)
        return;
    door->gathered -= gathering->counted;
    buf_fini(&gathering->bytes);
    free(gathering);
}

static void stop_gathering(struct socketio_client *client)
{
    free_gathering(client->door, client->gathering);
    client->gathering = NULL;
}

/* False: no memory, or more than there is for all of them. */
static bool gather(struct socketio *door, struct gathering *gathering, struct span bytes)
{
    if (!buf_put(&gathering->bytes, bytes.at, bytes.length))
        return false;
    door->gathered += gathering->bytes.capacity - gathering->counted;
    gathering->counted = gathering->bytes.capacity;
    return door->gathered <= door->options.gathered_bytes;
}

/* False: no memory. */
static bool start_gathering(struct socketio_client *client, struct span text, unsigned attachments)
{
    struct gathering *gathering = calloc(1, sizeof *gathering);
    if (gathering == NULL)
        return false;
    client->gathering = gathering;
    buf_init(&gathering->bytes, GATHERED_PAYLOADS * client->door->options.payload_bytes);
    gathering->text = text.length;
    gathering->wanted = attachments;
    return gather(client->door, gathering, text);
}

static void take_gathered(struct socketio_client *client, struct turn *turn)
{
    struct gathering *gathering = client->gathering;
    struct span attachment[SOCKETIO_ATTACHMENTS_MAX];
    struct socketio_packet packet;
    size_t at = gathering->text;
    for (unsigned i = 0; i < gathering->wanted; i++) {
        attachment[i] = span_of(gathering->bytes.at + at, gathering->length[i]);
        at += gathering->length[i];
    }
    client->gathering = NULL; /* whatever comes of it, the next packet is a new one */
    bool good =
        socketio_parse(span_of(gathering->bytes.at, gathering->text), &packet) == SOCKETIO_OK;
    must(good);
    take(client, turn, &packet, attachment);
    free_gathering(client->door, gathering);
}

static void take_attachment(struct socketio_client *client, struct turn *turn, struct span data)
{
    struct gathering *gathering = client->gathering;
    if (gathering == NULL || !gather(client->door, gathering, data)) {
        break_off(client, turn);
        return;
    }
    gathering->length[gathering->come++] = data.length;
    if (gathering->come == gathering->wanted)
        take_gathered(client, turn);
}

/* Into this namespace, now or before: for nobody else are attachments kept. */
static bool has_been_let_in(struct socketio_client *client, struct span name)
{
    const struct socketio_namespace *namespace = find_namespace(client->door, name);
    return namespace != NULL &&
           (find_socket(client, namespace) != NULL || has_left(client, namespace));
}

static void take_text(struct socketio_client *client, struct turn *turn, struct span text)
{
    struct socketio_packet packet;
    if (client->gathering != NULL || socketio_parse(text, &packet) != SOCKETIO_OK)
        break_off(client, turn);
    else if (packet.attachments == 0)
        take(client, turn, &packet, NULL);
    else if (!has_been_let_in(client, packet.namespace) ||
             !start_gathering(client, text, packet.attachments))
        break_off(client, turn);
}

/* ── Sessions ───────────────────────────────────────────────────────────────────────────────── */

static void opened(struct engineio_session *session, struct turn *turn)
{
    struct socketio_client *client = engineio_user(session);
    struct socketio *door = engineio_context(session);
    const struct socketio_packet automatic = {.type = SOCKETIO_CONNECT, .namespace = SPAN("/")};
    client->session = session;
    client->door = door;
    list_init(&client->sockets);
    client->alarm.rings = client_rings;
    uint8_t room[QUOTA_ADDRESS_BYTES];
    struct span address = quota_address(engineio_address(session), room);
    client->crowded = !allowance_enter(
        door->options.allowance, allowance_key(door->options.allowance, "address:", address),
        door->options.connections_per_address, &client->address_ticket);
    socketio_watch(client, turn);
    if (client->crowded) /* it is to be told why, and then to make room */
        alarm_set(door, &client->alarm, turn->now_ns + door->options.connect_ns / CROWDED_PART);
    if (engineio_protocol(session) == 3)
        take(client, turn, &automatic, NULL);
}

static bool message(struct engineio_session *session, struct turn *turn, bool binary,
                    struct span data)
{
    struct socketio_client *client = engineio_user(session);
    if (binary)
        take_attachment(client, turn, data);
    else
        take_text(client, turn, data);
    return true;
}

/* A client that broke the protocol, or that we sent away, need not come back. */
static bool may_return(enum engineio_reason reason)
{
    return reason != ENGINEIO_PARSE_ERROR;
}

static void closed(struct engineio_session *session, struct turn *turn, enum engineio_reason reason)
{
    struct socketio_client *client = engineio_user(session);
    struct socketio *door = client->door;
    while (!list_empty(&client->sockets)) {
        struct socketio_socket *socket =
            LIST_ENTRY(client->sockets.next, struct socketio_socket, link);
        if (may_return(reason))
            recovery_remember(door->recovery, turn, socket);
        socketio_leave(socket, turn);
    }
    alarm_stop(door, &client->alarm);
    stop_gathering(client);
    allowance_leave(door->options.allowance, client->address_ticket);
}

/* Told so, a client does not come back by itself. */
static void kicked(struct engineio_session *session, struct turn *turn)
{
    struct socketio_client *client = engineio_user(session);
    while (!list_empty(&client->sockets)) {
        struct socketio_socket *socket =
            LIST_ENTRY(client->sockets.next, struct socketio_socket, link);
        socketio_send(client, turn, SOCKETIO_DISCONNECT, span_of_string(socket->namespace->name),
                      (struct span){NULL, 0});
        socketio_leave(socket, turn);
    }
}

/* What `connected` told as connectionId. */
static bool named(const struct engineio_session *session, struct span id)
{
    const struct socketio_client *client =
        engineio_user((struct engineio_session *)(uintptr_t)session);
    const struct list *head = &client->sockets;
    for (const struct list *link = head->next; link != head; link = link->next)
        if (span_is(id, LIST_ENTRY(link, const struct socketio_socket, link)->sid))
            return true;
    return false;
}

const struct engineio_ops socketio_ops = {
    .opened = opened, .message = message, .closed = closed, .kicked = kicked, .named = named};

size_t socketio_session_bytes(void)
{
    return sizeof(struct socketio_client);
}

/* ── The door ───────────────────────────────────────────────────────────────────────────────── */

static bool add_namespace(struct socketio *door, struct span name, char *why)
{
    if (find_namespace(door, name) != NULL)
        return true;
    if (door->namespaces == SOCKETIO_NAMESPACES_MAX || name.length < 1 || *name.at != '/' ||
        name.length > SOCKETIO_NAMESPACE_TEXT || memchr(name.at, '?', name.length) != NULL) {
        snprintf(why, 256,
                 "socketio.namespaces: at most %d names of at most %d bytes that begin with /, "
                 "separated by commas",
                 SOCKETIO_NAMESPACES_MAX - 1, SOCKETIO_NAMESPACE_TEXT);
        return false;
    }
    struct socketio_namespace *namespace = &door->namespace[door->namespaces];
    memcpy(namespace->name, name.at, name.length);
    namespace->door = door;
    namespace->encoding = door->options.encoding + 2 * door->namespaces++;
    hub_set_encoder(door->options.hub, namespace->encoding, socketio_encode, namespace);
    hub_set_encoder(door->options.hub, namespace->encoding + 1, socketio_encode_with_offset,
                    namespace);
    return true;
}

static struct span trim(struct span text)
{
    while (text.length > 0 && *text.at == ' ')
        text = span_from(text, 1);
    while (text.length > 0 && text.at[text.length - 1] == ' ')
        text.length--;
    return text;
}

static bool add_namespaces(struct socketio *door, char *why)
{
    struct span rest = span_of_string(door->options.namespaces);
    bool good = add_namespace(door, SPAN("/"), why);
    while (good && rest.length > 0) {
        const uint8_t *comma = memchr(rest.at, ',', rest.length);
        size_t length = comma == NULL ? rest.length : (size_t)(comma - rest.at);
        struct span name = trim(span_of(rest.at, length));
        good = name.length == 0 || add_namespace(door, name, why);
        rest = span_from(rest, comma == NULL ? rest.length : length + 1);
    }
    if (!good || !door->options.echo)
        return good;
    good = add_namespace(door, SPAN("/custom"), why);
    door->namespace[0].echo = true;
    if (good)
        find_namespace(door, SPAN("/custom"))->echo = true;
    return good;
}

struct socketio *socketio_open(const struct socketio_options *options, char *why)
{
    struct socketio *door = calloc(1, sizeof *door);
    snprintf(why, 256, "no memory for the Socket.IO door");
    if (door == NULL)
        return NULL;
    door->options = *options;
    list_init(&door->acks);
    buf_init(&door->out, GATHERED_PAYLOADS * options->payload_bytes + 4096);
    door->timers = timers_open(0);
    door->recovery = recovery_open(door);
    if (door->timers == NULL || door->recovery == NULL || !add_namespaces(door, why)) {
        socketio_close(door);
        return NULL;
    }
    return door;
}

void socketio_change(struct socketio *door, uint64_t leeway_ns)
{
    door->options.leeway_ns = leeway_ns;
}

void socketio_close(struct socketio *door)
{
    if (door == NULL)
        return;
    must(list_empty(&door->acks));
    recovery_close(door->recovery);
    timers_close(door->timers);
    buf_fini(&door->out);
    free(door);
}
