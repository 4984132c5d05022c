/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the wheel works. Time is counted in whole milliseconds and seen as digits of base 64:
 *
 *     due_ms   … d3 d2 d1 d0      level 0: 64 slots of 1 ms      differs from `now` in d0 only
 *     now      … n3 n2 n1 n0      level 1: 64 slots of 64 ms     differs in d1, equal above
 *                                 level 2: 64 slots of 4 s …     and so on
 *
 * A timer lies on the level of the highest digit in which it differs from `now`, in the slot of
 * that digit. So all of level 0 is due before all of level 1, and so on, and the next thing to do
 * is in the lowest slot of the lowest level that is not empty. When `now` comes to a slot of a
 * higher level, its timers are put in again and fall to a lower one: each timer falls at most once
 * a level. Nothing wraps: seven digits are 139 years. A bit a slot says where to look; it may be
 * set for a slot whose timers were all stopped.
 */
#include "core/timer.h"

#include <stdlib.h>

enum { DIGIT_BITS = 6, SLOTS = 1 << DIGIT_BITS, LEVELS = 7, NS_PER_MS = 1000000 };

static const uint64_t last_ms = (1ull << (DIGIT_BITS * LEVELS)) - 1;

struct timers {
    uint64_t now_ms; /* no slot before it holds a timer */
    unsigned running;
    uint64_t occupied[LEVELS];
    struct list slot[LEVELS][SLOTS];
};

static unsigned digit(uint64_t ms, unsigned level)
{
    return (unsigned)(ms >> (DIGIT_BITS * level)) % SLOTS;
}

struct timers *timers_open(uint64_t now_ns)
{
    struct timers *timers = calloc(1, sizeof *timers);
    if (!timers)
        return NULL;
    timers->now_ms = now_ns / NS_PER_MS;
    for (unsigned level = 0; level < LEVELS; level++)
        for (unsigned slot = 0; slot < SLOTS; slot++)
            list_init(&timers->slot[level][slot]);
    return timers;
}

void timers_close(struct timers *timers)
{
    free(timers);
}

static void place(struct timers *timers, struct timer *timer)
{
    uint64_t difference = timer->due_ms ^ timers->now_ms;
    unsigned level = difference ? (unsigned)(63 - __builtin_clzll(difference)) / DIGIT_BITS : 0;
    unsigned slot = digit(timer->due_ms, level);
    list_append(&timers->slot[level][slot], &timer->link);
    timers->occupied[level] |= 1ull << slot;
}

void timer_start(struct timers *timers, struct timer *timer, uint64_t due_ns)
{
    timer_stop(timers, timer);
    uint64_t due_ms = due_ns / NS_PER_MS + (due_ns % NS_PER_MS > 0);
    if (due_ms < timers->now_ms)
        due_ms = timers->now_ms;
    timer->due_ms = due_ms < last_ms ? due_ms : last_ms;
    place(timers, timer);
    timers->running++;
}

void timer_stop(struct timers *timers, struct timer *timer)
{
    if (!timer_running(timer))
        return;
    list_remove(&timer->link);
    timers->running--;
}

bool timer_running(const struct timer *timer)
{
    return list_linked(&timer->link);
}

/* The lowest occupied slot of the lowest level, and the time at which it begins. */
static bool earliest(const struct timers *timers, unsigned *level, unsigned *slot, uint64_t *at_ms)
{
    for (unsigned i = 0; i < LEVELS; i++) {
        if (timers->occupied[i] == 0)
            continue;
        unsigned shift = DIGIT_BITS * i;
        *level = i;
        *slot = (unsigned)__builtin_ctzll(timers->occupied[i]);
        *at_ms = (timers->now_ms >> shift >> DIGIT_BITS << DIGIT_BITS | *slot) << shift;
        return true;
    }
    return false;
}

static void let_fall(struct timers *timers, struct list *slot)
{
    struct list *link;
    while ((link = list_take(slot)))
        place(timers, LIST_ENTRY(link, struct timer, link));
}

struct timer *timers_take(struct timers *timers, uint64_t now_ns)
{
    uint64_t now_ms = now_ns / NS_PER_MS, at_ms;
    unsigned level, slot;
    while (earliest(timers, &level, &slot, &at_ms) && at_ms <= now_ms) {
        struct list *here = &timers->slot[level][slot];
        struct list *link = level == 0 ? list_take(here) : NULL;
        timers->now_ms = at_ms > timers->now_ms ? at_ms : timers->now_ms;
        if (level > 0 || list_empty(here))
            timers->occupied[level] &= ~(1ull << slot);
        if (link) {
            timers->running--;
            return LIST_ENTRY(link, struct timer, link);
        }
        let_fall(timers, here);
    }
    if (now_ms > timers->now_ms)
        timers->now_ms = now_ms;
    return NULL;
}

int64_t timers_wait_ns(const struct timers *timers, uint64_t now_ns)
{
    unsigned level, slot;
    uint64_t at_ms;
    if (timers->running == 0 || !earliest(timers, &level, &slot, &at_ms))
        return -1;
    uint64_t at_ns = at_ms * NS_PER_MS;
    return at_ns > now_ns ? (int64_t)(at_ns - now_ns) : 0;
}
