/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics/process.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 1024 };

/* The first line of `path` that starts with `prefix`,
 * whole or cut short; empty if there is none. */
static void read_line(const char *path, const char *prefix, char line[LINE_MAX_BYTES])
{
    line[0] = '\0';
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return;
    bool found = false;
    while (!found && fgets(line, LINE_MAX_BYTES, file) != NULL)
        found = strncmp(line, prefix, strlen(prefix)) == 0;
    if (!found)
        line[0] = '\0';
    fclose(file);
}

/* proc(5): field 22 of stat, in ticks since the machine started. The name, field 2,
 * may hold anything, also spaces and brackets, so that counting begins behind its last bracket. */
static double started_after_boot_s(void)
{
    char line[LINE_MAX_BYTES];
    read_line("/proc/self/stat", "", line);
    const char *name_end = strrchr(line, ')');
    unsigned long long ticks = 0;
    if (name_end == NULL || sscanf(name_end + 1,
                                   " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
                                   "%*s %*s %*s %*s %llu",
                                   &ticks) != 1)
        return 0;
    return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

void process_init(struct process *process)
{
    char line[LINE_MAX_BYTES];
    unsigned long long boot_s = 0;
    read_line("/proc/stat", "btime ", line);
    *process = (struct process){0};
    if (sscanf(line, "btime %llu", &boot_s) == 1)
        process->started_s = (double)boot_s + started_after_boot_s();
}

static double cpu_s(void)
{
    struct rusage used;
    if (getrusage(RUSAGE_SELF, &used) < 0)
        return 0;
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

static uint64_t resident_bytes(void)
{
    char line[LINE_MAX_BYTES];
    unsigned long long pages = 0;
    read_line("/proc/self/statm", "", line);
    return sscanf(line, "%*s %llu", &pages) == 1 ? pages * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static uint64_t count_entries(const char *path)
{
    DIR *directory = opendir(path);
    if (directory == NULL)
        return 0;
    uint64_t entries = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        entries += entry->d_name[0] != '.';
    closedir(directory);
    return entries > 0 ? entries - 1 : 0; /* without the one that reads */
}

/* Linux 6.2 and later give the number as the directory's size;
 * before, every one has to be looked at. */
static uint64_t open_fds(void)
{
    struct stat status;
    if (stat("/proc/self/fd", &status) == 0 && status.st_size > 0)
        return (uint64_t)status.st_size;
    return count_entries("/proc/self/fd");
}

void process_refresh(struct process *process)
{
    process->cpu_s = cpu_s();
    process->resident_bytes = resident_bytes();
    process->open_fds = open_fds();
}
