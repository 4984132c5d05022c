/* SPDX-License-Identifier: Apache-2.0 */
#include "core/token.h"

#include "core/clock.h"
#include "core/command.h"
#include "core/config.h"
#include "proto/jwt.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { OVERRIDES_MAX = 32, SECRET_MAX = 16385 /* one more than a key may have */ };

struct arguments {
    const char *file, *override[OVERRIDES_MAX];
    unsigned overrides;
    struct jwt_claims claims;
    int64_t days;
};

static const struct command_option options[] = {
    {'c', "config", "FILE",
     "configuration with the [key …] section to sign with; default /etc/ringmain/ringmain.conf if "
     "it is there"},
    {'o', "option", "SECTION.KEY=VALUE", "set one option; may be repeated"},
    {'u', "user", "ID", "claim sub; default demo"},
    {'t', "tenant", "ID", "claim tenantId"},
    {'e', "email", "ADDRESS", "claim email"},
    {'s', "scope", "WORDS", "claim scope, words separated by blanks"},
    {'k', "kid", "NAME", "which [key …]; default: default"},
    {'d', "days", "N", "how long it is good for; default 1"},
    {'h', "help", NULL, "this text"},
};

static int wrong(const char *what)
{
    fprintf(stderr, "ringmain token: %s\n", what);
    return 3;
}

static int take(struct arguments *arguments, int option, const char *value)
{
    struct jwt_claims *claims = &arguments->claims;
    switch (option) {
    case 'c':
        arguments->file = value;
        return 0;
    case 'o':
        if (arguments->overrides == OVERRIDES_MAX)
            return wrong("too many -o options");
        arguments->override[arguments->overrides++] = value;
        return 0;
    case 'u':
        claims->user = value;
        return 0;
    case 't':
        claims->tenant = value;
        return 0;
    case 'e':
        claims->email = value;
        return 0;
    case 's':
        claims->scope = value;
        return 0;
    case 'k':
        claims->kid = value;
        return 0;
    case 'd':
        return command_number(value, 1, 36500, &arguments->days) ? 0
                                                                 : wrong("--days wants 1 to 36500");
    case 'h':
        puts("ringmain token [options]");
        command_print_options(stdout, options, COUNT_OF(options));
        return 1;
    default:
        return wrong("takes no operand; see --help");
    }
}

static const struct config_key *find_key(const struct config *config, const char *kid)
{
    for (unsigned i = 0; i < config->keys; i++)
        if (strcmp(config->key[i].kid, kid) == 0)
            return &config->key[i];
    return NULL;
}

/* The key's secret into `out`; how many bytes, or -errno. */
static ssize_t read_secret(const struct config_key *key, char *out)
{
    if (key->secret != NULL) {
        size_t length = strlen(key->secret);
        if (length >= SECRET_MAX)
            return -EFBIG;
        memcpy(out, key->secret, length);
        return (ssize_t)length;
    }
    FILE *file = key->secret_file == NULL ? NULL : fopen(key->secret_file, "rb");
    if (file == NULL)
        return key->secret_file == NULL ? -EINVAL : -errno;
    size_t length = fread(out, 1, SECRET_MAX, file);
    int error = ferror(file) ? errno : length == SECRET_MAX ? EFBIG : 0;
    fclose(file);
    return error != 0 ? -error : (ssize_t)length;
}

static int mint(const struct config *config, struct arguments *arguments)
{
    char secret[SECRET_MAX];
    char token[JWT_TOKEN_MAX];
    struct jwt_claims *claims = &arguments->claims;
    const struct config_key *key = find_key(config, claims->kid);
    if (key == NULL || key->algorithm == NULL || strcmp(key->algorithm, "HS256") != 0) {
        fprintf(stderr, "ringmain token: there is no [key %s] with algorithm = HS256\n",
                claims->kid);
        return 1;
    }
    ssize_t length = read_secret(key, secret);
    if (length < 0) {
        fprintf(stderr, "ringmain token: the secret of [key %s]: %s\n", key->kid,
                strerror((int)-length));
        return 1;
    }
    claims->issuer = config->auth_issuer[0] == '\0' ? NULL : config->auth_issuer;
    claims->audience = config->auth_audience[0] == '\0' ? NULL : config->auth_audience;
    claims->issued_s = clock_wall_us() / 1000000;
    claims->expires_s = claims->issued_s + arguments->days * 86400;
    int made = jwt_mint(span_of(secret, (size_t)length), claims, token, sizeof token);
    explicit_bzero(secret, sizeof secret);
    if (made < 0) {
        fprintf(stderr, "ringmain token: cannot mint: %s\n", strerror(-made));
        return 1;
    }
    puts(token);
    return 0;
}

int token_main(char **words)
{
    static const char installed[] = "/etc/ringmain/ringmain.conf";
    struct arguments arguments = {.claims = {.user = "demo", .kid = "default"}, .days = 1};
    struct command_line line = {
        .arguments = words, .options = options, .options_count = COUNT_OF(options)};
    struct config config;
    int result;
    for (int option; (option = command_next(&line)) != COMMAND_END;) {
        if (option == COMMAND_WRONG)
            return wrong(line.wrong) - 1;
        if ((result = take(&arguments, option, line.value)) != 0)
            return result - 1;
    }
    if (arguments.file == NULL && access(installed, F_OK) == 0)
        arguments.file = installed;
    result = config_load(&config, arguments.file, environ, arguments.override, arguments.overrides,
                         stderr);
    if (result != 0)
        return 1;
    result = mint(&config, &arguments);
    config_free(&config);
    return result;
}
