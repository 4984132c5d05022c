/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory: what a door wants to know of Postgres, and a shard must not wait for. Who owns a
 * project, who may enter a room, which messages are stored. batch/directory.c implements it (the
 * doors stand below or beside the batch floor and see only this). One a shard, on its thread.
 *
 *   door ─ ask() ─► known, or hopeless: true, *finding is there at once
 *              └──► false: a thread of its own asks Postgres ─► asker->answered(), in a later turn
 *
 * The door has judged before what needs no Postgres: the token's claims `projects` and `rooms`, and
 * names that nobody may join by wish (user:…, tenant:…, project:…). Whether the owner that is found
 * is the one who asks is for the door to compare.
 *
 * What is known of projects and rooms is kept for directory.access_cache_s; equal questions that
 * are asked meanwhile share one look-up. Failures are not kept. Everything is bounded: too long a
 * name is FINDING_NO, more questions than directory.waiting at a time are FINDING_FAILED at once.
 */
#ifndef PROTO_DIRECTORY_H
#define PROTO_DIRECTORY_H

#include "core/must.h"
#include "core/span.h"

struct turn;

enum { DIRECTORY_NAME_MAX = 200, DIRECTORY_MESSAGES_MAX = 1000 };

enum question_kind { QUESTION_PROJECT, QUESTION_ROOM, QUESTION_MESSAGES };

/* Its texts need to stay only until ask() returns. */
struct question {
    enum question_kind kind;
    struct span name;         /* of PROJECT, ROOM: its id; at most DIRECTORY_NAME_MAX bytes */
    struct span user, tenant; /* of ROOM: who wants to enter; may be empty */
    struct {
        int64_t before;     /* only ids below it; INT64_MAX: the newest */
        int64_t channel_id; /* with has_channel: of this channel only */
        bool has_channel;
        unsigned limit; /* 1 … DIRECTORY_MESSAGES_MAX */
    } messages;
};

enum finding_kind {
    FINDING_YES,    /* PROJECT: there is one; ROOM: may be entered; MESSAGES: here they are */
    FINDING_NO,     /* PROJECT: there is none; ROOM: may not be entered */
    FINDING_FAILED, /* nobody knows: Postgres is away, slow or refuses, or too many ask.
                       JOIN_FAILED, or 503; the log says what to mend */
};

struct finding {
    enum finding_kind kind;
    struct span owner; /* of a PROJECT; absent: its owner_id is null */
    bool active;       /* of a PROJECT */
    struct span json;  /* of MESSAGES: an array of objects, newest first */
};

/* Whom to tell; it must live as long as the shard. */
struct asker {
    void *self;
    /* Exactly once for each ask() that was false, unless the shard ends before. The token may by
     * now name somebody who has left: look. The spans are valid during the call, which may ask(). */
    void (*answered)(void *self, struct turn *turn, uint64_t token, const struct finding *finding);
};

struct directory {
    /* True: *finding is filled, its spans valid until the next ask() and the end of the turn, and
     * nobody is called. False: asker->answered() will be called with `token`; *finding is
     * untouched. */
    bool (*ask)(struct directory *directory, struct turn *turn, const struct question *question,
                const struct asker *asker, uint64_t token, struct finding *finding);
};

static inline bool directory_ask(struct directory *directory, struct turn *turn,
                                 const struct question *question, const struct asker *asker,
                                 uint64_t token, struct finding *finding)
{
    return directory->ask(directory, turn, question, asker, token, finding);
}

#endif
