/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger: what has become of every event, as seen from outside. Its entries are made where
 * something leaves ringmain: an acknowledgement's bytes, a row in the database, an event found in
 * the spool. Each entry is judged at once.
 *
 *   an event is stored at most once, as it was sent, and never if it was refused
 *   what Postgres refuses for good is buried instead, and nothing else is
 *   a named producer's events are stored in its order
 *   what was acknowledged as stored is stored; what was acknowledged at all is stored or in the
 *   spool, exactly once, whenever one looks
 *
 * An event is known by its producer and its number there: its userId says "p3-45".
 */
#ifndef TESTS_SIM_LEDGER_H
#define TESTS_SIM_LEDGER_H

#include "core/span.h"
#include "proto/stream.h"
#include "tests/sim/world.h"

enum { PRODUCERS_MAX = 8, EVENTS_MAX = 256 };

/* How Postgres refuses an event that the doors let in. */
enum poison {
    POISON_NONE,
    POISON_VALUE,      /* class 22, COPY names the line */
    POISON_CONSTRAINT, /* class 23, COPY names the line */
    POISON_STATEMENT,  /* a trigger's: nobody knows which row it was */
    POISON_COMMIT,     /* a deferred constraint: the same, at the commit */
    POISONS
};

struct fact {
    bool bad;                         /* it must be refused at the door */
    bool told;                        /* somebody was told that it is safe */
    bool given_up;                    /* its producer will not send it again */
    bool was_stored;                  /* some time; a fail-over may have taken it away */
    bool has_id;                      /* its producer relies on it */
    bool may_be_lost, may_be_doubled; /* see tests/sim/damage.h */
    enum poison poison;
    uint8_t stored, buried, found;
    unsigned pad; /* bytes of its data: see producer.c */
};

struct ledger {
    struct fact fact[PRODUCERS_MAX][EVENTS_MAX];
    unsigned events[PRODUCERS_MAX];
    bool in_order[PRODUCERS_MAX];    /* a named one */
    unsigned counted[PRODUCERS_MAX]; /* so many values it was told to be safe: a named one */
    unsigned marked[PRODUCERS_MAX];  /* … and so many a spool knows of */
    bool may_go_back[PRODUCERS_MAX]; /* … because of damage, once */
    int last_stored[PRODUCERS_MAX], last_found[PRODUCERS_MAX];
};

struct event_name {
    unsigned producer, number;
};

void ledger_begin(struct ledger *ledger);

/* Whose event is this row? False: nobody's, and that is blamed. */
bool ledger_name(const struct ledger *ledger, const struct stream *stream, struct span row,
                 struct event_name *out);
/* In Postgres: as a row, or among the dead letters; and that it is so no more. */
void ledger_stored(struct ledger *ledger, struct event_name event, bool buried);
void ledger_unstored(struct ledger *ledger, struct event_name event, bool buried);
/* After a fail-over: what is stored still, in order. */
void ledger_order_begin(struct ledger *ledger);
void ledger_order(struct ledger *ledger, struct event_name event);
void ledger_told(struct ledger *ledger, struct event_name event, bool stored);

/* A look into the spool: begin, each event in order, end. Before it, what recovery
 * tells of producers' counts: begin, each. */
void ledger_unmark(struct ledger *ledger);
void ledger_marked(struct ledger *ledger, struct span producer, uint64_t count);
void ledger_look(struct ledger *ledger);
void ledger_found(struct ledger *ledger, struct event_name event);
void ledger_looked(const struct ledger *ledger, const char *where);

/* The block with it, or with a producer's count, is damaged; and that was accepted. */
void ledger_damaged(struct ledger *ledger, struct event_name event);
void ledger_mark_damaged(struct ledger *ledger, struct span producer);
void ledger_damage_accepted(struct ledger *ledger);

/* At the very end: every good event is stored once, no bad one is. */
void ledger_close(const struct ledger *ledger);

#endif
