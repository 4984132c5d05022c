/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What doors of different shards say to one another, by the hubs' mail: their notes, in order with
 * the publications; and what one shard has delivered, to be sent by another to who has moved there.
 * On the hub's thread.
 *
 * The order makes moving possible without a gap: a note from shard B by way of a room's home to shard A
 * comes to A behind everything that the home published before it knew that B has members.
 */
#ifndef WS_HUB_NOTES_H
#define WS_HUB_NOTES_H

#include "ws/hub.h"

/* ── Notes ── */

/* Zeroed memory; `drop` frees what it owns, if it is never read or when it is freed (NULL: nothing).
 * NULL: no memory. */
NODISCARD void *hub_note_make(size_t bytes, void (*drop)(void *note));
void hub_note_free(void *note);
/* The note becomes the other shard's, which must not be our own. False: no room; it has been freed. */
bool hub_note_post(struct hub *hub, unsigned to, void *note);
/* At start: who reads them. The note is the reader's, to be freed or posted on. */
typedef void (*hub_read_note)(void *context, struct turn *turn, void *note);
void hub_set_reader(struct hub *hub, hub_read_note read, void *context);

/* ── What has been delivered here ── */

struct hub_kept;

/* What came after `number` in these rooms ("a\0b\0\0", canonical names), in order. False: the history does
 * not reach back that far, it is more than half of what a peer's queue takes, or there is no memory. */
NODISCARD bool hub_kept_take(struct hub *hub, const char *rooms, uint64_t number,
                             struct hub_kept **out);
void hub_kept_free(struct hub_kept *kept); /* NULL is nothing */
/* Posts to a peer what was said in rooms that it is in, under the offsets of the shard where it was taken. */
void hub_kept_send(struct hub *hub, struct turn *turn, struct peer *peer, unsigned encoding,
                   const struct hub_kept *kept);
/* hub_replay(), without what is in `kept`. */
NODISCARD bool hub_replay_but(struct hub *hub, struct turn *turn, struct peer *peer,
                              unsigned encoding, uint64_t number, const struct hub_kept *kept);

#endif
