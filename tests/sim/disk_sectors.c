/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The content of files. Most pages of a spool are zeros, and most others are the same in the cache,
 * on the platter and in the images that are checked: so nobody has bytes of their own before they
 * write some. What a crash does it does to sectors, which are smaller than pages.
 */
#include "tests/sim/disk_internal.h"

#include <stdlib.h>
#include <string.h>

/* ── Pages ──────────────────────────────────────────────────────────────────────────────────── */

static void let_go(struct page **page)
{
    if (*page != NULL && --(*page)->holders == 0)
        free(*page);
    *page = NULL;
}

static void hold(struct page **to, struct page *page)
{
    if (page != NULL)
        page->holders++;
    let_go(to);
    *to = page;
}

/* Its bytes, which nobody else has. */
static uint8_t *own(struct page **page)
{
    struct page *old = *page;
    if (old != NULL && old->holders == 1)
        return old->bytes;
    struct page *new = malloc(sizeof *new);
    must(new != NULL);
    new->holders = 1;
    if (old == NULL)
        memset(new->bytes, 0, PAGE);
    else
        memcpy(new->bytes, old->bytes, PAGE);
    let_go(page);
    *page = new;
    return new->bytes;
}

static bool all_zeros(const uint8_t *bytes, size_t length)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0;
}

void inode_fini(struct inode *inode)
{
    for (size_t i = 0; i < inode->leaves; i++) {
        let_go(&inode->leaf[i].cache);
        let_go(&inode->leaf[i].platter);
    }
    free(inode->leaf);
    inode->leaf = NULL;
    inode->leaves = 0;
}

static void grow(struct inode *inode, uint64_t length)
{
    size_t wanted = (size_t)(length + PAGE - 1) / PAGE;
    if (wanted <= inode->leaves)
        return;
    if (wanted < 2 * inode->leaves)
        wanted = 2 * inode->leaves;
    inode->leaf = realloc(inode->leaf, wanted * sizeof *inode->leaf);
    must(inode->leaf != NULL);
    memset(inode->leaf + inode->leaves, 0, (wanted - inode->leaves) * sizeof *inode->leaf);
    inode->leaves = wanted;
}

/* ── Reading and writing ────────────────────────────────────────────────────────────────────── */

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* So many of the `length` bytes at `offset` are zeros that nobody has written. */
static size_t zeros_at(const struct inode *inode, uint64_t offset, size_t length)
{
    size_t zeros = 0;
    while (zeros < length && inode->leaf[(offset + zeros) / PAGE].cache == NULL)
        zeros += PAGE - (size_t)(offset + zeros) % PAGE;
    return smaller(zeros, length);
}

void inode_get(const struct inode *inode, void *bytes, size_t length, uint64_t offset)
{
    uint8_t *to = bytes;
    while (length > 0) {
        size_t at = (size_t)offset % PAGE, some = zeros_at(inode, offset, length);
        if (some > 0) {
            memset(to, 0, some);
        } else {
            some = smaller(length, PAGE - at);
            memcpy(to, inode->leaf[offset / PAGE].cache->bytes + at, some);
        }
        to += some;
        offset += some;
        length -= some;
    }
}

static void put_part(struct inode *inode, const uint8_t *bytes, size_t length, uint64_t offset)
{
    size_t index = (size_t)(offset / PAGE), at = (size_t)offset % PAGE;
    struct leaf *leaf = &inode->leaf[index];
    unsigned from = (unsigned)(at / SECTOR), to = (unsigned)((at + length + SECTOR - 1) / SECTOR);
    if (length == PAGE && all_zeros(bytes, length))
        let_go(&leaf->cache);
    else
        memcpy(own(&leaf->cache) + at, bytes, length);
    leaf->dirty |= (uint8_t)((1u << to) - (1u << from));
    leaf->dropped &= (uint8_t)~leaf->dirty;
    if (inode->odd_to == 0 || index < inode->odd_from)
        inode->odd_from = index;
    if (index >= inode->odd_to)
        inode->odd_to = index + 1;
}

void inode_put(struct inode *inode, const void *bytes, size_t length, uint64_t offset)
{
    const uint8_t *from = bytes;
    grow(inode, offset + length);
    while (length > 0) {
        size_t some = smaller(length, PAGE - (size_t)offset % PAGE);
        put_part(inode, from, some, offset);
        from += some;
        offset += some;
        length -= some;
        if (offset > inode->length)
            inode->length = offset;
    }
}

/* ── Settling ───────────────────────────────────────────────────────────────────────────────── */

static void copy_sector(struct page **to, const struct page *from, unsigned sector)
{
    if (*to == from)
        return;
    uint8_t *bytes = own(to) + (size_t)sector * SECTOR;
    if (from == NULL)
        memset(bytes, 0, SECTOR);
    else
        memcpy(bytes, from->bytes + (size_t)sector * SECTOR, SECTOR);
}

static void settle(struct leaf *leaf, unsigned sector, bool to_platter)
{
    if (to_platter)
        copy_sector(&leaf->platter, leaf->cache, sector);
    else
        copy_sector(&leaf->cache, leaf->platter, sector);
    leaf->dirty &= (uint8_t) ~(1u << sector);
    leaf->dropped &= (uint8_t) ~(1u << sector);
}

