/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The origin is echoed, never "*": pages send credentials,
 * and with those a browser takes no "*". An origin is ASCII in lower case
 * as browsers send it (RFC 6454 6.2), so it is compared byte by byte.
 */
#include "proto/cors.h"

#include <stdlib.h>

struct cors {
    bool any;
    char *origins; /* as configured: what `list` points into */
    struct span *list;
    unsigned count;
};

static struct span trim(struct span text)
{
    while (text.length > 0 && (text.at[0] == ' ' || text.at[0] == '\t'))
        text = span_from(text, 1);
    while (text.length > 0 && strchr(" \t/", text.at[text.length - 1]) != NULL)
        text.length--;
    return text;
}

static void add(struct cors *cors, struct span origin)
{
    origin = trim(origin);
    if (span_is(origin, "*"))
        cors->any = true;
    else if (origin.length > 0)
        cors->list[cors->count++] = origin;
}

static void add_all(struct cors *cors)
{
    char *rest = cors->origins;
    for (char *comma; (comma = strchr(rest, ',')) != NULL; rest = comma + 1)
        add(cors, span_of(rest, (size_t)(comma - rest)));
    add(cors, span_of_string(rest));
}

struct cors *cors_open(const char *origins)
{
    struct cors *cors = calloc(1, sizeof *cors);
    if (cors == NULL)
        return NULL;
    size_t most = 1;
    for (const char *at = origins; *at != '\0'; at++)
        most += *at == ',';
    cors->origins = strdup(origins);
    cors->list = calloc(most, sizeof *cors->list);
    if (cors->origins == NULL || cors->list == NULL) {
        cors_close(cors);
        return NULL;
    }
    add_all(cors);
    return cors;
}

void cors_close(struct cors *cors)
{
    if (cors == NULL)
        return;
    free(cors->origins);
    free(cors->list);
    free(cors);
}

bool cors_allows(const struct cors *cors, struct span origin)
{
    if (cors->any)
        return true;
    for (unsigned i = 0; i < cors->count; i++)
        if (span_equal(cors->list[i], origin))
            return true;
    return false;
}

static bool put(struct buf *out, struct span text)
{
    return buf_put(out, text.at, text.length);
}

bool cors_put(const struct cors *cors, struct span origin, struct buf *out)
{
    if (!cors_allows(cors, origin))
        return put(out, SPAN("Vary: Origin\r\n"));
    return put(out, SPAN("Access-Control-Allow-Origin: ")) && put(out, origin) &&
           put(out, SPAN("\r\nAccess-Control-Allow-Credentials: true\r\n"
                         "Access-Control-Expose-Headers: Retry-After\r\nVary: Origin\r\n"));
}

bool cors_put_preflight(struct span methods, struct span headers, struct buf *out)
{
    bool done = put(out, SPAN("Access-Control-Allow-Methods: ")) && put(out, methods);
    if (done && headers.length > 0)
        done = put(out, SPAN("\r\nAccess-Control-Allow-Headers: ")) && put(out, headers);
    return done && put(out, SPAN("\r\nAccess-Control-Max-Age: 600\r\n"));
}

size_t cors_bytes_max(struct span origin, struct span methods, struct span headers)
{
    return 320 + origin.length + methods.length + headers.length;
}
