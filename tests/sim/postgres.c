/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch/postgres.h on the simulated server. Where libpq would wait for the socket the writer sleeps
 * here, after it has been asked as batch/postgres.c asks it; and there the connection may break.
 */
#include "batch/postgres.h"
#include "tests/sim/fiber.h"
#include "tests/sim/server.h"

#include <stdio.h>
#include <stdlib.h>

struct postgres {
    struct backend *backend; /* NULL: not connected */
    struct postgres_error error;
};

/* ── Waiting ────────────────────────────────────────────────────────────────────────────────── */

static enum answer lost(struct postgres *postgres)
{
    if (postgres->error.message[0] == '\0')
        (void)snprintf(postgres->error.message, sizeof postgres->error.message,
                       "the connection has ended");
    return ANSWER_LOST;
}

static const bool *broken(const struct postgres *postgres)
{
    return postgres->backend == NULL ? NULL : backend_is_broken(postgres->backend);
}

static bool is_broken(const struct postgres *postgres)
{
    return postgres->backend != NULL && *backend_is_broken(postgres->backend);
}

/* OK: the time has come. */
static enum answer wait_until(struct postgres *postgres, const struct patience *patience,
                              uint64_t ready_ns, uint64_t since_ns)
{
    while (world.now_ns < ready_ns && world.power) {
        int ms = patience->look(patience->context, world.now_ns - since_ns);
        if (ms < 0)
            return ANSWER_STOPPED;
        if (is_broken(postgres))
            return lost(postgres);
        uint64_t nap_ns = ms > 0 ? MILLISECONDS(ms) : MICROSECONDS(between(1, 40));
        uint64_t until = world.now_ns + nap_ns < ready_ns ? world.now_ns + nap_ns : ready_ns;
        if (fiber_sleep(patience->doorbell, until, broken(postgres)))
            (void)fiber_hears(patience->doorbell);
    }
    if (!world.power)
        return ANSWER_STOPPED; /* and nobody will hear of it */
    return is_broken(postgres) ? lost(postgres) : ANSWER_OK;
}

static enum answer wait(struct postgres *postgres, const struct patience *patience)
{
    uint64_t us = once_in(3) ? 0 : between(20, once_in(20) ? 30000 : 600);
    if (postgres->backend != NULL && faulty(world.faults.postgres_breaks)) {
        saw(SAW_SESSIONS_BROKEN);
        tell("postgres: a connection breaks");
        backend_break(postgres->backend);
    }
    return wait_until(postgres, patience, world.now_ns + MICROSECONDS(us), world.now_ns);
}

enum answer postgres_idle(struct postgres *postgres, const struct patience *patience)
{
    int ms = patience->look(patience->context, 0);
    if (ms < 0 || !world.power)
        return ANSWER_STOPPED;
    if (!is_broken(postgres) &&
        fiber_sleep(patience->doorbell, world.now_ns + MILLISECONDS(ms), broken(postgres)))
        (void)fiber_hears(patience->doorbell);
    return is_broken(postgres) ? lost(postgres) : ANSWER_OK;
}

/* ── Connecting ─────────────────────────────────────────────────────────────────────────────── */

enum answer postgres_connect(struct postgres *postgres, const struct patience *patience)
{
    postgres_disconnect(postgres);
    postgres->error = (struct postgres_error){0};
    enum answer answer = wait(postgres, patience);
    if (answer != ANSWER_OK)
        return answer;
    postgres->backend = backend_open(world.server);
    if (postgres->backend == NULL)
        return lost(postgres);
    return wait(postgres, patience);
}

void postgres_disconnect(struct postgres *postgres)
{
    if (postgres->backend != NULL)
        backend_close(postgres->backend);
    postgres->backend = NULL;
}

bool postgres_connected(const struct postgres *postgres)
{
    return postgres->backend != NULL && !*backend_is_broken(postgres->backend);
}

/* ── Messages ───────────────────────────────────────────────────────────────────────────────── */

enum answer postgres_begin(struct postgres *postgres, const struct patience *patience,
                           const char *sql)
{
    postgres->error = (struct postgres_error){0};
    if (postgres->backend == NULL || is_broken(postgres))
        return lost(postgres);
    backend_send(postgres->backend, sql);
    return wait(postgres, patience);
}

