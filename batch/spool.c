/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commits. A sealed block gets its place at the end of the current segment, its header says
 * which place that is and how far the shard was durable, and it goes out as one write and
 * fdatasync. Several are in flight; they come back in any order and are retired in theirs, so that
 * durable means: this one and all before it.
 *
 *   shard-NN/0000000000000007.seg      (batch/segment.h and batch/block.h have the bytes)
 *   ├─ header ─┼─ header ─┼─ block ──┼─ block ──┼─ block ──┼─ zeros, written ahead ───────────┤
 *                          durable    in flight  in flight  ↑ offset
 *
 * A full segment is left for the next one, which spool_files.c has made ready meanwhile: full
 * length, zeros, durable, in the directory. Its header is the first thing in flight on it, in the
 * same order as the blocks, so no block of it is retired before the header is durable. When the
 * next is not ready, sealed blocks wait, and when all buffers wait spool_room() says no: that is
 * back-pressure, and nobody is blocked.
 *
 * A failed write or fdatasync. The kernel may have thrown the dirty pages away and call the next
 * fdatasync a success (seen on the kernel that this was written on), so nothing is tried again
 * where it failed. The pages that went may be those of another write in flight on the same file,
 * whose own fdatasync is then that next one: once one has failed, no success of its segment is
 * believed any more. When all that is in flight has come back, what was durable before is retired;
 * the first that failed and everything behind it, written or not, goes back to the front of the
 * sealed ones and out again in a new segment, whose first_sequence tells recovery that the end of
 * the old one does not count. If that fails as well the spool is closed for good.
 */
#include "batch/spool_internal.h"
#include "core/log.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum { PERCENT_SLOW = 80, PERCENT_FULL = 95 };

struct ring_id spool_ring_id(const struct spool *spool, unsigned slot, uint32_t generation)
{
    return (struct ring_id){
        .slot = slot, .generation = generation, .owner = spool->options.ring_owner};
}

/* ── Sending ────────────────────────────────────────────────────────────────────────────────── */

static struct commit *flight_at(struct flight *flight, unsigned index)
{
    must(index < flight->count);
    return &flight->commit[(flight->head + index) % SPOOL_COMMITS_MAX];
}

static struct ring_id board(struct spool *spool, struct buffer *buffer, uint64_t end)
{
    struct flight *flight = &spool->flight;
    must(flight->count < SPOOL_COMMITS_MAX);
    unsigned slot = (flight->head + flight->count++) % SPOOL_COMMITS_MAX;
    flight->commit[slot] = (struct commit){
        .buffer = buffer,
        .segment = spool->current,
        .end = end,
        .generation = ++spool->generation,
        .state = COMMIT_FLYING,
    };
    flight->outstanding++;
    spool->current->flying++;
    return spool_ring_id(spool, SPOOL_SLOT_COMMIT + slot, spool->generation);
}

static void send_header(struct spool *spool, struct ring *ring)
{
    struct segment *segment = spool->current;
    struct segment_header place = {
        .number = segment->number,
        .first_sequence = segment->first_sequence,
        .boot = spool->boot,
        .durable = spool->durable,
        .created_us = spool->wall_us,
    };
    must(!spool->flight.header);
    spool->flight.header = true;
    segment_place(spool->header, &place);
    memcpy(spool->header + spool->header_bytes, spool->header, spool->header_bytes);
    segment->offset = 2 * (uint64_t)spool->header_bytes;
    ring_write_sync(ring, segment->file, spool->header, segment->offset, 0,
                    board(spool, NULL, segment->offset));
}

static void send_block(struct spool *spool, struct ring *ring, struct buffer *buffer,
                       uint64_t now_ns)
{
    struct segment *segment = spool->current;
    uint32_t padded = block_padded(buffer->length);
    must(segment != NULL); /* a block is only sent once there is a place for it */
    block_place(buffer->bytes, segment->number, spool->boot, spool->durable,
                segment->durable_bytes);
    buffer->witness = spool->retired;
    buffer->sent_ns = now_ns;
    spool->flight.blocks++;
    ring_write_sync(ring, segment->file, buffer->bytes, padded, segment->offset,
                    board(spool, buffer, segment->offset + padded));
    segment->offset += padded;
    count(spool->options.counters, COUNT_SPOOL_WRITTEN_BYTES, padded);
}

