/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulated network: TCP links between producers and the shards' listeners.
 *
 * What one side sends is on its way for a while and arrives in pieces cut anywhere.
 * A link can be reset (what was on its way is lost), closed in the usual way,
 * or left by a peer that vanishes and says nothing. The server's side
 * goes by descriptors, never used twice; the producer's by the link.
 */
#ifndef TESTS_SIM_NET_H
#define TESTS_SIM_NET_H

#include "tests/sim/world.h"
#include <sys/types.h>

struct link;

/* How the other half of the world hears of it. */
struct net_client {
    void *self;
    void (*leaving)(void *self, const uint8_t *bytes, size_t length); /* the server has sent this */
    void (*wake)(void *self); /* something has arrived, or the link has ended */
};

enum { NET_SOCKET_FIRST = 100000 };

struct net *net_open(void);
void net_close(struct net *net);
uint64_t net_next_ns(void); /* when something arrives; NEVER */
void net_work(void);
/* The server is gone: its sockets, its listeners.
 * Links that were open are reset sooner or later. */
void net_server_gone(void);

/* The server's side. Results as of the system calls. */
int net_listen(void);
bool net_has(int socket); /* open: a link or a listener */
void net_server_close(int socket);
void net_server_shutdown(int socket, bool both);
bool net_acceptable(int listener);
int net_accept(int listener);
bool net_readable(int socket);
bool net_writable(int socket);
ssize_t net_receive(int socket, void *bytes, size_t length); /* 0: end of stream */
ssize_t net_send(int socket, const void *bytes, size_t length);

/* The producer's side. */
struct link *net_connect(const struct net_client *client); /* NULL: refused */
size_t net_client_send(struct link *link, const void *bytes, size_t length);
size_t net_client_read(struct link *link, void *bytes, size_t length);
bool net_is_reset(const struct link *link);
bool net_has_ended(const struct link *link); /* all has been read, and no more will come */
/* The link is the producer's no longer. */
void net_client_close(struct link *link);
void net_client_reset(struct link *link);
void net_client_vanish(struct link *link);

#endif
