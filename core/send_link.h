/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection of `ringmain send`: which events are its own, how far
 * they have come, and the protocol that carries them. A link has no I/O:
 * send.c moves the bytes, and calls start() again after a reconnect.
 *
 * Of `links` links, link i sends the events i, i+links,
 * i+2·links …: its n-th is the same after every reconnect.
 */
#ifndef CORE_SEND_LINK_H
#define CORE_SEND_LINK_H

#include "core/send_feed.h"

enum { SEND_FILL_BYTES = 256 * 1024, SEND_WINDOW = 1024, SEND_LATENCIES = 65536 };

struct send_totals {
    uint64_t acknowledged, duplicates, rejected, reconnects, retries, bytes;
    uint64_t wanted;                     /* events in all */
    char first_reject[256];              /* the first reason, for the summary */
    uint32_t latency_us[SEND_LATENCIES]; /* a sample of send-to-acknowledgement times, a ring */
    uint64_t latencies;
};

struct send_options {
    const char *host, *port, *path;
    const char *token;    /* NULL: none */
    const char *ack;      /* none | received | spooled | stored */
    const char *producer; /* name, to which the link's number is added */
    unsigned links, batch;
    struct send_feed *feed;
};

/* What was put together in one go and is not yet acknowledged: up to which event, and when. */
struct send_mark {
    uint64_t through, at_ns;
};

struct send_link {
    const struct send_protocol *protocol;
    const struct send_options *options;
    struct send_totals *totals;
    unsigned number;
    uint64_t events;        /* its own, in all */
    uint64_t next;          /* the next of its events to be put into `out` */
    uint64_t settled;       /* acknowledged or refused: the first so many */
    uint64_t not_before_ns; /* the server asked for patience */
    bool ready;             /* greeted: events may go */
    bool upgraded;          /* WebSocket: the 101 has come */
    bool hang_up;           /* the protocol wants a fresh connection (after what it has said) */
    char fatal[256];        /* cannot go on, and why */
    struct buf out, in;
    struct send_mark mark[SEND_WINDOW];
    unsigned mark_first, marks;
    uint64_t duplicates_here; /* TCP: as the server counts them on this connection */
};

struct send_protocol {
    const char *scheme, *port, *path; /* defaults */
    bool gives_ids;                   /* resending is recognised by id, so every event needs one */
    /* (Re)connected: put the greeting into `out`. */
    void (*start)(struct send_link *link);
    /* Put up to `events_max` more of its events into `out`. */
    void (*fill)(struct send_link *link, uint64_t events_max, uint64_t now_ns);
    /* More came into `in`: take what is whole. */
    void (*input)(struct send_link *link, uint64_t now_ns);
};

extern const struct send_protocol send_tcp, send_http, send_ws;

/* The link's n-th event in the feed's numbering. */
static inline uint64_t send_link_index(const struct send_link *link, uint64_t n)
{
    return link->number + n * link->options->links;
}

void send_link_mark(struct send_link *link, uint64_t now_ns);
/* The first `settled` events are done: counts, latency. */
void send_link_settle(struct send_link *link, uint64_t settled, uint64_t now_ns);
void send_link_reject(struct send_link *link, uint64_t count, struct span reason);
/* What was refused and what was known, as an answer to a batch says: "rejected", "duplicates". */
void send_link_count(struct send_link *link, struct span answer);
/* Does what came in begin as an HTTP answer? False: not yet; or never, and the link has failed. */
NODISCARD bool send_link_speaks_http(struct send_link *link);
void send_link_fail(struct send_link *link, const char *format, ...) PRINTF_LIKE(2, 3);
/* The number behind a name in a JSON object of the server's; 0 if absent. */
uint64_t send_number(struct span object, const char *name);

#endif
