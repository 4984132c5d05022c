/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A batch in the making: which rows of which sources go to Postgres together, sorted by the COPY
 * statement that they need. Pure memory; one thread.
 *
 *   block ──runs──► pieces ──linked──► lots (one a COPY statement)
 *
 * A *piece* is a run of rows, or a part of one, that stands somewhere in memory:
 * in a block that a shard has lent, or in the batch's own arena.
 * A *stretch* is what one block gave: for the loan's return and for the time
 * that rows waited. Of each source a batch holds a gapless range of sequences.
 *
 * The arena has room for everything that the batch may hold, so that any loan can be taken over at
 * any time: batch_own(). Large blocks are lent, since copying costs more than lending; small ones
 * are copied at once, since in the shard's memory each takes as much place as a full one.
 */
#ifndef BATCH_BATCH_H
#define BATCH_BATCH_H

#include "batch/spool.h"
#include "core/must.h"

/* The COPY statements that have been seen, each once; a number stands for one. They are never
 * forgotten: there are as many as the streams' definitions had versions within the spool. */
struct targets {
    struct spool_stream *at;
    unsigned count;
};
enum { TARGETS_MAX = 1024 };
/* Its number, or -1: no memory, or too many. The strings are copied. */
NODISCARD int targets_find(struct targets *targets, const char *name, const char *table,
                           const char *copy_sql);
void targets_fini(struct targets *targets);

enum { PIECE_NONE = UINT32_MAX };

struct piece {
    const uint8_t *at;
    uint64_t first_sequence;
    uint32_t bytes, rows;
    uint32_t next; /* of the same lot */
    uint16_t source;
};

struct stretch {
    struct block *loan; /* NULL: copied */
    uint64_t durable_ns;
    uint32_t first_piece, rows;
    uint16_t source;
};

struct lot {
    uint32_t first, last; /* pieces */
    uint64_t bytes;
    uint32_t rows;
    uint16_t target;
};

/* The row that is not copied but buried: see batch/poison.h. */
struct dead_row {
    bool there;
    uint16_t source, target;
    uint64_t sequence;
    struct span bytes;
};

struct batch {
    struct piece *piece;
    struct stretch *stretch;
    struct lot *lot;
    uint8_t *arena;
    uint16_t *lot_of_target;
    uint32_t pieces, stretches, lots;
    size_t arena_bytes;
    uint64_t bytes;
    uint32_t rows;     /* the dead one included */
    uint64_t begun_ns; /* when its first row became known */
    struct dead_row dead;
    uint32_t rows_max;
    size_t bytes_max;
};

NODISCARD int batch_init(struct batch *batch, uint32_t rows_max, size_t bytes_max);
void batch_fini(struct batch *batch);

/* Is there room for so much more? An empty one has room for any block. */
bool batch_has_room(const struct batch *batch, uint32_t rows, size_t bytes);

/* Part of a block: `rows` rows from sequence `from` on. */
struct batch_part {
    const struct block_view *view;
    const uint16_t *target; /* by the block's stream numbers … */
    unsigned targets;       /* … below this */
    uint64_t from;
    uint32_t rows;
    struct block *loan; /* stays with the batch if the batch says so, else the bytes are copied */
    uint64_t durable_ns;
    uint16_t source;
    bool last_is_dead;
};
enum batch_added { BATCH_COPIED, BATCH_LENT, BATCH_MALFORMED = -1 };
/* MALFORMED: the block's runs do not fit its rows,
 * or name a stream that there is not; nothing was added. */
NODISCARD enum batch_added batch_add(struct batch *batch, const struct batch_part *part);

/* Nothing is added any more: puts the lots in the order of their statements, which is the same for
 * all who write these tables, so that two who wait for one another's rows wait in the same order. */
void batch_order(struct batch *batch, const struct targets *targets);

/* Gives every loan to `give`, after which the pieces' bytes are gone … */
typedef void batch_give(void *context, uint16_t source, struct block *block);
void batch_return(struct batch *batch, batch_give *give, void *context);
/* … or not, since they have been copied first. */
void batch_own(struct batch *batch, batch_give *give, void *context);
/* Empty again; there must be no loans. */
void batch_reset(struct batch *batch);

/* Which row is line `line` (from 1) of lot `lot`? */
NODISCARD bool batch_row_at(const struct batch *batch, unsigned lot, uint64_t line,
                            uint16_t *source, uint64_t *sequence);

#endif
