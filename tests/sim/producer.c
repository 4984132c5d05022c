/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/producer.h"

#include "tests/sim/net.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    VALUES_MAX = EVENTS_MAX,
    OUT_MAX = 160 * 1024,
    VALUE_MAX = 80 * 1024,
    LINE_MAX_BYTES = 1024,
    CHECK_IN = 32,
};
#define PATIENCE_NS MILLISECONDS(4000)

enum state { STATE_OFF, STATE_HELLO, STATE_OPEN, STATE_DONE };
enum bad { GOOD, BAD_JSON, BAD_NO_TYPE, BAD_TYPE, BAD_TEXT, BADS };

struct value {
    struct event_name event;
    enum bad bad;
    unsigned pad;
};

/* Gathers bytes until a line is whole. */
struct lines {
    char text[LINE_MAX_BYTES];
    size_t length;
};

struct client {
    struct client_options options;
    struct ledger *ledger;
    struct value value[VALUES_MAX];
    enum state state;
    struct link *link;
    unsigned base;  /* the value that the connection's count begins with */
    unsigned next;  /* to be queued */
    unsigned most;  /* were queued at any time */
    unsigned acked; /* as it knows */
    unsigned told;  /* as has been said to it, heard or not */
    size_t out_start, out_end;
    struct lines arriving, leaving;
    uint64_t due_ns, think_ns, heard_ns;
    void *check_self;
    void (*check)(void *self);
    char out[OUT_MAX];
};

/* ── Values ─────────────────────────────────────────────────────────────────────────────────── */

static struct value draw_value(struct client *client, unsigned number)
{
    const struct client_options *options = &client->options;
    struct value value = {.event = {options->index, number}, .pad = (unsigned)below(200)};
    if (options->bad_in > 0 && once_in(options->bad_in))
        value.bad = (enum bad)between(1, BADS - 1);
    else if (options->large_in > 0 && once_in(options->large_in))
        value.pad = (unsigned)between(1000, 60000);
    return value;
}

static void note_value(const struct client *client, unsigned number)
{
    const struct client_options *options = &client->options;
    const struct value *value = &client->value[number];
    struct fact *fact = &client->ledger->fact[options->index][number];
    fact->bad = fact->bad || value->bad != GOOD;
    if (fact->bad)
        return;
    fact->pad = value->pad;
    fact->has_id = options->with_ids;
    if (options->poison_in > 0 && once_in(options->poison_in))
        fact->poison = (enum poison)between(1, POISONS - 1);
}

/* What it will send, all of it, and what it must come to. */
static void draw_values(struct client *client)
{
    const struct client_options *options = &client->options;
    struct ledger *ledger = client->ledger;
    must(options->values <= VALUES_MAX);
    ledger->events[options->index] = options->values;
    ledger->in_order[options->index] = options->in_order;
    for (unsigned i = 0; i < options->values; i++) {
        client->value[i] = draw_value(client, i);
        const struct value *earlier = i == 0 ? NULL : &client->value[below(i)];
        if (earlier != NULL && options->with_ids && options->again_in > 0 &&
            once_in(options->again_in) && earlier->bad == GOOD && earlier->event.number < i) {
            ledger->fact[options->index][i].bad = true; /* this number is never used */
            client->value[i] = *earlier;
        }
        note_value(client, i);
    }
}

static int print_value(const struct client *client, const struct value *value, char *out)
{
    static const char *const types[] = {"click", "item_added", "session_start"};
    unsigned p = value->event.producer, n = value->event.number;
    char id[40] = "";
    if (client->options.with_ids)
        (void)snprintf(id, sizeof id, "\"id\":\"id-%u-%u\",", p, n);
    switch (value->bad) {
    case BAD_JSON:
        return sprintf(out, "{\"type\":\"click\",\"userId\":\"p%u-%u\",", p, n);
    case BAD_NO_TYPE:
        return sprintf(out, "{%s\"userId\":\"p%u-%u\",\"data\":{}}", id, p, n);
    case BAD_TYPE:
        return sprintf(out, "{%s\"type\":\"no such type\",\"userId\":\"p%u-%u\"}", id, p, n);
    case BAD_TEXT:
        return sprintf(out, "{%s\"type\":\"click\",\"userId\":\"p%u-%u\",\"data\":\"\\u0000\"}", id,
                       p, n);
    case GOOD:
    case BADS:
        break;
    }
    int length = sprintf(out, "{\"type\":\"%s\",%s\"userId\":\"p%u-%u\",\"data\":{\"pad\":\"",
                         types[n % 3], id, p, n);
    memset(out + length, '0' + (int)(n % 10), value->pad);
    return length + (int)value->pad + sprintf(out + length + value->pad, "\"}}");
}

/* ── Out ────────────────────────────────────────────────────────────────────────────────────── */

static void queue(struct client *client, const void *bytes, size_t length)
{
    if (client->out_start > 0) {
        memmove(client->out, client->out + client->out_start, client->out_end - client->out_start);
        client->out_end -= client->out_start;
        client->out_start = 0;
    }
    must(client->out_end + length <= OUT_MAX);
    memcpy(client->out + client->out_end, bytes, length);
    client->out_end += length;
}

