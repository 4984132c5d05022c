/* SPDX-License-Identifier: Apache-2.0 */
#include "ws/upgrade.h"

/* The field of this name; twice is as good as empty: these may not be repeated (RFC 6455 11.3). */
static struct span only(const struct http_request *request, const char *name)
{
    return http_header_count(request, name) > 1 ? SPAN("") : http_header(request, name);
}

static unsigned extension_lines(const struct http_request *request,
                                struct span lines[HTTP_FIELDS_MAX])
{
    unsigned count = 0, cursor = 0;
    struct span line;
    while ((line = http_header_next(request, "Sec-WebSocket-Extensions", &cursor)).at != NULL)
        lines[count++] = line;
    return count;
}

bool upgrade_agree(struct http_request *request, struct turn *turn,
                   const struct handshake_policy *policy, struct handshake *out)
{
    struct span lines[HTTP_FIELDS_MAX];
    struct handshake_request asked = {
        .wanted = request->upgrade && span_is(http_method(request), "GET"),
        .key = only(request, "Sec-WebSocket-Key"),
        .version = only(request, "Sec-WebSocket-Version"),
        .extensions = lines,
        .extension_lines = extension_lines(request, lines),
        .origin = only(request, "Origin"),
        .host = http_header(request, "Host"),
    };
    enum handshake_fault fault = handshake_judge(&asked, policy, out);
    if (fault == HANDSHAKE_OK)
        return true;
    struct span version =
        fault == HANDSHAKE_BAD_VERSION ? SPAN("Sec-WebSocket-Version: 13\r\n") : (struct span){0};
    http_refuse(request, turn, handshake_status(fault), version,
                fault == HANDSHAKE_BAD_ORIGIN ? "FORBIDDEN" : "INVALID_FIELD",
                handshake_reason(fault));
    return false;
}

bool upgrade_started(struct http_request *request, struct turn *turn, bool started)
{
    if (!started)
        http_refuse_for_now(request, turn, 503, 1, "OVERLOADED", "no memory");
    return started;
}
