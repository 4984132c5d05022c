/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recovery of what has been damaged, lost or mixed up on the disk: never unseen, named exactly.
 */
#include "tests/unit/segment_kit.c"

#include "core/crc32c.h"

/* ── Damage ─────────────────────────────────────────────────────────────────────────────────── */

static int recover_only(struct kit *kit)
{
    memset(kit->told, 0, sizeof kit->told);
    kit->mark = 0;
    kit->why[0] = '\0';
    int result = spool_adopt(&kit->spool, &kit->options, &kit->recovery, kit->why);
    if (result == 0)
        spool_close(kit->spool);
    return result;
}

struct flips {
    unsigned tried, seen, harmless;
};

/* One byte is wrong: either it does not matter,
 * or start-up stops and says exactly what is missing. */
static void check_flip(struct kit *kit, uint64_t offset, unsigned block, bool must_be_seen,
                       struct flips *flips)
{
    char missing[80];
    flip(kit, 1, offset);
    int result = recover_only(kit);
    if (result == 0) {
        assert_false(must_be_seen);
        check_told(kit, 0, 20);
        assert_int_equal(kit->mark, 20);
        flips->harmless++;
    } else {
        assert_int_equal(result, -EBADMSG);
        assert_non_null(strstr(kit->why, "0000000000000001.seg, bytes"));
        (void)snprintf(missing, sizeof missing, "events %u to %u (4) are missing", 4 * block,
                       4 * block + 3);
        if (strstr(kit->why, missing) == NULL)
            fail_msg("byte %llu: %s", (unsigned long long)offset, kit->why);
        flips->seen++;
    }
    flips->tried++;
    flip(kit, 1, offset);
}

/* The step from one byte to the next that is flipped: with EVERY_BYTE=1 in the environment each is,
 * but for the zeros that nothing was written over yet (make torture). */
static uint64_t step(uint64_t usual)
{
    return getenv("EVERY_BYTE") != NULL ? 1 : usual;
}

/* Every bit of a block and of a header is flipped in block_test.c; here,
 * what start-up makes of it: of five blocks of four events each. */
static void test_bytes_flipped(void **state)
{
    (void)state;
    struct kit kit;
    uint64_t at[6];
    struct flips flips = {0};
    make_blocks(&kit, 5, at);
    uint8_t bytes[BLOCK_HEADER_BYTES];
    for (unsigned block = 0; block < 5; block += (unsigned)step(2)) {
        int file = open_segment(&kit, 1);
        struct block_view view;
        assert_int_equal(pread(file, bytes, sizeof bytes, (off_t)at[block]), sizeof bytes);
        close(file);
        assert_int_equal(block_read(span_of(bytes, sizeof bytes), false, &view), BLOCK_OK);
        for (uint64_t i = 0; i < view.length; i += step(i < 130 ? 3 : 47))
            check_flip(&kit, at[block] + i, block, true, &flips);
        for (uint64_t i = view.length; i < at[block + 1] - at[block]; i += step(97))
            check_flip(&kit, at[block] + i, block, false, &flips);
    }
    for (uint64_t i = 0; i < at[0]; i += step(i % (at[0] / 2) < 100 ? 7 : 211))
        check_flip(&kit, i, 0, false, &flips); /* the other copy serves */
    for (uint64_t i = at[5]; i < KIT_SEGMENT_BYTES; i += step(9973) == 1 ? 97 : 9973) /* zeros */
        check_flip(&kit, i, 0, false, &flips);
    assert_int_equal(recover_only(&kit), 0);
    printf(
        "# %u bytes of a spool flipped, one at a time: %u stopped the start, which named the four "
        "events exactly; at %u nothing was missing; undetected: 0\n",
        flips.tried, flips.seen, flips.harmless);
    kit_fini(&kit);
}

