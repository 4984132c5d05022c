/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session with Postgres.
 *
 *   connect ─► tables ─► checkpoints ─► ┌ gather ─► store ─► tell the shards ┐
 *                             ▲         └──────── ▲ ──────────────┘ trouble ─┴─► outcome
 *                             └────────────────── AGAIN ◄───────────────┘
 *
 * After any trouble, whatever it was, the checkpoints are read again with their rows locked before
 * another row is sent: Postgres alone knows what it has committed.
 */
#include "batch/schema.h"
#include "batch/writer_state.h"
#include "core/clock.h"
#include "core/log.h"

#include <stdio.h>

enum { MS = 1000 * 1000, ROUNDS = 4 /* between two looks at the clock */ };

static struct patience patience(struct writer *writer, int (*look)(void *, uint64_t))
{
    return (struct patience){
        .context = writer, .doorbell = writer->options.sleeper->doorbell, .look = look};
}

/* ── Trouble ────────────────────────────────────────────────────────────────────────────────── */

static enum outcome describe(struct writer *writer, enum outcome outcome)
{
    const struct postgres_error *error = postgres_error(writer->postgres);
    if (writer->why[0] == 0)
        snprintf(writer->why, sizeof writer->why, "%s%s%s%s", error->message,
                 error->sqlstate[0] != 0 ? " (SQLSTATE " : "", error->sqlstate,
                 error->sqlstate[0] != 0 ? ")" : "");
    return outcome;
}

/* What a refusal that is no row's comes to. */
static enum outcome outcome_of(struct writer *writer, enum answer answer)
{
    if (answer == ANSWER_OK)
        return OUTCOME_ON;
    if (answer == ANSWER_STOPPED)
        return OUTCOME_STOP;
    if (answer == ANSWER_LOST)
        return describe(writer, OUTCOME_RECONNECT);
    switch (poison_judge(postgres_error(writer->postgres)->sqlstate)) {
    case VERDICT_RETRY:
    case VERDICT_TOO_BIG:
        return describe(writer, OUTCOME_LATER);
    case VERDICT_LOST:
        return describe(writer, OUTCOME_RECONNECT);
    case VERDICT_ROW:
    case VERDICT_HOLD:
        break;
    }
    return describe(writer, OUTCOME_HELD);
}

/* ── Beginning ──────────────────────────────────────────────────────────────────────────────── */

static enum outcome connect(struct writer *writer)
{
    if (postgres_connected(writer->postgres))
        return OUTCOME_ON;
    struct patience away = patience(writer, look_away);
    writer->tables_known = false;
    enum answer answer = postgres_connect(writer->postgres, &away);
    if (answer == ANSWER_OK)
        count(writer->options.counters, COUNT_POSTGRES_CONNECTS, 1);
    return outcome_of(writer, answer);
}

static enum outcome settle_tables(struct writer *writer)
{
    if (writer->tables_known)
        return OUTCOME_ON;
    struct patience away = patience(writer, look_away);
    enum answer answer = schema_settle(writer->postgres, &away, writer->options.streams,
                                       writer->options.create_tables, writer->why);
    if (answer == ANSWER_OK)
        answer = unique_settle(&writer->unique, writer->postgres, &away, writer->options.streams,
                               writer->why);
    writer->tables_known = answer == ANSWER_OK;
    return answer == ANSWER_REFUSED && writer->why[0] != 0 ? OUTCOME_HELD
                                                           : outcome_of(writer, answer);
}

/* Takes over where Postgres says that a source stands. */
static enum outcome adopt(struct writer *writer, struct source *source,
                          const struct checkpoint *checkpoint)
{
    unsigned long long stands = checkpoint->to, durable = source_durable(source);
    if (checkpoint->lines != 1) {
        snprintf(
            writer->why, sizeof writer->why,
            "ringmain_checkpoint has %u lines for node %s, shard %u, epoch %lld instead of one: it "
            "needs the primary key (node, shard, epoch), and its lines must not be hidden from "
            "this user",
            checkpoint->lines, writer->options.node, checkpoint->shard,
            (long long)checkpoint->epoch);
        return OUTCOME_HELD;
    }
    if (stands > durable) {
        snprintf(writer->why, sizeof writer->why,
                 "ringmain_checkpoint (node %s, shard %u, epoch %lld) stands at %llu, but only "
                 "%llu events were ever "
                 "taken here: another ringmain works with a copy of this spool, or the spool is an "
                 "old one",
                 writer->options.node, checkpoint->shard, (long long)checkpoint->epoch, stands,
                 durable);
        return OUTCOME_HELD;
    }
    if (source->known && stands < source->stored)
        log_warn("writer",
                 "Postgres went back (a fail-over?): shard %u stands at %llu instead of %llu; what "
                 "is missing is "
                 "stored again from the spool",
                 checkpoint->shard, stands, (unsigned long long)source->stored);
    if (writer->in_doubt && stands > source->stored)
        count(writer->options.counters, COUNT_EVENTS_STORED, stands - source->stored);
    source_rewind(source, stands);
    source_stored(source, stands);
    source_seen(source, clock_mono_ns());
    return OUTCOME_ON;
}

