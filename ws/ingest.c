/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How messages become events and answers.
 *
 *   message ─► parcel ─┬─ cart_event, event ─► the group ──── at the end of the run ────► intake
 *                      └─ batch: the group is settled first, then filled item by item ──► intake
 *
 * The single events of one run of input go to the intake together, and their answers, one frame
 * each, into one hold. A batch goes through the group in portions and is answered once.
 *
 * No room. What the intake did not take is kept: single messages in `hand` (each behind its
 * length), a batch as a copy of the items that are left. The connection is throttled, and when
 * input is offered again (ws/websocket.c sees to it) they go the same way once more. What was
 * judged never comes back, so nothing is taken twice, and a batch has one answer.
 */
#include "ws/ingest.h"

#include "proto/receipt.h"
#include "ws/group.h"
#include "ws/parcel.h"
#include "ws/reply.h"

#include <inttypes.h>
#include <stdlib.h>

/* A batch under way. */
struct batch {
    struct receipt receipt;
    struct batch_shown shown;
    struct span array;     /* what is left, and perhaps some of what is done */
    struct json_walk walk; /* over it */
    struct buf memory;     /* where it lies, once the message is gone */
    uint64_t index;        /* of the next item */
};

struct ingest {
    struct websocket ws; /* first: a pointer to it is one to the whole */
    struct ingest_door *door;
    struct source source;
    struct principal *principal;
    enum ack_level level;
    struct bucket allowance; /* events a second */
    struct batch *batch;     /* NULL: none */
    struct buf hand;         /* messages for which there was no room: u32 length, text … */
    size_t counted;          /* of hand and batch, what the connection knows of */
};

struct ingest_door {
    struct ingest_options options;
    struct group group;
    struct ingest *owner; /* whose events are in the group */
    struct buf reply;     /* frames for one hold */
};

enum { REPLY_BYTES_MAX = 1 << 20 };

/* The group is this connection's from here to the end of the run. */
static struct group *claim(struct ingest *ingest)
{
    struct ingest_door *door = ingest->door;
    must(door->group.entries == 0 || door->owner == ingest);
    door->owner = ingest;
    return &door->group;
}

static struct ingest *ingest_of(struct websocket *ws)
{
    return (struct ingest *)ws;
}

/* ── No room ────────────────────────────────────────────────────────────────────────────────── */

/* Nothing of this was acknowledged: the producer will send it again. */
static void give_up(struct ingest *ingest, struct turn *turn)
{
    websocket_abort(&ingest->ws, turn);
}

/* Behind whatever kept something or let go of it. */
static void count_memory(struct ingest *ingest, struct turn *turn)
{
    size_t bytes = ingest->hand.capacity;
    if (ingest->batch != NULL)
        bytes += ingest->batch->memory.capacity;
    if (!conn_count_memory(ingest->ws.wire.conn, &ingest->counted, bytes))
        give_up(ingest, turn);
}

static void keep(struct ingest *ingest, struct turn *turn, struct span text)
{
    uint32_t length = (uint32_t)text.length;
    must(length == text.length);
    if (!buf_put(&ingest->hand, &length, sizeof length) ||
        !buf_put(&ingest->hand, text.at, text.length))
        give_up(ingest, turn);
}

/* ── To the intake ──────────────────────────────────────────────────────────────────────────── */

/* The group, as far as this connection may send so much at the time. False: no room for all. */
static bool judge(struct ingest *ingest, struct turn *turn)
{
    struct ingest_door *door = ingest->door;
    const struct bucket_rate *rate = &door->options.rate;
    static const struct refusal too_many = {
        EVENT_RATE_LIMITED, "event: this connection sends more than limits.events_per_second"};
    group_limit(&door->group, bucket_left(&ingest->allowance, rate, turn->now_ns), &too_many);
    bool all = group_judge(&door->group, door->options.intake, turn, &ingest->source);
    must(bucket_take(&ingest->allowance, rate, door->group.taken, turn->now_ns));
    return all;
}

/* ── Answers ────────────────────────────────────────────────────────────────────────────────── */

/* Waits for what the receipt names. The tag is when the events came. */
static void hold_reply(struct ingest *ingest, struct turn *turn, const struct receipt *receipt,
                       struct span reply)
{
    if (reply.length > 0 && !receipt_hold(receipt, ingest->ws.wire.conn, turn, turn->now_ns, reply))
        give_up(ingest, turn);
}

