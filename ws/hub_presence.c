/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who came and who went, for the rooms that live.presence names.
 *
 *   shard: memberships of a user in a room   0 ─► 1: "here"    1 ─► 0: "gone"
 *                                               └──── mail to the room's home ────┐
 *   home:  shards that have the user there   0 ─► 1: publishes join   1 ─► 0: publishes leave
 *
 * So a user is announced once, however many connections he has, on whatever shards. Both counts stand
 * in tables by the hash of room and user. Nobody in particular (no user id) is not announced, and who
 * comes is not told of himself.
 */
#include "ws/hub_internal.h"

#include "proto/event.h"

#include <fnmatch.h>
#include <stdlib.h>

enum { TABLE_MIN = 64, DATA_MAX = 4096 };

/* ── A table of counts ──────────────────────────────────────────────────────────────────────── */

struct attendance {
    struct attendance *next;
    uint64_t hash;
    uint32_t count;
    uint16_t room_length, user_length;
    uint8_t text[]; /* room, user */
};

static uint64_t hash_of(uint64_t room_hash, struct span user)
{
    uint64_t hash = room_hash ^ 0x9e3779b97f4a7c15u; /* the room's has a secret seed */
    for (size_t i = 0; i < user.length; i++)
        hash = (hash ^ user.at[i]) * 0x100000001b3u;
    return hash ^ hash >> 29;
}

static bool is_of(const struct attendance *one, uint64_t hash, struct span room, struct span user)
{
    return one->hash == hash && one->room_length == room.length &&
           span_equal(span_of(one->text, one->room_length), room) &&
           span_equal(span_of(one->text + one->room_length, one->user_length), user);
}

static struct attendance **find(struct presence_table *table, uint64_t hash, struct span room,
                                struct span user)
{
    struct attendance **at = &table->place[hash & table->mask];
    while (*at != NULL && !is_of(*at, hash, room, user))
        at = &(*at)->next;
    return at;
}

static bool grow(struct presence_table *table)
{
    size_t places = table->place == NULL ? TABLE_MIN : 2 * (table->mask + 1);
    struct presence_table grown = {calloc(places, sizeof(struct attendance *)), places - 1,
                                   table->count};
    if (grown.place == NULL)
        return table->place != NULL; /* longer chains then */
    for (size_t i = 0; table->place != NULL && i <= table->mask; i++)
        for (struct attendance *one = table->place[i], *next; one != NULL; one = next) {
            next = one->next;
            one->next = grown.place[one->hash & grown.mask];
            grown.place[one->hash & grown.mask] = one;
        }
    free(table->place);
    *table = grown;
    return true;
}

static struct attendance *make(uint64_t hash, struct span room, struct span user)
{
    struct attendance *one = calloc(1, sizeof *one + room.length + user.length);
    if (one == NULL)
        return NULL;
    one->hash = hash;
    one->room_length = (uint16_t)room.length;
    one->user_length = (uint16_t)user.length;
    memcpy(one->text, room.at, room.length);
    memcpy(one->text + room.length, user.at, user.length);
    return one;
}

/* True: it was the first. */
static bool comes(struct presence_table *table, uint64_t hash, struct span room, struct span user)
{
    if ((table->place == NULL || table->count > table->mask) && !grow(table))
        return false;
    struct attendance **at = find(table, hash, room, user);
    if (*at == NULL && (*at = make(hash, room, user)) != NULL)
        table->count++;
    return *at != NULL && (*at)->count++ == 0;
}

/* True: it was the last. */
static bool goes(struct presence_table *table, uint64_t hash, struct span room, struct span user)
{
    struct attendance **at = table->place == NULL ? NULL : find(table, hash, room, user);
    if (at == NULL || *at == NULL)
        return false;
    struct attendance *one = *at;
    if (--one->count > 0)
        return false;
    *at = one->next;
    table->count--;
    free(one);
    return true;
}

static void fini(struct presence_table *table)
{
    for (size_t i = 0; table->place != NULL && i <= table->mask; i++)
        for (struct attendance *one = table->place[i], *next; one != NULL; one = next) {
            next = one->next;
            free(one);
        }
    free(table->place);
}

/* ── The home ───────────────────────────────────────────────────────────────────────────────── */

