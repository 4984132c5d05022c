/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends events over links, one socket each, until all are acknowledged: connects again after a loss,
 * keeps the pace, shows progress, and prints what came of it. One thread over poll(2); SIGINT ends it.
 */
#ifndef CORE_SENDER_H
#define CORE_SENDER_H

#include "core/send_link.h"

#include <netdb.h>

struct sender_terms {
    struct send_options options;
    const struct send_protocol *protocol;
    struct addrinfo *address; /* the server's, tried in this order */
    uint64_t events;          /* in all; a whole number of times the feed's lines */
    int64_t rate;             /* events a second at most; 0: no limit */
    int64_t patience_s;       /* gives up after so long without progress */
    bool quiet, json;
};

/* The process's exit status (core/send.h); what `terms` points to outlives it. */
int sender_run(const struct sender_terms *terms);

#endif
