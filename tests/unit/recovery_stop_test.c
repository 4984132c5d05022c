/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recovery itself is stopped, at every call that changes something; the next start must find the
 * same events, and what was damaged must be accepted exactly once.
 */
#include "core/must.h"

#include <stdbool.h>

#include "tests/unit/fake_file.c"

#include "tests/unit/spool_kit.c"

#include <sys/wait.h>

enum { COMPLETED = 7, STOPS_MAX = 1000 };

static void copy_file(int from, int to, const char *name)
{
    static uint8_t bytes[KIT_SEGMENT_BYTES];
    int in = openat(from, name, O_RDONLY), out = openat(to, name, O_WRONLY | O_CREAT, 0600);
    assert_true(in >= 0 && out >= 0);
    for (ssize_t got; (got = read(in, bytes, sizeof bytes)) > 0;)
        assert_int_equal(write(out, bytes, (size_t)got), got);
    close(in);
    close(out);
}

static void copy_files(const char *from_path, const char *to_path)
{
    (void)mkdir(to_path, 0700);
    int from = open(from_path, O_RDONLY | O_DIRECTORY), to = open(to_path, O_RDONLY | O_DIRECTORY);
    assert_true(from >= 0 && to >= 0);
    DIR *entries = fdopendir(dup(from));
    const struct dirent *entry;
    while ((entry = readdir(entries)) != NULL)
        if (entry->d_type == DT_REG)
            copy_file(from, to, entry->d_name);
    closedir(entries);
    close(from);
    close(to);
}

/* The same spool in a directory of its own. */
static void kit_copy(struct kit *kit, const struct kit *model)
{
    char from[128], to[128];
    kit_init(kit);
    memcpy(kit->version, model->version, sizeof kit->version);
    kit->options.accept_loss = model->options.accept_loss;
    copy_files(model->path, kit->path);
    (void)snprintf(from, sizeof from, "%s/shard-03", model->path);
    (void)snprintf(to, sizeof to, "%s/shard-03", kit->path);
    copy_files(from, to);
}

/* Recovery up to its `stop`-th change, in a process of its own. Was it done before? */
static bool recover_until(struct kit *kit, long stop)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        fake_file_left = stop;
        _exit(spool_open(&kit->spool, &kit->options, &kit->recovery, kit->why) == 0 ? COMPLETED
                                                                                    : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_not_equal(WEXITSTATUS(status), 1);
    return WEXITSTATUS(status) == COMPLETED;
}

/* Six good blocks of a row each, then two that were in flight: written, the second one torn. */
static void make_crashed(struct kit *kit)
{
    kit_init(kit);
    kit_open(kit);
    for (unsigned i = 0; i < 6; i++) {
        assert_true(kit_append(kit));
        kit_settle(kit);
        kit_take(kit);
    }
    for (unsigned i = 0; i < 2; i++) {
        assert_true(kit_append(kit));
        kit_commit(kit);
        const struct fake_request *request = &kit->ring.request[i];
        assert_true(pwrite(request->file, request->bytes, i == 0 ? request->length : 200,
                           (off_t)request->offset) > 0);
    }
    kit->ring.requests = 0;
    kit_crash(kit);
}

static void damage_third(const struct kit *kit)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/shard-03/0000000000000001.seg", kit->path);
    int file = open(path, O_RDWR);
    assert_true(file >= 0);
    assert_int_equal(pwrite(file, "damage", 6, 2 * SEGMENT_ALIGN + 2 * BLOCK_ALIGN + 140), 6);
    close(file);
}

/* Rows but `lost` (-1: none), each told once; and the spool goes on. */
static void check(struct kit *kit, int lost)
{
    kit_open(kit);
    assert_int_equal(kit->recovery.next, 7);
    assert_int_equal(kit->mark, 7);
    for (int i = 0; i < 8; i++)
        assert_int_equal(kit->told[i], i < 7 && i != lost && i % 5 != 0);
    assert_true(kit_append(kit));
    kit_settle(kit);
    kit_check_disk(kit, 0, lost < 0 ? 8 : (uint64_t)lost);
    kit_check_disk(kit, (uint64_t)(lost + 1), 8);
    kit_close(kit);
}

static void stop_everywhere(struct kit *model, int lost)
{
    bool completed = false;
    for (long stop = 0; !completed; stop++) {
        struct kit kit;
        assert_true(stop < STOPS_MAX);
        kit_copy(&kit, model);
        completed = recover_until(&kit, stop);
        check(&kit, lost);
        kit.options.accept_loss = false;
        kit_open(&kit);
        assert_int_equal(kit.recovery.next, 8);
        assert_string_equal(kit.recovery.loss, "");
        kit_close(&kit);
        kit_fini(&kit);
    }
    kit_fini(model);
}

static void test_stopped_recovery(void **state)
{
    (void)state;
    struct kit model;
    make_crashed(&model);
    stop_everywhere(&model, -1);
}

static void test_stopped_mending(void **state)
{
    (void)state;
    struct kit model;
    make_crashed(&model);
    damage_third(&model);
    model.options.accept_loss = true;
    stop_everywhere(&model, 2);
}

static void test_stopped_first_start(void **state)
{
    (void)state;
    bool completed = false;
    for (long stop = 0; !completed; stop++) {
        struct kit kit;
        kit_init(&kit);
        completed = recover_until(&kit, stop);
        kit_open(&kit);
        assert_int_equal(kit.recovery.next, 0);
        assert_true(kit_append(&kit));
        kit_settle(&kit);
        kit_close(&kit);
        kit_open(&kit);
        assert_int_equal(kit.recovery.next, 1);
        kit_close(&kit);
        kit_fini(&kit);
    }
}

/* A segment was never used. What supersedes it is freed one day, and then it would look as if its
 * events were missing. */
static void test_leftover_that_stays(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    kit_open(&kit);
    assert_true(kit_append(&kit));
    kit_settle(&kit);
    kit_crash(&kit);
    kit_open(&kit);
    kit_crash(&kit);
    fake_file_sticky = true;
    int result = spool_open(&kit.spool, &kit.options, &kit.recovery, kit.why);
    fake_file_sticky = false;
    assert_int_equal(result, -EIO);
    assert_non_null(strstr(kit.why, ".seg can't be removed"));
    kit_open(&kit);
    assert_int_equal(kit.recovery.next, 1);
    kit_close(&kit);
    kit_fini(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stopped_recovery),
        cmocka_unit_test(test_stopped_mending),
        cmocka_unit_test(test_stopped_first_start),
        cmocka_unit_test(test_leftover_that_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
