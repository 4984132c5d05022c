/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A backend: the messages of one connection, statement by statement.
 */
#include "batch/copy.h"
#include "tests/sim/server_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROW_MAX = 256 * 1024, DATA_MAX = 64 * 1024 * 1024 };

/* ── Refusals ───────────────────────────────────────────────────────────────────────────────── */

static enum step refuse(struct backend *backend, struct postgres_error *error, const char *sqlstate,
                        const char *message)
{
    *error = (struct postgres_error){0};
    (void)snprintf(error->sqlstate, sizeof error->sqlstate, "%s", sqlstate);
    (void)snprintf(error->message, sizeof error->message, "%s", message);
    tell("postgres: %s: %s", sqlstate, message);
    transaction_free(backend->transaction);
    backend->transaction = NULL;
    backend->next = backend->statements;
    backend->into = NULL;
    return STEP_REFUSED;
}

static enum step refuse_for_now(struct backend *backend, struct postgres_error *error)
{
    static const char *const states[] = {"40001", "40P01", "53100", "55P03", "57014", "57P01"};
    const char *state = states[below(COUNT_OF(states))];
    saw(SAW_REFUSED_FOR_NOW);
    backend->broken = backend->broken || strcmp(state, "57P01") == 0;
    return refuse(backend, error, state, "not now");
}

/* Which of its rows does the operator's table refuse? By the number of the event, so that the next
 * attempt meets the same refusal. */
static enum step refuse_row(struct backend *backend, struct postgres_error *error,
                            enum poison poison, unsigned line)
{
    static const char *const states[POISONS] = {
        [POISON_VALUE] = "22P02", [POISON_CONSTRAINT] = "23514", [POISON_STATEMENT] = "P0001"};
    enum step step = refuse(backend, error, states[poison], "this row is refused");
    if (poison == POISON_STATEMENT)
        (void)snprintf(error->context, sizeof error->context,
                       "PL/pgSQL function f() line 3 at RAISE");
    else
        (void)snprintf(error->context, sizeof error->context, "COPY events, line %u, column data",
                       line);
    return step;
}

/* ── Statements ─────────────────────────────────────────────────────────────────────────────── */

static enum step move(struct backend *backend, const struct statement *statement,
                      struct postgres_error *error)
{
    struct server *server = backend->server;
    if (server_is_locked(server, backend->transaction, statement))
        return STEP_WAITS;
    if (!server_move(server, backend->transaction, statement))
        return refuse(backend, error, "22012", "division by zero");
    return STEP_DONE;
}

static const struct stream *stream_named(const struct server *server, const char *name)
{
    for (unsigned i = 0; i < streams_count(server->streams); i++)
        if (strcmp(streams_at(server->streams, i)->name, name) == 0)
            return streams_at(server->streams, i);
    return NULL;
}

/* node, stream, copy_sql, raw, reason, sqlstate */
static void bury(struct backend *backend, const struct statement *statement)
{
    static uint8_t raw[ROW_MAX];
    uint8_t name[64] = {0};
    struct event_name event;
    (void)statement_constant(statement, 1, name, sizeof name - 1);
    const struct stream *stream = stream_named(backend->server, (const char *)name);
    int length = statement_constant(statement, 3, raw, sizeof raw);
    if (stream == NULL || length < 0)
        blame("a dead letter can't be read: %.100s", (const char *)statement->text.at);
    else if (ledger_name(backend->server->ledger, stream, span_of(raw, (size_t)length), &event))
        transaction_add(backend->transaction, event, true);
}

static enum step copy(struct backend *backend, const struct statement *statement,
                      struct postgres_error *error)
{
    const struct server *server = backend->server;
    char sql[STREAM_SQL_BYTES];
    backend->into = NULL;
    for (unsigned i = 0; i < streams_count(server->streams); i++)
        if (stream_copy_sql(streams_at(server->streams, i), sql, sizeof sql) &&
            span_is(statement->text, sql))
            backend->into = streams_at(server->streams, i);
    if (backend->into == NULL) {
        blame("a COPY of no stream: %.*s", SPAN_ARGS(statement->text));
        return refuse(backend, error, "42601", "what is this?");
    }
    if (backend->into == server->broken) {
        saw(SAW_HOLDS);
        return refuse(backend, error, server->dropped ? "42703" : "42501",
                      "the table is not right");
    }
    backend->data.length = 0;
    return STEP_DATA;
}

static void place(struct backend *backend, const struct statement *statement)
{
    struct server *server = backend->server;
    for (unsigned i = 0; i < statement->places; i++) {
        struct place want = statement->place[i];
        if (server_place(server, want.shard, want.epoch) != NULL)
            continue;
        must(server->places < PLACES_MAX);
        want.from = want.to = 0;
        server->place[server->places++] = want;
    }
}

