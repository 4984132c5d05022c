/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A context is made by makecontext() and entered once; from then on the two sides change places by
 * _setjmp and _longjmp, which ask nothing of the kernel.
 */
#include "tests/sim/fiber.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <ucontext.h>

enum { STACK_BYTES = 512 * 1024 };

struct fiber {
    void *(*run)(void *);
    void *argument;
    bool alive, entered;
    int bell; /* that ends its sleep */
    uint64_t until_ns;
    const bool *early;
    jmp_buf here;
    ucontext_t context;
    uint8_t *stack; /* kept from one seed to the next */
};

static struct {
    struct fiber fiber[FIBERS_MAX];
    struct fiber *running;
    jmp_buf back;
    bool rung[FIBERS_MAX];
    bool ending;
} all;

/* ── Bells ──────────────────────────────────────────────────────────────────────────────────── */

static bool *rung(int bell)
{
    must(bell >= FIBER_BELL_FIRST && bell < FIBER_BELL_FIRST + FIBERS_MAX);
    return &all.rung[bell - FIBER_BELL_FIRST];
}

void fiber_ring(int bell)
{
    *rung(bell) = true;
}

bool fiber_hears(int bell)
{
    bool heard = *rung(bell);
    *rung(bell) = false;
    return heard;
}

int eventfd_read(int bell, eventfd_t *value)
{
    *value = 1;
    return fiber_hears(bell) ? 0 : -1;
}

/* ── Sleeping ───────────────────────────────────────────────────────────────────────────────── */

bool fiber_sleep(int bell, uint64_t until_ns, const bool *early)
{
    struct fiber *fiber = all.running;
    must(fiber != NULL);
    fiber->bell = bell;
    fiber->until_ns = until_ns;
    fiber->early = early;
    if (!all.ending && _setjmp(fiber->here) == 0)
        _longjmp(all.back, 1);
    return *rung(bell);
}

/* poll(): by its own name the compiler would take it for granted that nothing of `wait` is read. */
int sleep_by_poll(const struct pollfd *wait, nfds_t count, int ms) __asm__("poll");
int sleep_by_poll(const struct pollfd *wait, nfds_t count, int ms)
{
    must(count == 1 && ms >= 0);
    return fiber_sleep(wait->fd, world.now_ns + MILLISECONDS(ms), NULL) ? 1 : 0;
}

/* ── Running ────────────────────────────────────────────────────────────────────────────────── */

static void enter(void)
{
    struct fiber *fiber = all.running;
    (void)fiber->run(fiber->argument);
    fiber->alive = false;
    _longjmp(all.back, 1);
}

static void resume(struct fiber *fiber)
{
    all.running = fiber;
    if (_setjmp(all.back) == 0) {
        if (fiber->entered)
            _longjmp(fiber->here, 1);
        fiber->entered = true;
        (void)setcontext(&fiber->context);
    }
    all.running = NULL;
}

static uint64_t next_ns(const struct fiber *fiber)
{
    if (!fiber->alive)
        return NEVER;
    bool early = fiber->early != NULL && *fiber->early;
    return fiber->entered && !early && !*rung(fiber->bell) ? fiber->until_ns : 0;
}

uint64_t fibers_next_ns(void)
{
    uint64_t next = NEVER;
    for (unsigned i = 0; i < FIBERS_MAX; i++) {
        uint64_t one = next_ns(&all.fiber[i]);
        next = one < next ? one : next;
    }
    return next;
}

void fibers_work(void)
{
    for (unsigned i = 0; i < FIBERS_MAX && world.power; i++)
        if (next_ns(&all.fiber[i]) <= world.now_ns)
            resume(&all.fiber[i]);
}

void fibers_end(void)
{
    all.ending = true;
    for (unsigned i = 0; i < FIBERS_MAX; i++)
        if (all.fiber[i].alive)
            resume(&all.fiber[i]);
    all.ending = false;
    for (unsigned i = 0; i < FIBERS_MAX; i++)
        all.rung[i] = false;
}

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

static struct fiber *free_one(void)
{
    for (unsigned i = 0; i < FIBERS_MAX; i++)
        if (!all.fiber[i].alive)
            return &all.fiber[i];
    return NULL;
}

static void make_context(struct fiber *fiber)
{
    must(getcontext(&fiber->context) == 0);
    fiber->context.uc_stack.ss_sp = fiber->stack;
    fiber->context.uc_stack.ss_size = STACK_BYTES;
    makecontext(&fiber->context, enter, 0);
}

int pthread_create(pthread_t *out, const pthread_attr_t *attributes, void *(*run)(void *),
                   void *argument)
{
    struct fiber *fiber = free_one();
    (void)attributes;
    must(fiber != NULL);
    if (fiber->stack == NULL)
        fiber->stack = malloc(STACK_BYTES);
    must(fiber->stack != NULL);
    make_context(fiber);
    fiber->run = run;
    fiber->argument = argument;
    fiber->alive = true;
    fiber->entered = false;
    fiber->early = NULL;
    fiber->bell = FIBER_BELL_FIRST;
    *out = (pthread_t)(fiber - all.fiber);
    return 0;
}

int pthread_setname_np(pthread_t thread, const char *name)
{
    (void)thread;
    (void)name;
    return 0;
}

/* Only of one that has ended: nobody here can wait. */
int pthread_join(pthread_t thread, void **result)
{
    (void)result;
    return all.fiber[thread].alive ? EDEADLK : 0;
}
