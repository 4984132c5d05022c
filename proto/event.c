/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One walk over the top of the object judges each known member where it is met and skips what is
 * unknown; the scanner checks grammar and UTF-8 on the way. A later member of the same name,
 * whatever its alias, takes the place of the earlier one, and so does its fault: faults are bits,
 * reported only when the whole has been read.
 *
 * The scanner says for all that was read so far whether it met a backslash,
 * and whether it met a flaw. Nearly always neither, and then nothing
 * is looked at twice: only an event with one pays for finding out where.
 */
#include "proto/json_scan.h"

#include "proto/event.h"

#include <stdarg.h>
#include <stdio.h>

/* What the envelope knows. The texts come first:
 * ids that are a string or, but for the first, an integer. */
enum member {
    ID,
    TENANT_ID,
    USER_ID,
    PROJECT_ID,
    SESSION_ID,
    ROOM_ID,
    TEXTS,
    TYPE = TEXTS,
    TIMESTAMP,
    DATA,
    MEMBERS,
    UNKNOWN = MEMBERS
};

static const char *const member_names[MEMBERS] = {
    "id", "tenantId", "userId", "projectId", "sessionId", "roomId", "type", "timestamp", "data"};

/* struct event has the texts in the same order. */
_Static_assert(offsetof(struct event, room_id) - offsetof(struct event, id) ==
                   ROOM_ID * sizeof(struct span),
               "text_of() counts on it");

static inline struct span *text_of(struct event *event, enum member member)
{
    return (struct span *)(void *)((uint8_t *)event + offsetof(struct event, id) +
                                   member * sizeof(struct span));
}

/* One event being read. */
struct envelope {
    struct json_scan scan;
    const struct event_rules *rules;
    struct event *event;
    struct refusal *refusal;
    bool known;      /* it has one of the members, be it null */
    uint32_t faults; /* of the last of each name, see below */
};

/* A member is not what CONTRACTS.md says that it must be;
 * or it is a text that Postgres would refuse. */
#define WRONG(member)      (UINT32_C(1) << (member))
#define UNSTORABLE(member) (UINT32_C(1) << ((member) + 16))

const char *event_code_name(enum event_code code)
{
    static const char *const names[EVENT_CODES] = {
        [EVENT_ACCEPTED] = "accepted",
        [EVENT_DUPLICATE] = "duplicate",
        [EVENT_INVALID_JSON] = "INVALID_JSON",
        [EVENT_MISSING_TYPE] = "MISSING_TYPE",
        [EVENT_UNSUPPORTED_TYPE] = "UNSUPPORTED_TYPE",
        [EVENT_INVALID_FIELD] = "INVALID_FIELD",
        [EVENT_TOO_LARGE] = "TOO_LARGE",
        [EVENT_UNSTORABLE_TEXT] = "UNSTORABLE_TEXT",
        [EVENT_UNAUTHORIZED] = "UNAUTHORIZED",
        [EVENT_FORBIDDEN] = "FORBIDDEN",
        [EVENT_RATE_LIMITED] = "RATE_LIMITED",
        [EVENT_OVERLOADED] = "OVERLOADED",
    };
    must((unsigned)code < EVENT_CODES);
    return names[code];
}

__attribute__((cold)) PRINTF_LIKE(3, 4) static enum event_code
    refuse(struct refusal *refusal, enum event_code code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(refusal->message, sizeof refusal->message, format, arguments);
    va_end(arguments);
    return refusal->code = code;
}

/* ── Names ──────────────────────────────────────────────────────────────────────────────────── */

#define IS(literal) (memcmp(name.at, literal, sizeof(literal) - 1) == 0)

/* By length first; each comparison is then one of a word or two. */
static inline enum member member_named(struct span name)
{
    switch (name.length) {
    case 2:
        return IS("id") ? ID : IS("ts") ? TIMESTAMP : UNKNOWN;
    case 4:
        return IS("type") ? TYPE : IS("data") ? DATA : IS("time") ? TIMESTAMP : UNKNOWN;
    case 6:
        return IS("userId") ? USER_ID : IS("roomId") ? ROOM_ID : UNKNOWN;
    case 7:
        return IS("eventId")   ? ID
               : IS("user_id") ? USER_ID
               : IS("payload") ? DATA
               : IS("room_id") ? ROOM_ID
                               : UNKNOWN;
    case 8:
        return IS("tenantId") ? TENANT_ID : IS("event_id") ? ID : IS("metadata") ? DATA : UNKNOWN;
    case 9:
        return IS("timestamp")   ? TIMESTAMP
               : IS("sessionId") ? SESSION_ID
               : IS("eventType") ? TYPE
               : IS("projectId") ? PROJECT_ID
               : IS("tenant_id") ? TENANT_ID
                                 : UNKNOWN;
    case 10:
        return IS("event_type")   ? TYPE
               : IS("session_id") ? SESSION_ID
               : IS("project_id") ? PROJECT_ID
                                  : UNKNOWN;
    case 14:
        return IS("externalUserId") ? USER_ID : UNKNOWN;
    case 16:
        return IS("external_user_id") ? USER_ID : UNKNOWN;
    default:
        return UNKNOWN;
    }
}

