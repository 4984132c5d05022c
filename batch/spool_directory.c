/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node's directory: lock, identity and boot.
 *
 *   identity  twice the same 256 bytes, so that one bad sector leaves it readable; little-endian
 *     0 u32 magic 'RMI1'   4 u32 crc of 8 … 255    8 u32 version   12 u32 node_bytes   16 u64 epoch
 *    24 secret (16)       40 zeros                48 node, zeros
 *   boot      16 bytes
 *     0 u32 magic 'RMT1'   4 u32 crc of 8 … 15     8 u64 boot
 *
 * Both are written to a file beside, made durable there and renamed:
 * a reader sees the old one or the new one. The epoch tells this directory
 * from one that was lost or thrown away: the checkpoint in Postgres is kept by it.
 * Should `boot` be lost it is found again: the highest boot that any segment names.
 */
#include "batch/spool_directory.h"
#include "batch/little.h"
#include "batch/segment_file.h"
#include "core/clock.h"
#include "core/crc32c.h"
#include "core/file.h"
#include "core/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    IDENTITY_MAGIC = 0x31494d52, /* "RMI1" */
    IDENTITY_VERSION = 1,
    IDENTITY_BYTES = 256,
    BOOT_MAGIC = 0x31544d52, /* "RMT1" */
    BOOT_BYTES = 16,
    CRC_FROM = 8,
    AT_VERSION = 8,
    AT_NODE_BYTES = 12,
    AT_EPOCH = 16,
    AT_SECRET = 24,
    AT_NODE = 48,
    SHARD_NAME_BYTES = 16,
    DIRECTORY_MODE = 0750,
    FILE_MODE = 0640,
    SECRET_FILE_MODE = 0600,
};

_Static_assert(AT_NODE + SPOOL_NODE_MAX <= IDENTITY_BYTES, "the node's name fits");

struct identity {
    char node[SPOOL_NODE_MAX + 1];
    uint64_t epoch;
    uint8_t secret[SPOOL_SECRET_BYTES];
};

struct spool_directory {
    char *path;
    int root, lock;
    struct identity identity;
    uint64_t boot, shards;
};

/* ── Small files, all or nothing ────────────────────────────────────────────────────────────── */

static int write_whole(int root, const char *name, const char *beside, const uint8_t *bytes,
                       size_t length, mode_t mode)
{
    int file = file_open(root, beside, O_WRONLY | O_CREAT | O_TRUNC, mode);
    if (file < 0)
        return file;
    int result = file_write(file, bytes, length, 0);
    if (result == 0)
        result = file_sync(file);
    file_close(file);
    if (result == 0)
        result = file_rename(root, beside, name);
    if (result == 0)
        result = file_sync(root);
    return result;
}

static int read_whole(int root, const char *name, uint8_t *bytes, size_t room, size_t *length)
{
    int file = file_open(root, name, O_RDONLY, 0);
    if (file < 0)
        return file;
    ssize_t got = file_read(file, bytes, room, 0);
    file_close(file);
    if (got < 0)
        return (int)got;
    *length = (size_t)got;
    return 0;
}

static void sign(uint8_t *record, uint32_t magic, size_t length)
{
    little_put32(record, magic);
    little_put32(record + 4, crc32c(0, record + CRC_FROM, length - CRC_FROM));
}

static bool is_signed(const uint8_t *record, uint32_t magic, size_t length)
{
    return little_get32(record) == magic &&
           little_get32(record + 4) == crc32c(0, record + CRC_FROM, length - CRC_FROM);
}

/* ── Identity ───────────────────────────────────────────────────────────────────────────────── */

static int take_identity(const uint8_t *record, struct identity *out)
{
    if (little_get32(record + AT_VERSION) != IDENTITY_VERSION)
        return -EPROTO;
    size_t node = little_get32(record + AT_NODE_BYTES);
    if (node > SPOOL_NODE_MAX)
        return -EBADMSG;
    *out = (struct identity){.epoch = little_get64(record + AT_EPOCH)};
    memcpy(out->secret, record + AT_SECRET, SPOOL_SECRET_BYTES);
    (void)snprintf(out->node, sizeof out->node, "%.*s", (int)node, (const char *)record + AT_NODE);
    return 0;
}

/* 0, -ENOENT, -EBADMSG, -EPROTO or another -errno. */
NODISCARD static int identity_read(int root, struct identity *out)
{
    uint8_t bytes[2 * IDENTITY_BYTES];
    size_t length = 0;
    int result = read_whole(root, "identity", bytes, sizeof bytes, &length);
    if (result < 0)
        return result;
    for (size_t at = 0; at + IDENTITY_BYTES <= length; at += IDENTITY_BYTES)
        if (is_signed(bytes + at, IDENTITY_MAGIC, IDENTITY_BYTES))
            return take_identity(bytes + at, out);
    return -EBADMSG;
}

