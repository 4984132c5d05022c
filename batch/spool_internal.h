/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spool from inside: what its files share. Nobody else includes this but its tests.
 *
 *   spool_draft.c    the open block: room, append, mark, seal          → sealed
 *   spool.c          the commits in flight, in order; the failed one   → durable
 *   spool_memory.c   the buffers; durable blocks on loan to the writer → free
 *   spool_files.c    the next segment made ready, stored ones removed
 *   spool_orphan.c   those of a shard that no longer runs removed
 *   recovery.c       what an earlier boot left
 *   spool_rescue.c   writes anew what must not stay where it is
 */
#ifndef BATCH_SPOOL_INTERNAL_H
#define BATCH_SPOOL_INTERNAL_H

#include "batch/segment.h"
#include "batch/spool.h"
#include "batch/spool_directory.h"
#include "core/list.h"

enum {
    SPOOL_IN_FLIGHT_MAX = 8,
    SPOOL_COMMITS_MAX = 16, /* blocks in flight and headers between them; a power of two */
    SPOOL_ZEROS_BYTES = 512 * 1024,
    SPOOL_RETRY_NS = 1000 * 1000 * 1000,
    SPOOL_WITNESS_NS = 1000 * 1000 * 1000,
    SPOOL_LOOK_NS = 1000 * 1000, /* housekeeping no more often than this */
};
_Static_assert(SPOOL_IN_FLIGHT_MAX < SPOOL_COMMITS_MAX, "a header flies beside the blocks");

/* ring_id.slot: which completion it is. */
enum spool_slot {
    SPOOL_SLOT_COMMIT = 0, /* … SPOOL_COMMITS_MAX - 1 */
    SPOOL_SLOT_NURSERY = SPOOL_COMMITS_MAX,
    SPOOL_SLOT_GRAVE,
    SPOOL_SLOT_CLOSE,
};

/* A block in memory. It is in exactly one place: free,
 * the draft, sealed, in flight, durable, or with the writer. */
struct buffer {
    struct list link;
    uint8_t *bytes; /* BLOCK_BYTES_MAX of them, aligned */
    uint32_t length;
    uint32_t rows;
    uint64_t first_sequence;
    uint64_t witness;  /* how many blocks its header says are durable: spool->retired */
    uint64_t snapshot; /* not 0: with it all marks stand in segments from this number on */
    uint64_t ordinal;  /* among the blocks of this boot, from 1 */
    uint64_t sent_ns;
    struct block block; /* while with the writer */
};

struct segment {
    struct list link; /* spool->segments, by number */
    uint64_t number, first_sequence;
    uint64_t end;    /* its content ends before this; UINT64_MAX while it is the last */
    uint64_t bytes;  /* length of the file */
    uint64_t offset; /* of the next block, while it is written */
    uint64_t durable_bytes;
    int file;        /* -1: closed */
    unsigned flying; /* writes on their way */
    bool failed;     /* one of them did: no other is believed */
    bool stored;     /* all of it was in Postgres at stored_ns */
    uint64_t stored_ns;
};

enum commit_state { COMMIT_FLYING, COMMIT_DONE, COMMIT_FAILED };

struct commit {
    struct buffer *buffer; /* NULL: a segment's header */
    struct segment *segment;
    uint64_t end; /* where it ends in the segment */
    uint32_t generation;
    enum commit_state state;
};

/* The commits on their way, oldest first: completed in any order, retired in this one. */
struct flight {
    struct commit commit[SPOOL_COMMITS_MAX];
    unsigned head, count;
    unsigned blocks;      /* of these, not headers */
    unsigned outstanding; /* of these, not completed */
    bool header;          /* one of these is a header: there is memory for one only */
    bool settling;        /* one failed: nothing more goes out until all have come back */
    unsigned failures;    /* in a row */
};

/* The block that rows are being written into.
 * Runs, keys and marks wait aside until it is sealed. */
struct draft {
    struct buffer *buffer; /* NULL: none is open */
    uint32_t rows, rows_bytes, runs, keys, marks_bytes;
    struct block_run last_run;
    size_t last_mark; /* where it begins; only if marks_bytes > 0 */
    uint64_t snapshot;
    uint8_t *run_bytes, *key_bytes, *mark_bytes;
};

/* All producers' marks being repeated at the head of a segment. */
struct snapshot {
    void *context;
    bool (*each)(void *context, size_t *cursor, struct span *name, uint64_t *count);
    bool due, under_way, cursor_moved;
    size_t cursor;
    uint64_t from; /* the segment that was current when it began */
};

enum nursery_step {
    NURSERY_EMPTY,
    NURSERY_OPENING,
    NURSERY_FILLING,
    NURSERY_RESTING, /* between two fillings: as many zeros as are due are there */
    NURSERY_SYNCING,
    NURSERY_RENAMING,
    NURSERY_PUBLISHING, /* the directory is made durable */
    NURSERY_READY,
};

