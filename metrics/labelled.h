/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One number for each value of a label, such as connections by tenant: at most `series` values, the
 * rest together as `other`. Written by the shards, each from its own thread, read by the metrics
 * stage.
 *
 * A value that a shard knows costs a look-up in a table of its own and a plain add; one that is new
 * to it, or that it is done with, a short lock on the names. A label keeps its place until all
 * shards are back at zero (a gauge); a counter never lets go of one.
 */
#ifndef METRICS_LABELLED_H
#define METRICS_LABELLED_H

#include "core/must.h"
#include "core/span.h"
#include <stdint.h>

enum { LABEL_BYTES_MAX = 256 };

struct labelled;

/* NULL: no memory. */
NODISCARD struct labelled *labelled_open(unsigned shards, unsigned series, bool counter);
void labelled_close(struct labelled *labelled);

/* One more, one less; `label` is cut at LABEL_BYTES_MAX. What was added to a gauge is taken off again,
 * on the same shard; a label that had no place then, and has none now, is taken off `other`. */
void labelled_more(struct labelled *labelled, unsigned shard, struct span label);
void labelled_less(struct labelled *labelled, unsigned shard, struct span label);

/* The same where the label may be another by then: its place is remembered. */
NODISCARD unsigned labelled_enter(struct labelled *labelled, unsigned shard, struct span label);
void labelled_exit(struct labelled *labelled, unsigned shard, unsigned place);

/* Calls back for each label with its sum over all shards, and last with {NULL,0} for `other`, if it
 * is not 0. Any thread; `each` must not call back here. */
void labelled_each(struct labelled *labelled,
                   void (*each)(void *context, struct span label, uint64_t value), void *context);

#endif
