/* SPDX-License-Identifier: Apache-2.0 */
/* The ring against the real kernel: sockets on loopback, files in a directory of its own. */
#include "core/ring.h"
#include "tests/unit/ring_descriptor.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { SECOND = 1000000000 };

/* In place of liburing's: the kernel has no memory, once before each success, or for good. */
struct io_uring;
int io_uring_submit(struct io_uring *ring);
static enum { TAKES, REFUSES_ONCE, REFUSES } kernel;
static bool has_refused;

int io_uring_submit(struct io_uring *ring)
{
    typedef int submit(struct io_uring *);
    has_refused = kernel == REFUSES || (kernel == REFUSES_ONCE && !has_refused);
    if (has_refused)
        return -EAGAIN;
    return ((submit *)dlsym(RTLD_NEXT, "io_uring_submit"))(ring);
}

static struct ring *open_ring(struct ring_options options)
{
    struct ring *ring = NULL;
    char why[256] = "";
    if (options.entries == 0)
        options.entries = 64;
    if (options.completion_entries == 0)
        options.completion_entries = 256;
    if (options.buffers == 0)
        options.buffers = 8;
    if (options.buffer_bytes == 0)
        options.buffer_bytes = 1024;
    if (ring_open(&ring, &options, why) < 0)
        fail_msg("%s", why);
    return ring;
}

static struct completion next(struct ring *ring)
{
    struct completion out = {.buffer = -1};
    assert_int_equal(ring_wait(ring, &out, 1, 5ll * SECOND), 1);
    return out;
}

static struct completion next_of(struct ring *ring, enum ring_op op)
{
    struct completion out = next(ring);
    assert_int_equal(out.op, op);
    return out;
}

static void nothing(struct ring *ring)
{
    struct completion out;
    assert_int_equal(ring_wait(ring, &out, 1, 0), 0);
}

