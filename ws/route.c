/* SPDX-License-Identifier: Apache-2.0 */
#include "ws/route.h"

#include <stdlib.h>

/* What a source yields: a text of the envelope, or JSON as it stands. */
struct found {
    struct span text;
    bool json;
    bool flawed; /* such as a lone surrogate: it has no text */
};

static struct span envelope(const struct route_subject *subject, enum route_source source)
{
    static const size_t place[] = {
        [ROUTE_FROM_TYPE] = offsetof(struct event, type),
        [ROUTE_FROM_TENANT_ID] = offsetof(struct event, tenant_id),
        [ROUTE_FROM_USER_ID] = offsetof(struct event, user_id),
        [ROUTE_FROM_PROJECT_ID] = offsetof(struct event, project_id),
        [ROUTE_FROM_SESSION_ID] = offsetof(struct event, session_id),
        [ROUTE_FROM_ROOM_ID] = offsetof(struct event, room_id),
    };
    struct span text;
    if (source == ROUTE_FROM_ID)
        return subject->id;
    memcpy(&text, (const uint8_t *)subject->event + place[source], sizeof text);
    return text;
}

/* The token's e-mail address, if it is the sender's own event; else his id. */
static struct span user_name(const struct route_subject *subject)
{
    const struct principal *who = subject->principal;
    struct span user = subject->event->user_id;
    if (who != NULL && who->email[0] != '\0' && span_is(user, who->user_id))
        return span_of_string(who->email);
    return user;
}

/* JSON of a member of the data; a string without escapes is given as text. */
static bool find_in_data(const struct route_subject *subject, const char *path, struct found *out)
{
    const struct json_value *data = &subject->event->data;
    struct json_value value;
    if (data->text.at == NULL || data->kind != JSON_OBJECT ||
        !json_find(data->text, path, &value) || value.kind == JSON_NULL)
        return false;
    *out = (struct found){value.text, true, value.flaws != 0};
    return true;
}

/* Of the sources that are texts. False: the event has it not. */
static bool find(const struct route_subject *subject, const struct route_from *from,
                 struct found *out)
{
    switch (from->source) {
    case ROUTE_FROM_DATA_MEMBER:
        return find_in_data(subject, from->path, out);
    case ROUTE_FROM_LITERAL:
        *out = (struct found){from->literal, true, false};
        return true;
    case ROUTE_FROM_DATA:
        *out = (struct found){subject->event->data.text, true, false};
        return out->text.at != NULL;
    case ROUTE_FROM_USER_NAME:
        *out = (struct found){user_name(subject), false, false};
        return out->text.at != NULL;
    case ROUTE_FROM_TIMESTAMP:
    case ROUTE_FROM_RECEIVED_AT:
    case ROUTE_FROM_EVENT:
        *out = (struct found){{NULL, 0}, false, false};
        return true;
    case ROUTE_FROM_ID:
    case ROUTE_FROM_TYPE:
    case ROUTE_FROM_TENANT_ID:
    case ROUTE_FROM_USER_ID:
    case ROUTE_FROM_PROJECT_ID:
    case ROUTE_FROM_SESSION_ID:
    case ROUTE_FROM_ROOM_ID:
        *out = (struct found){envelope(subject, from->source), false, false};
        return out->text.at != NULL;
    }
    must(false);
}

static const struct route_from *find_any(const struct route_subject *subject,
                                         const struct route_field *field, struct found *out)
{
    for (unsigned i = 0; i < field->froms; i++)
        if (find(subject, &field->from[i], out))
            return &field->from[i];
    return NULL;
}

/* ── Does it match? ─────────────────────────────────────────────────────────────────────────── */

bool route_takes_type(const struct route *route, struct span type)
{
    for (unsigned i = 0; i < route->types; i++)
        if (span_equal(route->type[i], type))
            return true;
    return route->types == 0;
}

static bool has_stream(const struct route *route, const struct stream *stream)
{
    for (unsigned i = 0; i < route->streams; i++)
        if (route->stream[i] == stream)
            return true;
    return route->streams == 0;
}

bool route_matches(const struct route *route, const struct route_subject *subject)
{
    struct found found;
    if (!route_takes_type(route, subject->event->type) || !has_stream(route, subject->stream))
        return false;
    for (unsigned i = 0; i < route->has_count; i++)
        if (find_any(subject, &route->has[i], &found) == NULL)
            return false;
    return true;
}

