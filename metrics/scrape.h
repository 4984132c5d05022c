/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request to the metrics door: as much of HTTP/1 (RFC
 * 9112) as a scrape needs, and strict about it. Pure.
 */
#ifndef METRICS_SCRAPE_H
#define METRICS_SCRAPE_H

#include "core/must.h"
#include "core/span.h"

enum { SCRAPE_HEAD_MAX = 8192, SCRAPE_BAD = -1 };

enum scrape_page { PAGE_UNKNOWN, PAGE_INDEX, PAGE_METRICS };

struct scrape {
    enum scrape_page page;
    bool allowed;     /* the method is GET or HEAD */
    bool bodyless;    /* HEAD: the answer's header alone */
    bool keep_alive;  /* never with a body behind the header: nobody reads it */
    bool openmetrics; /* rather than text 0.0.4 */
};

/* How many bytes the request's header takes, with empty lines before it; 0: more is needed;
 * SCRAPE_BAD. A header that has not ended within SCRAPE_HEAD_MAX is the caller's to refuse. */
NODISCARD ptrdiff_t scrape_read(struct span input, struct scrape *out);

#endif
