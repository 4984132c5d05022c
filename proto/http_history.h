/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /messages?limit=&before=&channel_id= (CONTRACTS.md 4, HTTP API): the stored messages, newest
 * first, as an array of {id, user_id, channel_id, content, created_at}.
 *
 *   limit       1 … 1000; 50 if it is not given. A page may hold fewer: the last one does, and one
 *               that would become longer than half of limits.output_bytes
 *   before      only messages with a smaller id: the last one's of the page before
 *   channel_id  only this channel's
 *
 * 422 as for POST /messages if one of them is no number; 503 with Retry-After while Postgres does
 * not answer. One a shard, on its thread; the request is parked while the directory looks.
 */
#ifndef PROTO_HTTP_HISTORY_H
#define PROTO_HTTP_HISTORY_H

#include "core/list.h"
#include "proto/directory.h"
#include "proto/http.h"

struct http_history {
    struct directory *directory;
    struct asker asker;
    struct list waiting; /* requests that are parked */
    uint64_t asked;      /* how many were: the token of the last */
};

void http_history_init(struct http_history *history, struct directory *directory);

/* The route's: context is the struct http_history. */
size_t http_history_state_bytes(void);
void http_history_handle(void *context, struct turn *turn, struct http_request *request);
void http_history_forget(void *context, struct http_request *request);

#endif
