/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rooms and who is in them.
 *
 * A shard's rooms stand in a table by their name's hash, which grows as they become more. The first
 * member makes a room; when the last has left it lingers for as long as the history reaches, so that
 * who comes back finds what was published meanwhile. Whoever may make rooms can leave as many behind
 * as he likes: past a bound those that were left first are forgotten early, at the next tick.
 *
 * The hash has a seed of this process, for names are chosen by clients.
 */
#include "ws/hub_internal.h"

#define XXH_INLINE_ALL
#include <stdlib.h>
#include <xxhash.h>

enum { TABLE_MIN = 256, SEATS_MIN = 2 };

/* ── Names ──────────────────────────────────────────────────────────────────────────────────── */

static uint64_t hash_of(const struct hub *hub, const uint8_t *at, size_t length)
{
    uint64_t hash = XXH3_64bits_withSeed(at, length, hub->node->seed);
    return hash == 0 ? 1 : hash;
}

/* user_ID is another name of user:ID. */
bool hub_name(const struct hub *hub, struct span room, struct room_name *out)
{
    if (room.length == 0 || room.length > ROOM_NAME_MAX)
        return false;
    memcpy(out->text, room.at, room.length);
    out->length = room.length;
    if (room.length > 5 && memcmp(out->text, "user_", 5) == 0)
        out->text[4] = ':';
    out->hash = hash_of(hub, out->text, out->length);
    return true;
}

bool hub_name_hash(const struct hub *hub, struct span room, uint64_t *out)
{
    struct room_name name;
    if (room.length > 5 && memcmp(room.at, "user_", 5) == 0) {
        if (!hub_name(hub, room, &name))
            return false;
        *out = name.hash;
        return true;
    }
    if (room.length == 0 || room.length > ROOM_NAME_MAX)
        return false;
    *out = hash_of(hub, room.at, room.length);
    return true;
}

uint64_t hub_room_hash(const struct hub *hub, struct span prefix, struct span id)
{
    uint8_t text[ROOM_NAME_MAX];
    if (prefix.length > sizeof text || id.length > sizeof text - prefix.length)
        return 0;
    memcpy(text, prefix.at, prefix.length);
    memcpy(text + prefix.length, id.at, id.length);
    return hash_of(hub, text, prefix.length + id.length);
}

/* ── The table ──────────────────────────────────────────────────────────────────────────────── */

static struct room **place(const struct rooms *rooms, uint64_t hash)
{
    return &rooms->table[(hash >> 16) & rooms->mask];
}

struct room *hub_find_room(const struct hub *hub, uint64_t hash, struct span name)
{
    if (hub->rooms.count == 0)
        return NULL;
    struct room *room = *place(&hub->rooms, hash);
    while (room != NULL && (room->hash != hash || !span_equal(room_name(room), name)))
        room = room->next;
    return room;
}

static struct room *find(const struct hub *hub, const struct room_name *name)
{
    return hub_find_room(hub, name->hash, span_of(name->text, name->length));
}

static void put(struct rooms *rooms, struct room *room)
{
    struct room **at = place(rooms, room->hash);
    room->next = *at;
    *at = room;
}

static bool grow(struct rooms *rooms)
{
    size_t places = rooms->table == NULL ? TABLE_MIN : 2 * (rooms->mask + 1);
    struct rooms grown = {calloc(places, sizeof(struct room *)), places - 1, rooms->count};
    if (grown.table == NULL)
        return rooms->table != NULL; /* longer chains then */
    for (size_t i = 0; rooms->table != NULL && i <= rooms->mask; i++)
        for (struct room *room = rooms->table[i], *next; room != NULL; room = next) {
            next = room->next;
            put(&grown, room);
        }
    free(rooms->table);
    *rooms = grown;
    return true;
}

/* The room first, then that it is known: whoever sees the interest finds the room. */
static struct room *make(struct hub *hub, const struct room_name *name)
{
    struct rooms *rooms = &hub->rooms;
    if ((rooms->table == NULL || rooms->count > rooms->mask) && !grow(rooms))
        return NULL;
    struct room *room = calloc(1, sizeof *room + name->length);
    if (room == NULL)
        return NULL;
    room->hash = name->hash;
    room->name_length = (uint8_t)name->length;
    memcpy(room->name, name->text, name->length);
    room->announced = presence_names(hub->options.presence, room_name(room));
    put(rooms, room);
    rooms->count++;
    atomic_fetch_add_explicit(&hub_interest(hub->node, room->hash)[hub->options.shard], 1,
                              memory_order_release);
    atomic_fetch_add_explicit(&hub->node->rooms, 1, memory_order_release);
    return room;
}

