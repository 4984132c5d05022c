/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the hub's files know of one another. Nobody else includes this. Reading order:
 *
 *   hub_room.c (rooms and members) ─► hub_publish.c (from the publisher to the shards)
 *   ─► hub_run.c (to the members) ─► hub_log.c (what was delivered) ─► hub_mail.c (between shards)
 *   ─► hub_ask.c ─► hub_notes.c ─► hub.c (the turn)
 *
 *   room ──► seats: an array, so that delivery walks memory in order │ peer │ member │ encoding │ …
 *    ▲                                                                  ▲      │
 *    └────────────── member (one for each peer, room and encoding) ─────┼──────┘
 *                      in the peer's list `memberships` ────────────────┘
 */
#ifndef WS_HUB_INTERNAL_H
#define WS_HUB_INTERNAL_H

#include "core/mail.h"
#include "ws/hub.h"
#include "ws/hub_notes.h"

enum {
    INTEREST_SLOTS = 65536, /* a power of two */
    FORGOTTEN_SLOTS = 4096, /* likewise */
    LETTERS_READ_MAX = 512, /* of one shard, in one turn */
    QUESTIONS_MAX = 64,
    PRESSED = 512,     /* publications in one turn that are enough */
    RUN_MAX = 32,      /* publications that are told as one … */
    RUN_BYTES = 16384, /* … and their bytes */
};

/* ── Between shards ── */

enum letter_kind {
    LETTER_PUBLISH,
    LETTER_DELIVER,
    LETTER_QUESTION,
    LETTER_ANSWER,
    LETTER_NOTE,
    LETTER_PRESENCE,
};

/* The head of all that travels; whoever takes it from the mail owns it (or a reference to it). */
struct hub_letter {
    enum letter_kind kind;
    size_t bytes; /* what it takes in memory */
};

/* A publication on its way, shared by all shards that deliver it: read-only once it is shared. */
struct dispatch {
    struct hub_letter letter;
    _Atomic uint32_t references;
    bool kept;
    uint64_t hash, except, key;
    struct publication publication; /* its spans look into the bytes behind */
    struct span attachment[];
};

/* A question, and on the way back its answer. */
struct inquiry {
    struct hub_letter letter;
    struct list link; /* in the hub's inbox */
    unsigned from;    /* who asks … */
    uint64_t asked;   /* … and as what */
    enum hub_question question;
    struct buf found; /* records: hub_ask.c */
    size_t name_length;
    uint8_t name[];
};

/* A user is in a room of this shard, or no longer: to the room's home. */
struct attendance_letter {
    struct hub_letter letter;
    bool here;
    uint16_t room_length, user_length;
    uint64_t hash; /* the room's */
    uint64_t except;
    uint8_t text[]; /* room, user */
};

struct hub_node {
    unsigned shards;
    unsigned stride;        /* shards' counts in a row of the table */
    uint64_t seed;          /* of the names' hashes: nobody outside can make two that are alike */
    _Atomic uint32_t rooms; /* of all shards: 0 is the quick answer to everything */
    _Atomic uint32_t *interest; /* [INTEREST_SLOTS][stride]; rooms of this shard with such a hash */
    struct mail **mail;         /* [from * shards + to] */
    struct sleeper *sleeper[SHARDS_MAX];
};

/* ── Rooms ── */

struct seat {
    struct peer *peer;
    struct member *member;
    uint8_t encoding;
    bool filtered;
};

struct room {
    struct room *next; /* with the same place in the table */
    uint64_t hash;
    struct seat *seat;
    uint32_t seats, seats_capacity;
    uint64_t newest;       /* its last publication in the log; 0: none */
    struct list lingering; /* in the hub's list while nobody is in it … */
    uint64_t forget_ns;    /* … until then */
    uint8_t name_length;
    bool announced; /* who comes and goes: live.presence names it */
    uint8_t name[];
};

struct member {
    struct list of_peer;
    struct room *room;
    char *types; /* NULL: all */
    uint32_t seat;
    uint8_t encoding;
};
_Static_assert(sizeof(struct member) + sizeof(struct seat) <= 72, "a member is cheap");

struct rooms {
    struct room **table;
    size_t mask, count;
};

/* ── The log ── */

