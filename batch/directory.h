/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory: one thread with one connection to Postgres, that only reads. It answers what the
 * shards must not wait for (proto/directory.h is what the doors see of it).
 *
 *   shard: ask() ── struct inquiry * ──► the thread ── one statement ──► Postgres
 *          told  ◄── the same pointer ──┘
 *
 * It connects when the first question comes. While Postgres is away, questions fail at once, and an
 * attempt to connect is made by a question that comes when the pause (with jitter, doubling) is
 * over. An answer takes twice directory.timeout_ms at the most: a question that has waited longer
 * than that for its turn fails unasked, a statement that runs longer is cancelled. Statements run
 * in read-only transactions. A value that a column's type can't have (SQLSTATE class 22) is nobody's
 * id: FINDING_NO.
 *
 *   directory_stage_open → directory_desk, directory_introduce (each shard) → _start → _stop
 *   → _join → _close; the shards' threads have ended before _close.
 */
#ifndef BATCH_DIRECTORY_H
#define BATCH_DIRECTORY_H

#include "core/mail.h"
#include "core/shard.h"
#include "proto/directory.h"
#include "proto/stream.h"

struct directory_stage;

enum { DIRECTORY_PAGE_MAX = 1024 * 1024 };

struct directory_options {
    const char *conninfo;          /* empty: every question fails, but for rooms without SQL */
    const char *project_sql;       /* $1: its id → owner, active */
    const char *room_sql;          /* $1: room, $2: user, $3: tenant → boolean; empty: yes */
    const struct stream *messages; /* whose table GET /messages reads */
    size_t page_bytes_max;         /* of the JSON that messages come as */
    unsigned shards;
    unsigned remembered, waiting; /* of each shard */
    unsigned keep_s, timeout_ms, retry_min_ms, retry_max_ms;
    struct counters *counters; /* the thread's own */
};

/* 0 or -errno, with a sentence in `why` (256 bytes). The texts outlive the stage. */
NODISCARD int directory_stage_open(struct directory_stage **out,
                                   const struct directory_options *options, char *why);
NODISCARD int directory_stage_start(struct directory_stage *stage, char *why);
void directory_stage_stop(struct directory_stage *stage); /* any thread */
void directory_stage_join(struct directory_stage *stage);
void directory_stage_close(struct directory_stage *stage);

/* A shard's own end of it, for its thread alone. */
struct directory *directory_desk(struct directory_stage *stage, unsigned shard);
/* Who is to be woken when there are answers. */
void directory_introduce(struct directory_stage *stage, unsigned shard, struct sleeper *sleeper);
/* Reads what has been answered and tells those who asked: once a turn. */
void directory_mail(struct directory *directory, struct turn *turn);

#endif
