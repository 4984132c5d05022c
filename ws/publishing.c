/* SPDX-License-Identifier: Apache-2.0 */
#include "ws/publishing.h"

#include "proto/json.h"

/* Names that mean something to a Socket.IO client itself. */
static const char *const reserved[] = {"connect",       "connect_error", "disconnect",
                                       "disconnecting", "newListener",   "removeListener"};

static const struct {
    const char *member, *prefix;
} targets[] = {{"user", "user:"}, {"tenant", "tenant:"}, {"room", ""}, {"project", "project:"}};

/* A string's or an integer's text. 0: it is neither, is empty, or does not fit. */
static size_t read_text(const struct json_value *value, uint8_t *out, size_t room)
{
    struct span text = value->text;
    if (value->kind == JSON_NUMBER && text.length <= room &&
        memchr(text.at, '.', text.length) == NULL && memchr(text.at, 'e', text.length) == NULL &&
        memchr(text.at, 'E', text.length) == NULL) {
        memcpy(out, text.at, text.length);
        return text.length;
    }
    if (value->kind != JSON_STRING || value->flaws != 0)
        return 0;
    text = span_of(text.at + 1, text.length - 2);
    if (!value->escaped) {
        if (text.length == 0 || text.length > room)
            return 0;
        memcpy(out, text.at, text.length);
        return text.length;
    }
    uint8_t long_enough[6 * ROOM_NAME_MAX];
    size_t length = text.length > sizeof long_enough ? 0 : json_unescape(text, long_enough);
    if (length == 0 || length > room)
        return 0;
    memcpy(out, long_enough, length);
    return length;
}

static const char *read_target(struct publishing *out, struct span name,
                               const struct json_value *value)
{
    for (size_t i = 0; i < COUNT_OF(targets); i++) {
        if (!span_is(name, targets[i].member))
            continue;
        size_t prefix = strlen(targets[i].prefix);
        memcpy(out->room, targets[i].prefix, prefix);
        size_t length = read_text(value, out->room + prefix, sizeof out->room - prefix);
        out->publish.room = span_of(out->room, prefix + length);
        if (hub_is_own_room(out->publish.room))
            return "to: this room is the server's own";
        return length > 0 ? NULL : "to: an id is a string of 1 to 150 bytes, or an integer";
    }
    return "to: must be \"all\", or an object with one of user, tenant, room and project";
}

static const char *read_to(struct publishing *out, const struct json_value *to)
{
    struct span name;
    struct json_value value;
    unsigned members = 0;
    const char *wrong =
        "to: must be \"all\", or an object with one of user, tenant, room and project";
    if (span_is(to->text, "\"all\"")) {
        out->publish.room = SPAN("*");
        return NULL;
    }
    if (to->kind != JSON_OBJECT)
        return wrong;
    for (struct json_walk walk = json_walk(to->text); json_next(&walk, &name, &value); members++)
        wrong = members > 0 ? "to: more than one member" : read_target(out, name, &value);
    return wrong;
}

static const char *read_event(struct publishing *out, const struct json_value *event)
{
    size_t length = read_text(event, out->event, sizeof out->event);
    out->publish.event = span_of(out->event, length);
    if (event->kind != JSON_STRING || length == 0)
        return "event: must be a string of 1 to 128 bytes";
    for (size_t i = 0; i < COUNT_OF(reserved); i++)
        if (span_is(out->publish.event, reserved[i]))
            return "event: this name is Socket.IO's own";
    return NULL;
}

static const char *read_type(struct publishing *out, const struct json_value *type)
{
    size_t length = read_text(type, out->type, sizeof out->type);
    out->publish.type = span_of(out->type, length);
    return type->kind == JSON_STRING && length > 0 ? NULL
                                                   : "type: must be a string of 1 to 128 bytes";
}

const char *publishing_read(struct publishing *out, const uint8_t *body, size_t length)
{
    struct json_value whole, to, event, data, type;
    size_t fault;
    *out = (struct publishing){.code = "INVALID_JSON", .publish = {.kept = true}};
    if (json_document(span_of(body, length), &whole, &fault) != JSON_OK)
        return "the body is not JSON (RFC 8259)";
    out->code = "INVALID_FIELD";
    if (whole.kind != JSON_OBJECT)
        return "the body must be an object";
    if (!json_find(whole.text, "to", &to))
        return "to: missing";
    if (!json_find(whole.text, "event", &event))
        return "event: missing";
    const char *wrong = read_to(out, &to);
    if (wrong == NULL)
        wrong = read_event(out, &event);
    if (wrong == NULL && json_find(whole.text, "type", &type))
        wrong = read_type(out, &type);
    out->publish.data = json_find(whole.text, "data", &data) ? data.text : SPAN("null");
    return wrong;
}
