/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What core/config.c, config_check.c and config_print.c share: core/config.def as a table, and how
 * a text becomes an option's value. Not for others; they see core/config.h.
 */
#ifndef CORE_CONFIG_OPTION_H
#define CORE_CONFIG_OPTION_H

#include "core/config.h"

enum config_kind { CONFIG_NUMBER, CONFIG_FLAG, CONFIG_TEXT, CONFIG_CHOICE };

struct config_option {
    const char *section, *key;
    enum config_kind kind;
    size_t offset;           /* of its field in struct config */
    int64_t preset;          /* default of a number, flag or choice */
    const char *preset_text; /* default of a text */
    int64_t least, most;
    const char *unit;  /* of a number */
    const char *words; /* of a choice: "a|b|c" */
    const char *help;
};

/* How many there are: one and one and one … */
enum {
    CONFIG_OPTIONS = 0
#define NUMBER(...) +1
#define FLAG(...)   +1
#define TEXT(...)   +1
#define CHOICE(...) +1
#include "core/config.def"
#undef NUMBER
#undef FLAG
#undef TEXT
#undef CHOICE
};

extern const struct config_option config_options[CONFIG_OPTIONS];

/* A section that may stand several times, each with a name: [stream NAME],
 * [key KID], [route NAME]. Its fields in struct config are an array and a count;
 * an element is texts only, of which the first is the name. */
enum { CONFIG_MEMBERS_MAX = ROUTE_KEYS };
struct config_repeat {
    const char *section;
    size_t array, count, element;
    unsigned max;
    struct {
        const char *key;
        size_t offset; /* in an element */
        bool secret;   /* is never shown */
        size_t where;  /* in an element: what says where the value stood; 0: it is not kept */
    } member[CONFIG_MEMBERS_MAX];
    unsigned members;
};

enum { CONFIG_REPEATS = 3 };
extern const struct config_repeat config_repeats[CONFIG_REPEATS];

const struct config_option *config_option_find(const char *section, const char *key);

/* False: the text is not allowed, or there is no memory; the field is as it was. */
NODISCARD bool config_option_set(struct config *config, const struct config_option *option,
                                 const char *text);

/* "a number of bytes from 64k to 1g", "yes or no" …: what may stand there. */
void config_option_allowed(const struct config_option *option, char *out, size_t room);
/* The value as it would be written in a file; `room` suffices for all but a text. */
void config_option_value(const struct config *config, const struct config_option *option, char *out,
                         size_t room);

static inline char **config_text(struct config *config, const struct config_option *option)
{
    return (char **)(void *)((char *)config + option->offset);
}

/* Element `index` of a repeated section; the member at `offset` of it. */
static inline char **config_member(struct config *config, const struct config_repeat *repeat,
                                   unsigned index, size_t offset)
{
    return (char **)(void *)((char *)config + repeat->array + index * repeat->element + offset);
}

static inline unsigned *config_count(struct config *config, const struct config_repeat *repeat)
{
    return (unsigned *)(void *)((char *)config + repeat->count);
}

/* May SIGHUP change this option (or such a section) while everything runs? core/settings.h */
bool config_is_live(const char *section, const char *key);

/* Texts are one line without control characters. */
bool config_text_allowed(const char *text);

/* Rules that hold between options, a line to `errors`
 * for each that is broken: how many. Warnings do not count. */
unsigned config_check(const struct config *config, FILE *errors);

#endif
