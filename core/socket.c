/* SPDX-License-Identifier: Apache-2.0 */
#include "core/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 4096, HOST_MAX = 256 };

/* "host:port" → both; a host in brackets loses them, "*" or nothing is every address. */
static int split(const char *address, char host[HOST_MAX], const char **port)
{
    const char *colon = strrchr(address, ':');
    if (!colon || colon[1] == '\0')
        return -EINVAL;
    size_t length = (size_t)(colon - address);
    if (length >= 2 && address[0] == '[' && address[length - 1] == ']') {
        address++;
        length -= 2;
    } else if (memchr(address, ':', length) != NULL) {
        return -EINVAL; /* an IPv6 address without its brackets */
    }
    if (length >= HOST_MAX)
        return -EINVAL;
    memcpy(host, address, length);
    host[length] = '\0';
    if (strcmp(host, "*") == 0)
        host[0] = '\0';
    *port = colon + 1;
    return 0;
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
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    if (split(address, host, &port) < 0 || !is_port(port)) {
        snprintf(why, SOCKET_WHY, "%s: an address to listen on is host:port or [IPv6]:port",
                 address);
        return -EINVAL;
    }
    int error = getaddrinfo(host[0] ? host : NULL, port, &hints, out);
    if (error != 0) {
        snprintf(why, SOCKET_WHY, "%s: %s", address, gai_strerror(error));
        return -EINVAL;
    }
    return 0;
}

static int set(int socket, int level, int option, int value)
{
    return setsockopt(socket, level, option, &value, sizeof value) < 0 ? -errno : 0;
}

static int open_bound(const struct addrinfo *at, bool shared)
{
    int listener = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
    if (listener < 0)
        return -errno;
    int result = set(listener, SOL_SOCKET, SO_REUSEADDR, 1);
    if (result == 0)
        result = set(listener, SOL_SOCKET, SO_REUSEPORT, shared);
    if (result == 0)
        result = set(listener, IPPROTO_TCP, TCP_NODELAY, 1); /* what it accepts inherits it */
    if (result == 0 && at->ai_family == AF_INET6)
        result = set(listener, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    if (result == 0 && bind(listener, at->ai_addr, at->ai_addrlen) < 0)
        result = -errno;
    if (result == 0)
        return listener;
    close(listener);
    return result;
}

static int open_listener(const struct addrinfo *at, bool shared)
{
    int listener = open_bound(at, shared);
    if (listener < 0 || listen(listener, BACKLOG) == 0)
        return listener;
    int result = -errno;
    close(listener);
    return result;
}

static void explain(int error, const char *address, char *why)
{
    if (error == -EADDRINUSE)
        snprintf(why, SOCKET_WHY, "%s: another program listens there (see: ss -ltnp)", address);
    else if (error == -EACCES)
        snprintf(
            why, SOCKET_WHY,
            "%s: ports below 1024 need CAP_NET_BIND_SERVICE (AmbientCapabilities= in the service)",
            address);
    else if (error == -EADDRNOTAVAIL)
        snprintf(why, SOCKET_WHY, "%s: this machine does not have that address (see: ip address)",
                 address);
    else
        snprintf(why, SOCKET_WHY, "%s: cannot listen: %s", address, strerror(-error));
}

union name {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static uint16_t port_of(int socket)
{
    union name name = {.v6 = {0}};
    socklen_t length = sizeof name;
    must(getsockname(socket, &name.any, &length) == 0);
    return ntohs(name.any.sa_family == AF_INET6 ? name.v6.sin6_port : name.v4.sin_port);
}

typedef int opener(const struct addrinfo *at, bool shared);

/* The first of them that works; AF_UNSPEC: of any family. */
static int try_each(const struct addrinfo *at, int family, bool shared, opener *open)
{
    int result = -EAFNOSUPPORT;
    for (; at != NULL; at = at->ai_next)
        if ((family == AF_UNSPEC || family == at->ai_family) && (result = open(at, shared)) >= 0)
            break;
    return result;
}

/* Every address is that of IPv6 which takes IPv4 too, or that of IPv4 where there is nothing else. */
static int open_first(const char *address, bool shared, opener *open, char *why)
{
    struct addrinfo *found;
    int result = resolve(address, &found, why);
    if (result < 0)
        return result;
    result = try_each(found, address[0] == '*' ? AF_INET6 : AF_UNSPEC, shared, open);
    if (result < 0)
        result = try_each(found, AF_UNSPEC, shared, open);
    freeaddrinfo(found);
    if (result < 0)
        explain(result, address, why);
    return result;
}

int socket_listen(const char *address, uint16_t *bound, char *why)
{
    int listener = open_first(address, true, open_listener, why);
    if (listener >= 0 && bound)
        *bound = port_of(listener);
    return listener;
}

int socket_listen_alone(const char *address, uint16_t *bound, char *why)
{
    int listener = open_first(address, false, open_listener, why);
    if (listener < 0)
        return listener;
    must(fcntl(listener, F_SETFL, O_NONBLOCK) == 0);
    *bound = port_of(listener);
    return listener;
}

int socket_unused(const char *address, char *why)
{
    int bound = open_first(address, false, open_bound, why);
    if (bound < 0)
        return bound;
    close(bound);
    return 0;
}

static void print_v4(const struct sockaddr_in *name, char *peer)
{
    char host[INET_ADDRSTRLEN];
    must(inet_ntop(AF_INET, &name->sin_addr, host, sizeof host));
    snprintf(peer, SOCKET_PEER_MAX, "%s:%u", host, (unsigned)ntohs(name->sin_port));
}

static void print_v6(const struct sockaddr_in6 *name, char *peer)
{
    char host[INET6_ADDRSTRLEN];
    if (IN6_IS_ADDR_V4MAPPED(&name->sin6_addr)) {
        struct sockaddr_in v4 = {.sin_port = name->sin6_port};
        memcpy(&v4.sin_addr, &name->sin6_addr.s6_addr[12], sizeof v4.sin_addr);
        print_v4(&v4, peer);
        return;
    }
    must(inet_ntop(AF_INET6, &name->sin6_addr, host, sizeof host));
    snprintf(peer, SOCKET_PEER_MAX, "[%s]:%u", host, (unsigned)ntohs(name->sin6_port));
}

int socket_peer(int socket, char peer[SOCKET_PEER_MAX])
{
    union name name = {.v6 = {0}};
    socklen_t length = sizeof name;
    if (getpeername(socket, &name.any, &length) < 0)
        return -errno;
    if (name.any.sa_family == AF_INET)
        print_v4(&name.v4, peer);
    else if (name.any.sa_family == AF_INET6)
        print_v6(&name.v6, peer);
    else
        return -ENOTSOCK;
    return 0;
}

void socket_shutdown_sending(int socket)
{
    (void)shutdown(socket, SHUT_WR); /* ENOTCONN: the peer was faster */
}

void socket_shutdown(int socket)
{
    (void)shutdown(socket, SHUT_RDWR);
}

void socket_close(int socket)
{
    (void)close(socket);
}
