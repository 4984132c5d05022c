/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core/socket.h on the simulated network.
 */
#include "core/socket.h"
#include "tests/sim/net.h"

#include <errno.h>
#include <stdio.h>

int socket_listen(const char *address, uint16_t *bound, char *why)
{
    (void)address;
    (void)why;
    if (bound != NULL)
        *bound = 7070;
    return net_listen();
}

int socket_listen_alone(const char *address, uint16_t *bound, char *why)
{
    (void)address;
    (void)bound;
    (void)why;
    return -ENOSYS; /* there is no metrics stage here */
}

int socket_unused(const char *address, char *why)
{
    (void)address;
    (void)why;
    return 0;
}

int socket_peer(int socket, char peer[SOCKET_PEER_MAX])
{
    if (!net_has(socket))
        return -EBADF;
    (void)snprintf(peer, SOCKET_PEER_MAX, "192.0.2.1:%d", socket - NET_SOCKET_FIRST);
    return 0;
}

void socket_shutdown_sending(int socket)
{
    net_server_shutdown(socket, false);
}

void socket_shutdown(int socket)
{
    net_server_shutdown(socket, true);
}

void socket_close(int socket)
{
    net_server_close(socket);
}
