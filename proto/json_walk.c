/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is done with JSON that has been accepted: walk it, find a member,
 * decode a string. Malformed text is our own caller's bug, so nothing
 * is reported here; but nothing is read outside the span either.
 */
#include "proto/json_scan.h"

/* ── Strings ────────────────────────────────────────────────────────────────────────────────── */

static unsigned code_unit(const uint8_t *at)
{
    unsigned unit = 0;
    for (unsigned i = 0; i < 4; i++) {
        unsigned digit = at[i];
        unit = unit << 4 | (digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10);
    }
    return unit & 0xFFFF;
}

static unsigned put_utf8(unsigned code, uint8_t *out)
{
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (uint8_t)(0xC0 | code >> 6);
        out[1] = (uint8_t)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (uint8_t)(0xE0 | code >> 12);
        out[1] = (uint8_t)(0x80 | (code >> 6 & 0x3F));
        out[2] = (uint8_t)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (uint8_t)(0xF0 | code >> 18);
    out[1] = (uint8_t)(0x80 | (code >> 12 & 0x3F));
    out[2] = (uint8_t)(0x80 | (code >> 6 & 0x3F));
    out[3] = (uint8_t)(0x80 | (code & 0x3F));
    return 4;
}

/* The character of "\uXXXX" (and a second one, if they are a pair) at *at, which moves behind. */
static unsigned code_point(const uint8_t **at, const uint8_t *end)
{
    unsigned unit = code_unit(*at + 2);
    *at += 6;
    if (unit < 0xD800 || unit >= 0xDC00 || end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u')
        return unit;
    unsigned low = code_unit(*at + 2);
    if ((low & 0xFC00) != 0xDC00)
        return unit;
    *at += 6;
    return 0x10000 + ((unit & 0x3FF) << 10 | (low & 0x3FF));
}

/* Decodes the escape at *at, which moves behind it; how many bytes (1..4) were put. */
static unsigned put_escape(const uint8_t **at, const uint8_t *end, uint8_t out[4])
{
    static const char letters[] = "bfnrt", meanings[] = "\b\f\n\r\t";
    if (end - *at < 2)
        *at = end;
    else if ((*at)[1] != 'u') {
        const char *letter = strchr(letters, (*at)[1]);
        out[0] = letter != NULL ? (uint8_t)meanings[letter - letters] : (*at)[1];
        *at += 2;
        return 1;
    } else if (end - *at < 6)
        *at = end;
    else
        return put_utf8(code_point(at, end), out);
    return 0;
}

size_t json_unescape(struct span inside, uint8_t *out)
{
    const uint8_t *at = inside.at, *end = inside.at + inside.length;
    uint8_t *to = out, bytes[4];
    while (at < end) {
        const uint8_t *backslash = memchr(at, '\\', (size_t)(end - at));
        size_t run = (size_t)((backslash != NULL ? backslash : end) - at);
        memmove(to, at, run);
        to += run;
        at += run;
        if (at < end) {
            unsigned count = put_escape(&at, end, bytes);
            memcpy(to, bytes, count);
            to += count;
        }
    }
    return (size_t)(to - out);
}

/* A name as written is this one, once decoded. */
static bool escaped_is(struct span inside, struct span name)
{
    const uint8_t *at = inside.at, *end = inside.at + inside.length;
    size_t matched = 0;
    while (at < end) {
        uint8_t bytes[4] = {*at};
        unsigned count = *at == '\\' ? put_escape(&at, end, bytes) : (at++, 1u);
        if (name.length - matched < count || memcmp(name.at + matched, bytes, count) != 0)
            return false;
        matched += count;
    }
    return matched == name.length;
}

/* ── Walking ────────────────────────────────────────────────────────────────────────────────── */

struct json_walk json_walk(struct span composite)
{
    must(composite.length >= 2 && json_is_open(composite.at[0]));
    return (struct json_walk){.rest = span_of(composite.at + 1, composite.length - 2),
                              .object = composite.at[0] == '{',
                              .begin = composite.at + 1};
}

/* A member's name, of which the opening quote stands at `at`; to before its value. */
static const uint8_t *read_name(struct json_scan *scan, const uint8_t *at, struct span *name)
{
    const uint8_t *from = json_scan_byte(scan, at, '"');
    if (from != NULL)
        at = json_scan_string(scan, from);
    if (from == NULL || at == NULL)
        return NULL;
    *name = span_of(from, (size_t)(at - 1 - from));
    return json_scan_byte(scan, at, ':');
}

static const uint8_t *read_value(struct json_scan *scan, const uint8_t *at, struct json_value *out)
{
    uint8_t first = json_scan_next(scan, &at);
    const uint8_t *end = json_scan_value(scan, at, first, 0);
    if (end == NULL)
        return NULL;
    out->text = span_of(at, (size_t)(end - at));
    out->kind = json_kind_of(first);
    out->flaws = scan->flaws;
    out->escaped = out->kind == JSON_STRING && scan->escaped;
    return end;
}

bool json_next(struct json_walk *walk, struct span *name, struct json_value *member)
{
    struct json_scan scan = {.begin = walk->begin,
                             .end = walk->rest.at + walk->rest.length,
                             .window = walk->window,
                             .not_plain = walk->not_plain};
    const uint8_t *at = walk->rest.at;
    *name = (struct span){NULL, 0};
    if (json_scan_next(&scan, &at) == ',')
        at++;
    else if (at == scan.end)
        return false;
    if (walk->object) {
        at = read_name(&scan, at, name);
        walk->name_escaped = scan.escaped;
        scan.escaped = false;
        scan.flaws = 0;
    }
    at = at != NULL ? read_value(&scan, at, member) : NULL;
    if (at == NULL)
        return false;
    walk->rest = span_of(at, (size_t)(scan.end - at));
    walk->window = scan.window;
    walk->not_plain = scan.not_plain;
    return true;
}

/* The last member of this name. */
static bool find_member(struct span object, struct span wanted, struct json_value *out)
{
    struct json_walk walk = json_walk(object);
    struct json_value member;
    struct span name;
    bool found = false;
    while (json_next(&walk, &name, &member)) {
        if (walk.name_escaped ? !escaped_is(name, wanted) : !span_equal(name, wanted))
            continue;
        *out = member;
        found = true;
    }
    return found;
}

bool json_find(struct span object, const char *path, struct json_value *out)
{
    struct json_value found = {.text = object, .kind = JSON_OBJECT};
    for (;;) {
        size_t length = strcspn(path, ".");
        if (found.text.length == 0 || found.text.at[0] != '{' ||
            !find_member(found.text, span_of(path, length), &found))
            return false;
        if (path[length] == '\0')
            break;
        path += length + 1;
    }
    *out = found;
    return true;
}
