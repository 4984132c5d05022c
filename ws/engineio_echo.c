/* SPDX-License-Identifier: Apache-2.0 */
#include "ws/engineio_echo.h"

static void opened(struct engineio_session *session, struct turn *turn)
{
    (void)session;
    (void)turn;
}

static bool echo_text(struct engineio_session *session, struct turn *turn, struct span data)
{
    struct buf packet = {.max = data.length + 1};
    bool put = buf_put(&packet, "4", 1) && buf_put(&packet, data.at, data.length);
    if (put)
        (void)engineio_send(session, turn, buf_span(&packet));
    buf_fini(&packet);
    return put;
}

static bool message(struct engineio_session *session, struct turn *turn, bool binary,
                    struct span data)
{
    if (!binary)
        return echo_text(session, turn, data);
    (void)engineio_send_with(session, turn, (struct span){NULL, 0}, &data, 1);
    return true;
}

static void closed(struct engineio_session *session, struct turn *turn, enum engineio_reason reason)
{
    (void)session;
    (void)turn;
    (void)reason;
}

const struct engineio_ops engineio_echo_ops = {
    .opened = opened, .message = message, .closed = closed};
