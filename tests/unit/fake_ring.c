/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/fake_ring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECTOR = 512 };

uint64_t fake_random(uint64_t *seed)
{
    uint64_t x = *seed += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static struct fake_request *ask(struct ring *ring, enum ring_op op, int file, struct ring_id id)
{
    must(ring->requests < FAKE_REQUESTS_MAX);
    struct fake_request *request = &ring->request[ring->requests++];
    *request = (struct fake_request){.op = op, .file = file, .id = id};
    return request;
}

static void ask_write(struct ring *ring, enum ring_op op, int file, const void *bytes,
                      size_t length, uint64_t offset, struct ring_id id)
{
    must(length > 0 && length % 4096 == 0 && offset % 4096 == 0 && (uintptr_t)bytes % 4096 == 0);
    struct fake_request *request = ask(ring, op, file, id);
    request->bytes = bytes;
    request->length = length;
    request->offset = offset;
}

void ring_write(struct ring *ring, int file, const void *bytes, size_t length, uint64_t offset,
                struct ring_id id)
{
    ask_write(ring, RING_WRITE, file, bytes, length, offset, id);
}

static uint64_t inode_of(int file)
{
    struct stat status;
    must(fstat(file, &status) == 0);
    return status.st_ino;
}

void ring_write_sync(struct ring *ring, int file, const void *bytes, size_t length, uint64_t offset,
                     struct ring_id id)
{
    /* A commit goes only to a file that is durable, name and all, and never makes it longer. */
    struct stat status;
    must(fstat(file, &status) == 0 && (uint64_t)status.st_size >= offset + length);
    must(ring->dirty != status.st_ino);
    for (unsigned i = 0; i < ring->changes; i++) {
        struct stat named;
        const struct fake_change *change = &ring->change[i];
        must(fstatat(change->directory, change->to, &named, 0) != 0 ||
             named.st_ino != status.st_ino);
    }
    ask_write(ring, RING_WRITE_SYNC, file, bytes, length, offset, id);
}

void ring_sync(struct ring *ring, int file, struct ring_id id)
{
    (void)ask(ring, RING_SYNC, file, id);
}

void ring_open_file(struct ring *ring, int directory, const char *name, int flags, uint32_t mode,
                    struct ring_id id)
{
    (void)mode;
    struct fake_request *request = ask(ring, RING_OPEN, directory, id);
    (void)snprintf(request->name, sizeof request->name, "%s", name);
    request->flags = flags;
}

void ring_unlink(struct ring *ring, int directory, const char *name, struct ring_id id)
{
    /* Never two: a crash might bring back the older one. */
    must(ring->removing[0] == '\0' || strcmp(ring->removing, name) == 0);
    (void)snprintf(ring->removing, sizeof ring->removing, "%s", name);
    struct fake_request *request = ask(ring, RING_UNLINK, directory, id);
    (void)snprintf(request->name, sizeof request->name, "%s", name);
    (void)snprintf(request->to, sizeof request->to, "../bin/%u", ring->removed++);
}

void ring_rename(struct ring *ring, int directory, const char *from, const char *to,
                 struct ring_id id)
{
    struct fake_request *request = ask(ring, RING_RENAME, directory, id);
    (void)snprintf(request->name, sizeof request->name, "%s", from);
    (void)snprintf(request->to, sizeof request->to, "%s", to);
}

void ring_close_descriptor(struct ring *ring, int descriptor, struct ring_id id)
{
    (void)ask(ring, RING_CLOSE, descriptor, id);
}

/* ── Carrying out ───────────────────────────────────────────────────────────────────────────── */

static int32_t write_bytes(const struct fake_request *request, size_t length)
{
    ssize_t put = pwrite(request->file, request->bytes, length, (off_t)request->offset);
    return put < 0 ? -errno : (int32_t)put;
}

/* A removed file goes to the bin, for a crash may bring it back. */
static int32_t change_name(struct ring *ring, const struct fake_request *request)
{
    (void)mkdirat(request->file, "../bin", 0700);
    if (renameat(request->file, request->name, request->file, request->to) < 0)
        return -errno;
    must(ring->changes < FAKE_CHANGES_MAX);
    struct fake_change *change = &ring->change[ring->changes++];
    change->directory = request->file;
    memcpy(change->name, request->name, sizeof change->name);
    memcpy(change->to, request->to, sizeof change->to);
    return 0;
}

static void settle_names(struct ring *ring)
{
    ring->changes = 0;
    ring->removing[0] = '\0';
}

static int32_t sync_file(struct ring *ring, const struct fake_request *request)
{
    struct stat status;
    must(fstat(request->file, &status) == 0);
    if (S_ISDIR(status.st_mode))
        settle_names(ring);
    else if (ring->dirty == status.st_ino)
        ring->dirty = 0;
    return 0;
}

static int32_t carry_out(struct ring *ring, const struct fake_request *request)
{
    int32_t result;
    switch (request->op) {
    case RING_WRITE:
        ring->dirty = inode_of(request->file);
        return write_bytes(request, request->length);
    case RING_WRITE_SYNC:
        result = write_bytes(request, request->length);
        return result < 0 ? result : 0;
    case RING_SYNC:
        return sync_file(ring, request);
    case RING_OPEN:
        result = openat(request->file, request->name, request->flags | O_CLOEXEC, 0600);
        return result < 0 ? -errno : result;
    case RING_UNLINK:
        return change_name(ring, request);
    case RING_RENAME:
        must(ring->dirty == 0); /* a name only for what is durable */
        return change_name(ring, request);
    case RING_CLOSE:
        return close(request->file) < 0 ? -errno : 0;
    default:
        must(false);
    }
}

struct completion fake_ring_do(struct ring *ring, unsigned index, int error)
{
    must(index < ring->requests);
    struct fake_request request = ring->request[index];
    memmove(&ring->request[index], &ring->request[index + 1],
            (ring->requests - index - 1) * sizeof request);
    ring->requests--;
    ring->carried_out++;
    int32_t result = error;
    if (error == 0)
        result = carry_out(ring, &request);
    else if (error == -ECANCELED)
        (void)write_bytes(&request, request.length / 2 / 4096 * 4096);
    return (struct completion){.op = request.op, .id = request.id, .result = result, .buffer = -1};
}

int fake_ring_find(const struct ring *ring, enum ring_op op)
{
    for (unsigned i = 0; i < ring->requests; i++)
        if (ring->request[i].op == op)
            return (int)i;
    return -1;
}

/* Any of its sectors may have got there. */
static void tear(struct ring *ring, const struct fake_request *request)
{
    unsigned way = (unsigned)(fake_random(&ring->seed) % 4);
    for (size_t at = 0; way > 0 && at < request->length; at += SECTOR) {
        bool skipped = way == 2 && fake_random(&ring->seed) % 4 == 0;
        if (way == 3 && fake_random(&ring->seed) % 8 == 0)
            return;
        if (!skipped)
            must(pwrite(request->file, (const uint8_t *)request->bytes + at, SECTOR,
                        (off_t)(request->offset + at)) == SECTOR);
    }
}

void fake_ring_crash(struct ring *ring)
{
    for (unsigned i = 0; i < ring->requests; i++) {
        struct fake_request *request = &ring->request[i];
        bool happens = fake_random(&ring->seed) % 2 == 0;
        if (request->op == RING_WRITE_SYNC)
            tear(ring, request);
        else if (request->op == RING_CLOSE)
            (void)close(request->file);
        else if ((request->op == RING_RENAME || request->op == RING_UNLINK) && happens)
            (void)change_name(ring, request);
    }
    ring->requests = 0;
    while (ring->changes > 0 && fake_random(&ring->seed) % 3 != 0) {
        const struct fake_change *change = &ring->change[--ring->changes];
        must(renameat(change->directory, change->to, change->directory, change->name) == 0);
    }
    settle_names(ring);
    ring->dirty = 0;
}
