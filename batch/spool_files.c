/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes on beside the commits: the next segment is made ready, and stored ones are removed.
 *
 *   nursery   open spare.tmp → fill with zeros, in step with the data → fsync
 *             → rename to its number → fsync of the directory → ready
 *             Only then may a commit go there: a file whose length or name a crash takes back would
 *             take the events with it. Writing over zeros needs no metadata, which is what makes
 *             fdatasync cheap.
 *   grave     unlink → fsync of the directory
 *             One at a time and the oldest first, so that what a crash leaves is always the newest
 *             part of the spool, without a hole.
 *
 * A segment goes when all of it has been in Postgres for spool.retain_stored_s, and when every
 * producer's mark stands in a later one, of the shard that the producer belongs to now.
 * With the disk space at its limit (80 %), or the disk itself full, stored segments go earlier.
 * The last megabytes of a disk are not taken: the next start needs them.
 */
#include "batch/spool_internal.h"
#include "core/file.h"
#include "core/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    PERCENT_EARLY = 80,
    FILE_MODE = 0640,
    SPARED_BLOCKS = 6, /* beside those in flight: a short segment, and what the file system needs */
    SHORT_BLOCKS = 3,  /* beside one, in a short segment */
    SPARED_BYTES = 64 * 1024, /* of a full disk, for what the file system needs itself */
};

static const char spare_name[] = "spare.tmp";

/* ── How much there is ──────────────────────────────────────────────────────────────────────── */

uint64_t spool_disk_bytes(const struct spool *spool)
{
    uint64_t bytes = spool->nursery.segment != NULL ? spool->nursery.segment->bytes : 0;
    for (struct list *link = spool->segments.next; link != &spool->segments; link = link->next)
        bytes += LIST_ENTRY(link, struct segment, link)->bytes;
    return bytes;
}

static struct segment *oldest(const struct spool *spool)
{
    if (list_empty(&spool->segments))
        return NULL;
    return LIST_ENTRY(spool->segments.next, struct segment, link);
}

/* A fail-over of Postgres takes transactions back: what was stored may have to be stored again, and
 * its time on the disk begins anew when it has been. */
static void note_stored(struct segment *segment, bool stored, uint64_t now_ns)
{
    if (stored && !segment->stored)
        segment->stored_ns = now_ns;
    segment->stored = stored;
}

/* Notes which segments are stored, and since when, and what the others amount to. */
void spool_disk_look(struct spool *spool, uint64_t now_ns)
{
    uint64_t unstored = 0;
    for (struct list *link = spool->segments.next; link != &spool->segments; link = link->next) {
        struct segment *segment = LIST_ENTRY(link, struct segment, link);
        if (segment == spool->current) {
            if (spool->next > spool->stored)
                unstored += segment->offset;
            continue;
        }
        note_stored(segment, segment->end <= spool->stored, now_ns);
        if (!segment->stored)
            unstored += segment->bytes;
    }
    spool->unstored_bytes = unstored;
}

/* ── The nursery ────────────────────────────────────────────────────────────────────────────── */

static struct ring_id nursery_id(struct spool *spool)
{
    spool->nursery.generation = ++spool->generation;
    return spool_ring_id(spool, SPOOL_SLOT_NURSERY, spool->generation);
}

static void open_spare(struct spool *spool, struct ring *ring)
{
    int flags = O_WRONLY | O_CREAT | O_TRUNC | (spool->direct ? O_DIRECT : 0);
    spool->nursery.step = NURSERY_OPENING;
    ring_open_file(ring, spool->shard_directory, spare_name, flags, FILE_MODE, nursery_id(spool));
}

/*
 * Stored segments that only wait for their marks to stand in a later one. The marks are repeated
 * behind everything that is in memory, and that needs a place: if these counted against
 * spool.bytes, each would wait for the other.
 */
static bool marks_are_due(const struct spool *spool)
{
    const struct segment *segment = oldest(spool);
    return segment != NULL && segment != spool->current && segment->stored &&
           segment->number >= spool->marks_from;
}

static bool disk_has_room(const struct spool *spool)
{
    uint64_t bytes = marks_are_due(spool) ? spool->unstored_bytes : spool_disk_bytes(spool);
    return bytes + spool->options.segment_bytes <= spool->options.bytes_max;
}