static void announce(struct hub *hub, struct turn *turn, const struct attendance_letter *letter)
{
    struct buf data = {.max = DATA_MAX};
    char time[EVENT_TIME_BYTES];
    struct span room = span_of(letter->text, letter->room_length);
    struct span user = span_of(letter->text + letter->room_length, letter->user_length);
    event_time_print(turn->wall_us, time);
    struct publish publish = {.room = room, .event = SPAN("presence"), .except = letter->except};
    if (buf_print(&data, "{\"event\":\"%s\",\"roomId\":", letter->here ? "join" : "leave") &&
        buf_put_json(&data, room) && buf_print(&data, ",\"userId\":") &&
        buf_put_json(&data, user) &&
        buf_print(&data, ",\"timestamp\":\"%.*s\"}", (int)sizeof time, time)) {
        publish.data = buf_span(&data);
        (void)hub_publish(hub, turn, &publish);
    }
    buf_fini(&data);
}

/* The letter becomes ours. */
void presence_told(struct hub *hub, struct turn *turn, struct attendance_letter *letter)
{
    struct span room = span_of(letter->text, letter->room_length);
    struct span user = span_of(letter->text + letter->room_length, letter->user_length);
    uint64_t hash = hash_of(letter->hash, user);
    struct presence_table *table = &hub->presence.at_home;
    if (letter->here ? comes(table, hash, room, user) : goes(table, hash, room, user))
        announce(hub, turn, letter);
    free(letter);
}

/* ── A shard ────────────────────────────────────────────────────────────────────────────────── */

static void tell_home(struct hub *hub, struct turn *turn, const struct room *room, struct span user,
                      bool here, uint64_t except)
{
    size_t bytes = sizeof(struct attendance_letter) + room->name_length + user.length;
    struct attendance_letter *letter = calloc(1, bytes);
    if (letter == NULL)
        return;
    letter->letter = (struct hub_letter){LETTER_PRESENCE, bytes};
    letter->here = here;
    letter->except = except;
    letter->hash = room->hash;
    letter->room_length = room->name_length;
    letter->user_length = (uint16_t)user.length;
    memcpy(letter->text, room->name, room->name_length);
    memcpy(letter->text + room->name_length, user.at, user.length);
    unsigned home = hub_home(hub->node, room->hash);
    if (home == hub->options.shard)
        presence_told(hub, turn, letter);
    else if (!hub_post(hub, home, &letter->letter)) {
        free(letter);
        (void)hub_dropped(hub, turn, "another shard does not keep up (live.backlog_bytes)");
    }
}

void presence_joined(struct hub *hub, struct turn *turn, const struct peer *peer,
                     const struct room *room)
{
    struct span user = span_of_string(peer->user_id);
    if (room->announced && user.length > 0 &&
        comes(&hub->presence.here, hash_of(room->hash, user), room_name(room), user))
        tell_home(hub, turn, room, user, true, peer->id);
}

void presence_left(struct hub *hub, struct turn *turn, const struct peer *peer,
                   const struct room *room)
{
    struct span user = span_of_string(peer->user_id);
    if (room->announced && user.length > 0 &&
        goes(&hub->presence.here, hash_of(room->hash, user), room_name(room), user))
        tell_home(hub, turn, room, user, false, 0);
}

/* One of the patterns with * and ?, between commas. */
bool presence_names(const char *patterns, struct span room)
{
    char name[ROOM_NAME_MAX + 1], pattern[ROOM_NAME_MAX + 1];
    if (patterns == NULL || patterns[0] == '\0' || room.length > ROOM_NAME_MAX)
        return false;
    memcpy(name, room.at, room.length);
    name[room.length] = '\0';
    while (*patterns != '\0') {
        patterns += strspn(patterns, ", ");
        size_t length = strcspn(patterns, ", ");
        if (length > 0 && length < sizeof pattern) {
            memcpy(pattern, patterns, length);
            pattern[length] = '\0';
            if (fnmatch(pattern, name, FNM_NOESCAPE) == 0)
                return true;
        }
        patterns += length;
    }
    return false;
}

void presence_close(struct hub *hub)
{
    fini(&hub->presence.here);
    fini(&hub->presence.at_home);
}
