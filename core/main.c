/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ringmain's command line: which command, its options, and nothing else.
 */
#include "batch/directory.h"
#include "batch/schema.h"
#include "core/clock.h"
#include "core/command.h"
#include "core/config.h"
#include "core/dead_letters.h"
#include "core/log.h"
#include "core/send.h"
#include "core/serve.h"
#include "core/settings.h"
#include "core/tail.h"
#include "core/token.h"
#include "proto/stream.h"
#include "ws/route_table.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { OVERRIDES_MAX = 128 };

/* What serve, check and token have in common. */
struct arguments {
    const char *file;
    const char *override[OVERRIDES_MAX];
    unsigned overrides;
    bool accept_loss, print, sql;
};

static const struct command_option options[] = {
    {'c', "config", "FILE", "configuration; default /etc/ringmain/ringmain.conf if it is there"},
    {'o', "option", "SECTION.KEY=VALUE", "set one option; may be repeated"},
    {'L', "accept-loss", NULL,
     "serve: start although acknowledged events in the spool are damaged"},
    {'p', "print", NULL, "check: print every option with its value"},
    {'s', "sql", NULL, "check: print the SQL that makes all tables"},
    {'h', "help", NULL, "this text, and every option"},
};

static int usage(FILE *out)
{
    fputs("ringmain serve|check|token|send|tail|dead-letters|version [options]\n\n"
          "  serve         take in events, keep them safe, store them in Postgres; SIGTERM drains\n"
          "                and stops\n"
          "  check         read the configuration and say whether it is good\n"
          "  token         mint a development token with the configured secret\n"
          "  send          send events from files to a running ringmain\n"
          "  tail          follow rooms live\n"
          "  dead-letters  list, export or retry the rows that Postgres refused\n"
          "  version       print the version\n\n"
          "Each of them explains itself with --help.\n",
          out);
    return out == stdout ? 0 : 2;
}

static int usage_of(const char *command)
{
    printf("ringmain %s [options]\n", command);
    command_print_options(stdout, options, COUNT_OF(options));
    printf("\nconfiguration options:\n");
    config_help(stdout);
    return 0;
}

/* 0: go on; else the exit status plus one. */
static int read_arguments(const char *command, char **words, struct arguments *out)
{
    struct command_line line = {
        .arguments = words, .options = options, .options_count = COUNT_OF(options)};
    for (int option; (option = command_next(&line)) != COMMAND_END;) {
        switch (option) {
        case 'c':
            out->file = line.value;
            break;
        case 'o':
            if (out->overrides == OVERRIDES_MAX) {
                fprintf(stderr, "ringmain %s: more than %d -o options\n", command, OVERRIDES_MAX);
                return 3;
            }
            out->override[out->overrides++] = line.value;
            break;
        case 'L':
            out->accept_loss = true;
            break;
        case 'p':
            out->print = true;
            break;
        case 's':
            out->sql = true;
            break;
        case 'h':
            return usage_of(command) + 1;
        default:
            fprintf(stderr, "ringmain %s: %s\n", command,
                    option == COMMAND_WRONG ? line.wrong : "takes no operand; see --help");
            return 3;
        }
    }
    return 0;
}

static int load(void *context, struct config *out, FILE *errors)
{
    static const char installed[] = "/etc/ringmain/ringmain.conf";
    const struct arguments *arguments = context;
    const char *file = arguments->file;
    if (file == NULL && access(installed, F_OK) == 0)
        file = installed;
    return config_load(out, file, environ, arguments->override, arguments->overrides, errors);
}

static void print_sql(const struct streams *streams)
{
    char sql[STREAM_SQL_BYTES];
    printf("%s\n", schema_own_sql());
    for (unsigned i = 0; i < streams_count(streams); i++)
        if (stream_create_sql(streams_at(streams, i), sql, sizeof sql))
            printf("%s;\n", sql);
}

/* The connection string and the statements for look-ups, judged by those who will use them. */
static bool lookups_are_good(const struct config *config, const struct streams *streams, char *why)
{
    struct directory_stage *stage = NULL;
    struct directory_options asked = {
        .conninfo = config->postgres_conninfo,
        .project_sql = config->directory_project_sql,
        .room_sql = config->directory_room_sql,
        .messages = streams_find(streams, "messages"),
        .page_bytes_max = 1,
        .shards = 1,
        .remembered = 1,
        .waiting = 1,
    };
    bool good = directory_stage_open(&stage, &asked, why) == 0;
    directory_stage_close(stage);
    return good;
}

static void show(const struct config *config, const struct arguments *arguments,
                 const struct streams *streams, const struct settings *settings)
{
    if (arguments->print)
        config_print(config, stdout);
    else if (arguments->sql)
        print_sql(streams);
    else
        printf("the configuration is good: %u streams, %u keys, %u routes\n",
               streams_count(streams), jwt_keys_count(settings->keys),
               route_table_count(settings->routes));
}

/* All that serve looks at before it looks at the world, the files with keys included. */
static int check(const struct config *config, const struct arguments *arguments)
{
    char why[SETTINGS_WHY];
    struct settings *settings = NULL;
    struct streams *streams = serve_streams(config, why);
    bool good =
        streams != NULL && lookups_are_good(config, streams, why) &&
        settings_open(&settings, config, streams, NULL, clock_wall_us() / 1000000, why) == 0;
    if (good)
        show(config, arguments, streams, settings);
    else
        fprintf(stderr, "ringmain check: %s\n", why);
    settings_close(settings);
    if (streams != NULL)
        streams_close(streams);
    return good ? 0 : 1;
}

static int configured(const char *command, char **words)
{
    struct arguments arguments = {0};
    struct config config;
    int result = read_arguments(command, words, &arguments);
    if (result != 0)
        return result - 1;
    if (load(&arguments, &config, stderr) != 0)
        return 1;
    log_setup((enum log_level)config.log_level, (enum log_format)config.log_format);
    struct serve_options how = {
        .accept_loss = arguments.accept_loss, .load = load, .context = &arguments};
    result = strcmp(command, "check") == 0 ? check(&config, &arguments) : serve(&config, &how);
    config_free(&config);
    return result;
}

int main(int count, char **words)
{
    const char *command = count > 1 ? words[1] : "";
    if (strcmp(command, "serve") == 0 || strcmp(command, "check") == 0)
        return configured(command, words + 2);
    if (strcmp(command, "send") == 0)
        return send_main(count - 2, words + 2);
    if (strcmp(command, "tail") == 0)
        return tail_main(words + 2);
    if (strcmp(command, "dead-letters") == 0)
        return dead_letters_main(words + 2);
    if (strcmp(command, "token") == 0)
        return token_main(words + 2);
    if (strcmp(command, "version") == 0 || strcmp(command, "--version") == 0) {
        puts("ringmain " RINGMAIN_VERSION);
        return 0;
    }
    if (strcmp(command, "help") == 0 || strcmp(command, "--help") == 0 ||
        strcmp(command, "-h") == 0)
        return usage(stdout);
    if (command[0] != '\0')
        fprintf(stderr, "ringmain: there is no command %s\n", command);
    return usage(stderr);
}
