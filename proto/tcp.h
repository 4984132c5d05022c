/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TCP door (CONTRACTS.md 3): JSON values one a line, or each behind its length, with cumulative
 * acknowledgements and producers that resume. One wire a connection, on its shard's thread.
 *
 *   optional, and only as the first line:
 *   ► {"hello":{"token":…,"ack":"spooled","producer":"p1","format":"ndjson"}}
 *   ◄ {"welcome":{"server":"ringmain","version":…,"connection":…,"ack":…,"format":…,"resume":41}}
 *
 *   ► {"type":"a"}                                       value 42
 *   ► {"type":                                           value 43
 *   ◄ {"reject":43,"code":"INVALID_JSON","message":…}    at once
 *   ◄ {"ack":43}                                         the first 43 are at the level asked for
 *
 * A producer's name is that of the token's user, and of nobody else.
 *
 * Where duplicates were among them, the acknowledgement says how many on this connection:
 * {"ack":43,"duplicates":2}. Without a hello nothing is acknowledged, and what is refused is still
 * named. A refused value counts. Blank lines do not. A bad hello, a frame that breaks the protocol,
 * no permission, or a token that expires meanwhile: an {"error":{…}} line, then close.
 */
#ifndef PROTO_TCP_H
#define PROTO_TCP_H

#include "proto/admission.h"
#include "proto/intake.h"
#include "proto/quota.h"

/* What all TCP connections of a shard share. */
struct tcp_house {
    struct intake *intake;
    const struct admission *admission;
    unsigned shard;
    uint64_t ack_interval_ns;
    uint64_t hello_ns;       /* time to finish a first line that has begun */
    uint64_t idle_ns;        /* time without any input or acknowledgement */
    uint64_t leeway_ns;      /* auth.leeway_s */
    struct bucket_rate rate; /* events a connection may send */
    /* Room for one group of events: too large to have
     * one a connection, needed only inside a call. */
    struct event events[INTAKE_MAX];
    struct verdict verdicts[INTAKE_MAX];
    size_t ends[INTAKE_MAX]; /* how many input bytes are used once event i has been judged */
};

/* NULL: no memory. */
NODISCARD struct wire *tcp_open(struct tcp_house *house, struct turn *turn, struct conn *conn);

#endif
