/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/disk_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/* What nobody waits for fails more often. */
enum { REMOVALS_FAIL = 20 };

struct descriptor {
    struct inode *inode;
    bool open, locks, direct;
};

struct disk {
    struct inode *inodes, *root;
    uint64_t bytes;
    bool squeezed, was_squeezed;
    struct descriptor *descriptor;
    unsigned descriptors, places;
};

/* ── Inodes ─────────────────────────────────────────────────────────────────────────────────── */

static struct inode *inode_new(struct disk *disk, bool directory)
{
    struct inode *inode = calloc(1, sizeof *inode);
    must(inode != NULL);
    inode->next = disk->inodes;
    disk->inodes = inode;
    if (directory)
        inode->directory = directory_new();
    return inode;
}

static void inode_free(struct inode *inode)
{
    inode_fini(inode);
    free(inode->directory);
    free(inode);
}

static void reach(struct inode *inode)
{
    if (inode == NULL || inode->reached)
        return;
    inode->reached = true;
    struct directory *directory = inode->directory;
    if (directory == NULL)
        return;
    for (unsigned i = 0; i < directory->now.count; i++)
        reach(directory->now.entry[i].inode);
    for (unsigned i = 0; i < directory->durable.count; i++)
        reach(directory->durable.entry[i].inode);
    for (unsigned i = 0; i < directory->changes; i++)
        reach(directory->change[i].inode);
}

/* Frees what no name leads to and nobody has open. */
static void collect(struct disk *disk)
{
    for (struct inode *inode = disk->inodes; inode != NULL; inode = inode->next)
        inode->reached = false;
    reach(disk->root);
    for (struct inode **at = &disk->inodes; *at != NULL;) {
        struct inode *inode = *at;
        if (inode->reached || inode->opens > 0) {
            at = &inode->next;
            continue;
        }
        *at = inode->next;
        inode_free(inode);
    }
}

struct disk *disk_open(uint64_t bytes)
{
    struct disk *disk = calloc(1, sizeof *disk);
    must(disk != NULL);
    disk->bytes = bytes;
    disk->root = inode_new(disk, true);
    return disk;
}

void disk_close(struct disk *disk)
{
    while (disk->inodes != NULL) {
        struct inode *inode = disk->inodes;
        disk->inodes = inode->next;
        inode_free(inode);
    }
    free(disk->descriptor);
    free(disk);
}

/* ── Crashes ────────────────────────────────────────────────────────────────────────────────── */

void disk_killed(struct disk *disk)
{
    for (unsigned i = 0; i < disk->descriptors; i++) {
        struct descriptor *descriptor = &disk->descriptor[i];
        if (!descriptor->open)
            continue;
        descriptor->open = false;
        descriptor->inode->opens--;
        descriptor->inode->locked = false;
    }
    collect(disk);
}

void disk_crash(struct disk *disk)
{
    disk_killed(disk);
    for (struct inode *inode = disk->inodes; inode != NULL; inode = inode->next) {
        if (inode->directory != NULL)
            directory_crash(inode->directory, world.cruel);
        else
            inode_crash(inode, world.cruel);
    }
    collect(disk);
}

static void copy_directory(struct disk *to, struct inode *into, const struct inode *from)
{
    const struct names *names = &from->directory->durable;
    for (unsigned i = 0; i < names->count; i++) {
        const struct inode *inode = names->entry[i].inode;
        struct inode *copy = inode_new(to, inode->directory != NULL);
        directory_put(into->directory, names->entry[i].name, copy);
        if (inode->directory != NULL)
            copy_directory(to, copy, inode);
        else
            inode_copy_platter(copy, inode);
    }
    directory_sync(into->directory);
}

struct disk *disk_worst(const struct disk *disk)
{
    struct disk *copy = disk_open(UINT64_MAX / 2);
    copy_directory(copy, copy->root, disk->root);
    return copy;
}

void disk_squeeze(struct disk *disk, bool full)
{
    disk->squeezed = full;
    disk->was_squeezed = disk->was_squeezed || full;
}

/* ── Descriptors ────────────────────────────────────────────────────────────────────────────── */

static struct descriptor *descriptor_of(int number)
{
    struct disk *disk = world.disk;
    unsigned index = (unsigned)(number - DISK_DESCRIPTOR_FIRST);
    if (!disk_has(number) || index >= disk->descriptors || !disk->descriptor[index].open) {
        blame("descriptor %d is used and is not open", number);
        return NULL;
    }
    return &disk->descriptor[index];
}

