/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP door as a producer sees it: one POST /events of a batch at a time; a batch that was not
 * answered, or answered with 429 or 503, is sent again as it was. Ids make that harmless.
 */
#include "core/send_link.h"

#include "proto/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { RETRY_DEFAULT_MS = 500 };

static void start(struct send_link *link)
{
    link->ready = true;
    link->next = link->settled;
}

static void fill(struct send_link *link, uint64_t events_max, uint64_t now_ns)
{
    const struct send_options *options = link->options;
    if (link->next > link->settled || now_ns < link->not_before_ns || link->out.length > 0)
        return; /* an answer is due, or patience */
    struct buf body = {.max = (size_t)1 << 30};
    uint64_t end = link->next + (events_max < options->batch ? events_max : options->batch);
    uint64_t next = link->next;
    bool put = true;
    for (; put && next < end && next < link->events; next++)
        put = send_feed_put(options->feed, send_link_index(link, next), &body) &&
              buf_put(&body, "\n", 1);
    if (put && next > link->next) {
        put = buf_print(&link->out,
                        "POST %s?ack=%s HTTP/1.1\r\nHost: %s:%s\r\nUser-Agent: ringmain-send/%s\r\n"
                        "Content-Type: application/x-ndjson\r\nContent-Length: %zu\r\n",
                        options->path, options->ack, options->host, options->port, RINGMAIN_VERSION,
                        body.length);
        if (options->token != NULL)
            put = put && buf_print(&link->out, "Authorization: Bearer %s\r\n", options->token);
        put = put && buf_put(&link->out, "\r\n", 2) && buf_put(&link->out, body.at, body.length);
        link->next = next;
        send_link_mark(link, now_ns);
    }
    if (!put)
        send_link_fail(link, "no memory");
    buf_fini(&body);
}

/* A header field's value in the response's head, or {NULL,0}. */
static struct span field(struct span head, const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i + length + 3 < head.length; i++) {
        if (head.at[i] != '\n' || strncasecmp((const char *)head.at + i + 1, name, length) != 0 ||
            head.at[i + 1 + length] != ':')
            continue;
        struct span value = span_from(head, i + length + 2);
        const uint8_t *end = memchr(value.at, '\r', value.length);
        return span_of(value.at, end == NULL ? value.length : (size_t)(end - value.at));
    }
    return (struct span){0};
}

static uint64_t number(struct span text)
{
    uint64_t value = 0;
    for (size_t i = 0; i < text.length; i++)
        if (text.at[i] >= '0' && text.at[i] <= '9')
            value = value * 10 + (uint64_t)(text.at[i] - '0');
    return value;
}

static void settle(struct send_link *link, struct span body, uint64_t now_ns)
{
    send_link_count(link, body);
    send_link_settle(link, link->next, now_ns);
}

static void answer(struct send_link *link, unsigned status, struct span head, struct span body,
                   uint64_t now_ns)
{
    struct json_value value;
    size_t fault;
    bool json = json_document(body, &value, &fault) == 0 && value.kind == JSON_OBJECT;
    struct json_value counts;
    if (status == 429 || status == 503) {
        uint64_t seconds = number(field(head, "Retry-After"));
        link->totals->retries++;
        link->marks = 0;
        link->next = link->settled;
        link->not_before_ns =
            now_ns + (seconds > 0 ? seconds * 1000 : RETRY_DEFAULT_MS) * 1000000ull;
    } else if (json && json_find(value.text, "accepted", &counts)) {
        settle(link, value.text, now_ns);
    } else {
        send_link_fail(link, "refused with status %u: %.*s", status, SPAN_ARGS(body));
    }
    struct span connection = field(head, "Connection");
    if (connection.length >= 5 && memmem(connection.at, connection.length, "close", 5) != NULL)
        link->hang_up = true;
}

static void input(struct send_link *link, uint64_t now_ns)
{
    if (!send_link_speaks_http(link))
        return;
    const uint8_t *end = memmem(link->in.at, link->in.length, "\r\n\r\n", 4);
    if (end == NULL)
        return;
    struct span head = span_of(link->in.at, (size_t)(end - link->in.at) + 2);
    size_t total = head.length + 2 + number(field(head, "Content-Length"));
    if (link->in.length < total)
        return;
    unsigned status = (unsigned)strtoul((const char *)head.at + 9, NULL, 10);
    struct span body = span_of(link->in.at + head.length + 2, total - head.length - 2);
    answer(link, status, head, body, now_ns);
    buf_drop(&link->in, total);
}

const struct send_protocol send_http = {"http", "8080", "/events", true, start, fill, input};
