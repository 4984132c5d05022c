/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core/file.c, with a stop: at the n-th call that changes something the process ends, half-way
 * through it if it is a write. Stands in for core/file.c; for tests that fork.
 */
#define file_open           real_file_open
#define file_write          real_file_write
#define file_sync           real_file_sync
#define file_make_directory real_file_make_directory
#define file_rename         real_file_rename
#define file_remove         real_file_remove
#include "core/file.c"
#undef file_open
#undef file_write
#undef file_sync
#undef file_make_directory
#undef file_rename
#undef file_remove

int file_open(int directory, const char *name, int flags, mode_t mode);
int file_write(int file, const void *bytes, size_t length, uint64_t offset);
int file_sync(int file);
int file_make_directory(int directory, const char *name, mode_t mode);
int file_rename(int directory, const char *from, const char *to);
int file_remove(int directory, const char *name);

/* Calls left; negative: no end. */
static long fake_file_left = -1;
/* No segment can be removed. */
static bool fake_file_sticky;

static bool is_the_end(void)
{
    return fake_file_left >= 0 && fake_file_left-- == 0;
}

static void end_here(void)
{
    if (is_the_end())
        _exit(0);
}

int file_open(int directory, const char *name, int flags, mode_t mode)
{
    if ((flags & (O_CREAT | O_TRUNC)) != 0)
        end_here();
    return real_file_open(directory, name, flags, mode);
}

int file_write(int file, const void *bytes, size_t length, uint64_t offset)
{
    if (is_the_end())
        _exit(real_file_write(file, bytes, length / 2, offset) == 0 ? 0 : 1);
    return real_file_write(file, bytes, length, offset);
}

int file_sync(int file)
{
    end_here();
    return real_file_sync(file);
}

int file_make_directory(int directory, const char *name, mode_t mode)
{
    end_here();
    return real_file_make_directory(directory, name, mode);
}

int file_rename(int directory, const char *from, const char *to)
{
    end_here();
    return real_file_rename(directory, from, to);
}

int file_remove(int directory, const char *name)
{
    end_here();
    return fake_file_sticky && strstr(name, ".seg") != NULL ? -EIO
                                                            : real_file_remove(directory, name);
}
