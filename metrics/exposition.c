/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the texts are written. https://prometheus.io/docs/instrumenting/exposition_formats/ and
 * https://github.com/OpenObservability/OpenMetrics (1.0), here "OM".
 *
 * Histograms are kept in powers of two from 1 to 2^43; shown are those that somebody would ask for.
 * What lies below the first shown bucket is in it, and what lies above the last is in +Inf:
 *
 *   kept as ns, shown as seconds   2^10 … 2^36   1.024e-06 … 68.719476736
 *   counts                         2^0  … 2^20   1 … 1048576
 */
#include "metrics/exposition.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { TEXT_MAX = 4 << 20, NUMBER_MAX = 40 };

void exposition_init(struct exposition *exposition, bool openmetrics)
{
    *exposition = (struct exposition){.openmetrics = openmetrics, .fits = true};
    buf_init(&exposition->out, TEXT_MAX);
}

void exposition_fini(struct exposition *exposition)
{
    buf_fini(&exposition->out);
}

#define PUT(exposition, ...)                                                                       \
    ((exposition)->fits = (exposition)->fits && buf_print(&(exposition)->out, __VA_ARGS__))

static const char *type_name(const struct exposition *exposition, enum family_type type)
{
    switch (type) {
    case FAMILY_COUNTER:
        return "counter";
    case FAMILY_GAUGE:
        return "gauge";
    case FAMILY_HISTOGRAM:
        return "histogram";
    case FAMILY_INFO:
        return exposition->openmetrics ? "info" : "gauge";
    }
    must(false);
}

static bool ends_in(struct span name, const char *ending)
{
    size_t length = strlen(ending);
    return name.length > length && span_is(span_from(name, name.length - length), ending);
}

/* OM: a family is named without the suffix that its samples carry. */
static struct span family_name(const struct exposition *exposition, enum family_type type,
                               const char *name)
{
    struct span family = span_of_string(name);
    const char *suffix = type == FAMILY_COUNTER ? "_total" : type == FAMILY_INFO ? "_info" : "";
    must(*suffix == '\0' || ends_in(family, suffix));
    if (exposition->openmetrics)
        family.length -= strlen(suffix);
    return family;
}

static void put_bytes(struct exposition *exposition, const char *at, size_t length)
{
    exposition->fits = exposition->fits && buf_put(&exposition->out, at, length);
}

/* 0.0.4 escapes backslash and line feed; OM the quote as well. */
static void put_help_text(struct exposition *exposition, const char *help)
{
    const char *special = exposition->openmetrics ? "\\\n\"" : "\\\n";
    for (;;) {
        size_t plain = strcspn(help, special);
        put_bytes(exposition, help, plain);
        help += plain;
        if (*help == '\0')
            return;
        put_bytes(exposition, (char[]){'\\', *help == '\n' ? 'n' : *help}, 2);
        help++;
    }
}

/* OM: the unit is the end of the family's name. */
static void put_unit(struct exposition *exposition, struct span family)
{
    static const char *const units[] = {"seconds", "bytes"};
    for (size_t i = 0; i < COUNT_OF(units); i++)
        if (ends_in(family, units[i]))
            PUT(exposition, "# UNIT %.*s %s\n", SPAN_ARGS(family), units[i]);
}

void exposition_family(struct exposition *exposition, enum family_type type, const char *name,
                       const char *help)
{
    struct span family = family_name(exposition, type, name);
    PUT(exposition, "# HELP %.*s ", SPAN_ARGS(family));
    put_help_text(exposition, help);
    PUT(exposition, "\n# TYPE %.*s %s\n", SPAN_ARGS(family), type_name(exposition, type));
    if (exposition->openmetrics)
        put_unit(exposition, family);
}

void exposition_count(struct exposition *exposition, const char *name, const char *labels,
                      uint64_t value)
{
    if (*labels != '\0')
        PUT(exposition, "%s{%s} %" PRIu64 "\n", name, labels, value);
    else
        PUT(exposition, "%s %" PRIu64 "\n", name, value);
}

/* The fewest digits that still are this number: 15 nearly always, 17 always. */
static void print_number(double value, char out[NUMBER_MAX])
{
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(out, NUMBER_MAX, "%.*g", digits, value);
        if (strtod(out, NULL) == value)
            return;
    }
}

void exposition_number(struct exposition *exposition, const char *name, double value)
{
    char number[NUMBER_MAX];
    print_number(value, number);
    PUT(exposition, "%s %s\n", name, number);
}

/* In base units. Divided, since 1e9 is a float exactly
 * and 1e-9 is not: the nearest float has the fewest digits. */
static double in_base_unit(uint64_t value, double unit)
{
    return unit < 1 ? (double)value / round(1 / unit) : (double)value * unit;
}

/* OM: a bound is written as a float, "1.0" and not "1", so that it is the same label everywhere. */
static void put_bucket(struct exposition *exposition, const char *name, double bound,
                       uint64_t count)
{
    char number[NUMBER_MAX];
    print_number(bound, number);
    const char *point = exposition->openmetrics && strpbrk(number, ".e") == NULL ? ".0" : "";
    PUT(exposition, "%s_bucket{le=\"%s%s\"} %" PRIu64 "\n", name, number, point, count);
}

void exposition_histogram(struct exposition *exposition, const char *name, double unit,
                          const uint64_t bucket[HISTOGRAM_BUCKETS], uint64_t sum)
{
    bool counts = unit >= 1;
    int first = counts ? 0 : 10, last = counts ? 20 : 36;
    uint64_t count = 0;
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
        count += bucket[i];
        if (i >= first && i <= last)
            put_bucket(exposition, name, in_base_unit((uint64_t)1 << i, unit), count);
    }
    char number[NUMBER_MAX];
    print_number(in_base_unit(sum, unit), number);
    PUT(exposition, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, count);
    PUT(exposition, "%s_sum %s\n%s_count %" PRIu64 "\n", name, number, name, count);
}

void exposition_buckets(struct exposition *exposition, const char *name, const double *bounds,
                        unsigned bounds_count, const uint64_t *bucket, double sum)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < bounds_count; i++) {
        count += bucket[i];
        put_bucket(exposition, name, bounds[i], count);
    }
    char number[NUMBER_MAX];
    print_number(sum, number);
    count += bucket[bounds_count];
    PUT(exposition, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, count);
    PUT(exposition, "%s_sum %s\n%s_count %" PRIu64 "\n", name, number, name, count);
}

/*
 * A label's value knows the escapes \\ \" and \n and must be UTF-8. That is a JSON string in which
 * no other control character stands, so these become spaces first.
 */
bool exposition_put_label_value(struct buf *out, struct span value)
{
    struct buf plain;
    buf_init(&plain, value.length + 1);
    uint8_t *room = buf_room(&plain, value.length);
    bool fits = room != NULL;
    for (size_t i = 0; fits && i < value.length; i++)
        room[i] = value.at[i] < 0x20 && value.at[i] != '\n' ? ' ' : value.at[i];
    fits = fits && buf_put_json(out, span_of(room, value.length));
    buf_fini(&plain);
    return fits;
}

void exposition_end(struct exposition *exposition)
{
    if (exposition->openmetrics)
        PUT(exposition, "# EOF\n");
}
