/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What /events/stream says to a producer (CONTRACTS.md 3), each as one whole text frame behind
 * `out`. Pure but for the buffer; false: no room there, nothing was put.
 */
#ifndef WS_REPLY_H
#define WS_REPLY_H

#include "core/buf.h"
#include "proto/event.h"
#include "proto/receipt.h"

/* "2015-05-17T10:05:03.123456Z": written once for many replies. */
struct reply_time {
    char text[EVENT_TIME_BYTES];
};
struct reply_time reply_time(int64_t wall_us);

NODISCARD bool reply_put_connected(struct buf *out, uint64_t connection,
                                   const struct reply_time *time);
/* code: EVENT_ACCEPTED or EVENT_DUPLICATE; id {NULL,0}: left out. */
NODISCARD bool reply_put_ack(struct buf *out, enum event_code code, struct span id,
                             const struct reply_time *time);
NODISCARD bool reply_put_error(struct buf *out, const struct refusal *refusal, struct span id,
                               const struct reply_time *time);
NODISCARD bool reply_put_batch(struct buf *out, const struct receipt *receipt,
                               const struct reply_time *time);

#endif