bool spool_no_segment_comes(const struct spool *spool)
{
    return spool->nursery.step == NURSERY_EMPTY && spool->grave.step == GRAVE_IDLE &&
           (!disk_has_room(spool) || spool->looked_ns < spool->nursery.retry_ns);
}

static bool wants_spare(const struct spool *spool, uint64_t now_ns)
{
    if (spool->nursery.step != NURSERY_EMPTY || spool->failed || now_ns < spool->nursery.retry_ns)
        return false;
    /* Without a current segment nothing moves, and what is in memory has been promised a place. */
    return spool->current == NULL || disk_has_room(spool);
}

static void nursery_failed(struct spool *spool, int32_t error, uint64_t now_ns)
{
    if (error != spool->nursery.error)
        log_error("spool",
                  "shard %u: the next segment could not be made ready: %s; trying again every "
                  "second; free disk space or look at the disk",
                  spool->options.shard, strerror(-error));
    spool->nursery.error = error;
    spool->nursery.retry_ns = now_ns + SPOOL_RETRY_NS;
}

uint64_t spool_short_segment(const struct spool *spool, uint64_t space)
{
    uint64_t least = 2 * (uint64_t)spool->header_bytes + BLOCK_BYTES_MAX;
    uint64_t most = least + SHORT_BLOCKS * (uint64_t)BLOCK_BYTES_MAX;
    uint64_t bytes = space / BLOCK_ALIGN * BLOCK_ALIGN;
    bytes = bytes > SPARED_BYTES ? bytes - SPARED_BYTES : 0;
    if (bytes < least)
        return 0;
    most = most < spool->options.segment_bytes ? most : spool->options.segment_bytes;
    return bytes < most ? bytes : most;
}

/*
 * How long the next segment shall be; 0: there is no room. The last of the disk is left for the
 * next start: what was in flight is written anew then, and a short segment is begun, or nobody
 * would carry away what fills the disk. Without a current segment, or while stored ones only wait
 * for the place of their marks, nothing could ever be freed now: then it may be a short one.
 */
static uint64_t nursery_bytes(const struct spool *spool)
{
    uint64_t segment = spool->options.segment_bytes;
    uint64_t spared = (spool->options.in_flight_max + SPARED_BLOCKS) * (uint64_t)BLOCK_BYTES_MAX;
    bool urgent = spool->current == NULL || marks_are_due(spool);
    int64_t space = file_space(spool->shard_directory);
    spared = spared < 3 * segment ? spared : 3 * segment;
    if (space < 0 || (uint64_t)space >= segment + (urgent ? 0 : spared))
        return segment;
    return urgent ? spool_short_segment(spool, (uint64_t)space) : 0;
}

static void nursery_begin(struct spool *spool, struct ring *ring, uint64_t now_ns)
{
    uint64_t bytes = nursery_bytes(spool);
    struct segment *segment = bytes > 0 ? calloc(1, sizeof *segment) : NULL;
    if (segment == NULL) {
        nursery_failed(spool, bytes > 0 ? -ENOMEM : -ENOSPC, now_ns);
        return;
    }
    segment->file = -1;
    segment->bytes = bytes;
    segment->number = spool->next_number++;
    segment_name(spool->nursery.name, segment->number);
    spool->nursery.segment = segment;
    spool->nursery.filled = 0;
    open_spare(spool, ring);
}

static void nursery_drop(struct spool *spool, struct ring *ring, uint64_t retry_ns)
{
    struct nursery *nursery = &spool->nursery;
    if (nursery->segment->file >= 0)
        ring_close_descriptor(ring, nursery->segment->file,
                              spool_ring_id(spool, SPOOL_SLOT_CLOSE, 0));
    free(nursery->segment);
    nursery->segment = NULL;
    nursery->step = NURSERY_EMPTY;
    nursery->retry_ns = retry_ns;
}

/*
 * A commit's fdatasync makes the disk write everything it was given before, zeros too. So they are
 * given out in step with the data, twice as many: no commit pays for more than its share, and when
 * the current segment is half full the next is ready.
 */
static bool zeros_are_due(const struct spool *spool)
{
    const struct segment *current = spool->current;
    return current == NULL || spool->nursery.filled < SPOOL_ZEROS_BYTES + 2 * current->offset ||
           current->bytes - current->offset < BLOCK_BYTES_MAX; /* a short one is soon over */
}

