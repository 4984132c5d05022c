/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is stored as an event's data. Members at the top
 * that the envelope does not know are kept under `_extra`:
 *
 *   data is an object   {"a":1}   →   {"a":1,"_extra":{"x":2}}   (_extra2, _extra3 … if taken)
 *   data is absent                →   {"_extra":{"x":2}}
 *   data is another     [1]       →   {"_data":[1],"_extra":{"x":2}}
 */
#include "proto/event.h"

#include <stdio.h>

/* All that is written around data and extras: {"_data": ,"_extra4294967295":{ }} */
enum { WRAPPING_BYTES = 48, NAME_BYTES = 24 };

size_t event_data_bytes_max(const struct event *event)
{
    size_t bytes = event->data.text.length;
    for (unsigned i = 0; i < event->extras; i++)
        bytes += event->extra[i].length + 1;
    return bytes + (event->extras > 0 ? WRAPPING_BYTES : 0);
}

static uint8_t *put(uint8_t *to, const void *bytes, size_t length)
{
    memcpy(to, bytes, length);
    return to + length;
}

static uint8_t *put_text(uint8_t *to, const char *text)
{
    return put(to, text, strlen(text));
}

/* 1 for "_extra", n for "_extran"; 0: it is neither, or nothing that we would choose. */
static uint32_t number_of(struct span name, bool escaped)
{
    static const char extra[] = "_extra";
    enum { DIGITS_MAX = 9 };
    uint8_t decoded[6 * NAME_BYTES];
    size_t prefix = sizeof extra - 1;
    if (escaped && name.length <= sizeof decoded)
        name = span_of(decoded, json_unescape(name, decoded));
    if (name.length < prefix || name.length > prefix + DIGITS_MAX ||
        memcmp(name.at, extra, prefix) != 0)
        return 0;
    uint32_t number = name.length == prefix;
    if (number == 0 && name.at[prefix] == '0')
        return 0;
    for (size_t i = prefix; i < name.length; i++) {
        if (!(name.at[i] >= '0' && name.at[i] <= '9'))
            return 0;
        number = number * 10 + (uint32_t)(name.at[i] - '0');
    }
    return number == 1 && name.length > prefix ? 0 : number;
}

/* "_extra", or the first _extra2, _extra3 … that data has no member of; if it has all of the first 64,
 * the one behind its last. One look at each member: who has so many means no good. */
static void choose_name(const struct json_value *data, char name[NAME_BYTES])
{
    uint64_t taken = 0; /* bit n - 1: n is */
    uint32_t last = 0;
    struct json_value member;
    struct span name_taken;
    memcpy(name, "_extra", sizeof "_extra");
    if (data->text.at == NULL || data->kind != JSON_OBJECT)
        return;
    struct json_walk walk = json_walk(data->text);
    while (json_next(&walk, &name_taken, &member)) {
        uint32_t number = number_of(name_taken, walk.name_escaped);
        if (number >= 1 && number <= 64)
            taken |= (uint64_t)1 << (number - 1);
        last = number > last ? number : last;
    }
    uint32_t number = ~taken == 0 ? last + 1 : (uint32_t)__builtin_ctzll(~taken) + 1;
    if (number > 1)
        snprintf(name, NAME_BYTES, "_extra%u", number);
}

/* The opening bracket and what data adds, up to where the name of the extras goes. */
static uint8_t *put_before(uint8_t *to, const struct json_value *data)
{
    if (data->text.at == NULL)
        return put_text(to, "{");
    if (data->kind != JSON_OBJECT) {
        to = put(put_text(to, "{\"_data\":"), data->text.at, data->text.length);
        return put_text(to, ",");
    }
    struct json_walk walk = json_walk(data->text);
    struct json_value member;
    struct span name;
    to = put(to, data->text.at, data->text.length - 1);
    return json_next(&walk, &name, &member) ? put_text(to, ",") : to;
}

size_t event_put_data(const struct event *event, uint8_t *out)
{
    char name[NAME_BYTES];
    if (LIKELY(event->extras == 0)) {
        if (event->data.text.length > 0)
            memcpy(out, event->data.text.at, event->data.text.length);
        return event->data.text.length;
    }
    choose_name(&event->data, name);
    uint8_t *to = put_before(out, &event->data);
    to = put_text(put_text(put_text(to, "\""), name), "\":{");
    for (unsigned i = 0; i < event->extras; i++) {
        to = i > 0 ? put_text(to, ",") : to;
        to = put(to, event->extra[i].at, event->extra[i].length);
    }
    return (size_t)(put_text(to, "}}") - out);
}
