/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core/file.h on the simulated disk.
 */
#include "core/file.h"
#include "tests/sim/disk.h"

#include <errno.h>

int file_open(int directory, const char *name, int flags, mode_t mode)
{
    (void)mode;
    return disk_file_open(directory, name, flags);
}

void file_close(int file)
{
    disk_file_close(file);
}

ssize_t file_read(int file, void *bytes, size_t length, uint64_t offset)
{
    return disk_read(file, bytes, length, offset);
}

int file_write(int file, const void *bytes, size_t length, uint64_t offset)
{
    size_t done = 0;
    while (done < length) {
        ssize_t put = disk_write(file, (const uint8_t *)bytes + done, length - done, offset + done);
        if (put < 0)
            return (int)put;
        if (put == 0)
            return -EIO;
        done += (size_t)put;
    }
    return 0;
}

int file_sync(int file)
{
    return disk_sync(file);
}

int64_t file_length(int file)
{
    return disk_length(file);
}

int file_make_directory(int directory, const char *name, mode_t mode)
{
    (void)mode;
    return disk_make_directory(directory, name);
}

int file_rename(int directory, const char *from, const char *to)
{
    return disk_rename(directory, from, to);
}

int file_remove(int directory, const char *name)
{
    return disk_unlink(directory, name);
}

int file_lock(int file)
{
    return disk_lock(file);
}

int file_list(int directory, int (*each)(void *context, const char *name), void *context)
{
    return disk_list(directory, each, context);
}

int64_t file_space(int file)
{
    (void)file;
    return disk_space();
}

void file_read_ahead(int file)
{
    (void)file;
}
