/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a load run has seen: every message's number against the one that was due, and how long it
 * took, in a histogram with an error below 3 %. No allocation; one thread.
 */
#ifndef PERF_LOAD_TALLY_H
#define PERF_LOAD_TALLY_H

#include <stdint.h>

enum { TALLY_STEPS = 32, TALLY_BUCKETS = 60 * TALLY_STEPS };

struct tally {
    uint64_t delivered, lost, duplicate, reordered, others; /* others: without a number */
    uint64_t reads, samples, longest_ns;
    uint64_t bucket[TALLY_BUCKETS];
};

/* Message `number` came where `*due` was; moves *due on. */
void tally_number(struct tally *tally, uint32_t number, uint32_t *due);
void tally_took(struct tally *tally, uint64_t ns);
/* The time that this share (0.99) of the samples stayed within, in microseconds. */
double tally_within_us(const struct tally *tally, double share);

#endif
