/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory's thread: takes questions from the shards by turns, one of each, and gives every
 * one back answered. What a shard does is in batch/directory_desk.c, what is asked of Postgres in
 * batch/directory_sql.c.
 */
#include "batch/directory_inside.h"
#include "core/log.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { NAP_MS = 60000 };

static bool stopping(const struct directory_stage *stage)
{
    return atomic_load(&stage->stopping);
}

/* ── Between questions ──────────────────────────────────────────────────────────────────────── */

static bool asked(const struct directory_stage *stage)
{
    for (unsigned i = 0; i < stage->options.shards; i++)
        if (mail_waiting(stage->desk[i].asked) > 0)
            return true;
    return false;
}

/* Lies down, and then looks once more. */
static int look_idle(void *context, uint64_t waited_ns)
{
    struct directory_stage *stage = context;
    (void)waited_ns;
    sleeper_lie_down(&stage->sleeper);
    return stopping(stage) || asked(stage) ? 0 : NAP_MS;
}

static void sleep_apart(struct directory_stage *stage)
{
    struct pollfd doorbell = {.fd = stage->sleeper.doorbell, .events = POLLIN};
    eventfd_t rings;
    if (poll(&doorbell, 1, look_idle(stage, 0)) > 0)
        (void)eventfd_read(doorbell.fd, &rings);
}

/* A server that goes away is noticed here, and not by the next question. */
static void idle(struct directory_stage *stage)
{
    struct patience waits = {
        .context = stage, .doorbell = stage->sleeper.doorbell, .look = look_idle};
    if (!postgres_connected(stage->postgres))
        sleep_apart(stage);
    else if (postgres_idle(stage->postgres, &waits) != ANSWER_OK)
        postgres_disconnect(stage->postgres);
    sleeper_got_up(&stage->sleeper);
}

/* ── The thread ─────────────────────────────────────────────────────────────────────────────── */

/* One question of this shard. False: it has none. */
static bool serve_one(struct directory_stage *stage, struct desk *desk)
{
    struct inquiry *inquiry;
    if (!mail_take(desk->asked, &inquiry))
        return false;
    directory_sql_answer(stage, inquiry);
    must(mail_post(desk->answered, &inquiry));
    sleeper_wake(desk->shard);
    return true;
}

static void *run(void *context)
{
    struct directory_stage *stage = context;
    while (!stopping(stage)) {
        bool served = false;
        for (unsigned i = 0; i < stage->options.shards && !stopping(stage); i++)
            served = serve_one(stage, &stage->desk[i]) || served;
        if (!served)
            idle(stage);
    }
    postgres_disconnect(stage->postgres);
    return NULL;
}

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

static int open_parts(struct directory_stage *stage, char *why)
{
    const struct directory_options *options = &stage->options;
    snprintf(why, 256,
             "no memory for look-ups (directory.access_cache_entries, directory.waiting)");
    stage->sleeper.doorbell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (stage->sleeper.doorbell < 0)
        return -errno;
    for (unsigned i = 0; i < options->shards; i++)
        if (!desk_open(&stage->desk[i], stage))
            return -ENOMEM;
    int result = directory_sql_open(stage, why);
    if (result != 0 || options->conninfo[0] == '\0')
        return result;
    stage->postgres = postgres_open(options->conninfo, why);
    return stage->postgres == NULL ? -EINVAL : 0;
}

int directory_stage_open(struct directory_stage **out, const struct directory_options *options,
                         char *why)
{
    must(options->shards > 0 && options->shards <= SHARDS_MAX && options->waiting > 0);
    struct directory_stage *stage = calloc(1, sizeof *stage);
    if (stage == NULL) {
        snprintf(why, 256, "no memory");
        return -ENOMEM;
    }
    stage->options = *options;
    stage->sleeper.doorbell = -1;
    stage->backoff = (struct backoff){options->retry_min_ms, options->retry_max_ms, 0};
    int result = open_parts(stage, why);
    if (result == 0)
        *out = stage;
    else
        directory_stage_close(stage);
    return result;
}

int directory_stage_start(struct directory_stage *stage, char *why)
{
    if (stage->postgres == NULL)
        return 0;
    int error = pthread_create(&stage->thread, NULL, run, stage);
    if (error != 0) {
        snprintf(why, 256, "can't start the directory's thread: %s", strerror(error));
        return -error;
    }
    stage->started = true;
    (void)pthread_setname_np(stage->thread, "directory");
    return 0;
}

void directory_stage_stop(struct directory_stage *stage)
{
    atomic_store(&stage->stopping, true);
    (void)eventfd_write(stage->sleeper.doorbell, 1);
}

void directory_stage_join(struct directory_stage *stage)
{
    if (stage->started)
        must(pthread_join(stage->thread, NULL) == 0);
    stage->started = false;
}

void directory_stage_close(struct directory_stage *stage)
{
    if (stage == NULL)
        return;
    must(!stage->started);
    for (unsigned i = 0; i < stage->options.shards; i++)
        desk_close(&stage->desk[i]);
    if (stage->sleeper.doorbell >= 0)
        close(stage->sleeper.doorbell);
    postgres_close(stage->postgres);
    free(stage);
}
