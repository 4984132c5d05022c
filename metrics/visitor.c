/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics/visitor.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

static void set_deadline(struct visitor *visitor, uint64_t now_ns, unsigned seconds)
{
    visitor->deadline_ns = now_ns + seconds * (uint64_t)1000000000;
}

void visitor_come(struct visitor *visitor, int socket, uint64_t now_ns)
{
    must(visitor->state == VISITOR_ABSENT);
    visitor->state = VISITOR_ASKING;
    visitor->socket = socket;
    visitor->idle = visitor->unread = visitor->last = false;
    visitor->kept = visitor->sent = 0;
    buf_init(&visitor->output, ANSWER_MAX);
    set_deadline(visitor, now_ns, VISITOR_STEP_S);
}

void visitor_dismiss(struct visitor *visitor)
{
    if (visitor->state == VISITOR_ABSENT)
        return;
    close(visitor->socket);
    buf_fini(&visitor->output);
    visitor->state = VISITOR_ABSENT;
}

/* A socket that can be written to makes poll return at once,
 * which is what a request that is here already needs. */
short visitor_events(const struct visitor *visitor)
{
    return visitor->state == VISITOR_ANSWERED || visitor->unread ? POLLOUT : POLLIN;
}

static void leave(struct visitor *visitor, uint64_t now_ns)
{
    shutdown(visitor->socket, SHUT_WR);
    visitor->state = VISITOR_LEAVING;
    set_deadline(visitor, now_ns, VISITOR_LEAVES_S);
}

static void await_next(struct visitor *visitor, uint64_t now_ns)
{
    visitor->state = VISITOR_ASKING;
    visitor->unread = visitor->kept > 0;
    visitor->idle = visitor->kept == 0;
    set_deadline(visitor, now_ns, visitor->idle ? VISITOR_IDLE_S : VISITOR_STEP_S);
}

static bool would_block(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static void send_more(struct visitor *visitor, uint64_t now_ns)
{
    struct buf *output = &visitor->output;
    ssize_t sent = send(visitor->socket, output->at + visitor->sent, output->length - visitor->sent,
                        MSG_NOSIGNAL);
    if (sent < 0) {
        if (!would_block())
            visitor_dismiss(visitor);
        return;
    }
    visitor->sent += (size_t)sent;
    if (visitor->sent < output->length)
        return;
    buf_fini(output);
    visitor->sent = 0;
    if (visitor->last)
        leave(visitor, now_ns);
    else
        await_next(visitor, now_ns);
}

static void start_sending(struct visitor *visitor, bool made, bool last, uint64_t now_ns)
{
    if (!made) {
        visitor_dismiss(visitor);
        return;
    }
    visitor->state = VISITOR_ANSWERED;
    visitor->last = last;
    set_deadline(visitor, now_ns, VISITOR_STEP_S);
    send_more(visitor, now_ns);
}

static void refuse(struct visitor *visitor, enum refusal refusal, uint64_t now_ns)
{
    visitor->kept = 0;
    start_sending(visitor, answer_refuse(refusal, &visitor->output), true, now_ns);
}

/* Answers the request in the input, if it is all there. */
static void look_at_input(struct visitor *visitor, struct answer_source *source, uint64_t now_ns)
{
    struct scrape asked;
    ptrdiff_t used = scrape_read(span_of(visitor->input, visitor->kept), &asked);
    if (used == 0 && visitor->kept == SCRAPE_HEAD_MAX) {
        refuse(visitor, REFUSE_HEAD_TOO_LARGE, now_ns);
    } else if (used < 0) {
        refuse(visitor, REFUSE_BAD, now_ns);
    } else if (used > 0) {
        visitor->kept -= (size_t)used;
        memmove(visitor->input, visitor->input + used, visitor->kept);
        start_sending(visitor, answer(source, &asked, &visitor->output), !asked.keep_alive, now_ns);
    }
}

static void receive(struct visitor *visitor, struct answer_source *source, uint64_t now_ns)
{
    must(visitor->kept < SCRAPE_HEAD_MAX);
    ssize_t got =
        recv(visitor->socket, visitor->input + visitor->kept, SCRAPE_HEAD_MAX - visitor->kept, 0);
    if (got <= 0) {
        if (got == 0 || !would_block())
            visitor_dismiss(visitor);
        return;
    }
    if (visitor->idle) {
        visitor->idle = false;
        set_deadline(visitor, now_ns, VISITOR_STEP_S);
    }
    visitor->kept += (size_t)got;
    look_at_input(visitor, source, now_ns);
}

static void see_off(struct visitor *visitor)
{
    ssize_t got = recv(visitor->socket, visitor->input, SCRAPE_HEAD_MAX, 0);
    if (got == 0 || (got < 0 && !would_block()))
        visitor_dismiss(visitor);
}

void visitor_turn(struct visitor *visitor, struct answer_source *source, uint64_t now_ns)
{
    switch (visitor->state) {
    case VISITOR_ABSENT:
        break;
    case VISITOR_ASKING:
        if (visitor->unread) {
            visitor->unread = false;
            look_at_input(visitor, source, now_ns);
        } else {
            receive(visitor, source, now_ns);
        }
        break;
    case VISITOR_ANSWERED:
        send_more(visitor, now_ns);
        break;
    case VISITOR_LEAVING:
        see_off(visitor);
        break;
    }
}
