/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cart events (CONTRACTS.md 3, [004]) arrive wrapped:
 * an envelope of type `cart_event` whose data is the event,
 *
 *   {"type":"cart_event",
 *    "data":{"eventId":…,"eventType":"item_added","userId":…,"metadata":…,"timestamp":…}}
 *
 * Every door calls cart_unwrap() on each event that event_parse() accepted, and then names the
 * stream by cart_stream(). Pure; any thread.
 */
#ifndef PROTO_CART_H
#define PROTO_CART_H

#include "proto/event.h"
#include "proto/stream.h"

/*
 * A cart_event is replaced by the event within; what that one leaves out (id, tenant, user …, time)
 * is taken from the envelope, and the envelope's unknown members are kept with its own. Any other
 * event is left as it is. Sets event->unwrapped either way. EVENT_ACCEPTED, or a code with *refusal
 * filled; event->id is then still the id, if one of the two had any.
 */
NODISCARD enum event_code cart_unwrap(struct event *event, const struct event_rules *rules,
                                      struct refusal *refusal);

/* The stream to name for it: `cart_events` for one
 * that was unwrapped, else NULL (its type decides). */
const struct stream *cart_stream(const struct streams *streams, const struct event *event);

#endif
