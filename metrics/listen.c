/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics/listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HOST_MAX = 256, BACKLOG = 64 };

/* "host:port" into its parts; `port` points into `address`. False: it has not that form. */
static bool split(const char *address, char host[HOST_MAX], const char **port)
{
    const char *colon = strrchr(address, ':');
    if (colon == NULL || colon[1] == '\0')
        return false;
    size_t length = (size_t)(colon - address);
    if (length > 0 && address[0] == '[') {
        if (length < 2 || address[length - 1] != ']')
            return false;
        address++;
        length -= 2;
    } else if (memchr(address, ':', length) != NULL) {
        return false; /* an IPv6 address without its brackets */
    }
    if (length >= HOST_MAX)
        return false;
    memcpy(host, address, length);
    host[length] = '\0';
    if (strcmp(host, "*") == 0)
        host[0] = '\0';
    *port = colon + 1;
    return true;
}

static bool is_port(const char *text)
{
    unsigned value = 0;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        value = value * 10 + (unsigned)(*text - '0');
        if (value > UINT16_MAX)
            return false;
    }
    return true;
}

static int resolve(const char *address, struct addrinfo **out, char *why)
{
    char host[HOST_MAX];
    const char *port;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    if (!split(address, host, &port) || !is_port(port)) {
        snprintf(why, LISTEN_WHY, "%s: an address to listen on is host:port or [IPv6]:port",
                 address);
        return -EINVAL;
    }
    int error = getaddrinfo(host[0] != '\0' ? host : NULL, port, &hints, out);
    if (error != 0) {
        snprintf(why, LISTEN_WHY, "%s: %s", address, gai_strerror(error));
        return -EINVAL;
    }
    return 0;
}

static int set_up(int listener, const struct addrinfo *at)
{
    int one = 1, zero = 0;
    if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
        (at->ai_family == AF_INET6 &&
         setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero) < 0) ||
        bind(listener, at->ai_addr, at->ai_addrlen) < 0 || listen(listener, BACKLOG) < 0)
        return -errno;
    return 0;
}

static int open_at(const struct addrinfo *at)
{
    int listener =
        socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, at->ai_protocol);
    if (listener < 0)
        return -errno;
    int result = set_up(listener, at);
    if (result == 0)
        return listener;
    close(listener);
    return result;
}

static void explain(int error, const char *address, char *why)
{
    if (error == -EADDRINUSE)
        snprintf(why, LISTEN_WHY, "%s: another program listens there (see: ss -ltnp)", address);
    else if (error == -EACCES)
        snprintf(why, LISTEN_WHY,
                 "%s: ports below 1024 need CAP_NET_BIND_SERVICE "
                 "(AmbientCapabilities= in the service)",
                 address);
    else if (error == -EADDRNOTAVAIL)
        snprintf(why, LISTEN_WHY, "%s: this machine does not have that address (see: ip address)",
                 address);
    else
        snprintf(why, LISTEN_WHY, "%s: cannot listen: %s", address, strerror(-error));
}

static uint16_t port_of(int listener)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } name = {.v6 = {0}};
    socklen_t length = sizeof name;
    must(getsockname(listener, &name.any, &length) == 0);
    return ntohs(name.any.sa_family == AF_INET6 ? name.v6.sin6_port : name.v4.sin_port);
}

int listen_open(const char *address, uint16_t *port, char *why)
{
    struct addrinfo *found = NULL;
    int listener = resolve(address, &found, why);
    if (listener < 0)
        return listener;
    listener = -EADDRNOTAVAIL;
    for (struct addrinfo *at = found; at != NULL && listener < 0; at = at->ai_next)
        listener = open_at(at);
    freeaddrinfo(found);
    if (listener < 0)
        explain(listener, address, why);
    else
        *port = port_of(listener);
    return listener;
}
