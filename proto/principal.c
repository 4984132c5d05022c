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
