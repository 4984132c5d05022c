/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   B, where the client is now                      A, which remembers it
 *   ──────────────────────────                      ─────────────────────
 *   TAKE pid, user, offset ───────────────────────► is it his, does the history reach back?
 *   joins the rooms, but hears nothing yet  ◄────── ROOMS (or REFUSED)
 *   MARK to every shard ── each passes it on ─────► when all marks are here,
 *                                                   nothing is on its way that B did not get too
 *   when all clears are here too,           ◄────── MISSED: what came since the offset; and a CLEAR
 *   nothing that A kept is still on its way         to every shard ── each passes it on to B
 *   joins in earnest: CONNECT, what A kept,
 *   then what B got meanwhile and A did not
 *
 * The marks travel behind the publications of each shard (ws/hub_notes.h): what a room's home passed on
 * before it saw B's membership is at A before the home's mark is, and what it passed on later is in B's own
 * history. Of that A may have had a part before B: when the home's clear is at B, so is that. What is in both
 * is one object, and is known by it. A client whose other shard does not answer in time begins
 * afresh.
 */
#include "ws/socketio_moves.h"
#include "ws/hub_notes.h"
#include "ws/socketio_internal.h"
#include "ws/socketio_recovery.h"

#include <stdlib.h>

/* No publication has a type like this: such a member keeps the room's history going and hears
 * nothing. */
static const char nothing[] = "\n";
static const uint64_t patience_ns = 2000000000;

enum note_kind { NOTE_TAKE, NOTE_ROOMS, NOTE_REFUSED, NOTE_MARK, NOTE_MISSED, NOTE_CLEAR };

struct move_note {
    enum note_kind kind;
    unsigned b, a; /* shards, as in the drawing */
    uint64_t move; /* B's number for it */
    /* TAKE */
    uint64_t number;
    unsigned namespace;
    char pid[PID_TEXT], user_id[PRINCIPAL_TEXT_MAX + 1], tenant_id[PRINCIPAL_TEXT_MAX + 1];
    /* ROOMS */
    char sid[PID_TEXT];
    char *rooms; /* "a\0b\0\0" */
    /* MISSED */
    struct hub_kept *kept;
};

/* B's side. */
struct move {
    struct list link;
    uint64_t number;
    struct moves *moves;
    struct socketio_socket *socket;
    struct alarm alarm;
    char pid[PID_TEXT], sid[PID_TEXT];
    char *rooms;           /* NULL: A has not answered */
    uint64_t since;        /* in our own history */
    struct hub_kept *kept; /* NULL: it has not come */
    unsigned clears;       /* that have come */
};

/* A's side. */
struct loan {
    struct list link;
    unsigned b;
    uint64_t move, number, until_ns;
    unsigned marks; /* that have come */
    char *rooms;
};

struct moves {
    struct socketio *door;
    struct recovery *recovery;
    struct list moves, loans;
    uint64_t asked;
};

static void drop_note(void *body)
{
    struct move_note *note = body;
    free(note->rooms);
    hub_kept_free(note->kept);
}

static struct move_note *make_note(enum note_kind kind, unsigned b, unsigned a, uint64_t move)
{
    struct move_note *note = hub_note_make(sizeof *note, drop_note);
    if (note != NULL) {
        note->kind = kind;
        note->b = b;
        note->a = a;
        note->move = move;
    }
    return note;
}

/* Who gets no answer helps himself: B's alarm, A's loan that ends. */
static void post(struct moves *moves, unsigned to, struct move_note *note)
{
    if (note != NULL)
        (void)hub_note_post(moves->door->options.hub, to, note);
}

static char *copy_rooms(const char *rooms)
{
    size_t length = 0;
    while (rooms[length] != '\0')
        length += strlen(rooms + length) + 1;
    char *copy = malloc(length + 1);
    if (copy != NULL)
        memcpy(copy, rooms, length + 1);
    return copy;
}

/* ── B asks ─────────────────────────────────────────────────────────────────────────────────── */

static void end_move(struct move *move)
{
    alarm_stop(move->moves->door, &move->alarm);
    list_remove(&move->link);
    free(move->rooms);
    hub_kept_free(move->kept);
    free(move);
}

static void begin_afresh(struct move *move, struct turn *turn)
{
    struct socketio_socket *socket = move->socket;
    hub_leave_all(move->moves->door->options.hub, turn, socketio_peer(socket->client),
                  socket->encoding);
    end_move(move);
    socketio_welcome(socket, turn);
}

static void too_late(struct alarm *alarm, struct turn *turn)
{
    begin_afresh(LIST_ENTRY(alarm, struct move, alarm), turn);
}

