/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The streams, and the way from an event's type to its stream. Every event takes
 * that way, so the types that are listed anywhere stand in one small hash table,
 * rebuilt at each streams_add(), a quarter full at most: an event whose type
 * is not listed usually meets an empty place at once, and belongs to `events`.
 */
#include "proto/stream.h"
#include "proto/stream_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct route {
    uint32_t hash;
    uint16_t stream; /* + 1; 0: empty */
    uint16_t type;
};

struct streams {
    struct stream *stream[STREAMS_MAX];
    bool is_default[STREAMS_MAX];
    unsigned count;
    const struct stream *rest; /* `events` */
    struct route *route;
    uint32_t route_mask;
};

static const struct {
    const char *name, *columns, *types;
} defaults[] = {
    {"events",
     "id text, type text, tenant_id text, user_id text, project_id text, session_id text, room_id "
     "text, "
     "ts timestamptz from timestamp, received_at timestamptz, data jsonb",
     ""},
    {"messages",
     "id bigint generated always as identity, "
     "user_id bigint from data.user_id|userId required, channel_id bigint from data.channel_id "
     "required, "
     "content text from data.content required, created_at timestamptz from timestamp",
     "message"},
    {"cart_events",
     "id text, user_id text, event_type text from type, metadata jsonb from data, "
     "ts timestamptz from timestamp, received_at timestamptz",
     "item_added, item_removed, item_updated, cart_viewed, cart_cleared, coupon_applied, "
     "checkout_started, checkout_completed, cart_abandoned"},
};

struct streams *streams_open(void)
{
    return calloc(1, sizeof(struct streams));
}

static void stream_free(struct stream *stream)
{
    if (stream == NULL)
        return;
    for (unsigned i = 0; i < STREAM_COLUMNS_MAX; i++)
        for (unsigned k = 0; k < COUNT_OF(stream->column[i].from); k++)
            free(stream->column[i].from[k].path);
    free(stream->table);
    free(stream->types_text);
    free(stream);
}

void streams_close(struct streams *streams)
{
    if (streams == NULL)
        return;
    for (unsigned i = 0; i < streams->count; i++)
        stream_free(streams->stream[i]);
    free(streams->route);
    free(streams);
}

/* ── Routing ────────────────────────────────────────────────────────────────────────────────── */

static uint64_t load64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static uint32_t load32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

/* Of the length and both ends: what is listed is ours, so nobody can crowd the table. */
static uint32_t type_hash(struct span type)
{
    const uint8_t *end = type.at + type.length;
    uint64_t head, tail;
    if (type.length >= 8) {
        head = load64(type.at);
        tail = load64(end - 8);
    } else if (type.length >= 4) {
        head = load32(type.at);
        tail = load32(end - 4);
    } else {
        head = type.length > 0 ? type.at[0] : 0;
        tail = type.length > 0 ? (uint64_t)type.at[type.length / 2] << 8 | end[-1] : 0;
    }
    uint64_t mixed = (head ^ (tail << 29 | tail >> 35) ^ type.length) * 0x9e3779b97f4a7c15u;
    return (uint32_t)(mixed >> 32);
}

static const struct route *find_route(const struct streams *streams, struct span type)
{
    uint32_t hash = type_hash(type);
    for (uint32_t i = hash;; i++) {
        const struct route *route = &streams->route[i & streams->route_mask];
        if (route->stream == 0)
            return NULL;
        if (route->hash == hash &&
            span_equal(streams->stream[route->stream - 1]->type[route->type], type))
            return route;
    }
}

static void put_route(struct streams *streams, unsigned stream, unsigned type)
{
    uint32_t hash = type_hash(streams->stream[stream]->type[type]);
    uint32_t i = hash & streams->route_mask;
    while (streams->route[i].stream != 0)
        i = (i + 1) & streams->route_mask;
    streams->route[i] = (struct route){hash, (uint16_t)(stream + 1), (uint16_t)type};
}

/* Those of the configuration first: a default stream gets only the types that are left. */
static void put_routes(struct streams *streams, bool of_defaults)
{
    for (unsigned i = 0; i < streams->count; i++)
        for (unsigned k = 0; streams->is_default[i] == of_defaults && k < streams->stream[i]->types;
             k++)
            if (find_route(streams, streams->stream[i]->type[k]) == NULL)
                put_route(streams, i, k);
}

static bool rebuild_routes(struct streams *streams)
{
    size_t types = 0, places = 16;
    for (unsigned i = 0; i < streams->count; i++)
        types += streams->stream[i]->types;
    while (places < 4 * types)
        places *= 2;
    struct route *route = calloc(places, sizeof *route);
    if (route == NULL)
        return false;
    free(streams->route);
    streams->route = route;
    streams->route_mask = (uint32_t)places - 1;
    put_routes(streams, false);
    put_routes(streams, true);
    streams->rest = streams_find(streams, "events");
    return true;
}

const struct stream *streams_route(const struct streams *streams, struct span type)
{
    const struct route *route = find_route(streams, type);
    if (route != NULL)
        return streams->stream[route->stream - 1];
    must(streams->rest != NULL);
    return streams->rest;
}

bool stream_takes(const struct stream *stream, struct span type)
{
    if (!stream->only_types)
        return true;
    for (unsigned i = 0; i < stream->types; i++)
        if (span_equal(stream->type[i], type))
            return true;
    return false;
}

