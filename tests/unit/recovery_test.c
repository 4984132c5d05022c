/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/spool_kit.c"

#include "core/crc32c.h"

static void segment_path(const struct kit *kit, uint64_t number, const char *ending, char *out,
                         size_t room)
{
    (void)snprintf(out, room, "%s/shard-%02u/%016llx.%s", kit->path, kit->options.shard,
                   (unsigned long long)number, ending);
}

static int open_segment(const struct kit *kit, uint64_t number)
{
    char path[160];
    segment_path(kit, number, "seg", path, sizeof path);
    int file = open(path, O_RDWR);
    assert_true(file >= 0);
    return file;
}

static void flip(const struct kit *kit, uint64_t number, uint64_t at)
{
    uint8_t byte;
    int file = open_segment(kit, number);
    assert_int_equal(pread(file, &byte, 1, (off_t)at), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(file, &byte, 1, (off_t)at), 1);
    close(file);
}

static void overwrite(const struct kit *kit, uint64_t number, uint64_t at, uint8_t with,
                      size_t length)
{
    uint8_t *bytes = malloc(length);
    int file = open_segment(kit, number);
    memset(bytes, with, length);
    assert_int_equal(pwrite(file, bytes, length, (off_t)at), (ssize_t)length);
    close(file);
    free(bytes);
}

static bool exists(const struct kit *kit, uint64_t number, const char *ending)
{
    char path[160];
    segment_path(kit, number, ending, path, sizeof path);
    return access(path, F_OK) == 0;
}

/* Where the first segment's blocks begin. */
static uint64_t blocks_at(const struct kit *kit, uint64_t number)
{
    uint8_t header[SEGMENT_ALIGN];
    int file = open_segment(kit, number);
    assert_int_equal(pread(file, header, sizeof header, 0), sizeof header);
    close(file);
    return 2 * (uint64_t)segment_claimed_bytes(header);
}

/* A closed spool of `blocks` blocks with 4 rows each in one segment; where each of them is. */
static void make_blocks(struct kit *kit, unsigned blocks, uint64_t *at)
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
static void check_told(const struct kit *kit, uint64_t first, uint64_t end)
{
    for (uint64_t i = 0; i < KIT_ROWS_MAX; i++) {
        bool there = i >= first && i < end && i % 5 != 0;
        if (kit->told[i] != there)
            fail_msg("key of row %llu was told %u times", (unsigned long long)i, kit->told[i]);
    }
}

/* ── Crashes ────────────────────────────────────────────────────────────────────────────────── */

/* One request of those that wait, any of them; now and then it fails. */
static void do_any(struct kit *kit, unsigned failures)
{
    unsigned index = (unsigned)(fake_random(&kit->ring.seed) % kit->ring.requests);
    enum ring_op op = kit->ring.request[index].op;
    bool may_fail = op == RING_WRITE_SYNC || op == RING_WRITE || op == RING_SYNC;
    int error = 0;
    if (may_fail && failures > 0 && fake_random(&kit->ring.seed) % failures == 0)
        error = fake_random(&kit->ring.seed) % 2 == 0 || op == RING_SYNC ? -EIO : -ECANCELED;
    kit_do(kit, index, error);
}

/* Traffic until `stop` requests have been carried out. */
static void traffic(struct kit *kit, uint64_t stop, unsigned failures)
{
    unsigned turns = 0;
    while (kit->ring.carried_out < stop && turns++ < 5000 && spool_next(kit->spool) < 6000) {
        for (uint64_t n = fake_random(&kit->ring.seed) % 30; n > 0 && kit_append(kit);)
            n--;
        kit_commit(kit);
        kit_tick(kit, 2 * KIT_MS);
        for (uint64_t n = fake_random(&kit->ring.seed) % 8; n > 0 && kit->ring.requests > 0; n--)
            if (kit->ring.carried_out < stop)
                do_any(kit, failures);
        kit_take(kit);
        if (fake_random(&kit->ring.seed) % 4 == 0)
            kit->stored = spool_durable(kit->spool);
    }
}

/* After a crash: what was durable is there, and nothing else than what was appended. */
static void check_recovered(struct kit *kit, uint64_t durable, uint64_t next)
{
    assert_string_equal(kit->recovery.loss, "");
    assert_true(kit->recovery.next >= durable);
    assert_true(kit->recovery.next <= next);
    assert_true(kit->recovery.oldest <= kit->stored);
    check_told(kit, kit->recovery.oldest, kit->recovery.next);
    if (kit->snapshots || kit->recovery.oldest < kit->recovery.next)
        assert_int_equal(kit->mark, kit->recovery.next);
    kit_check_disk(kit, kit->recovery.oldest, kit->recovery.next);
}

