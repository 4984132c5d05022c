/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first line of a TCP producer (CONTRACTS.md 3), which it may leave out:
 *
 *   {"hello":{"token":"…","ack":"none|received|spooled|stored",
 *             "producer":"name","format":"ndjson|length32"}}
 *
 * Pure; any thread.
 */
#ifndef PROTO_HELLO_H
#define PROTO_HELLO_H

#include "core/conn.h"
#include "core/span.h"

enum hello_format { FORMAT_NDJSON, FORMAT_LENGTH32 };

enum { PRODUCER_BYTES_MAX = 128 };

struct hello {
    struct span token, producer; /* spans of the line; {NULL,0}: left out */
    enum ack_level ack;          /* left out: ACK_SPOOLED */
    enum hello_format format;    /* left out: FORMAT_NDJSON */
};

enum { HELLO_WHY = 160 };

/* Is the line a hello at all: an object whose first member is called so and holds an object? Then
 * *out is filled, and `why` is empty or says what is wrong, beginning with the member's name. */
NODISCARD bool hello_read(struct span line, struct hello *out, char why[HELLO_WHY]);

/* "spooled", "ndjson" … as the welcome repeats them. */
const char *hello_ack_name(enum ack_level ack);
const char *hello_format_name(enum hello_format format);

#endif
