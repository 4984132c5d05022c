/* SPDX-License-Identifier: Apache-2.0 */
#include "core/config.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A configuration file that is gone after the test, what was complained about, and the result. */
struct fixture {
    char file[64];
    struct config config;
    char *errors;
    int result;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    snprintf(f->file, sizeof f->file, "/tmp/ringmain-config-XXXXXX");
    int file = mkstemp(f->file);
    assert_true(file >= 0);
    close(file);
    *state = f;
    return 0;
}

static void forget(struct fixture *f)
{
    if (f->errors != NULL && f->result == 0)
        config_free(&f->config);
    free(f->errors);
    f->errors = NULL;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    forget(f);
    unlink(f->file);
    free(f);
    return 0;
}

struct sources {
    const char *file;
    const char *const *environment; /* ends in NULL */
    const char *overrides[8];
};

static void write_file(const struct fixture *f, const char *text, size_t length)
{
    FILE *file = fopen(f->file, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, length, file), length);
    fclose(file);
}

static int load(struct fixture *f, struct sources from)
{
    forget(f);
    size_t length;
    unsigned overrides = 0;
    while (overrides < COUNT_OF(from.overrides) && from.overrides[overrides] != NULL)
        overrides++;
    if (from.file != NULL)
        write_file(f, from.file, strlen(from.file));
    memset(&f->config, 0xA5, sizeof f->config);
    FILE *errors = open_memstream(&f->errors, &length);
    assert_non_null(errors);
    f->result =
        config_load(&f->config, from.file != NULL ? f->file : NULL,
                    (char *const *)(uintptr_t)from.environment, from.overrides, overrides, errors);
    fclose(errors);
    return f->result;
}

static void expect_error(struct fixture *f, const char *sentence)
{
    if (strstr(f->errors, sentence) == NULL)
        fail_msg("expected \"%s\" in:\n%s", sentence, f->errors);
}

#define QUIET "[auth]\nrequired = no\n"

static void test_defaults(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(load(f, (struct sources){0}), 0);
    assert_string_equal(f->errors, "warning: auth.required = yes, but there is neither a [key …] "
                                   "nor auth.jwks_file: everybody will be refused\n");
    assert_int_equal(f->config.batch_max_rows, 50000);
    assert_string_equal(f->config.listen_tcp, "0.0.0.0:7070");
    assert_true(f->config.node_pin);
    assert_int_equal(f->config.log_level, 1);
    assert_int_equal(f->config.streams, 0);
}

static void test_file(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(
        load(f, (struct sources){.file = "\xEF\xBB\xBF; comment\n# comment\n\n" QUIET "[batch]\n"
                                         "  max_rows = 77\n"
                                         "  linger_ms: 2s\n"
                                         "max_bytes=16m\r\n"
                                         "[log]\n"
                                         "level = warn\n"
                                         "[postgres]\n"
                                         "conninfo = host=db password=x ;y #z\n"
                                         "[stream orders]\n"
                                         "table = shop.orders\n"
                                         "columns = id text from id\n"
                                         "[stream other]\n"
                                         "columns = id text from id\n"
                                         "[key k-1]\n"
                                         "algorithm = HS256\n"
                                         "secret = hush"}),
        0);
    assert_string_equal(f->errors, "");
    assert_int_equal(f->config.batch_max_rows, 77);
    assert_int_equal(f->config.batch_linger_ms, 2000);
    assert_int_equal(f->config.batch_max_bytes, 16 << 20);
    assert_int_equal(f->config.log_level, 2);
    assert_string_equal(f->config.postgres_conninfo, "host=db password=x ;y #z");
    assert_int_equal(f->config.streams, 2);
    assert_string_equal(f->config.stream[0].name, "orders");
    assert_string_equal(f->config.stream[0].table, "shop.orders");
    assert_null(f->config.stream[1].table);
    assert_int_equal(f->config.keys, 1);
    assert_string_equal(f->config.key[0].kid, "k-1");
    assert_string_equal(f->config.key[0].secret, "hush");
}

