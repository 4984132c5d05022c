/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two text formats that Prometheus reads: its own 0.0.4 and OpenMetrics 1.0. What differs
 * between them is here; what there is to show is in metrics/text.c.
 *
 *   0.0.4                                  OpenMetrics
 *   # HELP ringmain_turns_total Turns.     # HELP ringmain_turns Turns.
 *   # TYPE ringmain_turns_total counter    # TYPE ringmain_turns counter
 *   ringmain_turns_total 7                 ringmain_turns_total 7
 *                                          # EOF
 *
 * A put that finds no memory makes `fits` false,
 * and what was put is then worthless; ask at the end.
 */
#ifndef METRICS_EXPOSITION_H
#define METRICS_EXPOSITION_H

#include "core/buf.h"
#include "metrics/counters.h"

enum family_type { FAMILY_COUNTER, FAMILY_GAUGE, FAMILY_HISTOGRAM, FAMILY_INFO };

struct exposition {
    struct buf out;
    bool openmetrics;
    bool fits;
};

void exposition_init(struct exposition *exposition, bool openmetrics);
void exposition_fini(struct exposition *exposition);

/* Once before a family's samples. A counter's name ends
 * in _total, an info's in _info; `help` is plain text. */
void exposition_family(struct exposition *exposition, enum family_type type, const char *name,
                       const char *help);

/* One sample. `labels` as they stand between the braces, already escaped; "" for none. */
void exposition_count(struct exposition *exposition, const char *name, const char *labels,
                      uint64_t value);
void exposition_number(struct exposition *exposition, const char *name, double value);

/* All samples of a histogram. `bucket` as in struct histogram, not cumulated;
 * `unit`: what one of its values is in the base unit of `name`. */
void exposition_histogram(struct exposition *exposition, const char *name, double unit,
                          const uint64_t bucket[HISTOGRAM_BUCKETS], uint64_t sum);

/* The same with bounds of its own, in base units; `bucket` has one more than there are bounds. */
void exposition_buckets(struct exposition *exposition, const char *name, const double *bounds,
                        unsigned bounds_count, const uint64_t *bucket, double sum);

/* Puts `value` in quotes as the value of a label,
 * so that whatever it holds cannot break the text. */
NODISCARD bool exposition_put_label_value(struct buf *out, struct span value);

/* After everything else. */
void exposition_end(struct exposition *exposition);

#endif
