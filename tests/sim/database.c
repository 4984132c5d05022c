/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/database.h"

#include "tests/sim/check.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS_MAX = 8192, BLOCKS_MAX = 1024, ZOMBIES_MAX = 32 };

/* One transaction: rows, and the checkpoint that goes with them. */
struct batch {
    uint64_t from, to;
    struct event_name *row;
    unsigned rows;
};

struct zombie {
    unsigned shard;
    struct batch batch;
    uint64_t due_ns;
};

/* The writer's work for one shard, with a connection of its own. */
struct source {
    struct seat *seat;
    struct spool_reader *reader;
    struct block *block[BLOCKS_MAX];
    unsigned blocks;
    bool connected, in_flight;
    uint64_t position; /* next sequence to store */
    struct batch batch;
    uint64_t due_ns;
};

struct database {
    struct ledger *ledger;
    struct box *box; /* NULL: it is down */
    uint64_t checkpoint[WORLD_SHARDS_MAX];
    struct source source[WORLD_SHARDS_MAX];
    struct zombie zombie[ZOMBIES_MAX];
    unsigned zombies;
    uint64_t away_until_ns;
    uint64_t rung;
};

/* ── The database ───────────────────────────────────────────────────────────────────────────── */

uint64_t database_checkpoint(const struct database *database, unsigned shard)
{
    return database->checkpoint[shard];
}

static bool commit(struct database *database, unsigned shard, const struct batch *batch)
{
    if (database->checkpoint[shard] != batch->from) {
        saw(SAW_CHECKPOINT_REFUSED);
        tell("postgres: shard %u: checkpoint is %llu, not %llu: refused", shard,
             (unsigned long long)database->checkpoint[shard], (unsigned long long)batch->from);
        return false;
    }
    tell("postgres: shard %u: %llu … %llu committed", shard, (unsigned long long)batch->from,
         (unsigned long long)batch->to);
    database->checkpoint[shard] = batch->to;
    for (unsigned i = 0; i < batch->rows; i++)
        ledger_stored(database->ledger, batch->row[i]);
    return true;
}

static void zombies_work(struct database *database)
{
    for (unsigned i = database->zombies; i-- > 0;) {
        struct zombie zombie = database->zombie[i];
        if (zombie.due_ns > world.now_ns)
            continue;
        database->zombie[i] = database->zombie[--database->zombies];
        (void)commit(database, zombie.shard, &zombie.batch);
        free(zombie.batch.row);
    }
}

/* Nobody knows what has become of it: it happened, or will, or never does. */
static void abandon(struct database *database, struct source *source)
{
    struct zombie zombie = {source->seat->index, source->batch, 0};
    source->in_flight = source->connected = false;
    source->batch = (struct batch){0};
    if (once_in(3)) {
        (void)commit(database, zombie.shard, &zombie.batch);
    } else if (once_in(2) && database->zombies < ZOMBIES_MAX) {
        saw(SAW_ZOMBIES);
        zombie.due_ns = world.now_ns + MICROSECONDS(between(1, 50000));
        database->zombie[database->zombies++] = zombie;
        return;
    }
    free(zombie.batch.row);
}

/* ── The writer ─────────────────────────────────────────────────────────────────────────────── */

static void return_first(struct source *source)
{
    bool posted = mail_post(source->seat->from_writer, &source->block[0]);
    must(posted);
    source->blocks--;
    memmove(source->block, source->block + 1, source->blocks * sizeof source->block[0]);
}

static void take_mail(struct source *source)
{
    while (source->blocks < BLOCKS_MAX &&
           mail_take(source->seat->to_writer, &source->block[source->blocks]))
        source->blocks++;
    while (source->blocks > 0 && source->connected &&
           source->block[0]->first_sequence + source->block[0]->rows <= source->position)
        return_first(source);
}

static void add_row(void *context, uint64_t sequence, struct event_name event)
{
    struct batch *batch = context;
    if (sequence != batch->to)
        return; /* of a block that begins before the batch does */
    must(batch->rows < ROWS_MAX);
    batch->row[batch->rows++] = event;
    batch->to++;
}

static bool add_from_memory(struct box *box, struct source *source)
{
    struct batch *batch = &source->batch;
    for (unsigned i = 0; i < source->blocks; i++) {
        const struct block *block = source->block[i];
        struct block_view view;
        if (block->first_sequence > batch->to || block->first_sequence + block->rows <= batch->to)
            continue;
        if (block_read(block->bytes, true, &view) != BLOCK_OK) {
            blame("a block in memory is damaged");
            return false;
        }
        saw(SAW_BLOCKS_LENT);
        check_block(box, &view, batch, add_row);
        return true;
    }
    return false;
}

static bool add_from_disk(struct box *box, struct source *source)
{
    struct batch *batch = &source->batch;
    struct block_view view;
    const struct spool_stream *streams;
    unsigned count;
    char why[512] = "";
    int result = 0;
    if (source->reader == NULL)
        result = spool_reader_open(&source->reader, CHECK_DIRECTORY, source->seat->index, why);
    if (result == 0)
        result = spool_reader_get(source->reader, batch->to, &view, &streams, &count, why);
    if (result == 1) {
        saw(SAW_BLOCKS_READ);
        check_block(box, &view, batch, add_row);
    } else if (world.power) {
        blame("the writer can't read event %llu of shard %u, which is durable: %d %s",
              (unsigned long long)batch->to, source->seat->index, result, why);
    }
    return result == 1;
}

