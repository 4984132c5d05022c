/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring for tests of what writes files: requests wait in a list, and the test says which one is
 * carried out next and how it ends. Files are real, in the test's own directory. It knows what a
 * crash may take back: a write that was in flight is torn, a name that was changed without fsync of
 * the directory may be the old one again.
 *
 * Include fake_ring.c; it stands in for core/ring.c.
 */
#ifndef TESTS_UNIT_FAKE_RING_H
#define TESTS_UNIT_FAKE_RING_H

#include "core/ring.h"

enum { FAKE_REQUESTS_MAX = 64, FAKE_NAME_BYTES = 64, FAKE_CHANGES_MAX = 256 };

struct fake_request {
    enum ring_op op;
    int file; /* or directory */
    const void *bytes;
    size_t length;
    uint64_t offset;
    char name[FAKE_NAME_BYTES], to[FAKE_NAME_BYTES];
    int flags;
    struct ring_id id;
};

/* A change of a directory that is not durable yet. */
struct fake_change {
    int directory;
    char name[FAKE_NAME_BYTES], to[FAKE_NAME_BYTES];
};

struct ring {
    struct fake_request request[FAKE_REQUESTS_MAX];
    unsigned requests;
    struct fake_change change[FAKE_CHANGES_MAX];
    unsigned changes;
    uint64_t dirty; /* inode of a file with writes that are not synced; 0: none */
    uint64_t carried_out;
    uint64_t seed;
    unsigned removed; /* for names in the bin */
    char removing
        [FAKE_NAME_BYTES]; /* removed, and the directory is not durable since; empty: none */
};

uint64_t fake_random(uint64_t *seed);

/* Carries out request `index`, or, with error != 0, lets it fail with that;
 * -ECANCELED: after half of it was written. The completion is the caller's to deliver. */
struct completion fake_ring_do(struct ring *ring, unsigned index, int error);
/* The index of the first waiting request of this kind; -1: none. */
int fake_ring_find(const struct ring *ring, enum ring_op op);
/* The machine stops: each waiting write happens, or not, or in part; names change back or not. */
void fake_ring_crash(struct ring *ring);

#endif