/* The next zeros, or, when they are all there, the fsync. */
static void fill(struct spool *spool, struct ring *ring)
{
    struct nursery *nursery = &spool->nursery;
    struct segment *segment = nursery->segment;
    uint64_t left = segment->bytes - nursery->filled;
    if (left > 0 && !zeros_are_due(spool)) {
        nursery->step = NURSERY_RESTING;
        return;
    }
    if (left == 0) {
        nursery->step = NURSERY_SYNCING;
        ring_sync(ring, segment->file, nursery_id(spool));
        return;
    }
    nursery->step = NURSERY_FILLING;
    ring_write(ring, segment->file, spool->zeros,
               left < SPOOL_ZEROS_BYTES ? left : SPOOL_ZEROS_BYTES, nursery->filled,
               nursery_id(spool));
}

/* A short write may end where O_DIRECT can't go on: that block is written again. */
static void filled(struct spool *spool, struct ring *ring, int32_t bytes)
{
    spool->nursery.filled += (uint64_t)bytes / BLOCK_ALIGN * BLOCK_ALIGN;
    fill(spool, ring);
}

static void nursery_ready(struct spool *spool, struct ring *ring, uint64_t now_ns)
{
    spool->nursery.step = NURSERY_READY;
    spool->nursery.error = 0;
    spool_send(spool, ring, now_ns); /* somebody may be waiting for it */
}

static void nursery_step(struct spool *spool, struct ring *ring, int32_t result, uint64_t now_ns)
{
    struct nursery *nursery = &spool->nursery;
    switch (nursery->step) {
    case NURSERY_OPENING:
        nursery->segment->file = result;
        fill(spool, ring);
        break;
    case NURSERY_FILLING:
        filled(spool, ring, result);
        break;
    case NURSERY_SYNCING:
        nursery->step = NURSERY_RENAMING;
        ring_rename(ring, spool->shard_directory, spare_name, nursery->name, nursery_id(spool));
        break;
    case NURSERY_RENAMING:
        nursery->step = NURSERY_PUBLISHING;
        ring_sync(ring, spool->shard_directory, nursery_id(spool));
        break;
    case NURSERY_PUBLISHING:
        nursery_ready(spool, ring, now_ns);
        break;
    case NURSERY_EMPTY:
    case NURSERY_RESTING:
    case NURSERY_READY:
        must(false);
    }
}

void spool_nursery_complete(struct spool *spool, struct ring *ring,
                            const struct completion *completion, uint64_t now_ns)
{
    struct nursery *nursery = &spool->nursery;
    int32_t result = completion->result;
    if (completion->id.generation != nursery->generation) {
        count(spool->options.counters, COUNT_STALE_COMPLETIONS, 1);
        return;
    }
    if (result == -EINVAL && spool->direct && nursery->step <= NURSERY_FILLING) {
        log_warn("spool", "shard %u: this file system does not do O_DIRECT: going on without",
                 spool->options.shard);
        spool->direct = false;
        nursery_drop(spool, ring, 0);
        return;
    }
    if (nursery->step == NURSERY_FILLING && result >= 0 && result < BLOCK_ALIGN)
        result = -ENOSPC;
    if (result >= 0) {
        nursery_step(spool, ring, result, now_ns);
        return;
    }
    nursery_drop(spool, ring, 0);
    nursery_failed(spool, result, now_ns);
}

struct segment *spool_nursery_take(struct spool *spool)
{
    struct segment *segment = spool->nursery.segment;
    if (spool->nursery.step != NURSERY_READY)
        return NULL;
    spool->nursery.step = NURSERY_EMPTY;
    spool->nursery.segment = NULL;
    return segment;
}

/* ── The grave ──────────────────────────────────────────────────────────────────────────────── */

static bool disk_is_full(const struct spool *spool)
{
    int32_t error = spool->nursery.error;
    return spool->nursery.step == NURSERY_EMPTY && (error == -ENOSPC || error == -EDQUOT);
}

static bool space_is_short(const struct spool *spool)
{
    if (disk_is_full(spool))
        return true;
    uint64_t bytes = spool_disk_bytes(spool) + spool->options.segment_bytes;
    return bytes > spool->options.bytes_max / 100 * PERCENT_EARLY;
}

/* While Postgres is away nobody knows what it will have when it is back: the standby that takes over
 * may lack the last of what it had, however long that is ago by then. */
int64_t spool_until_released(const struct spool *spool, const struct segment *segment,
                             uint64_t now_ns)
{
    uint64_t at_ns = segment->stored_ns + (uint64_t)spool->options.retain_us * 1000;
    if (now_ns < at_ns)
        return (int64_t)(at_ns - now_ns);
    return spool->seen_ns >= at_ns ? 0 : -1;
}

