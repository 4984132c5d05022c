/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One simple-query message is one implicit transaction:
 *
 *   with … update ringmain_checkpoint … where next_seq = from …     all of them, or an error
 *   insert into ringmain_dead_letters …                             when a row is to be buried
 *   COPY events (…) FROM STDIN (FORMAT binary)                      one for each lot
 *   COPY cart_events (…) FROM STDIN (FORMAT binary)               (or batch/unique.h's three)
 *   select 1 / … from pg_attribute …                                are the columns what they were?
 *
 * The compare-and-set has to fail the transaction, and an UPDATE that finds no row does not. So the
 * number of rows that it changed is compared in SQL and divided by: 1 / 0 is an error like any
 * other, in one statement that needs no function, no PL/pgSQL and no right but UPDATE. It stands
 * first, so that its lock keeps a zombie's COPY waiting, and so that a refusal of a later statement
 * can't be mistaken for it.
 *
 * The burial stands before the COPYs: an error at commit
 * is then always the last COPY's, or there is none.
 */
#include "batch/store.h"
#include "batch/copy.h"
#include "batch/fit.h"
#include "batch/sql.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    SQL_MAX = 32 * 1024 * 1024
}; /* TARGETS_MAX long COPY statements; usually some hundred bytes */

static bool put(struct buf *sql, const char *text)
{
    return buf_put(sql, text, strlen(text));
}

static bool end_sql(struct buf *sql)
{
    return buf_put(sql, "", 1);
}

/* ── Where we stand ─────────────────────────────────────────────────────────────────────────── */

static bool put_keys(struct buf *sql, const char *node, const struct checkpoint *checkpoint,
                     unsigned checkpoints, const char *tail)
{
    bool fits = true;
    for (unsigned i = 0; i < checkpoints && fits; i++)
        fits = put(sql, i > 0 ? ",(" : "(") && sql_put_text(sql, span_of_string(node)) &&
               buf_print(sql, "::text,%u,%lld%s)", checkpoint[i].shard,
                         (long long)checkpoint[i].epoch, tail);
    return fits;
}

struct settling {
    struct checkpoint *checkpoint;
    unsigned checkpoints;
};

/* -1: what no bigint is. The table may be of somebody else's making. */
static int64_t number_of(struct span text)
{
    char digits[24] = {0};
    if (text.length == 0 || text.length >= sizeof digits)
        return -1;
    memcpy(digits, text.at, text.length);
    return strtoll(digits, NULL, 10);
}

static void take_checkpoint(void *context, unsigned columns, const struct span *cell)
{
    struct settling *settling = context;
    must(columns == 3);
    for (unsigned i = 0; i < settling->checkpoints; i++) {
        struct checkpoint *one = &settling->checkpoint[i];
        if (one->shard == (uint64_t)number_of(cell[0]) &&
            one->epoch == (uint64_t)number_of(cell[1])) {
            one->to = (uint64_t)number_of(cell[2]);
            one->lines++;
        }
    }
}

enum answer store_settle(struct postgres *postgres, const struct patience *patience,
                         const char *node, struct checkpoint *checkpoint, unsigned checkpoints)
{
    struct buf sql = {.max = SQL_MAX};
    must(put(&sql, "insert into ringmain_checkpoint (node, shard, epoch, next_seq) values ") &&
         put_keys(&sql, node, checkpoint, checkpoints, ",0") &&
         put(&sql, " on conflict do nothing; "
                   "select shard, epoch, next_seq from ringmain_checkpoint "
                   "where (node, shard, epoch) in (values ") &&
         put_keys(&sql, node, checkpoint, checkpoints, "") &&
         put(&sql, ") order by shard, epoch for update") && end_sql(&sql));
    struct settling settling = {.checkpoint = checkpoint, .checkpoints = checkpoints};
    enum answer answer =
        postgres_query(postgres, patience, (const char *)sql.at, take_checkpoint, &settling);
    buf_fini(&sql);
    return answer;
}

/* ── The message ────────────────────────────────────────────────────────────────────────────── */

