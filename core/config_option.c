/* SPDX-License-Identifier: Apache-2.0 */
#include "core/config_option.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define AT(section, key)    #section, #key
#define FIELD(section, key) offsetof(struct config, section##_##key)

const struct config_option config_options[CONFIG_OPTIONS] = {
#define NUMBER(s, k, value, low, high, u, h)                                                       \
    {AT(s, k),       CONFIG_NUMBER,  FIELD(s, k), .preset = (value),                               \
     .least = (low), .most = (high), .unit = (u), .help = (h)},
#define FLAG(s, k, value, h) {AT(s, k), CONFIG_FLAG, FIELD(s, k), .preset = (value), .help = (h)},
#define TEXT(s, k, value, h)                                                                       \
    {AT(s, k), CONFIG_TEXT, FIELD(s, k), .preset_text = (value), .help = (h)},
#define CHOICE(s, k, value, w, h)                                                                  \
    {AT(s, k), CONFIG_CHOICE, FIELD(s, k), .preset = (value), .words = (w), .help = (h)},
#include "core/config.def"
#undef NUMBER
#undef FLAG
#undef TEXT
#undef CHOICE
};

#define STREAM(key)                                                                                \
    {                                                                                              \
#key, offsetof(struct config_stream, key), false, 0                                        \
    }
#define KEY(key, secret)                                                                           \
    {                                                                                              \
#key, offsetof(struct config_key, key), secret, 0                                          \
    }
#define ROUTE(key, index)                                                                          \
    {                                                                                              \
#key, offsetof(struct config_route, value) + (index) * sizeof(char *), false,              \
            offsetof(struct config_route, where) + (index) * sizeof(char *)                        \
    }

const struct config_repeat config_repeats[CONFIG_REPEATS] = {
    {"stream",
     offsetof(struct config, stream),
     offsetof(struct config, streams),
     sizeof(struct config_stream),
     CONFIG_STREAMS_MAX,
     {STREAM(table), STREAM(columns), STREAM(types)},
     3},
    {"key",
     offsetof(struct config, key),
     offsetof(struct config, keys),
     sizeof(struct config_key),
     CONFIG_KEYS_MAX,
     {KEY(algorithm, false), KEY(secret, true), KEY(secret_file, false), KEY(pem_file, false)},
     4},
    {"route",
     offsetof(struct config, route),
     offsetof(struct config, routes),
     sizeof(struct config_route),
     CONFIG_ROUTES_MAX,
     {ROUTE(types, ROUTE_TYPES), ROUTE(streams, ROUTE_STREAMS), ROUTE(has, ROUTE_HAS),
      ROUTE(to, ROUTE_TO), ROUTE(emit, ROUTE_EMIT), ROUTE(data, ROUTE_DATA),
      ROUTE(stored, ROUTE_STORED), ROUTE(first, ROUTE_FIRST), ROUTE(batch, ROUTE_BATCH),
      ROUTE(scope, ROUTE_SCOPE), ROUTE(enabled, ROUTE_ENABLED)},
     ROUTE_KEYS},
};
_Static_assert(offsetof(struct config_stream, name) == 0 && offsetof(struct config_key, kid) == 0 &&
                   offsetof(struct config_route, name) == 0,
               "the name comes first");

const struct config_option *config_option_find(const char *section, const char *key)
{
    for (unsigned i = 0; i < CONFIG_OPTIONS; i++)
        if (strcmp(config_options[i].section, section) == 0 &&
            strcmp(config_options[i].key, key) == 0)
            return &config_options[i];
    return NULL;
}

/* What a suffix multiplies by, in thousandths of the unit: "s" after an ms option
 * is 1000 of it, "ms" after an s option a thousandth. 0: no such suffix here. */
static int64_t scale_thousandths(const char *unit, const char *suffix)
{
    if (*suffix == '\0' || strcasecmp(suffix, unit) == 0)
        return 1000;
    if (strcmp(unit, "bytes") == 0) {
        static const char letters[] = "kmgt";
        const char *at = strchr(letters, tolower((unsigned char)*suffix));
        return at != NULL && suffix[1] == '\0' ? 1000ll << 10 * (at - letters + 1) : 0;
    }
    if (strcmp(unit, "ms") == 0)
        return strcasecmp(suffix, "s") == 0 ? 1000000 : 0;
    return strcmp(unit, "s") == 0 && strcasecmp(suffix, "ms") == 0 ? 1 : 0;
}

static bool parse_number(const struct config_option *option, const char *text, int64_t *out)
{
    if (!isdigit((unsigned char)text[0]))
        return false;
    char *suffix;
    errno = 0;
    long long number = strtoll(text, &suffix, 10);
    while (*suffix == ' ')
        suffix++;
    int64_t scale = scale_thousandths(option->unit, suffix);
    int64_t scaled;
    if (errno != 0 || scale == 0)
        return false;
    /* Whole multiples are scaled first: 16t in thousandths would not fit. */
    if (scale % 1000 == 0 ? __builtin_mul_overflow(number, scale / 1000, &scaled)
                          : number % 1000 != 0)
        return false;
    if (scale % 1000 != 0)
        scaled = number / 1000;
    if (scaled < option->least || scaled > option->most)
        return false;
    *out = scaled;
    return true;
}

