/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the steps of recovery share: see batch/recovery.c.
 */
#ifndef BATCH_RECOVERY_H
#define BATCH_RECOVERY_H

#include "batch/segment_file.h"
#include "batch/spool_internal.h"

/* A run of good blocks that stand one behind the other and whose
 * sequences do too; or, when `lost`, a range of bytes that is damaged
 * and the sequences that it cost (none if first == last: only marks). */
struct piece {
    uint64_t at, end;     /* bytes in the file */
    uint64_t first, last; /* sequences first … last - 1 */
    bool lost;
};

/* A segment as it was found. */
struct found {
    uint64_t number, first, boot, length;
    uint64_t cut; /* the smallest first of all that come after it: its content ends before */
    uint64_t blocks_at;
    uint64_t durable_bytes; /* some block in it says that it had been durable up to here */
    uint64_t ends_at;       /* where the first good block stands that a later segment holds */
    uint64_t lowest;        /* first sequence of any block in it; UINT64_MAX: there is none */
    uint64_t bad_bytes;
    enum segment_fault fault;
    bool damaged;
    struct piece *piece;
    unsigned pieces, room;
};

/* Does a later segment hold this block's rows? */
static inline bool found_is_superseded(const struct found *found, const struct block_view *view)
{
    return view->first_sequence > found->cut ||
           (view->first_sequence == found->cut && view->rows > 0);
}

struct recovery {
    struct spool *spool;
    struct spool_recovery *out;
    char *why;
    struct segment_file file;
    struct found *found;
    unsigned founds, room;
    uint64_t highest; /* number of any file here, damaged ones too */
    uint64_t proven;  /* all sequences below had been acknowledged: some block or header says so */
    uint64_t last_boot; /* of any segment */

    /* Keys and marks are told as the blocks come by, until something is not as it should be. */
    bool clean;
    uint64_t told; /* sequences */
    unsigned rest_found;
    uint64_t rest_offset; /* from here on they have not been told */

    uint64_t expected; /* the frontier while judging, and the next sequence after it */
    struct found *current;
    uint64_t current_at;
    bool torn, starved;
    unsigned losses;
    size_t loss_length;
};

/* recovery_judge.c: which pieces count. Fills in expected and the losses;
 * drops the pieces that are torn off. 0, or -ENOMEM. */
NODISCARD int recovery_judge(struct recovery *recovery);
NODISCARD bool recovery_add_piece(struct found *found, struct piece piece);

/* spool_rescue.c: each makes a file whole under another name,
 * durably, and then gives it its name. 0 or -errno. */
NODISCARD int recovery_repair(struct recovery *recovery, struct found *found);
/* Blocks that are not proven durable go into a segment
 * of this boot: *out, or NULL if there are none. */
NODISCARD int recovery_move_tail(struct recovery *recovery, struct segment **out);
NODISCARD int recovery_make_live(struct recovery *recovery, struct segment **out);
/* A header without rows that says where the sequences go on. */
NODISCARD int recovery_make_end(struct recovery *recovery);

#endif