static void stop_lingering(struct hub *hub, struct room *room)
{
    if (!list_linked(&room->lingering))
        return;
    list_remove(&room->lingering);
    hub->lingering_count--;
}

static void forget(struct hub *hub, struct room *room)
{
    struct room **at = place(&hub->rooms, room->hash);
    while (*at != room)
        at = &(*at)->next;
    *at = room->next;
    hub->rooms.count--;
    stop_lingering(hub, room);
    atomic_fetch_sub_explicit(&hub_interest(hub->node, room->hash)[hub->options.shard], 1,
                              memory_order_release);
    atomic_fetch_sub_explicit(&hub->node->rooms, 1, memory_order_release);
    free(room->seat);
    free(room);
}

void hub_forget_rooms(struct hub *hub, uint64_t now_ns)
{
    bool forgot = false;
    while (!list_empty(&hub->lingering)) {
        struct room *room = LIST_ENTRY(hub->lingering.next, struct room, lingering);
        bool early = room->forget_ns > now_ns;
        if (early && hub->lingering_count <= hub->options.rooms_kept)
            break;
        log_forget_room(hub, room, early);
        forget(hub, room);
        forgot = true;
    }
    if (forgot)
        log_note_forgotten(hub, now_ns);
}

void hub_free_rooms(struct hub *hub)
{
    for (size_t i = 0; hub->rooms.table != NULL && i <= hub->rooms.mask; i++)
        while (hub->rooms.table[i] != NULL)
            forget(hub, hub->rooms.table[i]);
    free(hub->rooms.table);
}

/* Nobody is in it any more. */
static void empty(struct hub *hub, struct turn *turn, struct room *room)
{
    if (hub->options.history_ns == 0 || hub->options.history_bytes == 0) {
        forget(hub, room);
        return;
    }
    free(room->seat);
    room->seat = NULL;
    room->seats_capacity = 0;
    room->forget_ns = turn->now_ns + hub->options.history_ns;
    list_append(&hub->lingering, &room->lingering);
    hub->lingering_count++;
}

/* ── Filters ────────────────────────────────────────────────────────────────────────────────── */

bool hub_types_hold(const char *types, struct span type)
{
    while (*types != '\0') {
        size_t length = strcspn(types, ",");
        if (length > 0 && span_equal(type, span_of(types, length)))
            return true;
        types += length + (types[length] == ',');
    }
    return false;
}

/* ── Members ────────────────────────────────────────────────────────────────────────────────── */

static struct member *find_member(const struct peer *peer, const struct room *room,
                                  unsigned encoding)
{
    for (struct list *link = peer->memberships.next; link != &peer->memberships;
         link = link->next) {
        struct member *member = LIST_ENTRY(link, struct member, of_peer);
        if (member->room == room && member->encoding == encoding)
            return member;
    }
    return NULL;
}

static bool make_seat(struct room *room)
{
    if (room->seats < room->seats_capacity)
        return true;
    uint32_t capacity =
        room->seats_capacity == 0 ? SEATS_MIN : room->seats_capacity + room->seats_capacity / 2 + 1;
    struct seat *seat = realloc(room->seat, capacity * sizeof *seat);
    if (seat == NULL)
        return false;
    room->seat = seat;
    room->seats_capacity = capacity;
    return true;
}

static struct member *make_member(unsigned encoding, const char *types)
{
    struct member *member = calloc(1, sizeof *member);
    if (member == NULL)
        return NULL;
    member->encoding = (uint8_t)encoding;
    if (types != NULL && (member->types = strdup(types)) == NULL) {
        free(member);
        return NULL;
    }
    return member;
}

/* A peer is counted once it is known who it is: in its first room. */
static void count_member(struct hub *hub, struct peer *peer, const struct room *room)
{
    struct sockets *sockets = hub->options.sockets;
    if (sockets == NULL)
        return;
    sockets_joined(sockets, hub->options.shard, room_name(room));
    if (peer->counted == 0)
        peer->counted =
            1 + sockets_opened(sockets, hub->options.shard, span_of_string(peer->tenant_id));
}

