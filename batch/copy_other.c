/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The columns that want more than a few instructions: the member is looked for (in the envelope, in
 * the data, by a path within it; null counts as absent, then the second place is tried), then put
 * as the column's type asks. What does not fit is refused with the member's name and what would
 * fit, in words for the producer.
 */
#include "batch/copy_row.h"

#include <stdio.h>

enum {
    JSONB_VERSION = 1,
    UNESCAPED_MAX = 256, /* a string with escapes that is a time, a number or a UUID */
    ESCAPE = 0x5c753030, /* "\\u00" */
};

/* What the member at `from` is called in messages. */
static void print_member(const struct column *column, unsigned from, char *out, size_t room)
{
    static const char *const word[] = {
        [FROM_ID] = "id",
        [FROM_TYPE] = "type",
        [FROM_TENANT_ID] = "tenantId",
        [FROM_USER_ID] = "userId",
        [FROM_PROJECT_ID] = "projectId",
        [FROM_SESSION_ID] = "sessionId",
        [FROM_ROOM_ID] = "roomId",
        [FROM_TIMESTAMP] = "timestamp",
        [FROM_RECEIVED_AT] = "receivedAt",
        [FROM_DATA] = "data",
    };
    if (column->from[from].source == FROM_DATA_MEMBER)
        snprintf(out, room, "data.%s", column->from[from].path);
    else
        snprintf(out, room, "%s", word[column->from[from].source]);
}

static uint8_t *refuse_value(const struct row *row, const struct column *column, unsigned from)
{
    char member[48];
    print_member(column, from, member, sizeof member);
    row->refusal->code = EVENT_INVALID_FIELD;
    snprintf(row->refusal->message, sizeof row->refusal->message, "%s: must be %s (%s)", member,
             copy_value_allowed(column->type), column_type_sql(column->type));
    return NULL;
}

static uint8_t *refuse_absent(const struct row *row, const struct column *column)
{
    char member[64];
    print_member(column, 0, member, sizeof member);
    row->refusal->code = EVENT_INVALID_FIELD;
    snprintf(row->refusal->message, sizeof row->refusal->message, "%s: is required (%s)", member,
             column_type_sql(column->type));
    return NULL;
}

static uint8_t *refuse_text(const struct row *row, const struct column *column, unsigned from)
{
    char member[64];
    print_member(column, from, member, sizeof member);
    row->refusal->code = EVENT_UNSTORABLE_TEXT;
    snprintf(row->refusal->message, sizeof row->refusal->message,
             "%s: holds \\u0000 or half a surrogate pair, which %s can't store", member,
             column_type_sql(column->type));
    return NULL;
}

/* The data and what is merged into it, as jsonb. */
static uint8_t *refuse_data(const struct row *row, const struct column *column, unsigned flaws)
{
    enum { NAME_SHOWN = 64 };
    struct refusal *refusal = row->refusal;
    struct span member = event_flawed(row->event);
    bool text = (flaws & (JSON_HAS_NUL | JSON_HAS_LONE_SURROGATE)) != 0;
    member.length = member.length < NAME_SHOWN ? member.length : NAME_SHOWN;
    refusal->code = text ? EVENT_UNSTORABLE_TEXT : EVENT_INVALID_FIELD;
    snprintf(refusal->message, sizeof refusal->message, "%.*s: holds %s, which %s can't store",
             SPAN_ARGS(member),
             text ? "\\u0000 or half a surrogate pair" : "a number with too many digits",
             column_type_sql(column->type));
    return NULL;
}

/* ── Putting ────────────────────────────────────────────────────────────────────────────────── */

/* jsonb and json keep the data's text; jsonb leads it with its version. */
static uint8_t *put_data(const struct row *row, const struct column *column, uint8_t *at)
{
    bool binary = column->type == COLUMN_JSONB;
    unsigned flaws = binary ? row->event->data.flaws : 0;
    if (UNLIKELY(flaws != 0))
        return refuse_data(row, column, flaws);
    uint8_t *text = at + sizeof(uint32_t);
    *text = JSONB_VERSION;
    size_t length = event_put_data(row->event, text + binary);
    return put_length(at, length + binary);
}

static uint8_t *put_json(const struct row *row, const struct column *column, unsigned from,
                         const struct json_value *value, uint8_t *at)
{
    bool binary = column->type == COLUMN_JSONB;
    if (binary && (value->flaws & (JSON_HAS_NUL | JSON_HAS_LONE_SURROGATE)))
        return refuse_text(row, column, from);
    if (binary && (value->flaws & JSON_HAS_HUGE_NUMBER))
        return refuse_value(row, column, from);
    uint8_t *text = at + sizeof(uint32_t);
    *text = JSONB_VERSION;
    memcpy(text + binary, value->text.at, value->text.length);
    return put_length(at, value->text.length + binary);
}

/* A text of the envelope as a JSON string. */
static uint8_t *put_quoted(const struct column *column, struct span text, uint8_t *at)
{
    static const char hex[] = "0123456789abcdef";
    uint8_t *to = at + sizeof(uint32_t);
    if (column->type == COLUMN_JSONB)
        *to++ = JSONB_VERSION;
    *to++ = '"';
    for (size_t i = 0; i < text.length; i++) {
        uint8_t byte = text.at[i];
        if (byte == '"' || byte == '\\')
            *to++ = '\\';
        if (byte >= ' ') {
            *to++ = byte;
            continue;
        }
        to = put_be32(to, ESCAPE);
        *to++ = (uint8_t)hex[byte >> 4];
        *to++ = (uint8_t)hex[byte & 15];
    }
    *to++ = '"';
    return put_length(at, (size_t)(to - at) - sizeof(uint32_t));
}

