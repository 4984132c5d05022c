/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer (the batch stage): one thread, one libpq connection. It takes durable blocks off its
 * shards' mail, or reads them back from the spool where there is a gap, gathers them into a batch,
 * and commits the batch in one implicit transaction: advance the checkpoint (compare-and-set), COPY
 * each stream. Nothing else includes libpq except batch/directory.c.
 *
 *   shard ── struct block * ──► writer ── one transaction ──► Postgres
 *         ◄── the same pointer ──        └► progress[shard].stored, then the shard is woken
 *
 * A batch ends at batch.max_rows, batch.max_bytes, or batch.linger_ms after its first row became
 * known. When the outcome of a commit is unknown it reconnects, reads the checkpoint with a row
 * lock, and goes on from there.
 *
 * SQLSTATE classes: 21, 22, 23, 54 (and P0, a trigger's raise): the row's fault → dead letter; 08,
 * 40, 53, 57 (and 55, 25006): retried with jitter; 42, 28, 3D (and any other): the stream is held
 * and the log says what to mend; tried again every hold_retry_ms. A connection that can't be
 * opened, whatever the reason, is retried with jitter: libpq gives no SQLSTATE.
 *
 * The strings and arrays of the options outlive the writer. A stored count may go back:
 * progress[shard].stored is where Postgres stands, and a fail-over can take transactions with it.
 */
#ifndef BATCH_WRITER_H
#define BATCH_WRITER_H

#include "batch/spool.h"
#include "core/mail.h"
#include "core/shard.h"

struct writer;

/* One shard (or an orphaned directory) that feeds this writer. */
struct writer_source {
    unsigned shard;
    uint64_t epoch;
    uint64_t durable_at_start; /* recovery's `next`: below it everything is on disk */
    struct mail *blocks;       /* struct block *: shard → writer; NULL for an orphan */
    /* struct block *: writer → shard; NULL for an orphan. It has a place
     * for every block that the shard has, so that giving one back never fails. */
    struct mail *returns;
    struct sleeper *shard_sleeper; /* NULL for an orphan */
    struct spool *orphan; /* an orphan's: the writer removes what is stored of it; else NULL */
};

struct writer_options {
    unsigned index;
    const char *conninfo; /* libpq connection string */
    const char *node;
    const char *directory; /* of the spool */
    bool create_tables;
    unsigned batch_rows_max;
    size_t batch_bytes_max;
    unsigned linger_ms;
    unsigned retry_min_ms, retry_max_ms, hold_retry_ms;
    const struct streams *streams;
    struct progress *progress;
    unsigned shards;           /* that run: progress[0 … shards) */
    struct counters *counters; /* this writer's own */
    struct sleeper *sleeper;   /* shards wake this after posting */
    struct writer_source *source;
    unsigned sources;
};

enum postgres_state {
    POSTGRES_OFF,
    POSTGRES_CONNECTING,
    POSTGRES_UP,
    POSTGRES_DOWN,
    POSTGRES_HELD
};

NODISCARD int writer_open(struct writer **out, const struct writer_options *options, char *why);
NODISCARD int writer_start(struct writer *writer, char *why);
/* Flush what is durable until `deadline_ns` (monotonic), then stop. Any thread. */
void writer_stop(struct writer *writer, uint64_t deadline_ns);
void writer_join(struct writer *writer);
void writer_close(struct writer *writer);
/* Any thread. `reason` (256 bytes, may be NULL): the last error, for /health. */
enum postgres_state writer_state(const struct writer *writer, char *reason);

#endif
