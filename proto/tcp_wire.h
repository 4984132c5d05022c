/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One TCP connection: what proto/tcp.c (values)
 * and proto/tcp_greet.c (the hello) share. Nobody else's.
 */
#ifndef PROTO_TCP_WIRE_H
#define PROTO_TCP_WIRE_H

#include "proto/hello.h"
#include "proto/tcp.h"

enum state {
    STATE_FIRST,   /* nothing yet: a hello may come */
    STATE_VALUES,  /* values */
    STATE_SKIPPING /* the rest of a value that was too large */
};

/* hold->tag of a welcome; any other tag is the number of values that the hold speaks of. */
#define TAG_WELCOME UINT64_MAX

struct tcp {
    struct wire wire;
    struct tcp_house *house;
    struct principal *principal;
    struct producer *producer;
    enum ack_level ack;
    enum hello_format format;
    enum state state;
    bool greeting;       /* the welcome waits for the disk, and the values for the welcome */
    bool finishing;      /* acknowledge without waiting for the interval */
    uint32_t skip;       /* length32: bytes of the value to pass over */
    uint64_t values;     /* judged: the number of the last value */
    uint64_t released;   /* true at the level asked for … */
    uint64_t acked;      /* … and told to the producer */
    uint64_t acked_ns;   /* when */
    uint64_t duplicates; /* among the values judged on this connection … */
    uint64_t released_duplicates; /* … and among the released ones */
    uint64_t active_ns;           /* last input */
    uint64_t expires_ns;          /* its token does; 0: never */
    uint64_t begun_ns; /* when a first line began that has not come to its end; 0: none */
    struct bucket allowance;
    struct hold due; /* what the values since the last hold wait for */
    bool has_due;
};

/* Says it and returns WIRE_CLOSE. */
ptrdiff_t tcp_say_error(struct tcp *tcp, struct turn *turn, enum event_code code,
                        const char *message);

/* May who has this token come in ({NULL,0}: none)? 0, or WIRE_CLOSE after saying why not. */
NODISCARD ptrdiff_t tcp_admit(struct tcp *tcp, struct turn *turn, struct span token);
/* Answers a hello. 0, WIRE_CLOSE after saying why, or WIRE_HAND_OVER to its producer's shard. */
NODISCARD ptrdiff_t tcp_greet(struct tcp *tcp, struct turn *turn, const struct hello *hello);

#endif
