/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/hello.h"

#include "proto/json.h"

#include <stdio.h>

enum { NAME_SHOWN = 64 };

static const char *const acks[] = {"none", "received", "spooled", "stored"};
static const char *const formats[] = {"ndjson", "length32"};

const char *hello_ack_name(enum ack_level ack)
{
    must((unsigned)ack < COUNT_OF(acks));
    return acks[ack];
}

const char *hello_format_name(enum hello_format format)
{
    must((unsigned)format < COUNT_OF(formats));
    return formats[format];
}

static int word_of(struct span text, const char *const *words, int count)
{
    for (int i = 0; i < count; i++)
        if (span_is(text, words[i]))
            return i;
    return -1;
}

/* A member of text. NULL: good; else what it must be. */
static const char *take(struct hello *hello, struct span name, struct span text, bool escaped)
{
    int word;
    if (span_is(name, "token")) {
        hello->token = text;
        return NULL;
    }
    if (span_is(name, "producer")) {
        hello->producer = text;
        return text.length >= 1 && text.length <= PRODUCER_BYTES_MAX && !escaped
                   ? NULL
                   : "must be 1 to 128 bytes, without escapes";
    }
    if (span_is(name, "ack")) {
        if ((word = word_of(text, acks, COUNT_OF(acks))) < 0)
            return "must be none, received, spooled or stored";
        hello->ack = (enum ack_level)word;
        return NULL;
    }
    if (span_is(name, "format")) {
        if ((word = word_of(text, formats, COUNT_OF(formats))) < 0)
            return "must be ndjson or length32";
        hello->format = (enum hello_format)word;
        return NULL;
    }
    return "is not known; there are token, ack, producer and format";
}

static const char *judge(struct hello *hello, struct span name, const struct json_value *value)
{
    if (value->kind != JSON_STRING || value->flaws != 0)
        return "must be a string";
    return take(hello, name, span_of(value->text.at + 1, value->text.length - 2), value->escaped);
}

bool hello_read(struct span line, struct hello *out, char why[HELLO_WHY])
{
    struct json_value value, member;
    struct span name;
    size_t fault;
    if (json_document(line, &value, &fault) != 0 || value.kind != JSON_OBJECT)
        return false;
    struct json_walk walk = json_walk(value.text);
    if (!json_next(&walk, &name, &member) || !span_is(name, "hello") || member.kind != JSON_OBJECT)
        return false;
    *out = (struct hello){.ack = ACK_SPOOLED};
    why[0] = '\0';
    walk = json_walk(member.text);
    while (why[0] == '\0' && json_next(&walk, &name, &member)) {
        const char *wrong = judge(out, name, &member);
        name.length = name.length < NAME_SHOWN ? name.length : NAME_SHOWN;
        if (wrong != NULL)
            snprintf(why, HELLO_WHY, "hello.%.*s: %s", SPAN_ARGS(name), wrong);
    }
    return true;
}
