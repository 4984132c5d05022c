/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limit of fan-out and echo: the same sends as ringmain's with no protocol at all, on a ring
 * with the same features (one issuer, deferred task running, multishot accept and receive, provided
 * buffers). One thread, one ring, no allocation, no copy that can be left out.
 *
 *   bare [PORT]     prints "port N"; ends with SIGTERM
 *
 * The first byte of a connection says what it is: `e` gets back whatever it sends, `s` gets what
 * every `p` sends. What a `p` sends goes into one log that all `s` are sent from: in a turn each
 * has one send, of all that it has not had yet, as in ringmain. An `e` must wait for its echo
 * before it sends more (its bytes leave from the buffer they came in), and its message must fit
 * one buffer.
 */
#include <errno.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    ENTRIES = 4096,
    COMPLETIONS = 1 << 16,
    BUFFERS = 2048,
    BUFFER_BYTES = 2048,
    LOG_BYTES = 1 << 24,
    PEERS_MAX = 1 << 16,
};
enum op { ACCEPT, RECEIVE, ECHO, FAN };

struct peer {
    uint64_t sent;  /* of the log */
    uint32_t place; /* in bare.subscribers */
    char role;
    bool sending, behind;
};

struct bare {
    struct io_uring ring;
    struct io_uring_buf_ring *buffers;
    uint8_t *memory;
    uint64_t end; /* of the log, in bytes since the start */
    bool grown;
    unsigned subscribers_count, behind_count;
    int subscribers[PEERS_MAX], behind[PEERS_MAX];
    struct peer peer[PEERS_MAX]; /* by descriptor */
    uint8_t log[LOG_BYTES];
};

static void check(int result, const char *what)
{
    if (result >= 0)
        return;
    fprintf(stderr, "bare: %s: %s\n", what, strerror(-result));
    exit(1);
}

static uint64_t name(enum op op, unsigned buffer, int fd)
{
    return (uint64_t)op << 56 | (uint64_t)buffer << 32 | (uint32_t)fd;
}

static struct io_uring_sqe *take(struct bare *bare)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&bare->ring);
    if (sqe != NULL)
        return sqe;
    check(io_uring_submit(&bare->ring), "submit");
    return io_uring_get_sqe(&bare->ring);
}

static void receive(struct bare *bare, int fd)
{
    struct io_uring_sqe *sqe = take(bare);
    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    sqe->flags = IOSQE_BUFFER_SELECT;
    sqe->user_data = name(RECEIVE, 0, fd);
}

static void send_bytes(struct bare *bare, enum op op, unsigned buffer, int fd, const uint8_t *at,
                       size_t length)
{
    struct io_uring_sqe *sqe = take(bare);
    io_uring_prep_send(sqe, fd, at, length, MSG_NOSIGNAL | (op == ECHO ? MSG_WAITALL : 0));
    sqe->user_data = name(op, buffer, fd);
}

static void accept_all(struct bare *bare, int listener)
{
    struct io_uring_sqe *sqe = take(bare);
    io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
    sqe->user_data = name(ACCEPT, 0, listener);
}

static void give_back(struct bare *bare, unsigned buffer)
{
    io_uring_buf_ring_add(bare->buffers, bare->memory + (size_t)buffer * BUFFER_BYTES, BUFFER_BYTES,
                          (unsigned short)buffer, io_uring_buf_ring_mask(BUFFERS), 0);
    io_uring_buf_ring_advance(bare->buffers, 1);
}

