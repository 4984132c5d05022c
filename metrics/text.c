/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one scrape shows: the lines of metrics.def in their order, each added up over all threads,
 * and before them what this program is and what it takes of the machine.
 */
#include "metrics/exposition.h"
#include "metrics/process.h"
#include "metrics/stage.h"

#include <stdlib.h>

/* A line of metrics.def. */
struct line {
    enum family_type type;
    unsigned id; /* a counter_id, or a histogram_id */
    const char *name, *labels, *help;
    double unit;
};

static const struct line lines[] = {
#define COUNTER(id, name, labels, help) {FAMILY_COUNTER, COUNT_##id, name, labels, help, 0},
#define GAUGE(id, name, labels, help)   {FAMILY_GAUGE, COUNT_##id, name, labels, help, 0},
#define HISTOGRAM(id, name, unit, help) {FAMILY_HISTOGRAM, HISTOGRAM_##id, name, "", help, unit},
#include "metrics/metrics.def"
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
};

struct threads {
    struct counters *const *counters;
    unsigned count;
};

static uint64_t load(const _Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

static void put_histogram(struct exposition *exposition, const struct line *line,
                          struct threads threads)
{
    uint64_t bucket[HISTOGRAM_BUCKETS] = {0}, sum = 0;
    for (unsigned thread = 0; thread < threads.count; thread++) {
        const struct histogram *histogram = &threads.counters[thread]->histogram[line->id];
        for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
            bucket[i] += load(&histogram->bucket[i]);
        sum += load(&histogram->sum);
    }
    exposition_histogram(exposition, line->name, line->unit, bucket, sum);
}

static void put_lines(struct exposition *exposition, struct threads threads)
{
    const char *family = "";
    for (const struct line *line = lines; line < lines + COUNT_OF(lines); line++) {
        if (strcmp(line->name, family) != 0)
            exposition_family(exposition, line->type, line->name, line->help);
        family = line->name;
        if (line->type == FAMILY_HISTOGRAM)
            put_histogram(exposition, line, threads);
        else
            exposition_count(exposition, line->name, line->labels,
                             counted_by_all(threads.counters, threads.count, line->id));
    }
}

static void put_build(struct exposition *exposition, const char *node, const char *version)
{
    struct buf *out = &exposition->out;
    exposition_family(exposition, FAMILY_INFO, "ringmain_build_info", "What runs here; always 1.");
    exposition->fits =
        exposition->fits && buf_print(out, "ringmain_build_info{version=") &&
        exposition_put_label_value(out, span_of_string(version)) && buf_print(out, ",node=") &&
        exposition_put_label_value(out, span_of_string(node)) && buf_print(out, "} 1\n");
}

static void put_process(struct exposition *exposition, const struct process *process)
{
    exposition_family(exposition, FAMILY_GAUGE, "process_start_time_seconds",
                      "When the process started, since 1970.");
    exposition_number(exposition, "process_start_time_seconds", process->started_s);
    exposition_family(exposition, FAMILY_COUNTER, "process_cpu_seconds_total",
                      "Time on a processor, user and system, all threads.");
    exposition_number(exposition, "process_cpu_seconds_total", process->cpu_s);
    exposition_family(exposition, FAMILY_GAUGE, "process_resident_memory_bytes",
                      "Memory that is really there.");
    exposition_count(exposition, "process_resident_memory_bytes", "", process->resident_bytes);
    exposition_family(exposition, FAMILY_GAUGE, "process_open_fds", "Open file descriptors.");
    exposition_count(exposition, "process_open_fds", "", process->open_fds);
}

char *metrics_text(const struct metrics_stage_options *options, const struct process *process,
                   bool openmetrics, size_t *length)
{
    struct exposition exposition;
    exposition_init(&exposition, openmetrics);
    put_build(&exposition, options->node, options->version);
    put_process(&exposition, process);
    put_lines(&exposition, (struct threads){options->counters, options->counters_count});
    if (options->sockets != NULL)
        sockets_expose(options->sockets, &exposition);
    exposition_end(&exposition);
    size_t whole = exposition.out.length;
    if (!exposition.fits || !buf_put(&exposition.out, "", 1)) {
        exposition_fini(&exposition);
        return NULL;
    }
    *length = whole;
    return (char *)exposition.out.at; /* a buf's memory is malloc's */
}