bool moves_ask(struct moves *moves, struct turn *turn, struct socketio_socket *socket,
               unsigned shard, const char *pid, uint64_t number)
{
    struct move *move = calloc(1, sizeof *move);
    struct move_note *note =
        make_note(NOTE_TAKE, moves->door->options.shard, shard, moves->asked + 1);
    if (move == NULL || note == NULL) {
        free(move);
        if (note != NULL)
            hub_note_free(note);
        return false;
    }
    move->number = ++moves->asked;
    move->moves = moves;
    move->socket = socket;
    move->alarm.rings = too_late;
    memcpy(move->pid, pid, strlen(pid) + 1);
    list_append(&moves->moves, &move->link);
    alarm_set(moves->door, &move->alarm, turn->now_ns + patience_ns);
    note->number = number;
    note->namespace = (unsigned)(socket->namespace - moves->door->namespace);
    memcpy(note->pid, pid, strlen(pid) + 1);
    memcpy(note->user_id, socketio_user(socket), strlen(socketio_user(socket)) + 1);
    memcpy(note->tenant_id, socketio_tenant(socket), strlen(socketio_tenant(socket)) + 1);
    post(moves, shard, note);
    return true;
}

static struct move *find_move(struct moves *moves, uint64_t number)
{
    for (struct list *at = moves->moves.next; at != &moves->moves; at = at->next)
        if (LIST_ENTRY(at, struct move, link)->number == number)
            return LIST_ENTRY(at, struct move, link);
    return NULL;
}

static void take_rooms(struct moves *moves, struct turn *turn, struct move_note *note)
{
    const struct socketio_options *options = &moves->door->options;
    struct move *move = find_move(moves, note->move);
    if (move == NULL || move->rooms != NULL)
        return;
    move->rooms = note->rooms;
    note->rooms = NULL;
    memcpy(move->sid, note->sid, sizeof move->sid);
    recovery_rejoin(move->socket, turn, move->rooms, nothing);
    move->since = hub_last_number(options->hub);
    for (unsigned i = 0; i < options->shards; i++)
        if (i != options->shard)
            post(moves, i, make_note(NOTE_MARK, options->shard, note->a, move->number));
}

/* If all is there that it takes. */
static void arrive(struct move *move, struct turn *turn)
{
    const struct socketio_options *options = &move->moves->door->options;
    struct hub *hub = options->hub;
    if (move->kept == NULL || move->clears + 2 < options->shards)
        return;
    struct socketio_socket *socket = move->socket;
    struct peer *peer = socketio_peer(socket->client);
    hub_unfilter(hub, turn, peer, socket->encoding);
    if (!hub_reaches_back(hub, peer, socket->encoding, move->since)) {
        begin_afresh(move, turn);
        return;
    }
    memcpy(socket->sid, move->sid, sizeof socket->sid);
    recovery_set_pid(move->moves->recovery, socket, move->pid);
    socketio_send_connect(socket, turn);
    hub_kept_send(hub, turn, peer, socket->encoding, move->kept);
    if (!hub_replay_but(hub, turn, peer, socket->encoding, move->since, move->kept))
        engineio_end(socketio_session(socket), turn, ENGINEIO_FORCED_CLOSE);
    socketio_emit_connected(socket, turn);
    count(turn->counters, COUNT_SOCKETIO_RECOVERED, 1);
    end_move(move);
}

static void take_missed(struct moves *moves, struct turn *turn, struct move_note *note)
{
    struct move *move = find_move(moves, note->move);
    if (move == NULL || move->rooms == NULL || move->kept != NULL)
        return;
    move->kept = note->kept;
    note->kept = NULL;
    arrive(move, turn);
}

static void take_clear(struct moves *moves, struct turn *turn, const struct move_note *note)
{
    struct move *move = find_move(moves, note->move);
    if (move == NULL)
        return;
    move->clears++;
    arrive(move, turn);
}

void moves_forget(struct moves *moves, struct socketio_socket *socket)
{
    for (struct list *at = moves->moves.next; at != &moves->moves; at = at->next)
        if (LIST_ENTRY(at, struct move, link)->socket == socket) {
            end_move(LIST_ENTRY(at, struct move, link));
            return;
        }
}

/* ── A lends ────────────────────────────────────────────────────────────────────────────────── */

/* One that is in the list no longer. */
static void free_loan(struct list *link)
{
    struct loan *loan = LIST_ENTRY(link, struct loan, link);
    free(loan->rooms);
    free(loan);
}

static bool reaches_back(struct moves *moves, const char *rooms, uint64_t number)
{
    struct hub_kept *kept;
    if (!hub_kept_take(moves->door->options.hub, rooms, number, &kept))
        return false;
    hub_kept_free(kept);
    return true;
}