static struct inode *inode_of(int number)
{
    const struct descriptor *descriptor = descriptor_of(number);
    return descriptor == NULL ? NULL : descriptor->inode;
}

static struct directory *directory_of(int number)
{
    struct inode *inode = number == AT_FDCWD ? world.disk->root : inode_of(number);
    return inode == NULL ? NULL : inode->directory;
}

static int give_descriptor(struct inode *inode, int flags)
{
    struct disk *disk = world.disk;
    if (disk->descriptors == DISK_DESCRIPTORS_MAX) {
        blame("files are opened without end");
        return -EMFILE;
    }
    if (disk->descriptors == disk->places) {
        disk->places = disk->places == 0 ? 64 : 2 * disk->places;
        disk->descriptor = realloc(disk->descriptor, disk->places * sizeof *disk->descriptor);
        must(disk->descriptor != NULL);
    }
    disk->descriptor[disk->descriptors] =
        (struct descriptor){.inode = inode, .open = true, .direct = (flags & O_DIRECT) != 0};
    inode->opens++;
    if (once_in(4) && !world.looking)
        inode_evict(inode);
    return DISK_DESCRIPTOR_FIRST + (int)disk->descriptors++;
}

static const char *plain(const char *name)
{
    return name[0] == '/' ? name + 1 : name;
}

/* A truncated file is a new one of the same name: what it was before stays until that is synced. */
static struct inode *find_or_make(int directory, const char *name, int flags, int *error)
{
    struct directory *in = directory_of(directory);
    if (in == NULL) {
        *error = -ENOTDIR;
        return NULL;
    }
    if (strcmp(name, ".") == 0)
        return directory == AT_FDCWD ? world.disk->root : inode_of(directory);
    if (strcmp(name, "..") == 0)
        return world.disk->root;
    struct inode *inode = names_find(&in->now, plain(name));
    *error = -ENOENT;
    if (inode == NULL && !(flags & O_CREAT))
        return NULL;
    *error = -EIO;
    if (flags & O_CREAT && faulty(world.faults.names_fail)) {
        saw(SAW_NAMES_FAILED);
        return NULL;
    }
    if (inode != NULL && !(flags & O_TRUNC && inode->length > 0))
        return inode;
    inode = inode_new(world.disk, false);
    directory_put(in, plain(name), inode);
    return inode;
}

int disk_file_open(int directory, const char *name, int flags)
{
    enum io io = world_io();
    if (io == IO_DEAD)
        return -EIO;
    int error = 0;
    struct inode *inode = find_or_make(directory, name, flags, &error);
    if (inode == NULL)
        return error;
    return io == IO_LAST ? -EIO : give_descriptor(inode, flags);
}

void disk_file_close(int number)
{
    if (!world.power && !world.looking)
        return; /* disk_killed() has closed it, or will */
    struct descriptor *descriptor = descriptor_of(number);
    if (descriptor == NULL)
        return;
    descriptor->open = false;
    descriptor->inode->opens--;
    if (descriptor->locks)
        descriptor->inode->locked = false;
}

/* ── Content ────────────────────────────────────────────────────────────────────────────────── */

ssize_t disk_read(int number, void *bytes, size_t length, uint64_t offset)
{
    if (world_io() != IO_GOES)
        return -EIO;
    const struct inode *inode = inode_of(number);
    if (inode == NULL)
        return -EBADF;
    if (offset >= inode->length)
        return 0;
    if (length > inode->length - offset)
        length = (size_t)(inode->length - offset);
    inode_get(inode, bytes, length, offset);
    return (ssize_t)length;
}

bool disk_rot(int number, uint64_t offset)
{
    struct inode *inode = inode_of(number);
    return inode != NULL && offset < inode->durable_length && inode_rot(inode, offset);
}

int64_t disk_space(void)
{
    uint64_t used = 0;
    if (world.disk->squeezed)
        return 0;
    for (const struct inode *inode = world.disk->inodes; inode != NULL; inode = inode->next)
        used += inode->length;
    return used >= world.disk->bytes ? 0 : (int64_t)(world.disk->bytes - used);
}

/* How much of it the disk takes, or why not. */
static ssize_t room_for(const struct inode *inode, size_t length, uint64_t offset)
{
    uint64_t free = (uint64_t)disk_space();
    if (offset + length > inode->length + free) {
        saw(SAW_SPACE_ENDED);
        return offset >= inode->length + free ? -ENOSPC : (ssize_t)(inode->length + free - offset);
    }
    if (faulty(world.faults.write_fails)) {
        saw(SAW_WRITES_FAILED);
        return -EIO;
    }
    if (length > SECTOR && faulty(world.faults.write_short)) {
        saw(SAW_WRITES_SHORT);
        return (ssize_t)(between(1, length / SECTOR - 1) * SECTOR);
    }
    return (ssize_t)length;
}

