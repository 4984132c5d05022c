/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of the two texts a client would rather have: the header Accept (RFC 9110 12.5.1). Pure.
 */
#ifndef METRICS_NEGOTIATE_H
#define METRICS_NEGOTIATE_H

#include "core/span.h"

/* What the client thinks of one text; the most specific range that names it counts. */
struct opinion {
    unsigned specificity; /* 0: no range has named it */
    unsigned quality;     /* thousandths */
};

/* Starts zeroed: no header, no opinion. */
struct negotiation {
    struct opinion text;        /* text/plain; version=0.0.4 */
    struct opinion openmetrics; /* application/openmetrics-text; version=1.0.0 */
};

/* One header's value; more headers are as one list. What is not well-formed is passed over. */
void negotiate(struct negotiation *negotiation, struct span accept);
/* OpenMetrics only for who likes it better;
 * the rest get the older text, also who would like neither. */
bool negotiated_openmetrics(const struct negotiation *negotiation);

#endif