static int listener(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static int connect_to(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void sockets_with(struct ring_features without)
{
    struct ring *ring = open_ring((struct ring_options){.without = without});
    uint16_t port;
    int door = listener(&port);
    struct ring_id door_id = {.slot = 3, .generation = 7, .owner = 2};
    struct ring_id id = {.slot = RING_SLOTS_MAX - 1, .generation = UINT32_MAX, .owner = 1};

    ring_accept(ring, door, door_id);
    int client = connect_to(port);
    struct completion done = next_of(ring, RING_ACCEPT);
    assert_true(done.result >= 0);
    assert_int_equal(done.id.slot, 3);
    assert_int_equal(done.id.generation, 7);
    assert_int_equal(done.id.owner, 2);
    assert_int_equal(done.more, !without.multishot_accept);
    int socket = done.result;

    ring_receive(ring, socket, id);
    assert_int_equal(write(client, "hello", 5), 5);
    done = next_of(ring, RING_RECEIVE);
    assert_int_equal(done.result, 5);
    assert_int_equal(done.id.slot, id.slot);
    assert_int_equal(done.id.generation, id.generation);
    assert_int_equal(done.more, !without.multishot_receive);
    assert_memory_equal(ring_buffer(ring, done.buffer), "hello", 5);
    assert_int_equal(ring_buffers_free(ring), 7);
    ring_buffer_put(ring, done.buffer);
    assert_int_equal(ring_buffers_free(ring), 8);

    ring_send(ring, socket, "world", 5, id);
    assert_int_equal(next_of(ring, RING_SEND).result, 5);
    char back[8];
    assert_int_equal(read(client, back, sizeof back), 5);

    if (!done.more)
        ring_receive(ring, socket, id);
    close(client);
    done = next_of(ring, RING_RECEIVE);
    assert_int_equal(done.result, 0);
    assert_false(done.more);
    ring_close_descriptor(ring, socket, id);
    assert_int_equal(next_of(ring, RING_CLOSE).result, 0);
    close(door);
    ring_close(ring);
}

static void test_sockets(void **state)
{
    (void)state;
    sockets_with((struct ring_features){0});
}

static void test_sockets_of_old_kernels(void **state)
{
    (void)state;
    sockets_with((struct ring_features){.receive_length_cap = true});
    sockets_with((struct ring_features){.receive_length_cap = true, .multishot_receive = true});
    sockets_with((struct ring_features){.multishot_accept = true});
    sockets_with((struct ring_features){true, true, true, true, true, true});
}

static void pair_of(int ends[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
}

/* More bytes than all buffers hold: the receive ends,
 * and goes on once buffers have been given back. */
static void starve(struct ring_features without)
{
    struct ring *ring = open_ring((struct ring_options){.buffers = 2, .without = without});
    struct ring_id id = {.slot = 1};
    int ends[2];
    pair_of(ends);
    char bytes[8192];
    memset(bytes, 'x', sizeof bytes);
    assert_int_equal(write(ends[1], bytes, sizeof bytes), sizeof bytes);
    int received = 0;
    bool armed = false, starved = false;
    while (received < (int)sizeof bytes) {
        if (!armed)
            ring_receive(ring, ends[0], id);
        struct completion done = next_of(ring, RING_RECEIVE);
        armed = done.more;
        if (done.result == -ENOBUFS)
            starved = true;
        else
            assert_in_range(done.result, 1, 1024);
        received += done.result > 0 ? done.result : 0;
        if (done.buffer >= 0)
            ring_buffer_put(ring, done.buffer);
    }
    assert_int_equal(received, sizeof bytes);
    assert_true(starved || without.multishot_receive);
    close(ends[0]);
    close(ends[1]);
    ring_close(ring);
}

static void test_starving(void **state)
{
    (void)state;
    starve((struct ring_features){0});
    starve((struct ring_features){.receive_length_cap = true});
    starve((struct ring_features){.multishot_receive = true});
}

/* A receive that has filled its four buffers ends,
 * although more buffers are free and more bytes there. */
static void test_receive_is_capped(void **state)
{
    (void)state;
    struct ring *ring = open_ring((struct ring_options){.buffers = 16});
    if (ring_features(ring).receive_length_cap) {
        int ends[2];
        pair_of(ends);
        char bytes[16384] = "";
        assert_int_equal(write(ends[1], bytes, sizeof bytes), sizeof bytes);
        ring_receive(ring, ends[0], (struct ring_id){0});
        int received = 0;
        struct completion done;
        do {
            done = next_of(ring, RING_RECEIVE);
            received += done.result;
        } while (done.more);
        assert_int_equal(received, 4096);
        nothing(ring);
        close(ends[0]);
        close(ends[1]);
    }
    ring_close(ring);
}

static void test_cancel(void **state)
{
    (void)state;
    struct ring *ring = open_ring((struct ring_options){0});
    struct ring_id id = {.slot = 5}, other = {.slot = 6};
    int ends[2], others[2];
    pair_of(ends);
    pair_of(others);
    ring_receive(ring, ends[0], id);
    ring_receive(ring, others[0], other);
    nothing(ring);
    ring_cancel_receive(ring, id);
    for (int i = 0; i < 2; i++) {
        struct completion done = next(ring);
        assert_int_equal(done.id.slot, 5);
        assert_int_equal(done.result, done.op == RING_RECEIVE ? -ECANCELED : 0);
        assert_false(done.more);
    }
    ring_cancel(ring, others[0], other);
    for (int i = 0; i < 2; i++) {
        struct completion done = next(ring);
        assert_int_equal(done.id.slot, 6);
        assert_true(done.op == RING_CANCEL || done.result == -ECANCELED);
    }
    ring_cancel_receive(ring, id);
    assert_int_equal(next_of(ring, RING_CANCEL).result, -ENOENT);
    nothing(ring);
    for (int i = 0; i < 2; i++) {
        close(ends[i]);
        close(others[i]);
    }
    ring_close(ring);
}

/* Far more requests than the submission queue holds,
 * and completions than the completion queue holds. */
static void test_queues_overflow(void **state)
{
    (void)state;
    struct ring *ring =
        open_ring((struct ring_options){.entries = 4, .completion_entries = 8, .buffers = 2});
    enum { MANY = 500 };
    bool seen[MANY] = {false};
    for (uint32_t i = 0; i < MANY; i++)
        ring_cancel_receive(ring, (struct ring_id){.slot = i});
    for (int i = 0; i < MANY; i++) {
        struct completion done = next_of(ring, RING_CANCEL);
        assert_false(seen[done.id.slot]);
        seen[done.id.slot] = true;
    }
    nothing(ring);
    ring_close(ring);
}

/* The same, while the kernel takes nothing at first: what was completed is put aside, as far as there is
 * room for it, and comes all the same. */
static void test_queues_overflow_while_it_is_refused(void **state)
{
    kernel = REFUSES_ONCE;
    test_queues_overflow(state);
    kernel = TAKES;
}

/* The next wait says so, even if far more than the queue holds was asked for meanwhile. */
static void test_broken(void **state)
{
    (void)state;
    struct completion out;
    struct ring *ring = open_ring((struct ring_options){
        .entries = 4, .completion_entries = 8, .without = {.ring_fd_registered = true}});
    nothing(ring);
    assert_int_equal(close(ring_descriptor()), 0);
    assert_int_equal(ring_wait(ring, &out, 1, 0), -EBADF);
    for (uint32_t i = 0; i < 100; i++)
        ring_cancel_receive(ring, (struct ring_id){.slot = i});
    assert_int_equal(ring_wait(ring, &out, 1, SECOND), -EBADF);
    ring_close(ring);
    ring = open_ring((struct ring_options){.entries = 4});
    kernel = REFUSES;
    for (uint32_t i = 0; i < 5; i++)
        ring_cancel_receive(ring, (struct ring_id){.slot = i});
    assert_int_equal(ring_wait(ring, &out, 1, SECOND), -ENOMEM);
    kernel = TAKES;
    ring_close(ring);
}

static void test_files(void **state)
{
    (void)state;
    struct ring *ring = open_ring((struct ring_options){0});
    char path[] = "/tmp/ring-test-XXXXXX", bytes[16] = "";
    assert_non_null(mkdtemp(path));
    int directory = open(path, O_RDONLY | O_DIRECTORY);
    struct ring_id id = {.slot = 9, .owner = 16};
    ring_open_file(ring, directory, "one", O_RDWR | O_CREAT | O_EXCL, 0600, id);
    int file = next_of(ring, RING_OPEN).result;
    assert_true(file >= 0);
    ring_write(ring, file, "0123456789", 10, 0, id);
    assert_int_equal(next_of(ring, RING_WRITE).result, 10);
    ring_write_sync(ring, file, "abc", 3, 4, id);
    struct completion done = next_of(ring, RING_WRITE_SYNC);
    assert_int_equal(done.result, 0);
    assert_int_equal(done.id.slot, 9);
    assert_int_equal(done.id.owner, 16);
    ring_read(ring, file, bytes, sizeof bytes, 2, id);
    assert_int_equal(next_of(ring, RING_READ).result, 8);
    assert_string_equal(bytes, "23abc789");
    ring_sync(ring, directory, id);
    assert_int_equal(next_of(ring, RING_SYNC).result, 0);
    ring_rename(ring, directory, "one", "two", id);
    assert_int_equal(next_of(ring, RING_RENAME).result, 0);
    ring_open_file(ring, directory, "one", O_RDONLY, 0, id);
    assert_int_equal(next_of(ring, RING_OPEN).result, -ENOENT);
    ring_unlink(ring, directory, "two", id);
    assert_int_equal(next_of(ring, RING_UNLINK).result, 0);
    nothing(ring);
    close(file);
    close(directory);
    assert_int_equal(rmdir(path), 0);
    ring_close(ring);
}

/* Each ends in exactly one completion, and none that says durable. */
static void test_write_sync_that_fails(void **state)
{
    (void)state;
    struct ring *ring = open_ring((struct ring_options){0});
    char path[] = "/tmp/ring-test-XXXXXX";
    int file = mkstemp(path), reader = open(path, O_RDONLY);
    struct ring_id id = {.slot = 9, .owner = 16};
    ring_write_sync(ring, reader, "abc", 3, 0, id);
    assert_int_equal(next_of(ring, RING_WRITE_SYNC).result, -EBADF);
    nothing(ring);

    struct rlimit before, tight;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    tight = before;
    tight.rlim_cur = 100;
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    char bytes[200] = "";
    ring_write_sync(ring, file, bytes, sizeof bytes, 0, id);
    int result = next_of(ring, RING_WRITE_SYNC).result;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(result, -ENOSPC);
    struct stat about;
    assert_int_equal(fstat(file, &about), 0);
    assert_int_equal(about.st_size, 100); /* it was short, not refused */
    nothing(ring);

    int ends[2]; /* can be written, cannot be synced */
    pair_of(ends);
    ring_write_sync(ring, ends[0], "abc", 3, 0, id);
    assert_int_equal(next_of(ring, RING_WRITE_SYNC).result, -EINVAL);
    nothing(ring);
    close(ends[0]);
    close(ends[1]);
    close(file);
    close(reader);
    unlink(path);
    ring_close(ring);
}

static void test_write_syncs_in_flight(void **state)
{
    (void)state;
    struct ring *ring = open_ring((struct ring_options){.entries = 8});
    char path[] = "/tmp/ring-test-XXXXXX";
    int file = mkstemp(path);
    for (uint32_t i = 0; i < RING_WRITE_SYNCS_MAX; i++)
        ring_write_sync(ring, file, "abcd", 4, i * 4, (struct ring_id){.slot = i});
    uint64_t seen = 0;
    for (unsigned i = 0; i < RING_WRITE_SYNCS_MAX; i++) {
        struct completion done = next_of(ring, RING_WRITE_SYNC);
        assert_int_equal(done.result, 0);
        seen |= 1ull << done.id.slot;
    }
    assert_true(seen == UINT64_MAX);
    close(file);
    unlink(path);
    ring_close(ring);
}

static void *ring_the_bell(void *argument)
{
    uint64_t one = 1;
    assert_int_equal(write(*(int *)argument, &one, sizeof one), sizeof one);
    return NULL;
}

static void test_doorbell(void **state)
{
    (void)state;
    struct ring *ring = open_ring((struct ring_options){0});
    int doorbell = ring_doorbell(ring);
    for (int i = 0; i < 3; i++) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, ring_the_bell, &doorbell), 0);
        assert_int_equal(next(ring).op, RING_WAKE);
        pthread_join(thread, NULL);
        nothing(ring);
    }
    ring_close(ring);
}

