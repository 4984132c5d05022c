/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/load/client.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_S = 30, ANSWER_MAX = 16384, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int client_dial(const struct sockaddr_in *address)
{
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0)
        die("socket: %s", strerror(errno));
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) != 0)
        die("connect: %s", strerror(errno));
    return fd;
}

void client_write(int fd, const void *bytes, size_t length)
{
    const uint8_t *at = bytes;
    while (length > 0) {
        ssize_t sent = send(fd, at, length, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            struct pollfd writable = {.fd = fd, .events = POLLOUT};
            (void)poll(&writable, 1, PATIENCE_S * 1000);
        } else if (sent < 0 && errno != EINTR) {
            die("send: %s", strerror(errno));
        } else if (sent > 0) {
            at += sent;
            length -= (size_t)sent;
        }
    }
}

/* ── frames ── */

static uint32_t next_mask(void)
{
    static uint32_t mask = 2463534242u;
    mask ^= mask << 13;
    mask ^= mask >> 17;
    mask ^= mask << 5;
    return mask;
}

static size_t write_header(uint8_t *out, unsigned opcode, size_t length, bool masked)
{
    uint8_t bit = masked ? 0x80 : 0;
    out[0] = (uint8_t)(0x80 | opcode);
    if (length < 126) {
        out[1] = (uint8_t)(bit | length);
        return 2;
    }
    if (length > UINT16_MAX)
        die("a message of %zu bytes", length);
    out[1] = bit | 126;
    out[2] = (uint8_t)(length >> 8);
    out[3] = (uint8_t)length;
    return 4;
}

static size_t frame(enum client_kind kind, unsigned opcode, const char *text, size_t length,
                    uint8_t *out)
{
    size_t header = write_header(out, opcode, length, kind != CLIENT_BARE);
    if (kind == CLIENT_BARE) {
        memcpy(out + header, text, length);
        return header + length;
    }
    uint32_t mask = next_mask();
    memcpy(out + header, &mask, sizeof mask);
    header += sizeof mask;
    for (size_t i = 0; i < length; i++)
        out[header + i] = (uint8_t)text[i] ^ (uint8_t)(mask >> 8 * (i % 4));
    return header + length;
}

size_t client_frame(enum client_kind kind, const char *text, size_t length, uint8_t *out)
{
    return frame(kind, TEXT, text, length, out);
}

static void say(struct client *client, unsigned opcode, const char *text, size_t length)
{
    uint8_t bytes[4096];
    if (length > sizeof bytes - 14)
        die("more than a small message to say");
    client_write(client->fd, bytes, frame(client->kind, opcode, text, length, bytes));
}

/* Bytes of the whole frame at `at`; 0: it is not all there. */
static size_t frame_at(const uint8_t *at, size_t length, const char **text, size_t *text_length)
{
    size_t header = 2;
    if (length < 2)
        return 0;
    if (at[1] & 0x80)
        die("the server masked a frame");
    if ((at[0] & 0x70) != 0 || !(at[0] & 0x80))
        die("a frame that begins with %02x", at[0]);
    *text_length = at[1];
    if (at[1] == 126) {
        header = 4;
        *text_length = length < 4 ? 0 : (size_t)at[2] << 8 | at[3];
    } else if (at[1] == 127) {
        header = 10;
        *text_length = 0;
        for (unsigned i = 2; i < 10 && length >= 10; i++)
            *text_length = *text_length << 8 | at[i];
    }
    if (*text_length > CLIENT_CHUNK - 16)
        die("a frame of %zu bytes", *text_length);
    *text = (const char *)at + header;
    return length < header || length - header < *text_length ? 0 : header + *text_length;
}

/* Answers pings, and hands out what is neither. False: a close frame. */
static bool frame_came(struct client *client, unsigned opcode, const char *text, size_t length,
                       client_message message)
{
    if (opcode == PING)
        say(client, PONG, text, length);
    else if (opcode == TEXT && client->kind == CLIENT_SOCKETIO && length == 1 && *text == '2')
        say(client, TEXT, "3", 1);
    else if (opcode == TEXT || opcode == BINARY)
        message(client, text, length);
    return opcode != CLOSE;
}

/* Hands out the whole frames in at[0..length) and keeps the rest. */
static bool take_frames(struct client *client, const uint8_t *at, size_t length,
                        client_message message)
{
    const char *text;
    size_t used, text_length, place = 0;
    bool open = true;
    while (open && (used = frame_at(at + place, length - place, &text, &text_length)) > 0) {
        open = frame_came(client, at[place] & 15, text, text_length, message);
        place += used;
    }
    client->kept = (uint32_t)(length - place);
    if (client->kept > 0) {
        uint8_t *unfinished = realloc(client->unfinished, client->kept);
        if (unfinished == NULL)
            die("no memory");
        client->unfinished = memcpy(unfinished, at + place, client->kept);
    }
    return open;
}