struct nursery {
    enum nursery_step step;
    struct segment *segment; /* NULL when empty */
    uint64_t filled;
    uint32_t generation;
    uint64_t retry_ns;
    int32_t error; /* why there was none the last time; 0: there was */
    char name[SEGMENT_NAME_BYTES];
};

enum grave_step { GRAVE_IDLE, GRAVE_UNLINKING, GRAVE_SYNCING };

struct grave {
    enum grave_step step;
    struct segment *segment;
    uint32_t generation;
    uint64_t retry_ns;
    char name[SEGMENT_NAME_BYTES];
};

struct memory {
    uint8_t *region;
    size_t region_bytes;
    struct buffer *buffer;
    unsigned buffers, free;
    struct list free_list, durable;
    size_t copied, copied_max; /* bytes in exact-size copies */
};

struct spool {
    struct spool_options options;
    struct spool_directory *own_directory; /* NULL: it is shared */
    const struct spool_directory *directory;
    int shard_directory;
    uint64_t boot;
    bool direct; /* O_DIRECT works here */
    bool failed;

    uint8_t *header; /* both copies of the current segment's header, aligned */
    uint32_t header_bytes;
    const uint8_t *zeros;

    struct list segments;
    struct segment *current; /* the last of them; NULL: it failed and the next is not there yet */
    uint64_t next_number;
    uint64_t own_from;   /* segments before this number were inherited from earlier boots … */
    bool keep_inherited; /* … and stay for now */

    uint64_t next, durable, stored;
    uint64_t seen_ns;        /* when Postgres was there last */
    uint64_t retired;        /* blocks that became durable and had something in them */
    uint64_t witnessed;      /* of these, a later block on the disk says so */
    uint64_t quiet_ns;       /* when the last commit was retired */
    uint64_t marks_from;     /* all marks stand in segments from this number on */
    uint64_t looked_ns;      /* when the housekeeping was last done */
    uint64_t unstored_bytes; /* on disk and not in Postgres; as of then */
    int64_t wall_us;

    struct draft draft;
    struct list sealed;
    unsigned sealed_count;
    uint64_t blocks_sealed, blocks_durable; /* of this boot */
    struct flight flight;
    struct snapshot snapshot;
    struct nursery nursery;
    struct grave grave;
    struct memory memory;
    uint32_t generation;
};

/* spool_memory.c */
NODISCARD int spool_memory_init(struct memory *memory, size_t bytes);
void spool_memory_fini(struct memory *memory);
struct buffer *spool_buffer_get(struct spool *spool); /* NULL: none is free */
void spool_buffer_put(struct spool *spool, struct buffer *buffer);

/* spool_draft.c */
NODISCARD int spool_draft_init(struct draft *draft);
void spool_draft_fini(struct draft *draft);
bool spool_draft_empty(const struct draft *draft);
void spool_draft_seal(struct spool *spool);
/* A block without rows or marks: the witness. False: no buffer. */
NODISCARD bool spool_draft_witness(struct spool *spool);
void spool_snapshot_continue(struct spool *spool);

/* spool.c */
void spool_send(struct spool *spool, struct ring *ring, uint64_t now_ns);
struct ring_id spool_ring_id(const struct spool *spool, unsigned slot, uint32_t generation);
/* Lets go of a segment's descriptor when nothing is in flight on it and nothing more will be. */
void spool_segment_retire(struct spool *spool, struct ring *ring, struct segment *segment);

/* spool_files.c */
uint64_t spool_disk_bytes(const struct spool *spool);
/* How long a segment can be where only `space` is left of a disk: a short
 * one, so that something remains for the other shards. 0: not even that. */
uint64_t spool_short_segment(const struct spool *spool, uint64_t space);
/* Neither is one made ready, nor one freed, nor would that be tried now. */
bool spool_no_segment_comes(const struct spool *spool);
void spool_disk_look(struct spool *spool, uint64_t now_ns);
/* ns until a stored segment has stayed for long enough; 0: it has; -1: it depends on Postgres. */
int64_t spool_until_released(const struct spool *spool, const struct segment *segment,
                             uint64_t now_ns);
int64_t spool_files_tick(struct spool *spool, struct ring *ring, uint64_t now_ns);
void spool_nursery_complete(struct spool *spool, struct ring *ring,
                            const struct completion *completion, uint64_t now_ns);
void spool_grave_complete(struct spool *spool, struct ring *ring,
                          const struct completion *completion, uint64_t now_ns);
/* The readied segment, taken out; NULL: none is ready. */
struct segment *spool_nursery_take(struct spool *spool);

/* recovery.c: fills in segments, next_number, next, durable, and makes
 * a new current segment or, if not `live`, a header that ends it. */
NODISCARD int spool_recover_shard(struct spool *spool, struct spool_recovery *recovery, bool live,
                                  char *why);

#endif
