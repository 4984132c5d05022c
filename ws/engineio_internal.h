/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of Engine.IO share. Nobody else's.
 *
 *   engineio.c           the door: requests, handshake, the turn's tick
 *   engineio_table.c     sessions by sid
 *   engineio_session.c   a session: its beginning and end, what leaves by it
 *   engineio_packet.c    what its packets mean, and its heartbeat
 *   engineio_poll.c      what polls are answered, and what is posted
 *   engineio_socket.c    its WebSocket, and the upgrade to that
 *
 * A session is freed in one place, session_close(), and only from where nothing else of it is on the
 * stack: from a request, from a WebSocket's event, and from engineio_tick(). What happens elsewhere
 * (ops->drain, the user's calls, http's forget) puts it into `door->ending`, and the tick does the rest.
 */
#ifndef WS_ENGINEIO_INTERNAL_H
#define WS_ENGINEIO_INTERNAL_H

#include "core/timer.h"
#include "ws/engineio.h"
#include "ws/polling.h"

enum {
    SID_RANDOM = 17,
    SID_BYTES = 4 + SID_RANDOM, /* shard, slot, and what nobody can guess */
    SID_LENGTH = SID_BYTES * 4 / 3,
    SESSION_SLOTS_MAX = 1 << 24,
};
_Static_assert(SID_BYTES % 3 == 0, "no padding, and no bit unused");
_Static_assert(SHARDS_MAX <= 256, "a shard's number has one byte of a sid");

#define ENGINEIO_GOOD_BYE_NS 30000000000ull /* a poll to say good-bye in must come within this */
#define ENGINEIO_LEAVE_NS    20000000u      /* a poll under way may come so much behind its close */
#define ENGINEIO_STALL_NS    5000000u       /* a message that must wait is tried again */

/* The codes of refusals; reason_text[] in engineio.c. */
enum engineio_code {
    ENGINEIO_UNKNOWN_TRANSPORT,
    ENGINEIO_UNKNOWN_SID,
    ENGINEIO_BAD_METHOD,
    ENGINEIO_BAD_REQUEST,
    ENGINEIO_FORBIDDEN,
    ENGINEIO_BAD_PROTOCOL,
};

enum session_state {
    SESSION_OPEN,
    SESSION_LEAVING, /* by its own POST, or by a bad one; a poll under way is still answered */
    SESSION_ENDING,  /* we said so: good-bye follows what is queued */
    SESSION_DEAD,    /* its transport is gone, or it read too slowly: closed by the next tick */
};

/* Packets that we owe, besides what is queued in the peer. */
enum { OWE_PING = 1, OWE_PONG = 2, OWE_NOOP = 4 };

/* A message that the user could not take; of a POST also the packets behind it. */
struct stall {
    struct buf message, rest;
    struct payload payload; /* looks into `rest` */
    bool binary;
};

struct engineio_session {
    struct peer peer;
    struct engineio *door;
    struct timer timer;               /* at the first of its times, below */
    struct list ending, stalled;      /* links in the door's lists */
    struct engineio_socket *socket;   /* NULL: polling */
    struct engineio_socket *probe;    /* to which it may be upgraded */
    struct http_request *poll, *post; /* that are parked */
    struct stall *stall;
    char *token;
    size_t token_length;
    uint64_t beat_ns; /* EIO 4: the next ping, or its time is over; EIO 3: the client's time is */
    uint64_t ping_ns; /* EIO 4: when the last ping was due */
    uint64_t upgrade_ns; /* the probe's time is over; 0: there is none */
    uint64_t greet_ns;   /* its WebSocket is to be greeted, and is sent nothing before; 0: it was */
    uint64_t end_ns;     /* LEAVING and ENDING come to their end; 0: neither */
    uint32_t slot;
    uint16_t close_code; /* for a WebSocket */
    uint8_t protocol, state, reason, owed;
    bool base64;      /* its transport takes binary as text only */
    bool awaits_pong; /* EIO 4 */
    bool extended;    /* … and something else came meanwhile */
    bool probed;      /* the probe has been answered: polls are to end soon */
    bool said_close;  /* by the last poll */
    bool told_closed; /* the user has been */
    uint8_t secret[SID_RANDOM];
    char sid[SID_LENGTH + 1];
    char address[56];
    max_align_t user[];
};

struct session_slot {
    struct engineio_session *session; /* NULL: free */
    uint32_t next_free;
};

struct engineio {
    struct engineio_options options;
    struct timers *timers;
    struct session_slot *slot;
    uint32_t slots, first_free, sessions;
    struct list ending, stalled;
    bool draining;
};

