/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core/ring.h on the simulated kernel. Requests are queued, reach the kernel with the next
 * ring_wait(), are carried out after a time that chance gives each of them, and so in any order;
 * their completions then lie there in the order in which they happened.
 *
 * A write_sync is two steps, with other people's steps between them.
 */
#include "tests/sim/ring.h"
#include "core/crc32c.h"
#include "tests/sim/disk.h"
#include "tests/sim/fiber.h"
#include "tests/sim/net.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

enum { REQUESTS_MAX = 4096, DONE_MAX = 8192, DOORBELL_FIRST = 500 };

struct request {
    enum ring_op op;
    struct ring_id id;
    int descriptor;
    const void *bytes; /* or the first name */
    const char *name;  /* the second */
    size_t length;
    uint64_t offset;
    uint32_t sum; /* of the bytes: they must stay as they are */
    int flags;
    bool submitted, synced /* its second step is left */;
    uint64_t due_ns;
};

struct ring {
    unsigned index;
    unsigned requests;
    unsigned first, end;
    uint8_t *memory;
    unsigned buffers, buffer_bytes, buffers_free;
    bool *free;
    bool time_is_over;
    uint64_t wakes_ns;
    struct request request[REQUESTS_MAX];
    struct completion done[DONE_MAX];
};

/* ── Requests ───────────────────────────────────────────────────────────────────────────────── */

static struct request *request(struct ring *ring, enum ring_op op, struct ring_id id)
{
    must(ring->requests < REQUESTS_MAX && id.slot < RING_SLOTS_MAX && id.owner < RING_OWNERS_MAX);
    struct request *request = &ring->request[ring->requests++];
    *request = (struct request){.op = op, .id = id};
    return request;
}

void ring_accept(struct ring *ring, int listener, struct ring_id id)
{
    request(ring, RING_ACCEPT, id)->descriptor = listener;
}

void ring_receive(struct ring *ring, int socket, struct ring_id id)
{
    request(ring, RING_RECEIVE, id)->descriptor = socket;
}

/* Of what is long, both ends: nobody but a reader of what must not be written changes the middle. */
static uint32_t sum_of(const struct request *request)
{
    enum { END = 4096 };
    const uint8_t *bytes = request->bytes;
    if (request->op == RING_READ)
        return 0;
    if (request->length <= 4 * END)
        return crc32c(0, bytes, request->length);
    return crc32c(crc32c(0, bytes, END), bytes + request->length - END, END);
}

static void transfer(struct request *request, int descriptor, const void *bytes, size_t length,
                     uint64_t offset)
{
    request->descriptor = descriptor;
    request->bytes = bytes;
    request->length = length;
    request->offset = offset;
    request->sum = sum_of(request);
}

void ring_send(struct ring *ring, int socket, const void *bytes, size_t length, struct ring_id id)
{
    transfer(request(ring, RING_SEND, id), socket, bytes, length, 0);
}

void ring_cancel(struct ring *ring, int descriptor, struct ring_id id)
{
    request(ring, RING_CANCEL, id)->descriptor = descriptor;
}

void ring_cancel_receive(struct ring *ring, struct ring_id id)
{
    request(ring, RING_CANCEL, id)->descriptor = -1;
}

void ring_close_descriptor(struct ring *ring, int descriptor, struct ring_id id)
{
    request(ring, RING_CLOSE, id)->descriptor = descriptor;
}

void ring_write(struct ring *ring, int file, const void *bytes, size_t length, uint64_t offset,
                struct ring_id id)
{
    transfer(request(ring, RING_WRITE, id), file, bytes, length, offset);
}

void ring_write_sync(struct ring *ring, int file, const void *bytes, size_t length, uint64_t offset,
                     struct ring_id id)
{
    transfer(request(ring, RING_WRITE_SYNC, id), file, bytes, length, offset);
}

void ring_read(struct ring *ring, int file, void *bytes, size_t length, uint64_t offset,
               struct ring_id id)
{
    transfer(request(ring, RING_READ, id), file, bytes, length, offset);
}

void ring_sync(struct ring *ring, int file, struct ring_id id)
{
    request(ring, RING_SYNC, id)->descriptor = file;
}

void ring_open_file(struct ring *ring, int directory, const char *name, int flags, uint32_t mode,
                    struct ring_id id)
{
    struct request *open = request(ring, RING_OPEN, id);
    (void)mode;
    open->descriptor = directory;
    open->bytes = name;
    open->flags = flags;
}

