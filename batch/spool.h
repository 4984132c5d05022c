/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spool of one shard: the events that have been accepted and are not
 * yet (or only just) in Postgres. It is the queue; memory is its cache.
 * batch/spool.c opens with the bytes of a segment drawn.
 *
 * Thread: the shard's, but for spool_reader (the writer's). All disk work goes through the shard's
 * ring; only spool_open() (recovery, before the loop runs) and the reader use core/file.h, and
 * who asks how much room the disk has.
 *
 * Order of calls in a turn:
 *   spool_room() → write a row → spool_append() [→ spool_mark()]  … many times …
 *   spool_commit()      seals the open block and sends it off, if a place in flight is free
 *   spool_complete()    for each completion with the spool's owner number
 *   spool_take()        blocks that have become durable, in order; each goes to the writer
 *   spool_give_back()   or, sooner or later, back
 *   spool_tick()        prepares the next segment, frees old ones
 *
 * Invariants:
 *   - sequences are gapless; spool_durable() only grows; a block is durable when its own write and
 *     fdatasync are and all before it are
 *   - nothing is written twice to one place of a file; a segment that failed is never written again
 *   - the boot number is durable before any segment of that boot exists
 *   - a segment exists durably (file, length, directory) before a block in it counts as durable
 */
#ifndef BATCH_SPOOL_H
#define BATCH_SPOOL_H

#include "batch/block.h"
#include "core/ring.h"
#include "core/span.h"
#include "metrics/counters.h"
#include "proto/stream.h"

struct spool;

/* ── The directory of the node: what all its shards share ───────────────────────────────────── */

/*
 *   directory/lock       locked for as long as the directory is open: one process
 *   directory/identity   node, epoch, secret: made once, never changed
 *   directory/boot       the number of this boot, durable before any segment of it
 *   directory/shard-NN   a shard's segments
 */
struct spool_directory;

enum { SPOOL_SECRET_BYTES = 16, SPOOL_NODE_MAX = 200, SPOOL_SHARDS_MAX = 64 };

/*
 * Opens the directory, made if absent, and begins a new boot. 0, or -errno
 * with a sentence in `why` (512 bytes): -EWOULDBLOCK another process has it;
 * -EINVAL it is another node's; -EPROTO a newer version's; -EBADMSG its identity
 * is damaged. Recovery and all shards come after this; it is closed last.
 */
NODISCARD int spool_directory_open(struct spool_directory **out, const char *path, const char *node,
                                   char *why);
void spool_directory_close(struct spool_directory *directory);
uint64_t spool_directory_epoch(const struct spool_directory *directory); /* never 0, below 2^63 */
uint64_t spool_directory_boot(const struct spool_directory *directory);
/* SPOOL_SECRET_BYTES random bytes that stay the same
 * for the epoch: the key of the de-duplication keys' hash. */
const uint8_t *spool_directory_secret(const struct spool_directory *directory);
/* A bit for each shard-NN that was there when it was opened:
 * those above the shard count are orphans. */
uint64_t spool_directory_shards(const struct spool_directory *directory);

/* ── One shard's spool ──────────────────────────────────────────────────────────────────────── */

struct spool_options {
    struct spool_directory *shared; /* NULL: spool_open() opens `directory` for this shard alone */
    const char *directory; /* of all shards; this one's is directory/shard-NN, made if absent */
    const char *node;      /* node.name */
    unsigned shard;
    uint64_t segment_bytes;
    uint64_t bytes_max;     /* of this shard's segments together */
    uint64_t memory_bytes;  /* for blocks in memory */
    int64_t retain_us;      /* how long a stored segment stays */
    unsigned in_flight_max; /* commits on their way at a time: 1..8 */
    bool accept_loss;       /* start although data that had been acknowledged is damaged */
    bool direct;            /* try O_DIRECT; falls back where the file system refuses */
    const struct streams *streams;
    struct counters *counters;
    uint8_t ring_owner; /* for ring_id.owner */
};

/* What recovery found; the callbacks may be NULL. Called in order of sequence, oldest first. */
struct spool_recovery {
    void *context;
    void (*key)(void *context, struct dedup_key key, uint64_t sequence, int64_t wall_us);
    void (*mark)(void *context, struct span producer, uint64_t count);
    /* out: */
    uint64_t epoch; /* made at random when the directory is new */
    uint64_t boot;
    uint64_t oldest; /* the first sequence still on disk */
    uint64_t next;   /* the first sequence of this boot */
    uint64_t segments, blocks, rows, torn_bytes;
    char loss[512]; /* what is damaged: file, byte range, sequences; empty: nothing */
};

/*
 * Recovers what is there and readies a new segment. 0, or -errno with a sentence in `why` (512
 * bytes): -EWOULDBLOCK the directory is in use by another process; -EBADMSG acknowledged data is
 * damaged and accept_loss is not set (`why` names the file and the missing range); -ENOSPC; -EPROTO
 * a format from a newer version.
 */
NODISCARD int spool_open(struct spool **out, const struct spool_options *options,
                         struct spool_recovery *recovery, char *why);
/*
 * The same for a shard that no longer runs (a higher shard count left it): recovered, and nothing is
 * ever written to it. A spool_reader finds every sequence below recovery->next; of the calls below
 * only spool_orphan_tick() and spool_close() are for it. Its directory keeps one segment without
 * rows, so that the shard can come back.
 */
NODISCARD int spool_adopt(struct spool **out, const struct spool_options *options,
                          struct spool_recovery *recovery, char *why);
