/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dedup.scope = global: an event's id is unique in its table, whoever sends it to whichever node,
 * however late. A unique index decides, in the transaction of the rows:
 *
 *   create temporary table if not exists ringmain_staging_N on commit delete rows as
 *       select columns from the table with no data
 *   COPY ringmain_staging_N FROM STDIN
 *   insert into the table select … order by id on conflict (key) do nothing
 *
 * in place of the COPY into the table. The order is the same on all nodes, so that two that store
 * the same ids at the same time wait for one another and do not lock each other out.
 *
 * The key is the id alone or, since a unique index of a partitioned table must hold the columns
 * that it is partitioned by, the id and those; they must then be the same whenever an event is sent
 * again, so the time of receipt can't be one of them. The writer's thread.
 */
#ifndef BATCH_UNIQUE_H
#define BATCH_UNIQUE_H

#include "batch/batch.h"
#include "batch/postgres.h"
#include "core/buf.h"
#include "proto/stream.h"

enum { UNIQUE_KEY_BYTES = 512, UNIQUE_WHY_BYTES = 512 };

/* The key of each stream's index, as SQL ("id" or "id","ts"), by the stream's number; "": none. */
struct unique {
    const struct streams *streams;
    uint64_t stale_ns; /* when the staging tables have been there for too long; 0: there are none */
    char key[STREAMS_MAX][UNIQUE_KEY_BYTES];
};

/* Finds the indexes. OK, REFUSED (postgres_error() or, if there is no such index, `why` (UNIQUE_WHY_BYTES)
 * says which is missing; else ""). Nothing is asked where no stream wants it. */
NODISCARD enum answer unique_settle(struct unique *unique, struct postgres *postgres,
                                    const struct patience *patience, const struct streams *streams,
                                    char *why);

/* Before a batch, now and then: drops staging tables that have been there for an hour. While one is
 * there no vacuum can move the database's oldest transaction past its making, and of transactions
 * there are only 2^31. OK if there was nothing to do. */
NODISCARD enum answer unique_refresh(struct unique *unique, struct postgres *postgres,
                                     const struct patience *patience, uint64_t now_ns);

/* Do rows for this target go by way of the index? Those of a stream that has no such key (any
 * more), or from before it had an id, do not. */
bool unique_is(const struct unique *unique, const struct spool_stream *target);

/* The three statements, each with its semicolon, for a target of which unique_is(); `number`: the
 * target's. COPY stands in the middle. False: no room. */
NODISCARD bool unique_put(const struct unique *unique, const struct spool_stream *target,
                          unsigned number, struct buf *sql);

#endif
