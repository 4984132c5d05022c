/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The statements that ringmain sends, taken apart as far as the simulated Postgres has to obey
 * them. What a statement does not ask for (to compare, to lock, to count) is not done either.
 */
#ifndef TESTS_SIM_STATEMENT_H
#define TESTS_SIM_STATEMENT_H

#include "core/span.h"
#include "tests/sim/world.h"

enum statement_kind {
    STATEMENT_OTHER, /* answered without a row: set, create, do */
    STATEMENT_MOVE,  /* with want (…) as (values …), moved as (update ringmain_checkpoint … */
    STATEMENT_BURY,  /* insert into ringmain_dead_letters … */
    STATEMENT_COPY,  /* COPY … FROM STDIN */
    STATEMENT_PLACE, /* insert into ringmain_checkpoint … on conflict do nothing */
    STATEMENT_READ,  /* select … from ringmain_checkpoint … */
    STATEMENT_TABLE, /* select a.attname … of one table */
};

struct place {
    unsigned shard;
    long long epoch, from, to; /* of PLACE and READ only the first two */
};

enum { STATEMENT_PLACES_MAX = 8, STATEMENTS_MAX = 40 };

struct statement {
    enum statement_kind kind;
    struct span text;
    struct place place[STATEMENT_PLACES_MAX];
    unsigned places;
    bool compares; /* MOVE: only from where it is thought to be */
    bool counts;   /* MOVE: fails unless all were moved */
    bool locks;    /* READ */
};

/* Of a message, split at its semicolons. Their number. Texts look into `sql`. */
unsigned statements_read(const char *sql, struct statement out[STATEMENTS_MAX]);
/* The n-th string or bytea constant of it, from 0, without quotes and escapes: its length, at most
 * `room`; -1: there is none. */
int statement_constant(const struct statement *statement, unsigned n, uint8_t *out, size_t room);

#endif
