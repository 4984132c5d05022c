/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the spool's tests share: a spool in a directory of its own, on the fake ring; rows whose
 * bytes follow from their sequence and from how often that has been given out, so that any of them
 * can be checked anywhere; and a reader over all that counts.
 */
#include "tests/unit/fake_ring.c"
#include "tests/unit/unit.h"

#include "batch/spool.h"
#include "batch/spool_internal.h"
#include "core/log.h"

#include <dirent.h>
#include <stdlib.h>

enum {
    KIT_SEGMENT_BYTES = 320 * 1024,
    KIT_MEMORY_BYTES = 4 * 1024 * 1024,
    KIT_ROWS_MAX = 8192,
    KIT_MS = 1000 * 1000,
};

struct kit {
    char path[64];
    struct streams *streams;
    struct counters counters;
    struct spool_options options;
    struct spool_recovery recovery;
    struct spool *spool;
    struct ring ring;
    uint64_t now_ns;
    uint64_t stored;
    uint64_t gone_ns; /* Postgres is away since then; 0: it is there */
    bool snapshots;
    char why[512];
    /* what recovery told */
    uint8_t told[KIT_ROWS_MAX];
    uint8_t version[KIT_ROWS_MAX]; /* how often the sequence has been given out */
    uint64_t mark;
};

static void kit_key(void *context, struct dedup_key key, uint64_t sequence, int64_t wall_us)
{
    struct kit *kit = context;
    assert_true(wall_us > 0);
    assert_int_equal(key.high, sequence + 1);
    assert_int_equal(key.low, ~sequence);
    assert_true(sequence < KIT_ROWS_MAX);
    kit->told[sequence]++;
}

static void kit_mark(void *context, struct span producer, uint64_t count)
{
    struct kit *kit = context;
    if (span_is(producer, "producer"))
        kit->mark = count;
}

static void kit_init(struct kit *kit)
{
    memset(kit, 0, sizeof *kit);
    log_setup(LOG_ERROR + 1, LOG_LOGFMT);
    strcpy(kit->path, access("/dev/shm", W_OK) == 0 ? "/dev/shm/ringmain-spool-XXXXXX"
                                                    : "/tmp/ringmain-spool-XXXXXX");
    assert_non_null(mkdtemp(kit->path));
    kit->streams = streams_open();
    assert_non_null(kit->streams);
    assert_int_equal(streams_add_defaults(kit->streams, kit->why), 0);
    kit->options = (struct spool_options){
        .directory = kit->path,
        .node = "node",
        .shard = 3,
        .segment_bytes = KIT_SEGMENT_BYTES,
        .bytes_max = (uint64_t)KIT_SEGMENT_BYTES * 40,
        .memory_bytes = KIT_MEMORY_BYTES,
        .retain_us = 1000,
        .in_flight_max = 4,
        .streams = kit->streams,
        .counters = &kit->counters,
        .ring_owner = 17,
    };
    kit->recovery = (struct spool_recovery){.context = kit, .key = kit_key, .mark = kit_mark};
    kit->now_ns = KIT_MS;
}

static void kit_remove(const char *path)
{
    DIR *entries = opendir(path);
    if (entries == NULL)
        return;
    const struct dirent *entry;
    while ((entry = readdir(entries)) != NULL) {
        char inner[512];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        (void)snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        if (entry->d_type == DT_DIR)
            kit_remove(inner);
        else
            (void)unlink(inner);
    }
    closedir(entries);
    (void)rmdir(path);
}

static void kit_fini(struct kit *kit)
{
    streams_close(kit->streams);
    kit_remove(kit->path);
}

static int kit_try_open(struct kit *kit)
{
    memset(kit->told, 0, sizeof kit->told);
    kit->mark = 0;
    kit->why[0] = '\0';
    return spool_open(&kit->spool, &kit->options, &kit->recovery, kit->why);
}

/* The one producer that kit_append() marks, for a new segment's head. */
static bool kit_each_mark(void *context, size_t *cursor, struct span *name, uint64_t *mark)
{
    const struct kit *kit = context;
    if (*cursor > 0 || spool_next(kit->spool) == 0)
        return false;
    *cursor = 1;
    *name = SPAN("producer");
    *mark = spool_next(kit->spool);
    return true;
}

static void kit_open(struct kit *kit)
{
    int result = kit_try_open(kit);
    if (result != 0)
        print_error("%s\n", kit->why);
    assert_int_equal(result, 0);
    if (kit->snapshots)
        spool_set_marks(kit->spool, kit, kit_each_mark);
}

/* ── Rows ───────────────────────────────────────────────────────────────────────────────────── */

static size_t kit_row_bytes(uint64_t sequence)
{
    if (sequence % 97 == 96)
        return 100 * 1024;
    return 20 + sequence * 37 % 3000;
}

static uint8_t kit_byte(const struct kit *kit, uint64_t sequence, size_t i)
{
    return (uint8_t)(sequence * 131 + i * 7 + kit->version[sequence]);
}

static uint16_t kit_stream(uint64_t sequence)
{
    return (uint16_t)(sequence / 3 % 3);
}