static void queue_hello(struct client *client)
{
    const struct client_options *options = &client->options;
    char line[256], name[40] = "";
    if (options->named)
        (void)snprintf(name, sizeof name, ",\"producer\":\"producer-%u\"", options->index);
    int length = snprintf(line, sizeof line, "{\"hello\":{\"ack\":\"%s\",\"format\":\"%s\"%s}}\n",
                          options->stored ? "stored" : "spooled",
                          options->length32 ? "length32" : "ndjson", name);
    queue(client, line, (size_t)length);
}

static void queue_value(struct client *client)
{
    char text[VALUE_MAX];
    int length = print_value(client, &client->value[client->next], text);
    must(length > 0 && length < VALUE_MAX);
    uint32_t size = (uint32_t)length;
    uint8_t head[4] = {(uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8),
                       (uint8_t)size};
    if (client->options.length32)
        queue(client, head, sizeof head);
    else
        text[length++] = '\n';
    queue(client, text, (size_t)length);
    if (client->next < client->most)
        saw(SAW_RESENT);
    client->next++;
    if (client->next > client->most)
        client->most = client->next;
    client->think_ns =
        client->options.think_ns == 0 ? 0 : world.now_ns + between(0, 2 * client->options.think_ns);
}

static void push(struct client *client)
{
    size_t left = client->out_end - client->out_start;
    if (left == 0)
        return;
    size_t some = once_in(3) ? between(1, left) : left;
    client->out_start += net_client_send(client->link, client->out + client->out_start, some);
}

/* ── In ─────────────────────────────────────────────────────────────────────────────────────── */

static bool next_line(struct lines *lines, char *out)
{
    char *newline = memchr(lines->text, '\n', lines->length);
    if (newline == NULL)
        return false;
    size_t length = (size_t)(newline - lines->text);
    memcpy(out, lines->text, length);
    out[length] = '\0';
    lines->length -= length + 1;
    memmove(lines->text, newline + 1, lines->length);
    return true;
}

static bool number_behind(const char *line, const char *key, unsigned *out)
{
    const char *at = strstr(line, key);
    return at != NULL && sscanf(at + strlen(key), "%u", out) == 1;
}

/* What a line says to be safe: values below *out, counted from the first of all. */
static bool safe_below(const struct client *client, const char *line, unsigned *out)
{
    if (strncmp(line, "{\"ack\":", 7) == 0 && number_behind(line, "\"ack\":", out)) {
        *out += client->options.named ? 0 : client->base;
        return true;
    }
    return client->options.named && strncmp(line, "{\"welcome\"", 10) == 0 &&
           number_behind(line, "\"resume\":", out);
}

/* This very moment it leaves ringmain: from now on it has to be true. */
static void check_leaving(struct client *client, const char *line)
{
    unsigned safe;
    if (!safe_below(client, line, &safe))
        return;
    if (safe > client->most)
        blame("producer %u: %u values are acknowledged, %u have been sent", client->options.index,
              safe, client->most);
    bool *may_go_back = &client->ledger->may_go_back[client->options.index];
    if (safe < client->told && client->options.named && *may_go_back)
        client->told = client->acked = safe;
    *may_go_back = false;
    if (safe < client->told && client->options.named)
        blame("producer %u was told that %u values are safe, and now %u: %s", client->options.index,
              client->told, safe, line);
    bool ack = strncmp(line, "{\"ack\"", 6) == 0;
    if (client->options.named && safe > client->ledger->counted[client->options.index])
        client->ledger->counted[client->options.index] = safe;
    for (; client->told < safe && client->told < client->options.values; client->told++)
        ledger_told(client->ledger, client->value[client->told].event,
                    client->options.stored && ack);
    if (ack && world.crash_at_ack) {
        saw(SAW_CRASHES_AT_ACK);
        world_blackout();
    } else if (ack && once_in(CHECK_IN)) {
        client->check(client->check_self);
    }
}

static void leaving(void *self, const uint8_t *bytes, size_t length)
{
    struct client *client = self;
    char line[LINE_MAX_BYTES];
    for (size_t i = 0; i < length; i++) {
        must(client->leaving.length < sizeof client->leaving.text);
        client->leaving.text[client->leaving.length++] = (char)bytes[i];
        if (bytes[i] == '\n' && next_line(&client->leaving, line))
            check_leaving(client, line);
    }
}

static void refused(struct client *client, const char *line, unsigned number)
{
    unsigned index = number - 1 + (client->options.named ? 0 : client->base);
    saw(SAW_REJECTS);
    if (index >= client->most || client->value[index].bad == GOOD)
        blame("producer %u: value %u is good and refused: %s", client->options.index, index, line);
}

static void welcomed(struct client *client, const char *line)
{
    unsigned resume = 0;
    client->state = STATE_OPEN;
    if (!client->options.named || !number_behind(line, "\"resume\":", &resume))
        return;
    if (resume < client->acked)
        blame("producer %u: %u values were acknowledged and now it shall send from %u",
              client->options.index, client->acked, resume);
    if (resume > 0)
        saw(SAW_RESUMED);
    client->acked = client->next = resume;
}

