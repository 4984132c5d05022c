/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bucket holds the times that agree in their highest bit and the five bits behind it.
 */
#include "perf/load/tally.h"

enum { STEP_BITS = 5 };

_Static_assert(1 << STEP_BITS == TALLY_STEPS, "the five bits behind the highest");

static unsigned bucket_of(uint64_t ns)
{
    if (ns < TALLY_STEPS)
        return (unsigned)ns;
    unsigned power = 63 - (unsigned)__builtin_clzll(ns) - STEP_BITS;
    unsigned place = (power + 1) * TALLY_STEPS + (unsigned)(ns >> power) % TALLY_STEPS;
    return place < TALLY_BUCKETS ? place : TALLY_BUCKETS - 1;
}

static uint64_t highest_in(unsigned bucket)
{
    unsigned power = bucket / TALLY_STEPS;
    uint64_t step = bucket % TALLY_STEPS;
    return power == 0 ? step : ((TALLY_STEPS + step + 1) << (power - 1)) - 1;
}

void tally_number(struct tally *tally, uint32_t number, uint32_t *due)
{
    tally->delivered++;
    if (number == *due) {
        ++*due;
    } else if (number > *due) { /* what is missing may still come, out of order */
        tally->lost += number - *due;
        *due = number + 1;
    } else if (number + 1 == *due) {
        tally->duplicate++;
    } else {
        tally->reordered++;
    }
}

void tally_took(struct tally *tally, uint64_t ns)
{
    tally->samples++;
    tally->bucket[bucket_of(ns)]++;
    if (ns > tally->longest_ns)
        tally->longest_ns = ns;
}

double tally_within_us(const struct tally *tally, double share)
{
    uint64_t wanted = (uint64_t)((double)tally->samples * share), seen = 0;
    for (unsigned i = 0; i < TALLY_BUCKETS; i++) {
        seen += tally->bucket[i];
        if (seen > wanted)
            return (double)highest_in(i) / 1e3;
    }
    return (double)tally->longest_ns / 1e3;
}
