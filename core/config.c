/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Four layers are laid over one another, each through config_assign(): defaults, file, environment,
 * command line. Then come the presets, and the rules between options.
 */
#include "core/config.h"
#include "core/config_assign.h"
#include "core/nearest.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "RINGMAIN_"

enum { VARIABLE_MAX = 256 };

static void set_defaults(struct config_loader *loader)
{
    for (unsigned i = 0; i < CONFIG_OPTIONS; i++) {
        const struct config_option *option = &config_options[i];
        void *field = (char *)&loader->config + option->offset;
        switch (option->kind) {
        case CONFIG_NUMBER:
            *(int64_t *)field = option->preset;
            break;
        case CONFIG_FLAG:
            *(bool *)field = option->preset != 0;
            break;
        case CONFIG_CHOICE:
            *(unsigned *)field = (unsigned)option->preset;
            break;
        case CONFIG_TEXT:
            if (!config_option_set(&loader->config, option, option->preset_text))
                config_complain(loader, "out of memory");
            break;
        }
    }
}

/* "batch.max_rows" → "BATCH_MAX_ROWS". */
static void variable_name(const struct config_option *option, char out[VARIABLE_MAX])
{
    snprintf(out, VARIABLE_MAX, "%s_%s", option->section, option->key);
    for (; *out != '\0'; out++)
        *out = (char)toupper((unsigned char)*out);
}

/* KEY_<KID>_SECRET_FILE and the like: the name between, in lower case. */
static bool assign_repeat(struct config_loader *loader, const struct config_repeat *repeat,
                          const char *variable, const char *value)
{
    size_t head = strlen(repeat->section), length = strlen(variable);
    if (strncasecmp(variable, repeat->section, head) != 0 || variable[head] != '_')
        return false;
    for (unsigned i = 0; i < repeat->members; i++) {
        const char *key = repeat->member[i].key;
        size_t tail = strlen(key);
        if (length < head + tail + 3 || variable[length - tail - 1] != '_' ||
            strcasecmp(variable + length - tail, key) != 0)
            continue;
        char section[VARIABLE_MAX];
        snprintf(section, sizeof section, "%s %.*s", repeat->section,
                 (int)(length - tail - head - 2), variable + head + 1);
        for (char *at = section; *at != '\0'; at++)
            *at = (char)tolower((unsigned char)*at);
        config_assign(loader, section, key, value);
        return true;
    }
    return false;
}

/* Names of ours that are no options: what `make run` writes for scripts. */
static bool is_no_option(const char *variable)
{
    static const char *const others[] = {"POSTGRES", "HTTP",  "TCP", "GRPC",
                                         "METRICS",  "TOKEN", "PID"};
    for (unsigned i = 0; i < COUNT_OF(others); i++)
        if (strcmp(variable, others[i]) == 0)
            return true;
    return false;
}

static void assign_variable(struct config_loader *loader, const char *variable, const char *value)
{
    char names[CONFIG_OPTIONS][VARIABLE_MAX];
    struct nearest nearest = {.word = variable};
    for (unsigned i = 0; i < CONFIG_OPTIONS; i++) {
        variable_name(&config_options[i], names[i]);
        if (strcmp(names[i], variable) == 0) {
            config_assign(loader, config_options[i].section, config_options[i].key, value);
            return;
        }
        nearest_offer(&nearest, names[i]);
    }
    for (unsigned i = 0; i < CONFIG_REPEATS; i++)
        if (assign_repeat(loader, &config_repeats[i], variable, value))
            return;
    if (is_no_option(variable))
        return;
    /* It may be meant for another program or another version: said, but no reason not to start. */
    fprintf(loader->errors, "%s: warning: no such option", loader->where);
    if (nearest.best != NULL)
        fprintf(loader->errors, "; did you mean " PREFIX "%s?", nearest.best);
    fputc('\n', loader->errors);
}

/* Splits "RINGMAIN_NAME=value" and stands there; false: not ours. */
static bool split_variable(struct config_loader *loader, const char *entry,
                           char variable[VARIABLE_MAX], const char **value)
{
    const char *equals = strchr(entry, '=');
    size_t prefix = strlen(PREFIX);
    if (equals == NULL || strncmp(entry, PREFIX, prefix) != 0)
        return false;
    size_t length = (size_t)(equals - entry) - prefix;
    if (length >= VARIABLE_MAX)
        return false;
    memcpy(variable, entry + prefix, length);
    variable[length] = '\0';
    *value = equals + 1;
    snprintf(loader->where, sizeof loader->where, "environment " PREFIX "%s", variable);
    return true;
}

