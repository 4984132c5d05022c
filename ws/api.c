/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions. An answer comes from the hub in this turn or a later one; in between the request is parked,
 * and its state holds what is needed to answer it, or to take the question back.
 */
#include "ws/api.h"

#include "proto/json.h"
#include "ws/publishing.h"

#include <stdio.h>

enum { ANSWER_MAX = 1 << 30, NAME_MAX_BYTES = 256 };

struct asking {
    struct api *api;
    struct http_request *request;
    uint64_t asked;              /* 0: answered */
    const char *member, *prefix; /* of a room: how it is called in the answer, and in the hub */
    char name[NAME_MAX_BYTES];   /* as it was asked for */
};

static void respond(struct http_request *request, struct turn *turn, struct buf *body, bool good)
{
    struct http_response response = {.status = 200, .body = buf_span(body)};
    if (good)
        http_respond(request, turn, &response, NULL);
    else
        http_refuse_for_now(request, turn, 503, 1, "OVERLOADED", "no memory");
    buf_fini(body);
}

/* ── Who is there ───────────────────────────────────────────────────────────────────────────── */

static unsigned elements(struct span array)
{
    struct json_walk walk = json_walk(array);
    struct json_value element;
    struct span name;
    unsigned found = 0;
    while (json_next(&walk, &name, &element))
        found++;
    return found;
}

static void users_found(void *context, struct turn *turn, struct span json)
{
    struct asking *asking = context;
    struct buf body = {.max = ANSWER_MAX};
    asking->asked = 0;
    bool good = json.at != NULL && buf_print(&body, "{\"%s\":", asking->member) &&
                buf_put_json(&body, span_of_string(asking->name)) &&
                buf_print(&body, ",\"users\":%.*s,\"count\":%u}", SPAN_ARGS(json), elements(json));
    respond(asking->request, turn, &body, good);
}

static void connections_found(void *context, struct turn *turn, struct span json)
{
    struct asking *asking = context;
    struct buf body = {.max = ANSWER_MAX};
    asking->asked = 0;
    respond(asking->request, turn, &body, json.at != NULL && buf_put(&body, json.at, json.length));
}

static void kicked(void *context, struct turn *turn, struct span json)
{
    struct asking *asking = context;
    struct buf body = {.max = ANSWER_MAX};
    asking->asked = 0;
    if (span_is(json, "0")) {
        http_refuse(asking->request, turn, 404, (struct span){NULL, 0}, "NOT_FOUND",
                    "no connection has this id");
        return;
    }
    respond(asking->request, turn, &body,
            buf_print(&body, "{\"disconnected\":true,\"id\":") &&
                buf_put_json(&body, span_of_string(asking->name)) && buf_print(&body, "}"));
}

/* ── The questions ──────────────────────────────────────────────────────────────────────────── */

static void ask(struct api *api, struct turn *turn, struct http_request *request,
                enum hub_question question, struct span name, hub_answer answer)
{
    struct asking *asking = request->state;
    asking->api = api;
    asking->request = request;
    asking->asked = hub_ask(api->hub, turn, question, name, answer, asking);
    if (asking->asked == 0)
        http_refuse_for_now(request, turn, 503, 1, "OVERLOADED", "too many questions at a time");
    else
        http_park(request);
}

static bool read_name(struct turn *turn, struct http_request *request, size_t room)
{
    struct asking *asking = request->state;
    if (http_argument(request, asking->name, room) && asking->name[0] != '\0')
        return true;
    http_refuse(request, turn, 404, (struct span){NULL, 0}, "NOT_FOUND",
                "the name in the path is empty, too long or badly encoded");
    return false;
}

static void ask_users(struct api *api, struct turn *turn, struct http_request *request,
                      const char *member, const char *prefix)
{
    struct asking *asking = request->state;
    char room[ROOM_NAME_MAX + 1];
    asking->member = member;
    if (!read_name(turn, request, ROOM_NAME_MAX + 1 - strlen(prefix)))
        return;
    int length = snprintf(room, sizeof room, "%s%s", prefix, asking->name);
    ask(api, turn, request, HUB_WHO, span_of(room, (size_t)length), users_found);
}

static void room_users(void *context, struct turn *turn, struct http_request *request)
{
    ask_users(context, turn, request, "room", "");
}