static enum outcome settle_checkpoints(struct writer *writer)
{
    unsigned sources = writer->options.sources;
    for (unsigned i = 0; i < sources; i++)
        writer->checkpoint[i] = (struct checkpoint){.shard = writer->source[i].feed.shard,
                                                    .epoch = writer->source[i].feed.epoch};
    struct patience away = patience(writer, look_away);
    enum outcome outcome =
        outcome_of(writer, store_settle(writer->postgres, &away, writer->options.node,
                                        writer->checkpoint, sources));
    for (unsigned i = 0; i < sources && outcome == OUTCOME_ON; i++)
        outcome = adopt(writer, &writer->source[i], &writer->checkpoint[i]);
    writer->in_doubt = writer->in_doubt && outcome != OUTCOME_ON;
    if (outcome == OUTCOME_ON && writer->poison.known &&
        writer->source[writer->poison.source].next > writer->poison.sequence)
        writer->poison.known = false; /* somebody has been past it */
    return outcome;
}

static void all_is_well(struct writer *writer)
{
    writer->unproven = writer->overtaken = writer->fit_doubted = false;
    backoff_reset(&writer->retry);
    writer_set_state(writer, POSTGRES_UP, "");
}

static enum outcome begin(struct writer *writer)
{
    writer->why[0] = 0;
    enum outcome outcome = connect(writer);
    if (outcome == OUTCOME_ON)
        outcome = settle_tables(writer);
    if (outcome == OUTCOME_ON)
        outcome = settle_checkpoints(writer);
    if (outcome == OUTCOME_ON && !writer->unproven)
        writer_set_state(writer, POSTGRES_UP, "");
    return outcome;
}

/* ── A batch ────────────────────────────────────────────────────────────────────────────────── */

/* When Postgres was busy with the batch before, the rows
 * have waited for it; so many are worth a batch of their own. */
static uint32_t enough(const struct writer *writer)
{
    uint32_t eighth = writer->options.batch_rows_max / 8;
    return eighth < 2048 ? 2048 : eighth;
}

/* Where damage in the spool was accepted there are no rows
 * to store, but the checkpoint has to come past it. */
static bool skipped(const struct writer *writer)
{
    bool found = false;
    for (unsigned i = 0; i < writer->options.sources; i++)
        found = found || writer->source[i].next > writer->source[i].stored;
    return found;
}

static bool ready(const struct writer *writer, bool was_busy)
{
    const struct batch *batch = writer->gathering;
    if (batch->rows == 0)
        return skipped(writer);
    return gather_complete(writer) || writer->poison.rows_limit > 0 || writer_stopping(writer) ||
           (was_busy && batch->rows >= enough(writer)) ||
           clock_mono_ns() >= batch->begun_ns + (uint64_t)writer->options.linger_ms * MS;
}

/* What shards that no longer run have left behind goes when it is stored, and when the producers'
 * counts in it stand somewhere else. */
static void tidy(struct writer *writer, uint64_t now_ns)
{
    const struct writer_options *options = &writer->options;
    for (unsigned i = 0; i < options->shards; i++)
        if (!atomic_load_explicit(&options->progress[i].marks, memory_order_acquire))
            return;
    for (unsigned i = 0; i < options->sources; i++)
        if (options->source[i].orphan != NULL)
            spool_orphan_tick(options->source[i].orphan, now_ns, writer->source[i].stored, now_ns);
}

/* A connection does not outlive its server, so one that is there speaks for all that was committed
 * through it. (One that is half open may do so for as long as TCP's time limits: a minute.) */
static void seen(struct writer *writer)
{
    uint64_t now_ns = clock_mono_ns();
    for (unsigned i = 0; i < writer->options.sources; i++)
        source_seen(&writer->source[i], now_ns);
    tidy(writer, now_ns);
}

