/* SPDX-License-Identifier: Apache-2.0 */
#include "ws/group.h"

#include "proto/cart.h"

void group_init(struct group *group, const struct intake *intake)
{
    group_clear(group);
    group->cart_rules = intake->rules;
    group->cart_rules.default_type = group->cart_rules.bare_type = (struct span){NULL, 0};
}

static struct group_entry *place(struct group *group, struct span whole)
{
    must(group->entries < INTAKE_MAX);
    struct group_entry *entry = &group->entry[group->entries++];
    entry->whole = whole;
    entry->offered = false;
    return entry;
}

/* The event's place will be the next one's: an id that was decoded into it moves out. */
static void keep_id(struct group_entry *entry, const struct event *event)
{
    const uint8_t *begin = event->decoded[0], *end = begin + sizeof event->decoded;
    entry->id = event->id;
    if (entry->id.at < begin || entry->id.at >= end)
        return;
    memcpy(entry->id_decoded, entry->id.at, entry->id.length);
    entry->id.at = entry->id_decoded;
}

static enum event_code parse(const struct group *group, const struct intake *intake,
                             enum group_kind kind, struct span text, struct event *event,
                             struct refusal *refusal)
{
    event->id = (struct span){NULL, 0};
    if (kind == GROUP_CART) {
        event->unwrapped = true;
        return event_parse(text, &group->cart_rules, event, refusal);
    }
    enum event_code code = event_parse(text, &intake->rules, event, refusal);
    return LIKELY(code == EVENT_ACCEPTED) ? cart_unwrap(event, &intake->rules, refusal) : code;
}

static void offer(struct group *group, const struct intake *intake, struct group_entry *entry)
{
    const struct event *event = &group->event[group->events];
    entry->offered = true;
    entry->id = event->id;
    entry->event = group->events;
    group->stream[group->events++] = cart_stream(intake->streams, event);
}

bool group_offer(struct group *group, const struct intake *intake, enum group_kind kind,
                 struct span whole, struct span text)
{
    struct event *event = &group->event[group->events];
    struct refusal unused;
    if (UNLIKELY(parse(group, intake, kind, text, event, &unused) != EVENT_ACCEPTED))
        return false;
    offer(group, intake, place(group, whole));
    return true;
}

void group_add(struct group *group, const struct intake *intake, enum group_kind kind,
               struct span whole, struct span text)
{
    struct group_entry *entry = place(group, whole);
    struct event *event = &group->event[group->events];
    enum event_code code = parse(group, intake, kind, text, event, &entry->own.refusal);
    if (LIKELY(code == EVENT_ACCEPTED)) {
        offer(group, intake, entry);
        return;
    }
    entry->own.code = code;
    keep_id(entry, event);
}

void group_refuse(struct group *group, struct span whole, struct span id,
                  const struct refusal *refusal)
{
    struct group_entry *entry = place(group, whole);
    entry->id = id;
    entry->own.code = refusal->code;
    entry->own.refusal = *refusal;
}

void group_limit(struct group *group, uint64_t most, const struct refusal *refusal)
{
    if (LIKELY(group->events <= most))
        return;
    for (unsigned i = 0; i < group->entries; i++) {
        struct group_entry *entry = &group->entry[i];
        if (!entry->offered || entry->event < most)
            continue;
        entry->offered = false;
        entry->own.code = refusal->code;
        entry->own.refusal = *refusal;
    }
    group->events = (unsigned)most;
}

/* The first entry that is not judged when the intake took only `taken` events. */
static unsigned first_unjudged(const struct group *group, unsigned taken)
{
    unsigned i = 0;
    while (i < group->entries && !(group->entry[i].offered && group->entry[i].event >= taken))
        i++;
    return i;
}

bool group_judge(struct group *group, struct intake *intake, struct turn *turn,
                 const struct source *source)
{
    unsigned taken = 0;
    if (group->events > 0)
        taken = intake->accept(intake, turn, source, group->event, group->stream, group->events,
                               group->verdict);
    must(taken <= group->events);
    group->taken = taken;
    group->judged = taken == group->events ? group->entries : first_unjudged(group, taken);
    for (unsigned i = 0; i < group->judged; i++)
        if (UNLIKELY(!group->entry[i].offered))
            intake_count_refused(turn, source->received, group->entry[i].own.code);
    return group->judged == group->entries;
}

const struct verdict *group_verdict(const struct group *group, unsigned index)
{
    must(index < group->judged);
    const struct group_entry *entry = &group->entry[index];
    return LIKELY(entry->offered) ? &group->verdict[entry->event] : &entry->own;
}

void group_clear(struct group *group)
{
    group->entries = group->events = group->judged = group->taken = 0;
}
