/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dashboard, GET /: one page without anything from elsewhere, metrics/dashboard/index.html as it
 * was when this was built.
 */
#ifndef METRICS_PAGE_H
#define METRICS_PAGE_H

#include "core/span.h"

struct span page_dashboard_html(void);

#endif