static bool put_advance(struct buf *sql, const struct store_job *job)
{
    bool fits = put(sql, "with want (shard, epoch, was, now) as (values ");
    for (unsigned i = 0; i < job->checkpoints && fits; i++)
        fits =
            buf_print(sql, "%s(%u::int,%lld::bigint,%lld::bigint,%lld::bigint)", i > 0 ? "," : "",
                      job->checkpoint[i].shard, (long long)job->checkpoint[i].epoch,
                      (long long)job->checkpoint[i].from, (long long)job->checkpoint[i].to);
    return fits &&
           put(sql, "), moved as (update ringmain_checkpoint c set next_seq = want.now from want "
                    "where c.node = ") &&
           sql_put_text(sql, span_of_string(job->node)) &&
           buf_print(sql,
                     " and c.shard = want.shard and c.epoch = want.epoch and c.next_seq = want.was "
                     "returning 1) select 1 / (count(*) = %u)::int from moved;",
                     job->checkpoints);
}

static bool put_burial(struct buf *sql, const struct store_job *job)
{
    const struct dead_row *dead = &job->batch->dead;
    return put(sql,
               "insert into ringmain_dead_letters "
               "(node, shard, epoch, seq, stream, copy_sql, raw, reason, sqlstate) values (") &&
           sql_put_text(sql, span_of_string(job->node)) &&
           buf_print(sql, ",%u,%lld,%lld,", job->dead_at->shard, (long long)job->dead_at->epoch,
                     (long long)dead->sequence) &&
           sql_put_text(sql, span_of_string(job->targets->at[dead->target].name)) &&
           put(sql, ",") &&
           sql_put_text(sql, span_of_string(job->targets->at[dead->target].copy_sql)) &&
           put(sql, ",") && sql_put_bytes(sql, dead->bytes) && put(sql, ",") &&
           sql_put_text(sql, span_of_string(job->poison->reason)) && put(sql, ",") &&
           sql_put_text(sql, span_of_string(job->poison->sqlstate)) && put(sql, ");");
}

static void fit_of(struct fit *fit, const struct batch *batch, const struct targets *targets)
{
    fit_init(fit, SQL_MAX);
    for (uint32_t i = 0; i < batch->lots; i++) {
        unsigned target = batch->lot[i].target;
        must(fit_add(fit, target, span_of_string(targets->at[target].copy_sql)));
    }
}

static void put_message(struct buf *sql, const struct store_job *job, const struct fit *fit)
{
    const struct batch *batch = job->batch;
    bool fits = put_advance(sql, job) && (!batch->dead.there || put_burial(sql, job));
    for (uint32_t i = 0; i < batch->lots && fits; i++) {
        unsigned number = batch->lot[i].target;
        const struct spool_stream *target = &job->targets->at[number];
        fits = unique_is(job->unique, target) ? unique_put(job->unique, target, number, sql)
                                              : put(sql, target->copy_sql) && put(sql, ";");
    }
    must(fits && (fit->columns == 0 || fit_put_demand(fit, sql)) && end_sql(sql));
}

/* ── The rows ───────────────────────────────────────────────────────────────────────────────── */

/* `at` is read anew for every part: the batch may have moved the bytes while we slept. */
static enum answer put_piece(struct postgres *postgres, const struct patience *patience,
                             const struct piece *piece)
{
    enum answer answer = ANSWER_OK;
    for (uint32_t done = 0; done < piece->bytes && answer == ANSWER_OK;) {
        uint32_t left = piece->bytes - done;
        uint32_t part = left < POSTGRES_PUT_MAX ? left : POSTGRES_PUT_MAX;
        answer = postgres_put(postgres, patience, span_of(piece->at + done, part));
        done += part;
    }
    return answer;
}

static enum answer put_lot(struct postgres *postgres, const struct patience *patience,
                           const struct batch *batch, const struct lot *lot)
{
    enum answer answer = postgres_put(postgres, patience, span_of(copy_header, COPY_HEADER_BYTES));
    for (uint32_t i = lot->first; i != PIECE_NONE && answer == ANSWER_OK; i = batch->piece[i].next)
        answer = put_piece(postgres, patience, &batch->piece[i]);
    if (answer == ANSWER_OK)
        answer = postgres_put(postgres, patience, span_of(copy_trailer, COPY_TRAILER_BYTES));
    return answer;
}

/* A lot by way of a unique index has a statement before its COPY, and one behind. */
static enum answer put_lot_whole(struct postgres *postgres, const struct patience *patience,
                                 const struct store_job *job, unsigned index)
{
    const struct lot *lot = &job->batch->lot[index];
    bool unique = unique_is(job->unique, &job->targets->at[lot->target]);
    enum answer answer = unique ? postgres_statement(postgres, patience) : ANSWER_OK;
    if (answer == ANSWER_OK)
        answer = postgres_copy(postgres, patience);
    if (answer == ANSWER_OK)
        answer = put_lot(postgres, patience, job->batch, lot);
    if (answer == ANSWER_OK && index + 1 == job->batch->lots)
        job->sent(job->context);
    if (answer == ANSWER_OK)
        answer = postgres_copy_end(postgres, patience);
    if (answer != ANSWER_OK || !unique)
        return answer;
    answer = postgres_statement(postgres, patience);
    if (answer == ANSWER_OK)
        *job->doubles += lot->rows - postgres_rows(postgres);
    return answer;
}

