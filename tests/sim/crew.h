/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many seeds, by as many processes as there are cores: the world is a global, and a seed that
 * breaks its process must not take the others' findings along.
 *
 * Seeds are handed out in their order, and a process ends only behind the seed that it has: so of
 * all seeds that fail the lowest ones are always found, however fast each process was.
 */
#ifndef TESTS_SIM_CREW_H
#define TESTS_SIM_CREW_H

#include "tests/sim/world.h"

enum { CREW_FAILURES_MAX = 64, CREW_SIZE_MAX = 64 };

struct crew_order {
    uint64_t first, seeds;
    unsigned size;         /* processes, up to CREW_SIZE_MAX */
    unsigned failures_max; /* no more seeds are begun after so many have failed */
    bool (*run)(uint64_t seed);
};

struct crew_failure {
    uint64_t seed;
    char verdict[256];
};

struct crew_report {
    uint64_t seeds; /* that were run */
    unsigned failures;
    struct crew_failure failure[CREW_FAILURES_MAX]; /* by seed */
    uint64_t saw[SIGHTS];
};

/* Runs them all, and the seeds' time with them: one that takes too much of it fails. */
void crew_run(const struct crew_order *order, struct crew_report *out);

#endif