static void project_users(void *context, struct turn *turn, struct http_request *request)
{
    ask_users(context, turn, request, "projectId", "project:");
}

/* "user:ID", "tenant:ID" or "". False: the request has been answered. */
static bool read_owner(struct turn *turn, struct http_request *request, char out[ROOM_NAME_MAX + 1])
{
    char id[ROOM_NAME_MAX + 1 - sizeof "tenant:"];
    bool of_user = http_query_has(request, "user"), of_tenant = http_query_has(request, "tenant");
    const char *kind = of_user ? "user" : "tenant";
    out[0] = '\0';
    if (!of_user && !of_tenant)
        return true;
    if ((of_user && of_tenant) || !http_query(request, kind, id, sizeof id) || id[0] == '\0') {
        http_refuse(request, turn, 400, (struct span){NULL, 0}, "INVALID_FIELD",
                    "user, tenant: the id of one of them");
        return false;
    }
    snprintf(out, ROOM_NAME_MAX + 1, "%s:%s", kind, id);
    return true;
}

static void connections(void *context, struct turn *turn, struct http_request *request)
{
    char owner[ROOM_NAME_MAX + 1];
    if (!read_owner(turn, request, owner))
        return;
    bool list = owner[0] != '\0' || http_query_has(request, "list");
    ask(context, turn, request, list ? HUB_LIST : HUB_CONNECTIONS, span_of_string(owner),
        connections_found);
}

static void disconnect(void *context, struct turn *turn, struct http_request *request)
{
    struct asking *asking = request->state;
    if (read_name(turn, request, ROOM_NAME_MAX + 1))
        ask(context, turn, request, HUB_KICK, span_of_string(asking->name), kicked);
}

static void forget(void *context, struct http_request *request)
{
    struct api *api = context;
    struct asking *asking = request->state;
    if (asking->asked != 0)
        hub_forget(api->hub, asking->asked);
    asking->asked = 0;
}

/* ── Publishing ─────────────────────────────────────────────────────────────────────────────── */

static void publish(void *context, struct turn *turn, struct http_request *request)
{
    struct api *api = context;
    struct publishing publishing;
    struct span none = {NULL, 0};
    struct buf body = {.max = 4096};
    const char *wrong = publishing_read(&publishing, request->body, request->body_length);
    if (wrong != NULL) {
        http_refuse(request, turn, 400, none, publishing.code, wrong);
        return;
    }
    if (!hub_publish(api->hub, turn, &publishing.publish)) {
        http_refuse_for_now(request, turn, 503, 1, "OVERLOADED", "too much is being published");
        return;
    }
    bool good = buf_print(&body, "{\"status\":\"published\",\"room\":") &&
                buf_put_json(&body, publishing.publish.room) && buf_print(&body, ",\"event\":") &&
                buf_put_json(&body, publishing.publish.event) && buf_print(&body, "}");
    struct http_response response = {.status = 202, .body = buf_span(&body)};
    if (good)
        http_respond(request, turn, &response, NULL);
    else
        http_refuse_for_now(request, turn, 503, 1, "OVERLOADED", "no memory");
    buf_fini(&body);
}

/* ── Routes ─────────────────────────────────────────────────────────────────────────────────── */

static struct http_route question(struct api *api, const char *method, const char *path,
                                  void (*handle)(void *, struct turn *, struct http_request *))
{
    return (struct http_route){.method = method,
                               .path = path,
                               .token = true,
                               .scopes = SCOPE_ADMIN,
                               .state_bytes = sizeof(struct asking),
                               .context = api,
                               .handle = handle,
                               .forget = forget};
}

void api_routes(struct api *api, struct http_route out[API_ROUTES])
{
    out[0] = (struct http_route){.method = "POST",
                                 .path = "/api/publish",
                                 .token = true,
                                 .scopes = SCOPE_PUBLISH | SCOPE_PUBLISH_ALL,
                                 .body_bytes = PUBLISHING_BYTES_MAX,
                                 .context = api,
                                 .handle = publish};
    out[1] = question(api, "GET", "/api/rooms/{room}/users", room_users);
    out[2] = question(api, "GET", "/api/projects/{id}/users", project_users);
    out[3] = question(api, "GET", "/api/connections", connections);
    out[4] = question(api, "DELETE", "/api/connections/{id}", disconnect);
}
