/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/ledger.h"
#include "batch/big_endian.h"

#include <stdio.h>
#include <string.h>

void ledger_begin(struct ledger *ledger)
{
    memset(ledger, 0, sizeof *ledger);
    for (unsigned i = 0; i < PRODUCERS_MAX; i++)
        ledger->last_stored[i] = -1;
}

static struct fact *fact_of(struct ledger *ledger, struct event_name event)
{
    return &ledger->fact[event.producer][event.number];
}

/* The value of a column of a COPY row; {NULL,0}: it is null, or there is none. */
static struct span column(struct span row, unsigned index)
{
    size_t at = 2;
    for (unsigned i = 0; at + 4 <= row.length; i++) {
        int32_t length = (int32_t)get_be32(row.at + at);
        at += 4;
        if (i == index && length >= 0)
            return span_of(row.at + at, (size_t)length);
        at += length > 0 ? (size_t)length : 0;
    }
    return (struct span){0};
}

bool ledger_name(const struct ledger *ledger, const struct stream *stream, struct span row,
                 struct event_name *out)
{
    char text[32] = "";
    for (unsigned i = 0; i < stream->columns; i++) {
        struct span value = column(row, i);
        if (strcmp(stream->column[i].name, "user_id") == 0 && value.length < sizeof text)
            memcpy(text, value.at, value.length);
    }
    if (sscanf(text, "p%u-%u", &out->producer, &out->number) == 2 &&
        out->producer < PRODUCERS_MAX && out->number < ledger->events[out->producer])
        return true;
    blame("a row of the stream %s is nobody's event: `%s`", stream->name, text);
    return false;
}

void ledger_stored(struct ledger *ledger, struct event_name event)
{
    struct fact *fact = fact_of(ledger, event);
    int *last = &ledger->last_stored[event.producer];
    saw(SAW_ROWS_STORED);
    ledger->rows++;
    if (++fact->stored > 1)
        blame("p%u-%u is stored %u times", event.producer, event.number, fact->stored);
    if (fact->bad)
        blame("p%u-%u is stored and was to be refused", event.producer, event.number);
    if (ledger->in_order[event.producer] && (int)event.number < *last)
        blame("p%u-%u is stored behind p%u-%d", event.producer, event.number, event.producer,
              *last);
    *last = (int)event.number;
}

void ledger_told(struct ledger *ledger, struct event_name event, bool stored)
{
    struct fact *fact = fact_of(ledger, event);
    if (fact->bad)
        return;
    fact->told = true;
    if (stored && fact->stored == 0)
        blame("p%u-%u is acknowledged as stored and is not", event.producer, event.number);
}

void ledger_look(struct ledger *ledger)
{
    for (unsigned i = 0; i < PRODUCERS_MAX; i++) {
        ledger->last_found[i] = ledger->last_stored[i];
        for (unsigned j = 0; j < EVENTS_MAX; j++)
            ledger->fact[i][j].found = 0;
    }
}

void ledger_found(struct ledger *ledger, struct event_name event)
{
    struct fact *fact = fact_of(ledger, event);
    int *last = &ledger->last_found[event.producer];
    if (++fact->found + fact->stored > 1)
        blame("p%u-%u is in the spool (%u times) and stored (%u times)", event.producer,
              event.number, fact->found, fact->stored);
    if (ledger->in_order[event.producer] && (int)event.number < *last)
        blame("p%u-%u is in the spool behind p%u-%d", event.producer, event.number, event.producer,
              *last);
    *last = (int)event.number;
}

void ledger_looked(const struct ledger *ledger, const char *where)
{
    for (unsigned i = 0; i < PRODUCERS_MAX; i++) {
        for (unsigned j = 0; j < ledger->events[i]; j++) {
            const struct fact *fact = &ledger->fact[i][j];
            if (fact->told && fact->stored + fact->found == 0)
                blame("p%u-%u was acknowledged and is lost %s", i, j, where);
        }
    }
}

void ledger_close(const struct ledger *ledger)
{
    for (unsigned i = 0; i < PRODUCERS_MAX; i++)
        for (unsigned j = 0; j < ledger->events[i]; j++)
            if (!ledger->fact[i][j].bad && ledger->fact[i][j].stored != 1)
                blame("p%u-%u is stored %u times at the end", i, j, ledger->fact[i][j].stored);
}
