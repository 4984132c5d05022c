/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TCP door as a producer sees it: hello with a name of its own,
 * then lines; the welcome says from where to go on.
 */
#include "core/send_link.h"

#include "proto/json.h"

#include <stdio.h>

enum { PRODUCER_BYTES = 4096 }; /* the server takes fewer, and says so */

static void start(struct send_link *link)
{
    const struct send_options *options = link->options;
    link->duplicates_here = 0;
    struct buf name = {.max = PRODUCER_BYTES};
    bool put = buf_print(&name, "%s-%u", options->producer, link->number) &&
               buf_print(&link->out, "{\"hello\":{\"ack\":\"%s\",\"producer\":", options->ack) &&
               buf_put_json(&link->out, buf_span(&name));
    buf_fini(&name);
    if (options->token != NULL)
        put = put && buf_put(&link->out, ",\"token\":", 9) &&
              buf_put_json(&link->out, span_of_string(options->token));
    if (!put || !buf_put(&link->out, "}}\n", 3))
        send_link_fail(link, "no memory");
}

static void fill(struct send_link *link, uint64_t events_max, uint64_t now_ns)
{
    uint64_t before = link->next;
    while (events_max-- > 0 && link->next < link->events && link->out.length < SEND_FILL_BYTES) {
        if (!send_feed_put(link->options->feed, send_link_index(link, link->next), &link->out) ||
            !buf_put(&link->out, "\n", 1)) {
            send_link_fail(link, "no memory");
            return;
        }
        link->next++;
    }
    if (link->next > before)
        send_link_mark(link, now_ns);
}

static void welcome(struct send_link *link, struct span body, uint64_t now_ns)
{
    uint64_t resume = send_number(body, "resume");
    if (resume > link->events)
        resume = link->events;
    link->ready = true;
    link->next = resume;
    send_link_settle(link, resume, now_ns);
}

static void line(struct send_link *link, struct span text, uint64_t now_ns)
{
    struct json_value value, inner;
    size_t fault;
    if (json_document(text, &value, &fault) != 0 || value.kind != JSON_OBJECT) {
        send_link_fail(link, "not a ringmain TCP door: it said %.*s", SPAN_ARGS(text));
    } else if (json_find(value.text, "welcome", &inner)) {
        welcome(link, inner.text, now_ns);
    } else if (json_find(value.text, "error", &inner)) {
        send_link_fail(link, "refused: %.*s", SPAN_ARGS(inner.text));
    } else if (json_find(value.text, "reject", &inner)) {
        send_link_reject(link, 1, value.text);
    } else {
        uint64_t duplicates = send_number(value.text, "duplicates");
        if (duplicates > link->duplicates_here) {
            link->totals->duplicates += duplicates - link->duplicates_here;
            link->duplicates_here = duplicates;
        }
        send_link_settle(link, send_number(value.text, "ack"), now_ns);
    }
}

static void input(struct send_link *link, uint64_t now_ns)
{
    size_t used = 0;
    while (link->fatal[0] == '\0') {
        const uint8_t *at = link->in.at + used;
        const uint8_t *newline =
            link->in.length == used ? NULL : memchr(at, '\n', link->in.length - used);
        if (newline == NULL)
            break;
        line(link, span_of(at, (size_t)(newline - at)), now_ns);
        used += (size_t)(newline - at) + 1;
    }
    buf_drop(&link->in, used);
}

const struct send_protocol send_tcp = {"tcp", "7070", "", false, start, fill, input};
