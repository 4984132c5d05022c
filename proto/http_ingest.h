/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /events (CONTRACTS.md 3): one event, an array, or one a line; any size, as it comes.
 *
 *   the body ─► cut into values ─► event_parse ─► 64 at a time ─► intake ─► receipt ─► one answer
 *
 * The answer, held until its level is true, is
 *   {"accepted":n,"duplicates":n,"rejected":[{"index":i,"code":…,"message":…,"id":…},…]}
 * `rejected` lists what fits into 64 KiB, and "unlisted":n says how many more there were. The
 * status says what to do next:
 *
 *   202  everything that is good has been taken; what is in `rejected` need not be sent again
 *   503  there was no room for the event named last in `rejected` (OVERLOADED), nor for any behind
 *        it. Wait, as Retry-After says, and send those again; or all: an event with an id is not
 *        stored twice
 *   429  the same, of events that came too fast (RATE_LIMITED)
 *   4xx  nothing was taken: 413, 403, 401 if all are for the one reason, else 400
 *
 * If the body breaks off in the middle (its coding, its size, its time), the answer has "code" and
 * "message" besides, and counts what was taken before.
 */
#ifndef PROTO_HTTP_INGEST_H
#define PROTO_HTTP_INGEST_H

#include "proto/http.h"

/* A route's context; one a shard. */
struct http_ingest {
    struct intake *intake;
    uint64_t events_per_second; /* of one connection; 0: no limit */
    /* Room for one group of events, needed only inside a call. */
    struct event events[INTAKE_MAX];
    const struct stream *streams[INTAKE_MAX];
    struct verdict verdicts[INTAKE_MAX];
};

/* request->state. */
size_t http_ingest_state_bytes(void);

/* The functions of the route: {.method = "POST", .path = "/events", .context = …, .state_bytes
 * = …, .feed = http_ingest_feed, .cut = http_ingest_cut, .forget = http_ingest_forget}. */
size_t http_ingest_feed(void *context, struct turn *turn, struct http_request *request, uint8_t *at,
                        size_t length, bool last);
void http_ingest_cut(void *context, struct turn *turn, struct http_request *request,
                     unsigned status, const char *code, const char *message);
void http_ingest_forget(void *context, struct http_request *request);

/* The acknowledgement level that ?ack= asks for; ACK_SPOOLED without. False:
 * no such level, or not here; the request has been answered. Also for other doors. */
NODISCARD bool http_ingest_level(struct http_request *request, struct turn *turn,
                                 const struct intake *intake, enum ack_level *out);

#endif