/* Waits until the batch is ready to go. */
static enum outcome gather_batch(struct writer *writer, bool was_busy)
{
    struct patience idle = patience(writer, look_idle);
    for (;; was_busy = false) {
        while (gather(writer, ROUNDS) && !writer_out_of_time(writer, clock_mono_ns()))
            ;
        if (writer->why[0] != 0)
            return OUTCOME_HELD;
        if (ready(writer, was_busy))
            return OUTCOME_ON;
        if (writer->gathering->rows == 0 && writer_finished(writer)) {
            all_is_well(writer);
            if (writer_stopping(writer))
                return OUTCOME_STOP;
        }
        enum answer answer = postgres_idle(writer->postgres, &idle);
        sleeper_got_up(writer->options.sleeper);
        if (answer != ANSWER_OK)
            return outcome_of(writer, answer);
        seen(writer);
    }
}

static void return_loans(void *context)
{
    struct writer *writer = context;
    struct batch *sent =
        writer->gathering == &writer->batch[0] ? &writer->batch[1] : &writer->batch[0];
    batch_return(sent, gather_give, writer);
    for (unsigned i = 0; i < writer->options.sources; i++)
        source_wake(&writer->source[i]);
}

static void observe_batch(struct writer *writer, const struct batch *batch, uint64_t doubles,
                          uint64_t begun_ns)
{
    struct counters *counters = writer->options.counters;
    uint64_t now = clock_mono_ns();
    uint32_t dead = batch->dead.there ? 1 : 0;
    count(counters, COUNT_BATCHES, 1);
    count(counters, COUNT_BATCH_BYTES, batch->bytes);
    count(counters, COUNT_EVENTS_STORED, batch->rows - dead - doubles);
    count(counters, COUNT_EVENTS_DOUBLE, doubles);
    count(counters, COUNT_EVENTS_DEAD_LETTERED, dead);
    observe(counters, HISTOGRAM_BATCH_NS, now - begun_ns);
    observe(counters, HISTOGRAM_BATCH_EVENTS, batch->rows);
    for (uint32_t i = 0; i < batch->stretches; i++) {
        const struct stretch *stretch = &batch->stretch[i];
        observe_many(counters, HISTOGRAM_STORED_NS,
                     now > stretch->durable_ns ? now - stretch->durable_ns : 0, stretch->rows);
    }
}

static void committed(struct writer *writer, struct batch *batch, const struct checkpoint *dead_at,
                      uint64_t doubles, uint64_t begun_ns)
{
    must(!batch->dead.there || dead_at != NULL);
    if (batch->dead.there)
        log_warn("writer",
                 "Postgres refused event %llu of shard %u for good: %s (SQLSTATE %s); it stands in "
                 "ringmain_dead_letters",
                 (unsigned long long)batch->dead.sequence, dead_at->shard, writer->poison.reason,
                 writer->poison.sqlstate);
    observe_batch(writer, batch, doubles, begun_ns);
    poison_passed(&writer->poison, batch);
    batch_reset(batch);
    if (writer->gathering->rows == 0) /* a burial lets nothing in behind it */
        writer->full = false;
    all_is_well(writer);
}

/* Once may be an old writer's last batch, found where it went.
 * Twice in a row it is alive: let it have its way. */
static enum outcome overtaken(struct writer *writer)
{
    bool again = writer->overtaken;
    writer->overtaken = true;
    log_warn("writer", "another writer has moved a checkpoint of node %s: reading where it stands",
             writer->options.node);
    if (again)
        snprintf(writer->why, sizeof writer->why,
                 "another ringmain stores the same node, shard and epoch: two work with one spool");
    return again ? OUTCOME_LATER : OUTCOME_AGAIN;
}

/* The tables may not be what they were. On: they are, or nobody can tell. */
static enum outcome look_for_misfit(struct writer *writer, const struct batch *batch)
{
    struct patience busy = patience(writer, look_busy);
    enum answer answer =
        store_misfit(writer->postgres, &busy, batch, &writer->targets, writer->why);
    return answer == ANSWER_OK && writer->why[0] != 0 ? OUTCOME_HELD : outcome_of(writer, answer);
}

