/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The row of nearly every event is made of texts of the envelope,
 * two times and the data as it stands: put_column() does the former in a few
 * instructions each and leaves all else to copy_other(). A stream that looks
 * into the data in several places has it walked once, for all of them.
 *
 * Nothing is checked against the room at `out`: copy_row_bytes_max() holds by the limits of the
 * envelope (EVENT_TEXT_MAX) and by stream->data_overlap.
 */
#include "batch/copy.h"
#include "batch/copy_row.h"

const uint8_t copy_header[COPY_HEADER_BYTES] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0";
const uint8_t copy_trailer[COPY_TRAILER_BYTES] = {0xff, 0xff};

size_t copy_row_bytes_max(const struct stream *stream, const struct event *event)
{
    return stream->row_bytes_fixed + stream->data_overlap * event_data_bytes_max(event);
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
    return copy_other(row, column, at);
}

/*
 * One walk of the data finds the first steps of all paths; the last of a name holds. False: a name
 * with escapes in it, which only json_find() can compare.
 */
static bool find_steps(const struct stream *stream, struct span data, struct json_value *steps)
{
    for (unsigned i = 0; i < stream->steps; i++)
        steps[i].text.at = NULL;
    struct json_walk walk = json_walk(data);
    struct json_value value;
    struct span name;
    while (json_next(&walk, &name, &value)) {
        if (walk.name_escaped)
            return false;
        for (unsigned i = 0; i < stream->steps; i++) {
            if (span_equal(stream->step[i], name)) {
                steps[i] = value;
                break;
            }
        }
    }
    return true;
}

static size_t put_row(const struct stream *stream, const struct row *row, uint8_t *out)
{
    uint8_t *at = put_be16(out, (uint16_t)stream->columns);
    for (unsigned i = 0; i < stream->columns; i++) {
        at = put_column(row, &stream->column[i], at);
        if (UNLIKELY(at == NULL))
            return 0;
    }
    return (size_t)(at - out);
}

/* For a stream that looks into the data in several places. */
__attribute__((noinline)) static size_t put_row_of_steps(const struct stream *stream,
                                                         struct row row, uint8_t *out)
{
    struct json_value steps[2 * STREAM_COLUMNS_MAX];
    if (find_steps(stream, row.event->data.text, steps))
        row.steps = steps;
    return put_row(stream, &row, out);
}

size_t copy_row(const struct stream *stream, const struct event *event, struct span id,
                int64_t received_us, uint8_t *out, struct refusal *refusal)
{
    struct row row = {event, id, received_us, refusal, NULL};
    bool object = event->data.text.at != NULL && event->data.kind == JSON_OBJECT;
    if (stream->steps > 1 && object)
        return put_row_of_steps(stream, row, out);
    return put_row(stream, &row, out);
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
        if (length < COPY_NULL || (length > 0 && (size_t)length > room - at))
            return 0;
        at += length > 0 ? (size_t)length : 0;
    }
    return at;
}
