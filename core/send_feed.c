/* SPDX-License-Identifier: Apache-2.0 */
#include "core/send_feed.h"

#include "proto/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { GROWTH_MAX = 160 }; /* what an id, or its suffix, may add to a line */

/* Where a line lies, and where in it an id ends (before its closing quote), or 0. */
struct line {
    size_t offset;
    uint32_t length, id_end;
    bool numeric_id, object;
};

struct send_feed {
    struct buf text;
    struct line *line;
    uint64_t lines, room;
    bool give_ids;
    char run[33];
};

static bool is_id(struct span name)
{
    return span_is(name, "id") || span_is(name, "eventId") || span_is(name, "event_id");
}

/* Bad lines are sent as they are: the server has to judge them. */
static void find_id(struct send_feed *feed, struct line *line)
{
    struct span text = span_of(feed->text.at + line->offset, line->length), name;
    struct json_value value, member;
    size_t fault;
    if (json_document(text, &value, &fault) != 0 || value.kind != JSON_OBJECT)
        return;
    line->object = true;
    struct json_walk walk = json_walk(value.text);
    while (json_next(&walk, &name, &member)) {
        if (!is_id(name) || (member.kind != JSON_STRING && member.kind != JSON_NUMBER))
            continue;
        line->numeric_id = member.kind == JSON_NUMBER;
        line->id_end =
            (uint32_t)(member.text.at + member.text.length - text.at) - (line->numeric_id ? 0 : 1);
    }
}

static bool add_line(struct send_feed *feed, size_t offset, size_t length)
{
    while (length > 0 && (feed->text.at[offset + length - 1] == '\r' ||
                          feed->text.at[offset + length - 1] == ' '))
        length--;
    if (length == 0)
        return true;
    if (feed->lines == feed->room) {
        uint64_t room = feed->room == 0 ? 1024 : feed->room * 2;
        struct line *line = realloc(feed->line, room * sizeof *line);
        if (line == NULL)
            return false;
        feed->line = line;
        feed->room = room;
    }
    struct line *line = &feed->line[feed->lines++];
    *line = (struct line){.offset = offset, .length = (uint32_t)length};
    find_id(feed, line);
    return true;
}

static bool read_file(struct send_feed *feed, const char *name)
{
    FILE *file = strcmp(name, "-") == 0 ? stdin : fopen(name, "rb");
    if (file == NULL) {
        fprintf(stderr, "ringmain send: %s: %s\n", name, strerror(errno));
        return false;
    }
    uint8_t chunk[65536];
    size_t got;
    bool good = true;
    while (good && (got = fread(chunk, 1, sizeof chunk, file)) > 0)
        good = buf_put(&feed->text, chunk, got);
    good = good && buf_put(&feed->text, "\n", 1);
    if (!good || ferror(file))
        fprintf(stderr, "ringmain send: %s: %s\n", name, good ? strerror(errno) : "no memory");
    good = good && !ferror(file);
    if (file != stdin)
        fclose(file);
    return good;
}

static bool split(struct send_feed *feed)
{
    size_t start = 0;
    for (size_t i = 0; i < feed->text.length; i++) {
        if (feed->text.at[i] != '\n')
            continue;
        if (!add_line(feed, start, i - start))
            return false;
        start = i + 1;
    }
    return true;
}

struct send_feed *send_feed_open(const char *const *files, unsigned count, bool give_ids,
                                 const char *run)
{
    struct send_feed *feed = calloc(1, sizeof *feed);
    if (feed == NULL)
        return NULL;
    buf_init(&feed->text, (size_t)1 << 40);
    feed->give_ids = give_ids;
    snprintf(feed->run, sizeof feed->run, "%s", run);
    bool good = true;
    for (unsigned i = 0; good && i < count; i++)
        good = read_file(feed, files[i]);
    if (good && split(feed) && feed->lines > 0)
        return feed;
    if (good)
        fprintf(stderr, "ringmain send: there is no event in the input\n");
    send_feed_close(feed);
    return NULL;
}

void send_feed_close(struct send_feed *feed)
{
    if (feed == NULL)
        return;
    buf_fini(&feed->text);
    free(feed->line);
    free(feed);
}

uint64_t send_feed_lines(const struct send_feed *feed)
{
    return feed->lines;
}

static uint8_t *put_bytes(uint8_t *to, const void *bytes, size_t length)
{
    memcpy(to, bytes, length);
    return to + length;
}

static uint8_t *put_digits(uint8_t *to, uint64_t number)
{
    char digits[20];
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    return put_bytes(to, digits + at, sizeof digits - at);
}

/* The usual line: the suffix goes behind its text.
 * A load generator must not cost more than what it measures. */
static bool put_suffixed(struct buf *out, const struct line *line, const uint8_t *at, uint64_t pass)
{
    uint8_t *begin = buf_room(out, line->length + (size_t)GROWTH_MAX);
    if (begin == NULL)
        return false;
    uint8_t *to = put_bytes(begin, at, line->id_end);
    to = put_digits(put_bytes(to, "-r", 2), pass);
    to = put_bytes(to, at + line->id_end, line->length - line->id_end);
    buf_grew(out, (size_t)(to - begin));
    return true;
}

/* A number cannot carry the suffix: it becomes a string, which the server reads alike. */
static bool put_numeric(struct buf *out, const struct line *line, const uint8_t *at, uint64_t pass)
{
    uint32_t begin = line->id_end;
    while (begin > 0 && at[begin - 1] >= '0' && at[begin - 1] <= '9')
        begin--;
    return buf_put(out, at, begin) && buf_put(out, "\"", 1) &&
           buf_put(out, at + begin, line->id_end - begin) &&
           buf_print(out, "-r%llu\"", (unsigned long long)pass);
}

bool send_feed_put(const struct send_feed *feed, uint64_t index, struct buf *out)
{
    const struct line *line = &feed->line[index % feed->lines];
    const uint8_t *at = feed->text.at + line->offset;
    uint64_t pass = index / feed->lines;
    uint32_t from = line->id_end;
    if (line->id_end > 0 && pass > 0) {
        if (!line->numeric_id)
            return put_suffixed(out, line, at, pass);
        if (!put_numeric(out, line, at, pass))
            return false;
    } else if (line->id_end == 0 && line->object && feed->give_ids) {
        bool empty = memchr(at, ':', line->length) == NULL;
        if (!buf_print(out, "{\"id\":\"%s-%llu\"%s", feed->run, (unsigned long long)index,
                       empty ? "" : ","))
            return false;
        from = 1;
    } else {
        from = 0;
    }
    return buf_put(out, at + from, line->length - from);
}
