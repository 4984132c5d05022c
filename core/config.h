/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration: read once at start (and again by SIGHUP), then read-only: any thread.
 *
 * Later wins: built-in default, file (INI), environment RINGMAIN_SECTION_KEY, command line -o
 * section.key=value. Anything unknown or out of bounds is an error that names where it stood and
 * what is allowed. All errors of a file are reported, not only the first.
 */
#ifndef CORE_CONFIG_H
#define CORE_CONFIG_H

#include "core/must.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { CONFIG_STREAMS_MAX = 61, CONFIG_KEYS_MAX = 32, CONFIG_ROUTES_MAX = 64 };

struct config_stream { /* [stream NAME] */
    char *name, *table, *columns, *types;
};

struct config_key { /* [key KID]: a key that tokens are verified with; KID may be "default" */
    char *kid;
    char *algorithm;   /* HS256 … ES512 */
    char *secret;      /* for HS*: the text itself … */
    char *secret_file; /* … or a file whose bytes are it */
    char *pem_file;    /* for RS* and ES*: the public key */
};

/* The keys of a [route NAME], as ws/routes.h explains them. */
enum config_route_key {
    ROUTE_TYPES,
    ROUTE_STREAMS,
    ROUTE_HAS,
    ROUTE_TO,
    ROUTE_EMIT,
    ROUTE_DATA,
    ROUTE_STORED,
    ROUTE_FIRST,
    ROUTE_BATCH,
    ROUTE_SCOPE,
    ROUTE_ENABLED,
    ROUTE_KEYS
};

struct config_route {
    char *name;
    char *value[ROUTE_KEYS]; /* NULL: not given */
    char *where[ROUTE_KEYS]; /* "ringmain.conf:12" … for what is wrong with a value */
};

struct config {
#define NUMBER(section, key, ...) int64_t section##_##key;
#define FLAG(section, key, ...)   bool section##_##key;
#define TEXT(section, key, ...)   char *section##_##key;
#define CHOICE(section, key, ...) unsigned section##_##key;
#include "core/config.def"
#undef NUMBER
#undef FLAG
#undef TEXT
#undef CHOICE
    struct config_stream stream[CONFIG_STREAMS_MAX];
    unsigned streams;
    struct config_key key[CONFIG_KEYS_MAX];
    unsigned keys;
    struct config_route route[CONFIG_ROUTES_MAX];
    unsigned routes;
};

/*
 * Defaults, then `file` (NULL: none; absent is an error), the environment `environ_` (NULL: none),
 * then `overrides` ("section.key=value"; "key.KID.secret=…" and "stream.NAME.table=…" too). Errors
 * and warnings go to `errors`, a line each. 0, or -EINVAL or -errno: *config is then as it was.
 *
 * RINGMAIN_POSTGRES is short for RINGMAIN_POSTGRES_CONNINFO; RINGMAIN_KEY_<KID>_SECRET and the like
 * name the key in lower case. A variable that no option has is a warning.
 */
NODISCARD int config_load(struct config *config, const char *file, char *const *environ_,
                          const char *const *overrides, unsigned overrides_count, FILE *errors);
void config_free(struct config *config); /* wipes secrets */

/* Every option with its value and help, as an INI file
 * that config_load() reads back. Secrets are not shown. */
void config_print(const struct config *config, FILE *out);
/* The table for --help and the manual: name, default, bounds, help. */
void config_help(FILE *out);

#endif
