/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   shard's table: hash ─► place ──┐           names[place] (locked)    "acme"
 *                                  └─► value[shard][place]  (atomic)       7
 *
 * Place 0 is `other`. A place is free when no shard has its name in its table.
 */
#include "metrics/labelled.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { OTHER = 0 };

struct name {
    uint64_t hash; /* 0: free */
    unsigned shards;
    uint16_t length;
    uint8_t text[LABEL_BYTES_MAX];
};

/* Open addressing; deletion moves the followers up. */
struct known {
    uint64_t hash; /* 0: nothing */
    uint32_t place;
};

struct labelled {
    pthread_mutex_t lock;
    unsigned shards, places; /* OTHER included */
    size_t mask;
    bool counter;
    /* Under the lock: */
    struct name *name;
    struct known *index; /* [mask + 1]: every name */
    unsigned *vacant;    /* places, the last is taken next */
    unsigned vacant_count;
    /* Each shard its own: */
    struct known *known;    /* [shards][mask + 1] */
    _Atomic int64_t *value; /* [shards][places] */
};

/* FNV-1a, and never 0: an attacker who finds two labels with one hash gets them added up. */
static uint64_t hash_of(struct span label)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (size_t i = 0; i < label.length; i++)
        hash = (hash ^ label.at[i]) * 0x100000001b3;
    hash ^= hash >> 29;
    return hash == 0 ? 1 : hash;
}

static struct known *known_of(const struct labelled *labelled, unsigned shard)
{
    return &labelled->known[shard * (labelled->mask + 1)];
}

/* Where it is in the shard's table, or where it would be. */
static size_t find(const struct labelled *labelled, const struct known *known, uint64_t hash)
{
    size_t at = hash & labelled->mask;
    while (known[at].hash != 0 && known[at].hash != hash)
        at = (at + 1) & labelled->mask;
    return at;
}

static void forget(const struct labelled *labelled, struct known *known, size_t hole)
{
    size_t at = hole;
    known[hole].hash = 0;
    for (;;) {
        at = (at + 1) & labelled->mask;
        if (known[at].hash == 0)
            return;
        size_t home = known[at].hash & labelled->mask;
        if (((at - home) & labelled->mask) < ((at - hole) & labelled->mask))
            continue;
        known[hole] = known[at];
        known[at].hash = 0;
        hole = at;
    }
}

/* The place of the name, a new one if need be; OTHER: all are taken. Locked. */
static unsigned take_place(struct labelled *labelled, uint64_t hash, struct span label)
{
    struct known *entry = &labelled->index[find(labelled, labelled->index, hash)];
    if (entry->hash != 0) {
        labelled->name[entry->place].shards++;
        return entry->place;
    }
    if (labelled->vacant_count == 0)
        return OTHER;
    unsigned place = labelled->vacant[--labelled->vacant_count];
    struct name *name = &labelled->name[place];
    *entry = (struct known){hash, place};
    *name = (struct name){.hash = hash, .shards = 1, .length = (uint16_t)label.length};
    if (label.length > 0)
        memcpy(name->text, label.at, label.length);
    return place;
}

/* Locked. */
static void leave_place(struct labelled *labelled, unsigned place)
{
    struct name *name = &labelled->name[place];
    must(name->shards > 0);
    if (--name->shards > 0)
        return;
    forget(labelled, labelled->index, find(labelled, labelled->index, name->hash));
    name->hash = 0;
    labelled->vacant[labelled->vacant_count++] = place;
}

static int64_t add(struct labelled *labelled, unsigned shard, unsigned place, int64_t more)
{
    _Atomic int64_t *value = &labelled->value[shard * labelled->places + place];
    int64_t sum = atomic_load_explicit(value, memory_order_relaxed) + more;
    atomic_store_explicit(value, sum, memory_order_relaxed);
    return sum;
}

/* A label that this shard does not know: it gets a place, if there is one. */
static unsigned learn(struct labelled *labelled, unsigned shard, size_t at, uint64_t hash,
                      struct span label)
{
    pthread_mutex_lock(&labelled->lock);
    unsigned place = take_place(labelled, hash, label);
    pthread_mutex_unlock(&labelled->lock);
    if (place != OTHER)
        known_of(labelled, shard)[at] = (struct known){hash, place};
    return place;
}

