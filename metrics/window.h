/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast a number has grown over the last STATS_WINDOW_S, and struct stats kept up to date from
 * it. One thread: the metrics stage's. Pure: the time comes as an argument.
 */
#ifndef METRICS_WINDOW_H
#define METRICS_WINDOW_H

#include "metrics/counters.h"
#include "metrics/stats.h"

enum { WINDOW_SAMPLES = STATS_WINDOW_S * 1000 / STATS_REFRESH_MS };

struct window {
    struct {
        uint64_t at_ns;
        uint64_t value;
    } sample[WINDOW_SAMPLES];
    unsigned oldest;
};

void window_init(struct window *window, uint64_t now_ns, uint64_t value);
/* Takes a sample and returns the growth a second since the oldest,
 * in hundredths. Until the window has filled, that is since window_init(). */
uint64_t window_move(struct window *window, uint64_t now_ns, uint64_t value);

/* Writes every field of `stats` from what all threads have counted. */
void stats_refresh(struct stats *stats, struct window *window, uint64_t now_ns,
                   struct counters *const *counters, unsigned counters_count);

#endif