bool client_read(struct client *client, uint8_t *chunk, client_message message)
{
    for (;;) {
        if (client->kept > 0)
            memcpy(chunk, client->unfinished, client->kept);
        ssize_t more = recv(client->fd, chunk + client->kept, CLIENT_CHUNK, MSG_DONTWAIT);
        if (more < 0 && (errno == EAGAIN || errno == EINTR))
            return true;
        if (more <= 0 || !take_frames(client, chunk, client->kept + (size_t)more, message))
            return false;
        if (more < CLIENT_CHUNK)
            return true;
    }
}

/* ── opening ── */

void client_ask(struct client *client, const struct client_terms *terms)
{
    char request[8192], bearer[4096] = "";
    *client = (struct client){.kind = terms->kind, .asked_ns = now_ns(), .owner = client->owner};
    client->fd = client_dial(&terms->address);
    if (terms->kind == CLIENT_BARE) {
        client_write(client->fd, terms->path + 1, 1);
        return;
    }
    if (terms->token != NULL && terms->kind == CLIENT_PLAIN)
        snprintf(bearer, sizeof bearer, "Authorization: Bearer %s\r\n", terms->token);
    int length = snprintf(request, sizeof request,
                          "GET %s HTTP/1.1\r\nHost: load.test\r\nUpgrade: websocket\r\n"
                          "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                          "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n%s\r\n",
                          terms->path, bearer);
    client_write(client->fd, request, (size_t)length);
}

/* The next bytes, behind those that are kept, on a blocking socket. */
static void hear(struct client *client)
{
    client->unfinished = realloc(client->unfinished, client->kept + ANSWER_MAX);
    if (client->unfinished == NULL)
        die("no memory");
    ssize_t more = recv(client->fd, client->unfinished + client->kept, ANSWER_MAX, 0);
    if (more <= 0)
        die("no answer: %s (%.*s)", more < 0 ? strerror(errno) : "closed", (int)client->kept,
            client->unfinished);
    client->kept += (uint32_t)more;
}

static void drop_kept(struct client *client, size_t length)
{
    client->kept -= (uint32_t)length;
    memmove(client->unfinished, client->unfinished + length, client->kept);
}

static void hear_upgrade(struct client *client)
{
    uint8_t *end = NULL;
    while (end == NULL) {
        hear(client);
        end = memmem(client->unfinished, client->kept, "\r\n\r\n", 4);
    }
    if (client->kept < 13 || memcmp(client->unfinished, "HTTP/1.1 101 ", 13) != 0)
        die("no 101: %.*s", (int)client->kept, client->unfinished);
    drop_kept(client, (size_t)(end + 4 - client->unfinished));
}

/* Messages until one begins with `wanted`; those before it are dropped. */
static void hear_message(struct client *client, const char *wanted)
{
    const char *text;
    size_t length, used;
    bool found = false;
    while (!found) {
        while ((used = frame_at(client->unfinished, client->kept, &text, &length)) == 0)
            hear(client);
        found = length >= strlen(wanted) && memcmp(text, wanted, strlen(wanted)) == 0;
        if (!found && (length < 2 || memcmp(text, "42", 2) != 0 || strstr(wanted, "42") == NULL))
            die("%s was due, and this came: %.*s", wanted, (int)length, text);
        drop_kept(client, used);
    }
}

void client_greeted(struct client *client, const struct client_terms *terms)
{
    char text[4000];
    if (terms->kind == CLIENT_BARE)
        return;
    hear_upgrade(client);
    if (terms->kind != CLIENT_SOCKETIO)
        return;
    hear_message(client, "0{");
    int length = terms->token ? snprintf(text, sizeof text, "40{\"token\":\"%s\"}", terms->token)
                              : snprintf(text, sizeof text, "40");
    say(client, TEXT, text, (size_t)length);
    hear_message(client, "40{");
    if (terms->room == NULL)
        return;
    length = snprintf(text, sizeof text, "42[\"join_room\",{\"roomId\":\"%s\"}]", terms->room);
    say(client, TEXT, text, (size_t)length);
    hear_message(client, "42[\"joined_room\"");
}

void client_unblock(struct client *client)
{
    if (client->kept == 0) {
        free(client->unfinished);
        client->unfinished = NULL;
    }
    if (fcntl(client->fd, F_SETFL, O_NONBLOCK) != 0)
        die("fcntl: %s", strerror(errno));
}

void client_drop(struct client *client)
{
    struct linger reset = {.l_onoff = 1};
    (void)setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(client->fd);
    free(client->unfinished);
    client->unfinished = NULL;
}