static bool has(uint8_t sectors, unsigned sector)
{
    return (sectors >> sector & 1) != 0;
}

static void sync_leaf(struct leaf *leaf)
{
    if (leaf->dropped == 0)
        hold(&leaf->platter, leaf->cache);
    for (unsigned i = 0; leaf->dropped != 0 && i < PAGE_SECTORS; i++)
        if (has(leaf->dirty, i))
            settle(leaf, i, true);
    leaf->dirty = 0;
}

void inode_sync(struct inode *inode)
{
    bool dropped = false;
    for (size_t i = inode->odd_from; i < inode->odd_to; i++) {
        sync_leaf(&inode->leaf[i]);
        dropped = dropped || inode->leaf[i].dropped != 0;
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
        struct leaf *leaf = &inode->leaf[i];
        for (unsigned j = 0; j < PAGE_SECTORS; j++) {
            if (!has(leaf->dirty, j))
                continue;
            if (!all && once_in(2)) {
                settle(leaf, j, true);
                continue;
            }
            leaf->dirty &= (uint8_t) ~(1u << j);
            leaf->dropped |= (uint8_t)(1u << j);
            saw(SAW_SECTORS_DROPPED);
        }
    }
    if (!all && once_in(2))
        inode->durable_length = inode->length;
}

void inode_evict(struct inode *inode)
{
    for (size_t i = inode->odd_from; i < inode->odd_to; i++)
        for (unsigned j = 0; inode->leaf[i].dropped != 0 && j < PAGE_SECTORS; j++)
            if (has(inode->leaf[i].dropped, j))
                settle(&inode->leaf[i], j, false);
}

/* ── Crashes ────────────────────────────────────────────────────────────────────────────────── */

/* What is cut off is gone. */
static void cut(struct inode *inode, uint64_t length)
{
    size_t whole = (size_t)(length + PAGE - 1) / PAGE, rest = (size_t)length % PAGE;
    inode->length = length;
    for (size_t i = whole; i < inode->leaves; i++) {
        let_go(&inode->leaf[i].cache);
        let_go(&inode->leaf[i].platter);
    }
    struct leaf *last = rest == 0 || whole > inode->leaves ? NULL : &inode->leaf[whole - 1];
    if (last == NULL || last->cache == NULL)
        return;
    memset(own(&last->cache) + rest, 0, PAGE - rest);
    hold(&last->platter, last->cache);
}

/* The power went while it was written: it is neither the old one nor the new one. */
static void damage(struct leaf *leaf, unsigned sector)
{
    uint64_t at = below(once_in(4) ? SECTOR : 128); /* a header is what stands at its beginning */
    own(&leaf->platter)[sector * SECTOR + at] ^= (uint8_t)between(1, 255);
    saw(SAW_SECTORS_DAMAGED);
}

static void crash_leaf(struct leaf *leaf, uint64_t survives)
{
    for (unsigned i = 0; i < PAGE_SECTORS && (leaf->dirty | leaf->dropped) != 0; i++) {
        bool dirty = has(leaf->dirty, i), kept = dirty && below(96) < survives;
        if (dirty || has(leaf->dropped, i))
            settle(leaf, i, kept);
        if (dirty)
            saw(kept ? SAW_SECTORS_KEPT : SAW_SECTORS_LOST);
        if (kept && once_in(leaf->platter == NULL ? 64 : 2))
            damage(leaf, i);
    }
    hold(&leaf->cache, leaf->platter);
}

void inode_crash(struct inode *inode, bool cruel)
{
    uint64_t survives = cruel ? 0 : below(4) * 32; /* of 96: none, some, most, all */
    for (size_t i = inode->odd_from; i < inode->odd_to; i++)
        crash_leaf(&inode->leaf[i], survives);
    inode->odd_from = inode->odd_to = 0;
    if (cruel || once_in(2))
        cut(inode, inode->durable_length);
    inode->durable_length = inode->length;
}

/* A bit has turned, or the sector has: it is another one in any case. */
bool inode_rot(struct inode *inode, uint64_t offset)
{
    struct leaf *leaf = &inode->leaf[offset / PAGE];
    size_t at = (size_t)offset % PAGE, sector = at / SECTOR * SECTOR;
    if (has(leaf->dirty | leaf->dropped, (unsigned)(at / SECTOR)))
        return false;
    uint8_t *bytes = own(&leaf->platter);
    if (once_in(2))
        bytes[at] ^= (uint8_t)(1u << below(8));
    else
        for (size_t i = 0; i < SECTOR; i++)
            bytes[sector + i] ^= 0xff;
    memcpy(own(&leaf->cache) + sector, bytes + sector, SECTOR);
    return true;
}

void inode_copy_platter(struct inode *to, const struct inode *from)
{
    grow(to, from->durable_length);
    for (size_t i = 0; i * PAGE < from->durable_length; i++) {
        hold(&to->leaf[i].cache, from->leaf[i].platter);
        hold(&to->leaf[i].platter, from->leaf[i].platter);
    }
    cut(to, from->durable_length);
    to->durable_length = from->durable_length;
}
