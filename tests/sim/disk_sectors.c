/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/disk_internal.h"

#include <stdlib.h>
#include <string.h>

static uint8_t *enlarge(uint8_t *old, size_t from, size_t to)
{
    uint8_t *bytes = realloc(old, to);
    must(bytes != NULL);
    memset(bytes + from, 0, to - from);
    return bytes;
}

void inode_grow(struct inode *inode, uint64_t length)
{
    size_t wanted = (size_t)(length + SECTOR - 1) / SECTOR * SECTOR;
    if (wanted <= inode->capacity)
        return;
    if (wanted < 2 * inode->capacity)
        wanted = 2 * inode->capacity;
    inode->cache = enlarge(inode->cache, inode->capacity, wanted);
    inode->platter = enlarge(inode->platter, inode->capacity, wanted);
    inode->state = enlarge(inode->state, inode->capacity / SECTOR, wanted / SECTOR);
    inode->capacity = wanted;
}

void inode_put(struct inode *inode, const void *bytes, size_t length, uint64_t offset)
{
    if (length == 0)
        return;
    inode_grow(inode, offset + length);
    memcpy(inode->cache + offset, bytes, length);
    if (offset + length > inode->length)
        inode->length = offset + length;
    size_t from = (size_t)offset / SECTOR, to = (size_t)(offset + length + SECTOR - 1) / SECTOR;
    memset(inode->state + from, SECTOR_DIRTY, to - from);
    if (inode->odd_to == 0 || from < inode->odd_from)
        inode->odd_from = from;
    if (to > inode->odd_to)
        inode->odd_to = to;
}

static void settle(struct inode *inode, size_t sector, bool to_platter)
{
    uint8_t *cache = inode->cache + sector * SECTOR, *platter = inode->platter + sector * SECTOR;
    if (to_platter)
        memcpy(platter, cache, SECTOR);
    else
        memcpy(cache, platter, SECTOR);
    inode->state[sector] = SECTOR_SAME;
}

void inode_sync(struct inode *inode)
{
    bool dropped = false;
    for (size_t i = inode->odd_from; i < inode->odd_to; i++) {
        if (inode->state[i] == SECTOR_DIRTY)
            settle(inode, i, true);
        dropped = dropped || inode->state[i] == SECTOR_DROPPED;
    }
    if (!dropped)
        inode->odd_from = inode->odd_to = 0;
    inode->durable_length = inode->length;
}

/* Sometimes all of it goes, sometimes part. */
void inode_sync_fails(struct inode *inode)
{
    bool all = once_in(2);
    for (size_t i = inode->odd_from; i < inode->odd_to; i++) {
        if (inode->state[i] != SECTOR_DIRTY)
            continue;
        if (!all && once_in(2)) {
            settle(inode, i, true);
            continue;
        }
        inode->state[i] = SECTOR_DROPPED;
        saw(SAW_SECTORS_DROPPED);
    }
    if (!all && once_in(2))
        inode->durable_length = inode->length;
}

void inode_evict(struct inode *inode)
{
    for (size_t i = inode->odd_from; i < inode->odd_to; i++)
        if (inode->state[i] == SECTOR_DROPPED)
            settle(inode, i, false);
}

void inode_crash(struct inode *inode, bool cruel)
{
    uint64_t survives = cruel ? 0 : below(4) * 32; /* of 96: none, some, most, all */
    for (size_t i = inode->odd_from; i < inode->odd_to; i++) {
        bool dirty = inode->state[i] == SECTOR_DIRTY, kept = dirty && below(96) < survives;
        if (inode->state[i] != SECTOR_SAME)
            settle(inode, i, kept);
        if (dirty)
            saw(kept ? SAW_SECTORS_KEPT : SAW_SECTORS_LOST);
    }
    inode->odd_from = inode->odd_to = 0;
    if (cruel || once_in(2)) {
        inode->length = inode->durable_length;
        if (inode->length < inode->capacity) { /* what is cut off is gone */
            memset(inode->cache + inode->length, 0, inode->capacity - (size_t)inode->length);
            memset(inode->platter + inode->length, 0, inode->capacity - (size_t)inode->length);
        }
    }
    inode->durable_length = inode->length;
}

void inode_copy_platter(struct inode *to, const struct inode *from)
{
    if (from->durable_length == 0)
        return;
    inode_put(to, from->platter, (size_t)from->durable_length, 0);
    inode_sync(to);
}