static void test_every_fault_is_named(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(load(f, (struct sources){.file = "early = 1\n"
                                                      "[batch]\n"
                                                      "lingerms = 5\n"
                                                      "max_rows = 0\n"
                                                      "just words\n"
                                                      "tcp = 1\n"
                                                      "zebra = 1\n"
                                                      "[bathc]\n"
                                                      "x = 1\n"
                                                      "[nothing like it]\n"
                                                      "x = 1\n"
                                                      "[limits]\n"
                                                      "event_bytes = 1x\n"
                                                      "[node]\n"
                                                      "pin = maybe\n"
                                                      "[log]\n"
                                                      "level = loud\n"
                                                      "[open\n"
                                                      "[log] x\n"
                                                      "[log]\n"
                                                      " = 5\n"}),
                     -EINVAL);
    static const char *const expected[] = {
        ":1: key early stands before any [section]\n",
        ":3: unknown key lingerms in [batch]; did you mean linger_ms?\n",
        ":4: batch.max_rows = 0: must be a number from 1 to 1000000\n",
        ":5: neither [section] nor key = value\n",
        ":6: unknown key tcp in [batch]; it belongs to [listen]\n",
        ":7: unknown key zebra in [batch]\n",
        ":9: unknown section [bathc]; did you mean [batch]?\n",
        ":11: unknown section [nothing like it]; there are node, listen, ",
        ":13: limits.event_bytes = 1x: must be a number of bytes from 256 to 224k (suffixes ",
        ":15: node.pin = maybe: must be yes or no\n",
        ":17: log.level = loud: must be one of debug|info|warn|error\n",
        ":18: a section without its closing bracket\n",
        ":19: something stands behind the section's bracket\n",
        ":21: a value without a key\n",
    };
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        char line[300];
        snprintf(line, sizeof line, "%s%s", f->file, expected[i]);
        expect_error(f, line);
    }
    size_t lines = 0;
    for (const char *at = f->errors; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    assert_int_equal(lines, COUNT_OF(expected));
}

static void test_odd_files(void **state)
{
    struct fixture *f = *state;
    static char text[40000];
    snprintf(text, sizeof text, QUIET "[stream s]\ncolumns = ");
    size_t head = strlen(text);
    memset(text + head, 'c', 15000);
    assert_int_equal(load(f, (struct sources){.file = text}), 0);
    assert_int_equal(strlen(f->config.stream[0].columns), 15000);

    memset(text + head, 'c', 20000);
    assert_int_equal(load(f, (struct sources){.file = text}), -EINVAL);
    expect_error(f, ":4: a line longer than 16384 bytes\n");

    assert_int_equal(
        load(f,
             (struct sources){
                 .file = "[key 0123456789012345678901234567890123456789012345]\nsecret = x\n"}),
        -EINVAL);
    expect_error(f, ":1: a section's name has at most 49 bytes\n");

    assert_int_equal(load(f, (struct sources){.file = "[key]\nsecret = x\n"}), -EINVAL);
    expect_error(f, ":2: section [key] needs a name: [key NAME]\n");

    write_file(f, "[log]\nle\0vel = 1\n", 17);
    forget(f);
    size_t length;
    FILE *errors = open_memstream(&f->errors, &length);
    assert_non_null(errors);
    f->result = config_load(&f->config, f->file, NULL, NULL, 0, errors);
    assert_int_equal(f->result, -EINVAL);
    assert_int_equal(config_load(&f->config, "/nonexistent/x", NULL, NULL, 0, errors), -ENOENT);
    assert_int_equal(config_load(&f->config, "/tmp", NULL, NULL, 0, errors), -EISDIR);
    fclose(errors);
    expect_error(f, ":2: a NUL byte: not a text file\n");
    expect_error(f, "/nonexistent/x: No such file or directory\n");
    expect_error(f, "/tmp: Is a directory\n");
}

/* Of two values in one file nobody knows which was meant. */
static void test_given_twice(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(load(f, (struct sources){.file = "[batch]\nmax_rows = 1\n[log]\nlevel = info\n"
                                                      "[batch]\nmax_rows = 1\n"
                                                      "[stream s]\ncolumns = c\n"
                                                      "[key k]\nsecret = hush\n"
                                                      "[stream s]\ntable = t\ncolumns = c\n"
                                                      "[key k]\nsecret = hush\n",
                                              .overrides = {"batch.max_rows=2"}}),
                     -EINVAL);
    expect_error(f, ":6: batch.max_rows is given twice, first in line 2\n");
    expect_error(f, ":13: columns in [stream s] is given twice\n");
    expect_error(f, ":15: secret in [key k] is given twice\n");
    assert_null(strstr(f->errors, "hush"));
}

