/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How libpq is kept from blocking and from hoarding.
 *
 * The connection is non-blocking, and there is one place that sleeps, wait_for(): poll() on the
 * socket and the owner's doorbell. libpq never fails to take data in that mode, it buffers without
 * bound instead; so data goes in by POSTGRES_PUT_MAX and is flushed down to nothing before more is
 * given, and its buffer stays in the processor's cache. A CopyData message may begin and end
 * anywhere in a row, so what is put need not end with one.
 *
 * While a COPY is sent libpq does not look at what the server says, and that is left so: a server
 * that has refused throws the rest away quickly, and its reason is read at the end.
 *
 * A server that is gone without a word must not hold the checkpoint's row for hours: the session
 * asks the server's kernel to probe us, and the connection asks ours to probe the server.
 */
#include "batch/postgres.h"
#include "batch/sql.h"
#include "core/clock.h"

#include <libpq-fe.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>

enum {
    SMALL_BYTES = 16 * 1024, /* less than this is gathered first */
    CONNECT_S = 10,          /* for each host, unless connect_timeout says otherwise */
};

struct postgres {
    char *conninfo;
    PGconn *connection;
    unsigned connect_s;
    struct postgres_error error;
    char name[256];
    uint64_t rows; /* that the last statement has changed */
    size_t staged;
    uint8_t stage[POSTGRES_PUT_MAX]; /* small runs of rows on their way into one message */
};

/* ── Errors ─────────────────────────────────────────────────────────────────────────────────── */

/* Text that fits; as one line, without the hints that libpq sets off with a tab. */
static void keep_text(char *to, size_t room, const char *text, bool one_line)
{
    struct span all = span_of_string(text == NULL ? "" : text);
    size_t length = 0, end = text_cut(all, room - 1);
    bool hint = false;
    for (size_t i = 0; i < end; i++) {
        char byte = (char)all.at[i];
        if (one_line && byte == '\n') {
            hint = i + 1 < end && all.at[i + 1] == '\t';
            byte = ' ';
        }
        if (!hint)
            to[length++] = byte;
    }
    while (length > 0 && (to[length - 1] == '\n' || to[length - 1] == ' '))
        length--;
    to[length] = 0;
}

static void keep_error(struct postgres *postgres, const PGresult *result)
{
    struct postgres_error *error = &postgres->error;
    keep_text(error->sqlstate, sizeof error->sqlstate, PQresultErrorField(result, PG_DIAG_SQLSTATE),
              true);
    const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    keep_text(error->message, sizeof error->message,
              primary != NULL ? primary : PQresultErrorMessage(result), true);
    keep_text(error->context, sizeof error->context, PQresultErrorField(result, PG_DIAG_CONTEXT),
              false);
}

/* The connection ended. What the server said last,
 * if it did, explains it better than "no connection". */
static enum answer lost(struct postgres *postgres, bool keep_what_was_said)
{
    if (!keep_what_was_said || postgres->error.message[0] == 0) {
        postgres->error = (struct postgres_error){0};
        keep_text(postgres->error.message, sizeof postgres->error.message,
                  PQerrorMessage(postgres->connection), true);
    }
    return ANSWER_LOST;
}

static enum answer lost_because(struct postgres *postgres, const char *why)
{
    postgres->error = (struct postgres_error){0};
    keep_text(postgres->error.message, sizeof postgres->error.message, why, true);
    return ANSWER_LOST;
}

const struct postgres_error *postgres_error(const struct postgres *postgres)
{
    return &postgres->error;
}

/* ── Open, close ────────────────────────────────────────────────────────────────────────────── */

static const char *option(const PQconninfoOption *options, const char *keyword)
{
    for (; options->keyword != NULL; options++)
        if (strcmp(options->keyword, keyword) == 0)
            return options->val != NULL && options->val[0] != 0 ? options->val : NULL;
    return NULL;
}

/* libpq's own time-out works only where it blocks,
 * and one for all hosts would never come to the second. */
static unsigned connect_seconds(const PQconninfoOption *options, const char *hosts)
{
    const char *asked = option(options, "connect_timeout");
    int each = asked != NULL ? atoi(asked) : CONNECT_S;
    unsigned count = 1;
    for (const char *at = hosts; at != NULL && (at = strchr(at, ',')) != NULL; at++)
        count++;
    return (each > 0 ? (unsigned)each : CONNECT_S) * count;
}

static const char unreadable[] =
    "postgres.conninfo is neither a libpq connection string (host=… dbname=…) nor a "
    "postgresql:// URI, or names a parameter that libpq does not know";
static const char no_memory[] = "no memory for a Postgres connection";