/* ── Adding ─────────────────────────────────────────────────────────────────────────────────── */

static bool check_stream_name(const char *name, char *why)
{
    size_t length = strlen(name);
    bool good = length >= 1 && length <= STREAM_NAME_MAX;
    for (const char *at = name; good && *at != 0; at++)
        good = (unsigned char)*at > ' ' && *at != 127;
    if (!good)
        snprintf(why, STREAM_WHY_BYTES,
                 "stream name '%.80s': allowed: 1 to %d bytes without white space", name,
                 STREAM_NAME_MAX);
    return good;
}

/* A type has one stream, unless it is a default one that gives way. */
static bool check_types(const struct streams *streams, const struct stream *stream, char *why)
{
    if (strcmp(stream->name, "events") == 0 && stream->types > 0) {
        snprintf(why, STREAM_WHY_BYTES,
                 "types: stream events takes what no other takes; allowed: none");
        return false;
    }
    for (unsigned i = 0; i < streams->count; i++) {
        const struct stream *other = streams->stream[i];
        if (streams->is_default[i] || strcmp(other->name, stream->name) == 0)
            continue;
        for (unsigned k = 0; k < stream->types; k++) {
            if (other->only_types && stream_takes(other, stream->type[k])) {
                snprintf(why, STREAM_WHY_BYTES, "event type '%.*s' already enters stream %s",
                         SPAN_ARGS(stream->type[k]), other->name);
                return false;
            }
        }
    }
    return true;
}

/* What the configuration says, as a stream of its own, or NULL. */
static struct stream *stream_make(const char *name, const char *table, const char *columns,
                                  const char *types, char *why)
{
    struct table_name table_name;
    if (!check_stream_name(name, why) || !stream_text_table(table, &table_name, why))
        return NULL;
    struct stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL)
        return NULL;
    memcpy(stream->name, name, strlen(name) + 1);
    stream->table = strdup(table);
    stream->types_text = strdup(types);
    if (stream->table == NULL || stream->types_text == NULL ||
        !stream_text_columns(stream, columns, why) || !stream_text_types(stream, why)) {
        stream_free(stream);
        return NULL;
    }
    stream_plan(stream);
    return stream;
}

static unsigned index_of(const struct streams *streams, const char *name)
{
    unsigned i = 0;
    while (i < streams->count && strcmp(streams->stream[i]->name, name) != 0)
        i++;
    return i;
}

static int add(struct streams *streams, struct stream *stream, bool is_default, char *why)
{
    unsigned index = index_of(streams, stream->name);
    if (index == STREAMS_MAX) {
        snprintf(why, STREAM_WHY_BYTES, "stream %s is one too many; allowed: %d", stream->name,
                 STREAMS_MAX);
        return -EINVAL;
    }
    struct stream *before = index < streams->count ? streams->stream[index] : NULL;
    unsigned count_before = streams->count;
    bool default_before = streams->is_default[index];
    stream->index = (uint16_t)index;
    streams->stream[index] = stream;
    streams->is_default[index] = is_default;
    streams->count += before == NULL;
    if (rebuild_routes(streams)) {
        stream_free(before);
        return 0;
    }
    streams->stream[index] = before;
    streams->is_default[index] = default_before;
    streams->count = count_before;
    return -ENOMEM;
}

int streams_add(struct streams *streams, const char *name, const char *table, const char *columns,
                const char *types, char *why)
{
    why[0] = 0;
    struct stream *stream = stream_make(name, table, columns, types, why);
    if (stream == NULL)
        return why[0] != 0 ? -EINVAL : -ENOMEM;
    int result = check_types(streams, stream, why) ? add(streams, stream, false, why) : -EINVAL;
    if (result != 0)
        stream_free(stream);
    return result;
}

int streams_add_defaults(struct streams *streams, char *why)
{
    why[0] = 0;
    for (size_t i = 0; i < COUNT_OF(defaults); i++) {
        if (index_of(streams, defaults[i].name) < streams->count)
            continue;
        struct stream *stream = stream_make(defaults[i].name, defaults[i].name, defaults[i].columns,
                                            defaults[i].types, why);
        if (stream == NULL)
            return -ENOMEM;
        int result = add(streams, stream, true, why);
        if (result != 0) {
            stream_free(stream);
            return result;
        }
    }
    return 0;
}

unsigned streams_make_ids_unique(struct streams *streams)
{
    unsigned without = 0;
    for (unsigned i = 0; i < streams->count; i++) {
        struct stream *stream = streams->stream[i];
        for (unsigned k = 0; k < stream->columns && stream->unique_id == NULL; k++)
            if (stream->column[k].from[0].source == FROM_ID)
                stream->unique_id = &stream->column[k];
        without += stream->unique_id == NULL;
    }
    return without;
}

/* ── Asking ─────────────────────────────────────────────────────────────────────────────────── */

unsigned streams_count(const struct streams *streams)
{
    return streams->count;
}

const struct stream *streams_at(const struct streams *streams, unsigned index)
{
    must(index < streams->count);
    return streams->stream[index];
}

const struct stream *streams_find(const struct streams *streams, const char *name)
{
    unsigned index = index_of(streams, name);
    return index < streams->count ? streams->stream[index] : NULL;
}
