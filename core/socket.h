/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few calls on sockets that are made at once and not through the ring:
 * opening a listener, asking who the peer is, and shutting down.
 * A simulated network replaces this file with core/ring.c.
 */
#ifndef CORE_SOCKET_H
#define CORE_SOCKET_H

#include "core/must.h"
#include <stdint.h>

enum {
    SOCKET_PEER_MAX = 56, /* bytes of "[address]:port" with its end */
    SOCKET_WHY = 256,     /* bytes of a sentence for the operator */
};

/*
 * A TCP listener on "127.0.0.1:7070", "[::1]:7070", "localhost:0" or "*:7070" (every address of the
 * machine, IPv6 and IPv4), to be shared with other listeners of this user (SO_REUSEPORT), whose connections send
 * without delay. The descriptor, or -errno with a sentence in `why` (SOCKET_WHY bytes); *bound, if
 * not NULL, is the port that it got.
 */
NODISCARD int socket_listen(const char *address, uint16_t *bound, char *why);

/* The same for poll(2): it does not block, and nobody shares it. */
NODISCARD int socket_listen_alone(const char *address, uint16_t *bound, char *why);

/* Does anybody listen there already? Sharing a port hides that: a second server
 * started by mistake would get half of the connections. 0, or as socket_listen(). */
NODISCARD int socket_unused(const char *address, char *why);

/* Who is at the other end. 0; -ENOTCONN:
 * it has gone already; -EBADF, -ENOTSOCK: that is no socket. */
NODISCARD int socket_peer(int socket, char peer[SOCKET_PEER_MAX]);

/* No more will be sent; the peer sees the end of the stream after what is on its way. */
void socket_shutdown_sending(int socket);
/* Both directions: requests in flight on it complete. */
void socket_shutdown(int socket);
void socket_close(int socket);

#endif
