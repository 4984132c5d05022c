/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between shards: a ring of pointers for each ordered pair. What finds its ring full waits in a list,
 * and all that comes later behind it, so that the order stays. The others are woken once a flush.
 */
#include "ws/hub_internal.h"

#include "core/clock.h"

#include <stdlib.h>

struct waiting {
    struct list link;
    struct hub_letter *letter;
};

static struct mail *mail_between(const struct hub_node *node, unsigned from, unsigned to)
{
    return node->mail[from * node->shards + to];
}

/* Answers have room always: there are no more than questions, and whoever asked waits for them. */
static bool put_off(struct hub *hub, unsigned to, struct hub_letter *letter)
{
    size_t bytes = letter->bytes + sizeof(struct waiting);
    if (letter->kind != LETTER_ANSWER && hub->backlog_bytes + bytes > hub->options.backlog_bytes)
        return false;
    struct waiting *waiting = calloc(1, sizeof *waiting);
    if (waiting == NULL)
        return false;
    waiting->letter = letter;
    list_append(&hub->backlog[to], &waiting->link);
    hub->backlog_bytes += bytes;
    return true;
}

bool hub_post(struct hub *hub, unsigned to, struct hub_letter *letter)
{
    must(to != hub->options.shard);
    struct mail *mail = mail_between(hub->node, hub->options.shard, to);
    bool posted =
        (list_empty(&hub->backlog[to]) && mail_post(mail, &letter)) || put_off(hub, to, letter);
    hub->posted[to] |= posted;
    hub->unwoken |= posted;
    return posted;
}

static struct waiting *take_waiting(struct hub *hub, unsigned to)
{
    struct list *link = list_take(&hub->backlog[to]);
    return link == NULL ? NULL : LIST_ENTRY(link, struct waiting, link);
}

static void post_again(struct hub *hub, unsigned to)
{
    struct mail *mail = mail_between(hub->node, hub->options.shard, to);
    struct waiting *first;
    while ((first = take_waiting(hub, to)) != NULL) {
        size_t bytes = first->letter->bytes + sizeof *first; /* who takes it may free it at once */
        if (!mail_post(mail, &first->letter)) {
            list_prepend(&hub->backlog[to], &first->link);
            return;
        }
        hub->backlog_bytes -= bytes;
        hub->posted[to] = true;
        free(first);
    }
}

void hub_post_backlog(struct hub *hub)
{
    for (unsigned i = 0; hub->backlog_bytes > 0 && i < hub->node->shards; i++)
        post_again(hub, i);
}

void hub_wake(struct hub *hub)
{
    for (unsigned i = 0; i < hub->node->shards; i++) {
        if (hub->posted[i] && hub->node->sleeper[i] != NULL)
            (void)sleeper_wake(hub->node->sleeper[i]);
        hub->posted[i] = false;
    }
    hub->unwoken = false;
}

/* ── What comes ─────────────────────────────────────────────────────────────────────────────── */

static void read_letter(struct hub *hub, struct turn *turn, struct hub_letter *letter)
{
    switch (letter->kind) {
    case LETTER_PUBLISH:
        hub_sequence(hub, turn, (struct dispatch *)letter);
        break;
    case LETTER_DELIVER:
        hub_deliver(hub, turn, (struct dispatch *)letter);
        break;
    case LETTER_QUESTION:
        hub_asked(hub, (struct inquiry *)letter);
        break;
    case LETTER_ANSWER:
        hub_answered(hub, (struct inquiry *)letter);
        break;
    case LETTER_NOTE:
        note_read(hub, turn, letter);
        break;
    case LETTER_PRESENCE:
        presence_told(hub, turn, (struct attendance_letter *)letter);
        break;
    }
}

/* So many and no more, that what they bring can leave before the next come. */
void hub_mail(struct hub *hub, struct turn *turn)
{
    hub->more_mail = false;
    for (unsigned i = 0; i < hub->node->shards; i++) {
        struct hub_letter *letter;
        struct mail *mail = mail_between(hub->node, i, hub->options.shard);
        for (unsigned read = 0; mail != NULL && mail_take(mail, &letter); read++) {
            read_letter(hub, turn, letter);
            if (read < LETTERS_READ_MAX)
                continue;
            hub->more_mail = true;
            break;
        }
    }
}

/* ── The end ────────────────────────────────────────────────────────────────────────────────── */

static void discard(struct hub_letter *letter)
{
    switch (letter->kind) {
    case LETTER_PUBLISH:
    case LETTER_DELIVER:
        dispatch_put((struct dispatch *)letter);
        break;
    case LETTER_NOTE:
        note_discard(letter);
        break;
    case LETTER_QUESTION:
    case LETTER_ANSWER:
        inquiry_free((struct inquiry *)letter);
        break;
    case LETTER_PRESENCE:
        free(letter);
        break;
    }
}

void hub_drop_backlog(struct hub *hub)
{
    struct waiting *first;
    for (unsigned i = 0; i < hub->node->shards; i++)
        while ((first = take_waiting(hub, i)) != NULL) {
            discard(first->letter);
            free(first);
        }
    hub->backlog_bytes = 0;
}

void hub_node_close(struct hub_node *node)
{
    if (node == NULL)
        return;
    struct hub_letter *letter;
    for (unsigned i = 0; node->mail != NULL && i < node->shards * node->shards; i++) {
        while (node->mail[i] != NULL && mail_take(node->mail[i], &letter))
            discard(letter);
        mail_close(node->mail[i]);
    }
    free(node->mail);
    free(node->interest);
    free(node);
}

static bool open_mail(struct hub_node *node)
{
    enum { FEW_SHARDS = 8, LETTERS = 4096, LETTERS_OF_MANY = 512 };
    unsigned shards = node->shards;
    node->mail = calloc((size_t)shards * shards, sizeof(struct mail *));
    for (unsigned i = 0; node->mail != NULL && i < shards * shards; i++) {
        if (i / shards == i % shards)
            continue;
        node->mail[i] = mail_open(shards <= FEW_SHARDS ? LETTERS : LETTERS_OF_MANY,
                                  sizeof(struct hub_letter *));
        if (node->mail[i] == NULL)
            return false;
    }
    return node->mail != NULL;
}

struct hub_node *hub_node_open(unsigned shards)
{
    must(shards > 0 && shards <= SHARDS_MAX);
    struct hub_node *node = calloc(1, sizeof *node);
    if (node == NULL)
        return NULL;
    node->shards = shards;
    node->stride = 1;
    while (node->stride < shards)
        node->stride *= 2;
    clock_random(&node->seed, sizeof node->seed);
    node->interest = calloc((size_t)INTEREST_SLOTS * node->stride, sizeof *node->interest);
    if (node->interest != NULL && open_mail(node))
        return node;
    hub_node_close(node);
    return NULL;
}

void hub_node_set_sleeper(struct hub_node *node, unsigned shard, struct sleeper *sleeper)
{
    must(shard < node->shards);
    node->sleeper[shard] = sleeper;
}
