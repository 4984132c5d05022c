/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LINES_KEPT = 60, LINE_BYTES = 200 };

struct world world;

static struct {
    char text[LINES_KEPT][LINE_BYTES];
} end;

/* Monday, 2 June 2025. */
#define EPOCH_US INT64_C(1748822400000000)

void world_begin(uint64_t seed, enum telling telling)
{
    uint64_t seen[SIGHTS];
    memcpy(seen, world.saw, sizeof seen);
    memset(&world, 0, sizeof world);
    memcpy(world.saw, seen, sizeof seen);
    world.seed = world.chance = seed;
    world.now_ns = MILLISECONDS(1000);
    world.wall_us = EPOCH_US;
    world.power = true;
    world.telling = telling;
    world.slowest_ms = 800;
    world.trace = 14695981039346656037u;
}

/* splitmix64 */
uint64_t chance(void)
{
    uint64_t z = world.chance += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

uint64_t below(uint64_t n)
{
    must(n > 0);
    return chance() % n;
}

uint64_t between(uint64_t least, uint64_t most)
{
    return least + below(most - least + 1);
}

bool once_in(uint64_t n)
{
    return below(n) == 0;
}

bool faulty(unsigned rate)
{
    return rate > 0 && !world.looking && below(100000) < rate;
}

void world_blackout(void)
{
    world.power = false;
    world.io_left = 0;
    world.crash_at_ack = false;
    tell("the power is off%s%s", world.killed ? " (killed)" : "", world.cruel ? " (cruel)" : "");
}

enum io world_io(void)
{
    if (world.looking)
        return IO_GOES;
    if (!world.power)
        return IO_DEAD;
    if (world.io_left == 0 || --world.io_left > 0)
        return IO_GOES;
    world_blackout();
    return once_in(2) ? IO_LAST : IO_DEAD;
}

/* What is drawn and when follows from all that has happened before. */
static void mark(void)
{
    world.events++;
    world.trace = (world.trace ^ world.chance ^ world.now_ns) * 1099511628211u;
}

static void keep(const char *line)
{
    memcpy(end.text[world.events % LINES_KEPT], line, LINE_BYTES);
    if (world.telling == TELL_ALL)
        puts(line);
}

void tell(const char *format, ...)
{
    char line[LINE_BYTES];
    if (world.telling == TELL_NOTHING) {
        mark();
        return;
    }
    int length = snprintf(line, sizeof line, "%10.3f  ", (double)world.now_ns / 1e6);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line + length, sizeof line - (size_t)length, format, arguments);
    va_end(arguments);
    keep(line);
    mark();
}

void blame(const char *format, ...)
{
    char text[sizeof world.verdict];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    tell("WRONG: %s", text);
    if (world.verdict[0] == '\0')
        memcpy(world.verdict, text, sizeof text);
}

void world_print_end(void)
{
    uint64_t first = world.events > LINES_KEPT ? world.events - LINES_KEPT : 0;
    for (uint64_t i = first; world.telling == TELL_THE_END && i < world.events; i++)
        printf("# %s\n", end.text[i % LINES_KEPT]);
}