static int make_identity(int root, const char *node, struct identity *out)
{
    uint8_t bytes[2 * IDENTITY_BYTES] = {0};
    uint64_t epoch;
    do {
        clock_random(&epoch, sizeof epoch);
        epoch &= INT64_MAX; /* a bigint in Postgres */
    } while (epoch == 0);
    size_t node_bytes = strlen(node);
    little_put32(bytes + AT_VERSION, IDENTITY_VERSION);
    little_put32(bytes + AT_NODE_BYTES, (uint32_t)node_bytes);
    little_put64(bytes + AT_EPOCH, epoch);
    clock_random(bytes + AT_SECRET, SPOOL_SECRET_BYTES);
    memcpy(bytes + AT_NODE, node, node_bytes + 1);
    sign(bytes, IDENTITY_MAGIC, IDENTITY_BYTES);
    memcpy(bytes + IDENTITY_BYTES, bytes, IDENTITY_BYTES);
    int result =
        write_whole(root, "identity", "identity.tmp", bytes, sizeof bytes, SECRET_FILE_MODE);
    return result < 0 ? result : take_identity(bytes, out);
}

static int settle_identity(struct spool_directory *directory, const char *node, bool segments_exist,
                           char *why)
{
    int result = identity_read(directory->root, &directory->identity);
    if (result == -ENOENT && segments_exist) {
        (void)snprintf(why, SPOOL_WHY_BYTES,
                       "%s: there are segments but no file `identity`: it was deleted or not "
                       "copied along; put it back",
                       directory->path);
        return -EBADMSG;
    }
    if (result == -ENOENT)
        result = make_identity(directory->root, node, &directory->identity);
    if (result == -EBADMSG)
        (void)snprintf(why, SPOOL_WHY_BYTES, "%s/identity is damaged; restore it from a backup",
                       directory->path);
    else if (result == -EPROTO)
        (void)snprintf(why, SPOOL_WHY_BYTES, "%s was written by a newer version of ringmain",
                       directory->path);
    else if (result < 0)
        (void)snprintf(why, SPOOL_WHY_BYTES, "%s/identity: %s", directory->path, strerror(-result));
    if (result < 0)
        return result;
    if (strcmp(directory->identity.node, node) == 0)
        return 0;
    (void)snprintf(why, SPOOL_WHY_BYTES,
                   "%s belongs to the node `%s`, and this is `%s`: set node.name or "
                   "spool.directory",
                   directory->path, directory->identity.node, node);
    return -EINVAL;
}

/* ── What shards there are, and the highest boot that their segments name ───────────────────── */

/* What the last boot was making when it ended. Before anything is written: where the disk is full
 * there may be no other room. */
static void remove_leftovers(int shard)
{
    static const char *const leftovers[] = {"spare.tmp", "rescue.tmp"};
    for (unsigned i = 0; i < COUNT_OF(leftovers); i++) {
        int result = file_remove(shard, leftovers[i]);
        if (result < 0 && result != -ENOENT)
            log_warn("spool", "%s could not be removed: %s", leftovers[i], strerror(-result));
    }
}

struct survey {
    int root, shard;
    struct segment_file segment;
    uint64_t boot, shards;
    bool any;
};

static int survey_segment(void *context, const char *name)
{
    struct survey *survey = context;
    uint64_t number;
    if (!segment_number(name, ".seg", &number))
        return 0;
    int result = segment_file_open(&survey->segment, survey->shard, number);
    if (result < 0)
        return result;
    if (survey->segment.fault == SEGMENT_OK && survey->segment.header.boot > survey->boot)
        survey->boot = survey->segment.header.boot;
    survey->any = survey->any || survey->segment.fault != SEGMENT_EMPTY;
    segment_file_close(&survey->segment);
    return 0;
}

static int survey_shard(void *context, const char *name)
{
    struct survey *survey = context;
    unsigned shard;
    char again[SHARD_NAME_BYTES];
    if (sscanf(name, "shard-%2u", &shard) != 1 || shard >= SPOOL_SHARDS_MAX)
        return 0;
    (void)snprintf(again, sizeof again, "shard-%02u", shard);
    if (strcmp(again, name) != 0)
        return 0;
    survey->shard = spool_shard_open(survey->root, shard, false);
    if (survey->shard < 0)
        return survey->shard;
    survey->shards |= UINT64_C(1) << shard;
    remove_leftovers(survey->shard);
    int result = file_list(survey->shard, survey_segment, survey);
    file_close(survey->shard);
    return result;
}

static int survey_directory(int root, struct survey *survey)
{
    *survey = (struct survey){.root = root};
    int result = segment_file_init(&survey->segment);
    if (result < 0)
        return result;
    result = file_list(root, survey_shard, survey);
    segment_file_fini(&survey->segment);
    return result;
}

/* ── Boot ───────────────────────────────────────────────────────────────────────────────────── */

static int begin_boot(struct spool_directory *directory, uint64_t seen)
{
    uint8_t bytes[BOOT_BYTES];
    size_t length = 0;
    uint64_t boot = 0;
    int result = read_whole(directory->root, "boot", bytes, sizeof bytes, &length);
    if (result < 0 && result != -ENOENT)
        return result;
    if (length == sizeof bytes && is_signed(bytes, BOOT_MAGIC, sizeof bytes))
        boot = little_get64(bytes + CRC_FROM);
    else if (result == 0 || seen > 0)
        log_warn("spool", "%s/boot is damaged or missing; going on from the segments: boot %llu",
                 directory->path, (unsigned long long)seen + 1);
    directory->boot = (boot > seen ? boot : seen) + 1;
    little_put64(bytes + CRC_FROM, directory->boot);
    sign(bytes, BOOT_MAGIC, sizeof bytes);
    return write_whole(directory->root, "boot", "boot.tmp", bytes, sizeof bytes, FILE_MODE);
}