static enum answer put_lots(struct postgres *postgres, const struct patience *patience,
                            const struct store_job *job, unsigned *lot)
{
    const struct batch *batch = job->batch;
    enum answer answer = ANSWER_OK;
    for (*lot = 0; *lot < batch->lots; ++*lot) {
        answer = put_lot_whole(postgres, patience, job, *lot);
        if (answer != ANSWER_OK)
            return answer;
    }
    return answer;
}

static bool divided_by_zero(const struct postgres_error *error)
{
    return strcmp(error->sqlstate, "22012") == 0;
}

static enum answer run_message(struct postgres *postgres, const struct patience *patience,
                               const struct store_job *job, const char *sql, bool fit_demanded,
                               enum store_stage *stage, unsigned *lot)
{
    *stage = STORE_CHECKPOINT;
    *lot = 0;
    enum answer answer = postgres_begin(postgres, patience, sql);
    if (answer == ANSWER_OK)
        answer = postgres_statement(postgres, patience);
    if (answer == ANSWER_OK && job->batch->dead.there) {
        *stage = STORE_BURIAL;
        answer = postgres_statement(postgres, patience);
    }
    if (answer == ANSWER_OK && job->batch->lots > 0) {
        *stage = STORE_COPY;
        answer = put_lots(postgres, patience, job, lot);
    }
    if (answer == ANSWER_OK && fit_demanded) {
        answer = postgres_statement(postgres, patience);
        if (answer == ANSWER_REFUSED && divided_by_zero(postgres_error(postgres)))
            *stage = STORE_FIT; /* any other error is that of the commit */
    }
    return answer;
}

enum answer store_batch(struct postgres *postgres, const struct patience *patience,
                        const struct store_job *job, enum store_stage *stage, unsigned *lot)
{
    struct buf sql = {.max = SQL_MAX};
    struct fit fit;
    fit_of(&fit, job->batch, job->targets);
    put_message(&sql, job, &fit);
    enum answer answer =
        run_message(postgres, patience, job, (const char *)sql.at, fit.columns > 0, stage, lot);
    fit_fini(&fit);
    buf_fini(&sql);
    if (answer == ANSWER_LOST || answer == ANSWER_STOPPED)
        return answer;
    enum answer end = postgres_finish(postgres, patience);
    return end == ANSWER_OK ? answer : end;
}

struct complaint {
    const struct targets *targets;
    char *why;
};

/* One column that does not fit: number, name, type that was found, type that is wanted. */
static void complain(void *context, unsigned columns, const struct span *cell)
{
    const struct complaint *complaint = context;
    must(columns == 4);
    if (complaint->why[0] != 0)
        return;
    const struct spool_stream *stream = &complaint->targets->at[number_of(cell[0])];
    if (cell[2].at != NULL)
        snprintf(complaint->why, 256,
                 "stream %s: column %.*s of table %s is %.*s, the stream needs %.*s", stream->name,
                 SPAN_ARGS(cell[1]), stream->table, SPAN_ARGS(cell[2]), SPAN_ARGS(cell[3]));
    else
        snprintf(complaint->why, 256, "stream %s: table %s has no column %.*s (%.*s)", stream->name,
                 stream->table, SPAN_ARGS(cell[1]), SPAN_ARGS(cell[3]));
}

enum answer store_misfit(struct postgres *postgres, const struct patience *patience,
                         const struct batch *batch, const struct targets *targets, char *why)
{
    struct buf sql = {.max = SQL_MAX};
    struct fit fit;
    struct complaint complaint = {targets, why};
    enum answer answer = ANSWER_OK;
    why[0] = 0;
    fit_of(&fit, batch, targets);
    if (fit.columns > 0) {
        must(fit_put_question(&fit, &sql) && end_sql(&sql));
        answer = postgres_query(postgres, patience, (const char *)sql.at, complain, &complaint);
    }
    fit_fini(&fit);
    buf_fini(&sql);
    return answer;
}

bool store_overtaken(enum store_stage stage, const struct postgres_error *error)
{
    return stage == STORE_CHECKPOINT && divided_by_zero(error);
}
