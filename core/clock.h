/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time and chance, behind one door so that the simulation can give both from a seed. Any thread.
 */
#ifndef CORE_CLOCK_H
#define CORE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

uint64_t clock_mono_ns(void); /* CLOCK_MONOTONIC, ns: for deadlines and durations */
int64_t clock_wall_us(void); /* CLOCK_REALTIME, microseconds since 1970-01-01T00:00:00Z: for data */
void clock_random(void *out, size_t length); /* getrandom(2): unpredictable bytes; cannot fail */

#endif
