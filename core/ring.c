/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the ring works.
 *
 * Setting up: the ring is made disabled, gets its receive buffers and the list
 * of the operations that this file uses (all others are then refused
 * by the kernel, whoever may have got hold of the descriptor), and is enabled.
 * What differs between kernels is found out by trying it on a socket pair.
 *
 * A request's user_data, which the kernel brings back:
 *
 *      63    60 59     55 54          32 31             0
 *     ┌────────┬─────────┬──────────────┬────────────────┐
 *     │ ring_op│  owner  │     slot     │   generation   │
 *     └────────┴─────────┴──────────────┴────────────────┘
 *
 * Two operations never leave this file: OP_HALF, one of the two requests of a RING_WRITE_SYNC,
 * whose slot is its place in `pair`; and OP_OWN, the ring's own affairs: the doorbell's read, and a
 * message that did not arrive.
 *
 * The submission queue may be full in the middle of a turn: then it is submitted at once. Should
 * the kernel not take it before completions have been read, they are put aside (`early`), and the
 * next ring_wait() finds them first.
 */
#include "core/ring.h"
#include "core/limits.h"
#include "core/region.h"
#include "core/ring_probe.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { OP_HALF = RING_WAKE + 1, OP_OWN = RING_WAKE + 2 };
enum { OWN_DOORBELL, OWN_MESSAGE }; /* ring_id.owner of an OP_OWN */
enum { HALF_WRITE, HALF_SYNC };     /* lowest bit of ring_id.generation of an OP_HALF */
enum { RECEIVE_CAP_BUFFERS = 4 };   /* buffers that one armed receive may fill */
enum { ENTER_FD_REGISTERED = 1 };   /* liburing's own flag, which its header does not name */
enum { BUFFER_GROUP = 0, SUBMIT_TRIES = 1000 };
_Static_assert(OP_OWN < 16, "an operation has four bits of user_data");

/* A write and the sync behind it. */
struct pair {
    struct ring_id id;
    uint32_t serial; /* 31 bits: which use of this place it is */
    bool busy;
};

struct ring {
    struct io_uring uring;
    struct ring_features features;
    pid_t thread;
    int doorbell;
    uint64_t rung; /* what the doorbell's read fills */
    struct io_uring_buf_ring *buffer_ring;
    uint8_t *buffer_memory;
    unsigned buffers, buffer_bytes, buffers_free;
    struct pair pair[RING_WRITE_SYNCS_MAX];
    struct io_uring_cqe *early;
    unsigned early_first, early_end, early_max;
    uint64_t overflows;
    bool overflowing;
    int broken;                  /* -errno of a submission in the middle of a turn */
    struct io_uring_sqe nowhere; /* takes requests from then on, until ring_wait() says so */
};

static uint64_t pack(unsigned op, struct ring_id id)
{
    must(id.slot < RING_SLOTS_MAX && id.owner < RING_OWNERS_MAX);
    return (uint64_t)op << 60 | (uint64_t)id.owner << 55 | (uint64_t)id.slot << 32 | id.generation;
}

static unsigned unpack(uint64_t data, struct ring_id *id)
{
    id->owner = (uint8_t)(data >> 55 & (RING_OWNERS_MAX - 1));
    id->slot = (uint32_t)(data >> 32 & (RING_SLOTS_MAX - 1));
    id->generation = (uint32_t)data;
    return (unsigned)(data >> 60);
}

/* ---- queueing ---- */

static void put_aside(struct ring *ring)
{
    unsigned head, taken = 0;
    struct io_uring_cqe *cqe;
    io_uring_for_each_cqe(&ring->uring, head, cqe)
    {
        if (ring->early_end == ring->early_max)
            break; /* the kernel keeps the rest */
        ring->early[ring->early_end++] = *cqe;
        taken++;
    }
    io_uring_cq_advance(&ring->uring, taken);
}

