/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGHUP: the configuration is read again, from where it was read at the start. Either all of it is
 * good, and what is live of it holds from each shard's next turn on; or nothing changes.
 */
#include "core/clock.h"
#include "core/log.h"
#include "core/server.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { PATIENCE_MS = 5000 };

/* What was written about the file, line by line. */
static void log_lines(char *text, bool good)
{
    char *rest = text;
    for (char *line; rest != NULL && (line = strsep(&rest, "\n")) != NULL;) {
        if (line[0] != '\0' && good)
            log_warn("reload", "%s", line);
        else if (line[0] != '\0')
            log_error("reload", "%s", line);
    }
}

static int load(const struct server *server, struct config *out)
{
    char *text = NULL;
    size_t length;
    FILE *errors = open_memstream(&text, &length);
    if (errors == NULL)
        return -ENOMEM;
    int result = server->options->load(server->options->context, out, errors);
    fclose(errors);
    log_lines(text, result == 0);
    free(text);
    return result;
}

static void tell_unchanged(const char *section, const char *key)
{
    log_warn("reload", "%s.%s has changed, which takes effect at the next start", section, key);
}

/* Frees what was before once every shard has turned. One that does not turn in time keeps it, until
 * the next reload or the end. */
static void wait_for_shards(struct server *server, struct settings *settings)
{
    for (unsigned i = 0; i < server->shards; i++)
        sleeper_wake(shard_sleeper(server->seat[i].shard));
    uint64_t until_ns = clock_mono_ns() + PATIENCE_MS * 1000000ull;
    while (!settings_reap(settings, server->shards) && clock_mono_ns() < until_ns)
        usleep(500);
}

static void announce(const struct settings *settings)
{
    log_info("reload", "SIGHUP: the configuration was read again: %u keys",
             jwt_keys_count(settings->keys));
    if (settings->former_keys > 0)
        log_info("reload",
                 "tokens of %d keys that were replaced are accepted for a while "
                 "(auth.key_overlap_s = %lld)",
                 settings->former_keys, (long long)settings->config.auth_key_overlap_s);
    if (!settings->config.auth_required)
        log_warn("auth",
                 "auth.required = no: whoever reaches a door may write events; for a laptop only");
}

void serve_reload(struct server *server)
{
    struct config fresh;
    struct settings *settings;
    char why[SERVER_WHY] = "the lines above say what is wrong with the configuration";
    int result = load(server, &fresh);
    if (result == 0) {
        result = settings_open(&settings, &fresh, server->streams, settings_of(&server->settings),
                               clock_wall_us() / 1000000, why);
        if (result != 0)
            config_free(&fresh);
    }
    count(server_own_counters(server), result == 0 ? COUNT_RELOADS_READ : COUNT_RELOADS_REFUSED, 1);
    if (result != 0) {
        log_error("reload", "SIGHUP: refused, everything stays as it was: %s", why);
        return;
    }
    settings_compare(server->config, &settings->config, tell_unchanged);
    log_set_level((enum log_level)settings->config.log_level);
    settings_publish(&server->settings, settings);
    announce(settings);
    wait_for_shards(server, settings);
}