struct log_entry {
    struct dispatch *dispatch; /* NULL: a hole */
    struct encoded *encoded;   /* as it was replayed last, for the next who wants it … */
    uint64_t at_ns;
    uint64_t previous; /* of the same room; 0: none */
    uint8_t encoding;  /* … in this encoding */
};

/* A ring of entries with consecutive numbers. */
struct hub_log {
    struct log_entry *entry;
    size_t mask; /* its places - 1 */
    uint64_t first, next;
    size_t bytes;
};

/* ── Runs ── */

/* Publications of one room, one behind the other, that its members have not been posted yet. */
struct run {
    struct room *room;
    unsigned count;
    size_t bytes;
    struct dispatch *dispatch[RUN_MAX];
    uint64_t number[RUN_MAX];
};

/* What members with one encoding are posted of a run. */
struct telling {
    struct encoded *all, *one[RUN_MAX];
};

/* ── Presence ── */

struct presence_table {
    struct attendance **place;
    size_t mask, count;
};

struct presence {
    struct presence_table here;    /* memberships of a user in a room, on this shard */
    struct presence_table at_home; /* shards that have the user there, of rooms whose home we are */
};

/* ── The hub ── */

struct encoder {
    hub_encode encode;
    void *context;
};

struct peer_slot {
    struct peer *peer;
    uint32_t generation;
    uint32_t next_free;
};

struct question {
    uint64_t asked; /* 0: free */
    enum hub_question question;
    unsigned missing; /* answers */
    bool cut;         /* there was no room for all of them */
    hub_answer answer;
    void *context;
    struct buf found;
};

/* When rooms of one hash were forgotten last, as numbers of the log; see hub_log.c. */
struct forgotten {
    uint64_t in_time, early;
};

struct hub {
    struct hub_options options;
    struct hub_node *node;
    struct encoder encoder[ENCODINGS_MAX];
    struct rooms rooms;
    size_t members;
    struct list lingering; /* rooms without members, the one to be forgotten first in front */
    size_t lingering_count;
    struct hub_log log;
    struct presence presence;
    struct run run;
    struct telling telling[ENCODINGS_MAX]; /* empty but inside hub_end_run() */
    struct forgotten *forgotten;           /* [FORGOTTEN_SLOTS], by a room's hash */
    struct list dirty, peers;
    unsigned peers_count;
    struct peer_slot *slot;
    uint32_t slots, free_slot;       /* free_slot: 1 + index; 0: none */
    struct list backlog[SHARDS_MAX]; /* what waits for room in the mail */
    size_t backlog_bytes;
    uint64_t complained_ns;
    bool posted[SHARDS_MAX]; /* to be woken */
    bool unwoken;            /* one of them is */
    bool more_mail;
    bool unanswered;   /* a question has all its answers, and its asker does not know */
    unsigned pressed;  /* publications since the last flush */
    struct list inbox; /* questions to be thought about */
    uint64_t asked;
    struct question question[QUESTIONS_MAX];
    uint64_t ticked_ns;
    hub_read_note read_note; /* NULL: notes are thrown away */
    void *read_note_context;
};

/* hub_room.c */

/* The canonical name's hash and, in `room`, its text. False: not a name. */
struct room_name {
    uint64_t hash;
    size_t length;
    uint8_t text[ROOM_NAME_MAX];
};
NODISCARD bool hub_name(const struct hub *hub, struct span room, struct room_name *out);
/* The same hash, without the copy. */
NODISCARD bool hub_name_hash(const struct hub *hub, struct span room, uint64_t *out);
struct room *hub_find_room(const struct hub *hub, uint64_t hash, struct span name);
void hub_forget_rooms(struct hub *hub, uint64_t now_ns); /* those whose time has come */
void hub_free_rooms(struct hub *hub);
bool hub_types_hold(const char *types, struct span type);
static inline struct span room_name(const struct room *room)
{
    return span_of(room->name, room->name_length);
}

static inline _Atomic uint32_t *hub_interest(const struct hub_node *node, uint64_t hash)
{
    return &node->interest[(hash & (INTEREST_SLOTS - 1)) * node->stride];
}

static inline unsigned hub_home(const struct hub_node *node, uint64_t hash)
{
    return (unsigned)((hash >> 32) % node->shards);
}