/* A name that may have escapes: all known ones fit
 * the buffer even if every letter is written as an escape. */
static enum member member_escaped(struct span name)
{
    uint8_t decoded[6 * sizeof "external_user_id"];
    if (name.length > sizeof decoded)
        return UNKNOWN;
    return member_named(span_of(decoded, json_unescape(name, decoded)));
}

/* ── Members ────────────────────────────────────────────────────────────────────────────────── */

static unsigned flaws_of(struct span text)
{
    struct json_value value;
    size_t fault;
    ptrdiff_t used = json_value(text, &value, &fault);
    must(used > 0);
    return value.flaws;
}

_Static_assert((int)TIMESTAMP < (int)EVENT_DECODED, "a place for each that may be decoded");

/* The inside of a string that may have escapes, decoded. What is too
 * long for any member stays as it is, and is too long all the same. */
static struct span decode(struct event *event, enum member member, struct span inside)
{
    uint8_t decoded[6 * EVENT_TEXT_MAX]; /* each byte as an escape */
    if (inside.length > sizeof decoded || memchr(inside.at, '\\', inside.length) == NULL)
        return inside;
    size_t length = json_unescape(inside, decoded);
    if (length > EVENT_TEXT_MAX)
        return inside;
    memcpy(event->decoded[member], decoded, length);
    return span_of(event->decoded[member], length);
}

/* As it would be without the escapes; absent, and noted, when it cannot be stored. */
static struct span unescape(struct envelope *envelope, enum member member, struct span inside)
{
    if (envelope->scan.flaws == 0 || flaws_of(span_of(inside.at - 1, inside.length + 2)) == 0)
        return decode(envelope->event, member, inside);
    envelope->faults |= UNSTORABLE(member);
    return (struct span){NULL, 0};
}

/* A-Z a-z 0-9 _ . : - */
static inline bool all_allowed(struct span type)
{
    static const uint8_t allowed[256] = {
        ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1, ['0' ... '9'] = 1, ['_'] = 1,
        ['.'] = 1,         [':'] = 1,         ['-'] = 1};
    const uint8_t *at = type.at, *end = at + type.length;
    unsigned fine = 1;
    for (; end - at >= 4; at += 4)
        fine &= allowed[at[0]] & allowed[at[1]] & allowed[at[2]] & allowed[at[3]];
    for (; at < end; at++)
        fine &= allowed[*at];
    return fine != 0;
}

static inline bool is_type(struct span text)
{
    return text.length - 1 < EVENT_TYPE_MAX && all_allowed(text);
}

bool event_is_type(struct span text)
{
    return is_type(text);
}

/* A text that cannot be used is absent, so that no answer names an event by it. */
static void take_wrong(struct envelope *envelope, enum member member)
{
    envelope->faults |= WRONG(member);
    if (member < TEXTS)
        *text_of(envelope->event, member) = (struct span){NULL, 0};
}

/* A member other than data is this string. */
static inline void take_string(struct envelope *envelope, enum member member, struct span inside)
{
    struct event *event = envelope->event;
    bool fine;
    if (UNLIKELY(envelope->scan.escaped))
        inside = unescape(envelope, member, inside);
    if (LIKELY(member < TEXTS)) {
        fine = inside.length - 1 < EVENT_TEXT_MAX;
        *text_of(event, member) = inside;
    } else if (member == TYPE) {
        fine = is_type(inside);
        event->type = inside;
    } else {
        fine = event_time_parse(inside, &event->timestamp_us);
        event->has_timestamp = fine;
    }
    if (UNLIKELY(!fine))
        take_wrong(envelope, member);
}

