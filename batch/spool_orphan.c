/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spool of a shard that no longer runs, since node.shards was lowered. Recovery has readied it,
 * the writer reads it to its end, and its segments go by the rule that holds for all
 * (spool_files.c): when they are stored, and have been for long enough. The producers' counts in
 * them belong to shards that run now; they have to stand in the segments of those first. No ring
 * turns for it: the writer removes its files by plain system calls.
 *
 * What stays is one header without rows. The shard may come back, and then its
 * sequences have to go on where its checkpoint in Postgres stands.
 */
#include "batch/spool_internal.h"
#include "core/file.h"
#include "core/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

static int remove_oldest(const struct spool *spool, const struct segment *segment)
{
    char name[SEGMENT_NAME_BYTES];
    segment_name(name, segment->number);
    int result = file_remove(spool->shard_directory, name);
    if (result == 0 || result == -ENOENT) /* the attempt before was half done */
        result = file_sync(spool->shard_directory);
    return result;
}

static void bury(struct spool *spool, struct segment *segment, uint64_t now_ns)
{
    int result = remove_oldest(spool, segment);
    if (result < 0) {
        log_warn("spool", "shard %u: %016" PRIx64 ".seg could not be removed: %s",
                 spool->options.shard, segment->number, strerror(-result));
        spool->grave.retry_ns = now_ns + SPOOL_RETRY_NS;
        return;
    }
    list_remove(&segment->link);
    free(segment);
    if (list_empty(&spool->segments))
        log_info("spool", "what shard %u had left behind is stored, and removed",
                 spool->options.shard);
}

void spool_orphan_tick(struct spool *spool, uint64_t now_ns, uint64_t stored, uint64_t seen_ns)
{
    must(spool->current == NULL);
    if (list_empty(&spool->segments))
        return;
    spool->stored = stored;
    spool->seen_ns = seen_ns;
    spool_disk_look(spool, now_ns);
    struct segment *oldest = LIST_ENTRY(spool->segments.next, struct segment, link);
    if (oldest->stored && now_ns >= spool->grave.retry_ns &&
        spool_until_released(spool, oldest, now_ns) == 0)
        bury(spool, oldest, now_ns);
}