static void heard(struct client *client, const char *line)
{
    unsigned number;
    client->heard_ns = world.now_ns;
    tell("producer %u hears %.100s", client->options.index, line);
    if (strncmp(line, "{\"welcome\"", 10) == 0) {
        welcomed(client, line);
    } else if (number_behind(line, "{\"reject\":", &number)) {
        refused(client, line, number);
    } else if (safe_below(client, line, &number)) {
        saw(SAW_ACKS);
        if (number > client->acked)
            client->acked = number;
    } else {
        blame("producer %u hears: %s", client->options.index, line);
    }
}

static void listen_to(struct client *client)
{
    struct lines *lines = &client->arriving;
    char line[LINE_MAX_BYTES];
    size_t got;
    while ((got = net_client_read(client->link, lines->text + lines->length,
                                  sizeof lines->text - lines->length)) > 0) {
        lines->length += got;
        while (next_line(lines, line))
            heard(client, line);
        must(lines->length < sizeof lines->text);
    }
}

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

static void wake(void *self)
{
    struct client *client = self;
    client->due_ns = world.now_ns;
}

static void off(struct client *client)
{
    client->state = STATE_OFF;
    client->link = NULL;
    client->due_ns = world.now_ns + MICROSECONDS(between(100, 60000));
}

static void give_up(struct client *client)
{
    for (; client->acked < client->most; client->acked++)
        if (client->value[client->acked].bad == GOOD)
            client->ledger->fact[client->options.index][client->acked].given_up = true;
}

static void dial(struct client *client)
{
    struct net_client as = {client, leaving, wake};
    client->arriving.length = client->leaving.length = 0;
    client->link = net_connect(&as);
    if (client->link == NULL) {
        off(client);
        return;
    }
    client->out_start = client->out_end = 0;
    if (client->options.forgetful)
        give_up(client);
    client->base = client->next = client->acked;
    client->told = client->options.named ? client->told : client->acked;
    client->heard_ns = world.now_ns;
    client->state = STATE_HELLO;
    tell("producer %u connects", client->options.index);
    queue_hello(client);
}

/* Its process dies: the kernel sends what it had taken, and the end of the stream. */
static bool dies(struct client *client)
{
    bool within = client->out_start < client->out_end;
    if (within && faulty(world.faults.dies_in_line)) {
        saw(SAW_DEAD_IN_A_LINE);
        tell("producer %u dies", client->options.index);
        net_client_close(client->link);
    } else if (faulty(world.faults.vanish)) {
        tell("producer %u vanishes", client->options.index);
        net_client_vanish(client->link);
    } else if (world.now_ns - client->heard_ns > PATIENCE_NS) {
        tell("producer %u loses patience", client->options.index);
        net_client_reset(client->link);
    } else {
        return false;
    }
    off(client);
    return true;
}

static bool may_send(const struct client *client)
{
    bool open = client->state == STATE_OPEN || !client->options.named;
    return open && client->next < client->options.values &&
           client->next - client->acked < client->options.window &&
           client->think_ns <= world.now_ns && client->out_end - client->out_start < VALUE_MAX;
}

static void talk(struct client *client)
{
    while (may_send(client))
        queue_value(client);
    push(client);
    client->due_ns = world.now_ns + PATIENCE_NS;
    if (client->out_start < client->out_end)
        client->due_ns = world.now_ns + MICROSECONDS(between(20, 2000));
    else if (client->next < client->options.values && client->think_ns > world.now_ns)
        client->due_ns = client->think_ns;
}

void client_work(struct client *client)
{
    if (client->state == STATE_OFF) {
        dial(client);
        return;
    }
    listen_to(client);
    if (client->acked == client->options.values) {
        net_client_close(client->link);
        client->link = NULL;
        client->state = STATE_DONE;
        tell("producer %u is done", client->options.index);
    } else if (net_is_reset(client->link) || net_has_ended(client->link)) {
        net_client_close(client->link);
        off(client);
    } else if (!dies(client)) {
        talk(client);
    }
}

uint64_t client_next_ns(const struct client *client)
{
    return client->state == STATE_DONE ? NEVER : client->due_ns;
}

bool client_is_done(const struct client *client)
{
    return client->state == STATE_DONE;
}

void client_hurry(struct client *client)
{
    client->options.think_ns = client->think_ns = 0;
    client->due_ns = world.now_ns;
}

void client_ask_again(struct client *client)
{
    if (client->options.named && client->state == STATE_DONE)
        off(client);
}

void client_watch(struct client *client, void *self, void (*check)(void *self))
{
    client->check_self = self;
    client->check = check;
}

struct client *client_open(const struct client_options *options, struct ledger *ledger)
{
    struct client *client = malloc(sizeof *client);
    must(client != NULL);
    memset(client, 0, offsetof(struct client, out));
    client->options = *options;
    client->ledger = ledger;
    client->due_ns = world.now_ns + MICROSECONDS(between(0, 50000));
    draw_values(client);
    return client;
}

void client_close(struct client *client)
{
    free(client);
}
