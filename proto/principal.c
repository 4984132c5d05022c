/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/principal.h"

#include <stdlib.h>

/* Bytes of a list, its end included. */
static size_t list_bytes(const char *list)
{
    const char *at = list;
    while (*at != '\0')
        at += strlen(at) + 1;
    return (size_t)(at - list) + 1;
}

struct principal *principal_copy(const struct principal *principal)
{
    size_t bytes = offsetof(struct principal, lists) + principal->rooms_at +
                   list_bytes(principal_rooms(principal));
    struct principal *copy = malloc(bytes);
    if (copy != NULL)
        memcpy(copy, principal, bytes);
    return copy;
}

uint64_t principal_expires_ns(const struct principal *principal, uint64_t now_ns, int64_t wall_us,
                              uint64_t leeway_ns)
{
    enum { TEN_YEARS_S = 10 * 365 * 24 * 3600 };
    if (principal == NULL || principal->expires_s == 0)
        return 0;
    int64_t left_s = principal->expires_s - wall_us / 1000000;
    if (left_s > TEN_YEARS_S)
        return 0;
    uint64_t left_ns = left_s > 0 ? (uint64_t)left_s * 1000000000u : 1;
    return now_ns + left_ns + leeway_ns;
}
