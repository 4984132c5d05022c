/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is at the other end, as a verified token says (CONTRACTS.md 4). Filled by proto/jwt.c; owned
 * by whoever asked; plain memory, copied by value.
 */
#ifndef PROTO_PRINCIPAL_H
#define PROTO_PRINCIPAL_H

#include "core/must.h"
#include "core/span.h"

enum { PRINCIPAL_TEXT_MAX = 128, PRINCIPAL_LIST_MAX = 2048 };

enum scope {
    SCOPE_INGEST = 1,
    SCOPE_INGEST_ANY = 2, /* ingest:any: may write for other users and tenants */
    SCOPE_PUBLISH = 4,
    SCOPE_PUBLISH_ALL = 8, /* publish:all */
    SCOPE_ADMIN = 16,
    SCOPE_STATS = 32,
};

struct principal {
    char user_id[PRINCIPAL_TEXT_MAX + 1];   /* sub, or userId; empty: none */
    char tenant_id[PRINCIPAL_TEXT_MAX + 1]; /* tenantId */
    char project_id[PRINCIPAL_TEXT_MAX + 1], session_id[PRINCIPAL_TEXT_MAX + 1];
    char email[PRINCIPAL_TEXT_MAX + 1];
    unsigned scopes;   /* bits of enum scope, from scope, scopes, permissions and roles */
    int64_t expires_s; /* exp; 0: none */
    uint16_t rooms_at; /* where the second of the lists begins */
    bool lists_rooms;  /* there is a claim `rooms`, be it empty: no other rooms may be entered */
    /* Claims `projects` and `rooms`, each "a\0b\0\0":
     * an empty name ends the list. Last, since a copy ends with them. */
    char lists[2 * PRINCIPAL_LIST_MAX];
};

static inline const char *principal_projects(const struct principal *principal)
{
    return principal->lists;
}

static inline const char *principal_rooms(const struct principal *principal)
{
    return principal->lists + principal->rooms_at;
}

/* A copy to keep with a connection, to free(): only as long
 * as the lists are, so never to be assigned by value. NULL: no memory. */
NODISCARD struct principal *principal_copy(const struct principal *principal);

/* When its token stops being good, on the monotonic clock, `leeway_ns` included; 0: never, or not in
 * our time. */
uint64_t principal_expires_ns(const struct principal *principal, uint64_t now_ns, int64_t wall_us,
                              uint64_t leeway_ns);

/* Is `name` in such a list? */
static inline bool principal_lists(const char *list, struct span name)
{
    for (; *list != '\0'; list += strlen(list) + 1)
        if (span_is(name, list))
            return true;
    return false;
}

#endif
