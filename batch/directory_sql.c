/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One question, asked: connect if need be, one statement, and what its answer means.
 *
 * A connection that has lain idle may be gone without our knowing; what fails on it with a loss is
 * asked once more on a new one. Nothing that is asked changes anything, so asking twice is harmless.
 */
#include "batch/directory_inside.h"
#include "core/clock.h"
#include "core/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { MS = 1000 * 1000, SLEEP_MS = 1000, GRACE_MS = 500 /* for the server's own time-out */ };

/* ── What is wrong ──────────────────────────────────────────────────────────────────────────── */

static const char *const subjects[TROUBLES] = {
    [QUESTION_PROJECT] = "directory.project_sql",
    [QUESTION_ROOM] = "directory.room_sql",
    [QUESTION_MESSAGES] = "GET /messages",
    [TROUBLE_CONNECTION] = "the connection for look-ups",
};
static const char *const advice[TROUBLES] = {
    [QUESTION_PROJECT] = "until it fits the database, join-project is answered JOIN_FAILED",
    [QUESTION_ROOM] = "until it fits the database, nobody enters a room that needs it",
    [QUESTION_MESSAGES] = "until the table is readable, it is answered 503",
    [TROUBLE_CONNECTION] = "until Postgres is back, look-ups fail and what was cached is used",
};

void directory_report(struct directory_stage *stage, unsigned about, const char *why)
{
    char *said = stage->trouble[about];
    if (strncmp(said, why, sizeof stage->trouble[about] - 1) == 0)
        return;
    snprintf(said, sizeof stage->trouble[about], "%s", why);
    if (why[0] == '\0')
        log_info("directory", "%s: answers again", subjects[about]);
    else
        log_warn("directory", "%s: %s; %s", subjects[about], why, advice[about]);
}

static void report_error(struct directory_stage *stage, unsigned about)
{
    const struct postgres_error *error = postgres_error(stage->postgres);
    char why[sizeof stage->trouble[about]];
    snprintf(why, sizeof why, "%.200s%s%s%s", error->message,
             error->sqlstate[0] != '\0' ? " (SQLSTATE " : "", error->sqlstate,
             error->sqlstate[0] != '\0' ? ")" : "");
    directory_report(stage, about, why);
}

/* ── Patience ───────────────────────────────────────────────────────────────────────────────── */

static int look(void *context, uint64_t waited_ns)
{
    const struct directory_stage *stage = context;
    uint64_t now_ns = clock_mono_ns();
    (void)waited_ns;
    if (atomic_load(&stage->stopping) || now_ns >= stage->deadline_ns)
        return -1;
    uint64_t left_ms = (stage->deadline_ns - now_ns + MS - 1) / MS;
    return left_ms < SLEEP_MS ? (int)left_ms : SLEEP_MS;
}

static struct patience patience(struct directory_stage *stage)
{
    stage->deadline_ns = clock_mono_ns() + (uint64_t)(stage->options.timeout_ms + GRACE_MS) * MS;
    return (struct patience){.context = stage, .doorbell = stage->sleeper.doorbell, .look = look};
}

/* ── The connection ─────────────────────────────────────────────────────────────────────────── */

static enum answer settle(struct directory_stage *stage, const struct patience *waits)
{
    char sql[160];
    snprintf(sql, sizeof sql, "set statement_timeout = %u; set default_transaction_read_only = on",
             stage->options.timeout_ms);
    return postgres_query(stage->postgres, waits, sql, NULL, NULL);
}

/* The connection is of no use any more. */
static void part(struct directory_stage *stage, enum answer answer)
{
    if (answer == ANSWER_STOPPED && !atomic_load(&stage->stopping))
        directory_report(stage, TROUBLE_CONNECTION, "no answer within directory.timeout_ms");
    else if (answer != ANSWER_STOPPED)
        report_error(stage, TROUBLE_CONNECTION);
    postgres_disconnect(stage->postgres);
    stage->retry_at_ns = clock_mono_ns() + (uint64_t)backoff_ms(&stage->backoff) * MS;
}

static bool connected(struct directory_stage *stage)
{
    if (postgres_connected(stage->postgres))
        return true;
    if (clock_mono_ns() < stage->retry_at_ns)
        return false;
    struct patience waits = patience(stage);
    enum answer answer = postgres_connect(stage->postgres, &waits);
    if (answer == ANSWER_OK)
        answer = settle(stage, &waits);
    if (answer != ANSWER_OK) {
        part(stage, answer);
        return false;
    }
    count(stage->options.counters, COUNT_POSTGRES_CONNECTS, 1);
    return true;
}

/* ── What comes back ────────────────────────────────────────────────────────────────────────── */

