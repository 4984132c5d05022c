/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stage's thread goes round one loop:
 *
 *   wait for a socket, the end, or the next refresh
 *   refresh, when it is time          every STATS_REFRESH_MS, before anybody is served
 *   serve who is ready                one step each
 *   let in who waits at the door
 *
 * A step is at most one text, far below a millisecond, and VISITORS_MAX of them stand between two
 * looks at the clock; so the windows move in time whatever clients do.
 *
 * When every place is taken, the client that has been idle longest makes room; while nobody is
 * idle, newcomers wait in the listener's queue, which deadlines keep moving.
 */
#include "metrics/stage.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/socket.h"
#include "metrics/visitor.h"
#include "metrics/window.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { VISITORS_MAX = 64 };
enum { POLL_END, POLL_DOOR, POLL_VISITORS, POLL_COUNT = POLL_VISITORS + VISITORS_MAX };

static const uint64_t refresh_ns = STATS_REFRESH_MS * (uint64_t)1000000;

_Static_assert((int)METRICS_STAGE_WHY == (int)SOCKET_WHY, "sentences are passed on");

struct metrics_stage {
    struct answer_source source;
    struct window window;
    uint64_t refresh_at_ns;
    int listener;   /* -1: no port */
    bool door_shut; /* accept failed; until the next refresh */
    int end;        /* an eventfd: readable once the thread is to end */
    bool runs;
    pthread_t thread;
    struct visitor visitor[VISITORS_MAX];
};

static void move_window(struct metrics_stage *stage, uint64_t now_ns)
{
    const struct metrics_stage_options *options = &stage->source.options;
    stats_refresh(options->stats, &stage->window, now_ns, options->counters,
                  options->counters_count);
}

static void refresh(struct metrics_stage *stage, uint64_t now_ns)
{
    move_window(stage, now_ns);
    for (unsigned i = 0; i < VISITORS_MAX; i++)
        if (now_ns >= stage->visitor[i].deadline_ns)
            visitor_dismiss(&stage->visitor[i]);
    stage->door_shut = false;
    stage->refresh_at_ns += refresh_ns;
    if (stage->refresh_at_ns <= now_ns)
        stage->refresh_at_ns = now_ns + refresh_ns;
}

/* A place for one more, or NULL. */
static struct visitor *find_place(struct metrics_stage *stage)
{
    struct visitor *longest_idle = NULL;
    for (struct visitor *visitor = stage->visitor; visitor < stage->visitor + VISITORS_MAX;
         visitor++) {
        if (visitor->state == VISITOR_ABSENT)
            return visitor;
        if (visitor->state == VISITOR_ASKING && visitor->idle &&
            (longest_idle == NULL || visitor->deadline_ns < longest_idle->deadline_ns))
            longest_idle = visitor;
    }
    return longest_idle;
}

static void let_in(struct metrics_stage *stage, struct visitor *place, uint64_t now_ns)
{
    int socket = accept4(stage->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (socket >= 0) {
        visitor_dismiss(place);
        visitor_come(place, socket, now_ns);
        return;
    }
    switch (errno) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        log_warn("metrics", "cannot accept a scrape: %s", strerror(errno));
        stage->door_shut = true;
        break;
    default: /* the client has gone again, or the network reports what happened to it */
        break;
    }
}

/* Returns how many of them are to be looked at: poll() wants no more than RLIMIT_NOFILE. */
static unsigned prepare(struct metrics_stage *stage, struct pollfd polled[POLL_COUNT])
{
    unsigned used = POLL_VISITORS;
    bool open = !stage->door_shut && find_place(stage) != NULL;
    polled[POLL_END] = (struct pollfd){.fd = stage->end, .events = POLLIN};
    polled[POLL_DOOR] = (struct pollfd){.fd = open ? stage->listener : -1, .events = POLLIN};
    for (unsigned i = 0; i < VISITORS_MAX; i++) {
        const struct visitor *visitor = &stage->visitor[i];
        polled[POLL_VISITORS + i] =
            (struct pollfd){.fd = visitor->state == VISITOR_ABSENT ? -1 : visitor->socket,
                            .events = visitor_events(visitor)};
        if (visitor->state != VISITOR_ABSENT)
            used = POLL_VISITORS + i + 1;
    }
    return used;
}

