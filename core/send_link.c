/* SPDX-License-Identifier: Apache-2.0 */
#include "core/send_link.h"

#include "proto/json.h"

#include <stdarg.h>
#include <stdio.h>

void send_link_mark(struct send_link *link, uint64_t now_ns)
{
    if (link->marks == SEND_WINDOW)
        return;
    link->mark[(link->mark_first + link->marks++) % SEND_WINDOW] =
        (struct send_mark){link->next, now_ns};
}

static void sample(struct send_totals *totals, uint64_t ns)
{
    totals->latency_us[totals->latencies++ % SEND_LATENCIES] = (uint32_t)(ns / 1000);
}

bool send_link_speaks_http(struct send_link *link)
{
    static const char begin[] = "HTTP/1.1 ";
    enum { SHOWN = 120 };
    size_t there = link->in.length < sizeof begin - 1 ? link->in.length : sizeof begin - 1;
    if (there == 0 || memcmp(link->in.at, begin, there) == 0)
        return there == sizeof begin - 1;
    size_t shown = link->in.length < SHOWN ? link->in.length : SHOWN;
    send_link_fail(link, "not an HTTP/1.1 server: it said %.*s", (int)shown, link->in.at);
    return false;
}

void send_link_settle(struct send_link *link, uint64_t settled, uint64_t now_ns)
{
    if (settled <= link->settled)
        return;
    link->totals->acknowledged += settled - link->settled;
    link->settled = settled;
    while (link->marks > 0 && link->mark[link->mark_first].through <= settled) {
        sample(link->totals, now_ns - link->mark[link->mark_first].at_ns);
        link->mark_first = (link->mark_first + 1) % SEND_WINDOW;
        link->marks--;
    }
}

void send_link_reject(struct send_link *link, uint64_t count, struct span reason)
{
    link->totals->rejected += count;
    if (link->totals->first_reject[0] == '\0')
        snprintf(link->totals->first_reject, sizeof link->totals->first_reject, "%.*s",
                 SPAN_ARGS(reason));
}

void send_link_count(struct send_link *link, struct span answer)
{
    struct json_value rejected, item;
    struct span name;
    uint64_t refused = 0;
    if (json_find(answer, "rejected", &rejected) && rejected.kind == JSON_ARRAY) {
        struct json_walk walk = json_walk(rejected.text);
        while (json_next(&walk, &name, &item))
            if (refused++ == 0)
                send_link_reject(link, 0, item.text);
    }
    link->totals->rejected += refused + send_number(answer, "unlisted");
    link->totals->duplicates += send_number(answer, "duplicates");
}

void send_link_fail(struct send_link *link, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(link->fatal, sizeof link->fatal, format, arguments);
    va_end(arguments);
}

uint64_t send_number(struct span object, const char *name)
{
    struct json_value value;
    uint64_t number = 0;
    if (!json_find(object, name, &value) || value.kind != JSON_NUMBER)
        return 0;
    for (size_t i = 0; i < value.text.length && value.text.at[i] >= '0' && value.text.at[i] <= '9';
         i++)
        number = number * 10 + (uint64_t)(value.text.at[i] - '0');
    return number;
}
