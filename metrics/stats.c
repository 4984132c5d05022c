/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics/stats.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

enum { TIME_MAX = 48 };

static uint64_t load(const _Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

/* ISO 8601 in UTC, to the millisecond. */
static void print_time(int64_t wall_us, char out[TIME_MAX])
{
    int64_t below_s = wall_us % 1000000;
    if (below_s < 0)
        below_s += 1000000;
    time_t seconds = (time_t)((wall_us - below_s) / 1000000);
    struct tm civil;
    char date[32];
    must(gmtime_r(&seconds, &civil) != NULL);
    must(strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &civil) > 0);
    snprintf(out, TIME_MAX, "%s.%03dZ", date, (int)(below_s / 1000));
}

/* Events a batch, in tenths, to the nearest. */
static uint64_t average_tenths(uint64_t events, uint64_t batches)
{
    return batches > 0 ? (events * 10 + batches / 2) / batches : 0;
}

size_t stats_json(const struct stats *stats, int64_t wall_us, char out[STATS_JSON_MAX])
{
    uint64_t rps = load(&stats->rps_hundredths), depth = load(&stats->queue_depth);
    uint64_t batches = load(&stats->total_batches);
    uint64_t average = average_tenths(load(&stats->stored), batches);
    char time[TIME_MAX];
    print_time(wall_us, time);
    int length =
        snprintf(out, STATS_JSON_MAX,
                 "{\"total_messages\":%" PRIu64 ",\"current_rps\":%" PRIu64 ".%02d,"
                 "\"messages_per_second\":%" PRIu64 ".%02d,\"queue_depth\":%" PRIu64
                 ",\"queue_length\":%" PRIu64 ",\"total_batches\":%" PRIu64
                 ",\"avg_batch_size\":%" PRIu64 ".%d,\"timestamp\":\"%s\"}",
                 load(&stats->total_messages), rps / 100, (int)(rps % 100), rps / 100,
                 (int)(rps % 100), depth, depth, batches, average / 10, (int)(average % 10), time);
    must(length > 0 && length < STATS_JSON_MAX);
    return (size_t)length;
}