/* An entry's answer behind the others; false: no room for it. */
static bool answer(struct ingest *ingest, struct receipt *receipt, const struct reply_time *time,
                   unsigned index)
{
    struct ingest_door *door = ingest->door;
    const struct verdict *verdict = group_verdict(&door->group, index);
    struct span id = door->group.entry[index].id;
    if (UNLIKELY(verdict->code > EVENT_DUPLICATE))
        return reply_put_error(&door->reply, &verdict->refusal, id, time);
    receipt_add(receipt, index, id, verdict);
    return ingest->level == ACK_NONE || reply_put_ack(&door->reply, verdict->code, id, time);
}

static void answer_singles(struct ingest *ingest, struct turn *turn)
{
    struct ingest_door *door = ingest->door;
    struct reply_time time = reply_time(turn->wall_us);
    struct receipt receipt;
    bool fits = true;
    receipt_start(&receipt, door->options.shard, ingest->level);
    door->reply.length = 0;
    for (unsigned i = 0; fits && i < door->group.judged; i++)
        fits = answer(ingest, &receipt, &time, i);
    if (fits)
        hold_reply(ingest, turn, &receipt, buf_span(&door->reply));
    else
        give_up(ingest, turn);
    receipt_fini(&receipt);
}

static void answer_batch(struct ingest *ingest, struct turn *turn)
{
    struct ingest_door *door = ingest->door;
    const struct receipt *receipt = &ingest->batch->receipt;
    struct reply_time time = reply_time(turn->wall_us);
    if (ingest->level == ACK_NONE && receipt->refused == 0)
        return;
    door->reply.length = 0;
    if (reply_put_batch(&door->reply, receipt, &time))
        hold_reply(ingest, turn, receipt, buf_span(&door->reply));
    else
        give_up(ingest, turn);
}

/* ── Single events ──────────────────────────────────────────────────────────────────────────── */

/* False: no room; what was not taken is in the hand. */
static bool settle_singles(struct ingest *ingest, struct turn *turn)
{
    struct group *group = &ingest->door->group;
    if (group->entries == 0)
        return true;
    (void)claim(ingest);
    bool all = judge(ingest, turn);
    answer_singles(ingest, turn);
    for (unsigned i = group->judged; i < group->entries; i++)
        keep(ingest, turn, group->entry[i].whole);
    group_clear(group);
    if (!all)
        conn_throttle(ingest->ws.wire.conn, turn);
    return all;
}

/* ── Batches ────────────────────────────────────────────────────────────────────────────────── */

static void end_batch(struct ingest *ingest)
{
    if (ingest->batch == NULL)
        return;
    receipt_fini(&ingest->batch->receipt);
    buf_fini(&ingest->batch->memory);
    free(ingest->batch);
    ingest->batch = NULL;
}

/* Items into the group, as many as fit. */
static void fill(struct ingest *ingest)
{
    struct ingest_door *door = ingest->door;
    struct json_value item;
    struct span name;
    while (!group_is_full(&door->group) && json_next(&ingest->batch->walk, &name, &item))
        group_add(&door->group, door->options.intake, GROUP_ENVELOPE, item.text, item.text);
}

/* The array begins anew with the item at `next`,
 * in memory that outlives the message. False: none. */
static bool keep_rest(struct batch *batch, const uint8_t *next)
{
    const uint8_t *end = batch->array.at + batch->array.length;
    struct buf *memory = &batch->memory;
    size_t length = (size_t)(end - next);
    if (memory->at != NULL) {
        /* What stood before the item has been judged; there is at least the bracket. */
        memory->at[next - memory->at - 1] = '[';
        batch->array = span_of(next - 1, length + 1);
    } else {
        memory->max = length + 1;
        if (!buf_put(memory, "[", 1) || !buf_put(memory, next, length))
            return false;
        batch->array = buf_span(memory);
    }
    batch->walk = json_walk(batch->array);
    return true;
}

/* One group of items to the intake. NULL: it took them all; else the first that it did not. */
static const uint8_t *judge_items(struct ingest *ingest, struct turn *turn)
{
    struct batch *batch = ingest->batch;
    struct group *group = &ingest->door->group;
    ingest->source.batch = &batch->shown;
    bool all = judge(ingest, turn);
    ingest->source.batch = NULL;
    for (unsigned i = 0; i < group->judged; i++)
        receipt_add(&batch->receipt, batch->index++, group->entry[i].id, group_verdict(group, i));
    const uint8_t *next = all ? NULL : group->entry[group->judged].whole.at;
    group_clear(group);
    return next;
}

