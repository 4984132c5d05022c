/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load on ringmain's live side, and the check that nothing of it is lost, doubled or out of
 * order. One thread.
 *
 *   load echo  …    each of `connections` sends a message and waits for it to come back
 *   load fan   …    one publisher and `connections` subscribers, who must all get every message
 *   load open  …    connections are opened and dropped: what a set-up takes
 *   load hold  …    connections that do nothing but answer pings
 *
 *   key=value       to=127.0.0.1:8080 connections=100 seconds=3 bytes=100
 *                   kind=plain|socketio|bare path=/echo room=NAME tokens=FILE (a line each, in turn)
 *                   fan: publish=/pub (a WebSocket) or /api/publish (HTTP: target={"room":"NAME"}),
 *                   batch=8 messages a write, and as fast as they are delivered (window=2 batches
 *                   under way), or rate=1000 messages a second; crowd=64 are opened at a time
 *
 * Prints "open N" once all are there, then a line of JSON for every line on standard input (which
 * may say for how many seconds, and at which rate), with what that run has seen; ends at the end of
 * input.
 *
 * A message is `#`, eight hex digits of its number, sixteen of the time it was due to be sent, and
 * padding. At a held rate that time is the schedule's, so a late publisher counts as latency.
 */
#include "perf/load/client.h"
#include "perf/load/tally.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

enum { SECOND = 1000000000, STAMP = 25, READY_MAX = 512, BATCH_MAX = 1024, BYTES_MAX = 2000 };

enum mode { ECHO, FAN, OPEN, HOLD };
static const char *const mode_name[] = {"echo", "fan", "open", "hold"};
static const char *const kind_name[] = {"bare", "plain", "socketio"};

struct load {
    enum mode mode;
    struct client_terms terms;
    unsigned connections, batch, bytes, crowd, window, tokens;
    double seconds, rate, usual_rate;
    const char *publish, *target;
    char **token;
    struct client *client;
    struct client publisher;
    bool api; /* the publisher speaks HTTP */
    int epoll;
    bool stopping;
    uint32_t published;
    uint64_t started_ns, delivered_before;
    uint8_t *chunk, *batch_bytes;
    struct tally tally;
};

/* ── messages ── */

static void print_hex(char *at, unsigned digits, uint64_t value)
{
    for (unsigned i = digits; i-- > 0; value >>= 4)
        at[i] = "0123456789abcdef"[value & 15];
}

static uint64_t hex_at(const char *at, unsigned digits)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < digits; i++)
        value = value << 4 | (uint64_t)((at[i] & 15) + 9 * (at[i] >> 6));
    return value;
}

static void stamp(char *text, uint32_t number, uint64_t due_ns)
{
    text[0] = '#';
    print_hex(text + 1, 8, number);
    print_hex(text + 9, 16, due_ns);
}

static size_t framed_stamp(const struct load *load, uint32_t number, uint64_t due_ns, uint8_t *out)
{
    char text[BYTES_MAX];
    memset(text + STAMP, 'x', load->bytes - STAMP);
    stamp(text, number, due_ns);
    return client_frame(load->terms.kind == CLIENT_BARE ? CLIENT_BARE : CLIENT_PLAIN, text,
                        load->bytes, out);
}

static void ask_echo(struct load *load, struct client *client)
{
    uint8_t bytes[BYTES_MAX + 16];
    size_t length = framed_stamp(load, client->due, now_ns(), bytes);
    load->published++;
    client_write(client->fd, bytes, length);
}

static void came(struct client *client, const char *text, size_t length)
{
    struct load *load = client->owner;
    const char *at = memchr(text, '#', length);
    if (at == NULL || length - (size_t)(at - text) < STAMP) {
        load->tally.others++;
        return;
    }
    uint64_t sent_ns = hex_at(at + 9, 16), now = now_ns();
    tally_number(&load->tally, (uint32_t)hex_at(at + 1, 8), &client->due);
    if (sent_ns >= load->started_ns)
        tally_took(&load->tally, now - sent_ns);
    if (load->mode == ECHO && !load->stopping)
        ask_echo(load, client);
}

/* ── the publisher ── */

