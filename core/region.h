/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Large memory that is taken whole at the start: mapped, in huge pages where the system has them,
 * and present to the last page. An event that is the first to touch a page would wait for it to be
 * cleared, and under a hypervisor for the host to find it: half a microsecond a row on average, and
 * milliseconds for the one that meets a huge page.
 */
#ifndef CORE_REGION_H
#define CORE_REGION_H

#include "core/must.h"
#include <stddef.h>

/* `bytes` zeros, aligned to a page (to a huge page
 * from that size on). NULL: the system does not have as much. */
NODISCARD void *region_open(size_t bytes);
/* NULL is allowed. */
void region_close(void *region, size_t bytes);

#endif
