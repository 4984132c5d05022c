/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes: what is accepted can be walked, its strings decoded, each part accepted alone, and the
 * flaws of the whole are those of its parts.
 */
#include "proto/json.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static struct json_value read_again(struct span text)
{
    struct json_value value;
    size_t fault;
    must(json_document(text, &value, &fault) == JSON_OK);
    must(value.text.at == text.at && value.text.length == text.length);
    return value;
}

static unsigned check_string(struct span quoted)
{
    struct json_value value = read_again(quoted);
    struct span inside = span_of(quoted.at + 1, quoted.length - 2);
    uint8_t *out = malloc(inside.length + 1);
    must(out != NULL);
    size_t decoded = json_unescape(inside, out);
    must(decoded <= inside.length);
    must(value.escaped || (decoded == inside.length && memcmp(out, inside.at, decoded) == 0));
    free(out);
    return value.flaws;
}

/* The flaws of all within. */
static unsigned check(const struct json_value *value)
{
    must(read_again(value->text).flaws == value->flaws);
    if (value->kind == JSON_STRING)
        return check_string(value->text);
    if (value->kind != JSON_ARRAY && value->kind != JSON_OBJECT)
        return value->flaws;
    struct json_walk walk = json_walk(value->text);
    struct json_value member, found;
    struct span name;
    unsigned flaws = 0;
    while (json_next(&walk, &name, &member)) {
        must((name.at != NULL) == (value->kind == JSON_OBJECT));
        if (name.at != NULL)
            flaws |= check_string(span_of(name.at - 1, name.length + 2));
        flaws |= check(&member);
    }
    must(walk.rest.length == 0 ||
         strspn((const char *)walk.rest.at, " \t\r\n") >= walk.rest.length);
    (void)json_find(value->text, "a", &found);
    must(flaws == value->flaws);
    return flaws;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct json_value value;
    size_t fault = 0;
    struct span text = span_of(bytes, length);
    ptrdiff_t used = json_value(text, &value, &fault);
    if (used < 0) {
        must(fault <= length);
        return 0;
    }
    must((size_t)used <= length);
    must(check(&value) == value.flaws);
    return 0;
}
