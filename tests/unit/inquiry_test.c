/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "batch/inquiry.h"

#include <stdio.h>
#include <stdlib.h>

enum { REMEMBERED = 3, WAITING = 4, KEEP_NS = 100 };

static struct inquiries *inquiries;
static unsigned told;
static uint64_t told_tokens[64];

static void answered(void *self, struct turn *turn, uint64_t token, const struct finding *finding)
{
    (void)self;
    (void)turn;
    (void)finding;
    told_tokens[told++] = token;
}

static const struct asker asker = {NULL, answered};

static int setup(void **state)
{
    (void)state;
    told = 0;
    inquiries = inquiries_open(REMEMBERED, WAITING, KEEP_NS);
    return inquiries == NULL;
}

static int teardown(void **state)
{
    (void)state;
    inquiries_close(inquiries);
    return 0;
}

static struct question project(const char *name)
{
    return (struct question){.kind = QUESTION_PROJECT, .name = span_of_string(name)};
}

static struct question room(const char *name, const char *user, const char *tenant)
{
    return (struct question){.kind = QUESTION_ROOM,
                             .name = span_of_string(name),
                             .user = span_of_string(user),
                             .tenant = span_of_string(tenant)};
}

static struct inquiry *ask(struct question question, uint64_t now_ns, uint64_t token)
{
    assert_true(inquiries_have_room(inquiries));
    assert_null(inquiries_find(inquiries, &question, now_ns));
    struct inquiry *inquiry = inquiries_new(inquiries, &question, now_ns);
    inquiries_wait(inquiries, inquiry, &asker, token);
    return inquiry;
}

static void tell(struct inquiry *inquiry, enum finding_kind found, uint64_t now_ns)
{
    inquiry->found = found;
    inquiries_tell(inquiries, inquiry, NULL, now_ns);
}

static void one_question_is_asked_once_and_all_are_told_in_order(void **state)
{
    (void)state;
    struct question question = project("p");
    struct inquiry *inquiry = ask(question, 0, 1);
    assert_ptr_equal(inquiries_find(inquiries, &question, 0), inquiry);
    inquiries_wait(inquiries, inquiry, &asker, 2);
    inquiries_wait(inquiries, inquiry, &asker, 3);
    inquiries_wait(inquiries, inquiry, &asker, 4);
    assert_false(inquiries_have_room(inquiries));
    tell(inquiry, FINDING_YES, 10);
    assert_int_equal(told, 4);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(told_tokens[i], i + 1);
    assert_true(inquiries_have_room(inquiries));
}

static void an_answer_holds_for_its_time_and_no_longer(void **state)
{
    (void)state;
    struct question question = project("p");
    tell(ask(question, 0, 1), FINDING_NO, 10);
    struct inquiry *found = inquiries_find(inquiries, &question, 10 + KEEP_NS - 1);
    assert_non_null(found);
    assert_true(found->answered);
    assert_int_equal(inquiry_finding(found).kind, FINDING_NO);
    assert_null(inquiries_find(inquiries, &question, 10 + KEEP_NS));
    tell(ask(question, 10 + KEEP_NS, 1), FINDING_YES, 300);
    assert_int_equal(inquiry_finding(inquiries_find(inquiries, &question, 301)).kind, FINDING_YES);
}

static void a_failure_is_not_remembered(void **state)
{
    (void)state;
    tell(ask(project("p"), 0, 1), FINDING_FAILED, 10);
    tell(ask(project("p"), 11, 1), FINDING_FAILED, 12);
}

static void names_that_look_alike_are_different(void **state)
{
    (void)state;
    tell(ask(room("ab", "c", ""), 0, 1), FINDING_YES, 1);
    tell(ask(room("a", "bc", ""), 0, 1), FINDING_NO, 1);
    tell(ask(room("a", "b", "c"), 0, 1), FINDING_NO, 1);
    struct question question = room("ab", "c", "");
    assert_int_equal(inquiry_finding(inquiries_find(inquiries, &question, 2)).kind, FINDING_YES);
    question.kind = QUESTION_PROJECT;
    assert_null(inquiries_find(inquiries, &question, 2));
}

