/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/http_messages.h"

#include "proto/http_ingest.h"

#include <stdio.h>

enum { DETAIL_BYTES_MAX = 8192 };

/* FastAPI's names for what can be wrong. */
static const char type_missing[] = "missing", type_int[] = "int_type", type_text[] = "string_type",
                  type_json[] = "json_invalid", type_object[] = "model_attributes_type",
                  type_value[] = "value_error";

static const struct member {
    const char *name;
    bool number;
} members[] = {{"user_id", true}, {"channel_id", true}, {"content", false}};

/* What is wrong with a body: FastAPI's list, and the first of it as our message. */
struct complaint {
    struct buf detail; /* entries without the brackets */
    char message[200];
};

/* member NULL: the body as a whole. */
static void complain(struct complaint *complaint, const char *member, const char *type,
                     const char *message)
{
    struct buf *detail = &complaint->detail;
    if (complaint->message[0] == '\0')
        snprintf(complaint->message, sizeof complaint->message, "%s%s%s",
                 member == NULL ? "" : member, member == NULL ? "" : ": ", message);
    bool put = (detail->length == 0 || buf_put(detail, ",", 1)) &&
               buf_print(detail, "{\"type\":\"%s\",\"loc\":[\"body\"", type) &&
               (member == NULL || buf_print(detail, ",\"%s\"", member)) &&
               buf_put(detail, "],\"msg\":", 8) && buf_put_json(detail, span_of_string(message)) &&
               buf_put(detail, "}", 1);
    if (!put) /* no memory: the status and our message have to do */
        detail->length = 0;
}

static void check_member(struct complaint *complaint, struct span object,
                         const struct member *member)
{
    struct json_value value;
    if (!json_find(object, member->name, &value))
        complain(complaint, member->name, type_missing, "Field required");
    else if (member->number && value.kind != JSON_NUMBER && value.kind != JSON_STRING)
        complain(complaint, member->name, type_int, "Input should be a valid integer");
    else if (!member->number && value.kind != JSON_STRING)
        complain(complaint, member->name, type_text, "Input should be a valid string");
}

/* True: the body is an object with what a message needs. */
static bool check(struct complaint *complaint, struct span body)
{
    struct json_value value;
    size_t fault;
    if (json_document(body, &value, &fault) != JSON_OK) {
        complain(complaint, NULL, type_json, "JSON decode error");
        return false;
    }
    if (value.kind != JSON_OBJECT) {
        complain(complaint, NULL, type_object, "Input should be a valid object");
        return false;
    }
    for (size_t i = 0; i < COUNT_OF(members); i++)
        check_member(complaint, value.text, &members[i]);
    return complaint->message[0] == '\0';
}

/* A refusal's message begins with the member that it is about. */
static void complain_refusal(struct complaint *complaint, const struct refusal *refusal)
{
    for (size_t i = 0; i < COUNT_OF(members); i++) {
        size_t length = strlen(members[i].name);
        if (strncmp(refusal->message, members[i].name, length) == 0 &&
            strncmp(refusal->message + length, ": ", 2) == 0) {
            complain(complaint, members[i].name, type_value, refusal->message + length + 2);
            return;
        }
    }
    complain(complaint, NULL, type_value, refusal->message);
}

static void answer_unprocessable(struct http_request *request, struct turn *turn,
                                 const struct complaint *complaint, enum event_code code)
{
    struct buf body = {.max = DETAIL_BYTES_MAX * 2};
    struct http_response response = {.status = 422};
    if (buf_put(&body, "{\"detail\":[", 11) &&
        buf_put(&body, complaint->detail.at, complaint->detail.length) &&
        buf_print(&body, "],\"code\":\"%s\",\"message\":", event_code_name(code)) &&
        buf_put_json(&body, span_of_string(complaint->message)) && buf_put(&body, "}", 1))
        response.body = buf_span(&body);
    http_respond(request, turn, &response, NULL);
    buf_fini(&body);
}