static void read_environment(struct config_loader *loader, char *const *environ_)
{
    char variable[VARIABLE_MAX];
    const char *value;
    /* The shorthand first, so that the full name prevails wherever it stands. */
    for (char *const *entry = environ_; *entry != NULL; entry++)
        if (split_variable(loader, *entry, variable, &value) && strcmp(variable, "POSTGRES") == 0)
            config_assign(loader, "postgres", "conninfo", value);
    for (char *const *entry = environ_; *entry != NULL; entry++)
        if (split_variable(loader, *entry, variable, &value))
            assign_variable(loader, variable, value);
}

/* "section.key=value"; the key is behind the last dot before the equals sign. */
static void read_override(struct config_loader *loader, const char *text)
{
    const char *equals = strchr(text, '=');
    const char *dot = equals != NULL ? memrchr(text, '.', (size_t)(equals - text)) : NULL;
    char section[CONFIG_NAME_MAX + 16], key[64];
    if (dot == NULL || (size_t)(dot - text) >= sizeof section ||
        (size_t)(equals - dot) > sizeof key) {
        snprintf(loader->where, sizeof loader->where, "command line");
        config_complain(loader, "an option is given as -o section.key=value");
        return;
    }
    snprintf(section, sizeof section, "%.*s", (int)(dot - text), text);
    snprintf(key, sizeof key, "%.*s", (int)(equals - dot - 1), dot + 1);
    snprintf(loader->where, sizeof loader->where, "-o %s.%s", section, key);
    config_assign(loader, section, key, equals + 1);
}

static bool is_given(const struct config_loader *loader, const char *section, const char *key)
{
    const struct config_option *option = config_option_find(section, key);
    must(option != NULL);
    return loader->given[option - config_options];
}

static void apply_preset(struct config_loader *loader)
{
    enum { SMALL = 1, SMALL_ROWS = 50, SMALL_LINGER_MS = 2000 }; /* CONTRACTS.md 7 */
    if (loader->config.batch_preset != SMALL)
        return;
    if (!is_given(loader, "batch", "max_rows"))
        loader->config.batch_max_rows = SMALL_ROWS;
    if (!is_given(loader, "batch", "linger_ms"))
        loader->config.batch_linger_ms = SMALL_LINGER_MS;
}

int config_load(struct config *config, const char *file, char *const *environ_,
                const char *const *overrides, unsigned overrides_count, FILE *errors)
{
    struct config_loader loader = {.errors = errors, .where = "built-in defaults"};
    set_defaults(&loader);
    int error = file != NULL ? config_read_file(&loader, file) : 0;
    if (environ_ != NULL)
        read_environment(&loader, environ_);
    for (unsigned i = 0; i < overrides_count; i++)
        read_override(&loader, overrides[i]);
    apply_preset(&loader);
    /* Rules between options would only repeat what is said already about one that was refused. */
    if (loader.failures == 0)
        loader.failures = config_check(&loader.config, errors);
    if (loader.failures > 0) {
        config_free(&loader.config);
        return error != 0 ? error : -EINVAL;
    }
    *config = loader.config;
    return 0;
}

void config_free(struct config *config)
{
    for (unsigned i = 0; i < CONFIG_OPTIONS; i++)
        if (config_options[i].kind == CONFIG_TEXT)
            config_wipe(config_text(config, &config_options[i]));
    for (unsigned r = 0; r < CONFIG_REPEATS; r++) {
        const struct config_repeat *repeat = &config_repeats[r];
        for (unsigned i = 0; i < *config_count(config, repeat); i++) {
            config_wipe(config_member(config, repeat, i, 0));
            for (unsigned m = 0; m < repeat->members; m++) {
                config_wipe(config_member(config, repeat, i, repeat->member[m].offset));
                if (repeat->member[m].where != 0)
                    config_wipe(config_member(config, repeat, i, repeat->member[m].where));
            }
        }
        *config_count(config, repeat) = 0;
    }
}