struct reading {
    struct inquiry *inquiry;
    unsigned rows;
    bool full;    /* the page takes no more */
    bool misfits; /* the statement does not return what it should */
};

static bool is_true(struct span cell)
{
    return span_is(cell, "t");
}

static bool is_boolean(struct span cell)
{
    return cell.at == NULL || is_true(cell) || span_is(cell, "f");
}

static void read_project(void *context, unsigned columns, const struct span *cell)
{
    struct reading *reading = context;
    struct inquiry *inquiry = reading->inquiry;
    if (reading->rows++ > 0)
        return;
    reading->misfits = columns < 2 || !is_boolean(cell[1]);
    if (reading->misfits)
        return;
    inquiry->found = FINDING_YES;
    inquiry->active = is_true(cell[1]);
    inquiry->has_owner = cell[0].at != NULL && cell[0].length <= sizeof inquiry->owner;
    if (!inquiry->has_owner)
        return;
    inquiry->owner_length = (uint16_t)cell[0].length;
    memcpy(inquiry->owner, cell[0].at, cell[0].length);
}

static void read_room(void *context, unsigned columns, const struct span *cell)
{
    struct reading *reading = context;
    if (reading->rows++ > 0)
        return;
    reading->misfits = columns < 1 || !is_boolean(cell[0]);
    if (!reading->misfits && is_true(cell[0]))
        reading->inquiry->found = FINDING_YES;
}

/* Rows that would make the page too long are left for the next one. */
static void read_message(void *context, unsigned columns, const struct span *cell)
{
    struct reading *reading = context;
    struct buf *json = &reading->inquiry->json;
    must(columns == 1);
    /* A comma or bracket before it, and room for the bracket at the end. */
    uint8_t *room = reading->full ? NULL : buf_room(json, cell[0].length + 2);
    reading->full = room == NULL;
    reading->misfits = reading->full && reading->rows == 0;
    if (reading->full)
        return;
    room[0] = reading->rows++ == 0 ? '[' : ',';
    memcpy(room + 1, cell[0].at, cell[0].length);
    buf_grew(json, cell[0].length + 1);
}

/* ── Asking ─────────────────────────────────────────────────────────────────────────────────── */

static enum answer ask_project(struct directory_stage *stage, const struct patience *waits,
                               struct reading *reading)
{
    const char *parameter[] = {reading->inquiry->text + 1};
    return postgres_ask(stage->postgres, waits, stage->options.project_sql, parameter, 1,
                        read_project, reading);
}

static enum answer ask_room(struct directory_stage *stage, const struct patience *waits,
                            struct reading *reading)
{
    const struct inquiry *inquiry = reading->inquiry;
    const char *parameter[DIRECTORY_PARAMETERS] = {
        inquiry->text + 1, inquiry->text + inquiry->user_at, inquiry->text + inquiry->tenant_at};
    return postgres_ask(stage->postgres, waits, stage->options.room_sql, parameter,
                        stage->room_parameters, read_room, reading);
}

static enum answer ask_messages(struct directory_stage *stage, const struct patience *waits,
                                struct reading *reading)
{
    const struct inquiry *inquiry = reading->inquiry;
    char before[24], channel[24], limit[12];
    const char *parameter[] = {before, inquiry->has_channel ? channel : NULL, limit};
    snprintf(before, sizeof before, "%lld", (long long)inquiry->before);
    snprintf(channel, sizeof channel, "%lld", (long long)inquiry->channel_id);
    snprintf(limit, sizeof limit, "%u", inquiry->limit);
    reading->inquiry->json.max = stage->options.page_bytes_max;
    enum answer answer = postgres_ask(stage->postgres, waits, stage->messages_sql, parameter, 3,
                                      read_message, reading);
    const char *end = reading->rows == 0 ? "[]" : "]";
    if (answer == ANSWER_OK && !reading->misfits &&
        buf_put(&reading->inquiry->json, end, strlen(end)))
        reading->inquiry->found = FINDING_YES;
    return answer;
}

static enum answer ask_once(struct directory_stage *stage, struct reading *reading)
{
    struct inquiry *inquiry = reading->inquiry;
    struct patience waits = patience(stage);
    count(stage->options.counters, COUNT_DIRECTORY_LOOKUPS, 1);
    reading->rows = 0;
    reading->full = reading->misfits = false;
    buf_fini(&inquiry->json);
    switch (inquiry->kind) {
    case QUESTION_PROJECT:
        inquiry->found = FINDING_NO;
        return ask_project(stage, &waits, reading);
    case QUESTION_ROOM:
        inquiry->found = FINDING_NO;
        return ask_room(stage, &waits, reading);
    case QUESTION_MESSAGES:
        return ask_messages(stage, &waits, reading);
    }
    must(false);
}

