/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each user's events come to, and `dashboard_data` for whoever watches that user (CONTRACTS.md
 * 4). One for all shards: each counts what it took, in a table of its own that only it writes; what
 * is shown is added up over all tables, by the first shard that has seen the user lately.
 *
 *   dashboard_count     for every group of events that the intake took: a few dozen instructions each
 *   dashboard_publish   every dashboard.interval_ms, for users that have been active within
 *                       dashboard.idle_s and whose room somebody is in
 *
 * A shard remembers dashboard.users users, those that were seen last; of a user that was forgotten,
 * counting begins anew. Of a user's types the first DASHBOARD_TYPES have a count of their own, the
 * rest counts as `other`; of its sessions the DASHBOARD_SESSIONS seen last count as active. Series and
 * sessions are kept while somebody watches; what was before comes from a log of the shard's last
 * events, as far back as that reaches.
 */
#ifndef WS_DASHBOARD_H
#define WS_DASHBOARD_H

#include "proto/intake.h"
#include "ws/hub.h"

enum {
    DASHBOARD_WINDOW_S = 60, /* of the series, and how long a session counts as active */
    DASHBOARD_RATE_S = 10,   /* eventsPerSecond is over so many */
    DASHBOARD_TYPES = 16,
    DASHBOARD_SESSIONS = 16,
};

struct dashboard;

struct dashboard_options {
    unsigned shards;
    unsigned users; /* dashboard.users, of each shard */
    uint64_t interval_ns;
    uint32_t idle_s;
};

/* NULL: no memory. Opened before the shards, closed after them. */
NODISCARD struct dashboard *dashboard_open(const struct dashboard_options *options);
void dashboard_close(struct dashboard *dashboard);

/* Each on the thread of `shard`. */
void dashboard_count(struct dashboard *dashboard, unsigned shard, const struct turn *turn,
                     const struct event *events, const struct verdict *verdicts, unsigned judged);
void dashboard_publish(struct dashboard *dashboard, unsigned shard, struct turn *turn,
                       struct hub *hub);
uint64_t dashboard_due_ns(const struct dashboard *dashboard, unsigned shard);

/* The object for one user, as it is published. False: no shard knows of him, or no memory. */
NODISCARD bool dashboard_put(const struct dashboard *dashboard, const struct turn *turn,
                             struct span user, struct buf *out);

#endif