/* The kernel will take it, now or once completions have been read. */
static bool passes(int result)
{
    return result >= 0 || result == -ETIME || result == -EINTR || result == -EAGAIN ||
           result == -EBUSY;
}

static void submit_now(struct ring *ring)
{
    int result = 0;
    for (unsigned tries = 0; tries < SUBMIT_TRIES && passes(result); tries++) {
        if ((result = io_uring_submit(&ring->uring)) > 0)
            return;
        put_aside(ring);
        if (tries > 10)
            usleep(1000); /* no memory */
    }
    ring->broken = passes(result) ? -ENOMEM : result;
}

static struct io_uring_sqe *request(struct ring *ring, unsigned op, struct ring_id id)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);
    if (UNLIKELY(!sqe)) {
        submit_now(ring);
        sqe = io_uring_get_sqe(&ring->uring);
    }
    if (UNLIKELY(!sqe && ring->broken != 0))
        sqe = &ring->nowhere;
    must(sqe);
    memset(sqe, 0, sizeof *sqe);
    sqe->user_data = pack(op, id);
    return sqe;
}

void ring_accept(struct ring *ring, int listener, struct ring_id id)
{
    struct io_uring_sqe *sqe = request(ring, RING_ACCEPT, id);
    sqe->opcode = IORING_OP_ACCEPT;
    sqe->fd = listener;
    sqe->accept_flags = SOCK_CLOEXEC;
    sqe->ioprio = ring->features.multishot_accept ? IORING_ACCEPT_MULTISHOT : 0;
}

void ring_receive(struct ring *ring, int socket, struct ring_id id)
{
    struct io_uring_sqe *sqe = request(ring, RING_RECEIVE, id);
    sqe->opcode = IORING_OP_RECV;
    sqe->fd = socket;
    sqe->flags = IOSQE_BUFFER_SELECT;
    sqe->buf_group = BUFFER_GROUP;
    if (ring->features.multishot_receive)
        sqe->ioprio = IORING_RECV_MULTISHOT;
    else
        sqe->len = ring->buffer_bytes;
    if (ring->features.multishot_receive && ring->features.receive_length_cap)
        sqe->file_index = RECEIVE_CAP_BUFFERS * ring->buffer_bytes; /* sqe.optlen, Linux 6.17 */
}

void ring_send(struct ring *ring, int socket, const void *bytes, size_t length, struct ring_id id)
{
    struct io_uring_sqe *sqe = request(ring, RING_SEND, id);
    must(length <= INT32_MAX);
    sqe->opcode = IORING_OP_SEND;
    sqe->fd = socket;
    sqe->addr = (uint64_t)(uintptr_t)bytes;
    sqe->len = (uint32_t)length;
    sqe->msg_flags = MSG_NOSIGNAL;
}

void ring_cancel(struct ring *ring, int descriptor, struct ring_id id)
{
    struct io_uring_sqe *sqe = request(ring, RING_CANCEL, id);
    sqe->opcode = IORING_OP_ASYNC_CANCEL;
    sqe->fd = descriptor;
    sqe->cancel_flags = IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ALL;
}

void ring_cancel_receive(struct ring *ring, struct ring_id id)
{
    struct io_uring_sqe *sqe = request(ring, RING_CANCEL, id);
    sqe->opcode = IORING_OP_ASYNC_CANCEL;
    sqe->fd = -1;
    sqe->addr = pack(RING_RECEIVE, id);
}

void ring_close_descriptor(struct ring *ring, int descriptor, struct ring_id id)
{
    struct io_uring_sqe *sqe = request(ring, RING_CLOSE, id);
    sqe->opcode = IORING_OP_CLOSE;
    sqe->fd = descriptor;
}