static bool parse_flag(const char *text, bool *out)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};
    for (unsigned i = 0; i < COUNT_OF(words); i++)
        if (strcasecmp(text, words[i]) == 0) {
            *out = i % 2 != 0;
            return true;
        }
    return false;
}

static bool parse_choice(const char *words, const char *text, unsigned *out)
{
    size_t length = strlen(text);
    for (unsigned index = 0;; index++) {
        size_t word = strcspn(words, "|");
        if (word == length && strncasecmp(words, text, length) == 0) {
            *out = index;
            return true;
        }
        if (words[word] == '\0')
            return false;
        words += word + 1;
    }
}

bool config_text_allowed(const char *text)
{
    for (; *text != '\0'; text++)
        if (iscntrl((unsigned char)*text))
            return false;
    return true;
}

static bool set_text(char **field, const char *text)
{
    char *copy = config_text_allowed(text) ? strdup(text) : NULL;
    if (copy == NULL)
        return false;
    free(*field);
    *field = copy;
    return true;
}

bool config_option_set(struct config *config, const struct config_option *option, const char *text)
{
    void *field = (char *)config + option->offset;
    switch (option->kind) {
    case CONFIG_NUMBER:
        return parse_number(option, text, field);
    case CONFIG_FLAG:
        return parse_flag(text, field);
    case CONFIG_TEXT:
        return set_text(field, text);
    case CONFIG_CHOICE:
        return parse_choice(option->words, text, field);
    }
    return false;
}

/* "64k": the largest suffix that leaves a whole number. */
static void print_bytes(int64_t bytes, char out[24])
{
    static const char suffixes[] = " kmgt";
    unsigned i = 0;
    while (i < 4 && bytes >= 1024 && bytes % 1024 == 0) {
        bytes /= 1024;
        i++;
    }
    snprintf(out, 24, "%lld%.1s", (long long)bytes, i > 0 ? &suffixes[i] : "");
}

static void number_allowed(const struct config_option *option, char *out, size_t room)
{
    long long least = option->least, most = option->most;
    if (strcmp(option->unit, "bytes") == 0) {
        char low[24], high[24];
        print_bytes(least, low);
        print_bytes(most, high);
        snprintf(out, room, "a number of bytes from %s to %s (suffixes k, m, g, t)", low, high);
    } else if (option->unit[0] != '\0') {
        snprintf(out, room, "a time from %lld to %lld %s (suffixes ms, s)", least, most,
                 option->unit);
    } else {
        snprintf(out, room, "a number from %lld to %lld", least, most);
    }
}

void config_option_allowed(const struct config_option *option, char *out, size_t room)
{
    switch (option->kind) {
    case CONFIG_NUMBER:
        number_allowed(option, out, room);
        break;
    case CONFIG_FLAG:
        snprintf(out, room, "yes or no");
        break;
    case CONFIG_TEXT:
        snprintf(out, room, "a text of one line");
        break;
    case CONFIG_CHOICE:
        snprintf(out, room, "one of %s", option->words);
        break;
    }
}

static void choice_value(const char *words, unsigned index, char *out, size_t room)
{
    for (; index > 0; index--)
        words += strcspn(words, "|") + 1;
    snprintf(out, room, "%.*s", (int)strcspn(words, "|"), words);
}

void config_option_value(const struct config *config, const struct config_option *option, char *out,
                         size_t room)
{
    const void *field = (const char *)config + option->offset;
    switch (option->kind) {
    case CONFIG_NUMBER:
        if (strcmp(option->unit, "bytes") == 0 && room >= 24)
            print_bytes(*(const int64_t *)field, out);
        else
            snprintf(out, room, "%lld", (long long)*(const int64_t *)field);
        break;
    case CONFIG_FLAG:
        snprintf(out, room, "%s", *(const bool *)field ? "yes" : "no");
        break;
    case CONFIG_TEXT:
        snprintf(out, room, "%s", *(char *const *)field);
        break;
    case CONFIG_CHOICE:
        choice_value(option->words, *(const unsigned *)field, out, room);
        break;
    }
}

/* key NULL: the whole section. */
static const struct {
    const char *section, *key;
} live[] = {
    {"auth", NULL},          {"key", NULL},
    {"cors", NULL},          {"limits", "body_bytes"},
    {"limits", "header_ms"}, {"limits", "body_ms"},
    {"limits", "idle_ms"},   {"limits", "events_per_second"},
    {"log", "level"},        {"route", NULL},
    {"stats", "public"},     {"tcp", "ack_interval_ms"},
};

bool config_is_live(const char *section, const char *key)
{
    for (size_t i = 0; i < COUNT_OF(live); i++)
        if (strcmp(section, live[i].section) == 0 &&
            (live[i].key == NULL || strcmp(key, live[i].key) == 0))
            return true;
    return false;
}
