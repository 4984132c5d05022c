/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limit that ringmain is held against: rows encoded in advance, from memory, by COPY into the
 * same table over one connection, and nothing else.
 *
 *   limit CONNINFO FILE ROWS ROWS_PER_COPY
 *
 * FILE's events are repeated with fresh ids until there are ROWS. Prints
 * {"rows":…,"bytes":…,"seconds":…}: the time from the first COPY statement to the last commit. Each
 * COPY is a transaction of its own.
 */
#include "batch/copy.h"
#include "core/clock.h"
#include "core/send_feed.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

enum { CHUNK = 64 * 1024 };

struct rows {
    struct buf bytes;
    size_t *end; /* where row i ends */
    uint64_t count;
};

static void die(const char *what, const char *why)
{
    fprintf(stderr, "limit: %s: %s\n", what, why);
    exit(1);
}

static void encode(const struct stream *stream, struct send_feed *feed, struct rows *rows)
{
    struct event_rules rules = {.bytes_max = 65536, .bare_type = SPAN("event")};
    struct buf text = {.max = 1 << 20};
    static struct event event;
    static struct refusal refusal;
    for (uint64_t i = 0; i < rows->count; i++) {
        text.length = 0;
        if (!send_feed_put(feed, i, &text))
            die("input", "no memory");
        if (event_parse(buf_span(&text), &rules, &event, &refusal) != EVENT_ACCEPTED)
            die("input", refusal.message);
        uint8_t *out = buf_room(&rows->bytes, copy_row_bytes_max(stream, &event));
        if (out == NULL)
            die("rows", "no memory");
        size_t length = copy_row(stream, &event, event.id, clock_wall_us(), out, &refusal);
        if (length == 0)
            die("row", refusal.message);
        buf_grew(&rows->bytes, length);
        rows->end[i] = rows->bytes.length;
    }
    buf_fini(&text);
}

static void expect(PGconn *connection, PGresult *result, ExecStatusType status)
{
    if (PQresultStatus(result) != status)
        die("Postgres", PQerrorMessage(connection));
    PQclear(result);
}

static void put(PGconn *connection, const void *bytes, size_t length)
{
    if (PQputCopyData(connection, bytes, (int)length) != 1)
        die("COPY", PQerrorMessage(connection));
}

static void copy_batch(PGconn *connection, const char *sql, const uint8_t *at, size_t length)
{
    expect(connection, PQexec(connection, sql), PGRES_COPY_IN);
    put(connection, copy_header, COPY_HEADER_BYTES);
    for (size_t sent = 0; sent < length; sent += CHUNK)
        put(connection, at + sent, length - sent < CHUNK ? length - sent : CHUNK);
    put(connection, copy_trailer, COPY_TRAILER_BYTES);
    if (PQputCopyEnd(connection, NULL) != 1)
        die("COPY", PQerrorMessage(connection));
    expect(connection, PQgetResult(connection), PGRES_COMMAND_OK);
    PQclear(PQgetResult(connection));
}

int main(int count, char **words)
{
    char why[256], sql[STREAM_SQL_BYTES];
    if (count != 5)
        die("usage", "limit CONNINFO FILE ROWS ROWS_PER_COPY");
    struct rows rows = {.count = strtoull(words[3], NULL, 10)};
    uint64_t step = strtoull(words[4], NULL, 10);
    struct streams *streams = streams_open();
    if (streams == NULL || streams_add_defaults(streams, why) != 0)
        die("streams", why);
    const struct stream *stream = streams_find(streams, "events");
    struct send_feed *feed = send_feed_open((const char *const *)&words[2], 1, true, "limit");
    rows.end = malloc(rows.count * sizeof *rows.end);
    buf_init(&rows.bytes, (size_t)1 << 40);
    if (feed == NULL || rows.end == NULL || step == 0 || !stream_copy_sql(stream, sql, sizeof sql))
        die("input", words[2]);
    encode(stream, feed, &rows);
    PGconn *connection = PQconnectdb(words[1]);
    if (PQstatus(connection) != CONNECTION_OK)
        die("Postgres", PQerrorMessage(connection));
    uint64_t started = clock_mono_ns();
    for (uint64_t i = 0; i < rows.count; i += step) {
        uint64_t last = i + step < rows.count ? i + step : rows.count;
        size_t from = i == 0 ? 0 : rows.end[i - 1];
        copy_batch(connection, sql, rows.bytes.at + from, rows.end[last - 1] - from);
    }
    double seconds = (double)(clock_mono_ns() - started) * 1e-9;
    printf("{\"rows\":%llu,\"bytes\":%zu,\"seconds\":%.4f}\n", (unsigned long long)rows.count,
           rows.bytes.length, seconds);
    PQfinish(connection);
    buf_fini(&rows.bytes);
    free(rows.end);
    send_feed_close(feed);
    streams_close(streams);
    return 0;
}