static void gather(struct box *box, struct source *source)
{
    uint64_t durable = box->progress[source->seat->index].durable;
    unsigned rows_max = (unsigned)between(1, 400);
    struct batch *batch = &source->batch;
    *batch = (struct batch){.from = source->position, .to = source->position};
    batch->row = malloc(ROWS_MAX * sizeof *batch->row);
    must(batch->row != NULL);
    while (batch->to < durable && batch->rows < rows_max && world.verdict[0] == '\0') {
        bool from_disk = once_in(16) || !add_from_memory(box, source);
        if (from_disk && !add_from_disk(box, source))
            break;
    }
    source->in_flight = batch->to > batch->from;
    source->due_ns = world.now_ns + MICROSECONDS(between(100, once_in(10) ? 50000 : 3000));
    if (!source->in_flight)
        free(batch->row);
}

static void progress_to(struct box *box, struct source *source, uint64_t position)
{
    source->position = position;
    if (position > box->progress[source->seat->index].stored)
        box->progress[source->seat->index].stored = position;
    (void)sleeper_wake(shard_sleeper(source->seat->shard));
}

static void outcome(struct database *database, struct source *source)
{
    if (faulty(world.faults.postgres_breaks)) {
        saw(SAW_COMMITS_UNKNOWN);
        tell("postgres: the connection of shard %u breaks in a commit", source->seat->index);
        abandon(database, source);
        source->due_ns = world.now_ns + MICROSECONDS(between(100, 20000));
        return;
    }
    struct batch batch = source->batch;
    source->in_flight = false;
    source->batch = (struct batch){0};
    if (commit(database, source->seat->index, &batch))
        progress_to(database->box, source, batch.to);
    else
        source->connected = false;
    free(batch.row);
}

static void source_work(struct database *database, struct source *source)
{
    source->due_ns = world.now_ns + MILLISECONDS(between(1, 30));
    if (!source->connected) {
        source->connected = true;
        progress_to(database->box, source, database->checkpoint[source->seat->index]);
    }
    take_mail(source);
    if (source->in_flight)
        outcome(database, source);
    else
        gather(database->box, source);
}

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

static bool is_away(const struct database *database)
{
    return database->away_until_ns > world.now_ns;
}

uint64_t database_next_ns(const struct database *database)
{
    uint64_t next = NEVER;
    for (unsigned i = 0; i < database->zombies; i++)
        if (database->zombie[i].due_ns < next)
            next = database->zombie[i].due_ns;
    for (unsigned i = 0; database->box != NULL && i < database->box->options.shards; i++) {
        uint64_t due = database->source[i].due_ns;
        bool rung = world.writer_rung != database->rung && !database->source[i].in_flight;
        due = rung ? world.now_ns : due;
        due = due < database->away_until_ns ? database->away_until_ns : due;
        next = due < next ? due : next;
    }
    return next;
}

void database_work(struct database *database)
{
    zombies_work(database);
    struct box *box = database->box;
    if (box == NULL || is_away(database))
        return;
    bool rung = world.writer_rung != database->rung;
    database->rung = world.writer_rung;
    box->writer_sleeper.asleep = 1;
    for (unsigned i = 0; i < box->options.shards && world.power; i++) {
        struct source *source = &database->source[i];
        if (source->due_ns <= world.now_ns || (rung && !source->in_flight))
            source_work(database, source);
    }
}

void database_go_away(struct database *database, uint64_t for_ns)
{
    saw(SAW_POSTGRES_AWAY);
    tell("postgres is away for %llu ms", (unsigned long long)(for_ns / 1000000));
    database->away_until_ns = world.now_ns + for_ns;
    for (unsigned i = 0; database->box != NULL && i < database->box->options.shards; i++) {
        struct source *source = &database->source[i];
        if (source->in_flight)
            abandon(database, source);
        source->connected = false;
    }
}

void database_meet(struct database *database, struct box *box)
{
    database->box = box;
    for (unsigned i = 0; i < box->options.shards; i++)
        database->source[i] = (struct source){.seat = &box->seat[i], .due_ns = world.now_ns};
}

void database_let_go(struct database *database)
{
    for (unsigned i = 0; database->box != NULL && i < database->box->options.shards; i++) {
        struct source *source = &database->source[i];
        if (source->in_flight)
            abandon(database, source);
        while (source->blocks > 0)
            return_first(source);
        if (source->reader != NULL)
            spool_reader_close(source->reader);
        source->reader = NULL;
    }
    database->box = NULL;
}

struct database *database_open(struct ledger *ledger)
{
    struct database *database = calloc(1, sizeof *database);
    must(database != NULL);
    database->ledger = ledger;
    return database;
}

void database_close(struct database *database)
{
    must(database->box == NULL);
    for (unsigned i = 0; i < database->zombies; i++)
        free(database->zombie[i].batch.row);
    free(database);
}