static bool is_integer(struct span number)
{
    size_t sign = number.at[0] == '-';
    for (size_t i = sign; i < number.length; i++) {
        if (!json_is_digit(number.at[i]))
            return false;
    }
    return number.length > sign && number.length <= EVENT_TEXT_MAX;
}

/* A member other than data is absent, or what is no string. */
static void take_other(struct envelope *envelope, enum member member, struct span value)
{
    struct event *event = envelope->event;
    const struct span absent = {NULL, 0};
    bool null = value.at[0] == 'n', fine = null;
    if (member < TEXTS) {
        fine = null || (member != ID && is_integer(value));
        *text_of(event, member) = null ? absent : value;
    } else if (member == TYPE) {
        event->type = absent;
    } else {
        bool number = value.at[0] == '-' || json_is_digit(value.at[0]);
        event->has_timestamp = number && event_time_from_number(value, &event->timestamp_us);
        fine = null || event->has_timestamp;
    }
    if (!fine)
        take_wrong(envelope, member);
}

static inline void take_data(struct envelope *envelope, struct span value)
{
    struct json_value *data = &envelope->event->data;
    data->text = value.at[0] == 'n' ? (struct span){NULL, 0} : value;
    data->kind = json_kind_of(value.at[0]);
    data->escaped = UNLIKELY(envelope->scan.escaped) && data->kind == JSON_STRING &&
                    memchr(value.at, '\\', value.length) != NULL;
}

static inline void take(struct envelope *envelope, enum member member, struct span value)
{
    envelope->known = true;
    if (UNLIKELY(envelope->faults != 0))
        envelope->faults &= ~(WRONG(member) | UNSTORABLE(member));
    if (member == DATA)
        take_data(envelope, value);
    else if (LIKELY(value.at[0] == '"'))
        take_string(envelope, member, span_of(value.at + 1, value.length - 2));
    else
        take_other(envelope, member, value);
}

/* ── The walk ───────────────────────────────────────────────────────────────────────────────── */

static void note_extra(struct event *event, struct span member)
{
    if (event->extras < EVENT_EXTRA_MAX)
        event->extra[event->extras] = member;
    event->extras++;
}

/* One member, from behind its opening quote to behind its value. */
static inline const uint8_t *read_member(struct envelope *envelope, const uint8_t *from)
{
    struct json_scan *scan = &envelope->scan;
    const uint8_t *at = json_scan_string(scan, from), *value;
    if (UNLIKELY(at == NULL))
        return NULL;
    struct span name = span_of(from, (size_t)(at - 1 - from));
    enum member member = UNLIKELY(scan->escaped) ? member_escaped(name) : member_named(name);
    if (LIKELY(json_scan_pair(scan, at, ":\""))) {
        value = at + 1;
        at = json_scan_string(scan, value + 1);
    } else {
        value = json_scan_byte(scan, at, ':');
        if (UNLIKELY(value == NULL))
            return NULL;
        uint8_t first = json_scan_next(scan, &value);
        at = json_scan_value(scan, value, first, 1);
    }
    if (UNLIKELY(at == NULL))
        return NULL;
    if (LIKELY(member != UNKNOWN))
        take(envelope, member, span_of(value, (size_t)(at - value)));
    else
        note_extra(envelope->event, span_of(from - 1, (size_t)(at - from + 1)));
    return at;
}

/* From behind the opening brace to behind the closing one. */
static const uint8_t *read_members(struct envelope *envelope, const uint8_t *at)
{
    struct json_scan *scan = &envelope->scan;
    if (UNLIKELY(json_scan_next(scan, &at) == '}'))
        return at + 1;
    at = json_scan_byte(scan, at, '"');
    while (LIKELY(at != NULL)) {
        at = read_member(envelope, at);
        if (UNLIKELY(at == NULL))
            return NULL;
        if (LIKELY(json_scan_pair(scan, at, ",\""))) {
            at += 2;
            continue;
        }
        uint8_t next = json_scan_next(scan, &at);
        if (next == '}')
            return at + 1;
        at = next == ',' ? json_scan_byte(scan, at + 1, '"') : json_scan_fail(scan, at);
    }
    return NULL;
}

/* ── Judging the whole ──────────────────────────────────────────────────────────────────────── */

