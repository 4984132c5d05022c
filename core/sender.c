/* SPDX-License-Identifier: Apache-2.0 */
#include "core/sender.h"

#include "core/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TICK_MS = 20, BACKOFF_MS = 50, BACKOFF_MAX_MS = 2000 };

/* A link and its socket. */
struct line {
    struct send_link link;
    int socket;                     /* -1: not connected */
    const struct addrinfo *address; /* to be tried next */
    bool connecting;
    bool ever; /* was connected before */
    bool done;
    size_t sent;       /* of link.out */
    uint64_t retry_ns; /* when to connect again */
    unsigned backoff_ms;
};

struct sender {
    struct sender_terms terms;
    struct send_totals totals;
    struct line *line;
    struct pollfd *poll;
    uint64_t started_ns, give_up_ns, last_progress_ns, shown_ns, pushed;
    bool acks;
    char trouble[128]; /* why a connection did not come about, or ended, the last time */
    bool told;         /* that nobody was there yet */
    char gave_up[256];
};

/* ── Sockets ────────────────────────────────────────────────────────────────────────────────── */

/* error 0: the server closed. Said once while nobody was ever there: a port may be mistyped. */
static void note_trouble(struct sender *sender, const struct line *line, int error)
{
    snprintf(sender->trouble, sizeof sender->trouble, "%.64s:%.8s: %s", sender->terms.options.host,
             sender->terms.options.port, error == 0 ? "it closed the connection" : strerror(error));
    if (line->ever || sender->told)
        return;
    sender->told = true;
    fprintf(stderr, "ringmain send: %s; trying again for %lld s (--patience)\n", sender->trouble,
            (long long)sender->terms.patience_s);
}

/* A host may have several addresses, such as ::1 and 127.0.0.1, and be listening on one of them.
 * False: all have been tried, or this one was right. */
static bool try_another(const struct sender *sender, struct line *line)
{
    bool failed = line->connecting || line->socket < 0;
    line->connecting = false;
    if (!failed)
        return false;
    line->address = line->address->ai_next;
    if (line->address != NULL)
        return true;
    line->address = sender->terms.address;
    return false;
}

static void lose(struct sender *sender, struct line *line, int error)
{
    bool another = try_another(sender, line);
    if (!line->link.hang_up && !another)
        note_trouble(sender, line, error);
    if (line->socket >= 0)
        close(line->socket);
    line->socket = -1;
    line->link.out.length = line->link.in.length = line->sent = 0;
    line->link.ready = line->link.hang_up = line->link.upgraded = false;
    line->link.marks = 0;
    if (line->backoff_ms < BACKOFF_MS)
        line->backoff_ms = BACKOFF_MS;
    else if (line->backoff_ms < BACKOFF_MAX_MS)
        line->backoff_ms *= 2;
    line->retry_ns = another ? 0 : clock_mono_ns() + line->backoff_ms * 1000000ull;
}

