/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulated disk: what the kernel's page cache shows of it, and what the platter has.
 *
 *   write   ─► the cache; its sectors (512 bytes) are dirty
 *   fsync   ─► dirty sectors and the length go to the platter; of a directory, its names
 *   failed  ─► each dirty sector goes to the platter or is dropped: it looks clean and written, and
 *              the next fsync succeeds; once the cache forgets it, the old content is back
 *   crash   ─► each dirty sector, each changed length and each change of a name that was not
 *              synced survives or not, by itself; a rename is atomic
 *   kill    ─► only the descriptors are gone
 *
 * Directories: `/` and those made in it, and in them. Descriptors are never used twice, so that a
 * stale one is found out. Calls return what the system call would, with -errno.
 */
#ifndef TESTS_SIM_DISK_H
#define TESTS_SIM_DISK_H

#include "tests/sim/world.h"
#include <sys/types.h>

enum { DISK_DESCRIPTOR_FIRST = 1000, DISK_DESCRIPTORS_MAX = 20000, DISK_NAME_MAX = 40 };

struct disk *disk_open(uint64_t bytes);
void disk_close(struct disk *disk);
/* What is there after the worst crash that may come now. */
struct disk *disk_worst(const struct disk *disk);
void disk_crash(struct disk *disk);  /* the machine's */
void disk_killed(struct disk *disk); /* the process's */
/* Somebody else fills it, or has gone away again. */
void disk_squeeze(struct disk *disk, bool full);

/* What was durable there changes: a bit, or the sector. False: nothing durable stands there. */
bool disk_rot(int descriptor, uint64_t offset);

int disk_file_open(int directory, const char *name, int flags);
void disk_file_close(int descriptor);
ssize_t disk_read(int descriptor, void *bytes, size_t length, uint64_t offset);
ssize_t disk_write(int descriptor, const void *bytes, size_t length, uint64_t offset);
int disk_sync(int descriptor);
int64_t disk_length(int descriptor);
int64_t disk_space(void);
int disk_lock(int descriptor);
int disk_make_directory(int directory, const char *name);
int disk_rename(int directory, const char *from, const char *to);
int disk_unlink(int directory, const char *name);
int disk_list(int directory, int (*each)(void *context, const char *name), void *context);

static inline bool disk_has(int descriptor)
{
    return descriptor >= DISK_DESCRIPTOR_FIRST &&
           descriptor < DISK_DESCRIPTOR_FIRST + DISK_DESCRIPTORS_MAX;
}

#endif
