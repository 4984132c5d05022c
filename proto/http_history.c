/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/http_history.h"

#include "core/buf.h"
#include "core/command.h"

#include <stdio.h>

enum { LIMIT_PRESET = 50, COMPLAINT_BYTES_MAX = 1024 };

struct parked {
    struct list link; /* unlinked: not parked (any more) */
    struct http_request *request;
    uint64_t token;
};

/* ── The question ───────────────────────────────────────────────────────────────────────────── */

enum { LIMIT, BEFORE, CHANNEL, PARAMETERS };

static const struct parameter {
    const char *name;
    int64_t least, most;
    const char *wanted;
} parameters[PARAMETERS] = {
    [LIMIT] = {"limit", 1, DIRECTORY_MESSAGES_MAX, "a whole number from 1 to 1000"},
    [BEFORE] = {"before", INT64_MIN, INT64_MAX, "a whole number"},
    [CHANNEL] = {"channel_id", INT64_MIN, INT64_MAX, "a whole number"},
};
_Static_assert(DIRECTORY_MESSAGES_MAX == 1000, "the table says so to clients");

/* FastAPI's shape, and our own code and message, as POST /messages. */
static void complain(struct http_request *request, struct turn *turn,
                     const struct parameter *parameter)
{
    struct buf body = {.max = COMPLAINT_BYTES_MAX};
    struct http_response response = {.status = 422};
    if (buf_print(&body,
                  "{\"detail\":[{\"type\":\"int_parsing\",\"loc\":[\"query\",\"%s\"],\"msg\":"
                  "\"Input should be %s\"}],\"code\":\"INVALID_FIELD\",\"message\":\"%s: must be "
                  "%s\"}",
                  parameter->name, parameter->wanted, parameter->name, parameter->wanted))
        response.body = buf_span(&body);
    http_respond(request, turn, &response, NULL);
    buf_fini(&body);
}

/* The first that is there and not what it should be, or NULL. Those that are not there stay. */
static const struct parameter *read_numbers(const struct http_request *request,
                                            int64_t number[PARAMETERS])
{
    char text[32];
    for (unsigned i = 0; i < PARAMETERS; i++) {
        const struct parameter *parameter = &parameters[i];
        if (http_query_has(request, parameter->name) &&
            (!http_query(request, parameter->name, text, sizeof text) ||
             !command_number(text, parameter->least, parameter->most, &number[i])))
            return parameter;
    }
    return NULL;
}

/* False: it has been answered. */
static bool read_question(struct http_request *request, struct turn *turn, struct question *out)
{
    int64_t number[PARAMETERS] = {LIMIT_PRESET, INT64_MAX, 0};
    const struct parameter *wrong = read_numbers(request, number);
    if (wrong != NULL) {
        complain(request, turn, wrong);
        return false;
    }
    *out = (struct question){
        .kind = QUESTION_MESSAGES,
        .messages = {.before = number[BEFORE],
                     .channel_id = number[CHANNEL],
                     .has_channel = http_query_has(request, parameters[CHANNEL].name),
                     .limit = (unsigned)number[LIMIT]}};
    return true;
}

/* ── The answer ─────────────────────────────────────────────────────────────────────────────── */

static void answer(struct http_request *request, struct turn *turn, const struct finding *finding)
{
    struct http_response response = {.status = 200, .body = finding->json};
    if (finding->kind == FINDING_YES)
        http_respond(request, turn, &response, NULL);
    else
        http_refuse_for_now(request, turn, 503, 1, "OVERLOADED",
                            "the messages can't be read from Postgres at the moment");
}

static struct parked *parked_with(struct http_history *history, uint64_t token)
{
    for (struct list *link = history->waiting.next; link != &history->waiting; link = link->next) {
        struct parked *parked = LIST_ENTRY(link, struct parked, link);
        if (parked->token == token)
            return parked;
    }
    return NULL;
}

static void answered(void *self, struct turn *turn, uint64_t token, const struct finding *finding)
{
    struct parked *parked = parked_with(self, token);
    if (parked != NULL)
        answer(parked->request, turn, finding);
}

/* ── The route ──────────────────────────────────────────────────────────────────────────────── */

void http_history_init(struct http_history *history, struct directory *directory)
{
    *history = (struct http_history){.directory = directory, .asker = {history, answered}};
    list_init(&history->waiting);
}

size_t http_history_state_bytes(void)
{
    return sizeof(struct parked);
}

void http_history_handle(void *context, struct turn *turn, struct http_request *request)
{
    struct http_history *history = context;
    struct question question;
    struct finding finding;
    if (!read_question(request, turn, &question))
        return;
    uint64_t token = ++history->asked;
    if (directory_ask(history->directory, turn, &question, &history->asker, token, &finding)) {
        answer(request, turn, &finding);
        return;
    }
    struct parked *parked = request->state;
    parked->request = request;
    parked->token = token;
    list_append(&history->waiting, &parked->link);
    http_park(request);
}

void http_history_forget(void *context, struct http_request *request)
{
    struct parked *parked = request->state;
    (void)context;
    if (list_linked(&parked->link))
        list_remove(&parked->link);
}
