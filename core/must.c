/* SPDX-License-Identifier: Apache-2.0 */
#include "core/must.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void must_failed(const char *condition, const char *file, int line, const char *function)
{
    fprintf(stderr, "ringmain: bug: %s:%d: %s: not true: %s\n", file, line, function, condition);
    abort();
}
