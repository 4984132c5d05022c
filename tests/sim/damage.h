/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was durable rots, while the box is down: a bit, or a sector. A start has to refuse, and to
 * name exactly the events of the block that was hit; the operator then starts with --accept-loss.
 * From then on these events may be missing, or twice if they had been stored, and producers whose
 * counts stood in the block may be told less than before: nothing else.
 */
#ifndef TESTS_SIM_DAMAGE_H
#define TESTS_SIM_DAMAGE_H

#include "tests/sim/box.h"

/* Damages a block, or something that nobody misses, if there is a
 * place for it. The next start will show which. */
void damage_plant(struct box *box);
/* A start was refused for damage: is it this? Then the next one accepts it. */
void damage_refused(struct box *box);
/* A start has come up. */
void damage_started(struct box *box);
/* May the reader find a hole there? */
bool damage_explains(const struct box *box, unsigned shard, uint64_t first, uint64_t last);

#endif