/* name: as written, so perhaps long. */
static enum event_code refuse_flaws(struct refusal *refusal, struct span name, unsigned flaws)
{
    enum { NAME_SHOWN = 64 };
    bool text = (flaws & (JSON_HAS_NUL | JSON_HAS_LONE_SURROGATE)) != 0;
    name.length = name.length < NAME_SHOWN ? name.length : NAME_SHOWN;
    return refuse(refusal, text ? EVENT_UNSTORABLE_TEXT : EVENT_INVALID_FIELD, "%.*s: holds %s",
                  SPAN_ARGS(name),
                  (flaws & JSON_HAS_NUL) != 0 ? "\\u0000, which cannot be stored"
                  : text                      ? "half of a surrogate pair, which cannot be stored"
                                              : "a number with more digits than can be stored");
}

static enum event_code refuse_member(const struct envelope *envelope)
{
    struct refusal *refusal = envelope->refusal;
    uint32_t faulty = (envelope->faults | envelope->faults >> 16) & 0xFFFF;
    enum member member = (enum member)__builtin_ctz(faulty);
    if ((envelope->faults & UNSTORABLE(member)) != 0)
        return refuse(refusal, EVENT_UNSTORABLE_TEXT,
                      "%s: holds \\u0000 or half of a surrogate pair, which cannot be stored",
                      member_names[member]);
    if (member == TYPE)
        return refuse(refusal, EVENT_INVALID_FIELD,
                      "type: must be a string of 1 to %d of A-Z a-z 0-9 _ . : -", EVENT_TYPE_MAX);
    if (member == TIMESTAMP)
        return refuse(refusal, EVENT_INVALID_FIELD,
                      "timestamp: must be an RFC 3339 date-time or epoch milliseconds, "
                      "in the years 0001 to 9999");
    return refuse(refusal, EVENT_INVALID_FIELD, "%s: must be a string of 1 to %d bytes%s",
                  member_names[member], EVENT_TEXT_MAX, member == ID ? "" : " or an integer");
}

/* An extra, "name": value, has the flaws of both. */
static unsigned flaws_of_extra(struct span member, struct span *name)
{
    struct json_scan scan = json_scan_of(member);
    const uint8_t *at = json_scan_string(&scan, member.at + 1);
    must(at != NULL);
    *name = span_of(member.at, (size_t)(at - member.at));
    at = json_scan_byte(&scan, at, ':');
    must(at != NULL);
    return scan.flaws | flaws_of(span_of(at, (size_t)(scan.end - at)));
}

struct span event_flawed(const struct event *event)
{
    struct span name = event->bare ? SPAN("event") : SPAN("data");
    if (event->data.text.at != NULL && flaws_of(event->data.text) != 0)
        return name;
    for (unsigned i = 0; i < event->extras; i++)
        if (flaws_of_extra(event->extra[i], &name) != 0)
            return name;
    return name;
}

/* Somewhere in the event is a flaw. Is it in what is stored as data? */
static enum event_code judge_flaws(const struct envelope *envelope)
{
    struct event *event = envelope->event;
    struct span name = event->bare ? SPAN("event") : SPAN("data");
    unsigned flaws = event->data.text.at != NULL ? flaws_of(event->data.text) : 0;
    event->data.flaws = flaws;
    for (unsigned i = 0; i < event->extras && (flaws == 0 || envelope->rules->keep_flaws); i++) {
        flaws = flaws_of_extra(event->extra[i], &name);
        event->data.flaws |= flaws;
    }
    if (event->data.flaws == 0 || envelope->rules->keep_flaws)
        return EVENT_ACCEPTED;
    return refuse_flaws(envelope->refusal, name, flaws);
}

static inline enum event_code judge_envelope(const struct envelope *envelope)
{
    struct event *event = envelope->event;
    if (UNLIKELY(envelope->faults != 0))
        return refuse_member(envelope);
    if (event->type.at == NULL)
        event->type = envelope->rules->default_type;
    if (UNLIKELY(event->type.at == NULL))
        return refuse(envelope->refusal, EVENT_MISSING_TYPE, "type: is required");
    if (UNLIKELY(event->extras > EVENT_EXTRA_MAX))
        return refuse(envelope->refusal, EVENT_INVALID_FIELD,
                      "event: more than %d unknown members at the top", EVENT_EXTRA_MAX);
    return UNLIKELY(envelope->scan.flaws != 0) ? judge_flaws(envelope) : EVENT_ACCEPTED;
}

