/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the disk's files share: disk.c has descriptors and calls, disk_sectors.c the content of
 * files, disk_names.c that of directories.
 */
#ifndef TESTS_SIM_DISK_INTERNAL_H
#define TESTS_SIM_DISK_INTERNAL_H

#include "tests/sim/disk.h"

enum { SECTOR = 512, NAMES_MAX = 256, CHANGES_MAX = 1024 };

struct inode;

struct entry {
    char name[DISK_NAME_MAX];
    struct inode *inode;
};

struct names {
    struct entry entry[NAMES_MAX];
    unsigned count;
};

/* A change of a name that is not synced:
 * `name` (and no longer `from`) is `inode`'s, or nobody's. */
struct change {
    char name[DISK_NAME_MAX], from[DISK_NAME_MAX];
    struct inode *inode; /* NULL: unlinked */
};

struct directory {
    struct names now, durable;
    struct change change[CHANGES_MAX];
    unsigned changes;
};

enum sector_state {
    SECTOR_SAME,    /* the cache and the platter have the same */
    SECTOR_DIRTY,   /* the cache is newer, and the next fsync will write it */
    SECTOR_DROPPED, /* the cache is newer, and nobody will ever write it */
};

struct inode {
    struct inode *next;
    uint8_t *cache, *platter;
    uint8_t *state; /* enum sector_state of each */
    size_t capacity;
    uint64_t length, durable_length;
    size_t odd_from, odd_to; /* sectors outside of these are SAME */
    unsigned opens;
    bool locked, reached;
    struct directory *directory; /* NULL: a file */
};

/* disk_sectors.c */
void inode_grow(struct inode *inode, uint64_t length);
void inode_put(struct inode *inode, const void *bytes, size_t length, uint64_t offset);
void inode_sync(struct inode *inode);
void inode_sync_fails(struct inode *inode);
void inode_crash(struct inode *inode, bool cruel);
void inode_evict(struct inode *inode); /* the cache forgets what was dropped */
void inode_copy_platter(struct inode *to, const struct inode *from);

/* disk_names.c */
struct inode *names_find(const struct names *names, const char *name);
void directory_put(struct directory *directory, const char *name, struct inode *inode);
void directory_rename(struct directory *directory, const char *from, const char *to);
void directory_unlink(struct directory *directory, const char *name);
void directory_sync(struct directory *directory);
void directory_crash(struct directory *directory, bool cruel);

#endif
