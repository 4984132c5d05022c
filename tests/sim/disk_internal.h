/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the disk's files share: disk.c has descriptors and calls, disk_sectors.c the content of
 * files, disk_names.c that of directories.
 */
#ifndef TESTS_SIM_DISK_INTERNAL_H
#define TESTS_SIM_DISK_INTERNAL_H

#include "tests/sim/disk.h"

enum {
    SECTOR = 512,
    PAGE = 4096,
    PAGE_SECTORS = PAGE / SECTOR,
    NAMES_MAX = 128,
    CHANGES_MAX = 512
};

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

/* Some bytes of files, shared by all places that hold the same ones. They never change while more
 * than one does: see own(). */
struct page {
    unsigned holders;
    uint8_t bytes[PAGE];
};

/* A page of a file. A sector that is neither dirty nor dropped is the same in both. */
struct leaf {
    struct page *cache, *platter; /* NULL: zeros */
    uint8_t dirty;                /* sectors that the next fsync will write, a bit each */
    uint8_t dropped;              /* sectors that nobody will ever write */
};

struct inode {
    struct inode *next;
    struct leaf *leaf;
    size_t leaves;
    uint64_t length, durable_length;
    size_t odd_from, odd_to; /* leaves outside of these have neither dirty nor dropped sectors */
    unsigned opens;
    bool locked, reached;
    struct directory *directory; /* NULL: a file */
};

/* disk_sectors.c */
void inode_fini(struct inode *inode);
void inode_get(const struct inode *inode, void *bytes, size_t length, uint64_t offset);
void inode_put(struct inode *inode, const void *bytes, size_t length, uint64_t offset);
void inode_sync(struct inode *inode);
void inode_sync_fails(struct inode *inode);
void inode_crash(struct inode *inode, bool cruel);
void inode_evict(struct inode *inode); /* the cache forgets what was dropped */
bool inode_rot(struct inode *inode, uint64_t offset);
void inode_copy_platter(struct inode *to, const struct inode *from);

/* disk_names.c */
struct directory *directory_new(void);
void names_copy(struct names *to, const struct names *from);
struct inode *names_find(const struct names *names, const char *name);
void directory_put(struct directory *directory, const char *name, struct inode *inode);
void directory_rename(struct directory *directory, const char *from, const char *to);
void directory_unlink(struct directory *directory, const char *name);
bool directory_removes(const struct directory *directory, const char *ending);
void directory_sync(struct directory *directory);
void directory_crash(struct directory *directory, bool cruel);

#endif
