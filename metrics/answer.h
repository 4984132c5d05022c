/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answers of the metrics door, as the bytes of a whole HTTP/1.1 response.
 */
#ifndef METRICS_ANSWER_H
#define METRICS_ANSWER_H

#include "core/buf.h"
#include "metrics/process.h"
#include "metrics/scrape.h"
#include "metrics/stage.h"

enum { ANSWER_MAX = 8 << 20 };

/* What the pages are made from. */
struct answer_source {
    struct metrics_stage_options options;
    struct process process;
};

/* Puts the response to `asked` into `out`. False: no memory. */
NODISCARD bool answer(struct answer_source *source, const struct scrape *asked, struct buf *out);

enum refusal { REFUSE_BAD, REFUSE_HEAD_TOO_LARGE };

/* The response to what was no request; the connection ends behind it. */
NODISCARD bool answer_refuse(enum refusal refusal, struct buf *out);

#endif
