/* SPDX-License-Identifier: Apache-2.0 */
#include "core/settings.h"

#include "core/config_option.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ── What has changed ───────────────────────────────────────────────────────────────────────── */

static bool same_text(const char *a, const char *b)
{
    return strcmp(a != NULL ? a : "", b != NULL ? b : "") == 0;
}

static bool same_option(const struct config *a, const struct config *b,
                        const struct config_option *option)
{
    const char *one = (const char *)a + option->offset, *other = (const char *)b + option->offset;
    switch (option->kind) {
    case CONFIG_NUMBER:
        return memcmp(one, other, sizeof(int64_t)) == 0;
    case CONFIG_FLAG:
        return *(const bool *)one == *(const bool *)other;
    case CONFIG_CHOICE:
        return memcmp(one, other, sizeof(unsigned)) == 0;
    case CONFIG_TEXT:
        return same_text(*(char *const *)(const void *)one, *(char *const *)(const void *)other);
    }
    must(false);
}

/* All [stream …]. */
static bool same_sections(const struct config *a, const struct config *b,
                          const struct config_repeat *repeat)
{
    struct config *one = (struct config *)(uintptr_t)a, *other = (struct config *)(uintptr_t)b;
    unsigned count = *config_count(one, repeat);
    bool same = count == *config_count(other, repeat);
    for (unsigned i = 0; same && i < count; i++) {
        same = same_text(*config_member(one, repeat, i, 0), *config_member(other, repeat, i, 0));
        for (unsigned m = 0; same && m < repeat->members; m++)
            same = same_text(*config_member(one, repeat, i, repeat->member[m].offset),
                             *config_member(other, repeat, i, repeat->member[m].offset));
    }
    return same;
}

void settings_compare(const struct config *running, const struct config *fresh,
                      void (*tell)(const char *section, const char *key))
{
    for (unsigned i = 0; i < CONFIG_OPTIONS; i++) {
        const struct config_option *option = &config_options[i];
        if (!config_is_live(option->section, option->key) && !same_option(running, fresh, option))
            tell(option->section, option->key);
    }
    for (unsigned i = 0; i < CONFIG_REPEATS; i++)
        if (!config_is_live(config_repeats[i].section, "") &&
            !same_sections(running, fresh, &config_repeats[i]))
            tell(config_repeats[i].section, "…");
}

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

static void free_one(struct settings *settings)
{
    jwt_keys_close(settings->keys);
    cors_close(settings->cors);
    route_table_close(settings->routes);
    if (settings->owns_config)
        config_free(&settings->config);
    free(settings);
}

/* Tokens that are out can't all be replaced in one second. */
static int inherit(struct settings *settings, const struct settings *before, int64_t now_s,
                   char *why)
{
    settings->former_keys = jwt_keys_inherit(settings->keys, before->keys, now_s,
                                             now_s + settings->config.auth_key_overlap_s);
    if (settings->former_keys >= 0)
        return 0;
    snprintf(why, 256, "no memory for keys");
    return settings->former_keys;
}

int settings_open(struct settings **out, const struct config *config, const struct streams *streams,
                  const struct settings *before, int64_t now_s, char *why)
{
    struct settings *settings = calloc(1, sizeof *settings);
    snprintf(why, 256, "no memory for settings");
    if (settings == NULL)
        return -ENOMEM;
    settings->config = *config;
    settings->cors = cors_open(config->cors_origins);
    int result = settings->cors == NULL ? -ENOMEM : jwt_keys_open(&settings->keys, config, why);
    if (result == 0) {
        settings->routes = route_table_open(config, streams, why);
        result = settings->routes == NULL ? -EINVAL : 0;
    }
    if (result == 0 && before != NULL)
        result = inherit(settings, before, now_s, why);
    if (result != 0) {
        free_one(settings);
        return result;
    }
    settings->owns_config = before != NULL;
    *out = settings;
    return 0;
}

void settings_close(struct settings *settings)
{
    while (settings != NULL) {
        struct settings *former = settings->former;
        free_one(settings);
        settings = former;
    }
}

/* ── From hand to hand ──────────────────────────────────────────────────────────────────────── */

void settings_publish(struct settings_board *board, struct settings *settings)
{
    settings->former = atomic_load_explicit(&board->present, memory_order_relaxed);
    atomic_store_explicit(&board->present, settings, memory_order_release);
}

struct settings *settings_of(const struct settings_board *board)
{
    return atomic_load_explicit(&board->present, memory_order_acquire);
}

void settings_adopt(struct settings *settings)
{
    atomic_fetch_add_explicit(&settings->adopted, 1, memory_order_release);
}

bool settings_reap(struct settings *settings, unsigned shards)
{
    if (atomic_load_explicit(&settings->adopted, memory_order_acquire) < shards)
        return false;
    settings_close(settings->former);
    settings->former = NULL;
    return true;
}