static void accepted(struct bare *bare, int listener, const struct io_uring_cqe *cqe)
{
    int one = 1;
    if (cqe->res >= 0 && cqe->res < PEERS_MAX) {
        bare->peer[cqe->res] = (struct peer){0};
        setsockopt(cqe->res, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        receive(bare, cqe->res);
    }
    if (!(cqe->flags & IORING_CQE_F_MORE))
        accept_all(bare, listener);
}

static void gone(struct bare *bare, int fd)
{
    struct peer *peer = &bare->peer[fd];
    if (peer->role == 's') {
        int last = bare->subscribers[--bare->subscribers_count];
        bare->subscribers[peer->place] = last;
        bare->peer[last].place = peer->place;
    }
    peer->role = 0;
    close(fd);
}

static void publish(struct bare *bare, const uint8_t *at, size_t length)
{
    size_t place = bare->end % LOG_BYTES, head = LOG_BYTES - place;
    if (head > length)
        head = length;
    memcpy(bare->log + place, at, head);
    memcpy(bare->log, at + head, length - head);
    bare->end += length;
    bare->grown = true;
}

static void subscribe(struct bare *bare, int fd)
{
    struct peer *peer = &bare->peer[fd];
    peer->sent = bare->end;
    peer->place = bare->subscribers_count;
    bare->subscribers[bare->subscribers_count++] = fd;
}

/* True: the buffer may go back already. */
static bool arrived(struct bare *bare, int fd, unsigned buffer, const uint8_t *at, size_t length)
{
    struct peer *peer = &bare->peer[fd];
    if (peer->role == 0) {
        peer->role = (char)*at++;
        length--;
        if (peer->role == 's')
            subscribe(bare, fd);
    }
    if (length > 0 && peer->role == 'p')
        publish(bare, at, length);
    if (length == 0 || peer->role != 'e')
        return true;
    send_bytes(bare, ECHO, buffer, fd, at, length);
    return false;
}

static void received(struct bare *bare, int fd, const struct io_uring_cqe *cqe)
{
    if (cqe->flags & IORING_CQE_F_BUFFER) {
        unsigned buffer = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
        if (cqe->res <= 0 || arrived(bare, fd, buffer, bare->memory + (size_t)buffer * BUFFER_BYTES,
                                     (size_t)cqe->res))
            give_back(bare, buffer);
    }
    if (cqe->res == 0 || (cqe->res < 0 && cqe->res != -ENOBUFS))
        gone(bare, fd);
    else if (!(cqe->flags & IORING_CQE_F_MORE))
        receive(bare, fd);
}

static void push(struct bare *bare, int fd)
{
    struct peer *peer = &bare->peer[fd];
    uint64_t length = bare->end - peer->sent;
    size_t place = peer->sent % LOG_BYTES;
    if (peer->sending || length == 0 || peer->role != 's')
        return;
    if (length > LOG_BYTES)
        check(-ENOBUFS, "a subscriber is a whole log behind");
    if (length > LOG_BYTES - place)
        length = LOG_BYTES - place;
    peer->sending = true;
    send_bytes(bare, FAN, 0, fd, bare->log + place, length);
}

static void fanned(struct bare *bare, int fd, int result)
{
    struct peer *peer = &bare->peer[fd];
    peer->sending = false;
    if (result <= 0 || peer->role != 's')
        return;
    peer->sent += (uint64_t)result;
    if (peer->sent < bare->end)
        bare->behind[bare->behind_count++] = fd;
}

static void reap(struct bare *bare)
{
    struct io_uring_cqe *cqe;
    unsigned head, count = 0;
    io_uring_for_each_cqe(&bare->ring, head, cqe)
    {
        int fd = (int)(uint32_t)cqe->user_data;
        switch ((enum op)(cqe->user_data >> 56)) {
        case ACCEPT:
            accepted(bare, fd, cqe);
            break;
        case RECEIVE:
            received(bare, fd, cqe);
            break;
        case ECHO:
            give_back(bare, (unsigned)(cqe->user_data >> 32) & 0xffff);
            break;
        case FAN:
            fanned(bare, fd, cqe->res);
            break;
        }
        count++;
    }
    io_uring_cq_advance(&bare->ring, count);
}

static void flush(struct bare *bare)
{
    unsigned count = bare->grown ? bare->subscribers_count : bare->behind_count;
    const int *whom = bare->grown ? bare->subscribers : bare->behind;
    for (unsigned i = 0; i < count; i++)
        push(bare, whom[i]);
    bare->grown = false;
    bare->behind_count = 0;
}

static int listen_on(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 4096) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        check(-errno, "listen");
    printf("port %u\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void open_ring(struct bare *bare)
{
    struct io_uring_params parameters = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
                 IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE,
        .cq_entries = COMPLETIONS};
    struct io_uring_buf_reg registration = {.ring_entries = BUFFERS};
    check(io_uring_queue_init_params(ENTRIES, &bare->ring, &parameters), "io_uring");
    check(io_uring_register_ring_fd(&bare->ring), "register the ring's descriptor");
    bare->buffers = aligned_alloc(4096, BUFFERS * sizeof(struct io_uring_buf));
    bare->memory = aligned_alloc(4096, (size_t)BUFFERS * BUFFER_BYTES);
    if (bare->buffers == NULL || bare->memory == NULL)
        check(-ENOMEM, "buffers");
    registration.ring_addr = (uint64_t)(uintptr_t)bare->buffers;
    check(io_uring_register_buf_ring(&bare->ring, &registration, 0), "register buffers");
    io_uring_buf_ring_init(bare->buffers);
    for (unsigned i = 0; i < BUFFERS; i++)
        give_back(bare, i);
}

int main(int words, char **word)
{
    static struct bare bare;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    open_ring(&bare);
    accept_all(&bare, listen_on((uint16_t)(words > 1 ? atoi(word[1]) : 0)));
    for (;;) {
        int result = io_uring_submit_and_wait(&bare.ring, 1);
        if (result != -EINTR && result != -EBUSY)
            check(result, "wait");
        reap(&bare);
        flush(&bare);
    }
}
