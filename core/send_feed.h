/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The events that `ringmain send` sends: lines of NDJSON files held in memory, repeated any number
 * of times. The first pass is sent as it stands; in every later one each id gets "-r<pass>" behind
 * it, so that it is a new event.
 */
#ifndef CORE_SEND_FEED_H
#define CORE_SEND_FEED_H

#include "core/buf.h"
#include "core/must.h"
#include "core/span.h"

struct send_feed;

/* Reads all files ("-": standard input). `give_ids`: events without an id get one made from `run`,
 * so that sending them again is recognised. NULL after a sentence on standard error. */
NODISCARD struct send_feed *send_feed_open(const char *const *files, unsigned count, bool give_ids,
                                           const char *run);
void send_feed_close(struct send_feed *feed);

uint64_t send_feed_lines(const struct send_feed *feed);

/* Appends event `index` of the endless repetition (no newline behind it). False: no memory. */
NODISCARD bool send_feed_put(const struct send_feed *feed, uint64_t index, struct buf *out);

#endif