static void dial(struct sender *sender, struct line *line)
{
    const struct addrinfo *address = line->address;
    int on = 1;
    line->socket = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (line->socket < 0) {
        lose(sender, line, errno);
        return;
    }
    setsockopt(line->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    line->connecting = true;
    if (connect(line->socket, address->ai_addr, address->ai_addrlen) < 0 && errno != EINPROGRESS) {
        lose(sender, line, errno);
    }
}

static void connected(struct sender *sender, struct line *line)
{
    int error = 0;
    socklen_t length = sizeof error;
    if (getsockopt(line->socket, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
        error = errno;
    if (error != 0) {
        lose(sender, line, error);
        return;
    }
    line->connecting = false;
    if (line->ever)
        sender->totals.reconnects++;
    line->ever = true;
    line->link.protocol->start(&line->link);
}

static void write_out(struct sender *sender, struct line *line)
{
    struct buf *out = &line->link.out;
    while (line->sent < out->length) {
        ssize_t wrote =
            send(line->socket, out->at + line->sent, out->length - line->sent, MSG_NOSIGNAL);
        if (wrote < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (wrote < 0) {
            lose(sender, line, errno);
            return;
        }
        line->sent += (size_t)wrote;
        sender->totals.bytes += (uint64_t)wrote;
    }
    out->length = line->sent = 0;
}

static void read_in(struct sender *sender, struct line *line)
{
    uint8_t chunk[65536];
    ssize_t got = recv(line->socket, chunk, sizeof chunk, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        lose(sender, line, got < 0 ? errno : 0);
        return;
    }
    uint64_t before = line->link.settled;
    if (!buf_put(&line->link.in, chunk, (size_t)got))
        send_link_fail(&line->link, "no memory");
    else
        line->link.protocol->input(&line->link, clock_mono_ns());
    if (line->link.settled > before) {
        sender->last_progress_ns = clock_mono_ns();
        line->backoff_ms = 0;
    }
    if (line->link.hang_up && line->link.fatal[0] == '\0')
        lose(sender, line, 0);
}

/* ── Pace ───────────────────────────────────────────────────────────────────────────────────── */

/* How many events may be pushed now without passing --rate:
 * a millisecond's worth or none, so as not to send them one by one. */
static uint64_t allowance(const struct sender *sender, uint64_t now_ns)
{
    if (sender->terms.rate == 0)
        return UINT64_MAX;
    uint64_t due =
        (uint64_t)((double)(now_ns - sender->started_ns) * 1e-9 * (double)sender->terms.rate);
    return due > sender->pushed + (uint64_t)sender->terms.rate / 1000 ? due - sender->pushed : 0;
}

static void feed(struct sender *sender, struct line *line, uint64_t now_ns)
{
    struct send_link *link = &line->link;
    if (!link->ready || line->sent < link->out.length || link->next >= link->events)
        return;
    uint64_t before = link->next;
    link->protocol->fill(link, allowance(sender, now_ns), now_ns);
    sender->pushed += link->next - before;
}

/* Without acknowledgements an event counts as done
 * once the kernel has it; the end is a half-close. */
static void settle_unacknowledged(struct sender *sender, struct line *line, uint64_t now_ns)
{
    if (!sender->acks && sender->terms.protocol == &send_tcp && line->link.out.length == 0)
        send_link_settle(&line->link, line->link.next, now_ns);
}

/* Closing a socket with unread answers in it would
 * reset the connection under what is still on its way. */
static void wait_for_end(int socket)
{
    struct timeval limit = {.tv_sec = 10};
    uint8_t chunk[4096];
    setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    int flags = fcntl(socket, F_GETFL);
    if (flags >= 0 && fcntl(socket, F_SETFL, flags & ~O_NONBLOCK) == 0)
        while (recv(socket, chunk, sizeof chunk, 0) > 0)
            ;
}

static void finish_line(struct line *line, bool acks)
{
    line->done = line->link.settled >= line->link.events;
    if (!line->done || line->socket < 0)
        return;
    shutdown(line->socket, SHUT_WR);
    if (!acks)
        wait_for_end(line->socket);
    close(line->socket);
    line->socket = -1;
}

static short wanted(const struct sender *sender, const struct line *line, uint64_t now_ns)
{
    bool more = line->link.ready && line->link.next < line->link.events &&
                now_ns >= line->link.not_before_ns && allowance(sender, now_ns) > 0 &&
                (sender->terms.protocol == &send_tcp || line->link.next == line->link.settled ||
                 (sender->terms.protocol == &send_ws && line->link.marks < 8));
    bool pending = line->sent < line->link.out.length;
    return (short)(POLLIN | (line->connecting || pending || more ? POLLOUT : 0));
}

/* ── What the user sees ─────────────────────────────────────────────────────────────────────── */

static void progress(struct sender *sender, uint64_t now_ns, bool last)
{
    if (sender->terms.quiet || !isatty(2) || (!last && now_ns - sender->shown_ns < 100000000))
        return;
    sender->shown_ns = now_ns;
    double share = sender->totals.wanted == 0
                       ? 1
                       : (double)sender->totals.acknowledged / (double)sender->totals.wanted;
    double seconds = (double)(now_ns - sender->started_ns) * 1e-9;
    double rate = seconds > 0 ? (double)sender->totals.acknowledged / seconds : 0;
    char bar[41];
    int full = (int)(share * 40);
    for (int i = 0; i < 40; i++)
        bar[i] = i < full ? '#' : '.';
    bar[40] = '\0';
    fprintf(stderr, "\r[%s] %5.1f %%  %llu of %llu  %.0f/s  left %.0f s   ", bar, share * 100,
            (unsigned long long)sender->totals.acknowledged,
            (unsigned long long)sender->totals.wanted, rate,
            rate > 0 ? (double)(sender->totals.wanted - sender->totals.acknowledged) / rate : 0);
    if (last)
        fputc('\n', stderr);
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static double percentile_ms(const struct send_totals *totals, double share)
{
    uint64_t count = totals->latencies < SEND_LATENCIES ? totals->latencies : SEND_LATENCIES;
    if (count == 0)
        return 0;
    return totals->latency_us[(uint64_t)((double)(count - 1) * share)] * 1e-3;
}

static void summary(struct sender *sender, const char *fatal)
{
    struct send_totals *totals = &sender->totals;
    double seconds = (double)(clock_mono_ns() - sender->started_ns) * 1e-9;
    uint64_t count = totals->latencies < SEND_LATENCIES ? totals->latencies : SEND_LATENCIES;
    qsort(totals->latency_us, count, sizeof *totals->latency_us, by_value);
    uint64_t refused = totals->rejected + totals->duplicates;
    uint64_t stored = totals->acknowledged > refused ? totals->acknowledged - refused : 0;
    printf(sender->terms.json
               ? "{\"events\":%llu,\"accepted\":%llu,\"duplicates\":%llu,\"rejected\":%llu,"
                 "\"unacknowledged\":%llu,\"reconnects\":%llu,\"retries\":%llu,\"seconds\":%.3f,"
                 "\"events_per_second\":%.0f,\"ack_ms_p50\":%.2f,\"ack_ms_p99\":%.2f}\n"
               : "%llu events: %llu accepted, %llu duplicates, %llu rejected, %llu unacknowledged; "
                 "%llu reconnects, %llu retries\n"
                 "%.3f s, %.0f events/s, acknowledged after %.2f ms (median), %.2f ms (99 %%)\n",
           (unsigned long long)totals->wanted, (unsigned long long)stored,
           (unsigned long long)totals->duplicates, (unsigned long long)totals->rejected,
           (unsigned long long)(totals->wanted - totals->acknowledged),
           (unsigned long long)totals->reconnects, (unsigned long long)totals->retries, seconds,
           seconds > 0 ? (double)totals->acknowledged / seconds : 0, percentile_ms(totals, 0.5),
           percentile_ms(totals, 0.99));
    fflush(stdout);
    if (totals->first_reject[0] != '\0')
        fprintf(stderr, "ringmain send: the first one that was rejected: %s\n",
                totals->first_reject);
    if (fatal != NULL)
        fprintf(stderr, "ringmain send: %s\n", fatal);
}

/* ── The loop ───────────────────────────────────────────────────────────────────────────────── */

static void serve_line(struct sender *sender, struct line *line, short events, uint64_t now_ns)
{
    if (line->connecting && (events & (POLLOUT | POLLERR | POLLHUP)) != 0)
        connected(sender, line);
    if (line->socket >= 0 && !line->connecting && (events & (POLLIN | POLLHUP | POLLERR)) != 0)
        read_in(sender, line);
    if (line->socket < 0 || line->connecting || line->link.fatal[0] != '\0')
        return;
    feed(sender, line, now_ns);
    write_out(sender, line);
    settle_unacknowledged(sender, line, now_ns);
    finish_line(line, sender->acks);
}

/* One round. Returns how many lines are still at work, or -1 with *fatal. */
static int turn(struct sender *sender, const char **fatal)
{
    unsigned links = sender->terms.options.links;
    int busy = 0;
    uint64_t now_ns = clock_mono_ns();
    for (unsigned i = 0; i < links; i++) {
        struct line *line = &sender->line[i];
        if (!line->done && line->socket < 0 && now_ns >= line->retry_ns)
            dial(sender, line);
        sender->poll[i] = (struct pollfd){line->done ? -1 : line->socket, 0, 0};
        if (line->socket >= 0 && !line->done)
            sender->poll[i].events = wanted(sender, line, now_ns);
    }
    if (poll(sender->poll, links, sender->terms.rate > 0 ? 1 : TICK_MS) < 0 && errno != EINTR) {
        *fatal = strerror(errno);
        return -1;
    }
    now_ns = clock_mono_ns();
    for (unsigned i = 0; i < links; i++) {
        struct line *line = &sender->line[i];
        if (!line->done && line->socket >= 0)
            serve_line(sender, line, sender->poll[i].revents, now_ns);
        if (line->link.fatal[0] != '\0') {
            *fatal = line->link.fatal;
            return -1;
        }
        busy += !line->done;
    }
    progress(sender, now_ns, busy == 0);
    if (busy > 0 &&
        now_ns > sender->last_progress_ns + (uint64_t)sender->terms.patience_s * 1000000000) {
        snprintf(sender->gave_up, sizeof sender->gave_up, "no progress for %lld s (--patience)%s%s",
                 (long long)sender->terms.patience_s, sender->trouble[0] != '\0' ? ": " : "",
                 sender->trouble);
        *fatal = sender->gave_up;
        return -1;
    }
    return busy;
}

static volatile sig_atomic_t interrupted; /* a signal handler has no other way to tell */

static void interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

static int run(struct sender *sender)
{
    const char *fatal = NULL;
    struct sigaction action = {.sa_handler = interrupt, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sender->started_ns = sender->last_progress_ns = clock_mono_ns();
    int busy;
    do {
        busy = turn(sender, &fatal);
        if (interrupted && busy > 0) {
            fatal = "interrupted; what was acknowledged is safe";
            busy = -1;
        }
    } while (busy > 0);
    if (fatal != NULL && isatty(2) && !sender->terms.quiet)
        fputc('\n', stderr);
    summary(sender, fatal);
    return fatal != NULL ? 3 : sender->totals.rejected > 0 ? 1 : 0;
}

/* ── Beginning and end ──────────────────────────────────────────────────────────────────────── */

static bool prepare(struct sender *sender)
{
    uint64_t events = sender->terms.events;
    unsigned links = sender->terms.options.links;
    sender->totals.wanted = events;
    sender->line = calloc(links, sizeof *sender->line);
    sender->poll = calloc(links, sizeof *sender->poll);
    if (sender->line == NULL || sender->poll == NULL)
        return false;
    for (unsigned i = 0; i < links; i++) {
        struct line *line = &sender->line[i];
        line->socket = -1;
        line->address = sender->terms.address;
        line->link = (struct send_link){.protocol = sender->terms.protocol,
                                        .options = &sender->terms.options,
                                        .totals = &sender->totals,
                                        .number = i};
        line->link.events = events / links + (i < events % links);
        line->done = line->link.events == 0;
        buf_init(&line->link.out, (size_t)1 << 30);
        buf_init(&line->link.in, (size_t)1 << 30);
    }
    return true;
}

static void finish(struct sender *sender)
{
    for (unsigned i = 0; sender->line != NULL && i < sender->terms.options.links; i++) {
        buf_fini(&sender->line[i].link.out);
        buf_fini(&sender->line[i].link.in);
    }
    free(sender->line);
    free(sender->poll);
    free(sender);
}

int sender_run(const struct sender_terms *terms)
{
    struct sender *sender = calloc(1, sizeof *sender);
    if (sender == NULL)
        return 3;
    sender->terms = *terms;
    sender->acks = strcmp(terms->options.ack, "none") != 0;
    int status = prepare(sender) ? run(sender) : 3;
    finish(sender);
    return status;
}