void ring_unlink(struct ring *ring, int directory, const char *name, struct ring_id id)
{
    struct request *unlink = request(ring, RING_UNLINK, id);
    unlink->descriptor = directory;
    unlink->bytes = name;
}

void ring_rename(struct ring *ring, int directory, const char *from, const char *to,
                 struct ring_id id)
{
    struct request *rename = request(ring, RING_RENAME, id);
    rename->descriptor = directory;
    rename->bytes = from;
    rename->name = to;
}

/* ── Completions ────────────────────────────────────────────────────────────────────────────── */

static void complete(struct ring *ring, const struct completion *completion)
{
    if (ring->first == ring->end)
        ring->first = ring->end = 0;
    must(ring->end < DONE_MAX);
    ring->done[ring->end++] = *completion;
}

static void answer(struct ring *ring, const struct request *request, int32_t result, bool more)
{
    complete(ring, &(struct completion){request->op, request->id, result, more, -1});
}

static void forget(struct ring *ring, unsigned index)
{
    ring->requests--;
    memmove(&ring->request[index], &ring->request[index + 1],
            (ring->requests - index) * sizeof ring->request[0]);
}

static void ring_bell(struct ring *ring)
{
    complete(ring, &(struct completion){.op = RING_WAKE, .buffer = -1});
}

void ring_wake(struct ring *from, const struct ring *to)
{
    request(from, RING_WAKE, (struct ring_id){0})->descriptor = DOORBELL_FIRST + (int)to->index;
}

int ring_doorbell(const struct ring *ring)
{
    return DOORBELL_FIRST + (int)ring->index;
}

/* Stands before the C library's: core/mail.c wakes with it. Other bells are the writers'. */
int eventfd_write(int bell, eventfd_t value)
{
    (void)value;
    if (bell < DOORBELL_FIRST || bell >= DOORBELL_FIRST + WORLD_SHARDS_MAX)
        fiber_ring(bell);
    else if (world.ring[bell - DOORBELL_FIRST] != NULL)
        ring_bell(world.ring[bell - DOORBELL_FIRST]);
    return 0;
}

/* ── Carrying out ───────────────────────────────────────────────────────────────────────────── */

static uint64_t disk_latency(void)
{
    if (faulty(world.faults.slow))
        return world.now_ns + MILLISECONDS(between(5, world.slowest_ms));
    return world.now_ns + MICROSECONDS(between(20, 600));
}

static void check_bytes(const struct request *request)
{
    if (sum_of(request) != request->sum)
        blame("the bytes of a request (operation %d) have changed before it was done",
              (int)request->op);
}

static bool is_ready(const struct request *request)
{
    switch (request->op) {
    case RING_ACCEPT:
        return net_acceptable(request->descriptor);
    case RING_RECEIVE:
        return net_readable(request->descriptor);
    case RING_SEND:
        return net_writable(request->descriptor);
    default:
        return true;
    }
}

/* True: it goes on. */
static bool do_accept(struct ring *ring, const struct request *request)
{
    if (faulty(world.faults.accept_fails)) {
        answer(ring, request, once_in(2) ? -EMFILE : -ECONNABORTED, false);
        return false;
    }
    bool more = !once_in(6);
    answer(ring, request, net_accept(request->descriptor), more);
    return more;
}

static int32_t take_buffer(struct ring *ring)
{
    unsigned from = (unsigned)below(ring->buffers);
    for (unsigned i = 0; i < ring->buffers; i++) {
        unsigned index = (from + i) % ring->buffers;
        if (!ring->free[index])
            continue;
        ring->free[index] = false;
        ring->buffers_free--;
        return (int32_t)index;
    }
    return -1;
}

static bool do_receive(struct ring *ring, const struct request *request)
{
    int32_t buffer = take_buffer(ring);
    if (buffer < 0) {
        saw(SAW_STARVED);
        answer(ring, request, -ENOBUFS, false);
        return false;
    }
    size_t most = once_in(3) ? between(1, ring->buffer_bytes) : ring->buffer_bytes;
    ssize_t got = net_receive(request->descriptor, ring_buffer(ring, buffer), most);
    bool more = got > 0 && !once_in(8);
    if (got <= 0)
        ring_buffer_put(ring, buffer);
    complete(ring, &(struct completion){RING_RECEIVE, request->id, (int32_t)got, more,
                                        got > 0 ? buffer : -1});
    return more;
}

