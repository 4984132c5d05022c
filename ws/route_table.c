/* SPDX-License-Identifier: Apache-2.0 */
#include "ws/route_table.h"

#include "ws/route_text.h"

#include <stdio.h>
#include <stdlib.h>

struct route_table {
    unsigned count, shown; /* shown: routes with `first` */
    struct route route[ROUTE_TABLE_MAX];
};

/* What a route is made of, by enum config_route_key. */
struct draft {
    const char *name;
    const char *value[ROUTE_KEYS]; /* NULL: the key's default */
    const char *where[ROUTE_KEYS]; /* NULL: built in */
};

/* CONTRACTS.md 4, the table of routes. */
static const struct draft defaults[] = {
    {.name = "send_message",
     .value = {[ROUTE_TYPES] = "send_message",
               [ROUTE_TO] = "{roomId} else tenant:{tenantId}",
               [ROUTE_EMIT] = "chat_message",
               [ROUTE_DATA] =
                   "id, roomId, userId, userName, message from data.message, timestamp"}},
    {.name = "typing_start",
     .value = {[ROUTE_TYPES] = "typing_start",
               [ROUTE_TO] = "{roomId}",
               [ROUTE_EMIT] = "user_typing",
               [ROUTE_DATA] = "userId, roomId, typing from true",
               [ROUTE_STORED] = "no"}},
    {.name = "typing_stop",
     .value = {[ROUTE_TYPES] = "typing_stop",
               [ROUTE_TO] = "{roomId}",
               [ROUTE_EMIT] = "user_typing",
               [ROUTE_DATA] = "userId, roomId, typing from false",
               [ROUTE_STORED] = "no"}},
    {.name = "mark_notification_read",
     .value = {[ROUTE_TYPES] = "mark_notification_read",
               [ROUTE_TO] = "user:{userId}",
               [ROUTE_EMIT] = "notification_read",
               [ROUTE_DATA] = "notificationId"}},
    {.name = "notification",
     .value = {[ROUTE_TYPES] = "notification",
               [ROUTE_TO] = "user:{userId} else tenant:{tenantId}",
               [ROUTE_EMIT] = "notification",
               [ROUTE_DATA] = ("id from data.id|id, title, message, type from data.type, "
                               "timestamp from data.timestamp|timestamp")}},
    {.name = "user_status",
     .value = {[ROUTE_TYPES] = "user_status",
               [ROUTE_TO] = "tenant:{tenantId}",
               [ROUTE_EMIT] = "user_status",
               [ROUTE_DATA] = "userId, status, timestamp",
               [ROUTE_STORED] = "no"}},
    {.name = "broadcast",
     .value = {[ROUTE_TYPES] = "broadcast",
               [ROUTE_TO] = "*",
               [ROUTE_EMIT] = "broadcast",
               [ROUTE_DATA] = "data",
               [ROUTE_SCOPE] = "publish:all"}},
    {.name = "session_start",
     .value = {[ROUTE_TYPES] = "session_start",
               [ROUTE_HAS] = "projectId",
               [ROUTE_TO] = "project:{projectId}",
               [ROUTE_EMIT] = "session-started",
               [ROUTE_DATA] = ("sessionId, externalUserId from userId|data.externalUserId, "
                               "timestamp")}},
    {.name = "event_received",
     .value = {[ROUTE_HAS] = "projectId",
               [ROUTE_TO] = "project:{projectId}",
               [ROUTE_EMIT] = "event-received",
               [ROUTE_DATA] = "sessionId, externalUserId from userId|data.externalUserId, event",
               [ROUTE_FIRST] = "10"}},
    {.name = "session_end",
     .value = {[ROUTE_TYPES] = "session_end",
               [ROUTE_HAS] = "projectId",
               [ROUTE_TO] = "project:{projectId}",
               [ROUTE_EMIT] = "session-ended",
               [ROUTE_DATA] = ("sessionId, externalUserId from userId|data.externalUserId, "
                               "submitted from data.submitted|true, timestamp")}},
    {.name = "events",
     .value = {[ROUTE_HAS] = "userId",
               [ROUTE_TO] = "user:{userId}",
               [ROUTE_EMIT] = "events",
               [ROUTE_DATA] = "event",
               [ROUTE_BATCH] = "yes"}},
};
_Static_assert(COUNT_OF(defaults) + CONFIG_ROUTES_MAX <= ROUTE_TABLE_MAX, "all of them fit");