/* ── Judging ────────────────────────────────────────────────────────────────────────────────── */

static void misfit(struct directory_stage *stage, const struct inquiry *inquiry)
{
    static const char *const wanted[] = {
        [QUESTION_PROJECT] = "the statement must return the owner's id and a boolean",
        [QUESTION_ROOM] = "the statement must return a boolean",
        [QUESTION_MESSAGES] = "a message is too long for limits.output_bytes",
    };
    directory_report(stage, inquiry->kind, wanted[inquiry->kind]);
}

/* Not even text of the type that the column has: there is nothing of that name. */
static bool nobodys_name(const struct directory_stage *stage, const struct inquiry *inquiry)
{
    const char *sqlstate = postgres_error(stage->postgres)->sqlstate;
    return inquiry->kind != QUESTION_MESSAGES && strncmp(sqlstate, "22", 2) == 0;
}

static void judge(struct directory_stage *stage, struct reading *reading, enum answer answer)
{
    struct inquiry *inquiry = reading->inquiry;
    if (answer == ANSWER_OK || answer == ANSWER_REFUSED) {
        backoff_reset(&stage->backoff);
        directory_report(stage, TROUBLE_CONNECTION, "");
    } else {
        part(stage, answer);
    }
    if (answer == ANSWER_OK && !reading->misfits) {
        directory_report(stage, inquiry->kind, "");
        return;
    }
    inquiry->found = FINDING_FAILED;
    if (answer == ANSWER_OK)
        misfit(stage, inquiry);
    else if (answer == ANSWER_REFUSED && nobodys_name(stage, inquiry))
        inquiry->found = FINDING_NO;
    else if (answer == ANSWER_REFUSED)
        report_error(stage, inquiry->kind);
}

/* A connection that was there before and is lost now may have been so for long: once more. */
static void ask(struct directory_stage *stage, struct inquiry *inquiry)
{
    struct reading reading = {.inquiry = inquiry};
    bool was_there = postgres_connected(stage->postgres);
    if (!connected(stage))
        return;
    enum answer answer = ask_once(stage, &reading);
    if (answer == ANSWER_LOST && was_there) {
        postgres_disconnect(stage->postgres);
        inquiry->found = FINDING_FAILED;
        if (!connected(stage))
            return;
        answer = ask_once(stage, &reading);
    }
    judge(stage, &reading, answer);
}

void directory_sql_answer(struct directory_stage *stage, struct inquiry *inquiry)
{
    uint64_t begun_ns = clock_mono_ns();
    inquiry->found = FINDING_FAILED;
    if (begun_ns <= inquiry->asked_ns + (uint64_t)stage->options.timeout_ms * MS)
        ask(stage, inquiry);
    observe(stage->options.counters, HISTOGRAM_DIRECTORY_NS, clock_mono_ns() - begun_ns);
    count(stage->options.counters, COUNT_DIRECTORY_FAILURES, inquiry->found == FINDING_FAILED);
}

/* ── Statements ─────────────────────────────────────────────────────────────────────────────── */

/* The highest n of all $n. */
static unsigned parameters_in(const char *sql)
{
    unsigned most = 0;
    for (const char *at = sql; (at = strchr(at, '$')) != NULL; at++)
        if (at[1] >= '1' && at[1] <= '9' && strtoul(at + 1, NULL, 10) > most)
            most = (unsigned)strtoul(at + 1, NULL, 10);
    return most;
}

int directory_sql_open(struct directory_stage *stage, char *why)
{
    const struct directory_options *options = &stage->options;
    char table[STREAM_TABLE_BYTES];
    stage->room_parameters = parameters_in(options->room_sql);
    if (parameters_in(options->project_sql) != 1) {
        snprintf(why, 256,
                 "directory.project_sql must speak of the project as $1, and of no other");
        return -EINVAL;
    }
    if (options->room_sql[0] != '\0' &&
        (stage->room_parameters < 1 || stage->room_parameters > DIRECTORY_PARAMETERS)) {
        snprintf(why, 256,
                 "directory.room_sql must speak of the room as $1, and may of the user as $2 and "
                 "the tenant as $3");
        return -EINVAL;
    }
    must(stream_table_sql(options->messages, table, sizeof table));
    int length = snprintf(stage->messages_sql, sizeof stage->messages_sql,
                          "select row_to_json(m) from (select id, user_id, channel_id, content, "
                          "created_at from %s where id < $1::bigint and ($2::bigint is null or "
                          "channel_id = $2::bigint) order by id desc limit $3::int) m",
                          table);
    must(length > 0 && (size_t)length < sizeof stage->messages_sql);
    return 0;
}
