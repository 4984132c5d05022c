/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables: ringmain's own two and the streams', made where they are absent (if that is wanted)
 * and compared with what the streams' definitions need, so that a misfit is said at start-up in the
 * operator's words, and no event is sent.
 *
 *   ringmain_checkpoint    (node, shard, epoch) → next_seq: rows with a smaller sequence are stored
 *   ringmain_dead_letters  rows that Postgres refused: raw is the row in COPY's binary format,
 *                          copy_sql the statement that it belongs to
 */
#ifndef BATCH_SCHEMA_H
#define BATCH_SCHEMA_H

#include "batch/postgres.h"
#include "proto/stream.h"

/*
 * OK: all tables fit. REFUSED: postgres_error() or, where the server did not object but the tables
 * do not fit, `why` (256 bytes; else "") says what to mend: the stream, its table, the column, the
 * wanted and the found type.
 */
NODISCARD enum answer schema_settle(struct postgres *postgres, const struct patience *patience,
                                    const struct streams *streams, bool create, char *why);

/* The statement that makes ringmain's own two tables, for who makes all tables by hand. */
const char *schema_own_sql(void);

#endif
