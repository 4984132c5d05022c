/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket of `ringmain tail`: a WebSocket client that waits. One thread, nothing else to do.
 */
#ifndef CORE_TAIL_SOCKET_H
#define CORE_TAIL_SOCKET_H

#include "core/buf.h"

enum { TAIL_WHY = 400, TAIL_MESSAGE_MAX = 64 << 20 };

struct tail_socket {
    int socket; /* -1: closed */
    struct buf in;
    size_t used;     /* of `in`: done with */
    struct buf text; /* of a message in fragments */
};

struct tail_target {
    const char *host, *port;
    const char *path;  /* with its query */
    const char *token; /* NULL: none */
};

enum tail_result {
    TAIL_OK = 0,
    TAIL_LOST = -1,    /* nobody there, or gone: it may be there again later */
    TAIL_REFUSED = -2, /* and would be again */
    TAIL_STOPPED = -3, /* a signal came */
};

/* Each but OK with a sentence in `why` (TAIL_WHY). */
NODISCARD enum tail_result tail_open(struct tail_socket *tail, const struct tail_target *target,
                                     char *why);
/* Waits for the next message, good until the next call. */
NODISCARD enum tail_result tail_next(struct tail_socket *tail, struct span *message, char *why);
void tail_close(struct tail_socket *tail);

#endif
