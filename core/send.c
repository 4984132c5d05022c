/* SPDX-License-Identifier: Apache-2.0 */
#include "core/send.h"

#include "core/clock.h"
#include "core/command.h"
#include "core/sender.h"

#include <stdio.h>
#include <stdlib.h>

enum { LINKS_MAX = 1024, FILES_MAX = 64 };

static const struct command_option options[] = {
    {'t', "to", "URL",
     "tcp://HOST[:PORT], http://…[/PATH] or ws://…[/PATH]; default tcp://127.0.0.1:7070"},
    {'a', "ack", "LEVEL", "none, received, spooled or stored; default spooled"},
    {'n', "repeat", "N", "send the input N times; from the second on with fresh ids; default 1"},
    {'r', "rate", "N", "at most N events a second; default: as fast as it goes"},
    {'c', "connections", "N", "connections to spread the events over; default 1"},
    {'b', "batch", "N", "events in an HTTP request or a WebSocket message; default 100"},
    {'p', "producer", "NAME",
     "TCP: resume under this name, also in a later run; default: a name of this run's own"},
    {'k', "token", "TOKEN", "JSON Web Token; default: $RINGMAIN_TOKEN"},
    {'w', "patience", "S", "give up after so many seconds without progress; default 60"},
    {'j', "json", NULL, "print the summary as JSON"},
    {'q', "quiet", NULL, "no progress bar"},
    {'h', "help", NULL, "this text"},
};

struct arguments {
    const char *to, *ack, *producer, *token;
    const char *file[FILES_MAX];
    unsigned files;
    int64_t repeat, rate, connections, batch, patience_s;
    bool json, quiet;
};

static int usage(FILE *out)
{
    fputs("ringmain send FILE… [options]     FILE: one JSON event a line; - is standard input\n",
          out);
    command_print_options(out, options, COUNT_OF(options));
    return out == stdout ? -1 : 2;
}

static int wrong(const char *what, const char *value)
{
    fprintf(stderr, "ringmain send: %s: %s\n", what, value);
    return 2;
}

static int take_option(struct arguments *arguments, int option, const char *value)
{
    switch (option) {
    case 't':
        arguments->to = value;
        return 0;
    case 'a':
        arguments->ack = value;
        return 0;
    case 'p':
        arguments->producer = value;
        return 0;
    case 'k':
        arguments->token = value;
        return 0;
    case 'j':
        arguments->json = true;
        return 0;
    case 'q':
        arguments->quiet = true;
        return 0;
    case 'n':
        return command_number(value, 1, INT64_MAX / 2, &arguments->repeat)
                   ? 0
                   : wrong("--repeat wants a number from 1", value);
    case 'r':
        return command_number(value, 1, 1000000000, &arguments->rate)
                   ? 0
                   : wrong("--rate wants a number from 1", value);
    case 'c':
        return command_number(value, 1, LINKS_MAX, &arguments->connections)
                   ? 0
                   : wrong("--connections wants a number from 1 to 1024", value);
    case 'b':
        return command_number(value, 1, 100000, &arguments->batch)
                   ? 0
                   : wrong("--batch wants a number from 1 to 100000", value);
    case 'w':
        return command_number(value, 1, 86400, &arguments->patience_s)
                   ? 0
                   : wrong("--patience wants seconds", value);
    case 'h':
        return usage(stdout);
    default:
        break;
    }
    if (arguments->files == FILES_MAX)
        return wrong("too many files", value);
    arguments->file[arguments->files++] = value;
    return 0;
}

static int read_arguments(struct arguments *arguments, char **words)
{
    struct command_line line = {
        .arguments = words, .options = options, .options_count = COUNT_OF(options)};
    int option, result;
    while ((option = command_next(&line)) != COMMAND_END) {
        if (option == COMMAND_WRONG) {
            fprintf(stderr, "ringmain send: %s\n", line.wrong);
            return 2;
        }
        if ((result = take_option(arguments, option, line.value)) != 0)
            return result;
    }
    if (arguments->files == 0) {
        fputs("ringmain send: no FILE is given; see --help\n", stderr);
        return 2;
    }
    static const char *const acks[] = {"none", "received", "spooled", "stored"};
    for (unsigned i = 0; i < COUNT_OF(acks); i++)
        if (strcmp(arguments->ack, acks[i]) == 0)
            return 0;
    return wrong("--ack must be none, received, spooled or stored", arguments->ack);
}

