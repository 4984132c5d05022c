/* SPDX-License-Identifier: Apache-2.0 */
/* The table in ws/access.h, row by row, with a directory that says what the test wants. */
#include "tests/unit/unit.h"
#include "ws/access.h"

#include <stdio.h>

enum { TOLD_NOTHING = -1 };

struct rig {
    struct directory directory; /* first: it is found by its address */
    struct access *access;
    struct turn turn;
    bool later; /* the directory answers when rig_answer() says so */
    struct finding finding;
    struct question question;
    char name[256];
    uint64_t token;
    unsigned asked;
    const struct asker *asker;
    struct principal principal;
    struct access_request request;
    int told;
};

static bool fake_ask(struct directory *directory, struct turn *turn,
                     const struct question *question, const struct asker *asker, uint64_t token,
                     struct finding *finding)
{
    struct rig *rig = (struct rig *)directory;
    (void)turn;
    rig->asked++;
    rig->question = *question;
    snprintf(rig->name, sizeof rig->name, "%.*s", SPAN_ARGS(question->name));
    rig->asker = asker;
    rig->token = token;
    if (!rig->later)
        *finding = rig->finding;
    return !rig->later;
}

static void told(struct access_request *request, struct turn *turn, enum access_answer answer)
{
    struct rig *rig = LIST_ENTRY(request, struct rig, request);
    (void)turn;
    assert_int_equal(rig->told, TOLD_NOTHING);
    rig->told = (int)answer;
}

static int set_up(void **state)
{
    static struct rig rig;
    memset(&rig, 0, sizeof rig);
    rig.directory.ask = fake_ask;
    rig.access = access_open(&rig.directory);
    assert_non_null(rig.access);
    strcpy(rig.principal.user_id, "u1");
    strcpy(rig.principal.tenant_id, "t1");
    memcpy(rig.principal.lists, "p1\0p2\0\0lobby\0\0", 14);
    rig.principal.rooms_at = 7;
    rig.request.answered = told;
    rig.told = TOLD_NOTHING;
    *state = &rig;
    return 0;
}

static int tear_down(void **state)
{
    access_close(((struct rig *)*state)->access);
    return 0;
}

static int ask_as(struct rig *rig, const struct principal *principal, const char *room)
{
    enum access_answer answer;
    if (!access_ask(rig->access, &rig->turn, principal, span_of_string(room), &rig->request,
                    &answer))
        return TOLD_NOTHING;
    return (int)answer;
}

static int ask(struct rig *rig, const char *room)
{
    return ask_as(rig, &rig->principal, room);
}

static void own_rooms(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(ask(rig, "user:u1"), ACCESS_GRANTED);
    assert_int_equal(ask(rig, "user_u1"), ACCESS_GRANTED);
    assert_int_equal(ask(rig, "tenant:t1"), ACCESS_GRANTED);
    static const char *const foreign[] = {
        "user:u2", "user_u2",    "user:", "user_", "user:u1 ", "user:u1:x", "user:U1",  "tenant:t2",
        "tenant:", "tenant:t1/", "*",     "",      "a\nb",     "\x7f",      "stats:ws",
    };
    for (size_t i = 0; i < COUNT_OF(foreign); i++)
        assert_int_equal(ask(rig, foreign[i]), ACCESS_DENIED);
    assert_int_equal(rig->asked, 0);
}

static void nobody_in_particular(void **state)
{
    struct rig *rig = *state;
    rig->finding = (struct finding){.kind = FINDING_YES, .active = true};
    static const char *const closed[] = {
        "user:", "user_", "user:u1", "tenant:", "tenant:t1", "*", "project:"};
    for (size_t i = 0; i < COUNT_OF(closed); i++)
        assert_int_equal(ask_as(rig, NULL, closed[i]), ACCESS_DENIED);
    assert_int_equal(ask_as(rig, NULL, "lobby"), ACCESS_GRANTED);
    assert_int_equal(ask_as(rig, NULL, "project:p"), ACCESS_DENIED); /* owner null is not "" */
    struct principal bare = {0};
    assert_int_equal(ask_as(rig, &bare, "user:"), ACCESS_DENIED);
    assert_int_equal(ask_as(rig, &bare, "project:p"), ACCESS_DENIED);
}

static void administrators(void **state)
{
    struct rig *rig = *state;
    rig->principal.scopes = SCOPE_ADMIN;
    static const char *const open[] = {"user:u2", "tenant:t2", "project:p9", "*", "any"};
    for (size_t i = 0; i < COUNT_OF(open); i++)
        assert_int_equal(ask(rig, open[i]), ACCESS_GRANTED);
    assert_int_equal(ask(rig, "a\tb"), ACCESS_DENIED);
    assert_int_equal(ask(rig, "stats:ws"), ACCESS_DENIED);
    assert_int_equal(rig->asked, 0);
}

