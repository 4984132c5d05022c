/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The box's threads that are no shards: the writers. Each has a stack of its own and runs until it
 * sleeps; then the world goes on without it.
 *
 * What such a thread is made with and sleeps by stands before the C library's: pthread_create,
 * pthread_join, poll and eventfd_read. The simulated Postgres sleeps with fiber_sleep().
 */
#ifndef TESTS_SIM_FIBER_H
#define TESTS_SIM_FIBER_H

#include "tests/sim/world.h"

enum { FIBERS_MAX = WORLD_SHARDS_MAX, FIBER_BELL_FIRST = 400 };

/* By the thread itself: until then, until its bell is rung, or until *early (NULL: never).
 * True: the bell has been rung. */
bool fiber_sleep(int bell, uint64_t until_ns, const bool *early);
bool fiber_hears(int bell); /* … since the last time that this was asked */
void fiber_ring(int bell);

uint64_t fibers_next_ns(void);
void fibers_work(void);
/* They have been told to stop: each runs to its end, and nothing makes it sleep any more. */
void fibers_end(void);

#endif
