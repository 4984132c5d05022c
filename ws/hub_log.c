/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this shard has delivered, for who was away.
 *
 *    first                                             next
 *      ▼                                                 ▼
 *    │ room a │ room b │ room a │ (hole) │ room b │ … │
 *      ▲──────── previous ─┘ ▲                  ▲
 *                            └── a->newest      └── b->newest
 *
 * Numbers begin with the wall clock in microseconds, so that those of an earlier run of the process
 * are smaller than all of ours and are seen to be too old. An entry goes when it is too old or the
 * log too big; a room's chain then ends at a number below `first`.
 *
 * Rooms that are forgotten take a number without a publication, a hole: whoever comes back with a
 * smaller one may have missed what nobody kept, and is told so. Which rooms they were is known by their
 * hash, roughly; so that others of that hash need not suffer, it is asked only where it can matter. A room
 * is forgotten when nobody has been in it for as long as entries live. Who was in it when he heard an
 * entry that still lives is no such one, so it matters for the number just before our first entry,
 * or if the room was forgotten early.
 */
#include "ws/hub_internal.h"

#include "core/clock.h"

#include <stdlib.h>

enum { ENTRIES_MIN = 256 };

static struct log_entry *at(const struct hub_log *log, uint64_t number)
{
    return &log->entry[number & log->mask];
}

bool log_open(struct hub_log *log)
{
    *log = (struct hub_log){.entry = calloc(ENTRIES_MIN, sizeof(struct log_entry)),
                            .mask = ENTRIES_MIN - 1};
    log->first = log->next = (uint64_t)clock_wall_us();
    return log->entry != NULL;
}

static size_t bytes_of(const struct log_entry *entry)
{
    return (entry->dispatch == NULL ? 0 : entry->dispatch->letter.bytes) +
           (entry->encoded == NULL ? 0 : entry->encoded->length) + sizeof *entry;
}

static void drop_first(struct hub_log *log)
{
    struct log_entry *entry = at(log, log->first++);
    log->bytes -= bytes_of(entry);
    encoded_put(entry->encoded);
    if (entry->dispatch != NULL)
        dispatch_put(entry->dispatch);
    *entry = (struct log_entry){0};
}

void log_close(struct hub_log *log)
{
    while (log->entry != NULL && log->first < log->next)
        drop_first(log);
    free(log->entry);
}

static bool grow(struct hub_log *log)
{
    size_t places = 2 * (log->mask + 1);
    struct hub_log grown = *log;
    grown.entry = calloc(places, sizeof(struct log_entry));
    grown.mask = places - 1;
    if (grown.entry == NULL)
        return false;
    for (uint64_t i = log->first; i < log->next; i++)
        *at(&grown, i) = *at(log, i);
    free(log->entry);
    *log = grown;
    return true;
}

/* Without memory for a longer log it stays as long as it is. */
static void put(struct hub_log *log, const struct log_entry *entry)
{
    if (log->next - log->first > log->mask && !grow(log))
        drop_first(log);
    *at(log, log->next++) = *entry;
    log->bytes += bytes_of(entry);
}

static void make_fit(struct hub *hub)
{
    while (hub->log.bytes > hub->options.history_bytes && hub->log.first < hub->log.next)
        drop_first(&hub->log);
}

uint64_t log_append(struct hub *hub, struct turn *turn, struct room *room,
                    struct dispatch *dispatch)
{
    if (hub->options.history_bytes == 0 || hub->options.history_ns == 0)
        return 0;
    atomic_fetch_add_explicit(&dispatch->references, 1, memory_order_relaxed);
    uint64_t number = hub->log.next;
    put(&hub->log,
        &(struct log_entry){.dispatch = dispatch, .at_ns = turn->now_ns, .previous = room->newest});
    room->newest = number;
    make_fit(hub);
    return number;
}

