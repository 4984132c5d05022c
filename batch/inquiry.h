/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The questions of one shard: those that are on their way, each with all who wait for its answer,
 * and what was answered to the earlier ones about projects and rooms. Pure; one owner, its thread.
 *
 *   find ─┬─ answered: use it
 *         ├─ on its way: wait
 *         └─ NULL: new → wait → (the directory's thread fills in the answer) → tell
 *
 * While it is on its way an inquiry's question and answer belong to the directory's thread, the
 * rest stays the shard's. All memory is taken at the start: `remembered` answers and `waiting` who
 * wait. The answer that was given longest ago makes room for a new question.
 */
#ifndef BATCH_INQUIRY_H
#define BATCH_INQUIRY_H

#include "core/buf.h"
#include "core/list.h"
#include "proto/directory.h"
#include "proto/principal.h"

/* The kind's letter, name, user, tenant, each text with its NUL. */
enum { INQUIRY_TEXT_MAX = 1 + DIRECTORY_NAME_MAX + 1 + 2 * (PRINCIPAL_TEXT_MAX + 1) };

struct inquiry {
    struct list bucket;  /* with those of the same hash; unlinked: never found */
    struct list place;   /* among the free, or the answered in the order of their end */
    struct list waiting; /* those who wait */
    bool answered;
    uint64_t ends_ns; /* of an answer */
    /* the question */
    enum question_kind kind;
    uint16_t user_at, tenant_at; /* in text; the name is at 1 */
    uint16_t text_length;
    char text[INQUIRY_TEXT_MAX];
    int64_t before, channel_id;
    bool has_channel;
    unsigned limit;
    uint64_t asked_ns;
    /* the answer */
    enum finding_kind found;
    bool active, has_owner;
    uint16_t owner_length;
    char owner[DIRECTORY_NAME_MAX];
    struct buf json; /* freed with the inquiry's end */
};

struct inquiries;

/* keep_ns: how long an answer holds; 0: it is not remembered. NULL: no memory. */
NODISCARD struct inquiries *inquiries_open(unsigned remembered, unsigned waiting, uint64_t keep_ns);
void inquiries_close(struct inquiries *inquiries);

/* Can it be asked at all? Too long names can't, nor such with a NUL: nothing is called so. */
bool inquiry_may_be_asked(const struct question *question);

/* Who asked the same and is on its way, or was answered not too long ago.
 * Messages are never the same. */
NODISCARD struct inquiry *inquiries_find(struct inquiries *inquiries,
                                         const struct question *question, uint64_t now_ns);
/* There is room for one more who waits. */
bool inquiries_have_room(const struct inquiries *inquiries);
/* A new one, with nobody who waits. Only while there is room. */
struct inquiry *inquiries_new(struct inquiries *inquiries, const struct question *question,
                              uint64_t now_ns);
/* One more waits for it. Only while there is room. */
void inquiries_wait(struct inquiries *inquiries, struct inquiry *inquiry, const struct asker *asker,
                    uint64_t token);
/* It has been answered: tells all who wait, in the order in which they came, and keeps the answer
 * if it is to be remembered. They may ask meanwhile. */
void inquiries_tell(struct inquiries *inquiries, struct inquiry *inquiry, struct turn *turn,
                    uint64_t now_ns);

/* What was found; the spans are the inquiry's. */
struct finding inquiry_finding(const struct inquiry *inquiry);

#endif
