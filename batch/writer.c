/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer's life and moods. What it does with Postgres is in batch/session.c, how a batch fills
 * in batch/gather.c, what it sends in batch/batch.c and batch/store.c, where rows come from in
 * batch/source.c, what a refusal means in batch/poison.c.
 *
 *            ┌──────────────── session ─────────────────┐
 *   start ─► │ connect, tables, checkpoints, batches …  │ ─► trouble ─► pause ─► again
 *            └──────────────────────────────────────────┘       └─ stop ─► let go, disconnect
 *
 * Between two sessions nothing of the shards' is kept: what is mailed
 * is given back at once, and read from the disk when its turn has come.
 * The log speaks when the state or its reason changes, not at every attempt.
 */
#include "batch/sql.h"
#include "batch/writer_state.h"
#include "core/clock.h"
#include "core/log.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>

enum { GLANCE_MS = 5, MS = 1000 * 1000 };

/* ── What all of it asks ────────────────────────────────────────────────────────────────────── */

bool writer_stopping(const struct writer *writer)
{
    return atomic_load_explicit(&writer->stop_at_ns, memory_order_acquire) != 0;
}

bool writer_out_of_time(const struct writer *writer, uint64_t now_ns)
{
    uint64_t stop_at = atomic_load_explicit(&writer->stop_at_ns, memory_order_acquire);
    return stop_at != 0 && now_ns >= stop_at;
}

bool writer_finished(const struct writer *writer)
{
    for (unsigned i = 0; i < writer->options.sources; i++) {
        const struct source *source = &writer->source[i];
        if (!source->known || source->stored < source_durable(source))
            return false;
    }
    return true;
}

void writer_drop_mail(struct writer *writer)
{
    for (unsigned i = 0; i < writer->options.sources; i++) {
        source_drop(&writer->source[i]);
        source_wake(&writer->source[i]);
    }
}

void writer_let_go(struct writer *writer)
{
    for (unsigned i = 0; i < COUNT_OF(writer->batch); i++) {
        batch_return(&writer->batch[i], gather_give, writer);
        batch_reset(&writer->batch[i]);
    }
    writer->full = false;
    writer_drop_mail(writer);
}

/* ── State ──────────────────────────────────────────────────────────────────────────────────── */

static void log_state(const struct writer *writer, enum postgres_state state, const char *reason)
{
    const char *where = writer->postgres != NULL ? postgres_name(writer->postgres) : "";
    switch (state) {
    case POSTGRES_UP:
        log_info("writer", "storing into %s", where);
        break;
    case POSTGRES_DOWN:
        log_warn("writer", "can't store into %s: %s; events stay in the spool, trying again", where,
                 reason);
        break;
    case POSTGRES_HELD:
        log_error(
            "writer",
            "held until it is mended: %s (%s); events stay in the spool, tried again every %u ms",
            reason, where, writer->options.hold_retry_ms);
        break;
    case POSTGRES_OFF:
        log_warn("writer", "postgres.conninfo is empty: events stay in the spool");
        break;
    case POSTGRES_CONNECTING:
        break;
    }
}

void writer_set_state(struct writer *writer, enum postgres_state state, const char *reason)
{
    size_t length = text_cut(span_of_string(reason), sizeof writer->reason - 1);
    pthread_mutex_lock(&writer->lock);
    bool changed = writer->state != state || strncmp(writer->reason, reason, length) != 0 ||
                   writer->reason[length] != 0;
    writer->state = state;
    memcpy(writer->reason, reason, length);
    writer->reason[length] = 0;
    pthread_mutex_unlock(&writer->lock);
    if (!changed)
        return;
    gauge(writer->options.counters, COUNT_POSTGRES_UP, state == POSTGRES_UP);
    gauge(writer->options.counters, COUNT_STREAMS_HELD, state == POSTGRES_HELD);
    log_state(writer, state, reason);
}

enum postgres_state writer_state(const struct writer *writer, char *reason)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)&writer->lock;
    pthread_mutex_lock(lock);
    enum postgres_state state = writer->state;
    if (reason != NULL)
        memcpy(reason, writer->reason, sizeof writer->reason);
    pthread_mutex_unlock(lock);
    return state;
}

/* ── Pauses ─────────────────────────────────────────────────────────────────────────────────── */

static void sleep_ms(struct writer *writer, int ms)
{
    struct pollfd doorbell = {.fd = writer->options.sleeper->doorbell, .events = POLLIN};
    eventfd_t rings;
    if (poll(&doorbell, 1, ms) > 0)
        (void)eventfd_read(doorbell.fd, &rings);
}

/* Being asked to stop ends the pause: there is one more try before the deadline. */
static void pause_for(struct writer *writer, unsigned ms)
{
    uint64_t until = clock_mono_ns() + (uint64_t)ms * MS, now;
    bool hurry = writer_stopping(writer);
    while ((now = clock_mono_ns()) < until && !writer_out_of_time(writer, now) &&
           hurry == writer_stopping(writer)) {
        writer_drop_mail(writer);
        uint64_t left_ms = (until - now + MS - 1) / MS;
        sleep_ms(writer, left_ms < GLANCE_MS ? (int)left_ms : GLANCE_MS);
    }
}

