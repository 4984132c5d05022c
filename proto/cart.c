/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data of a cart_event has been checked as JSON when its envelope was; here it is read once
 * more, as an envelope of its own. Nothing is copied: its spans point into the same text.
 */
#include "proto/cart.h"

#include <stdio.h>

static void inherit(struct span *own, struct span from_envelope)
{
    if (own->at == NULL)
        *own = from_envelope;
}

/* Texts that were written with escapes lie inside the event
 * that they were decoded for: those of `from` come along. */
static void bring_texts(struct event *event, const struct event *from)
{
    struct span *const texts[] = {&event->type,    &event->id,         &event->tenant_id,
                                  &event->user_id, &event->project_id, &event->session_id,
                                  &event->room_id};
    const uint8_t *begin = from->decoded[0], *end = begin + sizeof from->decoded;
    for (unsigned i = 0; i < COUNT_OF(texts); i++) {
        const uint8_t *at = texts[i]->at;
        if (LIKELY(at < begin || at >= end))
            continue;
        texts[i]->at = event->decoded[0] + (at - begin);
        memcpy(event->decoded[0] + (at - begin), at, texts[i]->length);
    }
}

static void inherit_members(struct event *inner, const struct event *envelope)
{
    inherit(&inner->id, envelope->id);
    inherit(&inner->tenant_id, envelope->tenant_id);
    inherit(&inner->user_id, envelope->user_id);
    inherit(&inner->project_id, envelope->project_id);
    inherit(&inner->session_id, envelope->session_id);
    inherit(&inner->room_id, envelope->room_id);
    if (!inner->has_timestamp && envelope->has_timestamp) {
        inner->has_timestamp = true;
        inner->timestamp_us = envelope->timestamp_us;
    }
}

static enum event_code refuse(struct refusal *refusal, const char *message)
{
    refusal->code = EVENT_INVALID_FIELD;
    snprintf(refusal->message, sizeof refusal->message, "%s", message);
    return EVENT_INVALID_FIELD;
}

static enum event_code inherit_extras(struct event *inner, const struct event *envelope,
                                      struct refusal *refusal)
{
    if (inner->extras + envelope->extras > EVENT_EXTRA_MAX)
        return refuse(refusal, "cart_event: too many unknown members at the top, 32 are kept");
    for (unsigned i = 0; i < envelope->extras; i++)
        inner->extra[inner->extras++] = envelope->extra[i];
    inner->data.flaws |= envelope->data.flaws; /* they tell of the extras too */
    return EVENT_ACCEPTED;
}

static enum event_code unwrap(struct event *event, const struct event_rules *rules,
                              struct refusal *refusal)
{
    if (event->data.text.at == NULL || event->data.kind != JSON_OBJECT)
        return refuse(refusal, "data: a cart_event carries its event here, as an object");
    /* No default type: inside a cart_event the type is what the event is about. */
    struct event_rules inner_rules = {.bytes_max = rules->bytes_max};
    struct event inner;
    inner.id = (struct span){NULL, 0};
    enum event_code code = event_from_value(&event->data, &inner_rules, &inner, refusal);
    if (code == EVENT_ACCEPTED)
        code = inherit_extras(&inner, event, refusal);
    if (code != EVENT_ACCEPTED) {
        inherit(&inner.id, event->id);
        event->id = inner.id;
        bring_texts(event, &inner);
        return code;
    }
    inherit_members(&inner, event);
    bring_texts(&inner, event);
    *event = inner;
    bring_texts(event, &inner);
    return EVENT_ACCEPTED;
}

enum event_code cart_unwrap(struct event *event, const struct event_rules *rules,
                            struct refusal *refusal)
{
    event->unwrapped = false;
    if (LIKELY(!span_equal(event->type, SPAN("cart_event"))))
        return EVENT_ACCEPTED;
    enum event_code code = unwrap(event, rules, refusal);
    event->unwrapped = code == EVENT_ACCEPTED;
    return code;
}

const struct stream *cart_stream(const struct streams *streams, const struct event *event)
{
    return LIKELY(!event->unwrapped) ? NULL : streams_find(streams, "cart_events");
}
