/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One route, compiled, and what it makes of an event: the room, and the JSON that is shown there.
 * Pure but for the memory of `out`; any thread.
 */
#ifndef WS_ROUTE_H
#define WS_ROUTE_H

#include "core/buf.h"
#include "proto/intake.h"
#include "ws/hub.h"

enum {
    ROUTE_NAME_MAX = 128,
    ROUTE_EMIT_MAX = 128,
    ROUTE_TYPES_MAX = 32,
    ROUTE_STREAMS_MAX = 16,
    ROUTE_FIELDS_MAX = 32,
    ROUTE_FROMS_MAX = 4,
    ROUTE_TARGETS_MAX = 4,
    ROUTE_HAS_MAX = 8,
};

enum route_source {
    ROUTE_FROM_ID,
    ROUTE_FROM_TYPE,
    ROUTE_FROM_TENANT_ID,
    ROUTE_FROM_USER_ID,
    ROUTE_FROM_PROJECT_ID,
    ROUTE_FROM_SESSION_ID,
    ROUTE_FROM_ROOM_ID,
    ROUTE_FROM_TIMESTAMP,
    ROUTE_FROM_RECEIVED_AT,
    ROUTE_FROM_USER_NAME,
    ROUTE_FROM_EVENT,
    ROUTE_FROM_DATA,
    ROUTE_FROM_DATA_MEMBER,
    ROUTE_FROM_LITERAL,
};

struct route_from {
    enum route_source source;
    const char *path;    /* of DATA_MEMBER: behind "data." */
    struct span literal; /* of LITERAL: JSON */
};

/* A member of the payload: sources are tried in order, null counts as absent. */
struct route_field {
    struct span name;
    struct route_from from[ROUTE_FROMS_MAX];
    unsigned froms;
};

enum route_room_kind {
    ROUTE_TO_ROOM,
    ROUTE_TO_USER,
    ROUTE_TO_TENANT,
    ROUTE_TO_PROJECT,
    ROUTE_TO_EVERYONE
};

/* prefix {member} suffix; without a member the prefix is all of it. */
struct route_target {
    enum route_room_kind kind;
    struct span prefix, suffix;
    struct route_field member; /* froms 0: there is none */
};

enum route_payload { ROUTE_WHOLE_EVENT, ROUTE_ALL_DATA, ROUTE_OBJECT };

struct route {
    char name[ROUTE_NAME_MAX + 1];
    char *memory; /* what all texts below look into */
    struct span type[ROUTE_TYPES_MAX];
    unsigned types; /* 0: any */
    const struct stream *stream[ROUTE_STREAMS_MAX];
    unsigned streams; /* 0: any */
    struct route_field has[ROUTE_HAS_MAX];
    unsigned has_count;
    struct route_target target[ROUTE_TARGETS_MAX];
    unsigned targets;
    struct span emit;
    enum route_payload payload;
    struct route_field field[ROUTE_FIELDS_MAX];
    unsigned fields;
    bool stored, batch;
    unsigned first;  /* of one ingest batch; 0: all … */
    unsigned shown;  /* … counted in batch_shown.of[shown] */
    unsigned scopes; /* bits of enum scope: one of them is needed; 0: none is */
};

/* An event as a route looks at it. */
struct route_subject {
    const struct event *event;
    struct span id;                    /* its own or the one that the server made */
    const struct stream *stream;       /* that took it; NULL: none did */
    const struct principal *principal; /* who sent it; NULL: nobody in particular */
    int64_t received_us;
    struct span judged_room; /* source.judged_room */
};

/* Whether events of this type can match at all. */
NODISCARD bool route_takes_type(const struct route *route, struct span type);
/* Types, streams and members. */
NODISCARD bool route_matches(const struct route *route, const struct route_subject *subject);
/* Has the sender the scope that is needed? */
NODISCARD bool route_permits(const struct route *route, const struct route_subject *subject);

enum route_room {
    ROUTE_ROOM,
    ROUTE_NO_ROOM,     /* the event has none of the members */
    ROUTE_BAD_ROOM,    /* too long, or one that cannot be named like this: user:…, tenant:… */
    ROUTE_CLOSED_ROOM, /* the sender may not speak there */
};
/* Writes the room's name at `name`, ROOM_NAME_MAX bytes. */
NODISCARD enum route_room route_room(const struct route *route, const struct route_subject *subject,
                                     char *name, size_t *length);
/* The same, if it is one in which may speak who may enter it, which has to be found out elsewhere. */
NODISCARD bool route_room_to_judge(const struct route *route, const struct route_subject *subject,
                                   char *name, size_t *length);

/* The JSON that is shown, compact. False: no memory, or past out->max. */
NODISCARD bool route_put(const struct route *route, const struct route_subject *subject,
                         struct buf *out);

#endif
