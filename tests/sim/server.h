/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulated Postgres: checkpoints, rows (what they come to stands in the ledger), dead letters,
 * transactions and what becomes of them when their connection breaks.
 *
 *   message ─► statements, one after the other, in one transaction ─► commit
 *      │            └─ refused: a row, a table, a lack of something     └─► the log, newest first
 *      └─ the connection breaks: what was sent in full was applied, is lost, or is still on its way,
 *         with its locks or without; what was not is rolled back, sooner or later
 *
 * A fail-over loses the end of the log. Whatever else happens, what was committed stays.
 */
#ifndef TESTS_SIM_SERVER_H
#define TESTS_SIM_SERVER_H

#include "batch/postgres.h"
#include "tests/sim/ledger.h"

struct server;

struct server *server_open(struct ledger *ledger, const struct streams *streams);
void server_close(struct server *server);

uint64_t server_next_ns(const struct server *server);
void server_work(struct server *server);
/* What goes wrong, and that nothing of it goes on. */
void server_go_away(struct server *server, uint64_t for_ns);
void server_fail_over(struct server *server, uint64_t newest_ns /* what is younger may be lost */);
void server_break_table(struct server *server, uint64_t for_ns);
void server_calm(struct server *server);

/* How far a shard has been stored, committed. */
uint64_t server_checkpoint(const struct server *server, unsigned shard, uint64_t epoch);

/* ── Backends: for the door (tests/sim/postgres.c) ──────────────────────────────────────────── */

struct backend;

struct backend *backend_open(struct server *server); /* NULL: nobody answers */
/* In the middle of something: then nobody knows what becomes of it. */
void backend_close(struct backend *backend);
/* Becomes true in the moment when it breaks. */
const bool *backend_is_broken(const struct backend *backend);
void backend_break(struct backend *backend);

void backend_send(struct backend *backend, const char *sql);

enum step {
    STEP_DONE,    /* a statement is answered */
    STEP_DATA,    /* a COPY wants its data */
    STEP_WAITS,   /* for a lock: ask again later */
    STEP_REFUSED, /* and all of the transaction with it */
    STEP_END,     /* there are no more */
};
/* The next statement. */
enum step backend_step(struct backend *backend, postgres_row *row, void *context,
                       struct postgres_error *error);
void backend_data(struct backend *backend, struct span bytes);
enum step backend_data_end(struct backend *backend, struct postgres_error *error);
/* DONE or REFUSED. */
enum step backend_commit(struct backend *backend, struct postgres_error *error);

#endif