static void crash_and_recover(struct kit *kit)
{
    uint64_t durable = spool_durable(kit->spool), next = spool_next(kit->spool);
    kit_crash(kit);
    kit_open(kit);
    check_recovered(kit, durable, next);
}

static void test_crash_at_every_call(void **state)
{
    (void)state;
    for (unsigned stop = 0; stop < 120; stop += 3) {
        struct kit kit;
        kit_init(&kit);
        kit.ring.seed = stop * 7919;
        kit.snapshots = true;
        kit_open(&kit);
        traffic(&kit, stop, 0);
        crash_and_recover(&kit);
        kit_close(&kit);
        kit_fini(&kit);
    }
}

/* Boot after boot in one directory, each ended by a crash, with failing writes among them. */
static void test_crash_after_crash(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 5; seed++) {
        struct kit kit;
        kit_init(&kit);
        kit.ring.seed = seed * 104729;
        kit.snapshots = seed % 3 != 0;
        kit_open(&kit);
        for (unsigned boot = 0; boot < 12; boot++) {
            uint64_t more = fake_random(&kit.ring.seed) % 60;
            traffic(&kit, kit.ring.carried_out + more, boot % 3 == 2 ? 25 : 0);
            crash_and_recover(&kit);
        }
        kit_settle(&kit);
        kit_close(&kit);
        kit_open(&kit);
        assert_string_equal(kit.recovery.loss, "");
        kit_check_disk(&kit, kit.recovery.oldest, kit.recovery.next);
        kit_close(&kit);
        kit_fini(&kit);
    }
}

/* Blocks that nobody was thanked for: the second is torn, so the good third does not count. */
static void test_torn_end(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    kit_open(&kit);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(kit_append(&kit));
        kit_commit(&kit);
    }
    uint64_t number = kit.spool->current->number, at = blocks_at(&kit, number);
    for (unsigned i = 0; i < 3; i++) {
        const struct fake_request *request = &kit.ring.request[i];
        assert_true(pwrite(request->file, request->bytes, request->length, (off_t)request->offset) >
                    0);
    }
    kit.ring.requests = 0;
    kit_crash(&kit);
    overwrite(&kit, number, at + BLOCK_ALIGN + 100, 0, 3000);
    kit_open(&kit);
    assert_int_equal(kit.recovery.next, 1);
    assert_int_equal(kit.recovery.rows, 1);
    assert_int_equal(kit.recovery.torn_bytes, 2 * BLOCK_ALIGN);
    check_told(&kit, 0, 1);
    /* The sequences are given out again, and the old rows never come back. */
    for (unsigned i = 0; i < 3; i++)
        assert_true(kit_append(&kit));
    kit_settle(&kit);
    kit_check_disk(&kit, 0, 4);
    kit_close(&kit);
    kit_open(&kit);
    check_recovered(&kit, 4, 4);
    kit_close(&kit);
    kit_fini(&kit);
}

/* ── Damage ─────────────────────────────────────────────────────────────────────────────────── */

static int recover_only(struct kit *kit)
{
    memset(kit->told, 0, sizeof kit->told);
    kit->mark = 0;
    kit->why[0] = '\0';
    return spool_recover(&kit->options, &kit->recovery, kit->why);
}

/* One byte is wrong: either it does not matter,
 * or start-up stops and says exactly what is missing. */
static void check_flip(struct kit *kit, uint64_t offset, unsigned block, bool must_be_seen)
{
    char missing[80];
    flip(kit, 1, offset);
    int result = recover_only(kit);
    if (result == 0) {
        assert_false(must_be_seen);
        check_told(kit, 0, 20);
        assert_int_equal(kit->mark, 20);
    } else {
        assert_int_equal(result, -EBADMSG);
        assert_non_null(strstr(kit->why, "0000000000000001.seg, bytes"));
        (void)snprintf(missing, sizeof missing, "events %u to %u (4) are missing", 4 * block,
                       4 * block + 3);
        if (strstr(kit->why, missing) == NULL)
            fail_msg("byte %llu: %s", (unsigned long long)offset, kit->why);
    }
    flip(kit, 1, offset);
}

/* Every bit of a block and of a header is flipped
 * in block_test.c; here, what start-up makes of it. */
