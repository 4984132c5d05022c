/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of a route's configuration (ws/route_table.h), read into a struct
 * route. Private to ws/route*.c; pure.
 */
#ifndef WS_ROUTE_TEXT_H
#define WS_ROUTE_TEXT_H

#include "ws/route.h"

enum { ROUTE_TEXT_WHY = 300 };

/* Each reads `text`, which the route's spans then look into: it must be writable, outlive the route,
 * and is changed in place. True, or false with what is allowed in `why` (ROUTE_TEXT_WHY). */
NODISCARD bool route_text_types(struct route *route, char *text, char *why);
NODISCARD bool route_text_streams(struct route *route, const struct streams *streams, char *text,
                                  char *why);
NODISCARD bool route_text_has(struct route *route, char *text, char *why);
NODISCARD bool route_text_to(struct route *route, char *text, char *why);
NODISCARD bool route_text_emit(struct route *route, char *text, char *why);
NODISCARD bool route_text_data(struct route *route, char *text, char *why);
NODISCARD bool route_text_scope(struct route *route, char *text, char *why);
NODISCARD bool route_text_first(struct route *route, const char *text, char *why);
NODISCARD bool route_text_flag(const char *text, bool *out, char *why);

#endif
