/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The body of POST /api/publish, read: to whom, under which name, what. Pure; any thread.
 *
 *   {"to": {"user"|"tenant"|"room"|"project": id} | "all", "event": name, "data": any, "type": name}
 */
#ifndef WS_PUBLISHING_H
#define WS_PUBLISHING_H

#include "ws/hub.h"

enum { PUBLISHING_BYTES_MAX = 1 << 20, PUBLISHING_NAME_MAX = 128 };

struct publishing {
    struct publish publish; /* its spans look into the body and into what follows */
    const char *code;       /* of a fault */
    uint8_t room[ROOM_NAME_MAX], event[PUBLISHING_NAME_MAX], type[PUBLISHING_NAME_MAX];
};

/* NULL: *out is filled. Else what is wrong, in words that name the member, and out->code. */
NODISCARD const char *publishing_read(struct publishing *out, const uint8_t *body, size_t length);

#endif
