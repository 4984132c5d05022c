/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is sent, encoded once and shared by all who get it: one or more WebSocket messages, each with
 * its frame header in front, so that a WebSocket sends the whole run in one copy and a polling
 * transport takes the payloads alone. Counted references; one shard's thread.
 *
 *   bytes:  │ header │ payload (text)  │ header │ payload (binary attachment) │ …
 *             part 0 ────────────────── part 1 ─────────────────────────────
 */
#ifndef WS_ENCODED_H
#define WS_ENCODED_H

#include "core/conn.h"
#include "core/must.h"
#include "core/span.h"
#include "ws/frame.h"

enum { ENCODED_PARTS_MAX = 16 };

struct encoded_part {
    uint32_t at;     /* of its frame header in bytes[] */
    uint32_t header; /* bytes of the frame header */
    uint32_t length; /* of the payload behind it */
    bool binary;
};

struct encoded {
    struct lent lent; /* returning it is encoded_put() */
    uint32_t references;
    uint32_t parts;
    /* Of what only the newest matters (stats, dashboards): in one peer's queue a newer one with the
     * same key takes the older one's place. 0: every one matters. */
    uint64_t key;
    uint32_t length;            /* of all bytes */
    struct encoded_part part[]; /* [parts]; the bytes follow */
};

/* One text message, or a text and binary attachments; all are copied. A text that is {NULL,0} is
 * left out: the attachments alone. Its one reference is the caller's. NULL: no memory, or too many
 * parts, or longer than 4 GiB together. */
NODISCARD struct encoded *encoded_make(struct span text, const struct span *attachments,
                                       unsigned attachments_count);
/* Several as one: all their parts, in order; each member of `some` may be NULL, which adds nothing.
 * It has no key. NULL: no memory. */
NODISCARD struct encoded *encoded_join(struct encoded *const *some, unsigned count);
struct encoded *encoded_ref(struct encoded *encoded);
void encoded_put(struct encoded *encoded); /* NULL is nothing */

/* Before it is shared: its first message is compressed, and its frame says so (RFC 7692 6). */
void encoded_set_compressed(struct encoded *encoded);

struct span encoded_frames(const struct encoded *encoded); /* all of it, as a WebSocket sends it */
struct span encoded_payload(const struct encoded *encoded, unsigned part);

#endif
