/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the server's files share: server.c has what is committed and what goes wrong, backend.c the
 * messages.
 */
#ifndef TESTS_SIM_SERVER_INTERNAL_H
#define TESTS_SIM_SERVER_INTERNAL_H

#include "core/buf.h"
#include "tests/sim/server.h"
#include "tests/sim/statement.h"

enum { PLACES_MAX = 32, BACKENDS_MAX = 4 };

/* A row of a transaction: stored, or buried. */
struct effect {
    struct event_name event;
    bool buried;
};

struct transaction {
    struct transaction *next; /* in the log: an older one; among the zombies: any */
    struct place move[STATEMENT_PLACES_MAX];
    unsigned moves;
    struct statement advance; /* of a zombie whose first statement has not been looked at yet */
    bool waits;               /* … that is one */
    bool locks;               /* the rows of its checkpoints are its own until it ends */
    bool doomed;              /* it will be rolled back */
    bool deferred;            /* it will be refused at its commit */
    struct effect *effect;
    unsigned effects, room;
    uint64_t due_ns; /* a zombie's end */
    uint64_t committed_ns;
};

struct backend {
    struct server *server;
    bool open, broken;
    char *sql;
    struct statement *statement;
    unsigned statements, next;
    struct transaction *transaction; /* NULL: no message is under way */
    struct buf data;
    const struct stream *into; /* the COPY that is being fed */
};

struct server {
    struct ledger *ledger;
    const struct streams *streams;
    struct place place[PLACES_MAX];
    unsigned places;
    struct transaction *log, *zombies;
    struct backend backend[BACKENDS_MAX];
    uint64_t away_until_ns;
    const struct stream *broken; /* a table that does not fit … */
    bool dropped;                /* … since a column is gone, or a right */
    uint64_t broken_until_ns;
};

struct transaction *transaction_new(void);
void transaction_free(struct transaction *transaction);
void transaction_add(struct transaction *transaction, struct event_name event, bool buried);

struct place *server_place(struct server *server, unsigned shard, long long epoch);
/* Somebody else has a lock on one of these. */
bool server_is_locked(const struct server *server, const struct transaction *mine,
                      const struct statement *statement);
/* Its checkpoints, as far as it may. False: refused. */
bool server_move(struct server *server, struct transaction *transaction,
                 const struct statement *statement);
void server_commit(struct server *server, struct transaction *transaction);
/* The transaction of a connection that is gone. all_sent: it could be committed without us. */
void server_abandon(struct server *server, struct transaction *transaction, bool all_sent);

#endif
