/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules are asked in the order of the table in the header. A request that waits for the
 * directory stands in a list under a number that is never used again, so that an answer to one that
 * was forgotten finds nobody. The list is as long as directory.waiting at most.
 */
#include "ws/access.h"

#include "ws/hub.h"

#include <stdlib.h>

struct access {
    struct directory *directory;
    struct asker asker;
    struct list waiting;
    uint64_t asked;
};

/* What the name alone and the token say; or that somebody must be asked. */
enum rule { RULE_GRANT, RULE_DENY, RULE_ASK_PROJECT, RULE_ASK_ROOM };

static bool has_prefix(struct span room, const char *prefix, struct span *id)
{
    size_t length = strlen(prefix);
    if (room.length < length || memcmp(room.at, prefix, length) != 0)
        return false;
    *id = span_from(room, length);
    return true;
}

static bool is_name(struct span room)
{
    if (room.length == 0 || room.length > DIRECTORY_NAME_MAX)
        return false;
    for (size_t i = 0; i < room.length; i++)
        if (room.at[i] < 0x20 || room.at[i] == 0x7f)
            return false;
    return true;
}

/* An id is nobody's while it is empty. */
static enum rule only(const char *own, struct span id)
{
    return id.length > 0 && span_is(id, own) ? RULE_GRANT : RULE_DENY;
}

static enum rule rule_for_plain(const struct principal *principal, struct span room)
{
    if (principal == NULL || !principal->lists_rooms)
        return RULE_ASK_ROOM;
    return principal_lists(principal_rooms(principal), room) ? RULE_GRANT : RULE_DENY;
}

static enum rule rule_for_project(const struct principal *principal, struct span id)
{
    if (id.length == 0)
        return RULE_DENY;
    if (principal != NULL && principal_lists(principal_projects(principal), id))
        return RULE_GRANT;
    return RULE_ASK_PROJECT;
}

static enum rule rule_for(const struct principal *principal, struct span room, struct span *id)
{
    if (!is_name(room) || hub_is_own_room(room))
        return RULE_DENY;
    if (principal != NULL && (principal->scopes & SCOPE_ADMIN) != 0)
        return RULE_GRANT;
    if (has_prefix(room, "user:", id) || has_prefix(room, "user_", id))
        return only(principal != NULL ? principal->user_id : "", *id);
    if (has_prefix(room, "tenant:", id))
        return only(principal != NULL ? principal->tenant_id : "", *id);
    if (has_prefix(room, "project:", id))
        return rule_for_project(principal, *id);
    *id = room;
    return span_is(room, "*") ? RULE_DENY : rule_for_plain(principal, room);
}

/* What is found concerns all; whose it is, this principal. */
static enum access_answer judge(const struct finding *finding, enum question_kind kind,
                                const struct principal *principal)
{
    if (finding->kind == FINDING_FAILED)
        return ACCESS_UNKNOWN;
    if (kind == QUESTION_ROOM)
        return finding->kind == FINDING_YES ? ACCESS_GRANTED : ACCESS_DENIED;
    if (finding->kind == FINDING_NO)
        return ACCESS_NOT_FOUND;
    if (principal == NULL || finding->owner.length == 0 ||
        !span_is(finding->owner, principal->user_id))
        return ACCESS_DENIED;
    return finding->active ? ACCESS_GRANTED : ACCESS_INACTIVE;
}

static uint64_t token_of(struct access *access, enum question_kind kind)
{
    return ++access->asked << 1 | (kind == QUESTION_PROJECT);
}

static enum question_kind kind_of(uint64_t token)
{
    return (token & 1) != 0 ? QUESTION_PROJECT : QUESTION_ROOM;
}

static void answered(void *self, struct turn *turn, uint64_t token, const struct finding *finding)
{
    struct access *access = self;
    for (struct list *at = access->waiting.next; at != &access->waiting; at = at->next) {
        struct access_request *request = LIST_ENTRY(at, struct access_request, link);
        if (request->token != token)
            continue;
        list_remove(&request->link);
        request->answered(request, turn, judge(finding, kind_of(token), request->principal));
        return;
    }
}

static bool ask_directory(struct access *access, struct turn *turn, enum question_kind kind,
                          struct span name, struct access_request *request,
                          enum access_answer *answer)
{
    const struct principal *principal = request->principal;
    struct question question = {
        .kind = kind,
        .name = name,
        .user = span_of_string(principal != NULL ? principal->user_id : ""),
        .tenant = span_of_string(principal != NULL ? principal->tenant_id : ""),
    };
    struct finding finding;
    request->token = token_of(access, kind);
    if (!directory_ask(access->directory, turn, &question, &access->asker, request->token,
                       &finding)) {
        list_append(&access->waiting, &request->link);
        return false;
    }
    *answer = judge(&finding, kind, principal);
    return true;
}

bool access_ask(struct access *access, struct turn *turn, const struct principal *principal,
                struct span room, struct access_request *request, enum access_answer *answer)
{
    struct span id = room;
    must(!list_linked(&request->link) && request->answered != NULL);
    enum rule rule = rule_for(principal, room, &id);
    request->principal = principal;
    if (rule == RULE_GRANT || rule == RULE_DENY) {
        *answer = rule == RULE_GRANT ? ACCESS_GRANTED : ACCESS_DENIED;
        return true;
    }
    if (access->directory == NULL) {
        *answer = ACCESS_UNKNOWN;
        return true;
    }
    return ask_directory(access, turn, rule == RULE_ASK_PROJECT ? QUESTION_PROJECT : QUESTION_ROOM,
                         id, request, answer);
}

bool access_forbids(const struct principal *principal, struct span room)
{
    struct span id;
    return rule_for(principal, room, &id) == RULE_DENY;
}

void access_forget(struct access *access, struct access_request *request)
{
    (void)access;
    if (list_linked(&request->link))
        list_remove(&request->link);
}

struct access *access_open(struct directory *directory)
{
    struct access *access = calloc(1, sizeof *access);
    if (access == NULL)
        return NULL;
    access->directory = directory;
    access->asker = (struct asker){access, answered};
    list_init(&access->waiting);
    return access;
}

void access_close(struct access *access)
{
    must(access == NULL || list_empty(&access->waiting));
    free(access);
}
