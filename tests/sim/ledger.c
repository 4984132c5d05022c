/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/ledger.h"
#include "batch/big_endian.h"

#include <stdio.h>
#include <string.h>

void ledger_begin(struct ledger *ledger)
{
    memset(ledger, 0, sizeof *ledger);
    ledger_order_begin(ledger);
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

static struct span column_named(const struct stream *stream, struct span row, const char *name)
{
    for (unsigned i = 0; i < stream->columns; i++)
        if (strcmp(stream->column[i].name, name) == 0)
            return column(row, i);
    return (struct span){0};
}

/* {"pad":"777…"}: as many as were sent, of the one digit. */
static bool is_whole(const struct ledger *ledger, const struct stream *stream, struct span row,
                     struct event_name event)
{
    static const char head[] = "{\"pad\":\"";
    struct span data = column_named(stream, row, "data");
    if (data.at == NULL)
        data = column_named(stream, row, "metadata");
    const uint8_t *pad =
        data.length < sizeof head ? NULL : memmem(data.at, data.length, head, sizeof head - 1);
    unsigned bytes = ledger->fact[event.producer][event.number].pad;
    if (pad == NULL)
        return false;
    pad += sizeof head - 1;
    if (data.at + data.length != pad + bytes + 2 || memcmp(pad + bytes, "\"}", 2) != 0)
        return false;
    return bytes == 0 ||
           (pad[0] == '0' + event.number % 10 && memcmp(pad, pad + 1, bytes - 1) == 0);
}

bool ledger_name(const struct ledger *ledger, const struct stream *stream, struct span row,
                 struct event_name *out)
{
    char text[32] = "";
    struct span value = column_named(stream, row, "user_id");
    if (value.length < sizeof text && value.length > 0)
        memcpy(text, value.at, value.length);
    if (sscanf(text, "p%u-%u", &out->producer, &out->number) == 2 &&
        out->producer < PRODUCERS_MAX && out->number < ledger->events[out->producer]) {
        if (!is_whole(ledger, stream, row, *out))
            blame("the row of p%u-%u is not what was sent", out->producer, out->number);
        return true;
    }
    blame("a row of the stream %s is nobody's event: `%s`", stream->name, text);
    return false;
}

static bool may_be_doubled(const struct fact *fact)
{
    return fact->may_be_doubled || (fact->has_id && world.forgets);
}

static unsigned times(const struct fact *fact)
{
    return (unsigned)fact->stored + fact->buried;
}

void ledger_stored(struct ledger *ledger, struct event_name event, bool buried)
{
    struct fact *fact = fact_of(ledger, event);
    saw(buried ? SAW_ROWS_BURIED : SAW_ROWS_STORED);
    fact->buried += buried;
    fact->stored += !buried;
    fact->was_stored = true;
    if (times(fact) > 1 && !may_be_doubled(fact))
        blame("p%u-%u is stored %u times and buried %u times", event.producer, event.number,
              fact->stored, fact->buried);
    if (buried != (fact->poison != POISON_NONE))
        blame("p%u-%u is %s", event.producer, event.number,
              buried ? "buried, and nothing is wrong with it" : "stored, and Postgres refuses it");
    if (fact->bad)
        blame("p%u-%u is stored and was to be refused", event.producer, event.number);
    ledger_order(ledger, event);
}

void ledger_unstored(struct ledger *ledger, struct event_name event, bool buried)
{
    struct fact *fact = fact_of(ledger, event);
    fact->buried -= buried;
    fact->stored -= !buried;
}

void ledger_order_begin(struct ledger *ledger)
{
    for (unsigned i = 0; i < PRODUCERS_MAX; i++)
        ledger->last_stored[i] = -1;
}

void ledger_order(struct ledger *ledger, struct event_name event)
{
    int *last = &ledger->last_stored[event.producer];
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
    if (stored && !fact->was_stored && !fact->may_be_lost)
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
    if (++fact->found + times(fact) > 1 && !may_be_doubled(fact))
        blame("p%u-%u is in the spool (%u times) and stored (%u times)", event.producer,
              event.number, fact->found, times(fact));
    if (ledger->in_order[event.producer] && (int)event.number < *last)
        blame("p%u-%u is in the spool behind p%u-%d", event.producer, event.number, event.producer,
              *last);
    *last = (int)event.number;
}

void ledger_unmark(struct ledger *ledger)
{
    memset(ledger->marked, 0, sizeof ledger->marked);
}

/* Whose mark it is; PRODUCERS_MAX: nobody's, and that is blamed. */
static unsigned producer_of(struct span producer)
{
    char name[32] = "";
    unsigned number;
    if (producer.length < sizeof name)
        memcpy(name, producer.at, producer.length);
    if (sscanf(name, "producer-%u", &number) == 1 && number < PRODUCERS_MAX)
        return number;
    blame("a mark is of nobody's: `%s`", name);
    return PRODUCERS_MAX;
}

void ledger_marked(struct ledger *ledger, struct span producer, uint64_t count)
{
    unsigned number = producer_of(producer);
    if (number < PRODUCERS_MAX && count > ledger->marked[number])
        ledger->marked[number] = (unsigned)count;
}

void ledger_damaged(struct ledger *ledger, struct event_name event)
{
    struct fact *fact = fact_of(ledger, event);
    fact->may_be_lost = fact->may_be_doubled = true;
    ledger->in_order[event.producer] = false; /* it may come again behind others */
}

/* The count may go back as far as to 0: what it says is sent again. */
void ledger_mark_damaged(struct ledger *ledger, struct span producer)
{
    unsigned number = producer_of(producer);
    if (number == PRODUCERS_MAX)
        return;
    ledger->may_go_back[number] = true;
    ledger->in_order[number] = false;
    for (unsigned i = 0; i < ledger->events[number]; i++)
        ledger->fact[number][i].may_be_doubled = true;
}

void ledger_damage_accepted(struct ledger *ledger)
{
    for (unsigned i = 0; i < PRODUCERS_MAX; i++)
        if (ledger->may_go_back[i] && ledger->marked[i] < ledger->counted[i])
            ledger->counted[i] = ledger->marked[i];
}

void ledger_looked(const struct ledger *ledger, const char *where)
{
    for (unsigned i = 0; i < PRODUCERS_MAX; i++) {
        if (ledger->marked[i] < ledger->counted[i])
            blame("producer %u was told that %u values are safe, and %s the count is %u", i,
                  ledger->counted[i], where, ledger->marked[i]);
        for (unsigned j = 0; j < ledger->events[i]; j++) {
            const struct fact *fact = &ledger->fact[i][j];
            if (fact->told && !fact->may_be_lost && times(fact) + fact->found == 0)
                blame("p%u-%u was acknowledged and is lost %s", i, j, where);
        }
    }
}

static void check_end(const struct fact *fact, unsigned producer, unsigned number)
{
    bool may_be_missing = (fact->given_up && !fact->told) || fact->may_be_lost;
    bool good = times(fact) == 1 || (may_be_missing && times(fact) == 0) ||
                (may_be_doubled(fact) && times(fact) > 1);
    if (!fact->bad && !good)
        blame("p%u-%u is stored %u times at the end", producer, number, times(fact));
}

void ledger_close(const struct ledger *ledger)
{
    for (unsigned i = 0; i < PRODUCERS_MAX; i++)
        for (unsigned j = 0; j < ledger->events[i]; j++)
            check_end(&ledger->fact[i][j], i, j);
}