static bool do_send(struct ring *ring, const struct request *request)
{
    size_t length = request->length;
    check_bytes(request);
    if (world_io() != IO_GOES)
        return true; /* it never left */
    if (length > 1 && once_in(6)) {
        length = between(1, length - 1);
        saw(SAW_SENDS_SHORT);
    }
    ssize_t sent = net_send(request->descriptor, request->bytes, length);
    answer(ring, request, (int32_t)sent, false);
    return false;
}

/* All on the descriptor, or the one receive of that name. */
static void do_cancel(struct ring *ring, const struct request *cancel)
{
    struct request wanted = *cancel;
    int32_t found = 0;
    for (unsigned i = ring->requests; i-- > 0;) {
        const struct request *other = &ring->request[i];
        bool same = wanted.descriptor >= 0 ? other->descriptor == wanted.descriptor
                                           : other->id.slot == wanted.id.slot &&
                                                 other->id.generation == wanted.id.generation &&
                                                 other->id.owner == wanted.id.owner;
        bool kind =
            other->op == RING_RECEIVE ||
            (wanted.descriptor >= 0 && (other->op == RING_SEND || other->op == RING_ACCEPT));
        if (!same || !kind || !other->submitted)
            continue;
        answer(ring, other, -ECANCELED, false);
        forget(ring, i);
        found++;
    }
    answer(ring, &wanted, found > 0 ? found : -ENOENT, false);
}

static int do_write(const struct request *request)
{
    check_bytes(request);
    return (int)disk_write(request->descriptor, request->bytes, request->length, request->offset);
}

/* The first step of a write_sync. True: the second is left. */
static bool do_write_sync(struct ring *ring, struct request *request)
{
    if (!request->synced) {
        int written = do_write(request);
        if (written == (int)request->length) {
            request->synced = true;
            request->due_ns = disk_latency();
            return true;
        }
        answer(ring, request, written < 0 ? written : -ENOSPC, false);
        return false;
    }
    check_bytes(request);
    answer(ring, request, disk_sync(request->descriptor), false);
    return false;
}

static int do_close(int descriptor)
{
    if (disk_has(descriptor))
        disk_file_close(descriptor);
    else
        net_server_close(descriptor);
    return 0;
}

static int do_simply(const struct request *request)
{
    switch (request->op) {
    case RING_CLOSE:
        return do_close(request->descriptor);
    case RING_WRITE:
        return do_write(request);
    case RING_READ:
        return (int)disk_read(request->descriptor, (void *)(uintptr_t)request->bytes,
                              request->length, request->offset);
    case RING_SYNC:
        return disk_sync(request->descriptor);
    case RING_OPEN:
        return disk_file_open(request->descriptor, request->bytes, request->flags);
    case RING_UNLINK:
        return disk_unlink(request->descriptor, request->bytes);
    case RING_RENAME:
        return disk_rename(request->descriptor, request->bytes, request->name);
    default:
        must(false);
        return -EINVAL;
    }
}

/* True: it stays. */
static bool carry_out(struct ring *ring, struct request *request)
{
    switch (request->op) {
    case RING_ACCEPT:
        return do_accept(ring, request);
    case RING_RECEIVE:
        return do_receive(ring, request);
    case RING_SEND:
        return do_send(ring, request);
    case RING_WRITE_SYNC:
        return do_write_sync(ring, request);
    case RING_WAKE:
        (void)eventfd_write(request->descriptor, 1);
        return false;
    default:
        answer(ring, request, do_simply(request), false);
        return false;
    }
}

static bool is_due(const struct request *request)
{
    return request->submitted && request->due_ns <= world.now_ns && is_ready(request);
}

void ring_work(struct ring *ring)
{
    for (unsigned i = 0; i < ring->requests && world.power;) {
        struct request *request = &ring->request[i];
        if (!is_due(request)) {
            i++;
        } else if (request->op == RING_CANCEL) {
            struct request cancel = *request;
            forget(ring, i);
            do_cancel(ring, &cancel);
            i = 0;
        } else if (carry_out(ring, request)) {
            if (request->due_ns <= world.now_ns)
                request->due_ns = world.now_ns + MICROSECONDS(between(1, 20));
            i++;
        } else {
            forget(ring, i);
        }
    }
}