void spool_segment_retire(struct spool *spool, struct ring *ring, struct segment *segment)
{
    if (segment == spool->current || segment->flying > 0 || segment->file < 0)
        return;
    ring_close_descriptor(ring, segment->file, spool_ring_id(spool, SPOOL_SLOT_CLOSE, 0));
    segment->file = -1;
}

/* From `first` on, everything stands in the segment that is begun now. */
static void supersede(struct spool *spool, uint64_t first)
{
    for (struct list *link = spool->segments.previous; link != &spool->segments;
         link = link->previous) {
        struct segment *segment = LIST_ENTRY(link, struct segment, link);
        if (segment->end <= first)
            break;
        segment->end = first;
    }
}

static bool next_segment(struct spool *spool, struct ring *ring, uint64_t first_sequence)
{
    if (spool->flight.header)
        return false;
    struct segment *next = spool_nursery_take(spool);
    if (next == NULL)
        return false;
    struct segment *full = spool->current;
    supersede(spool, first_sequence);
    next->first_sequence = first_sequence;
    next->end = UINT64_MAX;
    list_append(&spool->segments, &next->link);
    spool->current = next;
    send_header(spool, ring);
    spool->snapshot.due = true;
    if (full != NULL)
        spool_segment_retire(spool, ring, full);
    return true;
}

static bool fits(const struct segment *current, const struct buffer *buffer)
{
    return current != NULL && current->offset + block_padded(buffer->length) <= current->bytes;
}

static bool place_for(struct spool *spool, struct ring *ring, const struct buffer *buffer)
{
    return fits(spool->current, buffer) || next_segment(spool, ring, buffer->first_sequence);
}

static bool may_send(const struct spool *spool)
{
    return !spool->failed && !spool->flight.settling &&
           spool->flight.blocks < spool->options.in_flight_max;
}

void spool_send(struct spool *spool, struct ring *ring, uint64_t now_ns)
{
    while (!list_empty(&spool->sealed) && may_send(spool)) {
        struct buffer *buffer = LIST_ENTRY(spool->sealed.next, struct buffer, link);
        must(list_linked(&buffer->link) && buffer->link.previous == &spool->sealed);
        if (!place_for(spool, ring, buffer))
            return;
        list_remove(&buffer->link);
        spool->sealed_count--;
        send_block(spool, ring, buffer, now_ns);
    }
}

void spool_commit(struct spool *spool, struct ring *ring, uint64_t now_ns, int64_t wall_us)
{
    spool->wall_us = wall_us;
    if (spool->failed)
        return;
    spool_send(spool, ring, now_ns);
    spool_snapshot_continue(spool);
    if (list_empty(&spool->sealed) && may_send(spool) && !spool_draft_empty(&spool->draft))
        spool_draft_seal(spool);
    spool_send(spool, ring, now_ns);
}

/* ── Completing ─────────────────────────────────────────────────────────────────────────────── */

static void retire_block(struct spool *spool, struct buffer *buffer, uint64_t now_ns)
{
    struct counters *counters = spool->options.counters;
    must(buffer->first_sequence == spool->durable);
    must(buffer->ordinal == spool->blocks_durable + 1);
    spool->blocks_durable = buffer->ordinal;
    spool->durable += buffer->rows;
    spool->witnessed = buffer->witness;
    spool->retired += buffer->length > BLOCK_HEADER_BYTES;
    spool->quiet_ns = now_ns;
    spool->flight.failures = 0;
    if (buffer->snapshot != 0)
        spool->marks_from = buffer->snapshot;
    if (buffer->rows == 0) {
        spool_buffer_put(spool, buffer);
        return;
    }
    buffer->block.durable_ns = now_ns;
    list_append(&spool->memory.durable, &buffer->link);
    count(counters, COUNT_COMMITS, 1);
    count(counters, COUNT_EVENTS_SPOOLED, buffer->rows);
    observe(counters, HISTOGRAM_COMMIT_NS, now_ns - buffer->sent_ns);
    observe(counters, HISTOGRAM_COMMIT_EVENTS, buffer->rows);
}

