/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/check.h"

#include "batch/copy.h"
#include "tests/sim/damage.h"
#include "tests/sim/server.h"

void check_block(const struct box *box, const struct block_view *view, void *context,
                 void (*each)(void *context, uint64_t sequence, struct event_name event))
{
    uint64_t sequence = view->first_sequence;
    struct span rest = view->row_bytes;
    for (unsigned i = 0; i < view->runs; i++) {
        struct block_run run = block_run_at(view, i);
        const struct stream *stream = streams_at(box->streams, run.stream);
        for (unsigned j = 0; j < run.rows; j++, sequence++) {
            struct event_name event;
            size_t bytes = copy_row_length(rest.at, rest.length);
            if (bytes == 0) {
                blame("row %llu is no COPY row", (unsigned long long)sequence);
                return;
            }
            if (ledger_name(box->ledger, stream, span_of(rest.at, bytes), &event))
                each(context, sequence, event);
            rest = span_from(rest, bytes);
        }
    }
    if (sequence != view->first_sequence + view->rows || rest.length != 0)
        blame("block %llu: its runs do not add up", (unsigned long long)view->first_sequence);
}

struct look {
    struct ledger *ledger;
    uint64_t from;
};

static void found(void *context, uint64_t sequence, struct event_name event)
{
    const struct look *look = context;
    if (sequence >= look->from)
        ledger_found(look->ledger, event);
}

/* Events from … to - 1 of a shard. */
static void look_into(struct box *box, unsigned shard, uint64_t from, uint64_t to)
{
    struct spool_reader *reader;
    char why[512];
    if (spool_reader_open(&reader, CHECK_DIRECTORY, shard, why) != 0) {
        blame("the reader can't be opened: %s", why);
        return;
    }
    while (from < to) {
        struct block_view view;
        const struct spool_stream *streams;
        unsigned count;
        int result = spool_reader_get(reader, from, &view, &streams, &count, why);
        if (result == 2 && damage_explains(box, shard, from, view.first_sequence)) {
            from = view.first_sequence;
            continue;
        }
        if (result != 1) {
            blame("shard %u: event %llu of %llu can't be read: %d %s", shard,
                  (unsigned long long)from, (unsigned long long)to, result,
                  result < 0 ? why : "there is none");
            break;
        }
        struct look look = {box->ledger, from};
        check_block(box, &view, &look, found);
        from = view.first_sequence + view.rows;
    }
    spool_reader_close(reader);
}

static void look_into_shard(struct box *box, const struct spool_directory *directory,
                            unsigned shard, uint64_t next)
{
    uint64_t checkpoint = server_checkpoint(world.server, shard, spool_directory_epoch(directory));
    if (checkpoint > next)
        blame("shard %u: Postgres has %llu events, the spool only %llu", shard,
              (unsigned long long)checkpoint, (unsigned long long)next);
    look_into(box, shard, checkpoint, next);
}

void check_spool(struct box *box, const char *where)
{
    bool looking = world.looking;
    world.looking = true;
    ledger_look(box->ledger);
    for (unsigned i = 0; i < WORLD_SHARDS_MAX; i++)
        if (box->seat[i].spool != NULL)
            look_into_shard(box, box->directory, i, box->seat[i].recovery.next);
    ledger_looked(box->ledger, where);
    world.looking = looking;
}

static void marked(void *context, struct span producer, uint64_t count)
{
    ledger_marked(context, producer, count);
}

static void check_image_shard(struct box *box, struct spool_directory *directory, unsigned shard)
{
    struct counters counters = {0};
    struct spool_recovery recovery = {.context = box->ledger, .mark = marked};
    struct spool *spool;
    struct spool_options options = box_spool_options(box, shard);
    char why[512] = "";
    options.shared = directory;
    options.counters = &counters;
    if (spool_adopt(&spool, &options, &recovery, why) != 0) {
        blame("the durable image can't be recovered: %s", why);
        return;
    }
    look_into_shard(box, directory, shard, recovery.next);
    spool_close(spool);
}

void check_image(struct box *box)
{
    struct spool_directory *directory;
    char why[512] = "";
    if (spool_directory_open(&directory, CHECK_DIRECTORY, CHECK_NODE, why) != 0) {
        blame("the durable image can't be opened: %s", why);
        return;
    }
    ledger_unmark(box->ledger);
    ledger_look(box->ledger);
    for (unsigned i = 0; i < WORLD_SHARDS_MAX; i++)
        if ((spool_directory_shards(directory) >> i & 1) != 0)
            check_image_shard(box, directory, i);
    ledger_looked(box->ledger, "in the durable image");
    spool_directory_close(directory);
}
