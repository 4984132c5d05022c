/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers of one thread: a hierarchical wheel of milliseconds.
 * Starting, moving and stopping cost O(1); a timer never fires early
 * and at most 1 ms + one turn late. The timer lies inside its owner's object.
 */
#ifndef CORE_TIMER_H
#define CORE_TIMER_H

#include "core/list.h"
#include "core/must.h"
#include <stdbool.h>
#include <stdint.h>

struct timer {
    struct list link;
    uint64_t due_ms; /* on the monotonic clock; meaningless while stopped */
};

struct timers; /* the wheel */

NODISCARD struct timers *timers_open(uint64_t now_ns);
void timers_close(struct timers *timers);

/* Zeroed memory is a stopped timer. Starting a running
 * one moves it; stopping a stopped one is nothing. */
void timer_start(struct timers *timers, struct timer *timer, uint64_t due_ns);
void timer_stop(struct timers *timers, struct timer *timer);
bool timer_running(const struct timer *timer);

/* Takes one timer that is due, stopped, or NULL. Call until NULL. */
struct timer *timers_take(struct timers *timers, uint64_t now_ns);
/* When to look again, ns from `now_ns`; -1 if nothing runs. May be early, never late. */
int64_t timers_wait_ns(const struct timers *timers, uint64_t now_ns);

#endif
