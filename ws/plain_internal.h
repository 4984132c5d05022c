/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the plain doors know of one another. Nobody else includes this.
 *
 *   plain.c          the door
 *   plain_words.c    what is said: publications, gaps and errors, for either encoding
 *   plain_enter.c    from a request to membership: rooms, access, what was missed
 *   plain_socket.c   /ws/live          plain_stream.c   /sse
 */
#ifndef WS_PLAIN_INTERNAL_H
#define WS_PLAIN_INTERNAL_H

#include "ws/plain.h"

/* ── plain_words.c ── */

struct encoded *plain_encode_json(void *context, const struct publication *publication);
struct encoded *plain_encode_packed(void *context, const struct publication *publication);
struct encoded *plain_encode_event(void *context, const struct publication *publication);
/* missed < 0: nobody knows how many. `encoding`: of the two. NULL: no memory. */
NODISCARD struct encoded *plain_gap(unsigned encoding, int64_t missed);
NODISCARD struct encoded *plain_error(unsigned encoding, struct span room, const char *code,
                                      const char *message);

/* ── plain_enter.c ── */

struct entrance;

struct wish {
    struct access_request request;
    struct entrance *entrance;
    bool waits;
    char room[ROOM_NAME_MAX + 1];
};

/* Who is coming in. Lies in the connection's own struct; all that it asks for is settled before it
 * joins anything, so that what it missed comes before what is new. */
struct entrance {
    struct plain *plain;
    struct peer *peer;
    unsigned encoding;
    struct principal *principal; /* NULL: nobody in particular */
    uint32_t address_ticket, user_ticket;
    struct wish *wish; /* [wishes]; NULL once it is in */
    unsigned wishes, waiting;
    bool resumes; /* after `number`, if `known` */
    bool known;
    uint64_t number;
    char *types; /* NULL: all */
    /* It is in: false, no memory; or may not go into `room`, for this reason. */
    void (*entered)(struct entrance *entrance, struct turn *turn, bool good);
    void (*refused)(struct entrance *entrance, struct turn *turn, const char *room,
                    enum access_answer answer);
};

/* Reads the request. False: it has been answered; nothing is left in *entrance. */
NODISCARD bool entrance_read(struct entrance *entrance, struct plain *plain, struct turn *turn,
                             struct http_request *request);
/* Asks for every room. False: the request has been answered, since one is known to be closed to it. */
NODISCARD bool entrance_ask(struct entrance *entrance, struct turn *turn,
                            struct http_request *request);
/* Goes in, or does so once all answers are there. The peer is there by now. */
void entrance_go(struct entrance *entrance, struct turn *turn);
void entrance_fini(struct entrance *entrance);

const char *entrance_user(const struct entrance *entrance);
const char *entrance_tenant(const struct entrance *entrance);

#endif
