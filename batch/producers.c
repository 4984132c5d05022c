/* SPDX-License-Identifier: Apache-2.0 */
#include "batch/producers.h"

#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { BUCKETS = 4096 };

struct producers {
    uint64_t count, max;
    struct list age;
    struct list *walk; /* where producers_each() stands */
    struct list bucket[BUCKETS];
};

struct producers *producers_open(uint64_t names_max)
{
    struct producers *producers = calloc(1, sizeof *producers);
    if (producers == NULL)
        return NULL;
    producers->max = names_max;
    list_init(&producers->age);
    for (unsigned i = 0; i < BUCKETS; i++)
        list_init(&producers->bucket[i]);
    return producers;
}

void producers_close(struct producers *producers)
{
    if (producers == NULL)
        return;
    for (struct list *link; (link = list_take(&producers->age)) != NULL;)
        free(LIST_ENTRY(link, struct producer, age));
    free(producers);
}

static uint64_t hash(struct span name)
{
    return XXH3_64bits(name.at, name.length);
}

unsigned producers_shard(struct span name, unsigned shards)
{
    must(shards > 0);
    return (unsigned)((hash(name) >> 32) % shards);
}

static struct producer *find(struct list *bucket, struct span name)
{
    for (struct list *link = bucket->next; link != bucket; link = link->next) {
        struct producer *producer = LIST_ENTRY(link, struct producer, link);
        if (span_equal(span_of(producer->name, producer->name_length), name))
            return producer;
    }
    return NULL;
}

/* Drops the least recently used name if nobody has asked for it for long enough. */
static bool make_room(struct producers *producers, uint64_t now_ns)
{
    if (producers->count < producers->max)
        return true;
    struct producer *oldest = LIST_ENTRY(producers->age.next, struct producer, age);
    if (oldest->conn != NULL || now_ns - oldest->used_ns < PRODUCER_FORGET_NS)
        return false;
    list_remove(&oldest->age);
    list_remove(&oldest->link);
    free(oldest);
    producers->count--;
    return true;
}

struct producer *producers_get(struct producers *producers, struct span name, uint64_t now_ns)
{
    if (name.length == 0 || name.length > PRODUCER_NAME_MAX)
        return NULL;
    struct list *bucket = &producers->bucket[hash(name) % BUCKETS];
    struct producer *producer = find(bucket, name);
    if (producer != NULL) {
        list_remove(&producer->age);
    } else {
        if (!make_room(producers, now_ns) || (producer = calloc(1, sizeof *producer)) == NULL)
            return NULL;
        memcpy(producer->name, name.at, name.length);
        producer->name_length = (uint8_t)name.length;
        list_append(bucket, &producer->link);
        producers->count++;
    }
    producer->used_ns = now_ns;
    list_append(&producers->age, &producer->age);
    return producer;
}

bool producers_each(struct producers *producers, size_t *cursor, struct span *name, uint64_t *count)
{
    struct list *next = *cursor == 0 ? producers->age.next : producers->walk->next;
    if (next == &producers->age)
        return false;
    const struct producer *producer = LIST_ENTRY(next, struct producer, age);
    *name = span_of(producer->name, producer->name_length);
    *count = producer->count;
    producers->walk = next;
    (*cursor)++;
    return true;
}
