/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In place of libFuzzer's main, where there is no libFuzzer: runs a target
 * over every file of the directories given. Each input ends at the end
 * of its allocation, so that a sanitizer or valgrind sees a read past it.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void replay_file(const char *path, off_t size)
{
    uint8_t *bytes = malloc(size > 0 ? (size_t)size : 1);
    FILE *file = fopen(path, "rb");
    if (bytes == NULL || file == NULL || fread(bytes, 1, (size_t)size, file) != (size_t)size) {
        fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
        exit(1);
    }
    fclose(file);
    (void)LLVMFuzzerTestOneInput(bytes, (size_t)size);
    free(bytes);
}

/* How many inputs the directory held. */
static unsigned replay_directory(const char *name)
{
    unsigned inputs = 0;
    DIR *directory = opendir(name);
    if (directory == NULL) {
        fprintf(stderr, "replay: %s: %s\n", name, strerror(errno));
        exit(1);
    }
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char path[4096];
        struct stat status;
        snprintf(path, sizeof path, "%s/%s", name, entry->d_name);
        if (stat(path, &status) != 0 || !S_ISREG(status.st_mode))
            continue;
        replay_file(path, status.st_size);
        inputs++;
    }
    closedir(directory);
    return inputs;
}

int main(int count, char **arguments)
{
    unsigned inputs = 0;
    for (int i = 1; i < count; i++)
        inputs += replay_directory(arguments[i]);
    printf("%s %u inputs replayed\n", inputs > 0 ? "ok" : "not ok", inputs);
    return inputs > 0 ? 0 : 1;
}
