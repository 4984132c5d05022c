/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pages that tell how the node is: GET /, /health, /livez, /readyz, /stats (CONTRACTS.md 4,
 * HTTP API). One a shard; the handlers' context is a struct gateway_pages.
 */
#ifndef CORE_GATEWAY_PAGES_H
#define CORE_GATEWAY_PAGES_H

#include "core/gateway.h"
#include "proto/http.h"

struct gateway_pages {
    const struct node *node;
    const struct intake *intake;
};

/* The dashboard. It needs no token: what it shows does. */
void page_dashboard(void *context, struct turn *turn, struct http_request *request);
/* 200 {status, postgres, redis, uptime_s, version}:
 * "ok", or "degraded" with `reason` while Postgres is away. */
void page_health(void *context, struct turn *turn, struct http_request *request);
/* 200 as long as the shard turns. */
void page_livez(void *context, struct turn *turn, struct http_request *request);
/* 200 while events are taken in, else 503. */
void page_readyz(void *context, struct turn *turn, struct http_request *request);
/* The numbers of /ws/stats, once. */
void page_stats(void *context, struct turn *turn, struct http_request *request);

#endif
