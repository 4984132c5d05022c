/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be known of a stream's rows before there is one: how long they get, and what has to be
 * looked for in the data. The encoder (batch/copy.c) works by it for every event.
 */
#include "proto/stream_text.h"

/* What `column` takes at most, its length word included, apart from what data gives it. */
static size_t bytes_fixed(const struct column *column)
{
    static const unsigned char bytes[] = {
        [COLUMN_TEXT] = 4 + EVENT_TEXT_MAX,
        [COLUMN_BIGINT] = 4 + 8,
        [COLUMN_INTEGER] = 4 + 4,
        [COLUMN_DOUBLE] = 4 + 8,
        [COLUMN_NUMERIC] = 4 + 8 + 2 * (EVENT_TEXT_MAX / 4 + 2),
        [COLUMN_BOOLEAN] = 4 + 1,
        [COLUMN_TIMESTAMPTZ] = 4 + 8,
        [COLUMN_UUID] = 4 + 16,
        [COLUMN_JSONB] = 4 + 1,
        [COLUMN_JSON] = 4 + 1,
    };
    size_t total = bytes[column->type];
    bool json = column->type == COLUMN_JSONB || column->type == COLUMN_JSON;
    for (unsigned i = 0; json && i < column->froms; i++)
        if (column->from[i].source <= FROM_ROOM_ID) /* a JSON string, \u00XX for every byte */
            return total + 2 + 6 * EVENT_TEXT_MAX;
    return total;
}

/* Is what `outer` names the same as, or around, what `inner` names? NULL: the whole data. */
static bool path_holds(const char *outer, const char *inner)
{
    if (outer == NULL)
        return true;
    size_t length = strlen(outer);
    return inner != NULL && strncmp(outer, inner, length) == 0 &&
           (inner[length] == 0 || inner[length] == '.');
}

/* How many columns can hold the byte at the deepest place that `path` names? */
static unsigned overlap_at(const struct stream *stream, const char *path)
{
    unsigned columns = 0;
    for (unsigned i = 0; i < stream->columns; i++) {
        const struct column *column = &stream->column[i];
        for (unsigned k = 0; k < column->froms; k++) {
            if (column->from[k].source >= FROM_DATA && path_holds(column->from[k].path, path)) {
                columns++;
                break;
            }
        }
    }
    return columns;
}

/*
 * Members of data are nested or apart, never crossing. So the columns
 * that can hold one and the same byte name places that lie around each other,
 * and the most there can be are found at one of the places named.
 */
static void bound_row(struct stream *stream)
{
    stream->row_bytes_fixed = 2;
    for (unsigned i = 0; i < stream->columns; i++) {
        const struct column *column = &stream->column[i];
        stream->row_bytes_fixed += bytes_fixed(column);
        for (unsigned k = 0; k < column->froms; k++) {
            if (column->from[k].source < FROM_DATA)
                continue;
            unsigned overlap = overlap_at(stream, column->from[k].path);
            if (overlap > stream->data_overlap)
                stream->data_overlap = overlap;
        }
    }
}

/* Lists what members of the data the columns begin their paths with, so that one walk finds all. */
static void list_steps(struct stream *stream)
{
    for (unsigned i = 0; i < stream->columns; i++) {
        for (unsigned k = 0; k < stream->column[i].froms; k++) {
            const char *path = stream->column[i].from[k].path;
            if (path == NULL)
                continue;
            struct span step = span_of(path, strcspn(path, "."));
            unsigned index = 0;
            while (index < stream->steps && !span_equal(stream->step[index], step))
                index++;
            stream->step[index] = step;
            stream->steps += index == stream->steps;
            stream->column[i].from[k].step = (uint8_t)index;
            stream->column[i].from[k].rest =
                path[step.length] == '.' ? path + step.length + 1 : NULL;
        }
    }
}

void stream_plan(struct stream *stream)
{
    bound_row(stream);
    list_steps(stream);
}