/* Reads on from `sequence` and expects the accepted hole there. */
static void check_hole(struct kit *kit, uint64_t hole, uint64_t after)
{
    struct spool_reader *reader;
    struct block_view view;
    const struct spool_stream *streams;
    unsigned count;
    assert_int_equal(spool_reader_open(&reader, kit->path, 3, kit->why), 0);
    for (uint64_t sequence = hole; sequence < after; sequence++) {
        assert_int_equal(spool_reader_get(reader, sequence, &view, &streams, &count, kit->why), 2);
        assert_int_equal(view.first_sequence, after);
        assert_int_equal(view.rows, 0);
    }
    spool_reader_close(reader);
}

static void accept_and_check(struct kit *kit, uint64_t hole, uint64_t after, uint64_t end)
{
    assert_int_equal(kit_try_open(kit), -EBADMSG);
    kit->options.accept_loss = true;
    for (unsigned i = 0; i < 3; i++) {
        if (kit_try_open(kit) != 0)
            fail_msg("%s", kit->why);
        if (i == 0)
            assert_string_not_equal(kit->recovery.loss, "");
        else
            assert_string_equal(kit->recovery.loss, "");
        kit->options.accept_loss = false; /* it is accepted once */
        assert_int_equal(kit->recovery.next, end + i);
        for (uint64_t s = 0; s < end; s++)
            assert_int_equal(kit->told[s], (s < hole || s >= after) && s % 5 != 0);
        assert_true(kit_append(kit));
        kit_settle(kit);
        kit_check_disk(kit, 0, hole);
        check_hole(kit, hole, after);
        kit_check_disk(kit, after, end + i + 1);
        if (i == 1)
            kit_crash(kit);
        else
            kit_close(kit);
    }
}

static void test_accepted_loss(void **state)
{
    (void)state;
    for (unsigned block = 0; block < 5; block++) {
        struct kit kit;
        uint64_t at[6];
        make_blocks(&kit, 5, at);
        overwrite(&kit, 1, at[block] + 10, 0x55, 2000);
        accept_and_check(&kit, 4 * block, 4 * block + 4, 20);
        assert_true(exists(&kit, 1, "damaged"));
        assert_true(exists(&kit, 1, "seg"));
        kit_fini(&kit);
    }
}

static void test_segment_without_header(void **state)
{
    (void)state;
    struct kit kit;
    uint64_t at[6];
    make_blocks(&kit, 5, at);
    kit_open(&kit); /* another segment behind it */
    assert_true(kit_append(&kit));
    kit_settle(&kit);
    kit_close(&kit);
    overwrite(&kit, 1, 0, 0x55, at[0]);
    assert_int_equal(kit_try_open(&kit), -EBADMSG);
    assert_non_null(strstr(kit.why, "events 0 to 19 (20) are missing"));
    kit.options.accept_loss = true;
    assert_int_equal(kit_try_open(&kit), 0);
    kit_check_disk(&kit, 20, 21);
    check_hole(&kit, 0, 20);
    kit_close(&kit);
    kit_fini(&kit);
}

/* Of a header with many streams any page may become zeros: the other copy serves. */
static void test_lost_page_of_a_long_header(void **state)
{
    (void)state;
    static const uint8_t zeros[SEGMENT_ALIGN];
    struct kit kit;
    char name[16];
    uint8_t page[SEGMENT_ALIGN];
    kit_init(&kit);
    for (unsigned i = 0; i < 60; i++) {
        (void)snprintf(name, sizeof name, "stream_%u", i);
        assert_int_equal(
            streams_add(kit.streams, name, name, "a jsonb from data, b text", "", kit.why), 0);
    }
    kit_open(&kit);
    assert_true(kit_append(&kit) && kit_append(&kit));
    kit_settle(&kit);
    kit_close(&kit);
    uint64_t end = blocks_at(&kit, 1);
    assert_true(end > (uint64_t)2 * SEGMENT_ALIGN);
    int file = open_segment(&kit, 1);
    for (uint64_t at = 0; at < end; at += SEGMENT_ALIGN) {
        assert_int_equal(pread(file, page, sizeof page, (off_t)at), sizeof page);
        assert_int_equal(pwrite(file, zeros, sizeof zeros, (off_t)at), sizeof zeros);
        assert_int_equal(recover_only(&kit), 0);
        check_told(&kit, 0, 2);
        assert_int_equal(pwrite(file, page, sizeof page, (off_t)at), sizeof page);
    }
    close(file);
    kit_fini(&kit);
}