bool route_permits(const struct route *route, const struct route_subject *subject)
{
    return route->scopes == 0 || subject->principal == NULL ||
           (subject->principal->scopes & route->scopes) != 0;
}

/* ── The room ───────────────────────────────────────────────────────────────────────────────── */

static bool begins(struct span text, const char *with)
{
    size_t length = strlen(with);
    return text.length >= length && memcmp(text.at, with, length) == 0;
}

/* Names that lead to others than the members of a room of that name. */
static bool is_reserved(struct span name)
{
    static const char *const prefixes[] = {"user:", "user_", "tenant:", "project:", "*"};
    for (unsigned i = 0; i < COUNT_OF(prefixes); i++)
        if (begins(name, prefixes[i]))
            return true;
    return hub_is_own_room(name);
}

static bool may_speak(const struct route_target *target, const struct route_subject *subject,
                      struct span name)
{
    const struct principal *who = subject->principal;
    if (who == NULL || (who->scopes & (SCOPE_INGEST | SCOPE_INGEST_ANY | SCOPE_PUBLISH)) != 0)
        return true;
    switch (target->kind) {
    case ROUTE_TO_TENANT:
        return span_is(span_from(name, target->prefix.length), who->tenant_id);
    case ROUTE_TO_ROOM:
        return (subject->judged_room.at != NULL && span_equal(subject->judged_room, name)) ||
               principal_lists(principal_rooms(who), name);
    case ROUTE_TO_USER:
    case ROUTE_TO_PROJECT:
    case ROUTE_TO_EVERYONE:
        return true; /* the intake has judged the members; for everyone there is the scope */
    }
    must(false);
}

static bool put_name(char *name, size_t *length, struct span text)
{
    if (text.length > ROOM_NAME_MAX - *length)
        return false;
    if (text.length > 0)
        memcpy(name + *length, text.at, text.length);
    *length += text.length;
    return true;
}

/* A member's value within a name: a string without its quotes and escapes, or a number's digits. */
static bool put_value(char *name, size_t *length, const struct found *found)
{
    struct span text = found->text;
    if (!found->json)
        return put_name(name, length, text);
    if (text.at[0] != '"')
        return text.at[0] != '{' && text.at[0] != '[' && put_name(name, length, text);
    struct span inside = span_of(text.at + 1, text.length - 2);
    if (found->flawed || inside.length > ROOM_NAME_MAX - *length)
        return false;
    *length += json_unescape(inside, (uint8_t *)name + *length);
    return true;
}

static enum route_room name_room(const struct route_target *target,
                                 const struct route_subject *subject, char *name, size_t *length)
{
    struct found found = {0};
    *length = 0;
    if (target->member.froms > 0 && find_any(subject, &target->member, &found) == NULL)
        return ROUTE_NO_ROOM;
    if (!put_name(name, length, target->prefix) ||
        (target->member.froms > 0 && !put_value(name, length, &found)) ||
        !put_name(name, length, target->suffix) || *length == 0)
        return ROUTE_BAD_ROOM;
    struct span room = span_of(name, *length);
    if (target->kind == ROUTE_TO_ROOM && is_reserved(room))
        return ROUTE_BAD_ROOM;
    return may_speak(target, subject, room) ? ROUTE_ROOM : ROUTE_CLOSED_ROOM;
}

/* *target is the alternative that it is of. */
static enum route_room choose_room(const struct route *route, const struct route_subject *subject,
                                   char *name, size_t *length, const struct route_target **target)
{
    enum route_room result = ROUTE_NO_ROOM;
    for (unsigned i = 0; result == ROUTE_NO_ROOM && i < route->targets; i++) {
        *target = &route->target[i];
        result = name_room(*target, subject, name, length);
    }
    return result;
}

enum route_room route_room(const struct route *route, const struct route_subject *subject,
                           char *name, size_t *length)
{
    const struct route_target *target;
    return choose_room(route, subject, name, length, &target);
}

bool route_room_to_judge(const struct route *route, const struct route_subject *subject, char *name,
                         size_t *length)
{
    const struct route_target *target;
    enum route_room room = choose_room(route, subject, name, length, &target);
    return (room == ROUTE_ROOM || room == ROUTE_CLOSED_ROOM) && target->kind == ROUTE_TO_ROOM;
}

/* ── The payload ────────────────────────────────────────────────────────────────────────────── */

static bool is_space(uint8_t byte)
{
    return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t';
}