static void test_bytes_flipped(void **state)
{
    (void)state;
    struct kit kit;
    uint64_t at[6];
    make_blocks(&kit, 5, at);
    uint8_t bytes[BLOCK_HEADER_BYTES];
    for (unsigned block = 0; block < 5; block += 2) {
        int file = open_segment(&kit, 1);
        struct block_view view;
        assert_int_equal(pread(file, bytes, sizeof bytes, (off_t)at[block]), sizeof bytes);
        close(file);
        assert_int_equal(block_read(span_of(bytes, sizeof bytes), false, &view), BLOCK_OK);
        for (uint64_t i = 0; i < view.length; i += i < 130 ? 3 : 47)
            check_flip(&kit, at[block] + i, block, true);
        for (uint64_t i = view.length; i < at[block + 1] - at[block]; i += 97)
            check_flip(&kit, at[block] + i, block, false);
    }
    for (uint64_t i = 0; i < at[0]; i += i % (at[0] / 2) < 100 ? 7 : 211)
        check_flip(&kit, i, 0, false); /* the other copy serves */
    for (uint64_t i = at[5]; i < KIT_SEGMENT_BYTES; i += 9973)
        check_flip(&kit, i, 0, false);
    assert_int_equal(recover_only(&kit), 0);
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

/* What was written and never proven durable is written again before it counts. */
static void test_unproven_tail_is_moved(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    kit_open(&kit);
    for (unsigned i = 0; i < 8; i++) {
        assert_true(kit_append(&kit));
        kit_settle(&kit);
    }
    kit_crash(&kit);
    kit_open(&kit);
    check_recovered(&kit, 8, 8);
    const struct segment *first = LIST_ENTRY(kit.spool->segments.next, struct segment, link);
    const struct segment *second = LIST_ENTRY(first->link.next, struct segment, link);
    assert_int_equal(first->end, 7);
    assert_int_equal(second->first_sequence, 7);
    assert_int_equal(second->end, 8);
    assert_true(second != kit.spool->current);
    /* The old copy may rot now: it is not what counts. */
    uint64_t at = blocks_at(&kit, first->number) + 7 * BLOCK_ALIGN;
    flip(&kit, first->number, at + 200);
    kit_crash(&kit);
    kit_open(&kit);
    check_recovered(&kit, 8, 8);
    unsigned segments = (unsigned)kit.recovery.segments;
    kit_close(&kit);
    kit_open(&kit); /* and it is not moved again */
    assert_int_equal(kit.recovery.segments, segments);
    kit_close(&kit);
    kit_fini(&kit);
}

/* ── The reader beside the living spool ─────────────────────────────────────────────────────── */

static void test_reader_follows(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    kit.ring.seed = 5;
    kit_open(&kit);
    struct spool_reader *reader;
    assert_int_equal(spool_reader_open(&reader, kit.path, 3, kit.why), 0);
    assert_int_equal(spool_reader_epoch(reader), kit.recovery.epoch);
    uint64_t sequence = 0;
    while (sequence < 3000) {
        traffic(&kit, kit.ring.carried_out + 3, 300);
        kit.stored = sequence; /* what has been read may go */
        while (sequence < spool_durable(kit.spool)) {
            struct block_view view;
            const struct spool_stream *streams;
            unsigned count;
            int result = spool_reader_get(reader, sequence, &view, &streams, &count, kit.why);
            if (result != 1)
                fail_msg("row %llu: %d %s", (unsigned long long)sequence, result, kit.why);
            assert_true(view.first_sequence <= sequence);
            kit_check_block(&kit, &view);
            sequence = view.first_sequence + view.rows;
            if (sequence % 3 == 0)
                break; /* lag behind */
        }
    }
    struct block_view view;
    const struct spool_stream *streams;
    unsigned count;
    assert_int_equal(spool_reader_get(reader, 0, &view, &streams, &count, kit.why), -ENOENT);
    uint64_t durable = spool_durable(kit.spool);
    kit_settle(&kit);
    assert_int_equal(spool_reader_get(reader, durable - 1, &view, &streams, &count, kit.why), 1);
    assert_int_equal(
        spool_reader_get(reader, spool_durable(kit.spool), &view, &streams, &count, kit.why), 0);
    assert_true(kit_append(&kit));
    kit_settle(&kit);
    assert_int_equal(
        spool_reader_get(reader, spool_durable(kit.spool) - 1, &view, &streams, &count, kit.why),
        1);
    spool_reader_close(reader);
    kit_close(&kit);
    kit_fini(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crash_at_every_call),
        cmocka_unit_test(test_crash_after_crash),
        cmocka_unit_test(test_torn_end),
        cmocka_unit_test(test_bytes_flipped),
        cmocka_unit_test(test_accepted_loss),
        cmocka_unit_test(test_segment_without_header),
        cmocka_unit_test(test_missing_segment),
        cmocka_unit_test(test_damaged_marks),
        cmocka_unit_test(test_foreign_segments),
        cmocka_unit_test(test_boot_and_identity),
        cmocka_unit_test(test_unproven_tail_is_moved),
        cmocka_unit_test(test_reader_follows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
