/* SPDX-License-Identifier: Apache-2.0 */
#include "ws/group.h"

#include "proto/cart.h"

bool group_init(struct group *group, const struct intake *intake)
{
    group->entries = group->events = group->judged = 0;
    group->undo = (struct buf){.max = 2 * intake->rules.bytes_max};
    group->cart_rules = intake->rules;
    group->cart_rules.default_type = group->cart_rules.bare_type = (struct span){NULL, 0};
    return buf_room(&group->undo, group->undo.max) != NULL;
}

void group_fini(struct group *group)
{
    buf_fini(&group->undo);
}

static size_t undo_left(const struct group *group)
{
    return group->undo.max - group->undo.length;
}

bool group_fits(const struct group *group, struct span text)
{
    return group->entries == 0 || (group->entries < INTAKE_MAX && text.length <= undo_left(group));
}

static struct group_entry *place(struct group *group, struct span whole)
{
    must(group->entries < INTAKE_MAX);
    struct group_entry *entry = &group->entry[group->entries++];
    entry->whole = whole;
    entry->has_saved = entry->offered = false;
    return entry;
}

/* What is longer than an event may be is not kept: it is refused, and never parsed again. */
static void save(struct group *group, struct group_entry *entry, struct span text)
{
    entry->text = text;
    entry->saved = group->undo.length;
    if (UNLIKELY(memchr(text.at, '\\', text.length) != NULL))
        entry->has_saved = buf_put(&group->undo, text.at, text.length);
}

void group_add(struct group *group, const struct intake *intake, enum group_kind kind,
               struct span whole, struct span text)
{
    struct group_entry *entry = place(group, whole);
    struct event *event = &group->event[group->events];
    const struct event_rules *rules = kind == GROUP_CART ? &group->cart_rules : &intake->rules;
    save(group, entry, text);
    event->id = (struct span){NULL, 0};
    enum event_code code = event_parse(text, rules, event, &entry->own.refusal);
    if (kind == GROUP_CART)
        event->unwrapped = true;
    else if (LIKELY(code == EVENT_ACCEPTED))
        code = cart_unwrap(event, rules, &entry->own.refusal);
    entry->id = event->id;
    entry->own.code = code;
    if (UNLIKELY(code != EVENT_ACCEPTED))
        return;
    entry->offered = true;
    entry->event = group->events;
    group->stream[group->events++] = cart_stream(intake->streams, event);
}

void group_refuse(struct group *group, struct span whole, struct span id,
                  const struct refusal *refusal)
{
    struct group_entry *entry = place(group, whole);
    entry->id = id;
    entry->own.code = refusal->code;
    entry->own.refusal = *refusal;
}

/* The first entry that is not judged when the intake took only `taken` events. */
static unsigned first_unjudged(const struct group *group, unsigned taken)
{
    unsigned i = 0;
    while (i < group->entries && !(group->entry[i].offered && group->entry[i].event >= taken))
        i++;
    return i;
}

static void put_back(const struct group *group)
{
    for (unsigned i = group->judged; i < group->entries; i++) {
        const struct group_entry *entry = &group->entry[i];
        if (entry->has_saved)
            memcpy((uint8_t *)(uintptr_t)entry->text.at, group->undo.at + entry->saved,
                   entry->text.length);
    }
}

bool group_judge(struct group *group, struct intake *intake, struct turn *turn,
                 const struct source *source)
{
    unsigned taken = 0;
    if (group->events > 0)
        taken = intake->accept(intake, turn, source, group->event, group->stream, group->events,
                               group->verdict);
    must(taken <= group->events);
    group->judged = taken == group->events ? group->entries : first_unjudged(group, taken);
    put_back(group);
    for (unsigned i = 0; i < group->judged; i++)
        if (!group->entry[i].offered)
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
    group->entries = group->events = group->judged = 0;
    group->undo.length = 0;
}
