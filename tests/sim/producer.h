/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A producer at the TCP door, as its author would write it from CONTRACTS.md 3. It keeps what has
 * not been acknowledged, and after a reconnect sends it again: a named one from where `resume`
 * says, one without a name all of it, with the ids of the events; and one that has neither, nothing.
 *
 * It believes what it is told: an acknowledged value it has thrown away.
 */
#ifndef TESTS_SIM_PRODUCER_H
#define TESTS_SIM_PRODUCER_H

#include "tests/sim/ledger.h"

struct client;

struct client_options {
    unsigned index;
    unsigned values;
    bool named, with_ids, length32;
    bool in_order;      /* and its events have to be stored in its order */
    bool forgetful;     /* sends nothing again: what was not acknowledged is given up */
    bool stored;        /* the acknowledgement it asks for: stored, not spooled */
    unsigned window;    /* values that may be unacknowledged */
    unsigned bad_in;    /* one in so many values is bad; 0: none */
    unsigned again_in;  /* one in so many is an earlier event again; 0: none */
    unsigned large_in;  /* one in so many is large */
    unsigned poison_in; /* one in so many is what Postgres refuses */
    uint64_t think_ns;  /* between values, about */
};

struct client *client_open(const struct client_options *options, struct ledger *ledger);
void client_close(struct client *client);
uint64_t client_next_ns(const struct client *client);
void client_work(struct client *client);
bool client_is_done(const struct client *client);
/* Faults have ceased: no more thinking. */
void client_hurry(struct client *client);
/* One that is done and has a name comes once more, to hear whether all of it is still known. */
void client_ask_again(struct client *client);
/* Looks at the durable image of the disk when an acknowledgement leaves, once in so many. */
void client_watch(struct client *client, void *self, void (*check)(void *self));

#endif
