/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct place {
    char path[32];
    int directory;
};

static int place_make(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    strcpy(place->path, "/tmp/ringmain-file-XXXXXX");
    assert_non_null(mkdtemp(place->path));
    place->directory = file_open(AT_FDCWD, place->path, O_RDONLY | O_DIRECTORY, 0);
    assert_true(place->directory >= 0);
    *state = place;
    return 0;
}

static int place_clear(void **state)
{
    struct place *place = *state;
    file_close(place->directory);
    assert_int_equal(rmdir(place->path), 0);
    free(place);
    return 0;
}

static void test_write_and_read(void **state)
{
    const struct place *place = *state;
    char bytes[8] = "";
    int file = file_open(place->directory, "a", O_RDWR | O_CREAT, 0600);
    assert_true(file >= 0);
    assert_int_equal(file_length(file), 0);
    assert_int_equal(file_write(file, "hello", 5, 10), 0);
    assert_int_equal(file_length(file), 15);
    assert_int_equal(file_sync(file), 0);
    file_read_ahead(file);
    assert_int_equal(file_read(file, bytes, sizeof bytes, 9), 6); /* as much as there is */
    assert_memory_equal(bytes, "\0hello", 6);
    assert_int_equal(file_read(file, bytes, sizeof bytes, 15), 0);
    file_close(file);
    assert_int_equal(file_remove(place->directory, "a"), 0);
    assert_int_equal(file_remove(place->directory, "a"), -ENOENT);
    assert_int_equal(file_open(place->directory, "a", O_RDONLY, 0), -ENOENT);
}

static void test_errors_are_values(void **state)
{
    const struct place *place = *state;
    char byte;
    int file = file_open(place->directory, "a", O_RDONLY | O_CREAT, 0600);
    assert_int_equal(file_write(file, "x", 1, 0), -EBADF);
    file_close(file);
    assert_int_equal(file_read(-1, &byte, 1, 0), -EBADF);
    assert_int_equal(file_sync(-1), -EBADF);
    assert_int_equal(file_length(-1), -EBADF);
    assert_int_equal(file_space(-1), -EBADF);
    assert_int_equal(file_make_directory(place->directory, "a", 0700), -ENOTDIR);
    assert_int_equal(file_make_directory(place->directory, "b/c", 0700), -ENOENT);
    assert_int_equal(file_remove(place->directory, "a"), 0);
    assert_true(file_space(place->directory) > 0);
}

static void test_names(void **state)
{
    const struct place *place = *state;
    char path[64];
    assert_int_equal(file_make_directory(place->directory, "d", 0700), 0);
    assert_int_equal(file_make_directory(place->directory, "d", 0700), 0);
    file_close(file_open(place->directory, "a", O_RDWR | O_CREAT, 0600));
    assert_int_equal(file_rename(place->directory, "a", "b"), 0);
    assert_int_equal(file_rename(place->directory, "a", "b"), -ENOENT);
    assert_int_equal(file_sync(place->directory), 0);
    assert_int_equal(file_remove(place->directory, "b"), 0);
    (void)snprintf(path, sizeof path, "%s/d", place->path);
    assert_int_equal(rmdir(path), 0);
}

static int note(void *context, const char *name)
{
    strcat(context, name);
    return 0;
}

static int stop_at_once(void *context, const char *name)
{
    (void)name;
    return ++*(int *)context;
}

static void test_list(void **state)
{
    const struct place *place = *state;
    char seen[16] = "";
    int calls = 0;
    file_close(file_open(place->directory, "x", O_RDWR | O_CREAT, 0600));
    file_close(file_open(place->directory, "y", O_RDWR | O_CREAT, 0600));
    for (unsigned i = 0; i < 2; i++) { /* from the beginning each time */
        seen[0] = '\0';
        assert_int_equal(file_list(place->directory, note, seen), 0);
        assert_int_equal(strlen(seen), 2);
        assert_true(strchr(seen, 'x') != NULL && strchr(seen, 'y') != NULL);
    }
    assert_int_equal(file_list(place->directory, stop_at_once, &calls), 1);
    assert_int_equal(calls, 1);
    assert_int_equal(file_remove(place->directory, "x"), 0);
    assert_int_equal(file_remove(place->directory, "y"), 0);
}

static void test_lock(void **state)
{
    const struct place *place = *state;
    int first = file_open(place->directory, "lock", O_RDWR | O_CREAT, 0600);
    int second = file_open(place->directory, "lock", O_RDWR, 0);
    assert_int_equal(file_lock(first), 0);
    assert_int_equal(file_lock(second), -EWOULDBLOCK);
    file_close(first);
    assert_int_equal(file_lock(second), 0);
    file_close(second);
    assert_int_equal(file_remove(place->directory, "lock"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_write_and_read, place_make, place_clear),
        cmocka_unit_test_setup_teardown(test_errors_are_values, place_make, place_clear),
        cmocka_unit_test_setup_teardown(test_names, place_make, place_clear),
        cmocka_unit_test_setup_teardown(test_list, place_make, place_clear),
        cmocka_unit_test_setup_teardown(test_lock, place_make, place_clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
