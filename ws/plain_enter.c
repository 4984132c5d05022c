/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way in.
 *
 *   entrance_read ─► wishes ─► entrance_ask ─┬─ a no ─► 403, 404, 503
 *                                            └─ yes, or not known yet ─► 101 or 200
 *   entrance_go ─► the last answer is there ─┬─ a no ─► refused()
 *                                            └─► joins all ─► what it missed ─► entered()
 */
#include "ws/plain_internal.h"

#include <stdlib.h>

/* ── The request ────────────────────────────────────────────────────────────────────────────── */

static bool bad(struct http_request *request, struct turn *turn, const char *message)
{
    http_refuse(request, turn, 400, (struct span){NULL, 0}, "INVALID_FIELD", message);
    return false;
}

static bool no_memory(struct http_request *request, struct turn *turn)
{
    http_refuse_for_now(request, turn, 503, 1, "OVERLOADED", "no memory");
    return false;
}

/* False: no memory. */
static bool add_wish(struct entrance *entrance, const char *room)
{
    struct wish *more = realloc(entrance->wish, (entrance->wishes + 1) * sizeof(struct wish));
    if (more == NULL)
        return false;
    entrance->wish = more;
    struct wish *wish = &more[entrance->wishes++];
    *wish = (struct wish){.entrance = entrance};
    memcpy(wish->room, room, strlen(room) + 1);
    return true;
}

static bool read_rooms(struct entrance *entrance, struct turn *turn, struct http_request *request)
{
    char room[ROOM_NAME_MAX + 1];
    size_t cursor = 0;
    int found;
    while ((found = http_query_next(request, "room", &cursor, room, sizeof room)) > 0) {
        if (room[0] == '\0')
            return bad(request, turn, "room: empty");
        if (entrance->wishes == PLAIN_ROOMS_MAX)
            return bad(request, turn, "room: more than 64");
        if (!add_wish(entrance, room))
            return no_memory(request, turn);
    }
    return found == 0 || bad(request, turn, "room: badly encoded, or more than 160 bytes");
}

static bool read_types(struct entrance *entrance, struct turn *turn, struct http_request *request)
{
    char types[PLAIN_TYPES_MAX], type[130];
    size_t cursor = 0, length = 0;
    int found;
    while ((found = http_query_next(request, "types", &cursor, type, sizeof type)) > 0) {
        size_t more = strlen(type);
        if (strchr(type, ',') != NULL || length + more + 2 > sizeof types)
            return bad(request, turn, "types: too many, or one with a comma in it");
        memcpy(types + length, type, more);
        length += more;
        types[length++] = ',';
    }
    if (found < 0)
        return bad(request, turn, "types: badly encoded, or one of more than 128 bytes");
    types[length] = '\0';
    while (length > 0 && types[length - 1] == ',')
        types[--length] = '\0';
    if (length == 0)
        return true;
    entrance->types = strdup(types);
    return entrance->types != NULL || no_memory(request, turn);
}

/* The last id that it has, in whichever way it says so. False: none. */
static bool last_id(const struct http_request *request, char *out, size_t room)
{
    struct span header = http_header(request, "Last-Event-ID");
    if (header.length > 0 && header.length < room) {
        memcpy(out, header.at, header.length);
        out[header.length] = '\0';
        return true;
    }
    return (http_query(request, "lastEventId", out, room) ||
            http_query(request, "last_id", out, room)) &&
           out[0] != '\0';
}

static void read_last_id(struct entrance *entrance, const struct http_request *request)
{
    char text[HUB_OFFSET_TEXT];
    unsigned shard;
    entrance->resumes = last_id(request, text, sizeof text);
    entrance->known = entrance->resumes &&
                      hub_offset_parse(span_of_string(text), &shard, &entrance->number) &&
                      shard == entrance->plain->options.shard;
}

unsigned plain_shard_of(void *context, const struct http_request *request)
{
    const struct plain *plain = context;
    char text[HUB_OFFSET_TEXT];
    unsigned shard;
    uint64_t number;
    if (last_id(request, text, sizeof text) &&
        hub_offset_parse(span_of_string(text), &shard, &number) && shard < plain->options.shards)
        return shard;
    return plain->options.shard;
}

/* Who names no room wants his own. */
static bool add_own(struct entrance *entrance)
{
    const char *const prefix[] = {"user:", "tenant:"};
    const char *const id[] = {entrance_user(entrance), entrance_tenant(entrance)};
    char room[sizeof "tenant:" + PRINCIPAL_TEXT_MAX];
    for (unsigned i = 0; i < COUNT_OF(prefix); i++) {
        if (id[i][0] == '\0')
            continue;
        memcpy(room, prefix[i], strlen(prefix[i]));
        memcpy(room + strlen(prefix[i]), id[i], strlen(id[i]) + 1);
        if (!add_wish(entrance, room))
            return false;
    }
    return true;
}

/* Are there not too many of them already? They count together with those of Socket.IO. */
static bool is_allowed(struct entrance *entrance, const char *peer)
{
    struct allowance *allowance = entrance->plain->options.allowance;
    const struct plain_settings *settings = &entrance->plain->settings;
    uint8_t room[QUOTA_ADDRESS_BYTES];
    struct span address = quota_address(peer, room), user = span_of_string(entrance_user(entrance));
    return allowance_enter(allowance, allowance_key(allowance, "address:", address),
                           settings->connections_per_address, &entrance->address_ticket) &&
           (user.length == 0 ||
            allowance_enter(allowance, allowance_key(allowance, "user:", user),
                            settings->connections_per_user, &entrance->user_ticket));
}

