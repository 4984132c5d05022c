/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What SIGHUP may change while everything runs: the keys, who must have a token, limits, times,
 * origins, routes (config_is_live() says which). One object, made by the main thread, never changed
 * afterwards, and read by all shards; the next one takes its place:
 *
 *   main thread      settings_open ─► settings_publish ─► every shard is woken
 *   shard, in a turn settings_of ─ another than mine? ─► takes over what it says ─► settings_adopt
 *   main thread      settings_reap: all shards have: the former ones are freed
 *
 * A shard keeps nothing of the former settings behind settings_adopt(). A new object that can't be
 * made (a key that can't be read, no memory) is never published, so the old one simply stays.
 */
#ifndef CORE_SETTINGS_H
#define CORE_SETTINGS_H

#include "core/config.h"
#include "proto/cors.h"
#include "proto/jwt.h"
#include "ws/route_table.h"

#include <stdatomic.h>

struct settings {
    struct config config; /* of it, only what is live may be read here */
    bool owns_config;
    struct jwt_keys *keys;
    struct cors *cors;
    struct route_table *routes;
    int former_keys;          /* of the keys before, so many are good for a while */
    _Atomic unsigned adopted; /* shards that know of no former one any more */
    struct settings *former;  /* replaced, and perhaps still in use */
};

/* Where the present ones are found: any thread. */
struct settings_board {
    _Atomic(struct settings *) present;
};

enum { SETTINGS_WHY = ROUTE_WHY_BYTES };
/* 0 or -errno, with a sentence in `why` (SETTINGS_WHY). The streams outlive them. At the start: before NULL, and *config remains
 * the caller's; later the new settings own it, if they come about. now_s: seconds since 1970. */
NODISCARD int settings_open(struct settings **out, const struct config *config,
                            const struct streams *streams, const struct settings *before,
                            int64_t now_s, char *why);
/* With all former ones. Nobody uses them any more. */
void settings_close(struct settings *settings);

void settings_publish(struct settings_board *board, struct settings *settings);
struct settings *settings_of(const struct settings_board *board);
void settings_adopt(struct settings *settings);
/* Frees the former ones, if all shards have adopted these. False: not yet. */
bool settings_reap(struct settings *settings, unsigned shards);

/* Calls `tell` for each option, and each kind of section, that is not live and differs. */
void settings_compare(const struct config *running, const struct config *fresh,
                      void (*tell)(const char *section, const char *key));

#endif