/* Everything that has come back well, up to the first that has not. */
static void retire(struct spool *spool, uint64_t now_ns)
{
    struct flight *flight = &spool->flight;
    while (flight->count > 0 && flight_at(flight, 0)->state == COMMIT_DONE) {
        struct commit *commit = flight_at(flight, 0);
        flight->head = (flight->head + 1) % SPOOL_COMMITS_MAX;
        flight->count--;
        commit->segment->durable_bytes = commit->end;
        if (commit->buffer == NULL) {
            flight->header = false;
            continue;
        }
        flight->blocks--;
        retire_block(spool, commit->buffer, now_ns);
    }
}

static void close_for_good(struct spool *spool)
{
    spool->failed = true;
    log_error("spool",
              "shard %u: two group commits in a row failed in different files; this shard accepts "
              "nothing until ringmain is started again; %" PRIu64
              " events that nobody was thanked for are lost; look at the disk",
              spool->options.shard, spool->next - spool->durable);
}

/* All that was in flight when one failed has come back:
 * what is not durable goes out again, in another file. */
static void settle(struct spool *spool, struct ring *ring, uint64_t now_ns)
{
    struct flight *flight = &spool->flight;
    retire(spool, now_ns);
    while (flight->count > 0) {
        struct commit *commit = flight_at(flight, flight->count - 1);
        flight->count--;
        if (commit->buffer == NULL)
            continue;
        list_prepend(&spool->sealed, &commit->buffer->link);
        spool->sealed_count++;
    }
    flight->blocks = 0;
    flight->header = false;
    flight->settling = false;
    struct segment *left = spool->current;
    spool->current = NULL;
    if (left != NULL)
        spool_segment_retire(spool, ring, left);
    if (++flight->failures >= 2)
        close_for_good(spool);
    else
        spool_send(spool, ring, now_ns);
}

static void note_failure(struct spool *spool, const struct commit *commit, int result)
{
    spool->flight.settling = true;
    commit->segment->failed = true;
    count(spool->options.counters, COUNT_COMMIT_FAILURES, 1);
    log_error("spool",
              "shard %u: a group commit to segment %016" PRIx64
              " failed: %s; what is not durable goes to a new segment; look at the disk",
              spool->options.shard, commit->segment->number, strerror(-result));
}

static void commit_complete(struct spool *spool, struct ring *ring,
                            const struct completion *completion, uint64_t now_ns)
{
    struct flight *flight = &spool->flight;
    struct commit *commit = &flight->commit[completion->id.slot];
    if (commit->generation != completion->id.generation || commit->state != COMMIT_FLYING) {
        count(spool->options.counters, COUNT_STALE_COMPLETIONS, 1);
        return;
    }
    struct segment *segment = commit->segment;
    bool good = completion->result == 0;
    commit->state = good && !segment->failed ? COMMIT_DONE : COMMIT_FAILED;
    flight->outstanding--;
    segment->flying--;
    if (!good)
        note_failure(spool, commit, completion->result > 0 ? -EIO : completion->result);
    spool_segment_retire(spool, ring, segment);
    if (!flight->settling) {
        retire(spool, now_ns);
        spool_send(spool, ring, now_ns);
    } else if (flight->outstanding == 0) {
        settle(spool, ring, now_ns);
    }
}

void spool_complete(struct spool *spool, struct ring *ring, const struct completion *completion,
                    uint64_t now_ns)
{
    unsigned slot = completion->id.slot;
    if (slot < SPOOL_COMMITS_MAX)
        commit_complete(spool, ring, completion, now_ns);
    else if (slot == SPOOL_SLOT_NURSERY)
        spool_nursery_complete(spool, ring, completion, now_ns);
    else if (slot == SPOOL_SLOT_GRAVE)
        spool_grave_complete(spool, ring, completion, now_ns);
}

/* ── The turn's housekeeping ────────────────────────────────────────────────────────────────── */

/*
 * When all is quiet, an empty block says on the disk itself how far the shard was durable. Without
 * it nobody could tell a last block that was damaged later from one that was never finished.
 */
