/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers that one thread writes and the metrics stage reads: counters that only grow, gauges, and
 * histograms with power-of-two buckets. One `struct counters` a thread, so no write is ever shared.
 *
 * What there is stands in metrics/metrics.def, which
 * makes the enums here, the Prometheus text and the docs.
 */
#ifndef METRICS_COUNTERS_H
#define METRICS_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

enum counter_id {
#define COUNTER(id, name, labels, help) COUNT_##id,
#define GAUGE(id, name, labels, help)   COUNT_##id,
#define HISTOGRAM(id, name, unit, help)
#include "metrics/metrics.def"
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
    COUNTERS
};

enum histogram_id {
#define COUNTER(id, name, labels, help)
#define GAUGE(id, name, labels, help)
#define HISTOGRAM(id, name, unit, help) HISTOGRAM_##id,
#include "metrics/metrics.def"
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
    HISTOGRAMS
};

/* Bucket i counts values up to and with 2^i, above
 * the bucket before; the last takes all that is larger. */
enum { HISTOGRAM_BUCKETS = 44 };

struct histogram {
    _Atomic uint64_t bucket[HISTOGRAM_BUCKETS];
    _Atomic uint64_t sum;
};

struct counters {
    _Alignas(64) _Atomic uint64_t value[COUNTERS];
    struct histogram histogram[HISTOGRAMS];
};

/* Writers: the owning thread only; a plain add, no locked instruction. */
static inline void count_relaxed_add(_Atomic uint64_t *value, uint64_t more)
{
    atomic_store_explicit(value, atomic_load_explicit(value, memory_order_relaxed) + more,
                          memory_order_relaxed);
}

static inline void count(struct counters *counters, enum counter_id id, uint64_t more)
{
    count_relaxed_add(&counters->value[id], more);
}

static inline void gauge(struct counters *counters, enum counter_id id, uint64_t value)
{
    atomic_store_explicit(&counters->value[id], value, memory_order_relaxed);
}

/* The same value for `times` things at once. */
static inline void observe_many(struct counters *counters, enum histogram_id id, uint64_t value,
                                uint64_t times)
{
    struct histogram *histogram = &counters->histogram[id];
    unsigned bits = value <= 1 ? 0 : 64u - (unsigned)__builtin_clzll(value - 1);
    if (bits >= HISTOGRAM_BUCKETS)
        bits = HISTOGRAM_BUCKETS - 1;
    count_relaxed_add(&histogram->bucket[bits], times);
    count_relaxed_add(&histogram->sum, value * times);
}

static inline void observe(struct counters *counters, enum histogram_id id, uint64_t value)
{
    observe_many(counters, id, value, 1);
}

static inline uint64_t counted(const struct counters *counters, enum counter_id id)
{
    return atomic_load_explicit(&counters->value[id], memory_order_relaxed);
}

/* What all threads' counters come to: any thread, a moment's truth. */
static inline uint64_t counted_by_all(struct counters *const *counters, unsigned counters_count,
                                      enum counter_id id)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < counters_count; i++)
        total += counted(counters[i], id);
    return total;
}

#endif
