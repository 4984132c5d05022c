/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two ways to the bad row.
 *
 *   1. COPY's error context names the line. The next batch then ends with that row, buried: the
 *      rows before it are stored, the row goes to the dead letters, all in one transaction.
 *   2. Where there is no line (a deferred constraint, a trigger after the statement, a server that
 *      speaks another language) batches are halved until a single row is refused.
 *
 * Bad rows come in swarms, and each attempt that fails has sent a batch for nothing. So after the
 * first one batches stay small (where halving was needed, as small as can be), and double with each
 * success until they are of full size again.
 */
#include "batch/poison.h"

#include <ctype.h>
#include <stdlib.h>

enum { SMALL_ROWS = 256 };

enum verdict poison_judge(const char sqlstate[6])
{
    static const struct {
        const char *prefix; /* the first that fits */
        enum verdict verdict;
    } table[] = {
        {"57014", VERDICT_TOO_BIG}, /* query_canceled */
        {"25006", VERDICT_LOST},    /* read_only_sql_transaction: a standby */
        {"P0", VERDICT_ROW},        /* PL/pgSQL: somebody's trigger does not want the row */
        {"21", VERDICT_ROW},        /* cardinality violation: nor does its query */
        {"22", VERDICT_ROW},        /* data exception */
        {"23", VERDICT_ROW},        /* integrity constraint violation */
        {"54", VERDICT_ROW},        /* program limit exceeded: an index entry, a row */
        {"08", VERDICT_LOST},       /* connection exception */
        {"40", VERDICT_RETRY},      /* transaction rollback: serialization, deadlock */
        {"53", VERDICT_RETRY},      /* insufficient resources: disk full, memory, connections */
        {"55", VERDICT_RETRY},      /* object not in prerequisite state: locks */
        {"57", VERDICT_RETRY},      /* operator intervention: shutdown, starting up */
    };
    for (unsigned i = 0; i < COUNT_OF(table); i++)
        if (strncmp(sqlstate, table[i].prefix, strlen(table[i].prefix)) == 0)
            return table[i].verdict;
    return VERDICT_HOLD;
}

/* The number behind the last ", line " of one context line that begins with COPY;
 * a trigger's "line 3 at RAISE" stands in another, and a table may well be called "a, line 7". */
static uint64_t line_number(const char *at, const char *end)
{
    static const char mark[] = ", line ";
    uint64_t number = 0;
    for (; at + sizeof mark - 1 < end; at++)
        if (memcmp(at, mark, sizeof mark - 1) == 0 && isdigit((unsigned char)at[sizeof mark - 1]))
            number = strtoull(at + sizeof mark - 1, NULL, 10);
    return number;
}

uint64_t poison_line(const char *context)
{
    uint64_t number = 0;
    while (*context != 0) {
        const char *end = strchrnul(context, '\n');
        if (strncmp(context, "COPY ", 5) == 0)
            number = line_number(context, end);
        context = *end != 0 ? end + 1 : end;
    }
    return number;
}

/* "Not supported" (0A000) without a line is the table's fault: row-level security. At a line
 * it is what the row holds: a database in SQL_ASCII takes no JSON escapes of other characters. */
enum verdict poison_judge_batch(const struct postgres_error *error)
{
    if (strcmp(error->sqlstate, "0A000") == 0 && poison_line(error->context) > 0)
        return VERDICT_ROW;
    return poison_judge(error->sqlstate);
}

static void blame(struct poison *poison, uint16_t source, uint64_t sequence,
                  const struct postgres_error *error)
{
    poison->known = true;
    poison->source = source;
    poison->sequence = sequence;
    memcpy(poison->sqlstate, error->sqlstate, sizeof poison->sqlstate);
    memcpy(poison->reason, error->message, sizeof poison->reason);
}

static uint32_t copied_rows(const struct batch *batch)
{
    return batch->rows - (batch->dead.there ? 1 : 0);
}

void poison_halve(struct poison *poison, const struct batch *batch)
{
    uint32_t rows = copied_rows(batch);
    poison->known = false;
    poison->rows_limit = rows > 1 ? rows / 2 : 1;
}

bool poison_suspect(struct poison *poison, const struct batch *batch, int lot,
                    const struct postgres_error *error)
{
    uint32_t rows = copied_rows(batch);
    if (lot < 0 || rows == 0)
        return false;
    uint16_t source;
    uint64_t sequence, line = poison_line(error->context);
    bool hunted = poison->hunting;
    if (rows == 1)
        line = 1, lot = 0;
    poison->hunting = line == 0 || !batch_row_at(batch, (unsigned)lot, line, &source, &sequence);
    if (poison->hunting) {
        poison_halve(poison, batch);
    } else {
        blame(poison, source, sequence, error);
        poison->rows_limit = hunted ? 1 : SMALL_ROWS;
    }
    return true;
}

/* While hunting, half a range that passed leaves the row in the other half:
 * halve that. At one row the hunt is over, whether there was something to find or not. */
static uint32_t next_limit(struct poison *poison)
{
    if (poison->hunting && poison->rows_limit > 1)
        return poison->rows_limit / 2;
    poison->hunting = false;
    return poison->rows_limit * 2;
}

void poison_passed(struct poison *poison, const struct batch *batch)
{
    if (batch->dead.there)
        poison->known = false;
    if (poison->rows_limit == 0)
        return;
    poison->rows_limit = next_limit(poison);
    if (poison->rows_limit >= batch->rows_max)
        poison->rows_limit = 0;
}