static void test_layers(void **state)
{
    struct fixture *f = *state;
    struct sources from = {
        .file = QUIET "[batch]\nmax_rows = 1\nlinger_ms = 1\nmax_bytes = 4k\n",
        .environment = (const char *const[]){"PATH=/bin", "RINGMAIN_BATCH_LINGER_MS=2",
                                             "RINGMAIN_BATCH_MAX_BYTES=8k", NULL},
        .overrides = {"batch.max_bytes=16k", "stream.o.columns=a=b", "stream p.columns=c"},
    };
    assert_int_equal(load(f, from), 0);
    assert_string_equal(f->errors, "");
    assert_int_equal(f->config.batch_max_rows, 1);
    assert_int_equal(f->config.batch_linger_ms, 2);
    assert_int_equal(f->config.batch_max_bytes, 16384);
    assert_string_equal(f->config.stream[0].columns, "a=b");
    assert_string_equal(f->config.stream[1].name, "p");
}

static void test_environment(void **state)
{
    struct fixture *f = *state;
    struct sources from = {
        .environment = (const char *const[]){
            "RINGMAIN_AUTH_REQUIRED=false", "RINGMAIN_POSTGRES_CONNINFO=full",
            "RINGMAIN_POSTGRES=short", "RINGMAIN_HTTP=h", "RINGMAIN_TCP=t", "RINGMAIN_GRPC=g",
            "RINGMAIN_METRICS=m", "RINGMAIN_TOKEN=secret-token", "RINGMAIN_PID=1",
            "RINGMAIN_KEY_WEB_APP_ALGORITHM=HS512", "RINGMAIN_KEY_WEB_APP_SECRET_FILE=/s", NULL}};
    assert_int_equal(load(f, from), 0);
    assert_string_equal(f->errors, "");
    assert_string_equal(f->config.postgres_conninfo, "full");
    assert_int_equal(f->config.keys, 1);
    assert_string_equal(f->config.key[0].kid, "web_app");
    assert_string_equal(f->config.key[0].secret_file, "/s");

    from.environment =
        (const char *const[]){"RINGMAIN_AUTH_REQUIRED=no", "RINGMAIN_POSTGRES=short",
                              "RINGMAIN_BATCH_MAXROWS=1", "RINGMAIN_ZEBRA_X=hidden", NULL};
    assert_int_equal(load(f, from), 0);
    assert_string_equal(f->config.postgres_conninfo, "short");
    assert_string_equal(f->errors,
                        "environment RINGMAIN_BATCH_MAXROWS: warning: no such option; did you mean "
                        "RINGMAIN_BATCH_MAX_ROWS?\n"
                        "environment RINGMAIN_ZEBRA_X: warning: no such option\n");

    from.environment = (const char *const[]){"RINGMAIN_BATCH_MAX_ROWS=many", NULL};
    assert_int_equal(load(f, from), -EINVAL);
    expect_error(f, "environment RINGMAIN_BATCH_MAX_ROWS: batch.max_rows = many: must be");
}

static void test_overrides(void **state)
{
    struct fixture *f = *state;
    static const char *const shapeless[] = {"", "x", "x=1", "hush.hush", "x=a.b"};
    for (size_t i = 0; i < COUNT_OF(shapeless); i++) {
        assert_int_equal(load(f, (struct sources){.overrides = {shapeless[i]}}), -EINVAL);
        assert_string_equal(f->errors,
                            "command line: an option is given as -o section.key=value\n");
    }
    assert_int_equal(load(f, (struct sources){.overrides = {"batch.max_row=hush"}}), -EINVAL);
    assert_string_equal(
        f->errors, "-o batch.max_row: unknown key max_row in [batch]; did you mean max_rows?\n");
}

static void check_unit(struct fixture *f, const char *override, int64_t *value, int64_t expected)
{
    int result = load(f, (struct sources){.overrides = {"auth.required=no", override}});
    if (expected < 0)
        assert_int_equal(result, -EINVAL);
    else
        assert_true(result == 0 && *value == expected);
}