static enum step read_places(struct backend *backend, const struct statement *statement,
                             postgres_row *row, void *context)
{
    struct server *server = backend->server;
    if (statement->locks && server_is_locked(server, backend->transaction, statement)) {
        saw(SAW_LOCK_WAITS);
        return STEP_WAITS;
    }
    for (unsigned i = 0; i < statement->places; i++) {
        const struct place *is =
            server_place(server, statement->place[i].shard, statement->place[i].epoch);
        char text[3][24];
        if (is == NULL || row == NULL)
            continue;
        (void)snprintf(text[0], sizeof text[0], "%u", is->shard);
        (void)snprintf(text[1], sizeof text[1], "%lld", is->epoch);
        (void)snprintf(text[2], sizeof text[2], "%lld", is->to);
        struct span cell[3] = {span_of_string(text[0]), span_of_string(text[1]),
                               span_of_string(text[2])};
        row(context, 3, cell);
    }
    return STEP_DONE;
}

/* Name, type, "must be given a value", "can't be given one" of each column; the last one of a
 * broken table is gone. */
static void read_table(struct backend *backend, const struct statement *statement,
                       postgres_row *row, void *context)
{
    const struct server *server = backend->server;
    char name[STREAM_TABLE_BYTES] = "", table[STREAM_TABLE_BYTES];
    unsigned constant = 0;
    while (statement_constant(statement, constant, (uint8_t *)name, sizeof name - 1) > 0 &&
           constant < 8)
        constant++;
    for (unsigned i = 0; i < streams_count(server->streams); i++) {
        const struct stream *stream = streams_at(server->streams, i);
        bool gone = stream == server->broken && server->dropped;
        if (!stream_table_sql(stream, table, sizeof table) || strcmp(table, name) != 0)
            continue;
        for (unsigned j = 0; row != NULL && j < stream->columns - (gone ? 1 : 0); j++) {
            enum column_type type = stream->column[j].type;
            struct span cell[4] = {span_of_string(stream->column[j].name),
                                   span_of_string(type == COLUMN_TIMESTAMPTZ
                                                      ? "timestamp with time zone"
                                                      : column_type_sql(type)),
                                   SPAN("f"), SPAN("f")};
            row(context, 4, cell);
        }
    }
}

static enum step carry_out(struct backend *backend, const struct statement *statement,
                           postgres_row *row, void *context, struct postgres_error *error)
{
    switch (statement->kind) {
    case STATEMENT_MOVE:
        return move(backend, statement, error);
    case STATEMENT_BURY:
        bury(backend, statement);
        return STEP_DONE;
    case STATEMENT_COPY:
        return copy(backend, statement, error);
    case STATEMENT_PLACE:
        place(backend, statement);
        return STEP_DONE;
    case STATEMENT_READ:
        return read_places(backend, statement, row, context);
    case STATEMENT_TABLE:
        read_table(backend, statement, row, context);
        return STEP_DONE;
    case STATEMENT_OTHER:
        return STEP_DONE;
    }
    must(false);
    return STEP_END;
}

enum step backend_step(struct backend *backend, postgres_row *row, void *context,
                       struct postgres_error *error)
{
    if (backend->next == backend->statements)
        return STEP_END;
    if (faulty(world.faults.postgres_refuses))
        return refuse_for_now(backend, error);
    enum step step = carry_out(backend, &backend->statement[backend->next], row, context, error);
    if (step == STEP_DONE)
        backend->next++;
    return step;
}

/* ── COPY's data ────────────────────────────────────────────────────────────────────────────── */

void backend_data(struct backend *backend, struct span bytes)
{
    must(backend->into != NULL && buf_put(&backend->data, bytes.at, bytes.length));
}

/* A table's rows stand in their producer's order. */
static void check_order(const struct backend *backend, struct event_name event,
                        int last[PRODUCERS_MAX])
{
    if (backend->server->ledger->in_order[event.producer] &&
        (int)event.number <= last[event.producer])
        blame("p%u-%u stands behind p%u-%d in one COPY", event.producer, event.number,
              event.producer, last[event.producer]);
    last[event.producer] = (int)event.number;
}

