/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to all shards. Each answers with records, which the asker adds up:
 *
 *   │ kind │ how many: 4 │ length: 2 │ text │ …        kinds: enum record
 *
 * Our own answer is found like the others', at the next flush, so that nobody is answered before he
 * knows the question's number.
 */
#include "ws/hub_internal.h"

#include "proto/event.h"

#include <stdlib.h>

enum record {
    RECORD_USER,
    RECORD_TENANT,
    RECORD_DOOR,
    RECORD_PEER, /* its text is JSON */
    RECORD_KICKED,
    RECORD_CUT,
    RECORDS
};

enum { RECORD_HEAD = 7, FOUND_MAX = 1 << 30 };

/* ── A shard's answer ───────────────────────────────────────────────────────────────────────── */

static bool put_record(struct buf *out, enum record kind, uint32_t count_, struct span text)
{
    uint8_t *at = buf_room(out, RECORD_HEAD + text.length);
    if (at == NULL || text.length > UINT16_MAX)
        return false;
    uint16_t short_length = (uint16_t)text.length;
    at[0] = (uint8_t)kind;
    memcpy(at + 1, &count_, sizeof count_);
    memcpy(at + 5, &short_length, sizeof short_length);
    if (text.length > 0)
        memcpy(at + RECORD_HEAD, text.at, text.length);
    buf_grew(out, RECORD_HEAD + text.length);
    return true;
}

static int by_text(const void *one, const void *other)
{
    return strcmp(*(const char *const *)one, *(const char *const *)other);
}

/* A record for each different name, and how often it stands there; "" is nobody. */
static void tally(struct buf *out, enum record kind, const char **names, size_t names_count,
                  size_t most)
{
    size_t records = 0;
    qsort(names, names_count, sizeof *names, by_text);
    for (size_t i = 0, run; i < names_count; i += run) {
        for (run = 1; i + run < names_count && strcmp(names[i], names[i + run]) == 0; run++)
            ;
        if (names[i][0] == '\0')
            continue;
        if (records++ == most || !put_record(out, kind, (uint32_t)run, span_of_string(names[i]))) {
            (void)put_record(out, RECORD_CUT, 1, SPAN(""));
            return;
        }
    }
}

static struct span name_asked(const struct inquiry *inquiry)
{
    return span_of(inquiry->name, inquiry->name_length);
}

static void find_users(struct hub *hub, struct inquiry *inquiry)
{
    struct room_name name;
    if (!hub_name(hub, name_asked(inquiry), &name))
        return;
    const struct room *room = hub_find_room(hub, name.hash, span_of(name.text, name.length));
    if (room == NULL || room->seats == 0)
        return;
    const char **names = malloc(room->seats * sizeof *names);
    if (names == NULL)
        return;
    for (uint32_t i = 0; i < room->seats; i++)
        names[i] = room->seat[i].peer->user_id;
    tally(&inquiry->found, RECORD_USER, names, room->seats, hub->options.answer_users);
    free(names);
}

static const char *name_of(const struct peer *peer, enum record kind)
{
    return kind == RECORD_USER     ? peer->user_id
           : kind == RECORD_TENANT ? peer->tenant_id
                                   : peer->ops->name;
}

static void find_connections(struct hub *hub, struct inquiry *inquiry)
{
    const char **names = malloc((hub->peers_count + 1) * sizeof *names);
    if (names == NULL)
        return;
    for (enum record kind = RECORD_USER; kind <= RECORD_DOOR; kind++) {
        size_t names_count = 0;
        for (struct list *link = hub->peers.next; link != &hub->peers; link = link->next)
            names[names_count++] = name_of(LIST_ENTRY(link, struct peer, all), kind);
        tally(&inquiry->found, kind, names, names_count, hub->options.answer_users);
    }
    free(names);
}

static bool is_of(struct span asked, struct span prefix, const char *id)
{
    return asked.length > prefix.length && memcmp(asked.at, prefix.at, prefix.length) == 0 &&
           span_is(span_from(asked, prefix.length), id);
}

static bool is_listed(const struct peer *peer, struct span asked)
{
    return asked.length == 0 || is_of(asked, SPAN("user:"), peer->user_id) ||
           is_of(asked, SPAN("tenant:"), peer->tenant_id);
}