bool entrance_read(struct entrance *entrance, struct plain *plain, struct turn *turn,
                   struct http_request *request)
{
    *entrance = (struct entrance){.plain = plain};
    if (request->principal != NULL &&
        (entrance->principal = principal_copy(request->principal)) == NULL)
        return no_memory(request, turn);
    bool good = read_rooms(entrance, turn, request) && read_types(entrance, turn, request);
    if (good && entrance->wishes == 0 && !add_own(entrance))
        good = no_memory(request, turn);
    read_last_id(entrance, request);
    if (good && !is_allowed(entrance, conn_peer(request->conn))) {
        http_refuse_for_now(request, turn, 429, 5, "RATE_LIMITED",
                            "too many connections of this user or from this address");
        good = false;
    }
    if (!good)
        entrance_fini(entrance);
    return good;
}

const char *entrance_user(const struct entrance *entrance)
{
    return entrance->principal == NULL ? "" : entrance->principal->user_id;
}

const char *entrance_tenant(const struct entrance *entrance)
{
    return entrance->principal == NULL ? "" : entrance->principal->tenant_id;
}

/* ── Who may ────────────────────────────────────────────────────────────────────────────────── */

static void forget_wishes(struct entrance *entrance)
{
    for (unsigned i = 0; i < entrance->wishes; i++)
        if (entrance->wish[i].waits)
            access_forget(entrance->plain->options.access, &entrance->wish[i].request);
    free(entrance->wish);
    entrance->wish = NULL;
    entrance->wishes = entrance->waiting = 0;
}

/* After a no the other answers do not matter any more. */
static void answered(struct access_request *request, struct turn *turn, enum access_answer answer)
{
    struct wish *wish = LIST_ENTRY(request, struct wish, request);
    struct entrance *entrance = wish->entrance;
    wish->waits = false;
    entrance->waiting--;
    if (answer != ACCESS_GRANTED) {
        char room[ROOM_NAME_MAX + 1];
        memcpy(room, wish->room, sizeof room);
        forget_wishes(entrance);
        entrance->refused(entrance, turn, room, answer);
    } else {
        entrance_go(entrance, turn);
    }
}

static bool refuse(struct http_request *request, struct turn *turn, enum access_answer answer)
{
    struct span none = {NULL, 0};
    switch (answer) {
    case ACCESS_GRANTED:
        break;
    case ACCESS_DENIED:
        http_refuse(request, turn, 403, none, "FORBIDDEN", "room: access denied");
        break;
    case ACCESS_NOT_FOUND:
        http_refuse(request, turn, 404, none, "PROJECT_NOT_FOUND", "room: no such project");
        break;
    case ACCESS_INACTIVE:
        http_refuse(request, turn, 403, none, "PROJECT_INACTIVE",
                    "room: the project is not active");
        break;
    case ACCESS_UNKNOWN:
        http_refuse_for_now(request, turn, 503, 1, "OVERLOADED",
                            "room: who may enter it cannot be found out now");
        break;
    }
    return false;
}

bool entrance_ask(struct entrance *entrance, struct turn *turn, struct http_request *request)
{
    for (unsigned i = 0; i < entrance->wishes; i++) {
        struct wish *wish = &entrance->wish[i];
        enum access_answer answer = ACCESS_GRANTED;
        wish->request.answered = answered;
        wish->waits = !access_ask(entrance->plain->options.access, turn, entrance->principal,
                                  span_of_string(wish->room), &wish->request, &answer);
        entrance->waiting += wish->waits;
        if (answer != ACCESS_GRANTED)
            return refuse(request, turn, answer);
    }
    return true;
}

/* ── In ─────────────────────────────────────────────────────────────────────────────────────── */

static bool join(struct entrance *entrance, struct turn *turn, const char *room)
{
    struct hub_terms terms = {entrance->encoding, entrance->types};
    enum hub_joined joined =
        hub_join(entrance->plain->options.hub, turn, entrance->peer, span_of_string(room), &terms);
    return joined == HUB_JOINED || joined == HUB_MEMBER_ALREADY;
}

static void send_missed(struct entrance *entrance, struct turn *turn)
{
    if (entrance->known && hub_replay(entrance->plain->options.hub, turn, entrance->peer,
                                      entrance->encoding, entrance->number))
        return;
    struct encoded *gap = plain_gap(entrance->encoding, -1);
    if (gap != NULL)
        (void)peer_post(entrance->peer, turn, gap);
    encoded_put(gap);
}

void entrance_go(struct entrance *entrance, struct turn *turn)
{
    if (entrance->waiting > 0)
        return;
    bool good = join(entrance, turn, "*");
    for (unsigned i = 0; good && i < entrance->wishes; i++)
        good = join(entrance, turn, entrance->wish[i].room);
    forget_wishes(entrance);
    free(entrance->types);
    entrance->types = NULL;
    if (good && entrance->resumes)
        send_missed(entrance, turn);
    entrance->entered(entrance, turn, good);
}

void entrance_fini(struct entrance *entrance)
{
    forget_wishes(entrance);
    allowance_leave(entrance->plain->options.allowance, entrance->address_ticket);
    allowance_leave(entrance->plain->options.allowance, entrance->user_ticket);
    free(entrance->types);
    free(entrance->principal);
    *entrance = (struct entrance){0};
}
