/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the Socket.IO door share; nobody else includes it.
 *
 *   socketio.c           sessions and packets         socketio_connect.c   who comes in, and who goes
 *   socketio_out.c       what is written              socketio_acks.c      answers that wait for the disk
 *   socketio_recovery.c  those who may come back      commands.c           what clients ask for
 *   socketio_moves.c     … from another shard         socketio_echo.c      the test suites' handlers
 */
#ifndef WS_SOCKETIO_INTERNAL_H
#define WS_SOCKETIO_INTERNAL_H

#include "core/timer.h"
#include "ws/socketio.h"
#include "ws/socketio_packet.h"

struct gathering;
struct recovery;

/* A timer that knows what to do. */
struct alarm {
    struct timer timer;
    void (*rings)(struct alarm *alarm, struct turn *turn);
};

struct socketio_namespace {
    struct socketio *door;
    char name[SOCKETIO_NAMESPACE_TEXT + 1];
    bool echo;         /* the test suites' handlers, and nothing else */
    unsigned encoding; /* the next one is the same with offsets */
};

struct socketio {
    struct socketio_options options;
    struct socketio_namespace namespace[SOCKETIO_NAMESPACES_MAX];
    unsigned namespaces;
    struct timers *timers;
    struct list acks; /* of all sockets, in the order of their events */
    size_t gathered;  /* bytes of all clients' gatherings */
    struct recovery *recovery;
    struct buf out; /* the packet that is being written */
};

/* The user's memory in each session. */
struct socketio_client {
    struct engineio_session *session;
    struct socketio *door;
    struct list sockets;
    struct alarm alarm;          /* no CONNECT, or nothing for long */
    struct gathering *gathering; /* a binary packet that is not complete yet; NULL: none */
    struct bucket events;
    uint64_t active_ns;
    uint32_t address_ticket, user_ticket;
    uint16_t left; /* bit i: it has been in namespace i, and no longer is */
    bool crowded;  /* too many from this address: it may not connect */
};

/* A client in a namespace. */
struct socketio_socket {
    struct list link;
    struct list by_pid; /* recovery's, while it has one */
    struct socketio_client *client;
    struct socketio_namespace *namespace;
    struct principal *principal; /* NULL: nobody in particular */
    struct alarm expiry;
    struct list commands;      /* that wait for an answer about access … */
    unsigned asking;           /* … how many of them have asked … */
    size_t waiting_bytes;      /* … and what they take */
    struct list acks;          /* that wait for the disk */
    struct greeting *greeting; /* of a test namespace, until it is said; NULL: none */
    unsigned encoding;
    char sid[48], pid[48]; /* pid "": it cannot come back */
};

static inline const char *socketio_user(const struct socketio_socket *socket)
{
    return socket->principal != NULL ? socket->principal->user_id : "";
}

static inline const char *socketio_tenant(const struct socketio_socket *socket)
{
    return socket->principal != NULL ? socket->principal->tenant_id : "";
}

static inline struct engineio_session *socketio_session(const struct socketio_socket *socket)
{
    return socket->client->session;
}

static inline struct peer *socketio_peer(const struct socketio_client *client)
{
    return engineio_peer(client->session);
}

void alarm_set(struct socketio *door, struct alarm *alarm, uint64_t at_ns);
void alarm_stop(struct socketio *door, struct alarm *alarm);

/* ── socketio_connect.c ── */

/* `auth`: the payload, or the query of the namespace for protocol 4; may be absent. */
void socketio_connect(struct socketio_client *client, struct turn *turn,
                      struct socketio_namespace *namespace, const struct socketio_packet *packet);
/* A fresh token, for all sockets of the session. 0, or -EACCES and `why` (JWT_WHY_MAX + 32). */
NODISCARD int socketio_refresh(struct socketio_socket *socket, struct turn *turn, struct span token,
                               char *why);
/* Is it valid, and of this socket's user? */
bool socketio_token_is_own(const struct socketio_socket *socket, struct turn *turn,
                           struct span token);
/* Joins its own rooms and is told: a new one. */
void socketio_welcome(struct socketio_socket *socket, struct turn *turn);
/* The two words of that: one that has come back is told them around what it missed. */
void socketio_send_connect(struct socketio_socket *socket, struct turn *turn);
void socketio_emit_connected(struct socketio_socket *socket, struct turn *turn);
/* Leaves its rooms and is gone; the client is told by the caller. */
void socketio_leave(struct socketio_socket *socket, struct turn *turn);
/* Starts (or goes on with) waiting for a CONNECT, or for a sign of life. */
void socketio_watch(struct socketio_client *client, struct turn *turn);

/* ── socketio_out.c ── */

void socketio_send(struct socketio_client *client, struct turn *turn, enum socketio_type type,
                   struct span namespace, struct span payload);
/* `arguments`: as they stand between the commas. */
void socketio_emit(struct socketio_socket *socket, struct turn *turn, struct span name,
                   struct span arguments, const struct span *attachments, unsigned count);
void socketio_answer(struct socketio_socket *socket, struct turn *turn, uint64_t id,
                     struct span arguments, const struct span *attachments, unsigned count);
struct encoded *socketio_encode(void *context, const struct publication *publication);
struct encoded *socketio_encode_with_offset(void *context, const struct publication *publication);

/* ── socketio_echo.c ── */

/* A client has connected to a namespace of the test suites; `auth` is what it gave, {NULL,0}: nothing. */
void socketio_echo_welcome(struct socketio_socket *socket, struct turn *turn, struct span auth);
/* An event there. */
void socketio_echo(struct socketio_socket *socket, struct turn *turn,
                   const struct socketio_packet *packet, const struct span *attachments);
void socketio_echo_drop(struct socketio_socket *socket); /* what is still to be said to it */

/* ── socketio_acks.c ── */

/* Answers once the event that the ticket names is on disk. */
void socketio_answer_when_durable(struct socketio_socket *socket, struct turn *turn, uint64_t id,
                                  const struct ticket *ticket, struct span arguments);
void socketio_acks_drop(struct socketio_socket *socket);

#endif