static void test_missing_segment(void **state)
{
    (void)state;
    struct kit kit;
    char path[160];
    uint64_t at[6];
    make_blocks(&kit, 5, at);
    uint64_t numbers[3] = {0};
    for (unsigned i = 0; i < 3; i++) {
        kit_open(&kit);
        numbers[i] = kit.spool->current->number;
        assert_true(kit_append(&kit));
        kit_settle(&kit);
        kit_close(&kit);
    }
    segment_path(&kit, numbers[1], "seg", path, sizeof path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(kit_try_open(&kit), -EBADMSG);
    assert_non_null(strstr(kit.why, "events 21 to 21 (1) are missing"));
    accept_and_check(&kit, 21, 22, 23);
    kit_fini(&kit);
}

/* A block without rows has no sequences to miss;
 * its producers' counts must be missed all the same. */
static void test_damaged_marks(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    kit_open(&kit);
    assert_true(kit_append(&kit));
    kit_settle(&kit);
    uint64_t at = kit.spool->current->offset;
    assert_true(spool_mark(kit.spool, SPAN("producer"), 500));
    kit_settle(&kit);
    kit_close(&kit);
    assert_int_equal(recover_only(&kit), 0);
    assert_int_equal(kit.mark, 500);
    flip(&kit, 1, at + BLOCK_HEADER_BYTES + 3);
    assert_int_equal(kit_try_open(&kit), -EBADMSG);
    assert_non_null(strstr(kit.why, "no event is missing, but producers' counts"));
    kit.options.accept_loss = true;
    assert_int_equal(kit_try_open(&kit), 0);
    assert_int_equal(kit.recovery.next, 1);
    kit_check_disk(&kit, 0, 1);
    kit_close(&kit);
    kit.options.accept_loss = false;
    kit_open(&kit);
    kit_close(&kit);
    kit_fini(&kit);
}

/* Without a clean end the evidence is what the blocks
 * behind say: in the same segment, and in the next. */
static void test_damage_after_a_crash(void **state)
{
    (void)state;
    for (unsigned block = 0; block < 4; block++) {
        struct kit kit;
        uint64_t at[4];
        kit_init(&kit);
        kit_open(&kit);
        for (unsigned i = 0; i < 4; i++) {
            at[i] = kit.spool->current->offset;
            assert_true(i == 1 ? spool_mark(kit.spool, SPAN("producer"), 500) : kit_append(&kit));
            kit_settle(&kit);
        }
        if (block ==
            3) { /* nothing stands behind the last one, until a second of quiet has passed */
            kit_tick(&kit, (uint64_t)1100 * KIT_MS);
            kit_run(&kit);
        }
        kit_crash(&kit);
        flip(&kit, 1, at[block] + BLOCK_HEADER_BYTES + 2);
        assert_int_equal(kit_try_open(&kit), -EBADMSG);
        kit_fini(&kit);
    }
}

static void test_damaged_end_of_a_full_segment(void **state)
{
    (void)state;
    struct kit kit;
    uint64_t last = 0;
    kit_init(&kit);
    kit_open(&kit);
    kit_tick(&kit, 2 * KIT_MS);
    kit_run(&kit);
    while (kit.spool->current->number == 1) {
        last = kit.spool->current->offset;
        assert_true(kit_append(&kit));
        kit_commit(&kit);
        if (kit.ring.requests > 1 && kit.spool->current->number == 1)
            kit_do(&kit, 0,
                   0); /* there is always one in flight: the next header can't vouch for it */
        kit_take(&kit);
    }
    kit_run(&kit);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(kit_append(&kit));
        kit_settle(&kit);
    }
    uint64_t first = kit.spool->current->first_sequence;
    kit_crash(&kit);
    flip(&kit, 1, last - BLOCK_ALIGN + 1);
    assert_int_equal(kit_try_open(&kit), -EBADMSG);
    char missing[80];
    (void)snprintf(missing, sizeof missing, "events %llu to %llu (1) are missing",
                   (unsigned long long)first - 1, (unsigned long long)first - 1);
    if (strstr(kit.why, missing) == NULL)
        fail_msg("%s", kit.why);
    kit_fini(&kit);
}

