/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files, synchronously: what happens before the loop runs (recovery), and what other threads than a
 * shard read (the writer catching up from the spool). The other half of the simulation's seam: see
 * core/ring.h. Every call: 0 or a count, or -errno. Interrupted calls are taken up again; a short
 * transfer is completed.
 */
#ifndef CORE_FILE_H
#define CORE_FILE_H

#include "core/must.h"
#include <dirent.h>
#include <stdint.h>
#include <sys/types.h>

NODISCARD int file_open(int directory, const char *name, int flags, mode_t mode); /* descriptor */
void file_close(int file);
/* Reads until `length` bytes or the end of the file: the count. */
NODISCARD ssize_t file_read(int file, void *bytes, size_t length, uint64_t offset);
/* Writes all of it or fails. */
NODISCARD int file_write(int file, const void *bytes, size_t length, uint64_t offset);
NODISCARD int file_sync(int file); /* also for a directory */
NODISCARD int64_t file_length(int file);
NODISCARD int file_make_directory(int directory, const char *name,
                                  mode_t mode); /* 0 if it is there */
NODISCARD int file_rename(int directory, const char *from, const char *to);
NODISCARD int file_remove(int directory, const char *name);
/* An exclusive advisory lock held until the descriptor is closed; -EWOULDBLOCK: somebody has it. */
NODISCARD int file_lock(int file);
/* Calls `each` for every entry but . and .., in no order;
 * stops at the first that returns non-zero. */
NODISCARD int file_list(int directory, int (*each)(void *context, const char *name), void *context);
/* Bytes free to this user on the file system that `file` is on. */
NODISCARD int64_t file_space(int file);
/* A hint: it will be read from front to back, so the kernel may fetch well ahead. */
void file_read_ahead(int file);

#endif
