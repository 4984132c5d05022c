/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer from inside: what batch/writer.c (its life and moods), batch/session.c (one session
 * with Postgres) and batch/gather.c (how a batch fills) share.
 */
#ifndef BATCH_WRITER_STATE_H
#define BATCH_WRITER_STATE_H

#include "batch/backoff.h"
#include "batch/batch.h"
#include "batch/poison.h"
#include "batch/postgres.h"
#include "batch/source.h"
#include "batch/store.h"
#include "batch/unique.h"
#include "batch/writer.h"

#include <pthread.h>

/* How a session, or a step of it, ended. */
enum outcome {
    OUTCOME_ON,        /* no trouble */
    OUTCOME_AGAIN,     /* read the checkpoints again and go on, now */
    OUTCOME_LATER,     /* the same after a pause */
    OUTCOME_RECONNECT, /* after a pause, with a new connection */
    OUTCOME_HELD,      /* an operator has to mend something */
    OUTCOME_STOP,
};

struct writer {
    struct writer_options options; /* what it points to outlives the writer */
    struct postgres *postgres;     /* NULL: without a connection string nothing is ever written */
    struct source *source;
    struct targets targets;
    struct unique unique;
    struct batch batch[2];
    struct batch *gathering; /* filled while the other one is on its way */
    bool full;               /* `gathering` takes no more */
    bool tables_known;       /* the tables fit, as far as is known */
    bool in_doubt;           /* nobody knows whether the last batch was committed */
    bool overtaken;          /* the last compare-and-set failed */
    bool fit_doubted;        /* the last batch went into columns that did not fit, for a moment */
    bool unproven;           /* the last batch failed: only a commit shows that all is well again */
    struct poison poison;
    struct checkpoint *checkpoint; /* [sources], scratch */
    unsigned turn;                 /* whose source is filled next */
    struct backoff retry;
    char why[512]; /* of the trouble that is being reported */

    _Atomic uint64_t stop_at_ns; /* 0: not yet asked to stop */
    pthread_t thread;
    bool started;

    pthread_mutex_t lock; /* of the two below, for writer_state() */
    enum postgres_state state;
    char reason[256];
};

/* Fills `gathering`, a step of each source a round, at most `rounds` times. True: there may
 * be more. A spool that can't be read is reported in `why`; the batch then counts as complete. */
bool gather(struct writer *writer, unsigned rounds);
/* `gathering` takes no more rows. */
bool gather_complete(const struct writer *writer);
/* A batch_give: to the source that it came from. */
void gather_give(void *context, uint16_t source, struct block *block);
/* What a struct patience of the writer's looks with; its context is the writer. */
int look_busy(void *context, uint64_t waited_ns);
int look_away(void *context, uint64_t waited_ns);
int look_idle(void *context, uint64_t waited_ns);

/* One session: connects if need be, then batch after batch, until trouble or stop. */
enum outcome writer_session(struct writer *writer);

/* Everything lent goes back, nothing is gathered any more;
 * the next session begins at the checkpoints. */
void writer_let_go(struct writer *writer);
/* Gives back what comes by mail, as long as nothing is to be done with it. */
void writer_drop_mail(struct writer *writer);
void writer_set_state(struct writer *writer, enum postgres_state state, const char *reason);
bool writer_stopping(const struct writer *writer);
bool writer_out_of_time(const struct writer *writer, uint64_t now_ns);
/* All that is durable is stored. */
bool writer_finished(const struct writer *writer);

#endif