static int64_t witness(struct spool *spool, struct ring *ring, uint64_t now_ns)
{
    if (spool->witnessed == spool->retired || !spool_idle(spool) || spool->failed)
        return -1;
    if (now_ns - spool->quiet_ns < SPOOL_WITNESS_NS)
        return (int64_t)(SPOOL_WITNESS_NS - (now_ns - spool->quiet_ns));
    if (spool_draft_witness(spool))
        spool_send(spool, ring, now_ns);
    return -1;
}

static unsigned level(uint64_t used, uint64_t of)
{
    if (used >= of / 100 * PERCENT_FULL + of % 100 * PERCENT_FULL / 100)
        return 2;
    return used >= of / 100 * PERCENT_SLOW + of % 100 * PERCENT_SLOW / 100 ? 1 : 0;
}

unsigned spool_pressure(const struct spool *spool)
{
    if (spool->failed || spool_stuck(spool))
        return 2;
    /* Only whole segments can be used. */
    uint64_t segments = spool->options.bytes_max / spool->options.segment_bytes;
    unsigned disk = level(spool->unstored_bytes, segments * spool->options.segment_bytes);
    unsigned memory = level(spool->sealed_count, spool->sealed_count + spool->memory.free);
    return disk > memory ? disk : memory;
}

static void show(struct spool *spool)
{
    struct counters *counters = spool->options.counters;
    unsigned segments = 0;
    for (struct list *link = spool->segments.next; link != &spool->segments; link = link->next)
        segments++;
    gauge(counters, COUNT_SPOOL_SEGMENTS, segments);
    gauge(counters, COUNT_SPOOL_BYTES, spool_disk_bytes(spool));
    gauge(counters, COUNT_SPOOL_PRESSURE, spool_pressure(spool));
    gauge(counters, COUNT_SPOOL_PENDING_EVENTS,
          spool->durable > spool->stored ? spool->durable - spool->stored : 0);
}

static int64_t sooner(int64_t a, int64_t b)
{
    if (a < 0 || b < 0)
        return a < 0 ? b : a;
    return a < b ? a : b;
}

int64_t spool_tick(struct spool *spool, struct ring *ring, uint64_t now_ns, int64_t wall_us,
                   uint64_t stored, uint64_t seen_ns)
{
    spool->wall_us = wall_us;
    spool->seen_ns = seen_ns;
    bool went_back = stored < spool->stored;
    spool->stored = stored;
    /* Nothing may be removed on the strength of what was true before. */
    if (!went_back && spool->looked_ns != 0 && now_ns - spool->looked_ns < SPOOL_LOOK_NS)
        return (int64_t)(SPOOL_LOOK_NS - (now_ns - spool->looked_ns));
    spool->looked_ns = now_ns;
    spool_disk_look(spool, now_ns);
    int64_t wait = spool_files_tick(spool, ring, now_ns);
    wait = sooner(wait, witness(spool, ring, now_ns));
    show(spool);
    return wait;
}

uint64_t spool_next(const struct spool *spool)
{
    return spool->next;
}

uint64_t spool_durable(const struct spool *spool)
{
    return spool->durable;
}

uint64_t spool_block(const struct spool *spool)
{
    return spool->blocks_sealed + (spool_draft_empty(&spool->draft) ? 0 : 1);
}

uint64_t spool_blocks_durable(const struct spool *spool)
{
    return spool->blocks_durable;
}

bool spool_marks_stand(const struct spool *spool)
{
    return spool->marks_from != 0;
}

void spool_keep_inherited(struct spool *spool, bool keep)
{
    spool->keep_inherited = keep;
}

bool spool_idle(const struct spool *spool)
{
    return spool_draft_empty(&spool->draft) && list_empty(&spool->sealed) &&
           spool->flight.count == 0;
}

bool spool_stuck(const struct spool *spool)
{
    if (list_empty(&spool->sealed) || spool->flight.count > 0)
        return false;
    return !fits(spool->current, LIST_ENTRY(spool->sealed.next, struct buffer, link)) &&
           spool_no_segment_comes(spool);
}

bool spool_failed(const struct spool *spool)
{
    return spool->failed;
}
