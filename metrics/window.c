/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring of samples, each with its time, one every STATS_REFRESH_MS. A refresh that comes late
 * moves its sample and not the truth: the growth is divided by the time that really passed. The
 * ring starts full of the first sample, so that there is always an oldest.
 */
#include "metrics/window.h"

void window_init(struct window *window, uint64_t now_ns, uint64_t value)
{
    for (unsigned i = 0; i < WINDOW_SAMPLES; i++) {
        window->sample[i].at_ns = now_ns;
        window->sample[i].value = value;
    }
    window->oldest = 0;
}

uint64_t window_move(struct window *window, uint64_t now_ns, uint64_t value)
{
    unsigned here = window->oldest;
    uint64_t passed_ns = now_ns - window->sample[here].at_ns;
    uint64_t grown = value - window->sample[here].value;
    window->sample[here].at_ns = now_ns;
    window->sample[here].value = value;
    window->oldest = (here + 1) % WINDOW_SAMPLES;
    if (passed_ns == 0)
        return 0;
    return (uint64_t)((double)grown * 1e11 / (double)passed_ns + 0.5);
}

static void set(_Atomic uint64_t *at, uint64_t value)
{
    atomic_store_explicit(at, value, memory_order_relaxed);
}

/*
 * The depth is what the spools say is pending and not accepted less stored:
 * after a restart they hold events that this process never accepted,
 * and what Postgres refused for good is neither stored nor waiting.
 */
void stats_refresh(struct stats *stats, struct window *window, uint64_t now_ns,
                   struct counters *const *counters, unsigned counters_count)
{
    uint64_t accepted = counted_by_all(counters, counters_count, COUNT_EVENTS_ACCEPTED);
    set(&stats->total_messages, accepted);
    set(&stats->rps_hundredths, window_move(window, now_ns, accepted));
    set(&stats->queue_depth, counted_by_all(counters, counters_count, COUNT_SPOOL_PENDING_EVENTS));
    set(&stats->total_batches, counted_by_all(counters, counters_count, COUNT_BATCHES));
    set(&stats->stored, counted_by_all(counters, counters_count, COUNT_EVENTS_STORED));
}
