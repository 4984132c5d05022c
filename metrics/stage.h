/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metrics stage: one thread with its own port. It adds up the threads' counters, keeps the time
 * windows, refreshes struct stats, and answers GET /metrics (Prometheus text 0.0.4, or
 * OpenMetrics 1.0 by Accept). A slow or stuck scrape delays only other scrapes, and not for long;
 * it never touches a shard.
 */
#ifndef METRICS_STAGE_H
#define METRICS_STAGE_H

#include "metrics/counters.h"
#include "metrics/sockets.h"
#include "metrics/stats.h"
#include <stdbool.h>

struct metrics_stage;

/* What it points to must live until metrics_stage_close(), except `address`. */
struct metrics_stage_options {
    const char *address;              /* "127.0.0.1:9464"; empty: no port, only the windows */
    struct counters *const *counters; /* one a thread that counts */
    unsigned counters_count;
    struct stats *stats;
    struct sockets *sockets;    /* NULL: there are none */
    const char *node, *version; /* for ringmain_build_info */
};

enum { METRICS_STAGE_WHY = 256 }; /* bytes of a sentence */

/*
 * Life: open → start (its thread runs) → stop → close, all from one thread.
 * Open and start return 0 or -errno, with a sentence in `why`.
 * `bound` gets the port, for port 0 (0 without a port); may be NULL.
 */
NODISCARD int metrics_stage_open(struct metrics_stage **out,
                                 const struct metrics_stage_options *options, uint16_t *bound,
                                 char *why);
NODISCARD int metrics_stage_start(struct metrics_stage *stage, char *why);
/* And waits for the thread, some ms. Nothing happens if it does not run. */
void metrics_stage_stop(struct metrics_stage *stage);
void metrics_stage_close(struct metrics_stage *stage);

struct process; /* metrics/process.h */

/* The text for one scrape, as a NUL-terminated string
 * to free(); NULL: no memory. Pure but for that. */
NODISCARD char *metrics_text(const struct metrics_stage_options *options,
                             const struct process *process, bool openmetrics, size_t *length);

#endif
