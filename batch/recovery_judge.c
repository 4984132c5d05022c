/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The judgement: of the pieces that were found, which count, and what is missing.
 *
 * A frontier walks over the segments in the order of their numbers
 * and over the pieces in them. It starts at the first sequence there
 * is and must meet every sequence after that. Where it can't go on:
 *
 *   proven > frontier   somebody was thanked for what is missing. A loss: named, and stepped over.
 *   else                nobody was. The torn end: from here on nothing counts, however good it
 *                       looks, for a block counts only when all before it do.
 *
 * A block or header written at any later time says how far the shard was durable then: the largest
 * of these is `proven`. Blocks also say how far their own file was, in bytes, which finds the
 * damaged block that had no rows.
 */
#include "batch/recovery.h"
#include "core/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

bool recovery_add_piece(struct found *found, struct piece piece)
{
    if (found->pieces == found->room) {
        unsigned room = found->room == 0 ? 8 : found->room * 2;
        struct piece *more = realloc(found->piece, room * sizeof *more);
        if (more == NULL)
            return false;
        found->piece = more;
        found->room = room;
    }
    found->piece[found->pieces++] = piece;
    return true;
}

/* Of a segment without a valid header nobody knows what its rows are: it counts only as damage, and
 * only if no later segment holds them all. */
static bool counts(const struct recovery *recovery, const struct found *found)
{
    if (found->fault == SEGMENT_OK)
        return found->first <= found->cut;
    return recovery->proven > found->lowest && found->lowest < found->cut;
}

static void note_loss(struct recovery *recovery, const char *text)
{
    size_t room = sizeof recovery->out->loss - recovery->loss_length;
    log_error("spool", "damaged: %s", text);
    int put = snprintf(recovery->out->loss + recovery->loss_length, room, "%s%s",
                       recovery->losses == 0 ? "" : "; ", text);
    recovery->loss_length += (size_t)put < room ? (size_t)put : room - 1;
    recovery->losses++;
}

static void say_loss(struct recovery *recovery, const struct found *found,
                     const struct piece *piece)
{
    char text[256];
    int length = snprintf(text, sizeof text,
                          "shard-%02u/%016" PRIx64 ".seg, bytes %" PRIu64 " to %" PRIu64 ": ",
                          recovery->spool->options.shard, found->number, piece->at, piece->end);
    if (piece->first < piece->last)
        (void)snprintf(text + length, sizeof text - (size_t)length,
                       "events %" PRIu64 " to %" PRIu64 " (%" PRIu64 ") are missing", piece->first,
                       piece->last - 1, piece->last - piece->first);
    else
        (void)snprintf(text + length, sizeof text - (size_t)length,
                       "no event is missing, but producers' counts before event %" PRIu64,
                       piece->first);
    note_loss(recovery, text);
}

static void add_piece(struct recovery *recovery, struct found *found, struct piece piece)
{
    if (!recovery_add_piece(found, piece))
        recovery->starved = true;
}

/* A loss is written down where the damage is. */
static void lose(struct recovery *recovery, struct found *found, uint64_t at, uint64_t end,
                 uint64_t to)
{
    struct piece piece = {
        .at = at, .end = end, .first = recovery->expected, .last = to, .lost = true};
    add_piece(recovery, found, piece);
    found->damaged = true;
    say_loss(recovery, found, &piece);
    recovery->expected = to;
}

/* The frontier leaves the current segment for one that begins at `to`. */
static void leave(struct recovery *recovery, uint64_t to)
{
    struct found *found = recovery->current;
    uint64_t at = recovery->current_at, expected = recovery->expected;
    uint64_t end = found->durable_bytes < found->ends_at ? found->durable_bytes : found->ends_at;
    if (to <= expected && at >= end)
        return;
    if (to <= expected)
        lose(recovery, found, at, end, expected);
    else if (recovery->proven > expected)
        lose(recovery, found, at, found->length, to);
    else
        recovery->torn = true;
}

/* The frontier goes on in the same segment, to `piece`. False: it can't, this is the torn end. */
static bool arrive(struct recovery *recovery, const struct piece *piece)
{
    struct found *found = recovery->current;
    uint64_t at = recovery->current_at, expected = recovery->expected;
    bool had_been_durable = piece->at > at && at < found->durable_bytes;
    if (piece->first == expected && !had_been_durable)
        return true;
    if (piece->first > expected && recovery->proven <= expected && !had_been_durable) {
        recovery->torn = true;
        return false;
    }
    lose(recovery, found, at, piece->at, piece->first);
    return true;
}

static void judge_pieces(struct recovery *recovery, struct found *found)
{
    struct piece *piece = found->piece;
    unsigned pieces = found->pieces;
    found->piece = NULL;
    found->pieces = found->room = 0;
    for (unsigned i = 0; i < pieces; i++) {
        if (piece[i].first < recovery->expected)
            continue; /* blocks never go backwards: whatever this is, it is not what belongs here */
        if (piece[i].last > found->cut)
            piece[i].last = found->cut;
        if (recovery->torn || !arrive(recovery, &piece[i])) {
            recovery->out->torn_bytes += piece[i].end - piece[i].at;
            continue;
        }
        add_piece(recovery, found, piece[i]);
        recovery->expected = piece[i].last;
        recovery->current_at = piece[i].end;
    }
    free(piece);
}

static void judge_segment(struct recovery *recovery, struct found *found)
{
    bool headed = found->fault == SEGMENT_OK;
    if (recovery->current == NULL)
        recovery->expected = headed ? found->first : found->lowest;
    else
        leave(recovery, headed ? found->first : recovery->expected);
    if (recovery->torn)
        return;
    recovery->current = found;
    recovery->current_at = headed ? found->blocks_at : 0;
    if (headed) {
        judge_pieces(recovery, found);
        return;
    }
    found->first = recovery->expected;
    found->pieces = 0;
}

static void drop(struct recovery *recovery, struct found *found)
{
    for (unsigned i = 0; i < found->pieces; i++)
        recovery->out->torn_bytes += found->piece[i].end - found->piece[i].at;
    found->pieces = 0;
}

/* After its first start a spool always has a segment with a header:
 * without one the numbers of its events are lost. */
static void judge_nothing(struct recovery *recovery)
{
    recovery->expected = recovery->proven;
    for (unsigned i = 0; i < recovery->founds; i++)
        if (recovery->found[i].lowest != UINT64_MAX &&
            recovery->found[i].lowest > recovery->expected)
            recovery->expected = recovery->found[i].lowest;
    note_loss(recovery, "no segment has a readable header, and all events in them are missing");
}

int recovery_judge(struct recovery *recovery)
{
    for (unsigned i = 0; i < recovery->founds; i++) {
        struct found *found = &recovery->found[i];
        if (!recovery->torn && counts(recovery, found))
            judge_segment(recovery, found);
        if (recovery->current != found)
            drop(recovery, found);
        if (!found->damaged && found->boot == recovery->last_boot)
            recovery->out->torn_bytes += found->bad_bytes;
    }
    if (recovery->current != NULL && !recovery->torn)
        leave(recovery, recovery->proven);
    if (recovery->current == NULL && recovery->highest > 0)
        judge_nothing(recovery);
    return recovery->starved ? -ENOMEM : 0;
}
