/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idle PORT COUNT: holds that many WebSockets to /events/stream on 127.0.0.1 and does nothing with
 * them. Prints "open COUNT" once each has been greeted. Then, for every line on standard input,
 * pings them all and prints "pong COUNT" when all have answered; ends at the end of input.
 *
 * Blocking sockets, a crowd at a time: all of a crowd ask, then all are listened to.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { CROWD = 200, PATIENCE_S = 20, ANSWER_MAX = 4096 };

static void die(const char *what, unsigned which)
{
    fprintf(stderr, "idle: connection %u: %s: %s\n", which, what, strerror(errno));
    exit(1);
}

static void allow_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static int open_one(uint16_t port, unsigned which)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0)
        die("socket", which);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0)
        die("connect", which);
    return fd;
}

static void say(int fd, const void *text, size_t length, unsigned which)
{
    if (send(fd, text, length, MSG_NOSIGNAL) != (ssize_t)length)
        die("send", which);
}

static void ask(int fd, unsigned which)
{
    static const char request[] =
        "GET /events/stream HTTP/1.1\r\nHost: idle.test\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    say(fd, request, sizeof request - 1, which);
}

/* The 101, and behind it the greeting: a frame whose payload ends in a brace. */
static void hear_greeting(int fd, unsigned which)
{
    char answer[ANSWER_MAX];
    size_t length = 0;
    const char *end = NULL;
    while (end == NULL || answer[length - 1] != '}') {
        ssize_t more = recv(fd, answer + length, sizeof answer - length, 0);
        if (more <= 0)
            die("no greeting", which);
        length += (size_t)more;
        end = memmem(answer, length, "\r\n\r\n", 4);
    }
    if (memcmp(answer, "HTTP/1.1 101 ", 13) != 0)
        die("no 101", which);
}

static void ping(int fd, unsigned which)
{
    /* The mask is zero, so the payload stands there as it is. */
    static const uint8_t frame[] = {0x89, 0x84, 0, 0, 0, 0, 'i', 'd', 'l', 'e'};
    say(fd, frame, sizeof frame, which);
}

static void hear_pong(int fd, unsigned which)
{
    static const uint8_t wanted[] = {0x8a, 0x04, 'i', 'd', 'l', 'e'};
    uint8_t frame[sizeof wanted];
    if (recv(fd, frame, sizeof frame, MSG_WAITALL) != (ssize_t)sizeof frame ||
        memcmp(frame, wanted, sizeof wanted) != 0)
        die("no pong", which);
}

/* All of them, a crowd at a time: first the one to each, then the other. */
static void in_crowds(const int *fds, unsigned count, void (*first)(int, unsigned),
                      void (*then)(int, unsigned))
{
    for (unsigned from = 0; from < count; from += CROWD) {
        unsigned to = from + CROWD < count ? from + CROWD : count;
        for (unsigned i = from; i < to; i++)
            first(fds[i], i);
        for (unsigned i = from; i < to; i++)
            then(fds[i], i);
    }
}

int main(int words, char **word)
{
    unsigned count = words == 3 ? (unsigned)strtoul(word[2], NULL, 10) : 0;
    if (count == 0) {
        fprintf(stderr, "idle PORT COUNT\n");
        return 2;
    }
    uint16_t port = (uint16_t)strtoul(word[1], NULL, 10);
    int *fds = calloc(count, sizeof *fds);
    if (fds == NULL)
        return 1;
    allow_descriptors();
    for (unsigned from = 0; from < count; from += CROWD) {
        unsigned some = count - from < CROWD ? count - from : CROWD;
        for (unsigned i = from; i < from + some; i++)
            fds[i] = open_one(port, i);
        in_crowds(fds + from, some, ask, hear_greeting);
    }
    printf("open %u\n", count);
    fflush(stdout);
    char line[64];
    while (fgets(line, sizeof line, stdin) != NULL) {
        in_crowds(fds, count, ping, hear_pong);
        printf("pong %u\n", count);
        fflush(stdout);
    }
    free(fds);
    return 0;
}
