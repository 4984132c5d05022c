/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory from inside: what batch/directory.c (the thread), batch/directory_desk.c (a shard's
 * end) and batch/directory_sql.c (one question, asked) share.
 */
#ifndef BATCH_DIRECTORY_INSIDE_H
#define BATCH_DIRECTORY_INSIDE_H

#include "batch/backoff.h"
#include "batch/directory.h"
#include "batch/inquiry.h"
#include "batch/postgres.h"

#include <pthread.h>

enum { DIRECTORY_SQL_MAX = 2048, DIRECTORY_PARAMETERS = 3 };

struct desk {
    struct directory face; /* first */
    struct directory_stage *stage;
    struct inquiries *inquiries;
    struct mail *asked, *answered; /* struct inquiry *; each has room for all who may wait */
    struct sleeper *shard;
};

/* What is wrong, as it was last reported: for each kind of question, and for the connection. */
enum { TROUBLE_CONNECTION = QUESTION_MESSAGES + 1, TROUBLES };

struct directory_stage {
    struct directory_options options;
    struct postgres *postgres; /* NULL: there is none */
    struct desk desk[SHARDS_MAX];
    struct sleeper sleeper;
    unsigned room_parameters; /* that its statement speaks of */
    char messages_sql[DIRECTORY_SQL_MAX];
    struct backoff backoff;
    uint64_t retry_at_ns; /* no attempt to connect before */
    uint64_t deadline_ns; /* of what is being waited for */
    char trouble[TROUBLES][256];
    _Atomic bool stopping;
    bool started;
    pthread_t thread;
};

/* ── a shard's end ── */
NODISCARD bool desk_open(struct desk *desk, struct directory_stage *stage);
void desk_close(struct desk *desk);

/* ── one question ── */
/* Prepares the statements. 0 or -EINVAL. */
NODISCARD int directory_sql_open(struct directory_stage *stage, char *why);
/* Answers it, whatever comes. */
void directory_sql_answer(struct directory_stage *stage, struct inquiry *inquiry);

/* A sentence for the operator, when it is not the one that was said before; "" when all is well. */
void directory_report(struct directory_stage *stage, unsigned about, const char *why);

#endif
