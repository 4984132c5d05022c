/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SOCKET_CLOSED = -1, SOCKET_WAITS = -2 /* to be accepted */ };
enum { LINKS_MAX = 256, LISTENERS = 4, BACKLOG = 64, WINDOW = 48 * 1024 };

/* One direction: [start, arrived) can be read, [arrived, end) is on its way. */
struct pipe {
    size_t start, arrived, end;
    bool closing, closed; /* the end of the stream: sent, arrived */
    uint64_t due_ns;
    uint8_t bytes[2 * WINDOW];
};

struct link {
    int socket; /* the server's */
    struct net_client client;
    bool client_open, vanished;
    bool reset;            /* as the server sees it */
    bool client_reset;     /* as the producer sees it … */
    uint64_t reset_due_ns; /* … from then on; 0: it is not to come */
    struct pipe up, down;
};

struct listener {
    int socket; /* 0: none */
    struct link *waiting[BACKLOG];
    unsigned count;
};

struct net {
    struct link *link[LINKS_MAX];
    unsigned links;
    struct listener listener[LISTENERS];
    int next_socket;
};

/* ── Pipes ──────────────────────────────────────────────────────────────────────────────────── */

static uint64_t latency(void)
{
    if (once_in(50))
        return world.now_ns + MILLISECONDS(between(1, 200));
    return world.now_ns + MICROSECONDS(between(5, 400));
}

static size_t pipe_room(const struct pipe *pipe)
{
    size_t used = pipe->end - pipe->start;
    return used >= WINDOW ? 0 : WINDOW - used;
}

static void pipe_put(struct pipe *pipe, const void *bytes, size_t length)
{
    if (pipe->end + length > sizeof pipe->bytes) {
        memmove(pipe->bytes, pipe->bytes + pipe->start, pipe->end - pipe->start);
        pipe->arrived -= pipe->start;
        pipe->end -= pipe->start;
        pipe->start = 0;
    }
    memcpy(pipe->bytes + pipe->end, bytes, length);
    pipe->end += length;
    if (pipe->due_ns == NEVER)
        pipe->due_ns = latency();
}

static size_t pipe_take(struct pipe *pipe, void *bytes, size_t length)
{
    size_t there = pipe->arrived - pipe->start;
    if (length > there)
        length = there;
    memcpy(bytes, pipe->bytes + pipe->start, length);
    pipe->start += length;
    return length;
}

static void pipe_finish(struct pipe *pipe)
{
    pipe->closing = true;
    if (pipe->due_ns == NEVER)
        pipe->due_ns = latency();
}

/* Some or all of what is on its way arrives. */
static void pipe_arrive(struct pipe *pipe)
{
    size_t there = pipe->end - pipe->arrived;
    pipe->arrived += there > 1 && once_in(3) ? between(1, there) : there;
    pipe->due_ns = NEVER;
    if (pipe->arrived < pipe->end)
        pipe->due_ns = latency();
    else
        pipe->closed = pipe->closing;
}

static bool pipe_ends(const struct pipe *pipe)
{
    return pipe->closed && pipe->start == pipe->arrived;
}

static void pipe_lose(struct pipe *pipe)
{
    pipe->end = pipe->arrived;
    if (once_in(2))
        pipe->start = pipe->arrived;
    pipe->due_ns = NEVER;
}

/* ── Links ──────────────────────────────────────────────────────────────────────────────────── */

struct net *net_open(void)
{
    struct net *net = calloc(1, sizeof *net);
    must(net != NULL);
    net->next_socket = NET_SOCKET_FIRST;
    return net;
}

void net_close(struct net *net)
{
    for (unsigned i = 0; i < net->links; i++)
        free(net->link[i]);
    free(net);
}

static struct link *link_of(int socket)
{
    for (unsigned i = 0; i < world.net->links; i++)
        if (world.net->link[i]->socket == socket)
            return world.net->link[i];
    return NULL;
}

static struct listener *listener_of(int socket)
{
    for (unsigned i = 0; i < LISTENERS; i++)
        if (world.net->listener[i].socket == socket)
            return &world.net->listener[i];
    return NULL;
}

