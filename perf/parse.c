/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What reading an event costs: event_parse() over events of 200 bytes made here, and over those of
 * a file (NDJSON) if one is given, beside the least that any reader of lines must do: memchr() for
 * the line's end over the same bytes.
 *
 *   parse [FILE] [SECONDS]
 */
#include "core/clock.h"
#include "core/must.h"
#include "proto/event.h"

#include <stdio.h>
#include <stdlib.h>

enum { MADE_EVENTS = 4096 };

/* Lines that end with '\n' each, one after the other. */
struct lines {
    uint8_t *at;
    size_t bytes, count;
};

static struct lines make_lines(void)
{
    static const char *const types[] = {"page_view", "asset", "item_added", "checkout_started"};
    struct lines lines = {.at = malloc(MADE_EVENTS * 256)};
    must(lines.at != NULL);
    for (unsigned i = 0; i < MADE_EVENTS; i++) {
        int length = snprintf(
            (char *)lines.at + lines.bytes, 256,
            "{\"id\":\"ev-%07u\",\"type\":\"%s\",\"tenantId\":\"t-%u\",\"userId\":\"u-%08x\","
            "\"timestamp\":\"2024-05-17T10:%02u:%02uZ\",\"data\":{\"path\":\"/shop/item/%u\","
            "\"price\":%u.%02u,\"quantity\":%u,\"currency\":\"EUR\",\"new\":%s}}\n",
            i, types[i % 4], i % 7, i * 2654435761u, i % 60, i / 60 % 60, i * 31, i % 500, i % 100,
            i % 9, i % 2 != 0 ? "true" : "false");
        lines.bytes += (size_t)length;
        lines.count++;
    }
    return lines;
}

static struct lines read_lines(const char *name)
{
    struct lines lines = {0};
    FILE *file = fopen(name, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        perror(name);
        exit(1);
    }
    size_t size = (size_t)ftell(file);
    rewind(file);
    lines.at = malloc(size + 1);
    must(lines.at != NULL);
    lines.bytes = fread(lines.at, 1, size, file);
    fclose(file);
    if (lines.bytes > 0 && lines.at[lines.bytes - 1] != '\n')
        lines.at[lines.bytes++] = '\n';
    for (size_t i = 0; i < lines.bytes; i++)
        lines.count += lines.at[i] == '\n';
    return lines;
}

/* Both of them walk all lines once and say what they found, so that nothing is optimised away. */
static size_t walk_only(const struct lines *lines)
{
    size_t found = 0;
    const uint8_t *at = lines->at, *end = at + lines->bytes;
    while (at < end) {
        at = (const uint8_t *)memchr(at, '\n', (size_t)(end - at)) + 1;
        found++;
    }
    return found;
}

static size_t walk_and_parse(const struct lines *lines)
{
    static const struct event_rules rules = {.bytes_max = 65536};
    size_t accepted = 0;
    struct event event;
    struct refusal refusal;
    const uint8_t *at = lines->at, *end = at + lines->bytes;
    while (at < end) {
        const uint8_t *line = at;
        at = (const uint8_t *)memchr(at, '\n', (size_t)(end - at)) + 1;
        struct span text = span_of(line, (size_t)(at - 1 - line));
        accepted += event_parse(text, &rules, &event, &refusal) == EVENT_ACCEPTED;
    }
    return accepted;
}

/* The fastest of the rounds that fit the time:
 * what the code costs, without what else the machine did. */
static double best_ns(size_t (*walk)(const struct lines *), const struct lines *lines,
                      double seconds, size_t *found)
{
    uint64_t start = clock_mono_ns(), now = start, best = UINT64_MAX;
    while (best == UINT64_MAX || (double)(now - start) < seconds * 1e9) {
        uint64_t before = clock_mono_ns();
        *found = walk(lines);
        __asm__ volatile("" : : "r"(found) : "memory"); /* or a compiler would walk only once */
        now = clock_mono_ns();
        best = now - before < best ? now - before : best;
    }
    return (double)best;
}

static void measure(const char *name, struct lines lines, double seconds)
{
    size_t accepted, found;
    if (lines.count == 0)
        return;
    double parse = best_ns(walk_and_parse, &lines, seconds, &accepted);
    double least = best_ns(walk_only, &lines, seconds / 4, &found);
    double events = (double)lines.count, bytes = (double)lines.bytes;
    printf("%-24s %6zu events of %4.0f bytes, %zu refused: %6.1f ns/event, %6.0f MB/s; "
           "memchr alone %5.1f ns, ratio %.1f\n",
           name, lines.count, bytes / events, lines.count - accepted, parse / events,
           bytes * 1e3 / parse, least / events, parse / least);
    free(lines.at);
}

int main(int count, char **arguments)
{
    double seconds = count > 2 ? atof(arguments[2]) : 1.0;
    measure("made", make_lines(), seconds);
    if (count > 1 && arguments[1][0] != '\0')
        measure(arguments[1], read_lines(arguments[1]), seconds);
    return 0;
}
