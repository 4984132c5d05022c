/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics/answer.h"

#include <stdlib.h>
#include <time.h>

struct response {
    const char *status; /* "200 OK" */
    const char *type;
    const char *fields; /* more header lines, each with its end */
    struct span body;
    bool bodyless, keep_alive;
};

static const char type_plain[] = "text/plain; charset=utf-8";

/* RFC 9110 5.6.7; the C locale's names are the ones wanted. */
static void print_date(char out[32])
{
    time_t now = time(NULL);
    struct tm civil;
    must(gmtime_r(&now, &civil) != NULL);
    must(strftime(out, 32, "%a, %d %b %Y %H:%M:%S GMT", &civil) > 0);
}

static bool put_response(struct buf *out, const struct response *response)
{
    char date[32];
    print_date(date);
    return buf_print(out,
                     "HTTP/1.1 %s\r\nDate: %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                     "%sConnection: %s\r\n\r\n",
                     response->status, date, response->type, response->body.length,
                     response->fields, response->keep_alive ? "keep-alive" : "close") &&
           (response->bodyless || buf_put(out, response->body.at, response->body.length));
}

static bool put_metrics(struct answer_source *source, const struct scrape *asked, struct buf *out)
{
    const struct metrics_stage_options *options = &source->options;
    size_t length;
    process_refresh(&source->process);
    char *text = metrics_text(options, &source->process, asked->openmetrics, &length);
    if (text == NULL)
        return false;
    struct response response = {
        .status = "200 OK",
        .type = asked->openmetrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                   : "text/plain; version=0.0.4; charset=utf-8",
        .fields = "Cache-Control: no-store\r\nVary: Accept\r\n",
        .body = span_of(text, length),
        .bodyless = asked->bodyless,
        .keep_alive = asked->keep_alive,
    };
    bool fits = put_response(out, &response);
    free(text);
    return fits;
}

bool answer(struct answer_source *source, const struct scrape *asked, struct buf *out)
{
    if (asked->allowed && asked->page == PAGE_METRICS)
        return put_metrics(source, asked, out);
    struct response response = {.type = type_plain,
                                .fields = "",
                                .bodyless = asked->bodyless,
                                .keep_alive = asked->keep_alive};
    if (asked->page == PAGE_UNKNOWN) {
        response.status = "404 Not Found";
        response.body = SPAN("There is /metrics here, and nothing else.\n");
    } else if (!asked->allowed) {
        response.status = "405 Method Not Allowed";
        response.fields = "Allow: GET, HEAD\r\n";
        response.body = SPAN("GET and HEAD are all that can be done here.\n");
    } else {
        response.status = "200 OK";
        response.type = "text/html; charset=utf-8";
        response.body =
            SPAN("<!doctype html><title>ringmain</title>\n<p>ringmain keeps its numbers "
                 "for Prometheus at <a href=\"/metrics\">/metrics</a>.</p>\n");
    }
    return put_response(out, &response);
}

bool answer_refuse(enum refusal refusal, struct buf *out)
{
    struct response response = {.status = "400 Bad Request",
                                .type = type_plain,
                                .fields = "",
                                .body = SPAN("That is not an HTTP/1 request.\n")};
    if (refusal == REFUSE_HEAD_TOO_LARGE) {
        response.status = "431 Request Header Fields Too Large";
        response.body = SPAN("A request's header may have 8192 bytes.\n");
    }
    return put_response(out, &response);
}
