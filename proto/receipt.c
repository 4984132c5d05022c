/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/receipt.h"

#include <inttypes.h>

_Static_assert(SHARDS_MAX <= 64, "receipt.others has a bit for each shard");
_Static_assert(EVENT_CODES <= 32, "receipt.codes has a bit for each code");

void receipt_start(struct receipt *receipt, unsigned shard, enum ack_level level)
{
    receipt->level = level;
    receipt->shard = shard;
    receipt->accepted = receipt->duplicates = receipt->refused = receipt->unlisted = 0;
    receipt->codes = 0;
    receipt->rejects = (struct buf){.max = RECEIPT_REJECTS_BYTES};
    receipt->has_through = false;
    receipt->through = 0;
    receipt->others = 0;
}

void receipt_fini(struct receipt *receipt)
{
    buf_fini(&receipt->rejects);
}

static void wait_for(struct receipt *receipt, struct ticket ticket)
{
    if (LIKELY(ticket.shard == receipt->shard)) {
        if (!receipt->has_through || ticket.sequence > receipt->through)
            receipt->through = ticket.sequence;
        receipt->has_through = true;
        return;
    }
    must(ticket.shard < SHARDS_MAX);
    uint64_t bit = (uint64_t)1 << ticket.shard;
    if ((receipt->others & bit) == 0 || ticket.sequence > receipt->other[ticket.shard])
        receipt->other[ticket.shard] = ticket.sequence;
    receipt->others |= bit;
}

void receipt_add(struct receipt *receipt, uint64_t index, struct span id,
                 const struct verdict *verdict)
{
    if (LIKELY(verdict->code == EVENT_ACCEPTED)) {
        receipt->accepted++;
        wait_for(receipt, verdict->ticket);
    } else if (verdict->code == EVENT_DUPLICATE) {
        receipt->duplicates++;
        wait_for(receipt, verdict->ticket);
    } else {
        receipt_refuse(receipt, index, id, &verdict->refusal);
    }
}

static bool list(struct buf *out, uint64_t index, struct span id, const struct refusal *refusal)
{
    if (out->length > 0 && !buf_put(out, ",", 1))
        return false;
    if (!buf_print(out, "{\"index\":%" PRIu64 ",\"code\":\"%s\",\"message\":", index,
                   event_code_name(refusal->code)) ||
        !buf_put_json(out, span_of_string(refusal->message)))
        return false;
    if (id.at != NULL && (!buf_put(out, ",\"id\":", 6) || !buf_put_json(out, id)))
        return false;
    return buf_put(out, "}", 1);
}

void receipt_refuse(struct receipt *receipt, uint64_t index, struct span id,
                    const struct refusal *refusal)
{
    size_t before = receipt->rejects.length;
    receipt->refused++;
    receipt->codes |= 1u << refusal->code;
    /* Once one was left out, all behind it are: the list stays the front of the truth. */
    if (receipt->unlisted == 0 && list(&receipt->rejects, index, id, refusal))
        return;
    receipt->rejects.length = before;
    receipt->unlisted++;
}

bool receipt_print(const struct receipt *receipt, struct buf *out)
{
    bool put = buf_print(out, "\"accepted\":%" PRIu64 ",\"duplicates\":%" PRIu64 ",\"rejected\":[",
                         receipt->accepted, receipt->duplicates) &&
               buf_put(out, receipt->rejects.at, receipt->rejects.length) && buf_put(out, "]", 1);
    if (put && receipt->unlisted > 0)
        put = buf_print(out, ",\"unlisted\":%" PRIu64, receipt->unlisted);
    return put;
}

size_t receipt_print_bytes_max(const struct receipt *receipt)
{
    return 128 + receipt->rejects.length;
}

bool receipt_hold(const struct receipt *receipt, struct conn *conn, struct turn *turn, uint64_t tag,
                  struct span reply)
{
    struct hold hold = {.level = receipt->level};
    uint64_t others = receipt->level > ACK_RECEIVED ? receipt->others : 0;
    while (others != 0) {
        unsigned shard = (unsigned)__builtin_ctzll(others);
        others &= others - 1;
        hold.has_other = true;
        hold.other = (struct ticket){receipt->other[shard], shard};
        if (others != 0 && !conn_hold(conn, turn, &hold))
            return false;
    }
    hold.has_through = receipt->has_through && receipt->level > ACK_RECEIVED;
    hold.through = (struct ticket){receipt->through, receipt->shard};
    hold.tag = tag;
    hold.reply = reply;
    return conn_hold(conn, turn, &hold);
}
