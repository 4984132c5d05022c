/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The outer object is walked by hand, so that its data is passed over once, and read once more by
 * whoever takes the event out of it; of two members of one name the last holds, as everywhere.
 */
#include "ws/parcel.h"

#include <stdio.h>

/* The wrapping as it is being read. */
struct wrapping {
    struct span text;
    size_t at;
    struct json_value type, data; /* text {NULL,0}: absent */
    bool bare;
};

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The next byte that is no white space; 0: the end. */
static uint8_t peek(struct wrapping *wrapping)
{
    while (wrapping->at < wrapping->text.length && is_space(wrapping->text.at[wrapping->at]))
        wrapping->at++;
    return wrapping->at < wrapping->text.length ? wrapping->text.at[wrapping->at] : 0;
}

static bool take(struct wrapping *wrapping, char c)
{
    if (peek(wrapping) != (uint8_t)c)
        return false;
    wrapping->at++;
    return true;
}

static bool take_value(struct wrapping *wrapping, struct json_value *value)
{
    size_t fault;
    ptrdiff_t used = json_value(span_from(wrapping->text, wrapping->at), value, &fault);
    wrapping->at += used > 0 ? (size_t)used : fault;
    return used > 0;
}

/* Is this string value that word, escapes decoded? */
static bool says(const struct json_value *string, const char *word)
{
    uint8_t decoded[6 * 16];
    if (string->kind != JSON_STRING || string->flaws != 0)
        return false;
    struct span inside = span_of(string->text.at + 1, string->text.length - 2);
    if (LIKELY(!string->escaped))
        return span_is(inside, word);
    return inside.length <= sizeof decoded &&
           span_is(span_of(decoded, json_unescape(inside, decoded)), word);
}

static bool take_member(struct wrapping *wrapping)
{
    struct json_value name, value;
    if (peek(wrapping) != '"' || !take_value(wrapping, &name) || !take(wrapping, ':') ||
        !take_value(wrapping, &value))
        return false;
    if (says(&name, "type"))
        wrapping->type = value;
    else if (says(&name, "data"))
        wrapping->data = value;
    else
        wrapping->bare = false;
    return true;
}

static bool take_object(struct wrapping *wrapping)
{
    if (!take(wrapping, '{'))
        return false;
    if (!take(wrapping, '}')) {
        do {
            if (!take_member(wrapping))
                return false;
        } while (take(wrapping, ','));
        if (!take(wrapping, '}'))
            return false;
    }
    return peek(wrapping) == 0 && wrapping->at == wrapping->text.length;
}

/* The id of the event within, for an answer that can name it. */
static struct span find_id(const struct json_value *data)
{
    static const char *const names[] = {"eventId", "id", "event_id"};
    struct json_value value;
    for (unsigned i = 0; data->text.at != NULL && data->kind == JSON_OBJECT && i < COUNT_OF(names);
         i++) {
        if (json_find(data->text, names[i], &value) && value.kind == JSON_STRING &&
            !value.escaped && value.text.length > 2 && value.text.length <= EVENT_TEXT_MAX + 2)
            return span_of(value.text.at + 1, value.text.length - 2);
    }
    return (struct span){NULL, 0};
}

static enum event_code refuse(struct refusal *refusal, enum event_code code, const char *message)
{
    snprintf(refusal->message, sizeof refusal->message, "%s", message);
    return refusal->code = code;
}

static enum event_code judge_type(const struct json_value *type, enum parcel_type *out,
                                  struct refusal *refusal)
{
    static const char *const names[] = {
        [PARCEL_CART_EVENT] = "cart_event", [PARCEL_EVENT] = "event", [PARCEL_BATCH] = "batch"};
    if (type->text.at == NULL)
        return refuse(refusal, EVENT_MISSING_TYPE, "type: is required: cart_event, event or batch");
    for (unsigned i = 0; i < COUNT_OF(names); i++) {
        if (says(type, names[i])) {
            *out = (enum parcel_type)i;
            return EVENT_ACCEPTED;
        }
    }
    return refuse(refusal, EVENT_UNSUPPORTED_TYPE,
                  "type: a message is a cart_event, an event or a batch");
}

static bool take_name(struct wrapping *wrapping, const char *word)
{
    struct json_value name;
    return peek(wrapping) == '"' && take_value(wrapping, &name) && says(&name, word) &&
           take(wrapping, ':');
}

/* From here to the last brace; {NULL,0}: the message does not end in one. */
static struct span rest_of(const struct wrapping *wrapping)
{
    struct span rest = span_from(wrapping->text, wrapping->at);
    while (rest.length > 0 && is_space(rest.at[rest.length - 1]))
        rest.length--;
    if (rest.length == 0 || rest.at[rest.length - 1] != '}')
        return (struct span){NULL, 0};
    rest.length--;
    return rest;
}

bool parcel_guess(struct span text, struct parcel *out)
{
    struct wrapping wrapping = {.text = text};
    struct refusal unused;
    if (!take(&wrapping, '{') || !take_name(&wrapping, "type") || peek(&wrapping) != '"' ||
        !take_value(&wrapping, &wrapping.type) || !take(&wrapping, ',') ||
        !take_name(&wrapping, "data"))
        return false;
    *out = (struct parcel){.text = text, .bare = true};
    out->data.text = rest_of(&wrapping);
    return out->data.text.at != NULL &&
           judge_type(&wrapping.type, &out->type, &unused) == EVENT_ACCEPTED &&
           out->type != PARCEL_BATCH;
}

static enum event_code judge_data(const struct parcel *parcel, struct refusal *refusal)
{
    if (parcel->data.text.at == NULL)
        return refuse(refusal, EVENT_INVALID_FIELD, "data: is required");
    if (parcel->type == PARCEL_BATCH && parcel->data.kind != JSON_ARRAY)
        return refuse(refusal, EVENT_INVALID_FIELD, "data: must be an array of events");
    return EVENT_ACCEPTED;
}

static enum event_code refuse_syntax(const struct wrapping *wrapping, struct refusal *refusal)
{
    snprintf(refusal->message, sizeof refusal->message,
             "message: not a JSON object: wrong at byte %zu", wrapping->at);
    return refusal->code = EVENT_INVALID_JSON;
}

enum event_code parcel_read(struct span text, struct parcel *out, struct span *id,
                            struct refusal *refusal)
{
    struct wrapping wrapping = {.text = text, .bare = true};
    struct parcel parcel = {.text = text};
    *id = (struct span){NULL, 0};
    if (UNLIKELY(!take_object(&wrapping)))
        return refuse_syntax(&wrapping, refusal);
    parcel.data = wrapping.data;
    parcel.bare = wrapping.bare;
    enum event_code code = judge_type(&wrapping.type, &parcel.type, refusal);
    if (LIKELY(code == EVENT_ACCEPTED))
        code = judge_data(&parcel, refusal);
    if (LIKELY(code == EVENT_ACCEPTED))
        *out = parcel;
    else
        *id = find_id(&wrapping.data);
    return code;
}
