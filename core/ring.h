/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring: the one door to the kernel's io_uring, and the only file that includes liburing.
 *
 * One ring belongs to one thread, which opens it there (IORING_SETUP_SINGLE_ISSUER).
 * Requests are only queued by the calls below; they reach the kernel in the next
 * ring_wait(), all in one system call. Each request names itself with a ring_id,
 * and its completion brings that id back: an operation, a slot and a generation,
 * never a pointer, so that a late completion for something that is gone is recognised.
 * Memory that a request names (bytes, file names) must stay as it is until its completion.
 *
 * The simulation replaces this file's .c at link time (tests/sim/ring.c), and core/file.c and
 * core/clock.c with it: nothing above knows the difference.
 */
#ifndef CORE_RING_H
#define CORE_RING_H

#include "core/must.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ring;

/* What a completion is for. The ring gives these out; users switch on them. */
enum ring_op {
    RING_ACCEPT = 1, /* result: a connected descriptor, or -errno */
    RING_RECEIVE,    /* result: bytes in `buffer` (0: end of stream), or -errno (-ENOBUFS: later) */
    RING_SEND,       /* result: bytes sent, perhaps fewer than asked, or -errno */
    RING_CANCEL,     /* result: >= 0, or -errno (-ENOENT: there was nothing to cancel) */
    RING_CLOSE,
    RING_WRITE,      /* file; result: bytes or -errno */
    RING_WRITE_SYNC, /* write and fdatasync; result: 0 only if every byte is durable, or -errno */
    RING_SYNC,       /* fsync of a file or directory */
    RING_OPEN,       /* result: descriptor or -errno */
    RING_UNLINK,
    RING_RENAME,
    RING_READ, /* file; result: bytes or -errno */
    RING_WAKE, /* somebody rang; carries no data: look into the mail */
};

enum { RING_SLOTS_MAX = 1 << 23, RING_OWNERS_MAX = 32, RING_WRITE_SYNCS_MAX = 64 };

struct ring_id {
    uint32_t slot; /* < RING_SLOTS_MAX */
    uint32_t generation;
    uint8_t owner; /* < RING_OWNERS_MAX; the user's own kind: connection, listener, spool … */
};

struct completion {
    enum ring_op op;
    struct ring_id id;
    int32_t result;
    bool more;      /* a multishot that goes on; false: it has ended and must be armed again */
    int32_t buffer; /* index for ring_buffer(), or -1 */
};

/* What this kernel offers beyond Linux 6.1's rings and buffer rings, found out by trying. */
struct ring_features {
    bool ring_fd_registered, multishot_accept, multishot_receive, message_ring, restrictions,
        receive_length_cap;
};

struct ring_options {
    unsigned entries;             /* submission queue, power of two */
    unsigned completion_entries;  /* at least twice the connections it will hold, power of two */
    unsigned buffers;             /* receive buffers, power of two, at most 32,768 */
    unsigned buffer_bytes;        /* bytes in each */
    struct ring_features without; /* for tests: do as if the kernel lacked these */
};

/*
 * Opens a ring on the calling thread. 0, or -errno with a sentence in `why`
 * (>= 256 bytes) that an operator can act on: -ENOSYS/-EPERM when the kernel
 * has no io_uring or kernel.io_uring_disabled forbids it, -ENOMEM when
 * RLIMIT_MEMLOCK is too small, -EOPNOTSUPP when the kernel is older than 6.1.
 */
NODISCARD int ring_open(struct ring **out, const struct ring_options *options, char *why);
/* On the ring's thread, or on another after that one has ended.
 * Rings that wake one another: first all the threads end, then the rings are closed. */
void ring_close(struct ring *ring);
struct ring_features ring_features(const struct ring *ring);

/*
 * Sockets. Accept and receive go on (completion.more) where the kernel can, else they end with
 * every completion; either way the user arms them again once `more` is false. A receive also ends
 * by itself after it has filled a few buffers, where the kernel can (receive_length_cap), so that
 * one greedy peer cannot take them all.
 */
void ring_accept(struct ring *ring, int listener, struct ring_id id);
void ring_receive(struct ring *ring, int socket, struct ring_id id);
void ring_send(struct ring *ring, int socket, const void *bytes, size_t length, struct ring_id id);
void ring_cancel(struct ring *ring, int descriptor, struct ring_id id); /* all on the descriptor */
void ring_cancel_receive(struct ring *ring, struct ring_id id); /* only the receive with this id */
void ring_close_descriptor(struct ring *ring, int descriptor, struct ring_id id);

/* Files. Offsets and lengths obey O_DIRECT's rules where the descriptor was opened with it. */
void ring_write(struct ring *ring, int file, const void *bytes, size_t length, uint64_t offset,
                struct ring_id id);
void ring_write_sync(struct ring *ring, int file, const void *bytes, size_t length, uint64_t offset,
                     struct ring_id id);
void ring_read(struct ring *ring, int file, void *bytes, size_t length, uint64_t offset,
               struct ring_id id);
void ring_sync(struct ring *ring, int file, struct ring_id id);
void ring_open_file(struct ring *ring, int directory, const char *name, int flags, uint32_t mode,
                    struct ring_id id);
void ring_unlink(struct ring *ring, int directory, const char *name, struct ring_id id);
void ring_rename(struct ring *ring, int directory, const char *from, const char *to,
                 struct ring_id id);

/* Received bytes, `result` of them, valid and writable until given back. Every buffer of a
 * completion must be given back exactly once, also when the completion is for nobody any more. */
uint8_t *ring_buffer(struct ring *ring, int32_t buffer);
void ring_buffer_put(struct ring *ring, int32_t buffer);
unsigned ring_buffers_free(const struct ring *ring);

/*
 * Submits what is queued and waits for at least one completion,
 * until `timeout_ns` has passed (0: only look; -1: for ever).
 * Returns how many of `out[max]` it filled, or -errno for a ring that is broken.
 */
NODISCARD int ring_wait(struct ring *ring, struct completion *out, unsigned max,
                        int64_t timeout_ns);
/* Would ring_wait(0) find something? Looks only at shared memory: for spinning. */
bool ring_ready(const struct ring *ring);
/* Times that completions came faster than the completion queue could hold; none was lost. */
uint64_t ring_overflows(const struct ring *ring);

/*
 * Waking a ring that waits. ring_doorbell() is an eventfd that any thread
 * may write 8 bytes (1) to; the owner then gets a RING_WAKE. ring_wake()
 * does the same from another ring's thread by a ring message (falls back
 * to the doorbell): it is queued on `from` and leaves with its next ring_wait().
 */
int ring_doorbell(const struct ring *ring);
void ring_wake(struct ring *from, const struct ring *to);

#endif