/* scheme://host[:port][/path] */
static int read_url(struct sender_terms *terms, char **host_text, const char *url)
{
    static const struct send_protocol *const protocols[] = {&send_tcp, &send_http, &send_ws};
    const char *rest = strstr(url, "://");
    for (unsigned i = 0; rest != NULL && i < COUNT_OF(protocols); i++)
        if (strncmp(url, protocols[i]->scheme, (size_t)(rest - url)) == 0 &&
            strlen(protocols[i]->scheme) == (size_t)(rest - url))
            terms->protocol = protocols[i];
    if (terms->protocol == NULL)
        return wrong("--to must begin with tcp://, http:// or ws://", url);
    rest += 3;
    const char *path = strchr(rest, '/');
    size_t length = path == NULL ? strlen(rest) : (size_t)(path - rest);
    char *host = *host_text = strndup(rest, length);
    char *colon = host == NULL ? NULL : strrchr(host, ':');
    if (colon != NULL && strchr(colon, ']') == NULL)
        *colon = '\0';
    else
        colon = NULL;
    if (host != NULL && host[0] == '[' && host[strlen(host) - 1] == ']') {
        host[strlen(host) - 1] = '\0';
        host++;
    }
    terms->options.host = host;
    terms->options.port = colon == NULL ? terms->protocol->port : colon + 1;
    terms->options.path = path == NULL || path[1] == '\0' ? terms->protocol->path : path;
    int64_t number; /* getaddrinfo() takes 99999 for 34463 */
    if (!command_number(terms->options.port, 1, 65535, &number))
        return wrong("--to: the port must be a number from 1 to 65535", url);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    int error =
        host == NULL ? EAI_MEMORY : getaddrinfo(host, terms->options.port, &hints, &terms->address);
    if (error != 0) {
        fprintf(stderr, "ringmain send: %s: %s\n", url, gai_strerror(error));
        return 2;
    }
    return 0;
}

static int send_all(struct sender_terms terms, const struct arguments *arguments)
{
    uint64_t chance;
    char name[48];
    clock_random(&chance, sizeof chance);
    snprintf(name, sizeof name, "send-%016llx", (unsigned long long)chance);
    bool has_token = arguments->token != NULL && arguments->token[0] != '\0';
    terms.options.ack = arguments->ack;
    terms.options.token = has_token ? arguments->token : NULL;
    terms.options.producer = arguments->producer == NULL ? name : arguments->producer;
    terms.options.links = (unsigned)arguments->connections;
    terms.options.batch = (unsigned)arguments->batch;
    terms.rate = arguments->rate;
    terms.patience_s = arguments->patience_s;
    terms.json = arguments->json;
    terms.quiet = arguments->quiet;
    struct send_feed *feed =
        send_feed_open(arguments->file, arguments->files, terms.protocol->gives_ids, name);
    if (feed == NULL)
        return 3;
    terms.options.feed = feed;
    terms.events = send_feed_lines(feed) * (uint64_t)arguments->repeat;
    int status = sender_run(&terms);
    send_feed_close(feed);
    return status;
}

int send_main(int count, char **words)
{
    struct arguments arguments = {.to = "tcp://127.0.0.1:7070",
                                  .ack = "spooled",
                                  .repeat = 1,
                                  .connections = 1,
                                  .batch = 100,
                                  .patience_s = 60,
                                  .token = getenv("RINGMAIN_TOKEN")};
    struct sender_terms terms = {0};
    char *host = NULL;
    (void)count;
    int result = read_arguments(&arguments, words);
    if (result == 0)
        result = read_url(&terms, &host, arguments.to);
    if (result == 0)
        result = send_all(terms, &arguments);
    if (terms.address != NULL)
        freeaddrinfo(terms.address);
    free(host);
    return result < 0 ? 0 : result;
}