static void test_units(void **state)
{
    struct fixture *f = *state;
    struct config *c = &f->config;
    check_unit(f, "limits.event_bytes=64k", &c->limits_event_bytes, 65536);
    check_unit(f, "limits.event_bytes=64 K", &c->limits_event_bytes, 65536);
    check_unit(f, "limits.event_bytes=300bytes", &c->limits_event_bytes, 300);
    check_unit(f, "limits.event_bytes=225k", &c->limits_event_bytes, -1);
    check_unit(f, "limits.event_bytes=99999999999999t", &c->limits_event_bytes, -1);
    check_unit(f, "limits.event_bytes=64kk", &c->limits_event_bytes, -1);
    check_unit(f, "limits.event_bytes=-1", &c->limits_event_bytes, -1);
    check_unit(f, "limits.event_bytes=1e4", &c->limits_event_bytes, -1);
    check_unit(f, "limits.event_bytes=", &c->limits_event_bytes, -1);
    check_unit(f, "limits.event_bytes=4s", &c->limits_event_bytes, -1);
    check_unit(f, "spool.bytes=16t", &c->spool_bytes, 1ll << 44);
    check_unit(f, "batch.linger_ms=250ms", &c->batch_linger_ms, 250);
    check_unit(f, "batch.linger_ms=2s", &c->batch_linger_ms, 2000);
    check_unit(f, "batch.linger_ms=61s", &c->batch_linger_ms, -1);
    check_unit(f, "batch.linger_ms=1k", &c->batch_linger_ms, -1);
    check_unit(f, "dedup.window_s=90s", &c->dedup_window_s, 90);
    check_unit(f, "dedup.window_s=3000ms", &c->dedup_window_s, 3);
    check_unit(f, "dedup.window_s=3500ms", &c->dedup_window_s, -1);
    check_unit(f, "batch.max_rows=10s", &c->batch_max_rows, -1);
}

static void test_preset(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(load(f, (struct sources){.file = QUIET "[batch]\npreset = small\n"}), 0);
    assert_int_equal(f->config.batch_max_rows, 50);
    assert_int_equal(f->config.batch_linger_ms, 2000);
    /* Given is given, even if it is the default. */
    assert_int_equal(load(f, (struct sources){.file = QUIET "[batch]\nmax_rows = 50000\n",
                                              .overrides = {"batch.preset=small"}}),
                     0);
    assert_int_equal(f->config.batch_max_rows, 50000);
    assert_int_equal(f->config.batch_linger_ms, 2000);
}

static void test_rules_between_options(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(
        load(f, (struct sources){.overrides = {"spool.bytes=128m", "limits.receive_buffers=100",
                                               "listen.tcp=7070", "listen.http=::1:80",
                                               "postgres.retry_max_ms=10",
                                               "limits.connection_memory=1m"}}),
        -EINVAL);
    expect_error(f, "spool.bytes must be at least 4 times spool.segment_bytes");
    expect_error(f, "limits.receive_buffers = 100: must be a power of two");
    expect_error(f, "listen.tcp = 7070: must be an address and a port");
    expect_error(f, "listen.http = ::1:80: must be");
    expect_error(f, "postgres.retry_min_ms must not be above postgres.retry_max_ms");
    expect_error(f, "limits.connection_memory must be at least twice limits.body_bytes");
    assert_int_equal(load(f, (struct sources){.overrides = {"limits.completions=512"}}), -EINVAL);
    expect_error(f, "limits.completions = 512: must be a power of two from 1024, or 0");
    assert_int_equal(load(f, (struct sources){.overrides = {"limits.completions=2048"}}), 0);
    assert_int_equal(load(f, (struct sources){.overrides = {"events.bare_type=log line"}}),
                     -EINVAL);
    expect_error(f, "events.bare_type = log line: allowed: 1 to 64 of");
    assert_int_equal(load(f, (struct sources){.overrides = {"events.bare_type=a.b:C-_9"}}), 0);
    assert_int_equal(load(f, (struct sources){.overrides = {"events.bare_type="}}), 0);
    assert_int_equal(load(f, (struct sources){.overrides = {"listen.tcp=", "listen.http=[::1]:0",
                                                            "listen.metrics=localhost:9464"}}),
                     0);

    assert_int_equal(load(f, (struct sources){.file = "[key a]\nsecret = xyzzy\n"
                                                      "[key b]\nalgorithm = none\n"
                                                      "[key c]\nalgorithm = HS256\n"
                                                      "[key d]\nalgorithm = RS256\nsecret = xyzzy\n"
                                                      "[key e]\nalgorithm = HS256\nsecret = \n"
                                                      "[stream s]\ntable = t\n"}),
                     -EINVAL);
    expect_error(f, "[key a] algorithm must be one of HS256");
    expect_error(f, "[key b] algorithm must be one of HS256");
    expect_error(f, "[key c] needs either a secret or a secret_file for HS256");
    expect_error(f, "[key d] needs a pem_file");
    expect_error(f, "[key d] takes no secret for RS256");
    expect_error(f, "[key e] needs either a secret or a secret_file");
    expect_error(f, "[stream s] needs columns");
    assert_null(strstr(f->errors, "xyzzy"));
}