static enum answer answer_of(struct postgres *postgres, enum step step)
{
    if (step != STEP_REFUSED)
        return ANSWER_OK;
    return is_broken(postgres) ? ANSWER_LOST : ANSWER_REFUSED;
}

/* A statement; a lock is waited for. */
static enum answer next(struct postgres *postgres, const struct patience *patience,
                        postgres_row *row, void *context, enum step *step)
{
    uint64_t since = world.now_ns;
    enum answer answer = wait(postgres, patience);
    while (answer == ANSWER_OK) {
        *step = backend_step(postgres->backend, row, context, &postgres->error);
        if (*step != STEP_WAITS)
            return answer_of(postgres, *step);
        answer = wait_until(postgres, patience, world.now_ns + MILLISECONDS(1), since);
    }
    return answer;
}

enum answer postgres_statement(struct postgres *postgres, const struct patience *patience)
{
    enum step step;
    enum answer answer = next(postgres, patience, NULL, NULL, &step);
    if (answer == ANSWER_OK && step != STEP_DONE)
        blame("the writer waits for a statement that it did not send");
    return answer;
}

enum answer postgres_copy(struct postgres *postgres, const struct patience *patience)
{
    enum step step;
    enum answer answer = next(postgres, patience, NULL, NULL, &step);
    if (answer == ANSWER_OK && step != STEP_DATA)
        blame("the writer waits for a COPY that it did not send");
    return answer;
}

enum answer postgres_put(struct postgres *postgres, const struct patience *patience,
                         struct span bytes)
{
    must(bytes.length <= POSTGRES_PUT_MAX);
    backend_data(postgres->backend, bytes);
    return once_in(8) ? wait(postgres, patience) : ANSWER_OK;
}

enum answer postgres_copy_end(struct postgres *postgres, const struct patience *patience)
{
    enum answer answer = wait(postgres, patience);
    if (answer != ANSWER_OK)
        return answer;
    enum step step = backend_data_end(postgres->backend, &postgres->error);
    answer = answer_of(postgres, step);
    return answer == ANSWER_OK ? wait(postgres, patience) : answer;
}

enum answer postgres_finish(struct postgres *postgres, const struct patience *patience)
{
    enum answer answer = wait(postgres, patience);
    if (answer != ANSWER_OK)
        return answer;
    answer = answer_of(postgres, backend_commit(postgres->backend, &postgres->error));
    return answer == ANSWER_OK ? wait(postgres, patience) : answer;
}

enum answer postgres_query(struct postgres *postgres, const struct patience *patience,
                           const char *sql, postgres_row *row, void *context)
{
    enum answer answer = postgres_begin(postgres, patience, sql);
    enum step step = STEP_DONE;
    while (answer == ANSWER_OK && step == STEP_DONE)
        answer = next(postgres, patience, row, context, &step);
    if (answer == ANSWER_OK && step != STEP_END)
        blame("a COPY in a query that brings no data");
    if (answer != ANSWER_OK && answer != ANSWER_REFUSED)
        return answer;
    enum answer end = postgres_finish(postgres, patience);
    return end == ANSWER_OK ? answer : end;
}

/* The directory's; there is none in the box. */
enum answer postgres_ask(struct postgres *postgres, const struct patience *patience,
                         const char *sql, const char *const *parameters, unsigned parameters_count,
                         postgres_row *row, void *context)
{
    (void)patience;
    (void)sql;
    (void)parameters;
    (void)parameters_count;
    (void)row;
    (void)context;
    return lost(postgres);
}

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

struct postgres *postgres_open(const char *conninfo, char *why)
{
    struct postgres *postgres = calloc(1, sizeof *postgres);
    (void)conninfo;
    (void)why;
    must(postgres != NULL);
    return postgres;
}

void postgres_close(struct postgres *postgres)
{
    if (postgres == NULL)
        return;
    postgres_disconnect(postgres);
    free(postgres);
}

uint64_t postgres_rows(const struct postgres *postgres)
{
    (void)postgres;
    return 0; /* only dedup.scope = global asks */
}

const char *postgres_name(const struct postgres *postgres)
{
    (void)postgres;
    return "database simulated";
}

const struct postgres_error *postgres_error(const struct postgres *postgres)
{
    return &postgres->error;
}