/* null: nobody in particular. */
static bool put_name(struct buf *out, const char *member, const char *name)
{
    return buf_print(out, ",\"%s\":", member) &&
           (name[0] == '\0' ? buf_put(out, "null", 4) : buf_put_json(out, span_of_string(name)));
}

static bool print_peer(struct buf *out, const struct peer *peer)
{
    char id[PEER_ID_TEXT], time[EVENT_TIME_BYTES];
    peer_id_print(peer->id, id);
    event_time_print(peer->opened_us, time);
    return buf_print(out, "{\"id\":\"%s\"", id) && put_name(out, "userId", peer->user_id) &&
           put_name(out, "tenantId", peer->tenant_id) &&
           buf_print(out, ",\"transport\":\"%s\",\"connectedAt\":\"%.*s\"}", peer->ops->name,
                     EVENT_TIME_BYTES, time);
}

static void list_connections(struct hub *hub, struct inquiry *inquiry)
{
    struct buf text = {.max = UINT16_MAX};
    unsigned listed = 0;
    bool whole = true;
    for (struct list *link = hub->peers.next; whole && link != &hub->peers; link = link->next) {
        const struct peer *peer = LIST_ENTRY(link, struct peer, all);
        if (!is_listed(peer, name_asked(inquiry)))
            continue;
        text.length = 0;
        whole = listed++ < hub->options.answer_users && print_peer(&text, peer) &&
                put_record(&inquiry->found, RECORD_PEER, 1, buf_span(&text));
    }
    if (!whole)
        (void)put_record(&inquiry->found, RECORD_CUT, 1, SPAN(""));
    buf_fini(&text);
}

static struct peer *find_named(const struct hub *hub, struct span name)
{
    uint64_t id;
    struct peer *found = peer_id_parse(name, &id) ? hub_find_peer(hub, id) : NULL;
    for (struct list *link = hub->peers.next; found == NULL && link != &hub->peers;
         link = link->next) {
        struct peer *peer = LIST_ENTRY(link, struct peer, all);
        if (peer->ops->named != NULL && peer->ops->named(peer, name))
            found = peer;
    }
    return found;
}

static void kick(struct hub *hub, struct turn *turn, struct inquiry *inquiry)
{
    struct peer *peer = find_named(hub, name_asked(inquiry));
    if (peer == NULL)
        return;
    (void)put_record(&inquiry->found, RECORD_KICKED, 1, SPAN(""));
    peer->ops->kick(peer, turn);
}

static void find(struct hub *hub, struct turn *turn, struct inquiry *inquiry)
{
    switch (inquiry->question) {
    case HUB_WHO:
        find_users(hub, inquiry);
        break;
    case HUB_CONNECTIONS:
        find_connections(hub, inquiry);
        break;
    case HUB_LIST:
        list_connections(hub, inquiry);
        break;
    case HUB_KICK:
        kick(hub, turn, inquiry);
        break;
    }
}

/* ── The asker ──────────────────────────────────────────────────────────────────────────────── */

struct tallied {
    struct span text;
    uint64_t count;
};

static int by_span(const void *one, const void *other)
{
    const struct tallied *a = one, *b = other;
    size_t length = a->text.length < b->text.length ? a->text.length : b->text.length;
    int order = length == 0 ? 0 : memcmp(a->text.at, b->text.at, length);
    return order != 0 ? order
                      : (a->text.length > b->text.length) - (a->text.length < b->text.length);
}

/* The records of one kind, those of one text added up, in order: how many. Without `out` a count
 * of those there are before that. */
static size_t gather(struct span found, enum record kind, struct tallied *out)
{
    size_t records = 0, merged = 0;
    for (size_t at = 0; at < found.length;) {
        uint32_t count_;
        uint16_t length;
        const uint8_t *record = found.at + at;
        memcpy(&count_, record + 1, sizeof count_);
        memcpy(&length, record + 5, sizeof length);
        at += RECORD_HEAD + (size_t)length;
        if (record[0] != kind)
            continue;
        if (out != NULL)
            out[records] = (struct tallied){span_of(record + RECORD_HEAD, length), count_};
        records++;
    }
    if (out == NULL || records == 0)
        return records;
    qsort(out, records, sizeof *out, by_span);
    for (size_t i = 1; i < records; i++) {
        if (span_equal(out[i].text, out[merged].text))
            out[merged].count += out[i].count;
        else
            out[++merged] = out[i];
    }
    return merged + 1;
}

