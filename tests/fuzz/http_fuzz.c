/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever a client sends, what it is answered and what handlers and the intake see must be the
 * same whether it comes whole or in pieces. The first byte is the size of the pieces.
 */
#include "proto/http_ingest.h"
#include "proto/http_messages.h"
#include "tests/unit/fake_conn.c"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

unsigned shard_index(const struct shard *shard)
{
    (void)shard;
    return 0;
}

static void handle_get(void *context, struct turn *turn, struct http_request *request)
{
    struct buf *log = context;
    char argument[64] = "", query[64] = "";
    struct http_response response = {.status = 200, .body = SPAN("{}")};
    bool good = http_argument(request, argument, sizeof argument);
    bool asked = http_query(request, "q", query, sizeof query);
    must(buf_print(log, "%d%s %d%s", good, argument, asked, query));
    http_respond(request, turn, &response, NULL);
}

static void handle_echo(void *context, struct turn *turn, struct http_request *request)
{
    (void)context;
    struct http_response response = {.status = 200,
                                     .body = span_of(request->body, request->body_length)};
    http_respond(request, turn, &response, NULL);
    if (request->body_length > 0)
        memset(request->body, '!', request->body_length);
}

/* Takes everything; the log is where the intake's `streams` would be of no use. */
struct logged_intake {
    struct intake api;
    struct buf *log;
    uint64_t next;
};

static unsigned accept_events(struct intake *intake, struct turn *turn, const struct source *source,
                              struct event *events, const struct stream *const *streams,
                              unsigned count_, struct verdict *verdicts)
{
    struct logged_intake *self = (struct logged_intake *)(void *)intake;
    (void)turn;
    (void)source;
    (void)streams;
    for (unsigned i = 0; i < count_; i++) {
        uint8_t *data = malloc(event_data_bytes_max(&events[i]) + 1);
        must(buf_put(self->log, events[i].type.at, events[i].type.length) &&
             buf_put(self->log, data, event_put_data(&events[i], data)));
        free(data);
        verdicts[i] = (struct verdict){.code = EVENT_ACCEPTED, .ticket = {self->next++, 0}};
    }
    return count_;
}

static bool is_open(const struct intake *intake)
{
    (void)intake;
    return true;
}

struct outcome {
    struct buf log, sent;
    bool finished;
};

static struct outcome play(const uint8_t *bytes, size_t length, size_t piece,
                           const struct streams *streams)
{
    static struct conn conn;
    static struct counters counters;
    static struct http_ingest ingest;
    struct outcome outcome = {.log = {.max = 1 << 24}};
    struct turn turn = {.counters = &counters, .now_ns = 1000};
    struct logged_intake intake = {
        .api = {.accept = accept_events,
                .open = is_open,
                .streams = streams,
                .rules = {.bytes_max = 500}},
        .log = &outcome.log,
    };
    struct http_messages messages = {&intake.api};
    ingest.intake = &intake.api;
    const struct http_route routes[] = {
        {.method = "GET", .path = "/a/{b}/c", .context = &outcome.log, .handle = handle_get},
        {.method = "GET", .path = "/", .context = &outcome.log, .handle = handle_get},
        {.method = "POST", .path = "/echo", .handle = handle_echo},
        {.method = "POST",
         .path = "/messages",
         .context = &messages,
         .handle = http_messages_handle},
        {.method = "POST",
         .path = "/events",
         .context = &ingest,
         .state_bytes = http_ingest_state_bytes(),
         .feed = http_ingest_feed,
         .cut = http_ingest_cut,
         .forget = http_ingest_forget},
    };
    const struct http_house house = {
        .routes = routes, .routes_count = COUNT_OF(routes), .body_bytes = 2000, .idle_ns = 1000};
    fake_init(&conn);
    conn.wire = http_open(&conn, &turn, &house);
    must(conn.wire != NULL);
    for (size_t at = 0; at < length; at += piece)
        fake_receive(&conn, &turn, bytes + at, length - at < piece ? length - at : piece);
    while (conn.holds > 0) {
        fake_release(&conn, &turn, conn.holds);
        fake_receive(&conn, &turn, "", 0);
    }
    outcome.finished = conn.finished;
    outcome.sent = conn.sent;
    conn.sent = (struct buf){0};
    fake_fini(&conn, &turn);
    return outcome;
}

/* 100 Continue is sent, or not, by what has already arrived. */
static bool expects(const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i + 6 <= length; i++)
        if (http_same((struct span){bytes + i, 6}, SPAN("expect")))
            return true;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    if (length < 2 || length > 16000)
        return 0;
    char why[256];
    struct streams *streams = streams_open();
    must(streams != NULL && streams_add_defaults(streams, why) == 0);
    size_t piece = bytes[0] == 0 ? 1 : bytes[0];
    struct outcome whole = play(bytes + 1, length - 1, length, streams);
    struct outcome pieces = play(bytes + 1, length - 1, piece, streams);
    if (!expects(bytes, length)) {
        must(whole.finished == pieces.finished);
        must(span_equal(buf_span(&whole.sent), buf_span(&pieces.sent)));
        must(span_equal(buf_span(&whole.log), buf_span(&pieces.log)));
    }
    struct buf *all[] = {&whole.sent, &whole.log, &pieces.sent, &pieces.log};
    for (size_t i = 0; i < COUNT_OF(all); i++)
        free(all[i]->at);
    streams_close(streams);
    return 0;
}
