/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line is built on the stack, in memory that always suffices for LOG_TEXT_MAX bytes of message
 * however much of it has to be escaped, and leaves in one write: lines of several threads never
 * mix. Nothing here allocates, so the log works when memory has run out.
 *
 * What log_setup() sets is read by every thread and written by none after start-up: the one
 * exception, beside the log sites, to the house's rule of no globals; the alternative is a logger
 * argument to every function of the program.
 */
#include "core/log.h"
#include "core/buf.h"
#include "core/clock.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum {
    LOG_TEXT_MAX = 2048, /* longer messages are cut */
    LOG_LINE_MAX =
        6 * LOG_TEXT_MAX + 512 /* a control character becomes six; and the other fields */
};

static struct {
    _Atomic enum log_level least;
    enum log_format format;
} setup = {LOG_INFO, LOG_LOGFMT};

void log_setup(enum log_level least, enum log_format format)
{
    setup.least = least;
    setup.format = format;
}

void log_set_level(enum log_level least)
{
    setup.least = least;
}

/* May this line be written? *swallowed: lines that this
 * site lost in the last second that it was busy. */
static bool site_open(struct log_site *site, uint32_t *swallowed)
{
    *swallowed = 0;
    uint64_t second = clock_mono_ns() / 1000000000u;
    uint64_t seen = site->second;
    /* Of the threads that find a new second, one begins it and speaks for the old one. */
    if (seen != second && atomic_compare_exchange_strong(&site->second, &seen, second)) {
        uint32_t lines = atomic_exchange(&site->lines, 1);
        *swallowed = lines > LOG_BURST ? lines - LOG_BURST : 0;
        return true;
    }
    return atomic_fetch_add(&site->lines, 1) < LOG_BURST;
}

static void print_time(char out[32])
{
    int64_t now_us = clock_wall_us();
    time_t seconds = (time_t)(now_us / 1000000);
    struct tm date;
    must(gmtime_r(&seconds, &date) != NULL);
    size_t length = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &date);
    snprintf(out + length, 32 - length, ".%06dZ", (int)(now_us % 1000000));
}

static bool put_head(struct buf *line, const char *level, const char *room)
{
    char now[32];
    print_time(now);
    return buf_print(line,
                     setup.format == LOG_JSON
                         ? "{\"time\":\"%s\",\"level\":\"%s\",\"room\":\"%s\",\"message\":"
                         : "time=%s level=%s room=%s message=",
                     now, level, room);
}

static bool put_tail(struct buf *line, uint32_t swallowed)
{
    bool json = setup.format == LOG_JSON;
    if (swallowed > 0 &&
        !buf_print(line, json ? ",\"swallowed\":%u" : " swallowed=%u", (unsigned)swallowed))
        return false;
    return buf_print(line, json ? "}\n" : "\n");
}

void log_line(struct log_site *site, enum log_level level, const char *room, const char *format,
              ...)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    int saved = errno;
    uint32_t swallowed;
    if (level < setup.least || !site_open(site, &swallowed))
        return;

    char text[LOG_TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    errno = saved; /* for %m */
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    must(length >= 0);
    size_t kept = (size_t)length < sizeof text ? (size_t)length : sizeof text - 1;

    uint8_t memory[LOG_LINE_MAX];
    struct buf line = {.at = memory, .capacity = sizeof memory, .max = sizeof memory};
    must(put_head(&line, levels[level], room) && buf_put_json(&line, span_of(text, kept)) &&
         put_tail(&line, swallowed));
    /* If standard error is gone there is nobody left to tell. */
    ssize_t written = write(STDERR_FILENO, line.at, line.length);
    (void)written;
    errno = saved;
}
