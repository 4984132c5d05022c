/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs: what is published to one room, one publication behind the other, is posted to its members as
 * one, so that each of them is touched once, and all of it leaves in one send without being copied.
 *
 *    a1 a2 a3 │ b1 │ a4 …      three runs: the order of rooms is kept too
 *
 * A run is open until something else must come behind it (hub_end_run(), of which peer_post(), joining
 * and leaving take care), and at the latest until the turn's end. Members with a filter, or who are
 * not to be told one of it, get theirs one by one.
 */
#include "ws/hub_internal.h"

enum { AHEAD = 8 }; /* peers fetched before it is their turn: a room's are all over the memory */

static void forget(struct run *run)
{
    for (unsigned i = 0; i < run->count; i++)
        dispatch_put(run->dispatch[i]);
    run->count = 0;
    run->bytes = 0;
}

void hub_drop_run(struct hub *hub)
{
    forget(&hub->run);
}

static bool fits(const struct hub *hub, const struct room *room, const struct dispatch *dispatch)
{
    const struct run *run = &hub->run;
    size_t bytes = run->bytes + dispatch->letter.bytes;
    return run->count == 0 || (run->room == room && run->count < RUN_MAX && bytes <= RUN_BYTES &&
                               bytes <= hub->options.queue_bytes / 4 && dispatch->key == 0);
}

void hub_add_to_run(struct hub *hub, struct turn *turn, struct room *room,
                    struct dispatch *dispatch, uint64_t number)
{
    struct run *run = &hub->run;
    if (!fits(hub, room, dispatch))
        hub_end_run(hub, turn);
    run->room = room;
    run->dispatch[run->count] = dispatch;
    run->number[run->count++] = number;
    run->bytes += dispatch->letter.bytes;
    if (dispatch->key != 0)
        hub_end_run(hub, turn);
}

/* ── Encoded when the first member wants it ─────────────────────────────────────────────────── */

static struct encoded *one(struct hub *hub, struct turn *turn, unsigned encoding, unsigned index)
{
    struct encoded **place = &hub->telling[encoding].one[index];
    const struct run *run = &hub->run;
    if (*place == NULL)
        *place = hub_encoded(hub, run->dispatch[index], encoding, run->number[index]);
    if (*place == NULL)
        (void)hub_dropped(hub, turn, "no memory");
    return *place;
}

static struct encoded *all(struct hub *hub, struct turn *turn, unsigned encoding)
{
    struct telling *telling = &hub->telling[encoding];
    if (telling->all != NULL)
        return telling->all;
    for (unsigned i = 0; i < hub->run.count; i++)
        (void)one(hub, turn, encoding, i);
    if (hub->run.count > 1)
        telling->all = encoded_join(telling->one, hub->run.count);
    else if (telling->one[0] != NULL)
        telling->all = encoded_ref(telling->one[0]);
    return telling->all;
}

static void clear(struct hub *hub)
{
    for (unsigned encoding = 0; encoding < ENCODINGS_MAX; encoding++) {
        struct telling *telling = &hub->telling[encoding];
        encoded_put(telling->all);
        telling->all = NULL;
        for (unsigned i = 0; i < hub->run.count; i++) {
            encoded_put(telling->one[i]);
            telling->one[i] = NULL;
        }
    }
}

/* ── Members ────────────────────────────────────────────────────────────────────────────────── */

static void fetch(const struct room *room, uint32_t index)
{
    if (index >= room->seats)
        return;
    const uint8_t *peer = (const uint8_t *)room->seat[index].peer;
    __builtin_prefetch(peer, 1);
    __builtin_prefetch(peer + 64, 1);
}

static bool wants(const struct seat *seat, const struct publication *publication)
{
    return !seat->filtered || hub_types_hold(seat->member->types, publication->type) ||
           hub_types_hold(seat->member->types, publication->event);
}

static uint64_t post_some(struct hub *hub, struct turn *turn, const struct seat *seat)
{
    uint64_t posted = 0;
    for (unsigned i = 0; i < hub->run.count; i++) {
        const struct dispatch *dispatch = hub->run.dispatch[i];
        bool excepted = dispatch->except != 0 && dispatch->except == seat->peer->id;
        if (excepted || !wants(seat, &dispatch->publication))
            continue;
        struct encoded *encoded = one(hub, turn, seat->encoding, i);
        posted += encoded != NULL && peer_deliver(seat->peer, turn, encoded);
    }
    return posted;
}

static uint64_t post_all(struct hub *hub, struct turn *turn, const struct seat *seat)
{
    struct encoded *encoded = all(hub, turn, seat->encoding);
    if (encoded == NULL || !peer_deliver(seat->peer, turn, encoded))
        return 0;
    return hub->run.count;
}

static bool has_exception(const struct run *run)
{
    for (unsigned i = 0; i < run->count; i++)
        if (run->dispatch[i]->except != 0)
            return true;
    return false;
}

/* No peer's ops are called here, so nobody comes or goes while we walk. */
void hub_end_run(struct hub *hub, struct turn *turn)
{
    if (hub->run.count == 0)
        return;
    const struct room *room = hub->run.room;
    bool singly = has_exception(&hub->run);
    uint64_t posted = 0;
    for (uint32_t i = 0; i < room->seats; i++) {
        const struct seat *seat = &room->seat[i];
        fetch(room, i + AHEAD);
        posted += singly || seat->filtered ? post_some(hub, turn, seat) : post_all(hub, turn, seat);
    }
    count(turn->counters, COUNT_LIVE_DELIVERIES, posted);
    clear(hub);
    forget(&hub->run);
}
