/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   bucket[hash] ─► inquiry ─► inquiry …       found by their text, letter by letter
 *   free         ─► inquiry ─► inquiry …
 *   answered     ─► oldest  ─► … ─► newest     all live equally long, so the oldest ends first
 *
 * One that is on its way stands in neither of the two lower lists; so nothing can take it away
 * from the thread that works on it. There are as many as may be remembered, as many more as may wait,
 * and one that is telling; a question needs one who waits, so a new one always finds a place.
 *
 * What was never used is memory that was never touched. Names come from strangers, hence the keyed
 * hash.
 */
#include "batch/inquiry.h"

#include "batch/dedup.h"
#include "core/clock.h"

#include <stdlib.h>

struct waiter {
    struct list place; /* among the free, or those who wait for one inquiry */
    const struct asker *asker;
    uint64_t token;
};

struct inquiries {
    uint64_t keep_ns;
    uint8_t secret[16];
    uint32_t mask;
    struct list *bucket;
    struct inquiry *inquiry; /* [inquiries_max], of which so many were ever used */
    struct waiter *waiter;   /* [waiters_max], the same */
    unsigned inquiries_max, inquiries_used, waiters_max, waiters_used;
    struct list free, answered, free_waiters;
};

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

static uint32_t buckets_for(unsigned inquiries)
{
    uint32_t buckets = 16;
    while (buckets < inquiries)
        buckets *= 2;
    return buckets;
}

static void make_lists(struct inquiries *inquiries)
{
    for (uint32_t i = 0; i <= inquiries->mask; i++)
        list_init(&inquiries->bucket[i]);
    list_init(&inquiries->free);
    list_init(&inquiries->answered);
    list_init(&inquiries->free_waiters);
}

struct inquiries *inquiries_open(unsigned remembered, unsigned waiting, uint64_t keep_ns)
{
    unsigned count = remembered + waiting + 1;
    struct inquiries *inquiries = calloc(1, sizeof *inquiries);
    if (inquiries == NULL)
        return NULL;
    inquiries->keep_ns = keep_ns;
    inquiries->inquiries_max = count;
    inquiries->waiters_max = waiting;
    inquiries->mask = buckets_for(count) - 1;
    inquiries->bucket = calloc(inquiries->mask + 1, sizeof *inquiries->bucket);
    inquiries->inquiry = calloc(count, sizeof *inquiries->inquiry);
    inquiries->waiter = calloc(waiting, sizeof *inquiries->waiter);
    if (inquiries->bucket == NULL || inquiries->inquiry == NULL || inquiries->waiter == NULL) {
        free(inquiries->bucket);
        free(inquiries->inquiry);
        free(inquiries->waiter);
        free(inquiries);
        return NULL;
    }
    clock_random(inquiries->secret, sizeof inquiries->secret);
    make_lists(inquiries);
    return inquiries;
}

void inquiries_close(struct inquiries *inquiries)
{
    if (inquiries == NULL)
        return;
    for (unsigned i = 0; i < inquiries->inquiries_used; i++)
        buf_fini(&inquiries->inquiry[i].json);
    free(inquiries->bucket);
    free(inquiries->inquiry);
    free(inquiries->waiter);
    free(inquiries);
}

/* ── Text ───────────────────────────────────────────────────────────────────────────────────── */

static bool is_name(struct span name, size_t most)
{
    return name.length <= most && (name.length == 0 || memchr(name.at, 0, name.length) == NULL);
}

bool inquiry_may_be_asked(const struct question *question)
{
    return is_name(question->name, DIRECTORY_NAME_MAX) &&
           is_name(question->user, PRINCIPAL_TEXT_MAX) &&
           is_name(question->tenant, PRINCIPAL_TEXT_MAX);
}

static size_t put(char *text, size_t at, struct span name)
{
    if (name.length > 0)
        memcpy(text + at, name.at, name.length);
    text[at + name.length] = '\0';
    return at + name.length + 1;
}

static void put_question(struct inquiry *inquiry, const struct question *question)
{
    must(inquiry_may_be_asked(question));
    inquiry->kind = question->kind;
    inquiry->text[0] = question->kind == QUESTION_PROJECT ? 'P' : 'R';
    inquiry->user_at = (uint16_t)put(inquiry->text, 1, question->name);
    inquiry->tenant_at = (uint16_t)put(inquiry->text, inquiry->user_at, question->user);
    inquiry->text_length = (uint16_t)put(inquiry->text, inquiry->tenant_at, question->tenant);
    inquiry->before = question->messages.before;
    inquiry->channel_id = question->messages.channel_id;
    inquiry->has_channel = question->messages.has_channel;
    inquiry->limit = question->messages.limit;
}

static struct list *bucket_of(const struct inquiries *inquiries, const struct inquiry *inquiry)
{
    struct dedup_key key =
        dedup_key(inquiries->secret, span_of(inquiry->text, inquiry->text_length));
    return &inquiries->bucket[key.low & inquiries->mask];
}

