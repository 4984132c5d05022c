/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics/page.h"

__asm__(".section .rodata\n"
        "dashboard_html:\n"
        ".incbin \"metrics/dashboard/index.html\"\n"
        "dashboard_html_end:\n"
        ".byte 0\n"
        ".previous\n");

extern const uint8_t dashboard_html[], dashboard_html_end[];

struct span page_dashboard_html(void)
{
    return span_of(dashboard_html, (size_t)(dashboard_html_end - dashboard_html));
}