/* Postgres refused the batch. */
static enum outcome refused(struct writer *writer, const struct batch *batch,
                            enum store_stage stage, unsigned lot)
{
    const struct postgres_error *error = postgres_error(writer->postgres);
    if (store_overtaken(stage, error))
        return overtaken(writer);
    enum verdict verdict = poison_judge_batch(error);
    if (verdict == VERDICT_TOO_BIG)
        poison_halve(&writer->poison, batch);
    if (verdict != VERDICT_ROW || stage < STORE_COPY)
        return outcome_of(writer, ANSWER_REFUSED);
    struct postgres_error refusal = *error;
    enum outcome outcome = look_for_misfit(writer, batch);
    if (outcome != OUTCOME_ON)
        return outcome;
    /* Mended meanwhile; or a trigger at the commit divides by zero as well, which comes back. */
    writer->fit_doubted = stage == STORE_FIT && !writer->fit_doubted;
    if (!writer->fit_doubted)
        must(poison_suspect(&writer->poison, batch, (int)lot, &refusal));
    if (strcmp(refusal.sqlstate, "23502") == 0) /* a column that must be filled poisons all rows */
        writer->tables_known = false;
    return OUTCOME_AGAIN;
}

/* The sources that have rows in the batch that is about to go:
 * checkpoint[0 … n). *dead_at: the dead row's. */
static unsigned advance(struct writer *writer, const struct batch *batch,
                        const struct checkpoint **dead_at)
{
    unsigned checkpoints = 0;
    *dead_at = NULL;
    for (unsigned i = 0; i < writer->options.sources; i++) {
        const struct source *source = &writer->source[i];
        if (source->next == source->stored)
            continue;
        if (batch->dead.there && batch->dead.source == i)
            *dead_at = &writer->checkpoint[checkpoints];
        writer->checkpoint[checkpoints++] = (struct checkpoint){.source = i,
                                                                .shard = source->feed.shard,
                                                                .epoch = source->feed.epoch,
                                                                .from = source->stored,
                                                                .to = source->next};
    }
    return checkpoints;
}

static void tell_shards(struct writer *writer, unsigned checkpoints)
{
    for (unsigned i = 0; i < checkpoints; i++) {
        struct source *source = &writer->source[writer->checkpoint[i].source];
        source_stored(source, writer->checkpoint[i].to);
        if (source->orphan && source->stored == source_durable(source))
            log_info("writer", "what shard %u had left behind is stored", source->feed.shard);
    }
}

static enum outcome refresh(struct writer *writer)
{
    struct patience away = patience(writer, look_busy);
    return outcome_of(writer,
                      unique_refresh(&writer->unique, writer->postgres, &away, clock_mono_ns()));
}

static enum outcome store(struct writer *writer)
{
    struct batch *batch = writer->gathering;
    const struct checkpoint *dead_at;
    uint64_t doubles = 0;
    unsigned checkpoints = advance(writer, batch, &dead_at);
    writer->gathering = batch == &writer->batch[0] ? &writer->batch[1] : &writer->batch[0];
    writer->full = false;
    batch_order(batch, &writer->targets);
    struct store_job job = {.node = writer->options.node,
                            .checkpoint = writer->checkpoint,
                            .checkpoints = checkpoints,
                            .dead_at = dead_at,
                            .batch = batch,
                            .targets = &writer->targets,
                            .unique = &writer->unique,
                            .doubles = &doubles,
                            .poison = &writer->poison,
                            .sent = return_loans,
                            .context = writer};
    struct patience busy = patience(writer, look_busy);
    enum store_stage stage;
    unsigned lot;
    uint64_t begun_ns = clock_mono_ns();
    enum answer answer = store_batch(writer->postgres, &busy, &job, &stage, &lot);
    if (answer == ANSWER_OK) {
        tell_shards(writer, checkpoints);
        seen(writer);
        committed(writer, batch, dead_at, doubles, begun_ns);
        return OUTCOME_ON;
    }
    count(writer->options.counters, COUNT_BATCH_FAILURES, 1);
    writer->unproven = true;
    writer->in_doubt = answer != ANSWER_REFUSED;
    return answer == ANSWER_REFUSED ? refused(writer, batch, stage, lot)
                                    : outcome_of(writer, answer);
}

enum outcome writer_session(struct writer *writer)
{
    enum outcome outcome;
    do {
        writer_let_go(writer);
        outcome = begin(writer);
        for (bool was_busy = false; outcome == OUTCOME_ON; was_busy = true) {
            outcome = gather_batch(writer, was_busy);
            if (outcome == OUTCOME_ON)
                outcome = refresh(writer);
            if (outcome == OUTCOME_ON)
                outcome = store(writer);
        }
    } while (outcome == OUTCOME_AGAIN);
    return outcome;
}