/* hub_publish.c */
void hub_sequence(struct hub *hub, struct turn *turn, struct dispatch *dispatch);
void hub_deliver(struct hub *hub, struct turn *turn, struct dispatch *dispatch);
void dispatch_put(struct dispatch *dispatch);
bool hub_dropped(struct hub *hub, struct turn *turn, const char *why); /* counts it; false */
NODISCARD struct encoded *hub_encoded(struct hub *hub, const struct dispatch *dispatch,
                                      unsigned encoding, uint64_t number);
/* The same under another shard's offset. */
NODISCARD struct encoded *hub_encoded_as(struct hub *hub, const struct dispatch *dispatch,
                                         unsigned encoding, unsigned shard, uint64_t number);

/* hub_run.c */

/* The caller's reference becomes the run's. */
void hub_add_to_run(struct hub *hub, struct turn *turn, struct room *room,
                    struct dispatch *dispatch, uint64_t number);
/* Before anybody comes, goes or is sent anything else: who is in the room now gets what was published
 * until now, before what comes next. */
void hub_end_run(struct hub *hub, struct turn *turn);
void hub_drop_run(struct hub *hub);

/* hub_log.c */
NODISCARD bool log_open(struct hub_log *log);
void log_close(struct hub_log *log);
/* Takes a reference of its own; returns the number; 0: not kept. */
uint64_t log_append(struct hub *hub, struct turn *turn, struct room *room,
                    struct dispatch *dispatch);
void log_age(struct hub *hub, uint64_t now_ns);
/* The room is gone: whoever comes back with a number from before has missed something. `early`: somebody
 * may have been in it within the history's time. Behind the last of them log_note_forgotten(). */
void log_forget_room(struct hub *hub, const struct room *room, bool early);
void log_note_forgotten(struct hub *hub, uint64_t now_ns);
/* Has nothing been missed of a room of this hash by who knows all up to `number`? */
bool log_reaches_back(const struct hub *hub, uint64_t hash, uint64_t number);

/* What is to be sent again. */
struct amount {
    size_t messages, bytes;
};
/* Adds those of the room that came after `number`, and goes no further once they do not fit; their
 * numbers go to `out`, if there is one. */
void log_collect(const struct hub *hub, const struct room *room, uint64_t number, uint64_t *out,
                 struct amount *amount);
bool log_amount_fits(const struct hub *hub, const struct amount *amount);
void log_sort(uint64_t *numbers, size_t numbers_count);
/* Would the peer get it, as a member of its room with this encoding? */
bool hub_wants(const struct peer *peer, unsigned encoding, const struct dispatch *dispatch);
struct dispatch *log_dispatch(const struct hub_log *log, uint64_t number);

/* hub_notes.c */
void note_read(struct hub *hub, struct turn *turn, struct hub_letter *letter);
void note_discard(struct hub_letter *letter);
bool kept_holds(const struct hub_kept *kept, const struct dispatch *dispatch);

/* hub_mail.c */

/* The letter, or a reference to it, becomes the other shard's; false: no room (it stays ours). */
NODISCARD bool hub_post(struct hub *hub, unsigned to, struct hub_letter *letter);
void hub_post_backlog(struct hub *hub);
void hub_wake(struct hub *hub);
void hub_drop_backlog(struct hub *hub);

/* hub_presence.c */
bool presence_names(const char *patterns, struct span room);
void presence_joined(struct hub *hub, struct turn *turn, const struct peer *peer,
                     const struct room *room);
void presence_left(struct hub *hub, struct turn *turn, const struct peer *peer,
                   const struct room *room);
void presence_told(struct hub *hub, struct turn *turn, struct attendance_letter *letter);
void presence_close(struct hub *hub);

/* hub_ask.c */
void hub_asked(struct hub *hub, struct inquiry *inquiry);
void hub_answered(struct hub *hub, struct inquiry *inquiry);
void hub_think(struct hub *hub, struct turn *turn); /* about the inbox; answers who asked */
void inquiry_free(struct inquiry *inquiry);
void hub_drop_questions(struct hub *hub);

/* peer.c */
bool peer_deliver(struct peer *peer, struct turn *turn, struct encoded *encoded); /* of a run */
struct peer *hub_find_peer(const struct hub *hub, uint64_t id);

#endif