static const char *const key_names[ROUTE_KEYS] = {"types", "streams", "has",    "to",
                                                  "emit",  "data",    "stored", "first",
                                                  "batch", "scope",   "enabled"};
static const char *const usual[ROUTE_KEYS] = {
    [ROUTE_TYPES] = "",   [ROUTE_STREAMS] = "",   [ROUTE_HAS] = "",       [ROUTE_TO] = "",
    [ROUTE_EMIT] = "",    [ROUTE_DATA] = "event", [ROUTE_STORED] = "yes", [ROUTE_FIRST] = "0",
    [ROUTE_BATCH] = "no", [ROUTE_SCOPE] = "",     [ROUTE_ENABLED] = "yes"};

static bool complain(const struct draft *draft, enum config_route_key key, const char *what,
                     char *why)
{
    const char *where = draft->where[key];
    snprintf(why, ROUTE_WHY_BYTES, "%s%s[route %.64s] %s = %.300s", where == NULL ? "" : where,
             where == NULL ? "" : ": ", draft->name, key_names[key], what);
    return false;
}

/* The texts of a draft, one behind the other, each with its NUL; route->memory owns them. */
static bool copy_texts(const struct draft *draft, struct route *route, char *text[ROUTE_KEYS])
{
    size_t bytes = 0;
    for (unsigned key = 0; key < ROUTE_KEYS; key++)
        bytes += strlen(draft->value[key]) + 1;
    route->memory = malloc(bytes);
    char *at = route->memory;
    for (unsigned key = 0; at != NULL && key < ROUTE_KEYS; key++) {
        text[key] = at;
        at = stpcpy(at, draft->value[key]) + 1;
    }
    return at != NULL;
}

static bool read_key(struct route *route, const struct streams *streams, enum config_route_key key,
                     char *text, char *why)
{
    bool enabled;
    switch (key) {
    case ROUTE_TYPES:
        return route_text_types(route, text, why);
    case ROUTE_STREAMS:
        return route_text_streams(route, streams, text, why);
    case ROUTE_HAS:
        return route_text_has(route, text, why);
    case ROUTE_TO:
        return route_text_to(route, text, why);
    case ROUTE_EMIT:
        return route_text_emit(route, text, why);
    case ROUTE_DATA:
        return route_text_data(route, text, why);
    case ROUTE_STORED:
        return route_text_flag(text, &route->stored, why);
    case ROUTE_FIRST:
        return route_text_first(route, text, why);
    case ROUTE_BATCH:
        return route_text_flag(text, &route->batch, why);
    case ROUTE_SCOPE:
        return route_text_scope(route, text, why);
    case ROUTE_ENABLED:
        return route_text_flag(text, &enabled, why);
    case ROUTE_KEYS:
        break;
    }
    must(false);
}

/* Rules between the keys of one route. */
static bool agrees(struct route_table *table, const struct draft *draft, struct route *route,
                   char *why)
{
    if (!route->stored && (route->types == 0 || route->batch || route->first > 0))
        return complain(draft, ROUTE_STORED,
                        "no: such a route needs types, and has neither first nor batch", why);
    if (!route->stored && route->streams > 0)
        return complain(draft, ROUTE_STREAMS, "a route with stored = no has no stream", why);
    if (route->first > 0 && table->shown == BATCH_SHOWN_ROUTES)
        return complain(draft, ROUTE_FIRST, "more than 4 routes with first; allowed here is 0",
                        why);
    if (route->first > 0)
        route->shown = table->shown++;
    return true;
}