/* NULL, or what is wrong. libpq's own words may repeat a password. */
static const char *describe(struct postgres *postgres)
{
    char *fault = NULL;
    PQconninfoOption *options = PQconninfoParse(postgres->conninfo, &fault);
    if (options == NULL) {
        bool read = fault != NULL && strstr(fault, "out of memory") == NULL;
        PQfreemem(fault);
        return read ? unreadable : no_memory;
    }
    const char *host = option(options, "host");
    const char *address = option(options, "hostaddr");
    const char *port = option(options, "port");
    const char *database = option(options, "dbname");
    const char *where = host != NULL ? host : address;
    postgres->connect_s = connect_seconds(options, where);
    snprintf(postgres->name, sizeof postgres->name, "database %s on %s:%s",
             database != NULL ? database : "(default)", where != NULL ? where : "(local)",
             port != NULL ? port : "5432");
    PQconninfoFree(options);
    return NULL;
}

struct postgres *postgres_open(const char *conninfo, char *why)
{
    struct postgres *postgres = calloc(1, sizeof *postgres);
    if (postgres == NULL || (postgres->conninfo = strdup(conninfo)) == NULL) {
        free(postgres);
        snprintf(why, 256, "%s", no_memory);
        return NULL;
    }
    const char *fault = describe(postgres);
    if (fault != NULL) {
        snprintf(why, 256, "%s", fault);
        postgres_close(postgres);
        return NULL;
    }
    return postgres;
}

void postgres_close(struct postgres *postgres)
{
    if (postgres == NULL)
        return;
    postgres_disconnect(postgres);
    explicit_bzero(postgres->conninfo, strlen(postgres->conninfo));
    free(postgres->conninfo);
    free(postgres);
}

const char *postgres_name(const struct postgres *postgres)
{
    return postgres->name;
}

void postgres_disconnect(struct postgres *postgres)
{
    PQfinish(postgres->connection);
    postgres->connection = NULL;
}

bool postgres_connected(const struct postgres *postgres)
{
    return postgres->connection != NULL && PQstatus(postgres->connection) == CONNECTION_OK;
}

/* ── Waiting ────────────────────────────────────────────────────────────────────────────────── */

/* One sleep. POLLIN, POLLOUT, 0: nothing on the socket; -1: the owner stops. */
static int sleep_once(struct postgres *postgres, const struct patience *patience, short events,
                      uint64_t waited_ns)
{
    int ms = patience->look(patience->context, waited_ns);
    if (ms < 0)
        return -1;
    struct pollfd wait[2] = {{.fd = PQsocket(postgres->connection), .events = events},
                             {.fd = patience->doorbell, .events = POLLIN}};
    if (poll(wait, 2, ms) <= 0)
        return 0;
    eventfd_t rings;
    if (wait[1].revents & POLLIN)
        (void)eventfd_read(patience->doorbell, &rings);
    return wait[0].revents & (POLLERR | POLLHUP) ? events : wait[0].revents & events;
}

/* Sleeps until the socket is ready: OK or STOPPED. *ready: for what. */
static enum answer wait_for(struct postgres *postgres, const struct patience *patience,
                            short events, int *ready)
{
    uint64_t since = clock_mono_ns(), waited = 0;
    while ((*ready = sleep_once(postgres, patience, events, waited)) == 0)
        waited = clock_mono_ns() - since;
    return *ready < 0 ? ANSWER_STOPPED : ANSWER_OK;
}

enum answer postgres_idle(struct postgres *postgres, const struct patience *patience)
{
    int ready = sleep_once(postgres, patience, POLLIN, 0);
    if (ready < 0)
        return ANSWER_STOPPED;
    if (ready > 0 && !PQconsumeInput(postgres->connection))
        return lost(postgres, false);
    return ANSWER_OK;
}

/* Sends all that libpq has, reading meanwhile:
 * a server that can't get rid of its notices stops to listen. */
static enum answer flush(struct postgres *postgres, const struct patience *patience)
{
    int left;
    while ((left = PQflush(postgres->connection)) > 0) {
        int ready;
        enum answer answer = wait_for(postgres, patience, POLLIN | POLLOUT, &ready);
        if (answer != ANSWER_OK)
            return answer;
        if ((ready & POLLIN) && !PQconsumeInput(postgres->connection))
            return lost(postgres, false);
    }
    return left < 0 ? lost(postgres, false) : ANSWER_OK;
}

/* ── Connecting ─────────────────────────────────────────────────────────────────────────────── */

static void ignore_notice(void *context, const char *message)
{
    (void)context;
    (void)message;
}

/* Before dbname: what the operator's string may overrule; behind it: what it may not. */
static PGconn *start_connection(const char *conninfo)
{
    const char *const words[] = {
        "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
        "dbname",          "application_name",    "client_encoding",  NULL};
    const char *const values[] = {"30", "10", "3", "30000", conninfo, "ringmain", "UTF8", NULL};
    return PQconnectStartParams(words, values, 1);
}

