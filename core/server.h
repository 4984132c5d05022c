/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One struct holds the process. What core/serve*.c share; private to them.
 */
#ifndef CORE_SERVER_H
#define CORE_SERVER_H

#include "core/gateway.h"
#include "core/serve.h"
#include "metrics/stage.h"

#include <signal.h>

enum { SERVER_WHY = 512, WRITERS_MAX = 16 };

/* Everything that belongs to one shard. */
struct seat {
    struct server *server; /* for the recovery's callbacks */
    unsigned index;
    bool orphan;  /* of a higher shard count: its spool is left to be stored and removed */
    bool starved; /* there was no memory for what its spool remembers */
    struct spool *spool;
    struct spool_recovery recovery;
    struct producers *producers;
    struct mail *to_writer, *from_writer;
    struct gateway *gateway;
    struct shard *shard;
};

struct server {
    const struct config *config;
    const struct serve_options *options;
    struct node node;
    char host[SPOOL_NODE_MAX + 1];
    sigset_t signals;
    struct streams *streams;
    struct settings_board settings;
    struct spool_directory *directory;
    struct dedup *dedup;
    struct progress *progress;
    struct stats *stats;
    struct counters *counters; /* a shard each, a writer each, the directory's, our own */
    struct counters *counters_list[SHARDS_MAX + WRITERS_MAX + 2];
    struct seat seat[SHARDS_MAX];
    unsigned shards, seats;
    struct writer *writer[WRITERS_MAX];
    struct sleeper writer_sleeper[WRITERS_MAX];
    struct writer_source source[WRITERS_MAX][SHARDS_MAX];
    unsigned sources[WRITERS_MAX], writers;
    struct directory_stage *lookups;
    struct allowance *allowance;
    struct hub_node *hubs;
    struct sockets *sockets;
    struct dashboard *dashboard;
    struct metrics_stage *stage;
    uint16_t port_tcp, port_http, port_metrics;
    char why[SERVER_WHY];
};

/* Recovers the spools: of the shards that run, to write on,
 * and of those that an earlier start left behind, to be read to their end. */
NODISCARD int serve_make_spools(struct server *server);

/* The address with the port that was really bound, so that all shards share one that was asked
 * for as 0. `out` has 300 bytes. */
void serve_resolve(const char *address, uint16_t port, char out[300]);
/* The last step of a start: the log, and node.ready_file. 0 or -EIO. */
NODISCARD int serve_tell_ready(struct server *server);

/* The counters of the two threads that there is one of. */
static inline struct counters *server_directory_counters(struct server *server)
{
    return &server->counters[server->shards + server->writers];
}

static inline struct counters *server_own_counters(struct server *server)
{
    return &server->counters[server->shards + server->writers + 1];
}

/* SIGHUP: reads the configuration again. What is wrong with it, or has changed
 * and can't while we run, is in the log. The main thread. */
void serve_reload(struct server *server);

#endif
