/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One WebSocket from the client's side, sharing no code with ringmain: a load generator that had
 * its frames from the same file would not see its mistakes. RFC 6455: frames to the server are
 * masked, frames from it must not be. Anything unexpected ends the program with a sentence.
 *
 * Opening is done on a blocking socket, in two steps, so that many are opened at a time:
 * client_ask(), and later client_greeted(). Then client_unblock(), and client_read() when it is
 * readable.
 */
#ifndef PERF_LOAD_CLIENT_H
#define PERF_LOAD_CLIENT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum client_kind {
    CLIENT_BARE,  /* perf/bare.c: frames without masks, and the path's second letter for a role */
    CLIENT_PLAIN, /* a WebSocket */
    CLIENT_SOCKETIO, /* Engine.IO 4 and Socket.IO 5 over it */
};

struct client {
    int fd;
    uint32_t due;  /* the next message's number */
    uint32_t kept; /* bytes of an unfinished frame … */
    uint8_t *unfinished;
    uint64_t asked_ns; /* when it was opened */
    void *owner;
    enum client_kind kind;
};

struct client_terms {
    struct sockaddr_in address;
    enum client_kind kind;
    const char *path;  /* "/sub" */
    const char *token; /* NULL: none */
    const char *room;  /* Socket.IO: what to join, else NULL */
};

enum { CLIENT_CHUNK = 1 << 18 };

void client_ask(struct client *client, const struct client_terms *terms);
/* The 101; with Socket.IO the namespace is connected and the room entered. */
void client_greeted(struct client *client, const struct client_terms *terms);
void client_unblock(struct client *client);
/* A plain blocking connection, for HTTP. */
int client_dial(const struct sockaddr_in *address);

/* Writes a text frame into `out`; returns its length (up to 14 more than the text's). */
size_t client_frame(enum client_kind kind, const char *text, size_t length, uint8_t *out);
/* All of it, waiting where the socket is full. */
void client_write(int fd, const void *bytes, size_t length);

/* A message has come; `text` is good until it returns. */
typedef void (*client_message)(struct client *client, const char *text, size_t length);
/* Reads what is there and hands out whole messages; pings of both protocols are answered. `chunk`
 * has room for 2 * CLIENT_CHUNK. False: the server has closed it. */
bool client_read(struct client *client, uint8_t *chunk, client_message message);
/* Closes it with a reset, so that its port is free at once. */
void client_drop(struct client *client);

uint64_t now_ns(void);
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
