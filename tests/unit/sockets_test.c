/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers by label against a table that is too simple to be wrong; what does not fit is `other`; and
 * the text of the websocket_ families.
 */
#include "metrics/exposition.h"
#include "metrics/labelled.h"
#include "metrics/sockets.h"
#include "tests/unit/unit.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { LABELS = 40, SHARDS = 3, PLACES = 8 };

struct seen {
    uint64_t of[LABELS], other, labels;
};

static void see(void *context, struct span label, uint64_t value)
{
    struct seen *seen = context;
    if (label.at == NULL) {
        seen->other += value;
        return;
    }
    char text[16];
    snprintf(text, sizeof text, "%.*s", SPAN_ARGS(label));
    seen->of[atoi(text)] += value;
    seen->labels++;
}

static struct span name_of(unsigned label, char out[16])
{
    return span_of(out, (size_t)snprintf(out, 16, "%u", label));
}

/* Whatever comes and goes: no label shows more than it has, all together are all there are. */
static void as_the_model_has_it(void **state)
{
    (void)state;
    static unsigned have[LABELS][SHARDS];
    struct labelled *labelled = labelled_open(SHARDS, PLACES, false);
    uint64_t chance = 7, total = 0;
    char text[16];
    for (unsigned step = 0; step < 20000; step++) {
        chance = chance * 6364136223846793005u + 1442695040888963407u;
        unsigned label = (unsigned)(chance >> 33) % LABELS;
        unsigned shard = (unsigned)(chance >> 50) % SHARDS;
        bool more = have[label][shard] == 0 || ((chance >> 60) & 1) != 0;
        if (more)
            labelled_more(labelled, shard, name_of(label, text));
        else
            labelled_less(labelled, shard, name_of(label, text));
        have[label][shard] += more ? 1 : -1u;
        total += more ? 1 : -1ull;
        if (step % 97 != 0)
            continue;
        struct seen seen = {0};
        uint64_t shown = 0;
        labelled_each(labelled, see, &seen);
        for (unsigned i = 0; i < LABELS; i++) {
            shown += seen.of[i];
            assert_true(seen.of[i] <= have[i][0] + have[i][1] + have[i][2]);
        }
        assert_true(seen.labels <= PLACES);
        assert_int_equal(shown + seen.other, total);
    }
    labelled_close(labelled);
}

static void a_place_is_given_back(void **state)
{
    (void)state;
    struct labelled *labelled = labelled_open(2, 2, false);
    struct seen seen = {0};
    labelled_more(labelled, 0, SPAN("1"));
    labelled_more(labelled, 1, SPAN("1"));
    labelled_more(labelled, 0, SPAN("2"));
    labelled_more(labelled, 0, SPAN("3"));
    labelled_each(labelled, see, &seen);
    assert_int_equal(seen.of[1], 2);
    assert_int_equal(seen.of[2], 1);
    assert_int_equal(seen.other, 1);
    labelled_less(labelled, 0, SPAN("1"));
    labelled_more(labelled, 1, SPAN("4")); /* shard 1 still has "1" */
    labelled_less(labelled, 1, SPAN("1"));
    labelled_more(labelled, 1, SPAN("5"));
    labelled_less(labelled, 0, SPAN("3"));
    seen = (struct seen){0};
    labelled_each(labelled, see, &seen);
    assert_int_equal(seen.of[1], 0);
    assert_int_equal(seen.of[5], 1);
    assert_int_equal(seen.other, 1); /* "4" */
    labelled_close(labelled);
}

static void a_counter_keeps_its_labels(void **state)
{
    (void)state;
    struct labelled *labelled = labelled_open(1, 2, true);
    struct seen seen = {0};
    for (unsigned i = 0; i < 10; i++)
        for (unsigned label = 1; label < 5; label++) {
            char text[16];
            labelled_more(labelled, 0, name_of(label, text));
        }
    labelled_each(labelled, see, &seen);
    assert_int_equal(seen.of[1], 10);
    assert_int_equal(seen.of[2], 10);
    assert_int_equal(seen.other, 20);
    labelled_close(labelled);
}

