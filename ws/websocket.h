/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A WebSocket, the server's end (RFC 6455, RFC 7692): frames come in,
 * whole messages go up; messages go down, frames go out. It is a wire
 * (core/conn.h): no I/O of its own, everything on the shard's thread.
 *
 *   bytes ─► frames ─► [unmask in place] ─► [inflate] ─► [UTF-8] ─► ops->message ─► …
 *
 * A data message that lies whole in one received run is handed on where it lies, uncopied. Anything
 * else (fragmented, compressed, cut by the end of the run) is gathered, up to
 * options->message_bytes. Pings are answered, the closing handshake is kept, what breaks the
 * protocol is answered with its close code: 1002, 1007 as soon as a byte cannot be UTF-8 any more,
 * 1009 as soon as a header says too much.
 *
 * The user's own struct begins with a struct websocket. Order of calls:
 *
 *   websocket_init → websocket_start (queues the 101, changes the wire, calls ops->opened)
 *   → ops->message, ops->settle … → ops->closed
 *
 * The memory belongs to the user, who frees it in ops->closed and,
 * once websocket_start() was called, nowhere else.
 */
#ifndef WS_WEBSOCKET_H
#define WS_WEBSOCKET_H

#include "core/buf.h"
#include "core/conn.h"
#include "core/shard.h"
#include "ws/deflate.h"
#include "ws/encoded.h"
#include "ws/frame.h"
#include "ws/handshake.h"
#include "ws/utf8.h"

/* Status codes, RFC 6455 7.4.1. */
enum close_code {
    CLOSE_NORMAL = 1000,
    CLOSE_GOING_AWAY = 1001,
    CLOSE_PROTOCOL_ERROR = 1002,
    CLOSE_UNSUPPORTED_DATA = 1003,
    CLOSE_NO_STATUS = 1005, /* the peer's close frame had none; never sent */
    CLOSE_ABNORMAL = 1006,  /* no close frame; never sent */
    CLOSE_INVALID_DATA = 1007,
    CLOSE_POLICY = 1008,
    CLOSE_TOO_BIG = 1009,
    CLOSE_INTERNAL_ERROR = 1011,
    CLOSE_TRY_AGAIN_LATER = 1013,
};

/* The same for all sockets of a door; outlives them. */
struct websocket_options {
    size_t message_bytes; /* limits.message_bytes: the longest message, decompressed */
    uint64_t idle_ns;     /* limits.idle_ms: silent this long: gone. Half of it: pinged */
    uint64_t message_ns;  /* limits.body_ms: how long a message may take to come; 0: no limit */
    uint64_t close_ns;    /* how long the peer may take to answer our close frame */
    size_t deflate_from;  /* messages of so many bytes and more are compressed, if agreed */
};

struct websocket;

/* A message that has come. */
struct message {
    struct span text; /* may be changed in place; readable until ops->settle returns; never NULL */
    bool binary;
};

struct websocket_ops {
    const char *name;                                        /* for logs and metrics */
    void (*opened)(struct websocket *ws, struct turn *turn); /* may be NULL */
    /* False: no further message for now (conn_throttle()
     * was called): keep what is not done, go on in `resume`. */
    bool (*message)(struct websocket *ws, struct turn *turn, const struct message *message);
    /* The texts of the messages so far are about to go: let go of all that was collected.
     * Comes at the end of a run, behind a message that was gathered,
     * and before any close frame. May be NULL. False: as above. */
    bool (*settle)(struct websocket *ws, struct turn *turn);
    /* The connection is read again after a false: go on.
     * False: still not done. NULL only if never false. */
    bool (*resume)(struct websocket *ws, struct turn *turn);
    /* A hold has come true; the socket then sends its reply. May be NULL. */
    void (*released)(struct websocket *ws, struct turn *turn, const struct hold *hold);
    /* What was queued has left, and it had been more than half of limits.output_bytes, or
     * conn_notify() asked for it. May be NULL. */
    void (*writable)(struct websocket *ws, struct turn *turn);
    /* ws->expires_ns has come: say why; the socket then closes with 1008. May be NULL. */
    void (*expired)(struct websocket *ws, struct turn *turn);
    /* The connection is gone: free the memory. `code`:
     * the peer's close code, ours if we closed, or 1005, 1006. */
    void (*closed)(struct websocket *ws, struct turn *turn, uint16_t code);
};

enum websocket_state {
    WEBSOCKET_OPEN,
    WEBSOCKET_STALLED, /* ops said false; a byte is held back so that input is offered again */
    WEBSOCKET_CLOSING, /* our close frame went first; the peer's is awaited, data passes unread */
    WEBSOCKET_DONE,    /* both close frames are said, or the peer broke the protocol */
};

struct websocket {
    struct wire wire;
    const struct websocket_ops *ops;
    const struct websocket_options *options;
    struct inflater *inflater;
    struct deflater *deflater;
    struct buf gather;   /* of a message that did not come in one piece … */
    size_t counted;      /* … and how much of it the connection knows of */
    uint64_t left;       /* payload bytes of the current data frame still to come */
    uint64_t heard_ns;   /* when bytes last came */
    uint64_t begun_ns;   /* when the message that has not ended yet began; 0: there is none */
    uint64_t due_ns;     /* the connection's deadline */
    uint64_t expires_ns; /* monotonic; 0: never. The user sets it before websocket_start() */
    uint32_t mask;       /* of the current frame, turned to its next byte */
    uint16_t close_code;
    struct deflate_terms terms;
    struct utf8 utf8;
    uint8_t state;   /* enum websocket_state */
    uint8_t kind;    /* FRAME_TEXT or FRAME_BINARY while a message is under way, else 0 */
    bool in_frame;   /* inside a data frame's payload */
    bool final;      /* … which ends its message */
    bool compressed; /* the message under way is */
    bool holds_back; /* the first byte of the next run is the one held back: ws/websocket.c */
};

/* Zeroes all of it but nothing behind it. */
void websocket_init(struct websocket *ws, const struct websocket_ops *ops,
                    const struct websocket_options *options);

/* The connection becomes a WebSocket: the 101 is queued and the wire changed.
 * False: no room for the 101; nothing was changed, ops->closed will not be called. */
NODISCARD bool websocket_start(struct websocket *ws, struct turn *turn, struct conn *conn,
                               const struct handshake *handshake);

/* Sends a message. False: the peer is too slow for the output limit (or there is no memory):
 * the connection has been aborted. Nothing is sent any more once a close frame is. */
bool websocket_send(struct websocket *ws, struct turn *turn, bool binary, struct span text);

/* Sends frames as they stand: whole messages, encoded for many (ws/encoded.h). The same rules. */
bool websocket_send_frames(struct websocket *ws, struct turn *turn, struct span frames);
/* All frames of it, from where they lie. The caller's reference becomes the connection's. */
bool websocket_send_encoded(struct websocket *ws, struct turn *turn, struct encoded *encoded);

/* Begins the closing handshake; after the replies that are
 * still held. `reason`: at most 123 bytes of UTF-8. */
void websocket_close(struct websocket *ws, struct turn *turn, uint16_t code, const char *reason);

/* Closes now, without a word: the peer is too slow, or there is no memory for it. */
void websocket_abort(struct websocket *ws, struct turn *turn);

/* A user may conn_hold() whole frames; they are sent when they
 * come true. hold->tag is the user's, but for this one. */
#define WEBSOCKET_TAG_CLOSE UINT64_MAX

#endif
