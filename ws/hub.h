/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hub: rooms, who is in them, and what is published there. One a shard, on its thread; hubs speak
 * to one another by mail only.
 *
 *    publish (any shard)                        the room's home shard          shards with members
 *   ┌──────────────┐  anybody interested?      ┌──────────────────┐           ┌──────────────────┐
 *   │ hub_publish  │──── no ─► nothing to do   │ next number of   │──────────►│ log, encode once │─► peers
 *   │              │──── yes ──── mail ───────►│ the room, who is │──────────►│ per encoding     │─► peers
 *   └──────────────┘                           │ interested       │           └──────────────────┘
 *                                              └──────────────────┘
 *
 * - A room is made by its first member. Its home is the shard that its name's hash says: all publications of a room pass there, so all
 *   its members everywhere see them in one order.
 * - Interest is a table a shard of counts by hash, written by that shard alone and read by all: asking
 *   costs a load a shard, and whoever joined before somebody asks is seen (release / acquire). Two
 *   names with one hash cost a needless letter, never a lost one.
 * - Each shard keeps what it delivered in a log bounded in bytes and age (live.history_bytes,
 *   live.history_s), chained by room: what a subscriber that was away is sent again. A publication's
 *   place in that log is its offset, "SHARD-NUMBER" in text; it is good on that shard only, so who
 *   comes back with one is handed over to that shard.
 *   A room that its last member has left stays known on its shard for live.history_s, and what is
 *   kept of it goes into the log meanwhile; but of such rooms no more than live.rooms_kept.
 * - In the rooms that live.presence names `presence` {event: "join"|"leave", roomId, userId, timestamp}
 *   is published when a user's first connection comes and when his last one goes, on whatever shards.
 * - A publication is encoded at most once a shard and encoding, when the first member wants it.
 * - Mail between hubs is bounded; what does not fit waits in a list bounded by live.backlog_bytes;
 *   beyond that it is dropped, counted (ringmain_live_dropped_total) and logged.
 *
 * Room names as the hub knows them: `user:ID` (an alias `user_ID` is taken for it), `tenant:ID`,
 * `project:ID`, and any other name as it stands; `*` is everyone. Who may enter which is not the hub's
 * business (ws/access.h).
 *
 * In a turn: hub_mail() where mail is read, hub_flush() after all publishing of the turn, hub_tick().
 * Nothing here calls a peer's ops but hub_flush().
 */
#ifndef WS_HUB_H
#define WS_HUB_H

#include "core/buf.h"
#include "metrics/sockets.h"
#include "ws/peer.h"

struct hub;
struct hub_node; /* what all hubs of a node share: the interest tables and the mail between them */

enum { ROOM_NAME_MAX = 160, ENCODINGS_MAX = 24 };

/* Who has which encoder. */
enum hub_encoding {
    ENCODING_RAW,          /* ws/relay.c */
    ENCODING_JSON,         /* ws/plain.c: WebSockets … */
    ENCODING_JSON_PACKED,  /* … those that unpack what is compressed … */
    ENCODING_EVENT_STREAM, /* … and Server-Sent Events */
    ENCODING_TICKER,       /* ws/ticker.c */
    ENCODING_SOCKETIO,     /* ws/socketio.c: this one and the following, one for each namespace */
};

/* Rooms of doors that send what is published there as it stands: nobody enters them, or speaks there, by
 * their names. */
#define ROOM_STATS SPAN("stats:ws")
#define ROOM_RELAY SPAN("debug:sub")
static inline bool hub_is_own_room(struct span room)
{
    return span_equal(room, ROOM_STATS) || span_equal(room, ROOM_RELAY);
}

struct publish {
    struct span room;  /* any of the names above */
    struct span event; /* the name under which it is emitted */
    struct span type;  /* the stored event's type, for filters; {NULL,0}: the same as `event` */
    struct span data;  /* one JSON value, compact; for Socket.IO the one argument */
    const struct span *attachments; /* binary, for `{"_placeholder":true,"num":i}` in data */
    unsigned attachments_count;
    uint64_t except; /* the peer that is not told (its own typing); 0: all are */
    uint64_t key;    /* struct encoded's; 0: every one matters */
    bool kept;       /* goes into the history */
};

/* A publication on this shard. Read-only to encoders. */
struct publication {
    struct span room, event, type, data;
    const struct span *attachments;
    unsigned attachments_count;
    unsigned shard;  /* whose log … */
    uint64_t number; /* … and its place there, for hub_offset_print(); 0: it is not kept */
};

/* Makes the bytes that members with this encoding get. NULL: no memory. */
typedef struct encoded *(*hub_encode)(void *context, const struct publication *publication);

struct hub_options {
    struct hub_node *node;
    unsigned shard;
    size_t history_bytes; /* live.history_bytes, of a shard */
    uint64_t history_ns;  /* live.history_s */
    size_t queue_bytes;   /* live.queue_bytes, of a peer */
    unsigned queue_messages;
    unsigned rooms_max;      /* live.rooms_per_connection */
    unsigned rooms_kept;     /* live.rooms_kept: that nobody is in */
    size_t backlog_bytes;    /* live.backlog_bytes, of a shard: what others have not taken yet */
    struct sockets *sockets; /* where members are counted by tenant and room; NULL: nowhere */
    unsigned answer_users;   /* live.answer_users */
    const char *presence;    /* live.presence; NULL: no room */
};

/* NULL: no memory. The node is opened before the shards and closed after them. */
NODISCARD struct hub_node *hub_node_open(unsigned shards);
void hub_node_close(struct hub_node *node);
NODISCARD struct hub *hub_open(const struct hub_options *options);
void hub_close(struct hub *hub); /* no peers are left */
/* Whom to wake after posting mail to it; before any shard runs. */
void hub_node_set_sleeper(struct hub_node *node, unsigned shard, struct sleeper *sleeper);