static void transfer(struct io_uring_sqe *sqe, unsigned opcode, int file, const void *bytes,
                     size_t length, uint64_t offset)
{
    must(length <= INT32_MAX);
    sqe->opcode = (uint8_t)opcode;
    sqe->fd = file;
    sqe->addr = (uint64_t)(uintptr_t)bytes;
    sqe->len = (uint32_t)length;
    sqe->off = offset;
}

void ring_write(struct ring *ring, int file, const void *bytes, size_t length, uint64_t offset,
                struct ring_id id)
{
    transfer(request(ring, RING_WRITE, id), IORING_OP_WRITE, file, bytes, length, offset);
}

void ring_read(struct ring *ring, int file, void *bytes, size_t length, uint64_t offset,
               struct ring_id id)
{
    transfer(request(ring, RING_READ, id), IORING_OP_READ, file, bytes, length, offset);
}

static struct pair *take_pair(struct ring *ring, struct ring_id id)
{
    struct pair *pair = ring->pair;
    while (pair->busy) {
        pair++;
        must(pair < ring->pair + RING_WRITE_SYNCS_MAX);
    }
    *pair = (struct pair){id, (pair->serial + 1) & INT32_MAX, true};
    return pair;
}

void ring_write_sync(struct ring *ring, int file, const void *bytes, size_t length, uint64_t offset,
                     struct ring_id id)
{
    struct pair *pair = take_pair(ring, id);
    struct ring_id half = {.slot = (uint32_t)(pair - ring->pair)};
    if (io_uring_sq_space_left(&ring->uring) < 2)
        submit_now(ring); /* a link does not reach over two submissions */
    half.generation = pair->serial << 1 | HALF_WRITE;
    struct io_uring_sqe *sqe = request(ring, OP_HALF, half);
    transfer(sqe, IORING_OP_WRITE, file, bytes, length, offset);
    sqe->flags = IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS;
    half.generation = pair->serial << 1 | HALF_SYNC;
    sqe = request(ring, OP_HALF, half);
    sqe->opcode = IORING_OP_FSYNC;
    sqe->fd = file;
    sqe->fsync_flags = IORING_FSYNC_DATASYNC;
}

void ring_sync(struct ring *ring, int file, struct ring_id id)
{
    struct io_uring_sqe *sqe = request(ring, RING_SYNC, id);
    sqe->opcode = IORING_OP_FSYNC;
    sqe->fd = file;
}

void ring_open_file(struct ring *ring, int directory, const char *name, int flags, uint32_t mode,
                    struct ring_id id)
{
    struct io_uring_sqe *sqe = request(ring, RING_OPEN, id);
    io_uring_prep_openat(sqe, directory, name, flags | O_CLOEXEC, mode);
    sqe->user_data = pack(RING_OPEN, id);
}

void ring_unlink(struct ring *ring, int directory, const char *name, struct ring_id id)
{
    struct io_uring_sqe *sqe = request(ring, RING_UNLINK, id);
    io_uring_prep_unlinkat(sqe, directory, name, 0);
    sqe->user_data = pack(RING_UNLINK, id);
}

void ring_rename(struct ring *ring, int directory, const char *from, const char *to,
                 struct ring_id id)
{
    struct io_uring_sqe *sqe = request(ring, RING_RENAME, id);
    io_uring_prep_renameat(sqe, directory, from, directory, to, 0);
    sqe->user_data = pack(RING_RENAME, id);
}

/* ---- waking ---- */

static void listen_for_doorbell(struct ring *ring)
{
    struct io_uring_sqe *sqe = request(ring, OP_OWN, (struct ring_id){.owner = OWN_DOORBELL});
    transfer(sqe, IORING_OP_READ, ring->doorbell, &ring->rung, sizeof ring->rung, 0);
}

static void ring_the_bell(int doorbell)
{
    uint64_t one = 1;
    ssize_t written = write(doorbell, &one, sizeof one);
    must(written == sizeof one || errno == EINTR || errno == EAGAIN);
}

int ring_doorbell(const struct ring *ring)
{
    return ring->doorbell;
}

