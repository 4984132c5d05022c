/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes is written out a line each, as it is or made readable. Who loses the connection comes
 * back with the id of the last message it had, and is sent what it missed.
 */
#include "core/tail.h"

#include "core/clock.h"
#include "core/command.h"
#include "core/tail_socket.h"
#include "proto/event.h"
#include "proto/json.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { BACKOFF_MS = 100, BACKOFF_MAX_MS = 5000, LAST_ID_MAX = 64, ROOMS_MAX = 64 };

struct arguments {
    const char *to, *token, *types;
    const char *room[ROOMS_MAX];
    unsigned rooms;
    bool pretty, quiet, once;
    int64_t count; /* 0: without end */
};

struct follower {
    const struct arguments *arguments;
    char *host, *port;
    char last_id[LAST_ID_MAX];
    uint64_t seen;
    bool colours;
};

static const struct command_option options[] = {
    {'t', "to", "URL", "ws://HOST:PORT; default ws://127.0.0.1:8080"},
    {'r', "room", "NAME",
     "a room: user:ID, tenant:ID, project:ID or any other; may be repeated; "
     "default: the own user and tenant"},
    {'T', "types", "LIST", "only these event types or names, separated by commas"},
    {'k', "token", "TOKEN", "default: the environment's RINGMAIN_TOKEN"},
    {'p', "pretty", NULL, "for people: time, room, name and data; else a line of JSON each"},
    {'n', "count", "N", "end after so many"},
    {'1', "once", NULL, "end when the connection is lost; else connect again"},
    {'q', "quiet", NULL, "say nothing about the connection"},
    {'h', "help", NULL, "this text"},
};

static int usage(void)
{
    printf("ringmain tail [options]\n\n"
           "Follows rooms live: what is shown there, as it happens. Ctrl-C ends it. After a lost\n"
           "connection it goes on where it was, as far back as the server remembers.\n\n");
    command_print_options(stdout, options, COUNT_OF(options));
    printf("\n  ringmain tail --room lobby --pretty\n"
           "  ringmain tail --room project:p1 --types session_start,session_end | jq .data\n");
    return 0;
}

/* ── Arguments ──────────────────────────────────────────────────────────────────────────────── */

static int wrong(const char *what)
{
    fprintf(stderr, "ringmain tail: %s; see --help\n", what);
    return 3;
}

static int take(struct arguments *arguments, int option, const char *value)
{
    switch (option) {
    case 't':
        arguments->to = value;
        return 0;
    case 'r':
        if (arguments->rooms == ROOMS_MAX)
            return wrong("more than 64 rooms");
        arguments->room[arguments->rooms++] = value;
        return 0;
    case 'T':
        arguments->types = value;
        return 0;
    case 'k':
        arguments->token = value;
        return 0;
    case 'p':
        arguments->pretty = true;
        return 0;
    case 'n':
        return command_number(value, 1, INT64_MAX, &arguments->count)
                   ? 0
                   : wrong("--count takes a number from 1");
    case '1':
        arguments->once = true;
        return 0;
    case 'q':
        arguments->quiet = true;
        return 0;
    default:
        return usage() + 1;
    }
}

/* 0: go on; else the exit status plus one. */
static int read_arguments(char **words, struct arguments *out)
{
    struct command_line line = {
        .arguments = words, .options = options, .options_count = COUNT_OF(options)};
    for (int option; (option = command_next(&line)) != COMMAND_END;) {
        if (option == COMMAND_WRONG)
            return wrong(line.wrong);
        if (option == COMMAND_OPERAND)
            return wrong("takes no operand");
        int result = take(out, option, line.value);
        if (result != 0)
            return result;
    }
    return 0;
}

/* "ws://host:port", perhaps with a slash behind. */
static bool split_url(const char *url, struct follower *follower)
{
    if (strncmp(url, "ws://", 5) == 0)
        url += 5;
    else if (strncmp(url, "http://", 7) == 0)
        url += 7;
    size_t length = strcspn(url, "/?#");
    const char *colon = memrchr(url, ':', length);
    if (length == 0 || (url[length] != '\0' && strcmp(url + length, "/") != 0) ||
        memmem(url, length, "://", 3) != NULL)
        return false;
    if (url[0] == '[' && (colon == NULL || colon[-1] != ']'))
        colon = NULL;
    size_t host = colon == NULL ? length : (size_t)(colon - url);
    bool brackets = url[0] == '[' && host > 2;
    follower->host = strndup(url + brackets, host - 2 * brackets);
    follower->port = colon == NULL ? strdup("8080") : strndup(colon + 1, length - host - 1);
    int64_t number; /* getaddrinfo() takes 99999 for 34463 */
    return follower->host != NULL && follower->port != NULL &&
           command_number(follower->port, 1, 65535, &number);
}

/* ── The request ────────────────────────────────────────────────────────────────────────────── */

static bool put_query(struct buf *out, const char *name, const char *value)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:";
    bool put = buf_print(out, "%c%s=", memchr(out->at, '?', out->length) == NULL ? '?' : '&', name);
    for (; put && *value != '\0'; value++)
        put = strchr(plain, *value) != NULL ? buf_put(out, value, 1)
                                            : buf_print(out, "%%%02X", (unsigned char)*value);
    return put;
}

/* free() it; NULL: no memory. */
static char *path_of(const struct follower *follower)
{
    const struct arguments *arguments = follower->arguments;
    struct buf path = {.max = 32768};
    bool put = buf_print(&path, "/ws/live");
    for (unsigned i = 0; put && i < arguments->rooms; i++)
        put = put_query(&path, "room", arguments->room[i]);
    if (arguments->types != NULL)
        put = put && put_query(&path, "types", arguments->types);
    if (follower->last_id[0] != '\0')
        put = put && put_query(&path, "last_id", follower->last_id);
    if (put && buf_put(&path, "", 1))
        return (char *)path.at; /* a buf's memory is malloc's */
    buf_fini(&path);
    return NULL;
}

