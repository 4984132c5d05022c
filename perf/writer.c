/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer against its limit: the same rows, already encoded,
 * by one plain COPY from memory, one connection each.
 *
 *   writer "$(sh tests/tools/postgres.sh start DIR fsync=off)" [rows] [rows a batch]
 *
 * A feeder plays one shard that always has a full block ready. Table,
 * rows and server are the same for both; they take turns, and the median
 * of the rounds counts. CPU is that of this process without the feeder's.
 */
#include "batch/writer.h"
#include "batch/big_endian.h"
#include "batch/block.h"
#include "batch/copy.h"
#include "batch/little.h"
#include "core/clock.h"
#include "core/log.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { BLOCKS = 128, MAIL = 256, ROUNDS = 5, DATA_BYTES = 150, COLUMNS = 10 };

/* Nothing is ever read back here: the feeder leaves no gap. */
int spool_reader_open(struct spool_reader **out, const char *directory, unsigned shard, char *why)
{
    (void)out, (void)directory, (void)shard;
    snprintf(why, 256, "there is no spool");
    return -1;
}

void spool_reader_close(struct spool_reader *reader)
{
    (void)reader;
}

int spool_reader_get(struct spool_reader *reader, uint64_t sequence, struct block_view *view,
                     const struct spool_stream **streams, unsigned *count, char *why)
{
    (void)reader, (void)sequence, (void)view, (void)streams, (void)count, (void)why;
    return -1;
}

/* ── Rows ───────────────────────────────────────────────────────────────────────────────────── */

static uint8_t *put_text(uint8_t *at, const char *text)
{
    uint32_t length = (uint32_t)strlen(text);
    *at++ = (uint8_t)(length >> 24), *at++ = (uint8_t)(length >> 16);
    *at++ = (uint8_t)(length >> 8), *at++ = (uint8_t)length;
    memcpy(at, text, length);
    return at + length;
}

static uint8_t *put_time(uint8_t *at, uint64_t us)
{
    *at++ = 0, *at++ = 0, *at++ = 0, *at++ = 8;
    for (int shift = 56; shift >= 0; shift -= 8)
        *at++ = (uint8_t)(us >> shift);
    return at;
}

/* A row of the stream `events`: about 200 bytes of event, most of it JSON. */
static size_t put_row(uint8_t *at, unsigned n)
{
    uint8_t *begin = at;
    char id[40], data[DATA_BYTES + 2];
    snprintf(id, sizeof id, "01890000-0000-7000-8000-%012u", n);
    int length =
        snprintf(data, sizeof data,
                 "\1{\"n\":%u,\"path\":\"/shop/cart\",\"price\":%u.95,\"agent\":\"", n, n % 1000);
    memset(data + length, 'x', (size_t)(DATA_BYTES - length - 2));
    memcpy(data + DATA_BYTES - 2, "\"}", 3);
    *at++ = 0, *at++ = COLUMNS;
    at = put_text(at, id);
    at = put_text(at, "page_view");
    at = put_text(at, "tenant-7");
    at = put_text(at, "user-1234567");
    for (unsigned i = 0; i < 3; i++, at += 4)
        memset(at, 0xff, 4);
    at = put_time(at, 800000000000000u + n);
    at = put_time(at, 800000000000000u + n);
    return (size_t)(put_text(at, data) - begin);
}

static uint32_t fill_block(uint8_t *bytes, uint32_t *rows)
{
    struct block_view view = {.runs = 1};
    size_t at = BLOCK_HEADER_BYTES;
    while (at + 512 < BLOCK_BYTES_MAX)
        at += put_row(bytes + at, view.rows++);
    view.row_bytes = span_of(bytes + BLOCK_HEADER_BYTES, at - BLOCK_HEADER_BYTES);
    block_put_run(bytes + at,
                  (struct block_run){.rows = view.rows, .bytes = (uint32_t)view.row_bytes.length});
    view.run_bytes = span_of(bytes + at, BLOCK_RUN_BYTES);
    *rows = view.rows;
    return block_seal(bytes, &view);
}