/* At start: the encoder behind a number < ENCODINGS_MAX. */
void hub_set_encoder(struct hub *hub, unsigned encoding, hub_encode encode, void *context);

/* ── Publishing ── */

/* False: dropped for want of room (counted and logged). Everything is copied. */
bool hub_publish(struct hub *hub, struct turn *turn, const struct publish *publish);
/* Is there any room on this node at all? A load: nobody watches anything while this is false. */
NODISCARD bool hub_has_anyone(const struct hub *hub);
/* Would anybody get it, or is a history kept of the room? Cheap: for the hot path. */
NODISCARD bool hub_has_audience(const struct hub *hub, struct span room);
/* The same with the name's hash ready: hub_room_hash() of prefix and id. */
NODISCARD bool hub_has_audience_of(const struct hub *hub, uint64_t hash);
/* Of the canonical name: ("user:", id). 0: too long for a room's name. */
uint64_t hub_room_hash(const struct hub *hub, struct span prefix, struct span id);

/* ── Membership ── */

enum hub_joined {
    HUB_JOINED,
    HUB_MEMBER_ALREADY,
    HUB_TOO_MANY_ROOMS,
    HUB_BAD_NAME,
    HUB_NO_MEMORY,
};
struct hub_terms {
    unsigned encoding;
    const char *types; /* only publications of these types or emit names: "a,b"; NULL: all */
};
enum hub_joined hub_join(struct hub *hub, struct turn *turn, struct peer *peer, struct span room,
                         const struct hub_terms *terms);
/* False: it was not in there with this encoding. */
bool hub_leave(struct hub *hub, struct turn *turn, struct peer *peer, struct span room,
               unsigned encoding);
/* All of this peer's rooms with this encoding (a namespace closes), or with any. */
enum { HUB_ALL_ENCODINGS = ENCODINGS_MAX };
void hub_leave_all(struct hub *hub, struct turn *turn, struct peer *peer, unsigned encoding);
/* From now on it gets all types in all of its rooms with this encoding. */
void hub_unfilter(struct hub *hub, struct turn *turn, struct peer *peer, unsigned encoding);
bool hub_is_member(const struct hub *hub, const struct peer *peer, struct span room,
                   unsigned encoding);
/* Calls back for each room of the peer with this encoding. */
void hub_rooms_of(const struct hub *hub, const struct peer *peer, unsigned encoding,
                  void (*each)(void *context, struct span room), void *context);

/* ── History ── */

/* "SHARD-NUMBER"; 32 bytes with the NUL. */
enum { HUB_OFFSET_TEXT = 32 };
void hub_offset_print(unsigned shard, uint64_t number, char out[HUB_OFFSET_TEXT]);
NODISCARD bool hub_offset_parse(struct span text, unsigned *shard, uint64_t *number);
/* Posts to the peer what this shard delivered after `number` in the rooms that the peer is in with
 * this encoding, in order. Before it returns, so that what is published next comes behind. False: the
 * log does not reach back that far, or it is more than half of what the peer's queue takes (nothing was
 * posted). Our own shard's numbers only. */
NODISCARD bool hub_replay(struct hub *hub, struct turn *turn, struct peer *peer, unsigned encoding,
                          uint64_t number);
/* Would it be true? For who must answer before what is sent again. */
NODISCARD bool hub_reaches_back(const struct hub *hub, const struct peer *peer, unsigned encoding,
                                uint64_t number);
uint64_t hub_last_number(const struct hub *hub);

/* ── Questions to all shards ── */

/* Asks all hubs; the answer comes from hub_flush(), {NULL,0} if there is no memory for it. It may
 * never come if another shard is at its end: have a deadline of your own. 0: too many questions at a
 * time, or too long a name. */
enum hub_question {
    HUB_WHO, /* the users in a room: JSON array of user ids, each once */
    /* {"totalConnections":n, "transportConnections":{name:n}, "userConnections":{id:n},
     * "tenantConnections":{id:n}, "truncated":bool}: at most live.answer_users of each shard */
    HUB_CONNECTIONS,
    /* The connections of "user:ID", of "tenant:ID", or of everybody (""): {"connections":[{"id",
     * "userId", "tenantId", "transport", "connectedAt"}], "count":n, "truncated":bool}: at most
     * live.answer_users of each shard */
    HUB_LIST,
    HUB_KICK, /* the peer whose id this is, or whom its ops know by it: "1" if it was there */
};
typedef void (*hub_answer)(void *context, struct turn *turn, struct span json);
NODISCARD uint64_t hub_ask(struct hub *hub, struct turn *turn, enum hub_question question,
                           struct span name, hub_answer answer, void *context);
/* The asker is gone: no answer will come. */
void hub_forget(struct hub *hub, uint64_t asked);

/* ── In a turn ── */

void hub_mail(struct hub *hub, struct turn *turn);
void hub_flush(struct hub *hub, struct turn *turn);   /* every dirty peer's ops->drain, once */
int64_t hub_tick(struct hub *hub, struct turn *turn); /* ns until it wants the next; -1: none */

/* Peers of this shard, for metrics and limits. */
unsigned hub_peers(const struct hub *hub);
/* There is something that hub_flush() or hub_mail() would do: a shard must not sleep on it. */
bool hub_is_dirty(const struct hub *hub);
/* So much has been published in this turn that a door which only relays may stop until the next. */
bool hub_is_pressed(const struct hub *hub);

#endif
