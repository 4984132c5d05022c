/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the writer's batch fills, and what it does while it waits.
 *
 * While one batch is on its way the next is gathered, in the pauses that the socket leaves:
 * look_busy(). The shards' wake-ups are not asked for then, the mail is looked into every few
 * milliseconds: a shard under load never pays for ringing. Only when there is nothing to do the
 * writer lies down: look_idle(). Until the checkpoints have been read there is nothing that blocks
 * could be used for: look_away().
 */
#include "batch/writer_state.h"
#include "core/clock.h"

#include <stdio.h>

enum {
    GLANCE_MS = 5,
    NAP_MS = 1000,
    MS = 1000 * 1000,
    STALL_NS = 1000 * MS, /* Postgres has been silent for so long: what is lent goes back */
    STEPS_BUSY = 4,       /* rounds of the sources between two looks at the socket */
};

/* ── One round of the sources ───────────────────────────────────────────────────────────────── */

static struct fill_rules rules_for(struct writer *writer, unsigned source, uint64_t now_ns)
{
    struct fill_rules rules = {.targets = &writer->targets,
                               .now_ns = now_ns,
                               .rows_limit = writer->poison.rows_limit,
                               .until = UINT64_MAX};
    if (writer->poison.known) {
        rules.until = writer->poison.source == source ? writer->poison.sequence + 1 : 0;
        rules.rows_limit = 0;
        rules.bury_last = true;
    }
    return rules;
}

/* The batch that buries a row holds the rows before it and it, of one source. */
bool gather_complete(const struct writer *writer)
{
    const struct batch *batch = writer->gathering;
    return writer->full || batch->dead.there || batch->rows >= batch->rows_max ||
           batch->bytes >= batch->bytes_max;
}

/* One step for each source that has something. True: there may be more. */
static bool gather_round(struct writer *writer, uint64_t now_ns)
{
    bool more = false;
    for (unsigned i = 0; i < writer->options.sources && !gather_complete(writer); i++) {
        unsigned index = writer->turn++ % writer->options.sources;
        if (writer->poison.known && writer->poison.source != index)
            continue;
        struct fill_rules rules = rules_for(writer, index, now_ns);
        enum fill fill =
            source_fill(&writer->source[index], writer->gathering, &rules, writer->why);
        more = more || fill == FILL_SOME;
        writer->full = writer->full || fill == FILL_FULL || fill == FILL_FAILED;
        if (fill == FILL_FAILED && writer->why[0] == 0)
            snprintf(writer->why, sizeof writer->why, "the spool can't be read");
    }
    return more && !gather_complete(writer);
}

bool gather(struct writer *writer, unsigned rounds)
{
    uint64_t now_ns = clock_mono_ns();
    bool more = true;
    while (more && rounds-- > 0)
        more = gather_round(writer, now_ns);
    return more;
}

void gather_give(void *context, uint16_t source, struct block *block)
{
    source_give(&((struct writer *)context)->source[source], block);
}

/* Postgres says nothing: the shards need their memory more than we. Copies are ours to keep. */
static void own_everything(struct writer *writer)
{
    batch_own(&writer->batch[0], gather_give, writer);
    batch_own(&writer->batch[1], gather_give, writer);
    writer_drop_mail(writer);
}

/* ── Looking around while Postgres is waited for ────────────────────────────────────────────── */

int look_busy(void *context, uint64_t waited_ns)
{
    struct writer *writer = context;
    if (writer_out_of_time(writer, clock_mono_ns()))
        return -1;
    if (waited_ns > STALL_NS) {
        own_everything(writer);
        return GLANCE_MS;
    }
    return gather(writer, STEPS_BUSY) ? 0 : GLANCE_MS;
}

/* Before the checkpoints are known there is nothing that blocks could be used for. */
int look_away(void *context, uint64_t waited_ns)
{
    (void)waited_ns;
    struct writer *writer = context;
    if (writer_out_of_time(writer, clock_mono_ns()))
        return -1;
    writer_drop_mail(writer);
    return GLANCE_MS;
}

static int nap_ms(const struct writer *writer, uint64_t now_ns)
{
    int64_t least = (int64_t)NAP_MS * MS;
    for (unsigned i = 0; i < writer->options.sources; i++) {
        int64_t wait = source_wait_ns(&writer->source[i], now_ns);
        least = wait >= 0 && wait < least ? wait : least;
    }
    return (int)((least + MS - 1) / MS);
}

/* The batch has begun: sleep until it has to go. It has not: lie down, and then look once more. */
int look_idle(void *context, uint64_t waited_ns)
{
    (void)waited_ns;
    struct writer *writer = context;
    uint64_t now = clock_mono_ns();
    if (writer_out_of_time(writer, now))
        return -1;
    if (writer->gathering->rows > 0) {
        uint64_t due = writer->gathering->begun_ns + (uint64_t)writer->options.linger_ms * MS;
        int left = due > now ? (int)((due - now + MS - 1) / MS) : 0;
        return left < GLANCE_MS ? left : GLANCE_MS;
    }
    sleeper_lie_down(writer->options.sleeper);
    if (gather(writer, STEPS_BUSY) || writer->gathering->rows > 0 || gather_complete(writer))
        return 0;
    return writer_stopping(writer) ? GLANCE_MS : nap_ms(writer, now);
}
