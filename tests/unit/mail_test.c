/* SPDX-License-Identifier: Apache-2.0 */
#include "core/clock.h"
#include "core/mail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void letters_come_out_in_order(void **state)
{
    (void)state;
    struct mail *mail = mail_open(8, sizeof(uint64_t));
    assert_non_null(mail);
    uint64_t out = 77, in = 0, expected = 0;
    assert_false(mail_take(mail, &out));
    assert_int_equal(out, 77);
    for (unsigned round = 0; round < 100; round++) {
        for (unsigned i = 0; i < 1 + round % 8; i++, in++)
            assert_true(mail_post(mail, &in));
        assert_int_equal(mail_waiting(mail), 1 + round % 8);
        for (unsigned i = 0; i < 1 + round % 8; i++, expected++) {
            assert_true(mail_take(mail, &out));
            assert_int_equal(out, expected);
        }
        assert_int_equal(mail_waiting(mail), 0);
    }
    mail_close(mail);
}

static void a_full_one_refuses(void **state)
{
    (void)state;
    struct mail *mail = mail_open(4, sizeof(uint64_t));
    uint64_t letter = 0, out;
    for (; letter < 4; letter++)
        assert_true(mail_post(mail, &letter));
    assert_false(mail_post(mail, &letter));
    assert_true(mail_take(mail, &out));
    assert_true(mail_post(mail, &letter));
    letter++;
    assert_false(mail_post(mail, &letter));
    for (uint64_t expected = 1; expected <= 4; expected++) {
        assert_true(mail_take(mail, &out));
        assert_int_equal(out, expected);
    }
    mail_close(mail);
}

static void letters_of_any_size(void **state)
{
    (void)state;
    for (size_t bytes = 1; bytes <= 100; bytes++) {
        struct mail *mail = mail_open(1, bytes);
        uint8_t in[100], out[101];
        for (size_t i = 0; i < bytes; i++)
            in[i] = (uint8_t)(i * 7 + bytes);
        out[bytes] = 0xee;
        assert_true(mail_post(mail, in));
        assert_false(mail_post(mail, in));
        assert_true(mail_take(mail, out));
        assert_memory_equal(in, out, bytes);
        assert_int_equal(out[bytes], 0xee);
        mail_close(mail);
    }
}

/* One posts, one takes and sleeps when there is nothing.
 * A lost wake-up ends in poll()'s time-out. */
struct pair {
    struct mail *mail;
    struct sleeper sleeper;
    uint64_t letters;
    unsigned gap; /* the poster pauses after this many, so that the taker falls asleep often */
    unsigned rings;
};

static void *poster(void *argument)
{
    struct pair *pair = argument;
    for (uint64_t n = 0; n < pair->letters; n++) {
        while (!mail_post(pair->mail, &n))
            usleep(1);
        pair->rings += sleeper_wake(&pair->sleeper);
        if (pair->gap > 0 && n % pair->gap == 0)
            usleep(20);
    }
    return NULL;
}

static void sleep_until_rung(struct pair *pair)
{
    sleeper_lie_down(&pair->sleeper);
    if (mail_waiting(pair->mail) == 0) {
        struct pollfd doorbell = {.fd = pair->sleeper.doorbell, .events = POLLIN};
        eventfd_t rings;
        assert_int_equal(poll(&doorbell, 1, 10000), 1);
        assert_int_equal(eventfd_read(pair->sleeper.doorbell, &rings), 0);
    }
    sleeper_got_up(&pair->sleeper);
}

static void take_all(struct pair *pair)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, poster, pair), 0);
    for (uint64_t expected = 0; expected < pair->letters;) {
        uint64_t letter;
        if (!mail_take(pair->mail, &letter)) {
            sleep_until_rung(pair);
            continue;
        }
        assert_int_equal(letter, expected);
        expected++;
    }
    pthread_join(thread, NULL);
}

static void two_threads_lose_nothing(void **state)
{
    (void)state;
    static const unsigned gaps[] = {0, 1, 7, 64};
    for (unsigned i = 0; i < COUNT_OF(gaps); i++) {
        struct pair pair = {.mail = mail_open(64, sizeof(uint64_t)),
                            .sleeper.doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
                            .letters = gaps[i] == 1 ? 2000 : 20000,
                            .gap = gaps[i]};
        take_all(&pair);
        if (gaps[i] == 1)
            assert_true(pair.rings > 0);
        close(pair.sleeper.doorbell);
        mail_close(pair.mail);
    }
}

static void only_a_sleeper_is_rung(void **state)
{
    (void)state;
    struct sleeper sleeper = {.doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    eventfd_t rings;
    assert_false(sleeper_wake(&sleeper));
    sleeper_lie_down(&sleeper);
    assert_true(sleeper_wake(&sleeper));
    assert_false(sleeper_wake(&sleeper));
    assert_int_equal(eventfd_read(sleeper.doorbell, &rings), 0);
    assert_int_equal(rings, 1);
    sleeper_lie_down(&sleeper);
    sleeper_got_up(&sleeper);
    assert_false(sleeper_wake(&sleeper));
    assert_int_equal(eventfd_read(sleeper.doorbell, &rings), -1);
    close(sleeper.doorbell);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(letters_come_out_in_order), cmocka_unit_test(a_full_one_refuses),
        cmocka_unit_test(letters_of_any_size),       cmocka_unit_test(two_threads_lose_nothing),
        cmocka_unit_test(only_a_sleeper_is_rung),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
