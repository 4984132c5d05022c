/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way in: what a producer's door calls with parsed events, and what comes back.
 * batch/intake.c implements it (the doors stand below the batch floor
 * and see only this). One intake a shard, on the shard's thread.
 *
 * A door collects the events of one chunk of input, at most INTAKE_MAX at a time, and gives them
 * over together, so that the look-ups of many overlap. The events' text must stay until
 * intake_accept returns, no longer.
 */
#ifndef PROTO_INTAKE_H
#define PROTO_INTAKE_H

#include "core/conn.h"
#include "core/shard.h"
#include "proto/event.h"
#include "proto/principal.h"
#include "proto/stream.h"
#include "proto/uuid.h"

enum { INTAKE_MAX = 64 };

/* What happened to one event. */
struct verdict {
    enum event_code code;
    struct ticket ticket;        /* of the event, or of the original of a duplicate */
    const struct stream *stream; /* that took it, if it was accepted */
    struct refusal refusal;      /* filled unless accepted or duplicate */
    /* The id that the server gave to an accepted event that came without, as it is stored. */
    char made_id[UUID_TEXT_BYTES];
};

/* A named producer's count (CONTRACTS.md 3, TCP): lives on the shard that owns the name. */
struct producer;

/* Of one ingest batch (a request, a batch message) some routes show only the first few live
 * (CONTRACTS.md 4): how many they have shown. The door zeroes it where a batch begins. */
enum { BATCH_SHOWN_ROUTES = 4 };
struct batch_shown {
    uint16_t of[BATCH_SHOWN_ROUTES];
};

/* Who sends, and how; a door keeps one a connection (or a request). */
struct source {
    const struct principal *principal; /* NULL: nobody in particular, auth.required = no */
    struct producer *producer;         /* NULL: unnamed */
    enum counter_id received;          /* COUNT_EVENTS_RECEIVED_… of the door */
    struct batch_shown *batch;         /* NULL: every event is a batch by itself */
    /* The room in which the sender was found to be allowed to speak; {NULL,0}: none. In any other
     * his events are shown live only if his token names it, or has the scope ingest or publish. */
    struct span judged_room;
};

/* Whoever wants to see what was taken, on its way (ws/live.h). The events' and the verdicts' texts
 * are good only during the call; what was not accepted stands between the rest. */
struct witness {
    void *self;
    void (*accepted)(void *self, struct turn *turn, const struct source *source,
                     const struct event *events, const struct verdict *verdicts, unsigned judged);
};

struct intake {
    /*
     * Takes `count` <= INTAKE_MAX events, filling in what the principal's token says and they leave
     * out; verdicts[i] says what became of events[i]. streams[i], where `streams` is given and the
     * entry is not NULL, names the stream (a type that it does not take is UNSUPPORTED_TYPE); else
     * the event's type decides. Events that event_parse() refused are not given here. Returns how
     * many were judged: fewer than `count` only when there is no room (then conn_throttle() and
     * offer the rest later, or answer OVERLOADED).
     */
    unsigned (*accept)(struct intake *intake, struct turn *turn, const struct source *source,
                       struct event *events, const struct stream *const *streams, unsigned count,
                       struct verdict *verdicts);
    /* Room for more? What house->open says. */
    bool (*open)(const struct intake *intake);
    /* Seconds for Retry-After while not open. */
    unsigned (*retry_after_s)(const struct intake *intake);

    /*
     * Producers by name, on the owning shard only. producer_shard: which one that is.
     * producer_open: the count that was reached (for `resume`); besides producer_block() the ticket
     * must be durable before the welcome may be sent (*wait false: none); a connection that has it
     * open already loses it: its conn is aborted. NULL: too many producers (limits.producers).
     */
    unsigned (*producer_shard)(const struct intake *intake, struct span name);
    struct producer *(*producer_open)(struct intake *intake, struct turn *turn, struct span name,
                                      struct conn *conn, uint64_t *resume, struct ticket *ticket,
                                      bool *wait);
    void (*producer_close)(struct intake *intake, struct producer *producer, struct conn *conn);
    /* The count goes on by `values` that carry no row (refused ones; empty lines are not counted
     * at all). False: no room to write that down, it is to be offered again as with accept. */
    bool (*producer_skip)(struct intake *intake, struct producer *producer, uint64_t values);
    /* Whoever is told the count must wait for this: hold.block. An acknowledged
     * count that a crash takes back would shift all that the producer sends after it. */
    uint64_t (*producer_block)(const struct producer *producer);

    const struct streams *streams;
    struct event_rules rules;
    bool stores; /* there is a Postgres: ACK_STORED can come true */
};

/* A door refused an event before it came to the intake: it counts as received and as refused. */
static inline void intake_count_refused(struct turn *turn, enum counter_id received,
                                        enum event_code code)
{
    count(turn->counters, received, 1);
    count(turn->counters,
          COUNT_EVENTS_REFUSED_INVALID_JSON + (enum counter_id)(code - EVENT_INVALID_JSON), 1);
}

#endif