static enum answer handshake(struct postgres *postgres, const struct patience *patience)
{
    uint64_t deadline = clock_mono_ns() + (uint64_t)postgres->connect_s * 1000000000u;
    PostgresPollingStatusType next = PGRES_POLLING_WRITING;
    while (next != PGRES_POLLING_OK) {
        if (next == PGRES_POLLING_FAILED)
            return lost(postgres, false);
        if (clock_mono_ns() >= deadline)
            return lost_because(postgres, "no answer to the attempt to connect");
        int ready =
            sleep_once(postgres, patience, next == PGRES_POLLING_READING ? POLLIN : POLLOUT, 0);
        if (ready < 0)
            return ANSWER_STOPPED;
        if (ready > 0)
            next = PQconnectPoll(postgres->connection);
    }
    return ANSWER_OK;
}

static enum answer settle_session(struct postgres *postgres, const struct patience *patience)
{
    /* As pg_dump does: limits meant for people's queries would end a batch that waits its turn. */
    static const char session[] =
        "set timezone = 'UTC'; set statement_timeout = 0; "
        "set default_transaction_isolation = 'read committed'; set lock_timeout = 0; "
        "set idle_in_transaction_session_timeout = 0; set tcp_keepalives_idle = 10; "
        "set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3; "
        "set client_min_messages = warning";
    enum answer answer = postgres_query(postgres, patience, session, NULL, NULL);
    if (answer != ANSWER_OK)
        return answer;
    /* So that the line number in an error can be read; who may not set it gets by without. */
    answer = postgres_query(postgres, patience, "set lc_messages = 'C'", NULL, NULL);
    return answer == ANSWER_REFUSED ? ANSWER_OK : answer;
}

enum answer postgres_connect(struct postgres *postgres, const struct patience *patience)
{
    postgres_disconnect(postgres);
    postgres->error = (struct postgres_error){0};
    postgres->connection = start_connection(postgres->conninfo);
    if (postgres->connection == NULL)
        return lost_because(postgres, "no memory for a connection");
    if (PQstatus(postgres->connection) == CONNECTION_BAD)
        return lost(postgres, false);
    enum answer answer = handshake(postgres, patience);
    if (answer != ANSWER_OK)
        return answer;
    PQsetNoticeProcessor(postgres->connection, ignore_notice, NULL);
    if (PQsetnonblocking(postgres->connection, 1) != 0)
        return lost(postgres, false);
    answer = settle_session(postgres, patience);
    return answer == ANSWER_REFUSED ? ANSWER_LOST : answer;
}

/* ── Statements ─────────────────────────────────────────────────────────────────────────────── */

/* The next result (NULL: the message has been answered in full). */
static enum answer take_result(struct postgres *postgres, const struct patience *patience,
                               PGresult **out)
{
    *out = NULL;
    enum answer answer = flush(postgres, patience);
    while (answer == ANSWER_OK && PQisBusy(postgres->connection)) {
        int ready;
        answer = wait_for(postgres, patience, POLLIN, &ready);
        if (answer == ANSWER_OK && !PQconsumeInput(postgres->connection))
            return lost(postgres, true);
    }
    if (answer == ANSWER_OK)
        *out = PQgetResult(postgres->connection);
    return answer;
}

static void give_rows(const PGresult *result, postgres_row *row, void *context)
{
    enum { COLUMNS_MAX = 16 };
    struct span column[COLUMNS_MAX];
    int columns = PQnfields(result) < COLUMNS_MAX ? PQnfields(result) : COLUMNS_MAX;
    for (int i = 0; i < PQntuples(result); i++) {
        for (int j = 0; j < columns; j++)
            column[j] = PQgetisnull(result, i, j)
                            ? (struct span){0}
                            : span_of(PQgetvalue(result, i, j), (size_t)PQgetlength(result, i, j));
        row(context, (unsigned)columns, column);
    }
}

enum answer postgres_begin(struct postgres *postgres, const struct patience *patience,
                           const char *sql)
{
    postgres->error = (struct postgres_error){0};
    postgres->staged = 0;
    if (!PQsendQuery(postgres->connection, sql))
        return lost(postgres, false);
    return flush(postgres, patience);
}

/* Judges one result: OK, or REFUSED with the error kept. The connection's end shows in finish(). */
static enum answer judge(struct postgres *postgres, const PGresult *result)
{
    switch (PQresultStatus(result)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_SINGLE_TUPLE:
    case PGRES_EMPTY_QUERY:
    case PGRES_COPY_IN:
        return ANSWER_OK;
    default:
        keep_error(postgres, result);
        return ANSWER_REFUSED;
    }
}