ssize_t disk_write(int number, const void *bytes, size_t length, uint64_t offset)
{
    enum io io = world_io();
    if (io == IO_DEAD)
        return -EIO;
    const struct descriptor *descriptor = descriptor_of(number);
    if (descriptor == NULL)
        return -EBADF;
    struct inode *inode = descriptor->inode;
    if (descriptor->direct && (length % SECTOR != 0 || offset % SECTOR != 0))
        return -EINVAL;
    ssize_t taken = room_for(inode, length, offset);
    /* Of a write that failed, part may have been done. */
    size_t done = taken >= 0      ? (size_t)taken
                  : taken == -EIO ? below(length / SECTOR + 1) * SECTOR
                                  : 0;
    inode_put(inode, bytes, done, offset);
    return io == IO_LAST ? -EIO : taken;
}

int disk_sync(int number)
{
    enum io io = world_io();
    if (io == IO_DEAD)
        return -EIO;
    struct inode *inode = inode_of(number);
    if (inode == NULL)
        return -EBADF;
    if (faulty(world.faults.sync_fails)) {
        saw(SAW_SYNCS_FAILED);
        if (inode->directory == NULL)
            inode_sync_fails(inode);
        return -EIO;
    }
    if (inode->directory == NULL) {
        inode_sync(inode);
    } else {
        world.removed = world.removed || directory_removes(inode->directory, ".seg");
        directory_sync(inode->directory);
        collect(world.disk);
    }
    return io == IO_LAST ? -EIO : 0;
}

int64_t disk_length(int number)
{
    const struct inode *inode = inode_of(number);
    return inode == NULL ? -EBADF : (int64_t)inode->length;
}

int disk_lock(int number)
{
    struct descriptor *descriptor = descriptor_of(number);
    if (descriptor == NULL)
        return -EBADF;
    if (descriptor->inode->locked)
        return -EWOULDBLOCK;
    descriptor->locks = descriptor->inode->locked = true;
    return 0;
}

/* ── Names ──────────────────────────────────────────────────────────────────────────────────── */

static int begin_change(int directory, enum io *io, struct directory **in, unsigned fails)
{
    *io = world_io();
    if (*io == IO_DEAD)
        return -EIO;
    *in = directory_of(directory);
    if (*in == NULL)
        return -ENOTDIR;
    if (!faulty(fails))
        return 0;
    saw(SAW_NAMES_FAILED);
    return -EIO;
}

int disk_make_directory(int directory, const char *name)
{
    enum io io;
    struct directory *in;
    int result = begin_change(directory, &io, &in, world.faults.names_fail);
    if (result < 0)
        return result;
    if (names_find(&in->now, plain(name)) == NULL)
        directory_put(in, plain(name), inode_new(world.disk, true));
    return io == IO_LAST ? -EIO : 0;
}

int disk_rename(int directory, const char *from, const char *to)
{
    enum io io;
    struct directory *in;
    int result = begin_change(directory, &io, &in, world.faults.names_fail);
    if (result < 0)
        return result;
    if (names_find(&in->now, from) == NULL)
        return -ENOENT;
    directory_rename(in, from, to);
    return io == IO_LAST ? -EIO : 0;
}

int disk_unlink(int directory, const char *name)
{
    enum io io;
    struct directory *in;
    int result = begin_change(directory, &io, &in, REMOVALS_FAIL * world.faults.names_fail);
    if (result < 0)
        return result;
    if (names_find(&in->now, name) == NULL)
        return -ENOENT;
    directory_unlink(in, name);
    tell("%s is removed", name);
    if (strstr(name, ".seg") != NULL) {
        saw(SAW_SEGMENTS_REMOVED);
        world.forgets = world.forgets || world.disk->was_squeezed;
    }
    return io == IO_LAST ? -EIO : 0;
}

int disk_list(int directory, int (*each)(void *context, const char *name), void *context)
{
    const struct directory *in = directory_of(directory);
    if (world_io() != IO_GOES)
        return -EIO;
    if (in == NULL)
        return -ENOTDIR;
    struct names names; /* `each` may change it */
    names_copy(&names, &in->now);
    unsigned first = names.count == 0 || world.looking ? 0 : (unsigned)below(names.count);
    for (unsigned i = 0; i < names.count; i++) {
        int result = each(context, names.entry[(first + i) % names.count].name);
        if (result != 0)
            return result;
    }
    return 0;
}
