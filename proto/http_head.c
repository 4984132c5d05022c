/* SPDX-License-Identifier: Apache-2.0 */
/*
 * llhttp reads headers only. It is compiled in its strict mode, and is_strict() adds what
 * version 8.1 lets through even so: a bare LF at the header's end, folded lines, a field without a
 * name. Bodies are framed by proto/http_body.c, since llhttp 8.1 goes on reading a chunk's size
 * behind an extension that has a value ("3;a=b;5").
 */
#include "proto/http_head.h"

#include <llhttp/llhttp.h>
#include <stdlib.h>

struct http_head {
    llhttp_t parser; /* first: see of() */
    struct http_request *request;
    struct http_piece version;
    const uint8_t *base; /* where the header begins, while the parser runs */
    size_t parsed;       /* bytes of it that the parser has seen */
    unsigned refused;    /* the status that a callback decided on */
    bool in_value;       /* the last piece was of a value */
};

static struct http_head *of(llhttp_t *parser)
{
    return (struct http_head *)(void *)parser;
}

static int refuse(struct http_head *head, unsigned status)
{
    head->refused = status;
    return HPE_USER;
}

/* A piece may come in several calls, but never with a hole. */
static int extend(struct http_head *head, struct http_piece *piece, const char *at, size_t length)
{
    size_t offset = (size_t)((const uint8_t *)at - head->base);
    if (piece->length == 0)
        piece->at = (uint16_t)offset;
    else if ((size_t)piece->at + piece->length != offset)
        return refuse(head, 400);
    piece->length = (uint16_t)(piece->length + length);
    return 0;
}

static int on_method(llhttp_t *parser, const char *at, size_t length)
{
    return extend(of(parser), &of(parser)->request->method, at, length);
}

static int on_url(llhttp_t *parser, const char *at, size_t length)
{
    struct http_piece *target = &of(parser)->request->target;
    if (target->length + length > HTTP_TARGET_MAX)
        return refuse(of(parser), 414);
    return extend(of(parser), target, at, length);
}

static int on_version(llhttp_t *parser, const char *at, size_t length)
{
    return extend(of(parser), &of(parser)->version, at, length);
}

static int on_field(llhttp_t *parser, const char *at, size_t length)
{
    struct http_head *head = of(parser);
    struct http_request *request = head->request;
    if (head->in_value || request->fields == 0) {
        if (request->fields == HTTP_FIELDS_MAX)
            return refuse(head, 431);
        request->field[request->fields++] = (struct http_field){0};
        head->in_value = false;
    }
    return extend(head, &request->field[request->fields - 1].name, at, length);
}

static int on_value(llhttp_t *parser, const char *at, size_t length)
{
    struct http_head *head = of(parser);
    struct http_request *request = head->request;
    head->in_value = true;
    return extend(head, &request->field[request->fields - 1].value, at, length);
}

static int on_complete(llhttp_t *parser)
{
    (void)parser;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_method = on_method,
    .on_url = on_url,
    .on_version = on_version,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_complete,
};

struct http_head *http_head_open(void)
{
    return calloc(1, sizeof(struct http_head));
}

void http_head_close(struct http_head *head)
{
    free(head);
}

void http_head_start(struct http_head *head, struct http_request *request)
{
    llhttp_init(&head->parser, HTTP_REQUEST, &settings);
    head->request = request;
    head->parsed = 0;
    head->refused = 0;
    head->in_value = false;
    head->version = (struct http_piece){0, 0};
    request->fields = 0;
    request->method = request->target = (struct http_piece){0, 0};
    request->path = request->query = request->argument = (struct http_piece){0, 0};
}

bool http_head_begun(const struct http_head *head)
{
    return head->parsed > 0;
}

/* Every line ends in CRLF; none begins with white space,
 * nor with a colon (RFC 9112 2.2, 5.2, 5.1). */
static bool is_strict(const uint8_t *at, size_t length)
{
    const uint8_t *line = at, *end = at + length, *newline;
    while (line < end && (newline = memchr(line, '\n', (size_t)(end - line))) != NULL) {
        if (newline == line || newline[-1] != '\r' || strchr(" \t:", *line) != NULL)
            return false;
        line = newline + 1;
    }
    return line == end;
}

static ptrdiff_t say(struct http_head *head, int status, const char *reason, const char **why)
{
    head->request->fields = 0; /* nothing of it can be relied on */
    *why = reason;
    return -status;
}

static ptrdiff_t fault(struct http_head *head, const uint8_t *at, const char **why)
{
    llhttp_errno_t error = llhttp_get_errno(&head->parser);
    const char *reason = llhttp_get_error_reason(&head->parser);
    if (head->refused == 414)
        return say(head, 414, "the request's target is longer than 8192 bytes", why);
    if (head->refused == 431)
        return say(head, 431, "more than 100 header fields", why);
    if (error == HPE_INVALID_METHOD && at[0] >= 'A' && at[0] <= 'Z')
        return say(head, 501, "there is no such method here", why);
    if (error == HPE_INVALID_VERSION || error == HPE_PAUSED_H2_UPGRADE)
        return say(head, 505, "this is an HTTP/1.1 server", why);
    if (error == HPE_USER || reason == NULL)
        reason = "this is not an HTTP request";
    return say(head, 400, reason, why);
}

/* RTSP, ICE and HTTP/0.9, which llhttp reads as well, are not spoken here. */
static bool is_http(const struct http_head *head, const uint8_t *at)
{
    return head->version.length > 0 && memcmp(at + head->version.at - 5, "HTTP/", 5) == 0;
}

ptrdiff_t http_head_parse(struct http_head *head, const uint8_t *at, size_t length,
                          const char **why)
{
    size_t seen = length < HTTP_HEAD_MAX ? length : HTTP_HEAD_MAX;
    must(seen >= head->parsed);
    head->base = at;
    llhttp_errno_t error =
        llhttp_execute(&head->parser, (const char *)at + head->parsed, seen - head->parsed);
    head->parsed = seen;
    if (error == HPE_PAUSED) {
        const uint8_t *end = (const uint8_t *)llhttp_get_error_pos(&head->parser);
        if (!is_http(head, at))
            return say(head, 400, "this is not HTTP/1", why);
        if (!is_strict(at, (size_t)(end - at)))
            return say(head, 400, "a line of the header is folded, or ends without CR", why);
        return end - at;
    }
    if (error != HPE_OK)
        return fault(head, at, why);
    if (seen == HTTP_HEAD_MAX)
        return say(head, 431, "the header is larger than 32768 bytes", why);
    return 0;
}

struct http_framed http_head_framed(const struct http_head *head)
{
    const llhttp_t *parser = &head->parser;
    return (struct http_framed){
        .protocol_ok = parser->http_major == 1 && parser->http_minor <= 1,
        .http_1_0 = parser->http_minor == 0,
        .keep_alive = llhttp_should_keep_alive(parser) != 0,
        .has_length = (parser->flags & F_CONTENT_LENGTH) != 0,
        .transfer_encoding = (parser->flags & F_TRANSFER_ENCODING) != 0,
        .length = parser->content_length,
    };
}