/* What is printed is read back as the same, and nothing secret is in it. */
static void test_print(void **state)
{
    struct fixture *f = *state;
    struct sources from = {.file = QUIET "[batch]\nmax_rows = 123\npreset = small\n"
                                         "[spool]\nbytes = 9g\n"
                                         "[log]\nformat = json\n"
                                         "[postgres]\nconninfo = host=db user=me\n"
                                         "[stream s]\ncolumns = id text from id\n"
                                         "[key k]\nalgorithm = HS256\nsecret_file = /etc/s\n"};
    assert_int_equal(load(f, from), 0);
    struct config first = f->config;
    f->result = -1; /* kept by `first` */
    char *text, *again;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    assert_non_null(out);
    config_print(&first, out);
    fclose(out);
    assert_int_equal(load(f, (struct sources){.file = text}), 0);
    assert_string_equal(f->errors, "");
    out = open_memstream(&again, &length);
    assert_non_null(out);
    config_print(&f->config, out);
    fclose(out);
    assert_string_equal(text, again);
    assert_int_equal(f->config.spool_bytes, 9ll << 30);
    assert_string_equal(f->config.stream[0].columns, "id text from id");
    config_free(&first);
    free(text);
    free(again);
}

static void test_secrets_stay_secret(void **state)
{
    struct fixture *f = *state;
    static const char *const conninfo[] = {"host=db password=xyzzy", "postgres://me:xyzzy@db/x",
                                           "postgresql://me@db/x?sslPassword=xyzzy"};
    for (size_t i = 0; i < COUNT_OF(conninfo); i++) {
        char override[128], *text;
        size_t length;
        snprintf(override, sizeof override, "postgres.conninfo=%s", conninfo[i]);
        assert_int_equal(load(f, (struct sources){.overrides = {"key.k.algorithm=HS256",
                                                                "key.k.secret=xyzzy", override}}),
                         0);
        FILE *out = open_memstream(&text, &length);
        assert_non_null(out);
        config_print(&f->config, out);
        fclose(out);
        assert_null(strstr(text, "xyzzy"));
        assert_non_null(strstr(text, "; secret = (set, but not shown)"));
        free(text);
    }
    /* Nor in a complaint about a secret in the wrong place. */
    assert_int_equal(load(f, (struct sources){.file = "[key k]\nsecrt = xyzzy\nsecret xyzzy\n"
                                                      "[postgres]\ncninfo = xyzzy\n"
                                                      "conninfo = xyzzy\x01\n"
                                                      "[key l]\nsecret = xyzzy\x01\n"}),
                     -EINVAL);
    expect_error(f, ":2: unknown key secrt in [key k]; did you mean secret?\n");
    expect_error(f, ":3: neither [section] nor key = value\n");
    expect_error(f, ":6: postgres.conninfo must be a text of one line\n");
    assert_null(strstr(f->errors, "xyzzy"));
}

static void test_too_many(void **state)
{
    struct fixture *f = *state;
    static char text[20000];
    size_t at = (size_t)snprintf(text, sizeof text, QUIET);
    for (unsigned i = 0; i < CONFIG_KEYS_MAX + 1; i++)
        at += (size_t)snprintf(text + at, sizeof text - at,
                               "[key k%u]\nalgorithm = HS256\nsecret = s\n", i);
    assert_int_equal(load(f, (struct sources){.file = text}), -EINVAL);
    expect_error(f, ": more than 32 sections [key …]\n");
}

static void test_help(void **state)
{
    (void)state;
    char *text;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    assert_non_null(out);
    config_help(out);
    fclose(out);
    assert_non_null(strstr(text, "  spool.segment_bytes = 64m  (a number of bytes from 1m to 1g "
                                 "(suffixes k, m, g, t))\n"));
    assert_non_null(strstr(text, "  batch.preset = throughput  (one of throughput|small)\n"));
    assert_non_null(strstr(text, "* auth.required = yes  (yes or no)\n"));
    assert_non_null(strstr(text, "  listen.http = 0.0.0.0:8080\n"));
    free(text);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_defaults),
        TEST(test_file),
        TEST(test_every_fault_is_named),
        TEST(test_odd_files),
        TEST(test_given_twice),
        TEST(test_layers),
        TEST(test_environment),
        TEST(test_overrides),
        TEST(test_units),
        TEST(test_preset),
        TEST(test_rules_between_options),
        TEST(test_print),
        TEST(test_secrets_stay_secret),
        TEST(test_too_many),
        cmocka_unit_test(test_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
