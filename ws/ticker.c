/* SPDX-License-Identifier: Apache-2.0 */
#include "ws/ticker.h"

#include "ws/subscriber.h"
#include "ws/upgrade.h"

#include <stdlib.h>

enum { KEY = 1 };

struct reader {
    struct subscriber subscriber; /* first */
    struct principal *principal;  /* NULL: nobody in particular */
};

static struct encoded *encode(void *context, const struct publication *publication)
{
    (void)context;
    return encoded_make(publication->data, NULL, 0);
}

void ticker_init(struct ticker *ticker, const struct ticker_options *options)
{
    *ticker = (struct ticker){.options = *options};
    hub_set_encoder(options->hub, ENCODING_TICKER, encode, ticker);
}

/* ── One reader ─────────────────────────────────────────────────────────────────────────────── */

static bool reader_message(struct websocket *ws, struct turn *turn, const struct message *message)
{
    (void)ws;
    (void)turn;
    (void)message;
    return true;
}

static void reader_free(struct reader *reader, struct turn *turn)
{
    subscriber_fini(&reader->subscriber, turn);
    free(reader->principal);
    free(reader);
}

static void reader_closed(struct websocket *ws, struct turn *turn, uint16_t code)
{
    (void)code;
    reader_free((struct reader *)ws, turn);
}

static const struct websocket_ops reader_ops = {.name = "stats",
                                                .message = reader_message,
                                                .writable = subscriber_writable,
                                                .closed = reader_closed};

static struct reader *make_reader(struct ticker *ticker, struct turn *turn,
                                  const struct principal *principal)
{
    struct reader *reader = calloc(1, sizeof *reader);
    const struct ticker_options *options = &ticker->options;
    if (reader != NULL && principal != NULL)
        reader->principal = principal_copy(principal);
    if (reader == NULL || (principal != NULL && reader->principal == NULL)) {
        free(reader);
        return NULL;
    }
    const struct principal *who = reader->principal;
    subscriber_init(&reader->subscriber, options->hub, turn, &reader_ops, &options->websocket,
                    who == NULL ? "" : who->user_id, who == NULL ? "" : who->tenant_id);
    reader->subscriber.ws.expires_ns =
        principal_expires_ns(who, turn->now_ns, turn->wall_us, options->leeway_ns);
    return reader;
}

static bool begin(struct ticker *ticker, struct turn *turn, const struct http_request *request,
                  const struct handshake *handshake)
{
    struct hub_terms terms = {.encoding = ENCODING_TICKER};
    struct reader *reader = make_reader(ticker, turn, request->principal);
    char text[STATS_JSON_MAX];
    if (reader == NULL)
        return false;
    if (hub_join(ticker->options.hub, turn, &reader->subscriber.peer, ROOM_STATS, &terms) !=
            HUB_JOINED ||
        !websocket_start(&reader->subscriber.ws, turn, request->conn, handshake)) {
        reader_free(reader, turn);
        return false;
    }
    size_t length = stats_json(ticker->options.stats, turn->wall_us, text);
    (void)websocket_send(&reader->subscriber.ws, turn, false, span_of(text, length));
    return true;
}

bool ticker_take(void *context, struct turn *turn, struct http_request *request)
{
    struct ticker *ticker = context;
    struct handshake_policy policy = {.origins = ticker->options.origins, .deflate = true};
    struct handshake handshake;
    return upgrade_agree(request, turn, &policy, &handshake) &&
           upgrade_started(request, turn, begin(ticker, turn, request, &handshake));
}

/* ── The tick ───────────────────────────────────────────────────────────────────────────────── */

void ticker_release(struct ticker *ticker, struct turn *turn)
{
    char text[STATS_JSON_MAX];
    if (ticker->options.shard != 0 || turn->now_ns < ticker->due_ns)
        return;
    /* In step with itself, so that twice as many do not come after a long turn. */
    uint64_t interval_ns = TICKER_MS * 1000000ull;
    ticker->due_ns += interval_ns;
    if (ticker->due_ns <= turn->now_ns)
        ticker->due_ns = turn->now_ns + interval_ns;
    if (!hub_has_audience(ticker->options.hub, ROOM_STATS))
        return;
    struct publish publish = {
        .room = ROOM_STATS,
        .event = SPAN("stats"),
        .data = span_of(text, stats_json(ticker->options.stats, turn->wall_us, text)),
        .key = KEY};
    (void)hub_publish(ticker->options.hub, turn, &publish);
}

int64_t ticker_tick(const struct ticker *ticker, const struct turn *turn)
{
    if (ticker->options.shard != 0)
        return -1;
    return ticker->due_ns > turn->now_ns ? (int64_t)(ticker->due_ns - turn->now_ns) : 0;
}