void ring_wake(struct ring *from, const struct ring *to)
{
    if (!from->features.message_ring) {
        ring_the_bell(to->doorbell);
        return;
    }
    struct ring_id own = {.owner = OWN_MESSAGE, .slot = (uint32_t)to->doorbell};
    struct io_uring_sqe *sqe = request(from, OP_OWN, own);
    sqe->opcode = IORING_OP_MSG_RING;
    sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
    sqe->fd = to->uring.ring_fd;
    sqe->off = pack(RING_WAKE, (struct ring_id){0});
}

/* ---- completions ---- */

static bool own_completed(struct ring *ring, struct ring_id id, int32_t result,
                          struct completion *out)
{
    if (id.owner == OWN_MESSAGE) { /* it comes only if it failed */
        ring->features.message_ring = false;
        ring_the_bell((int)id.slot);
        return false;
    }
    if (result == -ECANCELED)
        return false;
    listen_for_doorbell(ring);
    *out = (struct completion){.op = RING_WAKE, .buffer = -1};
    return true;
}

/*
 * The write's half comes only if it failed or was short, and then the sync's does not:
 * the kernel skips the completions of a chain whose head failed.
 * Should one send it nevertheless, its generation is stale.
 */
static bool half_completed(struct ring *ring, struct ring_id half, int32_t result,
                           struct completion *out)
{
    must(half.slot < RING_WRITE_SYNCS_MAX);
    struct pair *pair = &ring->pair[half.slot];
    if (!pair->busy || half.generation >> 1 != pair->serial)
        return false;
    pair->busy = false;
    if (half.generation % 2 == HALF_WRITE && result >= 0)
        result = -ENOSPC;
    *out = (struct completion){RING_WRITE_SYNC, pair->id, result, false, -1};
    return true;
}

/* A kernel that does not know multishot accept says so here;
 * from then on it is asked for one at a time. */
static void accept_completed(struct ring *ring, struct completion *out)
{
    if (out->result != -EINVAL || !ring->features.multishot_accept)
        return;
    ring->features.multishot_accept = false;
    out->result = -EAGAIN;
}

/* False: it was an affair of the ring's own. */
static bool translate(struct ring *ring, const struct io_uring_cqe *cqe, struct completion *out)
{
    struct ring_id id;
    unsigned op = unpack(cqe->user_data, &id);
    if (op == OP_OWN)
        return own_completed(ring, id, cqe->res, out);
    if (op == OP_HALF)
        return half_completed(ring, id, cqe->res, out);
    out->op = (enum ring_op)op;
    out->id = id;
    out->result = cqe->res;
    out->more = cqe->flags & IORING_CQE_F_MORE;
    out->buffer = -1;
    if (cqe->flags & IORING_CQE_F_BUFFER) {
        out->buffer = (int32_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
        ring->buffers_free--;
    }
    if (op == RING_ACCEPT)
        accept_completed(ring, out);
    return true;
}

static unsigned reap_early(struct ring *ring, struct completion *out, unsigned max)
{
    unsigned count = 0;
    while (count < max && ring->early_first < ring->early_end)
        if (translate(ring, &ring->early[ring->early_first++], &out[count]))
            count++;
    if (ring->early_first == ring->early_end)
        ring->early_first = ring->early_end = 0;
    return count;
}

static unsigned reap(struct ring *ring, struct completion *out, unsigned max)
{
    unsigned count = reap_early(ring, out, max);
    if (ring->early_end > 0)
        return count;
    unsigned head;
    struct io_uring_cqe *cqe;
    io_uring_for_each_cqe(&ring->uring, head, cqe)
    {
        if (count == max)
            break;
        struct io_uring_cqe completion = *cqe;
        io_uring_cq_advance(&ring->uring, 1); /* before translate(), which may submit */
        if (translate(ring, &completion, &out[count]))
            count++;
    }
    return count;
}

static void watch_overflow(struct ring *ring)
{
    bool overflowing = io_uring_cq_has_overflow(&ring->uring);
    if (overflowing && !ring->overflowing)
        ring->overflows++;
    ring->overflowing = overflowing;
}

/* The one system call of a turn. */
static int enter(struct ring *ring, int64_t timeout_ns)
{
    struct io_uring_cqe *first;
    if (timeout_ns == 0)
        return io_uring_submit_and_get_events(&ring->uring);
    if (timeout_ns < 0)
        return io_uring_submit_and_wait_timeout(&ring->uring, &first, 1, NULL, NULL);
    struct __kernel_timespec time = {timeout_ns / 1000000000, timeout_ns % 1000000000};
    return io_uring_submit_and_wait_timeout(&ring->uring, &first, 1, &time, NULL);
}

int ring_wait(struct ring *ring, struct completion *out, unsigned max, int64_t timeout_ns)
{
    bool leftovers = ring->early_end > 0 || io_uring_cq_ready(&ring->uring) > 0;
    int result = ring->broken != 0 ? ring->broken : enter(ring, leftovers ? 0 : timeout_ns);
    watch_overflow(ring);
    if (ring->broken != 0 || !passes(result))
        return result;
    return (int)reap(ring, out, max);
}

bool ring_ready(const struct ring *ring)
{
    unsigned flags = IO_URING_READ_ONCE(*ring->uring.sq.kflags);
    return io_uring_cq_ready(&ring->uring) > 0 || ring->early_end > 0 ||
           (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW));
}

