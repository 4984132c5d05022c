/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The row of nearly every event is made of texts of the envelope, two times and the data as it
 * stands: put_column() does these in a few instructions each and hands all else to put_other(),
 * which looks for the member, then puts it as the column's type asks. Short texts are copied by
 * overlapping words rather than by a call.
 *
 * Nothing is checked against the room at `out`: copy_row_bytes_max() holds by the limits of the
 * envelope (EVENT_TEXT_MAX) and by stream->data_overlap.
 */
#include "batch/copy.h"
#include "batch/big_endian.h"
#include "batch/copy_value.h"

#include <stdio.h>

const uint8_t copy_header[COPY_HEADER_BYTES] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0";
const uint8_t copy_trailer[COPY_TRAILER_BYTES] = {0xff, 0xff};

enum {
    NULL_LENGTH = -1,
    JSONB_VERSION = 1,
    UNESCAPED_MAX =
        256, /* a string with escapes, for a column that is not text: times, numbers, UUIDs */
};

/* What the row is made of. */
struct row {
    const struct event *event;
    struct span id;
    int64_t received_us;
    struct refusal *refusal;
};

size_t copy_row_bytes_max(const struct stream *stream, const struct event *event)
{
    return stream->row_bytes_fixed + stream->data_overlap * event_data_bytes_max(event);
}

/* ── Refusing ───────────────────────────────────────────────────────────────────────────────── */

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

/* ── Putting ────────────────────────────────────────────────────────────────────────────────── */

static inline uint8_t *put_null(uint8_t *at)
{
    return put_be32(at, (uint32_t)NULL_LENGTH);
}

/* Two copies of a fixed size that may overlap are one copy of any size between the one and the two.
 */
static inline void copy_short(uint8_t *to, const uint8_t *from, size_t length)
{
    if (length >= 16) {
        for (size_t i = 0; i + 16 < length; i += 16)
            memcpy(to + i, from + i, 16);
        memcpy(to + length - 16, from + length - 16, 16);
    } else if (length >= 8) {
        memcpy(to, from, 8);
        memcpy(to + length - 8, from + length - 8, 8);
    } else if (length >= 4) {
        memcpy(to, from, 4);
        memcpy(to + length - 4, from + length - 4, 4);
    } else if (length > 0) {
        to[0] = from[0];
        to[length / 2] = from[length / 2];
        to[length - 1] = from[length - 1];
    }
}

/* A text of the envelope: at most EVENT_TEXT_MAX bytes, decoded, storable (event_parse() has seen
 * to it). */
static inline uint8_t *put_member(uint8_t *at, struct span text)
{
    must(text.length <= EVENT_TEXT_MAX);
    at = put_be32(at, (uint32_t)text.length);
    copy_short(at, text.at, text.length);
    return at + text.length;
}

static inline uint8_t *put_time(uint8_t *at, int64_t us)
{
    at = put_be32(at, sizeof us);
    return put_be64(at, (uint64_t)(us - COPY_EPOCH_US));
}

/* Behind the length word at `at` lie `length` bytes: fills it in. */
static inline uint8_t *put_length(uint8_t *at, size_t length)
{
    return put_be32(at, (uint32_t)length) + length;
}

static inline struct span member(const struct row *row, enum column_source source)
{
    static const size_t place[] = {
        [FROM_ID] = offsetof(struct event, id),
        [FROM_TYPE] = offsetof(struct event, type),
        [FROM_TENANT_ID] = offsetof(struct event, tenant_id),
        [FROM_USER_ID] = offsetof(struct event, user_id),
        [FROM_PROJECT_ID] = offsetof(struct event, project_id),
        [FROM_SESSION_ID] = offsetof(struct event, session_id),
        [FROM_ROOM_ID] = offsetof(struct event, room_id),
    };
    struct span text;
    memcpy(&text, (const uint8_t *)row->event + place[source], sizeof text);
    return source == FROM_ID && text.at == NULL ? row->id : text;
}

static inline int64_t time_of(const struct row *row, enum column_source source)
{
    bool own = source == FROM_TIMESTAMP && row->event->has_timestamp;
    return own ? row->event->timestamp_us : row->received_us;
}

/* jsonb and json keep the data's text; jsonb leads it with its version. */
static uint8_t *put_data(const struct row *row, const struct column *column, unsigned from,
                         uint8_t *at)
{
    bool binary = column->type == COLUMN_JSONB;
    unsigned flaws = binary ? row->event->data.flaws : 0;
    if (UNLIKELY(flaws & (JSON_HAS_NUL | JSON_HAS_LONE_SURROGATE)))
        return refuse_text(row, column, from);
    if (UNLIKELY(flaws & JSON_HAS_HUGE_NUMBER))
        return refuse_value(row, column, from);
    uint8_t *text = at + sizeof(uint32_t);
    *text = JSONB_VERSION;
    size_t length = event_put_data(row->event, text + binary);
    return put_length(at, length + binary);
}

/* ── Members of all kinds into columns of all types ─────────────────────────────────────────── */

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
        memcpy(to, "\\u00", 4);
        to[4] = (uint8_t)hex[byte >> 4];
        to[5] = (uint8_t)hex[byte & 15];
        to += 6;
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
        *at = json ? put_data(row, column, from, *at) : put_whole_data(row, column, from, *at);
        return true;
    }
    if (source == FROM_DATA_MEMBER) {
        struct json_value value;
        if (data->text.at == NULL || data->kind != JSON_OBJECT ||
            !json_find(data->text, column->from[from].path, &value) || value.kind == JSON_NULL)
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

static uint8_t *put_other(const struct row *row, const struct column *column, uint8_t *at)
{
    for (unsigned from = 0; from < column->froms; from++)
        if (put_from(row, column, from, &at))
            return at;
    return column->required ? refuse_absent(row, column) : put_null(at);
}

static inline uint8_t *put_column(const struct row *row, const struct column *column, uint8_t *at)
{
    enum column_source source = column->from[0].source;
    if (column->type == COLUMN_TEXT && source <= FROM_ROOM_ID) {
        struct span text = member(row, source);
        if (text.at != NULL)
            return put_member(at, text);
        if (column->froms == 1 && !column->required)
            return put_null(at);
    } else if (column->type == COLUMN_TIMESTAMPTZ && source <= FROM_RECEIVED_AT &&
               source >= FROM_TIMESTAMP) {
        return put_time(at, time_of(row, source));
    }
    return put_other(row, column, at);
}

size_t copy_row(const struct stream *stream, const struct event *event, struct span id,
                int64_t received_us, uint8_t *out, struct refusal *refusal)
{
    struct row row = {event, id, received_us, refusal};
    uint8_t *at = put_be16(out, (uint16_t)stream->columns);
    for (unsigned i = 0; i < stream->columns; i++) {
        at = put_column(&row, &stream->column[i], at);
        if (UNLIKELY(at == NULL))
            return 0;
    }
    return (size_t)(at - out);
}

size_t copy_row_length(const uint8_t *row, size_t room)
{
    if (room < sizeof(uint16_t))
        return 0;
    uint16_t columns = get_be16(row);
    size_t at = sizeof columns;
    if (columns == 0 || columns > STREAM_COLUMNS_MAX)
        return 0;
    for (; columns > 0; columns--) {
        if (room - at < sizeof(uint32_t))
            return 0;
        int32_t length = (int32_t)get_be32(row + at);
        at += sizeof length;
        if (length < NULL_LENGTH || (length > 0 && (size_t)length > room - at))
            return 0;
        at += length > 0 ? (size_t)length : 0;
    }
    return at;
}