/* One WebSocket: a session's transport, its probe, or nobody's any more (then it only closes). */
struct engineio_socket {
    struct websocket ws; /* first */
    struct engineio_session *session;
    bool base64; /* its request asked for binary as text */
};

/* ── engineio.c ── */

void engineio_refuse(struct http_request *request, struct turn *turn, enum engineio_code code);
/* The open packet: its type and the JSON. */
size_t engineio_greeting(const struct engineio_session *session, bool websocket, char *out,
                         size_t room);
enum { GREETING_MAX = 256 };

/* ── engineio_table.c ── */

/* Gives it a slot and its sid. False: the table is full, or there is no memory. */
NODISCARD bool table_add(struct engineio *door, struct engineio_session *session);
void table_remove(struct engineio_session *session);
struct engineio_session *table_find(const struct engineio *door, struct span sid); /* or NULL */
/* The shard that a sid names; `own`, if it is none. */
unsigned table_shard_of(struct span sid, unsigned shards, unsigned own);

/* ── engineio_session.c ── */

/* NULL: no memory, or too many. */
struct engineio_session *session_open(struct engineio *door, struct turn *turn,
                                      const struct http_request *request, unsigned protocol);
/* It was never told to anybody: ops->opened has not been called. */
void session_discard(struct engineio_session *session, struct turn *turn);
/* Ends it now: both transports, ops->closed, the memory. */
void session_close(struct engineio_session *session, struct turn *turn,
                   enum engineio_reason reason);
/* The client goes: over for the user, but a poll under way is still answered. */
void session_leave(struct engineio_session *session, struct turn *turn,
                   enum engineio_reason reason);
/* Ends it in the next tick. Needs no turn. */
void session_die(struct engineio_session *session, enum engineio_reason reason, uint16_t code);

/* Keeps a message that stalled, and the payload behind it (may be NULL). False: no memory. */
NODISCARD bool session_stall(struct engineio_session *session, const struct packet *packet,
                             const struct payload *payload);
void stall_free(struct stall *stall); /* NULL is nothing */
/* By whichever transport: what is owed and what is queued. */
void session_flush(struct engineio_session *session, struct turn *turn);
/* To be looked at by the tick. */
void session_want_end(struct engineio_session *session);
/* Has all that it was to be told been told? Then it is closed, and gone. */
bool session_try_end(struct engineio_session *session, struct turn *turn);

/* ── engineio_packet.c ── */

enum session_verdict {
    VERDICT_TAKEN,
    VERDICT_STALLED, /* a message that the user cannot take now */
    VERDICT_LEFT,    /* the client closes */
    VERDICT_PARSE_ERROR,
    VERDICT_WRONG_WAY, /* a heartbeat in the wrong direction */
};
NODISCARD enum session_verdict session_packet(struct engineio_session *session, struct turn *turn,
                                              const struct packet *packet);
enum engineio_reason session_reason_of(enum session_verdict verdict);

/* Sets the timer anew, after one of the session's times has changed. */
void session_arm(struct engineio_session *session);
/* Is its time over? Then it is closed, and gone. */
bool session_expired(struct engineio_session *session, struct turn *turn);
/* The next beat, so long after this. */
void session_expect_beat(struct engineio_session *session, uint64_t from_ns);

/* ── engineio_poll.c ── */

/* request->state of a request that is parked. */
struct poll_state {
    struct engineio_session *session;
};

void poll_greet(struct engineio_session *session, struct turn *turn, struct http_request *request);
void poll_get(struct engineio_session *session, struct turn *turn, struct http_request *request);
void poll_post(struct engineio_session *session, struct turn *turn, struct http_request *request);
/* The payload that stalled goes on. */
void poll_go_on(struct engineio_session *session, struct turn *turn);
/* Answers the poll that is parked, if there is anything for it. */
void poll_flush(struct engineio_session *session, struct turn *turn);
/* Answers it with this one packet: "6" or "1". */
void poll_end(struct engineio_session *session, struct turn *turn, const char *packet);
/* Answers the POST that is parked. */
void poll_post_end(struct engineio_session *session, struct turn *turn, bool good);

/* ── engineio_socket.c ── */

/* The handshake of a WebSocket: as http_route.take. `session`: it wants to upgrade this one;
 * NULL: it begins one of its own. */
bool socket_take(struct engineio *door, struct turn *turn, struct http_request *request,
                 struct engineio_session *session, unsigned protocol);
void socket_flush(struct engineio_session *session, struct turn *turn);
/* The open packet, and what waited behind it. */
void socket_greet(struct engineio_session *session, struct turn *turn);
/* Says good-bye; it is nobody's from now on. */
void engineio_socket_close(struct engineio_socket **socket, struct turn *turn, uint16_t code);

#endif
