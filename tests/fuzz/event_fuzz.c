/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes, under rules that the first byte chooses: an accepted event keeps every promise of
 * event.h, and what is stored of it is JSON; a refused one says why.
 */
#include "proto/event.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static struct event_rules rules_of(uint8_t choice)
{
    struct event_rules rules = {.bytes_max = (choice & 16) != 0 ? 64 : 65536};
    if ((choice & 1) != 0)
        rules.default_type = SPAN("given");
    if ((choice & 2) != 0)
        rules.bare_type = SPAN("bare");
    rules.body_is_data = (choice & 4) != 0;
    rules.keep_flaws = (choice & 8) != 0;
    return rules;
}

static void check_text(struct span text, size_t max)
{
    must(text.at == NULL || (text.length >= 1 && text.length <= max));
    must(text.at == NULL || memchr(text.at, '\0', text.length) == NULL);
}

static void check_stored(const struct event *event)
{
    struct json_value value;
    size_t fault, bytes_max = event_data_bytes_max(event);
    uint8_t *out = malloc(bytes_max + 1);
    must(out != NULL);
    size_t length = event_put_data(event, out);
    must(length <= bytes_max);
    if (length > 0) {
        int error = json_document(span_of(out, length), &value, &fault);
        /* What is merged stands one level deeper. */
        must(error == JSON_OK || (error == JSON_TOO_DEEP && event->extras > 0));
        must(error != JSON_OK || value.flaws == event->data.flaws);
    }
    free(out);
}

static void check_accepted(const struct event *event)
{
    check_text(event->type, EVENT_TYPE_MAX);
    check_text(event->id, EVENT_TEXT_MAX);
    check_text(event->tenant_id, EVENT_TEXT_MAX);
    check_text(event->user_id, EVENT_TEXT_MAX);
    check_text(event->project_id, EVENT_TEXT_MAX);
    check_text(event->session_id, EVENT_TEXT_MAX);
    check_text(event->room_id, EVENT_TEXT_MAX);
    must(event->type.at != NULL);
    must(event->extras <= EVENT_EXTRA_MAX);
    if (event->has_timestamp) {
        char text[EVENT_TIME_BYTES];
        int64_t us;
        event_time_print(event->timestamp_us, text);
        must(event_time_parse(span_of(text, sizeof text), &us) && us == event->timestamp_us);
    }
    check_stored(event);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    if (length == 0)
        return 0;
    struct event_rules rules = rules_of(bytes[0]);
    struct event event;
    struct refusal refusal = {0};
    uint8_t *text = malloc(length);
    must(text != NULL);
    memcpy(text, bytes + 1, length - 1);
    enum event_code code = event_parse(span_of(text, length - 1), &rules, &event, &refusal);
    if (code == EVENT_ACCEPTED) {
        check_accepted(&event);
        must(rules.keep_flaws || event.data.flaws == 0);
    } else {
        must(refusal.code == code && refusal.message[0] != '\0');
        check_text(event.id, EVENT_TEXT_MAX);
    }
    free(text);
    return 0;
}