/* ── Finding and making ─────────────────────────────────────────────────────────────────────── */

static void end(struct inquiries *inquiries, struct inquiry *inquiry)
{
    must(list_empty(&inquiry->waiting));
    if (list_linked(&inquiry->bucket))
        list_remove(&inquiry->bucket);
    buf_fini(&inquiry->json);
    list_append(&inquiries->free, &inquiry->place);
}

struct inquiry *inquiries_find(struct inquiries *inquiries, const struct question *question,
                               uint64_t now_ns)
{
    struct inquiry asked;
    if (question->kind == QUESTION_MESSAGES)
        return NULL;
    put_question(&asked, question);
    struct list *bucket = bucket_of(inquiries, &asked);
    for (struct list *link = bucket->next; link != bucket; link = link->next) {
        struct inquiry *found = LIST_ENTRY(link, struct inquiry, bucket);
        if (!span_equal(span_of(found->text, found->text_length),
                        span_of(asked.text, asked.text_length)))
            continue;
        if (!found->answered || now_ns < found->ends_ns)
            return found;
        list_remove(&found->place);
        end(inquiries, found);
        return NULL;
    }
    return NULL;
}

bool inquiries_have_room(const struct inquiries *inquiries)
{
    return !list_empty(&inquiries->free_waiters) ||
           inquiries->waiters_used < inquiries->waiters_max;
}

/* One that is free, one that was never used, or the place of the oldest answer. */
static struct inquiry *get(struct inquiries *inquiries)
{
    struct list *link = list_take(&inquiries->free);
    if (link == NULL && inquiries->inquiries_used < inquiries->inquiries_max)
        return &inquiries->inquiry[inquiries->inquiries_used++];
    if (link == NULL && (link = list_take(&inquiries->answered)) != NULL) {
        end(inquiries, LIST_ENTRY(link, struct inquiry, place));
        link = list_take(&inquiries->free);
    }
    must(link != NULL);
    return LIST_ENTRY(link, struct inquiry, place);
}

struct inquiry *inquiries_new(struct inquiries *inquiries, const struct question *question,
                              uint64_t now_ns)
{
    struct inquiry *inquiry = get(inquiries);
    put_question(inquiry, question);
    list_init(&inquiry->waiting);
    inquiry->answered = inquiry->active = inquiry->has_owner = false;
    inquiry->found = FINDING_FAILED;
    inquiry->owner_length = 0;
    inquiry->asked_ns = now_ns;
    if (question->kind != QUESTION_MESSAGES)
        list_append(bucket_of(inquiries, inquiry), &inquiry->bucket);
    return inquiry;
}

void inquiries_wait(struct inquiries *inquiries, struct inquiry *inquiry, const struct asker *asker,
                    uint64_t token)
{
    must(inquiries_have_room(inquiries) && !inquiry->answered);
    struct list *link = list_take(&inquiries->free_waiters);
    struct waiter *waiter = link != NULL ? LIST_ENTRY(link, struct waiter, place)
                                         : &inquiries->waiter[inquiries->waiters_used++];
    waiter->asker = asker;
    waiter->token = token;
    list_append(&inquiry->waiting, &waiter->place);
}

/* ── Answers ────────────────────────────────────────────────────────────────────────────────── */

struct finding inquiry_finding(const struct inquiry *inquiry)
{
    return (struct finding){
        .kind = inquiry->found,
        .owner = inquiry->has_owner ? span_of(inquiry->owner, inquiry->owner_length)
                                    : (struct span){NULL, 0},
        .active = inquiry->active,
        .json = buf_span(&inquiry->json),
    };
}

/* Who asks the same while it tells finds the answer, or, where it failed, asks anew. */
void inquiries_tell(struct inquiries *inquiries, struct inquiry *inquiry, struct turn *turn,
                    uint64_t now_ns)
{
    struct list *link;
    bool keep =
        inquiries->keep_ns > 0 && inquiry->found != FINDING_FAILED && list_linked(&inquiry->bucket);
    if (!keep && list_linked(&inquiry->bucket))
        list_remove(&inquiry->bucket);
    inquiry->answered = true;
    inquiry->ends_ns = now_ns + inquiries->keep_ns;
    while ((link = list_take(&inquiry->waiting)) != NULL) {
        struct waiter *waiter = LIST_ENTRY(link, struct waiter, place);
        struct finding finding = inquiry_finding(inquiry);
        const struct asker *asker = waiter->asker;
        uint64_t token = waiter->token;
        list_append(&inquiries->free_waiters, &waiter->place);
        asker->answered(asker->self, turn, token, &finding);
    }
    if (keep)
        list_append(&inquiries->answered, &inquiry->place);
    else
        end(inquiries, inquiry);
}