struct sleeper_ring {
    _Atomic(struct ring *) ring;
    enum ring_op woken;
};

static void *sleep_once(void *argument)
{
    struct sleeper_ring *sleeper = argument;
    struct ring *ring = open_ring((struct ring_options){0});
    sleeper->ring = ring;
    sleeper->woken = next(ring).op;
    return NULL;
}

static void wake_with(struct ring_features without)
{
    struct ring *ring = open_ring((struct ring_options){.without = without});
    struct sleeper_ring sleeper = {.ring = NULL};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, sleep_once, &sleeper), 0);
    while (!sleeper.ring)
        usleep(100);
    ring_wake(ring, sleeper.ring);
    nothing(ring);
    pthread_join(thread, NULL);
    assert_int_equal(sleeper.woken, RING_WAKE);
    ring_close(sleeper.ring); /* on another thread than its own, which has ended */
    nothing(ring);            /* this one still works */
    ring_close(ring);
}

static void test_wake(void **state)
{
    (void)state;
    wake_with((struct ring_features){0});
    wake_with((struct ring_features){.message_ring = true});
}

static void test_timeout(void **state)
{
    (void)state;
    struct ring *ring = open_ring((struct ring_options){0});
    struct completion out;
    assert_int_equal(ring_wait(ring, &out, 1, 2000000), 0);
    assert_false(ring_ready(ring));
    uint64_t one = 1;
    assert_int_equal(write(ring_doorbell(ring), &one, sizeof one), sizeof one);
    assert_true(ring_ready(ring));
    assert_int_equal(next(ring).op, RING_WAKE);
    ring_close(ring);
}

static void test_features(void **state)
{
    (void)state;
    struct ring *ring = open_ring((struct ring_options){0});
    struct ring_features features = ring_features(ring);
    print_message("registered %d accept %d receive %d message %d restrictions %d cap %d\n",
                  features.ring_fd_registered, features.multishot_accept,
                  features.multishot_receive, features.message_ring, features.restrictions,
                  features.receive_length_cap);
    assert_true(features.multishot_accept && features.multishot_receive);
    ring_close(ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_features),
        cmocka_unit_test(test_sockets),
        cmocka_unit_test(test_sockets_of_old_kernels),
        cmocka_unit_test(test_starving),
        cmocka_unit_test(test_receive_is_capped),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_queues_overflow),
        cmocka_unit_test(test_queues_overflow_while_it_is_refused),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_write_sync_that_fails),
        cmocka_unit_test(test_write_syncs_in_flight),
        cmocka_unit_test(test_doorbell),
        cmocka_unit_test(test_wake),
        cmocka_unit_test(test_timeout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
