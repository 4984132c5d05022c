/* SPDX-License-Identifier: Apache-2.0 */
#include "core/gateway_pages.h"

#include "core/buf.h"
#include "metrics/page.h"

#include <stdio.h>

static void respond(struct http_request *request, struct turn *turn, unsigned status,
                    struct span body)
{
    struct http_response response = {.status = status, .body = body};
    http_respond(request, turn, &response, NULL);
}

/* The worst of all writers' states, with its reason. */
static const char *postgres_state(const struct node *node, bool *good, char reason[256])
{
    static const char *const names[] = {[POSTGRES_OFF] = "off",
                                        [POSTGRES_UP] = "up",
                                        [POSTGRES_CONNECTING] = "connecting",
                                        [POSTGRES_DOWN] = "down",
                                        [POSTGRES_HELD] = "held"};
    enum postgres_state worst = POSTGRES_UP;
    reason[0] = '\0';
    *good = true;
    if (node->writers == 0)
        return names[POSTGRES_OFF];
    for (unsigned i = 0; i < node->writers; i++) {
        char why[256] = "";
        enum postgres_state state = writer_state(node->writer[i], why);
        if (state == POSTGRES_UP)
            continue;
        *good = false;
        worst = state;
        memcpy(reason, why, sizeof why);
    }
    return names[worst];
}

void page_dashboard(void *context, struct turn *turn, struct http_request *request)
{
    (void)context;
    /* Nothing but what is in the page itself, and its own connections back here. */
    struct http_response response = {
        .status = 200,
        .type = "text/html; charset=utf-8",
        .headers = SPAN("Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; "
                        "script-src 'unsafe-inline'; connect-src 'self' ws: wss:; "
                        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
                        "Referrer-Policy: no-referrer\r\nCache-Control: no-cache\r\n"),
        .body = page_dashboard_html()};
    http_respond(request, turn, &response, NULL);
}

void page_health(void *context, struct turn *turn, struct http_request *request)
{
    const struct gateway_pages *pages = context;
    struct buf body = {.max = 4096};
    char reason[256];
    bool good;
    const char *postgres = postgres_state(pages->node, &good, reason);
    uint64_t uptime_s = (turn->now_ns - pages->node->started_ns) / 1000000000;
    bool put = buf_print(&body,
                         "{\"status\":\"%s\",\"postgres\":\"%s\",\"redis\":\"off\","
                         "\"uptime_s\":%llu,\"version\":\"%s\"",
                         good ? "ok" : "degraded", postgres, (unsigned long long)uptime_s,
                         RINGMAIN_VERSION);
    if (reason[0] != '\0')
        put = put && buf_put(&body, ",\"reason\":", 10) &&
              buf_put_json(&body, span_of_string(reason));
    if (put && buf_put(&body, "}", 1))
        respond(request, turn, 200, buf_span(&body));
    else
        http_refuse_for_now(request, turn, 503, 1, "OVERLOADED", "no memory");
    buf_fini(&body);
}

void page_livez(void *context, struct turn *turn, struct http_request *request)
{
    (void)context;
    respond(request, turn, 200, SPAN("{\"status\":\"ok\"}"));
}

void page_readyz(void *context, struct turn *turn, struct http_request *request)
{
    const struct gateway_pages *pages = context;
    if (pages->intake->open(pages->intake))
        respond(request, turn, 200, SPAN("{\"status\":\"ready\"}"));
    else
        http_refuse_for_now(
            request, turn, 503, pages->intake->retry_after_s(pages->intake), "OVERLOADED",
            "the spool is full: events are turned away until Postgres has taken some");
}

void page_stats(void *context, struct turn *turn, struct http_request *request)
{
    const struct gateway_pages *pages = context;
    char body[STATS_JSON_MAX];
    size_t length = stats_json(pages->node->stats, turn->wall_us, body);
    respond(request, turn, 200, span_of(body, length));
}
