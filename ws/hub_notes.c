/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A note is a letter with a body that the hub does not look into. What was kept is a list of references
 * to publications; being read-only and counted, they may be sent by any shard.
 */
#include "ws/hub_notes.h"
#include "ws/hub_internal.h"

#include <stdlib.h>

struct note {
    struct hub_letter letter;
    void (*drop)(void *body);
    max_align_t body[];
};

static struct note *note_of(void *body)
{
    return (struct note *)((uint8_t *)body - offsetof(struct note, body));
}

void *hub_note_make(size_t bytes, void (*drop)(void *note))
{
    struct note *note = calloc(1, sizeof *note + bytes);
    if (note == NULL)
        return NULL;
    note->letter = (struct hub_letter){LETTER_NOTE, sizeof *note + bytes};
    note->drop = drop;
    return note->body;
}

void hub_note_free(void *body)
{
    if (note_of(body)->drop != NULL)
        note_of(body)->drop(body);
    free(note_of(body));
}

bool hub_note_post(struct hub *hub, unsigned to, void *body)
{
    if (hub_post(hub, to, &note_of(body)->letter))
        return true;
    hub_note_free(body);
    return false;
}

void hub_set_reader(struct hub *hub, hub_read_note read, void *context)
{
    hub->read_note = read;
    hub->read_note_context = context;
}

void note_read(struct hub *hub, struct turn *turn, struct hub_letter *letter)
{
    struct note *note = (struct note *)letter;
    if (hub->read_note != NULL)
        hub->read_note(hub->read_note_context, turn, note->body);
    else
        hub_note_free(note->body);
}

void note_discard(struct hub_letter *letter)
{
    hub_note_free(((struct note *)letter)->body);
}

/* ── What has been delivered here ───────────────────────────────────────────────────────────── */

struct kept_one {
    struct dispatch *dispatch;
    uint64_t number;
};

struct hub_kept {
    unsigned shard;
    size_t count;
    struct kept_one one[];
};

/* What came after `number`; its numbers go to `out`, if there is one. */
static struct amount collect(const struct hub *hub, const char *rooms, uint64_t number,
                             uint64_t *out)
{
    struct amount found = {0, 0};
    for (; *rooms != '\0'; rooms += strlen(rooms) + 1) {
        struct room_name name;
        const struct room *room =
            hub_name(hub, span_of_string(rooms), &name)
                ? hub_find_room(hub, name.hash, span_of(name.text, name.length))
                : NULL;
        if (room != NULL)
            log_collect(hub, room, number, out, &found);
    }
    return found;
}

static bool reaches_back(const struct hub *hub, const char *rooms, uint64_t number)
{
    struct room_name name;
    if (number + 1 < hub->log.first || number >= hub->log.next)
        return false;
    for (; *rooms != '\0'; rooms += strlen(rooms) + 1)
        if (!hub_name(hub, span_of_string(rooms), &name) ||
            !log_reaches_back(hub, name.hash, number))
            return false;
    return true;
}

bool hub_kept_take(struct hub *hub, const char *rooms, uint64_t number, struct hub_kept **out)
{
    struct amount amount = collect(hub, rooms, number, NULL);
    if (!reaches_back(hub, rooms, number) || !log_amount_fits(hub, &amount))
        return false;
    size_t found = amount.messages;
    uint64_t *numbers = malloc((found + 1) * sizeof *numbers);
    struct hub_kept *kept = malloc(sizeof *kept + found * sizeof kept->one[0]);
    if (numbers == NULL || kept == NULL) {
        free(numbers);
        free(kept);
        return false;
    }
    (void)collect(hub, rooms, number, numbers);
    log_sort(numbers, found);
    *kept = (struct hub_kept){.shard = hub->options.shard, .count = found};
    for (size_t i = 0; i < found; i++) {
        struct dispatch *dispatch = log_dispatch(&hub->log, numbers[i]);
        atomic_fetch_add_explicit(&dispatch->references, 1, memory_order_relaxed);
        kept->one[i] = (struct kept_one){dispatch, numbers[i]};
    }
    free(numbers);
    *out = kept;
    return true;
}

void hub_kept_free(struct hub_kept *kept)
{
    for (size_t i = 0; kept != NULL && i < kept->count; i++)
        dispatch_put(kept->one[i].dispatch);
    free(kept);
}

bool kept_holds(const struct hub_kept *kept, const struct dispatch *dispatch)
{
    for (size_t i = 0; kept != NULL && i < kept->count; i++)
        if (kept->one[i].dispatch == dispatch)
            return true;
    return false;
}

/* It was taken for all the rooms that the peer had been in; which of them it may still be in has been
 * found out since. One that there is no memory for is a gap, and so is all behind it: the peer is past
 * saving. */
void hub_kept_send(struct hub *hub, struct turn *turn, struct peer *peer, unsigned encoding,
                   const struct hub_kept *kept)
{
    for (size_t i = 0; i < kept->count; i++) {
        if (!hub_wants(peer, encoding, kept->one[i].dispatch))
            continue;
        struct encoded *encoded =
            hub_encoded_as(hub, kept->one[i].dispatch, encoding, kept->shard, kept->one[i].number);
        bool posted = encoded != NULL && peer_post(peer, turn, encoded);
        encoded_put(encoded);
        if (!posted)
            return;
        count(turn->counters, COUNT_LIVE_DELIVERIES, 1);
    }
}
