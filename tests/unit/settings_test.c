/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "core/log.h"
#include "core/settings.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { NOW = 1700000000, SHARDS = 3, ROUNDS = 300 };

static void load(struct config *config, const char *issuer, const char *more)
{
    char text[64];
    snprintf(text, sizeof text, "auth.issuer=%s", issuer);
    const char *options[] = {text, more, "key.k.algorithm=HS256",
                             "key.k.secret=0123456789abcdef0123456789abcdef"};
    assert_int_equal(config_load(config, NULL, NULL, options, COUNT_OF(options), stderr), 0);
}

static struct streams *streams;

static struct settings *open_settings(const char *issuer, const char *more,
                                      const struct settings *before)
{
    struct config config;
    struct settings *settings = NULL;
    char why[SETTINGS_WHY];
    load(&config, issuer, more);
    if (settings_open(&settings, &config, streams, before, NOW, why) != 0)
        fail_msg("%s", why);
    if (before == NULL)
        settings->owns_config = true; /* for this test they are the same in this */
    return settings;
}

/* ── Shards that turn while settings are replaced ───────────────────────────────────────────── */

struct shard {
    struct settings_board *board;
    const struct settings *mine;
    _Atomic bool *stop;
    unsigned long turns, adoptions;
    pthread_t thread;
};

/* Reads all of what it has, so that anything freed too early is seen. */
static void *turn_and_turn(void *context)
{
    struct shard *shard = context;
    while (!atomic_load(shard->stop)) {
        struct settings *present = settings_of(shard->board);
        if (present != shard->mine) {
            shard->mine = present;
            settings_adopt(present);
            shard->adoptions++;
        }
        must(strlen(shard->mine->config.auth_issuer) == 7);
        must(jwt_keys_count(shard->mine->keys) == 1);
        must(cors_allows(shard->mine->cors, SPAN("http://localhost:3000")));
        shard->turns++;
    }
    return NULL;
}

static void what_somebody_uses_is_not_freed(void **state)
{
    (void)state;
    struct settings_board board = {NULL};
    struct shard shard[SHARDS];
    _Atomic bool stop = false;
    settings_publish(&board, open_settings("issue-0", "log.level=info", NULL));
    for (unsigned i = 0; i < SHARDS; i++) {
        shard[i] = (struct shard){.board = &board, .stop = &stop};
        assert_int_equal(pthread_create(&shard[i].thread, NULL, turn_and_turn, &shard[i]), 0);
    }
    for (unsigned round = 1; round <= ROUNDS; round++) {
        struct settings *next = open_settings("issue-x", "log.level=warn", settings_of(&board));
        settings_publish(&board, next);
        bool wait = round % 3 != 0; /* now and then there are several that nobody has reaped */
        while (!settings_reap(next, SHARDS) && wait)
            usleep(10);
    }
    while (!settings_reap(settings_of(&board), SHARDS))
        usleep(10);
    assert_null(settings_of(&board)->former);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < SHARDS; i++) {
        pthread_join(shard[i].thread, NULL);
        assert_true(shard[i].adoptions >= 2 && shard[i].turns > 0);
    }
    settings_close(settings_of(&board));
}

static void until_all_have_adopted_nothing_is_freed(void **state)
{
    (void)state;
    struct settings_board board = {NULL};
    struct settings *first = open_settings("issue-1", "log.level=info", NULL);
    settings_publish(&board, first);
    struct settings *second = open_settings("issue-2", "log.level=info", first);
    settings_publish(&board, second);
    assert_ptr_equal(settings_of(&board), second);
    settings_adopt(second);
    assert_false(settings_reap(second, 2));
    assert_string_equal(second->former->config.auth_issuer, "issue-1");
    settings_adopt(second);
    assert_true(settings_reap(second, 2));
    assert_null(second->former);
    settings_close(second);
}

/* ── What may change, and what may not ──────────────────────────────────────────────────────── */

static unsigned told;
static char told_last[64];

static void tell(const char *section, const char *key)
{
    told++;
    snprintf(told_last, sizeof told_last, "%s.%s", section, key);
}

static void what_can_not_change_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *option, *told;
    } cases[] = {
        {"listen.tcp=0.0.0.0:7777", "listen.tcp"},
        {"node.shards=3", "node.shards"},
        {"spool.direct=no", "spool.direct"},
        {"batch.preset=small", "batch.linger_ms"}, /* the last of three */
        {"stream.s.columns=id text", "stream.…"},
        {"route.r.types=t", NULL},
        {"limits.connections=7", "limits.connections"},
        {"limits.body_bytes=70000", NULL},
        {"auth.required=no", NULL},
        {"auth.audience=you", NULL},
        {"cors.origins=*", NULL},
        {"log.level=debug", NULL},
        {"key.other.algorithm=HS256", NULL},
    };
    for (unsigned i = 0; i < COUNT_OF(cases); i++) {
        struct config running, fresh;
        const char *options[] = {cases[i].option, "key.other.secret=0123456789abcdef0123456789abcd",
                                 "key.other.algorithm=HS256"};
        load(&running, "issue-1", "log.level=info");
        assert_int_equal(config_load(&fresh, NULL, NULL, options, 3, stderr), 0);
        told = 0;
        settings_compare(&running, &fresh, tell);
        if (cases[i].told == NULL) {
            assert_int_equal(told, 0);
        } else {
            assert_true(told > 0);
            assert_string_equal(told_last, cases[i].told);
        }
        config_free(&running);
        config_free(&fresh);
    }
}

static void what_can_not_be_made_leaves_the_configuration_to_its_owner(void **state)
{
    (void)state;
    struct config config;
    struct settings *settings = NULL, *before = open_settings("issue-1", "log.level=info", NULL);
    char why[SETTINGS_WHY];
    load(&config, "issue-2", "auth.jwks_file=/nowhere/at/all");
    assert_int_equal(settings_open(&settings, &config, streams, before, NOW, why), -ENOENT);
    assert_non_null(strstr(why, "/nowhere/at/all"));
    assert_null(settings);
    config_free(&config);
    settings_close(before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_somebody_uses_is_not_freed),
        cmocka_unit_test(until_all_have_adopted_nothing_is_freed),
        cmocka_unit_test(what_can_not_change_is_told),
        cmocka_unit_test(what_can_not_be_made_leaves_the_configuration_to_its_owner),
    };
    char why[STREAM_WHY_BYTES];
    log_setup(LOG_ERROR, LOG_LOGFMT);
    streams = streams_open();
    if (streams == NULL || streams_add_defaults(streams, why) != 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    streams_close(streams);
    return failed;
}