uint64_t ring_overflows(const struct ring *ring)
{
    return ring->overflows;
}

struct ring_features ring_features(const struct ring *ring)
{
    return ring->features;
}

/* ---- receive buffers ---- */

uint8_t *ring_buffer(struct ring *ring, int32_t buffer)
{
    must(buffer >= 0 && (unsigned)buffer < ring->buffers);
    return ring->buffer_memory + (size_t)buffer * ring->buffer_bytes;
}

void ring_buffer_put(struct ring *ring, int32_t buffer)
{
    struct io_uring_buf_ring *queue = ring->buffer_ring;
    unsigned short tail = queue->tail;
    struct io_uring_buf *entry = &queue->bufs[tail & (ring->buffers - 1)];
    entry->addr = (uint64_t)(uintptr_t)ring_buffer(ring, buffer);
    entry->len = ring->buffer_bytes;
    entry->bid = (uint16_t)buffer;
    io_uring_smp_store_release(&queue->tail, (unsigned short)(tail + 1));
    must(++ring->buffers_free <= ring->buffers);
}

unsigned ring_buffers_free(const struct ring *ring)
{
    return ring->buffers_free;
}

static int open_buffers(struct ring *ring, const struct ring_options *options)
{
    must(options->buffers > 0 && options->buffers <= 32768);
    must((options->buffers & (options->buffers - 1)) == 0);
    ring->buffers = options->buffers;
    ring->buffer_bytes = options->buffer_bytes;
    ring->buffer_memory = region_open((size_t)ring->buffers * ring->buffer_bytes);
    ring->buffer_ring = region_open(ring->buffers * sizeof(struct io_uring_buf));
    if (!ring->buffer_memory || !ring->buffer_ring)
        return -ENOMEM;
    struct io_uring_buf_reg registration = {.ring_addr = (uint64_t)(uintptr_t)ring->buffer_ring,
                                            .ring_entries = ring->buffers,
                                            .bgid = BUFFER_GROUP};
    int result = io_uring_register_buf_ring(&ring->uring, &registration, 0);
    if (result < 0)
        return result;
    for (unsigned i = 0; i < ring->buffers; i++)
        ring_buffer_put(ring, (int32_t)i);
    return 0;
}

/* ---- opening and closing ---- */