static void the_oldest_answer_makes_room(void **state)
{
    (void)state;
    char name[8];
    for (unsigned i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "%u", i);
        tell(ask(project(name), i, 1), FINDING_YES, i);
        told = 0;
    }
    unsigned known = 0;
    for (unsigned i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "%u", i);
        struct question question = project(name);
        bool found = inquiries_find(inquiries, &question, 199) != NULL;
        known += found;
        assert_true(!found || i >= 200 - REMEMBERED - WAITING - 1);
    }
    assert_in_range(known, REMEMBERED, REMEMBERED + WAITING + 1);
}

/* All who may wait do so for questions of their own, and nothing that is on its way is taken. */
static void as_many_as_may_wait_find_a_place(void **state)
{
    (void)state;
    struct inquiry *asked[WAITING];
    char name[8];
    for (unsigned round = 0; round < 50; round++) {
        for (unsigned i = 0; i < WAITING; i++) {
            snprintf(name, sizeof name, "%u/%u", round, i);
            asked[i] = ask(project(name), round, i);
        }
        assert_false(inquiries_have_room(inquiries));
        for (unsigned i = 0; i < WAITING; i++)
            tell(asked[i], round % 2 ? FINDING_YES : FINDING_FAILED, round);
        assert_int_equal(told, WAITING);
        told = 0;
    }
}

static struct inquiry *again;
static unsigned refusals;

/* Asks from within the answer, for the same or something else. */
static void ask_again(void *self, struct turn *turn, uint64_t token, const struct finding *finding)
{
    (void)self;
    (void)turn;
    struct question same = project("p"), other = project("other");
    struct inquiry *found = inquiries_find(inquiries, &same, 10);
    if (finding->kind == FINDING_FAILED) {
        assert_null(found);
        refusals++;
    } else {
        assert_true(found->answered);
    }
    again = inquiries_find(inquiries, &other, 10);
    if (again == NULL)
        again = inquiries_new(inquiries, &other, 10);
    inquiries_wait(inquiries, again, &asker, token);
}

static void who_is_told_may_ask(void **state)
{
    (void)state;
    struct asker curious = {NULL, ask_again};
    struct question question = project("p");
    for (enum finding_kind kind = FINDING_YES; kind <= FINDING_FAILED; kind++) {
        struct inquiry *inquiry = inquiries_new(inquiries, &question, 0);
        for (unsigned i = 0; i < WAITING; i++)
            inquiries_wait(inquiries, inquiry, &curious, i);
        tell(inquiry, kind, 10);
        assert_int_equal(told, 0);
        assert_false(inquiries_have_room(inquiries));
        tell(again, FINDING_FAILED, 10);
        assert_int_equal(told, WAITING);
        told = 0;
        (void)!inquiries_find(inquiries, &question, 10 + KEEP_NS); /* ends what is remembered */
    }
    assert_int_equal(refusals, WAITING);
}

static void what_no_name_can_be_is_not_asked(void **state)
{
    (void)state;
    char name[DIRECTORY_NAME_MAX + 1];
    memset(name, 'n', sizeof name);
    struct question question = {.kind = QUESTION_ROOM, .name = span_of(name, DIRECTORY_NAME_MAX)};
    assert_true(inquiry_may_be_asked(&question));
    question.name.length++;
    assert_false(inquiry_may_be_asked(&question));
    question.name = span_of("a\0b", 3);
    assert_false(inquiry_may_be_asked(&question));
    question.name = SPAN("a");
    question.user = span_of(name, PRINCIPAL_TEXT_MAX + 1);
    assert_false(inquiry_may_be_asked(&question));
    question.user = (struct span){0};
    question.tenant = span_of("\0", 1);
    assert_false(inquiry_may_be_asked(&question));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(one_question_is_asked_once_and_all_are_told_in_order),
        TEST(an_answer_holds_for_its_time_and_no_longer),
        TEST(a_failure_is_not_remembered),
        TEST(names_that_look_alike_are_different),
        TEST(the_oldest_answer_makes_room),
        TEST(as_many_as_may_wait_find_a_place),
        TEST(who_is_told_may_ask),
        TEST(what_no_name_can_be_is_not_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