/* False: no room; the batch goes on from there later. */
static bool work_batch(struct ingest *ingest, struct turn *turn)
{
    for (;;) {
        fill(ingest);
        if (ingest->door->group.entries == 0)
            break;
        const uint8_t *next = judge_items(ingest, turn);
        if (next == NULL)
            continue;
        conn_throttle(ingest->ws.wire.conn, turn);
        if (!keep_rest(ingest->batch, next))
            give_up(ingest, turn);
        return false;
    }
    answer_batch(ingest, turn);
    end_batch(ingest);
    return true;
}

static bool take_batch(struct ingest *ingest, struct turn *turn, const struct parcel *parcel)
{
    if (!settle_singles(ingest, turn)) {
        keep(ingest, turn, parcel->text);
        return false;
    }
    ingest->batch = calloc(1, sizeof *ingest->batch);
    if (ingest->batch == NULL) {
        give_up(ingest, turn);
        return true;
    }
    receipt_start(&ingest->batch->receipt, ingest->door->options.shard, ingest->level);
    ingest->batch->array = parcel->data.text;
    ingest->batch->walk = json_walk(ingest->batch->array);
    return work_batch(ingest, turn);
}

/* ── Messages ───────────────────────────────────────────────────────────────────────────────── */

/* Nearly every message is one event in the usual form, and good: then it is read but once. */
static bool take_usual(struct ingest *ingest, struct span text)
{
    struct ingest_door *door = ingest->door;
    struct parcel parcel;
    if (!parcel_guess(text, &parcel))
        return false;
    enum group_kind kind = parcel.type == PARCEL_CART_EVENT ? GROUP_CART : GROUP_ENVELOPE;
    return group_offer(&door->group, door->options.intake, kind, text, parcel.data.text);
}

static void add_single(struct ingest *ingest, const struct parcel *parcel)
{
    struct ingest_door *door = ingest->door;
    enum group_kind kind = GROUP_ENVELOPE;
    struct span event = parcel->data.text;
    if (parcel->type == PARCEL_CART_EVENT && parcel->bare)
        kind = GROUP_CART;
    else if (parcel->type == PARCEL_CART_EVENT)
        event = parcel->text; /* more members: they belong to the event, as at the other doors */
    group_add(&door->group, door->options.intake, kind, parcel->text, event);
}

/* False: no room; what is not done is kept. */
static bool take_text(struct ingest *ingest, struct turn *turn, struct span text)
{
    struct group *group = claim(ingest);
    struct parcel parcel;
    struct refusal refusal;
    struct span id;
    if (group_is_full(group) && !settle_singles(ingest, turn)) {
        keep(ingest, turn, text);
        return false;
    }
    if (LIKELY(take_usual(ingest, text)))
        return true;
    if (UNLIKELY(parcel_read(text, &parcel, &id, &refusal) != EVENT_ACCEPTED)) {
        group_refuse(group, text, id, &refusal);
        return true;
    }
    if (parcel.type == PARCEL_BATCH)
        return take_batch(ingest, turn, &parcel);
    add_single(ingest, &parcel);
    return true;
}

static bool ingest_message(struct websocket *ws, struct turn *turn, const struct message *message)
{
    bool taken = take_text(ingest_of(ws), turn, message->text);
    if (UNLIKELY(!taken))
        count_memory(ingest_of(ws), turn);
    return taken;
}

static bool ingest_settle(struct websocket *ws, struct turn *turn)
{
    struct ingest *ingest = ingest_of(ws);
    bool settled = ingest->batch != NULL || settle_singles(ingest, turn);
    if (UNLIKELY(!settled))
        count_memory(ingest, turn);
    return settled;
}

/* The messages in the hand once more; those for which there is still no room return to it. */
static bool take_hand(struct ingest *ingest, struct turn *turn)
{
    struct buf hand = ingest->hand;
    bool room = true;
    buf_init(&ingest->hand, hand.max);
    for (size_t at = 0; at < hand.length && ingest->ws.state != WEBSOCKET_DONE;) {
        uint32_t length;
        memcpy(&length, hand.at + at, sizeof length);
        struct span text = span_of(hand.at + at + sizeof length, length);
        at += sizeof length + length;
        if (room)
            room = take_text(ingest, turn, text);
        else
            keep(ingest, turn, text);
    }
    room = settle_singles(ingest, turn) && room;
    buf_fini(&hand);
    return room;
}

