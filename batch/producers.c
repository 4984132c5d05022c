/* SPDX-License-Identifier: Apache-2.0 */
#include "batch/producers.h"

#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { BUCKETS = 4096 };

struct producers {
    uint64_t count, max;
    struct list order, idle;
    struct list *walk; /* where producers_each() stands; NULL: it has not begun */
    struct list bucket[BUCKETS];
};

struct producers *producers_open(uint64_t names_max)
{
    struct producers *producers = calloc(1, sizeof *producers);
    if (producers == NULL)
        return NULL;
    producers->max = names_max;
    list_init(&producers->order);
    list_init(&producers->idle);
    for (unsigned i = 0; i < BUCKETS; i++)
        list_init(&producers->bucket[i]);
    return producers;
}

void producers_close(struct producers *producers)
{
    if (producers == NULL)
        return;
    for (struct list *link; (link = list_take(&producers->order)) != NULL;)
        free(LIST_ENTRY(link, struct producer, order));
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

static void leave_idle(struct producer *producer)
{
    if (list_linked(&producer->idle))
        list_remove(&producer->idle);
}

/* It stands no longer among the idle. */
static void forget(struct producers *producers, struct producer *producer)
{
    if (producers->walk == &producer->order)
        producers->walk = producer->order.previous;
    list_remove(&producer->order);
    list_remove(&producer->link);
    free(producer);
    producers->count--;
}

static bool make_room(struct producers *producers, uint64_t now_ns)
{
    while (producers->count >= producers->max) {
        struct list *link = list_take(&producers->idle);
        if (link == NULL)
            return false;
        struct producer *first = LIST_ENTRY(link, struct producer, idle);
        if (now_ns - first->used_ns < PRODUCER_FORGET_NS) {
            list_prepend(&producers->idle, link);
            return false;
        }
        forget(producers, first);
    }
    return true;
}

/* A name that is not known yet. NULL: full, or no memory. */
static struct producer *add(struct producers *producers, struct span name, bool whatever_happens,
                            uint64_t now_ns)
{
    if (!whatever_happens && !make_room(producers, now_ns))
        return NULL;
    struct producer *producer = calloc(1, sizeof *producer);
    if (producer == NULL)
        return NULL;
    memcpy(producer->name, name.at, name.length);
    producer->name_length = (uint8_t)name.length;
    list_append(&producers->bucket[hash(name) % BUCKETS], &producer->link);
    list_append(&producers->order, &producer->order);
    producers->count++;
    return producer;
}

static struct producer *get(struct producers *producers, struct span name, bool whatever_happens,
                            uint64_t now_ns)
{
    if (name.length == 0 || name.length > PRODUCER_NAME_MAX)
        return NULL;
    struct producer *producer = find(&producers->bucket[hash(name) % BUCKETS], name);
    if (producer == NULL)
        producer = add(producers, name, whatever_happens, now_ns);
    if (producer == NULL)
        return NULL;
    producer->used_ns = now_ns;
    leave_idle(producer);
    if (producer->conn == NULL)
        list_append(&producers->idle, &producer->idle);
    return producer;
}

struct producer *producers_get(struct producers *producers, struct span name, uint64_t now_ns)
{
    return get(producers, name, false, now_ns);
}

bool producers_recover(struct producers *producers, struct span name, uint64_t count,
                       uint64_t now_ns)
{
    struct producer *producer = get(producers, name, true, now_ns);
    if (producer != NULL && count > producer->count)
        producer->count = count;
    return producer != NULL;
}

void producers_open_for(struct producer *producer, struct conn *conn)
{
    must(conn != NULL);
    leave_idle(producer);
    producer->conn = conn;
}

void producers_let_go(struct producers *producers, struct producer *producer, uint64_t now_ns)
{
    must(producer->conn != NULL);
    producer->conn = NULL;
    producer->used_ns = now_ns;
    list_append(&producers->idle, &producer->idle);
}

bool producers_each(struct producers *producers, size_t *cursor, struct span *name, uint64_t *count)
{
    struct list *next = *cursor == 0 ? producers->order.next : producers->walk->next;
    if (next == &producers->order)
        return false;
    const struct producer *producer = LIST_ENTRY(next, struct producer, order);
    *name = span_of(producer->name, producer->name_length);
    *count = producer->count;
    producers->walk = next;
    (*cursor)++;
    return true;
}
