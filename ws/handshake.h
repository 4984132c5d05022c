/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The opening handshake, the server's side of it: RFC 6455 4.2, with the
 * negotiation of permessage-deflate, RFC 7692 5 and 7.1. Whoever reads HTTP
 * gives the headers' values as spans ({NULL,0}: not there; empty: nonsense, as where a field
 * comes twice that may not) and sends what is written here. Pure; any thread.
 */
#ifndef WS_HANDSHAKE_H
#define WS_HANDSHAKE_H

#include "core/must.h"
#include "core/span.h"
#include "ws/deflate.h"

struct handshake_request {
    bool wanted;                   /* a GET with Connection: Upgrade and Upgrade: websocket */
    struct span key;               /* Sec-WebSocket-Key */
    struct span version;           /* Sec-WebSocket-Version */
    const struct span *extensions; /* Sec-WebSocket-Extensions, each line of it */
    unsigned extension_lines;
    struct span origin; /* Origin */
    struct span host;   /* Host: a page of our own may always come */
};

struct handshake_policy {
    struct span origins; /* cors.origins: separated by commas, * for any */
    bool deflate;        /* agree to permessage-deflate where it is offered */
    bool shared;         /* what is sent is compressed once for many: with the full window */
    bool takeover;       /* keep contexts unless the client asks otherwise: 300 KiB a connection */
};

/* What was agreed; plain memory. */
struct handshake {
    struct deflate_terms deflate;
    bool names_server_bits; /* the client asked for server_max_window_bits: RFC 7692 7.1.2.1 */
    char accept[29];        /* Sec-WebSocket-Accept */
    char connection_id[17]; /* the door's to fill in: X-Connection-Id; "": none */
};

enum handshake_fault {
    HANDSHAKE_OK = 0,
    HANDSHAKE_NOT_WEBSOCKET = -1,  /* 400: no GET, or Upgrade or Connection do not ask for it */
    HANDSHAKE_BAD_VERSION = -2,    /* 426, with Sec-WebSocket-Version: 13 */
    HANDSHAKE_BAD_KEY = -3,        /* 400 */
    HANDSHAKE_BAD_EXTENSIONS = -4, /* 400: not the header's grammar, RFC 6455 9.1 */
    HANDSHAKE_BAD_ORIGIN = -5,     /* 403 */
};

/* HANDSHAKE_OK: *out is filled. */
NODISCARD enum handshake_fault handshake_judge(const struct handshake_request *request,
                                               const struct handshake_policy *policy,
                                               struct handshake *out);

unsigned handshake_status(enum handshake_fault fault);    /* the HTTP status for a fault */
const char *handshake_reason(enum handshake_fault fault); /* a sentence for the client */

/* The whole 101 response; returns its length. */
enum { HANDSHAKE_ANSWER_MAX = 384 };
size_t handshake_answer(const struct handshake *handshake, char out[HANDSHAKE_ANSWER_MAX]);

#endif
