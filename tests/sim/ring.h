/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the simulation itself asks of its rings, beside core/ring.h.
 *
 * A ring that would sleep jumps out of the turn, to world.asleep:
 * a turn has changed nothing before its ring_wait() sleeps, so it is simply begun
 * again when there is a reason. The sleep is exact: nothing but a completion,
 * the doorbell or the time given ends it, so whoever forgets to ring is found out.
 */
#ifndef TESTS_SIM_RING_H
#define TESTS_SIM_RING_H

#include "core/ring.h"

/* When the ring has something to carry out, NEVER if not; and carry out what is due. */
uint64_t ring_next_ns(const struct ring *ring);
void ring_work(struct ring *ring);
/* When the one who waits is to be woken: the present if there are completions. */
uint64_t ring_wakes_ns(const struct ring *ring);
/* It is woken because the time is over. */
void ring_time_is_over(struct ring *ring);
/* A crash: what was in flight may have got to the disk all the same. */
void ring_crash(struct ring *ring);

#endif