static int wait_ms(const struct metrics_stage *stage, uint64_t now_ns)
{
    if (now_ns >= stage->refresh_at_ns)
        return 0;
    return (int)((stage->refresh_at_ns - now_ns + 999999) / 1000000);
}

static void serve(struct metrics_stage *stage, const struct pollfd polled[POLL_COUNT],
                  unsigned used, uint64_t now_ns)
{
    for (unsigned i = POLL_VISITORS; i < used; i++)
        if (polled[i].revents != 0)
            visitor_turn(&stage->visitor[i - POLL_VISITORS], &stage->source, now_ns);
    struct visitor *place = polled[POLL_DOOR].revents != 0 ? find_place(stage) : NULL;
    if (place != NULL)
        let_in(stage, place, now_ns);
}

static void *run(void *self)
{
    struct metrics_stage *stage = self;
    struct pollfd polled[POLL_COUNT];
    for (;;) {
        unsigned used = prepare(stage, polled);
        int ready = poll(polled, used, wait_ms(stage, clock_mono_ns()));
        must(ready >= 0 || errno == EINTR || errno == ENOMEM);
        if (ready > 0 && polled[POLL_END].revents != 0)
            return NULL;
        uint64_t now_ns = clock_mono_ns();
        if (now_ns >= stage->refresh_at_ns)
            refresh(stage, now_ns);
        if (ready > 0)
            serve(stage, polled, used, now_ns);
    }
}

static void start_window(struct metrics_stage *stage)
{
    const struct metrics_stage_options *options = &stage->source.options;
    uint64_t now_ns = clock_mono_ns();
    window_init(&stage->window, now_ns,
                counted_by_all(options->counters, options->counters_count, COUNT_EVENTS_ACCEPTED));
    move_window(stage, now_ns);
    stage->refresh_at_ns = now_ns + refresh_ns;
}

/* Listener and doorbell. What was opened before a failure is for metrics_stage_close(). */
static int open_sockets(struct metrics_stage *stage, uint16_t *port, char *why)
{
    const char *address = stage->source.options.address;
    if (address[0] != '\0') {
        stage->listener = socket_listen_alone(address, port, why);
        if (stage->listener < 0)
            return stage->listener;
    }
    stage->end = eventfd(0, EFD_CLOEXEC);
    if (stage->end < 0) {
        int result = -errno;
        snprintf(why, METRICS_STAGE_WHY, "the metrics stage: %s", strerror(-result));
        return result;
    }
    return 0;
}

int metrics_stage_open(struct metrics_stage **out, const struct metrics_stage_options *options,
                       uint16_t *bound, char *why)
{
    struct metrics_stage *stage = calloc(1, sizeof *stage);
    if (stage == NULL) {
        snprintf(why, METRICS_STAGE_WHY, "the metrics stage: no memory");
        return -ENOMEM;
    }
    stage->source.options = *options;
    stage->listener = stage->end = -1;
    process_init(&stage->source.process);
    uint16_t port = 0;
    int result = open_sockets(stage, &port, why);
    if (result < 0) {
        metrics_stage_close(stage);
        return result;
    }
    if (bound != NULL)
        *bound = port;
    *out = stage;
    return 0;
}

/* Signals are the main thread's. */
static int create_thread(struct metrics_stage *stage)
{
    sigset_t all, before;
    sigfillset(&all);
    must(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    int error = pthread_create(&stage->thread, NULL, run, stage);
    must(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    return -error;
}

int metrics_stage_start(struct metrics_stage *stage, char *why)
{
    must(!stage->runs);
    start_window(stage);
    int result = create_thread(stage);
    if (result < 0) {
        snprintf(why, METRICS_STAGE_WHY, "the metrics stage's thread: %s", strerror(-result));
        return result;
    }
    stage->runs = true;
    pthread_setname_np(stage->thread, "metrics");
    return 0;
}

void metrics_stage_stop(struct metrics_stage *stage)
{
    if (!stage->runs)
        return;
    must(eventfd_write(stage->end, 1) == 0);
    must(pthread_join(stage->thread, NULL) == 0);
    stage->runs = false;
}

void metrics_stage_close(struct metrics_stage *stage)
{
    must(!stage->runs);
    for (unsigned i = 0; i < VISITORS_MAX; i++)
        visitor_dismiss(&stage->visitor[i]);
    if (stage->listener >= 0)
        close(stage->listener);
    if (stage->end >= 0)
        close(stage->end);
    free(stage);
}