/* The requests that this file makes; nothing else can be asked of the ring once it is enabled. */
static bool restrict_operations(struct ring *ring)
{
    static const uint8_t allowed[] = {
        IORING_OP_ACCEPT, IORING_OP_RECV,     IORING_OP_SEND,     IORING_OP_ASYNC_CANCEL,
        IORING_OP_CLOSE,  IORING_OP_WRITE,    IORING_OP_READ,     IORING_OP_FSYNC,
        IORING_OP_OPENAT, IORING_OP_UNLINKAT, IORING_OP_RENAMEAT, IORING_OP_MSG_RING,
    };
    struct io_uring_restriction rule[COUNT_OF(allowed) + 2] = {
        {.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED,
         .sqe_flags = IOSQE_IO_LINK | IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS},
        {.opcode = IORING_RESTRICTION_REGISTER_OP, .register_op = IORING_UNREGISTER_RING_FDS},
    };
    for (size_t i = 0; i < COUNT_OF(allowed); i++) {
        rule[i + 2].opcode = IORING_RESTRICTION_SQE_OP;
        rule[i + 2].sqe_op = allowed[i];
    }
    return io_uring_register((unsigned)ring->uring.ring_fd, IORING_REGISTER_RESTRICTIONS, rule,
                             COUNT_OF(rule)) == 0;
}

static int setup(struct ring *ring, const struct ring_options *options)
{
    struct io_uring_params parameters = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
                 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP |
                 IORING_SETUP_R_DISABLED,
        .cq_entries = options->completion_entries,
    };
    int result = io_uring_queue_init_params(options->entries, &ring->uring, &parameters);
    if (result == -EINVAL)
        return -EOPNOTSUPP; /* single issuer and deferred task running came with 6.0 and 6.1 */
    if (result < 0)
        return result;
    ring->early_max = 2 * parameters.cq_entries;
    ring->early = region_open(ring->early_max * sizeof *ring->early);
    return ring->early ? 0 : -ENOMEM;
}

static int enable(struct ring *ring, const struct ring_options *options)
{
    int result = open_buffers(ring, options);
    if (result < 0)
        return result;
    if (!options->without.ring_fd_registered)
        ring->features.ring_fd_registered = io_uring_register_ring_fd(&ring->uring) == 1;
    if (!options->without.restrictions)
        ring->features.restrictions = restrict_operations(ring);
    result =
        io_uring_register((unsigned)ring->uring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    if (result < 0)
        return result;
    ring->doorbell = eventfd(0, EFD_CLOEXEC); /* blocking, or else its read would not wait */
    if (ring->doorbell < 0)
        return -errno;
    listen_for_doorbell(ring);
    return ring_probe(ring, &ring->features, &options->without);
}

int ring_open(struct ring **out, const struct ring_options *options, char *why)
{
    struct ring *ring = calloc(1, sizeof *ring);
    int result = -ENOMEM;
    if (ring) {
        ring->thread = gettid();
        ring->doorbell = ring->uring.ring_fd = -1;
        result = setup(ring, options);
        if (result == 0)
            result = enable(ring, options);
    }
    if (result < 0) {
        limits_explain_ring(result, why);
        ring_close(ring);
        return result;
    }
    *out = ring;
    return 0;
}

void ring_close(struct ring *ring)
{
    if (!ring)
        return;
    /* A ring's registered descriptor belongs to its thread and went with it. */
    if (ring->thread != gettid())
        ring->uring.int_flags &= (uint8_t)~ENTER_FD_REGISTERED;
    if (ring->uring.sq.ring_ptr)
        io_uring_queue_exit(&ring->uring);
    if (ring->doorbell >= 0)
        close(ring->doorbell);
    region_close(ring->buffer_ring, ring->buffers * sizeof(struct io_uring_buf));
    region_close(ring->buffer_memory, (size_t)ring->buffers * ring->buffer_bytes);
    region_close(ring->early, ring->early_max * sizeof *ring->early);
    free(ring);
}