uint64_t ring_next_ns(const struct ring *ring)
{
    uint64_t next = NEVER;
    for (unsigned i = 0; i < ring->requests; i++) {
        const struct request *request = &ring->request[i];
        if (request->submitted && request->due_ns < next && is_ready(request))
            next = request->due_ns;
    }
    return next;
}

void ring_crash(struct ring *ring)
{
    for (unsigned i = 0; i < ring->requests; i++) {
        const struct request *request = &ring->request[i];
        bool write = request->op == RING_WRITE_SYNC || request->op == RING_WRITE;
        if (!write || request->synced || once_in(2))
            continue;
        world.power = true;
        (void)do_write(request);
        world.power = false;
    }
}

/* ── Waiting ────────────────────────────────────────────────────────────────────────────────── */

static void submit(struct ring *ring)
{
    for (unsigned i = 0; i < ring->requests; i++) {
        struct request *request = &ring->request[i];
        if (request->submitted)
            continue;
        request->submitted = true;
        bool quick = request->op <= RING_CLOSE || request->op == RING_WAKE;
        request->due_ns = quick ? world.now_ns + MICROSECONDS(between(1, 60)) : disk_latency();
    }
}

int ring_wait(struct ring *ring, struct completion *out, unsigned max, int64_t timeout_ns)
{
    unsigned count = ring->end - ring->first;
    submit(ring);
    if (count == 0 && timeout_ns != 0 && !ring->time_is_over) {
        ring->wakes_ns = timeout_ns < 0 ? NEVER : world.now_ns + (uint64_t)timeout_ns;
        longjmp(world.asleep, 1);
    }
    ring->time_is_over = false;
    ring->wakes_ns = 0;
    if (count > max)
        count = max;
    memcpy(out, &ring->done[ring->first], count * sizeof *out);
    ring->first += count;
    return (int)count;
}

uint64_t ring_wakes_ns(const struct ring *ring)
{
    return ring->first < ring->end ? 0 : ring->wakes_ns;
}

void ring_time_is_over(struct ring *ring)
{
    ring->time_is_over = ring->first == ring->end;
}

bool ring_ready(const struct ring *ring)
{
    return ring->first < ring->end;
}

uint64_t ring_overflows(const struct ring *ring)
{
    (void)ring;
    return 0;
}

struct ring_features ring_features(const struct ring *ring)
{
    (void)ring;
    return (struct ring_features){.multishot_accept = true, .multishot_receive = true};
}

/* ── Buffers ────────────────────────────────────────────────────────────────────────────────── */

uint8_t *ring_buffer(struct ring *ring, int32_t buffer)
{
    must(buffer >= 0 && (unsigned)buffer < ring->buffers && !ring->free[buffer]);
    return ring->memory + (size_t)buffer * ring->buffer_bytes;
}

void ring_buffer_put(struct ring *ring, int32_t buffer)
{
    must(buffer >= 0 && (unsigned)buffer < ring->buffers);
    if (ring->free[buffer])
        blame("receive buffer %d is given back twice", buffer);
    ring->free[buffer] = true;
    ring->buffers_free++;
    memset(ring->memory + (size_t)buffer * ring->buffer_bytes, 0xdd, ring->buffer_bytes);
}

unsigned ring_buffers_free(const struct ring *ring)
{
    return ring->buffers_free;
}

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

int ring_open(struct ring **out, const struct ring_options *options, char *why)
{
    struct ring *ring = malloc(sizeof *ring);
    (void)why;
    must(ring != NULL);
    memset(ring, 0, offsetof(struct ring, request)); /* the arrays are large, and begin empty */
    ring->index = world.running;
    ring->buffers = ring->buffers_free = options->buffers;
    ring->buffer_bytes = options->buffer_bytes;
    ring->memory = calloc(ring->buffers, ring->buffer_bytes);
    ring->free = malloc(ring->buffers * sizeof *ring->free);
    must(ring->memory != NULL && ring->free != NULL);
    memset(ring->free, true, ring->buffers * sizeof *ring->free);
    world.ring[ring->index] = ring;
    *out = ring;
    return 0;
}

void ring_close(struct ring *ring)
{
    if (ring == NULL)
        return;
    world.ring[ring->index] = NULL;
    free(ring->memory);
    free(ring->free);
    free(ring);
}