/* The rows between header and trailer. *line: the first that is refused, from 1; 0: none is. */
static enum poison take_rows(struct backend *backend, struct span rest, unsigned *line)
{
    struct ledger *ledger = backend->server->ledger;
    enum poison worst = POISON_NONE;
    int last[PRODUCERS_MAX];
    memset(last, -1, sizeof last);
    for (unsigned row = 1; rest.length > 0; row++) {
        size_t bytes = copy_row_length(rest.at, rest.length);
        struct event_name event;
        if (bytes == 0 || !ledger_name(ledger, backend->into, span_of(rest.at, bytes), &event)) {
            blame("row %u of a COPY can't be read", row);
            break;
        }
        enum poison poison = ledger->fact[event.producer][event.number].poison;
        check_order(backend, event, last);
        transaction_add(backend->transaction, event, false);
        if (worst == POISON_NONE && poison != POISON_NONE && poison != POISON_COMMIT) {
            worst = poison;
            *line = row;
        }
        backend->transaction->deferred |= poison == POISON_COMMIT;
        rest = span_from(rest, bytes);
    }
    return worst;
}

enum step backend_data_end(struct backend *backend, struct postgres_error *error)
{
    struct span all = span_of(backend->data.at, backend->data.length);
    unsigned line = 0;
    if (all.length < COPY_HEADER_BYTES + COPY_TRAILER_BYTES ||
        memcmp(all.at, copy_header, COPY_HEADER_BYTES) != 0 ||
        memcmp(all.at + all.length - COPY_TRAILER_BYTES, copy_trailer, COPY_TRAILER_BYTES) != 0) {
        blame("a COPY without head or end");
        return refuse(backend, error, "22P04", "bad copy file format");
    }
    all = span_of(all.at + COPY_HEADER_BYTES, all.length - COPY_HEADER_BYTES - COPY_TRAILER_BYTES);
    enum poison poison = take_rows(backend, all, &line);
    if (poison != POISON_NONE)
        return refuse_row(backend, error, poison, line);
    backend->into = NULL;
    backend->next++;
    return STEP_DONE;
}

/* ── Messages ───────────────────────────────────────────────────────────────────────────────── */

static void forget_message(struct backend *backend)
{
    free(backend->sql);
    free(backend->statement);
    backend->sql = NULL;
    backend->statement = NULL;
    backend->statements = backend->next = 0;
    backend->into = NULL;
}

void backend_send(struct backend *backend, const char *sql)
{
    must(backend->transaction == NULL);
    forget_message(backend);
    backend->sql = strdup(sql);
    backend->statement = malloc(STATEMENTS_MAX * sizeof *backend->statement);
    must(backend->sql != NULL && backend->statement != NULL);
    backend->statements = statements_read(backend->sql, backend->statement);
    backend->transaction = transaction_new();
}

enum step backend_commit(struct backend *backend, struct postgres_error *error)
{
    struct transaction *transaction = backend->transaction;
    if (transaction == NULL)
        return STEP_DONE; /* it was refused */
    must(backend->next == backend->statements);
    if (transaction->deferred)
        return refuse(backend, error, "23503", "a deferred constraint");
    backend->transaction = NULL;
    server_commit(backend->server, transaction);
    return STEP_DONE;
}

/* What is left of a message that was sent in full happens without anybody who waits for it. */
static bool finish_alone(struct backend *backend)
{
    for (; backend->next < backend->statements; backend->next++) {
        const struct statement *statement = &backend->statement[backend->next];
        if (statement->kind == STATEMENT_COPY)
            return false;
        if (statement->kind == STATEMENT_BURY)
            bury(backend, statement);
        if (statement->kind == STATEMENT_MOVE) {
            backend->transaction->advance = *statement;
            backend->transaction->waits = true;
        }
    }
    return true;
}

void backend_break(struct backend *backend)
{
    struct transaction *transaction = backend->transaction;
    backend->broken = true;
    if (transaction == NULL)
        return;
    bool all_sent = finish_alone(backend);
    backend->transaction = NULL;
    if (transaction->moves > 0 || transaction->waits || transaction->effects > 0)
        server_abandon(backend->server, transaction, all_sent);
    else
        transaction_free(transaction);
}

struct backend *backend_open(struct server *server)
{
    if (server->away_until_ns > world.now_ns)
        return NULL;
    for (unsigned i = 0; i < BACKENDS_MAX; i++) {
        struct backend *backend = &server->backend[i];
        if (backend->open)
            continue;
        *backend = (struct backend){.server = server, .open = true, .data = {.max = DATA_MAX}};
        return backend;
    }
    must(false); /* each writer has one */
    return NULL;
}

void backend_close(struct backend *backend)
{
    if (!backend->broken)
        backend_break(backend);
    forget_message(backend);
    buf_fini(&backend->data);
    backend->open = false;
}

const bool *backend_is_broken(const struct backend *backend)
{
    return &backend->broken;
}
