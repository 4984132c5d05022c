/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One seed, from its beginning to its end.
 */
#ifndef TESTS_SIM_SEED_H
#define TESTS_SIM_SEED_H

#include "tests/sim/world.h"

/* False: something is wrong, world.verdict says what. */
bool seed_run(uint64_t seed, enum telling telling);

/* Seeds take turns with the scenarios. NULL: there are no more. */
unsigned seed_scenario(uint64_t seed);
const char *seed_scenario_name(unsigned scenario);

#endif
