/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mail: bounded rings between two threads, one that posts and one that takes.
 * No locks; a letter is copied in and copied out. This is the only
 * way in which shards, the writer and the stages speak to one another.
 *
 *   poster                                 taker
 *   mail_post() … mail_post()              sleeper_lie_down(); look again; sleep; sleeper_got_up()
 *   sleeper_wake() once a turn             mail_take() until it says false
 *
 * Indices only grow; each side keeps a stale copy of the other's and re-reads it only when it seems
 * full or empty. Head and tail stand on cache lines of their own.
 */
#ifndef CORE_MAIL_H
#define CORE_MAIL_H

#include "core/must.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mail;

/* letters: capacity, a power of two; letter_bytes: size of each. NULL: no memory. */
NODISCARD struct mail *mail_open(unsigned letters, size_t letter_bytes);
void mail_close(struct mail *mail);

/* Poster only. False: full, nothing was posted. */
NODISCARD bool mail_post(struct mail *mail, const void *letter);
/* Taker only. False: empty, `letter` untouched. */
NODISCARD bool mail_take(struct mail *mail, void *letter);
/* Either side, a moment's truth. */
unsigned mail_waiting(const struct mail *mail);

/* One per thread that can sleep. A waker pays for a system call only if the sleeper is asleep. */
struct sleeper {
    _Atomic uint32_t asleep;
    int doorbell; /* an eventfd; written to wake */
};

/* Sleeper: call, then look at every mail once more, then wait on the doorbell. */
void sleeper_lie_down(struct sleeper *sleeper);
void sleeper_got_up(struct sleeper *sleeper);
/* Anybody, after posting. True if it had to ring. */
bool sleeper_wake(struct sleeper *sleeper);

#endif
