/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a session's packets mean, and its heartbeat.
 *
 *   EIO 4   ping ──interval──► … ◄── pong    no pong within the timeout: gone. What else comes
 *                                            meanwhile extends it, once
 *   EIO 3   ◄── ping   pong ──►              no ping within interval + timeout: gone
 *
 * A deadline follows from the one before, not from when the timer or the pong came: else each would
 * be late by the sum of all. But between a pong and the next ping lies half an interval; and if it was
 * we who were away, for as much as half the timeout, a client that has been waiting gets its whole time
 * from now. Who did not even poll gets none.
 */
#include "ws/engineio_internal.h"

/* ── Time ───────────────────────────────────────────────────────────────────────────────────── */

static uint64_t sooner(uint64_t a_ns, uint64_t b_ns)
{
    return a_ns == 0 || (b_ns != 0 && b_ns < a_ns) ? b_ns : a_ns;
}

void session_arm(struct engineio_session *session)
{
    uint64_t due = sooner(sooner(session->beat_ns, session->upgrade_ns),
                          sooner(session->greet_ns, session->end_ns));
    if (due == 0)
        timer_stop(session->door->timers, &session->timer);
    else
        timer_start(session->door->timers, &session->timer, due);
}

void session_expect_beat(struct engineio_session *session, uint64_t from_ns)
{
    const struct engineio_options *options = &session->door->options;
    uint64_t wait = options->ping_interval_ns;
    if (session->protocol == 3)
        wait += options->ping_timeout_ns;
    else if (session->awaits_pong)
        wait = options->ping_timeout_ns;
    session->beat_ns = from_ns + wait;
    session_arm(session);
}

/* True: the client has not been heard in time, and the session is gone. */
static bool beat(struct engineio_session *session, struct turn *turn)
{
    bool silent = session->protocol == 3 || session->awaits_pong;
    if (silent && session->stall != NULL) { /* it is we who do not listen */
        session_expect_beat(session, turn->now_ns);
        return false;
    }
    if (silent) {
        session_close(session, turn, ENGINEIO_PING_TIMEOUT);
        return true;
    }
    bool waits = session->socket != NULL || session->poll != NULL;
    bool late =
        waits && turn->now_ns - session->beat_ns > session->door->options.ping_timeout_ns / 2;
    session->awaits_pong = true;
    session->extended = false;
    session->owed |= OWE_PING;
    session->ping_ns = late ? turn->now_ns : session->beat_ns;
    session_expect_beat(session, session->ping_ns);
    session_flush(session, turn);
    return false;
}

bool session_expired(struct engineio_session *session, struct turn *turn)
{
    if (session->upgrade_ns != 0 && turn->now_ns >= session->upgrade_ns) {
        session->upgrade_ns = 0;
        session->probed = false;
        engineio_socket_close(&session->probe, turn, CLOSE_NORMAL);
    }
    if (session->greet_ns != 0 && turn->now_ns >= session->greet_ns)
        socket_greet(session, turn);
    if (session->end_ns != 0 && turn->now_ns >= session->end_ns) {
        session_close(session, turn, session->reason);
        return true;
    }
    while (session->beat_ns != 0 && turn->now_ns >= session->beat_ns)
        if (beat(session, turn))
            return true;
    session_arm(session);
    return false;
}

/* ── What comes in ──────────────────────────────────────────────────────────────────────────── */

static enum session_verdict take_ping(struct engineio_session *session, struct turn *turn)
{
    if (session->protocol != 3)
        return VERDICT_WRONG_WAY;
    session->owed |= OWE_PONG;
    session_expect_beat(session, turn->now_ns);
    session_flush(session, turn);
    return VERDICT_TAKEN;
}

static enum session_verdict take_pong(struct engineio_session *session, struct turn *turn)
{
    if (session->protocol == 3)
        return VERDICT_WRONG_WAY;
    if (!session->awaits_pong)
        return VERDICT_TAKEN;
    session->awaits_pong = false;
    uint64_t latest_ns = turn->now_ns - session->door->options.ping_interval_ns / 2;
    session_expect_beat(session, session->ping_ns > latest_ns ? session->ping_ns : latest_ns);
    return VERDICT_TAKEN;
}

static void extend(struct engineio_session *session, struct turn *turn)
{
    if (!session->awaits_pong || session->extended)
        return;
    session->extended = true;
    session_expect_beat(session, turn->now_ns);
}

enum session_verdict session_packet(struct engineio_session *session, struct turn *turn,
                                    const struct packet *packet)
{
    const struct engineio_ops *ops = session->door->options.ops;
    if (session->state != SESSION_OPEN)
        return VERDICT_TAKEN;
    switch (packet->type) {
    case PACKET_PING:
        return take_ping(session, turn);
    case PACKET_PONG:
        return take_pong(session, turn);
    case PACKET_CLOSE:
        return VERDICT_LEFT;
    case PACKET_MESSAGE:
        extend(session, turn);
        return ops->message(session, turn, packet->binary, packet->data) ? VERDICT_TAKEN
                                                                         : VERDICT_STALLED;
    case PACKET_OPEN:
    case PACKET_UPGRADE:
    case PACKET_NOOP:
        extend(session, turn);
        break;
    }
    return VERDICT_TAKEN;
}

enum engineio_reason session_reason_of(enum session_verdict verdict)
{
    switch (verdict) {
    case VERDICT_PARSE_ERROR:
        return ENGINEIO_PARSE_ERROR;
    case VERDICT_WRONG_WAY:
    case VERDICT_STALLED: /* and there was no memory to keep it */
        return ENGINEIO_TRANSPORT_ERROR;
    case VERDICT_LEFT:
    case VERDICT_TAKEN:
        break;
    }
    return ENGINEIO_TRANSPORT_CLOSE;
}
