/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A group: up to INTAKE_MAX events that go to the intake together, so that their look-ups overlap,
 * with the refusals between them, in the order in which they came. One a shard; it is empty
 * whenever a run of input has ended.
 *
 *   group_add, group_refuse … → group_judge → read the first `judged` entries → group_clear
 */
#ifndef WS_GROUP_H
#define WS_GROUP_H

#include "proto/intake.h"

/* What the text is. */
enum group_kind {
    GROUP_ENVELOPE, /* an event; perhaps a cart_event with its event inside */
    GROUP_CART,     /* the inside of a cart_event */
};

struct group_entry {
    struct span whole; /* what must be given again if this is not judged */
    bool offered;      /* it is event[event]; else `own` says why not */
    unsigned event;
    struct span id; /* {NULL,0}: none */
    struct verdict own;
    uint8_t id_decoded[EVENT_TEXT_MAX]; /* where `id` lies if it had escapes and was not offered */
};

struct group {
    unsigned entries, events;
    unsigned judged; /* after group_judge(): so many entries from the first have their verdict */
    unsigned taken;  /* … and so many events */
    struct event_rules cart_rules;
    struct group_entry entry[INTAKE_MAX];
    struct event event[INTAKE_MAX];
    const struct stream *stream[INTAKE_MAX];
    struct verdict verdict[INTAKE_MAX]; /* of event[…] */
};

void group_init(struct group *group, const struct intake *intake);

static inline bool group_is_full(const struct group *group)
{
    return group->entries == INTAKE_MAX;
}

/* Adds the event only if it can be offered; else leaves no trace. */
NODISCARD bool group_offer(struct group *group, const struct intake *intake, enum group_kind kind,
                           struct span whole, struct span text);
/* `text` lies within `whole`, which must stay until the group is cleared. */
void group_add(struct group *group, const struct intake *intake, enum group_kind kind,
               struct span whole, struct span text);
void group_refuse(struct group *group, struct span whole, struct span id,
                  const struct refusal *refusal);

/* Of the events only the first `most` may go to the intake; the others are refused with this. */
void group_limit(struct group *group, uint64_t most, const struct refusal *refusal);

/* To the intake. True: all have been judged; false:
 * those from `judged` on have not, for there is no room. */
NODISCARD bool group_judge(struct group *group, struct intake *intake, struct turn *turn,
                           const struct source *source);
/* Of a judged entry; valid until group_clear(). */
const struct verdict *group_verdict(const struct group *group, unsigned index);
void group_clear(struct group *group);

#endif
