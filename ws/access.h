/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may enter which room. One a shard, on its thread.
 *
 * | room | who |
 * | --- | --- |
 * | `user:ID`, `user_ID` | that user |
 * | `tenant:ID` | who is of that tenant |
 * | `project:ID` | whom the token's claim `projects` names it; else its owner, while it is active |
 * | any other | whom the token's claim `rooms` names it; without that claim whoever directory.room_sql
 *   lets in, and with neither everybody |
 * | `*` | nobody by wish: everyone is in there |
 * | rooms of doors' own (hub_is_own_room) | nobody, whatever the scope |
 * | all of them | scope `admin` |
 *
 * What a token or a name settles is answered at once; for the rest the directory is asked
 * (proto/directory.h, which remembers). A request lies in its owner's memory, zeroed while idle:
 *
 *   access_ask() ─► true: *answer
 *             └──► false: request->answered(), in a later turn, unless access_forget() comes before
 */
#ifndef WS_ACCESS_H
#define WS_ACCESS_H

#include "core/list.h"
#include "core/shard.h"
#include "proto/directory.h"
#include "proto/principal.h"

struct access;

enum access_answer {
    ACCESS_GRANTED,
    ACCESS_DENIED,
    ACCESS_NOT_FOUND, /* a project that there is not */
    ACCESS_INACTIVE,  /* the asker's own project, but not active */
    ACCESS_UNKNOWN,   /* nobody knows now: Postgres is away or slow, or too many ask */
};

struct access_request {
    struct list link; /* these two are access.c's */
    uint64_t token;
    const struct principal *principal; /* the owner may put another of the same user in its place */
    void (*answered)(struct access_request *request, struct turn *turn, enum access_answer answer);
};

/* `directory` may be NULL: then what needs it is ACCESS_UNKNOWN. NULL: no memory. */
NODISCARD struct access *access_open(struct directory *directory);
void access_close(struct access *access); /* no request is waiting */

/* `principal` NULL: nobody in particular. It and the request stay until the answer; the room's name
 * need not. request->answered is set before. */
NODISCARD bool access_ask(struct access *access, struct turn *turn,
                          const struct principal *principal, struct span room,
                          struct access_request *request, enum access_answer *answer);
/* Does the name or the token alone say no? For an answer that comes when there is another token. */
NODISCARD bool access_forbids(const struct principal *principal, struct span room);
/* The answer is wanted no longer; an idle request is nothing. */
void access_forget(struct access *access, struct access_request *request);

#endif