static size_t api_request(const struct load *load, uint32_t number, uint64_t due_ns, char *out)
{
    char text[BYTES_MAX + 1], body[BYTES_MAX + 1024];
    memset(text, 'x', load->bytes);
    text[load->bytes] = 0;
    stamp(text, number, due_ns);
    int length = snprintf(body, sizeof body, "{\"to\":%s,\"event\":\"load\",\"data\":\"%s\"}",
                          load->target, text);
    return (size_t)sprintf(out,
                           "POST /api/publish HTTP/1.1\r\nHost: load.test\r\n"
                           "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                           length, body);
}

static void publish(struct load *load, unsigned count, uint64_t due_ns, uint64_t step_ns)
{
    size_t length = 0;
    for (unsigned i = 0; i < count; i++, due_ns += step_ns) {
        uint8_t *at = load->batch_bytes + length;
        length += load->api ? api_request(load, load->published++, due_ns, (char *)at)
                            : framed_stamp(load, load->published++, due_ns, at);
    }
    client_write(load->publisher.fd, load->batch_bytes, length);
}

/* HTTP's answers: each must be a 2xx. */
static void hear_answers(struct load *load)
{
    ssize_t length;
    while ((length = recv(load->publisher.fd, load->chunk, CLIENT_CHUNK, MSG_DONTWAIT)) > 0) {
        const uint8_t *at = load->chunk, *end = at + length;
        while ((at = memmem(at, (size_t)(end - at), "HTTP/1.1 ", 9)) != NULL && at + 9 < end) {
            if (at[9] != '2')
                die("the publisher is told: %.*s", (int)(end - at), at);
            at += 9;
        }
    }
    if (length == 0)
        die("the publisher's connection was closed");
}

/* How long until the next message is due; publishes what is. -1: nobody knows. */
static int64_t publish_due(struct load *load, uint64_t now)
{
    if (load->stopping)
        return -1;
    if (load->rate <= 0) {
        uint64_t done = load->tally.delivered - load->delivered_before;
        uint64_t allowed = done / load->connections + (uint64_t)load->window * load->batch;
        while (load->published + load->batch <= allowed)
            publish(load, load->batch, now, 0);
        return -1;
    }
    double step_ns = SECOND / load->rate;
    uint32_t due = (uint32_t)((double)(now - load->started_ns) / step_ns) + 1;
    while (load->published < due) {
        unsigned count = due - load->published;
        publish(load, count < BATCH_MAX ? count : BATCH_MAX,
                load->started_ns + (uint64_t)(load->published * step_ns), (uint64_t)step_ns);
    }
    uint64_t next_ns = load->started_ns + (uint64_t)(load->published * step_ns);
    return next_ns > now ? (int64_t)(next_ns - now) : 0;
}

/* ── the loop ── */

static void listen_to(struct load *load, int fd, void *who)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = who};
    if (epoll_ctl(load->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        die("epoll: %s", strerror(errno));
}

static void readable(struct load *load, struct client *client)
{
    load->tally.reads++;
    if (client == &load->publisher && load->api)
        hear_answers(load);
    else if (!client_read(client, load->chunk, came))
        die("the server closed a connection after %llu deliveries",
            (unsigned long long)load->tally.delivered);
}

static void turn(struct load *load, int64_t wait_ns)
{
    struct epoll_event ready[READY_MAX];
    struct timespec wait = {wait_ns / SECOND, wait_ns % SECOND};
    int count = epoll_pwait2(load->epoll, ready, READY_MAX, wait_ns < 0 ? NULL : &wait, NULL);
    if (count < 0 && errno != EINTR)
        die("epoll: %s", strerror(errno));
    for (int i = 0; i < count; i++)
        readable(load, ready[i].data.ptr);
}

static bool all_there(const struct load *load)
{
    for (unsigned i = 0; load->mode == FAN && i < load->connections; i++)
        if (load->client[i].due != load->published)
            return false;
    return load->mode != ECHO || load->tally.delivered == load->published;
}

/* Echoes under way at the end come back; subscribers get all that was published. */
static void settle(struct load *load)
{
    uint64_t until = now_ns() + 10ull * SECOND, seen = 0;
    load->stopping = true;
    while (now_ns() < until && (!all_there(load) || seen != load->tally.delivered)) {
        seen = load->tally.delivered;
        turn(load, load->mode == ECHO ? SECOND / 10 : SECOND / 100);
    }
    for (unsigned i = 0; load->mode == FAN && i < load->connections; i++)
        load->tally.lost += load->published - load->client[i].due;
}

static double cpu_seconds(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void report(const struct load *load, double seconds, double cpu)
{
    const struct tally *tally = &load->tally;
    printf("{\"mode\":\"%s\",\"kind\":\"%s\",\"connections\":%u,\"seconds\":%.3f,\"published\":%u,"
           "\"delivered\":%llu,\"rate\":%.0f,\"lost\":%llu,\"duplicate\":%llu,\"reordered\":%llu,"
           "\"others\":%llu,\"a_read\":%.2f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,"
           "\"max_us\":%.1f,\"load_cpu\":%.2f}\n",
           mode_name[load->mode], kind_name[load->terms.kind], load->connections, seconds,
           load->published, (unsigned long long)tally->delivered,
           (double)tally->delivered / seconds, (unsigned long long)tally->lost,
           (unsigned long long)tally->duplicate, (unsigned long long)tally->reordered,
           (unsigned long long)tally->others,
           (double)tally->delivered / (double)(tally->reads ? tally->reads : 1),
           tally_within_us(tally, 0.5), tally_within_us(tally, 0.99), tally_within_us(tally, 0.999),
           (double)tally->longest_ns / 1e3, cpu);
    fflush(stdout);
}

static void begin(struct load *load)
{
    memset(&load->tally, 0, sizeof load->tally);
    load->stopping = false;
    load->started_ns = now_ns();
    load->published = 0;
    for (unsigned i = 0; i < load->connections; i++)
        load->client[i].due = 0;
    for (unsigned i = 0; load->mode == ECHO && i < load->connections; i++)
        ask_echo(load, &load->client[i]);
}

/* At full speed it never sleeps: to wake it would be charged to the sends of the server, and how
 * often that happens hangs on which of the two is a little faster. */
static int64_t pause_ns(const struct load *load, int64_t due_ns, int64_t left_ns)
{
    if (load->mode == ECHO || (load->mode == FAN && load->rate <= 0))
        return 0;
    return due_ns < 0 || due_ns > left_ns ? left_ns : due_ns;
}

static void run(struct load *load, double seconds)
{
    double cpu = cpu_seconds();
    begin(load);
    uint64_t now = load->started_ns, until = now + (uint64_t)(seconds * SECOND);
    while (now < until) {
        int64_t wait_ns = load->mode == FAN ? publish_due(load, now) : -1;
        turn(load, pause_ns(load, wait_ns, (int64_t)(until - now)));
        now = now_ns();
    }
    if (load->mode != HOLD)
        settle(load);
    report(load, (double)(now_ns() - load->started_ns) / SECOND, cpu_seconds() - cpu);
}

/* ── opening ── */

static void open_crowd(struct load *load, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        load->client[i].owner = load;
        load->terms.token = load->tokens ? load->token[i % load->tokens] : NULL;
        client_ask(&load->client[i], &load->terms);
    }
    for (unsigned i = from; i < to; i++) {
        load->terms.token = load->tokens ? load->token[i % load->tokens] : NULL;
        client_greeted(&load->client[i], &load->terms);
    }
}

static void open_all(struct load *load)
{
    for (unsigned from = 0; from < load->connections; from += load->crowd) {
        unsigned to = from + load->crowd;
        open_crowd(load, from, to < load->connections ? to : load->connections);
    }
    for (unsigned i = 0; i < load->connections; i++) {
        client_unblock(&load->client[i]);
        listen_to(load, load->client[i].fd, &load->client[i]);
    }
}

static void open_publisher(struct load *load)
{
    struct client_terms terms = load->terms;
    terms.path = load->publish;
    terms.token = load->tokens ? load->token[0] : NULL;
    load->publisher.owner = load;
    load->api = strncmp(load->publish, "/api/", 5) == 0;
    if (load->api) {
        load->publisher.fd = client_dial(&terms.address);
    } else {
        if (terms.kind == CLIENT_SOCKETIO)
            terms.kind = CLIENT_PLAIN;
        client_ask(&load->publisher, &terms);
        client_greeted(&load->publisher, &terms);
    }
    client_unblock(&load->publisher);
    listen_to(load, load->publisher.fd, &load->publisher);
}

/* A crowd is opened and dropped, again and again. */
static void set_up(struct load *load, double seconds)
{
    double cpu = cpu_seconds();
    memset(&load->tally, 0, sizeof load->tally);
    load->started_ns = now_ns();
    uint64_t until = load->started_ns + (uint64_t)(seconds * SECOND);
    for (unsigned from = 0; now_ns() < until; from = (from + load->crowd) % load->connections) {
        unsigned to =
            from + load->crowd < load->connections ? from + load->crowd : load->connections;
        open_crowd(load, from, to);
        for (unsigned i = from; i < to; i++) {
            tally_took(&load->tally, now_ns() - load->client[i].asked_ns);
            load->tally.delivered++;
            client_drop(&load->client[i]);
        }
    }
    report(load, (double)(now_ns() - load->started_ns) / SECOND, cpu_seconds() - cpu);
}

/* ── the command line ── */

static void read_tokens(struct load *load, const char *name)
{
    char line[4096];
    FILE *file = fopen(name, "re");
    if (file == NULL)
        die("%s: %s", name, strerror(errno));
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\r\n")] = 0;
        load->token = realloc(load->token, (load->tokens + 1) * sizeof *load->token);
        if (load->token == NULL)
            die("no memory");
        load->token[load->tokens++] = strdup(line);
    }
    fclose(file);
}

