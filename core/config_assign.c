/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fault is written down with where it stood and reading
 * goes on, so that one start names all of them.
 *
 * A value is quoted in a message only where the option is a number, a flag or a choice: never a
 * text, and nothing of [key …]. What somebody put in the wrong place may still be a secret.
 */
#include "core/config_assign.h"
#include "core/nearest.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void config_complain(struct config_loader *loader, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(loader->errors, "%s: ", loader->where);
    vfprintf(loader->errors, format, arguments);
    fputc('\n', loader->errors);
    va_end(arguments);
    loader->failures++;
}

static bool is_repeat(const char *section)
{
    for (unsigned i = 0; i < CONFIG_REPEATS; i++)
        if (strcmp(config_repeats[i].section, section) == 0)
            return true;
    return false;
}

/* "node, listen, …, [key NAME]" */
static void list_sections(char *out, size_t room)
{
    const char *last = "";
    size_t length = 0;
    for (unsigned i = 0; i < CONFIG_OPTIONS && length < room; i++) {
        const char *section = config_options[i].section;
        if (strcmp(section, last) != 0)
            length += (size_t)snprintf(out + length, room - length, "%s, ", section);
        last = section;
    }
    for (unsigned i = 0; i < CONFIG_REPEATS && length < room; i++)
        length += (size_t)snprintf(out + length, room - length, "%s%s NAME", i > 0 ? ", " : "",
                                   config_repeats[i].section);
}

static void unknown_section(struct config_loader *loader, const char *section)
{
    struct nearest nearest = {.word = section};
    char known[512];
    list_sections(known, sizeof known);
    for (unsigned i = 0; i < CONFIG_OPTIONS; i++)
        nearest_offer(&nearest, config_options[i].section);
    for (unsigned i = 0; i < CONFIG_REPEATS; i++)
        nearest_offer(&nearest, config_repeats[i].section);
    if (is_repeat(section))
        config_complain(loader, "section [%s] needs a name: [%s NAME]", section, section);
    else if (nearest.best != NULL)
        config_complain(loader, "unknown section [%.64s]; did you mean [%s%s]?", section,
                        nearest.best, is_repeat(nearest.best) ? " NAME" : "");
    else
        config_complain(loader, "unknown section [%.64s]; there are %s", section, known);
}

/* The key is not one of this section: a slip, or it belongs elsewhere. */
static void unknown_key(struct config_loader *loader, const char *section, const char *key)
{
    struct nearest nearest = {.word = key};
    const char *elsewhere = NULL;
    bool known = false;
    for (unsigned i = 0; i < CONFIG_OPTIONS; i++) {
        if (strcmp(config_options[i].section, section) == 0) {
            known = true;
            nearest_offer(&nearest, config_options[i].key);
        } else if (strcmp(config_options[i].key, key) == 0) {
            elsewhere = config_options[i].section;
        }
    }
    if (!known)
        unknown_section(loader, section);
    else if (nearest.best != NULL)
        config_complain(loader, "unknown key %.64s in [%s]; did you mean %s?", key, section,
                        nearest.best);
    else if (elsewhere != NULL)
        config_complain(loader, "unknown key %.64s in [%s]; it belongs to [%s]", key, section,
                        elsewhere);
    else
        config_complain(loader, "unknown key %.64s in [%s]", key, section);
}

static void assign_option(struct config_loader *loader, const struct config_option *option,
                          const char *value)
{
    char allowed[160];
    unsigned *line = &loader->line_of[option - config_options];
    if (loader->line > 0 && *line > 0)
        config_complain(loader, "%s.%s is given twice, first in line %u", option->section,
                        option->key, *line);
    if (loader->line > 0)
        *line = loader->line;
    if (config_option_set(&loader->config, option, value)) {
        loader->given[option - config_options] = true;
        return;
    }
    config_option_allowed(option, allowed, sizeof allowed);
    if (option->kind == CONFIG_TEXT && config_text_allowed(value))
        config_complain(loader, "no memory for %s.%s", option->section, option->key);
    else if (option->kind == CONFIG_TEXT || !config_text_allowed(value))
        config_complain(loader, "%s.%s must be %s", option->section, option->key, allowed);
    else
        config_complain(loader, "%s.%s = %.40s: must be %s", option->section, option->key, value,
                        allowed);
}