static struct span inside_quotes(const struct json_value *value)
{
    return (struct span){value->text.at + 1, value->text.length - 2};
}

/* A text column takes a string decoded, anything else as it is written. */
static uint8_t *put_text(const struct row *row, const struct column *column, unsigned from,
                         const struct json_value *value, uint8_t *at)
{
    uint8_t *to = at + sizeof(uint32_t);
    struct span text = value->text;
    if (value->kind == JSON_STRING) {
        if (value->flaws & (JSON_HAS_NUL | JSON_HAS_LONE_SURROGATE))
            return refuse_text(row, column, from);
        text = inside_quotes(value);
        if (value->escaped)
            return put_length(at, json_unescape(text, to));
    }
    memcpy(to, text.at, text.length);
    return put_length(at, text.length);
}

static uint8_t *put_value(const struct row *row, const struct column *column, unsigned from,
                          enum json_kind kind, struct span text, uint8_t *at)
{
    size_t length = copy_value(column->type, kind, text, at + sizeof(uint32_t));
    return length > 0 ? put_length(at, length) : refuse_value(row, column, from);
}

static uint8_t *put_data_value(const struct row *row, const struct column *column, unsigned from,
                               const struct json_value *value, uint8_t *at)
{
    if (column->type == COLUMN_JSONB || column->type == COLUMN_JSON)
        return put_json(row, column, from, value, at);
    if (column->type == COLUMN_TEXT)
        return put_text(row, column, from, value, at);
    if (value->kind != JSON_STRING)
        return put_value(row, column, from, value->kind, value->text, at);
    struct span text = inside_quotes(value);
    uint8_t unescaped[UNESCAPED_MAX];
    if (value->escaped) {
        if (text.length > sizeof unescaped || value->flaws != 0)
            return refuse_value(row, column, from);
        text = span_of(unescaped, json_unescape(text, unescaped));
    }
    return put_value(row, column, from, JSON_STRING, text, at);
}

/* All of the data, extras included, into a column that is not JSON. */
static uint8_t *put_whole_data(const struct row *row, const struct column *column, unsigned from,
                               uint8_t *at)
{
    const struct event *event = row->event;
    if (column->type != COLUMN_TEXT || event->extras == 0)
        return put_data_value(row, column, from, &event->data, at);
    return put_length(at, event_put_data(event, at + sizeof(uint32_t)));
}

static uint8_t *put_member_value(const struct row *row, const struct column *column, unsigned from,
                                 struct span text, uint8_t *at)
{
    if (column->type == COLUMN_TEXT)
        return put_member(at, text);
    must(text.length <= EVENT_TEXT_MAX);
    if (column->type == COLUMN_JSONB || column->type == COLUMN_JSON)
        return put_quoted(column, text, at);
    return put_value(row, column, from, JSON_STRING, text, at);
}

static uint8_t *put_time_value(const struct column *column, int64_t us, uint8_t *at)
{
    if (column->type == COLUMN_TIMESTAMPTZ)
        return put_time(at, us);
    char text[EVENT_TIME_BYTES];
    event_time_print(us, text);
    return put_member(at, span_of(text, sizeof text));
}

static bool find_member(const struct row *row, const struct column *column, unsigned from,
                        struct json_value *out)
{
    const struct json_value *data = &row->event->data;
    if (data->text.at == NULL || data->kind != JSON_OBJECT)
        return false;
    if (row->steps == NULL)
        return json_find(data->text, column->from[from].path, out);
    const struct json_value *step = &row->steps[column->from[from].step];
    if (step->text.at == NULL)
        return false;
    const char *rest = column->from[from].rest;
    if (rest != NULL)
        return step->kind == JSON_OBJECT && json_find(step->text, rest, out);
    *out = *step;
    return true;
}

/* Is there a value but null? Then it is put and *at steps behind it, or becomes NULL: refused. */
static bool put_from(const struct row *row, const struct column *column, unsigned from,
                     uint8_t **at)
{
    enum column_source source = column->from[from].source;
    const struct json_value *data = &row->event->data;
    if (source == FROM_TIMESTAMP || source == FROM_RECEIVED_AT) {
        *at = put_time_value(column, time_of(row, source), *at);
        return true;
    }
    if (source == FROM_DATA) {
        bool json = column->type == COLUMN_JSONB || column->type == COLUMN_JSON;
        bool none = data->text.at == NULL || data->kind == JSON_NULL;
        if (none && (row->event->extras == 0 || (!json && column->type != COLUMN_TEXT)))
            return false;
        *at = json ? put_data(row, column, *at) : put_whole_data(row, column, from, *at);
        return true;
    }
    if (source == FROM_DATA_MEMBER) {
        struct json_value value;
        if (!find_member(row, column, from, &value) || value.kind == JSON_NULL)
            return false;
        *at = put_data_value(row, column, from, &value, *at);
        return true;
    }
    struct span text = member(row, source);
    if (text.at == NULL)
        return false;
    *at = put_member_value(row, column, from, text, *at);
    return true;
}

uint8_t *copy_other(const struct row *row, const struct column *column, uint8_t *at)
{
    for (unsigned from = 0; from < column->froms; from++)
        if (put_from(row, column, from, &at))
            return at;
    return column->required ? refuse_absent(row, column) : put_null(at);
}