/* What has not been sent is never read, and so not cleared. */
static void pipe_clear(struct pipe *pipe)
{
    memset(pipe, 0, offsetof(struct pipe, bytes));
    pipe->due_ns = NEVER;
}

static struct link *link_new(const struct net_client *client)
{
    struct link *link = malloc(sizeof *link);
    must(link != NULL);
    memset(link, 0, offsetof(struct link, up));
    link->client = *client;
    link->client_open = true;
    link->socket = SOCKET_WAITS;
    pipe_clear(&link->up);
    pipe_clear(&link->down);
    return link;
}

static void wake(struct link *link)
{
    if (link->client_open)
        link->client.wake(link->client.self);
}

static void client_will_see_reset(struct link *link)
{
    if (link->client_open && !link->client_reset && link->reset_due_ns == 0)
        link->reset_due_ns = latency();
}

static bool is_over(const struct link *link)
{
    return link->socket == SOCKET_CLOSED && !link->client_open;
}

static void bury_links(void)
{
    struct net *net = world.net;
    for (unsigned i = net->links; i-- > 0;) {
        if (!is_over(net->link[i]))
            continue;
        free(net->link[i]);
        net->link[i] = net->link[--net->links];
    }
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t net_next_ns(void)
{
    uint64_t next = NEVER;
    for (unsigned i = 0; i < world.net->links; i++) {
        const struct link *link = world.net->link[i];
        next = sooner(next, sooner(link->up.due_ns, link->down.due_ns));
        if (link->reset_due_ns != 0)
            next = sooner(next, link->reset_due_ns);
    }
    return next;
}

static void link_work(struct link *link)
{
    if (link->up.due_ns <= world.now_ns)
        pipe_arrive(&link->up);
    if (link->down.due_ns <= world.now_ns) {
        pipe_arrive(&link->down);
        wake(link);
    }
    if (link->reset_due_ns != 0 && link->reset_due_ns <= world.now_ns) {
        link->reset_due_ns = 0;
        link->client_reset = true;
        pipe_lose(&link->down);
        wake(link);
    }
    if (link->client_open && faulty(world.faults.reset)) {
        tell("a link is reset");
        saw(SAW_RESETS);
        link->reset = true;
        pipe_lose(&link->up);
        client_will_see_reset(link);
    }
}

void net_work(void)
{
    for (unsigned i = 0; i < world.net->links; i++) {
        struct link *link = world.net->link[i];
        if (sooner(sooner(link->up.due_ns, link->down.due_ns),
                   link->reset_due_ns == 0 ? NEVER : link->reset_due_ns) <= world.now_ns)
            link_work(link);
    }
    bury_links();
}

void net_server_gone(void)
{
    for (unsigned i = 0; i < world.net->links; i++) {
        struct link *link = world.net->link[i];
        link->socket = SOCKET_CLOSED;
        link->up.due_ns = NEVER;
        client_will_see_reset(link);
    }
    memset(world.net->listener, 0, sizeof world.net->listener);
    bury_links();
}

/* ── The server's side ──────────────────────────────────────────────────────────────────────── */

int net_listen(void)
{
    struct listener *listener = listener_of(0);
    must(listener != NULL);
    *listener = (struct listener){.socket = world.net->next_socket++};
    return listener->socket;
}

bool net_has(int socket)
{
    return socket >= NET_SOCKET_FIRST && (link_of(socket) != NULL || listener_of(socket) != NULL);
}

static void close_listener(struct listener *listener)
{
    for (unsigned i = 0; i < listener->count; i++) {
        listener->waiting[i]->socket = SOCKET_CLOSED;
        client_will_see_reset(listener->waiting[i]);
    }
    *listener = (struct listener){0};
}

void net_server_close(int socket)
{
    struct listener *listener = listener_of(socket);
    struct link *link = link_of(socket);
    if (!world.power)
        return;
    if (listener != NULL) {
        close_listener(listener);
    } else if (link == NULL) {
        blame("socket %d is closed and is not open", socket);
    } else {
        if (link->up.start < link->up.end || link->reset)
            client_will_see_reset(link);
        else
            pipe_finish(&link->down);
        link->socket = SOCKET_CLOSED;
        link->up.due_ns = NEVER;
    }
    bury_links();
}

void net_server_shutdown(int socket, bool both)
{
    struct link *link = link_of(socket);
    if (!world.power || link == NULL)
        return;
    pipe_finish(&link->down);
    if (both) {
        link->up.closing = link->up.closed = true;
        link->up.start = link->up.arrived = link->up.end;
    }
}

bool net_acceptable(int socket)
{
    const struct listener *listener = listener_of(socket);
    return listener != NULL && listener->count > 0;
}

int net_accept(int socket)
{
    struct listener *listener = listener_of(socket);
    if (listener == NULL || listener->count == 0)
        return -EAGAIN;
    struct link *link = listener->waiting[0];
    listener->count--;
    memmove(listener->waiting, listener->waiting + 1, listener->count * sizeof *listener->waiting);
    link->socket = world.net->next_socket++;
    return link->socket;
}

bool net_readable(int socket)
{
    const struct link *link = link_of(socket);
    return link == NULL || link->reset || link->up.start < link->up.arrived || pipe_ends(&link->up);
}

ssize_t net_receive(int socket, void *bytes, size_t length)
{
    struct link *link = link_of(socket);
    if (link == NULL)
        return -EBADF;
    if (link->up.start < link->up.arrived)
        return (ssize_t)pipe_take(&link->up, bytes, length);
    if (link->reset)
        return -ECONNRESET;
    return pipe_ends(&link->up) ? 0 : -EAGAIN;
}

bool net_writable(int socket)
{
    const struct link *link = link_of(socket);
    return link == NULL || link->reset || link->down.closing || pipe_room(&link->down) > 0;
}

ssize_t net_send(int socket, const void *bytes, size_t length)
{
    struct link *link = link_of(socket);
    if (link == NULL)
        return -EBADF;
    if (link->reset || link->down.closing)
        return link->reset && once_in(2) ? -ECONNRESET : -EPIPE;
    size_t room = pipe_room(&link->down);
    if (room == 0)
        return -EAGAIN;
    if (length > room)
        length = room;
    if (link->client_open)
        link->client.leaving(link->client.self, bytes, length);
    else if (!link->vanished)
        link->reset = true; /* nobody is there any more, and says so */
    pipe_put(&link->down, bytes, length);
    return (ssize_t)length;
}

/* ── The producer's side ────────────────────────────────────────────────────────────────────── */

struct link *net_connect(const struct net_client *client)
{
    struct net *net = world.net;
    struct listener *open[LISTENERS];
    unsigned count = 0;
    for (unsigned i = 0; i < LISTENERS; i++)
        if (net->listener[i].socket != 0 && net->listener[i].count < BACKLOG)
            open[count++] = &net->listener[i];
    if (count == 0 || net->links == LINKS_MAX)
        return NULL;
    struct link *link = link_new(client);
    net->link[net->links++] = link;
    struct listener *listener = open[below(count)];
    listener->waiting[listener->count++] = link;
    saw(SAW_CONNECTIONS);
    return link;
}

size_t net_client_send(struct link *link, const void *bytes, size_t length)
{
    size_t room = pipe_room(&link->up);
    if (length > room)
        length = room;
    /* Into the void, also behind a reset that the client
     * has not heard of: else a hole would be in the stream. */
    if (link->socket == SOCKET_CLOSED || link->reset)
        return length;
    if (length == 0)
        return 0;
    pipe_put(&link->up, bytes, length);
    return length;
}

size_t net_client_read(struct link *link, void *bytes, size_t length)
{
    return pipe_take(&link->down, bytes, length);
}

bool net_is_reset(const struct link *link)
{
    return link->client_reset;
}

bool net_has_ended(const struct link *link)
{
    return pipe_ends(&link->down);
}

static void leave(struct link *link)
{
    link->client_open = false;
    link->reset_due_ns = 0;
    bury_links();
}

void net_client_close(struct link *link)
{
    if (link->socket != SOCKET_CLOSED)
        pipe_finish(&link->up);
    leave(link);
}

void net_client_reset(struct link *link)
{
    saw(SAW_RESETS);
    link->reset = true;
    pipe_lose(&link->up);
    leave(link);
}

void net_client_vanish(struct link *link)
{
    saw(SAW_HALF_OPEN);
    link->vanished = true;
    leave(link);
}