/* The element of that name, a new one if there is none yet. False: complained. */
static bool find_element(struct config_loader *loader, const struct config_repeat *repeat,
                         const char *name, unsigned *index)
{
    unsigned *count = config_count(&loader->config, repeat);
    for (*index = 0; *index < *count; ++*index)
        if (strcmp(*config_member(&loader->config, repeat, *index, 0), name) == 0)
            return true;
    if (*count == repeat->max) {
        config_complain(loader, "more than %u sections [%s …]", repeat->max, repeat->section);
        return false;
    }
    char *copy = strdup(name);
    if (copy == NULL) {
        config_complain(loader, "out of memory");
        return false;
    }
    *config_member(&loader->config, repeat, *index, 0) = copy;
    ++*count;
    return true;
}

void config_wipe(char **text)
{
    if (*text != NULL)
        explicit_bzero(*text, strlen(*text));
    free(*text);
    *text = NULL;
}

static void unknown_member(struct config_loader *loader, const struct config_repeat *repeat,
                           const char *name, const char *key)
{
    struct nearest nearest = {.word = key};
    for (unsigned i = 0; i < repeat->members; i++)
        nearest_offer(&nearest, repeat->member[i].key);
    if (nearest.best != NULL)
        config_complain(loader, "unknown key %.64s in [%s %s]; did you mean %s?", key,
                        repeat->section, name, nearest.best);
    else
        config_complain(loader, "unknown key %.64s in [%s %s]", key, repeat->section, name);
}

/* In the place of what stood there. False: no memory. */
static bool keep(struct config_loader *loader, const struct config_repeat *repeat, unsigned element,
                 size_t offset, const char *text)
{
    char **field = config_member(&loader->config, repeat, element, offset);
    config_wipe(field);
    *field = strdup(text);
    return *field != NULL;
}

static void assign_member(struct config_loader *loader, const struct config_repeat *repeat,
                          const char *name, const char *key, const char *value)
{
    unsigned i = 0, element;
    while (i < repeat->members && strcmp(repeat->member[i].key, key) != 0)
        i++;
    if (i == repeat->members) {
        unknown_member(loader, repeat, name, key);
        return;
    }
    if (!config_text_allowed(value)) {
        config_complain(loader, "%s in [%s %s] must be a text of one line", key, repeat->section,
                        name);
        return;
    }
    if (!find_element(loader, repeat, name, &element))
        return;
    /* The file comes first, so whatever is there already came from it. */
    if (loader->line > 0 &&
        *config_member(&loader->config, repeat, element, repeat->member[i].offset) != NULL)
        config_complain(loader, "%s in [%s %s] is given twice", key, repeat->section, name);
    if (!keep(loader, repeat, element, repeat->member[i].offset, value) ||
        (repeat->member[i].where != 0 &&
         !keep(loader, repeat, element, repeat->member[i].where, loader->where)))
        config_complain(loader, "out of memory");
}

const struct config_repeat *config_repeat_find(const char *section, const char **name)
{
    for (unsigned i = 0; i < CONFIG_REPEATS; i++) {
        const struct config_repeat *repeat = &config_repeats[i];
        size_t length = strlen(repeat->section);
        if (strncmp(section, repeat->section, length) != 0 ||
            (section[length] != ' ' && section[length] != '.'))
            continue;
        *name = section + length + 1;
        *name += strspn(*name, " ");
        return repeat;
    }
    return NULL;
}

void config_assign(struct config_loader *loader, const char *section, const char *key,
                   const char *value)
{
    const char *name = "";
    const struct config_option *option = config_option_find(section, key);
    const struct config_repeat *repeat = config_repeat_find(section, &name);
    if (option != NULL)
        assign_option(loader, option, value);
    else if (section[0] == '\0')
        config_complain(loader, "key %.64s stands before any [section]", key);
    else if (key[0] == '\0')
        config_complain(loader, "a value without a key");
    else if (repeat == NULL)
        unknown_key(loader, section, key);
    else if (name[0] == '\0' || strlen(name) > CONFIG_NAME_MAX || !config_text_allowed(name))
        config_complain(loader, "section [%s NAME] needs a name of 1 to %d bytes", repeat->section,
                        CONFIG_NAME_MAX);
    else
        assign_member(loader, repeat, name, key, value);
}