/* JSON without white space between its tokens: a line break would end a line of an event stream. */
static bool put_compact(struct buf *out, struct span json)
{
    uint8_t *to = buf_room(out, json.length);
    if (to == NULL)
        return json.length == 0;
    bool inside = false;
    size_t length = 0;
    for (size_t i = 0; i < json.length; i++) {
        uint8_t byte = json.at[i];
        if (inside && byte == '\\') {
            to[length++] = byte;
            to[length++] = json.at[++i];
            continue;
        }
        inside = inside != (byte == '"');
        if (inside || !is_space(byte))
            to[length++] = byte;
    }
    buf_grew(out, length);
    return true;
}

/* "2015-05-17T10:05:03.123Z"; all six digits only where they say something. */
static bool put_time(struct buf *out, int64_t us)
{
    char text[EVENT_TIME_BYTES];
    event_time_print(us, text);
    int digits = us % 1000 == 0 ? EVENT_TIME_BYTES - 4 : EVENT_TIME_BYTES - 1;
    return buf_print(out, "\"%.*sZ\"", digits, text);
}

static int64_t time_of(const struct route_subject *subject)
{
    return subject->event->has_timestamp ? subject->event->timestamp_us : subject->received_us;
}

/* The event's data with its extras (event_put_data), compact. */
static bool put_data(struct buf *out, const struct event *event)
{
    if (event->extras == 0)
        return put_compact(out, event->data.text);
    uint8_t *whole = malloc(event_data_bytes_max(event));
    bool put = whole != NULL && put_compact(out, span_of(whole, event_put_data(event, whole)));
    free(whole);
    return put;
}

/* The envelope as it is understood, whatever the members were called. */
static bool put_event(struct buf *out, const struct route_subject *subject)
{
    static const struct {
        enum route_source source;
        const char *before;
    } members[] = {{ROUTE_FROM_TYPE, ",\"type\":"},
                   {ROUTE_FROM_TENANT_ID, ",\"tenantId\":"},
                   {ROUTE_FROM_USER_ID, ",\"userId\":"},
                   {ROUTE_FROM_PROJECT_ID, ",\"projectId\":"},
                   {ROUTE_FROM_SESSION_ID, ",\"sessionId\":"},
                   {ROUTE_FROM_ROOM_ID, ",\"roomId\":"}};
    const struct event *event = subject->event;
    bool put = buf_print(out, "{\"id\":") && buf_put_json(out, subject->id);
    for (unsigned i = 0; i < COUNT_OF(members); i++) {
        struct span text = envelope(subject, members[i].source);
        if (text.at != NULL)
            put = put && buf_put(out, members[i].before, strlen(members[i].before)) &&
                  buf_put_json(out, text);
    }
    put = put && buf_print(out, ",\"timestamp\":") && put_time(out, time_of(subject));
    if (event->data.text.at != NULL || event->extras > 0)
        put = put && buf_print(out, ",\"data\":") && put_data(out, event);
    return put && buf_put(out, "}", 1);
}

static bool put_field(struct buf *out, const struct route_subject *subject,
                      const struct route_field *field)
{
    struct found found;
    const struct route_from *from = find_any(subject, field, &found);
    if (from == NULL)
        return buf_put(out, "null", 4);
    if (from->source == ROUTE_FROM_EVENT)
        return put_event(out, subject);
    if (from->source == ROUTE_FROM_DATA)
        return put_data(out, subject->event);
    if (from->source == ROUTE_FROM_TIMESTAMP)
        return put_time(out, time_of(subject));
    if (from->source == ROUTE_FROM_RECEIVED_AT)
        return put_time(out, subject->received_us);
    return found.json ? put_compact(out, found.text) : buf_put_json(out, found.text);
}

bool route_put(const struct route *route, const struct route_subject *subject, struct buf *out)
{
    if (route->payload == ROUTE_WHOLE_EVENT)
        return put_event(out, subject);
    if (route->payload == ROUTE_ALL_DATA) {
        const struct event *event = subject->event;
        bool none = event->data.text.at == NULL && event->extras == 0;
        return none ? buf_put(out, "null", 4) : put_data(out, event);
    }
    bool put = buf_put(out, "{", 1);
    for (unsigned i = 0; i < route->fields; i++)
        put = put && (i == 0 || buf_put(out, ",", 1)) && buf_put_json(out, route->field[i].name) &&
              buf_put(out, ":", 1) && put_field(out, subject, &route->field[i]);
    return put && buf_put(out, "}", 1);
}
