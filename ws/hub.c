/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shard's hub as a whole: its life, and what it does in a turn.
 */
#include "ws/hub_internal.h"

#include <stdlib.h>

enum { TICK_MS = 200, PASSES_MAX = 8 };
#define TICK_NS    (TICK_MS * 1000000ull)
#define BACKLOG_NS 1000000 /* until the next look whether a full mail has room again */

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

struct hub *hub_open(const struct hub_options *options)
{
    must(options->shard < options->node->shards && options->queue_messages > 0);
    struct hub *hub = calloc(1, sizeof *hub);
    if (hub == NULL)
        return NULL;
    hub->options = *options;
    hub->node = options->node;
    list_init(&hub->lingering);
    list_init(&hub->dirty);
    list_init(&hub->peers);
    list_init(&hub->inbox);
    for (unsigned i = 0; i < SHARDS_MAX; i++)
        list_init(&hub->backlog[i]);
    hub->forgotten = calloc(FORGOTTEN_SLOTS, sizeof *hub->forgotten);
    if (log_open(&hub->log) && hub->forgotten != NULL)
        return hub;
    hub_close(hub);
    return NULL;
}

void hub_close(struct hub *hub)
{
    if (hub == NULL)
        return;
    must(list_empty(&hub->peers));
    hub_drop_run(hub);
    hub_drop_questions(hub);
    hub_drop_backlog(hub);
    hub_free_rooms(hub);
    presence_close(hub);
    log_close(&hub->log);
    free(hub->forgotten);
    free(hub->slot);
    free(hub);
}

void hub_set_encoder(struct hub *hub, unsigned encoding, hub_encode encode, void *context)
{
    must(encoding < ENCODINGS_MAX && hub->encoder[encoding].encode == NULL);
    hub->encoder[encoding] = (struct encoder){encode, context};
}

/* ── In a turn ──────────────────────────────────────────────────────────────────────────────── */

static void offer(struct peer *peer, struct turn *turn)
{
    if (UNLIKELY(peer->overran)) {
        if (!peer->overrun_told) {
            peer->overrun_told = true;
            peer->ops->overrun(peer, turn);
        }
        return;
    }
    if (peer->queue.count > 0)
        peer->ops->drain(peer, turn);
}

/* One pass; who is sent something meanwhile waits for the next. */
static void drain(struct hub *hub, struct turn *turn)
{
    struct list batch, *link;
    list_move_all(&hub->dirty, &batch);
    while ((link = list_take(&batch)) != NULL)
        offer(LIST_ENTRY(link, struct peer, dirty), turn);
}

static bool has_work(const struct hub *hub)
{
    return hub->run.count > 0 || !list_empty(&hub->dirty) || !list_empty(&hub->inbox) ||
           hub->unanswered;
}

/* What is drained may answer, and what is answered publish: a few times around, the rest in the next
 * turn. */
void hub_flush(struct hub *hub, struct turn *turn)
{
    hub->pressed = 0;
    hub_post_backlog(hub);
    for (unsigned i = 0; i < PASSES_MAX && has_work(hub); i++) {
        hub_end_run(hub, turn);
        hub_think(hub, turn);
        drain(hub, turn);
    }
    hub_wake(hub);
}

int64_t hub_tick(struct hub *hub, struct turn *turn)
{
    if (turn->now_ns >= hub->ticked_ns + TICK_NS) {
        hub->ticked_ns = turn->now_ns;
        hub_end_run(hub, turn);
        log_age(hub, turn->now_ns);
        hub_forget_rooms(hub, turn->now_ns);
    }
    gauge(turn->counters, COUNT_LIVE_PEERS, hub->peers_count);
    gauge(turn->counters, COUNT_LIVE_ROOMS, hub->rooms.count);
    gauge(turn->counters, COUNT_LIVE_MEMBERS, hub->members);
    gauge(turn->counters, COUNT_LIVE_HISTORY_BYTES, hub->log.bytes);
    if (hub_is_dirty(hub))
        return 0;
    if (hub->backlog_bytes > 0)
        return BACKLOG_NS;
    if (list_empty(&hub->lingering) && hub->log.first == hub->log.next)
        return -1;
    return (int64_t)(hub->ticked_ns + TICK_NS - turn->now_ns);
}

bool hub_is_dirty(const struct hub *hub)
{
    return has_work(hub) || hub->more_mail || hub->unwoken;
}

unsigned hub_peers(const struct hub *hub)
{
    return hub->peers_count;
}

bool hub_is_pressed(const struct hub *hub)
{
    return hub->pressed >= PRESSED;
}
