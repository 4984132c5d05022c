/* SPDX-License-Identifier: Apache-2.0 */
#include "ws/routes.h"

#include "ws/route.h"
#include "ws/route_table.h"

#include <stdio.h>
#include <stdlib.h>

enum { TOLD_BYTES_MAX = 1 << 20 };

struct routes {
    struct hub *hub;
    const struct route_table *table;
    struct buf data;
};

static enum routes_verdict refuse(struct refusal *refusal, enum event_code code, const char *what)
{
    refusal->code = code;
    snprintf(refusal->message, sizeof refusal->message, "%s", what);
    return ROUTES_REFUSED;
}

/* What the token says and the event leaves out; false: they differ. */
static bool fill_in(struct span *member, const char *token, bool any)
{
    if (token[0] == '\0')
        return true;
    if (member->at == NULL)
        *member = span_of_string(token);
    return any || span_is(*member, token);
}

static bool speaks_for_himself(struct event *event, const struct principal *who,
                               struct refusal *refusal)
{
    bool any = (who->scopes & SCOPE_INGEST_ANY) != 0;
    const char *wrong = !fill_in(&event->tenant_id, who->tenant_id, any)     ? "tenantId"
                        : !fill_in(&event->user_id, who->user_id, any)       ? "userId"
                        : !fill_in(&event->project_id, who->project_id, any) ? "projectId"
                        : !fill_in(&event->session_id, who->session_id, any) ? "sessionId"
                                                                             : NULL;
    if (wrong != NULL) {
        refusal->code = EVENT_FORBIDDEN;
        snprintf(refusal->message, sizeof refusal->message, "%s: differs from the one in the token",
                 wrong);
    }
    return wrong == NULL;
}

/* Publishes what is not kept. A room that nobody can name, such as the tenant's of a user who has
 * none, is nobody's; one that the sender had to name is missed. */
static enum routes_verdict tell(struct routes *routes, struct turn *turn, const struct route *route,
                                const struct route_subject *subject, struct refusal *refusal)
{
    char name[ROOM_NAME_MAX], what[120];
    size_t length;
    enum route_room room = route_room(route, subject, name, &length);
    const struct route_target *target = &route->target[0];
    if (room == ROUTE_CLOSED_ROOM)
        return refuse(refusal, EVENT_FORBIDDEN, "roomId: the sender may not speak there");
    if (room == ROUTE_BAD_ROOM ||
        (target->kind != ROUTE_TO_TENANT && target->kind != ROUTE_TO_USER && room != ROUTE_ROOM)) {
        snprintf(what, sizeof what, "%.*s: %s", (int)target->member.name.length,
                 (const char *)target->member.name.at,
                 room == ROUTE_BAD_ROOM ? "no such room may be spoken in" : "missing");
        return refuse(refusal, EVENT_INVALID_FIELD, what);
    }
    if (room == ROUTE_NO_ROOM || !hub_has_audience(routes->hub, span_of(name, length)))
        return ROUTES_TOLD;
    routes->data.length = 0;
    struct publish publish = {
        .room = span_of(name, length), .event = route->emit, .type = subject->event->type};
    if (!route_put(route, subject, &routes->data))
        return refuse(refusal, EVENT_TOO_LARGE, "data: more than can be shown");
    publish.data = buf_span(&routes->data);
    /* A message that is dropped for want of room is counted there; nobody was promised anything. */
    (void)hub_publish(routes->hub, turn, &publish);
    return ROUTES_TOLD;
}

/* Every route of this kind that matches; STORED: there was none. */
static enum routes_verdict tell_all(struct routes *routes, struct turn *turn,
                                    const struct route_subject *subject, struct refusal *refusal)
{
    enum routes_verdict result = ROUTES_STORED;
    for (unsigned i = 0; i < route_table_count(routes->table); i++) {
        const struct route *route = route_table_at(routes->table, i);
        if (route->stored || !route_matches(route, subject))
            continue;
        if (!route_permits(route, subject))
            return refuse(refusal, EVENT_FORBIDDEN, "type: needs a scope that the token lacks");
        result = tell(routes, turn, route, subject, refusal);
        if (result == ROUTES_REFUSED)
            break;
    }
    return result;
}

/* A message that is to be shown and may not be is refused rather than kept in silence. */
static enum routes_verdict judge_stored(const struct routes *routes,
                                        const struct route_subject *subject,
                                        struct refusal *refusal)
{
    for (unsigned i = 0; i < route_table_count(routes->table); i++) {
        const struct route *route = route_table_at(routes->table, i);
        char name[ROOM_NAME_MAX];
        size_t length;
        if (!route->stored || route->types == 0 || !route_matches(route, subject))
            continue;
        if (!route_permits(route, subject))
            return refuse(refusal, EVENT_FORBIDDEN, "type: needs a scope that the token lacks");
        enum route_room room = route_room(route, subject, name, &length);
        if (room == ROUTE_CLOSED_ROOM || room == ROUTE_BAD_ROOM)
            return refuse(refusal, EVENT_FORBIDDEN, "roomId: the sender may not speak there");
    }
    return ROUTES_STORED;
}

bool routes_room_to_judge(const struct routes *routes, const struct principal *principal,
                          const struct event *event, char *name, size_t *length)
{
    struct event filled = *event;
    struct refusal refusal;
    if (principal != NULL && !speaks_for_himself(&filled, principal, &refusal))
        return false;
    struct route_subject subject = {.event = &filled, .id = event->id, .principal = principal};
    for (unsigned i = 0; i < route_table_count(routes->table); i++) {
        const struct route *route = route_table_at(routes->table, i);
        if (route_matches(route, &subject) && route_room_to_judge(route, &subject, name, length))
            return true;
    }
    return false;
}

enum routes_verdict routes_offer(struct routes *routes, struct turn *turn,
                                 const struct routes_sender *sender, const struct event *event,
                                 struct refusal *refusal)
{
    struct event filled = *event;
    if (sender->principal != NULL && !speaks_for_himself(&filled, sender->principal, refusal))
        return ROUTES_REFUSED;
    struct route_subject subject = {.event = &filled,
                                    .id = event->id,
                                    .principal = sender->principal,
                                    .received_us = turn->wall_us,
                                    .judged_room = sender->judged_room};
    enum routes_verdict told = tell_all(routes, turn, &subject, refusal);
    return told == ROUTES_STORED ? judge_stored(routes, &subject, refusal) : told;
}

struct routes *routes_open(struct hub *hub, const struct route_table *table)
{
    struct routes *routes = calloc(1, sizeof *routes);
    if (routes == NULL)
        return NULL;
    routes->hub = hub;
    routes->table = table;
    buf_init(&routes->data, TOLD_BYTES_MAX);
    return routes;
}

void routes_change(struct routes *routes, const struct route_table *table)
{
    routes->table = table;
}

void routes_close(struct routes *routes)
{
    if (routes != NULL)
        buf_fini(&routes->data);
    free(routes);
}