/* ── Both sides ─────────────────────────────────────────────────────────────────────────────── */

struct bench {
    const char *conninfo;
    PGconn *sql;
    uint64_t rows;
    unsigned batch_rows;
    struct streams *streams;
    struct block block[BLOCKS];
    double plain[ROUNDS], writer[ROUNDS], cpu_ns[ROUNDS];
};

static void run_sql(struct bench *bench, const char *sql)
{
    PGresult *result = PQexec(bench->sql, sql);
    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK &&
        PQresultStatus(result) != PGRES_COPY_IN) {
        fprintf(stderr, "%s: %s", sql, PQresultErrorMessage(result));
        exit(1);
    }
    PQclear(result);
}

static uint64_t cpu_ns(clockid_t clock)
{
    struct timespec now;
    must(clock_gettime(clock, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static double plain_copy(struct bench *bench)
{
    char copy_sql[1024];
    must(stream_copy_sql(streams_at(bench->streams, 0), copy_sql, sizeof copy_sql));
    uint64_t begin = clock_mono_ns(), rows = 0;
    run_sql(bench, copy_sql);
    must(PQputCopyData(bench->sql, (const char *)copy_header, COPY_HEADER_BYTES) == 1);
    for (unsigned i = 0; rows < bench->rows; i = (i + 1) % BLOCKS) {
        struct block_view view;
        must(block_read(bench->block[i].bytes, true, &view) == BLOCK_OK);
        must(PQputCopyData(bench->sql, (const char *)view.row_bytes.at,
                           (int)view.row_bytes.length) == 1);
        rows += view.rows;
    }
    must(PQputCopyData(bench->sql, (const char *)copy_trailer, COPY_TRAILER_BYTES) == 1);
    must(PQputCopyEnd(bench->sql, NULL) == 1);
    PGresult *result;
    while ((result = PQgetResult(bench->sql)) != NULL) {
        must(PQresultStatus(result) == PGRES_COMMAND_OK);
        PQclear(result);
    }
    return (double)rows * 1e9 / (double)(clock_mono_ns() - begin);
}

struct feeder {
    struct mail *blocks, *returns;
    struct sleeper sleeper;
    struct progress progress;
    struct block *idle[BLOCKS];
    unsigned idles;
    uint64_t next;
};

static void feed(struct feeder *feeder, struct sleeper *writer, uint64_t rows)
{
    struct block *block;
    while (mail_take(feeder->returns, &block))
        feeder->idle[feeder->idles++] = block;
    while (feeder->idles > 0 && feeder->next < rows) {
        block = feeder->idle[--feeder->idles];
        little_put64((uint8_t *)(uintptr_t)block->bytes.at + 16, feeder->next);
        block_place((uint8_t *)(uintptr_t)block->bytes.at, 1, 1, feeder->next, 0);
        block->first_sequence = feeder->next;
        block->durable_ns = clock_mono_ns();
        must(mail_post(feeder->blocks, &block));
        feeder->next += block->rows;
        atomic_store(&feeder->progress.durable, feeder->next);
    }
    sleeper_wake(writer);
}

static void by_writer(struct bench *bench, unsigned round)
{
    static struct counters counters;
    struct feeder feeder = {.blocks = mail_open(MAIL, sizeof(void *)),
                            .returns = mail_open(MAIL, sizeof(void *)),
                            .sleeper.doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    for (unsigned i = 0; i < BLOCKS; i++)
        feeder.idle[feeder.idles++] = &bench->block[i];
    struct sleeper sleeper = {.doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    struct writer_source source = {.epoch = (uint64_t)clock_mono_ns(),
                                   .blocks = feeder.blocks,
                                   .returns = feeder.returns,
                                   .shard_sleeper = &feeder.sleeper};
    struct writer_options options = {.conninfo = bench->conninfo,
                                     .node = "bench",
                                     .directory = "",
                                     .create_tables = true,
                                     .batch_rows_max = bench->batch_rows,
                                     .batch_bytes_max = 32 << 20,
                                     .linger_ms = 50,
                                     .retry_min_ms = 50,
                                     .retry_max_ms = 50,
                                     .hold_retry_ms = 1000,
                                     .streams = bench->streams,
                                     .progress = &feeder.progress,
                                     .counters = &counters,
                                     .sleeper = &sleeper,
                                     .source = &source,
                                     .sources = 1};
    struct writer *writer;
    char why[256];
    must(writer_open(&writer, &options, why) == 0 && writer_start(writer, why) == 0);
    while (writer_state(writer, NULL) != POSTGRES_UP)
        usleep(100);
    uint64_t begin = clock_mono_ns();
    uint64_t cpu = cpu_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_ns(CLOCK_THREAD_CPUTIME_ID);
    while (atomic_load(&feeder.progress.stored) < bench->rows) {
        feed(&feeder, &sleeper, bench->rows);
        usleep(1000);
    }
    bench->writer[round] = (double)feeder.next * 1e9 / (double)(clock_mono_ns() - begin);
    bench->cpu_ns[round] =
        (double)(cpu_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_ns(CLOCK_THREAD_CPUTIME_ID) - cpu) /
        (double)feeder.next;
    writer_stop(writer, clock_mono_ns() + 1000000000u);
    writer_join(writer);
    writer_close(writer);
    mail_close(feeder.blocks);
    mail_close(feeder.returns);
    close(feeder.sleeper.doorbell);
    close(sleeper.doorbell);
}

static int by_size(const void *a, const void *b)
{
    return *(const double *)a < *(const double *)b ? -1 : 1;
}

static double median(double *values)
{
    qsort(values, ROUNDS, sizeof *values, by_size);
    return values[ROUNDS / 2];
}

static void prepare(struct bench *bench)
{
    char why[STREAM_WHY_BYTES], create_sql[8192];
    bench->streams = streams_open();
    must(streams_add_defaults(bench->streams, why) == 0);
    must(stream_create_sql(streams_at(bench->streams, 0), create_sql, sizeof create_sql));
    run_sql(bench, create_sql);
    for (unsigned i = 0; i < BLOCKS; i++) {
        uint8_t *bytes = aligned_alloc(4096, BLOCK_BYTES_MAX);
        uint32_t length = fill_block(bytes, &bench->block[i].rows);
        block_place(bytes, 1, 1, 0, 0);
        bench->block[i].bytes = span_of(bytes, length);
    }
}

int main(int count, char **word)
{
    if (count < 2) {
        fprintf(stderr, "usage: writer CONNINFO [rows] [rows a batch]\n");
        return 2;
    }
    static struct bench bench;
    bench.conninfo = word[1];
    bench.rows = count > 2 ? strtoull(word[2], NULL, 10) : 1000000;
    bench.batch_rows = count > 3 ? (unsigned)strtoul(word[3], NULL, 10) : 50000;
    log_setup(LOG_WARN, LOG_LOGFMT);
    bench.sql = PQconnectdb(bench.conninfo);
    prepare(&bench);
    for (unsigned i = 0; i < ROUNDS; i++) {
        run_sql(&bench, "truncate events; ");
        run_sql(&bench, "checkpoint");
        bench.plain[i] = plain_copy(&bench);
        run_sql(&bench, "truncate events; ");
        run_sql(&bench, "checkpoint");
        by_writer(&bench, i);
        printf("round %u: plain COPY %.0f rows/s, writer %.0f rows/s, %.1f ns CPU a row\n", i,
               bench.plain[i], bench.writer[i], bench.cpu_ns[i]);
    }
    printf("writer / plain COPY = %.3f, %.1f ns of the writer's CPU a row of %zu bytes\n",
           median(bench.writer) / median(bench.plain), median(bench.cpu_ns),
           bench.block[0].bytes.length / bench.block[0].rows);
    PQfinish(bench.sql);
    return 0;
}
