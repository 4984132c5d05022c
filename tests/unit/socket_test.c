/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses to listen on, against the kernel. */
#include "core/socket.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char why[SOCKET_WHY];

/* Connects to that address; what the listener's end calls its peer, "" if it was refused. */
static const char *caller(int listener, int family, const struct sockaddr *to, socklen_t length)
{
    static char peer[SOCKET_PEER_MAX];
    int client = socket(family, SOCK_STREAM, 0);
    assert_true(client >= 0);
    peer[0] = '\0';
    if (connect(client, to, length) == 0) {
        int server = accept(listener, NULL, NULL);
        assert_true(server >= 0);
        assert_int_equal(socket_peer(server, peer), 0);
        socket_close(server);
    }
    socket_close(client);
    return peer;
}

static const char *by_v4(int listener, uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return caller(listener, AF_INET, (struct sockaddr *)&to, sizeof to);
}

static const char *by_v6(int listener, uint16_t port)
{
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    to.sin6_addr = in6addr_loopback;
    return caller(listener, AF_INET6, (struct sockaddr *)&to, sizeof to);
}

static bool has_v6(void)
{
    int listener = socket_listen("[::1]:0", NULL, why);
    if (listener >= 0)
        socket_close(listener);
    return listener >= 0;
}

static void takes(const char *address, bool v4, bool v6)
{
    uint16_t port;
    int listener = socket_listen(address, &port, why);
    assert_true(listener >= 0);
    assert_int_equal(strncmp(by_v4(listener, port), "127.0.0.1:", 10) == 0, v4);
    if (has_v6())
        assert_int_equal(strncmp(by_v6(listener, port), "[::1]:", 6) == 0, v6);
    socket_close(listener);
}

static void every_address(void **state)
{
    (void)state;
    takes("*:0", true, true); /* whoever says localhost may come by either */
    takes("127.0.0.1:0", true, false);
    takes("0.0.0.0:0", true, false);
    if (has_v6()) {
        takes("[::]:0", true, true);
        takes("[::1]:0", false, true);
    }
}

static void taken(void **state)
{
    (void)state;
    uint16_t port;
    int listener = socket_listen("*:0", &port, why);
    char address[32];
    snprintf(address, sizeof address, "*:%u", port);
    assert_true(socket_unused(address, why) < 0);
    assert_non_null(strstr(why, "another program listens there"));
    socket_close(listener);
    assert_int_equal(socket_unused(address, why), 0);
}

static void no_address(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "8080", "host:", "::1:80", "a:b", "*:70000", "[::1]"};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_true(socket_listen(bad[i], NULL, why) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_address),
        cmocka_unit_test(taken),
        cmocka_unit_test(no_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