/* False: no memory. */
static bool make_loan(struct moves *moves, struct turn *turn, const struct move_note *take,
                      const char *rooms)
{
    struct loan *loan = calloc(1, sizeof *loan);
    char *copy = copy_rooms(rooms);
    if (loan == NULL || copy == NULL) {
        free(loan);
        free(copy);
        return false;
    }
    *loan = (struct loan){.b = take->b,
                          .move = take->move,
                          .number = take->number,
                          .until_ns = turn->now_ns + patience_ns,
                          .rooms = copy};
    list_append(&moves->loans, &loan->link);
    return true;
}

/* The answer to a TAKE. */
static struct move_note *lend(struct moves *moves, struct turn *turn, const struct move_note *take)
{
    struct remembered *remembered = recovery_find(moves->recovery, turn, take->pid, take->namespace,
                                                  take->user_id, take->tenant_id);
    struct move_note *answer = make_note(NOTE_REFUSED, take->b, take->a, take->move);
    const char *rooms = remembered == NULL ? "" : (const char *)remembered->texts.at;
    if (answer == NULL || remembered == NULL || !reaches_back(moves, rooms, take->number) ||
        (answer->rooms = copy_rooms(rooms)) == NULL || !make_loan(moves, turn, take, rooms))
        return answer;
    answer->kind = NOTE_ROOMS;
    memcpy(answer->sid, remembered->sid, sizeof answer->sid);
    recovery_drop(moves->recovery, remembered);
    return answer;
}

static void give_back(struct moves *moves, struct loan *loan)
{
    const struct socketio_options *options = &moves->door->options;
    struct move_note *note = make_note(NOTE_MISSED, loan->b, options->shard, loan->move);
    if (note != NULL && !hub_kept_take(options->hub, loan->rooms, loan->number, &note->kept))
        note->kind = NOTE_REFUSED;
    post(moves, loan->b, note);
    for (unsigned i = 0; i < options->shards; i++)
        if (i != options->shard && i != loan->b)
            post(moves, i, make_note(NOTE_CLEAR, loan->b, options->shard, loan->move));
    list_remove(&loan->link);
    free_loan(&loan->link);
}

static void take_mark(struct moves *moves, const struct move_note *mark)
{
    for (struct list *at = moves->loans.next; at != &moves->loans; at = at->next) {
        struct loan *loan = LIST_ENTRY(at, struct loan, link);
        if (loan->b != mark->b || loan->move != mark->move)
            continue;
        if (++loan->marks == moves->door->options.shards - 1)
            give_back(moves, loan);
        return;
    }
}

void moves_tick(struct moves *moves, struct turn *turn)
{
    struct list *oldest;
    while ((oldest = list_take(&moves->loans)) != NULL) {
        if (turn->now_ns < LIST_ENTRY(oldest, struct loan, link)->until_ns) {
            list_prepend(&moves->loans, oldest);
            return;
        }
        free_loan(oldest);
    }
}

/* ── Notes ──────────────────────────────────────────────────────────────────────────────────── */

static void read_note(void *context, struct turn *turn, void *body)
{
    struct moves *moves = context;
    struct move_note *note = body;
    unsigned us = moves->door->options.shard;
    struct move *move;
    switch (note->kind) {
    case NOTE_TAKE:
        post(moves, note->b, lend(moves, turn, note));
        break;
    case NOTE_ROOMS:
        take_rooms(moves, turn, note);
        break;
    case NOTE_REFUSED:
        move = find_move(moves, note->move);
        if (move != NULL)
            begin_afresh(move, turn);
        break;
    case NOTE_MARK:
        if (note->a != us) {
            post(moves, note->a, note);
            return;
        }
        take_mark(moves, note);
        break;
    case NOTE_MISSED:
        take_missed(moves, turn, note);
        break;
    case NOTE_CLEAR:
        if (note->b != us) {
            post(moves, note->b, note);
            return;
        }
        take_clear(moves, turn, note);
        break;
    }
    hub_note_free(note);
}

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

struct moves *moves_open(struct socketio *door, struct recovery *recovery)
{
    struct moves *moves = calloc(1, sizeof *moves);
    if (moves == NULL)
        return NULL;
    moves->door = door;
    moves->recovery = recovery;
    list_init(&moves->moves);
    list_init(&moves->loans);
    hub_set_reader(door->options.hub, read_note, moves);
    return moves;
}

void moves_close(struct moves *moves)
{
    if (moves == NULL)
        return;
    must(list_empty(&moves->moves));
    struct list *link;
    while ((link = list_take(&moves->loans)) != NULL)
        free_loan(link);
    free(moves);
}
