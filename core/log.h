/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log: one line an entry on standard error, as `logfmt` (default) or JSON by `log.format`.
 *
 * Any thread. A line says what happened and what the reader can do about it. It goes out in one
 * write(2). A call site that fires more often than LOG_BURST times in a second is cut off until the
 * second is over, and then says how many lines it swallowed. Never put a token, a password or a
 * whole event into a line.
 */
#ifndef CORE_LOG_H
#define CORE_LOG_H

#include "core/must.h"
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_LOGFMT, LOG_JSON };

enum { LOG_BURST = 10 };

/* What one call site remembers for the cut-off; the macros make one a place, zeroed. */
struct log_site {
    _Atomic uint64_t second;
    _Atomic uint32_t lines;
};

/* Once, before other threads start. */
void log_setup(enum log_level least, enum log_format format);
/* Any thread. */
void log_set_level(enum log_level least);

void log_line(struct log_site *site, enum log_level level, const char *room, const char *format,
              ...) PRINTF_LIKE(4, 5);

/* room: a short literal such as "spool"; then a printf format. */
#define LOG_AT(level, room, ...)                                                                   \
    do {                                                                                           \
        static struct log_site log_site_here;                                                      \
        log_line(&log_site_here, level, room, __VA_ARGS__);                                        \
    } while (0)
#define log_debug(room, ...) LOG_AT(LOG_DEBUG, room, __VA_ARGS__)
#define log_info(room, ...)  LOG_AT(LOG_INFO, room, __VA_ARGS__)
#define log_warn(room, ...)  LOG_AT(LOG_WARN, room, __VA_ARGS__)
#define log_error(room, ...) LOG_AT(LOG_ERROR, room, __VA_ARGS__)

#endif
