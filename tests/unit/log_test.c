/* SPDX-License-Identifier: Apache-2.0 */
#include "core/log.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CAPTURE_MAX = 65536 };

/* What `speak` writes to standard error. */
static void capture(void (*speak)(void), char *out)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    int kept = dup(STDERR_FILENO);
    assert_true(kept >= 0 && dup2(fileno(file), STDERR_FILENO) >= 0);
    speak();
    assert_true(dup2(kept, STDERR_FILENO) >= 0);
    close(kept);
    rewind(file);
    out[fread(out, 1, CAPTURE_MAX - 1, file)] = '\0';
    fclose(file);
}

static void speak_once(void)
{
    errno = ENOENT;
    log_warn("spool", "cannot open \"%s\": %m\n", "a\xFF");
    assert_int_equal(errno, ENOENT);
    log_debug("spool", "not written");
}

static void test_logfmt(void **state)
{
    (void)state;
    static char out[CAPTURE_MAX];
    log_setup(LOG_INFO, LOG_LOGFMT);
    capture(speak_once, out);
    assert_memory_equal(out, "time=20", 7);
    assert_int_equal(out[5 + 26], 'Z');
    assert_string_equal(out + 5 + 27,
                        " level=warn room=spool message=\"cannot open \\\"a\xEF\xBF\xBD\\\": "
                        "No such file or directory\\n\"\n");
}

static void test_json(void **state)
{
    (void)state;
    static char out[CAPTURE_MAX];
    log_setup(LOG_INFO, LOG_JSON);
    capture(speak_once, out);
    assert_memory_equal(out, "{\"time\":\"20", 11);
    assert_string_equal(out + 9 + 28,
                        ",\"level\":\"warn\",\"room\":\"spool\",\"message\":\"cannot open "
                        "\\\"a\xEF\xBF\xBD\\\": No such file or directory\\n\"}\n");
}

static void speak_much(void)
{
    static struct log_site site; /* in a second that is over it was called 25 times */
    site.second = UINT64_MAX;
    site.lines = 25;
    for (int i = 0; i < 5; i++)
        log_line(&site, LOG_INFO, "ws", "line %d", i);
    site.lines = LOG_BURST; /* and now it has said enough */
    for (int i = 5; i < 100; i++)
        log_line(&site, LOG_INFO, "ws", "line %d", i);
}

static void test_cut_off(void **state)
{
    (void)state;
    static char out[CAPTURE_MAX];
    log_setup(LOG_INFO, LOG_LOGFMT);
    capture(speak_much, out);
    const char *first = strchr(out, '\n');
    assert_non_null(first);
    assert_non_null(strstr(out, "\"line 0\" swallowed=15\n"));
    assert_null(strstr(first, "swallowed=15"));
    assert_non_null(strstr(out, "\"line 4\"\n"));
    /* Were the second to turn just then, one more would be let through. */
    unsigned lines = 0;
    for (const char *at = out; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    assert_in_range(lines, 5, 5 + LOG_BURST);
}

static void speak_long(void)
{
    char *text = calloc(1, 10000);
    assert_non_null(text);
    memset(text, '\x01', 9999);
    log_error("core", "%s", text);
    free(text);
}

static void test_long(void **state)
{
    (void)state;
    static char out[CAPTURE_MAX];
    log_setup(LOG_INFO, LOG_LOGFMT);
    capture(speak_long, out);
    assert_in_range(strlen(out), 2047 * 6, 2047 * 6 + 100);
    assert_string_equal(out + strlen(out) - 8, "\\u0001\"\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logfmt),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