static void seat_down(struct hub *hub, struct peer *peer, struct room *room, struct member *member)
{
    member->room = room;
    member->seat = room->seats;
    room->seat[room->seats++] =
        (struct seat){peer, member, member->encoding, member->types != NULL};
    list_append(&peer->memberships, &member->of_peer);
    peer->rooms++;
    hub->members++;
    count_member(hub, peer, room);
    stop_lingering(hub, room);
}

/* The last seat moves into the place that becomes free. */
static void get_up(struct hub *hub, struct turn *turn, struct peer *peer, struct member *member)
{
    struct room *room = member->room;
    room->seat[member->seat] = room->seat[--room->seats];
    room->seat[member->seat].member->seat = member->seat;
    list_remove(&member->of_peer);
    peer->rooms--;
    hub->members--;
    if (hub->options.sockets != NULL)
        sockets_left(hub->options.sockets, hub->options.shard, room_name(room));
    free(member->types);
    free(member);
    presence_left(hub, turn, peer, room);
    if (room->seats == 0) {
        hub_end_run(hub, turn); /* which may be this room's */
        empty(hub, turn, room);
    }
}

enum hub_joined hub_join(struct hub *hub, struct turn *turn, struct peer *peer, struct span room,
                         const struct hub_terms *terms)
{
    struct room_name name;
    must(terms->encoding < ENCODINGS_MAX && hub->encoder[terms->encoding].encode != NULL);
    hub_end_run(hub, turn);
    if (!hub_name(hub, room, &name))
        return HUB_BAD_NAME;
    struct room *found = find(hub, &name);
    if (found != NULL && find_member(peer, found, terms->encoding) != NULL)
        return HUB_MEMBER_ALREADY;
    if (peer->rooms >= hub->options.rooms_max)
        return HUB_TOO_MANY_ROOMS;
    struct member *member = make_member(terms->encoding, terms->types);
    if (member != NULL && found == NULL)
        found = make(hub, &name);
    if (member == NULL || found == NULL || !make_seat(found)) {
        if (member != NULL)
            free(member->types);
        free(member);
        if (found != NULL && found->seats == 0 && !list_linked(&found->lingering))
            empty(hub, turn, found);
        return HUB_NO_MEMORY;
    }
    seat_down(hub, peer, found, member);
    presence_joined(hub, turn, peer, found);
    return HUB_JOINED;
}

static struct member *member_of(const struct hub *hub, const struct peer *peer, struct span room,
                                unsigned encoding)
{
    struct room_name name;
    struct room *found = hub_name(hub, room, &name) ? find(hub, &name) : NULL;
    return found == NULL ? NULL : find_member(peer, found, encoding);
}

bool hub_leave(struct hub *hub, struct turn *turn, struct peer *peer, struct span room,
               unsigned encoding)
{
    struct member *member = member_of(hub, peer, room, encoding);
    if (member == NULL)
        return false;
    hub_end_run(hub, turn);
    get_up(hub, turn, peer, member);
    return true;
}

void hub_leave_all(struct hub *hub, struct turn *turn, struct peer *peer, unsigned encoding)
{
    hub_end_run(hub, turn);
    for (struct list *link = peer->memberships.next, *next; link != &peer->memberships;
         link = next) {
        struct member *member = LIST_ENTRY(link, struct member, of_peer);
        next = link->next;
        if (encoding == HUB_ALL_ENCODINGS || member->encoding == encoding)
            get_up(hub, turn, peer, member);
    }
}

void hub_unfilter(struct hub *hub, struct turn *turn, struct peer *peer, unsigned encoding)
{
    hub_end_run(hub, turn);
    for (struct list *link = peer->memberships.next; link != &peer->memberships;
         link = link->next) {
        struct member *member = LIST_ENTRY(link, struct member, of_peer);
        if (member->encoding != encoding)
            continue;
        free(member->types);
        member->types = NULL;
        member->room->seat[member->seat].filtered = false;
    }
}

bool hub_is_member(const struct hub *hub, const struct peer *peer, struct span room,
                   unsigned encoding)
{
    return member_of(hub, peer, room, encoding) != NULL;
}

void hub_rooms_of(const struct hub *hub, const struct peer *peer, unsigned encoding,
                  void (*each)(void *context, struct span room), void *context)
{
    (void)hub;
    for (struct list *link = peer->memberships.next; link != &peer->memberships;
         link = link->next) {
        struct member *member = LIST_ENTRY(link, struct member, of_peer);
        if (member->encoding == encoding)
            each(context, room_name(member->room));
    }
}
