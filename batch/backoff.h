/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long to wait before the next attempt: doubles, and spreads. Many who lost one server must not
 * all come back in the same moment. One owner; min <= max.
 */
#ifndef BATCH_BACKOFF_H
#define BATCH_BACKOFF_H

#include "core/clock.h"

struct backoff {
    unsigned min_ms, max_ms;
    unsigned next_ms; /* 0: min_ms */
};

static inline unsigned backoff_ms(struct backoff *backoff)
{
    uint32_t chance;
    unsigned ms = backoff->next_ms > 0 ? backoff->next_ms : backoff->min_ms;
    backoff->next_ms = ms < backoff->max_ms / 2 ? ms * 2 : backoff->max_ms;
    clock_random(&chance, sizeof chance);
    return ms / 2 + chance % (ms / 2 + 1);
}

/* It went well. */
static inline void backoff_reset(struct backoff *backoff)
{
    backoff->next_ms = 0;
}

#endif
