/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP API of the hub (CONTRACTS.md 4). One a shard, on its thread.
 *
 *   POST   /api/publish               {"to":{"user"|"tenant"|"room"|"project":id}|"all",
 *                                      "event":name[,"data":…][,"type":…]}        scope publish.
 *                                     202 {"status":"published","room":…,"event":…}
 *   GET    /api/rooms/{room}/users    {"room":…,"users":[…],"count":n}            scope admin, as all below
 *   GET    /api/projects/{id}/users   {"projectId":…,"users":[…],"count":n}
 *   GET    /api/connections           totals, by user, by tenant, by transport
 *          ?user=ID, ?tenant=ID, ?list    each of them: {"connections":[{"id","userId","tenantId",
 *                                     "transport","connectedAt"}],"count":n,"truncated":bool}
 *   DELETE /api/connections/{id}      {"disconnected":true,"id":…}, or 404
 *
 * A publication is kept in the history, like those of events. The last four ask all shards: the request
 * is parked meanwhile.
 */
#ifndef WS_API_H
#define WS_API_H

#include "proto/http.h"
#include "ws/hub.h"

struct api {
    struct hub *hub;
};

enum { API_ROUTES = 5 };
void api_routes(struct api *api, struct http_route out[API_ROUTES]);

#endif
