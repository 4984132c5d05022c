/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connection state recovery: sockets whose session broke off, remembered for socketio.recovery_s, so that
 * a client that comes back in time is in its rooms again and gets what it missed. On the shard's thread.
 *
 *   CONNECT ─► {sid, pid}      pid: "SHARD-" and 128 random bits; nobody else knows it
 *   events  ─► […, "SHARD-NUMBER"]      the offset: a place in that shard's history (ws/hub.h)
 *   CONNECT {pid, offset, token} ─► the same sid and pid: recovered; or a new pid: begin afresh
 *
 * Who comes back still needs a valid token, of the same user; rooms that it may no longer enter stay
 * left. What is remembered is bounded by socketio.recovery_connections; the oldest go first. What was
 * missed must still stand in the hub's history (live.history_s, live.history_bytes).
 */
#ifndef WS_SOCKETIO_RECOVERY_H
#define WS_SOCKETIO_RECOVERY_H

#include "ws/socketio.h"

struct recovery;
struct socketio_socket;

/* NULL: no memory. */
NODISCARD struct recovery *recovery_open(struct socketio *door);
void recovery_close(struct recovery *recovery);

/* Gives the socket its pid and an encoding with offsets, if it may ever come back. */
void recovery_name(struct recovery *recovery, struct socketio_socket *socket);
/* Its session is over; it is still in its rooms. */
void recovery_remember(struct recovery *recovery, struct turn *turn,
                       const struct socketio_socket *socket);
/* True: it has come back, and has been told; or another shard is being asked, and it will be told in a
 * later turn, whatever comes of it. False: it is a new one. `auth` may be absent. */
NODISCARD bool recovery_resume(struct recovery *recovery, struct turn *turn,
                               struct socketio_socket *socket, struct span auth);
/* The socket goes. */
void recovery_forget(struct recovery *recovery, struct socketio_socket *socket);
void recovery_tick(struct recovery *recovery, struct turn *turn);

/* ── For socketio_moves.c ── */

enum { PID_TEXT = 48 };

struct remembered {
    struct list age, same; /* by age; in one bucket */
    uint64_t until_ns;
    unsigned namespace;
    char sid[PID_TEXT], pid[PID_TEXT];
    char *user_id, *tenant_id; /* behind the rooms */
    struct buf texts;          /* "room\0room\0\0user\0tenant\0" */
};

/* Of this user and in this namespace; or NULL. */
struct remembered *recovery_find(struct recovery *recovery, struct turn *turn, const char *pid,
                                 unsigned namespace, const char *user_id, const char *tenant_id);
/* The socket goes on under the pid of the one that it was. */
void recovery_set_pid(struct recovery *recovery, struct socketio_socket *socket, const char *pid);
void recovery_drop(struct recovery *recovery, struct remembered *remembered);
/* Joins those that it may still enter, with this filter. */
void recovery_rejoin(struct socketio_socket *socket, struct turn *turn, const char *rooms,
                     const char *types);

#endif
