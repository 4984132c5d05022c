/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the writer's tests stand on: a private Postgres, shards played
 * by the test's own thread, and a spool whose "disk" is memory (the
 * spool_reader_* functions below take the place of the real ones).
 *
 * Two streams, `t` and `u`, each (n bigint, body text): the row with sequence s
 * of shard h has n = h * 10^9 + s, so a table tells by itself what is missing,
 * double or out of order. Every test has a schema of its own.
 */
#ifndef TESTS_UNIT_WRITER_RIG_H
#define TESTS_UNIT_WRITER_RIG_H

#include "tests/unit/unit.h"

#include "batch/big_endian.h"
#include "batch/block.h"
#include "batch/writer.h"
#include "core/clock.h"
#include "core/log.h"

#include <errno.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define RIG static __attribute__((unused))

enum { RIG_SHARDS = 3, RIG_BLOCKS = 8192, RIG_MAIL = 1024, RIG_SECOND = 1000 * 1000 * 1000 };

/* ── The disk ───────────────────────────────────────────────────────────────────────────────── */

struct disk_block {
    uint8_t *bytes;
    struct block_view view;
};

struct disk {
    pthread_mutex_t lock;
    struct disk_block block[RIG_BLOCKS];
    unsigned blocks;
    _Atomic uint64_t oldest; /* blocks that end below it have been freed */
    _Atomic unsigned reads;
    _Atomic bool broken;
    struct spool_stream stream[2];
};

static struct disk rig_disk[RIG_SHARDS];

struct spool_reader {
    struct disk *disk;
};

int spool_reader_open(struct spool_reader **out, const char *directory, unsigned shard, char *why)
{
    (void)directory;
    (void)why;
    *out = calloc(1, sizeof **out);
    assert_non_null(*out);
    (*out)->disk = &rig_disk[shard];
    return 0;
}

void spool_reader_close(struct spool_reader *reader)
{
    free(reader);
}

int spool_reader_get(struct spool_reader *reader, uint64_t sequence, struct block_view *view,
                     const struct spool_stream **streams, unsigned *streams_count, char *why)
{
    struct disk *disk = reader->disk;
    int found = 0;
    pthread_mutex_lock(&disk->lock);
    atomic_fetch_add(&disk->reads, 1);
    for (unsigned i = 0; i < disk->blocks && found == 0; i++) {
        *view = disk->block[i].view;
        if (view->first_sequence <= sequence && sequence < view->first_sequence + view->rows)
            found = 1;
        if (view->first_sequence <= sequence && sequence < view->lost_until) {
            view->first_sequence = view->lost_until;
            found = 2;
        }
    }
    if (sequence < disk->oldest) {
        snprintf(why, 256, "event %llu is no longer in the spool", (unsigned long long)sequence);
        found = -ENOENT;
    }
    *streams = disk->stream;
    *streams_count = 2;
    if (disk->broken) {
        snprintf(why, 256, "segment 7 is damaged");
        found = -EBADMSG;
    }
    pthread_mutex_unlock(&disk->lock);
    return found;
}

/* ── Postgres ───────────────────────────────────────────────────────────────────────────────── */

struct postgres_rig {
    char directory[64];
    char conninfo[256];
    PGconn *sql; /* the test's own, never the writer's */
    FILE *undertaker;
};

static struct postgres_rig rig_postgres;

RIG void rig_shell(const char *verb, const char *more, char *out, size_t room)
{
    char command[512];
    snprintf(command, sizeof command, "sh tests/tools/postgres.sh %s %s %s", verb,
             rig_postgres.directory, more);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t length = out != NULL ? fread(out, 1, room - 1, pipe) : 0;
    if (out != NULL)
        out[length] = 0;
    assert_int_equal(pclose(pipe), 0);
}

RIG void rig_server_start(void)
{
    rig_shell("start", "fsync=off autovacuum=off max_connections=40 shared_buffers=32MB",
              rig_postgres.conninfo, sizeof rig_postgres.conninfo);
    rig_postgres.conninfo[strcspn(rig_postgres.conninfo, "\n")] = 0;
    if (rig_postgres.sql != NULL)
        PQfinish(rig_postgres.sql);
    rig_postgres.sql = PQconnectdb(rig_postgres.conninfo);
    assert_int_equal(PQstatus(rig_postgres.sql), CONNECTION_OK);
    PQclear(PQexec(rig_postgres.sql, "set client_min_messages = warning"));
}

/* Removes the server when the pipe from us is closed: at the end, or because we crashed. */
RIG void rig_undertaker(void)
{
    char command[256];
    snprintf(command, sizeof command,
             "exec setsid sh -c 'cat >/dev/null; exec sh tests/tools/postgres.sh remove %s'",
             rig_postgres.directory);
    rig_postgres.undertaker = popen(command, "we");
    assert_non_null(rig_postgres.undertaker);
}

