/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/http_request.h"

#include <strings.h>

static struct span piece(const struct http_request *request, struct http_piece where)
{
    return span_of(request->head + where.at, where.length);
}

static struct http_piece place(const struct http_request *request, struct span text)
{
    return (struct http_piece){(uint16_t)(text.at - request->head), (uint16_t)text.length};
}

bool http_same(struct span a, struct span b)
{
    return a.length == b.length &&
           (a.length == 0 || strncasecmp((const char *)a.at, (const char *)b.at, a.length) == 0);
}

struct span http_method(const struct http_request *request)
{
    return piece(request, request->method);
}

struct span http_path(const struct http_request *request)
{
    return piece(request, request->path);
}

static struct span trim(struct span text)
{
    while (text.length > 0 && (text.at[0] == ' ' || text.at[0] == '\t'))
        text = span_from(text, 1);
    while (text.length > 0 && (text.at[text.length - 1] == ' ' || text.at[text.length - 1] == '\t'))
        text.length--;
    return text;
}

struct span http_header_next(const struct http_request *request, const char *name, unsigned *cursor)
{
    struct span wanted = span_of_string(name);
    while (*cursor < request->fields) {
        const struct http_field *field = &request->field[(*cursor)++];
        if (http_same(piece(request, field->name), wanted))
            return trim(piece(request, field->value));
    }
    return (struct span){NULL, 0};
}

struct span http_header(const struct http_request *request, const char *name)
{
    unsigned cursor = 0;
    return http_header_next(request, name, &cursor);
}

unsigned http_header_count(const struct http_request *request, const char *name)
{
    unsigned found = 0, cursor = 0;
    while (http_header_next(request, name, &cursor).at != NULL)
        found++;
    return found;
}

/* Cuts the front of `rest` off up to the separator, which is dropped. */
static struct span cut(struct span *rest, char separator)
{
    struct span front = *rest;
    const uint8_t *end = rest->length == 0 ? NULL : memchr(rest->at, separator, rest->length);
    if (end == NULL) {
        *rest = (struct span){NULL, 0};
        return front;
    }
    front.length = (size_t)(end - front.at);
    *rest = span_from(*rest, front.length + 1);
    return front;
}

static bool lists(struct span rest, struct span wanted)
{
    while (rest.at != NULL)
        if (http_same(trim(cut(&rest, ',')), wanted))
            return true;
    return false;
}

bool http_header_lists(const struct http_request *request, const char *name, const char *token)
{
    unsigned cursor = 0;
    struct span list;
    while ((list = http_header_next(request, name, &cursor)).at != NULL)
        if (lists(list, span_of_string(token)))
            return true;
    return false;
}

static int hex(uint8_t byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    uint8_t lower = byte | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* RFC 3986 2.1; in a query "+" is a space, as in forms.
 * A decoded NUL is refused: it would cut the text short. */
static bool decode(struct span text, bool form, char *out, size_t room)
{
    size_t length = 0;
    for (size_t i = 0; i < text.length; i++) {
        int byte = text.at[i];
        if (byte == '+' && form)
            byte = ' ';
        if (byte == '%') {
            int high = i + 2 < text.length ? hex(text.at[i + 1]) : -1;
            int low = high >= 0 ? hex(text.at[i + 2]) : -1;
            if (low < 0 || (byte = high << 4 | low) == 0)
                return false;
            i += 2;
        }
        if (length + 1 >= room)
            return false;
        out[length++] = (char)byte;
    }
    if (room == 0)
        return false;
    out[length] = '\0';
    return true;
}

static struct span find_parameter(const struct http_request *request, const char *name)
{
    struct span rest = piece(request, request->query);
    while (rest.at != NULL) {
        struct span value = cut(&rest, '&');
        struct span found = cut(&value, '=');
        if (span_is(found, name))
            return value.at != NULL ? value : span_from(found, found.length);
    }
    return (struct span){NULL, 0};
}

bool http_query(const struct http_request *request, const char *name, char *out, size_t room)
{
    struct span value = find_parameter(request, name);
    return value.at != NULL && decode(value, true, out, room);
}

int http_query_next(const struct http_request *request, const char *name, size_t *cursor, char *out,
                    size_t room)
{
    struct span rest = piece(request, request->query);
    size_t index = 0;
    while (rest.at != NULL) {
        struct span values = cut(&rest, '&');
        if (!span_is(cut(&values, '='), name))
            continue;
        while (values.at != NULL) {
            struct span value = cut(&values, ',');
            if (index++ < *cursor)
                continue;
            (*cursor)++;
            return decode(value, true, out, room) ? 1 : -1;
        }
    }
    return 0;
}

bool http_query_has(const struct http_request *request, const char *name)
{
    return find_parameter(request, name).at != NULL;
}

bool http_argument(const struct http_request *request, char *out, size_t room)
{
    return decode(piece(request, request->argument), false, out, room);
}

struct span http_token(const struct http_request *request)
{
    struct span value = http_header(request, "authorization");
    if (value.at == NULL)
        return find_parameter(request, "token");
    struct span scheme = cut(&value, ' ');
    return http_same(scheme, SPAN("bearer")) ? trim(value) : (struct span){NULL, 0};
}

/* absolute-form (RFC 9112 3.2.2): what stands before the path names us, and does not matter. */
static struct span skip_authority(struct span target)
{
    static const char *const scheme[] = {"http://", "https://"};
    for (size_t i = 0; i < COUNT_OF(scheme); i++) {
        size_t length = strlen(scheme[i]);
        if (target.length < length ||
            !http_same((struct span){target.at, length}, span_of_string(scheme[i])))
            continue;
        target = span_from(target, length);
        while (target.length > 0 && target.at[0] != '/' && target.at[0] != '?')
            target = span_from(target, 1);
        return target;
    }
    return target;
}

bool http_split_target(struct http_request *request)
{
    struct span target = piece(request, request->target);
    bool origin = target.length > 0 && target.at[0] == '/';
    struct span rest = origin ? target : skip_authority(target);
    if (!origin && rest.at == target.at && !span_is(target, "*"))
        return false;
    struct span fragment = rest;
    rest = rest.length > 0 ? cut(&fragment, '#') : rest;
    struct span query = rest;
    request->path = place(request, rest.length > 0 ? cut(&query, '?') : rest);
    request->query =
        query.at != NULL && rest.length > 0 ? place(request, query) : (struct http_piece){0, 0};
    return true;
}

bool http_path_fits(struct http_request *request, const char *pattern)
{
    struct span path = piece(request, request->path);
    const char *open = strchr(pattern, '{');
    if (open == NULL)
        return span_is(path, pattern);
    struct span before = span_of(pattern, (size_t)(open - pattern));
    struct span after = span_of_string(strchr(open, '}') + 1);
    if (path.length <= before.length + after.length ||
        !span_equal((struct span){path.at, before.length}, before) ||
        !span_equal(span_from(path, path.length - after.length), after))
        return false;
    struct span argument = {path.at + before.length, path.length - before.length - after.length};
    if (memchr(argument.at, '/', argument.length) != NULL)
        return false;
    request->argument = place(request, argument);
    return true;
}
