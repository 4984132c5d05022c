/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/crew.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SEED_S = 20 /* of a processor, for one seed: some milliseconds is usual */ };

struct hand {
    pid_t process;
    uint64_t seed; /* 0: none is under way */
    uint64_t saw[SIGHTS];
};

/* What all processes see. */
struct board {
    _Atomic uint64_t next;
    uint64_t end;
    _Atomic unsigned failures;
    unsigned failures_max;
    struct crew_failure failure[CREW_FAILURES_MAX + CREW_SIZE_MAX];
    struct hand hand[CREW_SIZE_MAX];
};

static void *shared(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(at != MAP_FAILED);
    return at;
}

static void note_failure(struct board *board, uint64_t seed, const char *verdict)
{
    struct crew_failure *failure = &board->failure[atomic_fetch_add(&board->failures, 1)];
    failure->seed = seed;
    (void)snprintf(failure->verdict, sizeof failure->verdict, "%.255s", verdict);
}

/* ── A process of the crew ──────────────────────────────────────────────────────────────────── */

/* Its end is SIGPROF's: nothing catches that. */
static void give_time(void)
{
    struct itimerval time = {.it_value.tv_sec = SEED_S};
    must(setitimer(ITIMER_PROF, &time, NULL) == 0);
}

_Noreturn static void work(struct board *board, struct hand *hand, bool (*run)(uint64_t))
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);         /* nobody else would end it */
    memcpy(world.saw, hand->saw, sizeof world.saw); /* of the one who was here before */
    while (atomic_load(&board->failures) < board->failures_max) {
        uint64_t seed = atomic_fetch_add(&board->next, 1);
        if (seed >= board->end)
            break;
        give_time();
        hand->seed = seed;
        if (!run(seed))
            note_failure(board, seed, world.verdict);
        memcpy(hand->saw, world.saw, sizeof world.saw);
        hand->seed = 0;
    }
    _exit(0);
}

static void start(struct board *board, struct hand *hand, bool (*run)(uint64_t))
{
    fflush(stdout);
    pid_t process = fork();
    must(process >= 0);
    if (process == 0)
        work(board, hand, run);
    hand->process = process; /* the board is the child's too: only one of us writes it down */
}

/* ── The one who waits for them ─────────────────────────────────────────────────────────────── */

static struct hand *hand_of(struct board *board, pid_t process)
{
    for (unsigned i = 0; i < CREW_SIZE_MAX; i++)
        if (board->hand[i].process == process)
            return &board->hand[i];
    return NULL;
}

/* True: another one is to take its place. */
static bool bury(struct board *board, struct hand *hand, int status)
{
    char why[64] = "its process ended by itself";
    uint64_t seed = hand->seed;
    hand->process = 0;
    hand->seed = 0;
    if (seed == 0)
        return false;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGPROF)
        (void)snprintf(why, sizeof why, "it does not end: %d s of a processor", SEED_S);
    else if (WIFSIGNALED(status))
        (void)snprintf(why, sizeof why, "its process died: %s", strsignal(WTERMSIG(status)));
    note_failure(board, seed, why);
    return atomic_load(&board->failures) < board->failures_max;
}

static int by_seed(const void *a, const void *b)
{
    const struct crew_failure *left = a, *right = b;
    return (left->seed > right->seed) - (left->seed < right->seed);
}

static void report(struct board *board, const struct crew_order *order, struct crew_report *out)
{
    uint64_t next = atomic_load(&board->next);
    memset(out, 0, sizeof *out);
    out->seeds = (next < board->end ? next : board->end) - order->first;
    out->failures = atomic_load(&board->failures);
    qsort(board->failure, out->failures, sizeof board->failure[0], by_seed);
    if (out->failures > board->failures_max) /* the same ones every time */
        out->failures = board->failures_max;
    memcpy(out->failure, board->failure, out->failures * sizeof out->failure[0]);
    for (unsigned i = 0; i < order->size; i++)
        for (unsigned j = 0; j < SIGHTS; j++)
            out->saw[j] += board->hand[i].saw[j];
}

void crew_run(const struct crew_order *order, struct crew_report *out)
{
    struct board *board = shared(sizeof *board);
    must(order->size > 0 && order->size <= CREW_SIZE_MAX && order->first > 0);
    must(order->failures_max > 0 && order->failures_max <= CREW_FAILURES_MAX);
    atomic_init(&board->next, order->first);
    board->end = order->first + order->seeds;
    board->failures_max = order->failures_max;
    for (unsigned i = 0; i < order->size; i++)
        start(board, &board->hand[i], order->run);
    int status;
    pid_t process;
    while ((process = wait(&status)) > 0) {
        struct hand *hand = hand_of(board, process);
        if (hand != NULL && bury(board, hand, status))
            start(board, hand, order->run);
    }
    report(board, order, out);
    must(munmap(board, sizeof *board) == 0);
}