/* The shard is back at zero there. */
static void unlearn(struct labelled *labelled, unsigned shard, unsigned place)
{
    struct known *known = known_of(labelled, shard);
    pthread_mutex_lock(&labelled->lock);
    forget(labelled, known, find(labelled, known, labelled->name[place].hash));
    leave_place(labelled, place);
    pthread_mutex_unlock(&labelled->lock);
}

/* Its place; `make`: one is made for it. */
static unsigned place_of(struct labelled *labelled, unsigned shard, struct span label, bool make)
{
    must(shard < labelled->shards);
    if (label.length > LABEL_BYTES_MAX)
        label.length = LABEL_BYTES_MAX;
    uint64_t hash = hash_of(label);
    struct known *known = known_of(labelled, shard);
    size_t at = find(labelled, known, hash);
    if (known[at].hash != 0)
        return known[at].place;
    return make ? learn(labelled, shard, at, hash, label) : OTHER;
}

void labelled_exit(struct labelled *labelled, unsigned shard, unsigned place)
{
    if (add(labelled, shard, place, -1) == 0 && place != OTHER && !labelled->counter)
        unlearn(labelled, shard, place);
}

unsigned labelled_enter(struct labelled *labelled, unsigned shard, struct span label)
{
    unsigned place = place_of(labelled, shard, label, true);
    (void)add(labelled, shard, place, 1);
    return place;
}

void labelled_more(struct labelled *labelled, unsigned shard, struct span label)
{
    (void)add(labelled, shard, place_of(labelled, shard, label, true), 1);
}

void labelled_less(struct labelled *labelled, unsigned shard, struct span label)
{
    labelled_exit(labelled, shard, place_of(labelled, shard, label, false));
}

static uint64_t sum_of(const struct labelled *labelled, unsigned place)
{
    int64_t sum = 0;
    for (unsigned shard = 0; shard < labelled->shards; shard++)
        sum += atomic_load_explicit(&labelled->value[shard * labelled->places + place],
                                    memory_order_relaxed);
    return sum < 0 ? 0 : (uint64_t)sum; /* between two loads one may have moved */
}

void labelled_each(struct labelled *labelled,
                   void (*each)(void *context, struct span label, uint64_t value), void *context)
{
    pthread_mutex_lock(&labelled->lock);
    for (unsigned place = 1; place < labelled->places; place++) {
        const struct name *name = &labelled->name[place];
        if (name->hash != 0)
            each(context, span_of(name->text, name->length), sum_of(labelled, place));
    }
    pthread_mutex_unlock(&labelled->lock);
    uint64_t other = sum_of(labelled, OTHER);
    if (other > 0)
        each(context, (struct span){NULL, 0}, other);
}

struct labelled *labelled_open(unsigned shards, unsigned series, bool counter)
{
    struct labelled *labelled = calloc(1, sizeof *labelled);
    if (labelled == NULL)
        return NULL;
    size_t places = 16;
    while (places < (size_t)series * 2)
        places *= 2;
    labelled->shards = shards;
    labelled->places = series + 1;
    labelled->mask = places - 1;
    labelled->counter = counter;
    pthread_mutex_init(&labelled->lock, NULL);
    labelled->name = calloc(labelled->places, sizeof *labelled->name);
    labelled->index = calloc(places, sizeof *labelled->index);
    labelled->vacant = calloc(series, sizeof *labelled->vacant);
    labelled->known = calloc(shards * places, sizeof *labelled->known);
    labelled->value = calloc((size_t)shards * labelled->places, sizeof *labelled->value);
    if (labelled->name == NULL || labelled->index == NULL || labelled->vacant == NULL ||
        labelled->known == NULL || labelled->value == NULL) {
        labelled_close(labelled);
        return NULL;
    }
    for (unsigned place = series; place > 0; place--)
        labelled->vacant[labelled->vacant_count++] = place;
    return labelled;
}

void labelled_close(struct labelled *labelled)
{
    if (labelled == NULL)
        return;
    pthread_mutex_destroy(&labelled->lock);
    free(labelled->name);
    free(labelled->index);
    free(labelled->vacant);
    free(labelled->known);
    free(labelled->value);
    free(labelled);
}
