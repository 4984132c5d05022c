/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer and its database, as a model: what batch/writer.h promises, without threads or libpq.
 * It takes blocks from the mail or reads them with the real spool_reader, and commits them together
 * with the checkpoint, by compare-and-set.
 *
 *   idle ─ gather ─► in flight ─► committed ─► progress.stored, the shard is woken
 *                        └─ the connection breaks: applied, lost, or still on its way (a zombie)
 *                           ─► reconnect, read the checkpoint, go on from there
 *
 * The database survives everything.
 */
#ifndef TESTS_SIM_DATABASE_H
#define TESTS_SIM_DATABASE_H

#include "tests/sim/box.h"

struct database *database_open(struct ledger *ledger);
void database_close(struct database *database);

/* The box has started; or it is about to end, and its blocks go back. */
void database_meet(struct database *database, struct box *box);
void database_let_go(struct database *database);

uint64_t database_next_ns(const struct database *database);
void database_work(struct database *database);
void database_go_away(struct database *database, uint64_t for_ns);
uint64_t database_checkpoint(const struct database *database, unsigned shard);

#endif