static void a_label_that_changed_meanwhile(void **state)
{
    (void)state;
    struct labelled *labelled = labelled_open(1, 2, false);
    struct seen seen = {0};
    unsigned place = labelled_enter(labelled, 0, SPAN("1"));
    labelled_exit(labelled, 0, place);
    labelled_each(labelled, see, &seen);
    assert_int_equal(seen.labels, 0);
    labelled_close(labelled);
}

static void *come_and_go(void *context)
{
    struct labelled *labelled = context;
    char text[16];
    static _Atomic unsigned next;
    unsigned shard = next++;
    for (unsigned i = 0; i < 20000; i++) {
        labelled_more(labelled, shard, name_of(i % LABELS, text));
        if (i >= 3)
            labelled_less(labelled, shard, name_of((i - 3) % LABELS, text));
    }
    for (unsigned i = 19997; i < 20000; i++)
        labelled_less(labelled, shard, name_of(i % LABELS, text));
    return NULL;
}

static void shards_beside_the_stage(void **state)
{
    (void)state;
    struct labelled *labelled = labelled_open(2, PLACES, false);
    pthread_t thread[2];
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, come_and_go, labelled), 0);
    for (unsigned i = 0; i < 200; i++) {
        struct seen seen = {0};
        labelled_each(labelled, see, &seen);
        assert_true(seen.labels <= PLACES);
    }
    for (unsigned i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    struct seen seen = {0};
    labelled_each(labelled, see, &seen);
    assert_int_equal(seen.labels, 0);
    assert_int_equal(seen.other, 0);
    labelled_close(labelled);
}

static void the_families(void **state)
{
    (void)state;
    struct sockets *sockets = sockets_open(2, 100);
    struct exposition exposition;
    unsigned acme = sockets_opened(sockets, 0, SPAN("acme"));
    unsigned nobody = sockets_opened(sockets, 1, SPAN(""));
    assert_true(sockets_opened(sockets, 1, SPAN("acme")) > 0);
    sockets_closed(sockets, 0, acme, 5000000000);
    sockets_closed(sockets, 1, nobody, 4000000000000);
    sockets_joined(sockets, 0, SPAN("lobby"));
    sockets_joined(sockets, 1, SPAN("lobby"));
    sockets_joined(sockets, 1, SPAN("user:7"));
    sockets_joined(sockets, 1, SPAN("tenant:7"));
    sockets_joined(sockets, 1, SPAN("*"));
    sockets_message(sockets, 0, SPAN("send_message"), SPAN("acme"));
    sockets_message(sockets, 1, SPAN("send_message"), SPAN("acme"));
    sockets_message(sockets, 1, SPAN("send_message"), SPAN(""));
    exposition_init(&exposition, false);
    sockets_expose(sockets, &exposition);
    assert_true(exposition.fits && buf_put(&exposition.out, "", 1));
    const char *text = (const char *)exposition.out.at;
    static const char *const lines[] = {
        "# TYPE websocket_connections_total gauge\nwebsocket_connections_total{tenant_id=\"acme\"} "
        "1\n# ",
        "\nwebsocket_messages_total{type=\"send_message\",tenant_id=\"acme\"} 2\n",
        "\nwebsocket_messages_total{type=\"send_message\",tenant_id=\"unknown\"} 1\n",
        "_bucket{le=\"1\"} 0\n",
        "_bucket{le=\"5\"} 1\n",
        "_bucket{le=\"3600\"} 1\n",
        "_bucket{le=\"+Inf\"} 2\nwebsocket_connection_duration_seconds_sum 4005\n"
        "websocket_connection_duration_seconds_count 2\n",
        "# TYPE websocket_room_connections gauge\nwebsocket_room_connections{room_id=\"lobby\"} "
        "2\n"};
    for (unsigned i = 0; i < COUNT_OF(lines); i++)
        if (strstr(text, lines[i]) == NULL)
            fail_msg("missing: %s\nin:\n%s", lines[i], text);
    assert_null(strstr(text, "user:7"));
    exposition_fini(&exposition);
    sockets_close(sockets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_the_model_has_it),
        cmocka_unit_test(a_place_is_given_back),
        cmocka_unit_test(a_counter_keeps_its_labels),
        cmocka_unit_test(a_label_that_changed_meanwhile),
        cmocka_unit_test(shards_beside_the_stage),
        cmocka_unit_test(the_families),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
