/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/server_internal.h"

#include <stdlib.h>
#include <string.h>

/* ── Transactions ───────────────────────────────────────────────────────────────────────────── */

struct transaction *transaction_new(void)
{
    struct transaction *transaction = calloc(1, sizeof *transaction);
    must(transaction != NULL);
    return transaction;
}

void transaction_free(struct transaction *transaction)
{
    free(transaction->effect);
    free(transaction);
}

void transaction_add(struct transaction *transaction, struct event_name event, bool buried)
{
    if (transaction->effects == transaction->room) {
        transaction->room = transaction->room == 0 ? 32 : 2 * transaction->room;
        transaction->effect =
            realloc(transaction->effect, transaction->room * sizeof *transaction->effect);
        must(transaction->effect != NULL);
    }
    transaction->effect[transaction->effects++] = (struct effect){event, buried};
}

/* ── Checkpoints ────────────────────────────────────────────────────────────────────────────── */

struct place *server_place(struct server *server, unsigned shard, long long epoch)
{
    for (unsigned i = 0; i < server->places; i++)
        if (server->place[i].shard == shard && server->place[i].epoch == epoch)
            return &server->place[i];
    return NULL;
}

uint64_t server_checkpoint(const struct server *server, unsigned shard, uint64_t epoch)
{
    const struct place *place =
        server_place((struct server *)(uintptr_t)server, shard, (long long)epoch);
    return place == NULL ? 0 : (uint64_t)place->to;
}

static bool has_locked(const struct transaction *transaction, const struct statement *statement)
{
    for (unsigned i = 0; transaction->locks && i < transaction->moves; i++)
        for (unsigned j = 0; j < statement->places; j++)
            if (transaction->move[i].shard == statement->place[j].shard &&
                transaction->move[i].epoch == statement->place[j].epoch)
                return true;
    return false;
}

bool server_is_locked(const struct server *server, const struct transaction *mine,
                      const struct statement *statement)
{
    for (const struct transaction *zombie = server->zombies; zombie != NULL; zombie = zombie->next)
        if (zombie != mine && has_locked(zombie, statement))
            return true;
    for (unsigned i = 0; i < BACKENDS_MAX; i++) {
        const struct transaction *other = server->backend[i].transaction;
        if (server->backend[i].open && other != NULL && other != mine &&
            has_locked(other, statement))
            return true;
    }
    return false;
}

bool server_move(struct server *server, struct transaction *transaction,
                 const struct statement *statement)
{
    transaction->moves = 0;
    for (unsigned i = 0; i < statement->places; i++) {
        const struct place *want = &statement->place[i];
        const struct place *is = server_place(server, want->shard, want->epoch);
        if (is != NULL && (!statement->compares || is->to == want->from))
            transaction->move[transaction->moves++] = *want;
    }
    transaction->locks = true;
    if (!statement->counts || transaction->moves == statement->places)
        return true;
    saw(SAW_CHECKPOINT_REFUSED);
    tell("postgres: a checkpoint is not where it was thought to be");
    return false;
}

/* ── Commits ────────────────────────────────────────────────────────────────────────────────── */

static int by_event(const void *a, const void *b)
{
    const struct effect *left = a, *right = b;
    if (left->event.producer != right->event.producer)
        return left->event.producer < right->event.producer ? -1 : 1;
    return (left->event.number > right->event.number) - (left->event.number < right->event.number);
}

/* All of it comes true in the same moment; the order within was looked at where it was read. */
void server_commit(struct server *server, struct transaction *transaction)
{
    if (transaction->moves == 0 && transaction->effects == 0) {
        transaction_free(transaction);
        return;
    }
    for (unsigned i = 0; i < transaction->moves; i++) {
        struct place *move = &transaction->move[i];
        struct place *place = server_place(server, move->shard, move->epoch);
        tell("postgres: shard %u: %lld … %lld committed", move->shard, move->from, move->to);
        move->from = place->to;
        place->to = move->to;
    }
    if (transaction->effects > 1)
        qsort(transaction->effect, transaction->effects, sizeof transaction->effect[0], by_event);
    for (unsigned i = 0; i < transaction->effects; i++)
        ledger_stored(server->ledger, transaction->effect[i].event, transaction->effect[i].buried);
    transaction->locks = false;
    transaction->committed_ns = world.now_ns;
    transaction->next = server->log;
    server->log = transaction;
}

/* ── Broken connections ─────────────────────────────────────────────────────────────────────── */

static void add_zombie(struct server *server, struct transaction *transaction)
{
    transaction->due_ns = world.now_ns + MICROSECONDS(between(1, 50000));
    transaction->next = server->zombies;
    server->zombies = transaction;
}

void server_abandon(struct server *server, struct transaction *transaction, bool all_sent)
{
    transaction->doomed = !all_sent || transaction->deferred;
    if (all_sent && !transaction->doomed && !transaction->waits && once_in(3)) {
        saw(SAW_COMMITS_APPLIED);
        server_commit(server, transaction);
    } else if (once_in(2)) {
        saw(transaction->doomed ? SAW_SLOW_ROLLBACKS : SAW_ZOMBIES);
        add_zombie(server, transaction);
    } else {
        saw(SAW_COMMITS_LOST);
        transaction_free(transaction);
    }
}

