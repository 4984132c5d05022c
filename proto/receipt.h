/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A receipt: what one reply says about many events, and what that reply has to wait for. A door
 * starts one for each request, batch or message, tells it every verdict in order, and lets it hold
 * the reply. On the shard's thread.
 *
 *   receipt_start → (receipt_add | receipt_refuse)… → write the reply from the counts
 *                 → receipt_hold → receipt_fini
 *
 * The rule of the wait: the last event on this shard, and for duplicates whose originals are on
 * other shards the greatest of each. A hold names one other shard; if there are more, empty holds
 * go ahead of the one with the reply.
 */
#ifndef PROTO_RECEIPT_H
#define PROTO_RECEIPT_H

#include "core/buf.h"
#include "core/shard.h"
#include "proto/intake.h"

enum { RECEIPT_REJECTS_BYTES = 65536 };

struct receipt {
    enum ack_level level;
    unsigned shard; /* ours */
    uint64_t accepted, duplicates, refused;
    uint64_t unlisted;  /* refused, and no longer listed: the list is full */
    unsigned codes;     /* which codes were refused: bit 1 << code */
    struct buf rejects; /* {"index":…},{"index":…} without the brackets */
    bool has_through;
    uint64_t through;           /* the last of ours */
    uint64_t others;            /* bit i: shard i has an original … */
    uint64_t other[SHARDS_MAX]; /* … and this is the greatest; meaningful where the bit is set */
};

void receipt_start(struct receipt *receipt, unsigned shard, enum ack_level level);
void receipt_fini(struct receipt *receipt); /* harmless on zeroed memory, and twice */

/* The event with this index (its place in the request) and id ({NULL,0}: none) has been judged. */
void receipt_add(struct receipt *receipt, uint64_t index, struct span id,
                 const struct verdict *verdict);
/* The same for one that never came before the intake. Does not count in the metrics. */
void receipt_refuse(struct receipt *receipt, uint64_t index, struct span id,
                    const struct refusal *refusal);

/* "accepted":n,"duplicates":n,"rejected":[…] without the braces;
 * "unlisted":n behind it if there are such. */
NODISCARD bool receipt_print(const struct receipt *receipt, struct buf *out);
size_t receipt_print_bytes_max(const struct receipt *receipt);

/* Holds the reply until all that it speaks of has reached the level.
 * False: no memory; some of the holds may have been made,
 * so the connection is to be aborted. Empty holds carry tag 0 and no reply. */
NODISCARD bool receipt_hold(const struct receipt *receipt, struct conn *conn, struct turn *turn,
                            uint64_t tag, struct span reply);

#endif
