/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/disk_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Most of it is never looked at, and so not cleared. */
struct directory *directory_new(void)
{
    struct directory *directory = malloc(sizeof *directory);
    must(directory != NULL);
    directory->now.count = directory->durable.count = directory->changes = 0;
    return directory;
}

void names_copy(struct names *to, const struct names *from)
{
    memcpy(to->entry, from->entry, from->count * sizeof from->entry[0]);
    to->count = from->count;
}

static struct entry *find(struct names *names, const char *name)
{
    for (unsigned i = 0; i < names->count; i++)
        if (strcmp(names->entry[i].name, name) == 0)
            return &names->entry[i];
    return NULL;
}

struct inode *names_find(const struct names *names, const char *name)
{
    const struct entry *entry = find((struct names *)(uintptr_t)names, name);
    return entry == NULL ? NULL : entry->inode;
}

static void put(struct names *names, const char *name, struct inode *inode)
{
    struct entry *entry = find(names, name);
    if (entry == NULL) {
        must(names->count < NAMES_MAX && strlen(name) < DISK_NAME_MAX);
        entry = &names->entry[names->count++];
        (void)snprintf(entry->name, sizeof entry->name, "%s", name);
    }
    entry->inode = inode;
}

static void remove_name(struct names *names, const char *name)
{
    struct entry *entry = find(names, name);
    if (entry != NULL)
        *entry = names->entry[--names->count];
}

static struct change *note(struct directory *directory, const char *name, struct inode *inode)
{
    must(directory->changes < CHANGES_MAX);
    struct change *change = &directory->change[directory->changes++];
    *change = (struct change){.inode = inode};
    (void)snprintf(change->name, sizeof change->name, "%s", name);
    return change;
}

void directory_put(struct directory *directory, const char *name, struct inode *inode)
{
    put(&directory->now, name, inode);
    (void)note(directory, name, inode);
}

void directory_rename(struct directory *directory, const char *from, const char *to)
{
    struct inode *inode = names_find(&directory->now, from);
    remove_name(&directory->now, from);
    put(&directory->now, to, inode);
    struct change *change = note(directory, to, inode);
    (void)snprintf(change->from, sizeof change->from, "%s", from);
}

void directory_unlink(struct directory *directory, const char *name)
{
    (void)note(directory, name, NULL);
    remove_name(&directory->now, name);
}

/* Is the removal of such a file among what has not been synced yet? */
bool directory_removes(const struct directory *directory, const char *ending)
{
    for (unsigned i = 0; i < directory->changes; i++)
        if (directory->change[i].inode == NULL && strstr(directory->change[i].name, ending) != NULL)
            return true;
    return false;
}

void directory_sync(struct directory *directory)
{
    names_copy(&directory->durable, &directory->now);
    directory->changes = 0;
}

static void apply(struct names *names, const struct change *change)
{
    if (change->inode == NULL) {
        remove_name(names, change->name);
        return;
    }
    if (change->from[0] != '\0' && names_find(names, change->from) == change->inode)
        remove_name(names, change->from);
    put(names, change->name, change->inode);
}

/* A journal keeps a prefix of the changes; a file system without one, any of them. */
void directory_crash(struct directory *directory, bool cruel)
{
    bool journal = once_in(2);
    uint64_t survives = cruel ? 0 : below(directory->changes + 1);
    for (unsigned i = 0; i < directory->changes; i++) {
        bool kept = journal || cruel ? i < survives : once_in(2);
        if (kept)
            apply(&directory->durable, &directory->change[i]);
        else
            saw(SAW_NAMES_LOST);
    }
    directory->changes = 0;
    names_copy(&directory->now, &directory->durable);
}
