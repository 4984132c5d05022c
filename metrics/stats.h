/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The numbers behind /stats, /ws/stats and the dashboard: few, refreshed by the metrics stage's
 * thread every STATS_REFRESH_MS, read by any thread at any time. Each is true by itself; together
 * they are a moment's picture.
 */
#ifndef METRICS_STATS_H
#define METRICS_STATS_H

#include "core/must.h"
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { STATS_REFRESH_MS = 100, STATS_WINDOW_S = 10, STATS_JSON_MAX = 512 };

struct stats {
    _Atomic uint64_t total_messages; /* events taken in since start */
    _Atomic uint64_t rps_hundredths; /* of them, a second over the last STATS_WINDOW_S, times 100 */
    _Atomic uint64_t queue_depth;    /* taken in and not yet in Postgres */
    _Atomic uint64_t total_batches;  /* committed in Postgres since start */
    _Atomic uint64_t stored;         /* events in those batches */
};

/* The object of CONTRACTS.md 4 (/ws/stats), exactly its keys.
 * Returns its length, < STATS_JSON_MAX, no NUL counted. */
size_t stats_json(const struct stats *stats, int64_t wall_us, char out[STATS_JSON_MAX]);

#endif