/* One row and a mark that follows it; false: no room. */
static bool kit_append(struct kit *kit)
{
    uint64_t sequence = spool_next(kit->spool);
    size_t bytes = kit_row_bytes(sequence);
    uint8_t *at = spool_room(kit->spool, bytes + 10);
    if (at == NULL)
        return false;
    assert_true(sequence < KIT_ROWS_MAX);
    kit->version[sequence]++;
    for (size_t i = 0; i < bytes; i++)
        at[i] = kit_byte(kit, sequence, i);
    struct dedup_key key = {sequence + 1, ~sequence};
    if (sequence % 5 == 0)
        key = (struct dedup_key){0, 0};
    assert_int_equal(spool_append(kit->spool, kit_stream(sequence), bytes, key), sequence);
    assert_true(spool_mark(kit->spool, SPAN("producer"), sequence + 1));
    return true;
}

static void kit_check_row(const struct kit *kit, uint64_t sequence, uint16_t stream,
                          const uint8_t *at)
{
    assert_int_equal(stream, kit_stream(sequence));
    for (size_t i = 0; i < kit_row_bytes(sequence); i += i < 32 ? 1 : 61)
        if (at[i] != kit_byte(kit, sequence, i))
            fail_msg("row %llu differs at byte %zu", (unsigned long long)sequence, i);
}

/* All rows of a block, by its runs. */
static void kit_check_block(const struct kit *kit, const struct block_view *view)
{
    uint64_t sequence = view->first_sequence;
    const uint8_t *at = view->row_bytes.at;
    for (unsigned i = 0; i < view->runs; i++) {
        struct block_run run = block_run_at(view, i);
        size_t total = 0;
        for (unsigned j = 0; j < run.rows; j++, sequence++) {
            kit_check_row(kit, sequence, run.stream, at);
            at += kit_row_bytes(sequence);
            total += kit_row_bytes(sequence);
        }
        assert_int_equal(total, run.bytes);
    }
    assert_int_equal(sequence, view->first_sequence + view->rows);
}

/* ── Turns ──────────────────────────────────────────────────────────────────────────────────── */

static void kit_do(struct kit *kit, unsigned index, int error)
{
    struct completion completion = fake_ring_do(&kit->ring, index, error);
    spool_complete(kit->spool, &kit->ring, &completion, kit->now_ns);
}

static void kit_commit(struct kit *kit)
{
    spool_commit(kit->spool, &kit->ring, kit->now_ns, 1000000 + (int64_t)kit->now_ns / 1000);
}

static void kit_tick(struct kit *kit, uint64_t ns)
{
    kit->now_ns += ns;
    (void)spool_tick(kit->spool, &kit->ring, kit->now_ns, 1000000 + (int64_t)kit->now_ns / 1000,
                     kit->stored, kit->gone_ns > 0 ? kit->gone_ns : kit->now_ns);
}

/* Everything that is asked of the ring, and what follows from it, in order. */
static void kit_run(struct kit *kit)
{
    while (kit->ring.requests > 0)
        kit_do(kit, 0, 0);
}

static void kit_settle(struct kit *kit)
{
    unsigned turns = 0;
    do {
        assert_true(turns++ < 1000);
        kit_commit(kit);
        kit_tick(kit, 2 * KIT_MS);
        kit_run(kit);
    } while (!spool_idle(kit->spool) && !spool_failed(kit->spool));
}

/* Gives back what is durable; the rows in it are checked. */
static uint64_t kit_take(struct kit *kit)
{
    struct block *block;
    uint64_t rows = 0;
    while ((block = spool_take(kit->spool)) != NULL) {
        struct block_view view;
        assert_int_equal(block_read(block->bytes, true, &view), BLOCK_OK);
        assert_int_equal(view.rows, block->rows);
        assert_int_equal(view.first_sequence, block->first_sequence);
        kit_check_block(kit, &view);
        rows += block->rows;
        spool_give_back(kit->spool, block);
    }
    return rows;
}

static void kit_close(struct kit *kit)
{
    kit_run(kit);
    kit_take(kit);
    spool_close(kit->spool);
    kit->ring.changes = 0;
}

/* The process is gone; nothing is written on the way out. */
__attribute__((unused)) static void kit_crash(struct kit *kit)
{
    kit_take(kit);
    fake_ring_crash(&kit->ring);
    kit->spool->failed = true;
    spool_close(kit->spool);
}

/* Rows first … end - 1 are on the disk, each once, in order, with their streams. */
static void kit_check_disk(struct kit *kit, uint64_t first, uint64_t end)
{
    struct spool_reader *reader;
    assert_int_equal(spool_reader_open(&reader, kit->path, kit->options.shard, kit->why), 0);
    for (uint64_t sequence = first; sequence < end;) {
        struct block_view view;
        const struct spool_stream *streams;
        unsigned count;
        int result = spool_reader_get(reader, sequence, &view, &streams, &count, kit->why);
        if (result != 1)
            fail_msg("row %llu: %d %s", (unsigned long long)sequence, result, kit->why);
        assert_true(view.first_sequence <= sequence);
        assert_true(view.first_sequence + view.rows > sequence);
        assert_int_equal(count, streams_count(kit->streams));
        assert_string_equal(streams[0].name, streams_at(kit->streams, 0)->name);
        kit_check_block(kit, &view);
        sequence = view.first_sequence + view.rows;
    }
    spool_reader_close(reader);
}