/* ── What is written ────────────────────────────────────────────────────────────────────────── */

static struct span member(struct span object, const char *name)
{
    struct json_value value;
    if (!json_find(object, name, &value))
        return SPAN("");
    if (value.kind == JSON_STRING)
        return span_of(value.text.at + 1, value.text.length - 2);
    return value.text;
}

static void write_line(const struct follower *follower, struct span room, struct span name,
                       struct span data)
{
    char time_[EVENT_TIME_BYTES];
    event_time_print(clock_wall_us(), time_);
    if (follower->colours)
        printf("\033[2m%.12s\033[0m \033[36m%.*s\033[0m \033[1m%.*s\033[0m %.*s\n", time_ + 11,
               SPAN_ARGS(room), SPAN_ARGS(name), SPAN_ARGS(data));
    else
        printf("%.12s %.*s %.*s %.*s\n", time_ + 11, SPAN_ARGS(room), SPAN_ARGS(name),
               SPAN_ARGS(data));
}

/* Of an array each element has its line. */
static void write_pretty(const struct follower *follower, struct span message)
{
    struct json_value data, element;
    struct span room = member(message, "room"), name = member(message, "event"), unused;
    if (!json_find(message, "data", &data)) {
        write_line(follower, room, name, message);
        return;
    }
    if (data.kind != JSON_ARRAY) {
        write_line(follower, room, name, data.text);
        return;
    }
    struct json_walk walk = json_walk(data.text);
    while (json_next(&walk, &unused, &element))
        write_line(follower, room, name, element.text);
}

static void remember(struct follower *follower, struct span message)
{
    struct span id = member(message, "id");
    if (id.length > 0 && id.length < LAST_ID_MAX) {
        memcpy(follower->last_id, id.at, id.length);
        follower->last_id[id.length] = '\0';
    }
}

static void show(struct follower *follower, struct span message)
{
    struct json_value value;
    size_t fault;
    bool object = json_document(message, &value, &fault) == JSON_OK && value.kind == JSON_OBJECT;
    if (object)
        remember(follower, value.text);
    if (object && follower->arguments->pretty)
        write_pretty(follower, value.text);
    else
        printf("%.*s\n", SPAN_ARGS(message));
    fflush(stdout);
    follower->seen += !object || member(value.text, "room").length > 0; /* a gap is no message */
}

/* ── The loop ───────────────────────────────────────────────────────────────────────────────── */

static volatile sig_atomic_t interrupted; /* a signal handler has no other way to tell */

static void interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

/* Without SA_RESTART: what waits is woken. */
static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = interrupt};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_DFL);
}

static bool has_enough(const struct follower *follower)
{
    int64_t count = follower->arguments->count;
    return interrupted || ferror(stdout) || (count > 0 && follower->seen >= (uint64_t)count);
}

static enum tail_result follow(struct follower *follower, char *why)
{
    const struct arguments *arguments = follower->arguments;
    char *path = path_of(follower);
    struct tail_target target = {follower->host, follower->port, path, arguments->token};
    struct tail_socket tail;
    if (path == NULL) {
        snprintf(why, TAIL_WHY, "too many rooms and types");
        return TAIL_REFUSED;
    }
    enum tail_result result = tail_open(&tail, &target, why);
    free(path);
    if (result != TAIL_OK)
        return result;
    if (!arguments->quiet)
        fprintf(stderr, "ringmain tail: connected to %s:%s\n", follower->host, follower->port);
    while (result == TAIL_OK && !has_enough(follower)) {
        struct span message;
        result = tail_next(&tail, &message, why);
        if (result == TAIL_OK)
            show(follower, message);
    }
    tail_close(&tail);
    return result;
}

static void pause_ms(unsigned ms)
{
    struct timespec time_ = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000l};
    nanosleep(&time_, NULL);
}

static int run(struct follower *follower)
{
    char why[TAIL_WHY] = "";
    unsigned backoff_ms = BACKOFF_MS;
    while (!has_enough(follower)) {
        uint64_t seen = follower->seen;
        enum tail_result result = follow(follower, why);
        if (has_enough(follower) || result == TAIL_STOPPED)
            break;
        bool again = result == TAIL_LOST && !follower->arguments->once;
        if (!again || !follower->arguments->quiet)
            fprintf(stderr, "ringmain tail: %s%s\n", why, again ? "; connecting again" : "");
        if (!again)
            return 1;
        backoff_ms = follower->seen > seen ? BACKOFF_MS : backoff_ms;
        pause_ms(backoff_ms);
        backoff_ms = backoff_ms * 2 < BACKOFF_MAX_MS ? backoff_ms * 2 : BACKOFF_MAX_MS;
    }
    return ferror(stdout) ? 1 : 0;
}

int tail_main(char **words)
{
    struct arguments arguments = {.to = "ws://127.0.0.1:8080", .token = getenv("RINGMAIN_TOKEN")};
    int result = read_arguments(words, &arguments);
    if (result != 0)
        return result - 1;
    if (arguments.token != NULL && arguments.token[0] == '\0')
        arguments.token = NULL;
    struct follower follower = {.arguments = &arguments, .colours = isatty(1) == 1};
    if (!split_url(arguments.to, &follower))
        result = wrong("--to must be ws://HOST:PORT, with a port from 1 to 65535") - 1;
    else
        catch_signals();
    if (result == 0)
        result = run(&follower);
    free(follower.host);
    free(follower.port);
    return result;
}