/* Changes a number in the header's both copies and signs them again. */
static void forge_header(const struct kit *kit, unsigned at, uint8_t value)
{
    uint64_t length = blocks_at(kit, 1) / 2;
    uint8_t *bytes = malloc(length);
    int file = open_segment(kit, 1);
    assert_int_equal(pread(file, bytes, length, 0), (ssize_t)length);
    bytes[at] = value;
    uint32_t crc = crc32c(0, bytes + 8, length - 8);
    memcpy(bytes + 4, &crc, sizeof crc);
    assert_int_equal(pwrite(file, bytes, length, 0), (ssize_t)length);
    assert_int_equal(pwrite(file, bytes, length, (off_t)length), (ssize_t)length);
    close(file);
    free(bytes);
}

static void test_foreign_segments(void **state)
{
    (void)state;
    static const struct {
        unsigned at;
        uint8_t value;
        int result;
        const char *why;
    } forged[] = {
        {12, 9, -EPROTO, "newer version"},
        {33, 0x77, -EINVAL, "epoch"},
        {64, 4, -EINVAL, "another shard"},
        {80, 'x', -EINVAL, "another node"},
    };
    for (unsigned i = 0; i < COUNT_OF(forged); i++) {
        struct kit kit;
        uint64_t at[3];
        make_blocks(&kit, 2, at);
        forge_header(&kit, forged[i].at, forged[i].value);
        assert_int_equal(kit_try_open(&kit), forged[i].result);
        if (strstr(kit.why, forged[i].why) == NULL)
            fail_msg("%s", kit.why);
        kit_fini(&kit);
    }
}

static void file_in(const struct kit *kit, const char *name, char *out, size_t room)
{
    (void)snprintf(out, room, "%s/%s", kit->path, name);
}

static void scribble(const struct kit *kit, const char *name, uint64_t at, size_t length)
{
    char path[160];
    uint8_t bytes[512];
    file_in(kit, name, path, sizeof path);
    int file = open(path, O_RDWR);
    assert_true(file >= 0);
    memset(bytes, 0x77, sizeof bytes);
    assert_int_equal(pwrite(file, bytes, length, (off_t)at), (ssize_t)length);
    close(file);
}

static void test_boot_and_identity(void **state)
{
    (void)state;
    struct kit kit;
    char path[160];
    uint64_t at[3];
    make_blocks(&kit, 2, at);
    uint64_t epoch = kit.recovery.epoch;
    kit_open(&kit);
    assert_int_equal(kit.recovery.boot, 2);
    kit_close(&kit);
    scribble(&kit, "boot", 3, 4);
    kit_open(&kit);
    assert_int_equal(kit.recovery.boot, 3); /* found again in the segments */
    kit_close(&kit);
    file_in(&kit, "boot", path, sizeof path);
    assert_int_equal(unlink(path), 0);
    scribble(&kit, "identity", 0, 100); /* the second copy serves */
    kit_open(&kit);
    assert_int_equal(kit.recovery.boot, 4);
    assert_int_equal(kit.recovery.epoch, epoch);
    kit_close(&kit);
    scribble(&kit, "identity", 0, 500);
    assert_int_equal(kit_try_open(&kit), -EBADMSG);
    assert_non_null(strstr(kit.why, "identity is damaged"));
    file_in(&kit, "identity", path, sizeof path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(kit_try_open(&kit), -EBADMSG); /* never a new epoch over old segments */
    kit_fini(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_flipped),
        cmocka_unit_test(test_accepted_loss),
        cmocka_unit_test(test_segment_without_header),
        cmocka_unit_test(test_lost_page_of_a_long_header),
        cmocka_unit_test(test_missing_segment),
        cmocka_unit_test(test_damaged_marks),
        cmocka_unit_test(test_damage_after_a_crash),
        cmocka_unit_test(test_damaged_end_of_a_full_segment),
        cmocka_unit_test(test_foreign_segments),
        cmocka_unit_test(test_boot_and_identity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
