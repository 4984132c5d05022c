/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of recovery, beside spool_kit.c: segments as files, to look into and to damage.
 */
#include "tests/unit/spool_kit.c"

__attribute__((unused)) static void segment_path(const struct kit *kit, uint64_t number,
                                                 const char *ending, char *out, size_t room)
{
    (void)snprintf(out, room, "%s/shard-%02u/%016llx.%s", kit->path, kit->options.shard,
                   (unsigned long long)number, ending);
}

__attribute__((unused)) static int open_segment(const struct kit *kit, uint64_t number)
{
    char path[160];
    segment_path(kit, number, "seg", path, sizeof path);
    int file = open(path, O_RDWR);
    assert_true(file >= 0);
    return file;
}

__attribute__((unused)) static void flip(const struct kit *kit, uint64_t number, uint64_t at)
{
    uint8_t byte;
    int file = open_segment(kit, number);
    assert_int_equal(pread(file, &byte, 1, (off_t)at), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(file, &byte, 1, (off_t)at), 1);
    close(file);
}

__attribute__((unused)) static void overwrite(const struct kit *kit, uint64_t number, uint64_t at,
                                              uint8_t with, size_t length)
{
    uint8_t *bytes = malloc(length);
    int file = open_segment(kit, number);
    memset(bytes, with, length);
    assert_int_equal(pwrite(file, bytes, length, (off_t)at), (ssize_t)length);
    close(file);
    free(bytes);
}

__attribute__((unused)) static bool exists(const struct kit *kit, uint64_t number,
                                           const char *ending)
{
    char path[160];
    segment_path(kit, number, ending, path, sizeof path);
    return access(path, F_OK) == 0;
}

/* Where the first segment's blocks begin. */
__attribute__((unused)) static uint64_t blocks_at(const struct kit *kit, uint64_t number)
{
    uint8_t header[SEGMENT_ALIGN];
    int file = open_segment(kit, number);
    assert_int_equal(pread(file, header, sizeof header, 0), sizeof header);
    close(file);
    return 2 * (uint64_t)segment_claimed_bytes(header);
}

/* A closed spool of `blocks` blocks with 4 rows each in one segment; where each of them is. */
__attribute__((unused)) static void make_blocks(struct kit *kit, unsigned blocks, uint64_t *at)
{
    kit_init(kit);
    kit_open(kit);
    for (unsigned i = 0; i < blocks; i++) {
        at[i] = kit->spool->current->offset;
        for (unsigned j = 0; j < 4; j++)
            assert_true(kit_append(kit));
        kit_settle(kit);
        kit_take(kit);
    }
    at[blocks] = kit->spool->current->offset;
    kit_close(kit);
}

/* What was told is what is there: each row with a key once, the last count. */
__attribute__((unused)) static void check_told(const struct kit *kit, uint64_t first, uint64_t end)
{
    for (uint64_t i = 0; i < KIT_ROWS_MAX; i++) {
        bool there = i >= first && i < end && i % 5 != 0;
        if (kit->told[i] != there)
            fail_msg("key of row %llu was told %u times", (unsigned long long)i, kit->told[i]);
    }
}
