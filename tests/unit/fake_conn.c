/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/fake_conn.h"

#include <stdlib.h>

void fake_init(struct conn *conn)
{
    memset(conn, 0, sizeof *conn);
    conn->kept.max = (size_t)1 << 30;
    conn->sent.max = (size_t)1 << 30;
    conn->id = 0x0001000200000003;
    conn->memory_max = SIZE_MAX;
}

void fake_fini(struct conn *conn, struct turn *turn)
{
    if (conn->wire != NULL)
        conn->wire->ops->fini(conn->wire, turn);
    must(conn->memory == 0);
    fake_forget(conn);
    for (unsigned i = 0; i < conn->holds; i++)
        free((void *)(uintptr_t)conn->hold[i].reply.at);
    buf_fini(&conn->kept);
    memset(conn, 0, sizeof *conn);
}

/* As the shard does: the wire that was left is gone only when it is no longer on the stack. */
static void settle(struct conn *conn, struct turn *turn)
{
    struct wire *retired = conn->retired;
    conn->retired = NULL;
    if (retired != NULL)
        retired->ops->fini(retired, turn);
}

static bool offer_once(struct conn *conn, struct turn *turn)
{
    size_t length = conn->kept.length;
    uint8_t *run = malloc(length);
    must(run != NULL);
    memcpy(run, conn->kept.at, length);
    ptrdiff_t used = conn->wire->ops->input(conn->wire, turn, run, length);
    free(run);
    settle(conn, turn);
    must(used >= WIRE_HAND_OVER && used <= (ptrdiff_t)length);
    conn->closing = used == WIRE_CLOSE;
    conn->moves = used == WIRE_HAND_OVER;
    if (used > 0)
        buf_drop(&conn->kept, (size_t)used);
    return used > 0;
}

static void offer(struct conn *conn, struct turn *turn)
{
    bool more = true;
    while (more && conn->kept.length > 0 && !conn->throttled && !conn->paused && !conn->finished &&
           !conn->aborted && !conn->closing && !conn->moves)
        more = offer_once(conn, turn);
}

void fake_receive(struct conn *conn, struct turn *turn, const void *bytes, size_t length)
{
    must(buf_put(&conn->kept, bytes, length));
    offer(conn, turn);
}

void fake_open(struct conn *conn, struct turn *turn)
{
    conn->throttled = false;
    offer(conn, turn);
}

void fake_release(struct conn *conn, struct turn *turn, unsigned count)
{
    must(count <= conn->holds);
    for (unsigned i = 0; i < count; i++) {
        struct hold hold = conn->hold[0];
        conn->holds--;
        memmove(&conn->hold[0], &conn->hold[1], conn->holds * sizeof hold);
        conn->wire->ops->released(conn->wire, turn, &hold);
        free((void *)(uintptr_t)hold.reply.at);
    }
}

void fake_forget(struct conn *conn)
{
    buf_fini(&conn->sent);
}

bool conn_send(struct conn *conn, struct turn *turn, const void *bytes, size_t length)
{
    (void)turn;
    return !conn->aborted && buf_put(&conn->sent, bytes, length);
}

bool conn_lend(struct conn *conn, struct turn *turn, struct span bytes, struct lent *lent)
{
    bool sent = conn_send(conn, turn, bytes.at, bytes.length);
    if (sent)
        lent->returned(lent);
    return sent;
}

size_t conn_queued(const struct conn *conn)
{
    return conn->sent.length;
}

void conn_notify(struct conn *conn)
{
    conn->notify |= conn->sent.length > 0;
}

bool conn_count_memory(struct conn *conn, size_t *counted, size_t bytes)
{
    if (bytes > *counted && bytes - *counted > conn->memory_max - conn->memory)
        return false;
    conn->memory += bytes - *counted;
    *counted = bytes;
    return true;
}

bool conn_hold(struct conn *conn, struct turn *turn, const struct hold *hold)
{
    (void)turn;
    if (conn->holds == FAKE_HOLDS_MAX)
        return false;
    uint8_t *reply = malloc(hold->reply.length + 1);
    must(reply != NULL);
    if (hold->reply.length > 0)
        memcpy(reply, hold->reply.at, hold->reply.length);
    conn->hold[conn->holds] = *hold;
    conn->hold[conn->holds++].reply = span_of(reply, hold->reply.length);
    return true;
}

unsigned conn_holds(const struct conn *conn)
{
    return conn->holds;
}

void conn_deadline(struct conn *conn, struct turn *turn, uint64_t at_ns)
{
    (void)turn;
    conn->deadline_ns = at_ns;
}

void conn_pause(struct conn *conn, struct turn *turn)
{
    (void)turn;
    conn->paused = true;
}

void conn_resume(struct conn *conn, struct turn *turn)
{
    (void)turn;
    conn->paused = false;
}

void conn_throttle(struct conn *conn, struct turn *turn)
{
    (void)turn;
    conn->throttled = true;
}

void conn_finish(struct conn *conn, struct turn *turn)
{
    (void)turn;
    conn->finished = true;
}

void conn_abort(struct conn *conn, struct turn *turn)
{
    (void)turn;
    conn->aborted = true;
}

void conn_change_wire(struct conn *conn, struct turn *turn, struct wire *wire)
{
    settle(conn, turn);
    conn->retired = conn->wire;
    conn->wire = wire;
}

void conn_hand_over(struct conn *conn, unsigned shard)
{
    conn->target = shard;
}

struct span conn_rest(const struct conn *conn)
{
    return buf_span(&conn->kept);
}

uint64_t conn_id(const struct conn *conn)
{
    return conn->id;
}

const char *conn_peer(const struct conn *conn)
{
    (void)conn;
    return "192.0.2.1:4711";
}

void fake_sent(struct conn *conn, struct turn *turn)
{
    bool notify = conn->notify;
    fake_forget(conn);
    conn->notify = false;
    if (notify && conn->wire->ops->writable != NULL)
        conn->wire->ops->writable(conn->wire, turn);
}