void log_age(struct hub *hub, uint64_t now_ns)
{
    struct hub_log *log = &hub->log;
    while (log->first < log->next && at(log, log->first)->at_ns + hub->options.history_ns <= now_ns)
        drop_first(log);
}

void log_forget_room(struct hub *hub, const struct room *room, bool early)
{
    struct forgotten *forgotten = &hub->forgotten[room->hash & (FORGOTTEN_SLOTS - 1)];
    *(early ? &forgotten->early : &forgotten->in_time) = hub->log.next;
}

void log_note_forgotten(struct hub *hub, uint64_t now_ns)
{
    put(&hub->log, &(struct log_entry){.at_ns = now_ns});
    make_fit(hub);
}

uint64_t hub_last_number(const struct hub *hub)
{
    return hub->log.next - 1;
}

/* ── Sent again ─────────────────────────────────────────────────────────────────────────────── */

bool log_reaches_back(const struct hub *hub, uint64_t hash, uint64_t number)
{
    const struct hub_log *log = &hub->log;
    const struct forgotten *forgotten = &hub->forgotten[hash & (FORGOTTEN_SLOTS - 1)];
    return number + 1 >= log->first && number < log->next && forgotten->early <= number &&
           (number >= log->first || forgotten->in_time <= number);
}

/* The other half is for what is said meanwhile, or comes from another shard. */
bool log_amount_fits(const struct hub *hub, const struct amount *amount)
{
    return amount->messages <= hub->options.queue_messages / 2 &&
           amount->bytes <= hub->options.queue_bytes / 2;
}

void log_collect(const struct hub *hub, const struct room *room, uint64_t number, uint64_t *out,
                 struct amount *amount)
{
    const struct hub_log *log = &hub->log;
    for (uint64_t i = room->newest; i > number && i >= log->first && log_amount_fits(hub, amount);
         i = at(log, i)->previous) {
        if (out != NULL)
            out[amount->messages] = i;
        amount->messages++;
        amount->bytes += log_dispatch(log, i)->letter.bytes;
    }
}

static int by_number(const void *one, const void *other)
{
    const uint64_t *a = one, *b = other;
    return (*a > *b) - (*a < *b);
}

void log_sort(uint64_t *numbers, size_t numbers_count)
{
    qsort(numbers, numbers_count, sizeof *numbers, by_number);
}

struct dispatch *log_dispatch(const struct hub_log *log, uint64_t number)
{
    return at(log, number)->dispatch;
}

static struct member *member_at(struct list *link)
{
    return LIST_ENTRY(link, struct member, of_peer);
}

static struct amount collect_all(const struct hub *hub, const struct peer *peer, unsigned encoding,
                                 uint64_t number, uint64_t *out)
{
    struct amount found = {0, 0};
    for (struct list *link = peer->memberships.next; link != &peer->memberships; link = link->next)
        if (member_at(link)->encoding == encoding)
            log_collect(hub, member_at(link)->room, number, out, &found);
    return found;
}

bool hub_reaches_back(const struct hub *hub, const struct peer *peer, unsigned encoding,
                      uint64_t number)
{
    const struct list *head = &peer->memberships;
    if (number + 1 < hub->log.first || number >= hub->log.next)
        return false;
    for (struct list *link = head->next; link != head; link = link->next)
        if (member_at(link)->encoding == encoding &&
            !log_reaches_back(hub, member_at(link)->room->hash, number))
            return false;
    struct amount found = collect_all(hub, peer, encoding, number, NULL);
    return log_amount_fits(hub, &found);
}

/* The filter of the member through whom the peer would have got it. */
bool hub_wants(const struct peer *peer, unsigned encoding, const struct dispatch *dispatch)
{
    const struct publication *publication = &dispatch->publication;
    if (dispatch->except == peer->id && peer->id != 0)
        return false;
    for (struct list *link = peer->memberships.next; link != &peer->memberships;
         link = link->next) {
        const struct member *member = member_at(link);
        if (member->encoding != encoding || member->room->hash != dispatch->hash ||
            !span_equal(room_name(member->room), publication->room))
            continue;
        return member->types == NULL || hub_types_hold(member->types, publication->type) ||
               hub_types_hold(member->types, publication->event);
    }
    return false;
}