static bool compile(struct route_table *table, const struct draft *draft,
                    const struct streams *streams, char *why)
{
    struct route *route = &table->route[table->count];
    char *text[ROUTE_KEYS], what[ROUTE_TEXT_WHY];
    bool enabled;
    if (!route_text_flag(draft->value[ROUTE_ENABLED], &enabled, what))
        return complain(draft, ROUTE_ENABLED, what, why);
    if (!enabled)
        return true;
    must(table->count < ROUTE_TABLE_MAX);
    table->count++;
    snprintf(route->name, sizeof route->name, "%s", draft->name);
    if (!copy_texts(draft, route, text)) {
        snprintf(why, ROUTE_WHY_BYTES, "no memory for [route %.64s]", draft->name);
        return false;
    }
    for (unsigned key = 0; key < ROUTE_KEYS; key++)
        if (!read_key(route, streams, (enum config_route_key)key, text[key], what))
            return complain(draft, (enum config_route_key)key, what, why);
    return agrees(table, draft, route, why);
}

/* A section over a draft: what it gives. */
static void overlay(const struct config_route *section, struct draft *draft)
{
    draft->name = section->name;
    for (unsigned key = 0; key < ROUTE_KEYS; key++) {
        if (section->value[key] == NULL)
            continue;
        draft->value[key] = section->value[key];
        draft->where[key] = section->where[key];
    }
}

static void fill_usual(struct draft *draft)
{
    const char *where = NULL;
    for (unsigned key = 0; key < ROUTE_KEYS; key++)
        where = draft->where[key] != NULL ? draft->where[key] : where;
    for (unsigned key = 0; key < ROUTE_KEYS; key++) {
        if (draft->value[key] != NULL)
            continue;
        draft->value[key] = usual[key];
        draft->where[key] = where; /* a key that is missing is missed where the section stands */
    }
}

static const struct config_route *section_of(const struct config *config, const char *name)
{
    for (unsigned i = 0; i < config->routes; i++)
        if (strcmp(config->route[i].name, name) == 0)
            return &config->route[i];
    return NULL;
}

static bool is_default(const char *name)
{
    for (unsigned i = 0; i < COUNT_OF(defaults); i++)
        if (strcmp(defaults[i].name, name) == 0)
            return true;
    return false;
}

static bool fill(struct route_table *table, const struct config *config,
                 const struct streams *streams, char *why)
{
    for (unsigned i = 0; i < COUNT_OF(defaults); i++) {
        struct draft draft = defaults[i];
        const struct config_route *section = section_of(config, draft.name);
        if (section != NULL)
            overlay(section, &draft);
        fill_usual(&draft);
        if (!compile(table, &draft, streams, why))
            return false;
    }
    for (unsigned i = 0; i < config->routes; i++) {
        struct draft draft = {0};
        if (is_default(config->route[i].name))
            continue;
        overlay(&config->route[i], &draft);
        fill_usual(&draft);
        if (!compile(table, &draft, streams, why))
            return false;
    }
    return true;
}

struct route_table *route_table_open(const struct config *config, const struct streams *streams,
                                     char *why)
{
    struct route_table *table = calloc(1, sizeof *table);
    if (table == NULL) {
        snprintf(why, ROUTE_WHY_BYTES, "no memory for the routes");
        return NULL;
    }
    why[0] = '\0';
    if (fill(table, config, streams, why))
        return table;
    if (why[0] == '\0')
        snprintf(why, ROUTE_WHY_BYTES, "no memory for the routes");
    route_table_close(table);
    return NULL;
}

void route_table_close(struct route_table *table)
{
    for (unsigned i = 0; table != NULL && i < table->count; i++)
        free(table->route[i].memory);
    free(table);
}

unsigned route_table_count(const struct route_table *table)
{
    return table->count;
}

const struct route *route_table_at(const struct route_table *table, unsigned index)
{
    must(index < table->count);
    return &table->route[index];
}
