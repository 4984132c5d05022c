/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics/sockets.h"

#include "metrics/exposition.h"
#include "metrics/labelled.h"

#include <stdatomic.h>
#include <stdlib.h>

static const double bounds_s[] = {1, 5, 10, 30, 60, 300, 600, 1800, 3600};
enum { BOUNDS = COUNT_OF(bounds_s) };

/* Of one shard. */
struct durations {
    _Alignas(64) _Atomic uint64_t bucket[BOUNDS + 1];
    _Atomic uint64_t sum_ns;
};

struct sockets {
    unsigned shards;
    struct labelled *connections, *messages, *rooms;
    struct durations *durations;
};

static struct span known_tenant(struct span tenant)
{
    return tenant.length == 0 ? SPAN("unknown") : tenant;
}

unsigned sockets_opened(struct sockets *sockets, unsigned shard, struct span tenant)
{
    return labelled_enter(sockets->connections, shard, known_tenant(tenant));
}

static void add(_Atomic uint64_t *value, uint64_t more)
{
    atomic_store_explicit(value, atomic_load_explicit(value, memory_order_relaxed) + more,
                          memory_order_relaxed);
}

void sockets_closed(struct sockets *sockets, unsigned shard, unsigned opened, uint64_t open_for_ns)
{
    struct durations *durations = &sockets->durations[shard];
    unsigned i = 0;
    while (i < BOUNDS && (double)open_for_ns > bounds_s[i] * 1e9)
        i++;
    add(&durations->bucket[i], 1);
    add(&durations->sum_ns, open_for_ns);
    labelled_exit(sockets->connections, shard, opened);
}

static bool begins(struct span text, const char *with)
{
    size_t length = strlen(with);
    return text.length >= length && memcmp(text.at, with, length) == 0;
}

static bool is_counted(struct span room)
{
    return !begins(room, "user:") && !begins(room, "tenant:") && !span_is(room, "*");
}

void sockets_joined(struct sockets *sockets, unsigned shard, struct span room)
{
    if (is_counted(room))
        labelled_more(sockets->rooms, shard, room);
}

void sockets_left(struct sockets *sockets, unsigned shard, struct span room)
{
    if (is_counted(room))
        labelled_less(sockets->rooms, shard, room);
}

/* The two labels in one, a NUL between: neither holds one. */
void sockets_message(struct sockets *sockets, unsigned shard, struct span type, struct span tenant)
{
    uint8_t label[LABEL_BYTES_MAX];
    tenant = known_tenant(tenant);
    size_t length = type.length < 100 ? type.length : 100;
    while (length > 0 && length < type.length && (type.at[length] & 0xc0) == 0x80)
        length--; /* not within a character: what is left of two could look alike */
    if (length > 0)
        memcpy(label, type.at, length);
    label[length++] = '\0';
    size_t more = tenant.length < sizeof label - length ? tenant.length : sizeof label - length;
    memcpy(label + length, tenant.at, more);
    labelled_more(sockets->messages, shard, span_of(label, length + more));
}

/* ── The text ───────────────────────────────────────────────────────────────────────────────── */

struct sample {
    struct exposition *exposition;
    const char *family, *first, *second; /* second: the other label; NULL: there is one */
};

static void put_labels(const struct sample *sample, struct span label)
{
    struct exposition *exposition = sample->exposition;
    struct buf *out = &exposition->out;
    struct span second = {NULL, 0};
    const uint8_t *gap = sample->second == NULL ? NULL : memchr(label.at, '\0', label.length);
    if (gap != NULL) {
        second = span_from(label, (size_t)(gap - label.at) + 1);
        label.length = (size_t)(gap - label.at);
    }
    bool fits = buf_print(out, "%s=", sample->first) && exposition_put_label_value(out, label);
    if (sample->second != NULL)
        fits = fits && buf_print(out, ",%s=", sample->second) &&
               exposition_put_label_value(out, gap == NULL ? SPAN("other") : second);
    exposition->fits = exposition->fits && fits;
}

static void put_sample(void *context, struct span label, uint64_t value)
{
    const struct sample *sample = context;
    struct exposition *exposition = sample->exposition;
    exposition->fits = exposition->fits && buf_print(&exposition->out, "%s{", sample->family);
    put_labels(sample, label.at == NULL ? SPAN("other") : label);
    exposition->fits =
        exposition->fits && buf_print(&exposition->out, "} %llu\n", (unsigned long long)value);
}

static void put_durations(const struct sockets *sockets, struct exposition *exposition)
{
    static const char name[] = "websocket_connection_duration_seconds";
    uint64_t bucket[BOUNDS + 1] = {0}, sum_ns = 0;
    for (unsigned shard = 0; shard < sockets->shards; shard++) {
        const struct durations *durations = &sockets->durations[shard];
        for (unsigned i = 0; i <= BOUNDS; i++)
            bucket[i] += atomic_load_explicit(&durations->bucket[i], memory_order_relaxed);
        sum_ns += atomic_load_explicit(&durations->sum_ns, memory_order_relaxed);
    }
    exposition_family(exposition, FAMILY_HISTOGRAM, name,
                      "How long connections of subscribers were open.");
    exposition_buckets(exposition, name, bounds_s, BOUNDS, bucket, (double)sum_ns / 1e9);
}

void sockets_expose(struct sockets *sockets, struct exposition *exposition)
{
    struct sample sample = {exposition, "websocket_connections_total", "tenant_id", NULL};
    exposition_family(exposition, FAMILY_GAUGE, sample.family,
                      "Open connections of subscribers, by tenant.");
    labelled_each(sockets->connections, put_sample, &sample);

    sample = (struct sample){exposition, "websocket_messages_total", "type", "tenant_id"};
    exposition_family(exposition, FAMILY_COUNTER, sample.family,
                      "Messages from subscribers, by their type and tenant.");
    labelled_each(sockets->messages, put_sample, &sample);

    put_durations(sockets, exposition);

    sample = (struct sample){exposition, "websocket_room_connections", "room_id", NULL};
    exposition_family(exposition, FAMILY_GAUGE, sample.family,
                      "Subscribers in a room; rooms of a user or a tenant are not shown.");
    labelled_each(sockets->rooms, put_sample, &sample);
}

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

struct sockets *sockets_open(unsigned shards, unsigned series)
{
    struct sockets *sockets = calloc(1, sizeof *sockets);
    if (sockets == NULL)
        return NULL;
    sockets->shards = shards;
    sockets->connections = labelled_open(shards, series, false);
    sockets->messages = labelled_open(shards, series, true);
    sockets->rooms = labelled_open(shards, series, false);
    sockets->durations = aligned_alloc(64, shards * sizeof *sockets->durations);
    if (sockets->connections == NULL || sockets->messages == NULL || sockets->rooms == NULL ||
        sockets->durations == NULL) {
        sockets_close(sockets);
        return NULL;
    }
    memset(sockets->durations, 0, shards * sizeof *sockets->durations);
    return sockets;
}

void sockets_close(struct sockets *sockets)
{
    if (sockets == NULL)
        return;
    labelled_close(sockets->connections);
    labelled_close(sockets->messages);
    labelled_close(sockets->rooms);
    free(sockets->durations);
    free(sockets);
}
