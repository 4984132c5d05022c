/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration as an INI file, and config.def
 * as a table for people. Secrets stand as a comment.
 */
#include "core/config_option.h"

#include <string.h>
#include <strings.h>

/* libpq's connection string, in either form: may it hold a password? Rather once too often. */
static bool holds_password(const char *text)
{
    if (strcasestr(text, "password") != NULL)
        return true;
    const char *authority = strstr(text, "://");
    const char *at = authority != NULL ? strchr(authority, '@') : NULL;
    return at != NULL && memchr(authority + 3, ':', (size_t)(at - authority - 3)) != NULL;
}

static void print_option(const struct config *config, const struct config_option *option, FILE *out)
{
    fprintf(out, "; %s\n", option->help);
    if (option->kind == CONFIG_TEXT) {
        const char *text = *(char *const *)((const char *)config + option->offset);
        if (holds_password(text))
            fprintf(out, "; %s = (set, but not shown: it holds a password)\n", option->key);
        else
            fprintf(out, "%s = %s\n", option->key, text);
        return;
    }
    char value[64];
    config_option_value(config, option, value, sizeof value);
    fprintf(out, "%s = %s\n", option->key, value);
}

static void print_repeat(const struct config *config, const struct config_repeat *repeat, FILE *out)
{
    struct config *all = (struct config *)(uintptr_t)config; /* the accessors serve writers too */
    for (unsigned i = 0; i < *config_count(all, repeat); i++) {
        fprintf(out, "\n[%s %s]\n", repeat->section, *config_member(all, repeat, i, 0));
        for (unsigned m = 0; m < repeat->members; m++) {
            const char *value = *config_member(all, repeat, i, repeat->member[m].offset);
            if (value == NULL)
                continue;
            if (repeat->member[m].secret)
                fprintf(out, "; %s = (set, but not shown)\n", repeat->member[m].key);
            else
                fprintf(out, "%s = %s\n", repeat->member[m].key, value);
        }
    }
}

void config_print(const struct config *config, FILE *out)
{
    const char *section = "";
    for (unsigned i = 0; i < CONFIG_OPTIONS; i++) {
        if (strcmp(config_options[i].section, section) != 0) {
            fprintf(out, "%s[%s]\n", i > 0 ? "\n" : "", config_options[i].section);
            section = config_options[i].section;
        }
        print_option(config, &config_options[i], out);
    }
    for (unsigned i = 0; i < CONFIG_REPEATS; i++)
        print_repeat(config, &config_repeats[i], out);
}

static void help_option(const struct config_option *option, FILE *out)
{
    char allowed[160];
    config_option_allowed(option, allowed, sizeof allowed);
    char live = config_is_live(option->section, option->key) ? '*' : ' ';
    fprintf(out, "%c %s.%s", live, option->section, option->key);
    if (option->kind == CONFIG_TEXT) {
        fprintf(out, " = %s\n", option->preset_text);
    } else {
        /* The default in the form that a file would have it. */
        struct config defaults;
        char value[64];
        void *field = (char *)&defaults + option->offset;
        if (option->kind == CONFIG_NUMBER)
            *(int64_t *)field = option->preset;
        else if (option->kind == CONFIG_FLAG)
            *(bool *)field = option->preset != 0;
        else
            *(unsigned *)field = (unsigned)option->preset;
        config_option_value(&defaults, option, value, sizeof value);
        fprintf(out, " = %s  (%s)\n", value, allowed);
    }
    fprintf(out, "      %s\n", option->help);
}

void config_help(FILE *out)
{
    fprintf(out, "Options, with their defaults: in the file under [section], in the environment as "
                 "RINGMAIN_SECTION_KEY,\non the command line as -o section.key=value. Those with a "
                 "* take a new value on "
                 "SIGHUP, the others at the next start.\n\n");
    for (unsigned i = 0; i < CONFIG_OPTIONS; i++)
        help_option(&config_options[i], out);
    fprintf(out, "\nSections with a name, as many as are needed:\n");
    for (unsigned i = 0; i < CONFIG_REPEATS; i++) {
        const char *section = config_repeats[i].section;
        fprintf(out, "%c [%s NAME]", config_is_live(section, "") ? '*' : ' ', section);
        for (unsigned m = 0; m < config_repeats[i].members; m++)
            fprintf(out, "%s %s", m > 0 ? "," : "", config_repeats[i].member[m].key);
        fputc('\n', out);
    }
}
