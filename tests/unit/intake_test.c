/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The intake on a real spool and a real table of ids: what is taken, what is a duplicate, what is
 * refused and why, and where it stops when there is no room.
 */
#include "batch/intake.h"
#include "tests/unit/fake_conn.c"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { MEMORY = 4 << 20 };

struct fixture {
    char directory[64];
    struct streams *streams;
    struct spool *spool;
    struct dedup *dedup;
    struct producers *producers;
    struct intake *intake;
    struct counters counters;
    struct turn turn;
    struct event event[INTAKE_MAX];
    struct verdict verdict[INTAKE_MAX];
    unsigned events;
};

static const uint8_t secret[16] = "0123456789abcdef";

static int set_up(void **state)
{
    char why[512];
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->directory, "/tmp/ringmain-intake-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    f->streams = streams_open();
    assert_int_equal(streams_add_defaults(f->streams, why), 0);
    struct spool_options options = {.directory = f->directory,
                                    .node = "test",
                                    .segment_bytes = 1 << 20,
                                    .bytes_max = 64 << 20,
                                    .memory_bytes = MEMORY,
                                    .in_flight_max = 1,
                                    .streams = f->streams,
                                    .counters = &f->counters,
                                    .ring_owner = RING_OWNER_HOUSE};
    struct spool_recovery recovery = {0};
    if (spool_open(&f->spool, &options, &recovery, why) != 0)
        fail_msg("%s", why);
    f->dedup = dedup_open(4096, 600);
    f->producers = producers_open(16);
    struct intake_options intake = {.shards = 1,
                                    .spool = f->spool,
                                    .dedup = f->dedup,
                                    .dedup_secret = secret,
                                    .streams = f->streams,
                                    .rules = {.bytes_max = 229376, .bare_type = SPAN("event")},
                                    .producers = f->producers};
    f->intake = intake_open(&intake);
    f->turn = (struct turn){.counters = &f->counters, .now_ns = 1, .wall_us = 1700000000000000};
    *state = f;
    return f->intake == NULL;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    char command[128];
    intake_close(f->intake);
    spool_close(f->spool);
    dedup_close(f->dedup);
    producers_close(f->producers);
    streams_close(f->streams);
    snprintf(command, sizeof command, "rm -rf '%s'", f->directory);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static void add(struct fixture *f, const char *text)
{
    struct refusal refusal;
    assert_int_equal(
        event_parse(span_of_string(text), &f->intake->rules, &f->event[f->events++], &refusal),
        EVENT_ACCEPTED);
}

static unsigned give(struct fixture *f, const struct principal *principal,
                     struct producer *producer)
{
    struct source source = {principal, producer, COUNT_EVENTS_RECEIVED_TCP, NULL, {NULL, 0}};
    unsigned events = f->events;
    f->events = 0;
    return f->intake->accept(f->intake, &f->turn, &source, f->event, NULL, events, f->verdict);
}

static void taken_once(void **state)
{
    struct fixture *f = *state;
    add(f, "{\"type\":\"a\",\"id\":\"1\"}");
    add(f, "{\"type\":\"a\",\"id\":\"1\"}");
    add(f, "{\"type\":\"a\",\"id\":\"2\"}");
    add(f, "{\"type\":\"a\"}");
    add(f, "{\"type\":\"a\"}");
    assert_int_equal(give(f, NULL, NULL), 5);
    assert_int_equal(f->verdict[0].code, EVENT_ACCEPTED);
    assert_int_equal(f->verdict[1].code, EVENT_DUPLICATE);
    assert_int_equal(f->verdict[1].ticket.sequence, 0);
    for (unsigned i = 2; i < 5; i++) {
        assert_int_equal(f->verdict[i].code, EVENT_ACCEPTED);
        assert_int_equal(f->verdict[i].ticket.sequence, i - 1);
    }
    assert_int_equal(spool_next(f->spool), 4);
    add(f, "{\"type\":\"b\",\"id\":\"2\"}");
    assert_int_equal(give(f, NULL, NULL), 1);
    assert_int_equal(f->verdict[0].code, EVENT_DUPLICATE);
    assert_int_equal(f->verdict[0].ticket.sequence, 1);
    assert_int_equal(counted(&f->counters, COUNT_EVENTS_ACCEPTED), 4);
    assert_int_equal(counted(&f->counters, COUNT_EVENTS_DUPLICATE), 2);
    assert_int_equal(counted(&f->counters, COUNT_EVENTS_RECEIVED_TCP), 6);
}

static void refused(struct fixture *f, enum event_code code, const char *said)
{
    assert_int_equal(f->verdict[0].code, code);
    assert_int_equal(f->verdict[0].refusal.code, code);
    if (strstr(f->verdict[0].refusal.message, said) == NULL)
        fail_msg("%s", f->verdict[0].refusal.message);
}

/* What does not fit its columns is refused,
 * does not use up a sequence, and its id may come again. */
static void refused_by_columns(void **state)
{
    struct fixture *f = *state;
    add(f, "{\"type\":\"message\",\"id\":\"m\",\"data\":{\"user_id\":\"x\",\"channel_id\":1,"
           "\"content\":\"\"}}");
    add(f, "{\"type\":\"message\",\"id\":\"m\",\"data\":{\"user_id\":1,\"channel_id\":1,"
           "\"content\":\"\"}}");
    assert_int_equal(give(f, NULL, NULL), 2);
    refused(f, EVENT_INVALID_FIELD, "user_id");
    assert_int_equal(f->verdict[1].code, EVENT_ACCEPTED);
    assert_int_equal(f->verdict[1].ticket.sequence, 0);
    assert_int_equal(counted(&f->counters, COUNT_EVENTS_REFUSED_INVALID_FIELD), 1);
}

static void named_stream(void **state)
{
    struct fixture *f = *state;
    const struct stream *cart = streams_find(f->streams, "cart_events");
    struct source source = {.received = COUNT_EVENTS_RECEIVED_WS};
    add(f, "{\"type\":\"page_view\"}");
    assert_int_equal(
        f->intake->accept(f->intake, &f->turn, &source, f->event, &cart, 1, f->verdict), 1);
    refused(f, EVENT_UNSUPPORTED_TYPE, "cart_events");
    f->events = 0;
}

static void the_token_wins(void **state)
{
    struct fixture *f = *state;
    struct principal principal = {.user_id = "u1", .tenant_id = "t1"};
    add(f, "{\"type\":\"a\",\"userId\":\"u2\"}");
    assert_int_equal(give(f, &principal, NULL), 1);
    refused(f, EVENT_FORBIDDEN, "userId");
    add(f, "{\"type\":\"a\",\"tenantId\":\"t1\"}");
    assert_int_equal(give(f, &principal, NULL), 1);
    assert_int_equal(f->verdict[0].code, EVENT_ACCEPTED);
    assert_true(span_is(f->event[0].user_id, "u1")); /* filled in */
    principal.scopes = SCOPE_INGEST_ANY;
    add(f, "{\"type\":\"a\",\"userId\":\"u2\"}");
    assert_int_equal(give(f, &principal, NULL), 1);
    assert_int_equal(f->verdict[0].code, EVENT_ACCEPTED);
    assert_true(span_is(f->event[0].user_id, "u2"));
}

/* Every value counts, taken or not; only the first so many that were judged do. */
static void producers_count(void **state)
{
    struct fixture *f = *state;
    uint64_t resume;
    struct ticket last;
    bool wait;
    struct conn *conn = (struct conn *)(void *)&resume; /* only compared */
    struct producer *producer =
        f->intake->producer_open(f->intake, &f->turn, SPAN("p"), conn, &resume, &last, &wait);
    assert_non_null(producer);
    assert_int_equal(resume, 0);
    assert_false(wait);
    add(f, "{\"type\":\"a\",\"id\":\"1\"}");
    add(f, "{\"type\":\"a\",\"id\":\"1\"}");
    add(f, "{\"type\":\"message\"}");
    assert_int_equal(give(f, NULL, producer), 3);
    assert_true(f->intake->producer_skip(f->intake, producer, 2));
    assert_int_equal(f->intake->producer_block(producer), 1); /* with the row */
    f->intake->producer_close(f->intake, producer, conn);
    assert_ptr_equal(
        f->intake->producer_open(f->intake, &f->turn, SPAN("p"), conn, &resume, &last, &wait),
        producer);
    assert_int_equal(resume, 5);
    assert_false(wait); /* the block says it all */
}

/* What it sent is a duplicate of what another shard has only just taken. */
static void a_count_waits_for_originals(void **state)
{
    struct fixture *f = *state;
    uint64_t resume;
    struct ticket ticket, none;
    bool wait, evicted;
    struct conn *conn = (struct conn *)(void *)&resume; /* only compared */
    struct ticket elsewhere = {.sequence = 9, .shard = 5};
    assert_true(dedup_take(f->dedup, dedup_key(secret, SPAN("x")), elsewhere,
                           (uint32_t)(f->turn.wall_us / 1000000), &none, &evicted));
    struct producer *producer =
        f->intake->producer_open(f->intake, &f->turn, SPAN("p"), conn, &resume, &ticket, &wait);
    assert_non_null(producer);
    add(f, "{\"type\":\"a\",\"id\":\"x\"}");
    add(f, "{\"type\":\"a\",\"id\":\"mine\"}");
    assert_int_equal(give(f, NULL, producer), 2);
    assert_int_equal(f->verdict[0].code, EVENT_DUPLICATE);
    assert_ptr_equal(
        f->intake->producer_open(f->intake, &f->turn, SPAN("p"), conn, &resume, &ticket, &wait),
        producer);
    assert_int_equal(resume, 2);
    assert_true(wait);
    assert_int_equal(ticket.sequence, 9);
    assert_int_equal(ticket.shard, 5);
}

/* With nobody to carry the blocks away it stops,
 * keeps what it has, and has lost or doubled nothing. */
static void no_room(void **state)
{
    struct fixture *f = *state;
    static char text[70000], id[32];
    uint64_t taken = 0;
    unsigned judged;
    memset(text, 'x', sizeof text);
    do {
        for (unsigned i = 0; i < 8; i++) {
            static char line[8][70100];
            snprintf(id, sizeof id, "%llu", (unsigned long long)(taken + i));
            snprintf(line[i], sizeof line[i], "{\"type\":\"a\",\"id\":\"%s\",\"data\":\"%.*s\"}",
                     id, 60000, text);
            add(f, line[i]);
        }
        judged = give(f, NULL, NULL);
        for (unsigned i = 0; i < judged; i++)
            assert_int_equal(f->verdict[i].code, EVENT_ACCEPTED);
        taken += judged;
        assert_true(taken < 1000);
    } while (judged == 8);
    assert_true(taken > 8);
    assert_int_equal(spool_next(f->spool), taken);
    assert_false(f->intake->open(f->intake));
    add(f, "{\"type\":\"a\",\"id\":\"0\"}");
    assert_int_equal(give(f, NULL, NULL), 0);
}

static void too_large_for_a_block(void **state)
{
    struct fixture *f = *state;
    char why[256];
    static char line[200100];
    assert_int_equal(streams_add(f->streams, "wide", "wide", "a jsonb from data, b jsonb from data",
                                 "wide", why),
                     0);
    int length = snprintf(line, sizeof line, "{\"type\":\"wide\",\"data\":\"");
    memset(line + length, 'x', 190000);
    strcpy(line + length + 190000, "\"}");
    add(f, line);
    assert_int_equal(give(f, NULL, NULL), 1);
    refused(f, EVENT_TOO_LARGE, "larger than a spool block");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(taken_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refused_by_columns, set_up, tear_down),
        cmocka_unit_test_setup_teardown(named_stream, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_token_wins, set_up, tear_down),
        cmocka_unit_test_setup_teardown(producers_count, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_count_waits_for_originals, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(too_large_for_a_block, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