static struct tallied *gather_all(struct span found, enum record kind, size_t *out)
{
    struct tallied *tallied = calloc(gather(found, kind, NULL) + 1, sizeof *tallied);
    if (tallied != NULL)
        *out = gather(found, kind, tallied);
    return tallied;
}

static bool print_users(struct buf *json, struct span found)
{
    size_t users = 0;
    struct tallied *user = gather_all(found, RECORD_USER, &users);
    bool good = user != NULL && buf_print(json, "[");
    for (size_t i = 0; good && i < users; i++)
        good = (i == 0 || buf_print(json, ",")) && buf_put_json(json, user[i].text);
    free(user);
    return good && buf_print(json, "]");
}

/* ,"NAME":{"text":count,…} */
static bool print_counts(struct buf *json, struct span found, enum record kind, const char *name)
{
    size_t entries = 0;
    struct tallied *entry = gather_all(found, kind, &entries);
    bool good = entry != NULL && buf_print(json, ",\"%s\":{", name);
    for (size_t i = 0; good && i < entries; i++)
        good = (i == 0 || buf_print(json, ",")) && buf_put_json(json, entry[i].text) &&
               buf_print(json, ":%llu", (unsigned long long)entry[i].count);
    free(entry);
    return good && buf_print(json, "}");
}

static unsigned long long sum(struct span found, enum record kind)
{
    size_t entries = 0;
    unsigned long long total = 0;
    struct tallied *entry = gather_all(found, kind, &entries);
    for (size_t i = 0; entry != NULL && i < entries; i++)
        total += entry[i].count;
    free(entry);
    return total;
}

static bool print_connections(struct buf *json, struct span found, bool cut)
{
    cut |= sum(found, RECORD_CUT) > 0;
    return buf_print(json, "{\"totalConnections\":%llu", sum(found, RECORD_DOOR)) &&
           print_counts(json, found, RECORD_DOOR, "transportConnections") &&
           print_counts(json, found, RECORD_USER, "userConnections") &&
           print_counts(json, found, RECORD_TENANT, "tenantConnections") &&
           buf_print(json, ",\"truncated\":%s}", cut ? "true" : "false");
}

static bool print_list(struct buf *json, struct span found, bool cut)
{
    size_t peers = 0;
    struct tallied *peer = gather_all(found, RECORD_PEER, &peers);
    bool good = peer != NULL && buf_print(json, "{\"connections\":[");
    for (size_t i = 0; good && i < peers; i++)
        good =
            (i == 0 || buf_print(json, ",")) && buf_put(json, peer[i].text.at, peer[i].text.length);
    free(peer);
    cut |= sum(found, RECORD_CUT) > 0;
    return good &&
           buf_print(json, "],\"count\":%zu,\"truncated\":%s}", peers, cut ? "true" : "false");
}

static bool print(struct buf *json, const struct question *question)
{
    struct span found = buf_span(&question->found);
    switch (question->question) {
    case HUB_WHO:
        return print_users(json, found);
    case HUB_CONNECTIONS:
        return print_connections(json, found, question->cut);
    case HUB_LIST:
        return print_list(json, found, question->cut);
    case HUB_KICK:
        return buf_print(json, "%d", sum(found, RECORD_KICKED) > 0);
    }
    return false;
}

/* The question's place is free before its asker is told: he may ask the next. */
static void answer(struct question *question, struct turn *turn)
{
    struct question asked = *question;
    struct buf json = {.max = FOUND_MAX};
    *question = (struct question){0};
    bool printed = print(&json, &asked);
    asked.answer(asked.context, turn, printed ? buf_span(&json) : (struct span){0});
    buf_fini(&json);
    buf_fini(&asked.found);
}

static struct question *find_question(struct hub *hub, uint64_t asked)
{
    struct question *question = &hub->question[asked % QUESTIONS_MAX];
    return asked != 0 && question->asked == asked ? question : NULL;
}

static struct question *free_question(struct hub *hub)
{
    for (unsigned i = 0; i < QUESTIONS_MAX; i++) {
        uint64_t asked = ++hub->asked;
        struct question *question = &hub->question[asked % QUESTIONS_MAX];
        if (asked == 0 || question->asked != 0)
            continue;
        question->asked = asked;
        return question;
    }
    return NULL;
}