/* The whole object is the data. */
static enum event_code judge_bare(struct envelope *envelope, struct span type)
{
    struct event *event = envelope->event;
    event->bare = true;
    event->extras = 0;
    event->type = type;
    if (type.at == NULL)
        return refuse(envelope->refusal, EVENT_MISSING_TYPE, "type: is required");
    take_data(envelope, event->text);
    return UNLIKELY(envelope->scan.flaws != 0) ? judge_flaws(envelope) : EVENT_ACCEPTED;
}

static inline enum event_code judge(struct envelope *envelope)
{
    if (LIKELY(envelope->known))
        return judge_envelope(envelope);
    if (envelope->rules->body_is_data)
        return judge_bare(envelope, envelope->rules->default_type);
    if (envelope->event->extras > 0)
        return judge_bare(envelope, envelope->rules->bare_type);
    return refuse(envelope->refusal, EVENT_MISSING_TYPE, "event: is empty, type is required");
}

/* ── What did not get that far; an id that was read before the fault stays ──────────────────── */

static enum event_code refuse_json(const struct envelope *envelope)
{
    const struct json_scan *scan = &envelope->scan;
    size_t fault = (size_t)(scan->fault - scan->begin);
    if (scan->error == JSON_TOO_DEEP)
        return refuse(envelope->refusal, EVENT_INVALID_JSON,
                      "event: nested more than %d deep at byte %zu", JSON_DEPTH_MAX, fault);
    return refuse(envelope->refusal, EVENT_INVALID_JSON, "event: not JSON: %s byte %zu",
                  scan->error == JSON_TRUNCATED ? "cut short at" : "wrong at", fault);
}

static enum event_code refuse_large(struct envelope *envelope, size_t length)
{
    struct json_scan *scan = &envelope->scan;
    size_t bytes_max = envelope->rules->bytes_max;
    const uint8_t *at = scan->begin;
    scan->end = scan->begin + bytes_max;
    if (json_scan_next(scan, &at) == '{' && !envelope->rules->body_is_data)
        (void)read_members(envelope, at + 1);
    return refuse(envelope->refusal, EVENT_TOO_LARGE, "event: %zu bytes, at most %zu are taken",
                  length, bytes_max);
}

/* JSON, but for the brace; or not even that. */
static enum event_code refuse_kind(struct envelope *envelope, const uint8_t *at, uint8_t first)
{
    struct json_scan *scan = &envelope->scan;
    at = json_scan_value(scan, at, first, 0);
    if (at == NULL)
        return refuse_json(envelope);
    at = json_scan_skip(scan, at);
    if (at == scan->end)
        return refuse(envelope->refusal, EVENT_INVALID_FIELD, "event: must be an object");
    (void)json_scan_fail(scan, at);
    return refuse_json(envelope);
}

/* ── The two ways in ────────────────────────────────────────────────────────────────────────── */

/* The extras, and what says nothing while has_timestamp is false, are left as they are. */
static inline void clear(struct event *event)
{
    const struct span absent = {NULL, 0};
    event->text = event->type = event->id = event->data.text = absent;
    event->tenant_id = event->user_id = event->project_id = absent;
    event->session_id = event->room_id = absent;
    event->has_timestamp = event->bare = event->data.escaped = false;
    event->data.kind = JSON_NULL;
    event->data.flaws = 0;
    event->extras = 0;
}

enum event_code event_parse(struct span text, const struct event_rules *rules, struct event *out,
                            struct refusal *refusal)
{
    struct envelope envelope = {
        .scan = json_scan_of(text), .rules = rules, .event = out, .refusal = refusal};
    struct json_scan *scan = &envelope.scan;
    clear(out);
    if (UNLIKELY(text.length > rules->bytes_max))
        return refuse_large(&envelope, text.length);
    const uint8_t *from = text.at;
    uint8_t first = json_scan_next(scan, &from);
    if (UNLIKELY(first != '{'))
        return refuse_kind(&envelope, from, first);
    const uint8_t *to = rules->body_is_data ? json_scan_composite(scan, from, 0)
                                            : read_members(&envelope, from + 1);
    if (UNLIKELY(to == NULL))
        return refuse_json(&envelope);
    out->text = span_of(from, (size_t)(to - from));
    to = json_scan_skip(scan, to);
    if (UNLIKELY(to != scan->end)) {
        (void)json_scan_fail(scan, to);
        return refuse_json(&envelope);
    }
    return judge(&envelope);
}

enum event_code event_from_value(const struct json_value *value, const struct event_rules *rules,
                                 struct event *out, struct refusal *refusal)
{
    return event_parse(value->text, rules, out, refusal);
}