static enum answer next_statement(struct postgres *postgres, const struct patience *patience,
                                  ExecStatusType wanted)
{
    PGresult *result;
    enum answer answer = take_result(postgres, patience, &result);
    if (answer != ANSWER_OK)
        return answer;
    if (result == NULL) /* fewer statements than we sent */
        return lost(postgres, true);
    answer = judge(postgres, result);
    if (answer == ANSWER_OK &&
        (PQresultStatus(result) == PGRES_COPY_IN) != (wanted == PGRES_COPY_IN))
        answer = lost_because(postgres, "an answer out of order");
    postgres->rows = strtoull(PQcmdTuples(result), NULL, 10);
    PQclear(result);
    return answer;
}

uint64_t postgres_rows(const struct postgres *postgres)
{
    return postgres->rows;
}

enum answer postgres_statement(struct postgres *postgres, const struct patience *patience)
{
    return next_statement(postgres, patience, PGRES_COMMAND_OK);
}

enum answer postgres_copy(struct postgres *postgres, const struct patience *patience)
{
    enum answer answer = next_statement(postgres, patience, PGRES_COPY_IN);
    return answer;
}

/* Into libpq's buffer, and from there as far as the socket takes it now. False: no memory. */
static bool hand_over(struct postgres *postgres, const uint8_t *at, size_t length)
{
    return length == 0 || PQputCopyData(postgres->connection, (const char *)at, (int)length) > 0;
}

static bool hand_over_staged(struct postgres *postgres)
{
    size_t length = postgres->staged;
    postgres->staged = 0;
    return hand_over(postgres, postgres->stage, length);
}

/* All bytes are copied before anything sleeps: while we sleep their owner may move them. */
enum answer postgres_put(struct postgres *postgres, const struct patience *patience,
                         struct span bytes)
{
    must(bytes.length <= POSTGRES_PUT_MAX);
    bool small = bytes.length < SMALL_BYTES;
    bool fits = small && bytes.length <= POSTGRES_PUT_MAX - postgres->staged;
    if (!fits && !hand_over_staged(postgres))
        return lost(postgres, false);
    if (small)
        memcpy(postgres->stage + postgres->staged, bytes.at, bytes.length);
    postgres->staged += small ? bytes.length : 0;
    if (!small && !hand_over(postgres, bytes.at, bytes.length))
        return lost(postgres, false);
    return fits ? ANSWER_OK : flush(postgres, patience);
}

enum answer postgres_copy_end(struct postgres *postgres, const struct patience *patience)
{
    if (!hand_over_staged(postgres) || PQputCopyEnd(postgres->connection, NULL) <= 0)
        return lost(postgres, false);
    return next_statement(postgres, patience, PGRES_COMMAND_OK);
}

/* All results up to the end of the message; the first refusal is the one that explains. */
static enum answer drain(struct postgres *postgres, const struct patience *patience,
                         postgres_row *row, void *context)
{
    enum answer verdict = ANSWER_OK, answer;
    PGresult *result;
    while ((answer = take_result(postgres, patience, &result)) == ANSWER_OK && result != NULL) {
        struct postgres_error first = postgres->error;
        answer = judge(postgres, result);
        if (answer != ANSWER_OK && verdict != ANSWER_OK)
            postgres->error = first;
        if (answer != ANSWER_OK)
            verdict = answer;
        else if (row != NULL)
            give_rows(result, row, context);
        bool copy = PQresultStatus(result) == PGRES_COPY_IN;
        PQclear(result);
        if (copy) /* nobody is there to feed it */
            return lost_because(postgres, "an answer out of order");
    }
    if (answer != ANSWER_OK)
        return answer;
    return PQstatus(postgres->connection) == CONNECTION_OK ? verdict : lost(postgres, true);
}

enum answer postgres_finish(struct postgres *postgres, const struct patience *patience)
{
    return drain(postgres, patience, NULL, NULL);
}

enum answer postgres_query(struct postgres *postgres, const struct patience *patience,
                           const char *sql, postgres_row *row, void *context)
{
    enum answer answer = postgres_begin(postgres, patience, sql);
    return answer == ANSWER_OK ? drain(postgres, patience, row, context) : answer;
}

enum answer postgres_ask(struct postgres *postgres, const struct patience *patience,
                         const char *sql, const char *const *parameters, unsigned parameters_count,
                         postgres_row *row, void *context)
{
    postgres->error = (struct postgres_error){0};
    if (!PQsendQueryParams(postgres->connection, sql, (int)parameters_count, NULL, parameters, NULL,
                           NULL, 0))
        return lost(postgres, false);
    must(PQsetSingleRowMode(postgres->connection));
    return drain(postgres, patience, row, context);
}