static bool ingest_resume(struct websocket *ws, struct turn *turn)
{
    struct ingest *ingest = ingest_of(ws);
    (void)claim(ingest);
    bool done = (ingest->batch == NULL || work_batch(ingest, turn)) && take_hand(ingest, turn);
    count_memory(ingest, turn);
    return done;
}

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

static void ingest_opened(struct websocket *ws, struct turn *turn)
{
    struct ingest *ingest = ingest_of(ws);
    struct reply_time time = reply_time(turn->wall_us);
    struct buf *reply = &ingest->door->reply;
    reply->length = 0;
    if (!reply_put_connected(reply, conn_id(ws->wire.conn), &time) ||
        !conn_send(ws->wire.conn, turn, reply->at, reply->length))
        give_up(ingest, turn);
}

static void ingest_released(struct websocket *ws, struct turn *turn, const struct hold *hold)
{
    (void)ws;
    if (hold->reply.length > 0)
        observe(turn->counters, HISTOGRAM_ACK_NS, turn->now_ns - hold->tag);
}

static void ingest_expired(struct websocket *ws, struct turn *turn)
{
    struct ingest *ingest = ingest_of(ws);
    struct reply_time time = reply_time(turn->wall_us);
    struct refusal refusal = {EVENT_UNAUTHORIZED, "token: it has expired"};
    struct receipt nothing;
    receipt_start(&nothing, ingest->door->options.shard, ACK_NONE);
    ingest->door->reply.length = 0;
    if (reply_put_error(&ingest->door->reply, &refusal, (struct span){NULL, 0}, &time))
        hold_reply(ingest, turn, &nothing, buf_span(&ingest->door->reply));
}

static void ingest_closed(struct websocket *ws, struct turn *turn, uint16_t code)
{
    struct ingest *ingest = ingest_of(ws);
    (void)code;
    end_batch(ingest);
    buf_fini(&ingest->hand);
    count_memory(ingest, turn);
    free(ingest->principal);
    free(ingest);
}

static const struct websocket_ops ingest_ops = {
    .name = "ingest",
    .opened = ingest_opened,
    .message = ingest_message,
    .settle = ingest_settle,
    .resume = ingest_resume,
    .released = ingest_released,
    .expired = ingest_expired,
    .closed = ingest_closed,
};

static struct ingest *make(const struct principal *principal)
{
    struct ingest *ingest = calloc(1, sizeof *ingest);
    if (ingest == NULL || principal == NULL)
        return ingest;
    ingest->principal = principal_copy(principal);
    if (ingest->principal == NULL) {
        free(ingest);
        return NULL;
    }
    ingest->source.principal = ingest->principal;
    return ingest;
}

bool ingest_start(struct ingest_door *door, struct turn *turn, struct conn *conn,
                  const struct handshake *handshake, const struct principal *principal,
                  enum ack_level level)
{
    struct ingest *ingest = make(principal);
    if (ingest == NULL)
        return false;
    websocket_init(&ingest->ws, &ingest_ops, &door->options.websocket);
    ingest->ws.expires_ns =
        principal_expires_ns(principal, turn->now_ns, turn->wall_us, door->options.leeway_ns);
    ingest->door = door;
    ingest->source.received = COUNT_EVENTS_RECEIVED_WS;
    ingest->level = level;
    ingest->hand.max = SIZE_MAX / 2; /* a group and a message: bounded by what one run brings */
    if (websocket_start(&ingest->ws, turn, conn, handshake))
        return true;
    free(ingest->principal);
    free(ingest);
    return false;
}

struct ingest_door *ingest_door_open(const struct ingest_options *options)
{
    struct ingest_door *door = calloc(1, sizeof *door);
    if (door == NULL)
        return NULL;
    door->options = *options;
    door->reply.max = REPLY_BYTES_MAX;
    group_init(&door->group, options->intake);
    return door;
}

void ingest_door_change(struct ingest_door *door, uint64_t leeway_ns, struct bucket_rate rate,
                        const struct websocket_options *websocket)
{
    door->options.leeway_ns = leeway_ns;
    door->options.rate = rate;
    door->options.websocket.idle_ns = websocket->idle_ns;
    door->options.websocket.message_ns = websocket->message_ns;
    door->options.websocket.close_ns = websocket->close_ns;
}

void ingest_door_close(struct ingest_door *door)
{
    if (door == NULL)
        return;
    buf_fini(&door->reply);
    free(door);
}