static void set_address(struct load *load, const char *text)
{
    char host[64] = "";
    unsigned port = 0;
    load->terms.address.sin_family = AF_INET;
    if (sscanf(text, "%63[^:]:%u", host, &port) != 2 ||
        inet_pton(AF_INET, host, &load->terms.address.sin_addr) != 1)
        die("to=ADDRESS:PORT, not %s", text);
    load->terms.address.sin_port = htons((uint16_t)port);
}

static unsigned choice(const char *text, const char *const *names, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (strcmp(text, names[i]) == 0)
            return i;
    die("%s is unknown", text);
}

static bool set_number(struct load *load, const char *key, double value)
{
    const struct {
        const char *key;
        unsigned *at;
    } numbers[] = {{"connections", &load->connections},
                   {"batch", &load->batch},
                   {"bytes", &load->bytes},
                   {"crowd", &load->crowd},
                   {"window", &load->window}};
    for (unsigned i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (strcmp(key, numbers[i].key) == 0) {
            *numbers[i].at = (unsigned)value;
            return true;
        }
    }
    return false;
}

static void set(struct load *load, char *word)
{
    char *value = strchr(word, '=');
    if (value == NULL)
        die("key=value, not %s", word);
    *value++ = 0;
    if (strcmp(word, "to") == 0)
        set_address(load, value);
    else if (strcmp(word, "kind") == 0)
        load->terms.kind = choice(value, kind_name, 3);
    else if (strcmp(word, "path") == 0)
        load->terms.path = value;
    else if (strcmp(word, "room") == 0)
        load->terms.room = value;
    else if (strcmp(word, "publish") == 0)
        load->publish = value;
    else if (strcmp(word, "target") == 0)
        load->target = value;
    else if (strcmp(word, "tokens") == 0)
        read_tokens(load, value);
    else if (strcmp(word, "rate") == 0)
        load->usual_rate = atof(value);
    else if (strcmp(word, "seconds") == 0)
        load->seconds = atof(value);
    else if (!set_number(load, word, atof(value)))
        die("%s is unknown", word);
}

