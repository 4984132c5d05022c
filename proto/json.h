/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON by RFC 8259, exactly: what its grammar allows is accepted, all else is refused. One pass, in
 * place, no memory of its own. Pure; any thread.
 *
 * Two layers: json_value() checks one whole value and finds its end; proto/event.h walks the top of
 * an event with the same scanner (proto/json_scan.h), which looks at 64 bytes at a time.
 */
#ifndef PROTO_JSON_H
#define PROTO_JSON_H

#include "core/must.h"
#include "core/span.h"

enum { JSON_DEPTH_MAX = 64 };

enum json_error {
    JSON_OK = 0,
    JSON_INVALID = -1,   /* not RFC 8259, or bytes that are not UTF-8 (RFC 3629) */
    JSON_TOO_DEEP = -2,  /* more than JSON_DEPTH_MAX nested arrays and objects */
    JSON_TRUNCATED = -3, /* ends inside the value: a kind of invalid, told apart for messages */
};

/* Things that are valid JSON and that a jsonb column nevertheless refuses. Bits. */
enum json_flaw {
    JSON_HAS_NUL = 1,            /* backslash-u0000 */
    JSON_HAS_LONE_SURROGATE = 2, /* an escaped surrogate without its half */
    JSON_HAS_HUGE_NUMBER = 4,    /* outside what Postgres's numeric holds (SQLSTATE 22003) */
};

enum json_kind {
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

struct json_value {
    struct span text; /* as written: quotes and brackets included, white space around it not */
    enum json_kind kind;
    unsigned flaws; /* of the value and all within it */
    bool escaped;   /* a string with a backslash in it: json_unescape() before it is compared */
};

/*
 * Reads the value at the start of `text` (white space before it skipped). Returns how many bytes it
 * used, up to the value's end, or a negative json_error with *fault at the offending byte's offset.
 */
NODISCARD ptrdiff_t json_value(struct span text, struct json_value *out, size_t *fault);

/* The whole of `text` is one value with only white space around it. 0 or json_error. */
NODISCARD int json_document(struct span text, struct json_value *out, size_t *fault);

/*
 * Walks an object or array that json_value() has accepted (so it can't fail):
 *   struct json_walk walk = json_walk(value.text);
 *   while (json_next(&walk, &name, &member)) …        name is {NULL,0} in an array
 * The name is given as written between its quotes; name_escaped says whether it holds a backslash.
 */
struct json_walk {
    struct span rest;
    bool object, name_escaped;
    const uint8_t *begin, *window; /* these are the scanner's */
    uint64_t not_plain;
};
struct json_walk json_walk(struct span composite);
bool json_next(struct json_walk *walk, struct span *name, struct json_value *member);

/*
 * Decodes a string's inside (without quotes) to UTF-8.
 * `out` may be the same memory (it never grows); it needs text.length bytes.
 * Returns the length. The string must have been accepted and have no flaw.
 */
size_t json_unescape(struct span inside, uint8_t *out);

/* The member that a path such as "data.order.id" (here: after "data.") names
 * in an accepted object: the last of that name, as in Postgres. False: not there. */
bool json_find(struct span object, const char *path, struct json_value *out);

#endif