/* ns until `segment` may go; 0: now; -1: time alone does not bring it. */
static int64_t until_burial(const struct spool *spool, const struct segment *segment,
                            uint64_t now_ns)
{
    if (segment == spool->current || segment->flying > 0 || segment->file >= 0 || !segment->stored)
        return -1;
    /* The last header on the disk is what the sequences go on from. */
    bool succeeded = spool->current != NULL && spool->current->durable_bytes > 0;
    bool kept = spool->keep_inherited && segment->number < spool->own_from;
    if (!succeeded || kept || segment->number >= spool->marks_from)
        return -1;
    return space_is_short(spool) ? 0 : spool_until_released(spool, segment, now_ns);
}

static void bury(struct spool *spool, struct ring *ring, struct segment *segment)
{
    struct grave *grave = &spool->grave;
    list_remove(&segment->link);
    grave->segment = segment;
    grave->step = GRAVE_UNLINKING;
    grave->generation = ++spool->generation;
    segment_name(grave->name, segment->number);
    ring_unlink(ring, spool->shard_directory, grave->name,
                spool_ring_id(spool, SPOOL_SLOT_GRAVE, grave->generation));
}

static int64_t grave_tick(struct spool *spool, struct ring *ring, uint64_t now_ns)
{
    struct grave *grave = &spool->grave;
    struct segment *segment = oldest(spool);
    if (grave->step != GRAVE_IDLE || segment == NULL)
        return -1;
    if (now_ns < grave->retry_ns)
        return (int64_t)(grave->retry_ns - now_ns);
    int64_t wait = until_burial(spool, segment, now_ns);
    if (wait != 0)
        return wait;
    bury(spool, ring, segment);
    return -1;
}

/* It is still there: back to where it was, and another attempt later. */
static void grave_failed(struct spool *spool, int error, uint64_t now_ns)
{
    struct grave *grave = &spool->grave;
    log_warn("spool", "shard %u: %s could not be removed: %s", spool->options.shard, grave->name,
             strerror(-error));
    list_prepend(&spool->segments, &grave->segment->link);
    grave->segment = NULL;
    grave->step = GRAVE_IDLE;
    grave->retry_ns = now_ns + SPOOL_RETRY_NS;
}

void spool_grave_complete(struct spool *spool, struct ring *ring,
                          const struct completion *completion, uint64_t now_ns)
{
    struct grave *grave = &spool->grave;
    int32_t result = completion->result;
    if (completion->id.generation != grave->generation || grave->step == GRAVE_IDLE) {
        count(spool->options.counters, COUNT_STALE_COMPLETIONS, 1);
        return;
    }
    if (grave->step == GRAVE_UNLINKING && result == -ENOENT)
        result = 0; /* somebody was quicker, or the attempt before was half done */
    if (result < 0) {
        grave_failed(spool, result, now_ns);
        return;
    }
    if (grave->step == GRAVE_UNLINKING) {
        grave->step = GRAVE_SYNCING;
        grave->generation = ++spool->generation;
        ring_sync(ring, spool->shard_directory,
                  spool_ring_id(spool, SPOOL_SLOT_GRAVE, grave->generation));
        return;
    }
    free(grave->segment);
    grave->segment = NULL;
    grave->step = GRAVE_IDLE;
    if (disk_is_full(spool)) { /* is it still? */
        spool->nursery.retry_ns = 0;
        nursery_begin(spool, ring, now_ns);
    }
    (void)grave_tick(spool, ring, now_ns);
}

int64_t spool_files_tick(struct spool *spool, struct ring *ring, uint64_t now_ns)
{
    if (wants_spare(spool, now_ns))
        nursery_begin(spool, ring, now_ns);
    else if (spool->nursery.step == NURSERY_RESTING && zeros_are_due(spool))
        fill(spool, ring);
    int64_t wait = grave_tick(spool, ring, now_ns);
    bool waiting = spool->nursery.step == NURSERY_EMPTY && now_ns < spool->nursery.retry_ns;
    int64_t retry = waiting ? (int64_t)(spool->nursery.retry_ns - now_ns) : -1;
    if (wait < 0 || retry < 0)
        return wait < 0 ? retry : wait;
    return wait < retry ? wait : retry;
}