/* ── Opening ────────────────────────────────────────────────────────────────────────────────── */

int spool_shard_open(int root, unsigned shard, bool make)
{
    char name[SHARD_NAME_BYTES];
    (void)snprintf(name, sizeof name, "shard-%02u", shard);
    if (make) {
        int result = file_make_directory(root, name, DIRECTORY_MODE);
        if (result == 0)
            result = file_sync(root);
        if (result < 0)
            return result;
    }
    return file_open(root, name, O_RDONLY | O_DIRECTORY, 0);
}

/* The directory's own name is durable only when the one
 * above it is; one that may not be read has to be trusted. */
static int open_root(const char *path)
{
    int result = file_make_directory(AT_FDCWD, path, DIRECTORY_MODE);
    if (result < 0)
        return result;
    int root = file_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
    if (root < 0)
        return root;
    int above = file_open(root, "..", O_RDONLY | O_DIRECTORY, 0);
    if (above >= 0) {
        result = file_sync(above);
        file_close(above);
    }
    if (result == 0)
        return root;
    file_close(root);
    return result;
}

static int take_lock(struct spool_directory *directory, char *why)
{
    directory->lock = file_open(directory->root, "lock", O_RDWR | O_CREAT, SECRET_FILE_MODE);
    int result = directory->lock < 0 ? directory->lock : file_lock(directory->lock);
    if (result == -EWOULDBLOCK)
        (void)snprintf(why, SPOOL_WHY_BYTES, "%s is in use by another process", directory->path);
    else if (result < 0)
        (void)snprintf(why, SPOOL_WHY_BYTES, "%s/lock: %s", directory->path, strerror(-result));
    return result;
}

static int settle(struct spool_directory *directory, const char *node, char *why)
{
    int result = take_lock(directory, why);
    if (result < 0)
        return result;
    struct survey survey;
    result = survey_directory(directory->root, &survey);
    if (result < 0) {
        (void)snprintf(why, SPOOL_WHY_BYTES, "%s: its segments can't be read: %s", directory->path,
                       strerror(-result));
        return result;
    }
    directory->shards = survey.shards;
    result = settle_identity(directory, node, survey.any, why);
    if (result < 0)
        return result;
    result = begin_boot(directory, survey.boot);
    if (result < 0)
        (void)snprintf(why, SPOOL_WHY_BYTES, "%s/boot: %s", directory->path, strerror(-result));
    return result;
}

int spool_directory_open(struct spool_directory **out, const char *path, const char *node,
                         char *why)
{
    if (strlen(node) > SPOOL_NODE_MAX || node[0] == '\0') {
        (void)snprintf(why, SPOOL_WHY_BYTES, "node.name must have 1 to %d bytes", SPOOL_NODE_MAX);
        return -EINVAL;
    }
    struct spool_directory *directory = calloc(1, sizeof *directory);
    char *copy = strdup(path);
    if (directory == NULL || copy == NULL) {
        free(directory);
        free(copy);
        (void)snprintf(why, SPOOL_WHY_BYTES, "no memory");
        return -ENOMEM;
    }
    directory->path = copy;
    directory->lock = -1;
    directory->root = open_root(path);
    int result = directory->root;
    if (result < 0)
        (void)snprintf(why, SPOOL_WHY_BYTES, "spool.directory %s: %s%s", path, strerror(-result),
                       result == -ENOENT ? "; the directory above it has to be there"
                       : result == -EACCES
                           ? "; the user that ringmain runs as may not make or read it"
                           : "");
    else
        result = settle(directory, node, why);
    if (result < 0) {
        spool_directory_close(directory);
        return result;
    }
    *out = directory;
    return 0;
}

void spool_directory_close(struct spool_directory *directory)
{
    if (directory->lock >= 0)
        file_close(directory->lock);
    if (directory->root >= 0)
        file_close(directory->root);
    explicit_bzero(&directory->identity, sizeof directory->identity);
    free(directory->path);
    free(directory);
}

uint64_t spool_directory_epoch(const struct spool_directory *directory)
{
    return directory->identity.epoch;
}

uint64_t spool_directory_boot(const struct spool_directory *directory)
{
    return directory->boot;
}

const uint8_t *spool_directory_secret(const struct spool_directory *directory)
{
    return directory->identity.secret;
}

uint64_t spool_directory_shards(const struct spool_directory *directory)
{
    return directory->shards;
}

int spool_directory_root(const struct spool_directory *directory)
{
    return directory->root;
}

const char *spool_directory_path(const struct spool_directory *directory)
{
    return directory->path;
}

const char *spool_directory_node(const struct spool_directory *directory)
{
    return directory->identity.node;
}
