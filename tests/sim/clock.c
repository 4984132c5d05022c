/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core/clock.h in the simulation. Time passes only between turns;
 * the wall clock is set forward and back by the plan (sim.c).
 */
#include "core/clock.h"
#include "tests/sim/world.h"

#include <string.h>

uint64_t clock_mono_ns(void)
{
    return world.now_ns;
}

int64_t clock_wall_us(void)
{
    return world.wall_us + (int64_t)(world.now_ns / 1000);
}

void clock_random(void *out, size_t length)
{
    uint8_t *at = out;
    while (length > 0) {
        uint64_t bits = chance();
        size_t some = length < sizeof bits ? length : sizeof bits;
        memcpy(at, &bits, some);
        at += some;
        length -= some;
    }
}