static void projects(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(ask(rig, "project:p1"), ACCESS_GRANTED);
    assert_int_equal(ask(rig, "project:p2"), ACCESS_GRANTED);
    assert_int_equal(rig->asked, 0);
    rig->finding = (struct finding){.kind = FINDING_YES, .owner = SPAN("u1"), .active = true};
    assert_int_equal(ask(rig, "project:p3"), ACCESS_GRANTED);
    assert_string_equal(rig->name, "p3");
    assert_int_equal(rig->question.kind, QUESTION_PROJECT);
    rig->finding.active = false;
    assert_int_equal(ask(rig, "project:p3"), ACCESS_INACTIVE);
    rig->finding = (struct finding){.kind = FINDING_YES, .owner = SPAN("u2"), .active = true};
    assert_int_equal(ask(rig, "project:p3"), ACCESS_DENIED);
    rig->finding = (struct finding){.kind = FINDING_NO};
    assert_int_equal(ask(rig, "project:p3"), ACCESS_NOT_FOUND);
    rig->finding = (struct finding){.kind = FINDING_FAILED};
    assert_int_equal(ask(rig, "project:p3"), ACCESS_UNKNOWN);
}

static void plain_rooms(void **state)
{
    struct rig *rig = *state;
    rig->finding = (struct finding){.kind = FINDING_YES};
    assert_int_equal(ask(rig, "hall"), ACCESS_GRANTED);
    assert_int_equal(rig->question.kind, QUESTION_ROOM);
    assert_string_equal(rig->name, "hall");
    rig->finding = (struct finding){.kind = FINDING_NO};
    assert_int_equal(ask(rig, "hall"), ACCESS_DENIED);
    /* A claim is the last word. */
    rig->asked = 0;
    rig->finding = (struct finding){.kind = FINDING_YES};
    rig->principal.lists_rooms = true;
    assert_int_equal(ask(rig, "lobby"), ACCESS_GRANTED);
    assert_int_equal(ask(rig, "hall"), ACCESS_DENIED);
    assert_int_equal(ask(rig, "lobby\x01"), ACCESS_DENIED);
    rig->principal.lists[7] = '\0';
    assert_int_equal(ask(rig, "lobby"), ACCESS_DENIED);
    assert_int_equal(rig->asked, 0);
}

static void answered_later(void **state)
{
    struct rig *rig = *state;
    rig->later = true;
    assert_int_equal(ask(rig, "project:p3"), TOLD_NOTHING);
    assert_int_equal(rig->told, TOLD_NOTHING);
    struct finding found = {.kind = FINDING_YES, .owner = SPAN("u1"), .active = true};
    rig->asker->answered(rig->asker->self, &rig->turn, rig->token + 2, &found);
    assert_int_equal(rig->told, TOLD_NOTHING);
    rig->asker->answered(rig->asker->self, &rig->turn, rig->token, &found);
    assert_int_equal(rig->told, ACCESS_GRANTED);
}

static void forgotten(void **state)
{
    struct rig *rig = *state;
    rig->later = true;
    access_forget(rig->access, &rig->request);
    assert_int_equal(ask(rig, "hall"), TOLD_NOTHING);
    uint64_t first = rig->token;
    access_forget(rig->access, &rig->request);
    assert_int_equal(ask(rig, "yard"), TOLD_NOTHING);
    struct finding found = {.kind = FINDING_YES};
    rig->asker->answered(rig->asker->self, &rig->turn, first, &found);
    assert_int_equal(rig->told, TOLD_NOTHING);
    rig->asker->answered(rig->asker->self, &rig->turn, rig->token, &found);
    assert_int_equal(rig->told, ACCESS_GRANTED);
}

static void without_a_directory(void **state)
{
    struct rig *rig = *state;
    access_close(rig->access);
    rig->access = access_open(NULL);
    assert_int_equal(ask(rig, "project:p3"), ACCESS_UNKNOWN);
    assert_int_equal(ask(rig, "project:p1"), ACCESS_GRANTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(own_rooms, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_in_particular, set_up, tear_down),
        cmocka_unit_test_setup_teardown(administrators, set_up, tear_down),
        cmocka_unit_test_setup_teardown(projects, set_up, tear_down),
        cmocka_unit_test_setup_teardown(plain_rooms, set_up, tear_down),
        cmocka_unit_test_setup_teardown(answered_later, set_up, tear_down),
        cmocka_unit_test_setup_teardown(forgotten, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_directory, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
