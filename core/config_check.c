/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules that hold between options. A message names both sides and what to do.
 */
#include "core/command.h"
#include "core/config_option.h"

#include <stdarg.h>
#include <string.h>

struct check {
    FILE *errors;
    unsigned failures;
};

PRINTF_LIKE(3, 4)
static void demand(struct check *check, bool holds, const char *format, ...)
{
    if (holds)
        return;
    va_list arguments;
    va_start(arguments, format);
    vfprintf(check->errors, format, arguments);
    fputc('\n', check->errors);
    va_end(arguments);
    check->failures++;
}

static bool power_of_two(int64_t number)
{
    return number > 0 && (number & (number - 1)) == 0;
}

static void check_limits(struct check *check, const struct config *config)
{
    demand(check, power_of_two(config->limits_receive_buffers),
           "limits.receive_buffers = %lld: must be a power of two, such as 256",
           (long long)config->limits_receive_buffers);
    demand(check,
           config->limits_completions == 0 ||
               (power_of_two(config->limits_completions) && config->limits_completions >= 1024),
           "limits.completions = %lld: must be a power of two from 1024, or 0",
           (long long)config->limits_completions);
    demand(check, config->limits_event_bytes <= config->limits_body_bytes,
           "limits.body_bytes must be at least limits.event_bytes: no event would fit a body");
    demand(
        check, config->limits_event_bytes <= config->limits_message_bytes,
        "limits.message_bytes must be at least limits.event_bytes: no event would fit a message");
    demand(
        check, config->limits_body_bytes <= config->limits_connection_memory / 2,
        "limits.connection_memory must be at least twice limits.body_bytes: one body has to fit");
    demand(check, config->limits_message_bytes <= config->limits_connection_memory / 2,
           "limits.connection_memory must be at least twice limits.message_bytes: one message has "
           "to fit");
    demand(check, config->limits_output_bytes <= config->limits_connection_memory,
           "limits.connection_memory must be at least limits.output_bytes");
}

static void check_storage(struct check *check, const struct config *config)
{
    demand(check, config->spool_bytes >= 4 * config->spool_segment_bytes,
           "spool.bytes must be at least 4 times spool.segment_bytes: one segment is written, one "
           "is made ready, the others are stored and freed");
    demand(check, config->spool_segment_bytes % 4096 == 0,
           "spool.segment_bytes must be a multiple of 4096 for O_DIRECT");
    demand(check, config->spool_directory[0] != '\0', "spool.directory must not be empty");
    demand(check, config->postgres_retry_min_ms <= config->postgres_retry_max_ms,
           "postgres.retry_min_ms must not be above postgres.retry_max_ms");
}

/* "127.0.0.1:7070", "[::]:7070", or empty. */
static void check_address(struct check *check, const char *key, const char *address)
{
    const char *colon = strrchr(address, ':');
    int64_t port;
    bool fine = address[0] == '\0' ||
                (colon != NULL && colon > address && command_number(colon + 1, 0, 65535, &port) &&
                 (memchr(address, ':', (size_t)(colon - address)) == NULL ||
                  (address[0] == '[' && colon[-1] == ']')));
    demand(check, fine,
           "listen.%s = %.64s: must be an address and a port such as 0.0.0.0:8080 or "
           "[::]:8080, or empty",
           key, address);
}

/* Two doors can't have one port. The kernel chooses a port 0 anew for each. */
static void check_apart(struct check *check, const char *key, const char *address,
                        const char *other_key, const char *other)
{
    const char *colon = strrchr(address, ':');
    bool chosen = colon != NULL && strspn(colon + 1, "0") == strlen(colon + 1);
    demand(check, address[0] == '\0' || chosen || strcmp(address, other) != 0,
           "listen.%s and listen.%s are both %.64s: each door needs a port of its own", key,
           other_key, address);
}

static void check_doors(struct check *check, const struct config *config)
{
    check_address(check, "tcp", config->listen_tcp);
    check_address(check, "http", config->listen_http);
    check_address(check, "metrics", config->listen_metrics);
    check_apart(check, "tcp", config->listen_tcp, "http", config->listen_http);
    check_apart(check, "tcp", config->listen_tcp, "metrics", config->listen_metrics);
    check_apart(check, "http", config->listen_http, "metrics", config->listen_metrics);
}

static bool is_set(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static void check_key(struct check *check, const struct config_key *key)
{
    static const char *const algorithms[] = {"HS256", "HS384", "HS512", "RS256", "RS384",
                                             "RS512", "ES256", "ES384", "ES512"};
    bool known = false;
    for (unsigned i = 0; i < COUNT_OF(algorithms); i++)
        known = known || (key->algorithm != NULL && strcmp(key->algorithm, algorithms[i]) == 0);
    demand(check, known,
           "[key %s] algorithm must be one of HS256, HS384, HS512, RS256, RS384, "
           "RS512, ES256, ES384, ES512",
           key->kid);
    if (!known)
        return;
    if (key->algorithm[0] == 'H') {
        demand(check, is_set(key->secret) != is_set(key->secret_file),
               "[key %s] needs either a secret or a secret_file for %s", key->kid, key->algorithm);
        demand(check, !is_set(key->pem_file), "[key %s] takes no pem_file for %s", key->kid,
               key->algorithm);
    } else {
        demand(check, is_set(key->pem_file), "[key %s] needs a pem_file, the public key, for %s",
               key->kid, key->algorithm);
        demand(check, !is_set(key->secret) && !is_set(key->secret_file),
               "[key %s] takes no secret for %s", key->kid, key->algorithm);
    }
}

static void check_auth(struct check *check, const struct config *config)
{
    for (unsigned i = 0; i < config->keys; i++)
        check_key(check, &config->key[i]);
    if (config->auth_required && config->keys == 0 && !is_set(config->auth_jwks_file))
        fprintf(check->errors, "warning: auth.required = yes, but there is neither a [key …] nor "
                               "auth.jwks_file: everybody will be refused\n");
}

static void check_live(struct check *check, const struct config *config)
{
    enum { STORED = 2 };
    demand(check, config->live_after != STORED || is_set(config->postgres_conninfo),
           "live.after = stored needs postgres.conninfo: without Postgres nothing is ever stored");
}

static void check_streams(struct check *check, const struct config *config)
{
    for (unsigned i = 0; i < config->streams; i++)
        demand(
            check, is_set(config->stream[i].columns),
            "[stream %s] needs columns, such as: columns = id text from id, data jsonb from data",
            config->stream[i].name);
}

/* As every event's type (CONTRACTS.md 1); empty: there are no bare events. */
static void check_bare_type(struct check *check, const char *type)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:-";
    size_t length = strlen(type);
    demand(check, length <= 64 && strspn(type, allowed) == length,
           "events.bare_type = %.80s: allowed: 1 to 64 of A-Z a-z 0-9 _ . : -, or empty", type);
}

unsigned config_check(const struct config *config, FILE *errors)
{
    struct check check = {.errors = errors};
    check_limits(&check, config);
    check_storage(&check, config);
    check_doors(&check, config);
    check_auth(&check, config);
    check_streams(&check, config);
    check_live(&check, config);
    check_bare_type(&check, config->events_bare_type);
    return check.failures;
}
