/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All arrays wait equally long, so the list of them is in the order in which they are due. They are
 * found again by a small table of chains.
 */
#include "ws/gather.h"

#include "core/list.h"
#include "ws/route.h"

#include <stdlib.h>
#include <xxhash.h>

struct array {
    struct list due;
    struct array *next; /* in its chain */
    uint64_t hash, due_ns;
    struct buf json; /* "[…" without its end */
    uint8_t room_length, emit_length;
    uint8_t room[ROOM_NAME_MAX];
    uint8_t emit[ROUTE_EMIT_MAX];
};

enum { CHAINS = 1024, OVERHEAD = sizeof(struct array) };

struct gather {
    struct hub *hub;
    uint64_t interval_ns;
    size_t bytes, bytes_max;
    struct list due;
    struct array *chain[CHAINS];
};

struct gather *gather_open(struct hub *hub, uint64_t interval_ns, size_t bytes_max)
{
    struct gather *gather = calloc(1, sizeof *gather);
    if (gather == NULL)
        return NULL;
    gather->hub = hub;
    gather->interval_ns = interval_ns;
    gather->bytes_max = bytes_max;
    list_init(&gather->due);
    return gather;
}

static struct array **place(struct gather *gather, uint64_t hash)
{
    return &gather->chain[hash % CHAINS];
}

/* It is no longer in the list of those that are due. */
static void forget(struct gather *gather, struct array *array)
{
    struct array **at = place(gather, array->hash);
    while (*at != array)
        at = &(*at)->next;
    *at = array->next;
    gather->bytes -= array->json.length + OVERHEAD;
    buf_fini(&array->json);
    free(array);
}

void gather_close(struct gather *gather)
{
    struct list *link;
    while (gather != NULL && (link = list_take(&gather->due)) != NULL)
        forget(gather, LIST_ENTRY(link, struct array, due));
    free(gather);
}

/* Also when the end does not fit any more: then it is dropped with all that is in it. */
static bool publish(struct gather *gather, struct turn *turn, struct array *array)
{
    bool put = buf_put(&array->json, "]", 1);
    if (put) {
        gather->bytes++;
        struct publish publish = {.room = span_of(array->room, array->room_length),
                                  .event = span_of(array->emit, array->emit_length),
                                  .data = buf_span(&array->json),
                                  .kept = true};
        put = hub_publish(gather->hub, turn, &publish);
    }
    forget(gather, array);
    return put;
}

/* False: there is none. */
static bool publish_oldest(struct gather *gather, struct turn *turn)
{
    struct list *link = list_take(&gather->due);
    if (link == NULL)
        return false;
    /* What is dropped there is counted there. */
    (void)publish(gather, turn, LIST_ENTRY(link, struct array, due));
    return true;
}

static struct array *find(struct gather *gather, uint64_t hash, struct span emit, struct span room)
{
    struct array *array = *place(gather, hash);
    while (array != NULL &&
           !(array->hash == hash && span_equal(span_of(array->room, array->room_length), room) &&
             span_equal(span_of(array->emit, array->emit_length), emit)))
        array = array->next;
    return array;
}

static struct array *make(struct gather *gather, struct turn *turn, uint64_t hash, struct span emit,
                          struct span room)
{
    struct array *array = calloc(1, sizeof *array);
    if (array == NULL)
        return NULL;
    must(room.length <= ROOM_NAME_MAX && emit.length <= ROUTE_EMIT_MAX);
    array->hash = hash;
    array->emit_length = (uint8_t)emit.length;
    memcpy(array->emit, emit.at, emit.length);
    array->due_ns = turn->now_ns + gather->interval_ns;
    array->room_length = (uint8_t)room.length;
    memcpy(array->room, room.at, room.length);
    buf_init(&array->json, (size_t)GATHER_ARRAY_BYTES * 2);
    struct array **chain = place(gather, hash);
    array->next = *chain;
    *chain = array;
    list_append(&gather->due, &array->due);
    gather->bytes += OVERHEAD;
    return array;
}

bool gather_add(struct gather *gather, struct turn *turn, struct span emit, struct span room,
                struct span data)
{
    uint64_t hash = XXH3_64bits_withSeed(room.at, room.length, emit.length);
    while (gather->bytes + data.length > gather->bytes_max && publish_oldest(gather, turn))
        ;
    struct array *array = find(gather, hash, emit, room);
    if (array == NULL)
        array = make(gather, turn, hash, emit, room);
    if (array == NULL)
        return false;
    size_t before = array->json.length;
    bool put = buf_put(&array->json, before == 0 ? "[" : ",", 1) &&
               buf_put(&array->json, data.at, data.length);
    if (!put)
        array->json.length = before;
    gather->bytes += array->json.length - before;
    if (array->json.length > 0 && array->json.length < GATHER_ARRAY_BYTES)
        return put;
    list_remove(&array->due);
    if (array->json.length > 0)
        return publish(gather, turn, array) && put;
    forget(gather, array);
    return put;
}

void gather_flush(struct gather *gather, struct turn *turn)
{
    uint64_t due_ns;
    while ((due_ns = gather_due_ns(gather)) != 0 && due_ns <= turn->now_ns)
        (void)publish_oldest(gather, turn);
}

uint64_t gather_due_ns(const struct gather *gather)
{
    return list_empty(&gather->due) ? 0 : LIST_ENTRY(gather->due.next, struct array, due)->due_ns;
}
