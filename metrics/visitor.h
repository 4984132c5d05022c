/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP client of the metrics stage. Its socket never blocks and every step has a deadline, so
 * that it can delay nobody: it is asked to take a turn when poll(2) says so, and does one thing.
 *
 *             ┌──────────── keep-alive ───────────┐
 *             ▼                                   │
 *   ABSENT → ASKING ── a whole request ──► ANSWERED ── closing ──► LEAVING → ABSENT
 *
 * One that leaves has the answer in front of it and perhaps more of its own on the way. Closing
 * then would make the kernel send a reset, which can destroy the answer; so its end is read off for
 * a moment first (RFC 9112 9.6).
 */
#ifndef METRICS_VISITOR_H
#define METRICS_VISITOR_H

#include "metrics/answer.h"

enum { VISITOR_STEP_S = 10, VISITOR_IDLE_S = 300, VISITOR_LEAVES_S = 1 };

enum visitor_state { VISITOR_ABSENT, VISITOR_ASKING, VISITOR_ANSWERED, VISITOR_LEAVING };

/* Starts zeroed: absent. */
struct visitor {
    enum visitor_state state;
    int socket;
    bool idle;   /* asking, answered before, and nothing of the next request has come */
    bool unread; /* asking, with input that has not been looked at since the last answer */
    bool last;   /* this answer is the last */
    uint64_t deadline_ns;
    size_t kept; /* bytes in `input` */
    size_t sent; /* bytes of `output` */
    struct buf output;
    uint8_t input[SCRAPE_HEAD_MAX];
};

/* Takes the socket, which does not block. */
void visitor_come(struct visitor *visitor, int socket, uint64_t now_ns);
/* What poll(2) is to wait for. */
short visitor_events(const struct visitor *visitor);
/* Poll has found something. */
void visitor_turn(struct visitor *visitor, struct answer_source *source, uint64_t now_ns);
/* Closes; nothing happens if it is absent. */
void visitor_dismiss(struct visitor *visitor);

#endif