/* The writer's thread, now and then, when the counts that its marks named stand in the segments of
 * the shards that run: removes its oldest segment if that may go. stored, seen_ns as below. */
void spool_orphan_tick(struct spool *spool, uint64_t now_ns, uint64_t stored, uint64_t seen_ns);
/* All blocks have been given back, and everything
 * in flight has completed or the ring has been closed. */
void spool_close(struct spool *spool);

/* Room for a row of at most `row_bytes` (with a key) in the open block,
 * beginning a new block if need be; NULL: no block is free, nothing may
 * be accepted now. row_bytes <= SPOOL_ROW_MAX always fits an empty block. */
enum { SPOOL_ROW_MAX = BLOCK_BYTES_MAX - 16 * 1024 };
NODISCARD uint8_t *spool_room(struct spool *spool, size_t row_bytes);
/* The row just written, `bytes` long: its sequence. key {0,0}: none. */
uint64_t spool_append(struct spool *spool, uint16_t stream, size_t bytes, struct dedup_key key);
/* Producer `name` (1..128 bytes) has come to `count`, as of the rows
 * appended so far. Cheap when the same producer is marked again.
 * False: no room (spool_room() first always leaves enough for one). */
NODISCARD bool spool_mark(struct spool *spool, struct span name, uint64_t count);

void spool_commit(struct spool *spool, struct ring *ring, uint64_t now_ns, int64_t wall_us);
void spool_complete(struct spool *spool, struct ring *ring, const struct completion *completion,
                    uint64_t now_ns);
/* Returns ns until it wants another tick, -1: none. stored, seen_ns: what progress says. `stored`
 * may go back, and then nothing from there on is removed until it has been stored again. What was
 * stored shortly before Postgres was seen last may be gone when it comes back, so retain_us has
 * only passed when Postgres has been seen that much later. */
int64_t spool_tick(struct spool *spool, struct ring *ring, uint64_t now_ns, int64_t wall_us,
                   uint64_t stored, uint64_t seen_ns);

uint64_t spool_next(const struct spool *spool);    /* the sequence that the next row will get */
uint64_t spool_durable(const struct spool *spool); /* all below are durable */
/* Blocks of this boot count from 1: the one with the row or mark that came
 * last, and how many are durable. For marks, which have no sequence. */
uint64_t spool_block(const struct spool *spool);
uint64_t spool_blocks_durable(const struct spool *spool);
/* All producers' counts stand in segments of this boot: see spool_set_marks(). */
bool spool_marks_stand(const struct spool *spool);
/* With another number of shards the counts in segments of earlier boots may belong to another shard
 * now: as long as `keep` none of these is removed. */
void spool_keep_inherited(struct spool *spool, bool keep);
bool spool_idle(const struct spool *spool);   /* nothing open, nothing in flight */
bool spool_failed(const struct spool *spool); /* two failures in a row: accepts nothing any more */
/* What has been accepted has nowhere to go until a stored segment is freed or the disk has room. */
bool spool_stuck(const struct spool *spool);
/* 0: room; 1: 80 % of disk or memory; 2: 95 %. */
unsigned spool_pressure(const struct spool *spool);

/* A durable block in memory, on its way to the writer and back. `bytes` is the whole block. */
struct block {
    struct span bytes;
    uint64_t first_sequence;
    uint32_t rows;
    uint64_t durable_ns; /* when it became durable, monotonic */
    void *owner;         /* the spool's own */
};

/* The next durable block that memory can spare for the writer, or NULL.
 * Blocks may be left out (memory is scarce, or they carry no rows):
 * the writer sees the gap and reads them from the disk. */
struct block *spool_take(struct spool *spool);
void spool_give_back(struct spool *spool, struct block *block);
/*
 * Snapshot source for a new segment: the spool asks for all producers' counts, to repeat them at
 * its head, so that freeing old segments loses none. Called from spool_commit(), over several turns
 * if they are many: *cursor starts at 0 and is the callee's own; a producer that is added or marked
 * meanwhile may be left out. Set once before the first commit.
 */
void spool_set_marks(struct spool *spool, void *context,
                     bool (*each)(void *context, size_t *cursor, struct span *name,
                                  uint64_t *count));

/* ── The reader: the writer's thread ────────────────────────────────────────────────────────── */

/* A stream as the segment that holds its rows knows it: the COPY statement that fits them. */
struct spool_stream {
    char *name;
    char *table;
    char *copy_sql;
};

struct spool_reader;
NODISCARD int spool_reader_open(struct spool_reader **out, const char *directory, unsigned shard,
                                char *why);
void spool_reader_close(struct spool_reader *reader);
/* What the directory itself says, without a live spool:
 * for orphans left by a higher shard count. */
/*
 * The block that holds `sequence` (blocks below it are passed over; a view may begin before it,
 * never after). Only call with sequence < durable. 1: *view and *streams are valid until the next
 * call; 0: there is none (sequence is past the end); -EBADMSG: damaged on disk, `why` says where;
 * -ENOENT: it was on the disk once and has been removed after it was stored; -errno. 2: the
 * sequence was lost to damage and the operator accepted that: *view has no rows, and its
 * first_sequence is the next one that exists, perhaps not written yet. The writer moves the
 * checkpoint there, loudly.
 */
NODISCARD int spool_reader_get(struct spool_reader *reader, uint64_t sequence,
                               struct block_view *view, const struct spool_stream **streams,
                               unsigned *streams_count, char *why);

#endif
