/* SPDX-License-Identifier: Apache-2.0 */
#include "ws/upgrade.h"

static struct handshake_request handshake_of(const struct http_request *request)
{
    return (struct handshake_request){
        .is_get = span_is(http_method(request), "GET"),
        .key = http_header(request, "Sec-WebSocket-Key"),
        .version = http_header(request, "Sec-WebSocket-Version"),
        .upgrade = http_header(request, "Upgrade"),
        .connection = http_header(request, "Connection"),
        .extensions = http_header(request, "Sec-WebSocket-Extensions"),
        .origin = http_header(request, "Origin"),
        .host = http_header(request, "Host"),
    };
}

bool upgrade_agree(struct http_request *request, struct turn *turn,
                   const struct handshake_policy *policy, struct handshake *out)
{
    struct handshake_request asked = handshake_of(request);
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
