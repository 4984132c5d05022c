/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shard's turn: the table of contents of the running program.
 * Each kind of work is done once a turn, for all who wait for it:
 *
 *   wait     until the kernel, a timer or somebody else wants something: the one system call
 *   reap     completions: they only mark whom they are for
 *   feed     received bytes go through the wires; events are accepted; receive buffers go back
 *   commit   the house sends what was accepted on its way to the disk
 *   release  mail is read; what has become durable or stored frees the replies held for it
 *   push     replies leave, one send a connection; receives that ended are armed again
 *   tick     timers and housekeeping
 *   bury     connections that are no more, or move to another shard, which is woken
 *
 * Nothing wakes a shard twice for one thing, and nothing is slept through:
 * from `release` on, where the mail is read, the shard counts as asleep,
 * so that whoever posts later rings. Work that `release`, `tick` and `bury` make
 * for an earlier step is seen by the next `wait`, which then does not sleep.
 */
#include "core/clock.h"
#include "core/conn_internal.h"
#include "core/log.h"

enum { WHY = 256 };

/* ---- wait ---- */

static int64_t sooner(int64_t one, int64_t other)
{
    if (one < 0 || other < 0)
        return one < 0 ? other : one;
    return one < other ? one : other;
}

/* Something waits for a step that is not started by a completion. */
static bool has_work(const struct shard *shard)
{
    return !list_empty(&shard->ready) || !list_empty(&shard->dirty) || !list_empty(&shard->rearm) ||
           !list_empty(&shard->waiting[HOLD_DUE]);
}

/* Something must be asked for again and again: it will not tell us. */
static bool must_poll(const struct shard *shard)
{
    return !list_empty(&shard->waiting[HOLD_ELSEWHERE]) || !list_empty(&shard->throttled) ||
           !list_empty(&shard->leaving) || atomic_load(&shard->draining);
}

static int64_t sleep_ns(const struct shard *shard, uint64_t now_ns, int64_t wait_max_ns)
{
    if (!shard->lies_down || has_work(shard))
        return 0;
    int64_t wait_ns = sooner(wait_max_ns, timers_wait_ns(shard->timers, now_ns));
    wait_ns = sooner(wait_ns, shard->house_wait_ns);
    return must_poll(shard) ? sooner(wait_ns, POLL_MS * (int64_t)NS_PER_MS) : wait_ns;
}

static bool mail_waits(const struct shard *shard)
{
    for (unsigned i = 0; i < shard->options.shards; i++)
        if (shard->neighbour[i].in && mail_waiting(shard->neighbour[i].in) > 0)
            return true;
    return false;
}

/* A shard that has just been busy will soon be again: looking is cheaper than being woken. */
static bool spin(const struct shard *shard, uint64_t now_ns, int64_t wait_ns)
{
    uint64_t until = shard->worked_ns + shard->options.busy_poll_us * 1000ull;
    if (wait_ns > 0 && until > now_ns + (uint64_t)wait_ns)
        until = now_ns + (uint64_t)wait_ns;
    while (now_ns < until) {
        if (ring_ready(shard->ring) || mail_waits(shard))
            return true;
        now_ns = clock_mono_ns();
    }
    return false;
}

static int wait_for_work(struct shard *shard, int64_t wait_max_ns)
{
    uint64_t now_ns = clock_mono_ns();
    int64_t wait_ns = sleep_ns(shard, now_ns, wait_max_ns);
    int count = 0;
    if (wait_ns != 0 && shard->options.busy_poll_us > 0) {
        count = ring_wait(shard->ring, shard->completion, COMPLETIONS_MAX, 0);
        if (count == 0 && spin(shard, now_ns, wait_ns))
            wait_ns = 0;
    }
    if (count == 0)
        count = ring_wait(shard->ring, shard->completion, COMPLETIONS_MAX, wait_ns);
    sleeper_got_up(&shard->sleeper);
    shard->lies_down = false;
    return count;
}

/* ---- reap ---- */

static void conn_reap(struct shard *shard, struct turn *turn, const struct completion *done)
{
    struct conn *conn = pool_find(shard->conns, done->id.slot, done->id.generation);
    if (conn) {
        conn_completed(conn, turn, done);
        return;
    }
    count_one(turn, COUNT_STALE_COMPLETIONS);
    if (done->buffer >= 0)
        ring_buffer_put(turn->ring, done->buffer);
}

static void reap(struct shard *shard, struct turn *turn, int completions)
{
    const struct house *house = shard->options.house;
    for (int i = 0; i < completions; i++) {
        const struct completion *done = &shard->completion[i];
        if (done->op == RING_WAKE)
            continue; /* the mail is read every turn */
        if (done->id.owner >= RING_OWNER_HOUSE)
            house->complete(house->self, turn, done);
        else if (done->id.owner == OWNER_CONN)
            conn_reap(shard, turn, done);
        else if (done->id.owner == OWNER_LISTENER)
            listener_completed(shard, turn, done);
    }
}

/* ---- feed, commit, release, push ---- */

static void feed(struct shard *shard, struct turn *turn)
{
    struct list batch, *link;
    list_move_all(&shard->ready, &batch);
    while ((link = list_take(&batch)))
        conn_feed(LIST_ENTRY(link, struct conn, ready), turn);
}

static void commit(struct shard *shard, struct turn *turn)
{
    shard->options.house->commit(shard->options.house->self, turn);
}