/* Those who come back together share what was encoded for the first of them. */
static struct encoded *encode(struct hub *hub, uint64_t number, unsigned encoding)
{
    struct log_entry *entry = at(&hub->log, number);
    if (entry->encoded != NULL && entry->encoding == encoding)
        return entry->encoded;
    struct encoded *encoded = hub_encoded(hub, entry->dispatch, encoding, number);
    if (encoded == NULL)
        return NULL;
    hub->log.bytes -= bytes_of(entry);
    encoded_put(entry->encoded);
    entry->encoded = encoded;
    entry->encoding = (uint8_t)encoding;
    hub->log.bytes += bytes_of(entry);
    return encoded;
}

static void send_again(struct hub *hub, struct turn *turn, struct peer *peer, unsigned encoding,
                       const uint64_t *numbers, size_t numbers_count, const struct hub_kept *but)
{
    for (size_t i = 0; i < numbers_count; i++) {
        const struct dispatch *dispatch = log_dispatch(&hub->log, numbers[i]);
        if (!hub_wants(peer, encoding, dispatch) || kept_holds(but, dispatch))
            continue;
        struct encoded *encoded = encode(hub, numbers[i], encoding);
        if (encoded == NULL || !peer_post(peer, turn, encoded))
            return;
        count(turn->counters, COUNT_LIVE_DELIVERIES, 1);
    }
}

bool hub_replay(struct hub *hub, struct turn *turn, struct peer *peer, unsigned encoding,
                uint64_t number)
{
    return hub_replay_but(hub, turn, peer, encoding, number, NULL);
}

bool hub_replay_but(struct hub *hub, struct turn *turn, struct peer *peer, unsigned encoding,
                    uint64_t number, const struct hub_kept *kept)
{
    hub_end_run(hub, turn);
    if (!hub_reaches_back(hub, peer, encoding, number))
        return false;
    size_t found = collect_all(hub, peer, encoding, number, NULL).messages;
    if (found == 0)
        return true;
    uint64_t *numbers = malloc(found * sizeof *numbers);
    if (numbers == NULL)
        return false;
    (void)collect_all(hub, peer, encoding, number, numbers);
    log_sort(numbers, found);
    send_again(hub, turn, peer, encoding, numbers, found, kept);
    free(numbers);
    make_fit(hub);
    return true;
}

/* ── Offsets ────────────────────────────────────────────────────────────────────────────────── */

void hub_offset_print(unsigned shard, uint64_t number, char out[HUB_OFFSET_TEXT])
{
    struct buf text = {.at = (uint8_t *)out, .capacity = HUB_OFFSET_TEXT, .max = HUB_OFFSET_TEXT};
    bool fits = buf_put_number(&text, shard) && buf_put(&text, "-", 1) &&
                buf_put_number(&text, number) && buf_put(&text, "", 1);
    must(fits);
}

static bool parse_digits(struct span *text, uint64_t most, uint64_t *out)
{
    uint64_t value = 0;
    size_t used = 0;
    for (; used < text->length && text->at[used] >= '0' && text->at[used] <= '9'; used++) {
        unsigned digit = text->at[used] - '0';
        if (value > (most - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *text = span_from(*text, used);
    *out = value;
    return used > 0;
}

bool hub_offset_parse(struct span text, unsigned *shard, uint64_t *number)
{
    uint64_t whose, which;
    if (!parse_digits(&text, SHARDS_MAX - 1, &whose) || text.length == 0 || text.at[0] != '-')
        return false;
    text = span_from(text, 1);
    if (!parse_digits(&text, UINT64_MAX, &which) || text.length > 0)
        return false;
    *shard = (unsigned)whose;
    *number = which;
    return true;
}
