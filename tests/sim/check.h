/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks into the spool with the real reader, and tells the ledger what is there.
 */
#ifndef TESTS_SIM_CHECK_H
#define TESTS_SIM_CHECK_H

#include "tests/sim/box.h"

#define CHECK_DIRECTORY "/spool"
#define CHECK_NODE      "node"

/* What a shard's spool is opened with. */
struct spool_options box_spool_options(const struct box *box, unsigned shard);

/* The events of a block, each with its sequence. */
void check_block(const struct box *box, const struct block_view *view, void *context,
                 void (*each)(void *context, uint64_t sequence, struct event_name event));

/* The spool of a box that has just started: `where` says when that was. */
void check_spool(struct box *box, const char *where);
/* A spool that nobody has opened: it is recovered first. */
void check_image(struct box *box);

#endif
