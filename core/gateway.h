/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gateway: what one shard's connections lead to. It stands on the roof,
 * sees all rooms, and fills in the shard's `struct house`: which wire speaks
 * at which door, and what happens in a turn between the sockets and the spool.
 * One a shard; after gateway_open() everything is called on the shard's thread.
 */
#ifndef CORE_GATEWAY_H
#define CORE_GATEWAY_H

#include "batch/dedup.h"
#include "batch/directory.h"
#include "batch/producers.h"
#include "batch/spool.h"
#include "batch/writer.h"
#include "core/config.h"
#include "core/settings.h"
#include "core/shard.h"
#include "metrics/stats.h"

struct gateway;

enum door { DOOR_TCP, DOOR_HTTP };

/* What all shards and the operator's pages see of the whole process. Made before the threads, then read-only;
 * what SIGHUP may change is behind `settings`, the rest of `config` holds to the end. */
struct node {
    const struct config *config;
    const char *name;
    const struct streams *streams;
    const struct settings_board *settings; /* what may change */
    struct dedup *dedup;
    const uint8_t *dedup_secret;
    struct progress *progress; /* [SHARDS_MAX] */
    struct stats *stats;
    struct writer *const *writer;
    unsigned writers; /* 0: the spool is all there is */
    unsigned shards;
    struct hub_node *hubs;       /* what the shards' hubs share */
    struct allowance *allowance; /* what users and addresses may have, over all shards */
    struct sockets *sockets;     /* counted by tenant and room */
    struct dashboard *dashboard; /* NULL: dashboard.users = 0 */
    uint64_t started_ns;
};

struct gateway_options {
    const struct node *node;
    unsigned shard;
    struct spool *spool;         /* stays the caller's */
    struct producers *producers; /* stays the caller's */
    struct mail *to_writer;      /* struct block *; NULL: no writer */
    struct mail *from_writer;
    struct sleeper *writer_sleeper;
    unsigned tokens_max;         /* verified ones that are remembered */
    struct directory *directory; /* this shard's desk; NULL: there is none */
};

/* 0 or -errno. */
NODISCARD int gateway_open(struct gateway **out, const struct gateway_options *options, char *why);
void gateway_close(struct gateway *gateway);
const struct house *gateway_house(const struct gateway *gateway);

#endif