static void drain_begin(struct shard *shard, struct turn *turn)
{
    struct conn *conn;
    atomic_store(&shard->draining, true);
    listeners_drain(shard);
    if (shard->options.house->draining != NULL)
        shard->options.house->draining(shard->options.house->self, turn);
    for (uint32_t cursor = 0; (conn = pool_next(shard->conns, &cursor));)
        conn_drain(conn, turn);
}

static void release(struct shard *shard, struct turn *turn)
{
    const struct house *house = shard->options.house;
    sleeper_lie_down(&shard->sleeper);
    shard->lies_down = true;
    if (atomic_load(&shard->stopping) && !shard_draining(shard))
        drain_begin(shard, turn);
    letters_read(shard, turn);
    house->mail(house->self, turn);
    house->release(house->self, turn);
    holds_release(shard, turn);
    throttled_resume(shard, turn);
}

static void push(struct shard *shard, struct turn *turn)
{
    struct list batch, *link;
    list_move_all(&shard->dirty, &batch);
    while ((link = list_take(&batch)))
        conn_push(LIST_ENTRY(link, struct conn, dirty), turn);
    for (unsigned i = 0; i < REARMS_MAX && (link = list_take(&shard->rearm)); i++)
        conn_rearm(LIST_ENTRY(link, struct conn, rearm), turn);
}

/* ---- tick ---- */

static void show(struct shard *shard, struct turn *turn)
{
    gauge(turn->counters, COUNT_CONNECTIONS, shard_connections(shard));
    gauge(turn->counters, COUNT_THROTTLED_CONNECTIONS, shard->throttled_count);
    gauge(turn->counters, COUNT_CONNECTION_BYTES, heap_bytes(shard->heap));
    uint64_t overflows = ring_overflows(shard->ring);
    if (overflows == shard->overflows_seen)
        return;
    count(turn->counters, COUNT_RING_OVERFLOWS, overflows - shard->overflows_seen);
    shard->overflows_seen = overflows;
    log_warn("shard",
             "shard %u: the completion queue overflowed; nothing was lost, but it is slow "
             "(limits.completions)",
             shard->options.index);
}

/* Once the house is drained, output may take a moment to leave; then it is cut off. */
static void drain_tick(struct shard *shard, struct turn *turn)
{
    const struct house *house = shard->options.house;
    struct conn *conn;
    if (!shard_draining(shard) || !house->drained(house->self, turn))
        return;
    if (shard->drained_ns == 0)
        shard->drained_ns = turn->now_ns;
    if (turn->now_ns - shard->drained_ns < DRAINED_MS * (uint64_t)NS_PER_MS)
        return;
    for (uint32_t cursor = 0; (conn = pool_next(shard->conns, &cursor));)
        conn_stop(conn, turn);
}

static void tick(struct shard *shard, struct turn *turn)
{
    const struct house *house = shard->options.house;
    struct timer *timer;
    while ((timer = timers_take(shard->timers, turn->now_ns)))
        conn_timed_out(LIST_ENTRY(timer, struct conn, timer), turn);
    int64_t wait_ns = listeners_tick(shard, turn);
    shard->house_wait_ns = sooner(wait_ns, house->tick(house->self, turn));
    drain_tick(shard, turn);
    show(shard, turn);
}

/* ---- bury ---- */

static void bury(struct shard *shard, struct turn *turn)
{
    const struct house *house = shard->options.house;
    struct list batch, *link;
    list_move_all(&shard->leaving, &batch);
    bool some = !list_empty(&batch);
    while ((link = list_take(&batch))) {
        struct conn *conn = LIST_ENTRY(link, struct conn, leaving);
        if (conn->state == CONN_MOVING)
            conn_move(conn, turn);
        else
            conn_bury(conn, turn);
    }
    if (some && house->buried)
        house->buried(house->self, turn);
    neighbours_wake(shard, turn);
    count_one(turn, COUNT_TURNS);
}

/* ---- the turn ---- */

static bool is_done(const struct shard *shard)
{
    return shard->drained_ns > 0 && shard_connections(shard) == 0 && listeners_closed(shard);
}

int shard_turn(struct shard *shard, int64_t wait_max_ns)
{
    char why[WHY];
    int result = shard->ring ? 0 : shard_open_ring(shard, why);
    if (result < 0) {
        log_error("shard", "shard %u: %s", shard->options.index, why);
        return result;
    }
    struct turn turn = {.shard = shard, .ring = shard->ring, .counters = shard->options.counters};

    int completions = wait_for_work(shard, wait_max_ns);
    if (completions < 0)
        return completions;
    turn.now_ns = clock_mono_ns();
    turn.wall_us = clock_wall_us();
    reap(shard, &turn, completions);
    feed(shard, &turn);
    commit(shard, &turn);
    release(shard, &turn);
    push(shard, &turn);
    tick(shard, &turn);
    bury(shard, &turn);

    uint64_t end_ns = clock_mono_ns();
    if (completions > 0)
        shard->worked_ns = end_ns;
    observe(turn.counters, HISTOGRAM_TURN_NS, end_ns - turn.now_ns);
    if (!is_done(shard))
        return 0;
    completions =
        ring_wait(shard->ring, shard->completion, COMPLETIONS_MAX, 0); /* the last closes */
    return completions < 0 ? completions : 1;
}