static struct inquiry *make(const struct hub *hub, const struct question *question,
                            struct span name)
{
    struct inquiry *inquiry = calloc(1, sizeof *inquiry + name.length);
    if (inquiry == NULL)
        return NULL;
    inquiry->letter = (struct hub_letter){LETTER_QUESTION, sizeof *inquiry + name.length};
    inquiry->from = hub->options.shard;
    inquiry->asked = question->asked;
    inquiry->question = question->question;
    inquiry->found.max = FOUND_MAX;
    inquiry->name_length = name.length;
    if (name.length > 0)
        memcpy(inquiry->name, name.at, name.length);
    return inquiry;
}

void inquiry_free(struct inquiry *inquiry)
{
    buf_fini(&inquiry->found);
    free(inquiry);
}

/* A shard that cannot be asked counts as one that knows nothing. */
static void ask_one(struct hub *hub, struct question *question, unsigned shard, struct span name)
{
    struct inquiry *inquiry = make(hub, question, name);
    if (inquiry == NULL)
        return;
    if (shard == hub->options.shard)
        list_append(&hub->inbox, &inquiry->link);
    else if (!hub_post(hub, shard, &inquiry->letter)) {
        inquiry_free(inquiry);
        return;
    }
    question->missing++;
}

uint64_t hub_ask(struct hub *hub, struct turn *turn, enum hub_question question, struct span name,
                 hub_answer answer_, void *context)
{
    (void)turn;
    struct question *place = name.length > ROOM_NAME_MAX ? NULL : free_question(hub);
    if (place == NULL)
        return 0;
    place->question = question;
    place->answer = answer_;
    place->context = context;
    place->missing = 0;
    place->found = (struct buf){.max = FOUND_MAX};
    for (unsigned i = 0; i < hub->node->shards; i++)
        ask_one(hub, place, i, name);
    hub->unanswered |= place->missing == 0;
    return place->asked;
}

void hub_forget(struct hub *hub, uint64_t asked)
{
    struct question *question = find_question(hub, asked);
    if (question == NULL)
        return;
    buf_fini(&question->found);
    *question = (struct question){0};
}

/* ── On the way ─────────────────────────────────────────────────────────────────────────────── */

static void take_answer(struct hub *hub, struct inquiry *inquiry)
{
    struct question *question = find_question(hub, inquiry->asked);
    if (question != NULL) {
        struct span found = buf_span(&inquiry->found);
        question->cut |= found.length > 0 && !buf_put(&question->found, found.at, found.length);
        must(question->missing > 0);
        question->missing--;
        hub->unanswered |= question->missing == 0;
    }
    inquiry_free(inquiry);
}

/* By another shard; its mail has been read, so what is done here is told in the same turn. */
void hub_asked(struct hub *hub, struct inquiry *inquiry)
{
    list_append(&hub->inbox, &inquiry->link);
}

void hub_answered(struct hub *hub, struct inquiry *inquiry)
{
    take_answer(hub, inquiry);
}

void hub_think(struct hub *hub, struct turn *turn)
{
    struct list *link;
    while ((link = list_take(&hub->inbox)) != NULL) {
        struct inquiry *inquiry = LIST_ENTRY(link, struct inquiry, link);
        find(hub, turn, inquiry);
        inquiry->letter.kind = LETTER_ANSWER;
        if (inquiry->from == hub->options.shard)
            take_answer(hub, inquiry);
        else if (!hub_post(hub, inquiry->from, &inquiry->letter))
            inquiry_free(inquiry); /* so full that the asker must give up by himself */
    }
    for (unsigned i = 0; hub->unanswered && i < QUESTIONS_MAX; i++)
        if (hub->question[i].asked != 0 && hub->question[i].missing == 0)
            answer(&hub->question[i], turn);
    hub->unanswered = false;
}

void hub_drop_questions(struct hub *hub)
{
    struct list *link;
    while ((link = list_take(&hub->inbox)) != NULL)
        inquiry_free(LIST_ENTRY(link, struct inquiry, link));
    for (unsigned i = 0; i < QUESTIONS_MAX; i++)
        buf_fini(&hub->question[i].found);
}
