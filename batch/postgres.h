/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The door to Postgres: one libpq connection that never blocks the thread for longer than its owner
 * allows. Only this file's .c (and batch/directory.c) includes libpq. One thread.
 *
 * The calls read as if they blocked. Wherever one has to wait, it asks its owner's `patience`
 * first: the owner looks into its mail, says how long the sleep may last, or that it wants no more
 * of it (ANSWER_STOPPED; the connection is then in the middle of something, and only
 * postgres_disconnect() may follow).
 *
 *   postgres_open → postgres_connect → postgres_query …
 *   postgres_begin → postgres_statement … → (postgres_copy → postgres_put … → postgres_copy_end) …
 *                  → postgres_finish
 */
#ifndef BATCH_POSTGRES_H
#define BATCH_POSTGRES_H

#include "core/must.h"
#include "core/span.h"

struct postgres;

enum answer {
    ANSWER_OK = 0,
    /* The server said no: postgres_error(); the transaction is gone, the connection lives. */
    ANSWER_REFUSED = -1,
    /* No connection (any more): what was in flight may or may not have been committed. */
    ANSWER_LOST = -2,
    /* The owner's patience ended. */
    ANSWER_STOPPED = -3,
};

struct postgres_error {
    char sqlstate[6]; /* "" where there is none */
    char message[256];
    char context[512];
};

struct patience {
    void *context;
    int doorbell; /* an eventfd; its ring ends a sleep early */
    /* Called before each sleep; waited_ns: how long the server has already been silent in this
     * wait. Returns how many ms to sleep at most (0: only look at the socket), or -1: stop. */
    int (*look)(void *context, uint64_t waited_ns);
};

/* Takes a connection string or URI. NULL: it can't be read, or no memory;
 * `why` (256 bytes) says which, and never repeats what may hold a password. */
NODISCARD struct postgres *postgres_open(const char *conninfo, char *why);
void postgres_close(struct postgres *postgres);
/* "database orders on db.example:5432", for logs. */
const char *postgres_name(const struct postgres *postgres);
const struct postgres_error *postgres_error(const struct postgres *postgres);

/* Connects, after closing what was there: OK, LOST (postgres_error() says why) or STOPPED. */
NODISCARD enum answer postgres_connect(struct postgres *postgres, const struct patience *patience);
void postgres_disconnect(struct postgres *postgres);
bool postgres_connected(const struct postgres *postgres);
/* One sleep with nothing asked of the server:
 * OK (somebody rang, or the time is over), LOST or STOPPED. */
NODISCARD enum answer postgres_idle(struct postgres *postgres, const struct patience *patience);

/* A row of an answer: text, NULL as {NULL,0}; valid during the call. */
typedef void postgres_row(void *context, unsigned columns, const struct span *column);

/* Statements in one message, hence in one transaction. `row` may be NULL. */
NODISCARD enum answer postgres_query(struct postgres *postgres, const struct patience *patience,
                                     const char *sql, postgres_row *row, void *context);

/* One statement with parameters, each a text ending in NUL, or NULL. Rows come as they arrive, so
 * that none has to be kept however many there are; of more than 16 columns the first 16. */
NODISCARD enum answer postgres_ask(struct postgres *postgres, const struct patience *patience,
                                   const char *sql, const char *const *parameters,
                                   unsigned parameters_count, postgres_row *row, void *context);

/*
 * The same with COPY … FROM STDIN among the statements: `begin` sends the message; `statement`
 * waits for the end of a statement that is no COPY; `copy` waits until the next COPY wants its
 * data, `put` sends some, `copy_end` its end; `finish` waits for the commit. Once a call has
 * returned anything but OK only finish() may follow, for ANSWER_REFUSED, or disconnect().
 */
NODISCARD enum answer postgres_begin(struct postgres *postgres, const struct patience *patience,
                                     const char *sql);
NODISCARD enum answer postgres_statement(struct postgres *postgres,
                                         const struct patience *patience);
/* How many rows the statement before has changed. */
uint64_t postgres_rows(const struct postgres *postgres);
NODISCARD enum answer postgres_copy(struct postgres *postgres, const struct patience *patience);
enum { POSTGRES_PUT_MAX = 64 * 1024 }; /* bytes a call; they are copied before it sleeps */
NODISCARD enum answer postgres_put(struct postgres *postgres, const struct patience *patience,
                                   struct span bytes);
NODISCARD enum answer postgres_copy_end(struct postgres *postgres, const struct patience *patience);
NODISCARD enum answer postgres_finish(struct postgres *postgres, const struct patience *patience);

#endif