static void answer_refusal(struct http_request *request, struct turn *turn,
                           const struct refusal *refusal)
{
    struct complaint complaint = {.detail = {.max = DETAIL_BYTES_MAX}};
    const char *name = event_code_name(refusal->code);
    switch (refusal->code) {
    case EVENT_TOO_LARGE:
        http_refuse(request, turn, 413, (struct span){NULL, 0}, name, refusal->message);
        break;
    case EVENT_UNAUTHORIZED:
    case EVENT_FORBIDDEN:
        http_refuse(request, turn, 403, (struct span){NULL, 0}, name, refusal->message);
        break;
    case EVENT_RATE_LIMITED:
        http_refuse_for_now(request, turn, 429, 1, name, refusal->message);
        break;
    default:
        complain_refusal(&complaint, refusal);
        answer_unprocessable(request, turn, &complaint, refusal->code);
        break;
    }
    buf_fini(&complaint.detail);
}

static void answer_queued(struct http_request *request, struct turn *turn,
                          const struct receipt *receipt)
{
    struct http_response response = {.status = 202, .body = SPAN("{\"status\":\"queued\"}")};
    http_respond(request, turn, &response, receipt);
}

static void give(struct intake *intake, struct turn *turn, struct http_request *request,
                 struct event *event, enum ack_level level)
{
    struct source source = {.principal = request->principal,
                            .received = COUNT_EVENTS_RECEIVED_HTTP};
    const struct stream *stream = streams_find(intake->streams, "messages");
    struct verdict verdict;
    struct receipt receipt;
    if (intake->accept(intake, turn, &source, event, &stream, 1, &verdict) == 0) {
        http_refuse_for_now(request, turn, 503, intake->retry_after_s(intake), "OVERLOADED",
                            "no room for messages at the moment");
        return;
    }
    if (verdict.code != EVENT_ACCEPTED && verdict.code != EVENT_DUPLICATE) {
        answer_refusal(request, turn, &verdict.refusal);
        return;
    }
    receipt_start(&receipt, shard_index(turn->shard), level);
    receipt_add(&receipt, 0, event->id, &verdict);
    answer_queued(request, turn, &receipt);
    receipt_fini(&receipt);
}

/* True: *event is the message. Else it has been answered. */
static bool parse(const struct intake *intake, struct turn *turn, struct http_request *request,
                  struct event *event)
{
    struct span body = span_of(request->body, request->body_length);
    struct complaint complaint = {.detail = {.max = DETAIL_BYTES_MAX}};
    struct event_rules rules = intake->rules;
    struct refusal refusal = {.code = EVENT_INVALID_FIELD};
    rules.default_type = SPAN("message");
    rules.body_is_data = true;
    bool good = check(&complaint, body);
    enum event_code code = event_parse(body, &rules, event, &refusal);
    if (good && code != EVENT_ACCEPTED)
        answer_refusal(request, turn, &refusal);
    else if (!good)
        answer_unprocessable(request, turn, &complaint,
                             code == EVENT_ACCEPTED ? EVENT_INVALID_FIELD : refusal.code);
    if (!good || code != EVENT_ACCEPTED)
        intake_count_refused(turn, COUNT_EVENTS_RECEIVED_HTTP,
                             code == EVENT_ACCEPTED ? EVENT_INVALID_FIELD : refusal.code);
    buf_fini(&complaint.detail);
    return good && code == EVENT_ACCEPTED;
}

void http_messages_handle(void *context, struct turn *turn, struct http_request *request)
{
    const struct http_messages *messages = context;
    enum ack_level level;
    struct event event;
    if (!http_ingest_level(request, turn, messages->intake, &level))
        return;
    if (!parse(messages->intake, turn, request, &event))
        return;
    event.unwrapped = false;
    give(messages->intake, turn, request, &event, level);
}
