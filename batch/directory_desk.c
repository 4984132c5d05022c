/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shard's end of the directory: what is known is answered at once, what somebody has just asked
 * is waited for, the rest is posted.
 */
#include "batch/directory_inside.h"

static struct desk *mine(struct directory *directory)
{
    return (struct desk *)(void *)directory;
}

static bool at_once(struct finding *finding, enum finding_kind kind)
{
    *finding = (struct finding){.kind = kind};
    return true;
}

/* False: it was posted, and `asker` waits. */
static bool ask_anew(struct desk *desk, struct turn *turn, const struct question *question,
                     const struct asker *asker, uint64_t token)
{
    struct inquiry *inquiry = inquiries_new(desk->inquiries, question, turn->now_ns);
    inquiries_wait(desk->inquiries, inquiry, asker, token);
    must(mail_post(desk->asked, &inquiry));
    sleeper_wake(&desk->stage->sleeper);
    return false;
}

static bool ask(struct directory *directory, struct turn *turn, const struct question *question,
                const struct asker *asker, uint64_t token, struct finding *finding)
{
    struct desk *desk = mine(directory);
    const struct directory_stage *stage = desk->stage;
    if (!inquiry_may_be_asked(question))
        return at_once(finding, FINDING_NO);
    if (question->kind == QUESTION_ROOM && stage->options.room_sql[0] == '\0')
        return at_once(finding, FINDING_YES);
    if (stage->postgres == NULL)
        return at_once(finding, FINDING_FAILED);
    struct inquiry *inquiry = inquiries_find(desk->inquiries, question, turn->now_ns);
    count(turn->counters, COUNT_DIRECTORY_QUESTIONS, 1);
    count(turn->counters, COUNT_DIRECTORY_CACHED, inquiry != NULL);
    if (inquiry != NULL && inquiry->answered) {
        *finding = inquiry_finding(inquiry);
        return true;
    }
    if (!inquiries_have_room(desk->inquiries)) {
        count(turn->counters, COUNT_DIRECTORY_OVERLOADED, 1);
        return at_once(finding, FINDING_FAILED);
    }
    if (inquiry == NULL)
        return ask_anew(desk, turn, question, asker, token);
    inquiries_wait(desk->inquiries, inquiry, asker, token);
    return false;
}

void directory_mail(struct directory *directory, struct turn *turn)
{
    struct desk *desk = mine(directory);
    struct inquiry *inquiry;
    while (mail_take(desk->answered, &inquiry))
        inquiries_tell(desk->inquiries, inquiry, turn, turn->now_ns);
}

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

static unsigned letters_for(unsigned waiting)
{
    unsigned letters = 1;
    while (letters < waiting)
        letters *= 2;
    return letters;
}

bool desk_open(struct desk *desk, struct directory_stage *stage)
{
    const struct directory_options *options = &stage->options;
    unsigned letters = letters_for(options->waiting);
    desk->face.ask = ask;
    desk->stage = stage;
    desk->inquiries =
        inquiries_open(options->remembered, options->waiting, options->keep_s * 1000000000ull);
    desk->asked = mail_open(letters, sizeof(struct inquiry *));
    desk->answered = mail_open(letters, sizeof(struct inquiry *));
    return desk->inquiries != NULL && desk->asked != NULL && desk->answered != NULL;
}

void desk_close(struct desk *desk)
{
    inquiries_close(desk->inquiries);
    mail_close(desk->asked);
    mail_close(desk->answered);
}

struct directory *directory_desk(struct directory_stage *stage, unsigned shard)
{
    must(shard < stage->options.shards);
    return &stage->desk[shard].face;
}

void directory_introduce(struct directory_stage *stage, unsigned shard, struct sleeper *sleeper)
{
    must(shard < stage->options.shards && !stage->started);
    stage->desk[shard].shard = sleeper;
}