RIG int rig_group_setup(void **state)
{
    (void)state;
    if (getenv("RIG_LOG") == NULL)
        (void)!freopen("/dev/null", "w", stderr);
    for (unsigned i = 0; i < RIG_SHARDS; i++)
        pthread_mutex_init(&rig_disk[i].lock, NULL);
    snprintf(rig_postgres.directory, sizeof rig_postgres.directory, "/tmp/ringmain-writer-XXXXXX");
    assert_non_null(mkdtemp(rig_postgres.directory));
    rig_undertaker();
    rig_server_start();
    return 0;
}

RIG int rig_group_teardown(void **state)
{
    (void)state;
    PQfinish(rig_postgres.sql);
    return pclose(rig_postgres.undertaker);
}

/* One value as text, in a buffer that the next call takes; fails the test on an error. */
RIG const char *rig_sql(const char *sql)
{
    static char value[512];
    PGresult *result = PQexec(rig_postgres.sql, sql);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
        fail_msg("%s: %s", sql, PQresultErrorMessage(result));
    snprintf(value, sizeof value, "%s", PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");
    PQclear(result);
    return value;
}

RIG long rig_number(const char *sql)
{
    return strtol(rig_sql(sql), NULL, 10);
}

/* ── Shards ─────────────────────────────────────────────────────────────────────────────────── */

struct shard_rig {
    struct mail *blocks, *returns;
    struct sleeper sleeper;
    uint64_t next;
    unsigned lent; /* blocks mailed and not yet back */
    unsigned lent_most;
    struct disk *disk;
    uint64_t reads_before;
};

struct rig {
    struct writer_options options;
    struct writer *writer;
    struct shard_rig shard[RIG_SHARDS];
    unsigned shards;
    struct progress progress[RIG_SHARDS];
    struct writer_source source[RIG_SHARDS];
    struct counters *counters;
    struct sleeper sleeper;
    struct streams *streams;
    char conninfo[400];
    size_t body_bytes;
};

RIG struct disk *rig_disk_new(unsigned shard)
{
    struct disk *disk = &rig_disk[shard];
    for (unsigned i = 0; i < disk->blocks; i++)
        free(disk->block[i].bytes);
    disk->blocks = 0;
    disk->oldest = 0;
    disk->broken = false;
    atomic_store(&disk->reads, 0);
    static char name[2][2] = {"t", "u"}, copy_sql[2][96];
    for (unsigned i = 0; i < 2; i++) {
        snprintf(copy_sql[i], sizeof copy_sql[i],
                 "COPY \"%s\" (\"n\"/*bigint*/,\"body\"/*text*/) FROM STDIN (FORMAT binary)",
                 name[i]);
        disk->stream[i] = (struct spool_stream){name[i], name[i], copy_sql[i]};
    }
    return disk;
}

RIG void rig_streams(struct rig *rig)
{
    char why[STREAM_WHY_BYTES];
    rig->streams = streams_open();
    assert_int_equal(streams_add(rig->streams, "t", "t",
                                 "n bigint from data.n, body text from data.body", "t_type", why),
                     0);
    assert_int_equal(streams_add(rig->streams, "u", "u",
                                 "n bigint from data.n, body text from data.body", "u_type", why),
                     0);
}

RIG void rig_shard(struct rig *rig, unsigned index)
{
    struct shard_rig *shard = &rig->shard[index];
    *shard = (struct shard_rig){.blocks = mail_open(RIG_MAIL, sizeof(struct block *)),
                                .returns = mail_open(RIG_BLOCKS, sizeof(struct block *)),
                                .sleeper.doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
                                .disk = rig_disk_new(index)};
    rig->source[index] = (struct writer_source){.shard = index,
                                                .epoch = 77 + index,
                                                .blocks = shard->blocks,
                                                .returns = shard->returns,
                                                .shard_sleeper = &shard->sleeper};
}

/* A writer that is ready to be started; the options
 * may be changed before rig_start(). A fresh schema. */
RIG void rig_init(struct rig *rig, unsigned shards)
{
    static unsigned schemas;
    unsigned schema = ++schemas;
    *rig = (struct rig){.shards = shards, .body_bytes = 20};
    rig_sql("set search_path = public");
    char sql[200];
    snprintf(sql, sizeof sql, "create schema s%u; set search_path = s%u", schema, schema);
    rig_sql(sql);
    snprintf(rig->conninfo, sizeof rig->conninfo, "%s options='-c search_path=s%u'",
             rig_postgres.conninfo, schema);
    rig->counters = aligned_alloc(64, sizeof *rig->counters);
    memset(rig->counters, 0, sizeof *rig->counters);
    rig->sleeper.doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    rig_streams(rig);
    for (unsigned i = 0; i < shards; i++)
        rig_shard(rig, i);
    rig->options = (struct writer_options){.conninfo = rig->conninfo,
                                           .node = "node's \\ name",
                                           .directory = "nowhere",
                                           .create_tables = true,
                                           .batch_rows_max = 50000,
                                           .batch_bytes_max = 8 << 20,
                                           .linger_ms = 10,
                                           .retry_min_ms = 10,
                                           .retry_max_ms = 40,
                                           .hold_retry_ms = 30,
                                           .streams = rig->streams,
                                           .progress = rig->progress,
                                           .counters = rig->counters,
                                           .sleeper = &rig->sleeper,
                                           .source = rig->source,
                                           .sources = shards};
}

RIG void rig_start(struct rig *rig)
{
    char why[256];
    if (writer_open(&rig->writer, &rig->options, why) != 0)
        fail_msg("%s", why);
    assert_int_equal(writer_start(rig->writer, why), 0);
}

/* Takes back what the writer has given back. */
RIG void rig_take_back(struct rig *rig)
{
    for (unsigned i = 0; i < rig->shards; i++) {
        struct block *block;
        while (mail_take(rig->shard[i].returns, &block)) {
            assert_ptr_equal(block->owner, &rig->shard[i]);
            memset((void *)(uintptr_t)block->bytes.at, 0xdd,
                   block->bytes.length); /* its memory is used again */
            free((void *)(uintptr_t)block->bytes.at);
            free(block);
            rig->shard[i].lent--;
        }
    }
}

RIG void rig_stop(struct rig *rig, unsigned ms)
{
    writer_stop(rig->writer, clock_mono_ns() + ms * 1000000ull);
    writer_join(rig->writer);
}

RIG void rig_fini(struct rig *rig)
{
    writer_close(rig->writer);
    rig_take_back(rig);
    for (unsigned i = 0; i < rig->shards; i++) {
        assert_int_equal(rig->shard[i].lent, mail_waiting(rig->shard[i].blocks));
        mail_close(rig->shard[i].blocks);
        mail_close(rig->shard[i].returns);
        close(rig->shard[i].sleeper.doorbell);
        rig_disk_new(i);
    }
    close(rig->sleeper.doorbell);
    streams_close(rig->streams);
    free(rig->counters);
}

/* ── Events ─────────────────────────────────────────────────────────────────────────────────── */

RIG size_t rig_row(const struct rig *rig, uint8_t *at, uint64_t n)
{
    uint8_t *begin = at;
    *at++ = 0, *at++ = 2;
    for (int shift = 24; shift >= 0; shift -= 8)
        *at++ = (uint8_t)(8 >> shift);
    for (int shift = 56; shift >= 0; shift -= 8)
        *at++ = (uint8_t)(n >> shift);
    for (int shift = 24; shift >= 0; shift -= 8)
        *at++ = (uint8_t)(rig->body_bytes >> shift);
    memset(at, 'a' + (int)(n % 26), rig->body_bytes);
    return (size_t)(at - begin) + rig->body_bytes;
}

/* What a block's rows are in: t and u by turns of `turn` rows, or all in t (turn 0). */
RIG uint32_t rig_block(struct rig *rig, unsigned shard, unsigned rows, unsigned turn,
                       uint8_t *bytes)
{
    static uint8_t runs[BLOCK_ROWS_MAX * BLOCK_RUN_BYTES];
    struct block_view view = {.first_sequence = rig->shard[shard].next,
                              .rows = rows,
                              .wall_us = clock_wall_us(),
                              .shard = shard};
    size_t at = BLOCK_HEADER_BYTES;
    for (unsigned i = 0; i < rows;) {
        unsigned many = turn > 0 && turn < rows - i ? turn : rows - i;
        size_t before = at;
        for (unsigned k = 0; k < many; k++, i++)
            at += rig_row(rig, bytes + at, shard * 1000000000ull + view.first_sequence + i);
        struct block_run run = {
            .stream = turn > 0 ? view.runs % 2 : 0, .rows = many, .bytes = (uint32_t)(at - before)};
        block_put_run(runs + view.runs++ * BLOCK_RUN_BYTES, run);
    }
    view.row_bytes = span_of(bytes + BLOCK_HEADER_BYTES, at - BLOCK_HEADER_BYTES);
    memcpy(bytes + at, runs, view.runs * BLOCK_RUN_BYTES);
    view.run_bytes = span_of(bytes + at, view.runs * BLOCK_RUN_BYTES);
    uint32_t length = block_seal(bytes, &view);
    block_place(bytes, 1, 1, view.first_sequence, 0);
    return length;
}

RIG void rig_mail(struct rig *rig, unsigned shard, const uint8_t *bytes, uint32_t length,
                  unsigned rows)
{
    struct block *block = calloc(1, sizeof *block);
    *block = (struct block){.bytes = span_of(memcpy(malloc(length), bytes, length), length),
                            .first_sequence = rig->shard[shard].next,
                            .rows = rows,
                            .durable_ns = clock_mono_ns(),
                            .owner = &rig->shard[shard]};
    rig->shard[shard].lent++;
    if (!mail_post(rig->shard[shard].blocks, &block)) {
        free((void *)(uintptr_t)block->bytes.at);
        free(block);
        rig->shard[shard].lent--;
    }
}

/* A shard takes `rows` events: they are on its disk, durable and (if `mailed`) with the writer. */
RIG void rig_feed_mixed(struct rig *rig, unsigned shard, unsigned rows, unsigned turn, bool mailed)
{
    struct disk *disk = &rig_disk[shard];
    static uint8_t bytes[BLOCK_BYTES_MAX];
    assert_true(disk->blocks < RIG_BLOCKS);
    uint32_t length = rig_block(rig, shard, rows, turn, bytes);
    pthread_mutex_lock(&disk->lock);
    struct disk_block *block = &disk->block[disk->blocks++];
    block->bytes = memcpy(malloc(length), bytes, length);
    assert_int_equal(block_read(span_of(block->bytes, length), true, &block->view), BLOCK_OK);
    pthread_mutex_unlock(&disk->lock);
    atomic_store(&rig->progress[shard].durable, rig->shard[shard].next + rows);
    if (mailed)
        rig_mail(rig, shard, bytes, length, rows);
    rig->shard[shard].next += rows;
    if (rig->shard[shard].lent > rig->shard[shard].lent_most)
        rig->shard[shard].lent_most = rig->shard[shard].lent;
    sleeper_wake(&rig->sleeper);
    rig_take_back(rig);
}

RIG void rig_feed(struct rig *rig, unsigned shard, unsigned rows)
{
    rig_feed_mixed(rig, shard, rows, 0, true);
}

/* ── Waiting and judging ────────────────────────────────────────────────────────────────────── */

RIG bool rig_all_stored(struct rig *rig)
{
    rig_take_back(rig);
    for (unsigned i = 0; i < rig->shards; i++)
        if (atomic_load(&rig->progress[i].stored) < rig->shard[i].next)
            return false;
    return true;
}

#define RIG_UNTIL(condition)                                                                       \
    do {                                                                                           \
        uint64_t rig_deadline = clock_mono_ns() + 20ull * RIG_SECOND;                              \
        while (!(condition)) {                                                                     \
            if (clock_mono_ns() > rig_deadline) {                                                  \
                char rig_why[256];                                                                 \
                int rig_state = (int)writer_state(rig->writer, rig_why);                           \
                fail_msg("never came true: %s (state %d: %s)", #condition, rig_state, rig_why);    \
            }                                                                                      \
            rig_take_back(rig);                                                                    \
            usleep(500);                                                                           \
        }                                                                                          \
    } while (0)

RIG void rig_wait_stored(struct rig *rig)
{
    RIG_UNTIL(rig_all_stored(rig));
}

RIG enum postgres_state rig_state(struct rig *rig)
{
    return writer_state(rig->writer, NULL);
}

/* Every event of every shard is stored once, but for `dead`, which stand in the dead letters … */
RIG void rig_check_once(struct rig *rig, long dead)
{
    long events = 0;
    for (unsigned i = 0; i < rig->shards; i++) {
        char sql[300];
        events += (long)rig->shard[i].next;
        snprintf(sql, sizeof sql,
                 "select next_seq from ringmain_checkpoint where shard = %u and epoch = %u", i,
                 77 + i);
        assert_int_equal(rig_number(sql), rig->shard[i].next);
    }
    assert_int_equal(
        rig_number("select count(*) from (select n from t union all select n from u) x"),
        events - dead);
    assert_int_equal(
        rig_number("select count(distinct n) from (select n from t union all select n from u) x"),
        events - dead);
    assert_int_equal(rig_number("select count(*) from ringmain_dead_letters"), dead);
    assert_int_equal(rig_number("select count(*) from ringmain_dead_letters d join "
                                "(select n from t union all select n from u) x on x.n = d.shard * "
                                "1000000000::bigint + d.seq"),
                     0);
}

/* … in order: where they stand in the table says
 * when they came, as long as one session at a time writes. */
RIG void rig_check_order(void)
{
    const char *order = "select count(*) from (select n - lag(n) over (partition by n / 1000000000 "
                        "order by ctid) as step "
                        "from %s) x where step <= 0";
    for (unsigned i = 0; i < 2; i++) {
        char sql[300];
        snprintf(sql, sizeof sql, order, i == 0 ? "t" : "u");
        assert_int_equal(rig_number(sql), 0);
    }
}

RIG void rig_check(struct rig *rig, long dead)
{
    rig_check_once(rig, dead);
    rig_check_order();
}

#endif