static void zombie_ends(struct server *server, struct transaction *zombie)
{
    if (zombie->waits && server_is_locked(server, zombie, &zombie->advance)) {
        add_zombie(server, zombie);
        return;
    }
    if (zombie->waits && !server_move(server, zombie, &zombie->advance))
        zombie->doomed = true;
    if (zombie->doomed)
        transaction_free(zombie);
    else
        server_commit(server, zombie);
}

static struct transaction *take_due(struct server *server)
{
    for (struct transaction **at = &server->zombies; *at != NULL; at = &(*at)->next) {
        struct transaction *zombie = *at;
        if (zombie->due_ns > world.now_ns)
            continue;
        *at = zombie->next;
        return zombie;
    }
    return NULL;
}

static void zombies_work(struct server *server)
{
    struct transaction *zombie;
    while ((zombie = take_due(server)) != NULL)
        zombie_ends(server, zombie);
}

static void break_all(struct server *server)
{
    for (unsigned i = 0; i < BACKENDS_MAX; i++)
        if (server->backend[i].open)
            backend_break(&server->backend[i]);
}

void server_go_away(struct server *server, uint64_t for_ns)
{
    saw(SAW_POSTGRES_AWAY);
    tell("postgres is away for %llu ms", (unsigned long long)(for_ns / 1000000));
    server->away_until_ns = world.now_ns + for_ns;
    break_all(server);
}

/* ── Fail-over ──────────────────────────────────────────────────────────────────────────────── */

static void drop_zombies(struct server *server)
{
    while (server->zombies != NULL) {
        struct transaction *zombie = server->zombies;
        server->zombies = zombie->next;
        transaction_free(zombie);
    }
}

static void undo_newest(struct server *server)
{
    struct transaction *newest = server->log;
    server->log = newest->next;
    for (unsigned i = newest->moves; i-- > 0;)
        server_place(server, newest->move[i].shard, newest->move[i].epoch)->to =
            newest->move[i].from;
    for (unsigned i = 0; i < newest->effects; i++)
        ledger_unstored(server->ledger, newest->effect[i].event, newest->effect[i].buried);
    transaction_free(newest);
}

/* Oldest first: who came last is known again. */
static void replay_order(struct server *server, const struct transaction *transaction)
{
    if (transaction == NULL)
        return;
    replay_order(server, transaction->next);
    for (unsigned i = 0; i < transaction->effects; i++)
        ledger_order(server->ledger, transaction->effect[i].event);
}

void server_fail_over(struct server *server, uint64_t newest_ns)
{
    uint64_t lost = 0, most = between(0, 12);
    break_all(server);
    drop_zombies(server);
    while (server->log != NULL && lost < most && server->log->committed_ns > newest_ns) {
        undo_newest(server);
        lost++;
    }
    ledger_order_begin(server->ledger);
    replay_order(server, server->log);
    if (lost > 0)
        saw(SAW_FAIL_OVERS);
    tell("postgres fails over; %llu transactions are lost", (unsigned long long)lost);
    server->away_until_ns = world.now_ns + MILLISECONDS(between(1, 100));
}

/* ── Tables ─────────────────────────────────────────────────────────────────────────────────── */

void server_break_table(struct server *server, uint64_t for_ns)
{
    server->broken = streams_at(server->streams, (unsigned)below(streams_count(server->streams)));
    server->dropped = once_in(2);
    server->broken_until_ns = world.now_ns + for_ns;
    saw(SAW_TABLES_BROKEN);
    tell("postgres: of table %s a %s is gone for %llu ms", server->broken->table,
         server->dropped ? "column" : "right", (unsigned long long)(for_ns / 1000000));
}

static void mend_table(struct server *server)
{
    tell("postgres: table %s is mended", server->broken->table);
    server->broken = NULL;
    server->broken_until_ns = NEVER;
}

void server_calm(struct server *server)
{
    server->away_until_ns = 0;
    if (server->broken != NULL)
        mend_table(server);
}

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

uint64_t server_next_ns(const struct server *server)
{
    uint64_t next = server->broken_until_ns;
    for (const struct transaction *zombie = server->zombies; zombie != NULL; zombie = zombie->next)
        next = zombie->due_ns < next ? zombie->due_ns : next;
    return next;
}

void server_work(struct server *server)
{
    if (server->broken_until_ns <= world.now_ns)
        mend_table(server);
    zombies_work(server);
}

struct server *server_open(struct ledger *ledger, const struct streams *streams)
{
    struct server *server = calloc(1, sizeof *server);
    must(server != NULL);
    server->ledger = ledger;
    server->streams = streams;
    server->broken_until_ns = NEVER;
    return server;
}

void server_close(struct server *server)
{
    drop_zombies(server);
    while (server->log != NULL) {
        struct transaction *newest = server->log;
        server->log = newest->next;
        transaction_free(newest);
    }
    free(server);
}
