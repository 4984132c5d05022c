/* SPDX-License-Identifier: Apache-2.0 */
#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

int file_open(int directory, const char *name, int flags, mode_t mode)
{
    int file;
    do
        file = openat(directory, name, flags | O_CLOEXEC, mode);
    while (file < 0 && errno == EINTR);
    return file < 0 ? -errno : file;
}

void file_close(int file)
{
    /* Linux has let go of the descriptor even when it says EINTR: never a second time. */
    (void)close(file);
}

ssize_t file_read(int file, void *bytes, size_t length, uint64_t offset)
{
    size_t done = 0;
    while (done < length) {
        ssize_t got = pread(file, (uint8_t *)bytes + done, length - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

int file_write(int file, const void *bytes, size_t length, uint64_t offset)
{
    size_t done = 0;
    while (done < length) {
        ssize_t put =
            pwrite(file, (const uint8_t *)bytes + done, length - done, (off_t)(offset + done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -errno;
        if (put == 0)
            return -EIO;
        done += (size_t)put;
    }
    return 0;
}

int file_sync(int file)
{
    int result;
    do
        result = fsync(file);
    while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : 0;
}

int64_t file_length(int file)
{
    struct stat status;
    if (fstat(file, &status) < 0)
        return -errno;
    return status.st_size;
}

int file_make_directory(int directory, const char *name, mode_t mode)
{
    struct stat status;
    if (mkdirat(directory, name, mode) == 0)
        return 0;
    if (errno != EEXIST)
        return -errno;
    if (fstatat(directory, name, &status, 0) < 0)
        return -errno;
    return S_ISDIR(status.st_mode) ? 0 : -ENOTDIR;
}

int file_rename(int directory, const char *from, const char *to)
{
    return renameat(directory, from, directory, to) < 0 ? -errno : 0;
}

int file_remove(int directory, const char *name)
{
    return unlinkat(directory, name, 0) < 0 ? -errno : 0;
}

int file_lock(int file)
{
    int result;
    do
        result = flock(file, LOCK_EX | LOCK_NB);
    while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : 0;
}

static int list_entries(DIR *entries, int (*each)(void *context, const char *name), void *context)
{
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(entries);
        if (entry == NULL)
            return -errno;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        int result = each(context, entry->d_name);
        if (result != 0)
            return result;
    }
}

int file_list(int directory, int (*each)(void *context, const char *name), void *context)
{
    /* A descriptor of its own: fdopendir() takes it over, and its position with it. */
    int own = file_open(directory, ".", O_RDONLY | O_DIRECTORY, 0);
    if (own < 0)
        return own;
    DIR *entries = fdopendir(own);
    if (entries == NULL) {
        int error = -errno;
        file_close(own);
        return error;
    }
    int result = list_entries(entries, each, context);
    closedir(entries);
    return result;
}

int64_t file_space(int file)
{
    struct statvfs status;
    if (fstatvfs(file, &status) < 0)
        return -errno;
    return (int64_t)(status.f_bavail * status.f_frsize);
}

void file_read_ahead(int file)
{
    /* Only a hint; a file system that knows no better ignores it. */
    (void)posix_fadvise(file, 0, 0, POSIX_FADV_SEQUENTIAL);
}