static void get_ready(struct load *load)
{
    struct rlimit limit;
    if (load->bytes < STAMP || load->bytes > BYTES_MAX || load->batch < 1 ||
        load->batch > BATCH_MAX || load->connections < 1 || load->crowd < 1 || load->window < 1)
        die("bytes 25..2000, batch 1..1024, connections, crowd and window from 1");
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    load->epoll = epoll_create1(EPOLL_CLOEXEC);
    load->client = calloc(load->connections, sizeof *load->client);
    load->chunk = malloc(2 * CLIENT_CHUNK);
    load->batch_bytes = malloc((size_t)BATCH_MAX * (2 * BYTES_MAX + 8192));
    if (load->epoll < 0 || !load->client || !load->chunk || !load->batch_bytes)
        die("no memory");
}

/* Waits for a line on standard input, and serves the connections meanwhile. The seconds that it
 * says, else the usual; below 0: there are no more lines. */
static double asked_seconds(struct load *load)
{
    char line[64];
    struct pollfd either[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                              {.fd = load->epoll, .events = POLLIN}};
    while (poll(either, 2, -1) > 0 && either[0].revents == 0)
        turn(load, 0);
    if (fgets(line, sizeof line, stdin) == NULL)
        return -1;
    const char *rate = strchr(line, ' ');
    load->rate = rate != NULL ? atof(rate) : load->usual_rate;
    return atof(line) > 0 ? atof(line) : load->seconds;
}

int main(int words, char **word)
{
    static struct load load = {.terms = {.kind = CLIENT_PLAIN, .path = "/echo"},
                               .connections = 100,
                               .batch = 8,
                               .bytes = 100,
                               .crowd = 64,
                               .window = 2,
                               .seconds = 3,
                               .publish = "/pub",
                               .target = "\"all\""};
    double seconds;
    if (words < 2)
        die("load echo|fan|open|hold key=value …");
    load.mode = choice(word[1], mode_name, 4);
    set_address(&load, "127.0.0.1:8080");
    for (int i = 2; i < words; i++)
        set(&load, word[i]);
    get_ready(&load);
    if (load.mode != OPEN)
        open_all(&load);
    if (load.mode == FAN)
        open_publisher(&load);
    printf("open %u\n", load.mode == OPEN ? 0 : load.connections);
    fflush(stdout);
    while ((seconds = asked_seconds(&load)) >= 0) {
        if (load.mode == OPEN)
            set_up(&load, seconds);
        else
            run(&load, seconds);
    }
    return 0;
}
