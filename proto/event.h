/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event: one envelope for every door (CONTRACTS.md 1). Pure; any thread.
 *
 * event_parse() reads one JSON value, checks every rule that does not need a stream or a token, and
 * leaves spans into the text, which must outlive the event and stay as it is. Nothing is copied but
 * the few texts that are written with escapes: they are decoded into the event itself, so an event
 * that was copied as a struct still looks into the original.
 */
#ifndef PROTO_EVENT_H
#define PROTO_EVENT_H

#include "core/must.h"
#include "core/span.h"
#include "proto/json.h"

/* Order is the wire's and the metrics':
 * COUNT_EVENTS_REFUSED_INVALID_JSON + (code - EVENT_INVALID_JSON). */
enum event_code {
    EVENT_ACCEPTED,
    EVENT_DUPLICATE,
    EVENT_INVALID_JSON,
    EVENT_MISSING_TYPE,
    EVENT_UNSUPPORTED_TYPE,
    EVENT_INVALID_FIELD,
    EVENT_TOO_LARGE,
    EVENT_UNSTORABLE_TEXT,
    EVENT_UNAUTHORIZED,
    EVENT_FORBIDDEN,
    EVENT_RATE_LIMITED,
    EVENT_OVERLOADED,
    EVENT_CODES
};

/* "INVALID_JSON" … as clients see it; "accepted" and "duplicate" for the first two. */
const char *event_code_name(enum event_code code);

enum {
    EVENT_DECODED = 8, /* members that may be written with escapes: the texts, type, timestamp */
    EVENT_TYPE_MAX = 64,
    EVENT_TEXT_MAX = 128, /* id and the five …Id members */
    EVENT_EXTRA_MAX = 32, /* unknown members at the top; more: INVALID_FIELD */
};

struct event {
    struct span text; /* the whole value; as received, but for the strings decoded in place */
    struct span type; /* decoded; {NULL,0}: absent */
    struct span id;   /* the producer's; {NULL,0}: none */
    struct span tenant_id, user_id, project_id, session_id, room_id;
    int64_t timestamp_us; /* since 1970; meaningful if has_timestamp */
    bool has_timestamp;
    bool bare;      /* no envelope: data is the whole text */
    bool unwrapped; /* written by cart_unwrap() alone (proto/cart.h): it came inside a cart_event */
    struct json_value data; /* text {NULL,0}: absent; its flaws are those of the extras too */
    unsigned extras;        /* unknown members at the top … */
    struct span extra[EVENT_EXTRA_MAX]; /* … each as written: "name": value */
    uint8_t decoded[EVENT_DECODED]
                   [EVENT_TEXT_MAX]; /* where texts that had escapes lie; else untouched */
};

/* Why an event was refused: what the door's error message says. Filled only on refusal. */
struct refusal {
    enum event_code code;
    char message[160]; /* "userId: must be a string of 1 to 128 bytes or an integer" */
};

/* What the door gives to the parser. */
struct event_rules {
    size_t bytes_max;         /* limits.event_bytes */
    struct span default_type; /* for an envelope without type; {NULL,0}: MISSING_TYPE */
    struct span bare_type;    /* for a bare event; {NULL,0}: MISSING_TYPE */
    /* POST /messages: the whole object is the data, whatever its members are called. */
    bool body_is_data;
    /* Data and extras may have flaws: the encoder judges event->data.flaws by its columns. */
    bool keep_flaws;
};

/* May this be an event's type: 1 to EVENT_TYPE_MAX of A-Z a-z 0-9 _ . : - ? */
bool event_is_type(struct span text);

/* EVENT_ACCEPTED: *out is filled. Else the code, with refusal->message saying which member and why,
 * and out->id filled where the event had a usable one (so that the answer can name it). */
NODISCARD enum event_code event_parse(struct span text, const struct event_rules *rules,
                                      struct event *out, struct refusal *refusal);

/* The same for a member of a batch that json_value() has already accepted. */
NODISCARD enum event_code event_from_value(const struct json_value *value,
                                           const struct event_rules *rules, struct event *out,
                                           struct refusal *refusal);

/* Of an event whose data.flaws are not 0: which member has them,
 * as it is to be called in a refusal; an unknown one as written, in its quotes. */
struct span event_flawed(const struct event *event);

/* data, with the extras merged under `_extra`, as the JSON text that is stored. Writes at most
 * event_data_bytes_max(event) bytes at `out`, returns how many; 0: there is no data at all. */
size_t event_data_bytes_max(const struct event *event);
size_t event_put_data(const struct event *event, uint8_t *out);

/* RFC 3339 date-time (with the leap second 60 read as 59.999999…;
 * years 0001..9999) to microseconds since 1970. */
NODISCARD bool event_time_parse(struct span text, int64_t *out_us);
/* A JSON number as seconds since 1970 if it is below 10^11
 * either way, else milliseconds; cut at microseconds. */
NODISCARD bool event_time_from_number(struct span number, int64_t *out_us);
/* "2015-05-17T10:05:03.123456Z", always 27 bytes, no NUL. */
enum { EVENT_TIME_BYTES = 27 };
void event_time_print(int64_t us, char out[EVENT_TIME_BYTES]);

#endif
