/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP connection: what proto/http.c (input and time)
 * and proto/http_answer.c (output) share. Nobody else's.
 */
#ifndef PROTO_HTTP_WIRE_H
#define PROTO_HTTP_WIRE_H

#include "proto/http.h"
#include "proto/http_body.h"
#include "proto/http_head.h"

/* PARKED: the request is whole, and its answer comes from elsewhere. */
enum http_phase { HTTP_HEAD, HTTP_BODY, HTTP_PARKED, HTTP_GONE };

struct http {
    struct wire wire; /* first */
    const struct http_house *house;
    struct http_request request;
    struct http_head *head;
    struct http_body body;
    enum http_phase phase;
    bool draining;
    bool moves;             /* the request at the front is another shard's */
    bool ended;             /* the peer ended its stream while a request was parked */
    bool paused;            /* not read … */
    unsigned holds_allowed; /* … until there are no more holds than these, and the output is sent */
    size_t counted;         /* memory of the request that the connection knows of */
    size_t head_length;     /* once it is whole */
    uint8_t *head_copy;     /* of the header, while a body outlasts an input */
    struct principal *principal; /* room for one, once it was needed */
    void *state;                 /* room for request->state … */
    size_t state_bytes;          /* … and how much */
    uint64_t active_ns;          /* the last input */
    uint64_t begun_ns; /* when the header, or the body, that is not whole began; 0: none */
    uint64_t armed_ns; /* when the connection's deadline is; 0: not set */
};

/* Sends it behind all answers that still wait. */
void http_dispatch(struct http *http, struct turn *turn, const struct receipt *receipt,
                   struct span reply);

/* A parked request was answered: on with the next. */
void http_unpark(struct http *http, struct turn *turn);

/* The connection's last answer, if none was given yet; what follows may still be read past. */
void http_cut(struct http *http, struct turn *turn, unsigned status, const char *code,
              const char *message);
/* The same, and nothing more is read: what follows cannot be trusted, or is not wanted. */
void http_fail(struct http *http, struct turn *turn, unsigned status, const char *code,
               const char *message);

/* Answers what was given are to be sent, and then it closes. */
void http_finish(struct http *http, struct turn *turn);

#endif