static void recover(struct writer *writer, enum outcome outcome)
{
    bool held = outcome == OUTCOME_HELD;
    writer->unproven = writer->unproven || held || outcome == OUTCOME_LATER;
    writer_set_state(writer, held ? POSTGRES_HELD : POSTGRES_DOWN, writer->why);
    if (outcome != OUTCOME_LATER)
        postgres_disconnect(writer->postgres);
    if (held)
        writer->poison = (struct poison){0}; /* the rows are not to blame */
    pause_for(writer, held ? writer->options.hold_retry_ms : backoff_ms(&writer->retry));
}

/* ── The thread ─────────────────────────────────────────────────────────────────────────────── */

/* Without Postgres the spool is all there is. */
static void stay_off(struct writer *writer)
{
    writer_set_state(writer, POSTGRES_OFF, "postgres.conninfo is empty");
    while (!writer_stopping(writer))
        pause_for(writer, GLANCE_MS);
}

static void *run(void *argument)
{
    struct writer *writer = argument;
    if (writer->postgres == NULL)
        stay_off(writer);
    while (writer->postgres != NULL && !writer_out_of_time(writer, clock_mono_ns()) &&
           !(writer_stopping(writer) && writer_finished(writer))) {
        enum outcome outcome = writer_session(writer);
        writer_let_go(writer);
        if (outcome == OUTCOME_STOP)
            break;
        recover(writer, outcome);
    }
    writer_let_go(writer);
    if (writer->postgres != NULL)
        postgres_disconnect(writer->postgres);
    gauge(writer->options.counters, COUNT_POSTGRES_UP, 0);
    return NULL;
}

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

static int open_batches(struct writer *writer, char *why)
{
    const struct writer_options *options = &writer->options;
    for (unsigned i = 0; i < COUNT_OF(writer->batch); i++) {
        int error =
            batch_init(&writer->batch[i], options->batch_rows_max, options->batch_bytes_max);
        if (error < 0) {
            snprintf(why, 256, "no memory for batches of %zu bytes", options->batch_bytes_max);
            return error;
        }
    }
    writer->gathering = &writer->batch[0];
    return 0;
}

static int open_sources(struct writer *writer, char *why)
{
    const struct writer_options *options = &writer->options;
    writer->source = calloc(options->sources, sizeof *writer->source);
    writer->checkpoint = calloc(options->sources, sizeof *writer->checkpoint);
    bool made = writer->source != NULL && writer->checkpoint != NULL;
    for (unsigned i = 0; made && i < options->sources; i++)
        made = source_init(&writer->source[i], options, i, &writer->targets);
    if (made)
        return 0;
    snprintf(why, 256, "no memory for a writer");
    return -ENOMEM;
}

static int open_parts(struct writer *writer, char *why)
{
    const char *conninfo = writer->options.conninfo;
    if (conninfo != NULL && conninfo[0] != 0) {
        writer->postgres = postgres_open(conninfo, why);
        if (writer->postgres == NULL)
            return -EINVAL;
    }
    int error = open_sources(writer, why);
    return error < 0 ? error : open_batches(writer, why);
}

int writer_open(struct writer **out, const struct writer_options *options, char *why)
{
    must(options->sources > 0 && options->batch_rows_max > 0 && options->batch_bytes_max > 0);
    struct writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL) {
        snprintf(why, 256, "no memory for a writer");
        return -ENOMEM;
    }
    writer->options = *options;
    writer->retry =
        (struct backoff){.min_ms = options->retry_min_ms, .max_ms = options->retry_max_ms};
    writer->state = POSTGRES_CONNECTING;
    pthread_mutex_init(&writer->lock, NULL);
    int error = open_parts(writer, why);
    if (error < 0) {
        writer_close(writer);
        return error;
    }
    *out = writer;
    return 0;
}

int writer_start(struct writer *writer, char *why)
{
    int error = pthread_create(&writer->thread, NULL, run, writer);
    if (error != 0) {
        snprintf(why, 256, "can't start the writer's thread: %s", strerror(error));
        return -error;
    }
    writer->started = true;
    char name[16];
    snprintf(name, sizeof name, "writer-%u", writer->options.index % 100);
    (void)pthread_setname_np(writer->thread, name);
    return 0;
}

/* The doorbell is rung in any case: a writer that does not lie down still has to hear this. */
void writer_stop(struct writer *writer, uint64_t deadline_ns)
{
    atomic_store_explicit(&writer->stop_at_ns, deadline_ns > 0 ? deadline_ns : 1,
                          memory_order_release);
    (void)eventfd_write(writer->options.sleeper->doorbell, 1);
}

void writer_join(struct writer *writer)
{
    if (writer->started)
        must(pthread_join(writer->thread, NULL) == 0);
    writer->started = false;
}

void writer_close(struct writer *writer)
{
    if (writer == NULL)
        return;
    must(!writer->started);
    for (unsigned i = 0; i < writer->options.sources && writer->source != NULL; i++)
        source_fini(&writer->source[i]);
    for (unsigned i = 0; i < COUNT_OF(writer->batch); i++)
        batch_fini(&writer->batch[i]);
    targets_fini(&writer->targets);
    free(writer->source);
    free(writer->checkpoint);
    postgres_close(writer->postgres);
    pthread_mutex_destroy(&writer->lock);
    free(writer);
}
